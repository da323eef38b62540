//! An assessment out of FHIR resources: Observations of our profiles, those that carry a declared field by its code, and
//! Hälsoskattning as it was answered.
//!
//! Of several that say the same thing the newest counts; where none is newer, what differs is a finding.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::assessment::Inputs;
use crate::fhir::canonical::BASE;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::profile::expression::FieldType;
use crate::fhir::resource::type_of;

/// The types that say something of an assessment.
pub const TYPES: [&str; 2] = ["Observation", "QuestionnaireResponse"];

/// What one Observation says of a field, and when it was so.
struct Word {
    at: String,
    value: Value,
}

/// The assessment that resources come to; other types say nothing of it.
pub fn of_resources<'r>(
    resources: impl IntoIterator<Item = &'r Value>,
    inputs: &Inputs,
) -> Result<Map<String, Value>, Vec<Issue>> {
    let (mut words, mut issues) = (BTreeMap::<String, Word>::new(), Vec::new());
    for resource in resources.into_iter().filter(|r| TYPES.contains(&type_of(r))) {
        if !matches!(resource["status"].as_str(), Some("final" | "amended" | "corrected" | "completed")) {
            continue;
        }
        let times = ["/effectiveDateTime", "/effectiveInstant", "/issued", "/authored", "/meta/lastUpdated"];
        let at = times.iter().find_map(|place| resource.pointer(place)?.as_str());
        for (name, value) in said(resource, inputs) {
            let word = Word { at: at.unwrap_or_default().to_owned(), value };
            match words.get(&name) {
                Some(known) if known.at == word.at && known.value != word.value => issues.push(Issue::error(
                    Code::Conflict,
                    format!("{} ({name})", type_of(resource)),
                    "Två observationer säger olika, och ingen är nyare: ange effectiveDateTime.",
                    "Two Observations differ, and none is newer: give effectiveDateTime.",
                )),
                Some(known) if known.at > word.at => {}
                _ => drop(words.insert(name, word)),
            }
        }
    }
    let mut assessment = Map::new();
    for (name, word) in words {
        Inputs::put(&mut assessment, &name, word.value);
    }
    if issues.is_empty() { Ok(assessment) } else { Err(issues) }
}

/// The fields that an Observation and its components, or the items of Hälsoskattning, say something of.
fn said(resource: &Value, inputs: &Inputs) -> Vec<(String, Value)> {
    if type_of(resource) == "QuestionnaireResponse" {
        let is_ours = resource["questionnaire"] == format!("{BASE}/Questionnaire/halsoskattning");
        let items = resource["item"].as_array().into_iter().flatten().filter(|_| is_ours);
        return items.filter_map(|item| item_says(item, inputs)).collect();
    }
    let components = resource["component"].as_array().into_iter().flatten();
    let parts = std::iter::once(resource).chain(components);
    parts.filter_map(|part| part_says(part, inputs)).collect()
}

/// An item is an area, by its code, and its answer the need there.
fn item_says(item: &Value, inputs: &Inputs) -> Option<(String, Value)> {
    let name = format!("needs.{}", item["linkId"].as_str()?);
    let answer = &item["answer"][0]["valueCoding"];
    let is_ours = answer["system"] == format!("{BASE}/CodeSystem/need-level");
    inputs.get(&name).filter(|_| is_ours)?;
    Some((name, answer.get("code")?.clone()))
}

fn part_says(part: &Value, inputs: &Inputs) -> Option<(String, Value)> {
    let name = field(part)?;
    let input = inputs.get(&name)?;
    let concept = || part["valueCodeableConcept"]["coding"].as_array().into_iter().flatten();
    let day = || part["valueDateTime"].as_str().map(|at| at.get(..10).unwrap_or(at));
    let value = match &input.field {
        FieldType::Boolean => part.get("valueBoolean").cloned(),
        FieldType::Integer => part.get("valueInteger").cloned(),
        FieldType::Date => day().map(|day| json!(day)),
        FieldType::Code(codes) => {
            let known =
                concept().filter_map(|c| c["code"].as_str()).find(|code| codes.iter().any(|known| known == code));
            known.map(|code| json!(code)).or_else(|| part.get("valueString").cloned())
        }
    };
    Some((name, value?))
}

/// The field that an Observation or component is about: by its own code, or as our profiles of plans write it.
fn field(part: &Value) -> Option<String> {
    part["code"]["coding"].as_array().into_iter().flatten().find_map(|coding| {
        let (system, code) = (coding["system"].as_str()?.strip_prefix(BASE)?, coding["code"].as_str()?);
        match (system, code) {
            ("/CodeSystem/rehab-area", area) => Some(format!("needs.{area}")),
            ("/CodeSystem/observation-kind", "treatment-intent") => Some("treatment.intent".to_owned()),
            ("/CodeSystem/observation-kind", "treatment-phase") => Some("treatment.phase".to_owned()),
            ("/CodeSystem/observation-kind", "frailty") => Some("cfs".to_owned()),
            ("/CodeSystem/observation-kind", "treatment-end") => Some("treatment.end".to_owned()),
            (system, field)
                if system.starts_with("/CodeSystem/assessment-input")
                    || system.starts_with("/CodeSystem/programme-input") =>
            {
                Some(field.to_owned())
            }
            ("/CodeSystem/instrument", "cfs") => Some("cfs".to_owned()),
            _ => None,
        }
    })
}
