//! Who is let in, to what, and how it is said that something is not as it should be.

use serde_json::json;

use super::{Bulk, OTHER, UNIT, patient, procedure};

const ASYNC: (&str, &str) = ("Prefer", "respond-async");

#[actix_web::test]
async fn another_clients_export_does_not_exist() {
    let bulk = Bulk::open("").await;
    bulk.put([patient("p1")]).await;
    let job = bulk.start("/fhir/$export", Some(UNIT)).await;
    let manifest = bulk.wait(&job, Some(UNIT)).await;
    let file = manifest["output"][0]["url"].as_str().unwrap();
    let never = format!("{}/bulk/jobs/01900000-0000-7000-8000-000000000000", bulk.url);
    for headers in [&[("Vardkedja-Unit", OTHER)][..], &[]] {
        let unknown = bulk.ask("GET", &never, headers, None).await;
        for (method, path) in [("GET", job.as_str()), ("DELETE", &job), ("GET", file)] {
            let reply = bulk.ask(method, path, headers, None).await;
            assert_eq!((reply.status, unknown.status), (404, 404), "{method} {path}");
            if path == job {
                assert_eq!(reply.text(), unknown.text(), "nothing tells that it is there");
            }
        }
    }
    for path in ["/bulk/jobs/x", "/bulk/files/x/y", &format!("{file}x"), &file.replace("Patient", "..%2fPatient")] {
        assert_eq!(bulk.ask("GET", path, &[("Vardkedja-Unit", UNIT)], None).await.status, 404, "{path}");
    }
    assert_eq!(bulk.ask("GET", file, &[("Vardkedja-Unit", UNIT)], None).await.status, 200);
    bulk.close().await;
}

#[actix_web::test]
async fn all_that_is_wrong_with_a_request_is_told_at_once() {
    let bulk = Bulk::open("").await;
    let without = bulk.get("/fhir/$export").await;
    assert_eq!(without.status, 400);
    assert!(without.text().contains("respond-async"), "{}", without.text());
    let query = "_type=Procedure,Bicycle&_since=yesterday&_until=2026&_outputFormat=csv&_typeFilter=Task%3Fstatus%3Drequested\
                 &_typeFilter=Procedure%3Fsubject.gender%3Dfemale&_typeFilter=Procedure%3Fcolour%3Dred&_typeFilter=x\
                 &_elements=Procedure.wheels&includeAssociatedData=Everything&patient=Patient/1&organizeOutputBy=Patient&_since=2026";
    let reply = bulk.ask("GET", &format!("/fhir/$export?{query}"), &[ASYNC], None).await;
    assert_eq!(reply.status, 400);
    let outcome = reply.json();
    let said: Vec<&str> =
        outcome["issue"].as_array().unwrap().iter().map(|i| i["expression"][0].as_str().unwrap()).collect();
    for expected in [
        "_type",
        "_since",
        "_until",
        "_outputFormat",
        "_typeFilter",
        "_typeFilter.Procedure.subject",
        "_typeFilter.Procedure.colour",
        "_elements",
        "includeAssociatedData",
        "patient",
        "organizeOutputBy",
    ] {
        let is_said = said
            .iter()
            .any(|s| *s == expected || (expected.contains("subject") && s.starts_with("_typeFilter.Procedure.")));
        assert!(is_said, "{expected}: {said:?}");
    }
    // A person's number is refused, and not told back.
    let person = "_typeFilter=Patient%3Fidentifier%3D195009072553";
    let reply = bulk.ask("GET", &format!("/fhir/$export?{person}"), &[ASYNC], None).await;
    assert_eq!(reply.status, 400);
    assert!(!reply.text().contains("1950"), "{}", reply.text());
    let post = json!({ "resourceType": "Parameters", "parameter": [
        { "name": "_typeFilter", "valueString": "Patient?identifier=195009072553" }, { "name": "_type", "valueString": "Patient" },
    ] });
    assert_eq!(bulk.ask("POST", "/fhir/$export", &[ASYNC], Some(&post)).await.status, 202, "a body may hold it");
    assert_eq!(bulk.ask("POST", "/fhir/$export?_type=Patient", &[ASYNC], Some(&post)).await.status, 400);
    let task = json!({ "resourceType": "Task" });
    assert_eq!(bulk.ask("POST", "/fhir/$export", &[ASYNC], Some(&task)).await.status, 400);
    bulk.close().await;
}

