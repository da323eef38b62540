//! What is refused at the door, whatever stands behind it: callers that cannot be read, other people's web pages, and words
//! that nobody would have looked at.

use reqwest::header::HeaderValue;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{NORTH, ONCOLOGY, SOUTH, World, referral, referral_to};

/// What came back, with its headers.
struct Came {
    status: u16,
    headers: reqwest::header::HeaderMap,
    text: String,
}

impl Came {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    fn methods(&self) -> Vec<&str> {
        self.header("allow").split(", ").collect()
    }
}

async fn ask(world: &World, method: &str, path: &str, headers: &[(&str, &[u8])], body: &str) -> Came {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = http.request(method, format!("{}{path}", world.gateway)).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
    }
    let reply = request.send().await.unwrap();
    let (status, headers) = (reply.status().as_u16(), reply.headers().clone());
    Came { status, headers, text: reply.text().await.unwrap() }
}

#[actix_web::test]
async fn a_unit_that_cannot_be_read_or_stands_there_twice_lets_nobody_in() {
    let folder = std::env::temp_dir().join(format!("door-{}", uuid::Uuid::new_v4()));
    let without = World::open().await;
    let with = World::open_with_keys("platform", &folder.join("none.json")).await;
    without.refer(&referral(1)).await;
    let units: [&[(&str, &[u8])]; 5] = [
        &[("Vardkedja-Unit", b"SE2321000131-E0000000\xe5")],
        &[("Vardkedja-Unit", b"\xff")],
        &[("Vardkedja-Unit", SOUTH.as_bytes()), ("Vardkedja-Unit", NORTH.as_bytes())],
        &[("Vardkedja-Unit", SOUTH.as_bytes()), ("Vardkedja-Unit", b"\xff")],
        &[("Authorization", b"Bearer \xff"), ("Vardkedja-Unit", b"\xff")],
    ];
    for headers in units {
        for (world, expected) in [(&without, 400), (&with, 400)] {
            let reply = ask(world, "GET", "/v1/exchanges", headers, "").await;
            assert_eq!(reply.status, expected, "{headers:?}: {}", reply.text);
            assert!(reply.text.contains("Vardkedja-Unit") || reply.text.contains("Authorization"), "{}", reply.text);
        }
    }
    without.close().await;
    with.close().await;
}

#[actix_web::test]
async fn what_validate_has_not_looked_at_is_not_called_well() {
    let world = World::open().await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    let task = world.task(&exchange, SOUTH).await;
    let task = world.get(&format!("/fhir/Task/{task}"), SOUTH).await.json();
    let own = task["meta"]["profile"][0].as_str().unwrap().to_owned();
    let path = "/fhir/Task/$validate";
    for (query, place) in [("foo=bar", "foo"), ("mode=delete", "mode"), ("mode=create&profile=http://nope", "mode")] {
        let reply = world.post(&format!("{path}?{query}"), SOUTH, &task).await;
        assert_eq!(reply.status, 400, "{query}: {}", reply.text);
        assert!(reply.findings().contains(place), "{query}: {}", reply.text);
    }
    let unknown = world.post(&format!("{path}?profile=http://nope"), SOUTH, &task).await;
    assert_eq!(unknown.status, 200);
    assert!(unknown.findings().contains("\"error\" \"profile\""), "{}", unknown.text);
    let well = world.post(&format!("{path}?profile={own}"), SOUTH, &task).await;
    assert!(!well.findings().contains("\"error\""), "{}", well.text);
    // A profile is held against the resource whether that claims it or not.
    let mut less = task.clone();
    less["meta"].as_object_mut().unwrap().shift_remove("profile");
    less.as_object_mut().unwrap().shift_remove("identifier");
    less.as_object_mut().unwrap().shift_remove("focus");
    let general = world.post(path, SOUTH, &less).await.findings();
    let held = world.post(&format!("{path}?profile={own}"), SOUTH, &less).await.findings();
    assert!(!general.contains("\"error\"") && held.contains("\"error\""), "{general}\n---\n{held}");

    let wrapped = |more: Value| {
        let mut parameter = vec![json!({ "name": "resource", "resource": less })];
        parameter.extend(more.as_array().unwrap().clone());
        json!({ "resourceType": "Parameters", "parameter": parameter })
    };
    let post = async |body: Value| world.post(path, SOUTH, &body).await;
    assert_eq!(post(wrapped(json!([]))).await.findings(), general);
    assert_eq!(post(wrapped(json!([{ "name": "profile", "valueUri": own }]))).await.findings(), held);
    for (body, place) in [
        (wrapped(json!([{ "name": "mode", "valueCode": "update" }])), "mode"),
        (wrapped(json!([{ "name": "foo", "valueString": "bar" }])), "foo"),
        (wrapped(json!([{ "name": "resource", "resource": less }])), "resource"),
        (json!({ "resourceType": "Parameters" }), "resource"),
        (json!({ "resourceType": "Parameters", "parameter": "none" }), "parameter"),
    ] {
        let reply = post(body).await;
        assert_eq!(reply.status, 400, "{place}: {}", reply.text);
        assert!(reply.findings().contains(place), "{place}: {}", reply.text);
    }
    world.close().await;
}

