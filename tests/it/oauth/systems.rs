//! Several systems of one unit: the log tells them apart, and what one has begun to fetch is not there for the other.

use serde_json::{Value, json};

use super::{Door, Key, ORGANISATION, Reply, journal};
use crate::world::{NORTH, activity};

const UNIT: (&str, &str) = ("Vardkedja-Unit", NORTH);

/// The clients `journal` and `helper` for the same units with the same scopes, and `drift`, who reads the log.
fn settings() -> String {
    format!(
        "{}[[client]]\nid = \"helper\"\nname = \"Hjälpen\"\nhsa_id = \"{ORGANISATION}\"\npurpose = \"care\"\n\
         partner = \"primary-care\"\njwks_file = \"helper.json\"\nscopes = [\"system/*.cruds\"]\n\
         [[client]]\nid = \"drift\"\nname = \"Driften\"\nhsa_id = \"{ORGANISATION}\"\npurpose = \"operations\"\n\
         jwks_file = \"drift.json\"\nscopes = [\"system/AuditEvent.rs\"]\n",
        journal("")
    )
}

struct Systems {
    door: Door,
    keys: [Key; 3],
}

impl Systems {
    async fn open() -> Self {
        let keys = [(); 3].map(|()| Key::es384("k1"));
        let files = [("journal.json", &keys[0]), ("helper.json", &keys[1]), ("drift.json", &keys[2])];
        let door = Door::open(&files, &settings()).await;
        let all = Self { door, keys };
        let bearer = format!("Bearer {}", all.token("journal").await);
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let sent = all.door.post("/v1/activities", &headers, activity(1).to_string()).await;
        assert_eq!(sent.status, 202, "{}", sent.text);
        all
    }

    async fn token(&self, client: &str) -> String {
        let n = ["journal", "helper", "drift"].iter().position(|name| *name == client).unwrap();
        self.door.token(client, &self.keys[n], "").await
    }

    async fn get(&self, client: &str, path: &str) -> Reply {
        let path = path.strip_prefix(self.door.url.as_str()).unwrap_or(path);
        let unit = if client == "drift" { &[][..] } else { &[UNIT] };
        self.door.get(path, &self.token(client).await, unit).await
    }

    async fn delete(&self, client: &str, path: &str) -> u16 {
        let path = path.strip_prefix(self.door.url.as_str()).unwrap_or(path);
        let request = self.door.http.delete(format!("{}{path}", self.door.url)).bearer_auth(self.token(client).await);
        request.header(UNIT.0, UNIT.1).send().await.unwrap().status().as_u16()
    }

    /// Begins an export and waits for it: where it is, and its files.
    async fn export(&self, client: &str) -> (String, Vec<String>) {
        let token = self.token(client).await;
        let begun = self.door.get("/fhir/$export?_type=Procedure", &token, &[UNIT, ("Prefer", "respond-async")]).await;
        assert_eq!(begun.status, 202, "{}", begun.text);
        let job = begun.headers["content-location"].to_str().unwrap();
        let job = job.strip_prefix(self.door.url.as_str()).unwrap().to_owned();
        loop {
            let reply = self.get(client, &job).await;
            match reply.status {
                200 => {
                    let files = reply.json()["output"].as_array().unwrap().clone();
                    let path = |file: &Value| file["url"].as_str().unwrap().replacen(&self.door.url, "", 1);
                    return (job, files.iter().map(path).collect());
                }
                202 | 429 => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
                other => panic!("{other}: {}", reply.text),
            }
        }
    }

