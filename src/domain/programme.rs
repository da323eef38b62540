//! The life of a programme for one patient: its stages, its steps, and the one table of which step leads where and whose it is.
//!
//! Kronoberg's guide says: a contact nurse starts it (ROL-4), may hand it over (ROL-5, under the heading ”Eventuell
//! överlämning”), the administrator accepts and appoints (ROL-6), the patient works with it (LIF-2) and evaluates it (LIF-3),
//! and it is closed and then purged (LIF-4, LIF-8). Which roles may take a step is data: the programme's PlanDefinition.
//!
//! Two readings of ours. The hand-over is optional, so [`Step::Begin`] leads from [`Stage::Started`] too. And between hand-over
//! and acceptance nobody says who is responsible: it is the unit that started, until the other has accepted ([`Side`]).

/// Where a programme stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    Started,
    HandedOver,
    Accepted,
    Appointed,
    Active,
    Evaluated,
    Closed,
    Purged,
}

impl Stage {
    pub const ALL: [Self; 8] = [
        Self::Started,
        Self::HandedOver,
        Self::Accepted,
        Self::Appointed,
        Self::Active,
        Self::Evaluated,
        Self::Closed,
        Self::Purged,
    ];

    pub fn code(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::HandedOver => "handed-over",
            Self::Accepted => "accepted",
            Self::Appointed => "appointed",
            Self::Active => "active",
            Self::Evaluated => "evaluated",
            Self::Closed => "closed",
            Self::Purged => "purged",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.code() == code)
    }

    /// Whether the patient still has it.
    pub fn is_open(self) -> bool {
        self < Self::Closed
    }
}

/// Something that is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    Start,
    HandOver,
    Decline,
    Accept,
    Appoint,
    Begin,
    /// The patient has begun or ended a module.
    Module,
    Message,
    /// The system that sends messages to patients says that one of the calendar went out: nobody's role takes it.
    Sent,
    CheckIn,
    /// The behandlare's act goes into the journal.
    Note,
    /// It was documented in a journal elsewhere that it started or ended.
    Documented,
    Evaluate,
    TreatmentStarted,
    Close,
    Purge,
}

impl Step {
    pub const ALL: [Self; 16] = [
        Self::Start,
        Self::HandOver,
        Self::Decline,
        Self::Accept,
        Self::Appoint,
        Self::Begin,
        Self::Module,
        Self::Message,
        Self::Sent,
        Self::CheckIn,
        Self::Note,
        Self::Documented,
        Self::Evaluate,
        Self::TreatmentStarted,
        Self::Close,
        Self::Purge,
    ];

    pub fn code(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::HandOver => "hand-over",
            Self::Decline => "decline",
            Self::Accept => "accept",
            Self::Appoint => "appoint",
            Self::Begin => "begin",
            Self::Module => "module",
            Self::Message => "message",
            Self::Sent => "sent",
            Self::CheckIn => "check-in",
            Self::Note => "note",
            Self::Documented => "documented",
            Self::Evaluate => "evaluate",
            Self::TreatmentStarted => "treatment-started",
            Self::Close => "close",
            Self::Purge => "purge",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.code() == code)
    }
}

/// Which unit a step is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The unit that started.
    Starter,
    /// The unit that it is handed over to.
    Receiver,
    /// The one that is responsible: the receiver from its acceptance on, until then the starter.
    Responsible,
    Either,
}

use Stage::{Accepted, Active, Appointed, Closed, Evaluated, HandedOver, Purged, Started};

