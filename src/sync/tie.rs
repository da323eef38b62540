//! Ties an add-on code (ZV051) that came by itself to the main activity it names, or says that this one has not come yet.

use serde_json::{Value, json};

use crate::Gateway;
use crate::fhir::canonical::ACTIVITY_ID;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::resource::type_of;
use crate::store::{Filter, StoreError};

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
    let seen_by = Filter::Units(vec![unit.to_owned()]);
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
            if body["subject"]["reference"] != subject {
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
