//! The rows that accepting a document writes, taken from a real database and stamped out again under new keys.
//!
//! They are what the raw ceiling writes and what large databases are filled with: same tables, same bytes, same triggers.
//! A stamp is a value with holes: whatever names this one document (ids, numbers, the patient) is overwritten by something of
//! the same length.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Statement, params_from_iter};
use uuid::Uuid;

use crate::documents::{DAY, NUMBER, overwrite, person, places};

/// Copies of the same day: a search by day finds so many, however large the database is.
pub const A_DAY: u64 = 20;
/// Units that acts are spread over.
pub const UNITS: u32 = 100;
const DAY_MS: i64 = 24 * 3600 * 1000;

/// Where a hole is, and what is written into it.
enum Hole {
    /// The n-th id, as text or as its sixteen bytes.
    Id(usize),
    RawId(usize),
    Number,
    Person,
    Day,
}

enum Cell {
    Same(Value),
    Stamp {
        bytes: Vec<u8>,
        is_text: bool,
        holes: Vec<(Vec<usize>, Hole)>,
    },
    /// The n-th of the copy's row numbers, commit numbers, audit numbers.
    Rid(i64),
    Seq(i64),
    Audit(i64),
    /// A moment of the day that moves on.
    Moment(i64),
    /// The number of a day that moves on.
    DayNumber(i64),
    /// One unit after the other, for what is counted by unit.
    Unit,
}

struct Table {
    insert: String,
    rows: Vec<Vec<Cell>>,
}

/// A table's name, its columns, and the rows that are new in it.
type Found = (String, Vec<String>, Vec<Vec<Value>>);

/// Everything one set of documents wrote.
pub struct Rows {
    tables: Vec<Table>,
    ids: usize,
    rids: i64,
    seqs: i64,
    audits: i64,
    /// The names `Type/id` of the resources, to ask for copies of them.
    names: Vec<(String, usize)>,
}

/// Counters of a database, from which copies go on.
#[derive(Clone, Copy)]
pub struct Marks {
    rid: i64,
    seq: i64,
    audit: i64,
    pub copies: u64,
}

/// A copy ready to be written: values by table.
pub struct Copy(Vec<Vec<Vec<Value>>>);

