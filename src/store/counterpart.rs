//! What partners have of our resources, and the elements that their owners wrote there: written with what was sent or read, so
//! that an echo is known from a change and a write says what it is written over (If-Match).

use rusqlite::Row;
use serde_json::Value;
use uuid::Uuid;

use super::apply::{Refusal, Writing};
use super::row::{list, uuid};
use super::{Store, StoreError};

const PUT: &str = "INSERT INTO counterpart (partner, type, id, theirs, version, changed, patient, exchange, mark, settled, body) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1, ?9, ?10) \
                   ON CONFLICT (partner, type, id) DO UPDATE SET theirs = excluded.theirs, version = excluded.version, \
                   changed = excluded.changed, patient = excluded.patient, exchange = excluded.exchange, mark = mark + 1, settled = excluded.settled, \
                   body = excluded.body";
const PUT_OWNED: &str = "INSERT INTO owned (type, id, path, partner, was, said) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                         ON CONFLICT (type, id, path) DO UPDATE SET partner = excluded.partner, was = excluded.was, said = excluded.said";
const DROP_OWNED: &str = "DELETE FROM owned WHERE type = ?1 AND id = ?2 AND path = ?3";
pub(super) const MARK: &str = "SELECT mark FROM counterpart WHERE partner = ?1 AND type = ?2 AND id = ?3";
const OF: &str = "SELECT c.* FROM json_each(?2) n JOIN counterpart c ON c.partner = ?1 AND c.type = n.value ->> 0 AND c.id = n.value ->> 1";
const OF_PATIENT: &str = "SELECT * FROM counterpart WHERE patient = ?1 AND partner = ?2 ORDER BY type, id";
const OF_RESOURCE: &str = "SELECT * FROM counterpart WHERE type = ?1 AND id = ?2 ORDER BY partner";
const OWNED: &str = "SELECT * FROM owned WHERE type = ?1 AND id = ?2 ORDER BY path";
/// What the partner may work with: while it has an open Task about the patient, and with `?5` whether it has or not; nothing while
/// something is under way there, whose outcome is not known.
const WATCHED: &str = "SELECT c.* FROM counterpart c WHERE c.partner = ?1 AND c.type = ?2 AND c.id > ?3 \
     AND (?5 OR EXISTS (SELECT 1 FROM exchange e JOIN party p ON p.exchange = e.id \
          WHERE e.patient = c.patient AND p.partner = c.partner AND p.task IS NOT NULL \
          AND p.status IN ('requested', 'received', 'on-hold', 'accepted', 'in-progress'))) \
     AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.partner = c.partner AND d.patient = c.patient AND d.state = 'waiting') \
     ORDER BY c.id LIMIT ?4";
const IS_UNDER_WAY: &str = "SELECT 1 FROM delivery WHERE partner = ?1 AND patient = ?2 AND state = 'waiting' LIMIT 1";

/// What a partner has of a resource of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counterpart {
    pub partner: String,
    pub resource_type: String,
    /// Our id.
    pub id: String,
    /// The partner's.
    pub theirs: String,
    pub version: Option<String>,
    /// `meta.lastUpdated`, as the partner wrote it.
    pub changed: Option<String>,
    /// The id of the Patient.
    pub patient: String,
    pub exchange: Uuid,
    /// Given by the store; grows with every change.
    pub mark: i64,
    /// Whether nothing stands there that was not read here.
    pub settled: bool,
    /// What both sides know of it.
    pub body: Vec<u8>,
}

/// An element that its owner wrote at its own system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    pub resource_type: String,
    pub id: String,
    pub path: String,
    pub partner: String,
    /// What stood here before: the other side's last word.
    pub was: Option<Value>,
    pub said: Option<Value>,
}

/// A change of what owners have said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnedChange {
    Said(Owned),
    /// A person decided otherwise.
    Taken {
        resource_type: String,
        id: String,
        path: String,
    },
}

fn counterpart(row: &Row<'_>) -> Result<Counterpart, StoreError> {
    Ok(Counterpart {
        partner: row.get("partner")?,
        resource_type: row.get("type")?,
        id: row.get("id")?,
        theirs: row.get("theirs")?,
        version: row.get("version")?,
        changed: row.get("changed")?,
        patient: row.get("patient")?,
        exchange: uuid(row, "exchange")?,
        mark: row.get("mark")?,
        settled: row.get("settled")?,
        body: row.get("body")?,
    })
}

