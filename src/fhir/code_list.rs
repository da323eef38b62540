//! What must hold of a new version of the KVÅ list before it is in force: every concept is looked at, and everything that is
//! wrong is said at once. What statistics have counted must still be countable.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde_json::Value;

use super::issue::{Code, Issue};
use super::terminology::ValueSet;
use super::validate::nearest;
use crate::domain::kva::{self, CodeList, KvaCode};

/// The properties of a concept that are read.
const PROPERTIES: [&str; 4] = ["valid-from", "valid-to", "area", "add-on"];

/// What a new list is held against.
pub struct Standing<'a> {
    pub list: &'a CodeList,
    /// The `version` that the list in force calls itself.
    pub version: Option<&'a str>,
    /// Codes that acts stand under, with the first and the last day of each.
    pub in_use: &'a [(String, NaiveDate, NaiveDate)],
    pub areas: &'a ValueSet,
}

/// Every finding of a new list, as a CodeSystem that follows R4 by itself.
pub fn check(system: &Value, standing: &Standing<'_>) -> Vec<Issue> {
    let mut issues = head(system, standing);
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut read: BTreeMap<&str, KvaCode> = BTreeMap::new();
    for (place, one) in list(&system["concept"]).iter().enumerate() {
        let at = format!("CodeSystem.concept[{place}]");
        if let Some(code) = concept(one, &at, standing.areas, &mut issues) {
            let name = one["code"].as_str().unwrap_or_default();
            if let Some(first) = seen.insert(name, place) {
                issues.push(Issue::error(
                    Code::Duplicate,
                    format!("{at}.code"),
                    format!("Koden står redan i concept[{first}]; ha den en gång."),
                    format!("The code is in concept[{first}] already; have it once."),
                ));
            }
            read.insert(name, code);
        }
    }
    for (code, first, last) in standing.in_use {
        match read.get(code.as_str()) {
            None if seen.contains_key(code.as_str()) => {}
            None => issues.extend(standing.list.get(code).map(dropped)),
            Some(new) => issues.extend(outside(new, *first, *last)),
        }
    }
    issues.extend(changed_sides(&read, standing));
    issues
}

fn head(system: &Value, standing: &Standing<'_>) -> Vec<Issue> {
    let mut issues = Vec::new();
    if !system["url"].as_str().is_some_and(kva::is_system) {
        issues.push(Issue::error(
            Code::Value,
            "CodeSystem.url",
            format!("Kodlistan för KVÅ har url {}.", kva::SYSTEM),
            format!("The KVÅ list has the url {}.", kva::SYSTEM),
        ));
    }
    if !["fragment", "complete"].iter().any(|content| system["content"] == *content) {
        issues.push(Issue::error(
            Code::Value,
            "CodeSystem.content",
            "content är fragment (ett urval av KVÅ) eller complete (en kod som saknas finns inte).",
            "content is fragment (a part of KVÅ) or complete (a code that is missing does not exist).",
        ));
    }
    if system["status"] != "active" {
        issues.push(Issue::error(
            Code::Value,
            "CodeSystem.status",
            "En kodlista som ska gälla har status active.",
            "A code list that is to be in force has status active.",
        ));
    }
    match system["version"].as_str() {
        None => issues.push(Issue::error(
            Code::Required,
            "CodeSystem.version",
            "Ange version: statistiken säger vilken kodlista den räknades efter.",
            "Give version: statistics say which list they were counted by.",
        )),
        Some(version) if standing.version == Some(version) => issues.push(Issue::error(
            Code::Duplicate,
            "CodeSystem.version",
            "Listan är ändrad men har samma version som den som gäller; ge den en ny.",
            "The list has changed but has the same version as the one in force; give it a new one.",
        )),
        Some(_) => {}
    }
    if list(&system["concept"]).is_empty() {
        issues.push(Issue::error(
            Code::Required,
            "CodeSystem.concept",
            "Listan har inga koder.",
            "The list has no codes.",
        ));
    }
    issues
}

