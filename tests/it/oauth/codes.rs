//! A registry that gets codes is told nothing by which it could find out whose they are, whatever it asks; and what a token
//! does not cover is not fetched with it from an export that another began.

use serde_json::{Value, json};

use super::{Door, Key, ORGANISATION, journal};
use crate::world::{NORTH, activity};

const NUMBER: &str = "195009072553";
const FHIR: (&str, &str) = ("Content-Type", "application/fhir+json");

/// The client `coder` of a registry that gets codes.
fn coder(scopes: &str) -> String {
    format!(
        "[[registry]]\nname = \"coded\"\nhsa_id = \"{ORGANISATION}\"\nkey_file = \"coded.keys\"\n\
         [[client]]\nid = \"coder\"\nname = \"Registret\"\nhsa_id = \"{ORGANISATION}\"\npurpose = \"registry\"\n\
         registry = \"coded\"\njwks_file = \"coder.json\"\nscopes = {}\n",
        json!(scopes.split(' ').collect::<Vec<_>>())
    )
}

async fn door(settings: &str, keys: &[(&str, &Key)]) -> Door {
    let folder = std::env::temp_dir().join(format!("codes-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("coded.keys"), "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").unwrap();
    for (file, key) in keys {
        std::fs::write(folder.join(file), key.jwks()).unwrap();
    }
    Door::open_in(folder, settings).await
}

fn parameters(list: &[(&str, &str)]) -> String {
    let list: Vec<Value> = list.iter().map(|(name, value)| json!({ "name": name, "valueString": value })).collect();
    json!({ "resourceType": "Parameters", "parameter": list }).to_string()
}

impl Door {
    async fn send(&self, path: &str, token: &str, body: String) -> super::Reply {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str()), FHIR, ("Prefer", "respond-async")];
        self.post(path, &headers, body).await
    }

    /// The files of an export, when it is done.
    async fn files(&self, job: &str, token: &str, unit: &str) -> Vec<Value> {
        let path = job.strip_prefix(self.url.as_str()).unwrap();
        loop {
            let unit = [("Vardkedja-Unit", unit)];
            let reply = self.get(path, token, if unit[0].1.is_empty() { &[] } else { &unit }).await;
            match reply.status {
                200 => return reply.json()["output"].as_array().unwrap().clone(),
                202 | 429 => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
                other => panic!("{other}: {}", reply.text),
            }
        }
    }
}

