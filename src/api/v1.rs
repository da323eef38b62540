//! Documents come in: JSON, RIV-TA XML, and activities also as NDJSON with a result for each line.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, LOCATION};
use actix_web::{FromRequest, HttpRequest, HttpResponse, dev, web};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::body::{Body, media_type};
use super::caller::Call;
use super::problem::{Answer, Problem};
use crate::access::Operation;
use crate::domain::audit::{Deed, Event, Outcome};
use crate::domain::{Format, Kind};
use crate::fhir::issue::{Code, Issue};
use crate::sync::{Answered, Refusal, Submission, submit as take_in, witness};
use crate::telemetry::asked;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Above this, mapping and validation take so long (tens of milliseconds for a megabyte) that they go to a thread of
/// their own: the requests that share the worker do not wait for them.
const LARGE_BYTES: usize = 64 * 1024;

/// A document with who sends it and how.
pub struct Sent {
    call: Call,
    body: Body,
    media_type: String,
    key: Option<String>,
}

impl FromRequest for Sent {
    type Error = Problem;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let call = Call::from_request(request, payload);
        let body = Body::from_request(request, payload);
        let media_type = media_type(request);
        let key = request.headers().get(IDEMPOTENCY_KEY).map(|k| k.to_str().map(str::to_owned));
        Box::pin(async move {
            let call = call.await?;
            let most = call.gateway.config.limits.key_bytes;
            let key = match key.transpose() {
                Ok(key) if key.as_ref().is_none_or(|k| !k.is_empty() && k.len() <= most) => key,
                _ => {
                    return Err(Problem::bad_request(
                        "Idempotency-Key",
                        format!("Nyckeln ska vara 1–{most} ASCII-tecken (limits.key_bytes)."),
                        format!("The key has 1–{most} ASCII characters (limits.key_bytes)."),
                    ));
                }
            };
            Ok(Self { call, body: body.await?, media_type, key })
        })
    }
}

/// Takes a document in: 202 with its place and receipt.
pub async fn submit(kind: Kind, sent: Sent) -> Answer {
    sent.call.may(Operation::Submit(kind))?;
    let format = match sent.media_type.as_str() {
        "application/json" | "application/fhir+json" | "" => Format::Json,
        "application/xml" | "text/xml" | "application/soap+xml" => Format::Riv,
        "application/x-ndjson" | "application/ndjson" if kind == Kind::Activity => return lines(sent).await,
        _ => return Err(unsupported(kind)),
    };
    if sent.body.0.len() <= LARGE_BYTES {
        return Ok(respond(sent.take_in(kind, format).await?));
    }
    let (runtime, asked) = (Handle::current(), asked());
    let work = async move {
        match asked {
            // The audit log says where a document came from, whichever thread reads it.
            Some(asked) => asked.scope(sent.take_in(kind, format)).await,
            None => sent.take_in(kind, format).await,
        }
    };
    Ok(respond(web::block(move || runtime.block_on(work)).await??))
}

impl Sent {
    async fn take_in(&self, kind: Kind, format: Format) -> Result<Answered, Refusal> {
        take_in(&self.call.gateway, &self.submission(kind, format, &self.body.0, self.key.as_deref())).await
    }

    fn submission<'a>(&'a self, kind: Kind, format: Format, bytes: &'a [u8], key: Option<&'a str>) -> Submission<'a> {
        Submission { caller: &self.call.caller, kind, format, bytes, key, now: self.call.now }
    }
}

fn respond(answered: Answered) -> HttpResponse {
    let status = StatusCode::from_u16(answered.status).unwrap_or(StatusCode::ACCEPTED);
    let mut response = HttpResponse::build(status);
    if let Some(location) = answered.location {
        response.insert_header((LOCATION, location));
    }
    response.content_type("application/json").body(answered.body)
}

/// One activity a line; a bad line does not hold up the others, and every line has its answer in its place.
async fn lines(sent: Sent) -> Answer {
    let most = sent.call.gateway.config.limits.lines;
    let lines: Vec<&[u8]> = sent.body.0.split(|b| *b == b'\n').filter(|l| !l.trim_ascii().is_empty()).collect();
    if lines.len() > most {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            Issue::error(
                Code::TooLong,
                "",
                format!("{} rader; högst {most} tas emot på en gång (limits.lines).", lines.len()),
                format!("{} lines; at most {most} are taken at once (limits.lines).", lines.len()),
            ),
        ));
    }
    let (mut out, mut refused) = (Vec::new(), Vec::new());
    for (index, line) in lines.into_iter().enumerate() {
        let key = sent.key.as_ref().map(|k| format!("{k}#{}", index + 1));
        let result = match one_line(&sent, line, key.as_deref()).await {
            Ok(answered) => json!({
                "line": index + 1, "status": answered.status, "location": answered.location,
                "receipt": serde_json::from_slice::<Value>(&answered.body).unwrap_or_default(),
            }),
            Err(problem) => {
                refused.push(problem.status().as_u16());
                json!({ "line": index + 1, "status": problem.status().as_u16(), "outcome": problem.outcome() })
            }
        };
        out.extend(result.to_string().bytes());
        out.push(b'\n');
    }
    if !refused.is_empty() {
        let (call, lines) = (&sent.call, refused.len());
        refused.sort_unstable();
        refused.dedup();
        let by = witness::by(&call.gateway.config.directory, &call.caller);
        let event = Event::new(call.now, by, Deed::Refuse, "POST /v1/activities").ended(Outcome::Minor).about([]);
        witness::tell(&call.gateway, event.with("lines", lines).with("statuses", refused)).await?;
    }
    Ok(HttpResponse::Ok().content_type("application/x-ndjson").body(out))
}

async fn one_line(sent: &Sent, line: &[u8], key: Option<&str>) -> Result<Answered, Problem> {
    let most = sent.call.gateway.config.limits.line_bytes;
    if line.len() > most {
        return Err(Problem::too_long("", most, "limits.line_bytes", ("Raden", "The line")));
    }
    Ok(take_in(&sent.call.gateway, &sent.submission(Kind::Activity, Format::Json, line, key)).await?)
}

fn unsupported(kind: Kind) -> Problem {
    let also = if kind == Kind::Activity { ", application/x-ndjson" } else { "" };
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Issue::error(
            Code::NotSupported,
            "Content-Type",
            format!("Tas emot: application/json, application/xml (RIV-TA){also}."),
            format!("Taken: application/json, application/xml (RIV-TA){also}."),
        ),
    )
}