#[actix_web::test]
async fn a_parameter_that_nobody_reads_is_refused() {
    let world = World::open().await;
    let exchange = world.refer(&referral(1)).await;
    let patient = world.get(&exchange, "").await.json()["patient"].as_str().unwrap().to_owned();
    for path in [
        format!("{exchange}?version=1"),
        format!("{exchange}/document?version=1"),
        "/v1/partners?x=1".to_owned(),
        "/v1/answers/held?partner=x".to_owned(),
        "/v1/status?x=1".to_owned(),
    ] {
        let reply = world.get(&path, ONCOLOGY).await;
        assert_eq!(reply.status, 400, "{path}: {}", reply.text);
        assert!(reply.findings().contains("no parameters"), "{path}: {}", reply.text);
    }
    let dry = world.post("/v1/referrals?dryRun=true", ONCOLOGY, &referral(2)).await;
    assert_eq!(dry.status, 400, "{}", dry.text);
    for body in [
        json!({ "resourceType": "Parameters", "parameter": { "name": "_type", "valueString": "Task" } }),
        json!({ "resourceType": "Parameters", "parameter": "_type" }),
        json!({ "resourceType": "Parameters", "parameters": [{ "name": "_type", "valueString": "Task" }] }),
    ] {
        let reply = world.post(&format!("/fhir/{patient}/$everything"), ONCOLOGY, &body).await;
        assert_eq!(reply.status, 400, "{body}: {}", reply.text);
        assert!(reply.findings().contains("parameter"), "{}", reply.text);
    }
    world.close().await;
}

#[actix_web::test]
async fn where_nobody_shows_a_token_no_other_web_page_is_served() {
    let world = World::open().await;
    let port = world.gateway.rsplit(':').next().unwrap().to_owned();
    let document = referral(1).to_string();
    let json: (&str, &[u8]) = ("Content-Type", b"application/json");
    for (name, value) in [
        ("Host", "evil.example".to_owned()),
        ("Host", format!("evil.example:{port}")),
        ("Host", "localhost.evil.example".to_owned()),
        ("Host", "127.0.0.1.evil.example".to_owned()),
        ("Origin", "https://evil.example".to_owned()),
        ("Origin", "null".to_owned()),
        ("Origin", "http://localhost@evil.example".to_owned()),
        ("Origin", "http://localhost, https://evil.example".to_owned()),
    ] {
        let reply = ask(&world, "POST", "/v1/referrals", &[json, (name, value.as_bytes())], &document).await;
        assert_eq!(reply.status, 403, "{name}: {value}: {}", reply.text);
        assert!(reply.text.contains(name) && !reply.text.contains("evil"), "{}", reply.text);
        let reply = ask(&world, "GET", "/fhir/Patient", &[(name, value.as_bytes())], "").await;
        assert_eq!(reply.status, 403, "{name}: {value}: {}", reply.text);
    }
    let simple = [("Origin", "http://localhost:3000".as_bytes())];
    assert_eq!(
        ask(&world, "POST", "/v1/referrals", &simple, &document).await.status,
        415,
        "a page has to say what it sends"
    );
    assert!(world.get("/v1/exchanges", "").await.json()["exchanges"].as_array().unwrap().is_empty());
    for (name, value) in [
        ("Host", "localhost".to_owned()),
        ("Host", format!("LOCALHOST:{port}")),
        ("Host", "[::1]:8080".to_owned()),
        ("Origin", "http://localhost:3000".to_owned()),
        ("Origin", "http://127.0.0.1".to_owned()),
        ("Origin", world.gateway.clone()),
    ] {
        let reply = ask(&world, "POST", "/v1/referrals", &[json, (name, value.as_bytes())], &document).await;
        assert_eq!(reply.status, 202, "{name}: {value}: {}", reply.text);
    }
    world.close().await;
    let keys = World::open_with_keys("platform", std::path::Path::new("none.json")).await;
    let reply = ask(&keys, "GET", "/v1/exchanges", &[("Host", b"gateway.region.example")], "").await;
    assert_eq!(reply.status, 401, "with tokens any name will do");
    keys.close().await;
}

