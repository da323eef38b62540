//! Rules across the resources of one document, which no single resource can break.

use serde_json::Value;

use super::canonical::BASE;
use super::issue::{Code, Issue};
use super::resource::{has_coding, type_of};
use crate::domain::kva;

/// An organisation number among a unit's identifiers: the principal it belongs to.
const ORGANISATION_NUMBER: &str = "urn:oid:2.5.4.97";
const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";

/// Checks what must hold between the resources of a document.
pub fn rules(resources: &[Value]) -> Vec<Issue> {
    let mut issues = Vec::new();
    distance(resources, &mut issues);
    for plan in resources.iter().filter(|r| type_of(r) == "CarePlan") {
        interventions(plan, &mut issues);
        principals(plan, resources, &mut issues);
    }
    issues
}

/// RIV-TA's ProcessActivities 1.0 has no patient, performer or location by its schema; Inera's sample carries them inside the
/// activity, and that is the shape that is taken.
pub fn beside_the_schema(message: &Value) -> Option<Issue> {
    let activity = message.get("activityType")?;
    let carried: Vec<&str> =
        ["patient", "performerRole", "location"].into_iter().filter(|name| activity.get(name).is_some()).collect();
    (!carried.is_empty()).then(|| {
        let names = carried.join(", ");
        Issue::information(
            "activityType",
            format!("{names} finns inte i kontraktets schema 1.0 utan i Ineras exempel; de tas emot så."),
            format!("{names} are not in the contract's schema 1.0 but in Inera's sample; they are taken as there."),
        )
    })
}

/// ZV051 belongs to a contact at a distance, and such a contact should carry it (Kronoberg's guide, rules JRN-12 and JRN-13).
fn distance(resources: &[Value], issues: &mut Vec<Issue>) {
    let Some(contact) = resources.iter().find(|r| type_of(r) == "Encounter") else { return };
    let at_distance = contact["class"]["system"] == ACT_CODE && contact["class"]["code"] == "VR";
    let procedures = resources.iter().filter(|r| type_of(r) == "Procedure");
    let has_add_on = procedures.into_iter().any(|p| has_coding(&p["code"], kva::SYSTEM, kva::DISTANCE));
    match (at_distance, has_add_on) {
        (false, true) => issues.push(Issue::error(
            Code::BusinessRule,
            "Encounter.class",
            "ZV051 anger vård på distans, men kontakten är inte på distans: rätta det ena eller det andra.",
            "ZV051 says care at a distance, but the contact is not: correct one of them.",
        )),
        (true, false) => issues.push(Issue::warning(
            Code::BusinessRule,
            "Encounter.class",
            "Kontakten är på distans men tilläggskoden ZV051 saknas.",
            "The contact is at a distance, but the add-on code ZV051 is missing.",
        )),
        _ => {}
    }
}

/// What an activity points at by its id must be one intervention.
fn interventions(plan: &Value, issues: &mut Vec<Issue>) {
    let url = format!("{BASE}/StructureDefinition/intervention-id");
    let mut seen: Vec<&str> = Vec::new();
    for (index, activity) in plan["activity"].as_array().map_or(&[][..], Vec::as_slice).iter().enumerate() {
        let extensions = activity["detail"]["extension"].as_array().map_or(&[][..], Vec::as_slice);
        let ids = extensions.iter().filter(|e| e["url"] == *url).filter_map(|e| e["valueString"].as_str());
        for id in ids {
            if seen.contains(&id) {
                issues.push(Issue::error(
                    Code::Duplicate,
                    format!("CarePlan.activity[{index}].detail"),
                    "Två insatser i planen har samma id; ge var och en sitt.",
                    "Two interventions of the plan have the same id; give each its own.",
                ));
            }
            seen.push(id);
        }
    }
}

/// A statutory SIP joins two principals, region and municipality (HSL 16:4); within one principal it is the same method, not the duty.
fn principals(plan: &Value, resources: &[Value], issues: &mut Vec<Issue>) {
    let system = format!("{BASE}/CodeSystem/sip-basis");
    let categories = plan["category"].as_array().map_or(&[][..], Vec::as_slice);
    let basis = |code: &str| categories.iter().any(|c| has_coding(c, &system, code));
    let (statutory, within) = (basis("statutory"), basis("within-principal"));
    if !statutory && !within {
        return;
    }
    let mut found: Vec<&str> = Vec::new();
    for unit in resources.iter().filter(|r| type_of(r) == "Organization") {
        for identifier in unit["identifier"].as_array().map_or(&[][..], Vec::as_slice) {
            if identifier["system"] == ORGANISATION_NUMBER
                && let Some(number) = identifier["value"].as_str()
                && !found.contains(&number)
            {
                found.push(number);
            }
        }
    }
    if statutory && found.len() == 1 {
        issues.push(Issue::warning(
            Code::BusinessRule,
            "CarePlan.category",
            "En lagstadgad SIP gäller mellan region och kommun, men alla deltagare har samma huvudman: välj within-principal?",
            "A statutory SIP is between region and municipality, but all participants have one principal: is it within-principal?",
        ));
    }
    if within && found.len() > 1 {
        issues.push(Issue::warning(
            Code::BusinessRule,
            "CarePlan.category",
            "Planen sägs vara inom en huvudman, men deltagarna har flera: välj statutory?",
            "The plan is said to be within one principal, but the participants have several: is it statutory?",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn contact(class: &str, code: &str) -> Vec<Issue> {
        rules(&[
            json!({ "resourceType": "Encounter", "class": { "system": ACT_CODE, "code": class } }),
            json!({ "resourceType": "Procedure", "code": { "coding": [{ "system": kva::SYSTEM, "code": code }] } }),
        ])
    }

    #[test]
    fn a_visit_in_person_does_not_carry_the_code_for_distance() {
        assert!(contact("AMB", "ZV051").iter().any(Issue::is_error));
        assert!(contact("VR", "ZV051").is_empty());
        assert!(contact("AMB", "DV133").is_empty());
        assert!(matches!(contact("VR", "DV133").as_slice(), [warning] if !warning.is_error()));
    }

    #[test]
    fn two_interventions_do_not_share_an_id() {
        let activity = |id: &str| json!({ "detail": { "extension": [{ "url": format!("{BASE}/StructureDefinition/intervention-id"), "valueString": id }] } });
        let plan =
            |a: &str, b: &str| rules(&[json!({ "resourceType": "CarePlan", "activity": [activity(a), activity(b)] })]);
        assert!(plan("I1", "I2").is_empty());
        assert!(plan("I1", "I1").iter().any(Issue::is_error));
    }
}
