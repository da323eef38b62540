//! What is known of a patient when it is asked who is responsible: fields that a CodeSystem declares, each checked for what it is.
//!
//! The fields are data, so that a region whose guideline asks for something else adds it there.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use serde_json::{Map, Value, json};

use super::sets::{Files, Findings};
use crate::fhir::canonical::BASE;
use crate::fhir::issue::{Code, Issue, shown_name};
use crate::fhir::profile::expression::{Condition, FieldType, Fields};
use crate::fhir::terminology::Terminology;
use crate::fhir::validate::{hint, nearest};

/// The day that is asked about.
const AS_OF: &str = "asOf";

/// A field that an assessment may have.
#[derive(Debug)]
pub struct Input {
    pub field: FieldType,
    /// What is missing where it is not said, in Swedish: "om patienten har skelettmetastaser".
    pub sv: String,
    pub en: String,
    /// The code that says nothing.
    not_said: Option<String>,
    least: i64,
    most: i64,
    /// What would be a contradiction where it is false.
    must_hold: Option<Condition>,
}

/// All fields that an assessment may have.
#[derive(Debug, Default)]
pub struct Inputs {
    by_name: BTreeMap<String, Input>,
    fields: Fields,
}

/// What was said, checked.
#[derive(Debug, Clone)]
pub struct Assessment {
    said: Map<String, Value>,
    names: BTreeSet<String>,
    pub as_of: NaiveDate,
}

impl Assessment {
    pub fn said(&self) -> &Map<String, Value> {
        &self.said
    }

    /// The fields that were said.
    pub fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// The values under a prefix, by the last part of their names: `needs` gives the areas.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.names.iter().filter_map(move |name| name.strip_prefix(prefix)?.strip_prefix('.'))
    }
}

impl Inputs {
    /// The fields of every CodeSystem `assessment-input`, and `assessment-input-…`, of a package.
    pub fn load(files: &Files, terminology: &Terminology, issues: &mut Findings) -> Self {
        Self::load_of("assessment-input", files, terminology, issues)
    }

    /// The same of the CodeSystem of another name.
    pub fn load_of(name: &str, files: &Files, terminology: &Terminology, issues: &mut Findings) -> Self {
        let base = format!("{BASE}/CodeSystem/{name}");
        let mut inputs = Self::default();
        let mut promises = Vec::new();
        for (file, text) in files.iter().filter(|(name, _)| name.starts_with("CodeSystem-") && name.ends_with(".json"))
        {
            // What is no JSON has been said by who loads the package.
            let Ok(system) = serde_json::from_str::<Value>(text) else { continue };
            let url = system["url"].as_str().unwrap_or_default();
            if url != base && !url.strip_prefix(&base).is_some_and(|rest| rest.starts_with('-')) {
                continue;
            }
            for concept in system["concept"].as_array().into_iter().flatten() {
                inputs.add(file, concept, terminology, &mut promises, issues);
            }
        }
        for (file, name, text) in promises {
            match Condition::compile(&text, &inputs.fields) {
                Ok(condition) => {
                    if let Some(input) = inputs.by_name.get_mut(&name) {
                        input.must_hold = Some(condition);
                    }
                }
                Err(refusal) => issues.push(wrong(&file, &name, &format!("must-hold: {refusal}"))),
            }
        }
        inputs
    }

    fn add(
        &mut self,
        file: &str,
        concept: &Value,
        terminology: &Terminology,
        promises: &mut Vec<(String, String, String)>,
        issues: &mut Findings,
    ) {
        let name = concept["code"].as_str().unwrap_or_default();
        let property = |code: &str| {
            let all = concept["property"].as_array().into_iter().flatten();
            all.into_iter().find(|p| p["code"] == code)
        };
        let text = |code: &str| property(code)?.as_object()?.values().nth(1)?.as_str().map(str::to_owned);
        let number = |code: &str| property(code)?["valueInteger"].as_i64();
        let field = match text("type").as_deref() {
            Some("boolean") => FieldType::Boolean,
            Some("date") => FieldType::Date,
            Some("integer") => FieldType::Integer,
            Some("code") => {
                let set = text("values").and_then(|url| terminology.compose(&url, &mut Vec::new()));
                let codes: Vec<String> =
                    set.iter().flat_map(|s| s.listed()).flat_map(|(_, c)| c.unwrap_or_default()).cloned().collect();
                if codes.is_empty() {
                    return issues.push(wrong(file, name, "values names no value set whose codes are known"));
                }
                FieldType::Code(codes)
            }
            _ => return issues.push(wrong(file, name, "type is boolean, date, integer or code")),
        };
        let sv = concept["designation"].as_array().into_iter().flatten().find(|d| d["language"] == "sv");
        let Some(sv) = sv.and_then(|d| d["value"].as_str()) else {
            return issues.push(wrong(file, name, "a Swedish designation is missing"));
        };
        if let Some(promise) = text("must-hold") {
            promises.push((file.to_owned(), name.to_owned(), promise));
        }
        let input = Input {
            field: field.clone(),
            sv: sv.to_owned(),
            en: concept["display"].as_str().unwrap_or(name).to_owned(),
            not_said: text("not-said"),
            least: number("least").unwrap_or(i64::MIN),
            most: number("most").unwrap_or(i64::MAX),
            must_hold: None,
        };
        if self.by_name.insert(name.to_owned(), input).is_some() {
            issues.push(wrong(file, name, "is declared twice"));
        }
        self.fields.add(name, field);
    }

    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    pub fn get(&self, name: &str) -> Option<&Input> {
        self.by_name.get(name)
    }

