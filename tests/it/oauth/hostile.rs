//! What somebody might try at the doors: each is refused in words, before it costs anything.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::{Door, FORM, JWT_BEARER, Key, now, registry};

fn raw(header: &Value, claims: &str, signature: &str) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{signature}", part(&header.to_string()), part(claims))
}

async fn door(key: &Key) -> Door {
    Door::open(&[("registry.json", key)], &registry("system/Procedure.rs")).await
}

#[actix_web::test]
async fn only_the_clients_own_signature_counts() {
    for key in [Key::es384("k1"), Key::rs384("k1")] {
        let door = door(&key).await;
        let claims = || door.claims("registry");
        let text = claims().to_string();
        let public = key.public();
        let other = Key { kid: "k1".into(), ..Key::es384("k1") };
        // The public key, in every writing that a library might have taken for a secret.
        let secrets =
            [public.to_string(), key.jwks(), public["n"].as_str().or(public["x"].as_str()).unwrap().to_owned()];
        let mut tries: Vec<(String, String)> = Vec::new();
        for alg in ["none", "None", "NONE", "nOnE", ""] {
            tries.push((format!("alg {alg}"), raw(&json!({ "alg": alg, "kid": "k1" }), &text, "")));
            tries.push((format!("alg {alg}, signed"), raw(&json!({ "alg": alg, "kid": "k1" }), &text, "AAAA")));
        }
        for (n, secret) in secrets.iter().enumerate() {
            for alg in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
                let header = Header { kid: Some("k1".into()), ..Header::new(alg) };
                let token = encode(&header, &claims(), &EncodingKey::from_secret(secret.as_bytes())).unwrap();
                tries.push((format!("{alg:?} with the public key, writing {n}"), token));
            }
        }
        let good = key.sign(&claims());
        let (head, signature) = good.rsplit_once('.').unwrap();
        tries.push(("no signature".into(), format!("{head}.")));
        tries.push(("two parts".into(), head.to_owned()));
        tries.push(("another's signature".into(), other.sign(&claims())));
        tries.push(("another body".into(), {
            let header = head.split_once('.').unwrap().0;
            format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims().to_string()))
        }));
        tries.push(("crit".into(), key.sign_as(|h| h.crit = Some(vec!["b64".into()]), &claims())));
        tries.push((
            "ES384 of nothing but nought".into(),
            raw(&json!({ "alg": "ES384", "kid": "k1" }), &text, &"A".repeat(128)),
        ));
        for (what, assertion) in tries {
            let reply = door.show(&assertion, "").await;
            assert_eq!((reply.status, reply.error().as_str()), (401, "invalid_client"), "{what}: {}", reply.text);
            assert!(!reply.text.contains(&assertion), "{what}: it is not told back");
        }
        assert_eq!(door.show(&good, "").await.status, 200);
        door.close().await;
    }
}

