//! Settles what is kept from whom, inside the commit that changes any of it; and the directory's units, when the store opens.

use std::collections::BTreeSet;

use chrono::Utc;
use rusqlite::Connection;
use uuid::Uuid;

use super::super::apply::{Refusal, Writing};
use super::super::audit::note;
use super::super::record::Audit;
use super::super::row::uuid;
use super::super::state::State;
use super::super::statement::Statements;
use super::super::write_delivery::PROMOTE;
use super::super::{Commit, StoreError};
use super::known::Known;
use super::read::{MARKS, rules};
use super::{Block, Listed, NOBODY};
use crate::domain::audit::{By, Deed, Event};
use crate::domain::block::{HELD, Rule};
use crate::domain::delivery::State as DeliveryState;
use crate::fhir::origin::{carried, tells_of_an_answer};

const ANY: &str = "SELECT 1 FROM block INDEXED BY block_standing WHERE lifted_at IS NULL LIMIT 1";
const PATIENTS: &str = "SELECT DISTINCT patient FROM block INDEXED BY block_standing WHERE lifted_at IS NULL";
const INSERT: &str = "INSERT INTO block (id, patient, provider, unit, from_at, to_at, registered_at, registered_by, lifted_at, \
                      lifted_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) \
                      ON CONFLICT (id) DO UPDATE SET lifted_at = excluded.lifted_at, lifted_by = excluded.lifted_by";
const OF_EXCHANGE: &str = "SELECT patient FROM exchange WHERE id = ?1";
const OF_DELIVERY: &str = "SELECT e.patient FROM delivery d CROSS JOIN exchange e ON e.id = d.exchange WHERE d.id = ?1";

const SEE: &str = "SELECT unit FROM concern WHERE rid = ?1";
const SEE_NOT: &str = "SELECT unit FROM withheld WHERE rid = ?1";
const TAKE: &str = "DELETE FROM concern WHERE rid = ?1 AND unit = ?2";
/// Another exchange that the unit takes part in, and that no block keeps from it, has the actor too.
const ELSEWHERE: &str = "SELECT 1 FROM party p INDEXED BY party_unit CROSS JOIN exchange_resource x \
     ON x.exchange = p.exchange AND x.rid = ?2 WHERE p.unit = ?1 \
     AND NOT EXISTS (SELECT 1 FROM withheld_exchange w WHERE w.exchange = p.exchange AND w.unit = p.unit) LIMIT 1";
const FORGET_EXCHANGE: &str = "DELETE FROM withheld_exchange WHERE exchange = ?1";
const WITHHOLD_EXCHANGE: &str = "INSERT INTO withheld_exchange (exchange, unit) VALUES (?1, ?2) ON CONFLICT DO NOTHING";

const OPEN: &str = "SELECT id, exchange, partner, patient, unit, action, state, held, seq, body FROM delivery \
                    WHERE exchange = ?1 AND state IN ('waiting', 'parked')";
const HOLD: &str = "UPDATE delivery SET state = 'parked', held = 1, head = 0, note = ?2 WHERE id = ?1";
const RELEASE: &str = "UPDATE delivery SET state = 'waiting', held = 0, note = NULL, due_at = ?2 WHERE id = ?1";
/// One that waits for a person, and was made after what is released, no longer stands before it.
const STEP_BACK: &str = "UPDATE delivery SET head = 0 WHERE partner = ?1 AND patient = ?2 AND head = 1 AND state = 'parked' \
                         AND seq > ?3";
const LIST: &str = "UPDATE delivery SET listed = ?2 WHERE id = ?1 AND held = ?2";

/// Read whole, once, when the store opens.
pub(in crate::store) const UNITS: &str = "SELECT unit, provider FROM affiliation";
const LEAVE: &str = "DELETE FROM affiliation WHERE unit = ?1";
const JOIN: &str = "INSERT INTO affiliation (unit, provider) VALUES (?1, ?2) \
                    ON CONFLICT (unit) DO UPDATE SET provider = excluded.provider";

/// A delivery that is not over.
struct Open {
    id: Uuid,
    exchange: Uuid,
    lane: (String, String),
    unit: String,
    is_notice: bool,
    held: bool,
    seq: i64,
    tells_of_an_answer: bool,
    /// `Type/id` of what it carries of the patient's documentation.
    carries: Vec<String>,
}

