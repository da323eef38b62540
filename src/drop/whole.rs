//! When a file is whole: when nobody has written into it for a while. Who renames its files into the folder need not wait.

use std::collections::HashMap;
use std::ffi::OsString;
use std::time::{Duration, Instant, SystemTime};

/// How a file looks from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    pub name: OsString,
    pub bytes: u64,
    pub modified: Option<SystemTime>,
    pub inode: u64,
}

/// Since when each file has looked as it does.
#[derive(Debug, Default)]
pub struct Settling {
    seen: HashMap<OsString, (Look, Instant)>,
}

impl Settling {
    /// The names of those that have not changed for `settled`, in the order given; what is not there any more is forgotten.
    pub fn whole(&mut self, looks: Vec<Look>, settled: Duration, now: Instant) -> Vec<OsString> {
        let mut before = std::mem::take(&mut self.seen);
        let mut whole = Vec::new();
        for look in looks {
            let since = before.remove(&look.name).filter(|(seen, _)| *seen == look).map_or(now, |(_, since)| since);
            if now.saturating_duration_since(since) >= settled {
                whole.push(look.name.clone());
            }
            self.seen.insert(look.name.clone(), (look, since));
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(bytes: u64) -> Look {
        Look { name: "a.json".into(), bytes, modified: Some(SystemTime::UNIX_EPOCH), inode: 1 }
    }

    #[test]
    fn a_file_is_whole_when_it_has_not_changed_for_long_enough() {
        let (mut settling, start, settled) = (Settling::default(), Instant::now(), Duration::from_secs(10));
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut ask = |look: Look, seconds| !settling.whole(vec![look], settled, at(seconds)).is_empty();
        assert!(!ask(look(10), 0));
        assert!(!ask(look(20), 9), "it grew");
        assert!(!ask(look(20), 18));
        assert!(!ask(Look { modified: None, ..look(20) }, 19), "it was written to");
        assert!(!ask(Look { modified: None, inode: 2, ..look(20) }, 29), "it is another file of that name");
        assert!(ask(Look { modified: None, inode: 2, ..look(20) }, 39));
    }

    #[test]
    fn a_file_that_is_renamed_into_the_folder_is_whole_at_once() {
        let whole = Settling::default().whole(vec![look(1)], Duration::ZERO, Instant::now());
        assert_eq!(whole, ["a.json"]);
    }

    #[test]
    fn a_file_that_was_away_begins_anew() {
        let (mut settling, start, settled) = (Settling::default(), Instant::now(), Duration::from_secs(1));
        settling.whole(vec![look(1)], settled, start);
        settling.whole(vec![], settled, start + settled);
        assert!(settling.whole(vec![look(1)], settled, start + settled * 2).is_empty());
    }
}
