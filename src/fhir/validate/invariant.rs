//! R4's own invariants, as functions: which are enforced, and which are not and why.
//!
//! A FHIRPath engine takes tens of microseconds for each; there are few enough to write by hand. The generic ones
//! (ele-1, ext-1, dom-2 to dom-5, ref-1, txt-1, txt-2) live in the walk.

use serde_json::{Map, Value};

use crate::fhir::primitive::day_of;

type Object = Map<String, Value>;

/// One invariant on one class.
pub struct Rule {
    /// The class whose objects it is asked of.
    pub class: &'static str,
    pub key: &'static str,
    pub holds: fn(&Object) -> bool,
    pub sv: &'static str,
    pub en: &'static str,
}

/// The invariants of R4 for the served types that are not enforced, and why.
pub const NOT_ENFORCED: &[(&str, &str, &str)] = &[
    ("Bundle", "bdl-12", "MessageHeader is not served"),
    ("CareTeam.participant", "ctm-1", "asks what kind of resource a reference leads to"),
    ("Observation", "obs-7", "a panel that repeats its own code; no block of ours makes components"),
];

/// Those that the walk itself enforces.
#[cfg(test)]
const IN_WALK: &[(&str, &str)] = &[("Narrative.div", "txt-1"), ("Narrative.div", "txt-2"), ("Reference", "ref-1")];

/// The rules of one class.
pub fn of(class: &str) -> Vec<&'static Rule> {
    RULES.iter().filter(|r| r.class == class).collect()
}

const UCUM: &str = "http://unitsofmeasure.org";

macro_rules! rules {
    ($($class:literal $key:literal $holds:expr, $sv:literal, $en:literal;)*) => {
        &[$(Rule { class: $class, key: $key, holds: $holds, sv: $sv, en: $en }),*]
    };
}

