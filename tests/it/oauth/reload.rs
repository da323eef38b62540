//! Clients and registries are read again while the gateway runs: at SIGHUP, all of them or none.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{FORM, JWT_BEARER, Key, ORGANISATION, form, now};
use crate::program::{PATIENCE, Program};

fn client(id: &str, scopes: &[&str]) -> String {
    format!(
        "[[client]]\nid = \"{id}\"\nname = \"x\"\nhsa_id = \"{ORGANISATION}\"\npurpose = \"registry\"\nregistry = \"rehab\"\n\
         jwks_file = \"key.json\"\nscopes = {}\n",
        json!(scopes)
    )
}

fn registry(name: &str) -> String {
    format!(
        "[[registry]]\nname = \"{name}\"\nhsa_id = \"{ORGANISATION}\"\nidentity = \"personnummer\"\nagreement = \"A\"\n"
    )
}

/// Puts other settings in the file of a program that runs, and tells it.
fn tell(program: &Program, folder: &Path, settings: &str) {
    let text = format!("[gateway]\nlisten = \"127.0.0.1:0\"\ndb = \"program.sqlite\"\n{settings}");
    std::fs::write(folder.join("program.toml"), text).unwrap();
    program.signal("-HUP");
}

struct Caller<'p> {
    program: &'p Program,
    key: Key,
    http: reqwest::Client,
}

impl Caller<'_> {
    /// The status, and the token if there is one.
    async fn token(&self, client: &str) -> (u16, String) {
        let url = format!("{}/oauth/token", self.program.url);
        let claims = json!({
            "iss": client, "sub": client, "aud": url, "exp": now() + 240, "jti": uuid::Uuid::new_v4().to_string(),
        });
        let shown = self.key.sign(&claims);
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", shown.as_str()),
        ];
        let answer = self.http.post(url).header(FORM.0, FORM.1).body(form(&fields)).send().await.unwrap();
        let status = answer.status().as_u16();
        let text: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        (status, text["access_token"].as_str().unwrap_or_default().to_owned())
    }

    async fn get(&self, token: &str, path: &str) -> (u16, String) {
        let answer = self.http.get(format!("{}{path}", self.program.url)).bearer_auth(token).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let started = Instant::now();
        while !holds().await {
            assert!(started.elapsed() < PATIENCE, "never: {what}; {}", self.program.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[actix_web::test]
async fn who_may_get_what_is_read_again_at_sighup_and_a_fault_leaves_all_of_it_as_it_was() {
    let folder = std::env::temp_dir().join(format!("reload-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    let key = Key::es384("k1");
    std::fs::write(folder.join("key.json"), key.jwks()).unwrap();
    let both = ["system/Procedure.rs", "system/Patient.rs"];
    let first = format!("{}{}{}", registry("rehab"), client("stays", &both), client("leaves", &both));
    let program = Program::start(&folder, &first, &[]);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let caller = Caller { program: &program, key, http };
    let (stays, leaves) = (caller.token("stays").await.1, caller.token("leaves").await.1);
    for token in [&stays, &leaves] {
        assert_eq!(caller.get(token, "/fhir/Patient").await.0, 200);
    }
    assert_eq!(caller.token("comes").await.0, 401);

    let less = client("stays", &["system/Procedure.rs"]);
    let second = format!("{}{}{less}{}", registry("rehab"), registry("other"), client("comes", &both));
    tell(&program, &folder, &second);
    caller.until("the token of a client that left", async || caller.get(&leaves, "/fhir/Patient").await.0 == 401).await;
    assert_eq!(caller.token("leaves").await.0, 401, "nor does it get another");
    assert_eq!(caller.get(&stays, "/fhir/Procedure").await.0, 200, "its token of before");
    assert_eq!(caller.get(&stays, "/fhir/Patient").await.0, 403, "is good for what is agreed now");
    let comes = caller.token("comes").await.1;
    assert_eq!(caller.get(&comes, "/fhir/Patient").await.0, 200);
    assert!(caller.get(&comes, "/v1/registries").await.1.contains("\"other\""));

    let said = |word: &str| program.log().matches(word).count();
    let good = async |what: &str| {
        assert_eq!(caller.get(&comes, "/fhir/Patient").await.0, 200, "{what}");
        assert_eq!(caller.get(&leaves, "/fhir/Patient").await.0, 401, "{what}");
    };
    for (wrong, finding) in [
        (format!("{first}{}", client("third", &["system/Procedure.u"])), "a registry reads and searches only"),
        (format!("{second}[delivery]\nretry_s = []\n"), "needs at least one delay"),
        (registry("rehab"), "restart it"),
        ("[[client]\n".to_owned(), "are not used: the old stay"),
    ] {
        let before = said("are not used: the old stay");
        tell(&program, &folder, &wrong);
        caller.until(finding, async || said("are not used: the old stay") > before).await;
        assert!(said(finding) > 0, "{finding}: {}", program.log());
        good(finding).await;
    }

    // Without an agreement a registry gets nothing, whatever its token says.
    tell(&program, &folder, &format!("{}{less}{}", registry("other"), client("comes", &both)));
    caller
        .until("the registry is gone", async || !caller.get(&comes, "/v1/registries").await.1.contains("rehab"))
        .await;
    let db = rusqlite::Connection::open(&program.db).unwrap();
    let in_force = "SELECT group_concat(name) FROM registry WHERE in_force = 1";
    assert_eq!(db.query_row(in_force, [], |row| row.get::<_, String>(0)).unwrap(), "other");
    let mut rows = db.prepare("SELECT payload FROM audit WHERE action = 'agree' ORDER BY seq").unwrap();
    let rows: Vec<Value> = rows
        .query_map([], |row| row.get::<_, String>(0))
        .unwrap()
        .map(|text| serde_json::from_str(&text.unwrap()).unwrap())
        .collect();
    assert_eq!(rows.len(), 2, "{rows:#?}");
    assert_eq!((&rows[0]["came"], &rows[0]["left"]), (&json!(["comes", "other"]), &json!(["leaves"])));
    assert_eq!((&rows[1]["came"], &rows[1]["left"]), (&json!([]), &json!(["rehab"])));
    program.stop().await;
    let _ = std::fs::remove_dir_all(folder);
}
