//! Time that does not count: the pauses of a wait, each minute of them once.

/// A pause. Times are milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    pub from: i64,
    /// `None`: until somebody ends it.
    pub until: Option<i64>,
}

/// A pause without an end, and a clock that never rings.
pub const FOREVER: i64 = i64::MAX;

/// When what began at `since` is paused, one after another; what lies before it does not count.
pub fn spans(since: i64, pauses: &[Pause]) -> Vec<(i64, i64)> {
    let clip = |p: &Pause| (p.from.max(since), p.until.unwrap_or(FOREVER));
    let mut all: Vec<(i64, i64)> = pauses.iter().map(clip).filter(|(from, until)| from < until).collect();
    all.sort_unstable();
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (from, until) in all {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(until),
            _ => merged.push((from, until)),
        }
    }
    merged
}

/// Until when it is paused at `now`: [`FOREVER`] where nobody has said, none where it is not.
pub fn held_until(since: i64, pauses: &[Pause], now: i64) -> Option<i64> {
    spans(since, pauses).into_iter().find(|(from, until)| *from <= now && now < *until).map(|(_, until)| until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_that_overlap_are_one_and_what_lies_before_the_wait_is_none() {
        let pause = |from, until| Pause { from, until };
        for (pauses, expected) in [
            (vec![], vec![]),
            (vec![pause(0, Some(50))], vec![]),
            (vec![pause(50, Some(110))], vec![(100, 110)]),
            (vec![pause(140, Some(150)), pause(120, Some(130))], vec![(120, 130), (140, 150)]),
            (vec![pause(120, Some(150)), pause(130, Some(140))], vec![(120, 150)]),
            (vec![pause(120, Some(150)), pause(150, Some(170))], vec![(120, 170)]),
            (vec![pause(120, Some(130)), pause(125, None)], vec![(120, FOREVER)]),
        ] {
            assert_eq!(spans(100, &pauses), expected, "{pauses:?}");
        }
        let pauses = [pause(120, Some(130)), pause(128, Some(140)), pause(150, None)];
        let held = [119, 120, 139, 140, 150].map(|now| held_until(100, &pauses, now));
        assert_eq!(held, [None, Some(140), Some(140), None, Some(FOREVER)]);
    }
}