impl Writing<'_, '_> {
    pub(in crate::store) fn put_block(&mut self, block: &Block) -> Result<(), Refusal> {
        let lifted = block.lifted.as_ref();
        self.statements.run(
            INSERT,
            (
                block.id.as_bytes(),
                &block.patient,
                block.scope.provider().to_ascii_uppercase(),
                block.scope.unit().map(str::to_ascii_uppercase),
                block.period.from,
                block.period.to,
                block.registered_at.timestamp_millis(),
                &block.registered_by,
                lifted.map(|lifted| lifted.at.timestamp_millis()),
                lifted.map(|lifted| &lifted.by),
            ),
        )?;
        Ok(())
    }

    pub(in crate::store) fn list_held(&mut self, listed: &Listed) -> Result<(), Refusal> {
        self.statements.run(LIST, (listed.delivery.as_bytes(), listed.held))?;
        Ok(())
    }

    /// After everything else of the commit: what it made is kept from whom a block keeps it from, before anybody can see it.
    pub(in crate::store) fn settle(&mut self, commit: &Commit) -> Result<(), Refusal> {
        let db = self.statements;
        let mut patients: BTreeSet<String> = commit.blocks.iter().map(|b| b.patient.clone()).collect();
        if patients.is_empty() && db.first(ANY, [], |_| Ok::<_, StoreError>(()))?.is_none() {
            return Ok(());
        }
        let linked = self.of_links(&commit.links)?;
        patients.extend(linked.iter().cloned());
        patients.extend(commit.exchanges.iter().filter_map(|e| e.patient.clone()));
        patients.extend(commit.put.iter().filter_map(|p| p.patient.clone()));
        let patient = |row: &rusqlite::Row<'_>| Ok::<_, StoreError>(row.get::<_, Option<String>>("patient")?);
        for delivery in &commit.deliveries {
            patients.extend(db.first(OF_EXCHANGE, [delivery.exchange.as_bytes()], patient)?.flatten());
        }
        for change in
            commit.delivery_changes.iter().filter(|c| (c.from, c.to) == (DeliveryState::Parked, DeliveryState::Waiting))
        {
            patients.extend(db.first(OF_DELIVERY, [change.id.as_bytes()], patient)?.flatten());
        }
        for patient in patients {
            let rules = rules(db, &patient)?;
            // Of two that are one person no more, one may have no block.
            let is_meant = commit.blocks.iter().any(|b| b.patient == patient) || linked.contains(&patient);
            if !rules.is_empty() || is_meant {
                self.settle_patient(&patient, &rules)?;
            }
        }
        Ok(())
    }

    fn settle_patient(&mut self, patient: &str, rules: &[Rule]) -> Result<(), Refusal> {
        let mut known = Known::read(self.statements, patient)?;
        self.settle_resources(&mut known, rules)?;
        self.settle_exchanges(&mut known, rules)?;
        self.settle_actors(&mut known, rules)?;
        self.settle_deliveries(&mut known, rules)
    }

    fn settle_resources(&mut self, known: &mut Known, rules: &[Rule]) -> Result<(), Refusal> {
        let db = self.statements;
        let unit = |row: &rusqlite::Row<'_>| Ok::<_, StoreError>(row.get::<_, String>(0)?);
        // Of whom something else of the patient's is seen, in the end; a Patient follows that.
        let (mut seeing, mut patients) = (BTreeSet::new(), Vec::new());
        let names: Vec<String> = known.resources.keys().cloned().collect();
        for name in names {
            let Some((rid, is_patient)) = known.resources.get(&name).map(|r| (r.rid, r.is_patient)) else { continue };
            let seen: BTreeSet<String> = db.all(SEE, [rid], unit)?.into_iter().collect();
            let unseen: BTreeSet<String> = db.all(SEE_NOT, [rid], unit)?.into_iter().collect();
            let all: BTreeSet<String> = seen.union(&unseen).cloned().chain([NOBODY.to_owned()]).collect();
            if is_patient {
                patients.push((rid, all, seen, unseen));
                continue;
            }
            for who in all {
                let reader = known.reader(db, &who)?;
                let keep = known.keeps(rules, &name, &reader);
                self.keep(rid, &who, keep, seen.contains(&who), unseen.contains(&who))?;
                if !keep {
                    seeing.insert(who);
                }
            }
        }
        for (rid, all, seen, unseen) in patients {
            for who in all {
                let keep = !rules.is_empty() && !seeing.contains(&who);
                self.keep(rid, &who, keep, seen.contains(&who), unseen.contains(&who))?;
            }
        }
        Ok(())
    }

