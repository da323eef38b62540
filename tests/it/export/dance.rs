//! The whole dance: asked for, asked after, fetched, deleted.

use serde_json::{Value, json};

use super::{Bulk, OTHER, UNIT, patient, procedure, resource};

#[actix_web::test]
async fn what_is_stored_comes_as_it_is_stored_and_is_gone_when_it_is_deleted() {
    let bulk = Bulk::open("[export]\nfile_lines = 7\n").await;
    bulk.put([patient("p1"), patient("p2")]).await;
    bulk.put((0..20).map(|n| procedure(&format!("c{n}"), 1, "p1", "completed"))).await;
    bulk.put([procedure("c3", 2, "p1", "completed"), procedure("c4", 2, "p1", "entered-in-error")]).await;

    let job = bulk.start("/fhir/$export", None).await;
    assert!(job.starts_with(&format!("{}/bulk/jobs/", bulk.url)), "{job}");
    let manifest = bulk.wait(&job, None).await;
    assert_eq!(manifest["requiresAccessToken"], true);
    assert_eq!(manifest["request"], json!(format!("{}/fhir/$export", bulk.url)));
    assert_eq!((&manifest["deleted"], &manifest["error"]), (&json!([]), &json!([])));
    let of_type = |kind: &str| manifest["output"].as_array().unwrap().iter().filter(|f| f["type"] == kind).count();
    assert_eq!((of_type("Procedure"), of_type("Patient")), (3, 1), "19 lines in files of seven");

    let got = bulk.fetch(manifest.clone(), None).await;
    assert_eq!(got.lines["Procedure"].len(), 19, "what was entered in error is none");
    assert_eq!(got.lines["Procedure"][3].as_bytes(), procedure("c3", 2, "p1", "completed").body, "byte for byte");
    assert_eq!(bulk.get(&job).await.header("expires").len(), "Sun, 22 Nov 2026 05:00:00 GMT".len());

    let file = manifest["output"][0]["url"].as_str().unwrap();
    let reply = bulk.ask("DELETE", &job, &[], None).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    for path in [job.as_str(), file] {
        assert_eq!(bulk.get(path).await.status, 404, "{path}");
    }
    assert_eq!(bulk.ask("DELETE", &job, &[], None).await.status, 404);
    let left = std::fs::read_dir(&bulk.gateway.config.export.folder).unwrap().count();
    assert_eq!(left, 0, "its files are away");
    bulk.close().await;
}

#[actix_web::test]
async fn by_post_the_parameters_stand_in_the_body() {
    let bulk = Bulk::open("").await;
    bulk.put([patient("p1"), patient("p2"), patient("p3")]).await;
    bulk.put(["p1", "p2", "p3"].map(|p| procedure(&format!("c-{p}"), 1, p, "completed"))).await;
    let body = json!({ "resourceType": "Parameters", "parameter": [
        { "name": "_outputFormat", "valueString": "application/fhir+ndjson" },
        { "name": "_type", "valueString": "Procedure" },
        { "name": "_type", "valueString": "Patient" },
        { "name": "_since", "valueInstant": "2020-01-01T00:00:00Z" },
        { "name": "patient", "valueReference": { "reference": "Patient/p1" } },
        { "name": "patient", "valueReference": { "reference": format!("{}/fhir/Patient/p3", bulk.url) } },
    ] });
    let prefer = [("Prefer", "respond-async")];
    let reply = bulk.ask("POST", "/fhir/Patient/$export", &prefer, Some(&body)).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    let job = reply.header("content-location").to_owned();
    let manifest = bulk.wait(&job, None).await;
    assert_eq!(manifest["request"], json!(format!("{}/fhir/Patient/$export", bulk.url)));
    let got = bulk.fetch(manifest, None).await;
    assert_eq!(got.names(), ["Patient/p1", "Patient/p3", "Procedure/c-p1", "Procedure/c-p3"]);

    let nobody = json!({ "resourceType": "Parameters", "parameter": [
        { "name": "patient", "valueReference": { "reference": "Patient/p1" } },
        { "name": "patient", "valueReference": { "reference": "Patient/nobody" } },
    ] });
    let reply = bulk.ask("POST", "/fhir/Patient/$export", &prefer, Some(&nobody)).await;
    assert_eq!(reply.status, 422, "{}", reply.text());
    assert!(reply.text().contains("[1]") && !reply.text().contains("nobody"), "{}", reply.text());
    bulk.close().await;
}

