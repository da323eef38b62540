//! The audit chain: any change of a row shows, an erased payload does not break it.

use rusqlite::Connection;

use super::*;

const LET_CHANGE: &str = "DROP TRIGGER audit_stays; DROP TRIGGER audit_is_kept; DROP TRIGGER audit_about_is_kept;";

/// A log of three rows in a file, to be changed behind the store's back.
async fn log_of_three() -> Folder {
    let folder = Folder::new();
    let store = open_at(&folder.database());
    store.done(Commit { audit: vec![audit("submit"), audit("deliver")], ..Commit::default() }).await;
    store.done(Commit { audit: vec![audit("read")], ..Commit::default() }).await;
    folder
}

async fn verified_after(sql: &str) -> Result<u64, StoreError> {
    let folder = log_of_three().await;
    Connection::open(folder.database()).unwrap().execute_batch(&format!("{LET_CHANGE} {sql}")).unwrap();
    open_at(&folder.database()).verify_audit().await
}

#[tokio::test]
async fn an_untouched_chain_holds_and_counts_its_rows() {
    assert_eq!(verified_after("").await.unwrap(), 3);
}

#[tokio::test]
async fn every_changed_column_shows() {
    for column in [
        "at = at + 1",
        "actor = 'someone else'",
        "action = 'cancel'",
        "object = 'exchange/2'",
        "payload = '{}'",
        "salt = zeroblob(16)",
        "payload_hash = zeroblob(32)",
        "prev_hash = zeroblob(32)",
        "hash = zeroblob(32)",
        "seq = 7",
        "actor = action, action = actor",
        "form = 1",
        "outcome = 8",
        "about = 'agent/x'",
        "about = 'Patient/another'",
    ] {
        let verified = verified_after(&format!("UPDATE audit SET {column} WHERE seq = 2")).await;
        assert!(matches!(verified, Err(StoreError::Corrupt(_))), "{column}: {verified:?}");
    }
}

#[tokio::test]
async fn a_row_taken_out_or_put_in_shows() {
    for sql in [
        "DELETE FROM audit WHERE seq = 2",
        "DELETE FROM audit WHERE seq = 1",
        "INSERT INTO audit SELECT chain, 4, at, actor, action, object, payload, salt, payload_hash, prev_hash, hash, form, outcome,
                                  about FROM audit WHERE seq = 3",
    ] {
        assert!(matches!(verified_after(sql).await, Err(StoreError::Corrupt(_))), "{sql}");
    }
}

#[tokio::test]
async fn a_payload_can_be_erased_and_the_chain_still_holds() {
    let folder = log_of_three().await;
    let raw = Connection::open(folder.database()).unwrap();
    raw.execute("UPDATE audit SET payload = NULL, salt = NULL WHERE seq = 2", []).unwrap();
    drop(raw);
    assert_eq!(open_at(&folder.database()).verify_audit().await.unwrap(), 3);
}

#[tokio::test]
async fn the_database_itself_refuses_to_change_or_delete_a_row() {
    let folder = log_of_three().await;
    let raw = Connection::open(folder.database()).unwrap();
    for sql in [
        "UPDATE audit SET actor = 'x' WHERE seq = 1",
        "UPDATE audit SET payload = '{}' WHERE seq = 1",
        "UPDATE audit SET payload = NULL, salt = NULL, actor = 'x' WHERE seq = 1",
        "DELETE FROM audit WHERE seq = 3",
    ] {
        assert!(raw.execute(sql, []).is_err(), "{sql}");
    }
}

#[tokio::test]
async fn equal_payloads_have_unequal_hashes() {
    let folder = log_of_three().await;
    let raw = Connection::open(folder.database()).unwrap();
    let count: i64 = raw.query_row("SELECT count(DISTINCT payload_hash) FROM audit", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 3, "whoever guesses a payload cannot check the guess by its hash alone");
}

#[tokio::test]
async fn a_chain_longer_than_one_step_is_walked_to_its_end() {
    let store = Store::open_temporary().unwrap();
    store.done(Commit { audit: vec![audit("read"); 2500], ..Commit::default() }).await;
    assert_eq!(store.verify_audit().await.unwrap(), 2500);
}