#[actix_web::test]
async fn a_lenient_caller_gets_the_rest_and_is_told_what_was_left_out() {
    let bulk = Bulk::open("").await;
    bulk.put([patient("p1")]).await;
    let path = "/fhir/$export?_type=Patient,Bicycle&organizeOutputBy=Patient";
    let reply = bulk.ask("GET", path, &[("Prefer", "respond-async, handling=lenient")], None).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    let manifest = bulk.wait(reply.header("content-location"), None).await;
    assert_eq!(manifest["error"][0]["count"], 2);
    let told = bulk.get(manifest["error"][0]["url"].as_str().unwrap()).await.text();
    assert!(told.contains("Bicycle") && told.contains("organizeOutputBy") && told.contains("\"warning\""), "{told}");
    assert_eq!(bulk.fetch(manifest, None).await.names(), ["Patient/p1"]);
    let wrong = bulk.ask("GET", "/fhir/$export?_since=x", &[("Prefer", "respond-async; handling=lenient")], None).await;
    assert_eq!(wrong.status, 400, "what is wrong is not left out");
    bulk.close().await;
}

#[actix_web::test]
async fn a_part_of_a_file_is_bytes_of_the_file_and_gzip_is_for_the_whole() {
    let bulk = Bulk::open("").await;
    bulk.put([patient("p1")]).await;
    bulk.put((0..400).map(|n| procedure(&format!("c{n}"), 1, "p1", "completed"))).await;
    let job = bulk.start("/fhir/$export?_type=Procedure", None).await;
    let manifest = bulk.wait(&job, None).await;
    let url = manifest["output"][0]["url"].as_str().unwrap();
    let whole = bulk.get(url).await;
    let (tag, length) = (whole.header("etag").to_owned(), whole.bytes.len());
    assert_eq!(whole.header("content-type"), "application/fhir+ndjson");
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert!(length > 128 * 1024 / 2 && tag.starts_with('"'));

    let part = async |headers: &[(&str, &str)]| bulk.ask("GET", url, headers, None).await;
    for (range, from, to) in [("bytes=0-99", 0, 100), ("bytes=1000-", 1000, length), ("bytes=-7", length - 7, length)] {
        let reply = part(&[("Range", range), ("Accept-Encoding", "gzip")]).await;
        assert_eq!(reply.status, 206, "{range}");
        assert_eq!(reply.bytes, whole.bytes[from..to], "{range}");
        assert_eq!(reply.header("content-range"), format!("bytes {from}-{}/{length}", to - 1));
    }
    let beyond = part(&[("Range", &format!("bytes={length}-"))]).await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, format!("bytes */{length}").as_str()));
    assert_eq!(part(&[("Range", "bytes=0-9"), ("If-Range", &tag)]).await.status, 206);
    assert_eq!(part(&[("Range", "bytes=0-9"), ("If-Range", "\"other\"")]).await.bytes.len(), length);
    assert_eq!(part(&[("If-None-Match", &tag)]).await.status, 304);

    let packed = part(&[("Accept-Encoding", "gzip")]).await;
    assert_eq!((packed.status, packed.header("content-encoding")), (200, "gzip"));
    assert!(packed.bytes.len() < length / 5 && packed.bytes.starts_with(&[0x1f, 0x8b]));
    assert_eq!(packed.header("etag"), format!("W/{tag}"), "packed, it is another representation");
    let head = bulk.ask("HEAD", url, &[], None).await;
    assert_eq!((head.status, head.header("content-length")), (200, length.to_string().as_str()));
    bulk.close().await;
}

