//! Whether an answer can be taken as it is: the move, what it says beside, what it points at, and what has to come with it.

use super::super::moved::business_status;
use super::super::weigh::Current;
use super::super::{Refusal, abort, part, redirect};
use super::Change;
use crate::domain::business_status::BusinessStatus;
use crate::domain::task::{self, Role, Status, Verdict};
use crate::fhir::canonical::BASE;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::resource::{reference_of, type_of};
use serde_json::Value;

pub(super) fn check_move(from: Status, change: &Change) -> Result<(), Refusal> {
    if matches!(task::verdict(from, change.status, Role::Filler), Verdict::Allowed | Verdict::Same) {
        return Ok(());
    }
    let to = change.status;
    let open: Vec<&str> = task::moves(from, Role::Filler).into_iter().map(Status::code).collect();
    let (sv, en) = if open.is_empty() { ("ingen".into(), "none".into()) } else { (open.join(", "), open.join(", ")) };
    Err(Refusal::Conflict(Issue::error(
        Code::BusinessRule,
        "Task.status",
        format!("Från {from} kan den utförande enheten inte gå till {to}; möjliga steg: {sv}."),
        format!("From {from} the filler cannot go to {to}; possible: {en}."),
    )))
}

/// A word of ours beside the status stands where it can, and one that follows from a decision only with that decision.
pub(super) fn check_business(moved: &Value, parts: &[Status]) -> Result<(), Refusal> {
    let Some(business) = business_status(moved).and_then(BusinessStatus::parse) else { return Ok(()) };
    let status = moved["status"].as_str().and_then(Status::parse).unwrap_or(Status::Requested);
    let decided = match business {
        BusinessStatus::Redirected => redirect::named(moved).is_some(),
        BusinessStatus::PartlyAccepted => parts.contains(&Status::Rejected),
        _ => true,
    };
    if decided && business.beside().contains(&status) {
        return Ok(());
    }
    let beside = business.beside().iter().map(|s| s.code()).collect::<Vec<_>>().join(", ");
    let (sv, en) = match business {
        BusinessStatus::Redirected => (
            "Vidareskickad sägs genom att nämna enheten: redirectTo, eller redirected-to i Task.output.".to_owned(),
            "That it is sent on is said by naming the unit: redirectTo, or redirected-to in Task.output.".to_owned(),
        ),
        BusinessStatus::PartlyAccepted if !decided => (
            "Delvis accepterad sägs genom att svara på områdena: areas, eller area-accepted och area-rejected i Task.output."
                .to_owned(),
            "That it is taken in part is said by answering the areas: areas, or area-accepted and area-rejected in Task.output."
                .to_owned(),
        ),
        _ => (
            format!("{business} sägs bredvid {beside}, inte bredvid {status}."),
            format!("{business} is said beside {beside}, not beside {status}."),
        ),
    };
    Err(Refusal::Findings(vec![Issue::error(Code::BusinessRule, "Task.businessStatus", sv, en)]))
}

/// What the output points at is here and belongs to the exchange's patient, or came along.
pub(super) fn check_outputs(change: &Change, current: &Current) -> Result<(), Refusal> {
    // `current` has what belongs to the exchange: nothing else can be made an answer of it.
    let known = |name: &str| {
        current.contains_key(name) || change.resources.iter().any(|r| reference_of(r).as_deref() == Some(name))
    };
    let issues: Vec<Issue> = change
        .output
        .iter()
        .enumerate()
        .filter_map(|(index, o)| Some((index, o["valueReference"]["reference"].as_str()?)))
        .filter(|(_, name)| !known(name))
        .map(|(index, _)| {
            Issue::error(
                Code::NotFound,
                format!("Task.output[{index}].valueReference"),
                "Resursen finns inte här; skapa den först (POST) och peka sedan på den.",
                "The resource is not here; create it first (POST) and then point at it.",
            )
        })
        .collect();
    if issues.is_empty() { Ok(()) } else { Err(Refusal::Findings(issues)) }
}

/// Completion and rejection tell the sender what came of it; an active handover ends with a confirmed contact.
pub(super) fn check_answer(moved: &Value, change: &Change, current: &Current) -> Result<(), Refusal> {
    let mut issues = Vec::new();
    // Agreeing to stop says all there is to say; and what came of an area the answer to the whole says.
    let agrees = (abort::is_abort(moved) || part::is_part(moved)) && change.status == Status::Completed;
    if change.status.needs_answer() && !agrees && change.redirect.is_none() && !has_answer(change, current) {
        issues.push(Issue::error(
            Code::Required,
            "Task.output",
            "Ett svar saknas: sänd en Communication med text i Task.output, eller statusReason.text vid avvisning.",
            "An answer is missing: send a Communication with text in Task.output, or statusReason.text when rejecting.",
        ));
    }
    let handover = format!("{BASE}/StructureDefinition/active-handover-task");
    let is_handover = moved["meta"]["profile"].as_array().is_some_and(|p| p.iter().any(|p| *p == handover));
    if is_handover && change.status == Status::Completed && !has_output(change, "patient-contact") {
        issues.push(Issue::error(
            Code::Required,
            "Task.output",
            "En aktiv överlämning avslutas med bekräftad kontakt med patienten: lägg till den i Task.output (typ patient-contact).",
            "An active handover ends with a confirmed contact with the patient: add it to Task.output (type patient-contact).",
        ));
    }
    if issues.is_empty() { Ok(()) } else { Err(Refusal::Findings(issues)) }
}

fn has_output(change: &Change, kind: &str) -> bool {
    change.output.iter().any(|o| o["type"]["text"] == kind)
}

fn has_answer(change: &Change, current: &Current) -> bool {
    let text = |v: &Value| v.as_str().is_some_and(|t| !t.trim().is_empty());
    let in_reason = change.status != Status::Completed && text(&change.reason["text"]);
    let in_output = change.output.iter().any(|o| {
        text(&o["valueString"])
            || o["valueReference"]["reference"].as_str().is_some_and(|target| {
                let sent = change.resources.iter().find(|r| reference_of(r).as_deref() == Some(target));
                sent.or_else(|| current.get(target).map(|(_, r)| r))
                    .is_some_and(|r| type_of(r) == "Communication" && text(&r["payload"][0]["contentString"]))
            })
    });
    in_reason || in_output
}
