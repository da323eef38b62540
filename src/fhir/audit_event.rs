//! A row of the audit log as an AuditEvent, in the shape of IHE's Basic Audit Log Patterns
//! (<https://profiles.ihe.net/ITI/BALP>): who asked and who answered, about whom, what, and how it ended.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::SecondsFormat;
use serde_json::{Map, Value, json};

use super::canonical::{BASE, HSA_ID};
use crate::domain::audit::{Deed, Interaction, Record};
use crate::domain::{Directory, HsaId};

const DICOM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const REST: &str = "http://terminology.hl7.org/CodeSystem/audit-event-type";
const INTERACTION: &str = "http://hl7.org/fhir/restful-interaction";
const LIFECYCLE: &str = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle";
const REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
const ROLE_CLASS: &str = "http://terminology.hl7.org/CodeSystem/v3-RoleClass";
const ENTITY: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const SOURCE: &str = "http://terminology.hl7.org/CodeSystem/security-source-type";
const BALP_ENTITY: &str = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType";

/// Keys of a payload that have elements of their own; the others are details.
const PLACED: [&str; 4] = ["by", "outcome", "shown", "patients"];

/// The gateway that keeps the log, and what units are called.
#[derive(Debug, Clone, Copy)]
pub struct Observer<'a> {
    pub hsa_id: &'a str,
    pub name: &'a str,
    pub directory: &'a Directory,
}

/// Our code system of what can be done.
pub fn deeds() -> String {
    format!("{BASE}/CodeSystem/audit-deed")
}

/// `AuditEvent.type`: system and code.
pub fn type_of(deed: Deed) -> (&'static str, &'static str, &'static str) {
    match deed.interaction() {
        Interaction::Rest(_) => (REST, "rest", "Restful Operation"),
        Interaction::Disclosure => (DICOM, "110106", "Export"),
        Interaction::Login => (DICOM, "110114", "User Authentication"),
        Interaction::Upkeep => (DICOM, "110100", "Application Activity"),
    }
}

/// `AuditEvent.subtype`: systems and codes.
pub fn subtypes_of(record: &Record) -> Vec<(String, String)> {
    let deed = record.deed();
    let known = match deed.interaction() {
        Interaction::Rest(code) => Some((INTERACTION, code)),
        Interaction::Disclosure => Some((LIFECYCLE, "disclose")),
        Interaction::Login => Some((DICOM, "110122")),
        Interaction::Upkeep => None,
    };
    let known = known.map(|(system, code)| (system.to_owned(), code.to_owned()));
    // A word of another program is no code of ours.
    known.into_iter().chain([(deeds(), deed.code().to_owned())]).collect()
}

/// The row as an AuditEvent.
pub fn audit_event(record: &Record, observer: &Observer<'_>) -> Value {
    let deed = record.deed();
    let (system, code, display) = type_of(deed);
    let subtypes = subtypes_of(record).into_iter().map(|(system, code)| json!({ "system": system, "code": code }));
    let at = record.at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let mut event = json!({
        "resourceType": "AuditEvent",
        "id": record.seq.to_string(),
        "meta": {
            "versionId": "1",
            "lastUpdated": at,
            "profile": [format!("{BASE}/StructureDefinition/access-event")],
        },
        "type": { "system": system, "code": code, "display": display },
        "subtype": subtypes.collect::<Vec<_>>(),
        "action": deed.action(),
        "recorded": at,
        "outcome": record.outcome.code().to_string(),
    });
    if let Some(class) = record.text("class").filter(|_| record.outcome.code() > 0) {
        event["outcomeDesc"] = json!(class);
    }
    if let Some(purpose) = purpose(record) {
        event["purposeOfEvent"] = json!([purpose]);
    }
    event["agent"] = Value::Array(agents(record, observer));
    event["source"] = json!({
        "site": observer.name,
        "observer": gateway(observer),
        "type": [{ "system": SOURCE, "code": "4", "display": "Application Server" }],
    });
    let entities = entities(record);
    if !entities.is_empty() {
        event["entity"] = Value::Array(entities);
    }
    event
}

