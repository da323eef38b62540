//! Protected identity: the labels that say that nobody may learn where a person lives, and what must not go further then.
//!
//! The labels are HL7 Sweden's (`sekretessmarkering`, `skyddadFolkbokforing`). They travel with the person wherever they go;
//! addresses and telephones stay with the unit that gave them.

use serde_json::{Value, json};

use super::resource::{reference_of, type_of};

/// The system of the labels.
pub const LABELS: &str = "http://hl7.se/fhir/ig/base/CodeSystem/SecurityLabel";
/// Marks that protect where a person is; any code of the system counts, because a label that we do not know protects too.
const TELLS_WHERE: [&str; 4] = ["address", "telecom", "contact", "photo"];

/// Whether the resource has a label of protected identity.
pub fn is_protected(resource: &Value) -> bool {
    let labels = resource["meta"]["security"].as_array().map_or(&[][..], Vec::as_slice);
    labels.iter().any(|label| label["system"] == LABELS)
}

/// Labels those who are near a protected person as that person is.
pub fn spread(resources: &mut [Value]) {
    let labelled = |r: &Value| Some((reference_of(r)?, r["meta"]["security"].clone()));
    let protected: Vec<(String, Value)> =
        resources.iter().filter(|r| type_of(r) == "Patient" && is_protected(r)).filter_map(labelled).collect();
    for near in resources.iter_mut().filter(|r| type_of(r) == "RelatedPerson" && !is_protected(r)) {
        let of = near["patient"]["reference"].as_str();
        let labels = protected.iter().find(|(name, _)| of == Some(name.as_str())).map(|(_, labels)| labels);
        let own = labels.and_then(Value::as_array).into_iter().flatten().filter(|label| label["system"] == LABELS);
        let own: Vec<Value> = own.cloned().collect();
        if own.is_empty() {
            continue;
        }
        match near["meta"]["security"].as_array_mut() {
            Some(list) => list.extend(own),
            None => near["meta"]["security"] = json!(own),
        }
    }
}

/// Takes out of a person's resource what tells where they are. Whether there was anything.
pub fn conceal(person: &mut Value) -> bool {
    if !matches!(type_of(person), "Patient" | "RelatedPerson" | "Person") {
        return false;
    }
    let Some(object) = person.as_object_mut() else { return false };
    let before = object.len();
    object.retain(|name, _| !TELLS_WHERE.contains(&name.trim_start_matches('_')));
    object.len() != before
}

/// Conceals every protected person among the resources, and those who are near them: who lives with somebody tells where that is.
/// Also where one stands inside another resource. Whether anything was taken out.
pub fn conceal_protected(resources: &mut [Value]) -> bool {
    let protected: Vec<String> = resources.iter().filter(|r| is_protected(r)).filter_map(reference_of).collect();
    let mut concealed = false;
    for resource in resources.iter_mut() {
        let is_near =
            resource["patient"]["reference"].as_str().is_some_and(|p| protected.iter().any(|known| known == p));
        if is_protected(resource) || is_near {
            concealed |= conceal(resource);
        }
        let inside = resource.get_mut("contained").and_then(Value::as_array_mut).into_iter().flatten();
        for person in inside.filter(|person| is_protected(person) || !protected.is_empty()) {
            concealed |= conceal(person);
        }
    }
    concealed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patient(label: Option<&str>) -> Value {
        let mut patient = json!({
            "resourceType": "Patient", "id": "p", "name": [{ "text": "Test Testsson" }],
            "telecom": [{ "system": "phone", "value": "070-000 00 00" }], "address": [{ "text": "Testgatan 1" }],
        });
        if let Some(code) = label {
            patient["meta"] = json!({ "security": [{ "system": LABELS, "code": code }] });
        }
        patient
    }

    #[test]
    fn where_a_protected_person_is_goes_no_further_and_the_label_does() {
        for label in ["sekretessmarkering", "skyddadFolkbokforing", "one-we-do-not-know"] {
            let near = json!({ "resourceType": "RelatedPerson", "id": "r", "patient": { "reference": "Patient/p" }, "address": [{ "text": "Testgatan 1" }] });
            let mut all = [patient(Some(label)), near];
            assert!(conceal_protected(&mut all));
            assert!(!json!(all).to_string().contains("Testgatan") && !json!(all).to_string().contains("070"));
            assert!(is_protected(&all[0]) && all[0]["name"].is_array());
            assert!(!conceal_protected(&mut all), "once is enough");
        }
    }

    #[test]
    fn others_keep_theirs() {
        let mut all = [patient(None)];
        assert!(!conceal_protected(&mut all));
        assert_eq!(all[0], patient(None));
    }
}
