//! How a token is got and what it opens: the way SMART Backend Services has it.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};

use super::{Door, Key, journal, registry};
use crate::world::{NORTH, ONCOLOGY, referral};

#[actix_web::test]
async fn a_client_that_proves_who_it_is_gets_a_token_that_opens_the_door() {
    for key in [Key::es384("k1"), Key::rs384("k1")] {
        let door = Door::open(&[("registry.json", &key)], &registry("system/Procedure.rs system/Patient.rs")).await;
        let reply = door.show(&key.sign(&door.claims("registry")), "system/Procedure.read openid system/Goal.rs").await;
        assert_eq!(reply.status, 200, "{:?}: {}", key.algorithm, reply.text);
        assert_eq!(reply.headers["cache-control"], "no-store");
        assert_eq!(reply.headers["pragma"], "no-cache");
        let granted = reply.json();
        assert_eq!(granted["token_type"], "bearer");
        assert_eq!(granted["expires_in"], 300);
        assert_eq!(granted["scope"], "system/Procedure.rs", "what was not agreed is left out, not refused");
        let token = granted["access_token"].as_str().unwrap();
        assert_eq!(door.get("/fhir/Procedure", token, &[]).await.status, 200);
        assert_eq!(door.get("/fhir/Procedure", "", &[]).await.status, 401);
        assert_eq!(door.get("/fhir/Procedure", token, &[("Vardkedja-Unit", ONCOLOGY)]).await.status, 403);

        let keys: Value = door.get("/.well-known/jwks.json", "", &[]).await.json();
        let published = serde_json::from_value(keys["keys"][0].clone()).unwrap();
        let header = decode_header(token).unwrap();
        assert_eq!((header.alg, header.typ.as_deref()), (Algorithm::ES384, Some("at+jwt")));
        assert_eq!(header.kid.as_deref(), keys["keys"][0]["kid"].as_str());
        let mut validation = Validation::new(Algorithm::ES384);
        validation.set_audience(&[&door.url]);
        validation.set_issuer(&[&door.url]);
        let claims = decode::<Value>(token, &DecodingKey::from_jwk(&published).unwrap(), &validation).unwrap().claims;
        assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("registry"), &json!("registry")));
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 300);
        door.close().await;
    }
}

#[actix_web::test]
async fn a_care_client_speaks_for_its_partners_units_and_no_others() {
    let key = Key::es384("k1");
    let door = Door::open(&[("journal.json", &key)], &journal(&format!("units = [\"{NORTH}\"]"))).await;
    let token = door.token("journal", &key, "").await;
    assert_eq!(door.get("/v1/exchanges", &token, &[("Vardkedja-Unit", NORTH)]).await.status, 200);
    assert_eq!(door.get("/v1/exchanges", &token, &[]).await.status, 200);
    assert_eq!(door.get("/v1/exchanges", &token, &[("Vardkedja-Unit", ONCOLOGY)]).await.status, 403);
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let reply = door.post("/v1/referrals", &headers, referral(1).to_string()).await;
    assert_eq!(reply.status, 403, "oncology is not its unit: {}", reply.text);
    door.close().await;
}

#[actix_web::test]
async fn a_partner_with_keys_is_a_client_and_may_still_show_what_it_signs_itself() {
    let key = Key::es384("k1");
    let settings = "[[partner]]\nname = \"primary-care\"\nchannel = \"poll\"\njwks_file = \"north.json\"\n";
    let door = Door::open(&[("north.json", &key)], settings).await;
    let token = door.token("primary-care", &key, "").await;
    assert_eq!(door.get("/v1/exchanges", &token, &[("Vardkedja-Unit", NORTH)]).await.status, 200);
    let mut own = door.claims("primary-care");
    own["aud"] = json!(door.url);
    assert_eq!(door.get("/v1/exchanges", &key.sign(&own), &[("Vardkedja-Unit", NORTH)]).await.status, 200);
    let assertion = key.sign(&door.claims("primary-care"));
    assert_eq!(door.get("/v1/exchanges", &assertion, &[]).await.status, 401, "an assertion is no token");
    assert_eq!(door.show(&key.sign(&own), "").await.status, 401, "and a token is no assertion");
    assert_eq!(door.show(&token, "").await.status, 401, "nor is one of ours");
    door.close().await;
}

