//! A request that was not taken as a whole: how its areas, each with a Task of its own, and the whole hang together. Pure.

use super::business_status::BusinessStatus;
use super::task::Status::{self, Accepted, Cancelled, Completed, EnteredInError, Failed, InProgress, OnHold, Rejected};

/// Why a whole cannot stand where it is to stand, given its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discord {
    /// Every area was refused: then the whole is.
    NothingTaken,
    /// An area was taken: then the whole is not refused.
    SomethingTaken,
    /// It is completed when its areas are.
    StillOpen,
    /// Areas are decided when the request is: not before.
    TooEarly,
}

/// Whether a whole may stand there with these parts, those entered in error left out. Without parts it may stand anywhere.
pub fn agrees(whole: Status, parts: &[Status]) -> Result<(), Discord> {
    let taken = parts.iter().any(|part| *part != Rejected);
    match whole {
        _ if parts.is_empty() => Ok(()),
        Accepted | InProgress | OnHold if !taken => Err(Discord::NothingTaken),
        Completed if !taken => Err(Discord::NothingTaken),
        Completed if parts.iter().any(|part| !part.is_final()) => Err(Discord::StillOpen),
        Rejected if taken => Err(Discord::SomethingTaken),
        Status::Requested | Status::Received => Err(Discord::TooEarly),
        _ => Ok(()),
    }
}

/// Where an open part goes when the whole goes there by itself: it fails, is cancelled or retracted with it.
pub fn goes_along(whole: Status, part: Status) -> Option<Status> {
    let ends = matches!(whole, Failed | Cancelled | EnteredInError);
    match part {
        EnteredInError => None,
        _ if whole == EnteredInError => Some(EnteredInError),
        _ if ends && !part.is_final() => Some(whole),
        _ => None,
    }
}

/// What the whole says of itself when nothing else is said: that it is, or was, less than what was asked for.
pub fn told(whole: Status, parts: &[Status]) -> Option<BusinessStatus> {
    let refused = parts.contains(&Rejected);
    match whole {
        Accepted | InProgress | OnHold if refused => Some(BusinessStatus::PartlyAccepted),
        Completed if parts.iter().any(|part| *part != Completed) => Some(BusinessStatus::PartlyFulfilled),
        Failed | Cancelled if parts.contains(&Completed) => Some(BusinessStatus::PartlyFulfilled),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole × what its parts are: refused, open, done, refused and open, refused and done.
    #[test]
    fn a_whole_stands_only_where_its_parts_let_it() {
        use Discord::{NothingTaken, SomethingTaken, StillOpen, TooEarly};
        let parts: [&[Status]; 5] =
            [&[Rejected], &[Accepted], &[Completed], &[Rejected, InProgress], &[Rejected, Completed]];
        let expected = [
            (Accepted, [Err(NothingTaken), Ok(()), Ok(()), Ok(()), Ok(())]),
            (InProgress, [Err(NothingTaken), Ok(()), Ok(()), Ok(()), Ok(())]),
            (OnHold, [Err(NothingTaken), Ok(()), Ok(()), Ok(()), Ok(())]),
            (Completed, [Err(NothingTaken), Err(StillOpen), Ok(()), Err(StillOpen), Ok(())]),
            (Rejected, [Ok(()), Err(SomethingTaken), Err(SomethingTaken), Err(SomethingTaken), Err(SomethingTaken)]),
            (Failed, [Ok(()); 5]),
            (Cancelled, [Ok(()); 5]),
            (EnteredInError, [Ok(()); 5]),
            (Status::Requested, [Err(TooEarly); 5]),
            (Status::Received, [Err(TooEarly); 5]),
        ];
        for (whole, verdicts) in expected {
            for (parts, verdict) in parts.iter().zip(verdicts) {
                assert_eq!(agrees(whole, parts), verdict, "{whole} with {parts:?}");
            }
            assert_eq!(agrees(whole, &[]), Ok(()));
        }
    }

    #[test]
    fn open_parts_end_with_the_whole_and_what_is_done_or_refused_stays_so() {
        for whole in [Failed, Cancelled] {
            assert_eq!(goes_along(whole, InProgress), Some(whole));
            assert_eq!(goes_along(whole, Completed), None);
            assert_eq!(goes_along(whole, Rejected), None);
        }
        assert_eq!(goes_along(EnteredInError, Completed), Some(EnteredInError));
        assert_eq!(goes_along(EnteredInError, EnteredInError), None);
        assert_eq!(goes_along(Completed, InProgress), None, "it is not completed before they are");
    }

    #[test]
    fn the_whole_says_that_it_is_less_than_what_was_asked_for() {
        use BusinessStatus::{PartlyAccepted, PartlyFulfilled};
        assert_eq!(told(Accepted, &[Accepted, Rejected]), Some(PartlyAccepted));
        assert_eq!(told(Accepted, &[Accepted, InProgress]), None);
        assert_eq!(told(Completed, &[Completed, Rejected]), Some(PartlyFulfilled));
        assert_eq!(told(Completed, &[Completed, Failed]), Some(PartlyFulfilled));
        assert_eq!(told(Completed, &[Completed, Completed]), None);
        assert_eq!(told(Failed, &[Completed, Failed]), Some(PartlyFulfilled));
        assert_eq!(told(Failed, &[Failed, Failed]), None);
        assert_eq!(told(Rejected, &[Rejected]), None);
    }
}
