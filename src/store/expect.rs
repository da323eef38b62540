//! Expectations: what must still hold when a commit is written. Checked by the writer, so nothing can come in between.

use super::Expect;
use super::apply::{Refusal, Writing};
use super::assertion::{UNEXPIRED, USED};
use super::charge::LAST;
use super::counterpart::MARK;
use super::objection::STANDING;
use super::programme::REVISION as PROGRAMME;
use super::read_delivery::LANE_END;
use super::read_exchange::{CHANGES_OF_PATIENT, REVISION, REVISION_OF_DOCUMENT};
use super::read_resource::{BY_IDENTIFIER, VERSION_NOW, identified};
use super::removal::REMOVABLE;
use super::search::Asked;
use super::subscription::COUNT_OF;
use super::write_export::{KEPT_OF, OPEN_OF};

const ANSWERED: &str = "SELECT 1 FROM answer WHERE caller = ?1 AND key = ?2";
const SUBSCRIPTION: &str = "SELECT 1 FROM subscription WHERE id = ?1";
const HEARD: &str = "SELECT 1 FROM inbound WHERE partner = ?1 AND key = ?2";
const ATTEMPTS: &str = "SELECT attempts FROM delivery WHERE id = ?1 AND begun_at IS NULL";
const EXPORT: &str = "SELECT state FROM export_job WHERE id = ?1";
const IN_FORCE: &str = "SELECT 1 FROM opt_out WHERE id = ?1 AND lifted_at IS NULL";
const WAITING: &str = "SELECT 1 FROM wait WHERE exchange = ?1 AND unit = ?2 AND step = ?3";
const STATE: &str = "SELECT state FROM delivery WHERE id = ?1";

impl Writing<'_, '_> {
    pub(super) fn check(&self, expect: &Expect) -> Result<(), Refusal> {
        if self.holds(expect)? { Ok(()) } else { Err(Refusal::Unmet(expect.clone())) }
    }

    fn holds(&self, expect: &Expect) -> Result<bool, Refusal> {
        let db = self.statements;
        match expect {
            Expect::Patient { system, value, id } => {
                let found: Option<String> = db.first(BY_IDENTIFIER, ("Patient", system, value), |row| row.get("id"))?;
                Ok(found == *id)
            }
            Expect::Version { resource_type, id, version } => {
                let found: Option<u32> = db.first(VERSION_NOW, (resource_type, id), |row| row.get("version"))?;
                Ok(found == *version)
            }
            Expect::NoIdentifier { resource_type, system, value, filter } => {
                Ok(identified(&Asked::of(db, filter), resource_type, system, value)?.is_empty())
            }
            Expect::Exchange { organisation, kind, document, revision } => {
                let key = (organisation, kind.name(), document);
                let found: Option<u32> = db.first(REVISION_OF_DOCUMENT, key, |row| row.get("revision"))?;
                Ok(found == *revision)
            }
            Expect::Revision { exchange, revision } => {
                let found: Option<u32> = db.first(REVISION, [exchange.as_bytes()], |row| row.get("revision"))?;
                Ok(found == Some(*revision))
            }
            Expect::Unchanged { patient, changes } => {
                let found: Option<i64> = db.first(CHANGES_OF_PATIENT, [patient], |row| row.get("changes"))?;
                Ok(found == Some(*changes))
            }
            Expect::Counterpart { partner, resource_type, id, mark } => {
                let found: Option<i64> = db.first(MARK, (partner, resource_type, id), |row| row.get("mark"))?;
                Ok(found == *mark)
            }
            Expect::Blocks { patient, marks } => Ok(self.block_marks(patient)? == *marks),
            Expect::Unlinked { old, new } => self.is_unlinked(old, new),
            Expect::Linked { id } => self.is_linked(*id),
            Expect::Charges { patient, last } => {
                let found: Option<i64> = db.first(LAST, [patient], |row| row.get("last"))?;
                Ok(found == Some(*last))
            }
            Expect::FreshKey { caller, key } => Ok(db.first(ANSWERED, (caller, key), found)?.is_none()),
            Expect::Unused { client, jti } => Ok(db.first(USED, (client, jti), found)?.is_none()),
            Expect::FewAssertions { client, most, at } => {
                let of_client = (client, at.timestamp_millis(), most);
                let count: Option<u32> = db.first(UNEXPIRED, of_client, |row| row.get("count"))?;
                Ok(count.is_some_and(|count| count < *most))
            }
            Expect::Unheard { partner, key } => Ok(db.first(HEARD, (partner, key), found)?.is_none()),
            Expect::LaneEnd { exchange, partner, seq } => {
                let last: Option<Option<i64>> =
                    db.first(LANE_END, (exchange.as_bytes(), partner), |row| row.get("last"))?;
                Ok(last.flatten() == Some(*seq))
            }
            Expect::Delivery { delivery, state } => {
                let found: Option<String> = db.first(STATE, [delivery.as_bytes()], |row| row.get("state"))?;
                Ok(found.as_deref() == Some(state.code()))
            }
            Expect::NoOptOut { system, value, registry, unit } => {
                let key = (system, value, registry, unit.to_ascii_uppercase());
                Ok(db.first(STANDING, key, found)?.is_none())
            }
            Expect::OptOut { id } => Ok(db.first(IN_FORCE, [id.as_bytes()], found)?.is_some()),
            Expect::Programme { programme, revision } => {
                let found: Option<u32> = db.first(PROGRAMME, [programme.as_bytes()], |row| row.get("revision"))?;
                Ok(found.unwrap_or(0) == *revision)
            }
            Expect::Unheld { programme } => Ok(!self.is_held(*programme)?),
            Expect::Standing { exchange } => Ok(db.first(REVISION, [exchange.as_bytes()], found)?.is_some()),
            Expect::Removable { exchange } => Ok(db.first(REMOVABLE, [exchange.as_bytes()], found)?.is_some()),
            Expect::Untried { delivery, attempts } => {
                let found: Option<u32> = db.first(ATTEMPTS, [delivery.as_bytes()], |row| row.get("attempts"))?;
                Ok(found == Some(*attempts))
            }
            Expect::Waiting { exchange, unit, step } => {
                Ok(db.first(WAITING, (exchange.as_bytes(), unit, step.code()), found)?.is_some())
            }
            Expect::ExportOpen { export } => {
                let found: Option<String> = db.first(EXPORT, [export.as_bytes()], |row| row.get("state"))?;
                Ok(found.as_deref() == Some("open"))
            }
            Expect::ExportRoom { owner, open, kept } => {
                let of = (&owner.name, &owner.client);
                let count =
                    |sql| Ok::<_, rusqlite::Error>(db.first(sql, of, |row| row.get::<_, u32>("n"))?.unwrap_or(0));
                Ok(count(OPEN_OF)? < *open && count(KEPT_OF)? < *kept)
            }
            Expect::Subscription { subscription } => {
                Ok(db.first(SUBSCRIPTION, [subscription.as_bytes()], found)?.is_some())
            }
            Expect::SubscriptionRoom { client, most } => {
                let count = db.first(COUNT_OF, [client], |row| row.get::<_, u32>("n"))?;
                Ok(count.unwrap_or(0) < *most)
            }
        }
    }
}

fn found(_: &rusqlite::Row<'_>) -> Result<(), rusqlite::Error> {
    Ok(())
}
