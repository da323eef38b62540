//! The receiver's database: every version of every resource, the live ones, and the terms they are found by.

use std::path::Path;

use chrono::{DateTime, SecondsFormat, Utc};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde_json::{Map, Value, json};

use super::refusal::Refusal;
use super::terms::terms;
use crate::fhir::issue::Code;

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS version (
        kind TEXT NOT NULL, id TEXT NOT NULL, number INTEGER NOT NULL,
        updated_ms INTEGER NOT NULL UNIQUE,
        body TEXT, -- NULL: this version is a deletion
        PRIMARY KEY (kind, id, number));
    CREATE TABLE IF NOT EXISTS live (
        kind TEXT NOT NULL, id TEXT NOT NULL, number INTEGER NOT NULL, updated_ms INTEGER NOT NULL,
        PRIMARY KEY (kind, id)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS term (
        kind TEXT NOT NULL, param TEXT NOT NULL, value TEXT NOT NULL, system TEXT NOT NULL, id TEXT NOT NULL,
        PRIMARY KEY (kind, param, value, system, id)) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS term_of ON term (kind, id);
";

pub struct Records {
    connection: Connection,
    last_ms: i64,
}

impl Records {
    pub fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.execute_batch(SCHEMA)?;
        let last_ms = connection.query_row("SELECT coalesce(max(updated_ms), 0) FROM version", [], |r| r.get(0))?;
        Ok(Self { connection, last_ms })
    }

    /// Runs `work` in one transaction: committed when it succeeds, rolled back when it refuses.
    pub fn change<T>(&mut self, work: impl FnOnce(&mut Desk<'_>) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let mut desk = Desk { sql: self.connection.transaction()?, last_ms: &mut self.last_ms };
        let done = work(&mut desk)?;
        desk.sql.commit()?;
        Ok(done)
    }
}

/// An open transaction.
pub struct Desk<'a> {
    pub sql: Transaction<'a>,
    last_ms: &'a mut i64,
}

/// One version of a resource.
#[derive(Debug, Clone)]
pub struct Version {
    pub kind: String,
    pub id: String,
    pub number: i64,
    pub updated_ms: i64,
    /// `None`: deleted.
    pub resource: Option<Value>,
}

impl Version {
    pub fn etag(&self) -> String {
        format!("W/\"{}\"", self.number)
    }

    pub fn updated(&self) -> String {
        instant(self.updated_ms)
    }

    pub fn local(&self) -> String {
        format!("{}/{}", self.kind, self.id)
    }

    pub fn location(&self) -> String {
        format!("{}/_history/{}", self.local(), self.number)
    }

    pub fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let body: Option<String> = row.get(4)?;
        Ok(Self {
            kind: row.get(0)?,
            id: row.get(1)?,
            number: row.get(2)?,
            updated_ms: row.get(3)?,
            resource: body.map(|b| serde_json::from_str(&b).unwrap_or_default()),
        })
    }
}

