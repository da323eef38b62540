//! What matches are sorted by, and where in that order a page ended.

use rusqlite::types::Value;

use super::super::StoreError;
use super::super::grants::Right;
use super::super::query::{Search, Sort, SortBy};
use super::super::read_resource::stored;
use super::super::sql::Sql;
use super::super::visible::and;
use super::condition::Asked;
use crate::fhir::search::{Index, Kind, index};

const SHOWN: &str = "SELECT r.type, r.id, v.version, v.seq, v.at, v.body, r.patient, r.rid FROM version v CROSS JOIN resource r ON r.rid = v.rid \
     WHERE v.seq = ? AND r.type = ?";

/// The value of each sort key, of the row `r`.
pub(super) fn keys(asked: &Asked<'_, '_>, search: &Search) -> Result<Vec<Sql>, StoreError> {
    search.sort.iter().map(|key| one(asked, search, key)).collect()
}

fn one(asked: &Asked<'_, '_>, search: &Search, key: &Sort) -> Result<Sql, StoreError> {
    let param = match &key.by {
        SortBy::Id => return Ok(Sql::new("r.id", [])),
        SortBy::LastUpdated => return Ok(Sql::new("r.updated_at", [])),
        SortBy::Param(param) => param,
    };
    let Some(kept) = asked.kept(&search.resource_type, param.kept_as)? else { return Ok(Sql::new("NULL", [])) };
    let best = if key.descending { "max" } else { "min" };
    let from = match param.kind {
        Kind::Date if key.descending => "(t.hi) FROM date t INDEXED BY date_of WHERE t.rid = r.rid",
        Kind::Date => "(t.lo) FROM date t INDEXED BY date_of WHERE t.rid = r.rid",
        Kind::String => "(t.folded) FROM text t INDEXED BY text_of WHERE t.rid = r.rid",
        _ if kept.coded => "(t.code) FROM facet_token t INDEXED BY facet_token_of WHERE t.facet = r.facet",
        _ => "(t.code) FROM token t INDEXED BY token_of WHERE t.rid = r.rid",
    };
    let value = Sql::new(format!("(SELECT {best}{from} AND t.param = ?)"), [Value::from(kept.id)]);
    // An order tells what it goes by.
    Ok(match asked.has_come("r").filter(|_| search.resource_type == "Patient") {
        Some(has_come) => Sql::new("CASE WHEN ", []).then(&has_come).text(" THEN ").then(&value).text(" END"),
        None => value,
    })
}

/// Where the page before ended.
pub(super) struct Position {
    pub(super) rid: i64,
    pub(super) keys: Vec<Value>,
}

impl Position {
    /// Behind the version of that `seq`, as it was when it was shown: what has become of it since does not move the page. None
    /// where there is no such version, or not for the one who asks.
    pub(super) fn of(asked: &Asked<'_, '_>, search: &Search, seq: i64) -> Result<Option<Self>, StoreError> {
        let shown = Sql::new(SHOWN, [Value::from(seq), Value::from(search.resource_type.clone())]);
        // By its scope it was shown as it stood then; whom it concerns is asked as of now.
        let visible = asked.concerning(&search.resource_type, "r");
        let found =
            and(shown, visible.as_ref()).first(asked.db, |row| Ok((row.get::<_, i64>("rid")?, stored(row)?)))?;
        let found = match found {
            Some((_, shown)) if !asked.covers(Right::Search, &shown)? => None,
            found => found,
        };
        let Some((rid, shown)) = found else { return Ok(None) };
        let by_content = search.sort.iter().any(|key| matches!(key.by, SortBy::Param(_)));
        let is_own_word = by_content && search.resource_type == "Patient" && asked.is_own_word(&shown.id)?;
        let values = match by_content && !is_own_word {
            true => index(&serde_json::from_slice(&shown.body).map_err(|_| StoreError::Corrupt("a resource"))?),
            false => Vec::new(),
        };
        let key = |key: &Sort| match &key.by {
            SortBy::Id => Value::from(shown.id.clone()),
            SortBy::LastUpdated => Value::from(shown.updated_at.timestamp_millis()),
            SortBy::Param(param) => best(values.iter().filter(|v| v.param() == param.kept_as), key.descending),
        };
        Ok(Some(Self { rid, keys: search.sort.iter().map(key).collect() }))
    }

    /// The condition on `k0`, `k1`, … and `rid` that a row comes later.
    pub(super) fn behind(self, sort: &[Sort], beyond: &str) -> Sql {
        let mut any = Vec::new();
        let mut same = Sql::default();
        for (n, (key, value)) in sort.iter().zip(self.keys).enumerate() {
            if value == Value::Null {
                same = same.text(&format!("k{n} IS NULL AND "));
                continue;
            }
            let further = if key.descending { "<" } else { ">" };
            any.push(same.clone().text(&format!("(k{n} IS NULL OR k{n} {further} ?)")).value(value.clone()));
            same = same.text(&format!("k{n} = ? AND ")).value(value);
        }
        any.push(same.text(&format!("rid {beyond} ?")).value(self.rid));
        Sql::new("(", []).then(&Sql::join(&any, " OR ", "false")).text(")")
    }
}

/// The lowest of the values, or the highest: as SQL orders them, texts by their bytes.
fn best<'a>(values: impl Iterator<Item = &'a Index>, descending: bool) -> Value {
    let (mut number, mut word): (Option<i64>, Option<&str>) = (None, None);
    for value in values {
        match value {
            Index::Date { low, high, .. } => {
                let at = if descending { *high } else { *low };
                number = Some(number.map_or(at, |n| if descending { n.max(at) } else { n.min(at) }));
            }
            Index::Token { code: text, .. } | Index::Text { folded: text, .. } => {
                word = Some(word.map_or(text.as_str(), |w| if descending { w.max(text) } else { w.min(text) }));
            }
            Index::Reference { .. } => {}
        }
    }
    match (number, word) {
        (Some(number), _) => Value::from(number),
        (None, Some(word)) => Value::from(word.to_owned()),
        (None, None) => Value::Null,
    }
}