/// The concept read, where it has a code of KVÅ's form.
fn concept(concept: &Value, at: &str, areas: &ValueSet, issues: &mut Vec<Issue>) -> Option<KvaCode> {
    let name = concept["code"].as_str().unwrap_or_default();
    let has_form = kva::has_form(name);
    if !has_form {
        issues.push(Issue::error(
            Code::CodeInvalid,
            format!("{at}.code"),
            "En KVÅ-kod är två bokstäver och tre siffror, eller tre bokstäver och två siffror.",
            "A KVÅ code is two letters and three digits, or three letters and two digits.",
        ));
    }
    if concept["display"].as_str().is_none_or(|display| display.trim().is_empty()) {
        issues.push(Issue::error(
            Code::Required,
            format!("{at}.display"),
            "Koden saknar text; skriv den som Socialstyrelsen har den.",
            "The code has no text; write it as Socialstyrelsen has it.",
        ));
    }
    if concept.get("concept").is_some() {
        issues.push(Issue::error(
            Code::Structure,
            format!("{at}.concept"),
            "Koder under koder läses inte; ha alla i en nivå.",
            "Codes below codes are not read; have all on one level.",
        ));
    }
    let mut read = KvaCode {
        code: name.to_owned(),
        display: String::new(),
        valid_from: None,
        valid_to: None,
        area: None,
        add_on: false,
    };
    let mut said: Vec<&str> = Vec::new();
    for (place, property) in list(&concept["property"]).iter().enumerate() {
        let at = format!("{at}.property[{place}]");
        let name = property["code"].as_str().unwrap_or_default();
        if said.contains(&name) && PROPERTIES.contains(&name) {
            issues.push(Issue::error(
                Code::Duplicate,
                format!("{at}.code"),
                "Egenskapen står två gånger för samma kod.",
                "The property stands twice for the same code.",
            ));
        }
        said.push(name);
        match name {
            "valid-from" => read.valid_from = day(property, &at, issues),
            "valid-to" => read.valid_to = day(property, &at, issues),
            "area" => read.area = area(property, &at, areas, issues),
            "add-on" => match property["valueBoolean"].as_bool() {
                Some(add_on) => read.add_on = add_on,
                None => issues.push(value(&at, "valueBoolean true eller false", "valueBoolean true or false")),
            },
            _ => issues.extend(misspelt(name, &at)),
        }
    }
    if read.valid_from.zip(read.valid_to).is_some_and(|(from, to)| from > to) {
        issues.push(Issue::error(
            Code::Invariant,
            at,
            "valid-to är före valid-from; en kod gäller från och med den ena till och med den andra.",
            "valid-to is before valid-from; a code is valid from the one to the other, both included.",
        ));
    }
    if name == kva::DISTANCE && !read.add_on {
        issues.push(Issue::error(
            Code::BusinessRule,
            at,
            "ZV051 är en tilläggskod och ska ha egenskapen add-on true.",
            "ZV051 is an add-on code and must have the property add-on true.",
        ));
    }
    if read.add_on && read.area.is_some() {
        issues.push(Issue::error(
            Code::BusinessRule,
            at,
            "En tilläggskod räknas inte som egen åtgärd och har inget område.",
            "An add-on code does not count as an act of its own and has no area.",
        ));
    }
    has_form.then_some(read)
}

fn day(property: &Value, at: &str, issues: &mut Vec<Issue>) -> Option<NaiveDate> {
    let text = property["valueDateTime"].as_str().unwrap_or_default();
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| text.len() == 10);
    if day.is_none() {
        issues.push(value(
            at,
            "valueDateTime som ÅÅÅÅ-MM-DD, en dag som finns",
            "valueDateTime as YYYY-MM-DD, a day that exists",
        ));
    }
    day
}