/// The bytes of an answer, read until the connection is closed.
async fn raw(world: &World, request: &str) -> String {
    let mut socket = TcpStream::connect(world.gateway.trim_start_matches("http://")).await.unwrap();
    let request = format!("{request}\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).await.unwrap();
    text
}

#[actix_web::test]
async fn head_is_answered_wherever_get_is_and_without_a_body() {
    let world = World::open().await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    let task = world.task(&exchange, SOUTH).await;
    let task = format!("/fhir/Task/{task}");
    let paths = ["/health/live", "/health/ready", "/metrics", "/fhir/metadata", "/fhir/Task", "/v1/partners", &task];
    for path in paths.into_iter().chain([exchange.as_str()]) {
        for format in ["application/fhir+json", "application/fhir+xml"] {
            let get = ask(&world, "GET", path, &[("Accept", format.as_bytes())], "").await;
            let head = ask(&world, "HEAD", path, &[("Accept", format.as_bytes())], "").await;
            assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
            for name in ["content-type", "etag", "last-modified"] {
                assert_eq!(head.header(name), get.header(name), "{path} {name}");
            }
        }
    }
    let answer = raw(&world, "HEAD /fhir/metadata HTTP/1.1").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert_eq!(ask(&world, "HEAD", "/fhir/Task/none", &[], "").await.status, 404);
    assert_eq!(ask(&world, "HEAD", "/v1/referrals", &[], "").await.status, 405);
    world.close().await;
}

#[actix_web::test]
async fn allow_has_what_the_address_takes_and_a_slash_at_the_end_is_another_address() {
    let world = World::open().await;
    for (path, methods) in [
        ("/fhir/metadata", vec!["GET", "HEAD"]),
        ("/fhir/_history", vec!["GET", "HEAD"]),
        ("/fhir/Task/$validate", vec!["POST"]),
        ("/fhir/Task/1", vec!["GET", "HEAD", "PUT", "PATCH"]),
        ("/fhir/Patient/1", vec!["GET", "HEAD"]),
        ("/fhir/Patient", vec!["GET", "HEAD"]),
        ("/fhir/Procedure", vec!["GET", "HEAD", "POST"]),
        ("/v1/exchanges/search", vec!["POST"]),
        ("/v1/referrals", vec!["POST"]),
    ] {
        let reply = ask(&world, "DELETE", path, &[], "").await;
        assert_eq!((reply.status, reply.methods()), (405, methods), "{path}: {}", reply.text);
    }
    for path in
        ["/fhir/metadata/", "/fhir/Task/", "/v1/exchanges/", "/health/live/", "/fhir/Task/1/", "/v1/exchanges//"]
    {
        for method in ["GET", "DELETE"] {
            let reply = ask(&world, method, path, &[], "").await;
            assert_eq!((reply.status, reply.header("allow")), (404, ""), "{method} {path}: {}", reply.text);
        }
    }
    world.close().await;
}

#[actix_web::test]
async fn headers_are_read_whole_and_in_any_case() {
    let world = World::open().await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    let task = world.task(&exchange, SOUTH).await;
    let path = format!("/fhir/Task/{task}");
    let accept = json!([{ "op": "replace", "path": "/status", "value": "accepted" }]).to_string();
    let unit: (&str, &[u8]) = ("Vardkedja-Unit", SOUTH.as_bytes());
    let patch: (&str, &[u8]) = ("Content-Type", b"application/json-patch+json");
    for version in ["\"1", "1\"", "W/\"1", "W/1", "W/W/\"1\"", "\"\"1\"\"", "\"+1\"", "*"] {
        let reply = ask(&world, "PATCH", &path, &[unit, patch, ("If-Match", version.as_bytes())], &accept).await;
        assert_eq!(reply.status, 400, "{version}: {}", reply.text);
    }
    let twice: [(&str, &[u8]); 4] = [unit, patch, ("If-Match", b"W/\"1\""), ("If-Match", b"W/\"7\"")];
    assert_eq!(ask(&world, "PATCH", &path, &twice, &accept).await.status, 400);
    let minimal: [(&str, &[u8]); 4] = [unit, patch, ("If-Match", b"W/\"1\""), ("Prefer", b"RETURN=Minimal")];
    let moved = ask(&world, "PATCH", &path, &minimal, &accept).await;
    assert_eq!((moved.status, moved.text.as_str()), (200, ""));
    for (format, status) in [("XML", 200), ("Json", 200), ("application/fhir+json;q=0", 406), ("xml;q=0", 406)] {
        let reply = ask(&world, "GET", &format!("{path}?_format={format}"), &[unit], "").await;
        assert_eq!(reply.status, status, "{format}");
    }
    let read = ask(&world, "GET", &path, &[unit], "").await;
    assert_eq!(read.header("cache-control"), "private, no-cache");
    world.close().await;
}
