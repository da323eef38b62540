//! What a registry holds is compared with what it would get.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Bulk, OTHER, UNIT, patient, procedure};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digest tree as the manual describes it, written as its reader would.
fn tree(lines: &[String], digits: usize) -> BTreeMap<String, (u64, [u8; 32])> {
    let mut tree: BTreeMap<String, (u64, [u8; 32])> = BTreeMap::new();
    for line in lines {
        let resource: Value = serde_json::from_str(line).unwrap();
        let place = hex(&Sha256::digest(resource["id"].as_str().unwrap().as_bytes()));
        let (count, sum) = tree.entry(place[..digits].to_owned()).or_default();
        *count += 1;
        let mut carry = 0_u16;
        for (ours, theirs) in sum.iter_mut().zip(Sha256::digest(line.as_bytes())).rev() {
            carry += u16::from(*ours) + u16::from(theirs);
            *ours = (carry & 0xff) as u8;
            carry >>= 8;
        }
    }
    tree
}

fn ranges(kind: &str, tree: &BTreeMap<String, (u64, [u8; 32])>) -> Vec<Value> {
    let range = |(prefix, (count, sum)): (&String, &(u64, [u8; 32]))| {
        json!({ "name": "range", "part": [
            { "name": "type", "valueCode": kind }, { "name": "prefix", "valueString": format!("{prefix}*") },
            { "name": "count", "valueInteger": count }, { "name": "digest", "valueString": hex(sum) },
        ] })
    };
    tree.iter().map(range).collect()
}

