//! What is reported of a programme from elsewhere: that a message of the calendar went out, and that the journal says what it has
//! to say, also when the programme itself is gone.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::step::Event;
use super::{Change, audit, not_now, resources, wrong};
use crate::Gateway;
use crate::access::Caller;
use crate::domain::programme::Step;
use crate::store::{Commit, Committed, Filter, Programme};
use crate::sync::weigh::{Scale, Weighed, current};
use crate::sync::{Refusal, witness};

/// The order to send it is carried out, and when is on record; its words are not repeated.
pub(super) fn sent(change: &mut Change<'_>, event: &Event) -> Result<(), Refusal> {
    let code = event.message.as_deref().unwrap_or_default();
    if !change.definition.messages.iter().any(|message| message.code == code) {
        let known: Vec<&str> = change.definition.messages.iter().map(|message| message.code.as_str()).collect();
        let known = known.join(", ");
        return Err(wrong("message", format!("Ange någon av {known}."), format!("Give one of {known}.")));
    }
    let name = format!("CommunicationRequest/{}", resources::id_of(change.one.id, &format!("message/{code}")));
    let request = change.known.get(&name).map(|(_, request)| request.clone()).unwrap_or_default();
    match request["status"].as_str() {
        Some("active") => {}
        Some("completed") => return Ok(()),
        _ => {
            let sv = "Meddelandet är inte beställt: det är inte dags än, eller så går det inte ut.";
            let en = "The message is not ordered: it is not due yet, or does not go out.";
            return Err(not_now("message", sv, en));
        }
    }
    let mut done = request.clone();
    done["status"] = json!("completed");
    let report = resources::sent(&change.one, code, &request, event.at.unwrap_or(change.now));
    change.add(&done, false)?;
    change.add(&report, false)
}

/// It stands in the journal: whoever was to see to that is done.
pub(super) fn documented(change: &mut Change<'_>, what: &str) -> Result<(), Refusal> {
    if !["start", "end"].contains(&what) {
        return Err(wrong("what", "Ange start eller end.", "Give start or end."));
    }
    change.state.documented.insert(what.to_owned());
    let name = format!("Task/{}", resources::id_of(change.one.id, &format!("document/{what}")));
    let task = change.known.get(&name).map(|(_, task)| task.clone());
    let Some(done) = task.and_then(|task| resources::ended(&task, "completed", None, change.now)) else {
        return Ok(());
    };
    change.add(&done, true)
}

/// It stands in the journal that a programme was, which is gone by now: the reminder ends. False where somebody was faster.
pub(super) async fn documented_after(
    gateway: &Gateway,
    caller: &Caller,
    one: &Programme,
    event: &Event,
    now: DateTime<Utc>,
) -> Result<bool, Refusal> {
    let what = event.what.as_deref().unwrap_or_default();
    if !["start", "end"].contains(&what) {
        return Err(wrong("what", "Ange start eller end.", "Give start or end."));
    }
    let name = format!("Task/{}", resources::id_of(one.id, &format!("document/{what}")));
    let known = current(gateway.store.resources(&Filter::ALL, std::slice::from_ref(&name)).await?);
    let task = known.get(&name).map(|(_, task)| task.clone());
    let Some(done) = task.and_then(|task| resources::ended(&task, "completed", None, now)) else { return Ok(true) };
    let patient = done["for"]["reference"].as_str().and_then(|name| name.strip_prefix("Patient/")).map(str::to_owned);
    let (units, mut weighed) = (super::parties(one), Weighed::default());
    let scale = Scale { now, patient: patient.as_deref(), units: &units, exchange: None };
    scale.add(&done, &known, &mut weighed);
    let mut commit = Commit { put: weighed.put, expect: weighed.expect, ..Commit::default() };
    let did = audit(gateway, caller, one.id, now)
        .with("step", Step::Documented.code())
        .with("by", event.by.as_str())
        .with("role", event.role.as_str())
        .about(patient);
    commit.audit.push(witness::wrote(did, &commit));
    Ok(matches!(gateway.store.commit(commit).await?, Committed::Done { .. }))
}
