//! The demo's journey as a test: once, twice, and against a FHIR server that we did not write.

use serde_json::Value;
use vardkedja::demo::{Journey, Places, Teller};

use crate::world::World;

async fn play(world: &World, twice: bool) {
    let places = Places { gateway: world.gateway.clone(), clinic: format!("{}/fhir", world.clinic) };
    let mut teller = Teller::quiet();
    Journey::new(places, twice, &mut teller).unwrap().play().await.unwrap();
}

/// What the clinic has, without what any server writes and without ids: counts and content.
async fn content(world: &World) -> Vec<String> {
    let types = [
        "Appointment",
        "CarePlan",
        "CareTeam",
        "Communication",
        "Composition",
        "Condition",
        "Consent",
        "Encounter",
        "Goal",
        "Observation",
        "Organization",
        "Patient",
        "PractitionerRole",
        "Procedure",
        "ServiceRequest",
        "Task",
    ];
    let mut all = Vec::new();
    for kind in types {
        for mut resource in world.at_clinic(kind).await {
            scrub(&mut resource);
            resource.sort_all_objects();
            all.push(resource.to_string());
        }
    }
    all.sort();
    all
}

/// Takes away ids, references, versions and times of writing: they differ between two databases.
fn scrub(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for name in ["id", "reference", "lastModified"] {
                object.shift_remove(name);
            }
            if let Some(Value::Object(meta)) = object.get_mut("meta") {
                meta.shift_remove("lastUpdated");
            }
            if object.get("system").is_some_and(|s| s == "https://vardkedja.example/fhir/sid/resource") {
                object.shift_remove("value");
            }
            object.values_mut().for_each(scrub);
        }
        Value::Array(items) => items.iter_mut().for_each(scrub),
        _ => {}
    }
}

#[actix_web::test]
async fn every_message_sent_twice_leaves_exactly_the_same_resources() {
    let (once, twice) = (World::open().await, World::open().await);
    play(&once, false).await;
    play(&twice, true).await;
    let (a, b) = (content(&once).await, content(&twice).await);
    assert!(a.len() > 30, "only {} resources", a.len());
    assert_eq!(a, b);
    once.close().await;
    twice.close().await;
}

/// A FHIR server that others wrote (`pip install sekmet-fhir`), started for one test.
struct Stock {
    process: std::process::Child,
    base: String,
    folder: std::path::PathBuf,
}

impl Stock {
    /// `None` where it is not installed.
    async fn start() -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("stock-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = std::process::Command::new("sekmet")
            .args(["serve", "--host", "127.0.0.1", "--port", &port.to_string()])
            .current_dir(&folder)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn();
        let process = process.ok()?;
        let stock = Self { process, base: format!("http://127.0.0.1:{port}"), folder };
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        for _ in 0..600 {
            if http.get(format!("{}/fhir/metadata", stock.base)).send().await.is_ok_and(|r| r.status().is_success()) {
                return Some(stock);
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("the stock server did not start");
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[actix_web::test]
async fn the_journey_runs_against_a_stock_fhir_server() {
    let Some(stock) = Stock::start().await else {
        eprintln!("skipped: sekmet is not installed (pip install sekmet-fhir)");
        return;
    };
    // What this server does not hold travels inside what points at it.
    let world =
        World::open_against(&stock.base, "[\"Goal\", \"CareTeam\", \"Composition\", \"QuestionnaireResponse\"]").await;
    play(&world, true).await;
    for (kind, at_most) in [("Patient", 1), ("ServiceRequest", 2), ("CarePlan", 2)] {
        let found = world.at_clinic(kind).await.len();
        assert_eq!(found, at_most, "{kind}");
    }
    world.close().await;
}
