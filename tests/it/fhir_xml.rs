//! FHIR XML: every resource that the project ships goes to XML and back unchanged, and fhirbolt, which others wrote from the
//! same standard, reads the XML as the same resource. The face speaks it by negotiation.
//!
//! HL7's own examples are not carried here. With a folder of them:
//! `FHIR_EXAMPLES=path cargo test --test it fhir_xml -- --ignored --nocapture`

use std::path::{Path, PathBuf};

use fhirbolt::FhirReleases;
use fhirbolt::element::Element;
use serde_json::Value;
use vardkedja::fhir::guard::Limits;
use vardkedja::fhir::xml;

use crate::world::{SOUTH, World, referral_to};

/// Every resource in the JSON files of a folder whose names end so.
fn resources(folder: &Path, ending: &str) -> Vec<(String, Value)> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths.into_iter().filter(|p| p.to_string_lossy().ends_with(ending)) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let list = match serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap() {
            Value::Array(list) => list,
            one => vec![one],
        };
        found.extend(list.into_iter().filter(|r| r["resourceType"].is_string()).map(|r| (name.clone(), r)));
    }
    found
}

type Theirs = Element<{ FhirReleases::R4 }>;

/// XML to JSON as fhirbolt has it.
fn read_by_fhirbolt(text: &[u8]) -> Result<Value, String> {
    let element: Theirs = fhirbolt::xml::from_slice(text, None).map_err(|e| e.to_string())?;
    let json = fhirbolt::json::to_vec(&element, None).map_err(|e| e.to_string())?;
    serde_json::from_slice(&json).map_err(|e| e.to_string())
}

/// JSON to XML as fhirbolt writes it.
fn written_by_fhirbolt(resource: &Value) -> Result<Vec<u8>, String> {
    let element: Theirs = fhirbolt::json::from_str(&resource.to_string(), None).map_err(|e| e.to_string())?;
    fhirbolt::xml::to_vec(&element, None).map_err(|e| e.to_string())
}

/// Without the space in narratives, which fhirbolt drops in part, and with blanks for line breaks, which it writes into
/// attributes as they are, where XML makes blanks of them.
fn without_space(mut value: Value) -> Value {
    fn walk(value: &mut Value) {
        match value {
            Value::String(text) => *text = text.replace(['\n', '\r', '\t'], " "),
            Value::Array(list) => list.iter_mut().for_each(walk),
            Value::Object(object) => {
                for (name, child) in object.iter_mut() {
                    match child {
                        Value::String(text) if name == "div" => text.retain(|c| !c.is_whitespace()),
                        child => walk(child),
                    }
                }
            }
            _ => {}
        }
    }
    walk(&mut value);
    value
}

/// What is lost or made up on the way to XML and back, and where fhirbolt sees another resource.
fn differences(resource: &Value) -> Vec<String> {
    let text = match xml::write(resource) {
        Ok(text) => text,
        Err(issues) => return issues.iter().map(|i| format!("not written: {}", i.line())).collect(),
    };
    let mut found = Vec::new();
    match xml::read(&text, &Limits::RESOURCE) {
        Ok(back) if back == *resource => {}
        Ok(back) => found.push(format!("came back otherwise: {back}")),
        Err(issues) => found.extend(issues.iter().map(|i| format!("not read back: {}", i.line()))),
    }
    match read_by_fhirbolt(&text) {
        Ok(theirs) if without_space(theirs.clone()) == without_space(resource.clone()) => {}
        Ok(theirs) => found.push(format!("fhirbolt sees: {theirs}")),
        Err(error) => found.push(format!("fhirbolt does not read it: {error}")),
    }
    match written_by_fhirbolt(resource).map(|text| xml::read(&text, &Limits::RESOURCE)) {
        Ok(Ok(ours)) if without_space(ours.clone()) == without_space(resource.clone()) => {}
        Ok(Ok(ours)) => found.push(format!("from fhirbolt's XML came: {ours}")),
        Ok(Err(issues)) => found.extend(issues.iter().map(|i| format!("fhirbolt's XML is not read: {}", i.line()))),
        Err(error) => found.push(format!("fhirbolt does not write it: {error}")),
    }
    found
}