/// A sentence as the narrative of a resource.
pub fn narrative(sentence: &str) -> Value {
    let mut text = String::new();
    for c in sentence.chars() {
        match c {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            c if c.is_control() => text.push(' '),
            c => text.push(c),
        }
    }
    json!({ "status": "generated", "div": format!("<div xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"sv\">{text}</div>") })
}

fn purpose(record: &Record) -> Option<Value> {
    let (code, display) = match record.by("purpose")? {
        "care" => ("TREAT", "treatment"),
        "registry" => ("HQUALIMP", "health quality improvement"),
        "operations" => ("HSYSADMIN", "health system administration"),
        _ => return None,
    };
    Some(json!({ "coding": [{ "system": REASON, "code": code, "display": display }] }))
}

fn gateway(observer: &Observer<'_>) -> Value {
    json!({ "identifier": { "system": HSA_ID, "value": observer.hsa_id }, "display": observer.name })
}

/// Somebody by HSA-id where it is one, and by name.
fn somebody(name: &str, observer: &Observer<'_>) -> Value {
    if name == "gateway" {
        return gateway(observer);
    }
    let unit = observer.directory.find(name);
    if unit.is_none() && HsaId::parse(name).is_err() {
        return json!({ "display": name });
    }
    let mut who = json!({ "identifier": { "system": HSA_ID, "value": name } });
    if let Some(unit) = unit {
        who["display"] = json!(unit.name);
    }
    who
}

/// A client by the id that its tokens have (`client_id`), as BALP names the application of an OAuth token.
fn application(client: &str) -> Value {
    json!({ "identifier": { "system": format!("{BASE}/sid/client"), "value": client }, "display": client })
}

/// Who asked: a client that speaks for no one unit is the application itself.
fn asker(record: &Record, observer: &Observer<'_>) -> Value {
    let name = record.actor.as_str();
    let is_client = record.by("purpose").is_some() && name != "operator" && HsaId::parse(name).is_err();
    if is_client { application(name) } else { somebody(name, observer) }
}

fn coded(system: &str, code: &str, display: &str) -> Value {
    json!({ "coding": [{ "system": system, "code": code, "display": display }] })
}

/// Who asked stands first. BALP's source is where the data come from, and its destination where they go: whoever reads is the
/// destination, whoever writes or asks the source.
fn agents(record: &Record, observer: &Observer<'_>) -> Vec<Value> {
    let deed = record.deed();
    let source = || coded(DICOM, "110153", "Source Role ID");
    let destination = || coded(DICOM, "110152", "Destination Role ID");
    let is_ours = record.actor == "gateway";
    let is_out = deed.interaction() == Interaction::Disclosure || deed.action() == "R";
    let (asking, other) = if is_out && !is_ours { (destination(), source()) } else { (source(), destination()) };
    let mut first = json!({ "type": asking, "who": asker(record, observer), "requestor": true });
    if let Some(from) = record.by("from") {
        first["network"] = json!({ "address": from, "type": "1" });
    }
    if let Some(purpose) = purpose(record) {
        first["purposeOfUse"] = json!([purpose]);
    }
    let mut agents = vec![first];
    let (organisation, client, partner) = (record.by("organisation"), record.by("client"), record.by("partner"));
    let mut others: Vec<&str> = record
        .agents
        .iter()
        .map(String::as_str)
        .filter(|name| ![organisation, client, partner].contains(&Some(*name)))
        .collect();
    if is_ours {
        // A unit is told before the system that serves it, and is the one that got it.
        others.sort_by_key(|name| HsaId::parse(name).is_err());
        for (index, name) in others.into_iter().enumerate() {
            let kind = if index == 0 { destination() } else { coded(DICOM, "110150", "Application") };
            agents.push(json!({ "type": kind, "who": somebody(name, observer), "requestor": false }));
        }
    } else {
        agents.push(json!({ "type": other, "who": gateway(observer), "requestor": false }));
        for name in others {
            agents.push(json!({
                "type": coded(ROLE_CLASS, "AGNT", "agent"), "who": somebody(name, observer), "requestor": false,
            }));
        }
    }
    if let Some(client) = client {
        agents.push(json!({
            "type": coded(DICOM, "110150", "Application"), "who": application(client), "requestor": false,
        }));
    }
    if let Some(partner) = partner {
        agents.push(json!({
            "type": coded(ROLE_CLASS, "AGNT", "agent"), "who": somebody(partner, observer), "requestor": false,
        }));
    }
    if let Some(organisation) = organisation {
        agents.push(json!({
            "type": coded(ROLE_CLASS, "PROV", "healthcare provider"),
            "who": somebody(organisation, observer), "requestor": false,
        }));
    }
    agents
}

