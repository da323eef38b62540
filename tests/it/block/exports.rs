//! Exports and blocks: files that were made before are gone with the block, what it closed is to be erased, and what is opened
//! again comes again; for units and for registries, and for nobody whom the block does not concern.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{NURSE, OTHER, PATIENT, inner};
use crate::oauth::{Door, Key, ORGANISATION};
use crate::world::{ONCOLOGY, REHAB_TEAM, SOUTH, plan, referral_to};

/// A gateway whose callers show tokens: the units of two partners, and two registries.
struct Exports {
    door: Door,
    key: Key,
}

const REGISTRIES: [&str; 2] = ["named", "coded"];

fn settings() -> String {
    let mut all = "[export]\npoll_s = 1\nkept_per_client = 200\nopen_per_client = 50\n".to_owned();
    for (partner, client) in [("platform", "journal"), ("reader", "south")] {
        all += &format!(
            "[[partner]]\nname = \"{partner}\"\nchannel = \"poll\"\n[[client]]\nid = \"{client}\"\nname = \"x\"\n\
             hsa_id = \"{ORGANISATION}\"\npurpose = \"care\"\npartner = \"{partner}\"\njwks_file = \"key.json\"\n\
             scopes = [\"system/*.cruds\"]\n"
        );
    }
    for (name, identity) in
        [("named", "identity = \"personnummer\"\nagreement = \"Avtal 1\""), ("coded", "key_file = \"coded.keys\"")]
    {
        all += &format!(
            "[[registry]]\nname = \"{name}\"\nhsa_id = \"{ORGANISATION}\"\n{identity}\n[[client]]\nid = \"{name}\"\n\
             name = \"x\"\nhsa_id = \"{ORGANISATION}\"\npurpose = \"registry\"\nregistry = \"{name}\"\n\
             jwks_file = \"key.json\"\nscopes = [\"system/*.rs\"]\n"
        );
    }
    all
}

