//! KVÅ: the Swedish procedure codes, checked by form, by code list and by the day of the act.
//!
//! The classification is revised every year, so the list is a file that is loaded (a FHIR CodeSystem), never code.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde_json::Value;

/// The code system we write, and what we also read. There is no official URI.
pub const SYSTEM: &str = "urn:oid:1.2.752.116.1.3.2.1.4";
const ALIASES: [&str; 1] = ["https://www.socialstyrelsen.se/statistik-och-data/klassifikationer-och-koder/kva/"];

/// Distance care: an add-on that never stands alone.
pub const DISTANCE: &str = "ZV051";

/// How many near codes a finding names.
const NEAREST: usize = 3;

/// Whether codes under the system are KVÅ.
pub fn is_system(system: &str) -> bool {
    system == SYSTEM || ALIASES.contains(&system)
}

/// Two letters and three digits (medical acts), or three letters and two digits (surgery).
pub fn has_form(code: &str) -> bool {
    let mut letters = 0;
    let mut digits = 0;
    for c in code.chars() {
        match c {
            'A'..='Z' | 'Å' | 'Ä' | 'Ö' if digits == 0 => letters += 1,
            '0'..='9' => digits += 1,
            _ => return false,
        }
    }
    matches!((letters, digits), (2, 3) | (3, 2))
}

/// One code of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvaCode {
    pub code: String,
    pub display: String,
    /// First day of validity; `None`: as long as anyone asks.
    pub valid_from: Option<NaiveDate>,
    /// Last day of validity.
    pub valid_to: Option<NaiveDate>,
    /// The area of rehabilitation that the code is counted under, where it has one.
    pub area: Option<String>,
    /// Must accompany another code.
    pub add_on: bool,
}

/// The codes in force, from a CodeSystem.
#[derive(Debug, Clone, Default)]
pub struct CodeList {
    codes: BTreeMap<String, KvaCode>,
    complete: bool,
}

/// Why a code may not be used on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal<'a> {
    /// Not two letters and three digits, or three and two.
    Form,
    /// Not in the list; the codes nearest to it.
    Unknown(Vec<&'a KvaCode>),
    NotYetValid(&'a KvaCode),
    NoLongerValid(&'a KvaCode),
}

/// Why a CodeSystem could not be read as a list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeListError {
    #[error("is no JSON")]
    Json,
    #[error("is no CodeSystem of KVÅ")]
    OtherSystem,
    #[error("concept {place} has no code of KVÅ's form")]
    Concept { place: usize },
    #[error("code {code} is listed twice")]
    Twice { code: String },
    #[error("code {code} has a property {property} that cannot be read")]
    Property { code: String, property: String },
}

impl CodeList {
    /// Reads a CodeSystem: its concepts, their displays and the properties `valid-from`, `valid-to`, `area`, `add-on`.
    pub fn parse(text: &str) -> Result<Self, CodeListError> {
        let system: Value = serde_json::from_str(text).map_err(|_| CodeListError::Json)?;
        Self::read(&system)
    }

    /// The same from parsed JSON.
    pub fn read(system: &Value) -> Result<Self, CodeListError> {
        if !system["url"].as_str().is_some_and(is_system) {
            return Err(CodeListError::OtherSystem);
        }
        let mut list = Self { codes: BTreeMap::new(), complete: system["content"] == "complete" };
        for (place, concept) in system["concept"].as_array().into_iter().flatten().enumerate() {
            let code = read_concept(concept, place)?;
            if let Some(twice) = list.codes.insert(code.code.clone(), code) {
                return Err(CodeListError::Twice { code: twice.code });
            }
        }
        Ok(list)
    }

    /// Whether the list claims to hold every code, so that one it lacks does not exist.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    pub fn codes(&self) -> impl Iterator<Item = &KvaCode> {
        self.codes.values()
    }

    /// The code whatever the day.
    pub fn get(&self, code: &str) -> Option<&KvaCode> {
        self.codes.get(code)
    }

    /// The code if it may be used on some day from the first to the last; without days only the list is asked.
    pub fn lookup(&self, code: &str, days: Option<(NaiveDate, NaiveDate)>) -> Result<&KvaCode, Refusal<'_>> {
        let Some(known) = self.codes.get(code) else {
            return Err(if has_form(code) { Refusal::Unknown(self.nearest(code)) } else { Refusal::Form });
        };
        match days {
            Some((_, last)) if known.valid_from.is_some_and(|from| last < from) => Err(Refusal::NotYetValid(known)),
            Some((first, _)) if known.valid_to.is_some_and(|to| first > to) => Err(Refusal::NoLongerValid(known)),
            _ => Ok(known),
        }
    }

    /// The codes that differ least from the one written, nearest first; none that differ in more than two places.
    pub fn nearest(&self, code: &str) -> Vec<&KvaCode> {
        let mut near: Vec<(usize, &KvaCode)> =
            self.codes.values().map(|known| (distance(code, &known.code), known)).filter(|(d, _)| *d <= 2).collect();
        near.sort_by_key(|(d, known)| (*d, &known.code));
        near.into_iter().take(NEAREST).map(|(_, known)| known).collect()
    }
}

