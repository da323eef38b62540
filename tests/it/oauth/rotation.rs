//! A client changes its keys at its address: over real HTTP and through the whole grant, with a clock that the test sets.

use chrono::DateTime;
use rusqlite::Connection;
use serde_json::{Value, json};
use vardkedja::Gateway;
use vardkedja::access::grant::{Form, grant};
use vardkedja::config::Config;

use super::keys::{Publisher, at, http};
use super::{JWT_BEARER, Key, now};

/// A gateway without a server: whoever asks says when it is.
struct Clocked {
    gateway: Gateway,
    folder: std::path::PathBuf,
}

impl Clocked {
    fn open(url: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("rotation-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("gateway.toml");
        std::fs::write(&file, format!("[gateway]\nlisten = \"127.0.0.1:0\"\ndb = \"gateway.sqlite\"\n{}", at(url)))
            .unwrap();
        Self { gateway: Gateway::open(Config::load(Some(&file)).unwrap()).unwrap(), folder }
    }

    /// Whether the client gets a token at that second with that key.
    async fn lets_in(&self, key: &Key, at: i64) -> bool {
        let claims = json!({
            "iss": "registry", "sub": "registry", "aud": self.gateway.config.token_url(), "iat": at, "exp": at + 240,
            "jti": uuid::Uuid::new_v4().to_string(),
        });
        let assertion = key.sign(&claims);
        let form = Form {
            grant_type: Some("client_credentials"),
            assertion_type: Some(JWT_BEARER),
            assertion: Some(&assertion),
            ..Form::default()
        };
        grant(&self.gateway, form, None, DateTime::from_timestamp(at, 0).unwrap()).await.is_ok()
    }

    /// What the log says of fetches: how they ended, and the payload.
    fn fetched(&self) -> Vec<(u8, Value)> {
        let db = Connection::open(self.folder.join("gateway.sqlite")).unwrap();
        let mut rows =
            db.prepare("SELECT outcome, payload FROM audit WHERE action = 'fetch-keys' ORDER BY seq").unwrap();
        let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, u8>(0)?, row.get::<_, String>(1)?));
        let rows = rows.query_map([], row).unwrap().map(Result::unwrap);
        rows.map(|(outcome, payload)| (outcome, serde_json::from_str(&payload).unwrap())).collect()
    }
}

#[actix_web::test]
async fn keys_that_are_changed_at_their_address_are_taken_up_and_old_ones_end() {
    let (old, new, strange) = (Key::es384("k1"), Key::es384("k2"), Key::es384("k3"));
    let both = json!({ "keys": [old.public(), new.public()] }).to_string();
    let publisher = Publisher::open(Some(http("200 OK", "", &old.jwks()))).await;
    let world = Clocked::open(&publisher.url);
    let start = now();
    assert!(world.lets_in(&old, start).await);
    publisher.answer(http("200 OK", "", &both));
    assert!(!world.lets_in(&new, start + 1).await, "they were read a moment ago");
    assert_eq!(publisher.asked(), 1);
    assert!(world.lets_in(&new, start + 60).await, "a key that is not known makes us look again");
    assert_eq!(publisher.asked(), 2);

    // However many come with keys that nobody has published, it is asked once a minute.
    let storm = (0..40).map(|n| world.lets_in(&strange, start + 61 + n));
    assert!(futures(storm).await.iter().all(|let_in| !let_in));
    assert_eq!(publisher.asked(), 2);
    let storm = (0..40).map(|_| world.lets_in(&strange, start + 120));
    assert!(futures(storm).await.iter().all(|let_in| !let_in));
    assert_eq!(publisher.asked(), 3, "and by one for all");

    publisher.answer(http("200 OK", "", &new.jwks()));
    assert!(world.lets_in(&old, start + 419).await, "what was read is good for five minutes");
    assert!(!world.lets_in(&old, start + 420).await, "and a key that its owner removed no longer");
    assert!(world.lets_in(&new, start + 420).await);
    assert_eq!(publisher.asked(), 4);

    // It is down: what was read last is good for an hour.
    publisher.answer(Vec::new());
    assert!(world.lets_in(&new, start + 720).await);
    assert_eq!(publisher.asked(), 5);
    assert!(world.lets_in(&new, start + 420 + 3599).await);
    assert!(!world.lets_in(&new, start + 420 + 3600).await);
    publisher.answer(http("200 OK", "", &new.jwks()));
    assert!(world.lets_in(&new, start + 420 + 3660).await, "and it is back");

    // Each time that somebody else was asked is in the log and among the figures.
    let fetched = world.fetched();
    assert_eq!(fetched.len(), publisher.asked(), "{fetched:#?}");
    assert!(fetched.iter().all(|(_, said)| said["address"] == publisher.url), "{fetched:#?}");
    let keys: Vec<Value> = fetched.iter().map(|(_, said)| said["keys"].clone()).collect();
    assert_eq!(keys[..4], [json!(1), json!(2), json!(2), json!(1)], "how many there were");
    let failed = fetched.iter().filter(|(outcome, said)| *outcome == 4 && said["reason"].is_string()).count();
    assert_eq!(failed, 2, "{fetched:#?}");
    drop(world.gateway);
    let _ = std::fs::remove_dir_all(world.folder);
}

/// All of them, one after another begun before the first has ended.
async fn futures(all: impl Iterator<Item = impl Future<Output = bool>>) -> Vec<bool> {
    let all: Vec<_> = all.map(Box::pin).collect();
    let mut waiting: Vec<_> = all.into_iter().map(Some).collect();
    let mut done = vec![false; waiting.len()];
    std::future::poll_fn(|context| {
        for (at, slot) in waiting.iter_mut().enumerate() {
            if let Some(one) = slot
                && let std::task::Poll::Ready(let_in) = one.as_mut().poll(context)
            {
                done[at] = let_in;
                *slot = None;
            }
        }
        if waiting.iter().all(Option::is_none) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}

#[actix_web::test]
async fn fetches_are_counted_by_address_and_outcome() {
    let key = Key::es384("k1");
    let publisher = Publisher::open(Some(http("200 OK", "", &key.jwks()))).await;
    let door = super::Door::open(&[], &at(&publisher.url)).await;
    door.token("registry", &key, "").await;
    let figures = door.get("/metrics", "", &[]).await.text;
    let line = format!("vardkedja_key_fetches_total{{address=\"{}\",result=\"fetched\"}} 1", publisher.url);
    assert!(figures.contains(&line), "{figures}");
    assert_eq!(door.audited("fetch-keys").len(), 1);
    door.close().await;
}
