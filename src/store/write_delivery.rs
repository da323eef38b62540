//! Writes deliveries and their changes, and keeps the head of each lane: the one delivery that may go next.

use rusqlite::params;
use uuid::Uuid;

use super::apply::{Refusal, Writing};
use super::record::{Delivery, DeliveryChange};
use super::{Begun, Expect};
use crate::domain::delivery::State;

const INSERT: &str = "INSERT INTO delivery (seq, id, exchange, document_version, partner, unit, patient, action, state, head, \
                      attempts, created_at, first_attempt_at, due_at, note, body, urgent, resend_of) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, \
                      ?10 AND NOT EXISTS (SELECT 1 FROM delivery WHERE partner = ?5 AND patient = ?7 AND head = 1), \
                      ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)";
/// Order within a lane stays: what stands before something urgent is in its way, and so in a hurry too.
const HURRY: &str = "UPDATE delivery SET urgent = 1 \
                     WHERE partner = ?1 AND patient = ?2 AND state IN ('waiting', 'parked') AND urgent = 0";
const STANDING: &str = "SELECT state, partner, patient, attempts FROM delivery WHERE id = ?1";
const CHANGE: &str = "UPDATE delivery SET state = ?2, head = head AND ?3, held = held AND ?2 = 'parked', due_at = ?4, note = ?5, attempts = ?6, \
                      first_attempt_at = coalesce(first_attempt_at, ?7), \
                      begun_at = CASE WHEN begun_at = ?7 THEN NULL ELSE begun_at END WHERE id = ?1";
/// One whose outcome was never recorded stays: what came after it says nothing of it.
const BEGIN: &str = "UPDATE delivery SET begun_at = coalesce(begun_at, ?2) WHERE id = ?1";
/// The first that no block holds, where nothing is: what a block let go of comes after what stands first already.
pub(super) const PROMOTE: &str = "UPDATE delivery SET head = 1 WHERE seq = (SELECT min(seq) FROM delivery \
                       WHERE partner = ?1 AND patient = ?2 AND state IN ('waiting', 'parked') AND held = 0) \
                       AND NOT EXISTS (SELECT 1 FROM delivery WHERE partner = ?1 AND patient = ?2 AND head = 1)";
const INSERT_ATTEMPT: &str = "INSERT INTO attempt (delivery, number, at, class, status, reason, duration_ms) \
                              VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

/// The lane in which something of the person waits for the partner, of the same exchange first: what comes under another number of
/// the person comes behind it.
const OPEN_LANE: &str = "SELECT d.patient, max((d.exchange = ?3) * 4611686018427387904 + d.seq) FROM delivery d INDEXED BY delivery_lane \
     WHERE d.partner = ?1 AND d.patient IN (SELECT ?2 UNION ALL SELECT k.other FROM kin k WHERE k.patient = ?2) \
     AND d.state IN ('waiting', 'parked')";
const HAS_KIN: &str = "SELECT 1 FROM kin WHERE patient = ?1 LIMIT 1";

struct Standing {
    state: String,
    partner: String,
    patient: String,
    attempts: u32,
}

/// Whether it holds those behind it in its lane.
fn holds(state: State) -> bool {
    matches!(state, State::Waiting | State::Parked)
}

impl Writing<'_, '_> {
    /// Its place in the lane is given here, whatever `delivery.seq` says.
    pub(super) fn put_delivery(&mut self, delivery: &Delivery) -> Result<(), Refusal> {
        let seq = self.state.next_seq();
        let lane = self.lane(delivery)?;
        self.statements.run(
            INSERT,
            params![
                seq,
                delivery.id.as_bytes(),
                delivery.exchange.as_bytes(),
                delivery.document_version,
                delivery.partner,
                delivery.unit,
                lane,
                delivery.action.code(),
                delivery.state.code(),
                holds(delivery.state),
                delivery.attempts,
                delivery.created_at.timestamp_millis(),
                delivery.first_attempt_at.map(|at| at.timestamp_millis()),
                delivery.due_at.timestamp_millis(),
                delivery.note,
                delivery.body,
                delivery.urgent,
                delivery.resend_of.map(Uuid::into_bytes),
            ],
        )?;
        if delivery.urgent && holds(delivery.state) {
            self.statements.run(HURRY, (&delivery.partner, &lane))?;
        }
        Ok(())
    }

    /// One person is one lane, whatever the number; a resend stays where the first was.
    fn lane(&self, delivery: &Delivery) -> Result<String, Refusal> {
        let db = self.statements;
        let own = delivery.patient.clone();
        if delivery.resend_of.is_some() || db.first(HAS_KIN, [&own], |_| Ok::<_, Refusal>(()))?.is_none() {
            return Ok(own);
        }
        let key = (&delivery.partner, &own, delivery.exchange.as_bytes());
        let open = db.first(OPEN_LANE, key, |row| row.get::<_, Option<String>>(0).map_err(Refusal::from))?;
        Ok(open.flatten().unwrap_or(own))
    }

    /// An attempt at it is about to begin.
    pub(super) fn begin(&mut self, begun: &Begun) -> Result<(), Refusal> {
        self.statements.run(BEGIN, (begun.delivery.as_bytes(), begun.at.timestamp_millis()))?;
        Ok(())
    }

    pub(super) fn change_delivery(&mut self, change: &DeliveryChange) -> Result<(), Refusal> {
        let db = self.statements;
        let id = change.id.as_bytes();
        let standing = db.first(STANDING, [id], |row| {
            let (state, partner) = (row.get("state")?, row.get("partner")?);
            Ok::<_, Refusal>(Standing { state, partner, patient: row.get("patient")?, attempts: row.get("attempts")? })
        })?;
        let Some(standing) = standing.filter(|standing| standing.state == change.from.code()) else {
            return Err(Refusal::Unmet(Expect::Delivery { delivery: change.id, state: change.from }));
        };
        let attempts = standing.attempts.saturating_add(change.attempt.iter().map(|_| 1).sum());
        let tried_at = change.attempt.as_ref().map(|attempt| attempt.at.timestamp_millis());
        let (to, due_at) = (change.to.code(), change.due_at.timestamp_millis());
        db.run(CHANGE, (id, to, holds(change.to), due_at, &change.note, attempts, tried_at))?;
        if holds(change.from) && !holds(change.to) {
            // Where something else in the lane was skipped this sets the head that is there already.
            db.run(PROMOTE, (&standing.partner, &standing.patient))?;
        }
        if let Some(attempt) = &change.attempt {
            let at = attempt.at.timestamp_millis();
            let row = (id, attempts, at, &attempt.class, attempt.status, &attempt.reason, attempt.duration_ms);
            db.run(INSERT_ATTEMPT, row)?;
        }
        Ok(())
    }
}
