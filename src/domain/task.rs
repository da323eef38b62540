//! The life of a Task: who may move it from which status to which. One table, read by every path that moves a Task.
//!
//! Statuses are R4's own (<http://hl7.org/fhir/R4/valueset-task-status.html>). The *placer* is the unit that asked, the
//! *filler* the unit that owns the Task. Whoever polls a partner may miss steps in between, so a filler may skip ahead.
//! From `accepted` on the placer cannot cancel: it asks (a Task with code `abort`), and the filler answers.

use std::fmt;

/// `Task.status`, in the order of a Task's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    Requested,
    Received,
    OnHold,
    Accepted,
    InProgress,
    Completed,
    Rejected,
    Failed,
    Cancelled,
    EnteredInError,
}

use Status::{
    Accepted, Cancelled, Completed, EnteredInError, Failed, InProgress, OnHold, Received, Rejected, Requested,
};

impl Status {
    pub const ALL: [Self; 10] =
        [Requested, Received, OnHold, Accepted, InProgress, Completed, Rejected, Failed, Cancelled, EnteredInError];

    pub fn code(self) -> &'static str {
        match self {
            Requested => "requested",
            Received => "received",
            OnHold => "on-hold",
            Accepted => "accepted",
            InProgress => "in-progress",
            Completed => "completed",
            Rejected => "rejected",
            Failed => "failed",
            Cancelled => "cancelled",
            EnteredInError => "entered-in-error",
        }
    }

    /// `ready` says no more than `accepted`, and `draft` is never shared; both are unknown here.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.code() == code)
    }

    /// Whether nothing more is expected of the filler.
    pub fn is_final(self) -> bool {
        matches!(self, Completed | Rejected | Failed | Cancelled | EnteredInError)
    }

    /// Whether the sender must be told why or with what: an answer text is required.
    pub fn needs_answer(self) -> bool {
        matches!(self, Completed | Rejected | Failed)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Which side moves the Task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Placer,
    Filler,
}

/// What the table says of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    /// Already there: nothing to do.
    Same,
    /// The other side may do this, this one may not.
    NotYours,
    Illegal,
}

/// Rows: from. Columns: to, in the order of [`Status::ALL`].
/// `=` already there, `F` the filler, `P` the placer, `.` nobody.
/// A placer's way back to `requested` is a newer version of its request; from `entered-in-error` too, where that asks a unit
/// again that an earlier version had left out.
#[rustfmt::skip]
const MOVES: [(Status, [char; 10]); 10] = [
    //                req  rcv  hold acc  prog cmpl rej  fail canc err
    (Requested,      ['=', 'F', 'F', 'F', 'F', 'F', 'F', '.', 'P', 'P']),
    (Received,       ['.', '=', 'F', 'F', 'F', 'F', 'F', '.', 'P', 'P']),
    (OnHold,         ['P', 'F', '=', 'F', 'F', 'F', 'F', 'F', 'F', 'P']),
    (Accepted,       ['.', '.', 'F', '=', 'F', 'F', '.', 'F', 'F', 'P']),
    (InProgress,     ['.', '.', 'F', '.', '=', 'F', '.', 'F', 'F', 'P']),
    (Completed,      ['.', '.', '.', '.', '.', '=', '.', '.', '.', 'P']),
    (Rejected,       ['P', '.', '.', '.', '.', '.', '=', '.', '.', 'P']),
    (Failed,         ['P', '.', '.', '.', '.', '.', '.', '=', '.', 'P']),
    (Cancelled,      ['P', '.', '.', '.', '.', '.', '.', '.', '=', 'P']),
    (EnteredInError, ['P', '.', '.', '.', '.', '.', '.', '.', '.', '=']),
];

/// Whether `role` may move a Task from one status to another.
pub fn verdict(from: Status, to: Status, role: Role) -> Verdict {
    let row = MOVES.iter().find(|(row, _)| *row == from).map(|(_, cells)| cells);
    let column = Status::ALL.iter().position(|s| *s == to);
    let cell = row.zip(column).and_then(|(cells, column)| cells.get(column)).copied();
    match (cell, role) {
        (Some('='), _) => Verdict::Same,
        (Some('F'), Role::Filler) | (Some('P'), Role::Placer) => Verdict::Allowed,
        (Some('F' | 'P'), _) => Verdict::NotYours,
        _ => Verdict::Illegal,
    }
}

/// The statuses `role` may move to from here, for an error text that helps.
pub fn moves(from: Status, role: Role) -> Vec<Status> {
    Status::ALL.into_iter().filter(|to| verdict(from, *to, role) == Verdict::Allowed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(from: Status, role: Role) -> String {
        moves(from, role).iter().map(|s| s.code()).collect::<Vec<_>>().join(" ")
    }

    /// Every cell, spelt out a second time in words: 10 × 10 × 2 verdicts.
    #[test]
    fn every_cell_of_the_table_is_as_the_design_says() {
        use Role::{Filler, Placer};
        let expected = [
            (Requested, Filler, "received on-hold accepted in-progress completed rejected"),
            (Requested, Placer, "cancelled entered-in-error"),
            (Received, Filler, "on-hold accepted in-progress completed rejected"),
            (Received, Placer, "cancelled entered-in-error"),
            (OnHold, Filler, "received accepted in-progress completed rejected failed cancelled"),
            (OnHold, Placer, "requested entered-in-error"),
            (Accepted, Filler, "on-hold in-progress completed failed cancelled"),
            (Accepted, Placer, "entered-in-error"),
            (InProgress, Filler, "on-hold completed failed cancelled"),
            (InProgress, Placer, "entered-in-error"),
            (Completed, Filler, ""),
            (Completed, Placer, "entered-in-error"),
            (Rejected, Filler, ""),
            (Rejected, Placer, "requested entered-in-error"),
            (Failed, Filler, ""),
            (Failed, Placer, "requested entered-in-error"),
            (Cancelled, Filler, ""),
            (Cancelled, Placer, "requested entered-in-error"),
            (EnteredInError, Filler, ""),
            (EnteredInError, Placer, "requested"),
        ];
        for (from, role, to) in expected {
            assert_eq!(all(from, role), to, "{from} by {role:?}");
        }
    }

    #[test]
    fn staying_is_never_a_move() {
        for status in Status::ALL {
            for role in [Role::Placer, Role::Filler] {
                assert_eq!(verdict(status, status, role), Verdict::Same);
            }
        }
    }

    #[test]
    fn a_placer_cannot_cancel_what_was_accepted() {
        assert_eq!(verdict(Accepted, Cancelled, Role::Placer), Verdict::NotYours);
        assert_eq!(verdict(Received, Cancelled, Role::Placer), Verdict::Allowed);
    }

    #[test]
    fn rows_stand_in_the_order_of_the_columns() {
        assert_eq!(MOVES.map(|(from, _)| from), Status::ALL);
    }
}
