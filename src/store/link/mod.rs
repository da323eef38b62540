//! One person, several numbers: which Patient replaces which, and what a named person has said of a patient beside any document.
//!
//! Every row stays with the Patient of the number it came under. Whoever asks about a person asks for its `kin` too: the other
//! Patients of the same person, which the writer keeps from the links that stand (`settle`). So a link is in force everywhere
//! from its commit on, undoing it gives both back as they were, and of a person with one number nothing more is asked.

mod read;
mod settle;

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// `(SELECT …)`: a Patient and the others of the same person.
macro_rules! person {
    ($patient:literal) => {
        concat!("(SELECT ", $patient, " UNION ALL SELECT k.other FROM kin k WHERE k.patient = ", $patient, ")")
    };
}
pub(super) use person;
pub(super) use read::{changed_since, ids, kin};
pub(super) use settle::FORGET;

/// A link as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub id: Uuid,
    /// The id of the Patient of the number that is used no more.
    pub old: String,
    pub new: String,
    /// Whose staff made it.
    pub unit: String,
    pub made_at: DateTime<Utc>,
    /// The HSA-id of the person.
    pub made_by: String,
    pub reason: String,
    pub undone: Option<Undone>,
}

/// That a link was wrong: when that was said, by whom, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undone {
    pub at: DateTime<Utc>,
    pub by: String,
    pub reason: String,
}

/// What a named person says of a patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub id: Uuid,
    pub patient: String,
    pub what: Says,
    pub unit: String,
    pub by: String,
    pub reason: Option<String>,
    pub at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    Deceased,
    Alive,
    /// What the unit's documents said of a protected identity until then holds no more.
    Unprotected,
}

impl Says {
    pub fn code(self) -> &'static str {
        match self {
            Self::Deceased => "deceased",
            Self::Alive => "alive",
            Self::Unprotected => "unprotected",
        }
    }
}
