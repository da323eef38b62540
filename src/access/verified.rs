//! Tokens that were verified are remembered for as long as nothing could have changed: checking a signature costs as much as
//! the rest of a read.

use std::collections::HashMap;
use std::sync::Mutex;

use sha2::{Digest, Sha256};

use super::token::Shown;

/// More tokens than this are not remembered at once: a partner that makes one for every request must not fill the memory.
const MOST: usize = 10_000;

/// SHA-256 of a token: what is in memory lets nobody in.
type Hash = [u8; 32];

/// What was found out about tokens, by their hash.
#[derive(Debug, Default)]
pub struct Verified {
    known: Mutex<HashMap<Hash, Known>>,
}

#[derive(Debug, Clone)]
struct Known {
    shown: Shown,
    /// The last second, since 1970, in which this holds.
    until: i64,
}

impl Verified {
    /// What the token says, if it was verified and that still holds.
    pub fn recall(&self, token: &str, now: i64) -> Option<Shown> {
        let known = self.known.lock().ok()?;
        known.get(&hash(token)).filter(|known| now <= known.until).map(|known| known.shown.clone())
    }

    /// Remembers it until then.
    pub fn remember(&self, token: &str, shown: &Shown, until: i64, now: i64) {
        let Ok(mut known) = self.known.lock() else { return };
        if known.len() >= MOST {
            known.retain(|_, known| now <= known.until);
        }
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(hash(token), Known { shown: shown.clone(), until });
    }
}

fn hash(token: &str) -> Hash {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(partner: &str) -> Shown {
        Shown { partner: partner.into(), unit: None, scope: None }
    }

    #[test]
    fn a_token_is_known_until_its_time_is_over_and_no_other_is() {
        let verified = Verified::default();
        verified.remember("a.b.c", &shown("north"), 100, 0);
        assert_eq!(verified.recall("a.b.c", 100).map(|s| s.partner).as_deref(), Some("north"));
        assert!(verified.recall("a.b.c", 101).is_none());
        assert!(verified.recall("a.b.d", 50).is_none());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let verified = Verified::default();
        for n in 0..=MOST {
            verified.remember(&format!("old {n}"), &shown("north"), 10, 0);
        }
        assert!(verified.known.lock().unwrap().len() <= MOST);
        verified.remember("new", &shown("north"), 1000, 11);
        for n in 0..MOST {
            verified.remember(&format!("newer {n}"), &shown("north"), 1000, 11);
        }
        assert!(verified.known.lock().unwrap().len() <= MOST);
        assert!(verified.recall(&format!("newer {}", MOST - 1), 11).is_some());
    }
}
