//! Settles the waits of every exchange that a commit touches: derived anew from its parties, written where they differ, and the
//! Tasks ended whose wait is over.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::super::Commit;
use super::super::StoreError;
use super::super::apply::{Refusal, Writing};
use super::super::link::person;
use super::super::read_exchange::exchange as read_exchange;
use super::super::record::{Exchange, Put};
use super::super::row::{instant, uuid};
use super::areas::areas;
use super::read::{OF_EXCHANGE, PAUSES, pause, waiting};
use super::told::{Told, is_deceased};
use super::{DECEASED, HeldBy, PauseChange, PauseRow, Waiting};
use crate::domain::PartyRole;
use crate::domain::clock::pause::{FOREVER, held_until};
use crate::domain::clock::{Abort, Clocks, Matter, Pause, Priority, Sort, Standing, Step, Taker, Wait, waits};

const CLOCKED: &str = "SELECT priority, is_called FROM clocked WHERE exchange = ?1";
const SET_CLOCKED: &str = "INSERT INTO clocked (exchange, priority, is_called) VALUES (?1, ?2, ?3) \
     ON CONFLICT (exchange) DO UPDATE SET priority = excluded.priority, is_called = excluded.is_called";
const DEATH: &str = "SELECT 1 FROM deceased WHERE patient = ?1 AND until_at IS NULL";
/// Of the person, under whichever number it was said.
const DEATHS: &str = concat!("SELECT from_at, until_at FROM deceased WHERE patient IN ", person!("?1"));
const DIED: &str = "INSERT INTO deceased (patient, from_at) VALUES (?1, ?2)";
const TAKEN_BACK: &str = "UPDATE deceased SET until_at = max(?2, from_at) WHERE patient = ?1 AND until_at IS NULL";
const OF_PATIENT: &str = concat!("SELECT id FROM exchange WHERE patient IN ", person!("?1"));
/// Whose areas are waited for one by one.
const BY_AREA: &str = concat!(
    "SELECT DISTINCT w.exchange AS id FROM exchange e INDEXED BY exchange_patient CROSS JOIN wait w ON w.exchange = e.id \
     WHERE e.patient IN ",
    person!("?1"),
    " AND w.subject <> '' AND w.step <> 'no-abort-answer'"
);
const BEGIN_PAUSE: &str = "INSERT INTO pause (id, exchange, unit, why, from_at, until_at, by, reason) \
                           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
/// Also before it was to end by itself.
const END_PAUSE: &str = "UPDATE pause SET until_at = max(?2, from_at), ended_by = ?3 WHERE id = ?1 \
                         AND (until_at IS NULL OR until_at > ?2)";

/// Everything that decides the clocks of an exchange.
struct Scene<'a> {
    exchange: &'a Exchange,
    sort: Sort,
    priority: Priority,
    sender: &'a str,
    pauses: Vec<PauseRow>,
    deaths: Vec<Pause>,
    now: DateTime<Utc>,
}

impl Writing<'_, '_> {
    /// After the exchanges, their resources and what was told, and before blocks are settled.
    pub(in crate::store) fn settle_waits(&mut self, commit: &Commit) -> Result<(), Refusal> {
        let mut others: BTreeMap<Uuid, DateTime<Utc>> = BTreeMap::new();
        for put in &commit.put {
            self.hear_of_death(put, &mut others)?;
        }
        for patient in self.of_links(&commit.links)? {
            for id in self.statements.all(OF_PATIENT, [&patient], |row| uuid(row, "id"))? {
                others.insert(id, instant(self.now_ms)?);
            }
        }
        for change in &commit.pauses {
            let (exchange, at) = self.change_pause(change)?;
            others.insert(exchange, at);
        }
        for moved in &commit.charges {
            // Who has an area now may be whom another request waited for.
            for id in self.statements.all(BY_AREA, [&moved.patient], |row| uuid(row, "id"))? {
                others.insert(id, moved.step.at);
            }
        }
        for exchange in &commit.exchanges {
            others.remove(&exchange.id);
            let told = Told::of(exchange.id, &commit.put);
            self.settle_clocks(exchange, &told, exchange.updated_at)?;
        }
        for (id, at) in others {
            if let Some(exchange) = read_exchange(self.statements, id)? {
                self.settle_clocks(&exchange, &Told::default(), at)?;
            }
        }
        Ok(())
    }

    /// A Patient that says of a death, or does not say so any more.
    fn hear_of_death(&mut self, put: &Put, touched: &mut BTreeMap<Uuid, DateTime<Utc>>) -> Result<(), Refusal> {
        let Some(is_dead) = is_deceased(put) else { return Ok(()) };
        let was_dead = self.statements.first(DEATH, [&put.id], |_| Ok::<_, StoreError>(()))?.is_some();
        if is_dead == was_dead {
            return Ok(());
        }
        let at = put.said_at().unwrap_or(self.now_ms);
        self.statements.run(if is_dead { DIED } else { TAKEN_BACK }, (&put.id, at))?;
        for id in self.statements.all(OF_PATIENT, [&put.id], |row| uuid(row, "id"))? {
            touched.insert(id, instant(at)?);
        }
        Ok(())
    }