impl Rows {
    /// What stands in `after` and not in `before`.
    pub fn between(before: &Path, after: &Path) -> Self {
        let db = Connection::open_with_flags(after, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the database");
        db.execute("ATTACH ?1 AS before", [before.to_str().expect("a path")]).expect("the database before");
        let names: Vec<String> = column(&db, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid");
        let mut found = Vec::new();
        // Counters are the database's own work.
        let kept = |name: &&String| {
            !name.starts_with("sqlite_")
                && !["heartbeat", "act_month", "act_year", "mark", "audit_checkpoint"].contains(&name.as_str())
        };
        for name in names.iter().filter(kept) {
            let columns: Vec<String> = column(&db, &format!("SELECT name FROM pragma_table_info('{name}')"));
            let listed = columns.iter().map(|c| format!("\"{c}\"")).collect::<Vec<_>>().join(", ");
            let sql = format!("SELECT {listed} FROM main.\"{name}\" EXCEPT SELECT {listed} FROM before.\"{name}\"");
            let mut statement = db.prepare(&sql).expect("a table");
            let count = columns.len();
            let rows = statement.query_map([], |row| (0..count).map(|at| row.get(at)).collect());
            let rows: Vec<Vec<Value>> = rows.and_then(Iterator::collect).expect("its rows");
            if !rows.is_empty() {
                found.push((name.clone(), columns, rows));
            }
        }
        Self::of(&found)
    }

    fn of(found: &[Found]) -> Self {
        let ids = Keys::of(found);
        let tables = found
            .iter()
            .map(|(name, columns, rows)| {
                let marks = vec!["?"; columns.len()].join(", ");
                let listed = columns.iter().map(|c| format!("\"{c}\"")).collect::<Vec<_>>().join(", ");
                let insert = format!("INSERT INTO \"{name}\" ({listed}) VALUES ({marks})");
                let cell = |(column, value): (&String, &Value)| ids.cell(name, column, value);
                let rows = rows.iter().map(|row| columns.iter().zip(row).map(cell).collect()).collect();
                Table { insert, rows }
            })
            .collect();
        let count = |set: &BTreeSet<i64>| i64::try_from(set.len()).expect("a count");
        Self {
            tables,
            ids: ids.ids.len(),
            rids: count(&ids.rids),
            seqs: count(&ids.seqs),
            audits: count(&ids.audits),
            names: ids.names,
        }
    }

    pub fn resources(&self) -> u64 {
        self.rids.unsigned_abs()
    }

    pub fn count(&self) -> usize {
        self.tables.iter().map(|t| t.rows.len()).sum()
    }

    pub fn bytes(&self) -> usize {
        let size = |cell: &Cell| match cell {
            Cell::Same(Value::Text(text)) => text.len(),
            Cell::Same(Value::Blob(bytes)) => bytes.len(),
            Cell::Stamp { bytes, .. } => bytes.len(),
            _ => 8,
        };
        self.tables.iter().flat_map(|t| &t.rows).flatten().map(size).sum()
    }

    /// The id that the resource of that type has in a copy.
    pub fn id_in(&self, resource_type: &str, copy: u64) -> String {
        let found = self.names.iter().find(|(name, _)| name == resource_type);
        id(copy, found.unwrap_or_else(|| panic!("no {resource_type} among the rows")).1).to_string()
    }

    /// The copy's values, with keys that follow `marks`.
    pub fn copy(&self, marks: &mut Marks) -> Copy {
        let copy = marks.copies;
        let ids: Vec<Uuid> = (0..self.ids).map(|at| id(copy, at)).collect();
        let (number, person) = (number(copy), person(copy));
        let shift = i64::try_from(copy / A_DAY).expect("a day");
        let day = day(copy);
        let value = |cell: &Cell| match cell {
            Cell::Same(value) => value.clone(),
            Cell::Rid(at) => Value::Integer(marks.rid + at),
            Cell::Seq(at) => Value::Integer(marks.seq + at),
            Cell::Audit(at) => Value::Integer(marks.audit + at),
            Cell::Moment(at) => Value::Integer(at + shift * DAY_MS),
            Cell::DayNumber(at) => Value::Integer(at + shift),
            Cell::Unit => Value::Integer(1 + i64::try_from(copy % u64::from(UNITS)).expect("a unit")),
            Cell::Stamp { bytes, is_text, holes } => {
                let mut bytes = bytes.clone();
                for (places, hole) in holes {
                    match hole {
                        Hole::Id(at) => overwrite(&mut bytes, places, ids[*at].to_string().as_bytes()),
                        Hole::RawId(at) => overwrite(&mut bytes, places, ids[*at].as_bytes()),
                        Hole::Number => overwrite(&mut bytes, places, number.as_bytes()),
                        Hole::Person => overwrite(&mut bytes, places, person.as_bytes()),
                        Hole::Day => overwrite(&mut bytes, places, day.as_bytes()),
                    }
                }
                if *is_text { Value::Text(String::from_utf8(bytes).expect("text")) } else { Value::Blob(bytes) }
            }
        };
        let rows = |table: &Table| table.rows.iter().map(|row| row.iter().map(value).collect()).collect();
        let values = self.tables.iter().map(rows).collect();
        marks.rid += self.rids;
        marks.seq += self.seqs;
        marks.audit += self.audits;
        marks.copies += 1;
        Copy(values)
    }

    /// One statement for each table, in the order in which tables refer to each other.
    pub fn prepare<'c>(&self, db: &'c Connection) -> Vec<Statement<'c>> {
        self.tables.iter().map(|table| db.prepare(&table.insert).expect("a statement")).collect()
    }
}