fn area(property: &Value, at: &str, areas: &ValueSet, issues: &mut Vec<Issue>) -> Option<String> {
    let code = property["valueCode"].as_str().unwrap_or_default();
    if areas.has_code(code) {
        return Some(code.to_owned());
    }
    let (sv, en) = areas.help(Some(code));
    issues.push(Issue::error(
        Code::CodeInvalid,
        format!("{at}.valueCode"),
        format!("Området finns inte; välj ur {sv}."),
        format!("There is no such area; choose from {en}."),
    ));
    None
}

fn value(at: &str, sv: &str, en: &str) -> Issue {
    Issue::error(Code::Value, at, format!("Egenskapen ska ha {sv}."), format!("The property should have {en}."))
}

/// A published list may carry more than is read here; what is nearly one of ours is a slip.
fn misspelt(name: &str, at: &str) -> Option<Issue> {
    let meant = nearest(name, PROPERTIES)?;
    Some(Issue::error(
        Code::CodeInvalid,
        format!("{at}.code"),
        format!("Egenskapen läses inte; menades {meant}?"),
        format!("The property is not read; was {meant} meant?"),
    ))
}

fn dropped(known: &KvaCode) -> Issue {
    let (code, text) = (&known.code, &known.display);
    Issue::error(
        Code::BusinessRule,
        "CodeSystem.concept",
        format!("{code} {text} används av åtgärder som är gjorda och kan inte tas bort; avsluta den med valid-to."),
        format!("{code} {text} is used by acts that were done and cannot be taken away; end it with valid-to."),
    )
}

/// That acts which were counted are so no more is worth knowing before the figures show it.
fn outside(new: &KvaCode, first: NaiveDate, last: NaiveDate) -> Option<Issue> {
    let before = new.valid_from.is_some_and(|from| first < from);
    let after = new.valid_to.is_some_and(|to| last > to);
    (before || after).then(|| {
        let code = &new.code;
        Issue::warning(
            Code::BusinessRule,
            "CodeSystem.concept.property",
            format!(
                "{code} har åtgärder från {first} till {last}: de utanför giltigheten räknas för sig, inte i området."
            ),
            format!("{code} has acts from {first} to {last}: those outside its validity count apart, not in the area."),
        )
    })
}