#[actix_web::test]
async fn where_a_header_says_that_keys_are_is_nowhere() {
    let (key, evil) = (Key::es384("k1"), Key::es384("k1"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
    let door = door(&key).await;
    let claims = || door.claims("registry");
    let jwk = serde_json::from_value(evil.public()).unwrap();
    let tries = [
        ("jku", evil.sign_as(|h| h.jku = Some(url.clone()), &claims())),
        ("x5u", evil.sign_as(|h| h.x5u = Some(url.clone()), &claims())),
        ("jwk", evil.sign_as(|h| h.jwk = Some(jwk), &claims())),
        ("x5c", evil.sign_as(|h| h.x5c = Some(vec!["AAAA".into()]), &claims())),
        ("kid is an address", evil.sign_as(|h| h.kid = Some(url.clone()), &claims())),
        ("kid is a path", evil.sign_as(|h| h.kid = Some("../../../dev/null".into()), &claims())),
        ("kid is a statement", evil.sign_as(|h| h.kid = Some("' OR 1=1 --".into()), &claims())),
        ("kid is long", evil.sign_as(|h| h.kid = Some("k".repeat(5000)), &claims())),
        ("kid is nothing", evil.sign_as(|h| h.kid = Some(String::new()), &claims())),
        ("no kid", evil.sign_as(|h| h.kid = None, &claims())),
    ];
    for (what, assertion) in tries {
        let reply = door.show(&assertion, "").await;
        assert_eq!((reply.status, reply.error().as_str()), (401, "invalid_client"), "{what}: {}", reply.text);
        assert_eq!(door.get("/fhir/Procedure", &assertion, &[]).await.status, 401, "{what}");
    }
    assert!(listener.accept().is_err(), "nobody has asked there");
    let good = key.sign_as(|h| h.jku = Some(url.clone()), &claims());
    assert_eq!(door.show(&good, "").await.status, 200, "what is not looked at does no harm");
    assert!(listener.accept().is_err());
    door.close().await;
}

#[actix_web::test]
async fn large_and_deep_tokens_are_refused_before_they_are_read() {
    let key = Key::es384("k1");
    let door = door(&key).await;
    let mut long = door.claims("registry");
    long["more"] = json!("a".repeat(9000));
    let long = key.sign(&long);
    let deep = |open: &str, close: &str, times: usize| {
        let claims = door.claims("registry").to_string();
        let claims =
            format!("{},\"more\":{}1{}}}", claims.trim_end_matches('}'), open.repeat(times), close.repeat(times));
        raw(&json!({ "alg": "ES384", "kid": "k1" }), &claims, &"A".repeat(128))
    };
    for (what, token) in [
        ("9 kB", long),
        ("1500 lists", deep("[", "]", 1500)),
        ("700 objects", deep("{\"a\":", "}", 700)),
        ("dots", ".".repeat(8000)),
        ("nothing but letters", "a".repeat(8000)),
    ] {
        let started = Instant::now();
        assert_eq!(door.show(&token, "").await.status, 401, "{what}");
        assert_eq!(door.get("/fhir/Procedure", &token, &[]).await.status, 401, "{what}");
        assert!(started.elapsed() < Duration::from_secs(2), "{what}");
    }
    let larger = "a".repeat(20_000);
    assert_eq!(door.get("/fhir/Procedure", &larger, &[]).await.status, 431);
    assert_eq!(door.get("/health/live", "", &[]).await.status, 200);
    door.close().await;
}

#[actix_web::test]
async fn what_an_assertion_must_say_is_demanded_and_clocks_may_differ_a_little() {
    let key = Key::es384("k1");
    let door = door(&key).await;
    let with = |change: Value| {
        let mut claims = door.claims("registry");
        for (name, value) in change.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().shift_remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        key.sign(&claims)
    };
    for change in [
        json!({ "sub": "another" }),
        json!({ "sub": null }),
        json!({ "iss": "another" }),
        json!({ "iss": null }),
        json!({ "iss": ["registry"] }),
        json!({ "aud": "https://elsewhere.example.se/oauth/token" }),
        json!({ "aud": door.url }),
        json!({ "aud": format!("{}/", door.token_url()) }),
        json!({ "aud": null }),
        json!({ "aud": [] }),
        json!({ "exp": null }),
        json!({ "exp": "later" }),
        json!({ "exp": now() - 40 }),
        json!({ "exp": now() + 400 }),
        json!({ "exp": i64::MAX }),
        json!({ "exp": i64::MIN }),
        json!({ "iat": now() + 60 }),
        json!({ "iat": now() - 400, "exp": now() + 30 }),
        json!({ "nbf": now() + 60 }),
        json!({ "jti": null }),
        json!({ "jti": "" }),
        json!({ "jti": 7 }),
        json!({ "jti": "j".repeat(257) }),
    ] {
        let reply = door.show(&with(change.clone()), "").await;
        assert_eq!((reply.status, reply.error().as_str()), (401, "invalid_client"), "{change}: {}", reply.text);
    }
    for change in [
        json!({ "exp": now() - 20 }),
        json!({ "exp": now() + 300, "iat": now() + 20, "nbf": now() + 20 }),
        json!({ "exp": f64::from(i32::try_from(now()).unwrap()) + 100.5 }),
        json!({ "aud": ["https://elsewhere.example.se", door.token_url()] }),
        json!({ "iat": null }),
        json!({ "jti": "j".repeat(256) }),
    ] {
        let reply = door.show(&with(change.clone()), "").await;
        assert_eq!(reply.status, 200, "{change}: {}", reply.text);
    }
    door.close().await;
}

#[actix_web::test]
async fn a_token_of_ours_cannot_be_changed_nor_made_by_others() {
    let key = Key::es384("k1");
    let door = door(&key).await;
    let elsewhere = self::door(&key).await;
    let token = door.token("registry", &key, "").await;
    let theirs = elsewhere.token("registry", &key, "").await;
    let parts: Vec<&str> = token.split('.').collect();
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    claims["scope"] = json!("system/*.cruds");
    let wider = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()), parts[2]);
    claims["iss"] = json!("registry");
    let kid = jsonwebtoken::decode_header(&token).unwrap().kid;
    for (what, forged) in [
        ("wider", wider),
        ("another gateway's", theirs),
        ("signed by the client", key.sign(&claims)),
        ("signed by the client in our name", {
            let mut claims = claims.clone();
            claims["iss"] = json!(door.url);
            key.sign_as(
                |h| {
                    h.kid = kid;
                    h.typ = Some("at+jwt".into());
                },
                &claims,
            )
        }),
    ] {
        assert_eq!(door.get("/fhir/Procedure", &forged, &[]).await.status, 401, "{what}");
    }
    assert_eq!(door.get("/fhir/Procedure", &token, &[]).await.status, 200);
    elsewhere.close().await;
    door.close().await;
}

#[actix_web::test]
async fn no_token_and_no_assertion_stands_in_the_log() {
    let key = Key::es384("k1");
    let folder = std::env::temp_dir().join(format!("oauth-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("registry.json"), key.jwks()).unwrap();
    let settings = format!("[telemetry]\nlog = \"trace\"\n{}", registry("system/Procedure.rs"));
    let program = crate::program::Program::start(&folder, &settings, &[]);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/oauth/token", program.url);
    let claims = |aud: &str| json!({ "iss": "registry", "sub": "registry", "aud": aud, "exp": now() + 60, "jti": uuid::Uuid::new_v4().to_string() });
    let mut secrets = Vec::new();
    for aud in [url.as_str(), "https://elsewhere.example.se"] {
        let assertion = key.sign(&claims(aud));
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", &assertion),
        ];
        let reply = http.post(&url).header(FORM.0, FORM.1).body(super::form(&fields)).send().await.unwrap();
        let reply: Value = serde_json::from_str(&reply.text().await.unwrap()).unwrap();
        secrets.push(assertion);
        secrets.extend(reply["access_token"].as_str().map(str::to_owned));
    }
    assert_eq!(secrets.len(), 3);
    for secret in &secrets {
        http.get(format!("{}/fhir/Procedure", program.url)).bearer_auth(secret).send().await.unwrap();
    }
    let log = program.stop().await;
    assert!(log.contains("/oauth/token"), "{log}");
    for part in secrets.iter().flat_map(|secret| secret.split('.').skip(1)) {
        assert!(!log.contains(part), "{part}");
    }
    let _ = std::fs::remove_dir_all(folder);
}
