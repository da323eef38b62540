//! "Did you mean": the known word closest to one that is not known.

/// The closest of the known words, if any is close enough to be a slip of the pen.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: String = word.chars().take(MOST_LETTERS).flat_map(char::to_lowercase).collect();
    let letters = word.chars().count();
    let limit = (letters / 3).max(1) + usize::from(letters > 4);
    known
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(far, _)| *far <= limit)
        .min_by_key(|(far, _)| *far)
        .map(|(_, candidate)| candidate)
}

/// The known words closest to one, best first, whether close or not.
pub(super) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>, most: usize) -> Vec<&'a str> {
    let word: String = word.chars().take(MOST_LETTERS).flat_map(char::to_lowercase).collect();
    let mut all: Vec<_> = known.into_iter().map(|k| (distance(&word, &k.to_lowercase()), k)).collect();
    all.sort();
    all.into_iter().take(most).map(|(_, k)| k).collect()
}

/// ` (did you mean …?)` in Swedish and English, or nothing.
pub(super) fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> (String, String) {
    match nearest(word, known) {
        Some(near) => (format!(" Menade du \u{201d}{near}\u{201d}?"), format!(" Did you mean \u{201c}{near}\u{201d}?")),
        None => (String::new(), String::new()),
    }
}

/// Longer words are compared by their beginning: documents may hold anything.
const MOST_LETTERS: usize = 60;

/// Insertions, deletions, substitutions and swaps of neighbours needed to get from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(MOST_LETTERS).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    let mut last = None;
    for (i, x) in a.chars().take(MOST_LETTERS).enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], k: usize| row.get(k).copied().unwrap_or(usize::MAX - 1);
            let mut best = (at(&row, j) + usize::from(x != *y)).min(at(&row, j + 1) + 1).min(at(&next, j) + 1);
            if j > 0 && last == Some(*y) && b.get(j - 1) == Some(&x) {
                best = best.min(at(&before, j - 1) + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
        last = Some(x);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_understood_and_another_word_is_not() {
        let known = ["identifier", "status", "intent", "category"];
        assert_eq!(nearest("identifer", known), Some("identifier"));
        assert_eq!(nearest("stauts", known), Some("status"));
        assert_eq!(nearest("zebra", known), None);
        assert_eq!(nearest("kva", ["icd"]), None);
    }
}
