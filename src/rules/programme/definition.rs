//! Reads a PlanDefinition of a programme. Whatever of it cannot be carried out is a finding that names file and element, and the
//! gateway does not start: a message that is silently left out would never be missed.

use chrono::{NaiveTime, Weekday};
use serde_json::Value;

use super::super::assessment::Inputs;
use super::super::sets::{Files, Findings};
use crate::domain::programme::Step;
use crate::fhir::canonical::BASE;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::profile::expression::Condition;
use crate::fhir::terminology::Terminology;

/// The profile that says that a PlanDefinition is one.
const PROFILE: &str = "StructureDefinition/programme-definition";

/// Words of the guide, and where they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Citation {
    pub rule: String,
    pub quote: String,
    pub source: String,
}

/// How a criterion counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// It must be so, and somebody must say so.
    Inclusion,
    /// It must not be so; what nobody knows counts for nothing.
    Exclusion,
}

#[derive(Debug)]
pub struct Criterion {
    pub title: String,
    pub strictness: Strictness,
    pub condition: Condition,
    pub cited: Vec<Citation>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    pub code: String,
    pub title: String,
}

/// A message to the patient, so many days after the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub code: String,
    pub title: String,
    pub text: String,
    pub day: u32,
    /// None: at once.
    pub time: Option<NaiveTime>,
    pub cited: Vec<Citation>,
}

/// A day that somebody is reminded of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub code: String,
    pub title: String,
    pub text: String,
    pub day: u32,
    pub cited: Vec<Citation>,
}

/// Who may take a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRule {
    pub step: Step,
    pub title: String,
    pub roles: Vec<String>,
    pub cited: Vec<Citation>,
}

/// A programme as it is defined.
#[derive(Debug)]
pub struct Programme {
    pub id: String,
    pub url: String,
    pub version: String,
    pub title: String,
    pub is_active: bool,
    pub criteria: Vec<Criterion>,
    pub modules: Vec<Module>,
    pub messages: Vec<Message>,
    pub check_in_days: Vec<Weekday>,
    pub check_in_cited: Vec<Citation>,
    pub marks: Vec<Mark>,
    /// In whole years, by the calendar.
    pub limit_years: u32,
    pub limit_cited: Vec<Citation>,
    pub steps: Vec<StepRule>,
}

/// All programmes of a package, and the fields that their criteria are judged by.
#[derive(Debug, Default)]
pub struct Programmes {
    all: Vec<Programme>,
    pub inputs: Inputs,
}

/// Whether the text of a file is a programme's PlanDefinition.
pub fn is_programme(plan: &Value) -> bool {
    let of = plan["meta"]["profile"].as_array().into_iter().flatten().filter_map(Value::as_str);
    plan["resourceType"] == "PlanDefinition" && of.into_iter().any(|url| url.ends_with(PROFILE))
}

impl Programmes {
    pub fn load(files: &Files, terminology: &Terminology) -> (Self, Findings) {
        let mut issues = Vec::new();
        let inputs = Inputs::load_of("programme-input", files, terminology, &mut issues);
        let mut all: Vec<Programme> = Vec::new();
        for (file, text) in files.iter().filter(|(name, _)| name.starts_with("PlanDefinition-")) {
            let Ok(plan) = serde_json::from_str::<Value>(text) else { continue };
            if is_programme(&plan) {
                let mut reader = Reader { file, inputs: &inputs, issues: Vec::new() };
                let read = reader.programme(&plan);
                if all.iter().any(|other| other.id == read.id) {
                    reader.wrong("id", "finns två gånger", "stands twice");
                }
                if reader.issues.is_empty() {
                    all.push(read);
                }
                issues.extend(reader.issues);
            }
        }
        (Self { all, inputs }, issues)
    }

    pub fn all(&self) -> &[Programme] {
        &self.all
    }

    pub fn get(&self, id: &str) -> Option<&Programme> {
        self.all.iter().find(|programme| programme.id == id)
    }
}

impl Programme {
    /// `url|version`, as others refer to it.
    pub fn canonical(&self) -> String {
        format!("{}|{}", self.url, self.version)
    }

    pub fn step(&self, step: Step) -> Option<&StepRule> {
        self.steps.iter().find(|rule| rule.step == step)
    }

    pub fn module(&self, code: &str) -> Option<&Module> {
        self.modules.iter().find(|module| module.code == code)
    }
}

struct Reader<'a> {
    file: &'a str,
    inputs: &'a Inputs,
    issues: Findings,
}

