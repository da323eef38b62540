//! Search: what a query means, and one page of what it finds.

use std::collections::VecDeque;

use chrono::{DateTime, Days, NaiveDate, NaiveTime};
use rusqlite::params_from_iter;
use rusqlite::types::Value as Sql;

use super::records::{Desk, Version};
use super::references::local;
use super::refusal::Refusal;
use super::terms::{Parameter, served, text};
use crate::fhir::issue::{Code, Issue};

const PAGE: i64 = 50;
const LARGEST_PAGE: i64 = 200;
/// More alternatives than this in one parameter are refused; SQLite bounds the depth of an expression.
const ALTERNATIVES: usize = 500;
/// How many `next` links are remembered.
const PAGES: usize = 1000;

/// What `_include` may follow, and the element it follows.
pub const INCLUDES: &[(&str, &str)] = &[("Task:focus", "focus"), ("Task:patient", "for")];

/// A search that has been understood. Clauses hold together; the values of one clause are alternatives.
pub struct Query {
    clauses: Vec<(String, Vec<Sql>)>,
    count: i64,
    newest_first: bool,
    includes: Vec<&'static str>,
    /// Only what comes after this time in the chosen order.
    pub after: Option<i64>,
}

/// Reads the parameters of a search, or says of each one what is wrong with it.
pub fn parse(kind: &str, pairs: &[(String, String)]) -> Result<Query, Vec<Issue>> {
    let mut query = Query { clauses: Vec::new(), count: PAGE, newest_first: false, includes: Vec::new(), after: None };
    let mut issues = Vec::new();
    for (name, value) in pairs {
        if !read(&mut query, kind, name, value) {
            issues.push(Issue::error(
                Code::NotSupported,
                "",
                format!("Sökparametern eller dess värde stöds inte för {kind}; se /fhir/metadata."),
                format!("The search parameter or its value is not supported for {kind}; see /fhir/metadata."),
            ));
        }
    }
    if issues.is_empty() { Ok(query) } else { Err(issues) }
}

fn read(query: &mut Query, kind: &str, name: &str, value: &str) -> bool {
    if value.split(',').count() > ALTERNATIVES {
        return false;
    }
    match name {
        "_count" => value.parse().is_ok_and(|n: u32| {
            query.count = i64::from(n).min(LARGEST_PAGE);
            true
        }),
        "_sort" => {
            query.newest_first = value == "-_lastUpdated";
            query.newest_first || value == "_lastUpdated"
        }
        "_include" if kind == "Task" => INCLUDES.iter().find(|(n, _)| *n == value).is_some_and(|(_, element)| {
            query.includes.push(element);
            true
        }),
        "_id" => {
            let ids: Vec<Sql> = alternatives(value).into_iter().map(Sql::Text).collect();
            query.clauses.push((format!("id IN ({})", vec!["?"; ids.len()].join(",")), ids));
            true
        }
        "_lastUpdated" => updated(value).is_some_and(|clause| {
            query.clauses.push(clause);
            true
        }),
        _ => served(kind).find(|(p, _)| p.name == name).is_some_and(|(parameter, _)| {
            query.clauses.push(by_term(parameter, value));
            true
        }),
    }
}

fn by_term(parameter: &Parameter, value: &str) -> (String, Vec<Sql>) {
    let mut values = vec![Sql::Text(parameter.name.to_owned())];
    let mut ways = Vec::new();
    for one in alternatives(value) {
        let separator = if parameter.form == "token" { '|' } else { '/' };
        let (system, value) = one.rsplit_once(separator).map_or((None, one.as_str()), |(s, v)| (Some(s), v));
        // A reference may be written as an absolute URL: its type is the last part before the id.
        let system = if separator == '/' { system.map(|s| s.rsplit('/').next().unwrap_or(s)) } else { system };
        let mut way = Vec::new();
        if let Some(system) = system {
            way.push("system = ?");
            values.push(Sql::Text(system.to_owned()));
        }
        if system.is_none() || !value.is_empty() {
            way.push("value = ?");
            values.push(Sql::Text(value.to_owned()));
        }
        ways.push(way.join(" AND "));
    }
    let ways = ways.join(" OR ");
    (format!("id IN (SELECT id FROM term t WHERE t.kind = live.kind AND param = ? AND ({ways}))"), values)
}

/// Alternatives stand between commas; `\,` is a comma in a value.
fn alternatives(value: &str) -> Vec<String> {
    let marked = value.replace("\\,", "\u{0}");
    marked.split(',').map(|v| v.replace('\u{0}', ",").replace("\\|", "|").replace("\\\\", "\\")).collect()
}