/// `2026-03-01T10:00:00.000Z`
pub fn instant(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl Desk<'_> {
    /// The time of the next version: now, or just after the last one, so that no two versions share a time.
    fn tick(&mut self) -> i64 {
        *self.last_ms = Utc::now().timestamp_millis().max(self.last_ms.saturating_add(1));
        *self.last_ms
    }

    /// All versions of a resource, newest first.
    pub fn history(&self, kind: &str, id: &str) -> Result<Vec<Version>, Refusal> {
        let sql =
            "SELECT kind, id, number, updated_ms, body FROM version WHERE kind = ? AND id = ? ORDER BY number DESC";
        let mut statement = self.sql.prepare(sql)?;
        let rows = statement.query_map([kind, id], Version::from_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Every live resource of a type, the one that has waited longest first.
    pub fn all(&self, kind: &str) -> Result<Vec<Version>, Refusal> {
        let sql = "SELECT kind, id, number, updated_ms, body FROM live JOIN version USING (kind, id, number, updated_ms) \
                   WHERE kind = ? ORDER BY updated_ms";
        let mut statement = self.sql.prepare(sql)?;
        let rows = statement.query_map([kind], Version::from_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The newest version, which may be a deletion.
    pub fn newest(&self, kind: &str, id: &str) -> Result<Option<Version>, Refusal> {
        let sql = "SELECT kind, id, number, updated_ms, body FROM version WHERE kind = ? AND id = ? \
                   ORDER BY number DESC LIMIT 1";
        Ok(self.sql.prepare(sql)?.query_row([kind, id], Version::from_row).optional()?)
    }

    /// The live resource.
    pub fn read(&self, kind: &str, id: &str) -> Result<Version, Refusal> {
        match self.newest(kind, id)? {
            Some(version) if version.resource.is_some() => Ok(version),
            Some(_) => Err(Refusal::gone("")),
            None => Err(Refusal::missing("")),
        }
    }

    pub fn is_live(&self, kind: &str, id: &str) -> Result<bool, Refusal> {
        let mut statement = self.sql.prepare("SELECT 1 FROM live WHERE kind = ? AND id = ?")?;
        Ok(statement.exists([kind, id])?)
    }

    /// Stores `resource` as the next version. Content that is already the newest version stays that version.
    /// The flag says whether anything was written.
    pub fn write(
        &mut self,
        kind: &str,
        id: &str,
        resource: Value,
        expected: Option<i64>,
    ) -> Result<(Version, bool), Refusal> {
        let before = self.newest(kind, id)?;
        refuse_stale(before.as_ref(), expected)?;
        let (meta, rest) = take_apart(resource);
        if let Some(same) =
            before.as_ref().filter(|b| b.resource.clone().map(take_apart) == Some((meta.clone(), rest.clone())))
        {
            return Ok((same.clone(), false));
        }
        let number = before.map_or(1, |b| b.number.saturating_add(1));
        let updated_ms = self.tick();
        let mut stamped = Map::new();
        stamped.insert("versionId".into(), json!(number.to_string()));
        stamped.insert("lastUpdated".into(), json!(instant(updated_ms)));
        stamped.extend(meta);
        let mut whole = Map::new();
        whole.insert("resourceType".into(), json!(kind));
        whole.insert("id".into(), json!(id));
        whole.insert("meta".into(), Value::Object(stamped));
        whole.extend(rest);
        let version =
            Version { kind: kind.into(), id: id.into(), number, updated_ms, resource: Some(Value::Object(whole)) };
        self.store(&version)?;
        Ok((version, true))
    }

    /// Writes a deletion as the next version.
    pub fn delete(&mut self, kind: &str, id: &str, expected: Option<i64>) -> Result<Version, Refusal> {
        let before = self.newest(kind, id)?;
        refuse_stale(before.as_ref(), expected)?;
        let Some(before) = before else { return Err(Refusal::missing("")) };
        if before.resource.is_none() {
            return Ok(before);
        }
        let number = before.number.saturating_add(1);
        let version = Version { number, updated_ms: self.tick(), resource: None, ..before };
        self.store(&version)?;
        Ok(version)
    }

    fn store(&self, v: &Version) -> Result<(), Refusal> {
        let body = v.resource.as_ref().map(Value::to_string);
        let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| self.sql.prepare(sql)?.execute(values);
        run("INSERT INTO version VALUES (?, ?, ?, ?, ?)", params![v.kind, v.id, v.number, v.updated_ms, body])?;
        run("DELETE FROM term WHERE kind = ? AND id = ?", params![v.kind, v.id])?;
        run("DELETE FROM live WHERE kind = ? AND id = ?", params![v.kind, v.id])?;
        let Some(resource) = &v.resource else { return Ok(()) };
        run("INSERT INTO live VALUES (?, ?, ?, ?)", params![v.kind, v.id, v.number, v.updated_ms])?;
        for term in terms(&v.kind, resource) {
            run(
                "INSERT OR IGNORE INTO term VALUES (?, ?, ?, ?, ?)",
                params![v.kind, term.param, term.value, term.system, v.id],
            )?;
        }
        Ok(())
    }
}

/// Refuses when the sender expected another version than the newest.
pub fn refuse_stale(before: Option<&Version>, expected: Option<i64>) -> Result<(), Refusal> {
    if expected.is_none() || expected == before.map(|b| b.number) {
        return Ok(());
    }
    let (sv, en) =
        ("Versionen i If-Match är inte den senaste; läs om.", "If-Match is not the newest version; read again.");
    Err(Refusal::precondition("", Code::Conflict, sv, en))
}

/// What the sender decides: `meta` without our stamps, and the content without type, id and `meta`.
fn take_apart(resource: Value) -> (Map<String, Value>, Map<String, Value>) {
    let Value::Object(mut rest) = resource else { return (Map::new(), Map::new()) };
    rest.shift_remove("resourceType");
    rest.shift_remove("id");
    let Some(Value::Object(mut meta)) = rest.shift_remove("meta") else { return (Map::new(), rest) };
    meta.shift_remove("versionId");
    meta.shift_remove("lastUpdated");
    (meta, rest)
}
