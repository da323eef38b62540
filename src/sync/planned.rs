//! What a plan says is to be done: its interventions, read from the CarePlan, for whatever has to be asked of them.

use chrono::NaiveDate;
use serde_json::Value;

use super::route::unit_of;
use crate::Gateway;
use crate::domain::unit::Level;
use crate::fhir::canonical::BASE;
use crate::fhir::primitive::days_of;
use crate::fhir::resource::type_of;

/// An intervention of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intervention {
    /// Where it stands among the plan's activities.
    pub place: usize,
    pub id: String,
    pub area: Option<String>,
    /// A code of `intervention-form`; a SIP has none.
    pub form: Option<String>,
    /// As the plan says it, or else that of the unit.
    pub level: Option<Level>,
    /// The HSA-id of the unit that does it, in upper case.
    pub unit: Option<String>,
    pub status: String,
    pub start: Option<NaiveDate>,
    /// The last day of it.
    pub end: Option<NaiveDate>,
}

/// The plan among what a document made.
pub(super) fn plan_in(resources: &[Value]) -> Option<&Value> {
    resources.iter().find(|resource| type_of(resource) == "CarePlan")
}

/// The interventions of a plan. `resources`: where what it refers to is found.
pub(super) fn interventions(gateway: &Gateway, plan: &Value, resources: &[Value]) -> Vec<Intervention> {
    let details = list(&plan["activity"]).iter().map(|activity| &activity["detail"]).enumerate();
    let meant = details.filter(|(_, detail)| detail["kind"] == "ServiceRequest");
    meant.filter_map(|(place, detail)| intervention(gateway, place, detail, resources)).collect()
}

fn intervention(gateway: &Gateway, place: usize, detail: &Value, resources: &[Value]) -> Option<Intervention> {
    let extension = |name: &str, value: &str| {
        let url = format!("{BASE}/StructureDefinition/{name}");
        let found = list(&detail["extension"]).iter().find(|e| e["url"] == *url);
        found.and_then(|e| e[value].as_str()).map(str::to_owned)
    };
    let unit = list(&detail["performer"]).iter().find_map(|p| unit_of(p, resources)).map(|u| u.to_ascii_uppercase());
    let own = || gateway.config.directory.find(unit.as_deref()?).map(|unit| unit.level);
    let level = extension("responsible-level", "valueCode").and_then(|code| Level::parse(&code)).or_else(own);
    let timed = &detail["scheduledTiming"]["repeat"]["boundsPeriod"];
    let period = if timed.is_object() { timed } else { &detail["scheduledPeriod"] };
    let days = |end: &str| period[end].as_str().and_then(days_of);
    Some(Intervention {
        place,
        id: extension("intervention-id", "valueString")?,
        area: list(&detail["reasonCode"]).iter().find_map(|reason| code(reason, "rehab-area")),
        form: code(&detail["code"], "intervention-form"),
        level,
        unit,
        status: detail["status"].as_str().unwrap_or_default().to_owned(),
        start: days("start").map(|(first, _)| first),
        end: days("end").map(|(_, last)| last),
    })
}

/// The code of a system of ours.
fn code(concept: &Value, system: &str) -> Option<String> {
    let system = format!("{BASE}/CodeSystem/{system}");
    let found = list(&concept["coding"]).iter().find(|coding| coding["system"] == *system);
    found.and_then(|coding| coding["code"].as_str()).map(str::to_owned)
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
