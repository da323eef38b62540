//! Tokens that were verified are remembered for as long as nothing could have changed: checking a signature costs as much as
//! the rest of a read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use super::scope::Scope;

/// More tokens than this are not remembered at once: a partner that makes one for every request must not fill the memory.
const MOST: usize = 10_000;

/// SHA-256 of a token: what is in memory lets nobody in.
type Hash = [u8; 32];

/// What a verified token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// A partner with keys is a client by its name.
    pub client: String,
    /// The unit that the token is for, where it is for one.
    pub unit: Option<String>,
    /// `None`: everything within the client's reach.
    pub scopes: Option<Arc<[Scope]>>,
}

/// What was found out about tokens, by their hash.
#[derive(Debug, Default)]
pub struct Verified {
    known: Mutex<HashMap<Hash, Known>>,
    generation: AtomicU64,
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

    /// Counts how often everything was forgotten: what was verified before is not remembered after.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Remembers it until then, unless everything was forgotten since `generation`.
    pub fn remember(&self, token: &str, shown: &Shown, until: i64, now: i64, generation: u64) {
        let Ok(mut known) = self.known.lock() else { return };
        if generation != self.generation() {
            return;
        }
        if known.len() >= MOST {
            known.retain(|_, known| now <= known.until);
        }
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(hash(token), Known { shown: shown.clone(), until });
    }

    /// Every token has to be verified anew.
    pub fn forget(&self) {
        let Ok(mut known) = self.known.lock() else { return };
        self.generation.fetch_add(1, Ordering::AcqRel);
        known.clear();
    }
}

fn hash(token: &str) -> Hash {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(client: &str) -> Shown {
        Shown { client: client.into(), unit: None, scopes: None }
    }

    #[test]
    fn a_token_is_known_until_its_time_is_over_and_no_other_is() {
        let verified = Verified::default();
        verified.remember("a.b.c", &shown("north"), 100, 0, 0);
        assert_eq!(verified.recall("a.b.c", 100).map(|s| s.client).as_deref(), Some("north"));
        assert!(verified.recall("a.b.c", 101).is_none());
        assert!(verified.recall("a.b.d", 50).is_none());
    }

    #[test]
    fn what_was_verified_before_everything_was_forgotten_is_not_remembered_after() {
        let verified = Verified::default();
        verified.remember("a.b.c", &shown("north"), 100, 0, 0);
        let before = verified.generation();
        verified.forget();
        assert!(verified.recall("a.b.c", 50).is_none());
        verified.remember("a.b.c", &shown("north"), 100, 0, before);
        assert!(verified.recall("a.b.c", 50).is_none());
        verified.remember("a.b.c", &shown("north"), 100, 0, verified.generation());
        assert!(verified.recall("a.b.c", 50).is_some());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let verified = Verified::default();
        for n in 0..=MOST {
            verified.remember(&format!("old {n}"), &shown("north"), 10, 0, 0);
        }
        assert!(verified.known.lock().unwrap().len() <= MOST);
        verified.remember("new", &shown("north"), 1000, 11, 0);
        for n in 0..MOST {
            verified.remember(&format!("newer {n}"), &shown("north"), 1000, 11, 0);
        }
        assert!(verified.known.lock().unwrap().len() <= MOST);
        assert!(verified.recall(&format!("newer {}", MOST - 1), 11).is_some());
    }
}
