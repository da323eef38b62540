//! A change in the words that a nurse would use, in Swedish and in English.
//!
//! What somebody wrote is quoted only where the reader reads the plan as well; elsewhere it is said that the text was changed.

use super::super::canonical::BASE;
use super::super::terminology::Terminology;
use super::{Change, Field, Part, What};
use crate::domain::kva;

/// A sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub sv: String,
    pub en: String,
}

/// Says changes: by what codes are called, and by the names of units.
pub struct Speaker<'a> {
    pub terminology: &'a Terminology,
    pub unit: &'a dyn Fn(&str) -> Option<String>,
    /// Whether what people wrote, and their names, are said.
    pub quotes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tongue {
    Sv,
    En,
}

use Tongue::{En, Sv};

/// What people wrote, or are called.
const WRITTEN: [&str; 5] = ["text", "title", "assessment-summary", "name", "role"];

impl Speaker<'_> {
    pub fn say(&self, change: &Change) -> Said {
        Said { sv: self.sentence(change, Sv), en: self.sentence(change, En) }
    }

    fn sentence(&self, change: &Change, tongue: Tongue) -> String {
        let item = self.item(change, tongue);
        let pick = |sv: &str, en: &str| if tongue == Sv { sv.to_owned() } else { en.to_owned() };
        match change.what {
            What::Added => {
                let news = match change.part {
                    Part::Team => pick("Ny i teamet", "New in the team"),
                    _ => pick("Nytt i planen", "New in the plan"),
                };
                format!("{news}: {item}{}.", self.terms(change, tongue))
            }
            What::Removed if change.part == Part::Team => {
                format!("{} {item}.", pick("Inte längre i teamet:", "No longer in the team:"))
            }
            What::Removed => format!("{} {item}.", pick("Finns inte längre i planen:", "No longer in the plan:")),
            What::Ended => {
                let status = change.of("status").map(|s| self.status(change.part, s, tongue)).unwrap_or_default();
                let end = change.field("end").and_then(|f| f.to.first());
                let day = end.map(|day| format!(", {} {day}", pick("slutdatum", "ending"))).unwrap_or_default();
                format!("{}: {item} ({status}{day}).", pick("Avslutat", "Ended"))
            }
            What::Moved => {
                let (from, to) = (self.who(&change.before, tongue), self.who(&change.after, tongue));
                match tongue {
                    Sv => format!("Ansvaret går över: {item}, från {from} till {to}."),
                    En => format!("Responsibility moves: {item}, from {from} to {to}."),
                }
            }
            What::Changed => {
                let fields: Vec<String> = change.fields.iter().map(|f| self.field(change.part, f, tongue)).collect();
                format!("{}: {item}: {}.", pick("Ändrat", "Changed"), fields.join("; "))
            }
        }
    }

    /// What the item is called.
    fn item(&self, change: &Change, tongue: Tongue) -> String {
        let code = |system: &str, name: &str| change.of(name).map(|code| self.word(system, code, tongue));
        let text = change.of("text").filter(|_| self.quotes).map(|text| match tongue {
            Sv => format!("”{text}”"),
            En => format!("“{text}”"),
        });
        let (kind, parts) = match change.part {
            Part::Plan => (["planen", "the plan"], vec![]),
            Part::Intervention => {
                (["insats", "intervention"], vec![code("intervention-form", "form"), code("rehab-area", "area"), text])
            }
            Part::Goal => (["mål", "goal"], vec![code("rehab-area", "area"), text]),
            Part::Need => (["behov", "need"], vec![code("rehab-area", "area")]),
            Part::FollowUp => (["uppföljning", "follow-up"], vec![change.of("date").map(str::to_owned), text]),
            Part::Team => {
                let name = change.of("name").filter(|_| self.quotes).map(str::to_owned);
                let unit = change.of("unit").map(|unit| self.unit_name(unit));
                let kind = if change.of("profession").is_some() || change.of("name").is_some() {
                    ["medarbetare", "member of staff"]
                } else {
                    ["mottagande enhet", "receiving unit"]
                };
                (kind, vec![name, code("profession", "profession"), unit])
            }
        };
        let [sv, en] = kind;
        let mut said = vec![if tongue == Sv { sv.to_owned() } else { en.to_owned() }];
        said.extend(parts.into_iter().flatten());
        said.join(", ")
    }

    /// Under which terms something is new.
    fn terms(&self, change: &Change, tongue: Tongue) -> String {
        let pick = |sv: &str, en: &str| if tongue == Sv { sv.to_owned() } else { en.to_owned() };
        let mut said = String::new();
        if change.part == Part::Need
            && let Some(level) = change.of("need")
        {
            said.push_str(&format!(": {}", self.word("need-level", level, tongue)));
        }
        if change.of("responsible").is_some() {
            said.push_str(&format!("; {} {}", pick("ansvarig:", "responsible:"), self.who(&change.after, tongue)));
        }
        if let Some(start) = change.of("start") {
            said.push_str(&format!("; {} {start}", pick("från", "from")));
        }
        if let Some(end) = change.of("end").or_else(|| change.of("due")) {
            said.push_str(&format!(" {} {end}", pick("till", "to")));
        }
        said
    }

    /// Who answers, and at which level.
    fn who(&self, fields: &super::Fields, tongue: Tongue) -> String {
        let units: Vec<String> =
            fields.get("responsible").into_iter().flatten().map(|unit| self.unit_name(unit)).collect();
        let nobody = if tongue == Sv { "ingen utsedd" } else { "nobody named" };
        let units = if units.is_empty() { nobody.to_owned() } else { units.join(", ") };
        match fields.get("level").and_then(|levels| levels.first()) {
            Some(level) => format!("{units} ({})", self.word("care-level", level, tongue).to_lowercase()),
            None => units,
        }
    }

    fn unit_name(&self, unit: &str) -> String {
        (self.unit)(unit).unwrap_or_else(|| unit.to_owned())
    }

    fn field(&self, part: Part, field: &Field, tongue: Tongue) -> String {
        let label = label(&field.name, tongue);
        if WRITTEN.contains(&field.name.as_str()) && !self.quotes {
            return if tongue == Sv { format!("{label} har ändrats") } else { format!("{label} was changed") };
        }
        let value = |values: &[String]| {
            let values: Vec<String> = values.iter().map(|v| self.value(part, &field.name, v, tongue)).collect();
            values.join(", ")
        };
        let (from, to) = (value(&field.from), value(&field.to));
        match (field.from.is_empty(), field.to.is_empty(), tongue) {
            (true, _, Sv) => format!("{label} är nu {to}"),
            (true, _, En) => format!("{label} is now {to}"),
            (_, true, Sv) => format!("{label} ({from}) anges inte längre"),
            (_, true, En) => format!("{label} ({from}) is no longer stated"),
            (_, _, Sv) => format!("{label} ändras från {from} till {to}"),
            (_, _, En) => format!("{label} changes from {from} to {to}"),
        }
    }

    fn value(&self, part: Part, name: &str, value: &str, tongue: Tongue) -> String {
        match name {
            "status" => self.status(part, value, tongue),
            "area" => self.word("rehab-area", value, tongue),
            "form" => self.word("intervention-form", value, tongue),
            "need" => self.word("need-level", value, tongue),
            "level" => self.word("care-level", value, tongue),
            "profession" => self.word("profession", value, tongue),
            "assessment-instrument" => self.word("instrument", value, tongue),
            "treatment-intent" => self.word("treatment-intent", value, tongue),
            "treatment-phase" => self.word("treatment-phase", value, tongue),
            "category" => self.word("programme", value, tongue),
            "responsible" | "unit" => self.unit_name(value),
            "frequency" => frequency(value, tongue),
            "kva" => match self.terminology.words(kva::SYSTEM, value) {
                Some(words) => format!("{value} {}", if tongue == Sv { &words.sv } else { &words.en }),
                None => value.to_owned(),
            },
            _ if WRITTEN.contains(&name) && tongue == Sv => format!("”{value}”"),
            _ if WRITTEN.contains(&name) => format!("“{value}”"),
            _ => value.to_owned(),
        }
    }

    /// What a code of ours is called, or itself.
    fn word(&self, system: &str, code: &str, tongue: Tongue) -> String {
        let words = self.terminology.words(&format!("{BASE}/CodeSystem/{system}"), code);
        words.map_or(code, |words| if tongue == Sv { &words.sv } else { &words.en }).to_owned()
    }

    fn status(&self, part: Part, code: &str, tongue: Tongue) -> String {
        let known = STATUSES.iter().find(|(known, ..)| *known == code);
        let word = match (known, tongue) {
            (Some((_, sv, _)), Sv) => sv,
            (Some((_, _, en)), En) => en,
            (None, _) => code,
        };
        // A goal is not done, it is reached.
        match (part, code, tongue) {
            (Part::Goal, "completed", Sv) => "uppnått eller avslutat".to_owned(),
            (Part::Goal, "completed", En) => "reached or closed".to_owned(),
            _ => word.to_owned(),
        }
    }
}

