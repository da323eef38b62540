//! The tables of `mappings/` as they are shipped: they load without a finding that refuses them, every example runs both
//! ways, and what an example becomes is valid against the R4 schema. A table without one of its rows is told what it lacks.
//! All of it needs the same files and the same reading of them, so it stands in one place.
//!
//! `UPDATE_EXAMPLES=1 cargo test --test it mappings` writes the `.fhir.json` beside each source; read the difference
//! before you keep it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};
use vardkedja::config::Config;
use vardkedja::domain::kind::{Format, Kind};
use vardkedja::fhir::issue::{Issue, Severity};
use vardkedja::fhir::profile::Profiles;
use vardkedja::fhir::r4;
use vardkedja::fhir::validate::{Context, validate};
use vardkedja::mapping::{ExampleIds, Files, Mappings, unwritten};
use vardkedja::{Gateway, StartError};

fn files() -> Files {
    let mut files = BTreeMap::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings"), "", &mut files);
    files
}

fn read(folder: &Path, prefix: &str, files: &mut Files) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            read(&entry.path(), &format!("{name}/"), files);
        } else {
            files.insert(name, std::fs::read_to_string(entry.path()).unwrap());
        }
    }
}

fn lines(issues: &[Issue]) -> String {
    issues.iter().map(|i| format!("{:?} {}\n", i.severity, i.line())).collect()
}

/// Kind and format of an example from its name: `referral.small.source.json`.
fn example(name: &str) -> Option<(Kind, Format, String)> {
    let case = name.strip_prefix("examples/")?;
    let (stem, format) = match case.strip_suffix(".source.json") {
        Some(stem) => (stem, Format::Json),
        None => (case.strip_suffix(".source.xml")?, Format::Riv),
    };
    let kind = stem.split('.').next()?.parse().unwrap();
    Some((kind, format, stem.to_owned()))
}

fn becomes(mappings: &Mappings, kind: Kind, format: Format, text: &str) -> (Vec<Value>, Vec<Issue>) {
    let tree = mappings.read(kind, format, text.as_bytes()).unwrap();
    let table = mappings.choose(kind, format, &tree).unwrap();
    let out = table.out(&tree, &ExampleIds);
    (out.resources.into_iter().map(|m| m.value).collect(), out.issues)
}

#[test]
fn the_tables_load_and_their_examples_run_both_ways() {
    let files = files();
    let (mappings, issues) = Mappings::load(&files);
    assert!(issues.is_empty(), "{}", lines(&issues));
    assert_eq!(mappings.tables().count(), files.keys().filter(|f| f.ends_with(".toml") && !f.contains('/')).count());
    if std::env::var_os("UPDATE_EXAMPLES").is_some() {
        write_examples(&mappings, &files);
    }
    let findings = mappings.check(&self::files());
    assert!(findings.iter().all(|i| !i.is_error()), "{}", lines(&findings));
}

fn write_examples(mappings: &Mappings, files: &Files) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings/examples");
    for (name, text) in files {
        let Some((kind, format, stem)) = example(name) else { continue };
        let (resources, issues) = becomes(mappings, kind, format, text);
        print!("{name}\n{}", lines(&issues));
        let pretty = serde_json::to_string_pretty(&resources).unwrap();
        std::fs::write(folder.join(format!("{stem}.fhir.json")), pretty + "\n").unwrap();
    }
}