pub static RULES: &[Rule] = rules! {
    "Quantity" "qty-3" |o| unless(o, "code", has(o, "system")), "en enhetskod kräver system", "a unit code needs its system";
    "Age" "qty-3" |o| unless(o, "code", has(o, "system")), "en enhetskod kräver system", "a unit code needs its system";
    "Count" "qty-3" |o| unless(o, "code", has(o, "system")), "en enhetskod kräver system", "a unit code needs its system";
    "Distance" "qty-3" |o| unless(o, "code", has(o, "system")), "en enhetskod kräver system", "a unit code needs its system";
    "Duration" "qty-3" |o| unless(o, "code", has(o, "system")), "en enhetskod kräver system", "a unit code needs its system";
    "Age" "age-1" |o| ucum(o) && !negative_or_zero(o), "en ålder ska ha kod i UCUM och vara större än noll", "an age has a UCUM code and is above zero";
    "Count" "cnt-3" |o| ucum(o) && o.get("code").is_none_or(|c| c == "1") && !fraction(o),
        "ett antal ska ha kod 1 i UCUM och vara ett heltal", "a count has the UCUM code 1 and is a whole number";
    "Distance" "dis-1" ucum, "ett avstånd ska ha kod i UCUM", "a distance has a UCUM code";
    "Duration" "drt-1" |o| unless(o, "code", text(o, "system") == Some(UCUM) && has(o, "value")),
        "en varaktighet med kod ska ha system UCUM och värde", "a duration with a code has the system UCUM and a value";
    "DataRequirement.codeFilter" "drq-1" |o| has(o, "path") != has(o, "searchParam"), "path eller searchParam, ett av dem", "path or searchParam, one of them";
    "DataRequirement.dateFilter" "drq-2" |o| has(o, "path") != has(o, "searchParam"), "path eller searchParam, ett av dem", "path or searchParam, one of them";
    "Expression" "exp-1" |o| has(o, "expression") || has(o, "reference"), "ett uttryck kräver expression eller reference", "an expression needs expression or reference";
    "TriggerDefinition" "trd-1" |o| !(has(o, "data") && has_choice(o, "timing")), "data och timing utesluter varandra", "data and timing exclude each other";
    "TriggerDefinition" "trd-2" |o| unless(o, "condition", has(o, "data")), "condition kräver data", "condition needs data";
    "TriggerDefinition" "trd-3" |o| match text(o, "type") {
        Some("named-event") => has(o, "name"),
        Some("periodic") => has_choice(o, "timing"),
        Some(kind) => !kind.starts_with("data-") || has(o, "data"),
        None => true,
    }, "en namngiven händelse kräver name, en återkommande timing, en om data data", "a named event needs name, a periodic one timing, one about data data";
    "Attachment" "att-1" |o| unless(o, "data", has(o, "contentType")), "bifogade data kräver contentType", "attached data need contentType";
    "ContactPoint" "cpt-2" |o| unless(o, "value", has(o, "system")), "en kontaktuppgift kräver system (phone, email …)", "a contact value needs its system (phone, email …)";
    "Period" "per-1" |o| in_order(o, "start", "end"), "start ska inte vara efter end", "start must not be after end";
    "Range" "rng-2" range_in_order, "low ska inte vara större än high", "low must not be above high";
    "Ratio" "rat-1" |o| has(o, "numerator") == has(o, "denominator") && (has(o, "numerator") || has(o, "extension")),
        "numerator och denominator ska finnas båda eller ingen", "numerator and denominator go together";
    "Timing.repeat" "tim-1" |o| unless(o, "duration", has(o, "durationUnit")), "duration kräver durationUnit", "duration needs durationUnit";
    "Timing.repeat" "tim-2" |o| unless(o, "period", has(o, "periodUnit")), "period kräver periodUnit", "period needs periodUnit";
    "Timing.repeat" "tim-4" |o| !negative(o, "duration"), "duration ska inte vara negativ", "duration must not be negative";
    "Timing.repeat" "tim-5" |o| !negative(o, "period"), "period ska inte vara negativ", "period must not be negative";
    "Timing.repeat" "tim-6" |o| unless(o, "periodMax", has(o, "period")), "periodMax kräver period", "periodMax needs period";
    "Timing.repeat" "tim-7" |o| unless(o, "durationMax", has(o, "duration")), "durationMax kräver duration", "durationMax needs duration";
    "Timing.repeat" "tim-8" |o| unless(o, "countMax", has(o, "count")), "countMax kräver count", "countMax needs count";
    "Timing.repeat" "tim-9" offset_has_when, "offset kräver when, och inte C, CM, CD eller CV", "offset needs when, other than C, CM, CD and CV";
    "Timing.repeat" "tim-10" |o| !(has(o, "timeOfDay") && has(o, "when")), "timeOfDay och when utesluter varandra", "timeOfDay and when exclude each other";
    "Appointment" "app-2" |o| has(o, "start") == has(o, "end"), "start och end ska finnas båda eller ingen", "start and end go together";
    "Appointment" "app-3" |o| has(o, "start") && has(o, "end") || is(o, "status", &["proposed", "cancelled", "waitlist"]),
        "bara ett förslag, en avbokad eller väntande bokning får sakna tid", "only a proposed, cancelled or waitlisted appointment may lack its time";
    "Appointment" "app-4" |o| unless(o, "cancelationReason", is(o, "status", &["noshow", "cancelled"])),
        "cancelationReason hör till status cancelled eller noshow", "cancelationReason belongs to status cancelled or noshow";
    "Appointment.participant" "app-1" |o| has(o, "type") || has(o, "actor"), "en deltagare kräver type eller actor", "a participant needs type or actor";
    "AuditEvent.entity" "sev-1" |o| !(has(o, "name") && has(o, "query")), "name och query utesluter varandra", "name and query exclude each other";
    "CodeSystem" "csd-1" |o| distinct_codes(o), "en kod förekommer en gång, också bland underordnade", "a code occurs once, those below others included";
    "Measure" "mea-1" |o| nested(o, "group", "stratifier").all(|s| ["code", "description", "criteria"].iter().any(|n| s.get(*n).is_some()) != s.get("component").is_some()),
        "en indelning har ett eget villkor eller delar, inte båda", "a stratifier has a criteria of its own or components, not both";
    "MeasureReport" "mrp-1" |o| !(is(o, "type", &["data-collection"]) && has(o, "group")), "en rapport för insamling har inga grupper", "a report for data collection has no groups";
    "MeasureReport" "mrp-2" |o| nested(o, "group", "stratifier").flat_map(|s| inner(s, "stratum")).all(|s| s.get("value").is_some() != s.get("component").is_some()),
        "ett stratum har value eller component, ett av dem", "a stratum has value or component, one of them";
    "Bundle" "bdl-1" |o| unless(o, "total", is(o, "type", &["searchset", "history"])), "total hör till searchset och history", "total belongs to searchset and history";
    "Bundle" "bdl-2" |o| is(o, "type", &["searchset"]) || entries(o).all(|e| e.get("search").is_none()), "search hör till searchset", "search belongs to searchset";
    "Bundle" "bdl-3" |o| { let due = is(o, "type", &["batch", "transaction", "history"]); entries(o).all(|e| e.get("request").is_some() == due) },
        "varje post i batch, transaction och history ska ha request, och inga andra", "each entry of batch, transaction and history has request, and no others";
    "Bundle" "bdl-4" |o| { let due = is(o, "type", &["batch-response", "transaction-response", "history"]); entries(o).all(|e| e.get("response").is_some() == due) },
        "varje post i ett svar och i history ska ha response, och inga andra", "each entry of a response and of history has response, and no others";
    "Bundle" "bdl-7" distinct_urls, "fullUrl ska förekomma en gång", "a fullUrl occurs once";
    "Bundle" "bdl-9" |o| !is(o, "type", &["document"]) || o.get("identifier").is_some_and(|i| i.get("system").is_some() && i.get("value").is_some()),
        "ett dokument kräver identifier med system och value", "a document needs an identifier with system and value";
    "Bundle" "bdl-10" |o| !is(o, "type", &["document"]) || has(o, "timestamp"), "ett dokument kräver timestamp", "a document needs timestamp";
    "Bundle" "bdl-11" |o| !is(o, "type", &["document"]) || entries(o).next().is_some_and(|e| e.get("resource").is_some_and(|r| r.get("resourceType").is_some_and(|t| t == "Composition"))),
        "ett dokument börjar med en Composition", "a document begins with a Composition";
    "Bundle.entry" "bdl-5" |o| has(o, "resource") || has(o, "request") || has(o, "response"), "en post kräver resource, request eller response", "an entry needs resource, request or response";
    "Bundle.entry" "bdl-8" |o| text(o, "fullUrl").is_none_or(|u| !u.contains("/_history/")), "fullUrl ska inte nämna en version", "fullUrl names no version";
    "CarePlan.activity" "cpl-3" |o| !(has(o, "detail") && has(o, "reference")), "detail och reference utesluter varandra", "detail and reference exclude each other";
    "Composition.section" "cmp-1" |o| has(o, "text") || has(o, "entry") || has(o, "section"), "ett avsnitt kräver text, entry eller section", "a section needs text, entry or section";
    "Composition.section" "cmp-2" |o| !(has(o, "emptyReason") && has(o, "entry")), "emptyReason hör till ett tomt avsnitt", "emptyReason belongs to an empty section";
    "Condition" "con-4" |o| !has_choice(o, "abatement") || coded(o, "clinicalStatus", "http://terminology.hl7.org/CodeSystem/condition-clinical", &["resolved", "remission", "inactive"]),
        "ett avslutat tillstånd har clinicalStatus resolved, remission eller inactive", "a condition that has abated is resolved, in remission or inactive";
    "Condition" "con-5" |o| !coded(o, "verificationStatus", "http://terminology.hl7.org/CodeSystem/condition-ver-status", &["entered-in-error"]) || !has(o, "clinicalStatus"),
        "ett felregistrerat tillstånd har ingen clinicalStatus", "a condition entered in error has no clinicalStatus";
    "Condition.stage" "con-1" |o| has(o, "summary") || has(o, "assessment"), "ett stadium kräver summary eller assessment", "a stage needs summary or assessment";
    "Condition.evidence" "con-2" |o| has(o, "code") || has(o, "detail"), "evidence kräver code eller detail", "evidence needs code or detail";
    "Consent" "ppc-1" |o| has(o, "policy") || has(o, "policyRule"), "ett samtycke kräver policy eller policyRule", "a consent needs policy or policyRule";
    // The standard's expressions name the system 'something', so that they never fail; this is what they mean.
    "Consent" "ppc-2" |o| of_a_patient(o, "patient-privacy"), "ett samtycke av detta slag kräver patient", "a consent of this scope needs patient";
    "Consent" "ppc-3" |o| of_a_patient(o, "research"), "ett samtycke av detta slag kräver patient", "a consent of this scope needs patient";
    "Consent" "ppc-4" |o| of_a_patient(o, "adr"), "ett samtycke av detta slag kräver patient", "a consent of this scope needs patient";
    "Consent" "ppc-5" |o| of_a_patient(o, "treatment"), "ett samtycke av detta slag kräver patient", "a consent of this scope needs patient";
    "Goal.target" "gol-1" |o| !has_choice(o, "detail") || has(o, "measure"), "ett målvärde kräver measure", "a target value needs measure";
    "Group" "grp-1" |o| unless(o, "member", o.get("actual") == Some(&Value::Bool(true))), "bara en faktisk grupp har medlemmar", "only an actual group has members";
    "Observation" "obs-6" |o| !(has(o, "dataAbsentReason") && has_choice(o, "value")), "dataAbsentReason och value utesluter varandra", "dataAbsentReason and value exclude each other";
    "Observation.referenceRange" "obs-3" |o| has(o, "low") || has(o, "high") || has(o, "text"), "ett referensintervall kräver low, high eller text", "a reference range needs low, high or text";
    "Organization" "org-1" |o| has(o, "identifier") || has(o, "name"), "en organisation kräver identifier eller name", "an organization needs identifier or name";
    "Organization" "org-2" |o| items(o, "address").all(|a| a.get("use").is_none_or(|u| u != "home")), "en organisation har ingen hemadress", "an organization has no home address";
    "Organization" "org-3" |o| items(o, "telecom").all(|a| a.get("use").is_none_or(|u| u != "home")), "en organisation har inget hemnummer", "an organization has no home number";
    "Parameters.parameter" "inv-1" one_of_three, "en parameter har value, resource eller part, precis en av dem", "a parameter has exactly one of value, resource and part";
    "Patient.contact" "pat-1" |o| has(o, "name") || has(o, "telecom") || has(o, "address") || has(o, "organization"),
        "en kontaktperson kräver namn, telefon, adress eller organisation", "a contact needs name, telecom, address or organization";
    "QuestionnaireResponse.item" "qrs-1" |o| !(has(o, "answer") && has(o, "item")), "answer och item utesluter varandra", "answer and item exclude each other";
    "ServiceRequest" "prr-1" |o| unless(o, "orderDetail", has(o, "code")), "orderDetail kräver code", "orderDetail needs code";
    "Task" "inv-1" |o| in_order(o, "authoredOn", "lastModified"), "lastModified ska inte vara före authoredOn", "lastModified must not be before authoredOn";
};

