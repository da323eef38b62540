//! An assertion is good once: at the same moment, after a restart, after a kill; and nobody fills the disk with them.

use serde_json::json;

use super::{Door, Key, now, registry};

#[actix_web::test]
async fn of_many_who_show_the_same_assertion_one_gets_a_token() {
    let key = Key::es384("k1");
    let settings = registry("system/Procedure.rs");
    let mut door = Door::open(&[("registry.json", &key)], &settings).await;
    let assertion = key.sign(&door.claims("registry"));
    let all = futures_of(&door, &assertion, 32).await;
    assert_eq!(all.iter().filter(|status| **status == 200).count(), 1, "{all:?}");
    assert!(all.iter().all(|status| [200, 401].contains(status)), "{all:?}");
    let again = door.show(&assertion, "").await;
    assert!(again.status == 401 && again.description().contains("used before"), "{}", again.text);

    // The same address, so that only the database can know.
    let before = door.url.clone();
    door.restart(&format!("base_url = \"{before}\"\n{settings}")).await;
    let again = door.show(&assertion, "").await;
    assert!(again.status == 401 && again.description().contains("used before"), "{}", again.text);
    door.close().await;
}

/// So many requests at once, each on its own connection.
async fn futures_of(door: &Door, assertion: &str, count: usize) -> Vec<u16> {
    let body = super::form(&[
        ("grant_type", "client_credentials"),
        ("client_assertion_type", super::JWT_BEARER),
        ("client_assertion", assertion),
    ]);
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..count {
        let (http, url, body) = (door.http.clone(), door.token_url(), body.clone());
        running.spawn(async move {
            let request = http.post(url).header("Content-Type", "application/x-www-form-urlencoded").body(body);
            request.send().await.unwrap().status().as_u16()
        });
    }
    running.join_all().await
}

#[actix_web::test]
async fn a_kill_does_not_make_an_assertion_good_again() {
    let key = Key::es384("k1");
    let folder = std::env::temp_dir().join(format!("oauth-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("registry.json"), key.jwks()).unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let settings = format!("base_url = \"https://gateway.example.se\"\n{}", registry("system/Procedure.rs"));
    let assertion = key.sign(&json!({
        "iss": "registry", "sub": "registry", "aud": "https://gateway.example.se/oauth/token", "exp": now() + 240, "jti": "1",
    }));
    let body = super::form(&[
        ("grant_type", "client_credentials"),
        ("client_assertion_type", super::JWT_BEARER),
        ("client_assertion", &assertion),
    ]);
    for expected in [200, 401, 401] {
        let program = crate::program::Program::start(&folder, &settings, &[]);
        let request = http.post(format!("{}/oauth/token", program.url)).body(body.clone());
        let reply = request.header("Content-Type", "application/x-www-form-urlencoded").send().await.unwrap();
        assert_eq!(reply.status().as_u16(), expected);
        program.signal("-KILL");
        drop(program);
    }
    let _ = std::fs::remove_dir_all(folder);
}

#[actix_web::test]
async fn distinct_assertions_without_end_fill_nothing() {
    let (key, other) = (Key::es384("k1"), Key::es384("k2"));
    let settings = format!("[oauth]\nassertions = 20\n{}", registry("system/Procedure.rs"));
    let both = registry("system/Procedure.rs").replace("registry.json", "other.json");
    let other_client = format!("[[client]]{}", both.split_once("[[client]]").unwrap().1);
    let settings = format!("{settings}{}", other_client.replace("id = \"registry\"", "id = \"other\""));
    let door = Door::open(&[("registry.json", &key), ("other.json", &other)], &settings).await;
    let mut statuses = Vec::new();
    for _ in 0..40 {
        let reply = door.show(&key.sign(&door.claims("registry")), "").await;
        if reply.status == 429 {
            assert_eq!(reply.error(), "temporarily_unavailable");
            assert!(reply.headers.contains_key("retry-after") && reply.description().contains("oauth.assertions"));
        }
        statuses.push(reply.status);
    }
    assert_eq!(statuses.iter().filter(|s| **s == 200).count(), 20, "{statuses:?}");
    assert!(statuses[20..].iter().all(|s| *s == 429));
    door.token("other", &other, "").await;
    // Who cannot sign does not get that far, whatever it calls its assertions.
    for _ in 0..50 {
        assert_eq!(door.show(&other.sign(&door.claims("registry")), "").await.status, 401);
    }
    let db = rusqlite::Connection::open(door.db()).unwrap();
    let rows: i64 = db.query_row("SELECT count(*) FROM assertion", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 21);
    drop(db);
    door.close().await;
}
