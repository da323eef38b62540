//! What is wrong with rules, fields and assessments is told where they are loaded, by file and rule.

use serde_json::{Value, json};

use super::{ID, VGR, check_cases, day, files, load, with};
use crate::fhir::issue::Issue;
use crate::rules::NoSet;

fn told(issues: &[Issue]) -> Vec<String> {
    issues.iter().map(|i| format!("{}: {} {}", i.origin.as_deref().unwrap_or_default(), i.expression, i.en)).collect()
}

/// The shipped rules with one rule changed; what is found, and nothing is in force.
fn found(id: &str, change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut change = Some(change);
    let files = with(|plan| {
        for rule in plan["action"].as_array_mut().unwrap().iter_mut().flat_map(|g| g["action"].as_array_mut().unwrap())
        {
            if rule["id"] == id
                && let Some(change) = change.take()
            {
                change(rule);
            }
        }
    });
    let (sets, issues) = load(&files);
    assert!(sets.by_id(ID).is_none(), "a set with an error is not in force");
    told(&issues)
}

#[test]
fn a_mistake_in_a_rule_is_found_by_file_and_rule() {
    let expression = "/condition/0/expression/expression";
    let misspelt = found("PA-S2", |rule| *rule.pointer_mut(expression).unwrap() = json!("criteria.skeletalMetastasis"));
    assert_eq!(misspelt.len(), 1);
    assert!(misspelt[0].starts_with(&format!("{VGR} rule PA-S2: PlanDefinition.action.condition")), "{misspelt:?}");
    assert!(misspelt[0].contains("did you mean criteria.skeletalMetastases?"), "{misspelt:?}");
    type Change = fn(&mut Value);
    let cases: [(&str, Change, &str); 9] = [
        (
            "PA-S2",
            |r| *r.pointer_mut("/condition/0/expression/expression").unwrap() = json!("treatment.phase = 'aftr'"),
            "phase = 'aftr'",
        ),
        (
            "PA-S2",
            |r| {
                *r.pointer_mut("/condition/0/expression/expression").unwrap() = json!("criteria.cancerSurgery.exists()")
            },
            "not said",
        ),
        ("PA-S2", |r| *r.pointer_mut("/condition/0/expression/language").unwrap() = json!("text/cql"), "text/fhirpath"),
        ("FAT-P1", |r| r["extension"][0]["valueString"] = json!("FAT-S9"), "no rule FAT-S9 in the group"),
        (
            "FAT-S2",
            |r| r["extension"] = json!([{ "url": "https://vardkedja.example/fhir/StructureDefinition/sets-aside", "valueString": "FAT-P1" }]),
            "sets itself aside",
        ),
        ("TOB-1", |r| r["prefix"] = json!("TOB-9"), "is not the rule's id"),
        ("TOB-1", |r| drop(r.as_object_mut().unwrap().remove("description")), "is missing: the words"),
        ("TOB-1", |r| drop(r.as_object_mut().unwrap().remove("textEquivalent")), "what the rule comes to"),
        (
            "SEX-2",
            |r| r["code"][2]["coding"][1]["code"] = json!("reproductive-medicin"),
            "did you mean reproductive-medicine?",
        ),
    ];
    for (id, change, words) in cases {
        let found = found(id, change);
        assert!(found.iter().any(|line| line.contains(words)), "{id} {words}: {found:?}");
        assert!(found.iter().all(|line| line.starts_with(&format!("{VGR} rule "))), "{found:?}");
    }
    let points_nowhere = found("TOB-1", |rule| drop(rule["code"].as_array_mut().unwrap().pop()));
    assert!(points_nowhere[0].contains("points at nobody"), "{points_nowhere:?}");
    let twice = with(|plan| {
        let twin = plan["action"][1]["action"][0].clone();
        plan["action"][2]["action"].as_array_mut().unwrap().push(twin);
    });
    assert!(told(&load(&twice).1)[0].contains("rule FAT-S1"), "an id occurs once");
}

#[test]
fn a_case_that_comes_out_otherwise_and_a_rule_without_cases_are_findings() {
    let mut files = files();
    let name = format!("examples/PlanDefinition-{ID}.cases.toml");
    let text = files[&name].replacen("answer = \"conflict\"", "answer = \"primary\"", 1);
    files.insert(name.clone(), text.replace("not = [\"TRF-1\"]", "not = []"));
    let (sets, _) = load(&files);
    let found = told(&check_cases(&sets, &files));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("both sides") && found[0].contains("\"conflict\", not \"primary\""), "{found:?}");
    assert!(found[1].contains("rule TRF-1") && found[1].contains("does not apply"), "{found:?}");
    files.remove(&name);
    assert!(check_cases(&sets, &files).iter().all(|issue| !issue.is_error()), "rules without cases are only warned of");
}