#[actix_web::test]
async fn a_unit_gets_what_concerns_it_and_nothing_else() {
    let bulk = Bulk::open("").await;
    bulk.put([patient("p1"), patient("p2")]).await;
    bulk.put([procedure("mine", 1, "p1", "completed")]).await;
    let theirs = json!({ "resourceType": "Procedure", "id": "theirs", "status": "completed" });
    bulk.put([resource(theirs, 1, "p2", &[OTHER])]).await;
    assert_eq!(bulk.export("/fhir/$export?_type=Procedure", Some(UNIT)).await.names(), ["Procedure/mine"]);
    assert_eq!(bulk.export("/fhir/$export?_type=Procedure", Some(OTHER)).await.names(), ["Procedure/theirs"]);
    assert_eq!(bulk.export("/fhir/$export?_type=Patient", Some(OTHER)).await.names(), [""; 0]);
    bulk.close().await;
}

#[actix_web::test]
async fn filters_elements_and_levels_narrow_what_comes() {
    let bulk = Bulk::open("").await;
    bulk.put([patient("p1")]).await;
    bulk.put([procedure("done", 1, "p1", "completed"), procedure("begun", 1, "p1", "in-progress")]).await;
    bulk.put([procedure("not", 1, "p1", "not-done")]).await;
    let unit = json!({ "resourceType": "Organization", "id": "o", "name": "A" });
    bulk.put([resource(unit, 1, "p1", &[])]).await;
    let export = async |query: &str| bulk.export(query, None).await;
    let filter = "Procedure%3Fstatus%3Dcompleted";
    assert_eq!(
        export(&format!("/fhir/$export?_type=Procedure&_typeFilter={filter}")).await.names(),
        ["Procedure/done"]
    );
    let both =
        format!("/fhir/$export?_type=Procedure&_typeFilter={filter}&_typeFilter=Procedure%3Fstatus%3Din-progress");
    assert_eq!(export(&both).await.names(), ["Procedure/begun", "Procedure/done"], "several are or-ed");
    let one = format!("/fhir/$export?_typeFilter={filter}%2CProcedure%3Fstatus%3Din-progress%26code%3Dnone");
    assert_eq!(export(&one).await.names(), ["Organization/o", "Patient/p1", "Procedure/done"], "other types are whole");
    assert_eq!(export("/fhir/Patient/$export").await.names().len(), 4, "actors are nobody's data");
    assert_eq!(export("/fhir/Patient/$export?_type=Organization").await.names(), ["Organization/o"]);

    let got = export("/fhir/$export?_type=Procedure&_elements=Procedure.subject,id").await;
    let line: Value = serde_json::from_str(&got.lines["Procedure"][0]).unwrap();
    assert_eq!(line["meta"]["tag"][0]["code"], "SUBSETTED");
    assert!(line.get("note").is_none() && line["subject"].is_object() && line["status"].is_string(), "{line}");
    bulk.close().await;
}

#[actix_web::test]
async fn provenance_comes_along_where_it_is_asked_for() {
    let bulk = Bulk::open("").await;
    bulk.put([patient("p1"), procedure("c", 1, "p1", "completed")]).await;
    for (id, target) in [("old", "Procedure/c"), ("new", "Procedure/c"), ("else", "Task/t")] {
        let body = json!({ "resourceType": "Provenance", "id": id, "target": [{ "reference": target }] });
        bulk.put([resource(body, 1, "p1", &[])]).await;
    }
    let path = "/fhir/$export?_type=Procedure&includeAssociatedData=";
    let latest = bulk.export(&format!("{path}LatestProvenanceResources"), None).await;
    assert_eq!(latest.names(), ["Procedure/c", "Provenance/new"]);
    let all = bulk.export(&format!("{path}RelevantProvenanceResources"), None).await;
    assert_eq!(all.names(), ["Procedure/c", "Provenance/new", "Provenance/old"]);
    bulk.close().await;
}

#[actix_web::test]
async fn every_disclosure_is_on_record_with_recipient_and_amount() {
    let bulk = Bulk::open("").await;
    bulk.put([patient("p1")]).await;
    let job = bulk.start("/fhir/$export", Some(UNIT)).await;
    let manifest = bulk.wait(&job, Some(UNIT)).await;
    bulk.fetch(manifest.clone(), Some(UNIT)).await;
    let url = manifest["output"][0]["url"].as_str().unwrap();
    let part = bulk.ask("GET", url, &[("Vardkedja-Unit", UNIT), ("Range", "bytes=0-9")], None).await;
    assert_eq!(part.status, 206);
    bulk.ask("DELETE", &job, &[("Vardkedja-Unit", UNIT)], None).await;
    let begun = bulk.recorded("begin");
    assert_eq!((begun[0].0.as_str(), &begun[0].1["recipient"]), (UNIT, &json!(UNIT)));
    assert_eq!(bulk.recorded("done")[0].1["resources"], 1);
    let sent = bulk.recorded("file");
    assert_eq!(sent.len(), 2);
    assert_eq!(
        (&sent[0].1["resources"], &sent[0].1["bytes"]),
        (&json!(1), &manifest["output"][0]["extension"]["bytes"])
    );
    assert_eq!(sent[1].1["bytes"], 10);
    assert_eq!(bulk.recorded("delete").len(), 1);
    bulk.close().await;
}
