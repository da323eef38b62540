//! Groups: many commits share one transaction, and each stands or falls alone unless the disk refuses them all.

use super::*;

/// On the writer's connection: makes COMMIT itself fail, for as long as the triggers are there.
const BREAK_DISK: &str = "CREATE TEMP TABLE parent (id INTEGER PRIMARY KEY);
    CREATE TEMP TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
    CREATE TEMP TRIGGER broken_resource AFTER INSERT ON main.resource BEGIN INSERT INTO child VALUES (1); END;
    CREATE TEMP TRIGGER broken_heartbeat AFTER UPDATE ON main.heartbeat BEGIN INSERT INTO child VALUES (1); END;";
const MEND_DISK: &str = "DROP TRIGGER broken_resource; DROP TRIGGER broken_heartbeat;";

#[tokio::test]
async fn one_bad_member_falls_alone_and_the_rest_of_its_group_is_written() {
    let store = Store::open_temporary().unwrap();
    let release = store.hold_writer();
    let orphan = Commit { documents: vec![document(Uuid::now_v7(), 1)], ..puts([put("Goal", "bad", 1)]) };
    let stale = puts([put("Goal", "stale", 1), put("Goal", "stale", 7)]);
    let answers = [puts([put("Goal", "a", 1)]), orphan, stale, puts([put("Goal", "b", 1)])]
        .map(|commit| store.enqueue(commit).unwrap());
    drop(release);
    let mut outcomes = Vec::new();
    for answer in answers {
        outcomes.push(answer.await.unwrap());
    }
    assert!(matches!(outcomes[0], Ok(Committed::Done { seq: 1 })), "{outcomes:?}");
    assert!(matches!(outcomes[1], Err(StoreError::Refused(_))), "{outcomes:?}");
    assert!(matches!(outcomes[2], Ok(Committed::Conflict(_))), "{outcomes:?}");
    assert!(matches!(outcomes[3], Ok(Committed::Done { seq: 2 })), "{outcomes:?}");
    let page = store.search(&Filter::ALL, &Search::of("Goal")).await.unwrap();
    assert_eq!(page.matches.iter().map(|goal| goal.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(store.is_ready());
}

#[tokio::test]
async fn of_two_in_one_group_that_expect_the_same_only_the_first_is_written() {
    let store = Store::open_temporary().unwrap();
    let release = store.hold_writer();
    let fresh = |id: &str| Commit {
        expect: vec![Expect::FreshKey { caller: "syd".into(), key: "k".into() }],
        answer: Some(answer("syd", "k")),
        ..puts([put("Goal", id, 1)])
    };
    let (first, second) = (store.enqueue(fresh("a")).unwrap(), store.enqueue(fresh("b")).unwrap());
    drop(release);
    assert!(matches!(first.await.unwrap(), Ok(Committed::Done { .. })));
    assert!(matches!(second.await.unwrap(), Ok(Committed::Conflict(Expect::FreshKey { .. }))));
}

#[tokio::test]
async fn what_a_fallen_member_taught_the_writer_is_forgotten() {
    let store = Store::open_temporary().unwrap();
    let named = |id: &str| Put { index: vec![identifier("urn:new", id)], ..put("Goal", id, 1) };
    let orphan =
        Commit { documents: vec![document(Uuid::now_v7(), 1)], audit: vec![audit("submit")], ..puts([named("a")]) };
    assert!(matches!(store.commit(orphan).await, Err(StoreError::Refused(_))));
    store.done(Commit { audit: vec![audit("submit")], ..puts([named("b")]) }).await;
    assert_eq!(store.by_identifier(&Filter::ALL, "Goal", "urn:new", "b").await.unwrap().len(), 1);
    assert_eq!(store.verify_audit().await.unwrap(), 1);
}

#[tokio::test]
async fn a_failed_commit_fails_every_member_and_the_store_is_not_ready_until_the_disk_is() {
    let store = Store::open_temporary().unwrap();
    store.done(puts([put("Goal", "before", 1)])).await;
    store.on_writer(|connection| connection.execute_batch(BREAK_DISK).unwrap());
    let release = store.hold_writer();
    let members = ["a", "b"].map(|id| store.enqueue(puts([put("Goal", id, 1)])).unwrap());
    let conflict = store.enqueue(puts([put("Goal", "before", 5)])).unwrap();
    drop(release);
    for member in members {
        assert!(matches!(member.await.unwrap(), Err(StoreError::Commit(_))));
    }
    assert!(
        matches!(conflict.await.unwrap(), Err(StoreError::Commit(_))),
        "nobody is answered from a group that failed"
    );
    assert!(!store.is_ready());
    // Each question is an attempt; what comes after it in the queue is answered after it.
    let empty = store.commit(Commit::default()).await;
    assert!(matches!(empty, Err(StoreError::Commit(_))), "a commit of nothing proves nothing: {empty:?}");

    store.on_writer(|connection| connection.execute_batch(MEND_DISK).unwrap());
    assert!(!store.is_ready(), "nobody has tried yet");
    store.done(Commit::default()).await;
    assert!(store.is_ready());
    assert_eq!(store.done(puts([put("Goal", "a", 1)])).await, 2, "no seq was used up");
}

#[tokio::test]
async fn a_full_disk_rolls_back_the_group_and_nothing_else() {
    let store = Store::open_temporary().unwrap();
    store.done(puts([put("Goal", "before", 1)])).await;
    store.on_writer(|connection| {
        let _: i64 = connection.query_row("PRAGMA max_page_count = 1", [], |row| row.get(0)).unwrap();
    });
    let large = Put { body: vec![b' '; 1 << 20], ..put("Goal", "large", 1) };
    assert!(matches!(store.commit(puts([large])).await, Err(StoreError::Commit(_))));
    assert!(!store.is_ready());
    // Each question is an attempt; what comes after it in the queue is answered after it.
    let empty = store.commit(Commit::default()).await;
    assert!(matches!(empty, Err(StoreError::Commit(_))), "what needs no room proves nothing: {empty:?}");
    assert!(!store.is_ready());
    store.on_writer(|connection| {
        let _: i64 = connection.query_row("PRAGMA max_page_count = 1000000", [], |row| row.get(0)).unwrap();
    });
    store.done(puts([put("Goal", "after", 1)])).await;
    assert!(store.is_ready());
    let page = store.search(&Filter::ALL, &Search::of("Goal")).await.unwrap();
    assert_eq!(page.matches.iter().map(|goal| goal.id.as_str()).collect::<Vec<_>>(), ["before", "after"]);
}

#[tokio::test]
async fn a_full_queue_refuses_before_acceptance() {
    let folder = Folder::new();
    let store = Store::open(&folder.database(), Options { queue: 2, readers: 1, ..Options::default() }).unwrap();
    let release = store.hold_writer();
    let waiting = ["a", "b"].map(|id| store.enqueue(puts([put("Goal", id, 1)])).unwrap());
    assert!(matches!(store.commit(puts([put("Goal", "c", 1)])).await, Err(StoreError::Busy)));
    drop(release);
    for member in waiting {
        assert!(matches!(member.await.unwrap(), Ok(Committed::Done { .. })));
    }
    assert_eq!(store.resource(&Filter::ALL, "Goal", "c").await.unwrap(), None);
}

#[tokio::test]
async fn many_commits_at_once_are_all_written_in_one_order() {
    let store = Store::open_temporary().unwrap();
    let tasks: Vec<_> = (0..600)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.done(puts([put("Goal", &format!("g{n}"), 1)])).await })
        })
        .collect();
    let mut seqs = Vec::new();
    for task in tasks {
        seqs.push(task.await.unwrap());
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=600).collect::<Vec<i64>>());
}
