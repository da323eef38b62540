//! The purge: what is in 1177 Stöd och behandling must not stay (PUR-1, PUR-2). Everything of the programme goes, in every
//! version, with what it is found by; what stays is the journal's (Encounter, Procedure with codes, what is still to be
//! documented there), the log's rows, and a stub that proves it.
//!
//! Two duties meet a purge, and both were decided here. **A legal hold wins**, at closing and at two years: what was destroyed
//! under a supervisory authority's hand cannot be brought back, while what was kept too long can be purged when the hold is
//! lifted; and no statute was found behind the guide's ”enligt lag” (PUR-2), so that it counts as the platform's rule. **The log
//! stays as long as logs must** (HSLF-FS 2016:40): its rows name resources by id and have none of their words; their payloads go
//! by the log's own rule.
//!
//! The ledger is written first: a copy that was made before and is put back is purged again before anything is answered.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::due::rewrite;
use super::state::State;
use super::{HELD_AGAIN, resources};
use crate::Gateway;
use crate::domain::audit::{By, Deed, Event};
use crate::domain::retention::Keep;
use crate::store::{Commit, Committed, Deed as StoreDeed, Programme, Purge, Removal};
use crate::sync::weigh::{Current, Scale, Weighed};
use crate::sync::{Refusal, TRIES};

/// Adds to a commit that a programme goes, once it is in the ledger.
pub(super) async fn add(
    gateway: &Gateway,
    commit: &mut Commit,
    one: &Programme,
    rule: &str,
    by: &str,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let log = gateway.config.retention.rules.of_log().map_or(Keep { years: 5, days: 0 }, |rule| rule.keep);
    let log_before = log.cutoff(now).unwrap_or(now);
    gateway.programmes.ledger.note(one.id, rule, now).await?;
    let removal = Removal {
        id: Uuid::now_v7(),
        exchange: one.id,
        revision: one.revision,
        rule: rule.to_owned(),
        rule_version: format!("{} {}", one.definition, one.version),
        at: now,
        by: by.to_owned(),
        log_before,
        log_kept_ms: (now - log_before).num_milliseconds(),
    };
    let event = Event::new(now, By::named(by), Deed::Erase, format!("removal/{}", removal.id));
    commit.audit.push(event.with("rule", rule).with("version", removal.rule_version.as_str()).into());
    commit.deeds.push(StoreDeed::Purge(Purge { programme: one.id, removal }));
    Ok(())
}

/// Purges a programme, whatever its stage; false where somebody else was faster, or a hold keeps it.
pub async fn purge(
    gateway: &Gateway,
    one: &Programme,
    rule: &str,
    by: &str,
    now: DateTime<Utc>,
) -> Result<bool, Refusal> {
    let Some(patient) = &one.patient else { return Ok(false) };
    if gateway.store.programme_hold(patient).await?.is_some() {
        if one.purge_at <= now {
            tracing::warn!(programme = %one.id, "a hold keeps a programme beyond its last day (PUR-2)");
        }
        let put_off = Programme { next_at: Some(now + HELD_AGAIN), made: Vec::new(), ..one.clone() };
        rewrite(gateway, put_off).await?;
        return Ok(false);
    }
    let mut commit = Commit::default();
    // What nobody closed ends here, and the journal has to say so.
    if one.closed_at.is_none() && !State::read(&one.state).documented.contains("end") {
        let units = super::parties(one);
        let scale = Scale { now, patient: Some(patient), units: &units, exchange: None };
        let (reminder, mut weighed) = (resources::document(one, true, now), Weighed::default());
        scale.add(&reminder, &Current::new(), &mut weighed);
        let made = weighed.put.iter().map(|put| (format!("{}/{}", put.resource_type, put.id), true)).collect();
        let next = Programme { revision: one.revision + 1, made, ..one.clone() };
        commit.expect = weighed.expect;
        commit.expect.push(crate::store::Expect::Programme { programme: one.id, revision: one.revision });
        commit.put = weighed.put;
        add(gateway, &mut commit, &next, rule, by, now).await?;
        commit.programmes = vec![next];
    } else {
        add(gateway, &mut commit, one, rule, by, now).await?;
    }
    Ok(matches!(gateway.store.commit(commit).await?, Committed::Done { .. }))
}

/// Purges again what the ledger says was purged and is here all the same: the database is a copy of before. Nothing is answered
/// until this has ended.
pub async fn again(gateway: &Gateway, now: DateTime<Utc>) -> Result<usize, Refusal> {
    let mut count = 0;
    for id in gateway.programmes.ledger.all() {
        for _ in 0..TRIES {
            let Some(one) = gateway.store.programme(id).await?.filter(|one| one.purged_at.is_none()) else { break };
            if purge(gateway, &one, "PUR-1", "gateway", now).await? {
                count += 1;
                break;
            }
            let patient = one.patient.unwrap_or_default();
            if gateway.store.programme_hold(&patient).await?.is_some() {
                tracing::warn!(programme = %id, "a hold keeps what was purged before and came back with a copy");
                break;
            }
        }
    }
    Ok(count)
}