    fn deaths(&self, patient: &str) -> Result<Vec<Pause>, Refusal> {
        let death = |row: &rusqlite::Row<'_>| {
            Ok::<_, StoreError>(Pause { from: row.get("from_at")?, until: row.get("until_at")? })
        };
        Ok(self.statements.all(DEATHS, [patient], death)?)
    }

    fn change_pause(&mut self, change: &PauseChange) -> Result<(Uuid, DateTime<Utc>), Refusal> {
        let db = self.statements;
        match change {
            PauseChange::Begin { id, exchange, unit, from, until, by, reason } => {
                let (from_ms, until_ms) = (from.timestamp_millis(), until.timestamp_millis());
                let why = HeldBy::Person.code();
                db.run(BEGIN_PAUSE, (id.as_bytes(), exchange.as_bytes(), unit, why, from_ms, until_ms, by, reason))?;
                Ok((*exchange, *from))
            }
            PauseChange::End { id, exchange, at, by } => {
                db.run(END_PAUSE, (id.as_bytes(), at.timestamp_millis(), by))?;
                Ok((*exchange, *at))
            }
        }
    }

    /// The waits of one exchange as it stands.
    pub(super) fn settle_clocks(
        &mut self,
        exchange: &Exchange,
        told: &Told,
        now: DateTime<Utc>,
    ) -> Result<(), Refusal> {
        let db = self.statements;
        let key = exchange.id.as_bytes();
        let old: Vec<Waiting> = db.all(OF_EXCHANGE, [key], waiting)?;
        let (priority, is_called) = self.clocked(exchange.id, told)?;
        let sender = exchange.sender().map_or(exchange.organisation.as_str(), |party| party.unit.as_str());
        let sort = Sort::of(exchange.kind, exchange.resources.iter().any(|name| name.starts_with("CarePlan/")));
        let recipients = exchange.parties.iter().filter(|p| p.role != PartyRole::Sender);
        let takers =
            recipients.map(|p| Taker { unit: &p.unit, task: p.task.as_deref(), status: p.status, stage: p.stage });
        let standing = Standing {
            sort,
            sender,
            stage: exchange.stage,
            takers: takers.collect(),
            areas: areas(db, exchange, sender)?,
            aborts: aborts(&old, told),
            is_called,
        };
        let before: Vec<Wait> = old.iter().map(known).collect();
        let found = waits(&before, &standing, now);
        if old.is_empty() && found.is_empty() {
            return Ok(());
        }
        let pauses = self.pause_on_hold(exchange.id, &found, now)?;
        let deaths = exchange.patient.as_deref().map(|patient| self.deaths(patient)).transpose()?.unwrap_or_default();
        let scene = Scene { exchange, sort, priority, sender, pauses, deaths, now };
        let clocks = self.state.clocks();
        let new: Vec<Waiting> = found.into_iter().map(|wait| scene.reckon(&clocks, wait, &old)).collect();
        self.write_waits(exchange.id, &old, &new)?;
        let is_ended = |w: &&Waiting| w.has_item && !new.iter().any(|n| same(n, w) && n.has_item);
        let ended: Vec<&Waiting> = old.iter().filter(is_ended).collect();
        if !ended.is_empty() {
            self.end_escalations(exchange.id, &ended, now)?;
            self.end_items(exchange.id, &new, now)?;
        }
        Ok(())
    }

    /// How urgent it is and whether its meeting is called: as the commit says, or as was known.
    fn clocked(&mut self, exchange: Uuid, told: &Told) -> Result<(Priority, bool), Refusal> {
        let read = |row: &rusqlite::Row<'_>| {
            let priority: String = row.get("priority")?;
            Ok::<_, StoreError>((Priority::parse(&priority).unwrap_or_default(), row.get("is_called")?))
        };
        let known = self.statements.first(CLOCKED, [exchange.as_bytes()], read)?.unwrap_or_default();
        let now = (told.priority.unwrap_or(known.0), told.is_called.unwrap_or(known.1));
        if now != known {
            self.statements.run(SET_CLOCKED, (exchange.as_bytes(), now.0.code(), now.1))?;
        }
        Ok(now)
    }

    /// Begins and ends the pauses of units whose Task is on hold, and gives all pauses there are.
    fn pause_on_hold(&mut self, exchange: Uuid, found: &[Wait], now: DateTime<Utc>) -> Result<Vec<PauseRow>, Refusal> {
        let db = self.statements;
        let key = exchange.as_bytes();
        let pauses: Vec<PauseRow> = db.all(PAUSES, [key], pause)?;
        let of_hold = |p: &&PauseRow, unit: &str| {
            p.why == HeldBy::OnHold
                && p.until.is_none()
                && p.unit.as_deref().is_some_and(|u| u.eq_ignore_ascii_case(unit))
        };
        let mut changed = false;
        for wait in found.iter().filter(|w| w.is_on_hold && !pauses.iter().any(|p| of_hold(&p, &w.unit))) {
            let (id, why, none) = (Uuid::now_v7(), HeldBy::OnHold.code(), None::<String>);
            let from = now.timestamp_millis();
            db.run(BEGIN_PAUSE, (id.as_bytes(), key, &wait.unit, why, from, None::<i64>, &none, &none))?;
            changed = true;
        }
        for pause in pauses.iter().filter(|p| p.why == HeldBy::OnHold && p.until.is_none()) {
            if !found.iter().any(|w| w.is_on_hold && of_hold(&pause, &w.unit)) {
                db.run(END_PAUSE, (pause.id.as_bytes(), now.timestamp_millis(), None::<String>))?;
                changed = true;
            }
        }
        Ok(if changed { db.all(PAUSES, [key], pause)? } else { pauses })
    }
}