#[test]
fn every_resource_that_we_ship_goes_to_xml_and_back_unchanged() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = resources(&root.join("profiles"), ".json");
    all.extend(resources(&root.join("mappings/examples"), ".fhir.json"));
    all.extend(resources(&root.join("mappings/codes"), ".json"));
    assert!(all.len() > 100, "{}", all.len());
    // Topics are in the form of R5, and are read by nobody as R4.
    all.retain(|(name, _)| !name.contains("SubscriptionTopic-"));
    let wrong: Vec<String> =
        all.iter().flat_map(|(name, r)| differences(r).into_iter().map(move |d| format!("{name}: {d}"))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[ignore = "needs a folder of HL7's examples"]
fn the_official_examples_go_to_xml_and_back_unchanged() {
    let folder = std::env::var("FHIR_EXAMPLES").expect("FHIR_EXAMPLES is a folder");
    let all = resources(Path::new(&folder), ".json");
    let mut whole = 0;
    for (name, resource) in &all {
        let found = differences(resource);
        whole += usize::from(found.is_empty());
        for difference in found {
            println!("{name}: {}", difference.chars().take(300).collect::<String>());
        }
    }
    println!("{whole} of {} are the same in XML, for us and for fhirbolt", all.len());
}

/// Every shape that has been seen to make XML readers slow, at a megabyte and more.
#[test]
fn no_document_takes_more_than_its_size_is_worth() {
    let fill = |unit: &str| unit.repeat(1_000_000 / unit.len());
    let patient = |inside: String| format!("<Patient xmlns=\"http://hl7.org/fhir\">{inside}</Patient>");
    let numbered = |make: fn(usize) -> String| (0..100_000).map(make).collect::<String>();
    let shapes = [
        ("attributes", format!("<a {}/>", numbered(|n| format!(" a{n}='x'")))),
        ("namespaces", format!("<a {}/>", numbered(|n| format!(" xmlns:a{n}='urn:{n}'")))),
        ("nested", fill("<a>")),
        ("nested namespaces", numbered(|n| format!("<a xmlns:a{n}='urn:x'>"))),
        ("unknown elements", patient(fill("<x/>"))),
        ("a list", patient(fill("<name id='a'/>"))),
        (
            "companions",
            patient(format!(
                "<name>{}</name>",
                fill("<given><extension url='a'><valueCode value='b'/></extension></given>")
            )),
        ),
        ("texts", patient(fill("a&amp;"))),
        ("comments", patient(fill("<!--a-->"))),
        ("references", patient(format!("<id value='{}'/>", fill("&#65;")))),
        ("a value", patient(format!("<id value='{}'/>", fill("a")))),
        ("lines", patient(fill("<a/>\n"))),
        (
            "a narrative",
            patient(format!("<text><div xmlns='http://www.w3.org/1999/xhtml'>{}</div></text>", fill("<br/>"))),
        ),
        ("an open comment", format!("<a>{}", fill("<!--"))),
        ("an open value", format!("<a b='{}", fill("<a b=\""))),
    ];
    let limits = Limits { bytes: 5_000_000, ..Limits::RESOURCE };
    for (name, text) in shapes {
        let started = std::time::Instant::now();
        let _ = xml::read(text.as_bytes(), &limits);
        let took = started.elapsed();
        assert!(took.as_secs() < 15, "{name}: {took:?}");
    }
}

const XML: &str = "application/fhir+xml";

/// What came back, with the headers that say what it is.
struct Answer {
    status: u16,
    media_type: String,
    etag: Option<String>,
    text: String,
}

impl Answer {
    /// The resource in it, which must be XML.
    fn resource(&self) -> Value {
        assert_eq!(self.media_type, XML, "{}", self.text);
        xml::read(self.text.as_bytes(), &Limits::RESOURCE).unwrap_or_else(|issues| panic!("{issues:#?}\n{}", self.text))
    }

    /// The first finding: its status, place and text.
    fn refusal(&self) -> String {
        let outcome = if self.media_type == XML { self.resource() } else { serde_json::from_str(&self.text).unwrap() };
        assert_eq!(outcome["resourceType"], "OperationOutcome", "{outcome}");
        let issue = &outcome["issue"][0];
        let text = issue["details"]["text"].as_str().unwrap().split(" | ").nth(1).unwrap();
        format!("{} {} {text}", self.status, issue["expression"][0].as_str().unwrap_or_default())
    }
}

async fn ask(world: &World, method: &str, path: &str, headers: &[(&str, &str)], body: Option<String>) -> Answer {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}{path}", world.gateway);
    let mut request = client.request(reqwest::Method::from_bytes(method.as_bytes()).unwrap(), url);
    for (name, value) in headers.iter().chain(&[("Vardkedja-Unit", SOUTH)]) {
        request = request.header(*name, *value);
    }
    let response = request.body(body.unwrap_or_default()).send().await.unwrap();
    let header = |name: &str| response.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
    let (media_type, etag) = (header("content-type").unwrap_or_default(), header("etag"));
    let varies = response.headers().get_all("vary").iter().any(|v| v == "Accept");
    assert_eq!(varies, path.starts_with("/fhir"), "{path}");
    Answer { status: response.status().as_u16(), media_type, etag, text: response.text().await.unwrap() }
}

