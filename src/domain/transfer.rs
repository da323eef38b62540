//! What a transfer from one level of care to another must carry, by region and format: rules as data, and the one function that
//! holds a document against them. Pure; the file is read and checked by `config`.

use chrono::NaiveDate;

use super::{Format, Level};

/// The three ways to hand a patient on that the guideline names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Remiss.
    Referral,
    /// Aktiv överlämning.
    Active,
    Sip,
}

impl Mode {
    pub const ALL: [Self; 3] = [Self::Referral, Self::Active, Self::Sip];

    pub fn code(self) -> &'static str {
        match self {
            Self::Referral => "referral",
            Self::Active => "active",
            Self::Sip => "sip",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.code() == code)
    }

    /// What it is called in Swedish.
    pub fn sv(self) -> &'static str {
        match self {
            Self::Referral => "remiss",
            Self::Active => "aktiv överlämning",
            Self::Sip => "SIP",
        }
    }

    pub fn en(self) -> &'static str {
        match self {
            Self::Referral => "referral",
            Self::Active => "active handover",
            Self::Sip => "SIP",
        }
    }
}

/// What a document can carry to show that something was done first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Evidence {
    ConsultationPatient,
    ConsultationPrimaryCare,
    OralContact,
    Consent,
    Meeting,
}

impl Evidence {
    pub const ALL: [Self; 5] =
        [Self::ConsultationPatient, Self::ConsultationPrimaryCare, Self::OralContact, Self::Consent, Self::Meeting];

    pub fn code(self) -> &'static str {
        match self {
            Self::ConsultationPatient => "consultation-patient",
            Self::ConsultationPrimaryCare => "consultation-primary-care",
            Self::OralContact => "oral-contact",
            Self::Consent => "consent",
            Self::Meeting => "meeting",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|evidence| evidence.code() == code)
    }

    /// Whether it can be recorded after the document came: only then can a document wait for it.
    pub fn can_follow(self) -> bool {
        matches!(self, Self::ConsultationPatient | Self::ConsultationPrimaryCare)
    }
}

/// What becomes of a document that lacks something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Not taken, with what to add.
    Refuse,
    /// Taken and parked until it is recorded.
    Hold,
    /// Taken and sent; the receipt says what is missing.
    Warn,
}

impl Effect {
    pub const ALL: [Self; 3] = [Self::Refuse, Self::Hold, Self::Warn];

    pub fn code(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Hold => "hold",
            Self::Warn => "warn",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|effect| effect.code() == code)
    }
}

/// Where a rule stands, and where and when it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ground {
    pub id: String,
    /// The county code of the region whose rule it is.
    pub region: String,
    pub document: String,
    pub document_version: String,
    /// Lines of the document.
    pub lines: String,
    pub quote: String,
    pub from: Vec<Level>,
    pub to: Vec<Level>,
    pub valid_from: Option<NaiveDate>,
    pub valid_to: Option<NaiveDate>,
}

impl Ground {
    fn holds(&self, transfer: &Transfer<'_>) -> bool {
        self.region == transfer.region
            && self.from.contains(&transfer.from)
            && transfer.to.iter().any(|level| self.to.contains(level))
            && self.valid_from.is_none_or(|from| from <= transfer.day)
            && self.valid_to.is_none_or(|to| transfer.day <= to)
    }

    /// Where it stands, beside a text that has its words.
    pub fn named(&self) -> String {
        format!("{} ({} version {}, lines {})", self.id, self.document, self.document_version, self.lines)
    }

    /// As a finding cites it.
    pub fn cited(&self) -> String {
        format!(
            "{}: ”{}” ({} version {}, rad {})",
            self.id, self.quote, self.document, self.document_version, self.lines
        )
    }
}

/// One thing that a document must carry, and what to tell whoever left it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    pub carry: Evidence,
    /// The field it belongs in.
    pub at: String,
    pub sv: String,
    pub en: String,
}

/// What one mode must carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModeRule {
    pub mode: Mode,
    pub must: Vec<Demand>,
    /// What follows where it does not, by the format it came in.
    pub missing: Vec<(Format, Effect)>,
}

/// What must be carried when responsibility is transferred, wholly or partly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub ground: Ground,
    pub modes: Vec<ModeRule>,
}

/// Which modes are named for an area: another is taken with a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AreaRule {
    pub ground: Ground,
    pub area: String,
    pub modes: Vec<Mode>,
}

/// The rules of all regions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    pub version: String,
    pub rules: Vec<Rule>,
    pub areas: Vec<AreaRule>,
}

/// A transfer as a document describes it. Whatever remains with its sender is none.
#[derive(Debug, Clone)]
pub struct Transfer<'a> {
    pub mode: Mode,
    pub format: Format,
    /// Of the unit that sends.
    pub region: &'a str,
    pub from: Level,
    pub to: Vec<Level>,
    pub areas: &'a [String],
    pub carries: &'a [Evidence],
    pub day: NaiveDate,
}

/// What a rule says of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding<'p> {
    Lacks { ground: &'p Ground, demand: &'p Demand, effect: Effect },
    OtherMode { rule: &'p AreaRule },
}

impl Policy {
    /// Everything that the rules have to say.
    pub fn weigh(&self, transfer: &Transfer<'_>) -> Vec<Finding<'_>> {
        let mut findings = Vec::new();
        for rule in self.rules.iter().filter(|rule| rule.ground.holds(transfer)) {
            for mode in rule.modes.iter().filter(|mode| mode.mode == transfer.mode) {
                let effect = mode.missing.iter().find(|(format, _)| *format == transfer.format).map(|(_, e)| *e);
                let Some(effect) = effect else { continue };
                let lacked = mode.must.iter().filter(|demand| !transfer.carries.contains(&demand.carry));
                findings.extend(lacked.map(|demand| Finding::Lacks { ground: &rule.ground, demand, effect }));
            }
        }
        for rule in self.areas.iter().filter(|rule| rule.ground.holds(transfer)) {
            if transfer.areas.contains(&rule.area) && !rule.modes.contains(&transfer.mode) {
                findings.push(Finding::OtherMode { rule });
            }
        }
        findings
    }
}
