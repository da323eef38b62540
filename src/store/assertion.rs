//! Which assertions a client has used: each once. What has expired goes with the writes that come after it, so that the table is
//! never larger than what its clients may use in five minutes.

use super::apply::{Refusal, Writing};
use super::record::Assertion;

pub(super) const USED: &str = "SELECT 1 FROM assertion WHERE client = ?1 AND jti = ?2";
/// Counted up to the bound and no further.
pub(super) const UNEXPIRED: &str =
    "SELECT count(*) AS count FROM (SELECT 1 FROM assertion WHERE client = ?1 AND expires_at >= ?2 LIMIT ?3)";
const INSERT: &str = "INSERT INTO assertion (client, jti, expires_at) VALUES (?1, ?2, ?3)";
const EXPIRED: &str = "DELETE FROM assertion WHERE (client, jti) IN \
                       (SELECT client, jti FROM assertion WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)";

/// Expired rows that one write takes away: more than it adds, so that they get fewer.
const SWEPT: u32 = 64;

impl Writing<'_, '_> {
    pub(super) fn put_assertion(&mut self, assertion: &Assertion) -> Result<(), Refusal> {
        self.statements.run(EXPIRED, (assertion.at.timestamp_millis(), SWEPT))?;
        let row = (&assertion.client, assertion.jti, assertion.expires_at.timestamp_millis());
        self.statements.run(INSERT, row)?;
        Ok(())
    }
}
