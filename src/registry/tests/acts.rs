//! A gateway alone with random acts: corrections, retractions, add-ons and retired codes, around the days that are easily miscounted.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::NaiveDate;
use serde_json::{Value, json};

use crate::config::Config;
use crate::domain::kva::{self, CodeList};
use crate::fhir::search;
use crate::store::{Commit, Committed, Put};
use crate::{Gateway, InForce};

pub(super) const NORTH: &str = "SE2321000131-E000000000202";
pub(super) const ONCOLOGY: &str = "SE2321000131-E000000000101";
const STRANGER: &str = "SE2321000131-E000000000777";
pub(super) const UNITS: [&str; 3] = [NORTH, ONCOLOGY, STRANGER];
pub(super) const CODES: [&str; 7] = ["DV143", "DV145", "DV133", "DV113", "DU007", "ZV500", "AA111"];

/// DV143 is followed by DV145 in the middle of the year; DV113 holds for a month that is none of the calendar's.
pub(super) fn list() -> CodeList {
    let code = |code: &str, properties: Value| json!({ "code": code, "display": "x", "property": properties });
    let area = |area: &str| json!({ "code": "area", "valueCode": area });
    let day = |name: &str, day: &str| json!({ "code": name, "valueDateTime": day });
    let add_on = json!([{ "code": "add-on", "valueBoolean": true }]);
    CodeList::read(&json!({ "url": kva::SYSTEM, "content": "fragment", "concept": [
        code("DV143", json!([area("nutrition"), day("valid-to", "2026-03-29")])),
        code("DV145", json!([area("nutrition"), day("valid-from", "2026-03-30")])),
        code("DV133", json!([area("physical-activity")])),
        code("DV113", json!([area("tobacco"), day("valid-from", "2026-03-10"), day("valid-to", "2026-04-10")])),
        code("DU007", json!([])),
        code("ZV500", add_on.clone()),
        code("ZV051", add_on),
    ] }))
    .unwrap()
}

pub(super) struct Alone {
    pub(super) gateway: Gateway,
    pub(super) folder: std::path::PathBuf,
}

