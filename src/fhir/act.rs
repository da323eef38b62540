//! What a resource says that statistics count: an act with its KVÅ code, an add-on to acts, a milestone of a person's
//! rehabilitation. One small value for each resource, so that nothing has to be read twice.

use chrono::NaiveDate;
use serde_json::Value;

use super::canonical::BASE;
use super::primitive::days_of;
use super::resource::{has_coding, references, type_of};
use crate::domain::{hsa_id, kva};

/// Raised when the same resources make other facts, so that those of a database are made anew.
pub const EDITION: i64 = 1;

/// The types that facts are made of.
pub const TYPES: [&str; 4] = ["CarePlan", "CareTeam", "Observation", "Procedure"];

/// What statistics know of one resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    pub act: Option<Act>,
    /// For an add-on code (ZV051): the acts and the contact that it says were at a distance, as `Type/id`.
    pub add_on_to: Vec<String>,
    pub milestones: Vec<Milestone>,
}

/// A main act that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    pub code: String,
    /// In Sweden; of a month or a year that is all that is said, its first.
    pub day: NaiveDate,
    /// `Patient/id`
    pub patient: Option<String>,
    /// `Encounter/id`
    pub contact: Option<String>,
    /// The first that leads to a unit counts.
    pub units: Vec<Doer>,
}

/// Who did it, as the resource says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doer {
    /// A unit's HSA-id, in upper case.
    Unit(String),
    /// An Organization or PractitionerRole, `Type/id`.
    Reference(String),
}

/// Something that happened once in a person's rehabilitation, or stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Milestone {
    pub kind: Kind,
    /// `Patient/id`
    pub patient: String,
    /// `None`: it stands without a day.
    pub day: Option<NaiveDate>,
    pub units: Vec<Doer>,
    /// It holds only where one of these PractitionerRoles is a contact nurse's.
    pub among: Vec<String>,
}

/// Kinds of milestone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A rehabilitation plan was made.
    Plan,
    /// The plan is part of Min vårdplan.
    MinVardplan,
    /// Needs were assessed with Hälsoskattning.
    Halsoskattning,
    /// A contact nurse (KSSK) is in the team.
    ContactNurse,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Plan, Self::MinVardplan, Self::Halsoskattning, Self::ContactNurse];

    pub fn code(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::MinVardplan => "min-vardplan",
            Self::Halsoskattning => "halsoskattning",
            Self::ContactNurse => "contact-nurse",
        }
    }
}

const PLAN_TYPE: &str = "https://fhir.inera.se/CodeSystem/typeofcareplan-cs";
/// Before the HSA-id in `meta.source`: of a document's sender, and of a unit that added the resource itself.
const SENT_BY: &str = "urn:oid:1.2.752.129.2.1.4.1#";
const ADDED_BY: &str = "urn:vardkedja:unit:";

/// The facts of a resource; most have none.
pub fn facts(resource: &Value) -> Facts {
    match type_of(resource) {
        "Procedure" => procedure(resource),
        "CarePlan" => Facts { milestones: plan(resource), ..Facts::default() },
        "Observation" => Facts { milestones: assessment(resource).into_iter().collect(), ..Facts::default() },
        "CareTeam" => Facts { milestones: team(resource).into_iter().collect(), ..Facts::default() },
        _ => Facts::default(),
    }
}

/// Whether a PractitionerRole is a contact nurse's.
pub fn is_contact_nurse(role: &Value) -> bool {
    items(&role["code"]).iter().any(|code| has_coding(code, &own("profession"), "contact-nurse"))
}

/// The HSA-id of an Organization, or what a PractitionerRole says of its own.
pub fn unit_of(resource: &Value) -> Option<Doer> {
    match type_of(resource) {
        "Organization" => items(&resource["identifier"]).iter().find_map(unit_identifier).map(Doer::Unit),
        "PractitionerRole" => doer(&resource["organization"]),
        _ => None,
    }
}

