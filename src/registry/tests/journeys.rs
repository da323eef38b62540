//! What goes out to a registry, what it must erase, and under which codes, through a gateway of its own.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::disclosure::{confirm, disclose, of_patient, recoded, to_erase};
use super::super::objection::{Word, known, opt_out};
use super::super::{Cipher, Form};
use crate::Gateway;
use crate::access::{Caller, Purpose, Reach};
use crate::config::Config;
use crate::domain::{Format, Kind, PersonId};
use crate::store::{Filter, Search};
use crate::sync::{Refusal, Submission, submit, witness};

const ACTIVITY: &str = include_str!("../../../mappings/examples/activity.small.source.json");
const UNIT: &str = "SE2321000131-E000000000202";

struct Alone {
    gateway: Gateway,
    folder: PathBuf,
}

fn now() -> DateTime<Utc> {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

const KEYS: [&str; 2] =
    ["k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "k2:IAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="];

fn open(folder: PathBuf, keys: &[&str]) -> Alone {
    std::fs::write(folder.join("coded.keys"), keys.join("\n")).unwrap();
    let settings = folder.join("gateway.toml");
    let registry = |name: &str, more: &str| {
        format!("[[registry]]\nname = \"{name}\"\nhsa_id = \"SE2321000131-E000000000777\"\n{more}\n")
    };
    let named = registry("named", "identity = \"personnummer\"\nagreement = \"Avtal 1\"");
    let text = format!("{}{named}", registry("coded", "key_file = \"coded.keys\""));
    std::fs::write(&settings, format!("[gateway]\ndb = \"store.sqlite\"\n{text}")).unwrap();
    Alone { gateway: Gateway::open(Config::load(Some(&settings)).unwrap()).unwrap(), folder }
}

impl Alone {
    fn new(keys: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("vardkedja-registry-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        open(folder, keys)
    }

    /// The same database with other keys.
    fn again(self, keys: &[&str]) -> Self {
        let Self { gateway, folder } = self;
        gateway.store.clone().close();
        drop(gateway);
        open(folder, keys)
    }

    async fn take_in(&self) {
        let caller = Caller::operator();
        let (kind, format, bytes) = (Kind::Activity, Format::Json, ACTIVITY.as_bytes());
        submit(&self.gateway, &Submission { caller: &caller, kind, format, bytes, key: None, now: now() })
            .await
            .unwrap();
    }

    /// `Type/id` of everything about a patient that the registry may get.
    async fn names(&self, registry: &str) -> Vec<String> {
        let mut names = Vec::new();
        for kind in ["Patient", "Procedure", "Encounter"] {
            let page = self.gateway.store.search(&Filter::registry(registry), &Search::of(kind)).await.unwrap();
            names.extend(page.matches.iter().map(|s| format!("{kind}/{}", s.id)));
        }
        names
    }

    async fn disclose(&self, name: &str) -> Vec<String> {
        let names = self.names(name).await;
        let registry = known(&self.gateway, name).unwrap();
        disclose(&self.gateway, &registry_caller(name), &registry, "export/1/Procedure.ndjson", names.clone(), now())
            .await
            .unwrap();
        names
    }

    async fn object(&self) {
        let word = Word { person: person(), unit: UNIT.into(), at: now() };
        opt_out(&self.gateway, &Caller::unit(UNIT, &self.gateway.config.directory), "all", word, now()).await.unwrap();
    }
}

fn person() -> PersonId {
    let document: Value = serde_json::from_str(ACTIVITY).unwrap();
    PersonId::parse(document["patient"]["personnummer"].as_str().unwrap()).unwrap()
}

fn registry_caller(name: &str) -> Caller {
    Caller {
        client: None,
        name: name.into(),
        partner: None,
        reach: Reach::Registry(name.into()),
        purpose: Purpose::Registry,
        scopes: None,
        grants: None,
    }
}

fn finish(alone: Alone) {
    let folder = alone.folder.clone();
    drop(alone);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn every_disclosure_is_in_the_log_with_its_recipient_and_its_amount() {
    let alone = Alone::new(&KEYS[..1]);
    alone.take_in().await;
    let names = alone.disclose("coded").await;
    assert!(names.len() >= 3, "{names:?}");
    let db = rusqlite::Connection::open(alone.folder.join("store.sqlite")).unwrap();
    let row = "SELECT actor, object, payload FROM audit WHERE action = 'export'";
    let (actor, object, payload): (String, String, String) =
        db.query_row(row, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let payload: Value = serde_json::from_str(&payload).unwrap();
    assert_eq!((actor.as_str(), object.as_str()), ("coded", "export/1/Procedure.ndjson"));
    assert_eq!(payload["recipient"], "SE2321000131-E000000000777");
    assert_eq!(payload["amount"]["Patient"], 1);
    assert_eq!(payload["key"], "k1");
    let seen = of_patient(&alone.gateway, &Caller::operator(), &person(), now()).await.unwrap();
    let total: u32 = seen.disclosed.iter().filter(|d| d.registry == "coded").map(|d| d.resources).sum();
    assert_eq!(total as usize, names.len());
    let refused = of_patient(&alone.gateway, &registry_caller("coded"), &person(), now()).await;
    assert!(matches!(refused, Err(Refusal::Missing(_))), "a registry learns nothing by a number");
    finish(alone);
}

#[tokio::test]
async fn what_must_be_erased_is_named_as_the_registry_has_it_whatever_key_is_in_use() {
    let alone = Alone::new(&KEYS[..1]);
    alone.take_in().await;
    let mut names = alone.disclose("coded").await;
    alone.disclose("named").await;
    alone.object().await;
    assert!(alone.names("coded").await.is_empty() && alone.names("named").await.is_empty());
    let alone = alone.again(&KEYS);
    let registry = known(&alone.gateway, "coded").unwrap();
    let list = to_erase(&alone.gateway, &registry, 0, 99).await.unwrap();
    let cipher = Cipher::new(registry.key(Some("k1")).unwrap(), &alone.gateway.config.directory);
    let mut coded: Vec<String> = names
        .iter()
        .filter_map(|name| name.split_once('/'))
        .map(|(kind, id)| format!("{kind}/{}", cipher.id(kind, id)))
        .collect();
    let mut found: Vec<String> =
        list.iter().map(|e| format!("{}/{}", e.resource_type, e.id.as_deref().unwrap())).collect();
    coded.sort();
    found.sort();
    assert_eq!(found, coded);
    let plain = to_erase(&alone.gateway, &known(&alone.gateway, "named").unwrap(), 0, 99).await.unwrap();
    let mut plain: Vec<String> =
        plain.iter().map(|e| format!("{}/{}", e.resource_type, e.id.as_deref().unwrap())).collect();
    plain.sort();
    names.sort();
    assert_eq!(plain, names);
    let last = list.last().unwrap().seq;
    let refused = confirm(&alone.gateway, &registry_caller("named"), "coded", last, now()).await;
    assert!(matches!(refused, Err(Refusal::Forbidden(_))), "only it itself knows");
    confirm(&alone.gateway, &registry_caller("coded"), "coded", i64::MAX, now()).await.unwrap();
    assert!(to_erase(&alone.gateway, &registry, 0, 99).await.unwrap().is_empty());
    let alone = alone.again(&KEYS[1..]);
    assert_eq!(
        to_erase(&alone.gateway, &known(&alone.gateway, "named").unwrap(), 0, 99).await.unwrap().len(),
        names.len()
    );
    finish(alone);
}

#[tokio::test]
async fn what_was_sent_again_after_the_key_was_changed_is_named_under_both_codes() {
    let alone = Alone::new(&KEYS[..1]);
    alone.take_in().await;
    alone.disclose("coded").await;
    let alone = alone.again(&KEYS);
    let names = alone.disclose("coded").await;
    alone.object().await;
    let registry = known(&alone.gateway, "coded").unwrap();
    let told = |list: &[super::super::disclosure::ToErase]| -> std::collections::BTreeSet<String> {
        list.iter().filter_map(|one| Some(format!("{}/{}", one.resource_type, one.id.as_deref()?))).collect()
    };
    let under = |version: &str| -> std::collections::BTreeSet<String> {
        let form = Form::of(&alone.gateway, &registry, Some(version)).unwrap();
        let named = names.iter().filter_map(|name| name.split_once('/'));
        named.map(|(kind, id)| format!("{kind}/{}", form.id(kind, id))).collect()
    };
    let list = to_erase(&alone.gateway, &registry, 0, 99).await.unwrap();
    assert_eq!(told(&list), under("k1").union(&under("k2")).cloned().collect());
    // A page ends with a whole one, so that nothing is passed over when the next begins behind it.
    let mut paged = std::collections::BTreeSet::new();
    let mut after = 0;
    loop {
        let page = to_erase(&alone.gateway, &registry, after, 1).await.unwrap();
        let Some(last) = page.last() else { break };
        assert_eq!(page.len(), 2);
        after = last.seq;
        paged.extend(told(&page));
    }
    assert_eq!(paged, told(&list));
    let alone = alone.again(&KEYS[1..]);
    let registry = known(&alone.gateway, "coded").unwrap();
    let list = to_erase(&alone.gateway, &registry, 0, 99).await.unwrap();
    assert_eq!(list.len(), names.len(), "the code of a key that is gone cannot be told any more");
    finish(alone);
}

#[tokio::test]
async fn a_registry_whose_key_was_changed_gets_its_old_codes_beside_the_new() {
    let alone = Alone::new(&KEYS[..1]);
    alone.take_in().await;
    let names = alone.disclose("coded").await;
    let alone = alone.again(&KEYS);
    let registry = known(&alone.gateway, "coded").unwrap();
    let form = |version| Form::of(&alone.gateway, &registry, version).unwrap();
    let mut all = Vec::new();
    let mut after = 0;
    loop {
        let page = recoded(&alone.gateway, &registry, "k1", after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.place;
        all.extend(page);
    }
    assert_eq!(all.len(), names.len());
    for one in &all {
        let id =
            names.iter().filter_map(|n| n.split_once('/')).find(|(kind, id)| form(Some("k1")).id(kind, id) == one.old);
        let (kind, id) = id.unwrap();
        assert_eq!((kind, &form(None).id(kind, id)), (one.resource_type.as_str(), &one.new));
        assert!(one.new.starts_with("k2-"));
    }
    assert!(matches!(recoded(&alone.gateway, &registry, "k9", 0, 2).await, Err(Refusal::Findings(_))));
    finish(alone);
}

#[tokio::test]
async fn a_registry_with_codes_reads_nothing_resource_by_resource_and_one_with_names_leaves_a_trace() {
    let alone = Alone::new(&KEYS[..1]);
    alone.take_in().await;
    let page = alone.gateway.store.search(&Filter::registry("named"), &Search::of("Patient")).await.unwrap();
    for name in ["coded", "unknown"] {
        let caller = registry_caller(name);
        assert!(matches!(witness::check_interactive(&alone.gateway, &caller), Err(Refusal::Forbidden(_))));
        let shown = witness::shown(&alone.gateway, &caller, "search", "Patient", &page.matches, now()).await;
        assert!(matches!(shown, Err(Refusal::Forbidden(_))), "not even what was found already");
    }
    let caller = registry_caller("named");
    witness::shown(&alone.gateway, &caller, "search", "Patient", &page.matches, now()).await.unwrap();
    let seen = of_patient(&alone.gateway, &Caller::operator(), &person(), now()).await.unwrap();
    assert_eq!(seen.disclosed.iter().map(|d| d.registry.as_str()).collect::<Vec<_>>(), ["named"]);
    assert!(witness::check_interactive(&alone.gateway, &Caller::operator()).is_ok());
    finish(alone);
}

#[tokio::test]
async fn a_registry_with_names_gets_no_address_and_one_with_codes_no_name() {
    let alone = Alone::new(&KEYS[..1]);
    let form = |name| Form::of(&alone.gateway, &known(&alone.gateway, name).unwrap(), None).unwrap();
    let written = |name, patient: &Value| -> Value {
        let body = form(name).write("Patient", patient.to_string().as_bytes(), 2026).unwrap();
        serde_json::from_slice(&body).unwrap()
    };
    let patient = json!({ "resourceType": "Patient", "id": "p", "name": [{ "text": "Test Testsson" }], "address": [{ "city": "Hemligstad" }] });
    let named = written("named", &patient);
    assert_eq!(named, json!({ "resourceType": "Patient", "id": "p", "name": [{ "text": "Test Testsson" }] }));
    assert!(
        !form("named").changes("Procedure") && form("named").changes("Patient") && form("coded").changes("Procedure")
    );
    let coded = written("coded", &patient);
    assert_eq!(coded.as_object().unwrap().keys().collect::<Vec<_>>(), ["resourceType", "id"]);
    finish(alone);
}
