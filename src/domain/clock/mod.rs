//! The clocks of the open loop: what is waited for, whose move it is, and when it is overdue. Pure: the time is a value.
//!
//! A *wait* is a step that somebody has not taken yet (`wait`). Rules say after how long it is overdue (`rules`), in hours, in
//! days, or in working days with Sweden's holidays (`after`, `holiday`); pauses are time that does not count (`pause`).

pub mod after;
pub mod holiday;
pub mod pause;
pub mod rules;
#[cfg(test)]
mod tests;
pub mod wait;

pub use after::After;
pub use pause::Pause;
pub use rules::{Clocks, MOST_LEVELS, Matter, Rule};
pub use wait::{Abort, Area, Standing, Taker, Wait, waits};

use super::Kind;

/// What somebody has not done yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// It has not come to the recipient: its system does not take it, or does not fetch it.
    NotDelivered,
    /// It waits for a person at the sender: a delivery, the activity that an add-on belongs to.
    Parked,
    /// A referral that nobody has got: its sender has not recorded the consultations (samråd) that must come first.
    NoConsultation,
    /// The recipient has it, and nobody there has acknowledged it.
    NoReceipt,
    /// Acknowledged, and neither accepted nor rejected.
    NoDecision,
    /// The recipient has asked something, and the sender has not answered.
    NoCompletion,
    /// An active handover is accepted, and there is no confirmed contact with the patient.
    NoContact,
    /// Accepted or in progress, and nothing has come back.
    NoOutcome,
    /// An area that the recipient does not take, or takes no more, while it has the others; nobody else has it either.
    NoTaker,
    /// A SIP whose meeting is not called.
    NotCalled,
    /// The sender asks to stop, and the owner has not answered.
    NoAbortAnswer,
}

impl Step {
    pub const ALL: [Self; 11] = [
        Self::NotDelivered,
        Self::Parked,
        Self::NoConsultation,
        Self::NoReceipt,
        Self::NoDecision,
        Self::NoCompletion,
        Self::NoContact,
        Self::NoOutcome,
        Self::NoTaker,
        Self::NotCalled,
        Self::NoAbortAnswer,
    ];

    /// The word in the rules, in the database, in the API and in our CodeSystem `overdue-step`.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotDelivered => "not-delivered",
            Self::Parked => "parked",
            Self::NoConsultation => "no-consultation",
            Self::NoReceipt => "no-receipt",
            Self::NoDecision => "no-decision",
            Self::NoCompletion => "no-completion",
            Self::NoContact => "no-contact",
            Self::NoOutcome => "no-outcome",
            Self::NoTaker => "no-taker",
            Self::NotCalled => "sip-not-called",
            Self::NoAbortAnswer => "no-abort-answer",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.code() == code)
    }

    /// Whose move it is, where the recipient's system is one that we send to (`is_pushed`) or one that reads from us.
    pub fn mover(self, is_pushed: bool) -> Mover {
        match self {
            // What we send goes on being tried: whoever runs the gateway sees to the partner.
            Self::NotDelivered if is_pushed => Mover::Gateway,
            Self::Parked | Self::NoConsultation | Self::NoCompletion | Self::NoTaker | Self::NotCalled => Mover::Sender,
            Self::NotDelivered
            | Self::NoReceipt
            | Self::NoDecision
            | Self::NoContact
            | Self::NoOutcome
            | Self::NoAbortAnswer => Mover::Unit,
        }
    }
}

/// Whose move it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mover {
    /// The unit that sent the document.
    Sender,
    /// The unit that is asked.
    Unit,
    /// Whoever runs the gateway.
    Gateway,
}

impl Mover {
    pub fn code(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Unit => "recipient",
            Self::Gateway => "operations",
        }
    }
}

/// What a document is to a clock: a handover is two things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sort {
    RehabPlan,
    Referral,
    Sip,
    Active,
    Activity,
}

impl Sort {
    pub const ALL: [Self; 5] = [Self::RehabPlan, Self::Referral, Self::Sip, Self::Active, Self::Activity];

    pub fn code(self) -> &'static str {
        match self {
            Self::RehabPlan => "rehab-plan",
            Self::Referral => "referral",
            Self::Sip => "sip",
            Self::Active => "active",
            Self::Activity => "activity",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sort| sort.code() == code)
    }

    /// A handover is a SIP where it is a plan (`has_plan`), otherwise an active handover.
    pub fn of(kind: Kind, has_plan: bool) -> Self {
        match kind {
            Kind::RehabPlan => Self::RehabPlan,
            Kind::Referral => Self::Referral,
            Kind::Handover if has_plan => Self::Sip,
            Kind::Handover => Self::Active,
            Kind::Activity => Self::Activity,
        }
    }
}

/// R4's request priorities, the slowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    #[default]
    Routine,
    Urgent,
    Asap,
    Stat,
}

impl Priority {
    pub const ALL: [Self; 4] = [Self::Routine, Self::Urgent, Self::Asap, Self::Stat];

    pub fn code(self) -> &'static str {
        match self {
            Self::Routine => "routine",
            Self::Urgent => "urgent",
            Self::Asap => "asap",
            Self::Stat => "stat",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.code() == code)
    }
}