/// Places that differ; two neighbours changed about count as one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut differing: Vec<usize> = (0..a.len().max(b.len())).filter(|i| a.get(*i) != b.get(*i)).collect();
    if let [i, j] = differing[..]
        && j == i + 1
        && a.get(i) == b.get(j)
        && a.get(j) == b.get(i)
    {
        differing.pop();
    }
    differing.len()
}

fn read_concept(concept: &Value, place: usize) -> Result<KvaCode, CodeListError> {
    let code = concept["code"].as_str().filter(|c| has_form(c)).ok_or(CodeListError::Concept { place })?;
    let mut read = KvaCode {
        code: code.to_owned(),
        display: concept["display"].as_str().unwrap_or_default().to_owned(),
        valid_from: None,
        valid_to: None,
        area: None,
        add_on: false,
    };
    for property in concept["property"].as_array().into_iter().flatten() {
        let name = property["code"].as_str().unwrap_or_default();
        let unreadable = || CodeListError::Property { code: code.to_owned(), property: name.to_owned() };
        let day = || {
            let text = property["valueDateTime"].as_str().ok_or_else(unreadable)?;
            NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| unreadable())
        };
        match name {
            "valid-from" => read.valid_from = Some(day()?),
            "valid-to" => read.valid_to = Some(day()?),
            "area" => read.area = Some(property["valueCode"].as_str().ok_or_else(unreadable)?.to_owned()),
            "add-on" => read.add_on = property["valueBoolean"].as_bool().ok_or_else(unreadable)?,
            // A published list may carry more than we use.
            _ => {}
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{ "resourceType": "CodeSystem", "url": "urn:oid:1.2.752.116.1.3.2.1.4", "content": "fragment", "concept": [
        { "code": "DV143", "display": "Kvalificerat rådgivande samtal om matvanor", "property": [
            { "code": "valid-from", "valueDateTime": "2012-01-01" }, { "code": "valid-to", "valueDateTime": "2025-12-31" },
            { "code": "area", "valueCode": "nutrition" } ] },
        { "code": "DV133", "display": "Kvalificerat rådgivande samtal om fysisk aktivitet" },
        { "code": "ZV051", "display": "Telemedicin", "property": [ { "code": "add-on", "valueBoolean": true } ] } ] }"#;

    fn day(text: &str) -> Option<(NaiveDate, NaiveDate)> {
        let day = text.parse().unwrap();
        Some((day, day))
    }

    #[test]
    fn a_code_is_valid_from_its_first_to_its_last_day() {
        let list = CodeList::parse(LIST).unwrap();
        assert!(matches!(list.lookup("DV143", day("2011-12-31")), Err(Refusal::NotYetValid(_))));
        assert_eq!(list.lookup("DV143", day("2012-01-01")).unwrap().area.as_deref(), Some("nutrition"));
        assert!(list.lookup("DV143", day("2025-12-31")).is_ok());
        assert!(matches!(list.lookup("DV143", day("2026-01-01")), Err(Refusal::NoLongerValid(_))));
        assert!(list.lookup("DV143", None).is_ok());
        let span = |first: &str, last: &str| Some((first.parse().unwrap(), last.parse().unwrap()));
        assert!(list.lookup("DV143", span("2011-12-01", "2012-01-01")).is_ok());
        assert!(list.lookup("DV143", span("2025-12-31", "2026-12-31")).is_ok());
        assert!(matches!(list.lookup("DV143", span("2026-01-01", "2026-12-31")), Err(Refusal::NoLongerValid(_))));
        assert!(list.get(DISTANCE).unwrap().add_on);
    }

    #[test]
    fn an_unknown_code_is_answered_with_the_nearest() {
        let list = CodeList::parse(LIST).unwrap();
        let Err(Refusal::Unknown(near)) = list.lookup("DV413", None) else { panic!("DV413 is no code") };
        assert_eq!(near.iter().map(|k| k.code.as_str()).collect::<Vec<_>>(), ["DV143", "DV133"]);
        assert_eq!(list.lookup("DV14", None), Err(Refusal::Form));
        assert_eq!(list.lookup("AB123", None), Err(Refusal::Unknown(vec![])));
    }

    #[test]
    fn the_form_is_two_and_three_or_three_and_two() {
        for right in ["DV143", "ZV051", "JAB30", "ÅÄ123"] {
            assert!(has_form(right), "{right}");
        }
        for wrong in ["", "D1234", "dv143", "DV1433", "DV14", "1DV43", "DVXX1", "DV 43"] {
            assert!(!has_form(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_list_that_cannot_be_read_says_why() {
        let with = |concept: &str| {
            CodeList::parse(&format!(r#"{{ "url": "{SYSTEM}", "concept": [{concept}] }}"#)).unwrap_err().to_string()
        };
        assert!(with(r#"{ "code": "D1" }"#).contains("concept 0"));
        assert!(with(r#"{ "code": "DV143" }, { "code": "DV143" }"#).contains("twice"));
        let property = r#"{ "code": "DV143", "property": [ { "code": "valid-to", "valueDateTime": "2025-02-30" } ] }"#;
        assert!(with(property).contains("valid-to"));
        assert_eq!(CodeList::parse(r#"{ "url": "urn:other" }"#).unwrap_err(), CodeListError::OtherSystem);
    }
}