fn entities(record: &Record) -> Vec<Value> {
    let person = |id: &String| {
        json!({
            "what": { "reference": format!("Patient/{id}") },
            "type": { "system": ENTITY, "code": "1", "display": "Person" },
            "role": { "system": ROLE, "code": "1", "display": "Patient" },
        })
    };
    let mut entities: Vec<Value> = record.patients.iter().map(person).collect();
    let data = |what: Value| {
        json!({
            "what": what,
            "type": { "system": ENTITY, "code": "2", "display": "System Object" },
            "role": { "system": ROLE, "code": "4", "display": "Domain Resource" },
        })
    };
    entities.extend(record.shown().filter_map(|name| {
        let (resource, version) = name.rsplit_once('/')?;
        Some(data(json!({ "reference": format!("{resource}/_history/{version}") })))
    }));
    let mut object = object(record, &data);
    let details = details(record);
    if !details.is_empty() {
        object["detail"] = Value::Array(details);
    }
    entities.push(object);
    if let Some(number) = record.by("request") {
        entities.push(json!({
            "what": { "identifier": { "value": number } },
            "type": { "system": BALP_ENTITY, "code": "XrequestId" },
        }));
    }
    entities
}

/// What it was done to, as the row names it.
fn object(record: &Record, data: &impl Fn(Value) -> Value) -> Value {
    let object = record.object.as_str();
    if record.deed() == Deed::Search {
        // The names of what was asked for, and nothing of what was looked for.
        return json!({
            "type": { "system": ENTITY, "code": "2", "display": "System Object" },
            "role": { "system": ROLE, "code": "24", "display": "Query" },
            "query": STANDARD.encode(object),
        });
    }
    let named = |kind: &str| object.strip_prefix(kind).and_then(|rest| rest.split('/').next());
    if let Some(id) = named("exchange/").or_else(|| named("delivery/")) {
        let identifier = json!({ "system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{id}") });
        let mut entity = data(json!({ "identifier": identifier }));
        entity["name"] = json!(object);
        return entity;
    }
    let mut parts = object.split('/');
    let is_type = |name: &&str| {
        name.starts_with(|c: char| c.is_ascii_uppercase()) && name.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let resource_type = parts.next().filter(is_type);
    let id = parts.next().filter(|id| super::primitive::is_id(id));
    if let (Some(resource_type), Some(id)) = (resource_type, id) {
        let mut entity = data(json!({ "reference": format!("{resource_type}/{id}") }));
        entity["name"] = json!(object);
        return entity;
    }
    json!({
        "type": { "system": ENTITY, "code": "2", "display": "System Object" },
        "name": if object.is_empty() { "-" } else { object },
    })
}