/// The items of a list, and below each those of a list of its own.
fn nested<'a>(o: &'a Object, outer: &str, name: &'a str) -> impl Iterator<Item = &'a Value> {
    items(o, outer).flat_map(move |item| item.get(name).and_then(Value::as_array).into_iter().flatten())
}

fn inner<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn distinct_codes(o: &Object) -> bool {
    fn collect<'a>(list: Option<&'a Value>, codes: &mut Vec<&'a str>) {
        for concept in list.and_then(Value::as_array).into_iter().flatten() {
            codes.extend(concept.get("code").and_then(Value::as_str));
            collect(concept.get("concept"), codes);
        }
    }
    let mut codes = Vec::new();
    collect(o.get("concept"), &mut codes);
    let all = codes.len();
    codes.sort_unstable();
    codes.dedup();
    codes.len() == all
}

fn has(o: &Object, name: &str) -> bool {
    o.contains_key(name)
}

fn unless(o: &Object, name: &str, holds: bool) -> bool {
    holds || !has(o, name)
}

fn text<'a>(o: &'a Object, name: &str) -> Option<&'a str> {
    o.get(name).and_then(Value::as_str)
}

fn is(o: &Object, name: &str, codes: &[&str]) -> bool {
    text(o, name).is_some_and(|t| codes.contains(&t))
}

