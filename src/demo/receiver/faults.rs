//! Misbehaviour on demand: what a partner's system does on a bad day, for the next requests or for some of them.

use std::sync::Mutex;
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody, to_bytes};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web::{self, Bytes, Data};
use actix_web::{Error, HttpMessage, HttpResponse, ResponseError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::Answer;
use super::refusal::Refusal;
use super::{Receiver, locked};
use crate::fhir::issue::{Code, Issue, outcome};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Misbehaviour {
    /// 500 without effect.
    Error,
    /// 401 without effect, whatever was shown.
    Unauthorized,
    /// 429 with `Retry-After`, without effect.
    Busy,
    /// The request takes effect, then the connection drops.
    LostAnswer,
    /// The request waits for `milliseconds` and is then done as usual, if whoever sent it still waits.
    Hang,
    /// The request takes effect at once, and the answer waits for `milliseconds`.
    Late,
    /// 200 with a web page, as from a proxy; without effect.
    Html,
    /// 200 with an OperationOutcome of errors; without effect.
    Outcome,
    /// 200 without a body or effect.
    Empty,
    /// The request takes effect, and half of the answer comes.
    Truncated,
    /// The connection drops before anything happened.
    Reset,
    /// 200 with bytes that are nothing; without effect.
    Garbage,
    /// The request takes effect, and the answer says everything twice.
    Repeated,
}

/// One kind of misbehaviour, for the next requests to `/fhir` or with a probability.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    pub kind: Misbehaviour,
    /// How many requests it still strikes; without it, and without a probability, one.
    pub next: Option<u32>,
    /// Strikes each request with this probability, always the same ones for the same seed.
    pub probability: Option<f64>,
    #[serde(default)]
    pub seed: u64,
    /// Strikes only requests with this method.
    pub method: Option<String>,
    pub retry_after_seconds: Option<u32>,
    pub milliseconds: Option<u64>,
}

impl Fault {
    /// A fault that strikes the next `next` requests.
    pub fn next(kind: Misbehaviour, next: u32) -> Self {
        let (retry_after_seconds, milliseconds) = (None, None);
        Self { kind, next: Some(next), probability: None, seed: 0, method: None, retry_after_seconds, milliseconds }
    }
}

/// The faults in force; the first that strikes decides.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<(Fault, fastrand::Rng)>>);

/// Marks a request that a fault struck, for the journal.
pub struct Struck(pub Misbehaviour);

impl Faults {
    pub fn add(&self, mut fault: Fault) {
        if fault.probability.is_none() {
            fault.next.get_or_insert(1);
        }
        let rng = fastrand::Rng::with_seed(fault.seed);
        locked(&self.0).push((fault, rng));
    }

    fn strike(&self, method: &str) -> Option<Fault> {
        let mut faults = locked(&self.0);
        let at = faults.iter_mut().position(|(fault, rng)| {
            fault.method.as_ref().is_none_or(|m| m.eq_ignore_ascii_case(method))
                && fault.next != Some(0)
                && fault.probability.is_none_or(|p| rng.f64() < p)
        })?;
        let (fault, _) = faults.get_mut(at)?;
        fault.next = fault.next.map(|n| n.saturating_sub(1));
        Some(fault.clone())
    }
}

pub fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::resource("/faults").route(web::get().to(show)).route(web::post().to(add)).route(web::delete().to(clear)),
    );
}

async fn show(receiver: Data<Receiver>) -> Answer {
    let faults = locked(&receiver.faults.0);
    Answer::ok(faults.iter().map(|(fault, _)| json!(fault)).collect())
}

async fn add(receiver: Data<Receiver>, body: Bytes) -> Result<Answer, Refusal> {
    let fault: Fault = serde_json::from_slice(&body).map_err(|e| Refusal::unreadable(&e))?;
    receiver.faults.add(fault);
    Ok(show(receiver).await)
}

async fn clear(receiver: Data<Receiver>) -> Answer {
    locked(&receiver.faults.0).clear();
    show(receiver).await
}

/// Middleware: lets a fault strike a request to `/fhir`.
pub async fn strike(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let receiver = request.app_data::<Data<Receiver>>().filter(|_| request.path().starts_with("/fhir"));
    let Some(fault) = receiver.and_then(|r| r.faults.strike(request.method().as_str())) else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    request.extensions_mut().insert(Struck(fault.kind));
    let wait = Duration::from_millis(fault.milliseconds.unwrap_or(1000));
    let instead = match fault.kind {
        Misbehaviour::Hang => {
            tokio::time::sleep(wait).await;
            return Ok(next.call(request).await?.map_into_boxed_body());
        }
        Misbehaviour::Late => {
            let response = next.call(request).await?.map_into_boxed_body();
            tokio::time::sleep(wait).await;
            return Ok(response);
        }
        Misbehaviour::LostAnswer => return Ok(next.call(request).await?.map_body(|_, _| BoxBody::new(Dropped))),
        Misbehaviour::Truncated => {
            let (request, response) = next.call(request).await?.into_parts();
            let (response, body) = response.into_parts();
            let bytes = to_bytes(body).await.unwrap_or_default();
            let half = bytes.slice(..bytes.len() / 2);
            return Ok(ServiceResponse::new(request, response.set_body(BoxBody::new(half))));
        }
        Misbehaviour::Repeated => {
            let (request, response) = next.call(request).await?.into_parts();
            let (response, body) = response.into_parts();
            let bytes = to_bytes(body).await.unwrap_or_default();
            return Ok(ServiceResponse::new(request, response.set_body(BoxBody::new(twice(bytes)))));
        }
        Misbehaviour::Reset => {
            return Ok(request.into_response(HttpResponse::Ok().finish()).map_body(|_, _| BoxBody::new(Dropped)));
        }
        Misbehaviour::Garbage => HttpResponse::Ok().content_type("application/fhir+json").body(GARBAGE),
        Misbehaviour::Error => Refusal::fault().error_response(),
        Misbehaviour::Unauthorized => HttpResponse::Unauthorized().finish(),
        Misbehaviour::Busy => {
            let after = fault.retry_after_seconds.unwrap_or(1).to_string();
            HttpResponse::TooManyRequests().insert_header(("Retry-After", after)).finish()
        }
        Misbehaviour::Html => HttpResponse::Ok().content_type("text/html").body("<html><body>Logga in</body></html>"),
        Misbehaviour::Outcome => {
            let issue = Issue::error(Code::Processing, "", "Kunde inte ta emot.", "Could not receive.");
            Answer::ok(outcome(&[issue])).into_response()
        }
        Misbehaviour::Empty => HttpResponse::Ok().finish(),
    };
    Ok(request.into_response(instead))
}

/// Neither JSON nor text.
const GARBAGE: &[u8] = &[0x00, 0xff, b'{', 0xfe, b'"', 0x80, 0x0a, 0xc3, 0x28];

/// A Bundle with every entry twice; anything else as it is.
fn twice(body: Bytes) -> Bytes {
    let Ok(mut bundle) = serde_json::from_slice::<Value>(&body) else { return body };
    let Some(entries) = bundle.get_mut("entry").and_then(Value::as_array_mut) else { return body };
    *entries = entries.iter().flat_map(|entry| [entry.clone(), entry.clone()]).collect();
    bundle.to_string().into()
}

/// A body that fails at once, which makes the server close the connection before it has sent anything.
struct Dropped;

impl MessageBody for Dropped {
    type Error = std::io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Bytes, Self::Error>>> {
        std::task::Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionAborted.into())))
    }
}