fn owned(row: &Row<'_>) -> Result<Owned, StoreError> {
    let json = |column: &str| -> Result<Option<Value>, StoreError> {
        let text: Option<String> = row.get(column)?;
        text.map(|text| serde_json::from_str(&text).map_err(|_| StoreError::Corrupt("an element"))).transpose()
    };
    Ok(Owned {
        resource_type: row.get("type")?,
        id: row.get("id")?,
        path: row.get("path")?,
        partner: row.get("partner")?,
        was: json("was")?,
        said: json("said")?,
    })
}

impl Writing<'_, '_> {
    pub(super) fn put_counterpart(&mut self, c: &Counterpart) -> Result<(), Refusal> {
        self.statements.run(
            PUT,
            (
                &c.partner,
                &c.resource_type,
                &c.id,
                &c.theirs,
                &c.version,
                &c.changed,
                &c.patient,
                c.exchange.as_bytes(),
                c.settled,
                &c.body,
            ),
        )?;
        Ok(())
    }

    pub(super) fn change_owned(&mut self, change: &OwnedChange) -> Result<(), Refusal> {
        match change {
            OwnedChange::Said(o) => {
                let text = |value: &Option<Value>| value.as_ref().map(Value::to_string);
                let row = (&o.resource_type, &o.id, &o.path, &o.partner, text(&o.was), text(&o.said));
                self.statements.run(PUT_OWNED, row)?;
            }
            OwnedChange::Taken { resource_type, id, path } => {
                self.statements.run(DROP_OWNED, (resource_type, id, path))?;
            }
        }
        Ok(())
    }
}

impl Store {
    /// What the partner has of these (`Type/id`), in no order.
    pub async fn counterparts(&self, partner: &str, names: &[String]) -> Result<Vec<Counterpart>, StoreError> {
        let names = names.iter().map(|name| {
            let (resource_type, id) = name.split_once('/').unwrap_or((name, ""));
            Value::from(vec![resource_type, id])
        });
        let key = (partner.to_owned(), list(names));
        self.read(move |db| db.all(OF, key, counterpart)).await
    }

    /// Everything that the partner has of ours about the patient.
    pub async fn counterparts_of_patient(&self, patient: &str, partner: &str) -> Result<Vec<Counterpart>, StoreError> {
        let key = (patient.to_owned(), partner.to_owned());
        self.read(move |db| db.all(OF_PATIENT, key, counterpart)).await
    }

    /// What any partner has of the resource (`Type/id`).
    pub async fn counterparts_of_resource(&self, name: &str) -> Result<Vec<Counterpart>, StoreError> {
        let (resource_type, id) = name.split_once('/').unwrap_or((name, ""));
        let key = (resource_type.to_owned(), id.to_owned());
        self.read(move |db| db.all(OF_RESOURCE, key, counterpart)).await
    }

    /// Of a type, what the partner may have changed and is to be asked for; by our id, behind `after`. `all`: also about patients for
    /// whom it has nothing to do.
    pub async fn watched(
        &self,
        partner: &str,
        resource_type: &str,
        after: &str,
        limit: u32,
        all: bool,
    ) -> Result<Vec<Counterpart>, StoreError> {
        let key = (partner.to_owned(), resource_type.to_owned(), after.to_owned(), limit, all);
        self.read(move |db| db.all(WATCHED, key, counterpart)).await
    }

    /// Whether something is on its way to the partner about the patient, whose outcome is not known.
    pub async fn is_under_way(&self, partner: &str, patient: &str) -> Result<bool, StoreError> {
        let key = (partner.to_owned(), patient.to_owned());
        let found = self.read(move |db| db.first(IS_UNDER_WAY, key, |_| Ok::<_, StoreError>(()))).await?;
        Ok(found.is_some())
    }

    /// The elements of a resource that their owners wrote at their own systems.
    pub async fn owned(&self, resource_type: &str, id: &str) -> Result<Vec<Owned>, StoreError> {
        let key = (resource_type.to_owned(), id.to_owned());
        self.read(move |db| db.all(OWNED, key, owned)).await
    }
}