    async fn events(&self, query: &str) -> Vec<Value> {
        let reply = self.get("drift", &format!("/fhir/AuditEvent?_count=500&{query}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let entries = reply.json()["entry"].as_array().cloned().unwrap_or_default();
        entries.into_iter().map(|entry| entry["resource"].clone()).collect()
    }
}

/// The applications that an event names: by client id.
fn applications(event: &Value) -> Vec<&str> {
    let is_client = |id: &&Value| id["system"].as_str().is_some_and(|system| system.ends_with("/sid/client"));
    let ids = event["agent"].as_array().unwrap().iter().map(|agent| &agent["who"]["identifier"]);
    ids.filter(is_client).map(|id| id["value"].as_str().unwrap()).collect()
}

#[actix_web::test]
async fn an_export_is_there_for_the_system_that_began_it_and_for_no_other_of_the_unit() {
    let mut all = Systems::open().await;
    let (job, files) = all.export("journal").await;
    let (own, _) = all.export("helper").await;
    for restarted in [false, true] {
        for path in files.iter().chain([&job]) {
            assert_eq!(all.get("journal", path).await.status, 200, "{path}, restarted: {restarted}");
            let refused = all.get("helper", path).await;
            assert_eq!(refused.status, 404, "{path}, restarted: {restarted}: {}", refused.text);
        }
        assert_eq!(all.delete("helper", &job).await, 404);
        assert_eq!(all.get("helper", &own).await.status, 200);
        if !restarted {
            all.door.restart(&settings()).await;
        }
    }
    let refusals = all.door.audited("refuse");
    let by_helper = refusals.iter().filter(|(actor, row)| actor == NORTH && row["by"]["client"] == "helper");
    assert!(by_helper.count() >= 3, "{refusals:#?}");
    let id = job.rsplit('/').next().unwrap();
    let db = rusqlite::Connection::open(all.door.db()).unwrap();
    let named = "SELECT count(*) FROM audit WHERE action = 'refuse' AND object = 'export/' || ?1";
    assert!(db.query_row(named, [id], |row| row.get::<_, u32>(0)).unwrap() >= 3, "what was meant is on record");
    assert_eq!(all.delete("journal", &job).await, 202);
    assert_eq!(all.get("journal", &job).await.status, 404);
    all.door.close().await;
}

#[actix_web::test]
async fn the_log_and_the_patients_list_tell_two_systems_of_a_unit_apart() {
    let all = Systems::open().await;
    for client in ["journal", "helper", "helper"] {
        assert_eq!(all.get(client, "/fhir/Procedure").await.status, 200);
    }
    assert_eq!(all.get("helper", "/fhir/Procedure/nothing").await.status, 404);
    let searches = async |client: &str| all.events(&format!("agent={client}&subtype=search")).await;
    assert_eq!((searches("journal").await.len(), searches("helper").await.len()), (1, 2));
    for event in searches("helper").await {
        assert_eq!(applications(&event), ["helper"]);
        assert_eq!(event["agent"][0]["who"]["identifier"]["value"], NORTH);
        let application = event["agent"].as_array().unwrap().iter().find(|agent| agent["who"]["display"] == "helper");
        assert_eq!(application.unwrap()["type"]["coding"][0]["code"], "110150");
        assert!(event["agent"].to_string().contains("primary-care"), "and whose system it is: {event:#}");
    }
    assert_eq!(all.events("agent=helper&subtype=refuse").await.len(), 1);
    assert!(all.events("agent=primary-care&subtype=search").await.len() >= 3);

    let patient = all.get("journal", "/fhir/Patient").await.json()["entry"][0]["resource"]["id"].clone();
    let list = all.get("drift", &format!("/v1/patients/{}/access-log?limit=100", patient.as_str().unwrap())).await;
    let entries = list.json()["entries"].as_array().unwrap().clone();
    let of = |client: &str| entries.iter().filter(|e| e["client"] == client && e["hsaId"] == NORTH).count();
    assert!(of("journal") >= 1 && of("helper") == 2, "{entries:#?}");
    all.door.close().await;
}

#[actix_web::test]
async fn who_was_refused_a_token_is_named_in_the_log() {
    let all = Systems::open().await;
    let stranger = Key::es384("k1");
    let refused = all.door.show(&stranger.sign(&all.door.claims("helper")), "").await;
    assert_eq!(refused.status, 401, "{}", refused.text);
    let granted = all.events("agent=helper&subtype=token&outcome=0").await.len();
    let events = all.events("agent=helper&subtype=token&outcome=8").await;
    assert_eq!((granted, events.len()), (0, 1), "{events:#?}");
    assert_eq!(applications(&events[0]), ["helper"]);
    assert_eq!(events[0]["type"]["code"], json!("110114"));
    all.token("helper").await;
    assert_eq!(all.events("agent=helper&subtype=token&outcome=0").await.len(), 1);
    all.door.close().await;
}
