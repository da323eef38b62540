//! Reads what waits, for whoever watches: per partner, per cause, and what nobody has answered. Every question has a bound,
//! so that looking at a long queue costs no more than looking at a short one.

use std::path::Path;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OpenFlags, Row};
use uuid::Uuid;

use super::meter::{Space, space};
use super::migrate::known_version;
use super::row::{instant, time, uuid};
use super::statement::Statements;
use super::wait::{OpenCount, open_counts};
use super::{Store, StoreError};

/// Deliveries of one partner are counted up to this: in an index alone.
pub const MOST_COUNTED: u32 = 100_000;
/// Answers held are counted up to this: each is looked at.
const MOST_HELD: u32 = 1000;
/// Parked deliveries that are looked at one by one.
const MOST_SHOWN: u32 = 1000;
/// Open Tasks among which the longest unanswered are looked for, and how many are told.
const MOST_OPEN: u32 = 100_000;
const UNANSWERED: u32 = 10;

const NEXT_WAITING: &str =
    "SELECT min(partner) FROM delivery INDEXED BY delivery_waiting WHERE state = 'waiting' AND partner > ?1";
const NEXT_PARKED: &str =
    "SELECT min(partner) FROM delivery INDEXED BY delivery_parked WHERE state = 'parked' AND held = 0 AND partner > ?1";
const COUNT_WAITING: &str = "SELECT count(*) FROM (SELECT 1 FROM delivery INDEXED BY delivery_waiting \
                             WHERE state = 'waiting' AND partner = ?1 LIMIT ?2)";
const COUNT_PARKED: &str = "SELECT count(*) FROM (SELECT 1 FROM delivery INDEXED BY delivery_parked \
                            WHERE state = 'parked' AND held = 0 AND partner = ?1 LIMIT ?2)";
const OLDEST_WAITING: &str = "SELECT created_at FROM delivery INDEXED BY delivery_waiting \
                              WHERE state = 'waiting' AND partner = ?1 ORDER BY seq LIMIT 1";
const OLDEST_PARKED: &str = "SELECT created_at FROM delivery INDEXED BY delivery_parked \
                             WHERE state = 'parked' AND held = 0 AND partner = ?1 ORDER BY seq LIMIT 1";
const PARKED: &str = "SELECT id, partner, created_at, note, (SELECT class FROM attempt WHERE delivery = id ORDER BY number DESC LIMIT 1) AS class \
                      FROM delivery INDEXED BY delivery_of_state WHERE state = 'parked' AND held = 0 ORDER BY seq LIMIT ?1";
const COUNT_HELD: &str =
    "SELECT count(*) FROM (SELECT 1 FROM inbound INDEXED BY inbound_held_all WHERE finding IS NOT NULL LIMIT ?1)";
const OLDEST_HELD: &str =
    "SELECT at FROM inbound INDEXED BY inbound_held_all WHERE finding IS NOT NULL ORDER BY at LIMIT 1";
pub(super) const OPEN: &str = "SELECT exchange, unit, partner, updated_at FROM \
                    (SELECT exchange, unit, partner, updated_at, status, stage FROM party INDEXED BY party_open_task \
                     WHERE status IN ('requested', 'received', 'on-hold', 'accepted', 'in-progress') AND role <> 'sender' LIMIT ?1) \
                    WHERE status = 'requested' AND stage = 'delivered' ORDER BY updated_at LIMIT ?2";

/// Asked at every scrape, of queues of any length.
#[cfg(test)]
pub(super) const COUNTS: [&str; 2] = [COUNT_WAITING, COUNT_PARKED];

/// What waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queue {
    /// Partners for whom something waits, by name.
    pub partners: Vec<PartnerQueue>,
    /// Answers that could not be applied, counted up to a thousand.
    pub held: u32,
    pub held_oldest_at: Option<DateTime<Utc>>,
}

/// What waits for one partner. Counts end at [`MOST_COUNTED`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartnerQueue {
    pub partner: String,
    pub waiting: u32,
    pub waiting_oldest_at: Option<DateTime<Utc>>,
    pub parked: u32,
    pub parked_oldest_at: Option<DateTime<Utc>>,
}

/// A delivery that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    pub id: Uuid,
    pub partner: String,
    pub created_at: DateTime<Utc>,
    /// What the last attempt came to; `None` where there was none.
    pub class: Option<String>,
    pub note: String,
}