#[test]
fn what_an_example_becomes_has_only_what_r4_knows_and_all_it_requires() {
    let mut findings = Vec::new();
    for (name, text) in files().iter().filter(|(name, _)| name.ends_with(".fhir.json")) {
        let resources: Vec<Value> = serde_json::from_str(text).unwrap();
        for resource in &resources {
            let kind = resource["resourceType"].as_str().unwrap();
            structure(kind, resource, &format!("{name} {kind}"), &mut findings);
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// What is wrong with an object of that type, as far as the schema's table tells.
fn structure(content: &str, node: &Value, place: &str, findings: &mut Vec<String>) {
    let Some(fields) = node.as_object() else {
        findings.push(format!("{place} is not an object"));
        return;
    };
    for element in r4::children(content).iter().filter(|e| e.min > 0) {
        let present = |name: &String| r4::find(content, name).is_some_and(|f| f.element.path == element.path);
        if !fields.keys().any(present) {
            findings.push(format!("{place}.{} is missing", element.name));
        }
    }
    for (name, value) in fields.iter().filter(|(name, _)| *name != "resourceType") {
        let place = format!("{place}.{name}");
        let Some(found) = r4::find(content, name) else {
            findings.push(format!("{place} is unknown"));
            continue;
        };
        if found.element.is_list() != value.is_array() {
            findings.push(format!("{place} is a list where one is meant, or one where a list is"));
        }
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for value in values {
            let codes: Vec<&str> = found.element.codes.iter().flat_map(|c| c.codes.iter().copied()).collect();
            match value {
                Value::Object(_) if !r4::is_primitive(found.type_code) => {
                    structure(found.content, value, &place, findings)
                }
                Value::String(code)
                    if found.type_code == "code" && !codes.is_empty() && !codes.contains(&code.as_str()) =>
                {
                    findings.push(format!("{place}: {code} is none of {}", codes.join(", ")));
                }
                _ if r4::is_primitive(found.type_code) => {}
                _ => findings.push(format!("{place} is not a {}", found.type_code)),
            }
        }
    }
}

/// An example as it is stored: its resources, and the table to read them back by.
struct Stored {
    mappings: Mappings,
    resources: Vec<Value>,
    source: Value,
    kind: Kind,
}

impl Stored {
    fn new(case: &str) -> Self {
        let files = files();
        let text = &files[&format!("examples/{case}.source.json")];
        let (mappings, _) = Mappings::load(&files);
        let (kind, format, _) = example(&format!("examples/{case}.source.json")).unwrap();
        let (resources, _) = becomes(&mappings, kind, format, text);
        Self { resources, source: serde_json::from_str(text).unwrap(), mappings, kind }
    }

    fn find(&mut self, resource_type: &str, nth: usize) -> &mut Value {
        self.resources.iter_mut().filter(|r| r["resourceType"] == resource_type).nth(nth).unwrap()
    }

    /// Adds a resource and a Task's output that points at it.
    fn output(&mut self, nth: usize, kind: &str, mut resource: Value) {
        let id = format!("{kind}-{}", self.resources.len());
        let reference = format!("{}/{id}", resource["resourceType"].as_str().unwrap());
        resource["id"] = json!(id);
        let subject = self.find("Task", nth)["for"].clone();
        resource["subject"] = subject;
        self.resources.push(resource);
        let task = self.find("Task", nth);
        let output = json!({ "type": { "text": kind }, "valueReference": { "reference": reference } });
        match task["output"].as_array_mut() {
            Some(outputs) => outputs.push(output),
            None => task["output"] = json!([output]),
        }
    }

    fn back(&self) -> Value {
        let table = self.mappings.choose(self.kind, Format::Json, &self.source).unwrap();
        let back = table.back(&self.resources);
        let noticed = back.issues.iter().any(|i| i.severity > Severity::Information);
        assert!(!noticed, "{}", lines(&back.issues));
        print!("{}", lines(&back.issues));
        back.tree
    }
}

const UNIT: &str = "SE2321000131-E000000000202";

fn answer(text: &str) -> Value {
    json!({
        "resourceType": "Communication", "status": "completed", "sent": "2026-04-01T10:00:00+02:00",
        "sender": { "identifier": { "system": "urn:oid:1.2.752.29.4.19", "value": UNIT } },
        "payload": [{ "contentString": text }],
    })
}

fn activity(code: &str, at: &str) -> Value {
    json!({
        "resourceType": "Procedure", "status": "completed", "performedDateTime": at,
        "code": { "coding": [{ "system": "urn:oid:1.2.752.116.1.3.2.1.4", "code": code }] },
        "performer": [{
            "actor": { "display": "Bo Ek" },
            "onBehalfOf": { "identifier": { "system": "urn:oid:1.2.752.29.4.19", "value": UNIT } },
        }],
    })
}

#[test]
fn a_referral_that_was_just_sent_says_so() {
    let stored = Stored::new("referral.full");
    assert_eq!(stored.back()["state"], json!({ "status": "requested" }));
}

#[test]
fn an_answered_referral_shows_answer_and_activities_to_its_sender() {
    let mut stored = Stored::new("referral.full");
    stored.find("Task", 0)["status"] = json!("completed");
    stored.find("Task", 0)["statusReason"] = json!({ "text": "Insatsen är avslutad." });
    stored.output(0, "answer", answer("Patienten orkar mer."));
    stored.output(0, "activity", activity("DV200", "2026-03-20T09:00:00+01:00"));
    stored.output(0, "activity", activity("DV133", "2026-03-16T09:00:00+01:00"));
    let back = stored.back();
    let state = json!({
        "status": "completed",
        "reason": "Insatsen är avslutad.",
        "answer": { "text": "Patienten orkar mer.", "at": "2026-04-01T10:00:00+02:00", "by": UNIT },
        "activities": [
            { "kva": "DV200", "at": "2026-03-20T09:00:00+01:00", "unit": UNIT },
            { "kva": "DV133", "at": "2026-03-16T09:00:00+01:00", "unit": UNIT },
        ],
    });
    assert_eq!(back["state"], state);
    let mut without = back.clone();
    without.as_object_mut().unwrap().shift_remove("state");
    assert_eq!(without, stored.source);
}

#[test]
fn each_participant_of_a_sip_has_its_own_state() {
    let mut stored = Stored::new("handover.sip-full");
    stored.find("Task", 1)["status"] = json!("rejected");
    stored.output(1, "answer", answer("Insatsen ges av en annan enhet."));
    let back = stored.back();
    let answer = json!({ "text": "Insatsen ges av en annan enhet.", "at": "2026-04-01T10:00:00+02:00", "by": UNIT });
    assert_eq!(back["participants"][0]["state"], json!({ "status": "requested" }));
    assert_eq!(back["participants"][1]["state"], json!({ "status": "rejected", "answer": answer }));
}

#[test]
fn a_handover_shows_when_the_recipient_met_the_patient() {
    let mut stored = Stored::new("handover.active-full");
    stored.find("Task", 0)["status"] = json!("completed");
    let mut contact = answer("Patienten är kallad.");
    let kind =
        json!({ "system": "https://vardkedja.example/fhir/CodeSystem/communication-kind", "code": "patient-contact" });
    contact["category"] = json!([{ "coding": [kind] }]);
    let phone = json!({ "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationMode", "code": "PHONE" });
    contact["medium"] = json!([{ "coding": [phone] }]);
    stored.output(0, "patient-contact", contact);
    stored.output(0, "answer", answer("Vi tar över."));
    let state = &stored.back()["state"];
    let at = "2026-04-01T10:00:00+02:00";
    assert_eq!(
        state["confirmedContact"],
        json!({ "at": at, "by": UNIT, "medium": "phone", "text": "Patienten är kallad." })
    );
    assert_eq!(state["answer"], json!({ "text": "Vi tar över.", "at": at, "by": UNIT }));
}

#[test]
fn what_a_sender_writes_as_state_is_not_taken() {
    let mut stored = Stored::new("referral.small");
    stored.source["state"] = json!({ "status": "completed" });
    let table = stored.mappings.choose(stored.kind, Format::Json, &stored.source).unwrap();
    let out = table.out(&stored.source, &ExampleIds);
    let task = out.resources.iter().find(|m| m.block == "task").unwrap();
    assert_eq!(task.value["status"], "requested");
    assert_eq!(out.issues.iter().map(|i| i.expression.as_str()).collect::<Vec<_>>(), ["state.status"]);
}

#[test]
fn every_example_comes_back_from_what_a_partner_would_have_of_it() {
    let files = files();
    let (mappings, _) = Mappings::load(&files);
    for (name, text) in &files {
        let Some((kind, format, _)) = example(name) else { continue };
        let tree = mappings.read(kind, format, text.as_bytes()).unwrap();
        let table = mappings.choose(kind, format, &tree).unwrap();
        let (mut resources, _) = becomes(&mappings, kind, format, text);
        let plain = table.back(&resources).tree;
        resources.reverse();
        for resource in &mut resources {
            let own = json!({ "system": "https://vardkedja.example/fhir/sid/resource", "value": resource["id"] });
            let listed =
                r4::find(resource["resourceType"].as_str().unwrap(), "identifier").is_some_and(|f| f.element.is_list());
            match resource["identifier"].as_array_mut() {
                Some(identifiers) => identifiers.insert(0, own),
                None if listed => resource["identifier"] = json!([own]),
                None => {}
            }
            resource["meta"]["versionId"] = json!("3");
            resource["text"] =
                json!({ "status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">-</div>" });
        }
        let back = table.back(&resources);
        assert!(back.issues.iter().all(|i| !i.is_error()), "{name}\n{}", lines(&back.issues));
        assert_eq!(sorted(&back.tree), sorted(&plain), "{name}");
    }
}

/// The tree with its lists in an order of their own: not every list's order is kept by FHIR.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), sorted(field))).collect(),
        Value::Array(list) => {
            let mut list: Vec<Value> = list.iter().map(sorted).collect();
            list.sort_by_key(ToString::to_string);
            Value::Array(list)
        }
        other => other.clone(),
    }
}
/// Example, what is taken out of it, and where the finding that refuses the rest points.
const REFUSED: &[(&str, &str, &str)] = &[
    ("referral.small", "/careResponsibilityRemains", "careResponsibilityRemains"),
    ("referral.small", "/planId", "planId"),
    ("referral.small", "/areas", "areas[]"),
    ("handover.sip-small", "/consent", "consent"),
    ("handover.sip-small", "/overallResponsibility", "overallResponsibility"),
    ("handover.sip-small", "/participants/0/principal", "participants[0].principal"),
    ("handover.sip-small", "/meeting", "meeting"),
    ("handover.sip-small", "/meeting/status", "meeting.status"),
    ("handover.sip-small", "/followUp", "followUp"),
    ("handover.active-small", "/oralContact", "oralContact"),
    ("handover.active-small", "/sbar/assessment", "sbar.assessment"),
    ("rehab-plan.small", "/treatment", "treatment"),
    ("rehab-plan.small", "/assessment", "assessment"),
    ("rehab-plan.small", "/author", "author"),
    ("rehab-plan.small", "/author/hsaId", "author.hsaId"),
    ("rehab-plan.small", "/author/careProvider", "author.careProvider"),
    ("rehab-plan.small", "/treatment/end", "treatment.end"),
    ("rehab-plan.small", "/interventions/0/responsible", "interventions[0].responsible"),
    ("rehab-plan.small", "/goals", "goals[]"),
    ("rehab-plan.small", "/interventions", "interventions[]"),
    ("rehab-plan.small", "/followUps", "followUps[]"),
    ("rehab-plan.small", "/assessment/needs", "assessment.needs[]"),
    ("handover.sip-small", "/interventions", "interventions[]"),
    ("referral.small", "/conditions", "conditions[]"),
    ("activity.small", "/contactId", "contactId"),
    ("activity.small", "/diagnoses", "diagnoses[]"),
    ("activity.small", "/codes", "codes[]"),
];

#[test]
fn a_document_without_what_it_must_carry_is_refused_and_told_what_is_missing() {
    let files = files();
    let (mappings, _) = Mappings::load(&files);
    for (case, pointer, missing) in REFUSED {
        let name = format!("examples/{case}.source.json");
        let (kind, format, _) = example(&name).unwrap();
        let mut tree: Value = serde_json::from_str(&files[&name]).unwrap();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        tree.pointer_mut(parent).unwrap().as_object_mut().unwrap().shift_remove(field).unwrap();
        let found = mappings.choose(kind, format, &tree).unwrap().out(&tree, &ExampleIds).issues;
        let errors: Vec<&Issue> = found.iter().filter(|i| i.is_error()).collect();
        let hit = errors.iter().any(|i| i.expression == *missing);
        assert!(hit, "{case} without {pointer}, wanted {missing}\n{}", lines(&found));
    }
}

#[test]
fn a_riv_activity_without_a_patient_is_refused() {
    let files = files();
    let (mappings, _) = Mappings::load(&files);
    let text = &files["examples/activity.riv-small.source.xml"];
    let (before, rest) = text.split_once("<c:patient>").unwrap();
    let (_, after) = rest.split_once("</c:patient>").unwrap();
    let (_, issues) = becomes(&mappings, Kind::Activity, Format::Riv, &format!("{before}{after}"));
    assert!(issues.iter().any(|i| i.is_error() && i.line().contains("[patient]")), "{}", lines(&issues));
}

/// An example of a RIV-TA activity with one piece of its text replaced.
fn riv_activity(from: &str, to: &str) -> (Vec<Value>, Vec<Issue>) {
    let files = files();
    let (mappings, _) = Mappings::load(&files);
    let text = &files["examples/activity.riv-full.source.xml"];
    assert!(text.contains(from), "{from}");
    becomes(&mappings, Kind::Activity, Format::Riv, &text.replacen(from, to, 1))
}

#[test]
fn an_activity_that_is_not_approved_for_the_patient_is_labelled_however_the_no_is_written() {
    let field = |value: &str| format!("<ns1:approvedForPatient>{value}</ns1:approvedForPatient>");
    for (value, label) in [("0", "NOPATIENT"), ("false", "NOPATIENT"), ("1", "N"), ("true", "N")] {
        let (resources, issues) = riv_activity(&field("false"), &field(value));
        assert!(issues.iter().all(|i| !i.is_error()), "{}", lines(&issues));
        let procedure = resources.iter().find(|r| r["resourceType"] == "Procedure").unwrap();
        assert_eq!(procedure["meta"]["security"][0]["code"], label, "{value}");
    }
    for wrong in [String::new(), field("nej")] {
        let (_, issues) = riv_activity(&field("false"), &wrong);
        let refused = issues.iter().any(|i| i.is_error() && i.expression == "activityType.approvedForPatient");
        assert!(refused, "{}", lines(&issues));
    }
}

#[test]
fn an_activity_that_was_cancelled_does_not_become_a_completed_procedure() {
    let status = |code: &str| format!("<ns1:status><ns1:code>{code}</ns1:code></ns1:status><ns1:value>");
    for code in ["cancelled", "aborted", "nullified", "planerad"] {
        let (_, issues) = riv_activity("<ns1:value>", &status(code));
        let refused = issues.iter().any(|i| i.is_error() && i.expression == "activityType.status.code");
        assert!(refused, "{code}: {}", lines(&issues));
    }
    let (resources, issues) = riv_activity("<ns1:value>", &status("completed"));
    assert!(issues.iter().all(|i| i.severity == Severity::Information), "{}", lines(&issues));
    assert!(resources.iter().any(|r| r["resourceType"] == "Procedure" && r["status"] == "completed"));
}

#[test]
fn a_withdrawn_consent_permitted_until_it_was_withdrawn_and_denies_nothing_before() {
    let mut stored = Stored::new("handover.sip-withdrawn");
    let provision = stored.find("Consent", 0)["provision"].clone();
    assert_eq!(provision["type"], "permit");
    assert_eq!(provision["period"], json!({ "end": "2026-04-01T08:00:00+02:00" }));
    stored.source["consent"].as_object_mut().unwrap().shift_remove("withdrawnAt");
    let table = stored.mappings.choose(stored.kind, Format::Json, &stored.source).unwrap();
    let issues = table.out(&stored.source, &ExampleIds).issues;
    assert!(issues.iter().any(|i| i.is_error() && i.expression == "consent.withdrawnAt"), "{}", lines(&issues));
}

#[test]
fn two_goals_of_a_plan_do_not_share_an_id() {
    let mut stored = Stored::new("rehab-plan.small");
    let mut twin = stored.source["goals"][0].clone();
    twin["text"] = json!("Sova hela natten.");
    stored.source["goals"].as_array_mut().unwrap().push(twin);
    let table = stored.mappings.choose(stored.kind, Format::Json, &stored.source).unwrap();
    let issues = table.out(&stored.source, &ExampleIds).issues;
    assert!(issues.iter().any(Issue::is_error), "{}", lines(&issues));
}

/// The files without one row: its table or part, the line that begins the block (or nothing), and the row's FHIR path.
fn without(file: &str, block: &str, path: &str) -> Files {
    let mut files = files();
    let text = &files[file];
    let start = if block.is_empty() { 0 } else { text.find(&format!("name    = \"{block}\"")).expect(block) };
    let at = start + text[start..].find(&format!("fhir = \"{path}\"")).expect(path);
    let line = text[..at].rfind('\n').map_or(0, |n| n + 1);
    let end = at + text[at..].find('\n').expect("a line");
    let text = format!("{}{}", &text[..line], &text[end + 1..]);
    files.insert(file.to_owned(), text);
    files
}

#[test]
fn a_table_that_leaves_out_what_its_profile_requires_is_told_so_and_nothing_else() {
    let profiles = profiles();
    for (file, block, path, element) in [
        ("activity.json.toml", "contact", "serviceProvider", "Encounter.serviceProvider"),
        ("activity.json.toml", "procedure", "performedDateTime", "Procedure.performed"),
        ("activity.riv-1.toml", "procedure", "code.coding.system", "Procedure.code.coding:kva"),
        ("handover-active.json.toml", "handover", "section[situation].text", "Composition.section:situation.text"),
        ("handover-active.json.toml", "task", "input[oral-contact].valueReference", "Task.input:oral-contact"),
        ("handover-sip.json.toml", "plan", "category[care-plan-type]", "CarePlan.category:plan-type"),
        ("referral.json.toml", "task", "owner", "Task.owner"),
        ("referral.json.toml", "requester-unit", "identifier[hsa]", "Organization.identifier:hsa"),
        ("referral.riv-1.toml", "attachment", "content.attachment.url", "DocumentReference.content.attachment.url"),
        ("rehab-plan.json.toml", "plan", "created", "CarePlan.created"),
        (
            "rehab-plan.json.toml",
            "plan",
            "extension[responsible-level].valueCode",
            "CarePlan.activity:intervention.detail.extension:responsible-level",
        ),
    ] {
        let (mappings, issues) = Mappings::load(&without(file, block, path));
        assert!(issues.iter().all(|i| !i.is_error()), "{file} {path}: {}", lines(&issues));
        let found = unwritten(&mappings, &profiles);
        let [finding] = &found[..] else { panic!("{file} {path}: {}", lines(&found)) };
        assert_eq!(finding.expression, element);
        assert_eq!(finding.origin.as_deref(), Some(&*format!("{file} [{block}]")));
        let profile = finding.en.split(' ').nth(2).unwrap();
        assert!(finding.en.contains("nothing in the block writes it; add fhir = "), "{}", finding.en);
        assert!(profiles.urls().any(|url| url.ends_with(&format!("/{profile}"))), "{}", finding.en);
    }
    let shipped = unwritten(&Mappings::load(&files()).0, &profiles);
    assert!(shipped.is_empty(), "{}", lines(&shipped));
}

/// What the validator says of the resources that the examples become by these tables: type, and element without numbers.
fn invalid(mappings: &Mappings, profiles: &Profiles) -> BTreeSet<String> {
    let context = Context { profiles, codes: profiles.codes() };
    let mut found = BTreeSet::new();
    for (name, text) in &files() {
        let Some((kind, format, _)) = example(name) else { continue };
        let Ok(tree) = mappings.read(kind, format, text.as_bytes()) else { continue };
        let Ok(table) = mappings.choose(kind, format, &tree) else { continue };
        for made in table.out(&tree, &ExampleIds).resources {
            let errors = validate(&made.value, &context).into_iter().filter(Issue::is_error);
            found.extend(errors.map(|i| i.expression.split(['[', ']']).step_by(2).collect()));
        }
    }
    found
}

#[test]
fn whatever_row_is_taken_away_what_is_told_at_load_is_what_the_validator_would_say_of_documents() {
    let profiles = profiles();
    let (mut told, mut loaded) = (0, 0);
    for (file, text) in files().iter().filter(|(file, _)| file.ends_with(".toml") && *file != "parts/systems.toml") {
        let mut block = "";
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("name    = ") {
                block = name.trim_matches('"');
            }
            let Some((_, path)) = line.split_once("fhir = \"") else { continue };
            let path = path.split('"').next().unwrap();
            let mut fewer = without(file, block, path);
            // Other tables do not change.
            let shared = |name: &str| name.contains('/') || name == file || file.starts_with("parts/");
            fewer.retain(|name, _| shared(name));
            let (mappings, issues) = Mappings::load(&fewer);
            if issues.iter().any(Issue::is_error) {
                continue;
            }
            loaded += 1;
            let findings = unwritten(&mappings, &profiles);
            let said = if findings.is_empty() { BTreeSet::new() } else { invalid(&mappings, &profiles) };
            for finding in findings {
                told += 1;
                // Without the names of slices.
                let element: Vec<&str> =
                    finding.expression.split('.').map(|name| name.split(':').next().unwrap()).collect();
                let element = element.join(".");
                assert!(said.contains(&element), "{file} [{block}] {path}: {element} is not among {said:?}");
            }
        }
    }
    assert!(told > 90 && loaded > told, "{told} of {loaded}");
}

fn profiles() -> Profiles {
    let (profiles, issues) = Profiles::load(&vardkedja::profile_files(None).unwrap());
    assert!(issues.is_empty(), "{}", lines(&issues));
    profiles
}

#[test]
fn the_gateway_does_not_start_with_a_table_that_leaves_out_what_its_profile_requires() {
    let folder = std::env::temp_dir().join(format!("tables-{}", uuid::Uuid::new_v4()));
    for (name, text) in without("referral.json.toml", "task", "owner") {
        let file = folder.join("mappings").join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let settings = folder.join("gateway.toml");
    std::fs::write(
        &settings,
        "[gateway]\nlisten = \"127.0.0.1:0\"\ndb = \"gateway.sqlite\"\nmappings = \"mappings\"\n",
    )
    .unwrap();
    let opened = Gateway::open(Config::load(Some(&settings)).unwrap());
    let database = folder.join("gateway.sqlite").exists();
    std::fs::remove_dir_all(folder).unwrap();
    let Err(StartError::Findings { what, findings }) = opened else { panic!("it started: {opened:?}") };
    assert_eq!((what, database), ("mapping tables", false));
    assert!(findings.contains("The profile referral-task requires Task.owner"), "{findings}");
    assert!(findings.ends_with("[referral.json.toml [task]]"), "{findings}");
}
