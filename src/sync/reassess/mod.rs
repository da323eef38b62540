//! When an intervention in specialist care has ended somebody is asked to assess the patient anew, as the region's guideline has it
//! (VGR's PA-S8 to PA-S10): in the commit that ends it, or by the calendar when its last day has passed.
//!
//! Every time a plan is looked at, what its Tasks should be is reckoned from the plan as it stands and compared with what they are,
//! so nothing depends on having been seen before. One Task for each intervention: its id follows from the plan and the
//! intervention. It is asked of the unit that is responsible for the area and takes part in the plan. What a purely calendrical end
//! needs is a row that says when to look again, written in the same commit as the plan.

mod due;
pub mod ended;
pub mod task;
#[cfg(test)]
mod tests;

pub use due::{run, sweep};

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeZone, Utc};
use chrono_tz::Europe::Stockholm;
use serde_json::Value;

use super::Refusal;
use super::deceased::is_told;
use super::identify::is_same_person;
use super::notice::{News, notices};
use super::planned::{Intervention, interventions, list, plan_in};
use super::responsibility::today;
use super::weigh::{Current, Scale, Weighed, current};
use crate::Gateway;
use crate::domain::Kind;
use crate::domain::audit::{By, Deed, Event};
use crate::domain::charge::{Move, charges};
use crate::domain::task::Status;
use crate::domain::unit::Level;
use crate::fhir::canonical::{BASE, PLAN_ID};
use crate::fhir::issue::{Code, Issue};
use crate::fhir::resource::{reference_of, type_of};
use crate::rules::{RuleSet, on_ended};
use crate::store::{Commit, Exchange, Filter, Look};
use ended::{Assessed, assessed, ended, is_assessed_since};
use task::{Asking, cancelled, completed, is_met, is_open, left_out, task_id};

/// A plan that is looked at: as it stood, and as it stands with the commit.
pub(super) struct Looked<'a> {
    pub(super) exchange: &'a Exchange,
    pub(super) before: &'a [Value],
    pub(super) after: &'a [Value],
    /// Units, in upper case, that have answered that what they do is done; and of which areas, where not of all.
    pub(super) answered: &'a [String],
    pub(super) areas: Option<&'a [String]>,
    /// Nothing of it is to be done any more.
    pub(super) is_over: bool,
}

impl<'a> Looked<'a> {
    /// As it stands.
    pub(super) fn at_rest(exchange: &'a Exchange, resources: &'a [Value]) -> Self {
        let is_over = exchange.entered_in_error;
        Self { exchange, before: resources, after: resources, answered: &[], areas: None, is_over }
    }
}

/// Adds to the commit what follows; what the sender is told of it.
pub(super) async fn follow(
    gateway: &Gateway,
    commit: &mut Commit,
    looked: &Looked<'_>,
    now: DateTime<Utc>,
) -> Result<Vec<Issue>, Refusal> {
    let exchange = looked.exchange;
    let (Some(patient), Some(plan)) = (exchange.patient.as_deref(), plan_in(looked.after)) else {
        return Ok(Vec::new());
    };
    if !matches!(exchange.kind, Kind::RehabPlan | Kind::Handover) {
        return Ok(Vec::new());
    }
    let stands = !looked.is_over && !matches!(plan["status"].as_str(), Some("revoked" | "entered-in-error"));
    let planned = if stands { interventions(gateway, plan, looked.after) } else { Vec::new() };
    let known = gateway.store.reassessments(patient).await?;
    let mut names: BTreeSet<String> = known.iter().map(|k| format!("Task/{}", k.task)).collect();
    names.extend(planned.iter().map(|one| format!("Task/{}", task_id(exchange.id, &one.id))));
    let names: Vec<String> = names.into_iter().collect();
    let stored = current(gateway.store.resources(&Filter::ALL, &names).await?);
    let mut desk = Desk {
        gateway,
        looked,
        patient,
        plan: reference_of(plan).unwrap_or_default(),
        assessed: assessed(looked.after).filter(|_| stands),
        before: assessed(looked.before).map(|assessed| assessed.on),
        stored,
        today: today(now),
        now,
        owners: Vec::new(),
        tasks: Vec::new(),
        issues: Vec::new(),
        next: None,
    };
    let was = plan_in(looked.before).map(|plan| interventions(gateway, plan, looked.before)).unwrap_or_default();
    for one in &planned {
        desk.weigh(commit, one, was.iter().find(|was| was.id == one.id)).await?;
    }
    for one in &known {
        let is_own = one.exchange == exchange.id;
        let gone = |task: &Value| is_own && !planned.iter().any(|p| task::intervention(task) == Some(p.id.as_str()));
        desk.settle(&one.task, is_own, gone);
    }
    desk.finish(commit);
    Ok(desk.issues)
}

