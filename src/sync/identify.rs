//! Gives every mapped resource its id at the gateway, so that the same document makes the same resources.

use std::collections::HashMap;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::domain::Kind;
use crate::fhir::resource::{id_of, type_of, visit_references};
use crate::mapping::{IdAsk, Ids};
use crate::store::{Store, StoreError};

/// The namespace of the ids the gateway makes (UUIDv5). It must never change: ids would.
const NAMESPACE: Uuid = Uuid::from_u128(0x9d1c_6f0e_54b7_4c0f_8f5a_6b1e_2a7d_4e31);

/// A name-based id of ours.
pub fn id(parts: &[&str]) -> String {
    // The unit separator keeps ("a", "bc") and ("ab", "c") apart.
    Uuid::new_v5(&NAMESPACE, parts.join("\u{1f}").as_bytes()).to_string()
}

/// Ids for the resources of one document. A Patient gets a stand-in until the store is asked who it is:
/// a UUIDv5 of a personnummer could be guessed back.
pub struct DocumentIds<'a> {
    pub organisation: &'a str,
    pub kind: Kind,
    pub document: &'a str,
}

impl Ids for DocumentIds<'_> {
    fn id(&self, ask: &IdAsk<'_>) -> String {
        match (ask.actor, ask.resource_type) {
            (true, "Organization" | "Patient" | "Location") => id(&[ask.resource_type, &ask.key.to_ascii_uppercase()]),
            (true, _) => id(&[self.organisation, ask.resource_type, &ask.key.to_ascii_uppercase()]),
            (false, _) => id(&[self.organisation, self.kind.name(), self.document, ask.block, ask.key]),
        }
    }
}

/// Ids for a document that is mapped only for its findings.
pub struct Blank;

impl Ids for Blank {
    fn id(&self, ask: &IdAsk<'_>) -> String {
        id(&[ask.block, ask.key])
    }
}

/// A Patient that a document is about, as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPatient {
    pub system: String,
    pub value: String,
    /// The id the patient has, or gets with this commit.
    pub id: String,
    pub is_new: bool,
}

/// Whether two Patients are one person: the same, or linked.
pub async fn is_same_person(store: &Store, one: Option<&str>, other: Option<&str>) -> Result<bool, StoreError> {
    match (one, other) {
        _ if one == other => Ok(true),
        (Some(one), Some(other)) => Ok(store.kin(one).await?.iter().any(|kin| kin == other)),
        _ => Ok(false),
    }
}

/// Looks up the patients among the resources and puts their real ids everywhere.
pub async fn settle_patients(store: &Store, resources: &mut [Value]) -> Result<Vec<KnownPatient>, StoreError> {
    let mut known = Vec::new();
    let mut renamed: HashMap<String, String> = HashMap::new();
    for patient in resources.iter_mut().filter(|r| type_of(r) == "Patient") {
        let identifier = &patient["identifier"][0];
        let (Some(system), Some(value)) = (identifier["system"].as_str(), identifier["value"].as_str()) else {
            continue;
        };
        let (system, value) = (system.to_owned(), value.to_owned());
        let found = store.patient_id(&system, &value).await?;
        let is_new = found.is_none();
        let id = found.unwrap_or_else(|| Uuid::new_v4().to_string());
        if let Some(stand_in) = id_of(patient) {
            renamed.insert(format!("Patient/{stand_in}"), format!("Patient/{id}"));
        }
        patient["id"] = json!(id);
        known.push(KnownPatient { system, value, id, is_new });
    }
    for resource in resources.iter_mut() {
        visit_references(resource, &mut |reference| {
            let new = reference.get("reference").and_then(Value::as_str).and_then(|r| renamed.get(r)).cloned();
            if let Some(new) = new {
                reference.insert("reference".into(), json!(new));
            }
        });
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_unit_is_one_organization_whatever_the_document_and_the_case() {
        let ask =
            |block: &'static str, key: &'static str| IdAsk { resource_type: "Organization", block, key, actor: true };
        let a = DocumentIds { organisation: "A", kind: Kind::Referral, document: "1" };
        let b = DocumentIds { organisation: "B", kind: Kind::RehabPlan, document: "2" };
        assert_eq!(a.id(&ask("recipient", "SE2321000131-e1")), b.id(&ask("unit", "SE2321000131-E1")));
    }

    #[test]
    fn the_same_block_of_another_document_is_another_resource() {
        let ask = IdAsk { resource_type: "Task", block: "task", key: "", actor: false };
        let a = DocumentIds { organisation: "A", kind: Kind::Referral, document: "1" };
        let b = DocumentIds { organisation: "A", kind: Kind::Referral, document: "2" };
        assert_ne!(a.id(&ask), b.id(&ask));
    }
}
