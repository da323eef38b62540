//! Promise 7: no personnummer, name or free text in any log, metric, URL that we make, or error text.
//!
//! A whole journey is played against the real program at its most talkative, with everything that goes over the wire kept;
//! then whatever must not name a person is searched for every number, name and text that the documents had, in every
//! writing.

use std::collections::BTreeSet;

use serde_json::Value;
use vardkedja::demo::{Journey, Places, Teller};

use crate::program::{Program, Wire};
use crate::world::{ONCOLOGY, World};

/// The persons of the documents.
const NUMBERS: [&str; 6] =
    ["191212121212", "195009072553", "196101182803", "189002029800", "196109732393", "197010632391"];
/// Elements whose text is free, a name, an address or a number to call.
const PERSONAL: [&str; 24] = [
    "personnummer",
    "samordningsnummer",
    "reservnummer",
    "name",
    "phone",
    "email",
    "address",
    "line",
    "city",
    "question",
    "clinicalInformation",
    "text",
    "situation",
    "background",
    "assessment",
    "recommendation",
    "comment",
    "note",
    "description",
    "reason",
    "family",
    "given",
    "value",
    "relation",
];

fn settings(clinic: &str) -> String {
    let poll = ["platform", "reader", "municipality"];
    let poll: String =
        poll.iter().map(|name| format!("[[partner]]\nname = \"{name}\"\nchannel = \"poll\"\n")).collect();
    format!(
        "[delivery]\nretry_s = [1]\npoll_s = 1\n[telemetry]\nlog = \"debug,vardkedja=trace\"\n\
         [[partner]]\nname = \"primary-care\"\nchannel = \"push\"\nfhir_base = \"{clinic}/fhir\"\n{poll}"
    )
}

/// Everything in the shipped documents that tells of a person.
fn words() -> BTreeSet<String> {
    let mut words: BTreeSet<String> = ["tolvan", "tolvansson", "98240301aa06"].map(str::to_owned).into();
    for number in NUMBERS {
        let (century, short) = number.split_at(2);
        let (day, last) = short.split_at(6);
        for separator in ["", "-", "+"] {
            words.insert(format!("{day}{separator}{last}"));
            words.insert(format!("{century}{day}{separator}{last}"));
        }
    }
    for (_, document) in documents() {
        collect(&document, "", &mut words);
    }
    words
}

/// The example documents in JSON, with the path each is sent to.
fn documents() -> Vec<(&'static str, Value)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings/examples");
    let mut documents = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let kinds = [
            ("rehab-plan", "/v1/rehab-plans"),
            ("referral", "/v1/referrals"),
            ("handover", "/v1/handovers"),
            ("activity", "/v1/activities"),
        ];
        let Some((_, path)) = kinds.iter().find(|(kind, _)| name.starts_with(kind)) else { continue };
        if name.ends_with(".source.json") {
            documents.push((*path, serde_json::from_slice(&std::fs::read(entry.path()).unwrap()).unwrap()));
        }
    }
    assert!(documents.len() >= 12);
    documents
}

fn collect(value: &Value, name: &str, words: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, field)| collect(field, name, words)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, name, words)),
        // A short code is not a text; a sentence or a name of two words is.
        Value::String(text) if PERSONAL.contains(&name) && text.len() > 7 && text.contains(' ') => {
            words.insert(plain(text));
        }
        Value::String(text) if text.len() >= 10 && text.bytes().all(|b| b.is_ascii_digit() || b"-+".contains(&b)) => {
            let is_date = text.len() == 10 && text.matches('-').count() == 2;
            // The number of an organisation, which HSA-ids are made of, names nobody.
            let is_organisation = text.len() == 10 && text.starts_with("2");
            if !is_date && !is_organisation {
                words.insert(plain(text));
            }
        }
        _ => {}
    }
}

/// As it would be searched: percent signs and JSON's escapes undone, in small letters.
fn plain(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = || std::str::from_utf8(after.get(..2)?).ok().and_then(|h| u8::from_str_radix(h, 16).ok());
        match (first, hex()) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (b'\\', _) => rest = after,
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).to_lowercase()
}

/// The lines of `text` that name somebody.
fn naming(what: &str, text: &str, words: &BTreeSet<String>, found: &mut Vec<String>) {
    for line in text.lines() {
        let plain = plain(line);
        if let Some(word) = words.iter().find(|w| plain.contains(w.as_str())) {
            found.push(format!("{what}: {word:?} in {line}"));
        }
    }
}

/// The addresses of requests in what went over a wire.
fn addresses(wire: &str) -> String {
    let requests = wire.split(" HTTP/1.1\r\n");
    requests.filter_map(|before| before.rsplit(|c: char| c.is_whitespace()).next()).collect::<Vec<_>>().join("\n")
}

/// The addresses that stand in answers: Location, and links in bodies.
fn links(wire: &str, base: &str) -> String {
    let headers = wire
        .lines()
        .filter(|l| l.to_lowercase().starts_with("location:") || l.to_lowercase().starts_with("content-location:"));
    let urls =
        wire.split('"').filter(|part| part.starts_with(base) || part.starts_with("/v1/") || part.starts_with("/fhir/"));
    headers.chain(urls).collect::<Vec<_>>().join("\n")
}

