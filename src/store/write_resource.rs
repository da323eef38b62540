//! Writes a resource version: its bytes, and whom it concerns. What it is found by is `write_index`.

use serde::Deserialize;

use super::apply::{Refusal, Writing};
use super::record::Put;
use super::{Expect, Share, StoreError};

const STANDING: &str = "SELECT rid, version FROM resource WHERE type = ?1 AND id = ?2";
const INSERT: &str =
    "INSERT INTO resource (type, id, version, seq, updated_at, patient) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const UPDATE: &str = "UPDATE resource SET version = ?2, seq = ?3, updated_at = ?4, patient = ?5 WHERE rid = ?1";
const INSERT_VERSION: &str = "INSERT INTO version (seq, rid, version, at, body) VALUES (?1, ?2, ?3, ?4, ?5)";
const INSERT_CONCERN: &str = "INSERT INTO concern (rid, unit) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
const SHARE: &str =
    "INSERT INTO concern (rid, unit) SELECT rid, ?3 FROM resource WHERE type = ?1 AND id = ?2 ON CONFLICT DO NOTHING";
const HIDE: &str =
    "DELETE FROM concern WHERE unit = ?3 AND rid = (SELECT rid FROM resource WHERE type = ?1 AND id = ?2)";
const SIGHT: &str =
    "INSERT INTO sight (rid, unit, seq, gained) SELECT rid, ?3, ?4, ?5 FROM resource WHERE type = ?1 AND id = ?2";
/// Nor when a block is lifted.
const HIDE_WITHHELD: &str =
    "UPDATE withheld SET hidden = 1 WHERE unit = ?3 AND rid = (SELECT rid FROM resource WHERE type = ?1 AND id = ?2)";
/// What it is shown now it is not shown by a link any more.
const BY_ITSELF: &str =
    "DELETE FROM link_sight WHERE unit = ?2 AND rid = (SELECT rid FROM resource WHERE type = 'Patient' AND id = ?1)";
const BELONGS: &str = "INSERT INTO exchange_resource (exchange, rid) VALUES (?1, ?2) ON CONFLICT DO NOTHING";

impl Writing<'_, '_> {
    /// `said_at` is the version's own `meta.lastUpdated`.
    pub(super) fn put_resource(&mut self, put: &Put, said_at: Option<i64>) -> Result<(), Refusal> {
        let db = self.statements;
        let standing: Option<(i64, u32)> =
            db.first(STANDING, (&put.resource_type, &put.id), |row| Ok::<_, StoreError>((row.get(0)?, row.get(1)?)))?;
        let before = put.version.checked_sub(1).filter(|version| *version > 0);
        if standing.map(|(_, version)| version) != before {
            let (resource_type, id) = (put.resource_type.clone(), put.id.clone());
            return Err(Refusal::Unmet(Expect::Version { resource_type, id, version: before }));
        }
        let at = said_at.unwrap_or(self.now_ms);
        let seq = self.state.next_seq();
        let rid = match standing {
            Some((rid, _)) => {
                db.run(UPDATE, (rid, put.version, seq, at, &put.patient))?;
                self.forget_index(rid)?;
                rid
            }
            None => {
                db.run(INSERT, (&put.resource_type, &put.id, put.version, seq, at, &put.patient))?;
                db.connection().last_insert_rowid()
            }
        };
        db.run(INSERT_VERSION, (seq, rid, put.version, at, &put.body))?;
        self.put_index(rid, &put.resource_type, &put.index)?;
        if put.resource_type == "Patient" {
            self.meet_wishes(&put.id, &put.index)?;
        }
        for unit in &put.units {
            let unit = unit.to_ascii_uppercase();
            if put.resource_type == "Patient" {
                db.run(BY_ITSELF, (&put.id, &unit))?;
            }
            let is_new_to_it = db.run(INSERT_CONCERN, (rid, &unit))? > 0;
            if is_new_to_it && put.resource_type == "Patient" {
                self.follow_link(&put.id, &unit)?;
            }
            if is_new_to_it && standing.is_some() {
                self.shown.push((rid, unit));
            }
        }
        if let Some(exchange) = put.exchange {
            db.run(BELONGS, (exchange.as_bytes(), rid))?;
        }
        Ok(())
    }

    /// Units that were let in by mistake or on a consent that is gone.
    pub(super) fn hide(&mut self, hide: &Share) -> Result<(), Refusal> {
        for (resource_type, id) in hide.resources.iter().filter_map(|r| r.split_once('/')) {
            for unit in &hide.units {
                let unit = unit.to_ascii_uppercase();
                if self.statements.run(HIDE, (resource_type, id, &unit))? > 0 {
                    self.note_sight(resource_type, id, &unit, false)?;
                }
                self.statements.run(HIDE_WITHHELD, (resource_type, id, &unit))?;
            }
        }
        Ok(())
    }

    /// Resources that do not exist are passed over.
    pub(super) fn share(&mut self, share: &Share) -> Result<(), Refusal> {
        for (resource_type, id) in share.resources.iter().filter_map(|r| r.split_once('/')) {
            for unit in &share.units {
                let unit = unit.to_ascii_uppercase();
                if resource_type == "Patient" {
                    self.statements.run(BY_ITSELF, (id, &unit))?;
                }
                if self.statements.run(SHARE, (resource_type, id, &unit))? > 0 {
                    self.note_sight(resource_type, id, &unit, true)?;
                    if resource_type == "Patient" {
                        self.follow_link(id, &unit)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whoever asks what has changed since is told of this too.
    pub(super) fn note_sight(
        &mut self,
        resource_type: &str,
        id: &str,
        unit: &str,
        gained: bool,
    ) -> Result<(), Refusal> {
        let seq = self.state.next_seq();
        self.statements.run(SIGHT, (resource_type, id, unit, seq, gained))?;
        Ok(())
    }
}

impl Put {
    /// When the version was made, as its `meta.lastUpdated` says: `_lastUpdated` must agree with what a reader sees.
    pub(super) fn said_at(&self) -> Option<i64> {
        #[derive(Deserialize)]
        struct Resource {
            meta: Meta,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Meta {
            last_updated: chrono::DateTime<chrono::Utc>,
        }
        let resource: Resource = serde_json::from_slice(&self.body).ok()?;
        Some(resource.meta.last_updated.timestamp_millis())
    }
}
