//! What scopes open and close on paths that need a real document: sending, reading it back, changing a Task, adding to it; and a
//! Patient of whom others have spoken.

use serde_json::{Value, json};

use super::library::{Library, Request};
use super::model::{Asker, Model, Purpose};
use crate::world::{NORTH, ONCOLOGY, REHAB_TEAM, Reply, SOUTH, referral_to};

const KVA: &str = "urn:oid:1.2.752.116.1.3.2.1.4";

fn of_unit(unit: &'static str, partner: &'static str) -> Asker {
    Asker { purpose: Purpose::Care, unit: Some(unit), partner, scopes: None }
}

/// A gateway without anything in it, whose callers show tokens.
struct Empty(Library);

impl Empty {
    async fn open() -> Self {
        Self(Library::open(&Model::default()).await)
    }

    async fn ask(
        &self,
        unit: &'static str,
        scope: &str,
        method: &'static str,
        path: &str,
        body: Option<Value>,
    ) -> Reply {
        self.ask_with(unit, scope, method, path, &[], body).await
    }

    async fn ask_with(
        &self,
        unit: &'static str,
        scope: &str,
        method: &'static str,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Option<Value>,
    ) -> Reply {
        let partner = super::model::UNITS.iter().find(|(u, _)| *u == unit).unwrap().1;
        let token = self.0.token_for(&of_unit(unit, partner), Some(scope).filter(|s| !s.is_empty()));
        let mut all = vec![("Content-Type", "application/json".to_owned())];
        all.extend(headers.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let body = body.map(|body| body.to_string());
        let answer =
            self.0.ask(&token, &Request { method, path: path.into(), headers: all, body, ..Request::default() }).await;
        Reply { status: answer.status, location: None, text: answer.pages.concat() }
    }

    /// Sends a referral and gives the path of its exchange.
    async fn refer(&self, from: &'static str, document: Value) -> String {
        let reply = self.ask(from, "", "POST", "/v1/referrals", Some(document)).await;
        assert_eq!(reply.status, 202, "{}", reply.text);
        format!("/v1/exchanges/{}", reply.json()["exchange"].as_str().unwrap())
    }

    /// The Task of a unit.
    async fn task(&self, unit: &'static str) -> Value {
        self.ask(unit, "", "GET", "/fhir/Task", None).await.json()["entry"][0]["resource"].clone()
    }
}

#[actix_web::test]
async fn what_is_sent_and_decided_needs_its_scope_and_the_answer_names_it() {
    let world = Empty::open().await;
    let exchange = world.refer(ONCOLOGY, referral_to(1, SOUTH)).await;
    let id = exchange.rsplit('/').next().unwrap().to_owned();
    let cases: [(&str, String, Option<Value>, &str); 9] = [
        ("POST", "/v1/referrals".into(), Some(referral_to(2, SOUTH)), "system/ServiceRequest.c"),
        ("POST", "/v1/rehab-plans".into(), Some(json!({})), "system/CarePlan.c"),
        ("POST", "/v1/handovers".into(), Some(json!({})), "system/Task.c"),
        ("POST", "/v1/activities".into(), Some(json!({})), "system/Procedure.c"),
        ("POST", format!("{exchange}/cancel"), Some(json!({ "reason": "x" })), "system/Task.u"),
        ("POST", format!("{exchange}/retry"), None, "system/Task.u"),
        ("POST", "/v1/deliveries/resend".into(), Some(json!({ "exchange": id })), "system/Task.u"),
        ("POST", "/fhir/Procedure".into(), Some(json!({ "resourceType": "Procedure" })), "system/Procedure.c"),
        ("GET", "/fhir/Patient?_count=5".into(), None, "system/Patient.s"),
    ];
    for (method, path, body, needed) in cases {
        // Everything but that; and a part of it is not enough for a whole document.
        for scope in ["system/Task.r system/Consent.cruds", "system/ServiceRequest.cruds?status=active openid"] {
            let reply = world.ask(ONCOLOGY, scope, method, &path, body.clone()).await;
            assert!(reply.status == 403 && reply.text.contains(needed), "{method} {path} with {scope}: {}", reply.text);
        }
        let reply = world.ask(ONCOLOGY, "system/*.cruds", method, &path, body).await;
        assert!(reply.status != 403, "{method} {path}: {}", reply.text);
    }
    world.0.close().await;
}

#[actix_web::test]
async fn an_exchange_is_seen_by_what_it_is_about_and_its_document_only_whole() {
    let world = Empty::open().await;
    let exchange = world.refer(ONCOLOGY, referral_to(1, SOUTH)).await;
    let document = format!("{exchange}/document");
    let look = async |scope: &str| {
        let one = world.ask(SOUTH, scope, "GET", &exchange, None).await;
        let list = world.ask(SOUTH, scope, "GET", "/v1/exchanges", None).await;
        let count = list.json()["exchanges"].as_array().map_or(0, Vec::len);
        let whole = world.ask(SOUTH, scope, "GET", &document, None).await;
        (one.status, count, whole.status)
    };
    assert_eq!(look("").await, (200, 1, 200));
    assert_eq!(look("system/*.rs").await, (200, 1, 200));
    assert_eq!(look("system/*.cruds?status=active system/*.rs").await, (200, 1, 200));
    assert_eq!(look("system/ServiceRequest.rs").await, (200, 1, 403), "the document has more in it than the request");
    assert_eq!(look("system/ServiceRequest.rs?status=active").await, (200, 1, 403));
    assert_eq!(look("system/ServiceRequest.rs?status=draft system/Task.rs").await, (404, 0, 404));
    assert_eq!(look("system/CarePlan.rs system/Task.rs").await, (404, 0, 404));
    let shown = world.ask(SOUTH, "system/ServiceRequest.rs", "GET", &exchange, None).await.json();
    let names = shown["resources"].as_array().unwrap();
    assert!(names.iter().all(|n| n.as_str().unwrap().starts_with("ServiceRequest/")), "{shown:#}");
    let told = |p: &Value| !p["task"].is_null() || !p["status"].is_null();
    assert!(!shown["parties"].as_array().unwrap().iter().any(told), "Tasks are not among its scopes: {shown:#}");
    world.0.close().await;
}

#[actix_web::test]
async fn who_may_change_a_task_and_not_read_it_is_told_no_more_than_that_it_is_done() {
    let world = Empty::open().await;
    world.refer(ONCOLOGY, referral_to(1, SOUTH)).await;
    let mut task = world.task(SOUTH).await;
    let path = format!("/fhir/Task/{}", task["id"].as_str().unwrap());
    task["status"] = json!("accepted");
    let put = async |scope: &str, task: &Value| {
        world.ask_with(SOUTH, scope, "PUT", &path, &[("If-Match", "W/\"1\"")], Some(task.clone())).await
    };
    let refused = put("system/Task.r", &task).await;
    assert!(refused.status == 403 && refused.text.contains("system/Task.u"), "{}", refused.text);
    assert_eq!(put("system/Task.ru?status=completed", &task).await.status, 404, "not one that it may change");
    let done = put("system/Task.u?status=requested", &task).await;
    assert_eq!((done.status, done.text.as_str()), (200, ""), "changed, and not shown");
    assert_eq!(world.task(SOUTH).await["status"], "accepted");
    world.0.close().await;
}

#[actix_web::test]
async fn what_is_added_satisfies_the_criteria_of_the_scope_that_lets_it_be_added() {
    let world = Empty::open().await;
    world.refer(ONCOLOGY, referral_to(1, SOUTH)).await;
    let task = world.task(SOUTH).await;
    let procedure = |code: &str| {
        json!({
            "resourceType": "Procedure", "status": "completed", "code": { "coding": [{ "system": KVA, "code": code }] },
            "subject": task["for"], "basedOn": [task["focus"]], "performedDateTime": "2026-03-18",
        })
    };
    let scope = "system/Procedure.crs?code=DV133";
    let add = async |code: &str| world.ask(SOUTH, scope, "POST", "/fhir/Procedure", Some(procedure(code))).await;
    let refused = add("GC001").await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    let made = add("DV133").await;
    assert_eq!(made.status, 201, "{}", made.text);
    let seen = world.ask(SOUTH, scope, "GET", "/fhir/Procedure", None).await.json();
    assert_eq!(seen["entry"].as_array().map(Vec::len), Some(1));
    world.0.close().await;
}

#[actix_web::test]
async fn from_elsewhere_figures_are_for_operations_alone() {
    let world = Empty::open().await;
    for path in ["/metrics", "/v1/status"] {
        let through_a_proxy = [("X-Forwarded-For", "192.0.2.1")];
        let reply = world.ask_with(ONCOLOGY, "system/*.cruds", "GET", path, &through_a_proxy, None).await;
        assert!(reply.status == 403 && reply.text.contains("purpose"), "{path}: {}", reply.text);
        let nobody = [("X-Forwarded-For", "192.0.2.1".to_owned())].to_vec();
        let request = Request { method: "GET", path: path.into(), headers: nobody, ..Request::default() };
        assert_eq!(world.0.ask("x.y.z", &request).await.status, 401, "{path}");
        assert_eq!(world.ask(ONCOLOGY, "", "GET", path, None).await.status, 200, "from the machine itself");
    }
    world.0.close().await;
}

/// A referral with a patient that is described.
fn described(number: u32, from: &str, to: &str, name: &str, phone: &str) -> Value {
    let mut referral = referral_to(number, to);
    referral["id"] = json!(format!("{from}#R-{number}"));
    referral["requester"]["unit"] = json!(from);
    referral["patient"] = json!({ "personnummer": "195009072553", "name": name, "phone": phone });
    referral
}

#[actix_web::test]
async fn a_unit_that_only_sent_reads_of_the_patient_what_it_said_itself_on_every_path() {
    let world = Empty::open().await;
    world.refer(ONCOLOGY, described(1, ONCOLOGY, SOUTH, "Tolvan Testsson", "070-000 00 00")).await;
    world.refer(NORTH, described(2, NORTH, SOUTH, "Elvan Testsson", "070-000 00 01")).await;
    let mut second = described(1, ONCOLOGY, SOUTH, "Tolvan Ny Testsson", "070-000 00 02");
    second["version"] = json!(2);
    world.refer(ONCOLOGY, second).await;
    let get = async |unit, path: &str| world.ask(unit, "", "GET", path, None).await;
    let id = get(NORTH, "/fhir/Patient").await.json()["entry"][0]["resource"]["id"].as_str().unwrap().to_owned();
    let of = |path: &str| path.replace("ID", &id);
    for path in [
        "/fhir/Patient/ID",
        "/fhir/Patient",
        "/fhir/Patient?_id=ID",
        "/fhir/Patient/ID/_history",
        "/fhir/Patient/_history",
        "/fhir/_history",
        "/fhir/Patient/ID/$everything",
        "/fhir/Task?_include=Task:patient",
        "/fhir/ServiceRequest?_include=ServiceRequest:subject",
        "/fhir/Patient/ID/_history/1",
    ] {
        let text = get(NORTH, &of(path)).await.text;
        assert!(text.contains("Elvan Testsson") && text.contains("070-000 00 01"), "{path}: {text}");
        for others in ["Tolvan", "070-000 00 00", "070-000 00 02"] {
            assert!(!text.contains(others), "{path} tells what another unit said: {text}");
        }
    }
    for version in 2..5 {
        assert_eq!(get(NORTH, &of(&format!("/fhir/Patient/ID/_history/{version}"))).await.status, 404);
    }
    let own = get(NORTH, &of("/fhir/Patient/ID")).await.json();
    let first = get(ONCOLOGY, &of("/fhir/Patient/ID/_history/1")).await.json();
    assert_eq!(first["name"][0]["text"], "Tolvan Testsson", "its own earlier word: {first:#}");
    let history = get(ONCOLOGY, &of("/fhir/Patient/ID/_history")).await.json();
    assert_eq!(history["entry"].as_array().map(Vec::len), Some(2), "{history:#}");
    assert_eq!(own["meta"]["versionId"], "1", "how often others spoke is not told either: {own:#}");
    // Nor by asking for what they said.
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let by_name = async |unit, name: &str| {
        let partner = super::model::UNITS.iter().find(|(u, _)| *u == unit).unwrap().1;
        let token = world.0.token_for(&of_unit(unit, partner), None);
        let headers = form.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
        let body = Some(format!("name:contains={name}&_summary=count"));
        let request =
            Request { method: "POST", path: "/fhir/Patient/_search".into(), headers, body, ..Request::default() };
        let answer = world.0.ask(&token, &request).await;
        serde_json::from_str::<Value>(&answer.pages[0]).unwrap()["total"].clone()
    };
    assert_eq!(by_name(NORTH, "Tolvan").await, 0);
    assert_eq!(by_name(SOUTH, "Tolvan").await, 1, "to SOUTH the patient was sent");
    let whole = get(SOUTH, &of("/fhir/Patient/ID")).await.text;
    assert!(whole.contains("Tolvan Ny") && whole.contains("070-000 00 01"), "{whole}");
    // From the moment that somebody sends it something about the patient, the Patient has come to it.
    world.refer(SOUTH, described(3, SOUTH, NORTH, "Tolvan Ny Testsson", "070-000 00 02")).await;
    assert!(get(NORTH, &of("/fhir/Patient/ID")).await.text.contains("Tolvan Ny"));
    assert_eq!(get(REHAB_TEAM, &of("/fhir/Patient/ID")).await.status, 404, "and to others nothing at all");
    world.0.close().await;
}

#[actix_web::test]
async fn who_is_responsible_is_answered_as_far_as_the_episodes_are_covered_and_the_exchange_where_it_is_seen() {
    let world = Empty::open().await;
    world.refer(ONCOLOGY, referral_to(1, SOUTH)).await;
    let asked = json!({ "patient": "195009072553", "area": "physical-activity" });
    let path = "/v1/responsibility/search";
    let ask = async |unit, scope: &str| world.ask(unit, scope, "POST", path, Some(asked.clone())).await;
    let line = async |unit, scope: &str| ask(unit, scope).await.json()["areas"][0].clone();
    for scope in ["system/Task.rs", "system/EpisodeOfCare.s", "system/ServiceRequest.cruds"] {
        let refused = ask(SOUTH, scope).await;
        assert!(refused.status == 403 && refused.text.contains("system/EpisodeOfCare.r"), "{scope}: {}", refused.text);
    }
    let whole = line(SOUTH, "").await;
    assert_eq!((&whole["answer"], &whole["responsible"][0]["unit"]), (&json!("one"), &json!(ONCOLOGY)), "{whole:#}");
    assert!(whole["responsible"][0]["exchange"].is_string());
    let narrow = line(SOUTH, "system/EpisodeOfCare.rs").await;
    assert_eq!(narrow["responsible"][0]["unit"], ONCOLOGY);
    assert!(narrow["responsible"][0]["exchange"].is_null(), "the exchange is not among its scopes: {narrow:#}");
    let other = line(SOUTH, "system/EpisodeOfCare.rs?status=finished").await;
    assert_eq!((&other["answer"], &other["responsible"]), (&json!("unknown"), &json!([])), "{other:#}");
    assert_eq!(line(NORTH, "").await["answer"], "unknown");
    let patient = ask(SOUTH, "").await.json()["patient"].as_str().unwrap().trim_start_matches("Patient/").to_owned();
    let by_id = format!("/v1/patients/{patient}/responsibility");
    let seen = world.ask(SOUTH, "system/EpisodeOfCare.rs", "GET", &by_id, None).await;
    assert_eq!(seen.status, 200, "{}", seen.text);
    assert_eq!(world.ask(REHAB_TEAM, "", "GET", &by_id, None).await.status, 404);
    assert_eq!(world.ask(SOUTH, "system/EpisodeOfCare.rs?status=finished", "GET", &by_id, None).await.status, 404);
    world.0.close().await;
}