#[actix_web::test]
async fn one_client_has_so_many_exports_and_no_more() {
    let bulk = Bulk::open("[export]\nkept_per_client = 2\n").await;
    bulk.put([patient("p1")]).await;
    let first = bulk.start("/fhir/$export?_type=Patient", None).await;
    bulk.wait(&first, None).await;
    let second = bulk.start("/fhir/$export?_type=Patient", None).await;
    bulk.wait(&second, None).await;
    let third = bulk.ask("GET", "/fhir/$export", &[ASYNC], None).await;
    assert_eq!((third.status, third.header("retry-after")), (429, "5"), "{}", third.text());
    assert!(third.text().contains("kept_per_client"));
    bulk.start("/fhir/$export?_type=Patient", Some(UNIT)).await;
    bulk.ask("DELETE", &first, &[], None).await;
    bulk.start("/fhir/$export?_type=Patient", None).await;
    bulk.close().await;
}

#[actix_web::test]
async fn whoever_asks_too_often_is_told_to_wait() {
    // Nobody works on it: the worker has two others at hand that wait for the same reader.
    let bulk = Bulk::open("[export]\nat_once = 1\nopen_per_client = 1000\nkept_per_client = 1000\n").await;
    bulk.put([patient("p1")]).await;
    let mut jobs = Vec::new();
    for _ in 0..30 {
        jobs.push(bulk.start("/fhir/$export", None).await);
    }
    let last = jobs.last().unwrap();
    let mut answers = Vec::new();
    for _ in 0..12 {
        answers.push(bulk.get(last).await);
    }
    let open = answers.iter().filter(|a| a.status == 202).count();
    let refused: Vec<_> = answers.iter().filter(|a| a.status == 429).collect();
    assert_eq!((open, refused.len()), (10, 2), "ten may come at once");
    assert!(refused.iter().all(|a| a.header("retry-after") == "5"));
    assert!(answers[0].header("x-progress").contains("resources"));

    let reply = bulk.ask("DELETE", last, &[], None).await;
    assert_eq!(reply.status, 202, "one that is not done can be stopped");
    assert_eq!(bulk.get(last).await.status, 404);
    for job in &jobs[..29] {
        bulk.wait(job, None).await;
    }
    bulk.close().await;
}

#[actix_web::test]
async fn when_its_time_is_up_an_export_is_gone_and_so_are_its_files() {
    let bulk = Bulk::open("").await;
    bulk.put([patient("p1")]).await;
    let job = bulk.start("/fhir/$export?_type=Patient", None).await;
    let manifest = bulk.wait(&job, None).await;
    let file = manifest["output"][0]["url"].as_str().unwrap();
    let now = chrono::Utc::now();
    vardkedja::registry::worker::tidy(&bulk.gateway, now + chrono::TimeDelta::hours(47)).await;
    assert_eq!(bulk.get(file).await.status, 200, "for two days it is kept");
    vardkedja::registry::worker::tidy(&bulk.gateway, now + chrono::TimeDelta::hours(49)).await;
    assert_eq!((bulk.get(&job).await.status, bulk.get(file).await.status), (404, 404));
    assert_eq!(std::fs::read_dir(&bulk.gateway.config.export.folder).unwrap().count(), 0);
    assert_eq!(bulk.recorded("expire").len(), 1);
    let rows = |bulk: &Bulk| -> i64 {
        let db = rusqlite::Connection::open(bulk.folder.join("gateway.sqlite")).unwrap();
        db.query_row("SELECT count(*) FROM export_job", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(rows(&bulk), 1, "who was in it is remembered");
    vardkedja::registry::worker::tidy(&bulk.gateway, now + chrono::TimeDelta::days(401)).await;
    assert_eq!(rows(&bulk), 0);
    bulk.close().await;
}

#[actix_web::test]
async fn an_export_leaves_room_on_the_disk_for_those_who_send_documents() {
    let bulk = Bulk::open("[export]\nleave_bytes = 9000000000000000000\n").await;
    bulk.put([patient("p1")]).await;
    let job = bulk.start("/fhir/$export", None).await;
    let failed = loop {
        let reply = bulk.get(&job).await;
        if !matches!(reply.status, 202 | 429) {
            break reply;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_eq!(failed.status, 500, "{}", failed.text());
    assert!(failed.text().contains("ask for it again"));
    assert_eq!(bulk.ask("DELETE", &job, &[], None).await.status, 202);
    assert_eq!(bulk.get(&job).await.status, 404);
    bulk.close().await;
}
