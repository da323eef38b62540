//! What happens between reading and committing: a pause that only a test can make, with somebody else in it.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::read::{Read, read};
use super::submit::{Submission, submit};
use super::supersede::supersede;
use crate::Gateway;
use crate::access::Caller;
use crate::config::Config;
use crate::domain::{Format, Kind};
use crate::store::{Commit, Committed, Expect};

const PLAN: &str = include_str!("../../mappings/examples/rehab-plan.small.source.json");
const REFERRAL: &str = include_str!("../../mappings/examples/referral.small.source.json");
const SOUTH: &str = "SE2321000131-E000000000203";

/// A gateway that nobody listens to, in a folder that goes away with it.
struct Alone {
    gateway: Gateway,
    folder: std::path::PathBuf,
}

impl Alone {
    fn open() -> Self {
        let folder = std::env::temp_dir().join(format!("vardkedja-alone-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let config = Config { db: folder.join("store.sqlite"), ..Config::load(None).unwrap() };
        Self { gateway: Gateway::open(config).unwrap(), folder }
    }

    async fn take_in(&self, kind: Kind, document: &Value) {
        let (caller, bytes) = (Caller::operator(), document.to_string());
        submit(&self.gateway, &submission(&caller, kind, bytes.as_bytes())).await.unwrap();
    }

    /// Everything up to the commit.
    async fn compose(&self, kind: Kind, document: &Value) -> Commit {
        let (caller, bytes) = (Caller::operator(), document.to_string());
        let submission = submission(&caller, kind, bytes.as_bytes());
        let read: Read<'_> = read(&self.gateway, &submission).unwrap();
        let before = self.gateway.store.exchange_of(&read.organisation, kind, &read.envelope.id).await.unwrap();
        let version = read.envelope.version.unwrap();
        supersede(&self.gateway, &submission, &read, before, version).await.unwrap()
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn submission<'a>(caller: &'a Caller, kind: Kind, bytes: &'a [u8]) -> Submission<'a> {
    let now: DateTime<Utc> = "2026-03-10T09:00:00Z".parse().unwrap();
    Submission { caller, kind, format: Format::Json, bytes, key: None, now }
}

fn plan(version: u32) -> Value {
    let mut plan: Value = serde_json::from_str(PLAN).unwrap();
    plan["version"] = json!(version);
    plan
}

/// To a unit that the plan does not name: only the referral makes it one that follows the plan.
fn referral() -> Value {
    let mut referral: Value = serde_json::from_str(REFERRAL).unwrap();
    referral["recipient"]["unit"] = json!(SOUTH);
    referral
}

#[actix_web::test]
async fn a_revised_plan_does_not_miss_the_unit_that_was_asked_while_it_was_read() {
    let alone = Alone::open();
    alone.take_in(Kind::RehabPlan, &plan(1)).await;
    let revision = alone.compose(Kind::RehabPlan, &plan(2)).await;
    assert!(!revision.exchanges[0].parties.iter().any(|p| p.unit == SOUTH));
    alone.take_in(Kind::Referral, &referral()).await;
    let ended = alone.gateway.store.commit(revision).await.unwrap();
    assert!(matches!(ended, Committed::Conflict(Expect::Unchanged { .. })), "{ended:?}");
    let again = alone.compose(Kind::RehabPlan, &plan(2)).await;
    assert!(again.exchanges[0].parties.iter().any(|p| p.unit == SOUTH));
    assert!(matches!(alone.gateway.store.commit(again).await.unwrap(), Committed::Done { .. }));
}

#[actix_web::test]
async fn a_referral_does_not_carry_the_plan_that_was_revised_while_it_was_read() {
    let alone = Alone::open();
    alone.take_in(Kind::RehabPlan, &plan(1)).await;
    let carrying = alone.compose(Kind::Referral, &referral()).await;
    alone.take_in(Kind::RehabPlan, &plan(2)).await;
    let ended = alone.gateway.store.commit(carrying).await.unwrap();
    assert!(matches!(ended, Committed::Conflict(Expect::Revision { .. })), "{ended:?}");
}
