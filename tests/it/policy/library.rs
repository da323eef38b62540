//! A gateway that has what a model has, and callers that show it tokens.

use std::path::PathBuf;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Utc;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use vardkedja::access::{Caller, Reach, write_caller};
use vardkedja::domain::block::{Period, Scope};
use vardkedja::domain::subscription::{Payload, Status};
use vardkedja::domain::{Format, PartyRole, Stage, delivery};
use vardkedja::fhir::search::index;
use vardkedja::store::{
    self, Action, Commit, Committed, Deed, Delivery, Disclosed, Given, Hook, Informed, Lifted, Moved, OptOut, Options,
    Party, Put, Store, SubscriptionChange, SubscriptionOrder,
};

use super::model::{Asker, Block, Exchange, Held, Model, NUMBERS, Purpose, REGISTRIES, Resource, UNITS, provider};
use crate::gateway::TestGateway;
use crate::oauth::{FORM, JWT_BEARER, form};

const US: &str = "SE2321000131-E000000000900";

pub struct Library {
    gateway: TestGateway,
    folder: PathBuf,
    http: reqwest::Client,
    key: EncodingKey,
}

/// What is asked over HTTP.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub method: &'static str,
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Option<String>,
    /// An export: what is in its files is the answer.
    pub is_export: bool,
    /// Of a list without end.
    pub is_one_page: bool,
}

/// All pages of an answer together.
#[derive(Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub pages: Vec<String>,
    /// Addresses of what was written for this caller alone.
    pub own: Vec<String>,
}