impl Alone {
    pub(super) fn open() -> Self {
        let folder = std::env::temp_dir().join(format!("vardkedja-counted-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        Self { gateway: open(&folder), folder }
    }
}

pub(super) fn open(folder: &std::path::Path) -> Gateway {
    // Keys and files are beside the database: nothing is left where the tests are run.
    let settings = folder.join("gateway.toml");
    std::fs::write(&settings, "[gateway]\ndb = \"store.sqlite\"\n").unwrap();
    let gateway = Gateway::open(Config::load(Some(&settings)).unwrap()).unwrap();
    gateway.conformance.put_in_force(InForce { version: 1, list: Arc::new(list()), edition: None });
    gateway
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub(super) fn pick<T: Copy>(random: &mut fastrand::Rng, from: &[T]) -> T {
    from[random.usize(..from.len())]
}

/// Around the ends of months and the two nights when clocks change, to the second, in whatever zone.
fn time(random: &mut fastrand::Rng) -> String {
    let day = match random.u8(..4) {
        0 => NaiveDate::from_ymd_opt(2026, 3, 27).unwrap() + chrono::Days::new(random.u64(..6)),
        1 => NaiveDate::from_ymd_opt(2026, 10, 23).unwrap() + chrono::Days::new(random.u64(..10)),
        _ => NaiveDate::from_ymd_opt(2026, 2, 1).unwrap() + chrono::Days::new(random.u64(..100)),
    };
    match random.u8(..4) {
        0 => day.to_string(),
        1 => format!("{day}T{:02}:59:59Z", random.u8(21..24)),
        2 => format!("{day}T0{}:00:00+02:00", random.u8(..4)),
        _ => format!("{day}T12:00:00+01:00"),
    }
}

fn hsa(unit: &str) -> Value {
    json!({ "type": "Organization", "identifier": { "system": "urn:oid:1.2.752.29.4.19", "value": unit } })
}

pub(super) fn coded(code: &str) -> Value {
    json!({ "coding": [{ "system": kva::SYSTEM, "code": code }] })
}

/// A Procedure with a main code, some without a contact, some entered in error.
pub(super) fn act(random: &mut fastrand::Rng, id: &str) -> Value {
    let mut act = json!({
        "resourceType": "Procedure", "id": id, "status": if random.u8(..) < 220 { "completed" } else { "entered-in-error" },
        "code": coded(pick(random, &CODES)), "subject": { "reference": format!("Patient/p{}", random.u8(..7)) },
    });
    match random.u8(..3) {
        0 => act["performedPeriod"] = json!({ "start": time(random) }),
        _ => act["performedDateTime"] = json!(time(random)),
    }
    match random.u8(..5) {
        // Somebody added it, and it says nothing of who did it.
        0 => act["meta"] = json!({ "source": format!("urn:vardkedja:unit:{}", pick(random, &UNITS)) }),
        1 => act["performer"] = json!([{ "actor": { "reference": format!("PractitionerRole/r{}", random.u8(..3)) } }]),
        2 => {}
        _ => {
            act["performer"] =
                json!([{ "onBehalfOf": hsa(&pick(random, &UNITS).to_lowercase()), "actor": { "display": "x" } }])
        }
    }
    if random.u8(..4) > 0 {
        act["encounter"] = json!({ "reference": format!("Encounter/e{}", random.u8(..9)) });
    }
    act
}

pub(super) fn add_on(random: &mut fastrand::Rng, id: &str, acts: u32) -> Value {
    let mut add_on = json!({
        "resourceType": "Procedure", "id": id, "status": if random.bool() { "completed" } else { "entered-in-error" },
        "code": coded(kva::DISTANCE), "subject": { "reference": "Patient/p1" }, "performedDateTime": time(random),
        "partOf": (0..random.u32(1..4)).map(|_| json!({ "reference": format!("Procedure/a{}", random.u32(..acts)) })).collect::<Vec<_>>(),
    });
    if random.bool() {
        add_on["encounter"] = json!({ "reference": format!("Encounter/e{}", random.u8(..9)) });
    }
    add_on
}

pub(super) async fn put(gateway: &Gateway, versions: &mut BTreeMap<String, u32>, puts: Vec<(Value, Vec<String>)>) {
    let put = |(resource, units): (Value, Vec<String>)| {
        let (kind, id) = (resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap());
        let version = versions.entry(format!("{kind}/{id}")).or_insert(0);
        *version += 1;
        Put {
            resource_type: kind.to_owned(),
            id: id.to_owned(),
            version: *version,
            body: resource.to_string().into_bytes(),
            patient: None,
            units,
            index: search::index(&resource),
            exchange: None,
        }
    };
    let commit = Commit { put: puts.into_iter().map(put).collect(), ..Commit::default() };
    assert!(matches!(gateway.store.commit(commit).await.unwrap(), Committed::Done { .. }));
}

/// Patients, contacts and the roles that acts point at.
pub(super) async fn surroundings(gateway: &Gateway, versions: &mut BTreeMap<String, u32>) {
    let mut all: Vec<(Value, Vec<String>)> = Vec::new();
    for n in 0..7 {
        all.push((json!({ "resourceType": "Patient", "id": format!("p{n}") }), vec![]));
    }
    for n in 0..9 {
        all.push((json!({ "resourceType": "Encounter", "id": format!("e{n}") }), vec![]));
    }
    for (n, unit) in UNITS.iter().enumerate() {
        let id = format!("o{n}");
        all.push((json!({ "resourceType": "PractitionerRole", "id": format!("r{n}"), "organization": { "reference": format!("Organization/{id}") } }), vec![]));
        all.push((
            json!({ "resourceType": "Organization", "id": id, "identifier": [hsa(unit)["identifier"]] }),
            vec![],
        ));
    }
    put(gateway, versions, all).await;
}
