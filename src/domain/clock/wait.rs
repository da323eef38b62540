//! What is waited for in an exchange as it stands, with when each wait began: from the waits before and the parties now.
//!
//! Whether the document has come and what became of it are two things. A newer version on its way does not stop the clock of
//! an answer that is owed, and what a recipient has put on hold goes on where it was when it is taken up again. A request that is
//! answered area by area is waited for area by area, so that none of them is hidden behind the others.

use chrono::{DateTime, Utc};

use super::{Sort, Step};
use crate::domain::Stage;
use crate::domain::task::Status;

/// A wait: whose, for what, since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The unit that is asked; for what only the sender can do, the sender.
    pub unit: String,
    pub step: Step,
    /// The Task that asks to stop, where that is what is not answered; the area, where one is waited for by itself; otherwise
    /// empty.
    pub subject: String,
    /// The id of the Task that the unit owns, or is asked to stop; of an area its own, where it has one.
    pub task: Option<String>,
    pub since: DateTime<Utc>,
    /// The recipient waits for the sender, and has to do nothing meanwhile.
    pub is_on_hold: bool,
}

/// A recipient as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taker<'a> {
    pub unit: &'a str,
    pub task: Option<&'a str>,
    pub status: Option<Status>,
    pub stage: Stage,
}

/// A request to stop that nobody has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abort {
    /// The id of the Task that asks.
    pub id: String,
    /// That of the Task which is to be stopped.
    pub of: String,
}

/// An area of a request that is answered area by area.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Area {
    /// The id of the Task whose part it is.
    pub of: String,
    pub code: String,
    /// The Task of its own, and where that stands; none where nobody has answered it.
    pub task: Option<(String, Status)>,
    /// Another unit than the sender has it.
    pub is_taken: bool,
}

/// An exchange as it stands.
#[derive(Debug, Clone)]
pub struct Standing<'a> {
    pub sort: Sort,
    pub sender: &'a str,
    pub stage: Stage,
    pub takers: Vec<Taker<'a>>,
    pub areas: Vec<Area>,
    pub aborts: Vec<Abort>,
    /// Of a SIP: whether its meeting is called, or held.
    pub is_called: bool,
}

/// What is waited for now. What was waited for before goes on since it began.
pub fn waits(before: &[Wait], standing: &Standing<'_>, now: DateTime<Utc>) -> Vec<Wait> {
    let mut found = Vec::new();
    for taker in &standing.takers {
        of_taker(before, standing, taker, now, &mut found);
    }
    if standing.stage == Stage::Parked && standing.takers.is_empty() {
        let step = if standing.sort == Sort::Referral { Step::NoConsultation } else { Step::Parked };
        found.push(wait(before, standing.sender, step, None, now));
    }
    let is_open = |t: &Taker<'_>| t.status.is_none_or(|s| !s.is_final()) && t.stage != Stage::EnteredInError;
    if standing.sort == Sort::Sip && !standing.is_called && standing.takers.iter().any(is_open) {
        found.push(wait(before, standing.sender, Step::NotCalled, None, now));
    }
    for abort in &standing.aborts {
        let Some(taker) = standing.takers.iter().find(|t| t.task == Some(&abort.of)) else { continue };
        let asked = before.iter().find(|w| w.step == Step::NoAbortAnswer && w.subject == abort.id);
        found.push(Wait {
            unit: taker.unit.to_owned(),
            step: Step::NoAbortAnswer,
            subject: abort.id.clone(),
            task: Some(abort.of.clone()),
            since: asked.map_or(now, |w| w.since),
            is_on_hold: false,
        });
    }
    found
}

