//! Rows of bulk exports as plain values: jobs, their files, the patients they are about, and what is written of them.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// What an export is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportLevel {
    /// Everything.
    System,
    /// What is about patients.
    Patient,
    /// What is about the patients of a cohort.
    Group,
}

impl ExportLevel {
    pub const ALL: [Self; 3] = [Self::System, Self::Patient, Self::Group];

    pub fn code(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Patient => "patient",
            Self::Group => "group",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.code() == code)
    }
}

/// How an export stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportState {
    Open,
    Done,
    Failed,
    /// Deleted by its client, or its time was up: its files are away.
    Gone,
}

impl ExportState {
    pub const ALL: [Self; 4] = [Self::Open, Self::Done, Self::Failed, Self::Gone];

    pub fn code(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Gone => "gone",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }
}

/// Whose an export is: the name that the caller had, and the client whose token it came with. Several systems may speak for one
/// unit, and what one of them began is not the other's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    pub name: String,
    pub client: Option<String>,
}

/// An export to begin: what the store adds is where it stands in the order of commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportOrder {
    pub id: Uuid,
    /// For everyone else it does not exist.
    pub owner: Owner,
    /// The caller, as it is to be made again after a restart.
    pub caller: String,
    pub level: ExportLevel,
    pub cohort: Option<String>,
    /// The address it was asked for at.
    pub request: String,
    /// What was asked for.
    pub asked: String,
    /// Only some of the cohort's patients: it says nothing of who else is in it.
    pub is_partial: bool,
    pub created_at: DateTime<Utc>,
    pub since_at: Option<DateTime<Utc>>,
    pub until_at: Option<DateTime<Utc>>,
}

/// An export as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    pub id: Uuid,
    pub client: String,
    pub caller: String,
    pub level: ExportLevel,
    pub cohort: Option<String>,
    pub request: String,
    pub asked: String,
    pub is_partial: bool,
    pub created_at: DateTime<Utc>,
    /// The moment it shows: whatever is committed later is in an export of what changed since then.
    pub transaction_at: DateTime<Utc>,
    /// The last commit it shows.
    pub seq: i64,
    pub since_at: Option<DateTime<Utc>>,
    /// The last commit that the client had before.
    pub since_seq: Option<i64>,
    /// The export of the same cohort that the client had before.
    pub basis: Option<Uuid>,
    pub until: Option<Until>,
    pub state: ExportState,
    pub step: u32,
    pub position: i64,
    /// Lines written to output files.
    pub resources: u64,
    pub note: Option<String>,
    pub finished_at: Option<DateTime<Utc>>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// The end of a window: a version is before it by the order of commits or by its own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Until {
    pub at: DateTime<Utc>,
    pub seq: i64,
}

/// A file of an export, as far as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportFile {
    pub name: String,
    pub kind: FileKind,
    /// The type of the resources in it.
    pub resource_type: String,
    pub lines: u64,
    pub bytes: u64,
    /// Hex; of a file that is whole.
    pub sha256: Option<String>,
}

/// Which list of the manifest a file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    Output,
    Deleted,
    Error,
}

impl FileKind {
    pub const ALL: [Self; 3] = [Self::Output, Self::Deleted, Self::Error];

    pub fn code(self) -> &'static str {
        match self {
            Self::Output => "output",
            Self::Deleted => "deleted",
            Self::Error => "error",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// Why a patient is on an export's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    Member,
    /// Since the client's last export: everything about it goes out, however old.
    New,
    /// Since the client's last export: everything about it is to be erased.
    Left,
}

impl Membership {
    pub fn code(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::New => "new",
            Self::Left => "left",
        }
    }
}

/// What is written of exports, together with the rest of a commit.
#[derive(Debug, Clone)]
pub enum ExportChange {
    Begin(Box<ExportOrder>),
    /// It has come so far, and these files are on disk so far.
    Advance {
        id: Uuid,
        step: u32,
        position: i64,
        resources: u64,
        files: Vec<ExportFile>,
        patients: Vec<(String, Membership)>,
    },
    Finish {
        id: Uuid,
        at: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    },
    Fail {
        id: Uuid,
        expires_at: DateTime<Utc>,
        note: String,
    },
    /// Deleted by its client, or its time is up.
    Remove {
        id: Uuid,
    },
    /// Its row and its list are needed no more.
    Forget {
        id: Uuid,
    },
}
