//! The FHIR face: transactions, conditions, versions, search.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::{Value, json};
use vardkedja::demo::receiver::Options;

use super::{Clinic, PNR, Reply, SID, patient, referral, statuses, task};

#[tokio::test]
async fn a_bundle_sent_twice_leaves_one_of_each_and_the_task_untouched() {
    let clinic = Clinic::open();
    let first = clinic.post("/fhir", referral("Bäckenbotten?")).await;
    assert_eq!(statuses(&first), ["201 Created"; 5], "{}", first.body);
    let entry = &first.body["entry"][0]["response"];
    assert_eq!(entry["etag"], json!("W/\"1\""));
    assert!(entry["location"].as_str().unwrap().starts_with("Task/"));

    let task = clinic.only("Task").await;
    let patient = clinic.only("Patient").await;
    let request = clinic.only("ServiceRequest").await;
    let local = |r: &Value| format!("{}/{}", r["resourceType"].as_str().unwrap(), r["id"].as_str().unwrap());
    assert_eq!(task["for"]["reference"], json!(local(&patient)));
    assert_eq!(task["focus"]["reference"], json!(local(&request)));
    assert_eq!(request["supportingInfo"][0]["reference"], json!(local(&clinic.only("CarePlan").await)));

    // The same again: nothing is written, not even where there was a PUT.
    let again = clinic.post("/fhir", referral("Bäckenbotten?")).await;
    assert_eq!(statuses(&again), ["200 OK"; 5]);
    for (one, other) in first.body["entry"].as_array().unwrap().iter().zip(again.body["entry"].as_array().unwrap()) {
        for stamp in ["etag", "lastModified", "location"] {
            assert_eq!(one["response"][stamp], other["response"][stamp]);
        }
    }

    // Changed, while the unit has begun with its Task: the request is at version 2, the Task is the unit's.
    let path = format!("/worklist/{}/accept", task["id"].as_str().unwrap());
    assert_eq!(clinic.post(&path, json!({})).await.status, StatusCode::OK);
    let changed = clinic.post("/fhir", referral("Lymfödem?")).await;
    assert_eq!(statuses(&changed), ["200 OK"; 5]);
    let request = clinic.only("ServiceRequest").await;
    assert_eq!(request["meta"]["versionId"], json!("2"));
    assert_eq!(request["reasonCode"][0]["text"], json!("Lymfödem?"));
    assert_eq!(request["subject"]["reference"], json!(local(&patient)));
    assert_eq!(clinic.only("CarePlan").await["meta"]["versionId"], json!("1"));
    assert_eq!(clinic.only("Task").await["status"], json!("accepted"));
    assert_eq!(clinic.only("Organization").await["meta"]["versionId"], json!("1"));
}

#[tokio::test]
async fn a_stale_if_match_is_412_and_identical_content_keeps_its_version() {
    let clinic = Clinic::open();
    let id = clinic.create(task("a")).await;
    let url = format!("/fhir/Task/{id}");
    let read = clinic.get(&url).await;
    assert_eq!(read.etag.as_deref(), Some("W/\"1\""));
    let same = clinic.ask("PUT", &url, &[("If-Match", "W/\"1\"")], Some(&read.body)).await;
    assert_eq!((same.status, same.etag.as_deref()), (StatusCode::OK, Some("W/\"1\"")));

    let mut moved = read.body.clone();
    moved["status"] = json!("accepted");
    let done = clinic.ask("PUT", &url, &[("If-Match", "W/\"1\"")], Some(&moved)).await;
    assert_eq!((done.status, done.etag.as_deref()), (StatusCode::OK, Some("W/\"2\"")));
    moved["status"] = json!("rejected");
    let stale = clinic.ask("PUT", &url, &[("If-Match", "W/\"1\"")], Some(&moved)).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(stale.body["resourceType"], json!("OperationOutcome"));
    assert_eq!(clinic.get(&url).await.body["status"], json!("accepted"));

    let entry = json!({ "resource": moved,
        "request": { "method": "PUT", "url": format!("Task/{id}"), "ifMatch": "W/\"1\"" } });
    let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": [entry] });
    assert_eq!(clinic.post("/fhir", bundle).await.status, StatusCode::PRECONDITION_FAILED);
}