#[actix_web::test]
async fn programs_are_told_where_the_doors_are() {
    let key = Key::es384("k1");
    let door = Door::open(&[("registry.json", &key)], &registry("system/Procedure.rs")).await;
    let known = door.get("/.well-known/smart-configuration", "", &[]).await.json();
    assert_eq!(known["token_endpoint"], format!("{}/oauth/token", door.url));
    assert_eq!(known["grant_types_supported"], json!(["client_credentials"]));
    let capabilities = known["capabilities"].as_array().unwrap();
    assert!(
        ["client-confidential-asymmetric", "permission-v1", "permission-v2"]
            .iter()
            .all(|c| capabilities.contains(&json!(c)))
    );
    for accept in ["application/json", "application/fhir+xml"] {
        let beside = door.get("/fhir/.well-known/smart-configuration", "", &[("Accept", accept)]).await;
        assert_eq!((beside.status, beside.json()), (200, known.clone()));
    }
    let statement = door.get("/fhir/metadata", "", &[]).await.json();
    let security = &statement["rest"][0]["security"];
    assert_eq!(security["service"][0]["coding"][0]["code"], "SMART-on-FHIR");
    assert_eq!(security["extension"][0]["extension"][0]["valueUri"], known["token_endpoint"]);
    door.close().await;
}

#[actix_web::test]
async fn what_is_wrong_with_a_request_is_said_as_the_standard_has_it() {
    let key = Key::es384("k1");
    let door = Door::open(&[("registry.json", &key)], &registry("system/Procedure.rs")).await;
    let good = || key.sign(&door.claims("registry"));
    let (kind, grant) = (("client_assertion_type", super::JWT_BEARER), ("grant_type", "client_credentials"));
    let shown = good();
    let shown = ("client_assertion", shown.as_str());
    for (fields, status, error) in [
        (vec![], 401, "invalid_client"),
        (vec![grant, kind], 401, "invalid_client"),
        (vec![("grant_type", "password"), kind, shown], 400, "unsupported_grant_type"),
        (vec![kind, shown], 400, "invalid_request"),
        (vec![grant, shown], 400, "invalid_request"),
        (vec![grant, kind, ("client_assertion", "x")], 401, "invalid_client"),
        (vec![grant, kind, shown, ("client_id", "another")], 401, "invalid_client"),
        (vec![grant, kind, shown, ("client_secret", "s")], 401, "invalid_client"),
        (vec![grant, kind, shown, ("scope", "system/Task.rs")], 400, "invalid_scope"),
    ] {
        let reply = door.ask(&fields).await;
        assert_eq!((reply.status, reply.error().as_str()), (status, error), "{fields:?}: {}", reply.text);
        assert_eq!(reply.headers["cache-control"], "no-store");
        assert!(!reply.description().is_empty());
        assert_eq!(reply.headers.contains_key("www-authenticate"), status == 401);
    }
    assert_eq!(door.show(&good(), "").await.json()["scope"], "system/Procedure.rs", "asked for nothing, got all");
    door.close().await;
}

#[actix_web::test]
async fn whoever_has_a_token_is_told_what_another_is_good_for() {
    let (key, other) = (Key::es384("k1"), Key::es384("k1"));
    let settings = registry("system/Procedure.rs");
    let mut door = Door::open(&[("registry.json", &key)], &settings).await;
    let token = door.token("registry", &key, "").await;
    let form = |token: &str| super::form(&[("token", token)]);
    let kind = ("Content-Type", "application/x-www-form-urlencoded");
    let bearer = format!("Bearer {token}");
    let ask =
        async |shown: &str| door.post("/oauth/introspect", &[kind, ("Authorization", &bearer)], form(shown)).await;
    let told = ask(&token).await.json();
    assert_eq!((&told["active"], &told["client_id"]), (&json!(true), &json!("registry")));
    assert_eq!((&told["scope"], &told["token_type"]), (&json!("system/Procedure.rs"), &json!("bearer")));
    let forged = other.sign(&json!({ "iss": door.url, "aud": door.url, "sub": "registry", "client_id": "registry", "exp": super::now() + 60 }));
    for dead in ["", "a.b.c", &forged, &key.sign(&door.claims("registry")), &token[..token.len() - 4]] {
        let told = ask(dead).await;
        assert!(dead.is_empty() && told.status == 400 || told.json() == json!({ "active": false }), "{}", told.text);
    }
    assert_eq!(door.post("/oauth/introspect", &[kind], form(&token)).await.status, 401);

    // Who is no client any more has no token any more.
    let others = settings.replace("id = \"registry\"", "id = \"another\"");
    assert_eq!(door.get("/fhir/Procedure", &token, &[]).await.status, 200);
    let before = door.url.clone();
    door.restart(&format!("base_url = \"{before}\"\n{others}")).await;
    assert_eq!(door.get("/fhir/Procedure", &token, &[]).await.status, 401);
    door.restart(&format!("base_url = \"{before}\"\n{settings}")).await;
    door.close().await;
}

