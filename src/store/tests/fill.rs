//! Facts that an older program did not make are made in the background: all of them, once, through a kill, and nothing is
//! answered in part meanwhile.

use rusqlite::Connection;

use super::*;

fn act(id: &str) -> Put {
    let body = format!(
        r#"{{"resourceType":"Procedure","id":"{id}","status":"completed","performedDateTime":"2026-03-02","code":{{"coding":[
            {{"system":"urn:oid:1.2.752.116.1.3.2.1.4","code":"DV143"}}]}}}}"#
    );
    Put { body: body.into(), ..put("Procedure", id, 1) }
}

async fn count(store: &Store) -> Result<u64, StoreError> {
    let day = "2026-03-02".parse().unwrap();
    let span = ActSpan { code: "DV143".into(), first: day, last: day };
    let question = ActQuestion { spans: vec![span], apart: Apart::default() };
    store.fold_acts(&Filter::ALL, question, 0, |all, row| *all += row.acts).await
}

/// A file with so many acts, as a program without facts left it.
async fn old_file(path: &Path, acts: usize) {
    let store = open_at(path);
    for some in (0..acts).collect::<Vec<_>>().chunks(200) {
        store.done(puts(some.iter().map(|n| act(&format!("a{n}"))))).await;
    }
    assert_eq!(count(&store).await.unwrap(), acts as u64);
    drop(store);
    let db = Connection::open(path).unwrap();
    db.execute_batch("DELETE FROM act; UPDATE fact_edition SET edition = 0").unwrap();
}

#[tokio::test]
async fn facts_of_a_database_from_before_are_made_and_nothing_is_answered_in_part() {
    let folder = Folder::new();
    old_file(&folder.database(), 1500).await;
    let store = open_at(&folder.database());
    loop {
        match count(&store).await {
            Err(StoreError::Indexing) => tokio::task::yield_now().await,
            counted => break assert_eq!(counted.unwrap(), 1500),
        }
    }
    store.done(puts([act("more")])).await;
    assert_eq!(count(&store).await.unwrap(), 1501);
}

#[tokio::test]
async fn it_goes_on_where_it_was_and_is_done_once() {
    let folder = Folder::new();
    old_file(&folder.database(), 600).await;
    let db = Connection::open(folder.database()).unwrap();
    super::super::fill::prepare(&db).unwrap();
    let statements = super::super::statement::Statements::new(&db);
    let mut state = super::super::state::State::load(&db).unwrap();
    for _ in 0..2 {
        assert!(super::super::fill::go_on(&statements, &mut state).unwrap());
    }
    let done: i64 = db.query_row("SELECT done FROM fact_fill", [], |row| row.get(0)).unwrap();
    assert_eq!(done, 256, "a kill here leaves the place with the work");
    // It must not begin again: then this one would come back.
    db.execute_batch("PRAGMA foreign_keys = ON; DELETE FROM act WHERE rid = 1").unwrap();
    drop(statements);
    drop(db);
    let store = open_at(&folder.database());
    while count(&store).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(count(&store).await.unwrap(), 599);
    drop(store);
    let db = Connection::open(folder.database()).unwrap();
    super::super::fill::prepare(&db).unwrap();
    assert!(!super::super::fill::is_due(&db).unwrap());
}
