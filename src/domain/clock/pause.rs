//! Time that does not count: from the pauses of a wait to when it would have begun without them.

/// A pause. Times are milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    pub from: i64,
    /// `None`: until somebody ends it.
    pub until: Option<i64>,
}

/// When a wait began, as its clock counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Later than it began by as long as it was paused.
    pub from: i64,
    /// The end of its last pause; [`FOREVER`] where nobody has said.
    pub held_until: Option<i64>,
}

/// A pause without an end, and a clock that never rings.
pub const FOREVER: i64 = i64::MAX;

/// Pauses that overlap count once; what lies before the wait does not count at all.
pub fn counted(since: i64, pauses: &[Pause]) -> Counted {
    let clip = |p: &Pause| (p.from.max(since), p.until.unwrap_or(FOREVER));
    let mut spans: Vec<(i64, i64)> = pauses.iter().map(clip).filter(|(from, until)| from < until).collect();
    spans.sort_unstable();
    let (mut paused, mut end, mut held_until) = (0_i64, since, None);
    for (from, until) in spans {
        if until == FOREVER {
            held_until = Some(FOREVER);
            break;
        }
        paused = paused.saturating_add((until - from.max(end)).max(0));
        end = end.max(until);
        held_until = Some(end);
    }
    Counted { from: since.saturating_add(paused), held_until }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_paused_does_not_count_and_is_not_counted_twice() {
        let pause = |from, until| Pause { from, until };
        for (pauses, from, held_until) in [
            (vec![], 100, None),
            (vec![pause(0, Some(50))], 100, None),
            (vec![pause(50, Some(110))], 110, Some(110)),
            (vec![pause(120, Some(130)), pause(140, Some(150))], 120, Some(150)),
            (vec![pause(120, Some(150)), pause(130, Some(140))], 130, Some(150)),
            (vec![pause(120, Some(150)), pause(130, Some(170))], 150, Some(170)),
            (vec![pause(120, Some(130)), pause(140, None)], 110, Some(FOREVER)),
        ] {
            assert_eq!(counted(100, &pauses), Counted { from, held_until }, "{pauses:?}");
        }
    }
}