    /// Moves what one unit sees of one resource to where it belongs.
    fn keep(&mut self, rid: i64, who: &str, keep: bool, is_seen: bool, is_withheld: bool) -> Result<(), Refusal> {
        if keep && is_seen {
            self.statements.run(TAKE, (rid, who))?;
        }
        match (keep, is_withheld) {
            (true, false) => self.shut(rid, who, is_seen),
            (false, true) => self.reopen(rid, who),
            _ => Ok(()),
        }
    }

    fn settle_exchanges(&mut self, known: &mut Known, rules: &[Rule]) -> Result<(), Refusal> {
        let db = self.statements;
        let parties: Vec<(Uuid, Vec<String>)> = known
            .exchanges
            .iter()
            .map(|(id, exchange)| {
                let units = exchange.parties.iter().map(|p| p.unit.clone());
                (*id, units.chain([NOBODY.to_owned()]).collect())
            })
            .collect();
        for (id, units) in parties {
            db.run(FORGET_EXCHANGE, [id.as_bytes()])?;
            for who in units {
                let reader = known.reader(db, &who)?;
                if known.keeps_exchange(rules, id, &reader) {
                    db.run(WITHHOLD_EXCHANGE, (id.as_bytes(), &who))?;
                }
            }
        }
        Ok(())
    }

    /// Actors are no secret, but that one concerns a unit is where nothing else does: its history would show it.
    fn settle_actors(&mut self, known: &mut Known, rules: &[Rule]) -> Result<(), Refusal> {
        let db = self.statements;
        let unit = |row: &rusqlite::Row<'_>| Ok::<_, StoreError>(row.get::<_, String>(0)?);
        for (rid, exchanges) in known.actors.clone() {
            let seen: BTreeSet<String> = db.all(SEE, [rid], unit)?.into_iter().collect();
            let unseen: BTreeSet<String> = db.all(SEE_NOT, [rid], unit)?.into_iter().collect();
            for who in seen.union(&unseen) {
                let reader = known.reader(db, who)?;
                let is_closed = exchanges.iter().all(|id| known.keeps_exchange(rules, *id, &reader));
                let keep = is_closed && db.first(ELSEWHERE, (who, rid), |_| Ok::<_, StoreError>(()))?.is_none();
                self.keep(rid, who, keep, seen.contains(who), unseen.contains(who))?;
            }
        }
        Ok(())
    }

    /// Holds what a block keeps from its recipient, and whatever would overtake that: what stands behind it of the same
    /// exchange, or brings something that it brings. Everything else of the lane goes on.
    fn settle_deliveries(&mut self, known: &mut Known, rules: &[Rule]) -> Result<(), Refusal> {
        let db = self.statements;
        let mut open = Vec::new();
        for id in known.exchanges.keys() {
            open.extend(db.all(OPEN, [id.as_bytes()], |row| read_open(row, known))?);
        }
        open.sort_by_key(|delivery| delivery.seq);
        let mut holds: Vec<usize> = Vec::new();
        let mut changes = Vec::new();
        for (at, delivery) in open.iter().enumerate() {
            let reader = known.reader(db, &delivery.unit)?;
            let is_kept = is_kept(known, rules, delivery, &reader);
            let overtakes = holds.iter().filter_map(|held| open.get(*held)).any(|held| delivery.overtakes(held));
            let hold = is_kept || overtakes;
            if hold {
                holds.push(at);
            }
            if hold != delivery.held {
                changes.push((delivery, hold));
            }
        }
        for (delivery, hold) in changes {
            self.turn(delivery, hold)?;
        }
        Ok(())
    }

    fn turn(&mut self, delivery: &Open, hold: bool) -> Result<(), Refusal> {
        let db = self.statements;
        let (partner, patient) = &delivery.lane;
        if hold {
            db.run(HOLD, (delivery.id.as_bytes(), HELD))?;
        } else {
            db.run(RELEASE, (delivery.id.as_bytes(), self.now_ms))?;
            db.run(STEP_BACK, (partner, patient, delivery.seq))?;
        }
        db.run(PROMOTE, (partner, patient))?;
        let event = Event::new(Utc::now(), By::gateway(), Deed::Block, format!("delivery/{}", delivery.id))
            .with("change", if hold { "withhold" } else { "release" })
            .with("exchange", delivery.exchange.to_string())
            .with("recipientUnit", delivery.unit.as_str());
        let audit = Audit::from(event);
        let noted = note(&audit);
        self.append_audit(&audit, &noted)
    }
}