/// Writes copies, inside whatever transaction there is.
pub fn write(statements: &mut [Statement<'_>], copies: &[Copy]) {
    for (at, statement) in statements.iter_mut().enumerate() {
        for row in copies.iter().flat_map(|copy| &copy.0[at]) {
            statement.execute(params_from_iter(row)).expect("a row");
        }
    }
}

impl Marks {
    pub fn of(db: &Connection) -> Self {
        let number =
            |sql: &str| db.query_row(sql, [], |row| row.get::<_, Option<i64>>(0)).expect("a number").unwrap_or(0);
        Self {
            rid: number("SELECT max(rid) FROM resource") + 1,
            seq: number("SELECT max(ifnull(max(seq), 0), (SELECT ifnull(max(seq), 0) FROM delivery)) FROM version") + 1,
            audit: number("SELECT max(seq) FROM audit") + 1,
            copies: 0,
        }
    }
}

/// The number of a copy's documents.
pub fn number(copy: u64) -> String {
    format!("{:08}", 20_000_000 + copy)
}

/// The day of a copy's activity.
pub fn day(copy: u64) -> String {
    let first: chrono::NaiveDate = DAY.parse().expect("a day");
    (first + chrono::Days::new(copy / A_DAY)).to_string()
}

/// Ids are spread over all values, as those of the gateway are.
fn id(copy: u64, at: usize) -> Uuid {
    let mut random = fastrand::Rng::with_seed(copy.wrapping_mul(1000) + at as u64);
    Uuid::from_u128(random.u128(..))
}

fn column(db: &Connection, sql: &str) -> Vec<String> {
    let mut statement = db.prepare(sql).expect("a statement");
    statement.query_map([], |row| row.get(0)).and_then(Iterator::collect).expect("names")
}

/// What names the documents and nothing else.
#[derive(Default)]
struct Keys {
    ids: Vec<Uuid>,
    rids: BTreeSet<i64>,
    seqs: BTreeSet<i64>,
    audits: BTreeSet<i64>,
    names: Vec<(String, usize)>,
}

impl Keys {
    fn of(found: &[Found]) -> Self {
        let mut keys = Self::default();
        let mut places = HashMap::new();
        for (table, columns, rows) in found {
            for row in rows {
                for (column, value) in columns.iter().zip(row) {
                    match (table.as_str(), column.as_str(), value) {
                        ("resource", "rid", Value::Integer(rid)) => drop(keys.rids.insert(*rid)),
                        ("version" | "delivery", "seq", Value::Integer(seq)) => drop(keys.seqs.insert(*seq)),
                        ("audit", "seq", Value::Integer(seq)) => drop(keys.audits.insert(*seq)),
                        ("resource", "id", Value::Text(id)) => {
                            keys.names.extend(named(row, places.len()));
                            places.insert(id.parse::<Uuid>().expect("an id"), places.len());
                        }
                        ("exchange" | "delivery", "id", Value::Blob(id)) => {
                            places.insert(Uuid::from_slice(id).expect("an id"), places.len());
                        }
                        _ => {}
                    }
                }
            }
        }
        keys.ids = vec![Uuid::nil(); places.len()];
        for (id, at) in places {
            keys.ids[at] = id;
        }
        keys
    }

    fn cell(&self, table: &str, column: &str, value: &Value) -> Cell {
        let place = |set: &BTreeSet<i64>, n: i64| set.range(..n).count() as i64;
        match (table, column, value) {
            (_, "rid", Value::Integer(n)) if self.rids.contains(n) => Cell::Rid(place(&self.rids, *n)),
            ("act" | "milestone", "patient" | "contact", Value::Integer(n)) if self.rids.contains(n) => {
                Cell::Rid(place(&self.rids, *n))
            }
            ("act" | "milestone", "day", Value::Integer(n)) => Cell::DayNumber(*n),
            ("act", "unit", Value::Integer(_)) => Cell::Unit,
            ("resource" | "version" | "delivery", "seq", Value::Integer(n)) => Cell::Seq(place(&self.seqs, *n)),
            ("audit", "seq", Value::Integer(n)) => Cell::Audit(place(&self.audits, *n)),
            ("date", "lo" | "hi", Value::Integer(n)) if is_of_the_day(*n) => Cell::Moment(*n),
            (_, _, Value::Text(text)) => self.stamp(text.as_bytes(), true, value),
            (_, _, Value::Blob(bytes)) => self.stamp(bytes, false, value),
            _ => Cell::Same(value.clone()),
        }
    }

    fn stamp(&self, bytes: &[u8], is_text: bool, value: &Value) -> Cell {
        let mut holes = Vec::new();
        let mut look = |what: &[u8], hole: Hole| {
            let found = places(bytes, what);
            if !found.is_empty() {
                holes.push((found, hole));
            }
        };
        for (at, id) in self.ids.iter().enumerate() {
            look(id.to_string().as_bytes(), Hole::Id(at));
            if !is_text && bytes.len() == 16 {
                look(id.as_bytes(), Hole::RawId(at));
            }
        }
        look(NUMBER.to_string().as_bytes(), Hole::Number);
        look(person(NUMBER).as_bytes(), Hole::Person);
        look(DAY.as_bytes(), Hole::Day);
        if holes.is_empty() { Cell::Same(value.clone()) } else { Cell::Stamp { bytes: bytes.to_vec(), is_text, holes } }
    }
}

/// The type of a row of `resource`.
fn named(row: &[Value], at: usize) -> Option<(String, usize)> {
    match row.get(1) {
        Some(Value::Text(resource_type)) => Some((resource_type.clone(), at)),
        _ => None,
    }
}

fn is_of_the_day(at: i64) -> bool {
    let day: chrono::NaiveDate = DAY.parse().expect("a day");
    let begin = day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis();
    (begin..begin + DAY_MS).contains(&at)
}
