//! Tokens of an outside issuer: verified with its keys, for the clients it speaks for, never wider than was agreed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::{Door, Key, journal, now, registry};

const IDP: &str = "https://idp.example.se";

fn settings(more: &str) -> String {
    format!(
        "{}{}[[issuer]]\niss = \"{IDP}\"\njwks_file = \"idp.json\"\naudience = [\"vardkedja\"]\nclient_claim = \"azp\"\n\
         clients = {{ \"system-7\" = \"registry\" }}\n{more}\n",
        registry("system/Procedure.rs"),
        journal("")
    )
}

fn claims() -> Value {
    json!({ "iss": IDP, "aud": "vardkedja", "azp": "system-7", "scope": "system/*.read", "iat": now(), "exp": now() + 1800 })
}

#[actix_web::test]
async fn an_outside_token_opens_what_was_agreed_with_the_client_it_names() {
    let (idp, own) = (Key::rs384("i1"), Key::es384("k1"));
    let files = [("idp.json", &idp), ("registry.json", &own), ("journal.json", &own)];
    let door = Door::open(&files, &settings("")).await;
    let status = async |token: &str| door.get("/fhir/Procedure", token, &[]).await.status;
    assert_eq!(status(&idp.sign(&claims())).await, 200);
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        idp.sign(&claims)
    };
    for (what, token) in [
        ("another audience", with("aud", json!("elsewhere"))),
        ("our address, which is not what was agreed", with("aud", json!(door.url))),
        ("a client of ours by our name", with("azp", json!("registry"))),
        ("a client that it does not speak for", with("azp", json!("journal"))),
        ("no client", with("azp", json!(null))),
        ("over", with("exp", json!(now() - 60))),
        ("too long a life", with("exp", json!(now() + 7200))),
        ("another issuer", with("iss", json!("https://evil.example.se"))),
        ("our own name", with("iss", json!(door.url))),
        ("another's key", own.sign(&claims())),
        ("the issuer's key in a client's name", with("iss", json!("registry"))),
    ] {
        assert_eq!(status(&token).await, 401, "{what}");
    }
    for scope in [json!(null), json!(""), json!("system/Task.rs"), json!(["system/Patient.rs"]), json!(7)] {
        let refused = status(&with("scope", scope.clone())).await;
        assert_eq!(refused, 403, "nothing that was agreed: {scope}");
    }
    assert_eq!(status(&with("scope", json!(["openid", "system/Procedure.rs"]))).await, 200, "a list does too");
    assert_eq!(door.show(&with("aud", json!(door.token_url())), "").await.status, 401, "it is no assertion");
    let (token, kind) = (idp.sign(&claims()), ("Content-Type", "application/x-www-form-urlencoded"));
    let bearer = format!("Bearer {token}");
    let told =
        door.post("/oauth/introspect", &[kind, ("Authorization", &bearer)], super::form(&[("token", &token)])).await;
    assert_eq!(told.json(), json!({ "active": false }), "we did not give it");
    door.close().await;
}

#[actix_web::test]
async fn an_outside_issuer_signs_with_what_it_has_but_never_with_a_shared_secret() {
    let idp = Key::rs384("i1");
    let own = Key::es384("k1");
    // The key says nothing of its algorithm, as many do.
    let mut public = idp.public();
    public.as_object_mut().unwrap().shift_remove("alg");
    let door = Door::open(&[("registry.json", &own), ("journal.json", &own), ("idp.json", &idp)], &settings("")).await;
    std::fs::write(door.folder.join("idp.json"), json!({ "keys": [public.clone()] }).to_string()).unwrap();
    for algorithm in [Algorithm::RS256, Algorithm::RS512, Algorithm::PS384] {
        let token = idp.sign_as(|h| h.alg = algorithm, &claims());
        assert_eq!(door.get("/fhir/Procedure", &token, &[]).await.status, 200, "{algorithm:?}");
    }
    let texts = [public.to_string(), idp.jwks(), public["n"].as_str().unwrap().to_owned()];
    for (algorithm, text) in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512].into_iter().zip(texts) {
        let secret = jsonwebtoken::EncodingKey::from_secret(text.as_bytes());
        let header = jsonwebtoken::Header { kid: Some("i1".into()), ..jsonwebtoken::Header::new(algorithm) };
        let token = jsonwebtoken::encode(&header, &claims(), &secret).unwrap();
        assert_eq!(door.get("/fhir/Procedure", &token, &[]).await.status, 401, "{algorithm:?}");
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let good = idp.sign(&claims());
    let signature = good.rsplit_once('.').unwrap().1;
    for alg in ["none", "None", "NONE", "nOnE", "", "RS384"] {
        for signature in ["", "AAAA", signature] {
            let mut other = claims();
            other["scope"] = json!("system/Procedure.rs");
            let token = format!("{}.{}.{signature}", part(&json!({ "alg": alg, "kid": "i1" })), part(&other));
            assert_eq!(door.get("/fhir/Procedure", &token, &[]).await.status, 401, "alg {alg}, {signature:?}");
        }
    }
    door.close().await;
}