/// Statuses of plans, of their activities and of goals, by their R4 codes.
const STATUSES: [(&str, &str, &str); 16] = [
    ("draft", "utkast", "draft"),
    ("proposed", "föreslaget", "proposed"),
    ("accepted", "godkänt", "accepted"),
    ("planned", "planerat", "planned"),
    ("active", "pågår", "active"),
    ("not-started", "inte påbörjad", "not started"),
    ("scheduled", "inplanerad", "scheduled"),
    ("in-progress", "pågår", "in progress"),
    ("on-hold", "vilar", "on hold"),
    ("completed", "genomförd", "completed"),
    ("stopped", "avbruten", "stopped"),
    ("cancelled", "inställd", "cancelled"),
    ("revoked", "upphävd", "revoked"),
    ("rejected", "avböjt", "rejected"),
    ("entered-in-error", "återtagen som felaktig", "entered in error"),
    ("unknown", "okänt", "unknown"),
];

fn label(name: &str, tongue: Tongue) -> &str {
    let known = LABELS.iter().find(|(known, ..)| *known == name);
    match (known, tongue) {
        (Some((_, sv, _)), Sv) => sv,
        (Some((_, _, en)), En) => en,
        (None, _) => name,
    }
}

const LABELS: [(&str, &str, &str); 28] = [
    ("status", "status", "the status"),
    ("title", "rubriken", "the title"),
    ("category", "plantypen", "the kind of plan"),
    ("diagnoses", "diagnoserna", "the diagnoses"),
    ("treatment-intent", "behandlingens syfte", "the intent of the treatment"),
    ("treatment-phase", "behandlingens skede", "the phase of the treatment"),
    ("treatment-end", "behandlingens slut", "the end of the treatment"),
    ("assessment-date", "bedömningens datum", "the date of the assessment"),
    ("assessment-instrument", "instrumentet", "the instrument"),
    ("assessment-summary", "bedömningens sammanfattning", "the summary of the assessment"),
    ("cfs", "skörheten (CFS)", "the frailty (CFS)"),
    ("cfs-date", "dagen för CFS", "the day of the CFS"),
    ("cfs-by", "vem som skattade CFS", "who rated the CFS"),
    ("area", "området", "the area"),
    ("form", "formen", "the form"),
    ("kva", "KVÅ-koden", "the KVÅ code"),
    ("text", "texten", "the text"),
    ("level", "vårdnivån", "the level of care"),
    ("responsible", "ansvarig", "who is responsible"),
    ("start", "startdatum", "the start"),
    ("end", "slutdatum", "the end"),
    ("due", "måldatum", "the target date"),
    ("frequency", "hur ofta", "how often"),
    ("goals", "målen", "the goals"),
    ("need", "behovet", "the need"),
    ("date", "datumet", "the date"),
    ("unit", "enheten", "the unit"),
    ("profession", "yrket", "the profession"),
];

/// `2/1wk` as somebody would say it.
fn frequency(value: &str, tongue: Tongue) -> String {
    let Some((times, rest)) = value.split_once('/') else { return value.to_owned() };
    let split = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (every, unit) = rest.split_at(split);
    let is_one = every == "1";
    let unit = match (unit, tongue, is_one) {
        ("d", Sv, true) => "dag",
        ("d", Sv, false) => "dagar",
        ("d", En, true) => "day",
        ("d", En, false) => "days",
        ("wk", Sv, true) => "vecka",
        ("wk", Sv, false) => "veckor",
        ("wk", En, true) => "week",
        ("wk", En, false) => "weeks",
        ("mo", Sv, true) => "månad",
        ("mo", Sv, false) => "månader",
        ("mo", En, true) => "month",
        ("mo", En, false) => "months",
        (other, _, _) => other,
    };
    let period = if is_one { unit.to_owned() } else { format!("{every} {unit}") };
    match (tongue, times) {
        (Sv, "1") => format!("1 gång per {period}"),
        (En, "1") => format!("once in {period}"),
        (Sv, _) => format!("{times} gånger per {period}"),
        (En, _) => format!("{times} times in {period}"),
    }
}
