//! Closes a resource to somebody, and opens it again: who had it is told that it is to be erased, and gets it anew.

use super::super::apply::{Refusal, Writing};
use super::NOBODY;

const WITHHOLD: &str = "INSERT INTO withheld (rid, unit, seq) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
const HIDDEN: &str = "SELECT 1 FROM withheld WHERE rid = ?1 AND unit = ?2 AND hidden = 1";
const GIVE_UP: &str = "DELETE FROM withheld WHERE rid = ?1 AND unit = ?2";
const SHOW: &str = "INSERT INTO concern (rid, unit) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
const SIGHT: &str = "INSERT INTO sight (rid, unit, seq, gained) VALUES (?1, ?2, ?3, ?4)";
/// It stood before this commit, and was not let in by it.
const WAS_THERE: &str = "SELECT 1 FROM version v WHERE v.rid = ?1 AND v.seq <= ?3 AND NOT EXISTS (SELECT 1 FROM sight s \
     WHERE s.rid = ?1 AND s.unit = ?2 AND s.seq > ?3 AND s.gained = 1) LIMIT 1";

impl Writing<'_, '_> {
    /// `is_seen`: the unit was to see it, had there been no block.
    pub(super) fn shut(&mut self, rid: i64, who: &str, is_seen: bool) -> Result<(), Refusal> {
        // Of what somebody never had nothing is told to them, not even that it is to be erased.
        let seq = if self.was_had(rid, who, is_seen)? { self.state.next_seq() } else { 0 };
        self.statements.run(WITHHOLD, (rid, who, seq))?;
        if seq > 0 {
            self.statements.run(SIGHT, (rid, who, seq, false))?;
        }
        if who == NOBODY { self.withhold_from_registries(rid) } else { Ok(()) }
    }

    pub(super) fn reopen(&mut self, rid: i64, who: &str) -> Result<(), Refusal> {
        let is_hidden = self.statements.first(HIDDEN, (rid, who), |_| Ok::<_, Refusal>(()))?.is_some();
        self.statements.run(GIVE_UP, (rid, who))?;
        if is_hidden {
            return Ok(());
        }
        let seq = self.state.next_seq();
        self.statements.run(SIGHT, (rid, who, seq, true))?;
        if who == NOBODY {
            return self.give_back_to_registries(rid);
        }
        self.statements.run(SHOW, (rid, who))?;
        Ok(())
    }

    fn was_had(&self, rid: i64, who: &str, is_seen: bool) -> Result<bool, Refusal> {
        let is_open = is_seen || who == NOBODY;
        if !is_open || self.shown.iter().any(|(shown, unit)| (*shown, unit.as_str()) == (rid, who)) {
            return Ok(false);
        }
        Ok(self.statements.first(WAS_THERE, (rid, who, self.began), |_| Ok::<_, Refusal>(()))?.is_some())
    }
}
