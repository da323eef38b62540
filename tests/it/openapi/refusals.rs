//! The table of statuses: each refusal as the file describes it, with the headers it promises.

use serde_json::{Value, json};

use super::live::{Ask, Scene, check_reply};
use super::schema::{Contract, Operation};

fn operation<'a>(contract: &'a Contract, id: &str) -> Operation<'a> {
    contract.operations().find(|o| o.spec["operationId"] == id).unwrap()
}

fn ask(headers: &[(&str, &str)], body: &Value) -> Ask {
    let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Ask { headers, body: if body.is_null() { Vec::new() } else { body.to_string().into_bytes() }, ..Ask::default() }
}

fn referral(contract: &Contract) -> Value {
    contract.doc["paths"]["/v1/referrals"]["post"]["requestBody"]["content"]["application/json"]["examples"]["small"]["value"]
        .clone()
}

#[tokio::test]
async fn each_refusal_is_as_the_file_describes_it() {
    let contract = Contract::read();
    let scene = Scene::with_referral(&contract).await;
    let small = referral(&contract);
    let mut changed = small.clone();
    changed["question"] = json!("En annan fråga.");
    let mut next = small.clone();
    next["version"] = json!(2);
    let task = format!("/fhir/{}", scene.name_of("Task"));
    let exchange = format!("/v1/exchanges/{}", scene.exchange_id());
    let (history, cancel) = (format!("{task}/_history?_since=2026"), format!("{exchange}/cancel"));
    let nowhere = "/v1/exchanges/01976f0a-5c1e-7d30-b7f2-0a4d5b1c9e11";
    let none = Value::Null;
    let accept = json!([{ "op": "replace", "path": "/status", "value": "accepted" }]);
    let patch = ("Content-Type", "application/json-patch+json");
    let north = ("Vardkedja-Unit", "SE2321000131-E000000000202");
    let cases: Vec<(&str, &str, Ask, u16)> = vec![
        ("submitReferral", "/v1/referrals", ask(&[], &changed), 409),
        ("submitReferral", "/v1/referrals", ask(&[north], &next), 403),
        ("submitReferral", "/v1/referrals", ask(&[("Vardkedja-Unit", "SE2321000131-E000000000999")], &next), 403),
        ("submitReferral", "/v1/referrals", ask(&[("Content-Type", "text/csv")], &next), 415),
        ("submitReferral", "/v1/referrals", ask(&[("Content-Encoding", "gzip")], &next), 415),
        ("submitReferral", "/v1/referrals", ask(&[("Idempotency-Key", "")], &next), 400),
        ("submitRehabPlan", "/v1/rehab-plans", ask(&[], &json!("no document")), 422),
        ("submitRehabPlan", "/v1/rehab-plans", Ask { body: b"{".to_vec(), ..Ask::default() }, 400),
        ("submitRehabPlan", "/v1/rehab-plans", ask(&[("Content-Type", "application/xml")], &none), 400),
        ("listExchanges", "/v1/exchanges?stages=parked", ask(&[], &none), 400),
        ("listExchanges", "/v1/exchanges?stage=lost", ask(&[], &none), 400),
        ("searchExchanges", "/v1/exchanges/search", ask(&[], &json!(["195009072553"])), 400),
        ("readExchange", nowhere, ask(&[], &none), 404),
        ("readExchange", &exchange, ask(&[("Vardkedja-Unit", "SE2321000131-E000000000102")], &none), 404),
        ("cancelExchange", &cancel, ask(&[north], &json!({ "reason": "Nej" })), 403),
        ("listDeliveries", "/v1/deliveries?stage=parked", ask(&[], &none), 400),
        ("retryDelivery", "/v1/deliveries/1/retry", ask(&[], &none), 404),
        ("registerBlock", "/v1/blocks", ask(&[], &json!(["195009072553"])), 400),
        ("readBlock", "/v1/blocks/1", ask(&[], &none), 404),
        ("liftBlock", "/v1/blocks/1/lift", ask(&[], &json!({ "by": "SE2321000131-P1" })), 404),
        ("linkNumbers", "/v1/patients/links", ask(&[], &json!(["195009072553"])), 400),
        ("readLink", "/v1/patients/links/1", ask(&[], &none), 404),
        ("undoLink", "/v1/patients/links/1/undo", ask(&[], &json!({ "by": "SE2321000131-P1", "reason": "x" })), 404),
        ("reportDeath", "/v1/patients/1/deceased", ask(&[], &json!({ "by": "SE2321000131-P1" })), 404),
        ("search", "/fhir/Basic", ask(&[], &none), 404),
        ("search", "/fhir/Patient?identifier=195009072553", ask(&[], &none), 400),
        ("search", "/fhir/Task?_sort=owner", ask(&[], &none), 400),
        ("read", "/fhir/Task/1", ask(&[], &none), 404),
        ("read", &task, ask(&[("Accept", "text/html")], &none), 406),
        ("update", &task, ask(&[("Content-Type", "text/html")], &none), 415),
        ("patch", &task, ask(&[patch], &accept), 400),
        ("patch", &task, ask(&[patch, ("If-Match", "W/\"7\"")], &accept), 412),
        ("patch", &task, ask(&[("If-Match", "W/\"1\"")], &accept), 415),
        (
            "patch",
            &task,
            ask(&[patch, ("If-Match", "W/\"1\""), ("Vardkedja-Unit", "SE2321000131-E000000000101")], &accept),
            403,
        ),
        ("create", "/fhir/Procedure", ask(&[], &json!({ "resourceType": "Procedure", "status": "completed" })), 422),
        ("history", &history, ask(&[], &none), 400),
    ];
    let mut wrong = Vec::new();
    for (id, path, ask, status) in cases {
        let operation = operation(&contract, id);
        let reply = scene.ask(&operation.method, path, &ask).await;
        if let Err(error) = check_reply(&operation, &reply, status) {
            wrong.push(format!("{id} {path}: {error}"));
        }
        assert!(!reply.text.contains("195009072553"), "{id} {path} tells the number");
    }
    scene.close().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[tokio::test]
async fn what_has_ended_is_a_conflict() {
    let contract = Contract::read();
    let scene = Scene::with_referral(&contract).await;
    let path = format!("/v1/exchanges/{}/cancel", scene.exchange_id());
    let cancel = operation(&contract, "cancelExchange");
    for status in [200, 409] {
        let reply = scene.ask("POST", &path, &ask(&[], &json!({ "reason": "Flyttat" }))).await;
        check_reply(&cancel, &reply, status).unwrap();
    }
    let task = format!("/fhir/{}", scene.name_of("Task"));
    let accept = json!([{ "op": "replace", "path": "/status", "value": "accepted" }]);
    let headers = [("Content-Type", "application/json-patch+json"), ("If-Match", "W/\"2\"")];
    let reply = scene.ask("PATCH", &task, &ask(&headers, &accept)).await;
    check_reply(&operation(&contract, "patch"), &reply, 409).unwrap();
    scene.close().await;
}

#[tokio::test]
async fn an_idempotency_key_gives_the_same_answer_again_and_another_body_is_refused() {
    let contract = Contract::read();
    let scene = Scene::empty("").await;
    let submit = operation(&contract, "submitReferral");
    let small = referral(&contract);
    let first = scene.ask("POST", "/v1/referrals", &ask(&[("Idempotency-Key", "k")], &small)).await;
    check_reply(&submit, &first, 202).unwrap();
    let again = scene.ask("POST", "/v1/referrals", &ask(&[("Idempotency-Key", "k")], &small)).await;
    assert_eq!(again.text, first.text);
    let mut other = small;
    other["version"] = json!(2);
    let reply = scene.ask("POST", "/v1/referrals", &ask(&[("Idempotency-Key", "k")], &other)).await;
    check_reply(&submit, &reply, 422).unwrap();
    scene.close().await;
}

#[tokio::test]
async fn what_exists_by_its_identifier_is_not_created_again() {
    let contract = Contract::read();
    let scene = Scene::with_referral(&contract).await;
    let create = operation(&contract, "create");
    let body = json!({
        "resourceType": "Procedure",
        "identifier": [{ "system": "https://vc-norr.example.se/journal", "value": "A-1" }],
        "basedOn": [{ "reference": scene.name_of("ServiceRequest") }],
        "status": "completed",
        "code": { "coding": [{ "system": "urn:oid:1.2.752.116.1.3.2.1.4", "code": "DV133" }] },
        "subject": { "reference": scene.name_of("Patient") },
        "performedDateTime": "2026-03-16",
    });
    let once = ("If-None-Exist", "identifier=https://vc-norr.example.se/journal|A-1");
    let mut ids = Vec::new();
    for status in [201, 200] {
        let reply = scene.ask("POST", "/fhir/Procedure", &ask(&[once], &body)).await;
        check_reply(&create, &reply, status).unwrap();
        ids.push(reply.json()["id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    scene.close().await;
}

#[tokio::test]
async fn without_a_token_nobody_is_let_in_where_a_partner_has_keys() {
    let contract = Contract::read();
    let scene =
        Scene::empty("[[partner]]\nname = \"primary-care\"\nchannel = \"poll\"\njwks_file = \"none.json\"\n").await;
    for operation in contract.operations() {
        let open = operation.spec["security"] == json!([{}]);
        let path = operation
            .path
            .replace("{type}", "Task")
            .replace("{id}", "1")
            .replace("{version}", "1")
            .replace("{name}", "all");
        let reply = scene.ask(&operation.method, &path, &ask(&[], &Value::Null)).await;
        if open {
            assert_eq!(reply.status, 200, "{path}");
        } else {
            check_reply(&operation, &reply, 401).unwrap_or_else(|e| panic!("{} {path}: {e}", operation.method));
        }
    }
    scene.close().await;
}

#[tokio::test]
async fn a_body_beyond_the_limit_and_too_many_lines_are_refused() {
    let contract = Contract::read();
    let scene = Scene::empty("[limits]\nbody_bytes = 600\nlines = 2\n").await;
    let submit = operation(&contract, "submitActivity");
    let limits = scene.gateway.config.limits;
    let long = Ask { body: vec![b' '; limits.body_bytes + 1], ..Ask::default() };
    check_reply(&submit, &scene.ask("POST", "/v1/activities", &long).await, 413).unwrap();
    let lines = ask(&[("Content-Type", "application/x-ndjson")], &Value::Null);
    let lines = Ask { body: b"{}\n".repeat(limits.lines + 1), ..lines };
    check_reply(&submit, &scene.ask("POST", "/v1/activities", &lines).await, 413).unwrap();
    scene.close().await;
}

#[tokio::test]
async fn every_route_is_served_and_no_other() {
    let scene = Scene::empty("").await;
    for (method, path) in vardkedja::api::ROUTES {
        let path =
            path.replace("{type}", "Task").replace("{id}", "1").replace("{version}", "1").replace("{name}", "all");
        let reply = scene.ask(method, &path, &ask(&[], &Value::Null)).await;
        assert!(!reply.text.contains("openapi.yaml"), "{method} {path}: {}", reply.text);
    }
    for (method, path, status) in [
        ("GET", "/v1/referrals", 405),
        ("DELETE", "/fhir/Task/1", 405),
        ("GET", "/v2/exchanges", 404),
        ("GET", "/", 404),
    ] {
        let reply = scene.ask(method, path, &ask(&[], &Value::Null)).await;
        assert_eq!(reply.status, status, "{method} {path}");
        assert_eq!(reply.header("allow").is_some(), status == 405, "{method} {path}");
        assert!(reply.text.contains("openapi.yaml"), "{method} {path}: {}", reply.text);
    }
    scene.close().await;
}

/// Paths of everything in the document that its schema requires, as JSON pointers.
fn required(contract: &Contract, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let schema = contract.resolve(schema);
    for part in ["allOf", "oneOf"].iter().flat_map(|k| schema[*k].as_array().into_iter().flatten()) {
        if contract.resolve(part)["properties"]["kind"].get("const").is_none_or(|kind| *kind == value["kind"]) {
            required(contract, part, value, path, found);
        }
    }
    let names = schema["required"].as_array().into_iter().flatten().flat_map(Value::as_str);
    found.extend(names.map(|name| format!("{path}/{name}")));
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        match &value[name] {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let place = format!("{path}/{name}/{index}");
                    required(contract, &contract.resolve(field)["items"], item, &place, found);
                }
            }
            Value::Null => {}
            inner => required(contract, field, inner, &format!("{path}/{name}"), found),
        }
    }
}

#[tokio::test]
async fn a_document_without_a_required_field_is_refused_and_the_finding_says_where() {
    let contract = Contract::read();
    let scene = Scene::empty("").await;
    let (mut wrong, mut sent) = (Vec::new(), 0);
    for operation in contract.operations().filter(|o| o.path.starts_with("/v1/") && o.spec["tags"][0] == "documents") {
        let media = &operation.spec["requestBody"]["content"]["application/json"];
        for (name, example) in media["examples"].as_object().unwrap().iter().filter(|(_, e)| e["x-status"] == 202) {
            let mut paths = Vec::new();
            required(&contract, &media["schema"], &example["value"], "", &mut paths);
            for path in paths {
                let mut less = example["value"].clone();
                let (parent, field) = path.rsplit_once('/').unwrap();
                let object = less.pointer_mut(parent).unwrap().as_object_mut().unwrap();
                object.shift_remove(field);
                if object.is_empty() {
                    continue;
                }
                let reply = scene.ask("POST", &operation.path, &ask(&[], &less)).await;
                let located =
                    reply.json()["issue"].as_array().is_some_and(|l| l.iter().all(|i| i["expression"][0].is_string()));
                if check_reply(&operation, &reply, 422).is_err() || !located {
                    wrong.push(format!("{} {name} without {path}: {} {}", operation.path, reply.status, reply.text));
                }
                sent += 1;
            }
        }
    }
    scene.close().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(sent > 100, "{sent}");
}