#[tokio::test]
async fn several_matches_are_412_and_nothing_is_written() {
    let clinic = Clinic::open();
    for _ in 0..2 {
        let plan = json!({ "resourceType": "ServiceRequest", "status": "active", "intent": "order",
            "identifier": [{ "system": SID, "value": "request-1" }], "subject": { "display": "x" } });
        clinic.create(plan).await;
    }
    let reply = clinic.post("/fhir", referral("?")).await;
    assert_eq!(reply.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(reply.body["issue"][0]["code"], json!("duplicate"));
    assert_eq!(reply.body["issue"][0]["expression"][0], json!("Bundle.entry[1].resource"));
    assert_eq!((clinic.count("Patient").await, clinic.count("Task").await), (0, 0));
}

/// A change to an entry, and the status and expression of the refusal.
type Spoilt = (fn(&mut Value), u16, &'static str);

#[tokio::test]
async fn one_bad_entry_leaves_nothing_of_a_transaction() {
    let clinic = Clinic::open();
    let spoilt = |change: fn(&mut Value)| {
        let mut bundle = referral("?");
        change(&mut bundle["entry"][2]);
        bundle
    };
    let cases: [Spoilt; 7] = [
        (|e| e["resource"]["mood"] = json!(1), 422, "Bundle.entry[2].resource.mood"),
        (|e| e["resource"]["status"] = json!("begun"), 422, "Bundle.entry[2].resource.status"),
        (
            |e| drop(e["resource"].as_object_mut().unwrap().shift_remove("intent")),
            422,
            "Bundle.entry[2].resource.intent",
        ),
        (|e| e["resource"]["title"] = json!(["x"]), 422, "Bundle.entry[2].resource.title"),
        (
            |e| e["resource"]["subject"]["reference"] = json!("urn:uuid:x"),
            400,
            "Bundle.entry[2].resource.subject.reference",
        ),
        (
            |e| e["resource"]["subject"]["reference"] = json!("Patient/9"),
            422,
            "Bundle.entry[2].resource.subject.reference",
        ),
        (|e| e["resource"]["id"] = json!("mine"), 400, "Bundle.entry[2].resource"),
    ];
    for (change, status, expression) in cases {
        let reply = clinic.post("/fhir", spoilt(change)).await;
        assert_eq!(reply.status.as_u16(), status, "{}", reply.body);
        assert_eq!(reply.body["issue"][0]["expression"][0], json!(expression));
    }
    for kind in ["Patient", "Organization", "ServiceRequest", "CarePlan", "Task"] {
        assert_eq!(clinic.count(kind).await, 0, "{kind}");
    }
}

#[tokio::test]
async fn a_transaction_deletes_patches_and_reads_in_the_order_of_the_standard() {
    let clinic = Clinic::open();
    let (old, id) = (clinic.create(task("old")).await, clinic.create(task("a")).await);
    // [{"op":"replace","path":"/status","value":"received"}]
    let patch = "W3sib3AiOiJyZXBsYWNlIiwicGF0aCI6Ii9zdGF0dXMiLCJ2YWx1ZSI6InJlY2VpdmVkIn1d";
    let entry = |method: &str, url: String| json!({ "request": { "method": method, "url": url } });
    let mut patching = entry("PATCH", format!("Task/{id}"));
    patching["resource"] =
        json!({ "resourceType": "Binary", "contentType": "application/json-patch+json", "data": patch });
    let entries = [
        entry("GET", "Task?status=received".into()),
        entry("GET", format!("Task/{id}")),
        patching,
        entry("DELETE", format!("Task/{old}")),
    ];
    let reply =
        clinic.post("/fhir", json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries })).await;
    assert_eq!(statuses(&reply), ["200 OK", "200 OK", "200 OK", "204 No Content"], "{}", reply.body);
    assert_eq!(reply.body["entry"][0]["resource"]["total"], json!(1));
    assert_eq!(reply.body["entry"][1]["resource"]["status"], json!("received"));
    assert_eq!(clinic.get(&format!("/fhir/Task/{old}")).await.status, StatusCode::GONE);
    let twice = [entry("DELETE", format!("Task/{id}")), entry("DELETE", format!("Task/{id}"))];
    let reply = clinic.post("/fhir", json!({ "resourceType": "Bundle", "type": "transaction", "entry": twice })).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn pages_follow_each_other_without_gaps_or_repeats() {
    let clinic = Clinic::open();
    let patient = clinic.create(patient()).await;
    let mut made = Vec::new();
    for i in 0..7 {
        let mut task = task(&format!("t{i}"));
        task["for"] = json!({ "reference": format!("Patient/{patient}") });
        made.push(clinic.create(task).await);
    }
    for (sort, expected) in [("_lastUpdated", made.clone()), ("-_lastUpdated", made.iter().rev().cloned().collect())] {
        let mut page = clinic.get(&format!("/fhir/Task?patient={patient}&_count=3&_sort={sort}")).await.body;
        let mut seen = Vec::new();
        loop {
            assert_eq!(page["total"], json!(7));
            assert!(seen.len() < made.len(), "the pages do not end");
            let entries = page["entry"].as_array().unwrap();
            seen.extend(entries.iter().map(|e| e["resource"]["id"].as_str().unwrap().to_owned()));
            let Some(next) = page["link"][0]["url"].as_str() else { break };
            page = clinic.get(next).await.body;
        }
        assert_eq!(seen, expected);
    }
    let page = clinic.form("/fhir/Task/_search", &[("identifier", "t0,t1,t2"), ("_count", "2")]).await;
    let next = page["link"][0]["url"].as_str().unwrap();
    assert!(!next.contains("t0"), "the parameters of a POST do not come back in a URL: {next}");
    assert_eq!(clinic.get(next).await.body["entry"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn resources_are_found_by_every_parameter() {
    let clinic = Clinic::open();
    clinic.post("/fhir", referral("?")).await;
    let (task, patient) = (clinic.only("Task").await, clinic.only("Patient").await);
    let (id, patient_id) = (task["id"].as_str().unwrap(), patient["id"].as_str().unwrap());
    let updated = task["meta"]["lastUpdated"].as_str().unwrap();
    let focus = task["focus"]["reference"].as_str().unwrap();
    let base = &clinic.base;
    for (query, total) in [
        (format!("Task?_id={id},other"), 1),
        (format!("Task?identifier={SID}|task-1"), 1),
        ("Task?identifier=task-1".into(), 1),
        ("Task?identifier=|task-1".into(), 0),
        (format!("Task?identifier={SID}|"), 1),
        ("Task?status=draft,requested".into(), 1),
        ("Task?status=draft&status=requested".into(), 0),
        (format!("Task?focus={focus}&patient={base}/fhir/Patient/{patient_id}"), 1),
        (format!("Task?subject=Patient/{patient_id}"), 1),
        (format!("Task?subject=Organization/{patient_id}"), 0),
        (format!("Task?_lastUpdated=ge{updated}"), 1),
        (format!("Task?_lastUpdated=gt{updated}"), 0),
        (format!("Task?_lastUpdated=le{updated}"), 1),
        (format!("Task?_lastUpdated=lt{updated}"), 0),
        ("Task?_lastUpdated=gt2020-01-01&_lastUpdated=lt2020-01-02".into(), 0),
        (format!("CarePlan?patient={patient_id}&status=active"), 1),
    ] {
        let found = clinic.get(&format!("/fhir/{query}")).await.body;
        assert_eq!(found["total"], json!(total), "{query}");
    }
    let found = clinic.get("/fhir/Task?_include=Task:focus&_include=Task:patient").await.body;
    let kinds = |mode: &str| {
        let entries = found["entry"].as_array().unwrap().iter().filter(move |e| e["search"]["mode"] == mode);
        entries.map(|e| e["resource"]["resourceType"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(kinds("include"), BTreeSet::from(["Patient".into(), "ServiceRequest".into()]));
    assert_eq!(found["total"], json!(1));
    for wrong in
        ["Task?color=red", "Patient?status=active", "Task?_count=x", "Task?_sort=status", "Task?_lastUpdated=x"]
    {
        let reply = clinic.get(&format!("/fhir/{wrong}")).await;
        assert_eq!((reply.status, &reply.body["resourceType"]), (StatusCode::BAD_REQUEST, &json!("OperationOutcome")));
    }
}

#[tokio::test]
async fn a_personnummer_in_a_url_is_refused_and_not_kept_but_a_form_may_carry_it() {
    let clinic = Clinic::open();
    clinic.create(patient()).await;
    let reply = clinic.get(&format!("/fhir/Patient?identifier={PNR}%7C19500907-2553")).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    let condition = format!("identifier={PNR}|195009072553");
    let matched = clinic.ask("POST", "/fhir/Patient", &[("If-None-Exist", &condition)], Some(&patient())).await;
    assert_eq!(matched.status, StatusCode::OK);
    let found = clinic.form("/fhir/Patient/_search", &[("identifier", "195009072553")]).await;
    assert_eq!(found["total"], json!(1));
    let journal = clinic.get("/journal").await.body;
    assert!(!journal.to_string().contains("2553"), "{journal}");
    assert_eq!(journal.as_array().unwrap().len(), 4);
    assert_eq!(
        (&journal[0]["method"], &journal[0]["path"], &journal[0]["status"]),
        (&json!("POST"), &json!("/fhir/Patient"), &json!(201))
    );
}

#[tokio::test]
async fn a_json_patch_changes_a_task_if_its_version_and_its_tests_hold() {
    let clinic = Clinic::open();
    let url = format!("/fhir/Task/{}", clinic.create(task("a")).await);
    let patch = |from: &str, to: &str| {
        json!([
            { "op": "test", "path": "/status", "value": from },
            { "op": "replace", "path": "/status", "value": to },
            { "op": "add", "path": "/statusReason", "value": { "text": "x" } },
        ])
    };
    let send =
        async |version: &str, body: Value| clinic.ask("PATCH", &url, &[("If-Match", version)], Some(&body)).await;
    assert_eq!(send("W/\"1\"", patch("requested", "accepted")).await.etag.as_deref(), Some("W/\"2\""));
    assert_eq!(send("W/\"1\"", patch("accepted", "rejected")).await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(send("W/\"2\"", patch("requested", "rejected")).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(send("W/\"2\"", patch("accepted", "begun")).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let remove_id = json!([{ "op": "remove", "path": "/id" }]);
    assert_eq!(send("W/\"2\"", remove_id).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let task = clinic.get(&url).await.body;
    assert_eq!((&task["status"], &task["statusReason"]["text"]), (&json!("accepted"), &json!("x")));
}

#[tokio::test]
async fn every_version_is_kept_and_times_only_rise_across_a_restart() {
    let clinic = Clinic::open();
    let id = clinic.create(task("a")).await;
    let url = format!("/fhir/Task/{id}");
    let mut body = clinic.get(&url).await.body;
    body["status"] = json!("accepted");
    let done = clinic.ask("PUT", &url, &[], Some(&body)).await;
    let history_url = format!("{}/fhir/Task/{id}/_history/2", clinic.base);
    assert_eq!(done.location, Some(history_url));
    assert_eq!(clinic.ask("DELETE", &url, &[], None).await.status, StatusCode::NO_CONTENT);

    let clinic = Clinic::open_in(clinic.close().await, Options::default());
    assert_eq!(clinic.get(&url).await.status, StatusCode::GONE);
    assert_eq!(clinic.get(&format!("{url}/_history/1")).await.body["status"], json!("requested"));
    body["status"] = json!("completed");
    assert_eq!(clinic.ask("PUT", &url, &[], Some(&body)).await.status, StatusCode::CREATED);
    let history = clinic.get(&format!("{url}/_history")).await.body;
    let entries = history["entry"].as_array().unwrap();
    let stamps: Vec<&str> = entries.iter().map(|e| e["response"]["etag"].as_str().unwrap()).collect();
    assert_eq!(stamps, ["W/\"4\"", "W/\"3\"", "W/\"2\"", "W/\"1\""]);
    assert!(
        entries
            .is_sorted_by(|a, b| { a["response"]["lastModified"].as_str() > b["response"]["lastModified"].as_str() })
    );
    assert_eq!(clinic.get("/worklist").await.status, StatusCode::NOT_FOUND, "no staff, no worklist");
}

#[tokio::test]
async fn only_what_the_capability_statement_says_may_be_created_by_id() {
    let clinic = Clinic::open_with(Options { provenance_by_id: true, ..Options::default() });
    let statement = clinic.get("/fhir/metadata").await.body;
    let resources = statement["rest"][0]["resource"].as_array().unwrap();
    let by_id: Vec<&Value> = resources.iter().filter(|r| r["updateCreate"] == true).map(|r| &r["type"]).collect();
    assert_eq!(by_id, [&json!("Provenance")]);
    for resource in resources {
        for parameter in resource["searchParam"].as_array().unwrap().iter().filter(|p| p["type"] != "date") {
            let url = format!("/fhir/{}?{}=x", resource["type"].as_str().unwrap(), parameter["name"].as_str().unwrap());
            assert_eq!(clinic.get(&url).await.status, StatusCode::OK, "{url}");
        }
    }
    let put = async |mut resource: Value| {
        resource["id"] = json!("chosen");
        let url = format!("/fhir/{}/chosen", resource["resourceType"].as_str().unwrap());
        clinic.ask("PUT", &url, &[], Some(&resource)).await.status
    };
    let task_id = clinic.create(task("a")).await;
    let provenance = json!({ "resourceType": "Provenance", "recorded": "2026-03-01T10:00:00Z",
        "target": [{ "reference": format!("Task/{task_id}") }], "agent": [{ "who": { "display": "x" } }] });
    assert_eq!(put(provenance.clone()).await, StatusCode::CREATED);
    assert_eq!(put(provenance).await, StatusCode::OK);
    assert_eq!(put(task("b")).await, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(clinic.get("/fhir/Medication/1").await.status, StatusCode::NOT_FOUND);
    assert_eq!(clinic.post("/fhir/Patient", task("b")).await.status, StatusCode::BAD_REQUEST);
    let xml = clinic.ask("POST", "/fhir/Task", &[("Content-Type", "application/fhir+xml")], None).await;
    assert_eq!(xml.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn a_conditional_reference_leads_to_the_one_resource_that_it_describes() {
    let clinic = Clinic::open();
    let id = clinic.create(patient()).await;
    let asking = |condition: &str| {
        let mut task = task("a");
        task["for"] = json!({ "reference": format!("Patient?identifier={condition}") });
        let entry = json!({ "resource": task, "request": { "method": "POST", "url": "Task" } });
        json!({ "resourceType": "Bundle", "type": "transaction", "entry": [entry] })
    };
    let known = format!("{PNR}|195009072553");
    assert_eq!(clinic.post("/fhir", asking(&known)).await.status, StatusCode::OK);
    assert_eq!(clinic.only("Task").await["for"]["reference"], json!(format!("Patient/{id}")));
    let unknown = clinic.post("/fhir", asking("189002029800")).await;
    assert_eq!(unknown.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(unknown.body["issue"][0]["expression"][0], json!("Bundle.entry[0].resource.for.reference"));
    clinic.create(patient()).await;
    assert_eq!(clinic.post("/fhir", asking(&known)).await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(clinic.post("/fhir", asking("")).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(clinic.count("Task").await, 1);
}

#[tokio::test]
async fn the_same_bundle_at_the_same_time_still_leaves_one_of_each() {
    let clinic = Clinic::open();
    let send = || clinic.post("/fhir", referral("?"));
    let replies: [Reply; 4] = tokio::join!(send(), send(), send(), send()).into();
    assert!(replies.iter().all(|r| r.status == StatusCode::OK));
    for kind in ["Patient", "Organization", "ServiceRequest", "CarePlan", "Task"] {
        assert_eq!(clinic.only(kind).await["meta"]["versionId"], json!("1"), "{kind}");
    }
}
