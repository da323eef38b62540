//! The four documents the gateway carries, and the formats they come in.

use std::fmt;
use std::str::FromStr;

/// What kind of document an exchange is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    RehabPlan,
    Referral,
    Handover,
    Activity,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::RehabPlan, Self::Referral, Self::Handover, Self::Activity];

    /// The word used on the command line, in the API, in file names and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::RehabPlan => "rehab-plan",
            Self::Referral => "referral",
            Self::Handover => "handover",
            Self::Activity => "activity",
        }
    }
}

/// The format of a source document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// The gateway's own JSON documents, as `openapi.yaml` describes them.
    Json,
    /// RIV-TA XML, with or without a SOAP envelope.
    Riv,
}

impl Format {
    pub const ALL: [Self; 2] = [Self::Json, Self::Riv];

    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Riv => "riv",
        }
    }
}

/// The word is none of those known.
#[derive(Debug, thiserror::Error)]
#[error("{word:?} is not one of {known}")]
pub struct UnknownWord {
    pub word: String,
    pub known: String,
}

fn find<T: Copy>(word: &str, all: &[T], name: fn(T) -> &'static str) -> Result<T, UnknownWord> {
    all.iter().copied().find(|t| name(*t) == word).ok_or_else(|| UnknownWord {
        word: word.to_owned(),
        known: all.iter().map(|t| name(*t)).collect::<Vec<_>>().join(", "),
    })
}

impl FromStr for Kind {
    type Err = UnknownWord;
    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        find(word, &Self::ALL, Self::name)
    }
}

impl FromStr for Format {
    type Err = UnknownWord;
    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        find(word, &Self::ALL, Self::name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
