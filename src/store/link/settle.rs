//! Makes and undoes links inside the commit: who is one person, who is told of the new number, and what patients have wished of
//! registries under either number.

use uuid::Uuid;

use super::super::Expect;
use super::super::StoreError;
use super::super::apply::{Refusal, Writing};
use super::read::kin;
use super::{Link, Word};

const INSERT: &str = "INSERT INTO patient_link (id, old, new, unit, made_at, made_by, reason, made_seq) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const UNDO: &str = "UPDATE patient_link SET undone_at = max(?2, made_at), undone_by = ?3, undone_reason = ?4, undone_seq = ?5 \
                    WHERE id = ?1 AND undone_at IS NULL";
/// A number that is replaced replaces no other, and is replaced once.
const STANDS: [&str; 2] = [
    "SELECT 1 FROM patient_link INDEXED BY patient_link_of_old WHERE old IN (?1, ?2) AND undone_at IS NULL",
    "SELECT 1 FROM patient_link INDEXED BY patient_link_of_new WHERE new = ?1 AND ?1 <> ?2 AND undone_at IS NULL",
];
const LINKED: &str = "SELECT 1 FROM patient_link WHERE id = ?1 AND undone_at IS NULL";
const JOIN: &str = "INSERT INTO kin (patient, other) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
const PART: &str = "DELETE FROM kin WHERE patient = ?1 AND other = ?2";
const MERGE: &str = "INSERT INTO merged (rid, into_rid) SELECT o.rid, n.rid FROM resource o CROSS JOIN resource n \
     ON n.type = 'Patient' AND n.id = ?2 WHERE o.type = 'Patient' AND o.id = ?1 \
     ON CONFLICT (rid) DO UPDATE SET into_rid = excluded.into_rid";
const UNMERGE: &str = "DELETE FROM merged WHERE rid = (SELECT rid FROM resource WHERE type = 'Patient' AND id = ?1)";
const WHO_SEES: &str = "SELECT c.unit FROM resource r CROSS JOIN concern c ON c.rid = r.rid \
     WHERE r.type = 'Patient' AND r.id = ?1 ORDER BY c.unit";
const SHOW: &str = "INSERT INTO concern (rid, unit) SELECT rid, ?2 FROM resource WHERE type = 'Patient' AND id = ?1 \
     ON CONFLICT DO NOTHING";
const NOTE: &str = "INSERT INTO link_sight (link, rid, unit) SELECT ?1, rid, ?3 FROM resource WHERE type = 'Patient' AND id = ?2 \
     ON CONFLICT DO NOTHING";
const TOLD: &str = "SELECT s.unit FROM link_sight s CROSS JOIN resource r ON r.rid = s.rid \
     WHERE s.link = ?1 AND r.type = 'Patient' AND r.id = ?2";
const HIDE: &str =
    "DELETE FROM concern WHERE unit = ?2 AND rid = (SELECT rid FROM resource WHERE type = 'Patient' AND id = ?1)";
/// Nor when a block is lifted.
const HIDE_WITHHELD: &str = "UPDATE withheld SET hidden = 1 WHERE unit = ?2 \
     AND rid = (SELECT rid FROM resource WHERE type = 'Patient' AND id = ?1)";
const TOLD_NO_MORE: &str = "DELETE FROM link_sight WHERE link = ?1";
const OF_OLD: &str =
    "SELECT id, new FROM patient_link INDEXED BY patient_link_of_old WHERE old = ?1 AND undone_at IS NULL";
const OBJECTIONS: &str = "SELECT DISTINCT registry FROM opt_out o INDEXED BY opt_out_of_patient \
     WHERE o.patient = ?1 AND o.lifted_at IS NULL";
const SAY: &str =
    "INSERT INTO patient_word (id, patient, what, unit, by, reason, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

/// With the last that is known of a person goes what was said of its numbers.
pub(in crate::store) const FORGET: [&str; 8] = [
    "DELETE FROM link_sight WHERE link IN (SELECT id FROM patient_link INDEXED BY patient_link_old WHERE old = ?1)",
    "DELETE FROM link_sight WHERE link IN (SELECT id FROM patient_link INDEXED BY patient_link_new WHERE new = ?1)",
    "DELETE FROM patient_link WHERE old = ?1",
    "DELETE FROM patient_link WHERE new = ?1",
    "DELETE FROM kin WHERE patient IN (SELECT k.other FROM kin k WHERE k.patient = ?1) AND other = ?1",
    "DELETE FROM kin WHERE patient = ?1",
    "DELETE FROM merged WHERE rid = (SELECT rid FROM resource WHERE type = 'Patient' AND id = ?1)",
    "DELETE FROM patient_word WHERE patient = ?1",
];

impl Writing<'_, '_> {
    /// After the resources: both Patients are there.
    pub(in crate::store) fn put_link(&mut self, link: &Link) -> Result<(), Refusal> {
        match &link.undone {
            None => self.join(link),
            Some(undone) => {
                let seq = self.state.next_seq();
                let row = (link.id.as_bytes(), undone.at.timestamp_millis(), &undone.by, &undone.reason, seq);
                if self.statements.run(UNDO, row)? == 0 {
                    return Err(Refusal::Unmet(Expect::Linked { id: link.id }));
                }
                self.part(link)
            }
        }
    }