/// One request after another that is refused, with personal data wherever a caller can put it; the answers.
async fn provoke(url: &str) -> String {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let number = "195009072553";
    let mut answers = String::new();
    let mut ask = async |method: &str, path: &str, headers: &[(&str, &str)], body: String| {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = client.request(method, format!("{url}{path}")).header("Vardkedja-Unit", ONCOLOGY);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.body(body).send().await.unwrap();
        let status = response.status().as_u16();
        for (name, value) in response.headers() {
            answers.push_str(&format!("{name}: {}\n", value.to_str().unwrap_or_default()));
        }
        let text = response.text().await.unwrap();
        // What was accepted or asked for may hold the document; what was refused may not.
        if status >= 400 {
            answers.push_str(&text);
            answers.push('\n');
        }
        status
    };
    for path in [
        "/fhir/Patient?identifier=http%3A%2F%2Felectronichealth.se%2Fidentifier%2Fpersonnummer|195009072553",
        "/fhir/Patient?195009072553=1",
        "/fhir/Patient/195009072553",
        "/fhir/Patient/19500907-2553/_history/1",
        "/fhir/Tolvan%20Tolvansson",
        "/fhir/Task?_count=195009072553",
        "/fhir/Task?status=Tolvan%20Tolvansson",
        "/v1/exchanges?patient=195009072553",
        "/v1/exchanges?stage=195009072553",
        "/v1/exchanges/195009072553",
        "/v1/deliveries?state=Tolvan%20Tolvansson",
        "/v1/deliveries?partner=Tolvan%20Tolvansson&limit=195009072553",
        "/v1/status?Tolvan%20Tolvansson",
        "/195009072553/Tolvan%20Tolvansson",
        "/metrics/19500907-2553",
    ] {
        for method in ["GET", "POST", "DELETE", "PUT", "PATCH"] {
            ask(method, path, &[], String::new()).await;
        }
    }
    for headers in [
        [("Vardkedja-Unit", number), ("Content-Type", "application/json")],
        [("Authorization", "Bearer 195009072553"), ("Content-Type", "application/json")],
        [("Idempotency-Key", "Tolvan Tolvansson"), ("Content-Type", "195009072553/Tolvan Tolvansson")],
        [("X-Request-Id", "195009072553"), ("traceparent", "00-195009072553-Tolvan-01")],
        [("If-Match", "W/\"195009072553\""), ("X-Request-Id", "19500907-2553")],
    ] {
        for path in ["/v1/referrals", "/v1/exchanges/search", "/fhir/Task/_search", "/fhir/Procedure"] {
            ask("POST", path, &headers, format!("{{\"personnummer\": \"{number}\", \"Tolvan Tolvansson\": ")).await;
        }
    }
    // Every document with each of its values, in turn, replaced by a person.
    let mut refused = 0;
    for (path, document) in documents().into_iter().step_by(2) {
        for pointer in pointers(&document, String::new()) {
            for person in [Value::from("Tolvan Tolvansson 19500907-2553"), Value::from(195_009_072_553_u64)] {
                let mut changed = document.clone();
                *changed.pointer_mut(&pointer).unwrap() = person;
                // An id of its own would be refused as known with other content: that is another refusal, and told too.
                let status = ask("POST", path, &[("Content-Type", "application/json")], changed.to_string()).await;
                refused += u32::from(status >= 400);
            }
        }
    }
    assert!(refused > 100, "only {refused} refusals");
    answers
}

/// The places of all values that are no objects and no lists.
fn pointers(value: &Value, at: String) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            fields.iter().flat_map(|(name, field)| pointers(field, format!("{at}/{name}"))).collect()
        }
        Value::Array(items) => {
            items.iter().enumerate().flat_map(|(i, item)| pointers(item, format!("{at}/{i}"))).collect()
        }
        _ => vec![at],
    }
}

#[actix_web::test]
async fn no_log_line_metric_url_or_error_text_of_a_whole_journey_names_a_person() {
    let world = World::open_clinic_only().await;
    let to_clinic = Wire::to(&world.clinic).await;
    let program = Program::start(&world.folder, &settings(&to_clinic.url), &[("RUST_BACKTRACE", "1")]);
    let to_gateway = Wire::to(&program.url).await;
    let places = Places { gateway: to_gateway.url.clone(), clinic: format!("{}/fhir", world.clinic) };
    let mut teller = Teller::quiet();
    Journey::new(places, true, &mut teller).unwrap().play().await.unwrap();
    for (path, document) in documents() {
        world
            .ask(
                "POST",
                &format!("{}{path}", to_gateway.url),
                &[("Content-Type", "application/json")],
                Some(document.to_string()),
            )
            .await;
    }
    for path in [
        "/fhir/Patient",
        "/fhir/Task?_count=2",
        "/v1/exchanges?limit=3",
        "/v1/deliveries?state=delivered",
        "/fhir/metadata",
    ] {
        world.ask("GET", &format!("{}{path}", to_gateway.url), &[], None).await;
    }
    let answers = provoke(&program.url).await;
    let metrics = world.ask("GET", &format!("{}/metrics", program.url), &[], None).await.text;
    let status = world.ask("GET", &format!("{}/v1/status", program.url), &[], None).await.text;
    let url = program.url.clone();
    let log = program.stop().await;
    let (called, made) = (addresses(&to_clinic.there()), links(&to_gateway.back(), &url));
    // The scan is worth something only where there is something to scan.
    assert!(log.lines().count() > 500 && log.contains("\"DEBUG\""), "{} lines", log.lines().count());
    assert!(
        metrics.lines().count() > 100
            && called.lines().count() > 20
            && made.lines().count() > 20
            && answers.len() > 10_000
    );
    let words = words();
    assert!(words.len() > 50, "{words:?}");
    assert!(plain(&to_clinic.there()).contains("tolvansson"), "the documents themselves do arrive");
    let mut found = Vec::new();
    for (what, text) in [
        ("log", &log),
        ("metric", &metrics),
        ("status", &status),
        ("called", &called),
        ("link", &made),
        ("error", &answers),
    ] {
        naming(what, text, &words, &mut found);
    }
    found.dedup();
    assert!(found.is_empty(), "{} lines name somebody:\n{}", found.len(), found[..found.len().min(20)].join("\n"));
    world.close().await;
}
