//! Callers with tokens: signed by the partner's own key, meant for us, short-lived, and only for its own units.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::world::{NORTH, ONCOLOGY, SOUTH, World, referral};

/// A partner's key: the private half here, the public half in its JWK set.
struct Key {
    private: EncodingKey,
    jwks: Value,
}

fn key(kid: &str) -> Key {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
    let point = pair.public_key().as_ref();
    let (x, y) = point[1..].split_at(48);
    let jwks = json!({ "keys": [{
        "kty": "EC", "crv": "P-384", "alg": "ES384", "kid": kid, "use": "sig",
        "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
    }] });
    Key { private: EncodingKey::from_ec_der(pkcs8.as_ref()), jwks }
}

fn token(key: &Key, kid: &str, claims: &Value) -> String {
    let header = Header { kid: Some(kid.into()), ..Header::new(Algorithm::ES384) };
    encode(&header, claims, &key.private).unwrap()
}

fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

const US: &str = "SE2321000131-E000000000900";

fn claims(partner: &str) -> Value {
    json!({ "iss": partner, "aud": US, "iat": now(), "exp": now() + 120 })
}

async fn send(world: &World, token: Option<&str>, unit: Option<&str>) -> u16 {
    let bearer = token.map(|t| format!("Bearer {t}"));
    let mut headers = vec![("Content-Type", "application/json")];
    headers.extend(bearer.as_deref().map(|b| ("Authorization", b)));
    headers.extend(unit.map(|u| ("Vardkedja-Unit", u)));
    world.ask("POST", "/v1/referrals", &headers, Some(referral(1).to_string())).await.status
}

#[actix_web::test]
async fn only_a_token_of_the_partner_itself_lets_a_caller_in() {
    let (mine, other) = (key("k1"), key("k1"));
    let file = std::env::temp_dir().join(format!("jwks-{}.json", uuid::Uuid::new_v4()));
    std::fs::write(&file, mine.jwks.to_string()).unwrap();
    let world = World::open_with_keys("platform", &file).await;
    let refused = [
        ("no token", None),
        ("no JWT", Some("hej".to_owned())),
        ("another's signature", Some(token(&other, "k1", &claims("platform")))),
        ("an unknown key", Some(token(&mine, "k2", &claims("platform")))),
        ("a partner without keys", Some(token(&mine, "k1", &claims("primary-care")))),
        ("another audience", Some(token(&mine, "k1", &json!({ "iss": "platform", "aud": "x", "exp": now() + 60 })))),
        ("expired", Some(token(&mine, "k1", &json!({ "iss": "platform", "aud": US, "exp": now() - 60 })))),
        (
            "an hour",
            Some(token(&mine, "k1", &json!({ "iss": "platform", "aud": US, "iat": now(), "exp": now() + 3600 }))),
        ),
        ("no expiry", Some(token(&mine, "k1", &json!({ "iss": "platform", "aud": US })))),
        (
            "HS256",
            Some({
                let header = Header::new(Algorithm::HS256);
                encode(&header, &claims("platform"), &EncodingKey::from_secret(b"x")).unwrap()
            }),
        ),
    ];
    for (what, token) in refused {
        assert_eq!(send(&world, token.as_deref(), None).await, 401, "{what}");
    }
    let good = token(&mine, "k1", &claims("platform"));
    assert_eq!(send(&world, Some(&good), Some(SOUTH)).await, 403, "a unit of another partner");
    assert_eq!(send(&world, Some(&good), Some(ONCOLOGY)).await, 202);
    assert_eq!(send(&world, Some(&good), None).await, 202, "the partner's system, for all its units");
    let narrowed = json!({ "iss": "platform", "aud": US, "exp": now() + 60, "unit": NORTH });
    assert_eq!(send(&world, Some(&token(&mine, "k1", &narrowed)), None).await, 403);
    assert_eq!(world.get("/health/live", "").await.status, 200, "health needs no token");
    world.close().await;
    let _ = std::fs::remove_file(file);
}

#[actix_web::test]
async fn a_token_lives_five_minutes_from_now_and_not_from_a_time_it_claims() {
    let mine = key("k1");
    let file = std::env::temp_dir().join(format!("jwks-{}.json", uuid::Uuid::new_v4()));
    std::fs::write(&file, mine.jwks.to_string()).unwrap();
    let world = World::open_with_keys("platform", &file).await;
    let refused = [
        ("issued in an hour", json!({ "iat": now() + 3600, "exp": now() + 3700 })),
        ("issued in two minutes", json!({ "iat": now() + 120, "exp": now() + 240 })),
        ("issued a minute ahead of its long life", json!({ "iat": now() + 400, "exp": now() + 600 })),
        ("not valid before an hour has passed", json!({ "iat": now(), "nbf": now() + 3600, "exp": now() + 120 })),
        ("an issue before time began", json!({ "iat": i64::MIN, "exp": now() + 120 })),
    ];
    for (what, mut claims) in refused {
        claims["iss"] = json!("platform");
        claims["aud"] = json!(US);
        assert_eq!(send(&world, Some(&token(&mine, "k1", &claims)), None).await, 401, "{what}");
    }
    let good = json!({ "iss": "platform", "aud": US, "iat": now() + 5, "nbf": now(), "exp": now() + 300 });
    assert_eq!(send(&world, Some(&token(&mine, "k1", &good)), None).await, 202, "clocks differ a little");
    world.close().await;
    let _ = std::fs::remove_file(file);
}
