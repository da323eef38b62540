//! Query plans: every statement the store prepares is explained, and none of them reads a whole table.

use rusqlite::Connection;

use super::questions::ask_everything;
use super::*;
use crate::store::block::UNITS;
use crate::store::read_exchange::RESOURCES;
use crate::store::read_queue::OPEN;
use crate::store::reindex::DEFINED;
use crate::store::statement::seen;

fn plan(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let count = statement.parameter_count();
    let nulls = rusqlite::params_from_iter(std::iter::repeat_n(rusqlite::types::Null, count));
    statement.query_map(nulls, |row| row.get("detail")).unwrap().collect::<Result<_, _>>().unwrap()
}

/// A step that reads a table from end to end. JSON arrays of the question, lists already narrowed (`l`, `i`, a subquery) and
/// ordered walks along an index that a LIMIT ends are not.
fn reads_a_whole_table(step: &str) -> bool {
    let Some(what) = step.strip_prefix("SCAN ") else { return false };
    let harmless = ["CONSTANT ROW", "l", "i", "m ", "json_each", "(subquery"];
    !harmless.iter().any(|start| what == start.trim() || (what.starts_with(start) && start.len() > 1))
        && !what.contains("USING INDEX")
        && !what.contains("USING COVERING INDEX")
}

/// Whether a question that is put for every row of a walk is answered from what belongs to that row.
fn asks_one(step: &str, walk: bool) -> bool {
    let question = step.contains(" EXISTS USING ") || (walk && step.starts_with("SEARCH t "));
    // The registry that asks is one row, by its name.
    !question
        || [
            "rid=?",
            "rowid=?",
            "(exchange=?",
            "registry_1 (name=?)",
            "(job=? AND patient=?)",
            "(patient=? AND registry=?)",
        ]
        .iter()
        .any(|key| step.contains(key))
}

#[tokio::test]
async fn no_statement_reads_a_whole_table() {
    let store = Store::open_temporary().unwrap();
    ask_everything(&store).await;
    let connection = Connection::open_in_memory().unwrap();
    super::super::migrate::migrate(&connection).unwrap();
    let statements = seen::all();
    assert!(statements.len() > 80, "only {} statements were seen", statements.len());
    // A walk in the order of the table that a LIMIT ends, the sorting of what one exchange is made of, the few hundred
    // parameters and the units at the start, and the longest among the open Tasks, of which a LIMIT bounds how many are looked at: a person
    // asks, not a program.
    let fine = ["SELECT * FROM delivery WHERE true ORDER BY seq LIMIT ?", RESOURCES, DEFINED, OPEN, UNITS];
    let mut bad = Vec::new();
    for sql in statements {
        let steps = plan(&connection, &sql);
        if std::env::var_os("SHOW_PLANS").is_some() {
            eprintln!("{sql}\n    {}", steps.join("\n    "));
        }
        let sorted = steps.iter().any(|step| step.contains("TEMP B-TREE FOR ORDER BY"));
        // Sorting is for what is already rare, a search that is led by its rarest condition, and for whoever asks for an order
        // that no index of all types has.
        let sorted = sorted && !sql.contains(" AS k0");
        // Facets are looked up once for all rows, and a reverse chain asks for what points at the row.
        let otherwise = ["facet_token", ".type || '/'"].iter().any(|part| sql.contains(part));
        let walk = sql.contains("INDEXED BY resource_of_type WHERE r.type") && !otherwise;
        if !steps.iter().all(|step| asks_one(step, walk)) {
            bad.push(format!("asks more than one row: {sql}\n    {}", steps.join("\n    ")));
        }
        let bad_step =
            steps.iter().any(|step| reads_a_whole_table(step)) || (sorted && !sql.contains(" l CROSS JOIN "));
        if bad_step && !fine.contains(&sql.as_str()) {
            bad.push(format!("{sql}\n    {}", steps.join("\n    ")));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// What it costs a row of the log is worth it: without it a removal would read the log of ten years for each thing that goes.
#[test]
fn what_the_log_said_of_a_thing_is_found_by_the_index_of_objects() {
    let connection = Connection::open_in_memory().unwrap();
    super::super::migrate::migrate(&connection).unwrap();
    for sql in crate::store::removal::SAID {
        let steps = plan(&connection, sql);
        let finds = |step: &String| step.starts_with("SEARCH audit USING INDEX audit_of_object (object");
        assert!(steps.iter().all(finds), "{sql}: {steps:?}");
    }
    connection.execute_batch("DROP INDEX audit_of_object").unwrap();
    let freely = |sql: &str| sql.replace("INDEXED BY audit_of_object", "");
    for sql in crate::store::removal::SAID {
        assert!(plan(&connection, &freely(sql)).iter().any(|step| reads_a_whole_table(step)), "nothing else finds it");
    }
}

#[test]
fn a_whole_table_is_recognised() {
    let connection = Connection::open_in_memory().unwrap();
    super::super::migrate::migrate(&connection).unwrap();
    for sql in ["SELECT * FROM version WHERE at = 1", "SELECT * FROM party WHERE task = ?1"] {
        assert!(plan(&connection, sql).iter().any(|step| reads_a_whole_table(step)), "{sql}");
    }
}
