//! The worked examples of partners (`examples/partners/`): their settings are read by the real parser, their sample documents go
//! through a real gateway by the channel that the settings say, and what comes out is looked at.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vardkedja::config::Config;
use vardkedja::domain::PersonId;

use crate::drop::Drop;
use crate::gateway::TestGateway;
use crate::program::run;

const ONCOLOGY: &str = "SE2321000065-E000000000101";
const TEAM: &str = "SE2321000065-E000000000102";
const LAKE: &str = "SE2321000065-E000000000202";
/// Numbers of the tax agency's test persons.
const PERSONS: [&str; 2] = ["195009072553", "196101182803"];
/// Those of which nobody has published how they are integrated.
const ASSUMED: [&str; 4] = ["designverktyget", "min-vardplan", "stod-och-behandling", "vardgivarwebben"];

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/partners")
}

fn names() -> Vec<String> {
    let entries = std::fs::read_dir(examples()).unwrap().map(Result::unwrap);
    let mut names: Vec<String> =
        entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn samples(name: &str) -> Vec<PathBuf> {
    let mut samples: Vec<PathBuf> =
        std::fs::read_dir(examples().join(name).join("samples")).unwrap().map(|entry| entry.unwrap().path()).collect();
    samples.sort();
    samples
}

/// A copy of the examples that may be written into, and a gateway with the settings of one of them.
struct Example {
    root: PathBuf,
    place: Option<Drop>,
    gateway: Option<TestGateway>,
    url: String,
    http: reqwest::Client,
}

impl Example {
    async fn open(name: &str) -> Self {
        let root = copied(name);
        let mut config = Config::load(Some(&root.join(name).join("vardkedja.toml"))).unwrap();
        config.listen = "127.0.0.1:0".parse().unwrap();
        config.base_url = "http://127.0.0.1:0".into();
        // The example's own times are for people; what is tried here is the road.
        for drop in &mut config.drops {
            drop.settled = std::time::Duration::ZERO;
            drop.every = std::time::Duration::from_millis(50);
        }
        let place = config.drops.first().map(|drop| Drop { folder: drop.folder.clone() });
        let gateway = TestGateway::start_as(config).await;
        let (url, http) = (gateway.url.clone(), reqwest::Client::builder().no_proxy().build().unwrap());
        Self { root, place, gateway: Some(gateway), url, http }
    }

    /// The text of what `GET` gives, for the unit.
    async fn get(&self, path: &str, unit: &str) -> String {
        let request = self.http.get(format!("{}{path}", self.url)).header("Vardkedja-Unit", unit);
        request.header("Accept", "application/json").send().await.unwrap().text().await.unwrap()
    }

    async fn json(&self, path: &str, unit: &str) -> Value {
        serde_json::from_str(&self.get(path, unit).await).unwrap()
    }

    /// How many of them the unit finds.
    async fn count(&self, search: &str, unit: &str) -> u64 {
        let mark = if search.contains('?') { '&' } else { '?' };
        self.json(&format!("{search}{mark}_summary=count"), unit).await["total"].as_u64().unwrap()
    }

    async fn post(&self, path: &str, unit: &str, media_type: &str, body: Vec<u8>) -> Value {
        let request = self.http.post(format!("{}{path}", self.url)).header("Vardkedja-Unit", unit);
        let answer = request.header("Content-Type", media_type).body(body).send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert!(status < 300, "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Puts a sample into the folder and waits until it was taken; its receipt.
    async fn lands(&self, sample: &str) -> String {
        let place = self.place.as_ref().unwrap();
        let bytes = std::fs::read(self.root.join(sample)).unwrap();
        let name = Path::new(sample).file_name().unwrap().to_str().unwrap();
        place.put(name, bytes);
        place.until_so(name, || !place.path(name).exists() && place.names(".taken").is_empty()).await;
        let findings = place.path(&format!("refused/{name}.findings.json"));
        assert!(!findings.exists(), "{}", std::fs::read_to_string(findings).unwrap());
        let receipt = place.names("answers").into_iter().find(|answer| answer.starts_with(&format!("{name}.receipt.")));
        std::fs::read_to_string(place.path(&format!("answers/{}", receipt.unwrap()))).unwrap()
    }

    /// Waits until the exchange's document in the folder says so.
    async fn answered(&self, exchange: &str, is_so: impl Fn(&Value) -> bool) {
        let (place, file) = (self.place.as_ref().unwrap(), format!("answers/{exchange}.document.json"));
        place.until_so(&file, || place.path(&file).exists() && is_so(&place.json(&file))).await;
    }

    async fn close(mut self) {
        self.gateway.take().unwrap().stop().await;
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

fn copied(name: &str) -> PathBuf {
    let root = std::env::temp_dir().join(format!("partners-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(root.join(name).join("samples")).unwrap();
    std::fs::copy(examples().join("units.csv"), root.join("units.csv")).unwrap();
    let file = examples().join(name).join("vardkedja.toml");
    std::fs::copy(file, root.join(name).join("vardkedja.toml")).unwrap();
    for sample in samples(name) {
        std::fs::copy(&sample, root.join(name).join("samples").join(sample.file_name().unwrap())).unwrap();
    }
    // As its page says: the folder that files land in is made by hand.
    std::fs::create_dir(root.join(name).join("in")).unwrap();
    root
}

#[test]
fn each_system_that_the_documents_name_has_an_example_and_what_is_assumed_says_so_everywhere() {
    assert_eq!(names(), ["cosmic", "designverktyget", "min-vardplan", "stod-och-behandling", "vardgivarwebben"]);
    for name in names() {
        let root = copied(&name);
        let file = root.join(&name).join("vardkedja.toml");
        let config = Config::load(Some(&file)).unwrap();
        let partner = config.partner(&name).unwrap();
        let is_assumed = ASSUMED.contains(&name.as_str());
        assert_eq!(partner.assumed.is_some(), is_assumed, "{name}");
        let page = std::fs::read_to_string(examples().join(&name).join("README.md")).unwrap();
        assert_eq!(page.contains("**Assumed.**"), is_assumed, "{name}: its page");
        let said = config.warnings.iter().any(|warning| warning.starts_with(&format!("partner {name:?} is ASSUMED")));
        assert_eq!(said, is_assumed, "{name}: what is said at every start");
        // The command that its page gives, with the real program.
        let (code, said) = run(&["check", "--config", file.to_str().unwrap()]);
        assert_eq!(code, Some(0), "{name}: {said}");
        assert_eq!(said.contains(&format!("partner {name}: poll, 0 units, ASSUMED")), is_assumed, "{name}: {said}");
        for sample in samples(&name) {
            let sample = sample.file_name().unwrap().to_str().unwrap().to_owned();
            assert!(page.contains(&format!("samples/{sample}")), "{name}: its page does not name {sample}");
        }
        std::fs::remove_dir_all(root).unwrap();
    }
}

#[test]
fn the_samples_are_of_test_persons_only() {
    let mut found = BTreeSet::new();
    for sample in names().iter().flat_map(|name| samples(name)) {
        let text = std::fs::read_to_string(&sample).unwrap();
        for run in text.split(|c: char| !c.is_ascii_digit()).filter(|run| run.len() == 12) {
            if PersonId::parse(run).is_ok() {
                found.insert(run.to_owned());
            }
        }
    }
    assert_eq!(found.into_iter().collect::<Vec<_>>(), PERSONS);
}

#[actix_web::test]
async fn cosmic_refers_as_riv_ta_and_reads_the_answer() {
    let example = Example::open("cosmic").await;
    let sample = |name: &str| std::fs::read(example.root.join("cosmic/samples").join(name)).unwrap();
    let receipt = example.post("/v1/referrals", ONCOLOGY, "application/xml", sample("referral.xml")).await;
    assert_eq!(receipt["mapping"]["table"], "referral.riv-1");
    let exchange = format!("/v1/exchanges/{}", receipt["exchange"].as_str().unwrap());
    // The other side reads it as JSON, and as FHIR.
    let open = example.json("/v1/exchanges?open=true", LAKE).await;
    assert_eq!(open["exchanges"][0]["id"], receipt["exchange"]);
    let read = example.json(&format!("{exchange}/document"), LAKE).await;
    assert_eq!(read["question"], "Önskar bedömning av fatigue.");
    let requests = example.json("/fhir/ServiceRequest", LAKE).await;
    assert_eq!(requests["entry"][0]["resource"]["intent"], "order");
    for answer in ["answer.json", "outcome.json"] {
        example.post(&format!("{exchange}/answers"), LAKE, "application/json", sample(answer)).await;
    }
    let answered = example.json(&format!("{exchange}/document"), ONCOLOGY).await;
    assert_eq!(answered["state"]["status"], "completed", "{answered:#}");
    assert!(answered["state"]["answer"]["text"].as_str().unwrap().starts_with("Bedömd för fatigue"));
    let request = example.http.get(format!("{}{exchange}/document", example.url)).header("Vardkedja-Unit", ONCOLOGY);
    let own = request.header("Accept", "application/xml").send().await.unwrap().text().await.unwrap();
    assert!(own.contains("ProcessRequest") && own.contains("#R-2026-701"), "{own}");
    let receipt = example.post("/v1/activities", TEAM, "application/xml", sample("activity.xml")).await;
    assert_eq!(receipt["mapping"]["table"], "activity.riv-1");
    assert!(example.count("/fhir/Procedure", TEAM).await >= 1);
    example.close().await;
}

#[actix_web::test]
async fn contacts_of_stod_och_behandling_become_encounters_and_procedures_of_the_team() {
    let example = Example::open("stod-och-behandling").await;
    let receipts = example.lands("stod-och-behandling/samples/week-12.ndjson").await;
    let receipts: Vec<Value> = receipts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(receipts.len(), 3);
    for receipt in &receipts {
        assert_eq!(
            (&receipt["status"], &receipt["receipt"]["mapping"]["table"]),
            (&json!(202), &json!("activity.json"))
        );
    }
    assert_eq!(example.count("/fhir/Encounter?class=VR", TEAM).await, 3);
    for (code, count) in [("DV133", 2), ("DV143", 1), ("ZV051", 3)] {
        assert_eq!(example.count(&format!("/fhir/Procedure?code={code}"), TEAM).await, count, "{code}");
    }
    assert_eq!(example.count("/fhir/Procedure", LAKE).await, 0, "they are the team's");
    example.close().await;
}

#[actix_web::test]
async fn min_vardplan_lands_as_a_plan_and_again_as_its_revision() {
    let example = Example::open("min-vardplan").await;
    let receipt: Value = serde_json::from_str(&example.lands("min-vardplan/samples/plan.json").await).unwrap();
    assert_eq!(receipt["mapping"]["table"], "rehab-plan.json");
    let exchange = receipt["exchange"].as_str().unwrap().to_owned();
    let plans = example.json("/fhir/CarePlan", LAKE).await;
    let categories = plans["entry"][0]["resource"]["category"].to_string();
    assert!(categories.contains("\"RP\"") && categories.contains("min-vardplan"), "{categories}");
    let revised: Value = serde_json::from_str(&example.lands("min-vardplan/samples/plan-revised.json").await).unwrap();
    assert_eq!((&revised["exchange"], &revised["document"]["version"]), (&json!(exchange), &json!(2)));
    let changes = example.get(&format!("/v1/exchanges/{exchange}/diff"), LAKE).await;
    assert!(changes.contains("added") && changes.contains("I2"), "{changes}");
    example.answered(&exchange, |document| document["version"] == 2).await;
    example.close().await;
}

#[actix_web::test]
async fn a_hand_over_from_vardgivarwebben_comes_back_with_the_confirmed_contact() {
    let example = Example::open("vardgivarwebben").await;
    let receipt: Value = serde_json::from_str(&example.lands("vardgivarwebben/samples/handover.json").await).unwrap();
    assert_eq!(receipt["mapping"]["table"], "handover-active.json");
    let exchange = receipt["exchange"].as_str().unwrap().to_owned();
    let answers = format!("/v1/exchanges/{exchange}/answers");
    let say = |body: Value| example.post(&answers, LAKE, "application/json", body.to_string().into_bytes());
    say(json!({ "status": "accepted", "text": "Vi ringer.", "by": "SE2321000065-P000000000021" })).await;
    let contact = json!({ "at": "2026-03-03T10:00:00+01:00", "medium": "phone", "by": "SE2321000065-P000000000021" });
    say(json!({ "status": "completed", "text": "Kontakt tagen.", "by": "SE2321000065-P000000000021", "confirmedContact": contact })).await;
    example.answered(&exchange, |document| document["state"]["status"] == "completed").await;
    example.close().await;
}

#[actix_web::test]
async fn the_test_environment_has_a_gateway_of_its_own() {
    let settings = |name: &str| Config::load(Some(&examples().join(name).join("vardkedja.toml"))).unwrap();
    let test = settings("designverktyget");
    for name in names().iter().filter(|name| *name != "designverktyget") {
        let other = settings(name);
        assert!(other.listen != test.listen && other.db.file_name() != test.db.file_name(), "{name}");
    }
    let example = Example::open("designverktyget").await;
    example.lands("designverktyget/samples/test-run.ndjson").await;
    assert_eq!(example.count("/fhir/Procedure?code=DV133", TEAM).await, 1);
    example.close().await;
}
