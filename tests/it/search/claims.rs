//! Every parameter, modifier and include that `metadata` claims is asked for, and finds one resource and not another; what it
//! does not claim is refused.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use vardkedja::fhir::{r4, search};

use super::{Library, names};

const AREAS: &str = "https://vardkedja.example/fhir/CodeSystem/rehab-area";
const AREA_SET: &str = "https://vardkedja.example/fhir/ValueSet/rehab-area";

/// A value of that type: `a` is one, `b` is another.
fn sample(type_code: &str, letter: &str, target: &str) -> Value {
    let is_a = letter == "a";
    let code = if is_a { "fatigue" } else { "b" };
    let system = if is_a { AREAS } else { "urn:b" };
    let day = if is_a { "2026-01-15" } else { "2026-06-15" };
    match type_code {
        "Identifier" => json!({ "system": system, "value": code }),
        "Coding" => json!({ "system": system, "code": code }),
        "CodeableConcept" => json!({ "coding": [{ "system": system, "code": code }] }),
        "boolean" => json!(is_a),
        "Reference" => {
            json!({ "reference": format!("{target}/{letter}"), "identifier": { "system": "urn:i", "value": letter } })
        }
        "canonical" | "uri" | "url" => json!(format!("urn:{letter}")),
        "date" | "dateTime" => json!(day),
        "instant" => json!(format!("{day}T10:00:00Z")),
        "Period" => json!({ "start": day, "end": day }),
        "Timing" => json!({ "repeat": { "boundsPeriod": { "start": day, "end": day } } }),
        "HumanName" => json!({ "family": if is_a { "Åberg" } else { "Ek" } }),
        "string" if is_a => json!("Åberg"),
        "string" => json!("Ek"),
        "Extension" | "code" => json!(code),
        other => panic!("no sample of {other}"),
    }
}

/// Writes a value at a path, adding to lists.
fn write(parent: &mut Value, content: &str, path: &str, letter: &str, target: &str) {
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    if let Some(extension) = name.strip_prefix("extension[") {
        let url = format!("https://vardkedja.example/fhir/StructureDefinition/{}", extension.trim_end_matches(']'));
        let list = parent.as_object_mut().unwrap().entry("extension").or_insert(json!([]));
        list.as_array_mut().unwrap().push(json!({ "url": url, rest: sample("code", letter, target) }));
        return;
    }
    let json_name = match name.strip_suffix("[x]") {
        Some(stem) => {
            let date = ["DateTime", "Period", "Timing", "Instant"].map(|t| format!("{stem}{t}"));
            date.into_iter().find(|n| r4::find(content, n).is_some()).unwrap_or_else(|| panic!("{content}.{path}"))
        }
        None => name.to_owned(),
    };
    let found = r4::find(content, &json_name).unwrap_or_else(|| panic!("{content}.{json_name}"));
    let object = parent.as_object_mut().unwrap();
    if rest.is_empty() {
        let value = sample(found.type_code, letter, target);
        match found.element.is_list() {
            true => object.entry(json_name).or_insert(json!([])).as_array_mut().unwrap().push(value),
            false => {
                object.insert(json_name, value);
            }
        }
        return;
    }
    let mut child = json!({});
    write(&mut child, found.content, rest, letter, target);
    match (found.element.is_list(), object.get_mut(&json_name)) {
        (true, Some(list)) => list.as_array_mut().unwrap().push(child),
        (true, None) => {
            object.insert(json_name, json!([child]));
        }
        (false, Some(known)) => write(known, found.content, rest, letter, target),
        (false, None) => {
            object.insert(json_name, child);
        }
    }
}

fn targets(param: &search::Param) -> Vec<&'static str> {
    param.only.map_or_else(|| param.targets.clone(), |only| vec![only])
}

/// One that has a value for every parameter of the type.
fn full(resource_type: &str, letter: &str) -> Value {
    let mut made = json!({ "resourceType": resource_type, "id": letter, "meta": {} });
    for param in search::params(resource_type) {
        // Those of the same elements are written once for each type of target that they need.
        if param.kept_as != param.name && param.only.is_none() {
            continue;
        }
        let target = targets(param).first().copied().unwrap_or_default();
        write(&mut made, resource_type, param.paths[0], letter, target);
        // A version is a string that is searched as a token.
        if param.kind == search::Kind::Token && made[param.paths[0]].is_string() {
            made[param.paths[0]] = sample("code", letter, target);
        }
    }
    made
}

/// By target and claim, the resources that point so.
type Known = BTreeMap<(String, String), BTreeSet<String>>;

/// What a reference can point at, each from a resource of its own, all to `z`.
fn pointers() -> (Vec<Value>, Known) {
    let (mut made, mut known) = (Vec::new(), Known::new());
    for param in search::all().filter(|p| p.kind == search::Kind::Reference) {
        for target in targets(param) {
            let id = format!("{}-{target}", param.name);
            let mut resource = json!({ "resourceType": param.resource_type, "id": id, "meta": {} });
            write(&mut resource, param.resource_type, param.paths[0], "z", target);
            made.push(resource);
            let claim = (target.to_owned(), format!("{}:{}", param.resource_type, param.name));
            known.entry(claim).or_default().insert(format!("{}/{id}", param.resource_type));
        }
    }
    (made, known)
}