/// Whether any type of a choice is given: a name that goes on with a capital.
fn has_choice(o: &Object, stem: &str) -> bool {
    o.keys().any(|k| k.strip_prefix(stem).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase())))
}

fn items<'a>(o: &'a Object, name: &str) -> impl Iterator<Item = &'a Value> {
    o.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn entries(o: &Object) -> impl Iterator<Item = &Value> {
    items(o, "entry")
}

fn coded(o: &Object, name: &str, system: &str, codes: &[&str]) -> bool {
    o.get(name).and_then(|c| c.get("coding")).and_then(Value::as_array).into_iter().flatten().any(|c| {
        c.get("system").is_some_and(|s| s == system)
            && c.get("code").and_then(Value::as_str).is_some_and(|c| codes.contains(&c))
    })
}

fn of_a_patient(o: &Object, scope: &str) -> bool {
    has(o, "patient") || !coded(o, "scope", "http://terminology.hl7.org/CodeSystem/consentscope", &[scope])
}

fn ucum(o: &Object) -> bool {
    (has(o, "code") || !has(o, "value")) && text(o, "system").is_none_or(|s| s == UCUM)
}

fn written<'a>(o: &'a Object, name: &str) -> Option<&'a str> {
    match o.get(name) {
        Some(Value::Number(n)) => Some(n.as_str()),
        _ => None,
    }
}