fn updated(value: &str) -> Option<(String, Vec<Sql>)> {
    let (prefix, time) = match value.get(..2) {
        Some(prefix @ ("ge" | "gt" | "le" | "lt" | "eq")) => (prefix, value.get(2..)?),
        _ => ("eq", value),
    };
    let (low, high) = period(time)?;
    let (sql, bounds) = match prefix {
        "ge" => ("updated_ms >= ?", vec![low]),
        "gt" => ("updated_ms >= ?", vec![high]),
        "le" => ("updated_ms < ?", vec![high]),
        "lt" => ("updated_ms < ?", vec![low]),
        _ => ("updated_ms >= ? AND updated_ms < ?", vec![low, high]),
    };
    Some((sql.to_owned(), bounds.into_iter().map(Sql::Integer).collect()))
}

/// The milliseconds that a date (UTC) or an instant covers.
fn period(time: &str) -> Option<(i64, i64)> {
    if let Ok(day) = NaiveDate::parse_from_str(time, "%Y-%m-%d") {
        let start = |d: NaiveDate| d.and_time(NaiveTime::MIN).and_utc().timestamp_millis();
        return Some((start(day), start(day.checked_add_days(Days::new(1))?)));
    }
    // An unescaped plus sign in a URL arrives as a space.
    let low = DateTime::parse_from_rfc3339(&time.replace(' ', "+")).ok()?.timestamp_millis();
    Some((low, low.checked_add(if time.contains('.') { 1 } else { 1000 })?))
}

/// One page of what was found.
pub struct Found {
    pub total: i64,
    pub matches: Vec<Version>,
    pub included: Vec<Version>,
    /// Where the next page starts, if there is one.
    pub next: Option<i64>,
}

/// Runs a query over the live resources of a type.
pub fn find(desk: &Desk<'_>, kind: &str, query: &Query) -> Result<Found, Refusal> {
    let mut holds = vec!["kind = ?"];
    let mut values = vec![Sql::Text(kind.to_owned())];
    for (sql, bound) in &query.clauses {
        holds.push(sql);
        values.extend(bound.iter().cloned());
    }
    let count = format!("SELECT count(*) FROM live WHERE {}", holds.join(" AND "));
    let total = desk.sql.query_row(&count, params_from_iter(&values), |r| r.get(0))?;
    let (beyond, order) = if query.newest_first { ("updated_ms < ?", "DESC") } else { ("updated_ms > ?", "ASC") };
    if let Some(after) = query.after {
        holds.push(beyond);
        values.push(Sql::Integer(after));
    }
    values.push(Sql::Integer(query.count.saturating_add(1)));
    let page = format!(
        "SELECT kind, id, number, updated_ms, body FROM live JOIN version USING (kind, id, number, updated_ms)
         WHERE {} ORDER BY updated_ms {order} LIMIT ?",
        holds.join(" AND ")
    );
    let mut statement = desk.sql.prepare(&page)?;
    let rows = statement.query_map(params_from_iter(&values), Version::from_row)?;
    let mut matches = rows.collect::<Result<Vec<_>, _>>()?;
    let size = usize::try_from(query.count).unwrap_or_default();
    let more = matches.len() > size;
    matches.truncate(size);
    let next = matches.last().filter(|_| more).map(|last| last.updated_ms);
    Ok(Found { total, included: include(desk, query, &matches)?, matches, next })
}

fn include(desk: &Desk<'_>, query: &Query, matches: &[Version]) -> Result<Vec<Version>, Refusal> {
    let mut included: Vec<Version> = Vec::new();
    for resource in matches.iter().filter_map(|m| m.resource.as_ref()) {
        for element in &query.includes {
            let target = resource.get(element).and_then(|r| text(r, "reference")).and_then(local);
            let Some((kind, id)) = target else { continue };
            if !included.iter().any(|v| v.kind == kind && v.id == id) {
                included.extend(desk.newest(kind, id)?.filter(|v| v.resource.is_some()));
            }
        }
    }
    Ok(included)
}

/// Where searches go on. A `next` link carries only a token, because the search may have come in a body with a
/// personnummer that must not stand in a URL.
#[derive(Default)]
pub struct Pages(VecDeque<Page>);

#[derive(Clone)]
pub struct Page {
    token: String,
    pub kind: String,
    pub pairs: Vec<(String, String)>,
    pub after: i64,
}

impl Pages {
    /// Remembers where a search goes on and gives the token that its `next` link carries.
    pub fn keep(&mut self, kind: &str, pairs: Vec<(String, String)>, after: i64) -> String {
        let token = uuid::Uuid::new_v4().to_string();
        self.0.push_back(Page { token: token.clone(), kind: kind.to_owned(), pairs, after });
        if self.0.len() > PAGES {
            self.0.pop_front();
        }
        token
    }

    pub fn turn(&self, kind: &str, token: &str) -> Option<Page> {
        self.0.iter().find(|p| p.kind == kind && p.token == token).cloned()
    }
}