async fn in_xml(world: &World, path: &str) -> Answer {
    ask(world, "GET", path, &[("Accept", XML)], None).await
}

fn written(resource: &Value) -> Option<String> {
    Some(String::from_utf8(xml::write(resource).unwrap()).unwrap())
}

#[actix_web::test]
async fn a_partner_that_speaks_xml_reads_and_writes_what_one_that_speaks_json_does() {
    let world = World::open().await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    let shown = world.get(&exchange, "").await.json();
    let mut types = std::collections::BTreeSet::new();
    for name in shown["resources"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()) {
        let (path, kind) = (format!("/fhir/{name}"), name.split('/').next().unwrap());
        for path in [path.clone(), format!("{path}/_history/1"), format!("{path}/_history"), format!("/fhir/{kind}")] {
            let json = world.get(&path, SOUTH).await;
            let xml = in_xml(&world, &path).await;
            assert_eq!((json.status, xml.status), (200, 200), "{path}: {}", xml.text);
            assert_eq!(xml.resource(), json.json(), "{path}");
        }
        types.insert(kind.to_owned());
    }
    assert!(types.len() > 4, "{types:?}");

    let task_path = format!("/fhir/Task/{}", world.task(&exchange, SOUTH).await);
    let read = in_xml(&world, &task_path).await;
    let mut task = read.resource();
    let headers = [("Content-Type", XML), ("Accept", XML), ("If-Match", read.etag.as_deref().unwrap())];
    task["status"] = "accepted".into();
    let moved = ask(&world, "PUT", &task_path, &headers, written(&task)).await;
    assert_eq!((moved.status, &moved.resource()["status"]), (200, &Value::from("accepted")), "{}", moved.text);
    let stale = ask(&world, "PUT", &task_path, &headers, written(&task)).await;
    assert!(stale.refusal().starts_with("412 Task.meta.versionId"), "{}", stale.text);
    assert_eq!(stale.media_type, XML);

    let etag = moved.etag.unwrap();
    let headers = [("Content-Type", "application/json-patch+json"), ("Accept", XML), ("If-Match", etag.as_str())];
    let patch = r#"[{"op":"replace","path":"/status","value":"in-progress"}]"#.to_owned();
    let patched = ask(&world, "PATCH", &task_path, &headers, Some(patch)).await;
    assert_eq!(patched.resource()["status"], "in-progress", "{}", patched.text);

    let procedure: Value = serde_json::json!({
        "resourceType": "Procedure", "status": "completed", "subject": task["for"], "basedOn": [task["focus"]],
        "text": { "status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>Träning &amp; samtal</p></div>" },
        "code": { "coding": [{ "system": "urn:oid:1.2.752.116.1.3.2.1.4", "code": "DV133" }] },
        "performedDateTime": "2026-03-18T14:00:00+01:00",
        "performer": [{ "actor": { "identifier": { "system": "urn:oid:1.2.752.29.4.19", "value": SOUTH } } }],
    });
    let headers = [("Content-Type", "application/xml; charset=UTF-8"), ("Accept", "application/xml")];
    let made = ask(&world, "POST", "/fhir/Procedure", &headers, written(&procedure)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let id = made.resource()["id"].as_str().unwrap().to_owned();
    let kept = world.get(&format!("/fhir/Procedure/{id}"), SOUTH).await.json();
    assert_eq!(kept, made.resource());
    assert_eq!(kept["text"], procedure["text"]);
    world.close().await;
}

#[actix_web::test]
async fn the_format_is_negotiated_and_what_cannot_be_given_or_taken_is_refused_before_anything_is_done() {
    let world = World::open().await;
    let get = async |path: &str, accept: &str| ask(&world, "GET", path, &[("Accept", accept)], None).await;
    for (path, accept, wanted) in [
        ("/fhir/metadata", XML, XML),
        ("/fhir/metadata", "*/*", "application/fhir+json"),
        ("/fhir/metadata?_format=xml", "application/json", XML),
        ("/fhir/metadata?_format=application/fhir%2Bjson", XML, "application/fhir+json"),
        ("/fhir/Task?_format=application/fhir+xml", "*/*", XML),
        ("/fhir/Task", "text/xml;q=0.9, application/json;q=0.8", XML),
        ("/fhir/Task", "application/fhir+xml; fhirVersion=4.0", XML),
    ] {
        let answer = get(path, accept).await;
        assert_eq!((answer.status, answer.media_type.as_str()), (200, wanted), "{path} {accept}");
    }
    let formats = get("/fhir/metadata", XML).await.resource()["format"].clone();
    assert_eq!(formats, serde_json::json!(["json", "xml"]));
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let found = ask(&world, "POST", "/fhir/Task/_search", &form, Some("_format=xml".into())).await;
    assert_eq!(found.resource()["type"], "searchset");
    let found = ask(&world, "POST", "/fhir/Task/_search", &form, Some("_format=pdf".into())).await;
    assert!(found.refusal().starts_with("406 _format"));

    for (path, accept, wanted) in [
        ("/fhir/Task", "image/png", "406 Accept Answers are given as"),
        ("/fhir/Task?_format=ttl", "*/*", "406 _format Answers are given as"),
        ("/fhir/Task", "application/fhir+json; fhirVersion=3.0", "406 Accept"),
        ("/fhir/Task/1", XML, "404 Task Does not exist"),
        ("/fhir/Basic", XML, "404 Basic The resource type is not served"),
        ("/fhir/Task?colour=red", XML, "400 colour"),
        ("/fhir/a/b/c/d", XML, "404  GET at that address does not exist"),
    ] {
        let answer = get(path, accept).await;
        assert!(answer.refusal().starts_with(wanted), "{path}: {}", answer.refusal());
        assert_eq!(answer.media_type == XML, accept == XML, "{path}");
    }

    let text = "<Procedure xmlns='http://hl7.org/fhir'><status value='done'/><colour/></Procedure>";
    let post = async |path: &str, media_type: &str, accept: &str| {
        ask(&world, "POST", path, &[("Content-Type", media_type), ("Accept", accept)], Some(text.into())).await
    };
    for (media_type, accept, wanted) in [
        ("text/plain", XML, "415 Content-Type A resource is taken as"),
        ("application/fhir+xml; charset=iso-8859-1", XML, "415 Content-Type"),
        ("application/fhir+xml; fhirVersion=5.0", XML, "415 Content-Type"),
        ("application/fhir+xml; fhirVersion=4.0", XML, "400 Procedure.colour is not an element of Procedure"),
        ("application/fhir+xml", "image/png", "406 Accept"),
        ("application/fhir+json", XML, "400  a JSON value was expected here"),
    ] {
        let answer = post("/fhir/Procedure", media_type, accept).await;
        assert!(answer.refusal().starts_with(wanted), "{media_type}: {}", answer.refusal());
    }
    let checked = post("/fhir/Procedure/$validate", XML, XML).await;
    assert!(checked.refusal().starts_with("200 Procedure.colour"), "{}", checked.refusal());
    let well = text.replace("<colour/>", "");
    let headers = [("Content-Type", XML)];
    let by_xml = ask(&world, "POST", "/fhir/Procedure/$validate", &headers, Some(well)).await;
    let json = "{\"resourceType\":\"Procedure\",\"status\":\"done\"}".to_owned();
    let by_json = ask(&world, "POST", "/fhir/Procedure/$validate", &[], Some(json)).await;
    assert_eq!(by_xml.text, by_json.text, "the same is found, whatever it was written in");
    // Outside the FHIR face nothing is negotiated.
    assert_eq!(get("/v1/exchanges", XML).await.media_type, "application/json");
    world.close().await;
}
