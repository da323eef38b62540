//! Lists of exchanges, newest change first, for a person who looks for one: by unit, partner, patient, stage.
//!
//! Whoever is a party finds their exchanges through `party`, which repeats `updated_at` for this; everything else goes
//! through the indexes of `exchange`. Each way costs what is shown, not what there is.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use rusqlite::params_from_iter;
use rusqlite::types::Value;
use uuid::Uuid;

use super::grants::Right;
use super::link::ids;
use super::query::{ExchangePage, ExchangeQuery, Filter, Who};
use super::read_exchange::exchange;
use super::row::uuid;
use super::search::Asked;
use super::sql::Sql;
use super::statement::Statements;
use super::{Store, StoreError};

/// A caller with more units than this is so large that walking all exchanges finds its own soon enough.
const FEW_UNITS: usize = 64;

/// Those of which more is expected: the terms of the index `exchange_open`.
const OPEN: &str =
    " AND e.stage IN ('parked', 'waiting', 'delivered', 'received', 'on-hold', 'accepted', 'in-progress')";

/// Newest first, ties by id: the order of a page and of its cursor.
type Found = BTreeSet<Reverse<(i64, Uuid)>>;

impl Store {
    pub async fn exchanges(&self, filter: &Filter, query: &ExchangeQuery) -> Result<ExchangePage, StoreError> {
        let (filter, query) = (filter.clone(), query.clone());
        self.read(move |db| {
            let found = find(db, &filter, &query)?;
            let limit = query.limit as usize;
            let more = found.len() > limit;
            let page = found.into_iter().take(limit);
            let matches = page.filter_map(|Reverse((_, id))| exchange(db, id).transpose());
            Ok(ExchangePage { matches: matches.collect::<Result<_, _>>()?, more })
        })
        .await
    }
}

fn find(db: &Statements<'_>, filter: &Filter, query: &ExchangeQuery) -> Result<Found, StoreError> {
    let asked = Asked::of(db, filter);
    let visible = asked.exchange(Right::Search)?;
    let visible = visible.as_ref();
    // By whichever number of the person.
    let mut person: Vec<String> = query.patient.iter().cloned().collect();
    if let Some(patient) = &query.patient {
        person.extend(asked.kin_of(patient)?);
    }
    let asking: Asking<'_> = (query, &person);
    let mut found = Found::new();
    let by_party = |column: &str, whose: &str| Question::of_party(column, whose, asking, visible);
    match (&query.unit, &query.partner, &filter.who) {
        _ if query.attention => found.extend(Question::of_attention(asking, visible).ask(db)?),
        _ if query.patient.is_some() => found.extend(Question::of_all(asking, visible).ask(db)?),
        (Some(unit), _, _) => found.extend(by_party("unit", unit).ask(db)?),
        (None, Some(partner), _) => found.extend(by_party("partner", partner).ask(db)?),
        (None, None, Who::Units(own)) if own.len() <= FEW_UNITS => {
            for unit in own {
                found.extend(by_party("unit", unit).ask(db)?);
            }
        }
        _ => found.extend(Question::of_all(asking, visible).ask(db)?),
    }
    Ok(found)
}

/// What is asked, and the Patients of the person it is about.
type Asking<'q> = (&'q ExchangeQuery, &'q [String]);

struct Question {
    sql: String,
    values: Vec<Value>,
}

impl Question {
    /// Through the parties of one unit or one partner.
    fn of_party(column: &str, whose: &str, query: Asking<'_>, visible: Option<&Sql>) -> Self {
        let sql = format!(
            "SELECT DISTINCT d.updated_at AS at, d.exchange AS id FROM party d CROSS JOIN exchange e ON e.id = d.exchange \
             WHERE d.{column} = ?"
        );
        let question = Self { sql, values: vec![Value::from(whose.to_owned())] };
        question.narrowed(query, visible, "d.updated_at", "d.exchange")
    }

    /// What waits for a person is rare: from there to the exchanges.
    fn of_attention(query: Asking<'_>, visible: Option<&Sql>) -> Self {
        let sql = "SELECT e.updated_at AS at, e.id AS id FROM (SELECT exchange FROM delivery INDEXED BY delivery_parked \
                   WHERE state = 'parked' AND held = 0 AND action <> 'notice' UNION SELECT exchange FROM inbound INDEXED BY inbound_held \
                   WHERE finding IS NOT NULL AND exchange IS NOT NULL \
                   UNION SELECT w.id FROM exchange w INDEXED BY exchange_stage WHERE w.stage = 'parked' AND w.kind = 'referral' \
                   AND NOT EXISTS (SELECT 1 FROM party t WHERE t.exchange = w.id AND t.role <> 'sender')) l CROSS JOIN exchange e ON e.id = l.exchange WHERE true";
        Self { sql: sql.into(), values: Vec::new() }.narrowed(query, visible, "e.updated_at", "e.id")
    }

    fn of_all(query: Asking<'_>, visible: Option<&Sql>) -> Self {
        // SQLite would rather collect and sort the open ones of each stage than walk them in order.
        let walk = if query.0.open && query.0.stage.is_none() && query.0.patient.is_none() {
            "INDEXED BY exchange_open"
        } else {
            ""
        };
        let sql = format!("SELECT e.updated_at AS at, e.id AS id FROM exchange e {walk} WHERE true");
        Self { sql, values: Vec::new() }.narrowed(query, visible, "e.updated_at", "e.id")
    }

    fn narrowed(mut self, (query, of_person): Asking<'_>, visible: Option<&Sql>, at: &str, id: &str) -> Self {
        // The `+` keeps SQLite from reading all that a partner has for every exchange that is asked.
        let is_party =
            |test: &str| format!(" AND EXISTS (SELECT 1 FROM party p WHERE p.exchange = e.id AND +p.{test})");
        if let Some((before, last)) = query.before {
            self.sql.push_str(&format!(" AND ({at}, {id}) < (?, ?)"));
            let last = last.as_bytes().to_vec();
            self.values.extend([Value::from(before.timestamp_millis()), Value::from(last)]);
        }
        if query.open {
            self.sql.push_str(OPEN);
        }
        let tests = [
            (query.stage.map(|stage| stage.code().to_owned()), " AND e.stage = ?".to_owned()),
            (query.kind.map(|kind| kind.name().to_owned()), " AND e.kind = ?".to_owned()),
            (query.unit.clone(), is_party("unit = ?")),
            (query.partner.clone(), is_party("partner = ?")),
        ];
        for (value, test) in tests {
            if let Some(value) = value {
                self.sql.push_str(&test);
                self.values.push(Value::from(value));
            }
        }
        match of_person {
            [] => {}
            [one] => {
                self.sql.push_str(" AND e.patient = ?");
                self.values.push(Value::from(one.clone()));
            }
            all => {
                self.sql.push_str(" AND e.patient IN (SELECT value FROM json_each(?))");
                self.values.push(ids(all.iter().cloned()));
            }
        }
        if let Some(visible) = visible {
            self.sql.push_str(" AND ");
            self.sql.push_str(&visible.text);
            self.values.extend(visible.values.iter().cloned());
        }
        self.sql.push_str(&format!(" ORDER BY {at} DESC, {id} DESC LIMIT ?"));
        self.values.push(Value::from(i64::from(query.limit).saturating_add(1)));
        self
    }

    fn ask(self, db: &Statements<'_>) -> Result<Vec<Reverse<(i64, Uuid)>>, StoreError> {
        db.all(&self.sql, params_from_iter(self.values), |row| Ok(Reverse((row.get("at")?, uuid(row, "id")?))))
    }
}