/// A Task that reached its unit, and that nobody there has touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    pub exchange: Uuid,
    pub unit: String,
    pub partner: String,
    pub since: DateTime<Utc>,
}

/// What waits, and what a person needs to know to do something about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Worklist {
    pub queue: Queue,
    /// The oldest first, at most a thousand.
    pub parked: Vec<Parked>,
    /// The longest first, at most ten.
    pub unanswered: Vec<Unanswered>,
    /// What is open, by step and what was told.
    pub open: Vec<OpenCount>,
}

impl Store {
    /// What waits, in a few look-ups: cheap enough to ask every few seconds.
    pub async fn queue(&self) -> Result<Queue, StoreError> {
        self.read(queue).await
    }

    /// What waits, with what a person needs to know.
    pub async fn worklist(&self) -> Result<Worklist, StoreError> {
        self.read(worklist).await
    }
}

/// The worklist of a file that no gateway needs to have open, and the room on its disk. Nothing is written.
pub fn look(path: &Path) -> Result<(Worklist, Space), StoreError> {
    let connection = read_only(path)?;
    Ok((worklist(&Statements::new(&connection))?, space(path)?))
}

/// A connection that only reads, beside whoever has the database open.
pub(super) fn read_only(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(StoreError::Open)?;
    connection.busy_timeout(super::log::BUSY).map_err(StoreError::Open)?;
    known_version(&connection)?;
    Ok(connection)
}

fn queue(db: &Statements<'_>) -> Result<Queue, StoreError> {
    let mut names = names(db, NEXT_WAITING)?;
    names.extend(self::names(db, NEXT_PARKED)?);
    names.sort();
    names.dedup();
    let partners = names.into_iter().map(|partner| {
        Ok::<_, StoreError>(PartnerQueue {
            waiting: count(db, COUNT_WAITING, &partner)?,
            waiting_oldest_at: oldest(db, OLDEST_WAITING, &partner)?,
            parked: count(db, COUNT_PARKED, &partner)?,
            parked_oldest_at: oldest(db, OLDEST_PARKED, &partner)?,
            partner,
        })
    });
    let partners = partners.collect::<Result<_, _>>()?;
    let held = db.first(COUNT_HELD, [MOST_HELD], |row| row.get(0).map_err(StoreError::from))?.unwrap_or(0);
    let held_oldest_at = db.first(OLDEST_HELD, [], |row| instant(row.get(0)?))?;
    Ok(Queue { partners, held, held_oldest_at })
}

fn worklist(db: &Statements<'_>) -> Result<Worklist, StoreError> {
    let parked = |row: &Row<'_>| {
        Ok::<_, StoreError>(Parked {
            id: uuid(row, "id")?,
            partner: row.get("partner")?,
            created_at: time(row, "created_at")?,
            class: row.get("class")?,
            note: row.get::<_, Option<String>>("note")?.unwrap_or_default(),
        })
    };
    let unanswered = |row: &Row<'_>| {
        Ok::<_, StoreError>(Unanswered {
            exchange: uuid(row, "exchange")?,
            unit: row.get("unit")?,
            partner: row.get("partner")?,
            since: time(row, "updated_at")?,
        })
    };
    Ok(Worklist {
        queue: queue(db)?,
        parked: db.all(PARKED, [MOST_SHOWN], parked)?,
        unanswered: db.all(OPEN, [MOST_OPEN, UNANSWERED], unanswered)?,
        open: open_counts(db)?,
    })
}

/// Every partner that has something, one look-up each.
fn names(db: &Statements<'_>, next: &str) -> Result<Vec<String>, StoreError> {
    let mut names = Vec::new();
    let mut last = String::new();
    while let Some(name) =
        db.first(next, [&last], |row| row.get::<_, Option<String>>(0).map_err(StoreError::from))?.flatten()
    {
        last.clone_from(&name);
        names.push(name);
    }
    Ok(names)
}

fn count(db: &Statements<'_>, sql: &str, partner: &str) -> Result<u32, StoreError> {
    Ok(db.first(sql, (partner, MOST_COUNTED), |row| row.get(0).map_err(StoreError::from))?.unwrap_or(0))
}

fn oldest(db: &Statements<'_>, sql: &str, partner: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
    db.first(sql, [partner], |row| instant(row.get(0)?))
}
