//! Statistics as JSON and as CSV: every answer says what was asked, by which code list it was counted, and what it hides.

use serde_json::{Map, Value, json};

use super::indicators::{DENOMINATOR, Share};
use super::statistics::{Row, Table};
use crate::domain::statistic::Dimension;

/// What a reader has to know of every answer.
pub const NOTES: [&str; 4] = [
    "An act is one main KVÅ code at one contact that was completed; it counts on its day in Sweden. Add-ons do not count: ZV051 makes \
     an act one at a distance.",
    "Areas and validity are those of the code list named here, for acts of all years. Acts on days when their code was not valid, or \
     whose code is not in the list, are in `outside` only.",
    "A number that is missing (null) is hidden: fewer than `smallest`, or one that a sum would give away. What is hidden cannot be \
     computed from this answer, nor from one of the same period and filters with fewer dimensions where that hides its own small \
     numbers; answers for overlapping periods, other filters or other days can together say more.",
    "Where people are not counted, a number of acts may be those of few people.",
];

/// `GET /v1/statistics/kva` in JSON.
pub fn json(table: &Table) -> Value {
    let question = &table.question;
    let row = |row: &Row| {
        let mut object = Map::new();
        for (dimension, value) in question.by.iter().zip(&row.values) {
            let value = if *dimension == Dimension::Distance { json!(value == "true") } else { json!(value) };
            object.insert(dimension.name().to_owned(), value);
        }
        object.insert("acts".into(), json!(row.acts));
        if let Some(people) = row.people {
            object.insert("people".into(), json!(people));
        }
        Value::Object(object)
    };
    json!({
        "from": question.first.to_string(),
        "to": question.last.to_string(),
        "by": question.by.iter().map(|d| d.name()).collect::<Vec<_>>(),
        "filters": { "code": question.codes, "area": question.areas, "unit": question.units },
        "codeList": { "version": table.list.version, "edition": table.list.edition },
        "smallest": table.smallest,
        "rows": table.rows.iter().map(row).collect::<Vec<_>>(),
        "total": row(&table.total),
        "outside": table.outside,
        "notes": NOTES,
    })
}

/// The same rows as CSV (RFC 4180); a hidden number is empty.
pub fn csv(table: &Table) -> String {
    let mut names: Vec<&str> = table.question.by.iter().map(|d| d.name()).collect();
    names.push("acts");
    if table.question.people {
        names.push("people");
    }
    let rows = table.rows.iter().map(|row| {
        let number = |shown: Option<u64>| shown.map_or_else(String::new, |n| n.to_string());
        let mut cells = row.values.clone();
        cells.push(number(row.acts));
        cells.extend(row.people.map(number));
        cells
    });
    lines(&names, rows)
}

/// `GET /v1/statistics/indicators` in JSON.
pub fn indicators_json(period: (&str, &str), units: &[String], smallest: u64, shares: &[Share]) -> Value {
    let one = |share: &Share| {
        json!({
            "id": share.indicator.id,
            "numerator": share.numerator,
            "denominator": share.denominator,
            "share": share.share,
            "counts": share.indicator.numerator,
            "of": DENOMINATOR,
            "cannotSay": share.indicator.cannot_say,
        })
    };
    json!({
        "from": period.0,
        "to": period.1,
        "filters": { "unit": units },
        "smallest": smallest,
        "indicators": shares.iter().map(one).collect::<Vec<_>>(),
    })
}

pub fn indicators_csv(shares: &[Share]) -> String {
    let number = |shown: Option<u64>| shown.map_or_else(String::new, |n| n.to_string());
    let rows = shares.iter().map(|share| {
        let part = share.share.map_or_else(String::new, |part| format!("{part:.4}"));
        vec![share.indicator.id.to_owned(), number(share.numerator), number(share.denominator), part]
    });
    lines(&["indicator", "numerator", "denominator", "share"], rows)
}

fn lines(names: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = names.join(",") + "\r\n";
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| quoted(cell)).collect();
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    text
}

/// Values are codes and HSA-ids, but a unit is whatever a sender called one: nothing of it becomes a formula.
fn quoted(cell: &str) -> String {
    let starts = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let cell = if starts { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_of_csv_is_one_cell_and_no_formula() {
        assert_eq!(quoted("DV143"), "DV143");
        assert_eq!(quoted("a,b"), "\"a,b\"");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(quoted("=1+1"), "'=1+1");
    }
}
