//! Applies one commit inside its savepoint: expectations first, then the rows in the order their references need.

use chrono::Utc;

use super::audit::Noted;
use super::state::State;
use super::statement::Statements;
use super::{Commit, Expect, StoreError};
use crate::fhir::act::Facts;

/// Why a commit was not applied.
#[derive(Debug)]
pub(super) enum Refusal {
    /// What was expected does not hold.
    Unmet(Expect),
    Sql(rusqlite::Error),
    Corrupt(&'static str),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Read(error) | StoreError::Commit(error) | StoreError::Refused(error) => Self::Sql(error),
            StoreError::Corrupt(what) => Self::Corrupt(what),
            _ => Self::Corrupt("a row"),
        }
    }
}

/// One commit being written. Each kind of row is applied in the file of its noun.
pub(super) struct Writing<'w, 'c> {
    pub(super) statements: &'w Statements<'c>,
    pub(super) state: &'w mut State,
    /// For what does not say itself when it was made.
    pub(super) now_ms: i64,
    /// The last `seq` that was given before: whatever has a higher one is of this commit.
    pub(super) began: i64,
    /// Units to which a new version of this commit shows a resource that stood already.
    pub(super) shown: Vec<(i64, String)>,
}

impl<'w, 'c> Writing<'w, 'c> {
    pub(super) fn new(statements: &'w Statements<'c>, state: &'w mut State) -> Self {
        let began = state.seq();
        Self { statements, state, now_ms: Utc::now().timestamp_millis(), began, shown: Vec::new() }
    }

    /// `times` and `facts` have one entry for each put, `notes` one for each audit row.
    pub(super) fn apply(
        &mut self,
        commit: &Commit,
        times: &[Option<i64>],
        facts: &[Option<Facts>],
        notes: &[Noted],
    ) -> Result<(), Refusal> {
        for expect in &commit.expect {
            self.check(expect)?;
        }
        for exchange in &commit.exchanges {
            self.put_exchange(exchange)?;
        }
        let times = times.iter().copied().chain(std::iter::repeat(None));
        for (put, said_at) in commit.put.iter().zip(times) {
            self.put_resource(put, said_at)?;
        }
        // After all of them: a fact names resources of the same commit.
        for (put, facts) in commit.put.iter().zip(facts) {
            if let Some(facts) = facts {
                self.put_facts(&put.resource_type, &put.id, put.version == 1, facts)?;
            }
        }
        for share in &commit.share {
            self.share(share)?;
        }
        for hide in &commit.hide {
            self.hide(hide)?;
        }
        for link in &commit.links {
            self.put_link(link)?;
        }
        for word in &commit.words {
            self.put_word(word)?;
        }
        for exchange in &commit.exchanges {
            self.put_exchange_resources(exchange)?;
        }
        for programme in &commit.programmes {
            self.put_programme(programme)?;
        }
        for look in &commit.looks {
            self.put_look(look)?;
        }
        for moved in &commit.charges {
            self.put_moved(moved)?;
        }
        for patient in &commit.derived {
            self.put_derived(patient)?;
        }
        for document in &commit.documents {
            self.put_document(document)?;
        }
        for delivery in &commit.deliveries {
            self.put_delivery(delivery)?;
        }
        for begun in &commit.begun {
            self.begin(begun)?;
        }
        for change in &commit.delivery_changes {
            self.change_delivery(change)?;
        }
        for raised in &commit.raised {
            self.raise(raised)?;
        }
        self.settle_waits(commit)?;
        for block in &commit.blocks {
            self.put_block(block)?;
        }
        self.settle(commit)?;
        for listed in &commit.listed {
            self.list_held(listed)?;
        }
        for inbound in &commit.inbound {
            self.put_inbound(inbound)?;
        }
        for one in &commit.counterparts {
            self.put_counterpart(one)?;
        }
        for change in &commit.owned {
            self.change_owned(change)?;
        }
        for one in &commit.moves {
            self.put_move(one)?;
        }
        for deed in &commit.deeds {
            self.put_deed(deed)?;
        }
        for dropped in &commit.dropped {
            self.put_dropped(dropped)?;
        }
        if let Some(answer) = &commit.answer {
            self.put_answer(answer)?;
        }
        for change in &commit.exports {
            self.change_export(change)?;
        }
        for change in &commit.subscriptions {
            self.change_subscription(change)?;
        }
        if let Some(assertion) = &commit.assertion {
            self.put_assertion(assertion)?;
        }
        for (audit, noted) in commit.audit.iter().zip(notes) {
            self.append_audit(audit, noted)?;
        }
        if let Some(checkpoint) = &commit.checkpoint {
            self.put_checkpoint(checkpoint)?;
        }
        if let Some(prune) = commit.prune {
            self.prune_audit(prune)?;
        }
        Ok(())
    }
}
