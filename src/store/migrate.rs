//! Brings a database file to the form this program knows, one numbered step at a time; a newer file is refused.

use rusqlite::Connection;

use super::StoreError;

/// Step n takes a file of version n to n + 1. A step that was released never changes.
const STEPS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_search.sql"),
    include_str!("migrations/0003_delivery.sql"),
    include_str!("migrations/0004_begun.sql"),
    include_str!("migrations/0005_audit.sql"),
    include_str!("migrations/0006_rights.sql"),
    include_str!("migrations/0007_statistics.sql"),
    include_str!("migrations/0008_export.sql"),
    include_str!("migrations/0009_assertion.sql"),
    include_str!("migrations/0010_block.sql"),
    include_str!("migrations/0018_information.sql"),
    include_str!("migrations/0015_clock.sql"),
    include_str!("migrations/0012_move.sql"),
    include_str!("migrations/0013_charge.sql"),
    include_str!("migrations/0014_subscription.sql"),
    include_str!("migrations/0011_closed.sql"),
    include_str!("migrations/0016_programme.sql"),
    include_str!("migrations/0024_dropped.sql"),
    include_str!("migrations/0022_reassessment.sql"),
    include_str!("migrations/0021_owner.sql"),
    include_str!("migrations/0019_link.sql"),
    include_str!("migrations/0023_area.sql"),
    include_str!("migrations/0020_counterpart.sql"),
];

/// Runs the steps that the file has not seen, each in its own transaction. Returns how many.
pub(super) fn migrate(connection: &Connection) -> Result<usize, StoreError> {
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    let found = known_version(connection)?;
    let missing = (1..=known).zip(STEPS).filter(|(version, _)| *version > found);
    let mut steps = 0;
    for (version, sql) in missing {
        let step = format!("BEGIN IMMEDIATE; {sql}; PRAGMA user_version = {version}; COMMIT;");
        if let Err(error) = connection.execute_batch(&step) {
            // The step's own error is the one to tell.
            let _ = connection.execute_batch("ROLLBACK");
            return Err(StoreError::Open(error));
        }
        steps += 1;
    }
    Ok(steps)
}

/// The version of the file; one that this program does not know is an error.
pub(super) fn known_version(connection: &Connection) -> Result<i64, StoreError> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(StoreError::Open)?;
    known(found)?;
    Ok(found)
}

