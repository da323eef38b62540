//! A programme of one patient, from its start to the proof that it is gone: taken through the one table of steps, kept as FHIR
//! (CarePlan, CareTeam, CommunicationRequest, Communication, Task), and purged.
//!
//! Every step is one commit: the row, the resources it changes, and the row of the log. What falls due is made by [`sweep`], once
//! for each thing, because its id follows from the programme and the thing. What was purged is in a ledger beside the database
//! before it goes, so that a copy which is put back is purged again ([`purge`]).

pub mod apply;
mod copied;
mod due;
pub mod note;
pub mod purge;
mod reported;
mod resources;
mod show;
mod silence;
mod start;
mod state;
mod step;
#[cfg(test)]
mod tests;

pub use copied::check_copied;
pub use due::{run, sweep};
pub use show::{definitions, list, shown};
pub use silence::silence;
pub use start::{Start, Started, ask, start};
pub use step::{Event, take};

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::Notify;
use uuid::Uuid;

use super::refusal::missing;
use super::weigh::{Current, Scale, Weighed};
use super::{Refusal, witness};
use crate::Gateway;
use crate::access::Caller;
use crate::domain::programme::is_taken_over;
use crate::fhir::issue::{Code, Issue, any_error};
use crate::fhir::resource::reference_of;
use crate::rules::programme as rules;
use crate::store::{Commit, Expect, Filter, Ledger, Programme, Share};
use state::State;

/// What programmes need beside the store.
#[derive(Debug)]
pub struct Desk {
    pub ledger: Ledger,
    /// Rung when something may be due.
    pub wake: Notify,
}

/// The programme as it is defined, if it is known here.
fn definition<'g>(gateway: &'g Gateway, id: &str) -> Result<&'g rules::Programme, Refusal> {
    gateway.conformance.programmes.get(id).ok_or_else(|| missing("programme"))
}

/// The programme, for whoever may see its CarePlan: so scopes and blocks hold here as everywhere. Of one that was purged the
/// units that had a part in it learn that it was.
pub async fn seen(gateway: &Gateway, filter: &Filter, caller: &Caller, id: Uuid) -> Result<Programme, Refusal> {
    let found = gateway.store.programme(id).await?;
    let one = found.ok_or_else(|| missing("programme"))?;
    let is_seen = match one.purged_at {
        Some(_) => caller.may_act_for(&one.unit) || one.team.as_ref().is_some_and(|team| caller.may_act_for(team)),
        None => gateway.store.resource(filter, "CarePlan", &id.to_string()).await?.is_some(),
    };
    if is_seen { Ok(one) } else { Err(missing("programme")) }
}

/// The unit that is responsible now.
fn responsible(one: &Programme) -> &str {
    match &one.team {
        Some(team) if is_taken_over(one.stage, true) => team,
        _ => &one.unit,
    }
}

/// Units that see what is of the programme.
fn parties(one: &Programme) -> Vec<String> {
    std::iter::once(one.unit.clone()).chain(one.team.clone()).collect()
}

fn course(one: &Programme) -> rules::Course {
    rules::Course {
        started_at: one.started_at,
        active_at: one.active_at,
        treatment_at: one.treatment_at,
        closed_at: one.closed_at,
    }
}

/// How often a programme is looked at again that a hold keeps from being purged.
const HELD_AGAIN: chrono::TimeDelta = chrono::TimeDelta::hours(1);

/// When there is something to do next: what the calendar has, or its end.
fn next_at(definition: Option<&rules::Programme>, one: &Programme, now: DateTime<Utc>) -> DateTime<Utc> {
    if one.closed_at.is_some() {
        // Closed and still here: a hold keeps it.
        return now + HELD_AGAIN;
    }
    let due = definition.and_then(|definition| rules::next(definition, &course(one), one.swept_at));
    let end = if one.purge_at > now { one.purge_at } else { now + HELD_AGAIN };
    due.map_or(end, |due| due.min(end))
}

/// A change of a programme that is being put together.
struct Change<'g> {
    gateway: &'g Gateway,
    definition: &'g rules::Programme,
    one: Programme,
    state: State,
    known: Current,
    weighed: Weighed,
    now: DateTime<Utc>,
}

impl Change<'_> {
    /// Adds a resource of the programme; `kept` ones outlive its purge.
    fn add(&mut self, resource: &Value, kept: bool) -> Result<(), Refusal> {
        let issues = self.gateway.validate(std::slice::from_ref(resource));
        if any_error(&issues) {
            return Err(Refusal::Findings(issues));
        }
        let units = parties(&self.one);
        let patient = self.one.patient.clone();
        let scale = Scale { now: self.now, patient: patient.as_deref(), units: &units, exchange: None };
        scale.add(resource, &self.known, &mut self.weighed);
        self.one.made.extend(reference_of(resource).map(|name| (name, kept)));
        Ok(())
    }

    /// The plan and the team as they are now.
    fn add_plan(&mut self) -> Result<(), Refusal> {
        let plan = resources::care_plan(self.definition, &self.one, &self.state, self.now);
        self.add(&plan, false)?;
        let team = resources::care_team(&self.one, &self.state);
        self.add(&team, false)
    }

    /// The commit: the row one revision on. The patient is seen by those who see the programme.
    fn commit(mut self) -> Commit {
        let expect = Expect::Programme { programme: self.one.id, revision: self.one.revision };
        self.one.revision += 1;
        self.one.state = self.state.text();
        self.one.next_at = Some(next_at(Some(self.definition), &self.one, self.now));
        let patient = self.one.patient.iter().map(|id| format!("Patient/{id}")).collect();
        let share = Share { resources: patient, units: parties(&self.one) };
        self.weighed.expect.push(expect);
        Commit {
            expect: self.weighed.expect,
            put: self.weighed.put,
            share: vec![share],
            programmes: vec![self.one],
            ..Commit::default()
        }
    }
}

/// A step that the table, or the programme's roles, do not allow.
fn not_now(element: &str, sv: impl Into<String>, en: impl Into<String>) -> Refusal {
    Refusal::Conflict(Issue::error(Code::BusinessRule, element, sv, en))
}

/// A finding of a field.
fn wrong(field: &str, sv: impl Into<String>, en: impl Into<String>) -> Refusal {
    Refusal::Findings(vec![Issue::error(Code::BusinessRule, field, sv, en)])
}

/// The words of rules as a finding quotes them.
fn quoted(cited: &[rules::Citation]) -> String {
    let one = |c: &rules::Citation| format!("{}: ”{}” ({})", c.rule, c.quote, c.source);
    cited.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// The row of the log for something done with a programme.
fn audit(gateway: &Gateway, caller: &Caller, id: Uuid, now: DateTime<Utc>) -> crate::domain::audit::Event {
    witness::did(gateway, caller, crate::domain::audit::Deed::Programme, format!("programme/{id}"), now)
}