fn known(row: &Waiting) -> Wait {
    Wait {
        unit: row.unit.clone(),
        step: row.step,
        subject: row.subject.clone(),
        task: row.task.clone(),
        since: row.since,
        is_on_hold: row.held_by == Some(HeldBy::OnHold),
    }
}

/// The requests to stop that stand open: those before, less what is answered, and what is asked now.
fn aborts(old: &[Waiting], told: &Told) -> Vec<Abort> {
    let known = old.iter().filter(|w| w.step == Step::NoAbortAnswer);
    let known = known.map(|w| Abort { id: w.subject.clone(), of: w.task.clone().unwrap_or_default() });
    let mut all: Vec<Abort> = known.filter(|a| !told.answered.contains(&a.id)).collect();
    all.extend(told.asked.iter().filter(|a| !old.iter().any(|w| w.subject == a.id)).cloned());
    all
}

pub(super) fn same(one: &Waiting, other: &Waiting) -> bool {
    one.unit.eq_ignore_ascii_case(&other.unit) && one.step == other.step && one.subject == other.subject
}

impl Scene<'_> {
    /// The wait with its clock.
    fn reckon(&self, clocks: &Clocks, wait: Wait, old: &[Waiting]) -> Waiting {
        let now = self.now.timestamp_millis();
        let ms =
            |p: &PauseRow| Pause { from: p.from.timestamp_millis(), until: p.until.map(|at| at.timestamp_millis()) };
        let is_of = |p: &&PauseRow| p.unit.as_deref().is_none_or(|unit| unit.eq_ignore_ascii_case(&wait.unit));
        let is_held_by_task = matches!(wait.step, Step::NoDecision | Step::NoOutcome | Step::NoContact);
        let applies = |p: &&PauseRow| match p.why {
            HeldBy::OnHold => clocks.on_hold_pauses && is_held_by_task,
            _ => true,
        };
        let own: Vec<&PauseRow> = self.pauses.iter().filter(is_of).filter(applies).collect();
        let mut all: Vec<Pause> = own.iter().map(|p| ms(p)).collect();
        if clocks.deceased_pauses {
            all.extend(&self.deaths);
        }
        let since = wait.since.timestamp_millis();
        let held_until = held_until(since, &all, now);
        let is_dead = clocks.deceased_pauses && self.deaths.iter().any(|death| death.until.is_none());
        let holds = |why: HeldBy| own.iter().any(|p| p.why == why && p.until.is_none_or(|until| until > self.now));
        let held_by = held_until.map(|_| match () {
            () if is_dead => HeldBy::Deceased,
            () if holds(HeldBy::OnHold) => HeldBy::OnHold,
            () => HeldBy::Person,
        });
        let matter = Matter { step: wait.step, sort: self.sort, priority: self.priority, sender: self.sender };
        let mut row = Waiting {
            exchange: self.exchange.id,
            task: wait.task,
            sender: self.sender.to_owned(),
            sort: self.sort,
            priority: self.priority,
            since: wait.since,
            dues: clocks.dues(matter, since, &all),
            held_until,
            held_by,
            due_at: FOREVER,
            next_at: None,
            level: 0,
            has_item: false,
            unit: wait.unit,
            step: wait.step,
            subject: wait.subject,
        };
        row.due_at = row.due(1);
        // What was told stays told while the clock runs on, or stands still for the same reason.
        let before = old.iter().find(|w| same(w, &row));
        let was_held = |w: &Waiting| w.held_by.filter(|_| w.is_held(self.now));
        if let Some(before) = before.filter(|w| was_held(w) == held_by) {
            (row.level, row.has_item) = (before.level, before.has_item);
        }
        row.next_at = match held_by {
            Some(HeldBy::Deceased) => (!row.has_item).then_some(now),
            _ => Some(row.due(usize::from(row.level) + 1)).filter(|at| *at < FOREVER),
        };
        row
    }
}

/// Whether a Task about a wait, or about a death, is still to be seen to: `None` where it is over.
pub(super) fn standing_of(step: &str, unit: &str, subject: &str, new: &[Waiting]) -> Option<&'static str> {
    if step == DECEASED {
        return new.iter().any(|w| w.held_by == Some(HeldBy::Deceased)).then_some("requested");
    }
    let found =
        new.iter().find(|w| w.step.code() == step && w.subject == subject && w.unit.eq_ignore_ascii_case(unit))?;
    Some(if found.has_item && found.held_by.is_none() { "requested" } else { "on-hold" })
}