/// A code in use that becomes an add-on, or is one no more, changes what acts are.
fn changed_sides(read: &BTreeMap<&str, KvaCode>, standing: &Standing<'_>) -> Vec<Issue> {
    let changed = standing.in_use.iter().filter(|(code, _, _)| {
        let now = standing.list.get(code).map(|known| known.add_on);
        now.zip(read.get(code.as_str()).map(|new| new.add_on)).is_some_and(|(now, new)| now != new)
    });
    let issue = |(code, _, _): &(String, NaiveDate, NaiveDate)| {
        Issue::error(
            Code::BusinessRule,
            "CodeSystem.concept.property",
            format!("{code} används: den kan inte göras till eller upphöra att vara tilläggskod. Ta en ny kod."),
            format!("{code} is in use: it cannot become an add-on code or cease to be one. Take a new code."),
        )
    };
    changed.map(issue).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fhir::terminology::Terminology;

    fn areas() -> ValueSet {
        let mut terminology = Terminology::default();
        let mut issues = Vec::new();
        let system =
            json!({ "url": "s", "content": "complete", "concept": [{ "code": "nutrition" }, { "code": "tobacco" }] });
        terminology.add_system("s", &system, &mut issues);
        terminology.add_set("v", &json!({ "url": "v", "compose": { "include": [{ "system": "s" }] } }), &mut issues);
        terminology.compose("v", &mut issues).unwrap()
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn system(concepts: Value) -> Value {
        json!({ "url": kva::SYSTEM, "version": "2", "status": "active", "content": "fragment", "concept": concepts })
    }

    fn concept(code: &str, properties: Value) -> Value {
        json!({ "code": code, "display": "Text", "property": properties })
    }

    fn found(new: &Value, in_use: &[(String, NaiveDate, NaiveDate)]) -> Vec<(bool, String)> {
        let standing =
            CodeList::read(&system(json!([concept("DV143", json!([])), concept("DV133", json!([]))]))).unwrap();
        let areas = areas();
        let standing = Standing { list: &standing, version: Some("1"), in_use, areas: &areas };
        check(new, &standing).into_iter().map(|i| (i.is_error(), format!("{} {}", i.expression, i.en))).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_and_where() {
        let property = |code: &str, name: &str, value: &str| json!([{ "code": code, name: value }]);
        let new = json!({ "url": "urn:other", "version": "1", "status": "draft", "content": "example", "concept": [
            concept("DV14", json!([])),
            { "code": "DV113" },
            concept("DV113", json!([])),
            concept("DV123", property("valid-to", "valueDateTime", "2026-02-30")),
            concept("DV133", property("area", "valueCode", "nutriton")),
            concept("DV143", json!([{ "code": "valid-from", "valueDateTime": "2026-07-01" }, { "code": "valid-to", "valueDateTime": "2026-06-30" }])),
            concept("AW005", property("valid-too", "valueDateTime", "2026-06-30")),
            concept("ZV051", json!([])),
            { "code": "AW020", "display": "Text", "concept": [] },
        ] });
        let found = found(&new, &[]);
        for (at, what) in [
            ("CodeSystem.url ", "url"),
            ("CodeSystem.content ", "fragment"),
            ("CodeSystem.status ", "active"),
            ("CodeSystem.version ", "same version"),
            ("CodeSystem.concept[0].code ", "two letters"),
            ("CodeSystem.concept[1].display ", "no text"),
            ("CodeSystem.concept[2].code ", "concept[1]"),
            ("CodeSystem.concept[3].property[0] ", "YYYY-MM-DD"),
            ("CodeSystem.concept[4].property[0].valueCode ", "nutrition"),
            ("CodeSystem.concept[5] ", "before"),
            ("CodeSystem.concept[6].property[0].code ", "valid-to"),
            ("CodeSystem.concept[7] ", "add-on"),
            ("CodeSystem.concept[8].concept ", "one level"),
        ] {
            assert!(
                found.iter().any(|(error, line)| *error && line.starts_with(at) && line.contains(what)),
                "{at}: {found:#?}"
            );
        }
        assert_eq!(found.len(), 13, "{found:#?}");
    }

    #[test]
    fn a_code_in_use_is_ended_and_never_dropped() {
        let used = [("DV143".to_owned(), day("2026-01-02"), day("2026-08-01"))];
        let without = system(json!([concept("DV133", json!([]))]));
        assert!(
            matches!(found(&without, &used).as_slice(), [(true, line)] if line.contains("DV143") && line.contains("valid-to"))
        );
        assert!(found(&without, &[]).is_empty(), "one that nobody used may go");
        let ended = |to: &str| system(json!([concept("DV143", json!([{ "code": "valid-to", "valueDateTime": to }]))]));
        assert!(found(&ended("2026-08-01"), &used).is_empty());
        assert!(
            matches!(found(&ended("2026-06-30"), &used).as_slice(), [(false, line)] if line.contains("2026-08-01"))
        );
        let side = system(json!([concept("DV143", json!([{ "code": "add-on", "valueBoolean": true }]))]));
        assert!(matches!(found(&side, &used).as_slice(), [(true, line)] if line.contains("add-on")));
    }

    #[test]
    fn a_right_list_has_no_finding() {
        let new = system(json!([
            concept(
                "DV143",
                json!([{ "code": "area", "valueCode": "nutrition" }, { "code": "note", "valueString": "x" }])
            ),
            concept("ZV051", json!([{ "code": "add-on", "valueBoolean": true }])),
        ]));
        assert!(found(&new, &[]).is_empty());
    }
}
