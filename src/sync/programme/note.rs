//! A behandlare's act goes into the journal by the road that every activity takes: Encounter, a Procedure for each code, and
//! ZV051 where it was at a distance. What was written to the patient does not go along (JRN-5).

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::copied::{check_text, messages_of};
use super::step::Event;
use super::wrong;
use crate::Gateway;
use crate::access::Caller;
use crate::domain::{Format, Kind};
use crate::store::{Filter, Programme};
use crate::sync::weigh::instant;
use crate::sync::{Refusal, Submission, submit};

/// What was done, as the behandlare says it.
#[derive(Debug, Clone, Default)]
pub struct Note {
    /// The care contact in the journal that it is linked to (JRN-3).
    pub contact: String,
    /// A code of `programme-contact`.
    pub form: String,
    pub profession: String,
    /// ICD-10-SE (JRN-7).
    pub diagnoses: Vec<String>,
    /// KVÅ, by what was done (JRN-6).
    pub codes: Vec<String>,
    /// Of whom it is, where the caller speaks for several units.
    pub unit: Option<String>,
}

const ADD_ON: &str = "ZV051";

/// Writes the act as an activity of the unit. Sent again it is the same.
pub(super) async fn journal(
    gateway: &Gateway,
    caller: &Caller,
    one: &Programme,
    event: &Event,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let Some(note) = &event.note else { return Ok(()) };
    let own = super::parties(one).into_iter().find(|unit| match &note.unit {
        Some(named) => unit.eq_ignore_ascii_case(named) && caller.may_act_for(unit),
        None => caller.may_act_for(unit),
    });
    let unit =
        own.ok_or_else(|| wrong("unit", "Enheten har ingen del i programmet.", "The unit has no part in it."))?;
    if note.codes.iter().any(|code| code.eq_ignore_ascii_case(ADD_ON)) {
        return Err(wrong(
            "codes",
            "ZV051 läggs till av sig själv när det skedde på distans, och står aldrig ensam (JRN-13).",
            "ZV051 is added by itself where it was at a distance, and never stands alone (JRN-13).",
        ));
    }
    if let Some(text) = event.text.as_deref() {
        let messages = messages_of(gateway, &[one.id]).await?;
        check_text(gateway, "text", text, &messages)?;
    }
    let patient = one.patient.as_deref().unwrap_or_default();
    let stored = gateway.store.resource(&Filter::ALL, "Patient", patient).await?;
    let body: Value = stored.and_then(|s| serde_json::from_slice(&s.body).ok()).unwrap_or_default();
    let number = body["identifier"][0]["value"].as_str().unwrap_or_default();
    let at_distance = note.form != "visit";
    let (id, at) = (event.id.as_deref().unwrap_or_default(), event.at.unwrap_or(now));
    let mut activity = json!({
        "id": format!("{unit}#P-{}-{id}", one.id.simple()),
        "version": 1,
        "status": "active",
        "contactId": note.contact,
        "atDistance": at_distance,
        "start": instant(at),
        "diagnoses": note.diagnoses.iter().map(|code| json!({ "code": code })).collect::<Vec<_>>(),
        "patient": { "personnummer": number },
        "unit": unit,
        "performer": { "hsaId": event.by, "profession": note.profession },
        "codes": note.codes.iter().map(|code| json!({ "code": code })).collect::<Vec<_>>(),
    });
    if at_distance {
        activity["addOns"] = json!([{ "code": ADD_ON }]);
    }
    if let Some(text) = &event.text {
        activity["note"] = json!(text);
    }
    let bytes = activity.to_string().into_bytes();
    let submission = Submission { caller, kind: Kind::Activity, format: Format::Json, bytes: &bytes, key: None, now };
    submit(gateway, &submission).await?;
    Ok(())
}