impl Reader<'_> {
    fn wrong(&mut self, element: &str, sv: &str, en: &str) {
        let place = if element.is_empty() { self.file.to_owned() } else { format!("{} {element}", self.file) };
        let issue = Issue::error(Code::Value, "PlanDefinition", format!("{element}: {sv}"), format!("{element}: {en}"));
        self.issues.push(issue.from(place));
    }

    fn programme(&mut self, plan: &Value) -> Programme {
        let text = |name: &str| plan[name].as_str().unwrap_or_default().to_owned();
        let mut read = Programme {
            id: text("id"),
            url: text("url"),
            version: text("version"),
            title: text("title"),
            is_active: plan["status"] == "active",
            criteria: Vec::new(),
            modules: Vec::new(),
            messages: Vec::new(),
            check_in_days: Vec::new(),
            check_in_cited: Vec::new(),
            marks: Vec::new(),
            limit_years: 0,
            limit_cited: Vec::new(),
            steps: Vec::new(),
        };
        for name in ["id", "url", "version", "title"] {
            if text(name).is_empty() {
                self.wrong(name, "saknas", "is missing");
            }
        }
        for group in list(&plan["action"]) {
            for action in list(&group["action"]) {
                self.element(action, &mut read);
            }
        }
        read.messages.sort_by_key(|message| (message.day, message.time));
        read.marks.sort_by_key(|mark| mark.day);
        for (is_missing, what) in [
            (read.criteria.is_empty(), "inclusion"),
            (read.modules.is_empty(), "module"),
            (read.messages.is_empty(), "message"),
            (read.check_in_days.is_empty(), "check-in"),
            (!(1..=10).contains(&read.limit_years), "limit"),
        ] {
            if is_missing {
                self.wrong(what, "saknas", "is missing");
            }
        }
        // What a system tells is taken in no role.
        for step in Step::ALL.into_iter().filter(|step| *step != Step::Sent) {
            match read.steps.iter().filter(|rule| rule.step == step).count() {
                1 => {}
                0 => self.wrong(step.code(), "steget saknas", "the step is missing"),
                _ => self.wrong(step.code(), "steget finns två gånger", "the step stands twice"),
            }
        }
        read
    }

    fn element(&mut self, action: &Value, read: &mut Programme) {
        let id = action["id"].as_str().unwrap_or_default();
        let title = action["title"].as_str().unwrap_or_default().to_owned();
        let text = action["description"].as_str().unwrap_or_default().to_owned();
        let cited = citations(action);
        let kind = code(&action["code"], "programme-element").unwrap_or_default();
        let after = |prefix: &str| id.strip_prefix(prefix).unwrap_or(id).to_owned();
        match kind {
            "inclusion" | "exclusion" => {
                let strictness = if kind == "inclusion" { Strictness::Inclusion } else { Strictness::Exclusion };
                let written = action["condition"][0]["expression"]["expression"].as_str().unwrap_or_default();
                match Condition::compile(written, self.inputs.fields()) {
                    Ok(condition) => read.criteria.push(Criterion { title, strictness, condition, cited }),
                    Err(refusal) => self.wrong(id, "villkoret kan inte användas", &refusal.to_string()),
                }
            }
            "module" => read.modules.push(Module { code: after("module-"), title }),
            "message" => {
                let day = self.day(id, action);
                if text.is_empty() {
                    self.wrong(id, "description saknas", "description is missing");
                }
                let given = action["timingTiming"]["repeat"]["timeOfDay"][0].as_str();
                let time = given.and_then(|time| time.parse().ok());
                if given.is_some() && time.is_none() || day > 0 && given.is_none() {
                    self.wrong(id, "timeOfDay ska vara hh:mm:ss", "timeOfDay should be hh:mm:ss");
                }
                read.messages.push(Message { code: after("message-"), title, text, day, time, cited });
            }
            "mark" => {
                let day = self.day(id, action);
                read.marks.push(Mark { code: after("mark-"), title, text, day, cited });
            }
            "check-in" => {
                let days = list(&action["timingTiming"]["repeat"]["dayOfWeek"]).filter_map(Value::as_str);
                read.check_in_days = days.filter_map(|day| day.parse().ok()).collect();
                read.check_in_days.sort_by_key(Weekday::num_days_from_monday);
                read.check_in_days.dedup();
                read.check_in_cited = cited;
            }
            "limit" => {
                let years =
                    action["timingDuration"]["value"].as_u64().filter(|_| action["timingDuration"]["code"] == "a");
                read.limit_years = years.and_then(|years| u32::try_from(years).ok()).unwrap_or(0);
                read.limit_cited = cited;
            }
            "step" => match Step::parse(id) {
                Some(step) if step != Step::Sent => {
                    let roles = list(&action["participant"]).filter_map(|p| code_of(&p["role"], "programme-role"));
                    let roles: Vec<String> = roles.map(str::to_owned).collect();
                    if roles.is_empty() {
                        self.wrong(id, "ingen roll får ta steget", "no role may take the step");
                    }
                    read.steps.push(StepRule { step, title, roles, cited });
                }
                _ => self.wrong(id, "steget finns inte", "there is no such step"),
            },
            "fact" => {}
            _ => self.wrong(id, "code säger inte vad det är", "code does not say what it is"),
        }
    }

    fn day(&mut self, id: &str, action: &Value) -> u32 {
        let of = &action["relatedAction"][0];
        let offset = &of["offsetDuration"];
        let day = offset["value"].as_u64().and_then(|day| u32::try_from(day).ok()).filter(|day| *day <= 366);
        let is_sound = of["actionId"] == "start" && of["relationship"] == "after-start" && offset["code"] == "d";
        match day.filter(|_| is_sound) {
            Some(day) => day,
            None => {
                self.wrong(id, "ange dagar efter start", "give days after start");
                0
            }
        }
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The code of ours among concepts.
fn code<'v>(concepts: &'v Value, system: &str) -> Option<&'v str> {
    list(concepts).find_map(|concept| code_of(concept, system))
}

fn code_of<'v>(concept: &'v Value, system: &str) -> Option<&'v str> {
    let url = format!("{BASE}/CodeSystem/{system}");
    list(&concept["coding"]).find(|coding| coding["system"] == *url)?["code"].as_str()
}

fn citations(action: &Value) -> Vec<Citation> {
    let of = |d: &Value| {
        let text = |name: &str| d[name].as_str().map(str::to_owned);
        Some(Citation { rule: text("label")?, quote: text("display")?, source: text("citation")? })
    };
    list(&action["documentation"]).filter_map(of).collect()
}