/// The shipped rules as those of another region, from a day on.
fn other(id: &str, region: &str, period: Value) -> (String, String) {
    let mut plan: Value = serde_json::from_str(&files()[VGR]).unwrap();
    plan["id"] = json!(id);
    plan["url"] = json!(format!("https://example.se/{id}"));
    plan["jurisdiction"][0]["coding"][0]["code"] = json!(region);
    plan["effectivePeriod"] = period;
    (format!("PlanDefinition-{id}.json"), plan.to_string())
}

#[test]
fn the_rules_are_those_of_the_region_and_the_day() {
    let mut all = files();
    let from = json!({ "start": "2026-01-01" });
    let before = json!({ "start": "2024-01-01", "end": "2025-12-31" });
    for (name, text) in [other("north-2", "07", from.clone()), other("north-1", "07", before)] {
        all.insert(name, text);
    }
    let (sets, issues) = load(&all);
    assert!(issues.is_empty(), "{:?}", told(&issues));
    let id = |region: Option<&str>, on: &str| sets.choose(region, day(on)).map(|set| set.id.as_str());
    assert_eq!(id(Some("07"), "2026-03-02"), Ok("north-2"));
    assert_eq!(id(Some("07"), "2025-12-31"), Ok("north-1"));
    assert_eq!(id(Some("07"), "2023-12-31"), Err(NoSet::Day));
    assert_eq!(id(Some("14"), "1999-01-01"), Ok(ID), "a set without days holds on all");
    let regions = vec!["07".to_owned(), "14".to_owned()];
    assert_eq!(id(Some("01"), "2026-03-02"), Err(NoSet::Region(regions.clone())));
    assert_eq!(id(None, "2026-03-02"), Err(NoSet::Which(regions)));
    assert_eq!(load(&files()).0.choose(None, day("2026-03-02")).unwrap().id, ID, "of one there is no question");
    let (name, text) = other("north-3", "07", from);
    all.insert(name, text);
    assert!(told(&load(&all).1)[0].contains("the same region from the same day"));
    let retired = all.values_mut().filter(|text| text.contains("north-3"));
    retired.for_each(|text| *text = text.replace("\"status\":\"active\"", "\"status\":\"retired\""));
    assert!(load(&all).1.is_empty(), "one that is retired is in nobody's way");
}

#[test]
fn another_region_asks_for_what_it_needs() {
    let mut all = files();
    let (name, text) = other("south", "12", json!({ "start": "2026-01-01" }));
    all.insert(name, text.replace("criteria.skeletalMetastases", "south.remote"));
    assert!(told(&load(&all).1)[0].contains("south.remote"), "a field that nobody declared");
    let field = json!({ "resourceType": "CodeSystem", "id": "assessment-input-south", "content": "complete", "status": "active",
        "url": "https://vardkedja.example/fhir/CodeSystem/assessment-input-south",
        "concept": [{ "code": "south.remote", "display": "Remote", "designation": [{ "language": "sv", "value": "om det är långt" }],
                      "property": [{ "code": "type", "valueCode": "boolean" }] }] });
    all.insert("CodeSystem-assessment-input-south.json".into(), field.to_string());
    let (sets, issues) = load(&all);
    assert!(issues.is_empty(), "{:?}", told(&issues));
    let body = json!({ "south": { "remote": true }, "needs": { "physical-activity": "basic" } });
    assert!(sets.inputs.check(body.as_object().unwrap(), day("2026-03-02")).is_ok());
}

#[test]
fn an_assessment_is_refused_for_all_that_is_wrong_with_it_at_once() {
    let (sets, _) = load(&files());
    let check = |body: Value| sets.inputs.check(body.as_object().unwrap(), day("2026-03-02")).map(|a| a.names().len());
    let issues = check(json!({
        "needs": { "fatige": "basic", "tobacco": "large" }, "cfs": 10, "asOf": "2026-02-30", "criteria": true,
        "treatment": { "end": "2026", "phase": null }, "195009072553": "Tolvan",
    }));
    let told = told(&issues.unwrap_err()).join("\n");
    for words in [
        "needs.fatige There is no such field; did you mean needs.fatigue?",
        "needs.tobacco The field should be one of",
        "cfs The field should be an integer 1–9",
        "asOf The field should be a day",
        "criteria The field should be an object",
        "treatment.end The field",
        "treatment.phase The field",
        "(unknown name)",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(!told.contains("Tolvan") && !told.contains("1950"), "{told}");
    let future = json!({ "treatment": { "phase": "after", "end": "2026-03-03" } });
    let contradiction = super::lines(&check(future).unwrap_err());
    assert!(contradiction.contains("treatment.end") && contradiction.contains("contradicts"), "{contradiction}");
    assert_eq!(check(json!({ "treatment": { "phase": "ongoing", "end": "2026-03-03" } })), Ok(2));
    assert_eq!(check(json!({ "treatment": { "intent": "unknown" } })), Ok(0), "what is not known is not said");
}
