//! Reads blocks, and what they hold.

use rusqlite::Row;
use uuid::Uuid;

use super::super::link::person;
use super::super::query::Filter;
use super::super::read_delivery::delivery;
use super::super::record::Delivery;
use super::super::row::{time, time_if_any, uuid};
use super::super::statement::Statements;
use super::super::{Store, StoreError};
use super::known::Known;
use super::{Block, Lifted, Outgoing, readers};
use crate::domain::block::{Origin, Period, Rule, Scope, is_withheld};
use crate::fhir::origin::carried;

const OF_PATIENT: &str = concat!("SELECT * FROM block WHERE patient IN ", person!("?1"));
const ONE: &str = "SELECT * FROM block WHERE id = ?1";
/// Whichever number of the person it was registered under.
const STANDING: &str =
    concat!("SELECT * FROM block INDEXED BY block_standing WHERE lifted_at IS NULL AND patient IN ", person!("?1"));
/// Grows with every block of the patient and with every one that is lifted.
pub(super) const MARKS: &str =
    concat!("SELECT count(*) + count(lifted_at) AS marks FROM block WHERE patient IN ", person!("?1"));
const HELD: &str = "SELECT 1 FROM delivery WHERE id = ?1 AND held = 1";
const UNLISTED: &str = "SELECT * FROM delivery INDEXED BY delivery_unlisted WHERE held <> listed ORDER BY seq LIMIT ?1";
const WITHHELD: &str = "SELECT r.type || '/' || r.id FROM exchange_resource x CROSS JOIN resource r ON r.rid = x.rid \
     WHERE x.exchange = ?1 AND EXISTS (SELECT 1 FROM withheld w WHERE w.rid = x.rid AND w.unit IN (SELECT value FROM json_each(?2))) \
     AND NOT EXISTS (SELECT 1 FROM concern c WHERE c.rid = x.rid AND c.unit IN (SELECT value FROM json_each(?2)))";

fn block(row: &Row<'_>) -> Result<Block, StoreError> {
    let provider: String = row.get("provider")?;
    let unit: Option<String> = row.get("unit")?;
    let lifted = time_if_any(row, "lifted_at")?.zip(row.get::<_, Option<String>>("lifted_by")?);
    Ok(Block {
        id: uuid(row, "id")?,
        patient: row.get("patient")?,
        scope: match unit {
            Some(unit) => Scope::Inner { unit, provider },
            None => Scope::Outer { provider },
        },
        period: Period { from: row.get("from_at")?, to: row.get("to_at")? },
        registered_at: time(row, "registered_at")?,
        registered_by: row.get("registered_by")?,
        lifted: lifted.map(|(at, by)| Lifted { at, by }),
    })
}

/// The blocks of a patient that stand.
pub(super) fn rules(db: &Statements<'_>, patient: &str) -> Result<Vec<Rule>, StoreError> {
    db.all(STANDING, [patient], |row| Ok(block(row)?.rule()))
}

impl Store {
    /// Every block of the patient, the first registered first, for the gateway itself: whose they are is asked by the journey.
    pub async fn blocks_of(&self, patient: &str) -> Result<Vec<Block>, StoreError> {
        let patient = patient.to_owned();
        self.read(move |db| {
            let mut all = db.all(OF_PATIENT, [&patient], block)?;
            all.sort_by_key(|block| (block.registered_at, block.id));
            Ok(all)
        })
        .await
    }

    pub async fn block(&self, id: Uuid) -> Result<Option<Block>, StoreError> {
        self.read(move |db| db.first(ONE, [id.as_bytes()], block)).await
    }

    /// How much has happened to the patient's blocks: expect it in the commit that follows from what was read after it.
    pub async fn block_marks(&self, patient: &str) -> Result<i64, StoreError> {
        let patient = patient.to_owned();
        self.read(move |db| Ok(db.first(MARKS, [&patient], |row| row.get("marks"))?.unwrap_or(0))).await
    }

    /// Whether a block holds the delivery at this moment.
    pub async fn is_held(&self, delivery: Uuid) -> Result<bool, StoreError> {
        let found = self.read(move |db| db.first(HELD, [delivery.as_bytes()], |_| Ok::<_, StoreError>(()))).await?;
        Ok(found.is_some())
    }

    /// Deliveries of which the worklist has not heard that they are held, or are held no more.
    pub async fn unlisted(&self, limit: u32) -> Result<Vec<Delivery>, StoreError> {
        self.read(move |db| db.all(UNLISTED, [limit], delivery)).await
    }

    /// What of the exchange a block keeps from the one who asks, by `Type/id`: for them it is not there.
    pub async fn withheld(&self, filter: &Filter, exchange: Uuid) -> Result<Vec<String>, StoreError> {
        let Some(units) = readers(filter) else { return Ok(Vec::new()) };
        self.read(move |db| db.all(WITHHELD, (exchange.as_bytes(), units), |row| Ok(row.get(0)?))).await
    }

    /// The units among the recipients from whom a block keeps what is about to be sent.
    pub async fn would_withhold(&self, outgoing: &Outgoing) -> Result<Vec<String>, StoreError> {
        let out = outgoing.clone();
        self.read(move |db| {
            let rules = rules(db, &out.patient)?;
            if rules.is_empty() {
                return Ok(Vec::new());
            }
            let mut known = Known::read(db, &out.patient)?;
            let unit = out.unit.to_ascii_uppercase();
            let mut held = Vec::new();
            for to in &out.to {
                let reader = known.reader(db, &to.to_ascii_uppercase())?;
                let provider = known.provider(db, &unit)?;
                let origin = |provider| Origin { unit: Some(unit.clone()), provider, documented: out.documented };
                let then = origin(Some(out.provider.to_ascii_uppercase()).filter(|p| *p != unit));
                let is_kept = is_withheld(&rules, &then, &reader)
                    || (provider.is_some() && is_withheld(&rules, &origin(provider), &reader))
                    || out.along.iter().any(|name| known.keeps(&rules, name, &reader));
                if is_kept {
                    held.push(to.clone());
                }
            }
            Ok(held)
        })
        .await
    }

    /// Whether a block keeps what the delivery carries from its recipient, whatever has become of the delivery.
    pub async fn is_blocked(&self, delivery: &Delivery, patient: &str) -> Result<bool, StoreError> {
        let (delivery, patient) = (delivery.clone(), patient.to_owned());
        self.read(move |db| {
            let rules = rules(db, &patient)?;
            if rules.is_empty() {
                return Ok(false);
            }
            let mut known = Known::read(db, &patient)?;
            let reader = known.reader(db, &delivery.unit.to_ascii_uppercase())?;
            Ok(known.keeps_exchange(&rules, delivery.exchange, &reader)
                || carried(&delivery.body).iter().any(|name| known.keeps(&rules, name, &reader)))
        })
        .await
    }
}