fn is_zero(number: &str) -> bool {
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    mantissa.bytes().all(|b| !b.is_ascii_digit() || b == b'0')
}

fn negative(o: &Object, name: &str) -> bool {
    written(o, name).is_some_and(|n| n.starts_with('-') && !is_zero(n))
}

fn negative_or_zero(o: &Object) -> bool {
    written(o, "value").is_some_and(|n| n.starts_with('-') || is_zero(n))
}

fn fraction(o: &Object) -> bool {
    written(o, "value").is_some_and(|n| n.contains('.'))
}

/// Whether two times are in order, as far as they can be compared.
fn in_order(o: &Object, first: &str, last: &str) -> bool {
    let (Some(a), Some(b)) = (text(o, first), text(o, last)) else { return true };
    if let (Ok(a), Ok(b)) = (chrono::DateTime::parse_from_rfc3339(a), chrono::DateTime::parse_from_rfc3339(b)) {
        return a <= b;
    }
    if let (Some(a), Some(b)) = (day_of(a), day_of(b)) {
        return a <= b;
    }
    let shared = a.len().min(b.len()).min(10);
    a.get(..shared) <= b.get(..shared)
}

/// Compared only where both are plain decimals of the same unit.
fn range_in_order(o: &Object) -> bool {
    let end = |name: &str| o.get(name).and_then(Value::as_object);
    let (Some(low), Some(high)) = (end("low"), end("high")) else { return true };
    if low.get("code") != high.get("code") || low.get("unit") != high.get("unit") {
        return true;
    }
    match (written(low, "value").and_then(fixed_point), written(high, "value").and_then(fixed_point)) {
        (Some(low), Some(high)) => low <= high,
        _ => true,
    }
}

/// A decimal as a whole number of 10⁻⁹.
fn fixed_point(number: &str) -> Option<i128> {
    let (sign, digits) = number.strip_prefix('-').map_or((1, number), |rest| (-1, rest));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if part.len() > 9 || whole.len() > 20 {
        return None;
    }
    let joined: i128 = format!("{whole}{part:0<9}").parse().ok()?;
    Some(sign * joined)
}

fn offset_has_when(o: &Object) -> bool {
    !has(o, "offset")
        || has(o, "when") && items(o, "when").all(|w| !matches!(w.as_str(), Some("C" | "CM" | "CD" | "CV")))
}

fn one_of_three(o: &Object) -> bool {
    let given = [has(o, "part"), has(o, "resource"), has_choice(o, "value")];
    given.into_iter().filter(|g| *g).count() == 1
}

