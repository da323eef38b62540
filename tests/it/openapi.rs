//! `openapi.yaml` is what the gateway does: its routes, its fields, its examples and what they are answered with.

mod fields;
mod live;
mod refusals;
mod schema;

use std::collections::BTreeSet;

use serde_json::Value;
use vardkedja::api::ROUTES;
use vardkedja::fhir::search;

use schema::Contract;

#[test]
fn the_file_has_exactly_the_routes_of_the_program() {
    let contract = Contract::read();
    let mut described: Vec<(String, String)> =
        contract.operations().map(|o| (o.method.clone(), o.path.clone())).collect();
    let mut served: Vec<(String, String)> = ROUTES.iter().map(|(m, p)| (m.to_string(), p.to_string())).collect();
    described.sort();
    served.sort();
    assert_eq!(described, served);
    assert_eq!(contract.doc["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn every_operation_has_a_name_of_its_own_and_declares_its_path_parameters() {
    let contract = Contract::read();
    let mut names = BTreeSet::new();
    for operation in contract.operations() {
        assert!(names.insert(operation.spec["operationId"].as_str().unwrap().to_owned()), "{}", operation.path);
        let declared: BTreeSet<&str> =
            operation.parameters("path").into_iter().map(|p| p["name"].as_str().unwrap()).collect();
        let in_path = operation.path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}')).collect();
        assert_eq!(declared, in_path, "{} {}", operation.method, operation.path);
    }
}

#[test]
fn the_file_has_the_resource_types_and_search_parameters_that_are_served() {
    let contract = Contract::read();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let types = contract.schema("ResourceType")["enum"].as_array().unwrap().iter().map(text).collect::<BTreeSet<_>>();
    assert_eq!(types, search::types().iter().map(|t| (*t).to_owned()).collect());
    let search = contract.operations().find(|o| o.spec["operationId"] == "search").unwrap();
    let names = search.parameters("query").into_iter().map(|p| text(&p["name"]));
    let names: BTreeSet<String> = names.filter(|n| !n.starts_with('_')).collect();
    assert_eq!(names, search::all().map(|p| p.name.to_owned()).filter(|n| !n.starts_with('_')).collect());
}

#[test]
fn the_lists_of_words_are_those_of_the_program() {
    use vardkedja::domain::{Kind, PartyRole, Stage, delivery, task};
    let contract = Contract::read();
    let check = |name: &str, known: Vec<&str>| {
        let words: Vec<&str> =
            contract.schema(name)["enum"].as_array().unwrap().iter().flat_map(Value::as_str).collect();
        assert_eq!(words, known, "{name}");
    };
    check("Kind", Kind::ALL.iter().map(|k| k.name()).collect());
    check("Stage", Stage::ALL.iter().map(|s| s.code()).collect());
    check("TaskStatus", task::Status::ALL.iter().map(|s| s.code()).collect());
    check("Step", vardkedja::domain::clock::Step::ALL.iter().map(|s| s.code()).collect());
    check("Sort", vardkedja::domain::clock::Sort::ALL.iter().map(|s| s.code()).collect());
    check("DeliveryState", delivery::State::ALL.iter().map(|s| s.code()).collect());
    let roles = &contract.schema("Party")["properties"]["role"]["enum"];
    assert_eq!(*roles, serde_json::json!(PartyRole::ALL.map(PartyRole::code)));
}

#[test]
fn the_moves_of_a_task_are_those_of_the_program() {
    use vardkedja::domain::task::{Role, Status, moves};
    let contract = Contract::read();
    let update = contract.operations().find(|o| o.spec["operationId"] == "update").unwrap();
    let rows: Vec<&str> =
        update.spec["description"].as_str().unwrap().lines().filter(|l| l.starts_with("| ")).collect();
    let known = Status::ALL.into_iter().map(|from| (from, moves(from, Role::Filler))).filter(|(_, to)| !to.is_empty());
    let known: Vec<String> = known
        .map(|(from, to)| format!("| {from} | {} |", to.iter().map(|s| s.code()).collect::<Vec<_>>().join(", ")))
        .collect();
    let mut said: Vec<&str> = rows.into_iter().skip(1).collect();
    said.sort_by_key(|row| known.iter().position(|k| k == row));
    assert_eq!(said, known);
}

#[test]
fn every_schema_is_used_and_every_field_has_a_sentence() {
    let contract = Contract::read();
    let all = contract.doc.to_string();
    let mut missing = Vec::new();
    for (name, schema) in contract.doc["components"]["schemas"].as_object().unwrap() {
        assert!(all.contains(&format!("#/components/schemas/{name}\"")), "{name} is not used");
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            let said = contract.resolve(property)["description"].is_string() || property["description"].is_string();
            let nested = property["properties"].is_object();
            if !said && !nested {
                missing.push(format!("{name}.{field}"));
            }
        }
    }
    assert!(missing.is_empty(), "no sentence: {missing:?}");
}

#[test]
fn every_answer_shown_in_the_file_is_valid_by_its_schema() {
    let contract = Contract::read();
    let mut shown = 0;
    contract.visit_media(&mut |media| {
        if let Some(example) = media.get("example") {
            contract.check(&media["schema"], example).unwrap();
            shown += 1;
        }
    });
    assert!(shown > 10);
}
