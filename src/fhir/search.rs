//! Search parameters as data: what a resource can be found by, and the index values it has.
//!
//! Definitions follow <http://hl7.org/fhir/R4/searchparameter-registry.html>; only those listed here are served.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, Utc};
use serde_json::Value;

/// How a parameter's values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Token,
    Reference,
    Date,
}

impl Kind {
    pub fn code(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Reference => "reference",
            Self::Date => "date",
        }
    }
}

/// A search parameter of one resource type.
#[derive(Debug)]
pub struct Param {
    pub resource_type: &'static str,
    pub name: &'static str,
    pub kind: Kind,
    /// The element, by names alone: arrays are walked through.
    pub path: &'static str,
}

/// One search value of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Index {
    Token {
        param: &'static str,
        system: String,
        code: String,
    },
    /// `Type/id` of the target, or `identifier:system|value` of a logical reference.
    Reference {
        param: &'static str,
        target: String,
    },
    /// A span of time in milliseconds, both ends included.
    Date {
        param: &'static str,
        low: i64,
        high: i64,
    },
}

macro_rules! params {
    ($($resource_type:literal: $($name:literal $kind:ident $path:literal),+;)+) => {
        &[$($(Param { resource_type: $resource_type, name: $name, kind: Kind::$kind, path: $path }),+),+]
    };
}

/// Every parameter that is indexed and served, beside `_id` and `_lastUpdated` that all types have.
pub const PARAMS: &[Param] = params! {
    "Appointment": "identifier" Token "identifier", "status" Token "status", "patient" Reference "participant.actor", "date" Date "start";
    "CarePlan": "identifier" Token "identifier", "status" Token "status", "category" Token "category", "patient" Reference "subject", "date" Date "period";
    "CareTeam": "identifier" Token "identifier", "status" Token "status", "patient" Reference "subject";
    "Communication": "identifier" Token "identifier", "status" Token "status", "category" Token "category", "patient" Reference "subject", "based-on" Reference "basedOn", "sent" Date "sent";
    "Composition": "identifier" Token "identifier", "status" Token "status", "patient" Reference "subject", "date" Date "date";
    "Condition": "identifier" Token "identifier", "code" Token "code", "patient" Reference "subject";
    "Consent": "identifier" Token "identifier", "status" Token "status", "patient" Reference "patient", "date" Date "dateTime";
    "DocumentReference": "identifier" Token "identifier", "status" Token "status", "patient" Reference "subject", "date" Date "date";
    "Encounter": "identifier" Token "identifier", "status" Token "status", "class" Token "class", "patient" Reference "subject", "date" Date "period";
    "EpisodeOfCare": "identifier" Token "identifier", "status" Token "status", "patient" Reference "patient", "date" Date "period";
    "Goal": "identifier" Token "identifier", "lifecycle-status" Token "lifecycleStatus", "patient" Reference "subject";
    "Observation": "identifier" Token "identifier", "status" Token "status", "code" Token "code", "patient" Reference "subject", "date" Date "effectiveDateTime";
    "Organization": "identifier" Token "identifier";
    "Patient": "identifier" Token "identifier";
    "Practitioner": "identifier" Token "identifier";
    "PractitionerRole": "identifier" Token "identifier", "organization" Reference "organization";
    "Procedure": "identifier" Token "identifier", "status" Token "status", "code" Token "code", "patient" Reference "subject", "based-on" Reference "basedOn", "encounter" Reference "encounter", "part-of" Reference "partOf", "date" Date "performedDateTime", "date" Date "performedPeriod";
    "Provenance": "target" Reference "target", "recorded" Date "recorded";
    "QuestionnaireResponse": "identifier" Token "identifier", "status" Token "status", "patient" Reference "subject", "authored" Date "authored";
    "RelatedPerson": "identifier" Token "identifier", "patient" Reference "patient";
    "ServiceRequest": "identifier" Token "identifier", "status" Token "status", "intent" Token "intent", "code" Token "code", "patient" Reference "subject", "requester" Reference "requester", "authored" Date "authoredOn";
    "Task": "identifier" Token "identifier", "status" Token "status", "code" Token "code", "patient" Reference "for", "owner" Reference "owner", "focus" Reference "focus", "requester" Reference "requester", "group-identifier" Token "groupIdentifier", "modified" Date "lastModified";
};

/// The parameters of a type, each name once.
pub fn params(resource_type: &str) -> Vec<&'static Param> {
    let mut found: Vec<&'static Param> = Vec::new();
    for param in PARAMS.iter().filter(|p| p.resource_type == resource_type) {
        if !found.iter().any(|p| p.name == param.name) {
            found.push(param);
        }
    }
    found
}

/// The parameter a type has under that name.
pub fn param(resource_type: &str, name: &str) -> Option<&'static Param> {
    PARAMS.iter().find(|p| p.resource_type == resource_type && p.name == name)
}

/// Whether the type can be searched at all.
pub fn is_searchable(resource_type: &str) -> bool {
    PARAMS.iter().any(|p| p.resource_type == resource_type)
}

/// Everything the resource can be found by.
pub fn index(resource: &Value) -> Vec<Index> {
    let resource_type = resource["resourceType"].as_str().unwrap_or_default();
    let mut out = Vec::new();
    for param in PARAMS.iter().filter(|p| p.resource_type == resource_type) {
        let mut values = Vec::new();
        walk(resource, param.path, &mut values);
        for value in values {
            match param.kind {
                Kind::Token => tokens(param.name, value, &mut out),
                Kind::Reference => references(param.name, value, &mut out),
                Kind::Date => out.extend(span(value).map(|(low, high)| Index::Date { param: param.name, low, high })),
            }
        }
    }
    out
}