async fn verify(bulk: &Bulk, parameters: Vec<Value>, unit: Option<&str>) -> Value {
    let headers: Vec<(&str, &str)> = unit.map(|unit| ("Vardkedja-Unit", unit)).into_iter().collect();
    let body = json!({ "resourceType": "Parameters", "parameter": parameters });
    let reply = bulk.ask("POST", "/fhir/$verify", &headers, Some(&body)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

fn prefixes(answer: &Value) -> Vec<String> {
    let differs = answer["parameter"].as_array().unwrap().iter().filter(|p| p["name"] == "differs");
    differs.map(|p| p["part"][1]["valueString"].as_str().unwrap().trim_end_matches('*').to_owned()).collect()
}

#[actix_web::test]
async fn the_ranges_that_differ_are_found_down_to_the_resource() {
    let bulk = Bulk::open("").await;
    bulk.put([patient("p1")]).await;
    bulk.put((0..300).map(|n| procedure(&format!("c{n}"), 1, "p1", "completed"))).await;
    let mut lines = bulk.export("/fhir/$export?_type=Procedure", None).await.lines["Procedure"].clone();
    let same = verify(&bulk, ranges("Procedure", &tree(&lines, 0)), None).await;
    assert_eq!(same["parameter"][0], json!({ "name": "same", "valueBoolean": true }));
    assert_eq!(same["parameter"][1]["valueInteger"], 300);
    assert_eq!(verify(&bulk, ranges("Procedure", &tree(&lines, 2)), None).await["parameter"][0]["valueBoolean"], true);

    // One changed here, one lost there, one that was never ours.
    bulk.put([procedure("c7", 2, "p1", "completed")]).await;
    lines.retain(|line| !line.contains("\"c9\""));
    lines.push(json!({ "resourceType": "Procedure", "id": "invented" }).to_string());
    let answer = verify(&bulk, ranges("Procedure", &tree(&lines, 2)), None).await;
    let mut expected: Vec<String> =
        ["c7", "c9", "invented"].map(|id| hex(&Sha256::digest(id.as_bytes()))[..2].to_owned()).to_vec();
    expected.sort();
    expected.dedup();
    assert_eq!(prefixes(&answer), expected);

    let place = hex(&Sha256::digest(b"c7"))[..2].to_owned();
    let mut parameters = ranges("Procedure", &tree(&lines, 2));
    parameters.retain(|range| range["part"][1]["valueString"] == json!(format!("{place}*")));
    parameters.push(json!({ "name": "within", "part": [
        { "name": "type", "valueCode": "Procedure" }, { "name": "prefix", "valueString": place },
    ] }));
    parameters.push(json!({ "name": "list", "valueBoolean": true }));
    let answer = verify(&bulk, parameters, None).await;
    assert_eq!(prefixes(&answer), [place]);
    let parts = answer["parameter"][2]["part"].as_array().unwrap();
    let listed: BTreeMap<&str, &str> = parts
        .iter()
        .filter(|part| part["name"] == "resource")
        .map(|part| (part["part"][0]["valueId"].as_str().unwrap(), part["part"][1]["valueString"].as_str().unwrap()))
        .collect();
    assert_eq!(listed["c7"], hex(&Sha256::digest(procedure("c7", 2, "p1", "completed").body)));
    assert_eq!(bulk.recorded("verify").len(), 4);
    bulk.close().await;
}

#[actix_web::test]
async fn a_comparison_tells_nothing_of_what_the_one_who_asks_may_not_see() {
    let bulk = Bulk::open("").await;
    bulk.put([patient("p1"), procedure("c1", 1, "p1", "completed")]).await;
    let nothing = vec![json!({ "name": "type", "valueCode": "Procedure" })];
    assert!(prefixes(&verify(&bulk, nothing.clone(), Some(OTHER)).await).is_empty());
    assert_eq!(prefixes(&verify(&bulk, nothing, Some(UNIT)).await), [""]);
    let retracted = procedure("c1", 2, "p1", "entered-in-error");
    bulk.put([retracted]).await;
    let nothing = vec![json!({ "name": "type", "valueCode": "Procedure" })];
    assert!(prefixes(&verify(&bulk, nothing, Some(UNIT)).await).is_empty(), "nor of what is none any more");
    bulk.close().await;
}

#[actix_web::test]
async fn files_are_compared_by_their_digest() {
    let bulk = Bulk::open("").await;
    bulk.put([patient("p1")]).await;
    let job = bulk.start("/fhir/$export", Some(UNIT)).await;
    let manifest = bulk.wait(&job, Some(UNIT)).await;
    let (url, hash) = (manifest["output"][0]["url"].clone(), manifest["output"][0]["extension"]["sha-256"].clone());
    let file = |name: &Value, hash: &Value| {
        json!({ "name": "file", "part": [
            { "name": "export", "valueUri": job }, { "name": "name", "valueUri": name }, { "name": "sha-256", "valueString": hash },
        ] })
    };
    let other = json!("0".repeat(64));
    let files = vec![file(&url, &hash), file(&url, &other), file(&json!("Task.0001.ndjson"), &hash)];
    let results = |answer: Value| -> Vec<String> {
        let files = answer["parameter"].as_array().unwrap().iter().filter(|p| p["name"] == "file").cloned();
        files.map(|p| p["part"][1]["valueCode"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(results(verify(&bulk, files.clone(), Some(UNIT)).await), ["same", "different", "unknown"]);
    assert_eq!(results(verify(&bulk, files, Some(OTHER)).await), ["unknown"; 3], "another's files are unknown");
    bulk.close().await;
}

#[actix_web::test]
async fn what_cannot_be_compared_is_refused_with_every_finding() {
    let bulk = Bulk::open("[export]\nverify_ranges = 3\n").await;
    let range = |prefix: &str, kind: &str| {
        json!({ "name": "range", "part": [
            { "name": "type", "valueCode": kind }, { "name": "prefix", "valueString": prefix },
            { "name": "count", "valueInteger": 1 }, { "name": "digest", "valueString": "0".repeat(64) },
        ] })
    };
    let ask = async |parameters: Vec<Value>| {
        let body = json!({ "resourceType": "Parameters", "parameter": parameters });
        let reply = bulk.ask("POST", "/fhir/$verify", &[], Some(&body)).await;
        (reply.status, reply.text())
    };
    let wrong = vec![
        range("0", "Procedure"),
        range("00", "Procedure"),
        range("G", "Procedure"),
        range("1", "Bicycle"),
        json!({ "name": "x" }),
    ];
    let (status, text) = ask(wrong).await;
    assert_eq!(status, 400);
    for part in ["same number of digits", "small hex digits", "Bicycle", "no such parameter"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let many = ["0", "1", "2", "3"].map(|prefix| range(prefix, "Procedure")).to_vec();
    assert!(ask(many).await.1.contains("export.verify_ranges"));
    assert_eq!(ask(vec![json!({ "name": "list", "valueBoolean": true })]).await.0, 400);
    let group = vec![json!({ "name": "group", "valueString": "x" }), json!({ "name": "type", "valueCode": "Task" })];
    assert_eq!(ask(group).await.0, 404);
    bulk.close().await;
}
