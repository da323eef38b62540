//! Where the gateway connects to: an address that must not be is never spoken to, and the delivery says what to configure.

use std::net::TcpListener;
use std::path::PathBuf;

use chrono::Utc;
use serde_json::Value;
use vardkedja::Gateway;
use vardkedja::access::Caller;
use vardkedja::config::Config;
use vardkedja::domain::delivery::State;
use vardkedja::domain::outgoing::{Network, Outgoing};
use vardkedja::domain::{Format, Kind};
use vardkedja::store::{Delivery, DeliveryQuery, Filter, Search};
use vardkedja::sync::worker::pump;
use vardkedja::sync::{Submission, submit};

use crate::world::{ONCOLOGY, World, referral};

/// A gateway as it would be beyond loopback, with a referral for a partner at `base`; what became of its delivery.
async fn delivered_to(base: &str, outgoing: Outgoing) -> (Delivery, Vec<Value>) {
    let folder: PathBuf = std::env::temp_dir().join(format!("outgoing-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("gateway.toml");
    let text =
        format!("[[partner]]\nname = \"primary-care\"\nchannel = \"push\"\nfhir_base = \"{base}\"\ntimeout_s = 5\n");
    std::fs::write(&file, format!("[gateway]\ndb = \"outgoing.sqlite\"\n{text}")).unwrap();
    let mut config = Config::load(Some(&file)).unwrap();
    config.outgoing = outgoing;
    let gateway = Gateway::open(config).unwrap();
    let caller = Caller::unit(ONCOLOGY, &gateway.config.directory);
    let document = referral(1).to_string();
    let submission = Submission {
        caller: &caller,
        kind: Kind::Referral,
        format: Format::Json,
        bytes: document.as_bytes(),
        key: None,
        now: Utc::now(),
    };
    submit(&gateway, &submission).await.unwrap();
    pump(&gateway).await.unwrap();
    let delivery = gateway.store.deliveries(&DeliveryQuery::default()).await.unwrap().remove(0);
    let tasks = gateway.store.search(&Filter::ALL, &Search::of("Task")).await.unwrap().matches;
    let tasks = tasks.iter().map(|stored| serde_json::from_slice(&stored.body).unwrap()).collect();
    drop(gateway);
    let _ = std::fs::remove_dir_all(folder);
    (delivery, tasks)
}

#[actix_web::test]
async fn a_name_that_leads_to_this_machine_is_never_spoken_to() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    // The name passes whoever reads the settings; the address that it becomes does not.
    for host in ["localhost", "127.0.0.1", "[::ffff:127.0.0.1]"] {
        let (delivery, tasks) = delivered_to(&format!("http://{host}:{port}/fhir"), Outgoing::default()).await;
        assert_eq!(delivery.state, State::Parked, "{host}");
        let note = delivery.note.unwrap();
        assert!(note.contains("on this machine") && note.contains("[outgoing] allow"), "{host}: {note}");
        assert!(!note.contains(host), "an address is not told: {note}");
        let reasons = tasks.iter().map(|task| &task["statusReason"]["coding"][0]["code"]);
        assert!(reasons.into_iter().any(|code| code == "barred"), "{tasks:#?}");
    }
    assert!(listener.accept().is_err(), "nobody ever connected");
}

#[actix_web::test]
async fn what_the_settings_allow_is_spoken_to() {
    let world = World::open().await;
    let base = format!("{}/fhir", world.clinic.replace("127.0.0.1", "localhost"));
    let allowed = Outgoing { networks: vec![Network::parse("127.0.0.0/8").unwrap()], ..Outgoing::default() };
    let (delivery, _) = delivered_to(&base, allowed).await;
    assert_eq!(delivery.state, State::Delivered, "{delivery:?}");
    world.close().await;
}