impl Exports {
    async fn open() -> Self {
        let key = Key::es384("k");
        let folder = std::env::temp_dir().join(format!("exports-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("key.json"), key.jwks()).unwrap();
        std::fs::write(folder.join("coded.keys"), "k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n").unwrap();
        Self { door: Door::open_in(folder, &settings()).await, key }
    }

    async fn token(&self, client: &str) -> String {
        self.door.token(client, &self.key, "").await
    }

    async fn post(&self, client: &str, unit: &str, path: &str, body: &Value) -> crate::oauth::Reply {
        let bearer = format!("Bearer {}", self.token(client).await);
        let mut headers = vec![("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        if !unit.is_empty() {
            headers.push(("Vardkedja-Unit", unit));
        }
        self.door.post(path, &headers, body.to_string()).await
    }

    /// A plan and a referral from oncology to SOUTH.
    async fn send(&self, number: u32, patient: &str) {
        let mut first = plan(number);
        first["patient"] = json!({ "personnummer": patient });
        first["recipients"] = json!([SOUTH]);
        first["interventions"][0]["responsible"] = json!(SOUTH);
        let mut second = referral_to(number, SOUTH);
        second["patient"] = json!({ "personnummer": patient });
        second["planId"] = first["id"].clone();
        for (path, document) in [("/v1/rehab-plans", first), ("/v1/referrals", second)] {
            let reply = self.post("journal", ONCOLOGY, path, &document).await;
            assert_eq!(reply.status, 202, "{}", reply.text);
        }
    }

    async fn block(&self, wish: &Value) -> String {
        let reply = self.post("journal", REHAB_TEAM, "/v1/blocks", wish).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        reply.headers["location"].to_str().unwrap().to_owned()
    }

    async fn lift(&self, block: &str) {
        let reply = self.post("journal", REHAB_TEAM, &format!("{block}/lift"), &json!({ "by": NURSE })).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
    }

    async fn start(&self, client: &str, path: &str) -> String {
        let reply = self.door.get(path, &self.token(client).await, &[("Prefer", "respond-async")]).await;
        assert_eq!(reply.status, 202, "{}", reply.text);
        let place = reply.headers["content-location"].to_str().unwrap();
        place.strip_prefix(&self.door.url).unwrap_or(place).to_owned()
    }

    /// The manifest of a job; none where it is not there any more.
    async fn manifest(&self, client: &str, job: &str) -> Option<Value> {
        let token = self.token(client).await;
        for _ in 0..600 {
            let reply = self.door.get(job, &token, &[]).await;
            match reply.status {
                200 => return Some(reply.json()),
                202 | 429 => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
                404 => return None,
                other => panic!("{other}: {}", reply.text),
            }
        }
        panic!("{job} does not end")
    }

    async fn export(&self, client: &str, path: &str) -> Got {
        let job = self.start(client, path).await;
        let manifest = self.manifest(client, &job).await.unwrap_or_else(|| panic!("{job} is gone"));
        let token = self.token(client).await;
        let mut got = Got { job, ..Got::default() };
        for kind in ["output", "deleted"] {
            for file in manifest[kind].as_array().unwrap() {
                let url = file["url"].as_str().unwrap().strip_prefix(&self.door.url).unwrap().to_owned();
                let reply = self.door.get(&url, &token, &[]).await;
                assert_eq!(reply.status, 200, "{}", reply.text);
                for line in reply.text.lines() {
                    let line: Value = serde_json::from_str(line).unwrap();
                    match kind {
                        "output" => {
                            let name =
                                format!("{}/{}", line["resourceType"].as_str().unwrap(), line["id"].as_str().unwrap());
                            got.output.insert(name);
                        }
                        _ => {
                            let url = line["entry"][0]["request"]["url"].as_str().unwrap();
                            if !got.deleted.insert(url.to_owned()) {
                                got.twice.push(url.to_owned());
                            }
                        }
                    }
                }
                got.files.push(url);
            }
        }
        got.since = manifest["transactionTime"].as_str().unwrap().to_owned();
        got
    }

    /// The statuses of the job and of each of its files.
    async fn statuses(&self, client: &str, got: &Got) -> BTreeSet<u16> {
        let token = self.token(client).await;
        let mut all = BTreeSet::new();
        for path in got.files.iter().chain([&got.job]) {
            all.insert(self.door.get(path, &token, &[]).await.status);
        }
        all
    }
}

/// What an export gave.
#[derive(Debug, Default)]
struct Got {
    job: String,
    files: Vec<String>,
    output: BTreeSet<String>,
    deleted: BTreeSet<String>,
    /// What is named more than once.
    twice: Vec<String>,
    since: String,
}

const TYPES: &str = "_type=Patient,CarePlan,Goal,ServiceRequest,Task,Condition";

fn since(got: &Got) -> String {
    format!("/fhir/$export?{TYPES}&_since={}", got.since)
}

fn set(of: &[&str]) -> BTreeSet<u16> {
    of.iter().map(|s| s.parse().unwrap()).collect()
}

#[actix_web::test]
async fn what_a_block_closed_is_to_be_erased_and_comes_again_when_it_is_lifted() {
    let world = Exports::open().await;
    world.send(1, PATIENT).await;
    let all = format!("/fhir/$export?{TYPES}");
    let readers = ["south", REGISTRIES[0], REGISTRIES[1]];
    let mut of_patient = Vec::new();
    for reader in readers {
        of_patient.push(world.export(reader, &all).await);
    }
    world.send(2, OTHER).await;
    let mut before = Vec::new();
    for (reader, first) in readers.iter().zip(&of_patient) {
        assert!(first.output.len() >= 5, "{reader}: {first:?}");
        // Without the Patient, which comes again with whatever was sent in the last day.
        before.push(world.export(reader, &since(first).replace("Patient,", "")).await);
    }
    let own = world.export("journal", &all).await;
    let elsewhere = world.export("south", "/fhir/$export?_type=Organization,Appointment").await;

    let standing = world.block(&inner(ONCOLOGY)).await;
    // What comes while it stands was never had, and is never named.
    world.send(3, PATIENT).await;
    for ((reader, first), second) in readers.iter().zip(&of_patient).zip(&before) {
        assert_eq!(world.statuses(reader, first).await, set(&["404"]), "{reader}: made before the block");
        assert_eq!(world.statuses(reader, second).await, set(&["200"]), "{reader}: it holds nothing of the patient");
        let after = world.export(reader, &since(second)).await;
        assert_eq!(after.deleted, first.output, "{reader}");
        assert!(after.twice.is_empty(), "{reader}: {:?}", after.twice);
        assert!(after.output.is_disjoint(&first.output), "{reader}: {after:?}");
        let whole = world.export(reader, &all).await;
        assert!(whole.output.is_disjoint(&first.output), "{reader}");
        assert!(whole.output.is_superset(&second.output), "{reader}: the other patient's");
        assert_eq!(whole.output.len(), second.output.len() + 1, "{reader}: and nothing that came meanwhile");
    }
    assert_eq!(world.statuses("journal", &own).await, set(&["200"]), "the blocked unit's own is its own");
    assert_eq!(world.statuses("south", &elsewhere).await, set(&["200"]), "of types that it did not close");

    // Said once to a unit; to a registry until it says that it is done.
    let mut last = Vec::new();
    for (reader, first) in readers.iter().zip(&of_patient) {
        let quiet = world.export(reader, &all).await;
        let again = world.export(reader, &since(&quiet)).await;
        let is_registry = REGISTRIES.contains(reader);
        assert_eq!(again.deleted.is_empty(), !is_registry, "{reader}");
        if is_registry {
            let path = format!("/v1/registries/{reader}/erasures");
            let told = world.door.get(&path, &world.token(reader).await, &[]).await;
            let list = told.json()["erasures"].as_array().unwrap().clone();
            assert_eq!(list.len(), first.output.len(), "{}", told.text);
            assert!(list.iter().all(|one| one["reason"] == "removed"), "of a block nothing is told: {}", told.text);
            let through = list.iter().map(|one| one["seq"].as_i64().unwrap()).max().unwrap();
            let done = world.post(reader, "", &format!("{path}/confirm"), &json!({ "through": through })).await;
            assert!(done.status < 300, "{}", done.text);
            assert!(world.export(reader, &since(&quiet)).await.deleted.is_empty());
        }
        last.push(again);
    }

    world.lift(&standing).await;
    for ((reader, first), quiet) in readers.iter().zip(&of_patient).zip(&last) {
        let again = world.export(reader, &since(quiet)).await;
        assert!(again.output.is_superset(&first.output), "{reader}: {:?}", again.output);
        assert!(again.output.len() > first.output.len(), "{reader}: and what came while it stood");
        assert!(again.deleted.is_empty(), "{reader}");
        assert_eq!(world.statuses(reader, first).await, set(&["200"]), "{reader}: open again, until it expires");
    }
    world.door.close().await;
}

#[actix_web::test]
async fn a_registry_that_had_nothing_is_told_nothing() {
    let world = Exports::open().await;
    let first = world.export("named", &format!("/fhir/$export?{TYPES}")).await;
    world.send(1, PATIENT).await;
    let between = world.export("named", "/fhir/$export?_type=Appointment").await;
    world.block(&inner(ONCOLOGY)).await;
    for from in [&first, &between] {
        let got = world.export("named", &since(from)).await;
        assert_eq!((got.output.len(), got.deleted.len()), (0, 0), "it never had any of it: {got:?}");
    }
    world.door.close().await;
}

/// What was sent, and sent again after the key was changed, is there under two codes: whatever ends, both are named.
#[actix_web::test]
async fn after_a_change_of_key_what_is_to_be_erased_is_named_under_every_code_that_the_registry_may_have() {
    let mut world = Exports::open().await;
    world.send(1, PATIENT).await;
    world.send(2, OTHER).await;
    let all = format!("/fhir/$export?{TYPES}");
    let first = world.export("coded", &all).await;
    let keys = "k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nk2:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n";
    std::fs::write(world.door.folder.join("coded.keys"), keys).unwrap();
    world.door.restart(&settings()).await;
    let second = world.export("coded", &all).await;
    assert!(first.output.iter().all(|name| name.contains("/k1-")) && first.output.len() >= 10, "{first:?}");
    assert!(second.output.iter().all(|name| name.contains("/k2-")) && second.output.len() == first.output.len());
    let has: BTreeSet<String> = first.output.union(&second.output).cloned().collect();
    let of = |names: &BTreeSet<String>, key: &str| names.iter().filter(|name| name.contains(key)).count();

    // A correction, ...
    let mut wrong = plan(1);
    wrong["patient"] = json!({ "personnummer": PATIENT });
    wrong["recipients"] = json!([SOUTH]);
    wrong["interventions"][0]["responsible"] = json!(SOUTH);
    wrong["version"] = json!(2);
    wrong["status"] = json!("entered-in-error");
    let reply = world.post("journal", ONCOLOGY, "/v1/rehab-plans", &wrong).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    let corrected = world.export("coded", &since(&second)).await;
    assert!(corrected.deleted.iter().any(|name| name.starts_with("CarePlan/k1-")), "{corrected:?}");
    assert_eq!(of(&corrected.deleted, "/k1-"), of(&corrected.deleted, "/k2-"));
    assert!(corrected.deleted.is_subset(&has), "{:?}", corrected.deleted);

    // ... a block, ...
    world.block(&inner(ONCOLOGY)).await;
    let blocked = world.export("coded", &since(&corrected)).await;
    assert!(blocked.deleted.len() >= 10 && blocked.deleted.is_subset(&has), "{blocked:?}");
    assert_eq!(of(&blocked.deleted, "/k1-"), of(&blocked.deleted, "/k2-"));

    // ... and an objection.
    let wish = json!({ "patient": OTHER, "unit": ONCOLOGY, "objectedAt": "2026-03-02T09:30:00+01:00" });
    let made = world.post("journal", ONCOLOGY, "/v1/registries/coded/opt-outs", &wish).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let objected = world.export("coded", &since(&second)).await;
    assert_eq!(objected.deleted, has, "all that it had, under both");
    assert!(objected.output.is_empty(), "{:?}", objected.output);
    let token = world.token("coded").await;
    let page = world.door.get("/v1/registries/coded/erasures?limit=3", &token, &[]).await.json();
    assert_eq!(page["erasures"].as_array().map(Vec::len), Some(6), "three, each under two codes: {page:#}");
    assert_eq!(page["next"], page["erasures"][5]["seq"]);
    world.door.close().await;
}

/// Exports that are under way when blocks come and go: whatever is given out after a block was answered has nothing of it.
#[actix_web::test]
async fn while_exports_are_written_nothing_that_a_block_closes_goes_out_after_its_answer() {
    let world = Exports::open().await;
    world.send(1, PATIENT).await;
    let first = world.export("south", &format!("/fhir/$export?{TYPES}")).await;
    let secret: Vec<String> = first.output.iter().map(|name| name.split_once('/').unwrap().1.to_owned()).collect();
    world.send(2, OTHER).await;
    let (mut jobs, mut gone, mut shown) = (Vec::new(), 0, 0);
    for round in 0..12 {
        for reader in ["south", "named"] {
            jobs.push((reader, world.start(reader, &format!("/fhir/$export?{TYPES}")).await));
        }
        // Now and then it is done before, now and then in the middle.
        if round % 3 == 0 {
            let (reader, job) = jobs.last().unwrap();
            world.manifest(reader, job).await;
        }
        let standing = world.block(&inner(ONCOLOGY)).await;
        for reader in ["south", "named"] {
            jobs.push((reader, world.start(reader, &format!("/fhir/$export?{TYPES}")).await));
        }
        for (reader, job) in &jobs {
            let Some(manifest) = world.manifest(reader, job).await else {
                gone += 1;
                continue;
            };
            let token = world.token(reader).await;
            for file in manifest["output"].as_array().unwrap() {
                let url = file["url"].as_str().unwrap().strip_prefix(&world.door.url).unwrap();
                let reply = world.door.get(url, &token, &[]).await;
                assert_eq!(reply.status, 200, "{}", reply.text);
                shown += reply.text.lines().count();
                let told = secret.iter().find(|id| reply.text.contains(&format!("\"id\":\"{id}\"")));
                assert!(told.is_none(), "round {round}, {reader}: {told:?} in {url}");
            }
        }
        world.lift(&standing).await;
        // A few at a time: those that were begun while it stood have nothing of it, those from before are open again.
        jobs.clear();
    }
    assert!(gone > 0 && shown > 0, "{gone} {shown}");
    world.door.close().await;
}