#[actix_web::test]
async fn a_token_is_good_for_its_time_and_no_longer() {
    let key = Key::es384("k1");
    let settings = format!("[oauth]\ntoken_s = 2\n{}", registry("system/Procedure.rs"));
    let door = Door::open(&[("registry.json", &key)], &settings).await;
    let token = door.token("registry", &key, "").await;
    let started = std::time::Instant::now();
    assert_eq!(door.get("/fhir/Procedure", &token, &[]).await.status, 200);
    while door.get("/fhir/Procedure", &token, &[]).await.status == 200 {
        assert!(started.elapsed() < std::time::Duration::from_secs(5), "it does not end");
    }
    assert_eq!(door.get("/fhir/Procedure", &token, &[]).await.status, 401);
    door.close().await;
}

#[actix_web::test]
async fn a_new_key_signs_and_a_revocation_ends_every_token_at_once() {
    let key = Key::es384("k1");
    let settings = format!("[oauth]\nreload_s = 1\n{}", registry("system/Procedure.rs"));
    let door = Door::open(&[("registry.json", &key)], &settings).await;
    let file = door.folder.join("gateway.toml").display().to_string();
    let kids = async || {
        let keys = door.get("/.well-known/jwks.json", "", &[]).await.json();
        keys["keys"].as_array().unwrap().iter().map(|k| k["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let until = async |count: usize, other_than: &[String]| {
        let started = std::time::Instant::now();
        loop {
            let now = kids().await;
            if now.len() == count && now != other_than {
                return now;
            }
            assert!(started.elapsed() < crate::program::PATIENCE, "{now:?}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let first = kids().await;
    let old = door.token("registry", &key, "").await;
    assert_eq!(door.get("/fhir/Procedure", &old, &[]).await.status, 200);
    let (code, said) = crate::program::run(&["rotate-keys", "--config", &file]);
    assert_eq!(code, Some(0), "{said}");
    let both = until(2, &first).await;
    let new = door.token("registry", &key, "").await;
    assert_eq!(decode_header(&new).unwrap().kid.as_ref(), both.last());
    assert_eq!(
        door.get("/fhir/Procedure", &old, &[]).await.status,
        200,
        "what the older key signed is good for its time"
    );

    let (code, said) = crate::program::run(&["rotate-keys", "--config", &file, "--revoke"]);
    assert_eq!(code, Some(0), "{said}");
    until(1, &first).await;
    for dead in [&old, &new] {
        assert_eq!(door.get("/fhir/Procedure", dead, &[]).await.status, 401, "although it was verified a moment ago");
    }
    let token = door.token("registry", &key, "").await;
    assert_eq!(door.get("/fhir/Procedure", &token, &[]).await.status, 200);
    door.close().await;
}

#[actix_web::test]
async fn grants_and_refusals_are_on_record_without_what_was_shown() {
    let (key, other) = (Key::es384("k1"), Key::es384("k1"));
    let door = Door::open(&[("registry.json", &key)], &registry("system/Procedure.rs")).await;
    let token = door.token("registry", &key, "system/Procedure.rs?code=DV133").await;
    door.show(&key.sign(&door.claims("registry")), "system/Task.rs").await;
    for _ in 0..60 {
        door.show(&other.sign(&door.claims("registry")), "").await;
    }
    for _ in 0..20 {
        door.show(&other.sign(&door.claims("a stranger")), "").await;
    }
    let (granted, refused): (Vec<_>, Vec<_>) =
        door.audited("token").into_iter().partition(|(_, row)| row["outcome"].is_null());
    assert_eq!(granted.len(), 1);
    assert_eq!(granted[0].0, "registry");
    assert_eq!(granted[0].1["scope"], "system/Procedure.rs?code", "criteria by name: their values may be anything");
    assert_eq!(refused[0].1["reason"], "invalid_scope");
    assert!(refused.len() <= 21, "a stranger does not fill the log: {}", refused.len());
    assert!(refused.iter().all(|(actor, _)| actor == "registry"));
    assert!(!format!("{granted:?}{refused:?}").contains(&token[..40]));
    let figures = door.get("/metrics", "", &[]).await.text;
    let strangers = "vardkedja_token_requests_total{client=\"unknown\",result=\"invalid_client\"} 20";
    assert!(figures.contains(strangers), "{figures}");
    door.close().await;
}
