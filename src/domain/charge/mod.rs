//! Who has charge of an area of a patient's rehabilitation, at every moment: what a document and its answers say of it (one
//! table), the moves that follow from that, and what all moves together come to (one fold). Pure.
//!
//! Two principles carry it. Nobody gets responsibility without having said yes to it: a new version of a document can only take
//! back. Nobody loses responsibility without having given it away: whoever has it otherwise keeps it, and then it is shared
//! (RMR HS9766-305841775-381 3.0, GEN-03: ”kan ibland innebära ett gemensamt ansvar”). So an area is never lost between two.

mod book;
mod steps;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::task::Status;
pub use book::{Charge, charges, given};
pub use steps::steps;

/// What a document asks of whoever it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Errand {
    /// A referral after which the sender's responsibility does not remain.
    Takeover,
    /// A referral after which it remains, or that does not say.
    Consultation,
    ActiveHandover,
    /// A part in a SIP.
    Sip,
}

/// What the owner of a Task has made of an errand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It has said yes: the responsibility is its own.
    Yes,
    /// It is not, or no more, its own: whoever gave it has it.
    No,
    /// Nothing is decided: it stays where it is.
    Open,
}

/// Rows: the errand. Columns: where the Task stands, in the order of [`Status::ALL`].
/// `+` yes, `-` no, `.` nothing is decided, `c` yes where contact with the patient is confirmed.
/// What was accepted and is put on hold stays with who accepted it, until that unit says otherwise.
#[rustfmt::skip]
const ANSWERS: [(Errand, [char; 10]); 4] = [
    //                       req  rcv  hold acc  prog cmpl rej  fail canc err
    (Errand::Takeover,       ['.', '.', '.', '+', '+', '+', '-', '-', '-', '-']),
    (Errand::Consultation,   ['-', '-', '-', '-', '-', '-', '-', '-', '-', '-']),
    (Errand::ActiveHandover, ['.', '.', '.', '.', '.', 'c', '-', '-', '-', '-']),
    (Errand::Sip,            ['.', '.', '.', '+', '+', '+', '-', '-', '-', '-']),
];

/// What a Task that stands so says. `in_contact`: contact with the patient is confirmed.
pub fn answer(errand: Errand, status: Status, in_contact: bool) -> Answer {
    let row = ANSWERS.iter().find(|(row, _)| *row == errand).map(|(_, cells)| cells);
    let column = Status::ALL.iter().position(|s| *s == status);
    match row.zip(column).and_then(|(cells, column)| cells.get(column)) {
        Some('+') => Answer::Yes,
        Some('c') if in_contact => Answer::Yes,
        Some('-') => Answer::No,
        _ => Answer::Open,
    }
}

/// A unit's part in what a document is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub area: String,
    /// HSA-id in upper case, as everywhere here.
    pub unit: String,
    pub answer: Answer,
    /// The unit itself speaks in this commit: only then can it take anything.
    pub speaks: bool,
}

/// What a document and its answers say, as they stand after a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// It was entered in error: it never said anything.
    pub retracted: bool,
    pub sender: String,
    pub parts: Vec<Part>,
    /// Areas of which the sender says that the responsibility is its own until somebody takes it.
    pub states: Vec<String>,
    /// A statement that stands only as long as the version in force makes it (a plan's).
    pub states_lapse: bool,
    /// Who gives away what somebody takes: the sender, and whoever has agreed to the same SIP.
    pub givers: Vec<String>,
    /// What was given away by it and was the giver's own: `(area, unit)` ([`given`]).
    pub had: Vec<(String, String)>,
}

/// One thing that happened to the responsibility for an area. Moves are only added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The unit says that it has it. It counts where nobody is known to.
    States,
    /// What it stated does not stand any more.
    Lapses,
    /// The unit has said yes.
    Takes,
    /// The unit lets go to whoever took it.
    Gives,
    /// The unit has it no more: rejected, cancelled, or no longer asked.
    Returns,
    /// The unit gets back what it gave.
    Regains,
    /// The document was entered in error: nothing of it ever happened.
    Void,
}

impl Step {
    pub const ALL: [Self; 7] =
        [Self::States, Self::Lapses, Self::Takes, Self::Gives, Self::Returns, Self::Regains, Self::Void];

    pub fn code(self) -> &'static str {
        match self {
            Self::States => "states",
            Self::Lapses => "lapses",
            Self::Takes => "takes",
            Self::Gives => "gives",
            Self::Returns => "returns",
            Self::Regains => "regains",
            Self::Void => "void",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.code() == code)
    }
}

/// A step of one unit in one area, by one exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    pub id: Uuid,
    /// What it belongs to: the exchange, also when that was removed and is called by a name that nobody knows.
    pub origin: Uuid,
    /// The exchange, as long as it is kept.
    pub exchange: Option<Uuid>,
    pub at: DateTime<Utc>,
    pub step: Step,
    /// The Patient that it came under: a person may have several numbers.
    pub patient: String,
    /// Both are empty in [`Step::Void`].
    pub area: String,
    pub unit: String,
}