async fn open() -> Library {
    let mut all: Vec<Value> = Vec::new();
    for name in search::types() {
        all.extend(["a", "b"].map(|letter| full(name, letter)));
        all.push(json!({ "resourceType": name, "id": "z", "meta": {} }));
    }
    all.extend(pointers().0);
    let all: Vec<(Value, &[&str])> = all.into_iter().map(|r| (r, [].as_slice())).collect();
    Library::open(&all, "[limits]\nsearch_terms = 1000\nsearch_includes = 10000\npage_max = 5000\n").await
}

async fn statement(library: &Library) -> Vec<Value> {
    let metadata = library.get("metadata", "").await.json();
    let all = metadata["rest"][0]["resource"].as_array().unwrap().iter();
    // The audit log has a face of its own: tests/it/audit asks for what is claimed of it.
    // Subscriptions too, which are each client's own: tests/it/subscription.
    all.filter(|resource| resource["type"] != "AuditEvent" && resource["type"] != "Subscription").cloned().collect()
}

fn list(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|v| v.as_str().unwrap().to_owned()).collect()
}

/// The type that `a` points at: that of the narrower parameter where several have the same elements.
fn target(param: &search::Param) -> &'static str {
    let kept = search::param(param.resource_type, param.kept_as).unwrap();
    targets(if param.only.is_some() { param } else { kept })[0]
}

/// How the value of `a` is asked for.
fn question(kind: &str, name: &str, param: Option<&search::Param>) -> String {
    match (kind, name) {
        (_, "_id") => "a".into(),
        (_, "active") => "true".into(),
        ("token", _) => "fatigue".into(),
        ("reference", _) if param.is_some_and(|p| p.kind == search::Kind::Canonical) => "urn:a".into(),
        ("reference", _) => format!("{}/a", target(param.unwrap())),
        ("date", _) => "2026-01-15".into(),
        ("string", _) => "abe".into(),
        _ => "urn:a".into(),
    }
}

/// Groups come from the settings, and there is nothing to search them by.
fn is_searched(resource: &Value) -> bool {
    assert_eq!(resource.get("searchParam").is_none(), resource["type"] == "Group");
    resource["type"] != "Group"
}

#[tokio::test]
async fn every_parameter_and_modifier_claimed_finds_one_resource_and_not_another() {
    let library = open().await;
    let mut asked = 0;
    let mut wrong = Vec::new();
    for resource in statement(&library).await.into_iter().filter(is_searched) {
        let resource_type = resource["type"].as_str().unwrap();
        let (a, b) = (format!("{resource_type}/a"), format!("{resource_type}/b"));
        for claim in resource["searchParam"].as_array().unwrap() {
            let (name, kind) = (claim["name"].as_str().unwrap(), claim["type"].as_str().unwrap());
            if name == "_lastUpdated" {
                continue;
            }
            let param = search::param(resource_type, name);
            let value = question(kind, name, param);
            let mut questions = vec![(format!("{name}={value}"), true)];
            let said = claim["documentation"].as_str().unwrap();
            let modifiers = said.split_once("Modifiers: ").map_or("", |(_, rest)| rest.split('.').next().unwrap());
            for modifier in modifiers.split(", ").filter_map(|m| m.strip_prefix(':')) {
                questions.extend(match modifier {
                    "missing" => vec![
                        (format!("{name}:missing=false&_id=a,z"), true),
                        (format!("{name}:missing=true&_id=z"), false),
                    ],
                    "not" => vec![(format!("{name}:not={value}&_id=a,b"), false)],
                    "in" | "not-in" if name == "active" => vec![],
                    "in" => vec![(format!("{name}:in={AREA_SET}"), true)],
                    "not-in" => vec![(format!("{name}:not-in={AREA_SET}&_id=a,b"), false)],
                    "identifier" => vec![(format!("{name}:identifier=urn:i|a"), true)],
                    "[type]" => vec![(format!("{name}:{}=a", target(param.unwrap())), true)],
                    "exact" => vec![(format!("{name}:exact=%C3%85berg"), true)],
                    "contains" => vec![(format!("{name}:contains=BERG"), true)],
                    other => panic!("{resource_type}.{name} claims :{other}"),
                });
            }
            if kind == "date" {
                let prefixes = said.split_once("Prefixes: ").unwrap().1.split('.').next().unwrap().split(", ");
                for prefix in prefixes {
                    let (value, finds) = match prefix {
                        "ne" => ("2026-06-15&_id=a,b", true),
                        "gt" | "sa" => ("2026-01-15&_id=a,b", false),
                        "lt" | "eb" => ("2026-06-15&_id=a,b", true),
                        "ge" => ("2026-06-15&_id=a,b", false),
                        "le" => ("2026-01-15&_id=a,b", true),
                        _ => ("2026-01-15", true),
                    };
                    questions.push((format!("{name}={prefix}{value}"), finds));
                }
            }
            if said.contains("Sortable") {
                questions.push((format!("_id=a&_sort={name}"), true));
            }
            let is_personal = said.contains("Only with POST");
            for (question, finds_a) in questions {
                asked += 1;
                let reply = library.post(&format!("{resource_type}/_search"), "", &question).await;
                let expected = if question.contains("=true&_id=z") {
                    format!("{resource_type}/z")
                } else if finds_a {
                    a.clone()
                } else {
                    b.clone()
                };
                if reply.status != 200 || names(&reply, "match") != [expected.as_str()] {
                    wrong.push(format!(
                        "{resource_type}?{question}: {}",
                        reply.text.chars().take(300).collect::<String>()
                    ));
                }
                if is_personal && !question.contains("missing") && !question.contains("_sort") {
                    assert_eq!(library.get(&format!("{resource_type}?{question}"), "").await.status, 400, "{question}");
                }
            }
            // The definition is where it says: HL7's, or one in the package.
            let definition = claim["definition"].as_str().unwrap();
            assert!(
                definition.starts_with("http://hl7.org/fhir/SearchParameter/") || param.unwrap().is_ours(),
                "{definition}"
            );
        }
    }
    assert!(wrong.is_empty() && asked > 1000, "{asked}\n{}", wrong.join("\n"));
    library.close().await;
}

