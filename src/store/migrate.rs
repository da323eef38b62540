//! Brings a database file to the form this program knows, one numbered step at a time; a newer file is refused.

use rusqlite::Connection;

use super::StoreError;

/// Step n takes a file of version n to n + 1. A step that was released never changes.
const STEPS: [&str; 1] = [include_str!("migrations/0001_first.sql")];

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
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(StoreError::Open)?;
    if (0..=known).contains(&found) { Ok(found) } else { Err(StoreError::TooNew { found, known }) }
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
        assert!(matches!(migrate(&connection), Err(StoreError::TooNew { found: 99, known: 1 })));
        assert!(schema(&connection).is_empty());
    }
}
