//! Writes what statistics are counted from: the facts of a resource's version in force, in the commit that puts it in force.

use super::StoreError;
use super::apply::{Refusal, Writing};
use super::record::Put;
use crate::domain::statistic::day_number;
use crate::fhir::act::{self, Act, Doer, Facts, Milestone};

const RID: &str = "SELECT rid FROM resource WHERE type = ?1 AND id = ?2";
const BODY: &str =
    "SELECT v.body FROM resource r CROSS JOIN version v ON v.seq = r.seq WHERE r.type = ?1 AND r.id = ?2";
const FORGET_ACT: &str = "DELETE FROM act WHERE rid = ?1";
const FORGET_ADD_ON: &str = "DELETE FROM act_add_on WHERE rid = ?1 RETURNING target";
const FORGET_MILESTONES: &str = "DELETE FROM milestone WHERE rid = ?1";
const INSERT_ACT: &str = "INSERT INTO act (rid, code, day, unit, patient, contact, distance) VALUES (?1, ?2, ?3, ?4, ?5, ?6, \
     EXISTS (SELECT 1 FROM act_add_on WHERE target = ?7) OR EXISTS (SELECT 1 FROM act_add_on WHERE target = ?8))";
const INSERT_ADD_ON: &str = "INSERT INTO act_add_on (target, rid) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
const INSERT_MILESTONE: &str = "INSERT INTO milestone (rid, kind, patient, day, unit) VALUES (?1, ?2, ?3, ?4, ?5)";
/// An add-on came or went: the act that it is part of, and those of its contact, are asked again.
macro_rules! judge {
    ($which:literal) => {
        concat!(
            "UPDATE act SET distance = EXISTS (SELECT 1 FROM act_add_on WHERE target = \
             'Procedure/' || (SELECT id FROM resource WHERE rid = act.rid)) \
             OR EXISTS (SELECT 1 FROM act_add_on WHERE target = \
             'Encounter/' || (SELECT id FROM resource WHERE rid = act.contact)) WHERE ",
            $which,
            " = ?1"
        )
    };
}
const JUDGE_ACT: &str = judge!("rid");
const JUDGE_CONTACT: &str = judge!("contact");
const UNIT: &str = "SELECT id FROM fact_unit WHERE hsa_id = ?1";
const INSERT_UNIT: &str = "INSERT INTO fact_unit (hsa_id) VALUES (?1)";

impl Put {
    /// Made before the writer has it, so that reading the body is not the writer's work.
    pub(super) fn facts(&self) -> Option<Facts> {
        let is_known = act::TYPES.contains(&self.resource_type.as_str());
        let resource = is_known.then(|| serde_json::from_slice(&self.body).ok()).flatten()?;
        Some(act::facts(&resource))
    }
}

impl Writing<'_, '_> {
    /// Puts the facts of a resource in the place of those that it had; a new one had none.
    pub(super) fn put_facts(
        &mut self,
        resource_type: &str,
        id: &str,
        is_new: bool,
        facts: &Facts,
    ) -> Result<(), Refusal> {
        if is_new && *facts == Facts::default() {
            return Ok(());
        }
        let db = self.statements;
        let name = format!("{resource_type}/{id}");
        let Some(rid) = self.rid(&name)? else { return Ok(()) };
        let mut touched: Vec<String> = Vec::new();
        if !is_new {
            db.run(FORGET_ACT, [rid])?;
            db.run(FORGET_MILESTONES, [rid])?;
            touched = db.all(FORGET_ADD_ON, [rid], |row| Ok::<_, StoreError>(row.get(0)?))?;
        }
        for target in &facts.add_on_to {
            db.run(INSERT_ADD_ON, (target, rid))?;
            touched.push(target.clone());
        }
        for target in touched {
            if let Some(target_rid) = self.rid(&target)? {
                db.run(if target.starts_with("Procedure/") { JUDGE_ACT } else { JUDGE_CONTACT }, [target_rid])?;
            }
        }
        if let Some(act) = &facts.act {
            self.put_act(rid, &name, act)?;
        }
        for milestone in &facts.milestones {
            self.put_milestone(rid, milestone)?;
        }
        Ok(())
    }

    fn put_act(&mut self, rid: i64, name: &str, act: &Act) -> Result<(), Refusal> {
        let unit = self.unit_among(&act.units)?;
        let patient = self.rid_if_any(act.patient.as_deref())?;
        let contact = self.rid_if_any(act.contact.as_deref())?;
        let day = day_number(act.day);
        self.statements.run(INSERT_ACT, (rid, &act.code, day, unit, patient, contact, name, &act.contact))?;
        Ok(())
    }

    fn put_milestone(&mut self, rid: i64, milestone: &Milestone) -> Result<(), Refusal> {
        let Some(patient) = self.rid(&milestone.patient)? else { return Ok(()) };
        let holds = |role: &String| {
            let (kind, id) = role.split_once('/').unwrap_or_default();
            let role = self.body(kind, id)?;
            Ok::<_, Refusal>(role.is_some_and(|role| act::is_contact_nurse(&role)))
        };
        if !milestone.among.is_empty()
            && !milestone.among.iter().map(holds).collect::<Result<Vec<_>, _>>()?.contains(&true)
        {
            return Ok(());
        }
        let unit = self.unit_among(&milestone.units)?;
        let day = milestone.day.map(day_number);
        self.statements.run(INSERT_MILESTONE, (rid, milestone.kind.code(), patient, day, unit))?;
        Ok(())
    }

    /// The first that leads to a unit; otherwise that nobody knows.
    fn unit_among(&mut self, doers: &[Doer]) -> Result<i64, Refusal> {
        for doer in doers {
            let mut next = Some(doer.clone());
            // A role leads to its unit, and a unit to its number.
            for _ in 0..3 {
                match next {
                    Some(Doer::Unit(hsa_id)) => return self.unit(&hsa_id),
                    Some(Doer::Reference(name)) => {
                        let (kind, id) = name.split_once('/').unwrap_or_default();
                        next = self.body(kind, id)?.as_ref().and_then(act::unit_of);
                    }
                    None => break,
                }
            }
        }
        self.unit("")
    }

    /// The integer of a unit, given now if it has none.
    fn unit(&mut self, hsa_id: &str) -> Result<i64, Refusal> {
        let db = self.statements;
        if let Some(id) = db.first(UNIT, [hsa_id], |row| row.get::<_, i64>(0))? {
            return Ok(id);
        }
        db.run(INSERT_UNIT, [hsa_id])?;
        Ok(db.connection().last_insert_rowid())
    }

    fn rid(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(key) = name.split_once('/') else { return Ok(None) };
        Ok(self.statements.first(RID, key, |row| row.get::<_, i64>(0))?)
    }

    fn rid_if_any(&self, name: Option<&str>) -> Result<Option<i64>, Refusal> {
        name.map_or(Ok(None), |name| self.rid(name))
    }

    fn body(&self, resource_type: &str, id: &str) -> Result<Option<serde_json::Value>, Refusal> {
        let body = self.statements.first(BODY, (resource_type, id), |row| row.get::<_, Vec<u8>>(0))?;
        Ok(body.and_then(|body| serde_json::from_slice(&body).ok()))
    }
}