fn walk<'a>(value: &'a Value, path: &str, out: &mut Vec<&'a Value>) {
    if let Value::Array(items) = value {
        items.iter().for_each(|item| walk(item, path, out));
        return;
    }
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    match value.get(name) {
        Some(Value::Array(items)) if rest.is_empty() => out.extend(items),
        Some(child) if rest.is_empty() => out.push(child),
        Some(child) => walk(child, rest, out),
        None => {}
    }
}

fn tokens(param: &'static str, value: &Value, out: &mut Vec<Index>) {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    match value {
        Value::String(code) => out.push(Index::Token { param, system: String::new(), code: code.clone() }),
        Value::Object(object) => {
            if let Some(codings) = object.get("coding").and_then(Value::as_array) {
                codings.iter().for_each(|coding| tokens(param, coding, out));
            } else if let Some(code) = object.get("code").or_else(|| object.get("value")) {
                let system = object.get("system").map(text).unwrap_or_default();
                out.push(Index::Token { param, system, code: text(code) });
            }
        }
        _ => {}
    }
}

fn references(param: &'static str, value: &Value, out: &mut Vec<Index>) {
    if let Some(target) = value["reference"].as_str() {
        out.push(Index::Reference { param, target: target.to_owned() });
    }
    if let (Some(system), Some(value)) = (value["identifier"]["system"].as_str(), value["identifier"]["value"].as_str())
    {
        out.push(Index::Reference { param, target: logical(system, value) });
    }
}

/// How a logical reference is written in the index.
pub fn logical(system: &str, value: &str) -> String {
    format!("identifier:{system}|{value}")
}

fn span(value: &Value) -> Option<(i64, i64)> {
    match value {
        Value::String(text) => moment(text),
        Value::Object(period) => {
            let low = period.get("start").and_then(Value::as_str).and_then(moment).map(|(low, _)| low);
            let high = period.get("end").and_then(Value::as_str).and_then(moment).map(|(_, high)| high);
            (low.is_some() || high.is_some()).then_some((low.unwrap_or(i64::MIN), high.unwrap_or(i64::MAX)))
        }
        _ => None,
    }
}

/// The span of milliseconds that a FHIR date, dateTime or instant stands for: a year is a whole year.
/// Dates without a zone are read as UTC days.
pub fn moment(text: &str) -> Option<(i64, i64)> {
    if text.len() > 10 {
        let at = DateTime::parse_from_rfc3339(text).or_else(|_| {
            DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M%:z")
                .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%MZ"))
        });
        let at = at.ok()?.timestamp_millis();
        return Some((at, if text.contains('.') { at } else { at + 999 }));
    }
    let day = |text: &str| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    let (first, next) = match text.len() {
        4 => {
            let first = day(&format!("{text}-01-01"))?;
            (first, NaiveDate::from_ymd_opt(first.year() + 1, 1, 1)?)
        }
        7 => {
            let first = day(&format!("{text}-01"))?;
            (first, first.checked_add_months(Months::new(1))?)
        }
        10 => {
            let first = day(text)?;
            (first, first.checked_add_days(Days::new(1))?)
        }
        _ => return None,
    };
    Some((midnight(first), midnight(next) - 1))
}

fn midnight(day: NaiveDate) -> i64 {
    DateTime::<Utc>::from_naive_utc_and_offset(day.and_time(chrono::NaiveTime::MIN), Utc).timestamp_millis()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_task_is_found_by_its_identifier_owner_and_status() {
        let task = json!({
            "resourceType": "Task", "status": "requested",
            "identifier": [{ "system": "urn:x", "value": "1" }],
            "owner": { "reference": "Organization/a", "identifier": { "system": "urn:hsa", "value": "SE1" } },
            "code": { "coding": [{ "system": "urn:c", "code": "fulfill" }] },
        });
        let index = index(&task);
        assert!(index.contains(&Index::Token { param: "identifier", system: "urn:x".into(), code: "1".into() }));
        assert!(index.contains(&Index::Token { param: "status", system: String::new(), code: "requested".into() }));
        assert!(index.contains(&Index::Token { param: "code", system: "urn:c".into(), code: "fulfill".into() }));
        assert!(index.contains(&Index::Reference { param: "owner", target: "Organization/a".into() }));
        assert!(index.contains(&Index::Reference { param: "owner", target: "identifier:urn:hsa|SE1".into() }));
    }

    #[test]
    fn a_date_without_a_day_is_a_whole_month() {
        let (low, high) = moment("2026-02").unwrap();
        assert_eq!(moment("2026-02-01").unwrap().0, low);
        assert_eq!(moment("2026-02-28").unwrap().1, high);
        assert!(moment("2026-02-30").is_none());
    }

    #[test]
    fn an_open_period_reaches_to_the_end_of_time() {
        let plan = json!({ "resourceType": "CarePlan", "period": { "start": "2026-01-01" } });
        assert!(matches!(index(&plan).as_slice(), [Index::Date { high: i64::MAX, .. }]));
    }

    #[test]
    fn every_parameter_names_an_element_that_r4_has() {
        for param in PARAMS {
            let mut content = param.resource_type;
            for name in param.path.split('.') {
                let found = crate::fhir::r4::find(content, name);
                assert!(found.is_some(), "{}.{}", param.resource_type, param.path);
                content = found.map_or("", |f| f.content);
            }
        }
    }
}
