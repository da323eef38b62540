//! Looks things up in the audit log for those who may: by what AuditEvents are searched by, and all about one patient.
//!
//! By patient and by agent the log has an index, and what did not end well has one; everything else is looked for row by row
//! among those, so many rows for a page. A page that found less than was asked for goes on where it stopped.

use super::Refusal;
use crate::Gateway;
use crate::domain::audit::{Outcome, Record};
use crate::fhir::audit_event::{subtypes_of, type_of};
use crate::store::{AuditQuery, Filter};

/// Rows read at once.
const STEP: u32 = 200;

/// What is looked for; what is empty or `None` is not asked about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    pub query: AuditQuery,
    /// All of these have a part in it, by HSA-id or name.
    pub agents: Vec<String>,
    /// All of these patients, each under whichever number.
    pub patients: Vec<String>,
    /// The Patients of each of them; filled in when it is looked for.
    pub persons: Vec<Vec<String>>,
    /// One of each list of `Type/id`.
    pub entities: Vec<Vec<String>>,
    /// One of FHIR's letters, of each list.
    pub actions: Vec<Vec<String>>,
    pub outcomes: Vec<Vec<Outcome>>,
    /// One of `(system, code)` of each list; no system: any.
    pub types: Vec<Vec<(Option<String>, String)>>,
    pub subtypes: Vec<Vec<(Option<String>, String)>>,
    /// Only what a patient is told of.
    pub told_only: bool,
}

/// A page of the log, newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    pub records: Vec<Record>,
    /// Where the next page begins, where there may be one.
    pub next: Option<(i64, i64)>,
}

impl Wanted {
    fn fits(&self, record: &Record) -> bool {
        let coded = |wanted: &[(Option<String>, String)], has: &[(String, String)]| {
            let is = |(system, code): &(Option<String>, String)| {
                has.iter().any(|(s, c)| c == code && system.as_ref().is_none_or(|system| system == s))
            };
            wanted.iter().any(is)
        };
        let deed = record.deed();
        let (system, code, _) = type_of(deed);
        let own_type = [(system.to_owned(), code.to_owned())];
        let takes_part = |name: &String| {
            record.actor.eq_ignore_ascii_case(name)
                || record.agents.iter().any(|agent| agent.eq_ignore_ascii_case(name))
                || ["organisation", "client", "partner"].iter().any(|part| record.by(part) == Some(name.as_str()))
        };
        (!self.told_only || is_told(record))
            && self.agents.iter().all(takes_part)
            && self.persons.iter().all(|ids| ids.iter().any(|id| record.patients.contains(id)))
            && self.entities.iter().all(|names| names.iter().any(|name| record.touches(name)))
            && self.actions.iter().all(|letters| letters.iter().any(|letter| letter == deed.action()))
            && self.outcomes.iter().all(|list| list.contains(&record.outcome))
            && self.types.iter().all(|wanted| coded(wanted, &own_type))
            && (self.subtypes.is_empty() || {
                let own = subtypes_of(record);
                self.subtypes.iter().all(|wanted| coded(wanted, &own))
            })
    }
}

/// Whether the patient reads of it: somebody saw, wrote or got something. A delivery that failed may have arrived.
fn is_told(record: &Record) -> bool {
    let may_have_arrived =
        record.deed() == crate::domain::audit::Deed::Deliver && record.text("class") == Some("transient");
    record.deed().told().is_some() && (record.outcome == Outcome::Success || may_have_arrived)
}

/// One page.
pub async fn find(gateway: &Gateway, wanted: &Wanted) -> Result<Found, Refusal> {
    let mut wanted = wanted.clone();
    for id in &wanted.patients {
        let mut ids = gateway.store.kin(id).await?;
        ids.push(id.clone());
        wanted.persons.push(ids);
    }
    lead(gateway, &mut wanted).await?;
    let count = wanted.query.limit as usize;
    let most = gateway.config.audit.looked_at;
    let mut found = Found::default();
    let mut looked = 0;
    let mut query =
        AuditQuery { limit: STEP.max(wanted.query.limit.saturating_add(1)).min(most), ..wanted.query.clone() };
    loop {
        let rows = gateway.store.audit_rows(&Filter::ALL, &query).await?;
        let is_all = rows.len() < query.limit as usize;
        looked += query.limit;
        for record in rows {
            let place = (record.at.timestamp_millis(), record.seq);
            if wanted.fits(&record) {
                if found.records.len() == count {
                    // There is one more: the page ends at the last that is on it.
                    found.next = query.before;
                    return Ok(found);
                }
                found.records.push(record);
            }
            query.before = Some(place);
        }
        if is_all {
            return Ok(found);
        }
        if looked >= most {
            found.next = query.before;
            return Ok(found);
        }
    }
}

/// Chooses what the rows are read by: a patient before an agent before what failed.
async fn lead(gateway: &Gateway, wanted: &mut Wanted) -> Result<(), Refusal> {
    let mut patient = wanted.patients.first().cloned();
    if patient.is_none()
        && let [only] = wanted.entities.as_slice()
        && let [name] = only.as_slice()
        && let Some((resource_type, id)) = name.split_once('/')
    {
        patient = match resource_type {
            "Patient" => Some(id.to_owned()),
            _ => gateway.store.resource(&Filter::ALL, resource_type, id).await?.and_then(|stored| stored.patient),
        };
    }
    // Units stand in the index, in capitals, and so does who is no unit and no system. Care providers and systems stand beside
    // those who acted for them, and are looked for row by row.
    let unit = |name: &String| match name.as_str() {
        "operator" | "gateway" | "unknown" => Some(name.clone()),
        _ => gateway.config.directory.find(name).map(|unit| unit.hsa_id.clone()),
    };
    wanted.query.agent = wanted.agents.iter().find_map(unit).filter(|_| patient.is_none());
    wanted.query.failed = wanted.outcomes.iter().any(|list| !list.contains(&Outcome::Success));
    wanted.query.patient = patient;
    Ok(())
}