    fn join(&mut self, link: &Link) -> Result<(), Refusal> {
        let db = self.statements;
        let (old, new) = (&link.old, &link.new);
        if !self.is_unlinked(old, new)? {
            return Err(Refusal::Unmet(Expect::Unlinked { old: old.clone(), new: new.clone() }));
        }
        let (made_at, unit, seq) = (link.made_at.timestamp_millis(), &link.unit, self.state.next_seq());
        db.run(INSERT, (link.id.as_bytes(), old, new, unit, made_at, &link.made_by, &link.reason, seq))?;
        let mut others = kin(db, new)?;
        others.push(new.clone());
        for other in &others {
            db.run(JOIN, (old, other))?;
            db.run(JOIN, (other, old))?;
        }
        db.run(MERGE, (old, new))?;
        // Who says it knows both numbers.
        self.tell_of(link.id.as_bytes(), old, &link.unit.to_ascii_uppercase())?;
        // Whoever knows the person by the old number is told of the new one. Those who know the new one need no other.
        for unit in db.all(WHO_SEES, [old], |row| row.get::<_, String>(0).map_err(Refusal::from))? {
            self.tell_of(link.id.as_bytes(), new, &unit)?;
        }
        // What the patient has wished under one number holds under all.
        others.push(old.clone());
        for from in &others {
            for registry in db.all(OBJECTIONS, [from], |row| row.get::<_, String>(0).map_err(Refusal::from))? {
                for of in others.iter().filter(|of| *of != from) {
                    self.withdraw(of, &registry, self.now_ms)?;
                }
            }
        }
        Ok(())
    }

    pub(in crate::store) fn is_unlinked(&self, old: &str, new: &str) -> Result<bool, Refusal> {
        for sql in STANDS {
            if self.statements.first(sql, (old, new), |_| Ok::<_, Refusal>(()))?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(in crate::store) fn is_linked(&self, id: Uuid) -> Result<bool, Refusal> {
        Ok(self.statements.first(LINKED, [id.as_bytes()], |_| Ok::<_, Refusal>(()))?.is_some())
    }

    fn part(&mut self, link: &Link) -> Result<(), Refusal> {
        let db = self.statements;
        let (old, new) = (&link.old, &link.new);
        let others = kin(db, old)?;
        for other in &others {
            db.run(PART, (old, other))?;
            db.run(PART, (other, old))?;
        }
        db.run(UNMERGE, [old])?;
        for patient in [old, new] {
            self.tell_no_more(link, patient)?;
        }
        db.run(TOLD_NO_MORE, [link.id.as_bytes()])?;
        for of in others.iter().chain([old]) {
            self.take_back(of)?;
        }
        Ok(())
    }

    fn tell_no_more(&mut self, link: &Link, patient: &str) -> Result<(), Refusal> {
        let db = self.statements;
        let told = db.all(TOLD, (link.id.as_bytes(), patient), |row| row.get::<_, String>(0).map_err(Refusal::from))?;
        for unit in told {
            if db.run(HIDE, (patient, &unit))? > 0 {
                self.note_sight("Patient", patient, &unit, false)?;
            }
            db.run(HIDE_WITHHELD, (patient, &unit))?;
        }
        Ok(())
    }

    /// A unit has come to see a Patient: where another replaces it, that one too.
    pub(in crate::store) fn follow_link(&mut self, patient: &str, unit: &str) -> Result<(), Refusal> {
        let found = self.statements.first(OF_OLD, [patient], |row| {
            Ok::<_, StoreError>((row.get::<_, [u8; 16]>(0)?, row.get::<_, String>(1)?))
        })?;
        match found {
            Some((link, new)) => self.tell_of(&link, &new, unit),
            None => Ok(()),
        }
    }

    fn tell_of(&mut self, link: &[u8; 16], new: &str, unit: &str) -> Result<(), Refusal> {
        if self.statements.run(SHOW, (new, unit))? > 0 {
            self.statements.run(NOTE, (link, new, unit))?;
            self.note_sight("Patient", new, unit, true)?;
        }
        Ok(())
    }

    pub(in crate::store) fn put_word(&mut self, word: &Word) -> Result<(), Refusal> {
        let (what, at, unit) = (word.what.code(), word.at.timestamp_millis(), word.unit.to_ascii_uppercase());
        self.statements.run(SAY, (word.id.as_bytes(), &word.patient, what, unit, &word.by, &word.reason, at))?;
        Ok(())
    }

    /// The patients whose links this commit makes or undoes, with all of their person as it was before and is now.
    pub(in crate::store) fn of_links(&self, links: &[Link]) -> Result<Vec<String>, Refusal> {
        let mut all = Vec::new();
        for link in links {
            for patient in [&link.old, &link.new] {
                all.extend(kin(self.statements, patient)?);
                all.push(patient.clone());
            }
        }
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }
}
