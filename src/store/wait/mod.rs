//! Waits in the store: what is waited for in each exchange, and when it is overdue.
//!
//! The writer derives them (`settle`) from the parties that a commit leaves behind, in that commit, with `domain::clock`: no path
//! that moves an exchange has to remember it, and a kill finds them as they are. When a wait ends, the Tasks that said it was
//! overdue are ended in the same commit. What is due next is an index, so looking costs what is found.

mod areas;
mod read;
mod rebuild;
mod settle;
mod told;
mod write;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::clock::pause::FOREVER;
use crate::domain::clock::{Priority, Sort, Step};

pub(super) use read::open_counts;
pub(super) use rebuild::rebuild;

/// A wait as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub exchange: Uuid,
    /// The unit that is asked; for what only the sender can do, the sender.
    pub unit: String,
    pub step: Step,
    /// The Task that asks to stop; the area, where one is waited for by itself; otherwise empty.
    pub subject: String,
    /// The id of the Task it is about.
    pub task: Option<String>,
    pub sender: String,
    pub sort: Sort,
    pub priority: Priority,
    pub since: DateTime<Utc>,
    /// When each level is reached, in milliseconds, by its own clock, which does not count pauses;
    /// [`FOREVER`] where a pause has no end.
    pub dues: Vec<i64>,
    /// The end of the pause it is in.
    pub held_until: Option<i64>,
    pub held_by: Option<HeldBy>,
    /// When it is overdue; [`FOREVER`] where it never is.
    pub due_at: i64,
    pub next_at: Option<i64>,
    /// The highest level that has been told.
    pub level: u8,
    /// Whether there is an open Task about it.
    pub has_item: bool,
}

impl Waiting {
    /// Whether its clock stands still at that time.
    pub fn is_held(&self, now: DateTime<Utc>) -> bool {
        self.held_until.is_some_and(|until| until > now.timestamp_millis())
    }

    /// When a level (the first is 1) is to be told: not while the clock is paused.
    pub fn due(&self, level: usize) -> i64 {
        let due = level.checked_sub(1).and_then(|index| self.dues.get(index)).copied().unwrap_or(FOREVER);
        due.max(self.held_until.unwrap_or(i64::MIN))
    }

    /// The area that is waited for, where it is one of several that are answered one by one.
    pub fn area(&self) -> Option<&str> {
        Some(self.subject.as_str()).filter(|area| self.step != Step::NoAbortAnswer && !area.is_empty())
    }

    pub fn is_overdue(&self, now: DateTime<Utc>) -> bool {
        self.due_at <= now.timestamp_millis()
    }
}

/// What holds a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldBy {
    Person,
    OnHold,
    Deceased,
}

impl HeldBy {
    pub const ALL: [Self; 3] = [Self::Person, Self::OnHold, Self::Deceased];

    pub fn code(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::OnHold => "on-hold",
            Self::Deceased => "deceased",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.code() == code)
    }
}

/// What a person does to the clocks of an exchange. What follows from it is settled in the same commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PauseChange {
    Begin {
        id: Uuid,
        exchange: Uuid,
        /// Only the clocks of this unit.
        unit: Option<String>,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
        /// The HSA-id of the person.
        by: String,
        reason: String,
    },
    End {
        id: Uuid,
        exchange: Uuid,
        at: DateTime<Utc>,
        by: String,
    },
}

/// A pause as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PauseRow {
    pub id: Uuid,
    pub unit: Option<String>,
    pub why: HeldBy,
    pub from: DateTime<Utc>,
    pub until: Option<DateTime<Utc>>,
    pub by: Option<String>,
    pub reason: Option<String>,
    pub ended_by: Option<String>,
}

/// That a wait is told to be overdue, or its patient to have died. The Tasks that tell it are put in the same commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raised {
    pub exchange: Uuid,
    pub unit: String,
    pub step: Step,
    pub subject: String,
    /// The wait as it was read: since when it runs, and what had been told. Otherwise nothing is written.
    pub since: DateTime<Utc>,
    pub before: u8,
    pub level: u8,
    /// It is about the death of the patient, and not about time.
    pub is_deceased: bool,
    pub at: DateTime<Utc>,
    /// Ids of the Tasks.
    pub tasks: Vec<String>,
}

/// The word for a Task about a death, in the place of a step.
pub const DECEASED: &str = "deceased";

/// A line of what was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escalated {
    pub unit: String,
    /// A step, or [`DECEASED`].
    pub step: String,
    pub level: u8,
    pub at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
}

/// Open waits that are alike, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCount {
    pub step: Step,
    pub level: u8,
    pub count: u32,
    /// Since when the oldest of them runs.
    pub oldest: DateTime<Utc>,
}

/// A question for open loops, the first due first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitQuery {
    pub filter: super::Filter,
    /// The unit that is asked, or that sent it.
    pub unit: Option<String>,
    pub step: Option<Step>,
    pub sort: Option<Sort>,
    /// One of these units is asked, or has sent it.
    pub among: Option<Vec<String>>,
    /// Only what is overdue at that time.
    pub overdue_at: Option<DateTime<Utc>>,
    pub limit: u32,
    /// Only those behind this one.
    pub after: Option<Place>,
}

/// The place of a wait in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub due_at: i64,
    pub exchange: Uuid,
    pub unit: String,
    pub step: Step,
    pub subject: String,
}

/// How many there are of a step, and how many of them are overdue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepCount {
    pub step: Step,
    pub open: u32,
    pub overdue: u32,
}