/// Only what is completed counts: what was entered in error, not done or broken off was not done.
fn procedure(resource: &Value) -> Facts {
    if resource["status"] != "completed" {
        return Facts::default();
    }
    let codings = items(&resource["code"]["coding"]);
    let own = codings.iter().filter(|c| c["system"].as_str().is_some_and(kva::is_system));
    let Some(code) = own.filter_map(|c| c["code"].as_str()).find(|c| kva::has_form(c)) else { return Facts::default() };
    let contact = reference(&resource["encounter"], "Encounter");
    if code == kva::DISTANCE {
        let parts = items(&resource["partOf"]).iter().filter_map(|part| reference(part, "Procedure"));
        return Facts { add_on_to: parts.chain(contact).collect(), ..Facts::default() };
    }
    let performed =
        [&resource["performedDateTime"], &resource["performedPeriod"]["start"], &resource["performedPeriod"]["end"]];
    let Some((day, _)) = performed.into_iter().find_map(|at| days_of(at.as_str()?)) else { return Facts::default() };
    let mut units = Vec::new();
    for performer in items(&resource["performer"]) {
        units.extend([&performer["onBehalfOf"], &performer["actor"]].into_iter().filter_map(doer));
    }
    units.extend(source(resource));
    let act = Act { code: code.to_owned(), day, patient: reference(&resource["subject"], "Patient"), contact, units };
    Facts { act: Some(act), ..Facts::default() }
}

fn plan(resource: &Value) -> Vec<Milestone> {
    let is_plan = ["RP", "VP"].iter().any(|code| is_of(&resource["category"], PLAN_TYPE, code));
    if is_error(resource) || !is_plan {
        return Vec::new();
    }
    let is_min = is_of(&resource["category"], &own("programme"), "min-vardplan");
    let kinds = [Some(Kind::Plan), is_min.then_some(Kind::MinVardplan)];
    kinds.into_iter().flatten().filter_map(|kind| milestone(resource, kind, &resource["created"])).collect()
}

fn assessment(resource: &Value) -> Option<Milestone> {
    let is_assessment = has_coding(&resource["code"], &own("observation-kind"), "needs-assessment");
    let is_instrument = has_coding(&resource["method"], &own("instrument"), "halsoskattning");
    let is_such = !is_error(resource) && is_assessment && is_instrument;
    milestone(resource, Kind::Halsoskattning, &resource["effectiveDateTime"]).filter(|_| is_such)
}

fn team(resource: &Value) -> Option<Milestone> {
    if is_error(resource) {
        return None;
    }
    let members = items(&resource["participant"]).iter().flat_map(|p| references(&p["member"]));
    let among: Vec<String> = members.filter(|m| m.starts_with("PractitionerRole/")).map(str::to_owned).collect();
    let standing = Milestone { day: None, ..milestone(resource, Kind::ContactNurse, &Value::Null)? };
    (!among.is_empty()).then_some(Milestone { among, ..standing })
}

fn milestone(resource: &Value, kind: Kind, at: &Value) -> Option<Milestone> {
    let patient = reference(&resource["subject"], "Patient")?;
    let day = at.as_str().and_then(days_of).map(|(first, _)| first);
    if day.is_none() && kind != Kind::ContactNurse {
        return None;
    }
    let units = source(resource).into_iter().collect();
    Some(Milestone { kind, patient, day, units, among: Vec::new() })
}

fn is_error(resource: &Value) -> bool {
    resource["status"] == "entered-in-error"
}

fn is_of(concepts: &Value, system: &str, code: &str) -> bool {
    items(concepts).iter().any(|concept| has_coding(concept, system, code))
}

