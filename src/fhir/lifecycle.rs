//! The status a resource gets when what it says was entered in error, by type; and whether one has come to its end.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde_json::{Value, json};

const IN_ERROR: &str = "entered-in-error";

/// Marks a resource as entered in error, in the element its type has for that. Actors are left as they are:
/// a unit is not an error because a document about it was.
pub fn retract(resource: &mut Value) {
    let Some(object) = resource.as_object_mut() else { return };
    let resource_type = object.get("resourceType").and_then(Value::as_str).unwrap_or_default();
    let (element, value) = match resource_type {
        "Goal" => ("lifecycleStatus", json!("entered-in-error")),
        "Condition" => (
            "verificationStatus",
            json!({ "coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/condition-ver-status",
                "code": "entered-in-error",
            }] }),
        ),
        "Appointment"
        | "CarePlan"
        | "CareTeam"
        | "Communication"
        | "Composition"
        | "Consent"
        | "DocumentReference"
        | "Encounter"
        | "EpisodeOfCare"
        | "Observation"
        | "Procedure"
        | "QuestionnaireResponse"
        | "ServiceRequest"
        | "Task" => ("status", json!("entered-in-error")),
        _ => return,
    };
    if resource_type == "Condition" {
        object.shift_remove("clinicalStatus"); // con-5: not together with entered-in-error
    }
    object.insert(element.to_owned(), value);
}

/// Whether the stored resource says that it is none any more: entered in error, or a patient who is known by another one. Most
/// bodies do not have the words, and are not parsed.
pub fn is_retired(body: &[u8]) -> bool {
    static WORDS: LazyLock<[Finder<'static>; 2]> =
        LazyLock::new(|| [Finder::new(IN_ERROR.as_bytes()), Finder::new(b"replaced-by")]);
    if !WORDS.iter().any(|word| word.find(body).is_some()) {
        return false;
    }
    let Ok(resource) = serde_json::from_slice::<Value>(body) else { return false };
    match resource["resourceType"].as_str().unwrap_or_default() {
        "Patient" => list(&resource["link"]).iter().any(|link| link["type"] == "replaced-by"),
        "Goal" => resource["lifecycleStatus"] == IN_ERROR,
        "Condition" => list(&resource["verificationStatus"]["coding"]).iter().any(|coding| coding["code"] == IN_ERROR),
        _ => resource["status"] == IN_ERROR,
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_retracted_is_retired_and_what_only_speaks_of_it_is_not() {
        for kind in ["Procedure", "Condition", "Goal", "Task"] {
            let mut resource = json!({ "resourceType": kind, "status": "completed" });
            assert!(!is_retired(resource.to_string().as_bytes()), "{kind}");
            retract(&mut resource);
            assert!(is_retired(resource.to_string().as_bytes()), "{kind}");
        }
        let speaks =
            json!({ "resourceType": "Procedure", "status": "completed", "note": [{ "text": "entered-in-error" }] });
        assert!(!is_retired(speaks.to_string().as_bytes()));
        let merged = json!({ "resourceType": "Patient", "link": [{ "type": "replaced-by", "other": { "reference": "Patient/b" } }] });
        assert!(is_retired(merged.to_string().as_bytes()));
        let kept = json!({ "resourceType": "Patient", "link": [{ "type": "replaces" }] });
        assert!(!is_retired(kept.to_string().as_bytes()));
    }

    #[test]
    fn a_procedure_is_retracted_by_status_and_an_organization_not_at_all() {
        let mut procedure = json!({ "resourceType": "Procedure", "status": "completed" });
        retract(&mut procedure);
        assert_eq!(procedure["status"], "entered-in-error");
        let mut organization = json!({ "resourceType": "Organization", "active": true });
        retract(&mut organization);
        assert!(organization.get("status").is_none());
    }
}
