//! JRN-5: what goes to or from the patient in the programme is communication, and is not copied into the journal.

use serde_json::Value;
use uuid::Uuid;

use crate::Gateway;
use crate::domain::programme::Step;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::resource::type_of;
use crate::rules::programme::is_copied;
use crate::store::Filter;
use crate::sync::Refusal;

/// Every text that went to or from the patient in these programmes, as far as it is still here.
pub(super) async fn messages_of(gateway: &Gateway, programmes: &[Uuid]) -> Result<Vec<String>, Refusal> {
    let mut texts = Vec::new();
    for id in programmes {
        let mut names = gateway.store.programme_resources(*id).await?;
        names.retain(|name| name.starts_with("Communication"));
        for stored in gateway.store.resources(&Filter::ALL, &names).await? {
            let body: Value = serde_json::from_slice(&stored.body).unwrap_or_default();
            let payloads = body["payload"].as_array().into_iter().flatten();
            texts.extend(payloads.filter_map(|p| p["contentString"].as_str().map(str::to_owned)));
        }
    }
    Ok(texts)
}

/// Refuses a text of the journal that is a message's, whole or in a long part.
pub(super) fn check_text(gateway: &Gateway, field: &str, text: &str, messages: &[String]) -> Result<(), Refusal> {
    if !messages.iter().any(|message| is_copied(text, message)) {
        return Ok(());
    }
    let all = gateway.conformance.programmes.all().iter();
    let mut cited = all.filter_map(|of| of.step(Step::Note)).flat_map(|rule| &rule.cited);
    let words = cited.find(|c| c.rule == "JRN-5").map(|c| super::quoted(std::slice::from_ref(c))).unwrap_or_default();
    Err(Refusal::Findings(vec![Issue::error(
        Code::BusinessRule,
        field,
        format!("Texten är ett meddelandes: skriv det som är relevant med egna ord. {words}"),
        format!("The text is that of a message: write what is relevant in words of your own. {words}"),
    )]))
}

/// The same of resources that come into the journal by any road, with the patient that they are about.
pub async fn check_copied(gateway: &Gateway, resources: &[Value], patient: Option<&str>) -> Result<(), Refusal> {
    let notes = resources.iter().filter(|r| type_of(r) == "Procedure").flat_map(|r| r["note"].as_array()).flatten();
    let notes: Vec<&str> = notes.filter_map(|note| note["text"].as_str()).collect();
    let Some(patient) = patient.filter(|_| !notes.is_empty()) else { return Ok(()) };
    let programmes: Vec<Uuid> = gateway.store.programmes_of(patient).await?.iter().map(|one| one.id).collect();
    let messages = messages_of(gateway, &programmes).await?;
    notes.into_iter().try_for_each(|text| check_text(gateway, "note", text, &messages))
}