#[actix_web::test]
async fn a_registry_with_codes_cannot_ask_whose_they_are() {
    let (coder_key, journal_key) = (Key::es384("k1"), Key::es384("k1"));
    let settings = format!("{}{}", journal(""), coder("system/*.rs system/Procedure.rs?performer=Practitioner/x"));
    let door = door(&settings, &[("coder.json", &coder_key), ("journal.json", &journal_key)]).await;
    let journal = door.token("journal", &journal_key, "").await;
    let bearer = format!("Bearer {journal}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let sent = door.post("/v1/activities", &headers, activity(1).to_string()).await;
    assert_eq!(sent.status, 202, "{}", sent.text);
    let token = door.token("coder", &coder_key, "").await;
    let personnummer = format!("Patient?identifier={NUMBER}");
    for filter in [
        personnummer.as_str(),
        "Patient?birthdate=1950-09-07",
        "Patient?name=Tolvan",
        "Procedure?identifier=K-1",
        "Procedure?performer:identifier=urn:oid:1.2.752.129.2.1.4.1|SE2321000131-P000000000021",
    ] {
        let kind = filter.split('?').next().unwrap();
        let body = parameters(&[("_type", kind), ("_typeFilter", filter)]);
        let reply = door.send("/fhir/$export", &token, body).await;
        assert!(reply.status == 400 && reply.text.contains("coded data"), "{filter}: {}", reply.text);
        let body = parameters(&[("type", kind), ("_typeFilter", filter)]);
        let reply = door.send("/fhir/$verify", &token, body).await;
        assert!(reply.status == 400 && reply.text.contains("coded data"), "{filter}: {}", reply.text);
    }
    let body = parameters(&[("_type", "Procedure"), ("_typeFilter", "Procedure?code=DV133&date=ge2020")]);
    assert_eq!(door.send("/fhir/$export", &token, body).await.status, 202, "what is counted can be asked");
    let granted = async |scope: &str| {
        let reply = door.show(&coder_key.sign(&door.claims("coder")), scope).await;
        reply.json()["scope"].as_str().unwrap_or_default().to_owned()
    };
    for scope in
        ["system/Procedure.rs?identifier=K-1", "system/Procedure.rs?patient.identifier=urn:x|1", "system/*.rs?_id=a"]
    {
        assert_eq!(granted(scope).await, "", "{scope}");
    }
    assert_eq!(
        granted("system/Procedure.rs?code=DV133").await,
        "system/Procedure.rs?code=DV133 system/Procedure.rs?code=DV133&performer=Practitioner%2Fx"
    );
    // The operator may have agreed on what the client itself may not ask.
    let agreed = granted("system/Procedure.rs?performer=Practitioner/x").await;
    assert!(agreed.contains("performer=Practitioner%2Fx"), "{agreed}");
    door.close().await;
}

#[actix_web::test]
async fn files_of_an_export_are_for_a_token_that_covers_what_is_in_them() {
    let (wide, narrow) = (Key::es384("k1"), Key::es384("k1"));
    let second = format!(
        "[[client]]\nid = \"helper\"\nname = \"Hjälpen\"\nhsa_id = \"{ORGANISATION}\"\npurpose = \"care\"\n\
         partner = \"primary-care\"\njwks_file = \"helper.json\"\nscopes = [\"system/Procedure.rs\"]\n"
    );
    let settings = format!("{}{second}", journal(""));
    let door = door(&settings, &[("journal.json", &wide), ("helper.json", &narrow)]).await;
    let token = door.token("journal", &wide, "").await;
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    assert_eq!(door.post("/v1/activities", &headers, activity(1).to_string()).await.status, 202);
    let unit = ("Vardkedja-Unit", NORTH);
    let begun = door.get("/fhir/$export?_type=Encounter,Procedure", &token, &[unit, ("Prefer", "respond-async")]).await;
    assert_eq!(begun.status, 202, "{}", begun.text);
    let job = begun.headers["content-location"].to_str().unwrap().to_owned();
    let files = door.files(&job, &token, NORTH).await;
    let path = |kind: &str| {
        let url = files.iter().find(|file| file["type"] == kind).unwrap()["url"].as_str().unwrap();
        url.strip_prefix(door.url.as_str()).unwrap().to_owned()
    };
    let job = job.strip_prefix(door.url.as_str()).unwrap();
    let others = door.token("helper", &narrow, "").await;
    let less = door.token("journal", &wide, "system/Procedure.rs?code=DV133").await;
    let same = door.token("journal", &wide, "system/Encounter.rs system/Procedure.rs").await;
    for (who, token, of_contacts, of_procedures, manifest) in [
        ("who began it", &token, 200, 200, 200),
        ("another token that covers as much", &same, 200, 200, 200),
        ("another system of the unit", &others, 404, 404, 404),
        ("a token of its own, with less", &less, 403, 403, 403),
    ] {
        for (path, status) in
            [(path("Encounter"), of_contacts), (path("Procedure"), of_procedures), (job.to_owned(), manifest)]
        {
            let reply = door.get(&path, token, &[unit]).await;
            assert_eq!(reply.status, status, "{who}, {path}: {}", reply.text);
        }
    }
    door.close().await;
}

#[actix_web::test]
async fn a_registry_with_codes_reads_the_code_list_and_nothing_that_leads_from_it() {
    let (coder_key, journal_key) = (Key::es384("k1"), Key::es384("k1"));
    let settings = format!("{}{}", journal(""), coder("system/*.rs"));
    let door = door(&settings, &[("coder.json", &coder_key), ("journal.json", &journal_key)]).await;
    let journal = door.token("journal", &journal_key, "").await;
    let bearer = format!("Bearer {journal}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    assert_eq!(door.post("/v1/activities", &headers, activity(1).to_string()).await.status, 202);
    for scope in ["system/Procedure.rs", ""] {
        let token = door.token("coder", &coder_key, scope).await;
        let list = door.get("/fhir/CodeSystem/kva", &token, &[]).await;
        assert_eq!(list.status, 200, "{}", list.text);
        let codes = list.json()["concept"].as_array().unwrap().clone();
        assert!(codes.iter().any(|code| code["code"] == "DV133" && code["display"].is_string()), "word by word");
        for path in ["?url=urn:oid:1.2.752.116.1.3.2.1.4", "/kva/_history", "/kva/_history/1", "/_history"] {
            let reply = door.get(&format!("/fhir/CodeSystem{path}"), &token, &[]).await;
            assert!(reply.status == 200 && reply.text.contains("DV133"), "{path}: {}", reply.text);
        }
        for path in ["Procedure", "Patient", "_history", "Procedure/_history"] {
            assert_eq!(door.get(&format!("/fhir/{path}"), &token, &[]).await.status, 403, "{path}");
        }
    }
    let token = door.token("coder", &coder_key, "").await;
    for path in [
        "/fhir/PlanDefinition?_revinclude=CarePlan:instantiates-canonical",
        "/fhir/PlanDefinition?_has:CarePlan:instantiates-canonical:status=active",
        "/fhir/CodeSystem?_revinclude=Procedure:instantiates-canonical",
        "/fhir/Measure?_revinclude:iterate=Procedure:patient",
    ] {
        let reply = door.get(path, &token, &[]).await;
        let shown = reply.status == 200
            && ["\"CarePlan\"", "\"Procedure\"", "\"Patient\""].iter().any(|t| reply.text.contains(t));
        assert!(!shown, "{path}: {}", reply.text);
    }
    // What goes out in bulk goes out as it stands, is no disclosure, and comes only where it is asked for.
    let begun = door.get("/fhir/$export?_type=CodeSystem,Procedure", &token, &[("Prefer", "respond-async")]).await;
    let job = begun.headers["content-location"].to_str().unwrap().to_owned();
    let files = door.files(&job, &token, "").await;
    let of_list = files.iter().find(|file| file["type"] == "CodeSystem").unwrap()["url"].as_str().unwrap();
    let line = door.get(of_list.strip_prefix(door.url.as_str()).unwrap(), &token, &[]).await;
    assert!(line.status == 200 && line.json()["id"] == "kva" && line.text.contains("display"), "{}", line.text);
    let begun = door.get("/fhir/$export", &token, &[("Prefer", "respond-async")]).await;
    let job = begun.headers["content-location"].to_str().unwrap().to_owned();
    assert!(door.files(&job, &token, "").await.iter().all(|file| file["type"] != "CodeSystem"));
    let db = rusqlite::Connection::open(door.db()).unwrap();
    let given = "SELECT count(*) FROM disclosure d JOIN resource r ON r.rid = d.rid WHERE r.type = 'CodeSystem'";
    assert_eq!(db.query_row(given, [], |row| row.get::<_, u32>(0)).unwrap(), 0);
    door.close().await;
}
