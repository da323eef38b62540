//! What a program with other parameters left behind is indexed anew: while others write, through a kill, and never answered
//! wrongly meanwhile.

use rusqlite::Connection;
use serde_json::json;

use super::*;
use crate::fhir::search;

const FIRST: &str = include_str!("../migrations/0001_first.sql");

fn body(id: &str, status: &str) -> String {
    json!({
        "resourceType": "Task", "id": id, "status": status, "intent": "order",
        "identifier": [{ "system": "urn:s", "value": id }], "for": { "reference": "Patient/p" },
    })
    .to_string()
}

/// A file as the first program left it: version 1, and the values that it knew.
fn old_file(path: &Path, tasks: i64) {
    let db = Connection::open(path).unwrap();
    db.execute_batch(&format!("PRAGMA journal_mode = WAL; BEGIN; {FIRST}; PRAGMA user_version = 1;")).unwrap();
    db.execute_batch(
        "INSERT INTO param VALUES (1, 'Task', 'identifier'), (2, 'Task', 'status'), (3, 'Task', 'patient');
         INSERT INTO system VALUES (1, ''), (2, 'urn:s');",
    )
    .unwrap();
    for rid in 1..=tasks {
        let id = format!("t{rid}");
        db.execute("INSERT INTO resource VALUES (?1, 'Task', ?2, 1, ?1, 0, 'p')", (rid, &id)).unwrap();
        db.execute("INSERT INTO version VALUES (?1, ?1, 1, 0, ?2)", (rid, body(&id, "requested").into_bytes()))
            .unwrap();
        db.execute("INSERT INTO token VALUES (1, ?2, 2, ?1)", (rid, &id)).unwrap();
        db.execute("INSERT INTO token VALUES (2, 'requested', 1, ?1)", [rid]).unwrap();
        db.execute("INSERT INTO reference VALUES (3, 'Patient/p', ?1)", [rid]).unwrap();
    }
    db.execute_batch("COMMIT").unwrap();
}

fn code(param: &str, code: &str) -> Clause {
    Clause::Token { param: param.into(), any_of: vec![TokenMatch { system: None, code: Some(code.into()) }] }
}

/// How many, or none while it is being indexed.
async fn count(store: &Store, clause: Clause) -> Option<u64> {
    let search = Search { clauses: vec![clause], ..Search::of("Task") };
    match store.count(&Filter::ALL, &search).await {
        Err(StoreError::Indexing) => None,
        counted => Some(counted.unwrap()),
    }
}

/// Asks until it is answered.
async fn answered(store: &Store, clause: Clause) -> u64 {
    loop {
        if let Some(count) = count(store, clause.clone()).await {
            return count;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_file_of_the_first_version_is_opened_and_indexed_anew() {
    let folder = Folder::new();
    old_file(&folder.database(), 200);
    let store = open_at(&folder.database());
    assert_eq!(answered(&store, code("intent", "order")).await, 200, "a parameter that it did not have");
    assert_eq!(answered(&store, code("status", "requested")).await, 200, "one that is kept elsewhere now");
    assert_eq!(answered(&store, code("identifier", "t7")).await, 1);
    let patient = Clause::Reference { param: "patient".into(), any_of: vec!["Patient/p".into()] };
    assert_eq!(answered(&store, patient).await, 200);
    drop(store);
    let db = Connection::open(folder.database()).unwrap();
    let left: i64 = db.query_row("SELECT count(*) FROM token WHERE code = 'requested'", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0, "old values are gone");
    let facets: i64 = db.query_row("SELECT count(*) FROM facet", [], |row| row.get(0)).unwrap();
    assert_eq!(facets, 1);
}

#[tokio::test]
async fn a_resource_is_found_by_its_identifier_by_writers_all_the_time() {
    let folder = Folder::new();
    old_file(&folder.database(), 3000);
    let store = open_at(&folder.database());
    // Writers look here, and must never believe that something is not there.
    for id in ["t1", "t1500", "t3000"] {
        let expect = Expect::NoIdentifier {
            resource_type: "Task".into(),
            system: "urn:s".into(),
            value: id.into(),
            filter: Filter::ALL,
        };
        let committed = store.commit(Commit { expect: vec![expect], ..Commit::default() }).await.unwrap();
        assert!(matches!(committed, Committed::Conflict(_)), "{id}");
    }
}

#[tokio::test]
async fn what_is_written_meanwhile_is_found_and_nothing_is_answered_in_part() {
    let folder = Folder::new();
    old_file(&folder.database(), 3000);
    let store = open_at(&folder.database());
    for n in 0..20 {
        let id = format!("t{}", 1 + n * 100);
        let body = body(&id, "accepted");
        let values = search::index(&serde_json::from_str(&body).unwrap());
        store.done(puts([Put { body: body.into(), index: values, ..put("Task", &id, 2) }])).await;
        let part = count(&store, code("intent", "order")).await;
        assert!(matches!(part, None | Some(3000)), "{part:?}");
    }
    assert_eq!(answered(&store, code("intent", "order")).await, 3000);
    assert_eq!(answered(&store, code("status", "accepted")).await, 20);
}

#[tokio::test]
async fn it_goes_on_where_it_was_when_the_program_is_started_again() {
    let folder = Folder::new();
    old_file(&folder.database(), 1000);
    {
        // As a kill in the middle leaves it: some are done, and the place is noted with them.
        let db = Connection::open(folder.database()).unwrap();
        super::super::migrate::migrate(&db).unwrap();
        super::super::reindex::prepare(&db).unwrap();
        let statements = super::super::statement::Statements::new(&db);
        let mut state = super::super::state::State::load(&db).unwrap();
        for _ in 0..3 {
            assert!(super::super::reindex::go_on(&statements, &mut state).unwrap());
        }
        let done: i64 = db.query_row("SELECT done FROM reindex", [], |row| row.get(0)).unwrap();
        assert_eq!(done, 192);
        // It must not begin again: then these would come back.
        db.execute("UPDATE resource SET facet = NULL WHERE rid = 1", []).unwrap();
    }
    let store = open_at(&folder.database());
    assert_eq!(answered(&store, code("intent", "order")).await, 999, "the first was done, and is not done again");
    drop(store);
    // Once done it stays done.
    let db = Connection::open(folder.database()).unwrap();
    super::super::reindex::prepare(&db).unwrap();
    assert!(!super::super::reindex::is_due(&db).unwrap());
}

#[tokio::test]
async fn a_parameter_that_changes_its_definition_is_made_anew_and_the_others_answer() {
    let folder = Folder::new();
    let store = open_at(&folder.database());
    let body = body("t1", "requested");
    let values = search::index(&serde_json::from_str(&body).unwrap());
    store.done(puts([Put { body: body.into(), index: values, ..put("Task", "t1", 1) }])).await;
    assert_eq!(count(&store, code("status", "requested")).await, Some(1), "a new file is ready at once");
    drop(store);
    let db = Connection::open(folder.database()).unwrap();
    db.execute("UPDATE param SET definition = 'other' WHERE type = 'Task' AND name = 'status'", []).unwrap();
    super::super::reindex::prepare(&db).unwrap();
    let ready = |name: &str| -> bool {
        db.query_row("SELECT ready FROM param WHERE type = 'Task' AND name = ?1", [name], |row| row.get(0)).unwrap()
    };
    assert!(!ready("status") && ready("intent"));
    drop(db);
    let store = open_at(&folder.database());
    assert_eq!(answered(&store, code("status", "requested")).await, 1);
}