fn of_taker(before: &[Wait], standing: &Standing<'_>, taker: &Taker<'_>, now: DateTime<Utc>, found: &mut Vec<Wait>) {
    let Taker { unit, task, status, stage } = *taker;
    match stage {
        Stage::Waiting => found.push(wait(before, unit, Step::NotDelivered, task, now)),
        Stage::Parked => found.push(wait(before, unit, Step::Parked, task, now)),
        _ => {}
    }
    let had =
        |step: Step| before.iter().any(|w| w.step == step && w.unit.eq_ignore_ascii_case(unit) && w.subject.is_empty());
    let is_decided = matches!(status, Some(Status::Accepted | Status::InProgress | Status::OnHold));
    let areas: Vec<&Area> = standing.areas.iter().filter(|a| is_decided && task == Some(a.of.as_str())).collect();
    for area in &areas {
        found.extend(of_area(before, standing, taker, area, now));
    }
    // The whole is waited for again when all its areas are over.
    let is_owed = |area: &&&Area| area.task.as_ref().is_none_or(|(_, status)| !status.is_final());
    let by_area = standing.sort != Sort::Active && areas.iter().any(|area| is_owed(&area));
    let outcome = if standing.sort == Sort::Active { Step::NoContact } else { Step::NoOutcome };
    match status {
        // It has come once, or it has not: what is on its way now is a newer version of it.
        Some(Status::Requested) if stage == Stage::Delivered || had(Step::NoReceipt) => {
            found.push(wait(before, unit, Step::NoReceipt, task, now));
        }
        Some(Status::Received) => found.push(wait(before, unit, Step::NoDecision, task, now)),
        Some(Status::Accepted | Status::InProgress) if by_area => {}
        Some(Status::Accepted | Status::InProgress) => found.push(wait(before, unit, outcome, task, now)),
        Some(Status::OnHold) => {
            found.push(wait(before, unit, Step::NoCompletion, task, now));
            let step = if had(outcome) || !areas.is_empty() { outcome } else { Step::NoDecision };
            if !by_area {
                found.push(Wait { is_on_hold: true, ..wait(before, unit, step, task, now) });
            }
        }
        _ => {}
    }
}

/// What is waited for in one area. Contact with the patient is told in the whole.
fn of_area(
    before: &[Wait],
    standing: &Standing<'_>,
    taker: &Taker<'_>,
    area: &Area,
    now: DateTime<Utc>,
) -> Option<Wait> {
    let step = match area.task.as_ref().map(|(_, status)| *status) {
        None | Some(Status::Requested | Status::Received) => Step::NoDecision,
        Some(Status::Accepted | Status::InProgress | Status::OnHold) if standing.sort == Sort::Active => return None,
        Some(Status::Accepted | Status::InProgress | Status::OnHold) => Step::NoOutcome,
        Some(Status::Rejected | Status::Failed | Status::Cancelled) if !area.is_taken => Step::NoTaker,
        Some(_) => return None,
    };
    let own = |w: &&Wait| w.step == step && w.unit.eq_ignore_ascii_case(taker.unit) && w.subject == area.code;
    // Whoever was asked for the whole until now is asked since then.
    let whole = |w: &&Wait| step == Step::NoOutcome && w.step == step && w.unit.eq_ignore_ascii_case(taker.unit);
    let since = before.iter().find(own).or_else(|| before.iter().filter(whole).find(|w| w.subject.is_empty()));
    Some(Wait {
        unit: taker.unit.to_owned(),
        step,
        subject: area.code.clone(),
        task: area.task.as_ref().map(|(id, _)| id.clone()).or_else(|| taker.task.map(str::to_owned)),
        since: since.map_or(now, |w| w.since),
        // The sender has not to wait for itself.
        is_on_hold: taker.status == Some(Status::OnHold) && step != Step::NoTaker,
    })
}

fn wait(before: &[Wait], unit: &str, step: Step, task: Option<&str>, now: DateTime<Utc>) -> Wait {
    let same = before.iter().find(|w| w.step == step && w.unit.eq_ignore_ascii_case(unit) && w.subject.is_empty());
    Wait {
        unit: unit.to_owned(),
        step,
        subject: String::new(),
        task: task.map(str::to_owned),
        since: same.map_or(now, |w| w.since),
        is_on_hold: false,
    }
}
