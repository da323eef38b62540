//! The areas of a request that is answered one by one, read from the resources that stand after the commit. Where the exchange has
//! no Task beside those of its parties, and so none of an area, nothing is looked up.

use serde_json::Value;

use super::super::StoreError;
use super::super::charge::moves_of;
use super::super::record::Exchange;
use super::super::statement::Statements;
use crate::domain::charge::charges;
use crate::domain::clock::Area;
use crate::domain::task::Status;
use crate::fhir::canonical::BASE;
use crate::fhir::resource::has_coding;

const RESOURCE: &str =
    "SELECT v.body FROM resource r CROSS JOIN version v ON v.seq = r.seq WHERE r.type = ?1 AND r.id = ?2";

/// What stands of each area, for each recipient that answers so. Whoever asks in vain of one area may have found another unit.
pub(super) fn areas(db: &Statements<'_>, exchange: &Exchange, sender: &str) -> Result<Vec<Area>, StoreError> {
    let of_party = |id: &str| exchange.parties.iter().any(|party| party.task.as_deref() == Some(id));
    let tasks = exchange.resources.iter().filter_map(|name| name.strip_prefix("Task/"));
    let mut found: Vec<Area> = Vec::new();
    for id in tasks.filter(|id| !of_party(id)) {
        found.extend(read(db, "Task", id)?.as_ref().and_then(|task| part(id, task)));
    }
    let mut wholes: Vec<String> = found.iter().map(|area| area.of.clone()).collect();
    wholes.sort();
    wholes.dedup();
    if wholes.is_empty() {
        return Ok(found);
    }
    // Entered in error is not answered; and what is asked no more is waited for no more.
    let asked = asked(db, exchange)?;
    found.retain(|area| {
        let is_void = area.task.as_ref().is_some_and(|(_, status)| *status == Status::EnteredInError);
        !is_void && (asked.is_empty() || asked.contains(&area.code))
    });
    for of in wholes {
        for code in &asked {
            if !found.iter().any(|area| area.of == of && area.code == *code) {
                found.push(Area { of: of.clone(), code: code.clone(), task: None, is_taken: false });
            }
        }
    }
    if let Some(patient) = &exchange.patient {
        let held = charges(&moves_of(db, patient)?);
        for area in &mut found {
            let takes = |unit: &str| !unit.eq_ignore_ascii_case(sender);
            area.is_taken = held.iter().any(|c| c.is_open() && c.area == area.code && takes(&c.unit));
        }
    }
    Ok(found)
}

fn part(id: &str, task: &Value) -> Option<Area> {
    if !has_coding(&task["code"], &format!("{BASE}/CodeSystem/task-kind"), "area") {
        return None;
    }
    let of = task["partOf"][0]["reference"].as_str()?.strip_prefix("Task/")?.to_owned();
    let status = task["status"].as_str().and_then(Status::parse)?;
    let code = codes(&task["reasonCode"]).into_iter().next()?;
    Some(Area { of, code, task: Some((id.to_owned(), status)), is_taken: false })
}

/// The areas that the document names.
fn asked(db: &Statements<'_>, exchange: &Exchange) -> Result<Vec<String>, StoreError> {
    let mut found: Vec<String> = Vec::new();
    for (kind, id) in exchange.resources.iter().filter_map(|name| name.split_once('/')) {
        if !matches!(kind, "ServiceRequest" | "Composition") {
            continue;
        }
        let Some(resource) = read(db, kind, id)? else { continue };
        for concept in resource["category"].as_array().into_iter().flatten() {
            found.extend(codes(concept));
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn codes(concept: &Value) -> Vec<String> {
    let system = format!("{BASE}/CodeSystem/rehab-area");
    let codings = concept["coding"].as_array().into_iter().flatten();
    codings.filter(|c| c["system"] == *system).filter_map(|c| c["code"].as_str().map(str::to_owned)).collect()
}

fn read(db: &Statements<'_>, kind: &str, id: &str) -> Result<Option<Value>, StoreError> {
    let body: Option<Vec<u8>> = db.first(RESOURCE, (kind, id), |row| row.get(0).map_err(StoreError::from))?;
    body.map(|body| serde_json::from_slice(&body).map_err(|_| StoreError::Corrupt("a resource"))).transpose()
}