/// What a row says of an exchange, a resource or a delivery is enough to know whose it is.
#[tokio::test]
async fn a_row_is_found_by_its_patient_however_it_names_what_it_is_about() {
    let store = Store::open_temporary().unwrap();
    let one = exchange("d1");
    let sent = delivery(one.id, "norr", "p1");
    let row = |object: String, payload: &str| Audit { object, payload: payload.into(), ..audit("read") };
    store
        .done(Commit {
            put: vec![patient("p1", "195009072553"), Put { patient: Some("p1".into()), ..put("Task", "t1", 1) }],
            exchanges: vec![one.clone()],
            deliveries: vec![sent.clone()],
            audit: vec![
                row(format!("exchange/{}/document", one.id), "{}"),
                row(format!("delivery/{}", sent.id), r#"{"unit":"SE1-E1","outcome":4}"#),
                row("Task/t1/_history/1".into(), "null"),
                row("Task".into(), r#"{"shown":["Task/t1/1","Patient/p1/1"]}"#),
                row("Patient/p1".into(), "{}"),
                row("anything".into(), r#"{"patients":["p1","p2"]}"#),
                row("exchange".into(), &format!(r#"{{"exchange":"{}"}}"#, one.id)),
                row("Task/t1".into(), r#"{"patients":[]}"#),
                row("Task/unknown".into(), "{}"),
            ],
            ..Commit::default()
        })
        .await;
    let of = |id: &str| AuditQuery { patient: Some(id.into()), limit: 20, ..AuditQuery::default() };
    let seqs = |rows: Vec<crate::domain::audit::Record>| rows.iter().map(|row| row.seq).collect::<Vec<_>>();
    assert_eq!(seqs(store.audit_rows(&Filter::ALL, &of("p1")).await.unwrap()), [7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(seqs(store.audit_rows(&Filter::ALL, &of("p2")).await.unwrap()), [6]);
    let agent = AuditQuery { agent: Some("SE1-E1".into()), limit: 20, ..AuditQuery::default() };
    assert_eq!(seqs(store.audit_rows(&Filter::ALL, &agent).await.unwrap()), [2], "who got it");
    let agent =
        AuditQuery { agent: Some(ASKER.into()), limit: 3, before: Some((at(0).timestamp_millis(), 5)), ..agent };
    assert_eq!(seqs(store.audit_rows(&Filter::ALL, &agent).await.unwrap()), [4, 3, 2], "who did it, page after page");
    let failed = AuditQuery { failed: true, limit: 20, ..AuditQuery::default() };
    assert_eq!(seqs(store.audit_rows(&Filter::ALL, &failed).await.unwrap()), [2]);
    let never = AuditQuery { until: Some(at(0)), limit: 20, ..AuditQuery::default() };
    assert!(store.audit_rows(&Filter::ALL, &never).await.unwrap().is_empty());
    let since = AuditQuery { from: Some(at(0)), limit: 20, ..AuditQuery::default() };
    assert_eq!(store.audit_rows(&Filter::ALL, &since).await.unwrap().len(), 9);
    assert!(store.audit_rows(&units(&[ASKER]), &of("p1")).await.unwrap().is_empty(), "the log is for its operators");
    assert!(store.audit_row(&units(&[ASKER]), 1).await.unwrap().is_none());
    assert_eq!(store.audit_row(&Filter::ALL, 9).await.unwrap().unwrap().object, "Task/unknown");
    assert_eq!(store.verify_audit().await.unwrap(), 9);
}

fn old(action: &str) -> Audit {
    Audit { at: at(0) - chrono::Duration::days(6 * 366), ..audit(action) }
}

fn checkpoint(kind: CheckpointKind, head: ChainHead, number: i64) -> Checkpoint {
    Checkpoint { number, kind, seq: head.seq, hash: head.hash, at: at(0), token: "a.b.c".into() }
}

#[tokio::test]
async fn old_rows_leave_from_the_oldest_end_behind_a_checkpoint_and_the_rest_still_verifies() {
    let folder = Folder::new();
    let store = open_at(&folder.database());
    store
        .done(Commit { audit: vec![old("submit"), old("read"), audit("read"), old("late")], ..Commit::default() })
        .await;
    let last = store.leaving(at(0), 100).await.unwrap().unwrap();
    assert_eq!(last.seq, 2, "what is younger stays, and so does all behind it");
    let prune = Prune { through: 2, most: 100 };
    let without = store.commit(Commit { prune: Some(prune), ..Commit::default() }).await;
    assert!(matches!(without, Err(StoreError::Refused(_))), "without a checkpoint: {without:?}");
    let beyond = Prune { through: 3, most: 100 };
    let signed = Some(checkpoint(CheckpointKind::Prune, store.audit_head().await.unwrap(), 1));
    let young = store.commit(Commit { checkpoint: signed, prune: Some(beyond), ..Commit::default() }).await;
    assert!(matches!(young, Err(StoreError::Refused(_))), "too young: {young:?}");
    let signed = Some(checkpoint(CheckpointKind::Prune, last, 1));
    store.done(Commit { checkpoint: signed, prune: Some(prune), ..Commit::default() }).await;
    assert_eq!(store.verify_audit().await.unwrap(), 2);
    let mine = AuditQuery { agent: Some(ASKER.into()), limit: 9, ..AuditQuery::default() };
    assert_eq!(store.audit_rows(&Filter::ALL, &mine).await.unwrap().len(), 2);
    drop(store);
    let raw = Connection::open(folder.database()).unwrap();
    let about: i64 = raw.query_row("SELECT count(*) FROM audit_about", [], |row| row.get(0)).unwrap();
    assert_eq!(about, 0, "what left is not found any more, and no block is full");
    assert!(raw.execute("DELETE FROM audit WHERE seq = 4", []).is_err(), "old, but not the oldest");
    assert!(raw.execute("DELETE FROM audit_checkpoint", []).is_err());
    assert!(raw.execute("UPDATE audit_checkpoint SET token = 'x.y.z'", []).is_err());
    raw.execute_batch(&format!("{LET_CHANGE} DELETE FROM audit WHERE seq = 3")).unwrap();
    drop(raw);
    assert!(open_at(&folder.database()).verify_audit().await.is_err(), "one more was taken");
}

#[tokio::test]
async fn a_checkpoint_is_of_a_row_that_is_there() {
    let store = Store::open_temporary().unwrap();
    store.done(Commit { audit: vec![audit("read")], ..Commit::default() }).await;
    let wrong = ChainHead { seq: 1, hash: [7; 32] };
    let made = Some(checkpoint(CheckpointKind::Regular, wrong, 1));
    assert!(matches!(
        store.commit(Commit { checkpoint: made, ..Commit::default() }).await,
        Err(StoreError::Refused(_))
    ));
    let made = checkpoint(CheckpointKind::Regular, store.audit_head().await.unwrap(), 1);
    store.done(Commit { checkpoint: Some(made.clone()), ..Commit::default() }).await;
    assert_eq!(store.last_checkpoint().await.unwrap(), Some(made.clone()));
    assert_eq!(store.checkpoints(0).await.unwrap(), [made]);
}

#[tokio::test]
async fn every_way_of_tampering_is_told_with_its_row() {
    let tampered = async |sql: &str, mark: Option<(i64, [u8; 32])>| {
        let folder = log_of_three().await;
        Connection::open(folder.database()).unwrap().execute_batch(&format!("{LET_CHANGE} {sql}")).unwrap();
        let marks: Vec<Mark> = mark.into_iter().map(|(seq, hash)| Mark { seq, hash }).collect();
        walk_file(&folder.database(), &marks, false, at(0)).unwrap().faults
    };
    assert_eq!(tampered("", None).await, []);
    assert_eq!(tampered("UPDATE audit SET actor = 'x' WHERE seq = 2", None).await[0], Fault::Changed { seq: 2 });
    assert_eq!(tampered("UPDATE audit SET payload = 'x' WHERE seq = 2", None).await, [Fault::Payload { seq: 2 }]);
    // Not even what the database itself would refuse is beyond whoever has the file.
    let unheeded = |sql: &str| format!("PRAGMA ignore_check_constraints = ON; {sql}");
    for sql in
        ["UPDATE audit SET payload = 'x', salt = NULL WHERE seq = 2", "UPDATE audit SET salt = NULL WHERE seq = 2"]
    {
        assert_eq!(tampered(&unheeded(sql), None).await, [Fault::Payload { seq: 2 }], "{sql}");
    }
    let emptied = "UPDATE audit SET payload = NULL, salt = NULL WHERE seq = 2";
    assert_eq!(
        tampered(emptied, None).await,
        [Fault::Emptied { seq: 2 }],
        "no rule lets a young row lose what it said"
    );
    for place in ["1, -5", "2, 1"] {
        let put_in = format!(
            "INSERT INTO audit SELECT {place}, at, actor, action, object, payload, salt, payload_hash, prev_hash, hash, form, \
             outcome, about FROM audit WHERE seq = 3"
        );
        assert!(matches!(tampered(&unheeded(&put_in), None).await[..], [Fault::Beside { .. }]), "{place}");
    }
    assert_eq!(tampered("DELETE FROM audit WHERE seq = 2", None).await, [Fault::Missing { from: 2, to: 2 }]);
    assert_eq!(tampered("DELETE FROM audit WHERE seq = 1", None).await, [Fault::Missing { from: 1, to: 1 }]);
    let exchanged = "UPDATE audit SET seq = 9 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 3; \
                     UPDATE audit SET seq = 3 WHERE seq = 9";
    assert!(tampered(exchanged, None).await.contains(&Fault::Unlinked { seq: 2 }));
    assert_eq!(tampered("UPDATE audit SET payload_hash = randomblob(32) WHERE seq = 3", None).await.len(), 2);
    let cut = "DELETE FROM audit WHERE seq = 3";
    assert_eq!(tampered(cut, None).await, [], "nothing in the file itself shows that its end was cut off");
    assert_eq!(tampered(cut, Some((3, [1; 32]))).await, [Fault::CutOff { head: 2, seq: 3 }]);
    assert_eq!(tampered("", Some((2, [1; 32]))).await, [Fault::Contradicted { seq: 2 }]);
}

#[tokio::test]
async fn a_patients_rows_are_found_in_full_blocks_and_behind_them_and_an_entry_taken_out_shows() {
    let folder = Folder::new();
    let store = open_at(&folder.database());
    let row = |n: i64| Audit {
        payload: format!(r#"{{"patients":["p{}"]}}"#, n % 100),
        at: at(0) + chrono::Duration::milliseconds(if n == 1030 { 5 } else { n }),
        ..audit("read")
    };
    store.done(Commit { audit: (1..=1100).map(row).collect(), ..Commit::default() }).await;
    let mut query = AuditQuery { patient: Some("p30".into()), limit: 4, ..AuditQuery::default() };
    let mut found = Vec::new();
    loop {
        let rows = store.audit_rows(&Filter::ALL, &query).await.unwrap();
        let Some(last) = rows.last() else { break };
        query.before = Some((last.at.timestamp_millis(), last.seq));
        found.extend(rows.iter().map(|row| row.seq));
    }
    assert_eq!(found, [930, 830, 730, 630, 530, 430, 330, 230, 130, 30, 1030], "by time, wherever they stand");
    assert_eq!(store.verify_audit().await.unwrap(), 1100);
    drop(store);
    let raw = Connection::open(folder.database()).unwrap();
    raw.execute_batch(&format!(
        "INSERT INTO audit_about VALUES ('Patient/p30', {}, 731)",
        at(0).timestamp_millis() + 731
    ))
    .unwrap();
    drop(raw);
    let store = open_at(&folder.database());
    let all = AuditQuery { patient: Some("p30".into()), limit: 99, ..AuditQuery::default() };
    let of_p30 = store.audit_rows(&Filter::ALL, &all).await.unwrap();
    assert!(
        of_p30.iter().all(|row| row.patients == ["p30"]),
        "an entry that was put in shows no patient another's row"
    );
    drop(store);
    let raw = Connection::open(folder.database()).unwrap();
    raw.execute_batch(&format!("{LET_CHANGE} DELETE FROM audit_about WHERE seq = 730 AND about LIKE 'Patient/%'"))
        .unwrap();
    let faults = walk_file(&folder.database(), &[], false, at(0)).unwrap().faults;
    assert_eq!(faults, [Fault::Unfound { seq: 730, name: "Patient/p30".into() }]);
}
