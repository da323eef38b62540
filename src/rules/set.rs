//! A rule set as it is judged: areas and topics, and in each the rules with their words.

use std::sync::Arc;

use chrono::NaiveDate;

use crate::fhir::profile::expression::Condition;

/// A guideline's rules.
#[derive(Debug)]
pub struct RuleSet {
    pub file: String,
    pub id: String,
    pub url: String,
    pub version: String,
    pub title: String,
    /// What the guideline calls itself: its document id.
    pub document: Option<String>,
    pub is_active: bool,
    /// County codes of the regions that it is of.
    pub regions: Vec<String>,
    pub from: Option<NaiveDate>,
    pub to: Option<NaiveDate>,
    pub groups: Vec<Group>,
}

/// What a group of rules is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// An area of rehabilitation, for which somebody is responsible.
    Area(String),
    /// Anything else.
    Topic(String),
}

impl About {
    pub fn code(&self) -> &str {
        match self {
            Self::Area(code) | Self::Topic(code) => code,
        }
    }
}

#[derive(Debug)]
pub struct Group {
    pub title: String,
    pub about: About,
    /// Whether there is anything to be responsible for.
    pub gate: Option<Arc<Condition>>,
    pub rules: Vec<Rule>,
}

/// One rule of a guideline.
#[derive(Debug)]
pub struct Rule {
    pub id: String,
    pub kind: Kind,
    /// How strongly it binds: a code of `rule-strength`.
    pub strength: String,
    /// The guideline's own words.
    pub quote: String,
    /// Where they stand.
    pub source: String,
    /// What it comes to, as the end of a sentence in Swedish.
    pub says: Option<String>,
    /// All must hold: its own condition, and those of the rules around it.
    pub when: Vec<Arc<Condition>>,
    /// What a criterion points at; whom another rule is for.
    pub outcomes: Vec<Outcome>,
    pub sets_aside: Vec<String>,
    pub offers: Vec<Offer>,
    pub professions: Vec<Profession>,
    /// Areas that what it asks for has to include.
    pub includes: Vec<String>,
}

/// Where a rule points, and when it points there.
#[derive(Debug)]
pub struct Outcome {
    pub to: Target,
    pub when: Option<Arc<Condition>>,
    pub says: Option<String>,
}

/// Who is to be responsible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub responsible: Responsible,
    /// A code of `other-destination`.
    pub destination: Option<String>,
    pub text: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// A code of `intervention-form`.
    pub form: String,
    /// Its name in Swedish.
    pub title: String,
    pub weeks: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profession {
    /// A code of `profession`.
    pub code: Option<String>,
    pub text: Option<String>,
}

/// What a rule does: a code of `rule-kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Criterion,
    Offer,
    Profession,
    Duty,
    Info,
    Reference,
}

impl Kind {
    pub const ALL: [Self; 6] =
        [Self::Criterion, Self::Offer, Self::Profession, Self::Duty, Self::Info, Self::Reference];

    pub fn code(self) -> &'static str {
        match self {
            Self::Criterion => "criterion",
            Self::Offer => "offer",
            Self::Profession => "profession",
            Self::Duty => "duty",
            Self::Info => "info",
            Self::Reference => "reference",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// Who is responsible for an area: a code of `responsibility`. The last three are answers that no rule gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Responsible {
    Specialist,
    Primary,
    Shared,
    Other,
    NotRegulated,
    Undetermined,
    Conflict,
    NoNeed,
}

impl Responsible {
    pub const ALL: [Self; 8] = [
        Self::Specialist,
        Self::Primary,
        Self::Shared,
        Self::Other,
        Self::NotRegulated,
        Self::Undetermined,
        Self::Conflict,
        Self::NoNeed,
    ];

    pub fn code(self) -> &'static str {
        match self {
            Self::Specialist => "specialist",
            Self::Primary => "primary",
            Self::Shared => "shared",
            Self::Other => "other",
            Self::NotRegulated => "not-regulated",
            Self::Undetermined => "undetermined",
            Self::Conflict => "conflict",
            Self::NoNeed => "no-need",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.code() == code)
    }

    /// Whether a rule may point there.
    pub fn is_target(self) -> bool {
        !matches!(self, Self::Undetermined | Self::Conflict | Self::NoNeed)
    }
}

impl RuleSet {
    /// `url|version`, as others refer to it.
    pub fn canonical(&self) -> String {
        format!("{}|{}", self.url, self.version)
    }

    /// Whether it holds on a day.
    pub fn holds_on(&self, day: NaiveDate) -> bool {
        self.from.is_none_or(|from| from <= day) && self.to.is_none_or(|to| day <= to)
    }

    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.groups.iter().flat_map(|group| &group.rules)
    }

    pub fn group(&self, code: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.about.code() == code)
    }
}

impl Group {
    pub fn is_area(&self) -> bool {
        matches!(self.about, About::Area(_))
    }
}

impl Rule {
    /// Whether somebody must say something before it can be judged.
    pub fn is_conditional(&self) -> bool {
        !self.when.is_empty() || self.outcomes.iter().any(|outcome| outcome.when.is_some())
    }

    /// Whether it is for that side; a rule that names nobody is for all.
    pub fn is_for(&self, sides: &[Responsible]) -> bool {
        self.outcomes.is_empty() || self.outcomes.iter().any(|outcome| sides.contains(&outcome.to.responsible))
    }
}