#[tokio::test]
async fn every_include_claimed_brings_along_what_it_says_and_nothing_else() {
    let library = open().await;
    let (_, known) = pointers();
    for resource in statement(&library).await {
        let resource_type = resource["type"].as_str().unwrap();
        let (forwards, backwards) = (list(&resource["searchInclude"]), list(&resource["searchRevInclude"]));
        for claim in &backwards {
            let path = format!("{resource_type}?_id=z&_revinclude={claim}");
            let found: BTreeSet<String> = names(&library.get(&path, "").await, "include").into_iter().collect();
            // A parameter of the same elements may be narrower; what it brings is what its own resources are.
            let expected = &known[&(resource_type.to_owned(), claim.clone())];
            assert!(expected.is_subset(&found), "{path}: {found:?}");
            assert!(found.iter().all(|name| name.starts_with(claim.split(':').next().unwrap())), "{path}: {found:?}");
        }
        for claim in &forwards {
            let name = claim.split(':').nth(1).unwrap();
            for target in targets(search::param(resource_type, name).unwrap()) {
                let path = format!("{resource_type}?_id={name}-{target}&_include={claim}:{target}");
                let expected =
                    if target == resource_type && name == "z" { vec![] } else { vec![format!("{target}/z")] };
                assert_eq!(names(&library.get(&path, "").await, "include"), expected, "{path}");
            }
        }
    }
    library.close().await;
}

#[tokio::test]
async fn what_is_not_claimed_is_refused_all_at_once() {
    let library = open().await;
    let statement = statement(&library).await;
    let every: BTreeSet<String> = search::all().map(|p| p.name.to_owned()).collect();
    for resource in statement.iter().filter(|resource| is_searched(resource)) {
        let resource_type = resource["type"].as_str().unwrap();
        let own = resource["searchParam"].as_array().unwrap();
        let has = |name: &String| own.iter().any(|p| p["name"] == name.as_str());
        let mut unclaimed: Vec<String> = every.iter().filter(|name| !has(name)).map(|n| format!("{n}=1")).collect();
        unclaimed.extend(
            ["_content", "_text", "_query", "_filter", "_list", "_type", "_contained", "_score"]
                .map(|n| format!("{n}=1")),
        );
        for claim in own {
            let name = claim["name"].as_str().unwrap();
            let said = claim["documentation"].as_str().unwrap();
            for modifier in
                ["above", "below", "text", "of-type", "ofType", "not", "in", "exact", "contains", "identifier", "Basic"]
            {
                if !said.contains(&format!(":{modifier}")) {
                    unclaimed.push(format!("{name}:{modifier}=1"));
                }
            }
            if !said.contains("Sortable") {
                let reply = library.get(&format!("{resource_type}?_sort={name}"), "").await;
                assert_eq!(reply.status, 400, "{resource_type}?_sort={name}");
            }
        }
        for more in [
            "_include=*",
            "_revinclude=*",
            "_include:recurse=Task:focus",
            "_summary=most",
            "_total=many",
            "_elements=x",
        ] {
            unclaimed.push(more.to_owned());
        }
        for some in unclaimed.chunks(90) {
            let reply = library.get(&format!("{resource_type}?{}", some.join("&")), "").await;
            assert_eq!(reply.status, 400, "{resource_type}");
            let issues = reply.json()["issue"].as_array().unwrap().len();
            assert_eq!(issues, some.len(), "{resource_type}: {some:?} {}", reply.text);
        }
    }
    library.close().await;
}
