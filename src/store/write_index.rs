//! Writes what a resource is found by: rows of their own for what tells resources apart, one facet for its coded values.

use sha2::{Digest, Sha256};

use super::Index;
use super::apply::Writing;

const FORGET: [&str; 4] = [
    "DELETE FROM token WHERE rid = ?1",
    "DELETE FROM reference WHERE rid = ?1",
    "DELETE FROM date WHERE rid = ?1",
    "DELETE FROM text WHERE rid = ?1",
];
const INSERT_TOKEN: &str =
    "INSERT INTO token (param, code, system_id, rid) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
const INSERT_REFERENCE: &str = "INSERT INTO reference (param, target, rid) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
const INSERT_DATE: &str = "INSERT INTO date (param, lo, hi, rid) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
const INSERT_TEXT: &str = "INSERT INTO text (param, folded, exact, rid) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
const INSERT_FACET_TOKEN: &str =
    "INSERT INTO facet_token (param, code, system_id, facet) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
const NAME_FACET: &str = "UPDATE resource SET facet = ?2 WHERE rid = ?1 AND facet IS NOT ?2";

impl Writing<'_, '_> {
    /// Takes away what a resource was found by.
    pub(super) fn forget_index(&mut self, rid: i64) -> Result<(), rusqlite::Error> {
        for table in FORGET {
            self.statements.run(table, [rid])?;
        }
        Ok(())
    }

    pub(super) fn put_index(&mut self, rid: i64, resource_type: &str, values: &[Index]) -> Result<(), rusqlite::Error> {
        let db = self.statements;
        let mut coded: Vec<(i64, i64, &str)> = Vec::new();
        for value in values {
            let param = self.state.param(db, resource_type, value.param())?;
            match value {
                Index::Token { system, code, .. } => {
                    let system = self.state.system(db, system)?;
                    if param.coded {
                        coded.push((param.id, system, code));
                    } else {
                        db.run(INSERT_TOKEN, (param.id, code, system, rid))?;
                    }
                }
                Index::Reference { target, .. } => {
                    db.run(INSERT_REFERENCE, (param.id, target, rid))?;
                }
                Index::Date { low, high, .. } => {
                    db.run(INSERT_DATE, (param.id, low, high, rid))?;
                }
                Index::Text { folded, exact, .. } => {
                    db.run(INSERT_TEXT, (param.id, folded, exact, rid))?;
                }
            }
        }
        let facet = if coded.is_empty() { None } else { Some(self.facet(coded)?) };
        db.run(NAME_FACET, (rid, facet))?;
        Ok(())
    }

    /// The facet of these values: parameter, system, code.
    fn facet(&mut self, mut values: Vec<(i64, i64, &str)>) -> Result<i64, rusqlite::Error> {
        values.sort_unstable();
        values.dedup();
        let mut hasher = Sha256::new();
        for (param, system, code) in &values {
            hasher.update(param.to_be_bytes());
            hasher.update(system.to_be_bytes());
            hasher.update((code.len() as u64).to_be_bytes());
            hasher.update(code.as_bytes());
        }
        let (id, is_new) = self.state.facet(self.statements, hasher.finalize().into())?;
        if is_new {
            for (param, system, code) in values {
                self.statements.run(INSERT_FACET_TOKEN, (param, code, system, id))?;
            }
        }
        Ok(id)
    }
}