fn read_open(row: &rusqlite::Row<'_>, known: &Known) -> Result<Open, StoreError> {
    let body: Vec<u8> = row.get("body")?;
    let action: String = row.get("action")?;
    let is_notice = action == "notice";
    let unit: String = row.get("unit")?;
    let of_patient = |name: &String| known.resources.get(name).is_some_and(|r| !r.is_patient);
    let carries = if is_notice { Vec::new() } else { carried(&body).into_iter().filter(of_patient).collect() };
    Ok(Open {
        id: uuid(row, "id")?,
        exchange: uuid(row, "exchange")?,
        lane: (row.get("partner")?, row.get("patient")?),
        unit: unit.to_ascii_uppercase(),
        is_notice,
        held: row.get("held")?,
        seq: row.get("seq")?,
        tells_of_an_answer: is_notice && tells_of_an_answer(&body),
        carries,
    })
}

/// Whether a block keeps from its recipient what the delivery carries, or the exchange that it tells of.
fn is_kept(known: &Known, rules: &[Rule], delivery: &Open, reader: &crate::domain::block::Reader) -> bool {
    let keeps = |name: &String| known.keeps(rules, name, reader);
    let answers = || {
        let tasks = known.exchanges.get(&delivery.exchange).map_or(&[][..], |e| e.parties.as_slice());
        tasks.iter().filter_map(|p| p.task.as_ref()).any(|task| keeps(&format!("Task/{task}")))
    };
    known.keeps_exchange(rules, delivery.exchange, reader)
        || delivery.carries.iter().any(keeps)
        || (delivery.tells_of_an_answer && answers())
}

impl Open {
    /// Whether it must not go before a delivery that is held.
    fn overtakes(&self, held: &Self) -> bool {
        let same_exchange = self.exchange == held.exchange && self.unit == held.unit;
        !self.is_notice
            && !held.is_notice
            && self.lane == held.lane
            && (same_exchange || self.carries.iter().any(|name| held.carries.contains(name)))
    }
}

/// Brings the units to what the directory says, before anybody asks; where that changes anything, blocks are settled anew.
/// Without units nothing is changed: whoever opens the file to look at it has no directory.
pub(in crate::store) fn affiliate(connection: &Connection, units: &[(String, String)]) -> Result<(), StoreError> {
    if units.is_empty() {
        return Ok(());
    }
    let db = Statements::new(connection);
    let mut state = State::load(connection)?;
    db.run("BEGIN IMMEDIATE", []).map_err(StoreError::Open)?;
    let done = join(&db, &mut state, units).and_then(|()| Ok(db.run("COMMIT", []).map(|_| ())?));
    if done.is_err() {
        // The step's own error is the one to tell.
        let _ = db.run("ROLLBACK", []);
    }
    done.map_err(|refusal| match refusal {
        Refusal::Sql(error) => StoreError::Open(error),
        Refusal::Corrupt(what) => StoreError::Corrupt(what),
        Refusal::Unmet(_) => StoreError::Corrupt("the directory of units"),
    })
}

fn join(db: &Statements<'_>, state: &mut State, units: &[(String, String)]) -> Result<(), Refusal> {
    let pair = |row: &rusqlite::Row<'_>| Ok::<(String, String), StoreError>((row.get(0)?, row.get(1)?));
    let before: BTreeSet<(String, String)> = db.all(UNITS, [], pair)?.into_iter().collect();
    let upper = |(unit, provider): &(String, String)| (unit.to_ascii_uppercase(), provider.to_ascii_uppercase());
    let now: BTreeSet<(String, String)> =
        units.iter().map(upper).filter(|(u, p)| !u.is_empty() && !p.is_empty()).collect();
    if before == now {
        return Ok(());
    }
    for (unit, _) in before.difference(&now) {
        db.run(LEAVE, [unit])?;
    }
    for (unit, provider) in now.difference(&before) {
        db.run(JOIN, (unit, provider))?;
    }
    let patients = db.all(PATIENTS, [], |row| Ok::<_, StoreError>(row.get::<_, String>(0)?))?;
    let mut writing = Writing::new(db, state);
    for patient in patients {
        let rules = rules(db, &patient)?;
        writing.settle_patient(&patient, &rules)?;
    }
    Ok(())
}

impl Writing<'_, '_> {
    /// How many things have happened to the patient's blocks.
    pub(in crate::store) fn block_marks(&self, patient: &str) -> Result<i64, rusqlite::Error> {
        Ok(self.statements.first(MARKS, [patient], |row| row.get::<_, i64>("marks"))?.unwrap_or(0))
    }
}