/// Refuses the version of a newer program.
pub(super) fn known(found: i64) -> Result<(), StoreError> {
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    if (0..=known).contains(&found) { Ok(()) } else { Err(StoreError::TooNew { found, known }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(connection: &Connection) -> Vec<String> {
        let mut statement =
            connection.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn migrating_twice_is_migrating_once() {
        let connection = Connection::open_in_memory().unwrap();
        assert_eq!(migrate(&connection).unwrap(), STEPS.len());
        let first = schema(&connection);
        assert_eq!(migrate(&connection).unwrap(), 0);
        assert_eq!(schema(&connection), first);
    }

    #[test]
    fn a_file_from_a_newer_program_is_refused_and_left_as_it_is() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("PRAGMA user_version = 99").unwrap();
        assert!(matches!(migrate(&connection), Err(StoreError::TooNew { found: 99, known: _ })));
        assert!(schema(&connection).is_empty());
    }

    #[test]
    fn deliveries_of_an_older_file_keep_their_place_their_attempts_and_their_bytes() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("PRAGMA foreign_keys = ON").unwrap();
        let old = "BEGIN; 0001; PRAGMA user_version = 1; COMMIT;".replace("0001", STEPS[0]);
        connection.execute_batch(&old).unwrap();
        connection
            .execute_batch(
                "INSERT INTO exchange VALUES (zeroblob(16), 1, 'referral', 'json', 'o', 'd', 1, 0, 'p', 'waiting', 1, 1);
                 INSERT INTO delivery VALUES (7, zeroblob(16), zeroblob(16), 1, 'norr', 'u', 'p', 'transaction', 'waiting', 1,
                                              1, 10, 11, 12, NULL, x'0102');
                 INSERT INTO attempt VALUES (zeroblob(16), 1, 11, 'transient', 503, 'HTTP 503', 4);",
            )
            .unwrap();
        assert_eq!(migrate(&connection).unwrap(), STEPS.len() - 1);
        let kept =
            "SELECT seq || partner || head || due_at || urgent || hex(body) || ifnull(resend_of, '-') FROM delivery";
        let kept: String = connection.query_row(kept, [], |row| row.get(0)).unwrap();
        assert_eq!(kept, "7norr11200102-");
        let attempts = "SELECT count(*) FROM attempt a JOIN delivery d ON d.id = a.delivery";
        assert_eq!(connection.query_row(attempts, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
        let violations =
            connection.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |r| r.get::<_, i64>(0));
        assert_eq!(violations.unwrap(), 0);
        assert!(connection.execute_batch("UPDATE delivery SET body = x'03'").is_err(), "its bytes never change");
        assert!(connection.execute_batch("UPDATE attempt SET at = 1").is_err());
        assert!(!schema(&connection).iter().any(|sql| sql.contains("_anew") || sql.contains("_aside")));
    }

    #[test]
    fn rows_of_an_older_audit_log_are_found_by_their_patients_too() {
        let connection = Connection::open_in_memory().unwrap();
        for (version, sql) in (1..).zip(STEPS).take(4) {
            connection.execute_batch(&format!("BEGIN; {sql}; PRAGMA user_version = {version}; COMMIT;")).unwrap();
        }
        let exchange = "01a20034-c153-76ba-ac64-76e0e2cb8702";
        let blob = exchange.replace('-', "");
        let audit = |seq: i64, object: &str, payload: &str| {
            format!(
                "INSERT INTO audit VALUES (1, {seq}, {seq}, 'u', 'read', '{object}', {payload}, iif({payload} IS NULL, NULL, x'00'), zeroblob(32), zeroblob(32), zeroblob(32));"
            )
        };
        let rows = [
            audit(1, &format!("exchange/{exchange}/document"), "'null'"),
            audit(2, &format!("delivery/{exchange}"), "'{}'"),
            audit(3, "Task/t1/_history/2", "NULL"),
            audit(4, "Task", "'{\"shown\":[\"Task/t1/2\",\"Patient/p1/1\",7]}'"),
            audit(5, "database", "'no JSON'"),
        ];
        connection
            .execute_batch(&format!(
                "INSERT INTO exchange VALUES (x'{blob}', 1, 'referral', 'json', 'o', 'd', 1, 0, 'p1', 'waiting', 1, 1);
                 INSERT INTO delivery (seq, id, exchange, document_version, partner, unit, patient, action, state, head, attempts,
                                       created_at, due_at, urgent, body)
                   VALUES (7, x'{blob}', x'{blob}', 1, 'norr', 'u', 'p1', 'transaction', 'waiting', 1, 0, 10, 12, 0, x'01');
                 INSERT INTO resource (type, id, version, seq, updated_at, patient)
                   VALUES ('Task', 't1', 2, 1, 1, 'p1'), ('Patient', 'p1', 1, 2, 1, NULL);
                 {}",
                rows.concat()
            ))
            .unwrap();
        assert_eq!(migrate(&connection).unwrap(), STEPS.len() - 4);
        let found = |sql: &str| -> Vec<i64> {
            let mut statement = connection.prepare(sql).unwrap();
            statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
        };
        assert_eq!(found("SELECT seq FROM audit_about WHERE about = 'Patient/p1' ORDER BY seq"), [1, 2, 3, 4]);
        assert_eq!(found("SELECT seq FROM audit_about WHERE about = 'agent/u' ORDER BY seq"), [1, 2, 3, 4, 5]);
        assert_eq!(found("SELECT seq FROM audit WHERE about = 'Patient/p1' AND form = 1 ORDER BY seq"), [1, 2, 3, 4]);
        assert!(connection.execute("DELETE FROM audit_about", []).is_err());
        assert!(connection.execute("UPDATE audit SET about = ''", []).is_err());
    }
}
