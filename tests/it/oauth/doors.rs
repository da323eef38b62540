//! Requests that are not quite requests: forms, headers and addresses in other writings, and bodies that take their time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use super::{Door, FORM, JWT_BEARER, Key, registry};

async fn door(key: &Key) -> Door {
    Door::open(&[("registry.json", key)], &registry("system/Procedure.rs")).await
}

#[actix_web::test]
async fn forms_are_taken_in_one_way_only() {
    let key = Key::es384("k1");
    let door = door(&key).await;
    let good = || {
        let assertion = key.sign(&door.claims("registry"));
        super::form(&[
            ("grant_type", "client_credentials"),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", &assertion),
        ])
    };
    let twice = format!("{}&grant_type=client_credentials", good());
    let hidden = format!("{}&scope=system/Procedure.rs&sc%6fpe=system/*.cruds", good());
    let as_json = json!({ "grant_type": "client_credentials" }).to_string();
    let scopes = format!("{}&scope={}", good(), "system/Procedure.rs%20".repeat(50_000));
    let many = format!("{}&{}", good(), "a=b&".repeat(200));
    for (what, path, headers, body, status) in [
        ("a parameter twice", "/oauth/token", vec![FORM], twice, 400),
        ("a parameter twice, once in disguise", "/oauth/token", vec![FORM], hidden, 400),
        ("JSON", "/oauth/token", vec![("Content-Type", "application/json")], as_json, 400),
        ("no type", "/oauth/token", vec![], good(), 400),
        ("multipart", "/oauth/token", vec![("Content-Type", "multipart/form-data; boundary=a")], good(), 400),
        ("compressed", "/oauth/token", vec![FORM, ("Content-Encoding", "gzip")], good(), 415),
        ("parameters in the address", "/oauth/token?scope=system/Procedure.rs", vec![FORM], good(), 400),
        ("a megabyte of scopes", "/oauth/token", vec![FORM], scopes, 413),
        ("too many parameters", "/oauth/token", vec![FORM], many, 400),
        ("Basic beside it", "/oauth/token", vec![FORM, ("Authorization", "Basic YTpi")], good(), 401),
    ] {
        let reply = door.post(path, &headers, body).await;
        assert_eq!(reply.status, status, "{what}: {}", reply.text);
        assert!(!reply.error().is_empty() && !reply.description().is_empty(), "{what}: {}", reply.text);
        assert_eq!(reply.headers["content-type"], "application/json", "{what}");
    }
    let within = format!("{}&scope={}", good(), "system/Procedure.rs%20".repeat(2000));
    let reply = door.post("/oauth/token", &[FORM], within).await;
    assert_eq!((reply.status, &reply.json()["scope"]), (200, &json!("system/Procedure.rs")));
    let with_charset = ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
    assert_eq!(door.post("/oauth/token", &[with_charset], format!("{}&unknown=1&scope=", good())).await.status, 200);
    door.close().await;
}

#[actix_web::test]
async fn two_headers_are_one_too_many_and_the_schemes_name_has_no_case() {
    let key = Key::es384("k1");
    let door = door(&key).await;
    let token = door.token("registry", &key, "").await;
    let bearer = format!("Bearer {token}");
    let two = [("Authorization", bearer.as_str()), ("Authorization", bearer.as_str())];
    assert_eq!(door.get("/fhir/Procedure", "", &two).await.status, 400);
    for (header, status) in [
        (format!("bearer {token}"), 200),
        (format!("BEARER {token}"), 200),
        (format!("Basic {token}"), 401),
        (format!("Bearer{token}"), 401),
        (token.clone(), 401),
        (format!("Bearer {token}, Bearer {token}"), 401),
        (format!("Bearer {token} {token}"), 401),
        ("Bearer".to_owned(), 401),
    ] {
        assert_eq!(
            door.get("/fhir/Procedure", "", &[("Authorization", &header)]).await.status,
            status,
            "{}",
            &header[..7.min(header.len())]
        );
    }
    let form = super::form(&[("token", &token)]);
    assert_eq!(door.post("/oauth/introspect", &[FORM, two[0], two[1]], form).await.status, 400);
    assert_eq!(door.get(&format!("/fhir/Procedure?access_token={token}"), "", &[]).await.status, 401);
    door.close().await;
}

#[actix_web::test]
async fn a_slow_form_is_not_waited_for() {
    let key = Key::es384("k1");
    let settings = format!("[limits]\nbody_s = 1\n{}", registry("system/Procedure.rs"));
    let door = Door::open(&[("registry.json", &key)], &settings).await;
    let mut socket = TcpStream::connect(door.url.trim_start_matches("http://")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = "POST /oauth/token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                Content-Length: 1000\r\n\r\ngrant_type=client";
    socket.write_all(head.as_bytes()).unwrap();
    let answer = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        let _ = socket.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let answer = answer.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("limits.body_s"), "{answer}");
    door.close().await;
}

#[actix_web::test]
async fn no_writing_of_an_address_leads_past_a_door() {
    let key = Key::es384("k1");
    let door = door(&key).await;
    let host = door.url.trim_start_matches("http://").to_owned();
    let ask = async |method: &str, target: &str| {
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        let host = host.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let mut socket = TcpStream::connect(host).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            socket.write_all(request.as_bytes()).unwrap();
            let mut bytes = Vec::new();
            let _ = socket.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        answer.await.unwrap()
    };
    for target in [
        "/fhir/Procedure",
        "//fhir/Procedure",
        "/fhir//Procedure",
        "/fhir/Procedure/",
        "/fhir/./Procedure",
        "/.well-known/../fhir/Procedure",
        "/fhir/.well-known/../Procedure",
        "/fhir/.well-known/smart-configuration/../../Procedure",
        "/fhir/.well-known%2fsmart-configuration%2f..%2fProcedure",
        "/fhir/.well-known/Procedure",
        "/fhir/%50rocedure",
        "/FHIR/Procedure",
        "/fhir/metadata/../Procedure",
        "/fhir/metadata;/Procedure",
        "/v1/exchanges?access_token=a",
        "http://localhost/fhir/Procedure",
    ] {
        let answer = ask("GET", target).await;
        let refused = ["HTTP/1.1 400", "HTTP/1.1 401", "HTTP/1.1 404"].iter().any(|status| answer.starts_with(status));
        assert!(refused, "{target}: {answer}");
    }
    for target in ["/oauth/token/", "/oauth//token", "/OAUTH/token", "/oauth/token/..", "/oauth/token%00"] {
        assert!(ask("POST", target).await.starts_with("HTTP/1.1 404"), "{target}");
    }
    assert!(ask("GET", "/oauth/token").await.starts_with("HTTP/1.1 405"));
    door.close().await;
}
