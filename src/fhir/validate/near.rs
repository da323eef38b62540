//! "Did you mean": the known name nearest to one that is not known.

/// The nearest of the names, if it is near enough to be a slip of the pen.
pub fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = written.to_lowercase();
    let allowed = (written.chars().count() / 3).clamp(1, 3);
    names
        .into_iter()
        .map(|name| (distance(&folded, &name.to_lowercase(), allowed), name))
        .filter(|(d, _)| *d <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// `menade du x?` and `did you mean x?`, or nothing.
pub fn hint(nearest: Option<&str>) -> (String, String) {
    nearest.map_or_else(Default::default, |n| (format!("; menade du {n}?"), format!("; did you mean {n}?")))
}

/// Letters to add, drop, change or swap; anything above `most` is `most + 1`.
fn distance(a: &str, b: &str, most: usize) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > most || a.len() > 64 {
        return most + 1;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let cell = |from: &[usize], at: usize| from.get(at).copied().unwrap_or(most + 1);
            let change = cell(&row, j) + usize::from(x != y);
            let mut best = change.min(cell(&row, j + 1) + 1).min(cell(&next, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(cell(&before, j - 1) + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(most + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let names = ["status", "subject", "reasonCode", "reasonReference"];
        assert_eq!(nearest("reasoncode", names), Some("reasonCode"));
        assert_eq!(nearest("resaonCode", names), Some("reasonCode"));
        assert_eq!(nearest("stauts", names), Some("status"));
        assert_eq!(nearest("bicycle", names), None);
        assert_eq!(nearest("", names), None);
    }
}
