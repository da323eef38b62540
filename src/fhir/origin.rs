//! Where documentation comes from, as its resource tells: which unit wrote it, when, and what a delivery carries of it.

use serde_json::Value;

use super::canonical::RESOURCE_ID;
use super::resource::{reference_of, type_of};
use super::search::moment;
use crate::domain::HsaId;

/// `meta.source` of what a document made; the unit's HSA-id stands behind it (Inera's convention).
pub const FROM_A_DOCUMENT: &str = "urn:oid:1.2.752.129.2.1.4.1#";
/// `meta.source` of what a unit added itself; its HSA-id stands behind it.
pub const BY_UNIT: &str = "urn:vardkedja:unit:";

/// Who exists in care, and where: no documentation of a patient's.
const ACTORS: [&str; 4] = ["Organization", "Practitioner", "PractitionerRole", "Location"];

/// Whether it is an actor or a place, which stand in documents about many patients.
pub fn is_actor(resource_type: &str) -> bool {
    ACTORS.contains(&resource_type)
}

/// Who wrote a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The unit that sent the document it was made from.
    Document(String),
    /// The unit that added it.
    Unit(String),
    /// A partner's own, read back from it as an answer.
    Partner,
    /// It does not say.
    Unsaid,
}

/// Who wrote the resource, by its `meta.source`. HSA-ids in upper case.
pub fn source(resource: &Value) -> Source {
    let text = resource["meta"]["source"].as_str().unwrap_or_default();
    let unit = |id: &str| HsaId::parse(id).ok().map(|id| id.as_str().to_ascii_uppercase());
    if let Some(id) = text.strip_prefix(FROM_A_DOCUMENT) {
        return unit(id).map_or(Source::Unsaid, Source::Document);
    }
    if let Some(id) = text.strip_prefix(BY_UNIT) {
        return unit(id).map_or(Source::Unsaid, Source::Unit);
    }
    if text.starts_with("urn:vardkedja:partner:") { Source::Partner } else { Source::Unsaid }
}

/// When it was documented: first and last millisecond. `None` where it has no time of its own.
pub fn documented(resource: &Value) -> Option<(i64, i64)> {
    let at = |name: &str| resource[name].as_str().and_then(moment);
    let period = |name: &str| {
        let end = |which: &str| resource[name][which].as_str().and_then(moment);
        let start = end("start")?;
        Some((start.0, end("end").map_or(start.1, |(_, last)| last.max(start.1))))
    };
    match type_of(resource) {
        "CarePlan" => at("created"),
        "ServiceRequest" | "Task" => at("authoredOn"),
        "Composition" | "DocumentReference" => at("date"),
        "Procedure" => at("performedDateTime").or_else(|| period("performedPeriod")),
        "Encounter" | "EpisodeOfCare" => period("period"),
        "Communication" => at("sent"),
        "Observation" => at("issued").or_else(|| at("effectiveDateTime")),
        "QuestionnaireResponse" => at("authored"),
        "Condition" => at("recordedDate"),
        "Consent" => at("dateTime"),
        _ => None,
    }
}

/// When a document was written: the span of the times of what it is about.
pub fn document_written<'a>(resources: impl IntoIterator<Item = &'a Value>) -> Option<(i64, i64)> {
    let main = ["CarePlan", "ServiceRequest", "Composition", "Procedure", "Encounter"];
    let times = resources.into_iter().filter(|r| main.contains(&type_of(r))).filter_map(documented);
    times.reduce(hull)
}

/// The shortest span that has both in it.
pub fn hull(one: (i64, i64), other: (i64, i64)) -> (i64, i64) {
    (one.0.min(other.0), one.1.max(other.1))
}

/// Whether the owner of a Task has written something into it.
pub fn has_owners_words(task: &Value) -> bool {
    ["statusReason", "businessStatus", "note", "output"].iter().any(|name| task.get(*name).is_some())
}

/// What a delivery carries, as `Type/id` of ours: the entries of a Bundle with what they contain, or the Task that is moved.
pub fn carried(body: &[u8]) -> Vec<String> {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    let mut names = Vec::new();
    if let Some(task) = body["identifier"].as_str().and_then(|i| i.strip_prefix(RESOURCE_ID)?.strip_prefix('|')) {
        names.push(format!("Task/{task}"));
    }
    for entry in body["entry"].as_array().map_or(&[][..], Vec::as_slice) {
        let resource = &entry["resource"];
        let id = entry["fullUrl"].as_str().and_then(|url| url.strip_prefix("urn:uuid:"));
        names.extend(id.map(|id| format!("{}/{id}", type_of(resource))));
        let contained = resource["contained"].as_array().map_or(&[][..], Vec::as_slice);
        names.extend(contained.iter().filter_map(reference_of));
    }
    names
}

/// Whether a notice tells that somebody has answered.
pub fn tells_of_an_answer(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|notice| notice["type"] == "answer.available")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fhir::bundle::{Dialect, TaskMode, transaction};

    #[test]
    fn a_resource_says_which_unit_wrote_it() {
        let said = |text: &str| source(&json!({ "meta": { "source": text } }));
        assert_eq!(said("urn:oid:1.2.752.129.2.1.4.1#se2321000131-e1"), Source::Document("SE2321000131-E1".into()));
        assert_eq!(said("urn:vardkedja:unit:SE2321000131-E1"), Source::Unit("SE2321000131-E1".into()));
        assert_eq!(said("urn:vardkedja:unit:operator"), Source::Unsaid);
        assert_eq!(said("urn:vardkedja:partner:Procedure/1"), Source::Partner);
        assert_eq!(source(&json!({ "resourceType": "Provenance" })), Source::Unsaid);
    }

    #[test]
    fn a_document_was_written_when_what_it_is_about_was() {
        let resources = [
            json!({ "resourceType": "Procedure", "performedPeriod": { "start": "2026-03-01T10:00:00Z", "end": "2026-03-01T11:00:00Z" } }),
            json!({ "resourceType": "Procedure", "performedDateTime": "2026-03-02T10:00:00Z" }),
            json!({ "resourceType": "Goal", "startDate": "2020-01-01" }),
        ];
        let first = moment("2026-03-01T10:00:00Z").unwrap().0;
        assert_eq!(document_written(&resources), Some((first, moment("2026-03-02T10:00:00Z").unwrap().1)));
        assert_eq!(document_written(&resources[2..]), None);
    }

    #[test]
    fn what_a_delivery_carries_is_named_whatever_its_form() {
        let id = |n: u8| format!("00000000-0000-0000-0000-00000000000{n}");
        let plan =
            json!({ "resourceType": "CarePlan", "id": id(1), "goal": [{ "reference": format!("Goal/{}", id(2)) }] });
        let goal = json!({ "resourceType": "Goal", "id": id(2) });
        let names = vec![format!("CarePlan/{}", id(1)), format!("Goal/{}", id(2))];
        for contained in [vec![], vec!["Goal".to_owned()]] {
            let dialect = Dialect { contained, ..Dialect::default() };
            let bundle = transaction(&[plan.clone(), goal.clone()], TaskMode::CreateOnce, &dialect);
            assert_eq!(carried(bundle.to_string().as_bytes()), names, "{dialect:?}");
        }
        let moved = json!({ "identifier": format!("{RESOURCE_ID}|t"), "set": {} });
        assert_eq!(carried(moved.to_string().as_bytes()), ["Task/t"]);
        assert!(carried(b"no JSON").is_empty());
    }
}
