//! Registries and links: for a registry a person is one, what it has of the replaced Patient is to be erased, and an objection
//! under one number is one under all.

use serde_json::{Value, json};

use super::{NEW, NURSE, OLD};
use crate::oauth::{Door, Key, ORGANISATION};
use crate::world::{NORTH, activity};

/// A gateway with one unit's system and a registry that works with codes.
struct Registry {
    door: Door,
    key: Key,
}

impl Registry {
    async fn open() -> Self {
        let key = Key::es384("k");
        let folder = std::env::temp_dir().join(format!("links-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("key.json"), key.jwks()).unwrap();
        std::fs::write(folder.join("coded.keys"), "k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n").unwrap();
        let settings = format!(
            "[export]\npoll_s = 1\nkept_per_client = 200\nopen_per_client = 50\n\
             [[partner]]\nname = \"primary-care\"\nchannel = \"poll\"\n[[client]]\nid = \"journal\"\nname = \"x\"\n\
             hsa_id = \"{ORGANISATION}\"\npurpose = \"care\"\npartner = \"primary-care\"\njwks_file = \"key.json\"\n\
             scopes = [\"system/*.cruds\"]\n\
             [[registry]]\nname = \"coded\"\nhsa_id = \"{ORGANISATION}\"\nkey_file = \"coded.keys\"\n[[client]]\nid = \"coded\"\n\
             name = \"x\"\nhsa_id = \"{ORGANISATION}\"\npurpose = \"registry\"\nregistry = \"coded\"\n\
             jwks_file = \"key.json\"\nscopes = [\"system/*.rs\"]\n"
        );
        Self { door: Door::open_in(folder, &settings).await, key }
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let bearer = format!("Bearer {}", self.door.token("journal", &self.key, "").await);
        let headers =
            [("Authorization", bearer.as_str()), ("Content-Type", "application/json"), ("Vardkedja-Unit", NORTH)];
        let reply = self.door.post(path, &headers, body.to_string()).await;
        assert!(reply.status < 300, "{path}: {}", reply.text);
        reply.json()
    }

    async fn act(&self, number: u32, patient: &str) {
        let mut act = activity(number);
        act["patient"]["personnummer"] = json!(patient);
        act.as_object_mut().unwrap().shift_remove("requestId");
        self.post("/v1/activities", &act).await;
    }

    /// The Patients, whom the Procedures are about, what is deleted, and the time.
    async fn export(&self, since: &str) -> Got {
        let token = self.door.token("coded", &self.key, "").await;
        let since = if since.is_empty() { String::new() } else { format!("&_since={since}") };
        let path = format!("/fhir/$export?_type=Patient,Procedure{since}");
        let begun = self.door.get(&path, &token, &[("Prefer", "respond-async")]).await;
        assert_eq!(begun.status, 202, "{}", begun.text);
        let job = begun.headers["content-location"].to_str().unwrap().to_owned();
        let job = job.strip_prefix(&self.door.url).unwrap_or(&job).to_owned();
        let mut manifest = Value::Null;
        for _ in 0..600 {
            let reply = self.door.get(&job, &token, &[]).await;
            if reply.status == 200 {
                manifest = reply.json();
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let mut got = Got { since: manifest["transactionTime"].as_str().unwrap().into(), ..Got::default() };
        for kind in ["output", "deleted"] {
            for file in manifest[kind].as_array().unwrap() {
                let url = file["url"].as_str().unwrap().strip_prefix(&self.door.url).unwrap().to_owned();
                for line in self.door.get(&url, &token, &[]).await.text.lines() {
                    let line: Value = serde_json::from_str(line).unwrap();
                    match (kind, line["resourceType"].as_str()) {
                        ("deleted", _) => {
                            got.deleted.push(line["entry"][0]["request"]["url"].as_str().unwrap().into());
                        }
                        (_, Some("Patient")) => got.patients.push(format!("Patient/{}", line["id"].as_str().unwrap())),
                        _ => got.about.push(line["subject"]["reference"].as_str().unwrap().into()),
                    }
                }
            }
        }
        for list in [&mut got.patients, &mut got.about, &mut got.deleted] {
            list.sort();
        }
        // What has left and what is to be erased are two lists.
        got.deleted.dedup();
        got
    }
}

#[derive(Debug, Default)]
struct Got {
    since: String,
    patients: Vec<String>,
    about: Vec<String>,
    deleted: Vec<String>,
}

#[actix_web::test]
async fn for_a_registry_a_person_is_one_and_the_replaced_patient_is_erased() {
    let registry = Registry::open().await;
    registry.act(1, OLD).await;
    registry.act(2, NEW).await;
    let before = registry.export("").await;
    assert_eq!((before.patients.len(), before.about.clone()), (2, before.patients.clone()));
    let linked =
        registry.post("/v1/patients/links", &json!({ "old": OLD, "new": NEW, "by": NURSE, "reason": "x" })).await;
    let after = registry.export(&before.since).await;
    let gone: Vec<&String> = after.deleted.iter().filter(|name| name.starts_with("Patient/")).collect();
    assert_eq!(gone.len(), 1, "{after:?}");
    let kept = before.patients.iter().find(|name| *name != gone[0]).unwrap();
    assert!(after.about.contains(kept) && !after.about.contains(gone[0]), "what was another's comes again: {after:?}");
    registry.act(3, OLD).await;
    let whole = registry.export("").await;
    assert_eq!(whole.patients, std::slice::from_ref(kept));
    assert_eq!(whole.about, [kept.clone(), kept.clone(), kept.clone()], "one pseudonym");
    let undo = format!("/v1/patients/links/{}/undo", linked["id"].as_str().unwrap());
    registry.post(&undo, &json!({ "by": NURSE, "reason": "x" })).await;
    let undone = registry.export(&whole.since).await;
    assert!(undone.patients.contains(gone[0]), "{undone:?}");
    assert_eq!(undone.about.iter().filter(|name| *name == gone[0]).count(), 2, "its own again: {undone:?}");
    registry.door.close().await;
}

#[actix_web::test]
async fn who_objects_under_one_number_objects_under_all() {
    let registry = Registry::open().await;
    registry.act(1, OLD).await;
    registry.act(2, NEW).await;
    let before = registry.export("").await;
    assert_eq!(before.patients.len(), 2);
    let objection = json!({ "patient": OLD, "unit": NORTH, "objectedAt": "2026-03-02T09:30:00+01:00" });
    registry.post("/v1/registries/coded/opt-outs", &objection).await;
    assert_eq!(registry.export("").await.patients.len(), 1);
    let linked =
        registry.post("/v1/patients/links", &json!({ "old": OLD, "new": NEW, "by": NURSE, "reason": "x" })).await;
    let closed = registry.export(&before.since).await;
    assert!(closed.patients.is_empty() && closed.about.is_empty(), "{closed:?}");
    assert_eq!(closed.deleted.len(), 4, "both Patients and both Procedures: {closed:?}");
    let undo = format!("/v1/patients/links/{}/undo", linked["id"].as_str().unwrap());
    registry.post(&undo, &json!({ "by": NURSE, "reason": "x" })).await;
    let opened = registry.export("").await;
    assert_eq!((opened.patients.len(), opened.about.len()), (1, 1), "{opened:?}");
    registry.door.close().await;
}
