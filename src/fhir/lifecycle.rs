//! The status a resource gets when what it says was entered in error, by type.

use serde_json::{Value, json};

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

#[cfg(test)]
mod tests {
    use super::*;

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
