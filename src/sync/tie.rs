//! Ties an add-on code (ZV051) that came by itself to the main activity it names, or says that this one has not come yet.

use serde_json::{Value, json};

use super::identify::is_same_person;
use crate::Gateway;
use crate::fhir::canonical::{ACTIVITY_ID, CONTACT_ID};
use crate::fhir::issue::{Code, Issue};
use crate::fhir::resource::{identifier, type_of};
use crate::store::{Expect, Filter, StoreError, Stored};

/// Whether everything that a document's activities are part of is here.
#[derive(Debug, PartialEq, Eq)]
pub enum Tie {
    Tied,
    /// Ids of main activities that have not come.
    Waiting(Vec<String>),
    /// The main activity is another patient's.
    Refused(Issue),
}

/// Points every `partOf` that names an activity by its identifier at the Procedure which has it, where `unit` may see it.
pub async fn tie(gateway: &Gateway, unit: &str, resources: &mut [Value]) -> Result<Tie, StoreError> {
    let seen_by = Filter::units(vec![unit.to_owned()]);
    let mut waiting = Vec::new();
    for resource in resources.iter_mut().filter(|r| type_of(r) == "Procedure") {
        let subject = resource["subject"]["reference"].clone();
        let Some(parts) = resource.get_mut("partOf").and_then(Value::as_array_mut) else { continue };
        for part in
            parts.iter_mut().filter(|p| p.get("reference").is_none() && p["identifier"]["system"] == ACTIVITY_ID)
        {
            let Some(id) = part["identifier"]["value"].as_str().map(str::to_owned) else { continue };
            let found = gateway.store.by_identifier(&seen_by, "Procedure", ACTIVITY_ID, &id).await?;
            let Some(main) = found.first() else {
                waiting.push(id);
                continue;
            };
            let body: Value = serde_json::from_slice(&main.body).unwrap_or_default();
            let of = |subject: &Value| subject.as_str().and_then(|s| s.strip_prefix("Patient/")).map(str::to_owned);
            let (one, other) = (of(&body["subject"]["reference"]), of(&subject));
            let is_same = is_same_person(&gateway.store, one.as_deref(), other.as_deref()).await?;
            if !is_same {
                return Ok(Tie::Refused(Issue::error(
                    Code::BusinessRule,
                    "Procedure.partOf",
                    "Huvudåtgärden som relation pekar på gäller en annan patient.",
                    "The main activity that relation names is about another patient.",
                )));
            }
            part["reference"] = json!(format!("Procedure/{}", main.id));
        }
    }
    Ok(if waiting.is_empty() { Tie::Tied } else { Tie::Waiting(waiting) })
}

/// A contact is reported in one document, so that it has one Encounter and one ZV051: a second document about it is refused, and
/// what must still be true when a first one is committed is returned.
pub async fn check_contact(
    gateway: &Gateway,
    resources: &[Value],
) -> Result<Result<Option<Expect>, Issue>, StoreError> {
    let Some(contact) = resources.iter().find(|r| type_of(r) == "Encounter") else { return Ok(Ok(None)) };
    let Some(value) = identifier(contact, CONTACT_ID) else { return Ok(Ok(None)) };
    let known = gateway.store.by_identifier(&Filter::ALL, "Encounter", CONTACT_ID, value).await?;
    if known.is_empty() {
        return Ok(Ok(Some(Expect::NoIdentifier {
            resource_type: "Encounter".into(),
            system: CONTACT_ID.into(),
            value: value.to_owned(),
            filter: Filter::ALL,
        })));
    }
    let in_force = |stored: &Stored| {
        let body: Value = serde_json::from_slice(&stored.body).unwrap_or_default();
        contact["id"] != *stored.id && body["status"] != "entered-in-error"
    };
    if known.iter().any(in_force) {
        return Ok(Err(Issue::error(
            Code::Duplicate,
            "contactId",
            "Vårdkontakten är redan rapporterad i ett annat dokument; sänd en ny version av det, med alla åtgärder.",
            "The contact is reported in another document already; send a new version of that one, with all activities.",
        )));
    }
    Ok(Ok(None))
}

/// What the sender of a waiting add-on is told.
pub fn waits(main: &[String]) -> Issue {
    let main = main.join(", ");
    Issue::warning(
        Code::NotFound,
        "relation",
        format!("Tilläggskoden väntar på sin huvudåtgärd ({main}), som inte har kommit; den räknas först då."),
        format!("The add-on waits for its main activity ({main}), which has not come; it does not count until then."),
    )
}
