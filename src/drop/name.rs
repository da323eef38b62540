//! What a file is called when we move it. Some exports have the patient's number in their names: that must not live on in folders
//! that nobody looks after, so such a file gets a name made of its content.

use std::ffi::OsStr;

use sha2::{Digest, Sha256};

use crate::domain::PersonId;

/// Ends of names that programs give to files they have not finished.
const UNFINISHED: [&str; 7] = [".tmp", ".temp", ".part", ".partial", ".filepart", ".crdownload", ".swp"];
/// What we put behind a name must fit too.
const MOST_LETTERS: usize = 180;

/// Whether it is nobody's export yet: hidden, or by its name unfinished.
pub fn is_unfinished(name: &OsStr) -> bool {
    let name = name.to_string_lossy().to_ascii_lowercase();
    name.starts_with('.') || name.ends_with('~') || UNFINISHED.iter().any(|end| name.ends_with(end))
}

/// Its own name where that is plain and says nobody's number, otherwise one made of its content.
pub fn kept(name: &OsStr, hash: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '=' | '@' | ' ');
    let own =
        name.to_str().filter(|name| name.len() <= MOST_LETTERS && name.chars().all(plain) && !names_somebody(name));
    own.map_or_else(|| format!("{hash}{}", end(name)), str::to_owned)
}

/// The first half of what its content hashes to: enough to tell files apart, in a log too.
pub fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// `.json` and the like, where it is one.
fn end(name: &OsStr) -> String {
    let end = std::path::Path::new(name).extension().and_then(OsStr::to_str);
    let is_plain = |end: &&str| end.len() <= 8 && end.chars().all(|c| c.is_ascii_alphabetic());
    end.filter(is_plain).map_or_else(String::new, |end| format!(".{}", end.to_ascii_lowercase()))
}

/// Whether somebody's number stands in the name, in whatever way it is written.
fn names_somebody(name: &str) -> bool {
    let is_number = |text: &str| PersonId::parse(text).is_ok();
    // Ten digits leave out the century.
    let is_somebody = |digits: &str| match digits.len() {
        10 => ["18", "19", "20"].iter().any(|century| is_number(&format!("{century}{digits}"))),
        _ => digits.as_bytes().windows(12).any(|twelve| std::str::from_utf8(twelve).is_ok_and(is_number)),
    };
    let runs: Vec<&str> = name.split(|c: char| !c.is_ascii_digit()).collect();
    // A date and the last four, with one sign between them.
    let apart = runs.windows(2).filter_map(|two| match two {
        [date, last] if matches!(date.len(), 6 | 8) && last.len() == 4 => Some(format!("{date}{last}")),
        _ => None,
    });
    // A reserve number has letters in it.
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    runs.iter().any(|run| is_somebody(run))
        || apart.into_iter().any(|digits| is_somebody(&digits))
        || words.any(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_name_stays_and_one_with_a_number_in_it_does_not() {
        let kept = |name: &str| kept(OsStr::new(name), "0011223344556677");
        assert_eq!(kept("plan-17.json"), "plan-17.json");
        assert_eq!(kept("export 2026-11-22.json"), "export 2026-11-22.json");
        for name in [
            "195009072553.json",
            "19500907-2553.json",
            "500907-2553.JSON",
            "plan_195009072553_v2.json",
            "plan195009072553v2.json",
            "2026112219500907255301.json",
            "plan-17-195009072553-2.json",
            "plan-17-19500907-2553.json",
            "plan 196109732393.json",
            "Ros Stöt.json",
            "a/b.json",
            "a\nb.json",
        ] {
            assert_eq!(kept(name), "0011223344556677.json", "{name}");
        }
        assert_eq!(kept("Ros Stöt"), "0011223344556677");
        assert_eq!(kept(&format!("{}.json", "a".repeat(300))), "0011223344556677.json");
    }

    #[test]
    fn what_is_not_finished_is_left_alone() {
        for name in [".hidden.json", "a.json.part", "a.TMP", "a.json.filepart", "a~"] {
            assert!(is_unfinished(OsStr::new(name)), "{name}");
        }
        assert!(!is_unfinished(OsStr::new("a.json")));
    }
}