/// What a unit's answer ends: it has carried through what it does in a SIP, or what a plan's referral asked of it.
pub(super) async fn answered(
    gateway: &Gateway,
    commit: &mut Commit,
    (exchange, resources): (&Exchange, &Current),
    task: &str,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let party = exchange.parties.iter().find(|p| p.task.as_deref() == Some(task));
    let Some(party) = party.filter(|p| p.status == Some(Status::Completed)) else { return Ok(()) };
    let unit = [party.unit.to_ascii_uppercase()];
    let own: Vec<Value> = resources.values().map(|(_, resource)| resource.clone()).collect();
    if plan_in(&own).is_some() {
        follow(gateway, commit, &Looked { answered: &unit, ..Looked::at_rest(exchange, &own) }, now).await?;
        return Ok(());
    }
    let request = own.iter().find(|r| matches!(type_of(r), "ServiceRequest" | "Composition"));
    let Some(request) = request else { return Ok(()) };
    let areas = areas(&request["category"]);
    let plans = own.iter().flat_map(|r| list(&r["basedOn"])).filter(|of| of["identifier"]["system"] == PLAN_ID);
    for id in plans.filter_map(|of| of["identifier"]["value"].as_str()).collect::<BTreeSet<_>>() {
        for plan in gateway.store.by_identifier(&Filter::ALL, "CarePlan", PLAN_ID, id).await? {
            for found in gateway.store.exchange_of_resource("CarePlan", &plan.id).await? {
                let Some(of_plan) = gateway.store.exchange(&Filter::ALL, found).await? else { continue };
                if !is_same_person(&gateway.store, of_plan.patient.as_deref(), exchange.patient.as_deref()).await? {
                    continue;
                }
                let stored = current(gateway.store.resources(&Filter::ALL, &of_plan.resources).await?);
                let resources: Vec<Value> = stored.into_values().map(|(_, resource)| resource).collect();
                let areas = Some(areas.as_slice()).filter(|areas| !areas.is_empty());
                let looked = Looked { answered: &unit, areas, ..Looked::at_rest(&of_plan, &resources) };
                follow(gateway, commit, &looked, now).await?;
            }
        }
    }
    Ok(())
}

/// Every plan of the person is looked at at once: while a death stood nobody was asked, and none is looked at again by itself.
pub(super) async fn look_again(gateway: &Gateway, patient: &str, now: DateTime<Utc>) -> Result<Vec<Look>, Refusal> {
    let plans = gateway.store.plans_of(patient).await?;
    Ok(plans.into_iter().map(|exchange| Look { exchange, at: Some(now), tasks: Vec::new() }).collect())
}

fn areas(concepts: &Value) -> Vec<String> {
    let system = format!("{BASE}/CodeSystem/rehab-area");
    let codings = list(concepts).iter().flat_map(|concept| list(&concept["coding"]));
    codings.filter(|c| c["system"] == *system).filter_map(|c| c["code"].as_str().map(str::to_owned)).collect()
}

/// What is being reckoned.
struct Desk<'a> {
    gateway: &'a Gateway,
    looked: &'a Looked<'a>,
    patient: &'a str,
    plan: String,
    assessed: Option<Assessed>,
    before: Option<NaiveDate>,
    stored: Current,
    today: NaiveDate,
    now: DateTime<Utc>,
    /// Whom the new Tasks ask.
    owners: Vec<String>,
    /// Tasks as they are to stand, with whom they are shown to.
    tasks: Vec<(Value, Vec<String>)>,
    issues: Vec<Issue>,
    next: Option<DateTime<Utc>>,
}

impl<'a> Desk<'a> {
    fn task_of(&self, id: &str) -> Option<&Value> {
        self.stored.get(&format!("Task/{id}")).map(|(_, task)| task)
    }

