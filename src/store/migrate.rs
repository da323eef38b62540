//! Brings a database file to the form this program knows, one numbered step at a time; a newer file is refused.

use rusqlite::Connection;

use super::StoreError;

/// Step n takes a file of version n to n + 1. A step that was released never changes.
const STEPS: [&str; 5] = [
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_search.sql"),
    include_str!("migrations/0003_delivery.sql"),
    include_str!("migrations/0004_begun.sql"),
    include_str!("migrations/0005_block.sql"),
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
}