fn distinct_urls(o: &Object) -> bool {
    if is(o, "type", &["history"]) {
        return true;
    }
    let mut seen = std::collections::HashSet::new();
    entries(o).all(|e| {
        let version = e.get("resource").and_then(|r| r.get("meta")).and_then(|m| m.get("versionId"));
        e.get("fullUrl").and_then(Value::as_str).is_none_or(|url| seen.insert((url, version.and_then(Value::as_str))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeSet;

    #[test]
    fn every_invariant_of_the_standard_is_enforced_or_named() {
        let mut stands = BTreeSet::new();
        for line in include_str!("../r4.tsv").lines().filter(|l| !l.starts_with('#')) {
            let cells: Vec<&str> = line.split('\t').collect();
            let (path, keys) = (cells[0], cells.get(5).copied().unwrap_or_default());
            // ElementDefinition stands in no resource that is served.
            if !path.starts_with("ElementDefinition") {
                stands.extend(keys.split(',').filter(|k| !k.is_empty()).map(|k| (path, k)));
            }
        }
        let mut ours: BTreeSet<(&str, &str)> = RULES.iter().map(|r| (r.class, r.key)).collect();
        ours.extend(NOT_ENFORCED.iter().map(|(path, key, _)| (*path, *key)));
        ours.extend(IN_WALK);
        // Asked of the whole organization, because a telecom does not know whose it is.
        for (whole, part, key) in
            [("Organization", "Organization.address", "org-2"), ("Organization", "Organization.telecom", "org-3")]
        {
            assert!(ours.remove(&(whole, key)));
            ours.insert((part, key));
        }
        assert_eq!(stands, ours);
    }

    fn holds(class: &str, key: &str, value: &Value) -> bool {
        let rule = RULES.iter().find(|r| r.class == class && r.key == key).unwrap();
        (rule.holds)(value.as_object().unwrap())
    }

    #[test]
    fn times_are_compared_as_far_as_they_go() {
        let period = |start: &str, end: &str| holds("Period", "per-1", &json!({ "start": start, "end": end }));
        assert!(period("2024-01-01", "2024-01-01") && period("2024-03", "2024") && period("2024", "2024-01-01"));
        assert!(period("2024-01-01T10:00:00+02:00", "2024-01-01T09:00:00Z"));
        assert!(!period("2024-01-02", "2024-01-01") && !period("2024-01-01T10:00:00Z", "2024-01-01T10:59:00+01:00"));
        assert!(!period("2024-02", "2024-01-31") && !period("2025", "2024-12"));
    }

    #[test]
    fn the_rules_say_no_where_the_standard_does() {
        assert!(!holds("Age", "age-1", &json!({ "value": 0, "code": "a", "system": UCUM })));
        assert!(!holds(
            "Count",
            "cnt-3",
            &json!({ "value": serde_json::from_str::<Value>("1.5").unwrap(), "code": "1" })
        ));
        assert!(!holds("Range", "rng-2", &json!({ "low": { "value": 2 }, "high": { "value": 1 } })));
        assert!(!holds("Timing.repeat", "tim-4", &json!({ "duration": -1 })));
        assert!(!holds("Timing.repeat", "tim-9", &json!({ "offset": 1, "when": ["CM"] })));
        assert!(!holds("Parameters.parameter", "inv-1", &json!({ "name": "a", "valueCode": "a", "part": [] })));
        assert!(!holds("Goal.target", "gol-1", &json!({ "detailString": "a" })));
        assert!(!holds(
            "Consent",
            "ppc-2",
            &json!({ "scope": { "coding": [ { "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy" } ] } })
        ));
        assert!(!holds("Bundle", "bdl-3", &json!({ "type": "transaction", "entry": [ { "resource": {} } ] })));
        assert!(!holds(
            "Bundle",
            "bdl-7",
            &json!({ "type": "collection", "entry": [ { "fullUrl": "a" }, { "fullUrl": "a" } ] })
        ));
        assert!(holds("Bundle", "bdl-3", &json!({ "type": "collection", "entry": [ { "resource": {} } ] })));
    }
}