    /// One intervention: whether somebody is to be asked because of it, and when to look again.
    async fn weigh(&mut self, commit: &Commit, one: &Intervention, was: Option<&Intervention>) -> Result<(), Refusal> {
        let gateway = self.gateway;
        let Some(set) = self.rules_of(one).filter(|_| one.level == Some(Level::Specialist)) else { return Ok(()) };
        let rules = on_ended(set, one.area.as_deref(), one.form.as_deref());
        if rules.is_empty() {
            return Ok(());
        }
        let id = task_id(self.looked.exchange.id, &one.id);
        let found = self.task_of(&id).cloned();
        let Some(ended) = ended(one, was, self.is_answered(one), self.today) else {
            self.next = self.next.into_iter().chain(after(one.end.filter(|end| *end >= self.today))).min();
            // What its unit has said stands until the plan leaves it out; what the plan said it may take back.
            let told =
                found.filter(|t| is_open(t) && t["reasonCode"]["coding"][0]["code"] != ended::How::Answered.code());
            self.tasks.extend(told.map(|task| (cancelled(&task, self.now), Vec::new())));
            return Ok(());
        };
        let asks = found.as_ref().is_none_or(|task| task["status"] == "cancelled");
        if !asks || is_assessed_since(&ended, self.assessed.as_ref(), self.before) || self.is_dead().await? {
            return Ok(());
        }
        let owner = self.owner(commit, one).await?;
        let asking = Asking {
            exchange: self.looked.exchange.id,
            patient: self.patient,
            plan: &self.plan,
            intervention: one,
            ended,
            set,
            rules: &rules,
            owner: &owner,
            before: self.assessed.as_ref().map(|assessed| assessed.on),
        };
        let task = asking.task(gateway, found.as_ref(), self.now);
        self.issues.push(told(gateway, &asking));
        let sender = self.looked.exchange.sender().map(|sender| sender.unit.clone());
        let units = std::iter::once(owner.clone()).chain(sender).collect();
        self.tasks.push((task, units));
        self.owners.push(owner);
        Ok(())
    }

    /// One that was asked before: whether it is met by now, or not to be done after all.
    fn settle(&mut self, id: &str, is_own: bool, gone: impl Fn(&Value) -> bool) {
        let is_new = self.tasks.iter().any(|(task, _)| task["id"] == *id);
        let Some(task) = self.task_of(id).filter(|task| is_open(task) && !is_new).cloned() else { return };
        if gone(&task) {
            self.tasks.push((cancelled(&task, self.now), Vec::new()));
            return;
        }
        let sender = self.looked.exchange.sender().map(|sender| sender.unit.as_str()).unwrap_or_default();
        // Of another plan only who is asked says that it is done, by a plan of its own.
        let may = is_own || task::owner(&task).eq_ignore_ascii_case(sender);
        let Some(assessed) = self.assessed.as_ref().filter(|assessed| may && is_met(&task, assessed)) else { return };
        self.issues.extend(left_out(&task, assessed).into_iter().map(not_included));
        self.tasks.push((completed(&task, assessed, self.now), Vec::new()));
    }

    fn is_answered(&self, one: &Intervention) -> bool {
        let Some(unit) = &one.unit else { return false };
        let is_of = |areas: &[String]| one.area.as_ref().is_some_and(|area| areas.contains(area));
        let exchange = self.looked.exchange;
        let is_done =
            |p: &crate::store::Party| p.unit.eq_ignore_ascii_case(unit) && p.status == Some(Status::Completed);
        (self.looked.answered.contains(unit) && self.looked.areas.is_none_or(is_of))
            || exchange.kind == Kind::Handover && exchange.recipients().any(is_done)
    }