fn own(system: &str) -> String {
    format!("{BASE}/CodeSystem/{system}")
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

/// A reference to a resource here of that type, without the version it may name.
fn reference(value: &Value, resource_type: &str) -> Option<String> {
    let target = value["reference"].as_str()?.split("/_history/").next()?;
    let (kind, id) = target.split_once('/')?;
    (kind == resource_type && !id.is_empty()).then(|| target.to_owned())
}

fn doer(value: &Value) -> Option<Doer> {
    if value["type"] == "Organization"
        && let Some(unit) = unit_identifier(&value["identifier"])
    {
        return Some(Doer::Unit(unit));
    }
    let named = ["Organization", "PractitionerRole"].iter().find_map(|kind| reference(value, kind));
    named.map(Doer::Reference)
}

fn unit_identifier(identifier: &Value) -> Option<String> {
    let is_hsa = identifier["system"].as_str().is_some_and(hsa_id::is_system);
    identifier["value"].as_str().filter(|_| is_hsa).map(str::to_ascii_uppercase)
}

/// The unit that the resource comes from.
fn source(resource: &Value) -> Option<Doer> {
    let source = resource["meta"]["source"].as_str()?;
    let unit = source.strip_prefix(SENT_BY).or_else(|| source.strip_prefix(ADDED_BY))?;
    (!unit.is_empty()).then(|| Doer::Unit(unit.to_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn act(performed: Value) -> Value {
        let mut resource = json!({
            "resourceType": "Procedure", "status": "completed",
            "code": { "coding": [{ "system": "http://snomed.info/sct", "code": "1" }, { "system": kva::SYSTEM, "code": "DV143" }] },
            "subject": { "reference": "Patient/p" }, "encounter": { "reference": "Encounter/e/_history/2" },
            "performer": [{ "actor": { "reference": "PractitionerRole/r" }, "onBehalfOf": {
                "type": "Organization", "identifier": { "system": "urn:oid:1.2.752.29.4.19", "value": "se-e1" } } }],
        });
        for (name, value) in performed.as_object().unwrap() {
            resource[name] = value.clone();
        }
        resource
    }

    #[test]
    fn an_act_is_on_the_day_it_has_in_sweden() {
        for (performed, day) in [
            (json!({ "performedDateTime": "2026-03-28T22:59:59Z" }), "2026-03-28"),
            (json!({ "performedDateTime": "2026-03-28T23:00:00Z" }), "2026-03-29"),
            (json!({ "performedDateTime": "2026-03-29T21:59:59Z" }), "2026-03-29"),
            (json!({ "performedDateTime": "2026-03-29T22:00:00Z" }), "2026-03-30"),
            (json!({ "performedPeriod": { "start": "2026-10-24T22:30:00Z" } }), "2026-10-25"),
            (json!({ "performedPeriod": { "end": "2026-10-25T23:00:00Z" } }), "2026-10-26"),
            (json!({ "performedDateTime": "2026-02" }), "2026-02-01"),
        ] {
            let found = facts(&act(performed)).act.unwrap();
            assert_eq!(found.day.to_string(), day);
            assert_eq!((found.code.as_str(), found.contact.as_deref()), ("DV143", Some("Encounter/e")));
            let units = [Doer::Unit("SE-E1".into()), Doer::Reference("PractitionerRole/r".into())];
            assert_eq!(found.units, units);
        }
        assert!(facts(&act(json!({}))).act.is_none(), "without a day it is in no period");
    }

    #[test]
    fn what_was_not_done_is_no_act() {
        for status in ["entered-in-error", "not-done", "stopped", "in-progress"] {
            let resource = act(json!({ "performedDateTime": "2026-02-01", "status": status }));
            assert_eq!(facts(&resource), Facts::default(), "{status}");
        }
    }

    #[test]
    fn the_code_for_distance_is_no_act_but_says_which_were() {
        let mut add_on = act(json!({ "performedDateTime": "2026-02-01" }));
        add_on["code"]["coding"][1]["code"] = json!(kva::DISTANCE);
        add_on["partOf"] = json!([{ "reference": "Procedure/a" }, { "identifier": { "value": "b" } }]);
        let found = facts(&add_on);
        assert!(found.act.is_none());
        assert_eq!(found.add_on_to, ["Procedure/a", "Encounter/e"]);
    }

    #[test]
    fn a_plan_within_min_vardplan_is_two_milestones() {
        let concept = |system: &str, code: &str| json!({ "coding": [{ "system": system, "code": code }] });
        let plan = json!({
            "resourceType": "CarePlan", "status": "active", "created": "2026-03-02", "subject": { "reference": "Patient/p" },
            "meta": { "source": "urn:oid:1.2.752.129.2.1.4.1#SE-E1" },
            "category": [concept(PLAN_TYPE, "RP"), concept(&own("programme"), "min-vardplan")],
        });
        let found = facts(&plan).milestones;
        assert_eq!(found.iter().map(|m| m.kind).collect::<Vec<_>>(), [Kind::Plan, Kind::MinVardplan]);
        assert_eq!(found[0].units, [Doer::Unit("SE-E1".into())]);
    }

    #[test]
    fn every_example_of_an_activity_has_its_acts() {
        let text = include_str!("../../mappings/examples/activity.full.fhir.json");
        let resources: Vec<Value> = serde_json::from_str(text).unwrap();
        let found: Vec<Facts> = resources.iter().map(facts).collect();
        let acts: Vec<&Act> = found.iter().filter_map(|f| f.act.as_ref()).collect();
        let add_ons: Vec<&Facts> = found.iter().filter(|f| !f.add_on_to.is_empty()).collect();
        assert!(!acts.is_empty() && add_ons.len() == 1);
        assert_eq!(add_ons[0].add_on_to.len(), acts.len() + 1, "each main act, and the contact");
        assert!(acts.iter().all(|a| a.day.to_string() == "2026-03-18" && a.patient.is_some()));
    }
}
