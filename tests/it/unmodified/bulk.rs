//! smart-fetch and sekmet do the whole dance of SMART Backend Services and Bulk Data Access: discovery, assertion, token, kick-off,
//! polls, files.

use std::process::Command;

use aws_lc_rs::encoding::AsBigEndian;
use aws_lc_rs::encoding::EcPrivateKeyBin;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{left_out, python, said};
use crate::oauth::{Door, Key, now};
use crate::world::activity;

const US: &str = "SE2321000131-E000000000900";

/// A registry's key as clients keep it, with its private half: as a JWK set and as PEM; and what we get of it.
struct Keys {
    private: String,
    pem: String,
    public: String,
}

impl Keys {
    fn new() -> Self {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
        let point = pair.public_key().as_ref();
        let (x, y) = point[1..].split_at(48);
        let secret: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().unwrap();
        let mut key = json!({
            "kty": "EC", "crv": "P-384", "alg": "ES384", "kid": "fetch-1", "use": "sig",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        });
        let public = json!({ "keys": [key] }).to_string();
        key["d"] = json!(URL_SAFE_NO_PAD.encode(secret.as_ref()));
        key["key_ops"] = json!(["sign"]);
        let begin_end = ["BEGIN", "END"].map(|word| format!("-----{word} PRIVATE KEY-----\n"));
        let pem = format!("{}{}\n{}", begin_end[0], STANDARD.encode(pkcs8.as_ref()), begin_end[1]);
        Self { private: json!({ "keys": [key] }).to_string(), pem, public }
    }
}

/// A gateway with twelve activities and a registry that gets codes, in a folder with the registry's key.
async fn open() -> (Door, std::path::PathBuf) {
    let folder = std::env::temp_dir().join(format!("fetch-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    let keys = Keys::new();
    std::fs::write(folder.join("registry.json"), keys.public).unwrap();
    std::fs::write(folder.join("private.jwks"), keys.private).unwrap();
    std::fs::write(folder.join("private.pem"), keys.pem).unwrap();
    std::fs::write(folder.join("coding.keys"), format!("k1:{}\n", STANDARD.encode([7_u8; 32]))).unwrap();
    let sender = Key::es384("k1");
    std::fs::write(folder.join("sender.json"), sender.jwks()).unwrap();
    let settings = "[[partner]]\nname = \"primary-care\"\nchannel = \"poll\"\njwks_file = \"sender.json\"\n\
                    [[registry]]\nname = \"rehab\"\nhsa_id = \"SE2321000131-E000000000777\"\nkey_file = \"coding.keys\"\n\
                    [[client]]\nid = \"fetch\"\nname = \"Registret\"\nhsa_id = \"SE2321000131-E000000000777\"\n\
                    purpose = \"registry\"\nregistry = \"rehab\"\njwks_file = \"registry.json\"\n\
                    scopes = [\"system/Procedure.rs\", \"system/Patient.rs\", \"system/Encounter.rs\"]\n";
    let door = Door::open_in(folder.clone(), settings).await;
    for number in 1..=12 {
        let token = sender.sign(&json!({ "iss": "primary-care", "aud": US, "iat": now(), "exp": now() + 120 }));
        let sent = door.http.post(format!("{}/v1/activities", door.url)).bearer_auth(token);
        let sent =
            sent.header("Content-Type", "application/json").body(activity(number).to_string()).send().await.unwrap();
        assert_eq!(sent.status().as_u16(), 202, "{}", sent.text().await.unwrap());
    }
    (door, folder)
}

#[actix_web::test]
#[ignore = "installs smart-fetch from PyPI"]
async fn smart_fetch_exports_what_a_registry_may_have() {
    let Some(programs) = python() else { return left_out("smart-fetch") };
    let (door, folder) = open().await;
    let out = folder.join("out");
    let mut fetch = Command::new(programs.join("smart-fetch"));
    fetch.arg("bulk").args(["--no-compression", "--type", "Procedure,Patient,Encounter", "--fhir-url"]);
    fetch.arg(format!("{}/fhir", door.url)).args(["--smart-client-id", "fetch", "--smart-key"]);
    fetch.arg(folder.join("private.jwks")).arg(&out);
    actix_web::web::block(move || said(&mut fetch)).await.unwrap();
    let lines = |name: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(out.join(format!("{name}.001.ndjson"))).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let (procedures, patients) = (lines("Procedure"), lines("Patient"));
    assert_eq!((procedures.len() >= 12, patients.len()), (true, 1));
    let subject = format!("Patient/{}", patients[0]["id"].as_str().unwrap());
    assert!(
        procedures.iter().all(|procedure| procedure["subject"]["reference"] == subject.as_str()),
        "references hold"
    );
    let whole = std::fs::read_to_string(out.join("Patient.001.ndjson")).unwrap();
    assert!(!whole.contains("19500907") && patients[0].get("name").is_none(), "codes, and nobody: {whole}");
    door.close().await;
    let _ = std::fs::remove_dir_all(folder);
}

#[actix_web::test]
#[ignore = "installs sekmet-fhir from PyPI"]
async fn sekmet_exports_what_a_registry_may_have_and_finds_every_line_valid() {
    let Some(programs) = python() else { return left_out("sekmet") };
    let (door, folder) = open().await;
    let auth = json!({
        "type": "smart", "client_id": "fetch", "private_key_path": folder.join("private.pem"), "kid": "fetch-1", "alg": "ES384",
        "scope": "system/Procedure.rs system/Patient.rs system/Encounter.rs",
    });
    let peers = json!({ "gateway": { "base_url": format!("{}/fhir", door.url), "auth": auth } });
    // YAML takes JSON.
    std::fs::write(folder.join("settings.yaml"), json!({ "peers": peers }).to_string()).unwrap();
    let mut export = Command::new(programs.join("sekmet"));
    export.current_dir(&folder).args(["bulk", "export", "--peer", "gateway", "--level", "system"]);
    export.args(["--type", "Procedure,Patient,Encounter", "--poll-max", "0.3", "--config", "settings.yaml"]);
    let told = actix_web::web::block(move || said(&mut export)).await.unwrap();
    let lines = |name: &str| -> u32 {
        let line = told.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_else(|| panic!("{told}"));
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{told}"))
    };
    assert!(lines("Procedure") >= 12 && lines("Encounter") == 12 && lines("Patient") == 1, "{told}");
    assert!(told.contains("VALID") && !told.contains("PROBLEMS"), "{told}");
    door.close().await;
    let _ = std::fs::remove_dir_all(folder);
}