/// Every way on: the step, from where, to where, and whose it is.
type Row = (Step, &'static [Stage], Option<Stage>, Side);

/// `None` as the target: it stays where it is.
const TABLE: [Row; 17] = [
    (Step::HandOver, &[Started], Some(HandedOver), Side::Starter),
    (Step::Decline, &[HandedOver], Some(Started), Side::Receiver),
    (Step::Accept, &[HandedOver], Some(Accepted), Side::Receiver),
    (Step::Appoint, &[Accepted], Some(Appointed), Side::Responsible),
    (Step::Appoint, &[Appointed, Active, Evaluated], None, Side::Responsible),
    (Step::Begin, &[Started, Appointed], Some(Active), Side::Responsible),
    (Step::Module, &[Active, Evaluated], None, Side::Responsible),
    (Step::Message, OPEN, None, Side::Either),
    (Step::Sent, OPEN, None, Side::Either),
    (Step::CheckIn, &[Active, Evaluated], None, Side::Responsible),
    (Step::Note, DOCUMENTED, None, Side::Either),
    (Step::Documented, EVER, None, Side::Either),
    (Step::Evaluate, &[Active], Some(Evaluated), Side::Responsible),
    (Step::TreatmentStarted, OPEN, None, Side::Either),
    (Step::Close, OPEN, Some(Closed), Side::Responsible),
    (Step::Purge, &[Closed], Some(Purged), Side::Responsible),
    (Step::Purge, &[Purged], None, Side::Responsible),
];

const OPEN: &[Stage] = &[Started, HandedOver, Accepted, Appointed, Active, Evaluated];
const DOCUMENTED: &[Stage] = &[Started, HandedOver, Accepted, Appointed, Active, Evaluated, Closed];
const EVER: &[Stage] = &Stage::ALL;

/// Where a step leads and whose it is; none where it cannot be taken now.
pub fn after(stage: Stage, step: Step) -> Option<(Stage, Side)> {
    let row = TABLE.iter().find(|(of, from, ..)| *of == step && from.contains(&stage))?;
    Some((row.2.unwrap_or(stage), row.3))
}

/// The steps that can be taken now.
pub fn open_steps(stage: Stage) -> impl Iterator<Item = Step> {
    Step::ALL.into_iter().filter(move |step| after(stage, *step).is_some())
}

/// Whether the receiver has taken over.
pub fn is_taken_over(stage: Stage, has_team: bool) -> bool {
    has_team && !matches!(stage, Started | HandedOver)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_way_of_the_guide_is_open_with_and_without_a_hand_over() {
        let walk = |steps: &[Step]| {
            let end = steps.iter().try_fold(Started, |stage, step| after(stage, *step).map(|(next, _)| next));
            end.unwrap_or_else(|| panic!("{steps:?}"))
        };
        let end = [Step::Begin, Step::Module, Step::Evaluate, Step::Close, Step::Purge];
        assert_eq!(walk(&end), Purged);
        assert_eq!(walk(&[&[Step::HandOver, Step::Accept, Step::Appoint][..], &end].concat()), Purged);
        assert_eq!(walk(&[Step::HandOver, Step::Decline, Step::HandOver]), HandedOver);
    }

    #[test]
    fn nothing_goes_on_after_the_end_but_what_the_journal_needs() {
        let open: Vec<Step> = open_steps(Closed).collect();
        assert_eq!(open, [Step::Note, Step::Documented, Step::Purge]);
        assert_eq!(open_steps(Purged).collect::<Vec<_>>(), [Step::Documented, Step::Purge]);
    }

    #[test]
    fn no_row_contradicts_another_and_every_stage_can_reach_the_end() {
        let mut seen = BTreeSet::new();
        for (step, from, to, _) in TABLE {
            for stage in from {
                assert!(seen.insert((step, *stage)), "{step:?} from {stage:?} stands twice");
                assert!(to.is_none_or(|to| to > *stage || step == Step::Decline), "{step:?} leads back");
            }
        }
        for stage in Stage::ALL {
            assert_eq!(Stage::parse(stage.code()), Some(stage));
            let mut reached = BTreeSet::from([stage]);
            for _ in 0..Stage::ALL.len() {
                let next: Vec<Stage> = reached
                    .iter()
                    .flat_map(|s| Step::ALL.into_iter().filter_map(|step| after(*s, step)))
                    .map(|(next, _)| next)
                    .collect();
                reached.extend(next);
            }
            assert!(reached.contains(&Purged), "{stage:?} never ends");
        }
    }

    #[test]
    fn responsibility_moves_when_the_receiver_accepts_and_not_before() {
        assert!(!is_taken_over(HandedOver, true) && is_taken_over(Accepted, true));
        assert!(!is_taken_over(Active, false), "where nothing was handed over the starter keeps it");
    }
}