    /// Reads an assessment; everything that is wrong with it is told at once. Nothing of its values is repeated.
    pub fn check(&self, body: &Map<String, Value>, today: NaiveDate) -> Result<Assessment, Vec<Issue>> {
        let mut issues = Vec::new();
        let (mut said, mut names) = (Map::new(), BTreeSet::new());
        self.walk(body, "", &mut said, &mut names, &mut issues);
        let as_of = said.get(AS_OF).and_then(Value::as_str).and_then(|day| day.parse().ok()).unwrap_or(today);
        said.insert(AS_OF.to_owned(), json!(as_of.to_string()));
        if issues.is_empty() {
            for (name, input) in &self.by_name {
                if names.contains(name) && input.must_hold.as_ref().is_some_and(|c| c.judge(&said) == Some(false)) {
                    issues.push(Issue::error(
                        Code::BusinessRule,
                        name,
                        "Uppgiften motsäger de andra: till exempel en behandling som är avslutad på en dag som inte har kommit.",
                        "The field contradicts the others: as a treatment that has ended on a day which is still to come.",
                    ));
                }
            }
        }
        if issues.is_empty() { Ok(Assessment { said, names, as_of }) } else { Err(issues) }
    }

    fn walk(
        &self,
        body: &Map<String, Value>,
        prefix: &str,
        said: &mut Map<String, Value>,
        names: &mut BTreeSet<String>,
        issues: &mut Vec<Issue>,
    ) {
        for (name, value) in body {
            let shown = format!("{prefix}{}", shown_name(name));
            let path = format!("{prefix}{name}");
            if let Some(input) = self.by_name.get(&path) {
                match input.read(value) {
                    Ok(true) => {
                        said.insert(name.clone(), value.clone());
                        names.insert(path);
                    }
                    Ok(false) => {}
                    Err((sv, en)) => issues.push(Issue::error(
                        Code::Value,
                        &shown,
                        format!("Fältet ska vara {sv}."),
                        format!("The field should be {en}."),
                    )),
                }
                continue;
            }
            let inside = format!("{path}.");
            if self.by_name.keys().any(|known| known.starts_with(&inside)) {
                let Value::Object(inner) = value else {
                    let (sv, en) = ("Fältet ska vara ett objekt.", "The field should be an object.");
                    issues.push(Issue::error(Code::Structure, &shown, sv, en));
                    continue;
                };
                let mut within = Map::new();
                self.walk(inner, &inside, &mut within, names, issues);
                said.insert(name.clone(), Value::Object(within));
                continue;
            }
            let (sv, en) = hint(nearest(&path, self.by_name.keys().map(String::as_str)));
            issues.push(Issue::error(
                Code::Structure,
                &shown,
                format!("Fältet finns inte{sv}; se AssessmentInput i openapi.yaml."),
                format!("There is no such field{en}; see AssessmentInput in openapi.yaml."),
            ));
        }
    }

    /// Puts a value at the path of a field.
    pub fn put(said: &mut Map<String, Value>, name: &str, value: Value) {
        match name.split_once('.') {
            Some((first, rest)) => {
                let inner = said.entry(first.to_owned()).or_insert_with(|| json!({}));
                if let Value::Object(inner) = inner {
                    Self::put(inner, rest, value);
                }
            }
            None => {
                said.insert(name.to_owned(), value);
            }
        }
    }
}

impl Input {
    /// Whether the value says something; what it should have been where it is none.
    fn read(&self, value: &Value) -> Result<bool, (String, String)> {
        let is_good = match &self.field {
            FieldType::Boolean => value.is_boolean(),
            FieldType::Date => value.as_str().is_some_and(|day| day.len() == 10 && day.parse::<NaiveDate>().is_ok()),
            FieldType::Integer => value.as_i64().is_some_and(|n| (self.least..=self.most).contains(&n)),
            FieldType::Code(codes) => value.as_str().is_some_and(|code| codes.iter().any(|known| known == code)),
        };
        if is_good {
            return Ok(self.not_said.as_deref().is_none_or(|nothing| value.as_str() != Some(nothing)));
        }
        Err(match &self.field {
            FieldType::Boolean => ("true eller false".to_owned(), "true or false".to_owned()),
            FieldType::Date => ("en dag, ÅÅÅÅ-MM-DD".to_owned(), "a day, YYYY-MM-DD".to_owned()),
            FieldType::Integer => {
                (format!("ett heltal {}–{}", self.least, self.most), format!("an integer {}–{}", self.least, self.most))
            }
            FieldType::Code(codes) => {
                let list = codes.join(", ");
                (format!("någon av {list}"), format!("one of {list}"))
            }
        })
    }
}

fn wrong(file: &str, name: &str, en: &str) -> Issue {
    Issue::error(Code::Value, "CodeSystem.concept", format!("fältet {name} kan inte användas"), format!("{name}: {en}"))
        .from(format!("{file} {name}"))
}