    /// The guideline of the region where it is done.
    fn rules_of(&self, one: &Intervention) -> Option<&'a RuleSet> {
        let directory = &self.gateway.config.directory;
        let sender = self.looked.exchange.sender().and_then(|sender| directory.find(&sender.unit));
        let unit = one.unit.as_deref().and_then(|unit| directory.find(unit)).or(sender)?;
        self.gateway.conformance.rules.choose(Some(&unit.region), self.today).ok()
    }

    /// Whom to ask: the unit that is responsible for the area, as far as it takes part in the plan. Of several the one whose
    /// intervention it was, then one of specialist care; where nobody is known to be, that whose intervention it was.
    async fn owner(&self, commit: &Commit, one: &Intervention) -> Result<String, Refusal> {
        let exchange = self.looked.exchange;
        let takes_part = |unit: &str| exchange.parties.iter().any(|p| p.unit.eq_ignore_ascii_case(unit));
        let mut moves: Vec<Move> = self.gateway.store.charge_moves(self.patient).await?.steps;
        let kin = self.gateway.store.kin(self.patient).await?;
        let is_own = |patient: &String| patient == self.patient || kin.contains(patient);
        moves.extend(commit.charges.iter().filter(|m| is_own(&m.patient)).map(|m| m.step.clone()));
        let area = one.area.as_deref().unwrap_or_default();
        let responsible: Vec<String> =
            charges(&moves).into_iter().filter(|c| c.area == area && c.is_open()).map(|c| c.unit).collect();
        let responsible: Vec<String> = responsible.into_iter().filter(|unit| takes_part(unit)).collect();
        let own = one.unit.clone().filter(|unit| takes_part(unit));
        let level = |unit: &String| self.gateway.config.directory.find(unit).map(|unit| unit.level);
        let found = own.clone().filter(|own| responsible.contains(own));
        let found = found.or_else(|| responsible.iter().find(|u| level(u) == Some(Level::Specialist)).cloned());
        let found = found.or_else(|| responsible.first().cloned()).or(own);
        Ok(found.or_else(|| exchange.sender().map(|sender| sender.unit.clone())).unwrap_or_default())
    }

    async fn is_dead(&self) -> Result<bool, Refusal> {
        let found = self.gateway.store.resource(&Filter::ALL, "Patient", self.patient).await?;
        let patient: Value = found.and_then(|p| serde_json::from_slice(&p.body).ok()).unwrap_or_default();
        Ok(is_told(&patient))
    }

    fn finish(&mut self, commit: &mut Commit) {
        let exchange = self.looked.exchange;
        let mut weighed = Weighed::default();
        for (task, units) in &self.tasks {
            // One that was asked under another number of the person stays there.
            let of = task["for"]["reference"].as_str().and_then(|name| name.strip_prefix("Patient/"));
            let scale = Scale { now: self.now, patient: of.or(Some(self.patient)), units, exchange: None };
            scale.add(task, &self.stored, &mut weighed);
        }
        let named = |task: &Value| task["id"].as_str().map(str::to_owned);
        let new: Vec<String> =
            self.tasks.iter().filter(|(_, units)| !units.is_empty()).filter_map(|(task, _)| named(task)).collect();
        commit.looks.push(Look { exchange: exchange.id, at: self.next, tasks: new });
        if weighed.put.is_empty() {
            return;
        }
        let told: Vec<String> = self
            .tasks
            .iter()
            .map(|(task, _)| format!("{} {}", task["status"].as_str().unwrap_or_default(), task::owner(task)))
            .collect();
        let names = weighed.put.iter().map(|put| format!("Task/{}/{}", put.id, put.version)).collect();
        let event = Event::new(self.now, By::gateway(), Deed::Reassess, format!("exchange/{}", exchange.id))
            .about([self.patient.to_owned()])
            .showing(names)
            .with("tasks", told);
        commit.audit.push(event.into());
        commit.put.extend(weighed.put);
        commit.expect.extend(weighed.expect);
        let owners = &self.owners;
        let asked = exchange.parties.iter().filter(|p| owners.iter().any(|unit| p.unit.eq_ignore_ascii_case(unit)));
        commit.deliveries.extend(notices(self.gateway, exchange, asked, News::Reassessment, self.now));
    }
}

/// The first moment of the day after.
fn after(last: Option<NaiveDate>) -> Option<DateTime<Utc>> {
    let next = last?.succ_opt()?.and_time(NaiveTime::MIN);
    Stockholm.from_local_datetime(&next).earliest().map(|at| at.with_timezone(&Utc))
}

/// What the sender is told of a Task that was made because of its plan.
fn told(gateway: &Gateway, asking: &Asking<'_>) -> Issue {
    let place = format!("CarePlan.activity[{}].detail.status", asking.intervention.place);
    let (sv, en) = asking.text(gateway);
    let cited = asking.rules.first().map(|following| following.cited()).unwrap_or_default();
    let rule = asking.rules.first().map_or("", |following| following.rule.id.as_str());
    let unit = asking.owner;
    Issue::information(
        place,
        format!("{sv} Det är en uppgift hos {unit}. {cited}"),
        format!("{en} That is a Task of {unit}. {rule}"),
    )
}

fn not_included(cited: &str) -> Issue {
    let rule = cited.split(':').next().unwrap_or_default();
    Issue::warning(
        Code::BusinessRule,
        "Observation.component",
        format!("Den nya bedömningen säger inget om det som den bör inkludera. {cited}"),
        format!("The new assessment says nothing of what it should include. {rule}"),
    )
}
