//! The audit chain: any change of a row shows, an erased payload does not break it.

use rusqlite::Connection;

use super::*;

const LET_CHANGE: &str = "DROP TRIGGER audit_stays; DROP TRIGGER audit_is_kept;";

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
        "INSERT INTO audit SELECT chain, 4, at, actor, action, object, payload, salt, payload_hash, prev_hash, hash
         FROM audit WHERE seq = 3",
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
