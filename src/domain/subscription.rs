//! What a subscription is in, what it carries, and the one rule of event numbers. Pure.

/// How a subscription stands: the codes of R4's Subscription.status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// The endpoint has not answered the handshake yet.
    Requested,
    Active,
    /// Given up: it waits for its client.
    Error,
    /// Ended by its client, or by its time.
    Off,
}

impl Status {
    pub const ALL: [Self; 4] = [Self::Requested, Self::Active, Self::Error, Self::Off];

    pub fn code(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Active => "active",
            Self::Error => "error",
            Self::Off => "off",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }
}

/// How much of a resource a notification carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Payload {
    Empty,
    IdOnly,
    FullResource,
}

impl Payload {
    pub const ALL: [Self; 3] = [Self::Empty, Self::IdOnly, Self::FullResource];

    pub fn code(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::IdOnly => "id-only",
            Self::FullResource => "full-resource",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|payload| payload.code() == code)
    }
}

/// What numbers say now. A number whose event may not be seen any more says the next event that may: a gap would tell that
/// there was something, and that a change is told twice does nobody harm. Behind the last that may be seen there is nothing to say.
pub fn tell<E: Clone>(numbers: &[(i64, Option<E>)]) -> Vec<(i64, E)> {
    let mut said = Vec::with_capacity(numbers.len());
    let mut next: Option<&E> = None;
    for (number, event) in numbers.iter().rev() {
        next = event.as_ref().or(next);
        said.extend(next.map(|event| (*number, event.clone())));
    }
    said.reverse();
    said
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_that_is_hidden_says_the_next_that_is_not() {
        let numbers = [(4, None), (5, Some("b")), (6, None), (7, None), (8, Some("e")), (9, None)];
        assert_eq!(tell(&numbers), [(4, "b"), (5, "b"), (6, "e"), (7, "e"), (8, "e")]);
        assert_eq!(tell::<&str>(&[(1, None)]), []);
    }

    proptest! {
        #[test]
        fn what_is_told_has_no_gap_no_hidden_event_and_all_that_may_be_seen(seen in prop::collection::vec(any::<bool>(), 0..40)) {
            let numbers: Vec<(i64, Option<i64>)> =
                (1_i64..).zip(&seen).map(|(number, seen)| (number, seen.then_some(number))).collect();
            let told = tell(&numbers);
            prop_assert!(told.iter().map(|(number, _)| *number).eq(1..=told.len() as i64));
            prop_assert!(told.iter().all(|(number, event)| event >= number && numbers[*event as usize - 1].1.is_some()));
            for (number, _) in numbers.iter().filter(|(_, event)| event.is_some()) {
                prop_assert!(told.contains(&(*number, *number)));
            }
        }
    }

    #[test]
    fn every_word_is_read_as_it_is_written() {
        assert!(Status::ALL.iter().all(|s| Status::parse(s.code()) == Some(*s)));
        assert!(Payload::ALL.iter().all(|p| Payload::parse(p.code()) == Some(*p)));
    }
}
