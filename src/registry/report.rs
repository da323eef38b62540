//! A MeasureReport of what a Measure of ours came to in a period.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Value, json};

use super::indicators::{self, Indicator, Share};
use super::statistics::{self, Question, Table};
use crate::Gateway;
use crate::domain::kva;
use crate::domain::statistic::{Dimension, NONE};
use crate::fhir::canonical::BASE;
use crate::store::Filter;
use crate::sync::Refusal;
use crate::sync::weigh::instant;

/// The Measures of acts: how many there were, and how many people they were for.
pub const ACTS: &str = "kva-acts";
pub const PEOPLE: &str = "kva-people";

/// What both are stratified by.
pub const STRATIFIERS: [Dimension; 6] =
    [Dimension::Code, Dimension::Area, Dimension::Unit, Dimension::Level, Dimension::Month, Dimension::Distance];

const POPULATION: &str = "http://terminology.hl7.org/CodeSystem/measure-population";
/// A number that is there and not shown.
const MASKED: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";

/// Evaluates the Measure; none where there is no such.
pub async fn evaluate(
    gateway: &Gateway,
    filter: &Filter,
    id: &str,
    (first, last): (NaiveDate, NaiveDate),
    now: DateTime<Utc>,
) -> Result<Option<Value>, Refusal> {
    let smallest = gateway.config.statistics.smallest;
    let group = if id == ACTS || id == PEOPLE {
        let mut tables = Vec::new();
        for dimension in STRATIFIERS {
            let question = Question {
                first,
                last,
                by: vec![dimension],
                codes: Vec::new(),
                areas: Vec::new(),
                units: Vec::new(),
                people: id == PEOPLE,
            };
            let counted = statistics::count(gateway, filter, &question).await?;
            tables.push(statistics::show(counted, smallest, &gateway.config.directory));
        }
        acts(&tables, id == PEOPLE)
    } else if let Some(indicator) = Indicator::named(id) {
        let measured = indicators::measure(gateway, filter, &[indicator], (first, last), &[]).await?;
        json!(measured.into_iter().map(|m| share(&indicators::show(m, smallest))).collect::<Vec<_>>())
    } else {
        return Ok(None);
    };
    let list = gateway.conformance.codes();
    Ok(Some(json!({
        "resourceType": "MeasureReport",
        "text": { "status": "generated", "div": narrative(smallest, list.edition.as_deref().unwrap_or_default()) },
        "status": "complete",
        "type": "summary",
        "measure": format!("{BASE}/Measure/{id}"),
        "date": instant(now),
        "reporter": { "display": gateway.config.name },
        "period": { "start": first.to_string(), "end": last.to_string() },
        "group": group,
    })))
}

/// What cannot be said in an element.
fn narrative(smallest: u64, edition: &str) -> String {
    let safe: String = edition.chars().filter(|c| c.is_ascii_alphanumeric() || ".-_ ".contains(*c)).collect();
    format!(
        "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>Counted by the KVÅ list {safe}. A number fewer than {smallest}, or that a sum \
         would give away, is masked.</p></div>"
    )
}

fn acts(tables: &[Table], people: bool) -> Value {
    let number = |row: &statistics::Row| if people { row.people.flatten() } else { row.acts };
    let stratifier = |(dimension, table): (&Dimension, &Table)| {
        let stratum: Vec<Value> = table
            .rows
            .iter()
            .map(|row| {
                let value = row.values.first().map(String::as_str).unwrap_or_default();
                json!({
                    "value": concept(*dimension, value),
                    "population": [population("initial-population", number(row))],
                })
            })
            .collect();
        let mut stratifier = json!({ "code": [{ "text": dimension.name() }] });
        if !stratum.is_empty() {
            stratifier["stratum"] = json!(stratum);
        }
        stratifier
    };
    let total = tables.first().and_then(|table| number(&table.total));
    json!([{
        "population": [population("initial-population", total)],
        "stratifier": STRATIFIERS.iter().zip(tables).map(stratifier).collect::<Vec<_>>(),
    }])
}

fn share(share: &Share) -> Value {
    let mut group = json!({
        "population": [population("denominator", share.denominator), population("numerator", share.numerator)],
    });
    if let Some(part) = share.share {
        group["measureScore"] = json!({ "value": (part * 10_000.0).round() / 10_000.0 });
    }
    group
}

fn population(code: &str, count: Option<u64>) -> Value {
    let mut population = json!({ "code": { "coding": [{ "system": POPULATION, "code": code }] } });
    match count {
        Some(count) => population["count"] = json!(count),
        None => population["_count"] = json!({ "extension": [{ "url": MASKED, "valueCode": "masked" }] }),
    }
    population
}

fn concept(dimension: Dimension, value: &str) -> Value {
    let coded = |system: String| json!({ "coding": [{ "system": system, "code": value }], "text": value });
    match dimension {
        // A word of ours for nothing is no code of anybody's.
        _ if value == NONE => json!({ "text": value }),
        Dimension::Code => coded(kva::SYSTEM.to_owned()),
        Dimension::Area => coded(format!("{BASE}/CodeSystem/rehab-area")),
        Dimension::Level => coded(format!("{BASE}/CodeSystem/care-level")),
        _ => json!({ "text": value }),
    }
}
