//! An exchange: everything that happens around one document, from its first version to the last answer.

use super::task;

/// How far the document has come with one recipient; the exchange itself stands where its slowest recipient stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Waits for a person (a delivery that cannot go on by itself), or for the main activity that an add-on belongs to.
    Parked,
    /// Committed here, not yet delivered.
    Waiting,
    /// The recipient's system has it.
    Delivered,
    Received,
    OnHold,
    Accepted,
    InProgress,
    /// Kept for the registries; nobody else is to have it.
    Recorded,
    Completed,
    Rejected,
    Failed,
    Cancelled,
    EnteredInError,
}

impl Stage {
    pub const ALL: [Self; 13] = [
        Self::Parked,
        Self::Waiting,
        Self::Delivered,
        Self::Received,
        Self::OnHold,
        Self::Accepted,
        Self::InProgress,
        Self::Recorded,
        Self::Completed,
        Self::Rejected,
        Self::Failed,
        Self::Cancelled,
        Self::EnteredInError,
    ];

    pub fn code(self) -> &'static str {
        match self {
            Self::Parked => "parked",
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Received => "received",
            Self::OnHold => "on-hold",
            Self::Accepted => "accepted",
            Self::InProgress => "in-progress",
            Self::Recorded => "recorded",
            Self::Completed => "completed",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::EnteredInError => "entered-in-error",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.code() == code)
    }

    /// The stage of a recipient whose Task stands at `status` and whose system has the document.
    pub fn of_task(status: task::Status) -> Self {
        match status {
            task::Status::Requested => Self::Delivered,
            task::Status::Received => Self::Received,
            task::Status::OnHold => Self::OnHold,
            task::Status::Accepted => Self::Accepted,
            task::Status::InProgress => Self::InProgress,
            task::Status::Completed => Self::Completed,
            task::Status::Rejected => Self::Rejected,
            task::Status::Failed => Self::Failed,
            task::Status::Cancelled => Self::Cancelled,
            task::Status::EnteredInError => Self::EnteredInError,
        }
    }

    /// The stage of a whole exchange: the least advanced of its recipients, `Recorded` where there is none.
    pub fn of_all(stages: impl IntoIterator<Item = Self>) -> Self {
        stages.into_iter().min().unwrap_or(Self::Recorded)
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

/// Why a unit is part of an exchange. Everyone here may see what the exchange carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PartyRole {
    /// Sent the document.
    Sender,
    /// Is asked to act, or gets the plan.
    Recipient,
    /// Takes part in a SIP.
    Participant,
}

impl PartyRole {
    pub const ALL: [Self; 3] = [Self::Sender, Self::Recipient, Self::Participant];

    pub fn code(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Recipient => "recipient",
            Self::Participant => "participant",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.code() == code)
    }
}