impl Library {
    pub async fn open(model: &Model) -> Self {
        let folder = std::env::temp_dir().join(format!("policy-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let store = Store::open(&folder.join("gateway.sqlite"), Options::default()).unwrap();
        fill(&store, model).await;
        store.close();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(48);
        let jwks = json!({ "keys": [{
            "kty": "EC", "crv": "P-384", "alg": "ES384", "kid": "k", "use": "sig",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }] });
        std::fs::write(folder.join("jwks.json"), jwks.to_string()).unwrap();
        let partner =
            |name: &str| format!("[[partner]]\nname = \"{name}\"\nchannel = \"poll\"\njwks_file = \"jwks.json\"\n");
        let mut settings: String = ["platform", "primary-care", "reader", "municipality"].map(partner).concat();
        settings.push_str("[export]\npoll_s = 1\nkept_per_client = 1000\nopen_per_client = 100\n");
        let client = |id: &str, more: &str| {
            format!(
                "[[client]]\nid = \"{id}\"\nname = \"x\"\nhsa_id = \"SE2321000131-E000000000001\"\n\
                 jwks_file = \"jwks.json\"\n{more}\n"
            )
        };
        settings.push_str(&client("operations", "purpose = \"operations\"\nscopes = [\"system/*.cruds\"]"));
        for (name, needs_information) in REGISTRIES {
            settings.push_str(&format!(
                "[[registry]]\nname = \"{name}\"\nhsa_id = \"SE2321000131-E000000000777\"\nidentity = \"personnummer\"\n\
                 agreement = \"Avtal 1\"\nneeds_information = {needs_information}\n"
            ));
            let more = format!("purpose = \"registry\"\nregistry = \"{name}\"\nscopes = [\"system/*.rs\"]");
            settings.push_str(&client(name, &more));
        }
        let gateway = TestGateway::start_in(&folder, &settings).await;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let library = Self { gateway, folder, http, key: EncodingKey::from_ec_der(pkcs8.as_ref()) };
        library.subscribers_know(model).await;
        library
    }

    /// Waits until everything that was committed is an event of whom it concerns.
    async fn subscribers_know(&self, model: &Model) {
        for (name, partner, units) in subscribers() {
            let unit = units.iter().copied().find(|unit| *unit == name);
            let token = self.token_for(&Asker { purpose: Purpose::Care, unit, partner, scopes: None }, None);
            let concerns =
                |r: &&Resource| units.iter().any(|unit| r.units.contains(unit) && !model.is_withheld(r, Some(unit)));
            let count: usize = model.of("Task").filter(concerns).map(|r| r.versions.len()).sum();
            let path = format!("/fhir/Subscription/{}/$status", subscription(name));
            let request = Request { method: "GET", path, ..Request::default() };
            let before = "\"events-since-subscription-start\",\"valueString\":\"";
            let mut known = false;
            for _ in 0..1200 {
                let text = self.ask(&token, &request).await.pages.concat();
                let said = text.split_once(before).and_then(|(_, rest)| rest.split_once('"')?.0.parse::<usize>().ok());
                // What a lifted block shows again is one more event.
                known = said.is_some_and(|said| said >= count);
                if known {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            assert!(known, "{name} does not know of {count}");
        }
    }

    pub async fn close(self) {
        self.gateway.stop().await;
        let _ = std::fs::remove_dir_all(&self.folder);
    }

    /// None where nothing of what it wants is granted.
    pub async fn token(&self, asker: &Asker) -> Option<String> {
        let texts =
            asker.scopes.as_ref().map(|l| l.iter().map(super::model::Scope::text).collect::<Vec<_>>().join(" "));
        if asker.purpose == Purpose::Care {
            return Some(self.token_for(asker, texts.as_deref()));
        }
        let (url, now) = (format!("{}/oauth/token", self.gateway.url), Utc::now().timestamp());
        let claims = json!({
            "iss": asker.name(), "sub": asker.name(), "aud": url, "exp": now + 240, "jti": uuid::Uuid::new_v4().to_string(),
        });
        let header = Header { kid: Some("k".into()), ..Header::new(Algorithm::ES384) };
        let assertion = encode(&header, &claims, &self.key).unwrap();
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", assertion.as_str()),
            ("scope", texts.as_deref().unwrap_or_default()),
        ];
        let fields: Vec<_> = fields.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let request = self.http.post(url).header(FORM.0, FORM.1).body(form(&fields));
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        if status == 400 && text.contains("invalid_scope") {
            return None;
        }
        assert_eq!(status, 200, "{text}");
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        Some(answer["access_token"].as_str().unwrap().to_owned())
    }

    pub fn token_for(&self, asker: &Asker, scope: Option<&str>) -> String {
        let now = Utc::now().timestamp();
        let mut claims = json!({ "iss": asker.partner, "aud": US, "iat": now, "exp": now + 280 });
        if let Some(unit) = asker.unit {
            claims["unit"] = json!(unit);
        }
        if let Some(scope) = scope {
            claims["scope"] = json!(scope);
        }
        let header = Header { kid: Some("k".into()), ..Header::new(Algorithm::ES384) };
        encode(&header, &claims, &self.key).unwrap()
    }

    /// Asks, and follows the links to further pages.
    pub async fn ask(&self, token: &str, request: &Request) -> Answer {
        if request.is_export {
            return self.export(token, &request.path).await;
        }
        let mut answer = Answer::default();
        let mut next = Some(format!("{}{}", self.gateway.url, request.path));
        while let Some(url) = next.take() {
            let method = reqwest::Method::from_bytes(request.method.as_bytes()).unwrap();
            let mut sent = self.http.request(method, url).bearer_auth(token);
            for (name, value) in &request.headers {
                sent = sent.header(*name, value);
            }
            let response = sent.body(request.body.clone().unwrap_or_default()).send().await.unwrap();
            answer.status = response.status().as_u16();
            let text = response.text().await.unwrap();
            let body = serde_json::from_str::<serde_json::Value>(&text);
            if let Some(body) = body.ok().filter(|_| !request.is_one_page) {
                let links = body["link"].as_array().map_or(&[][..], Vec::as_slice);
                next = links.iter().find(|l| l["relation"] == "next").map(|l| l["url"].as_str().unwrap().to_owned());
            }
            answer.pages.push(text);
            assert!(answer.pages.len() < 200, "pages without end: {request:?}");
        }
        answer
    }
}

impl Library {
    async fn get(&self, token: &str, url: &str) -> (u16, String) {
        let response = self.http.get(url).bearer_auth(token).header("Prefer", "respond-async").send().await.unwrap();
        let place = response.headers().get("content-location").map(|place| place.to_str().unwrap().to_owned());
        let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
        (status, place.unwrap_or(text))
    }

    /// Whether the address is there for whoever has the token. To its own client with a token that covers less it says so.
    pub async fn is_there(&self, token: &str, url: &str) -> bool {
        let (status, text) = self.get(token, url).await;
        assert!([200, 403, 404].contains(&status), "{status}: {text}");
        status != 404
    }

    /// Everything that an export writes, file by file.
    async fn export(&self, token: &str, path: &str) -> Answer {
        let (status, place) = self.get(token, &format!("{}{path}", self.gateway.url)).await;
        if status != 202 {
            return Answer { status, pages: vec![place], own: Vec::new() };
        }
        let place = if place.starts_with("http") { place } else { format!("{}{place}", self.gateway.url) };
        for _ in 0..1000 {
            let (status, text) = self.get(token, &place).await;
            if status == 202 || status == 429 {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                continue;
            }
            assert_eq!(status, 200, "{text}");
            let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
            let mut answer = Answer { status, pages: Vec::new(), own: vec![place] };
            for file in manifest["output"].as_array().unwrap() {
                let url = file["url"].as_str().unwrap();
                let (status, text) = self.get(token, url).await;
                assert_eq!(status, 200, "{text}");
                answer.pages.push(text);
                answer.own.push(url.to_owned());
            }
            return answer;
        }
        panic!("an export does not end: {path}")
    }
}

/// Who may have a subscription, with the units it speaks for: each unit, and each partner.
pub fn subscribers() -> Vec<(&'static str, &'static str, Vec<&'static str>)> {
    let mut all: Vec<(&str, &str, Vec<&str>)> =
        UNITS.iter().map(|(unit, partner)| (*unit, *partner, vec![*unit])).collect();
    for partner in ["platform", "primary-care", "reader", "municipality"] {
        let units = UNITS.iter().filter(|(_, of)| *of == partner).map(|(unit, _)| *unit).collect();
        all.push((partner, partner, units));
    }
    all
}

/// The id of its subscription.
pub fn subscription(name: &str) -> uuid::Uuid {
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, name.as_bytes())
}

/// Each wants to be told of every Task; no endpoint was agreed, so that they ask.
fn order(name: &str, partner: &str, units: &[&str]) -> SubscriptionOrder {
    let caller = Caller {
        client: None,
        name: name.into(),
        partner: Some(partner.into()),
        reach: Reach::Units(units.iter().map(|unit| (*unit).to_owned()).collect()),
        purpose: vardkedja::access::Purpose::Care,
        scopes: None,
        grants: None,
    };
    SubscriptionOrder {
        id: subscription(name),
        client: name.into(),
        caller: write_caller(&caller),
        topic: "https://vardkedja.example/fhir/SubscriptionTopic/task-changed".into(),
        asked: json!({ "filters": [], "reason": "test", "contact": null }).to_string(),
        channel: Hook {
            endpoint: "http://127.0.0.1:9/nobody".into(),
            headers: Vec::new(),
            payload: Payload::IdOnly,
            heartbeat_s: None,
            timeout_s: 1,
            max_count: 10,
        },
        status: Status::Requested,
        end_at: None,
        at: Utc::now(),
    }
}

async fn fill(store: &Store, model: &Model) {
    let registries = REGISTRIES.map(|(name, needs)| (name.to_owned(), needs)).to_vec();
    done(store, Commit { deeds: vec![Deed::Registries(registries)], ..Commit::default() }).await;
    for (name, partner, units) in subscribers() {
        let begin = SubscriptionChange::Begin(Box::new(order(name, partner, &units)));
        done(store, Commit { subscriptions: vec![begin], ..Commit::default() }).await;
    }
    let most = model.resources.iter().map(|r| r.versions.len()).max().unwrap_or(0);
    for version in 1..=most {
        let has = model.resources.iter().filter(|r| r.versions.len() >= version);
        let put = has.map(|r| put(r, version)).collect();
        done(store, Commit { put, ..Commit::default() }).await;
    }
    let got: Vec<String> = model.got.borrow().iter().map(|(_, name)| name.clone()).collect();
    let disclosed = Disclosed { registry: "named".into(), what: Given::Names(got), key: None, at: Utc::now() };
    done(store, Commit { deeds: vec![Deed::Disclosed(disclosed)], ..Commit::default() }).await;
    for (n, exchange) in model.exchanges.iter().enumerate() {
        register(store, model.blocks.iter().filter(|block| block.after == n)).await;
        join(store, model, n).await;
        let exchanges = vec![row(exchange)];
        done(store, Commit { exchanges, deliveries: vec![delivery(exchange)], ..Commit::default() }).await;
    }
    let moved = |held: &Held| Moved { patient: held.patient.replace("Patient/", ""), step: held.step.clone() };
    done(store, Commit { charges: model.held.iter().map(moved).collect(), ..Commit::default() }).await;
    register(store, model.blocks.iter().filter(|block| block.after == model.exchanges.len())).await;
    for block in model.blocks.iter().filter(|block| block.is_lifted) {
        let lifted = Some(Lifted { at: Utc::now(), by: NURSE.into() });
        let blocks = vec![store::Block { lifted, ..stored(block) }];
        done(store, Commit { blocks, ..Commit::default() }).await;
    }
    let mut deeds = Vec::new();
    for (registry, patient) in &model.objections {
        deeds.push(Deed::OptOut(OptOut {
            id: uuid::Uuid::now_v7(),
            registry: (*registry).into(),
            patient: None,
            system: PNR.into(),
            value: number_of(patient),
            unit: UNITS[0].0.into(),
            objected_at: Utc::now(),
            registered_at: Utc::now(),
            registered_by: NURSE.into(),
            lifted_at: None,
            lifted_by: None,
        }));
    }
    for patient in &model.informed {
        deeds.push(Deed::Informed(Informed {
            registry: store::EVERY.into(),
            patient: None,
            system: PNR.into(),
            value: number_of(patient),
            unit: UNITS[0].0.into(),
            informed_at: Utc::now(),
            recorded_at: Utc::now(),
        }));
    }
    done(store, Commit { deeds, ..Commit::default() }).await;
}

const PNR: &str = "http://electronichealth.se/identifier/personnummer";
const NURSE: &str = "SE2321000131-P000000000011";

fn number_of(patient: &str) -> String {
    NUMBERS[patient.rsplit('/').next().unwrap().parse::<usize>().unwrap()].to_owned()
}

/// The link of the worlds that have one.
pub const LINK: uuid::Uuid = uuid::Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);

/// Two Patients are one person, once so many exchanges have come.
async fn join(store: &Store, model: &Model, after: usize) {
    let Some((old, new, _)) = model.link.filter(|(_, _, at)| *at == after) else { return };
    let link = store::Link {
        id: LINK,
        old: old.into(),
        new: new.into(),
        unit: UNITS[0].0.into(),
        made_at: Utc::now(),
        made_by: NURSE.into(),
        reason: "x".into(),
        undone: None,
    };
    done(store, Commit { links: vec![link], ..Commit::default() }).await;
}

async fn register(store: &Store, blocks: impl Iterator<Item = &Block>) {
    let blocks: Vec<store::Block> = blocks.map(stored).collect();
    done(store, Commit { blocks, ..Commit::default() }).await;
}

fn stored(block: &Block) -> store::Block {
    let (unit, provider) = (block.unit.to_owned(), provider(block.unit).to_owned());
    store::Block {
        id: block.id,
        patient: block.patient.replace("Patient/", ""),
        scope: if block.is_inner { Scope::Inner { unit, provider } } else { Scope::Outer { provider } },
        period: Period::default(),
        registered_at: Utc::now() - chrono::TimeDelta::hours(1),
        registered_by: NURSE.into(),
        lifted: None,
    }
}

async fn done(store: &Store, commit: Commit) {
    assert!(matches!(store.commit(commit).await.unwrap(), Committed::Done { .. }));
}

fn put(resource: &Resource, version: usize) -> Put {
    let body = resource.body(version);
    Put {
        resource_type: resource.kind.into(),
        id: resource.id.clone(),
        version: u32::try_from(version).unwrap(),
        body: body.to_string().into_bytes(),
        patient: resource.versions[version - 1].patient.as_ref().map(|p| p.replace("Patient/", "")),
        units: resource.units.iter().map(|unit| (*unit).to_owned()).collect(),
        index: index(&body),
        exchange: None,
    }
}

fn row(exchange: &Exchange) -> store::Exchange {
    let partner = |unit: &str| UNITS.iter().find(|(u, _)| *u == unit).unwrap().1.to_owned();
    let party = |unit: &str, role| Party {
        unit: unit.into(),
        partner: partner(unit),
        role,
        task: None,
        status: None,
        // Something is waited for in each, whoever reads what.
        stage: if role == PartyRole::Sender { Stage::Recorded } else { Stage::Parked },
    };
    let mut parties = vec![party(exchange.sender, PartyRole::Sender)];
    parties.extend(exchange.recipients.iter().map(|unit| party(unit, PartyRole::Recipient)));
    store::Exchange {
        id: exchange.id,
        revision: 0,
        kind: exchange.kind,
        format: Format::Json,
        organisation: provider(exchange.sender).into(),
        document: exchange.id.to_string(),
        version: 1,
        entered_in_error: false,
        patient: Some(exchange.patient.replace("Patient/", "")),
        stage: Stage::Parked,
        created_at: Utc::now(),
        updated_at: Utc::now(),
        parties,
        resources: exchange.resources.clone(),
    }
}

/// One that waits for ever, so that nothing is sent.
fn delivery(exchange: &Exchange) -> Delivery {
    Delivery {
        id: exchange.delivery,
        exchange: exchange.id,
        document_version: 1,
        partner: "reader".into(),
        unit: exchange.sender.into(),
        patient: exchange.patient.replace("Patient/", ""),
        action: Action::Transaction,
        body: b"{}".to_vec(),
        state: delivery::State::Waiting,
        attempts: 0,
        seq: 0,
        created_at: Utc::now(),
        first_attempt_at: None,
        due_at: Utc::now() + chrono::TimeDelta::days(9),
        begun_at: None,
        note: None,
        urgent: false,
        resend_of: None,
        held: false,
    }
}