fn details(record: &Record) -> Vec<Value> {
    let empty = Map::new();
    let fields = record.payload.as_ref().and_then(Value::as_object).unwrap_or(&empty);
    fields
        .iter()
        .filter(|(name, _)| !PLACED.contains(&name.as_str()))
        .filter_map(|(name, value)| {
            let text = match value {
                Value::Null => return None,
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            (!text.trim().is_empty()).then(|| json!({ "type": name, "valueString": text }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::audit::{By, Event, Origin, Outcome};

    fn record(event: &Event, agents: &[&str]) -> Record {
        Record {
            seq: 7,
            at: event.at,
            actor: event.by.name.clone(),
            action: event.deed.code().into(),
            object: event.object.clone(),
            outcome: event.outcome,
            patients: vec!["p1".into()],
            agents: agents.iter().map(|name| (*name).to_owned()).collect(),
            payload: Some(event.payload()),
        }
    }

    fn shape(record: &Record) -> Value {
        let directory = Directory::default();
        audit_event(record, &Observer { hsa_id: "SE2321000131-E000000000900", name: "V", directory: &directory })
    }

    #[test]
    fn whoever_reads_is_the_destination_and_the_gateway_the_source() {
        let by = By { purpose: Some("care"), from: Some(Origin::Private), ..By::named("SE2321000131-E000000000101") };
        let event = Event::new(DateTime::UNIX_EPOCH, by, Deed::Read, "Task/t1").showing(vec!["Task/t1/3".into()]);
        let shape = shape(&record(&event, &[]));
        assert_eq!(shape["agent"][0]["type"]["coding"][0]["code"], "110152");
        assert_eq!(shape["agent"][0]["network"]["address"], "private");
        assert_eq!(shape["agent"][1]["type"]["coding"][0]["code"], "110153");
        assert_eq!(shape["entity"][1]["what"]["reference"], "Task/t1/_history/3");
        assert_eq!((&shape["action"], &shape["outcome"]), (&json!("R"), &json!("0")));
    }

    #[test]
    fn the_client_is_an_application_beside_the_unit_that_it_speaks_for_or_the_one_who_asked() {
        let of =
            |by: By| shape(&record(&Event::new(DateTime::UNIX_EPOCH, by, Deed::Read, "Task/t1"), &[]))["agent"].clone();
        let unit = By {
            purpose: Some("care"),
            client: Some("north-emr".into()),
            partner: Some("north".into()),
            ..By::named("SE2321000131-E000000000101")
        };
        let agents = of(unit);
        assert_eq!(agents[2]["type"]["coding"][0]["code"], "110150");
        assert_eq!(agents[2]["who"]["identifier"]["value"], "north-emr");
        assert!(agents[2]["who"]["identifier"]["system"].as_str().unwrap().ends_with("/sid/client"));
        assert_eq!(agents[3]["who"]["display"], "north");
        let alone = of(By { purpose: Some("registry"), ..By::named("rehab-registry") });
        assert_eq!(alone[0]["who"]["identifier"]["value"], "rehab-registry");
        assert_eq!(alone.as_array().map(Vec::len), Some(2));
        assert!(of(By { purpose: Some("operations"), ..By::named("operator") })[0]["who"].get("identifier").is_none());
    }

    #[test]
    fn a_delivery_is_a_disclosure_from_us_to_the_unit() {
        let event = Event::new(DateTime::UNIX_EPOCH, By::gateway(), Deed::Deliver, "delivery/d1")
            .ended(Outcome::Minor)
            .with("class", "transient");
        let shape = shape(&record(&event, &["a-partner", "SE2321000131-E000000000202"]));
        assert_eq!(shape["type"]["code"], "110106");
        assert_eq!(shape["subtype"][0]["code"], "disclose");
        assert_eq!(shape["agent"][0]["who"]["identifier"]["value"], "SE2321000131-E000000000900");
        assert_eq!(shape["agent"][1]["who"]["identifier"]["value"], "SE2321000131-E000000000202");
        assert_eq!((&shape["outcome"], &shape["outcomeDesc"]), (&json!("4"), &json!("transient")));
    }

    #[test]
    fn a_search_has_the_names_it_asked_by_and_no_value() {
        let event = Event::new(DateTime::UNIX_EPOCH, By::named("operator"), Deed::Search, "Patient?identifier");
        let shape = shape(&record(&event, &[]));
        let query = shape["entity"][1]["query"].as_str().unwrap();
        assert_eq!(STANDARD.decode(query).unwrap(), b"Patient?identifier");
    }
}
