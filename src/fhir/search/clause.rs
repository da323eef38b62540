//! Conditions of a search as plain values: what a criterion means, whoever answers it.

use super::Param;

/// One condition of a search. An empty list matches nothing. Parameters are named as their values are kept
/// ([`Param::kept_as`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clause {
    Id(Vec<String>),
    Token {
        param: String,
        any_of: Vec<TokenMatch>,
    },
    /// Targets as they were indexed: `Type/id`, `identifier:system|value`, or a canonical url.
    Reference {
        param: String,
        any_of: Vec<String>,
    },
    Date {
        param: String,
        any_of: Vec<Span>,
    },
    LastUpdated {
        any_of: Vec<Span>,
    },
    Text {
        param: String,
        any_of: Vec<String>,
        how: TextMatch,
    },
    /// Whether there is a value.
    Present(&'static Param),
    /// A resource of that type that the reference points at, and the one who asks may see, satisfies the clause.
    Chain {
        param: String,
        target: String,
        clause: Box<Clause>,
    },
    /// A resource of that type which points here by that reference, and the one who asks may see, satisfies the clause.
    Has {
        source: String,
        param: String,
        clause: Box<Clause>,
    },
    /// Somebody waits for the Task to be moved; with a time (milliseconds), and that was due by then.
    Awaited {
        due_by: Option<i64>,
    },
    Not(Box<Clause>),
    Any(Vec<Clause>),
}

/// A span of time in milliseconds to compare with, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub op: DateOp,
    pub low: i64,
    pub high: i64,
}

/// How words are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextMatch {
    /// The value begins so; folded.
    Starts,
    /// It stands somewhere in the value; folded.
    Contains,
    /// Letter by letter.
    Exact,
}

/// FHIR's `system|code`. `|code` is the system `""`, `code` any system, `system|` any code; neither matches nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenMatch {
    pub system: Option<String>,
    pub code: Option<String>,
}

/// FHIR's prefixes for spans of time (<http://hl7.org/fhir/R4/search.html#prefix>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateOp {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
    /// Starts after.
    Sa,
    /// Ends before.
    Eb,
    /// Shares a moment with the span, which the caller has widened (`ap`).
    Meets,
}
