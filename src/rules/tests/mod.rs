//! The rules that are shipped, and how any rules combine.

mod combine;
mod loading;
mod words;

use std::sync::OnceLock;

use chrono::NaiveDate;
use serde_json::{Value, json};

use super::{Finding, Kind, Rule, RuleSets, check_cases, judge};
use crate::fhir::issue::Issue;
use crate::fhir::profile::Profiles;
use crate::profile_files;
use crate::rules::sets::Files;

const VGR: &str = "PlanDefinition-vgr-cancerrehabilitering.json";
const ID: &str = "vgr-cancerrehabilitering";

fn files() -> Files {
    profile_files(None).unwrap()
}

/// With the code systems as they are shipped, which are read once.
fn load(files: &Files) -> (RuleSets, Vec<Issue>) {
    static PROFILES: OnceLock<Profiles> = OnceLock::new();
    let profiles = PROFILES.get_or_init(|| Profiles::load(&self::files()).0);
    RuleSets::load(files, profiles.terminology())
}

/// The shipped rules, with a change made to their JSON.
fn with(change: impl FnOnce(&mut Value)) -> Files {
    let mut files = files();
    let mut plan: Value = serde_json::from_str(&files[VGR]).unwrap();
    change(&mut plan);
    files.insert(VGR.to_owned(), plan.to_string());
    files
}

fn lines(issues: &[Issue]) -> String {
    issues.iter().map(|issue| format!("{}\n", issue.line())).collect()
}

/// The answer for an area, in words: who, and by which rules.
fn ask(sets: &RuleSets, area: &str, body: Value) -> String {
    told(sets, area, body, |finding| {
        let fired: Vec<&str> = finding.fired.iter().map(|(rule, _)| rule.id.as_str()).collect();
        format!("{} {}", finding.responsible.map_or("", |one| one.code()), fired.join(" ")).trim().to_owned()
    })
}

fn told<T>(sets: &RuleSets, area: &str, body: Value, tell: impl FnOnce(&Finding<'_>) -> T) -> T {
    let assessment = sets.inputs.check(body.as_object().unwrap(), day("2026-03-02")).unwrap();
    let judged = judge(sets.by_id(ID).unwrap(), &assessment, &[area]);
    tell(&judged.findings[0])
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// Every rule's id, as the file has them, wherever it stands.
fn ids(actions: &Value, found: &mut Vec<String>) {
    for action in actions.as_array().into_iter().flatten() {
        found.extend(action["id"].as_str().map(str::to_owned));
        ids(&action["action"], found);
    }
}

#[test]
fn the_shipped_rules_load_and_every_case_comes_out() {
    let files = files();
    let (sets, issues) = load(&files);
    assert!(issues.is_empty(), "{}", lines(&issues));
    let found = check_cases(&sets, &files);
    assert!(found.is_empty(), "{}", lines(&found));
    let plan: Value = serde_json::from_str(&files[VGR]).unwrap();
    let mut all = Vec::new();
    ids(&plan["action"], &mut all);
    assert_eq!(sets.by_id(ID).unwrap().rules().count(), all.len());
    assert_eq!(all.len(), 88, "86 rules of the guideline and two readings of ours");
}

#[test]
fn a_rule_that_is_taken_away_is_missed() {
    let files = files();
    let plan: Value = serde_json::from_str(&files[VGR]).unwrap();
    let mut all = Vec::new();
    ids(&plan["action"], &mut all);
    for id in all {
        let without = with(|plan| take_away(&mut plan["action"], &id));
        let (sets, mut issues) = load(&without);
        issues.extend(check_cases(&sets, &without));
        assert!(!issues.is_empty(), "nobody misses {id}");
    }
}

fn take_away(actions: &mut Value, id: &str) {
    let Some(list) = actions.as_array_mut() else { return };
    list.retain(|action| action["id"] != id);
    list.iter_mut()
        .filter(|action| action.get("action").is_some())
        .for_each(|action| take_away(&mut action["action"], id));
}

#[test]
fn a_condition_that_is_turned_round_is_noticed() {
    let files = files();
    let plan: Value = serde_json::from_str(&files[VGR]).unwrap();
    let mut all = Vec::new();
    ids(&plan["action"], &mut all);
    for id in all {
        let mut turned = false;
        let changed = with(|plan| turn(&mut plan["action"], &id, &mut turned));
        if turned {
            let (sets, mut issues) = load(&changed);
            issues.extend(check_cases(&sets, &changed));
            assert!(!issues.is_empty(), "nobody sees {id} turned round");
        }
    }
}

fn turn(actions: &mut Value, id: &str, turned: &mut bool) {
    for action in actions.as_array_mut().into_iter().flatten() {
        if action["id"] == id
            && let Some(expression) = action.pointer_mut("/condition/0/expression/expression")
        {
            *expression = json!(format!("({}).not()", expression.as_str().unwrap()));
            *turned = true;
        }
        if action.get("action").is_some() {
            turn(&mut action["action"], id, turned);
        }
    }
}

#[test]
fn no_rule_is_known_to_the_program_by_name() {
    let (sets, _) = load(&files());
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources: Vec<_> = std::fs::read_dir(root.join("rules")).unwrap().map(|e| e.unwrap().path()).collect();
    sources
        .extend(["sync/responsibility.rs", "api/responsibility.rs", "api/fhir/apply.rs"].map(|name| root.join(name)));
    for path in sources.into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs")) {
        let text = std::fs::read_to_string(&path).unwrap();
        for rule in sets.by_id(ID).unwrap().rules() {
            assert!(!text.contains(&rule.id), "{} knows {}", path.display(), rule.id);
        }
    }
}

/// `WRITE_PAGES=1` writes it anew.
#[test]
fn the_page_for_clinicians_is_what_the_rules_say_now() {
    let (sets, _) = load(&files());
    let set = sets.by_id(ID).unwrap();
    let made = super::page(set, &sets.inputs);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/clinician/the-rules-of-vgr.md");
    if std::env::var_os("WRITE_PAGES").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        made,
        "write it anew: WRITE_PAGES=1 cargo test --lib the_page_for_clinicians"
    );
    for rule in set.rules() {
        let row = made.lines().find(|line| line.starts_with(&format!("| {} |", rule.id))).unwrap();
        assert!(row.contains(&rule.quote), "{row}");
        for aside in &rule.sets_aside {
            let other = made.lines().find(|line| line.starts_with(&format!("| {aside} |"))).unwrap();
            assert!(row.contains(aside) && other.contains(&rule.id), "{row}");
        }
        let says = |rule: &Rule| rule.says.is_some() || rule.outcomes.iter().all(|outcome| outcome.says.is_some());
        assert!(rule.kind != Kind::Criterion || says(rule) || row.contains("alltid"), "no plain words: {row}");
    }
}
