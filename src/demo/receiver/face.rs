//! FHIR over HTTP: requests become interactions, outcomes become answers.

use actix_web::http::{StatusCode, header};
use actix_web::web::{self, Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;
use serde_json::json;

use super::answer::{Answer, Links};
use super::interaction::{Entry, Target, Verb, entries, target, version_of};
use super::refusal::Refusal;
use super::transaction::perform;
use super::{Receiver, capability, check, locked, search};
use crate::fhir::issue::{Code, Issue, any_error};

const JSON: &[&str] = &["application/fhir+json", "application/json"];
const JSON_PATCH: &[&str] = &["application/json-patch+json"];

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/fhir/metadata", web::get().to(metadata))
        .route("/fhir", web::post().to(transaction))
        .route("/fhir/", web::post().to(transaction))
        .route("/fhir/{kind}/_search", web::post().to(search_by_form))
        .route("/fhir/{url:.+}", web::to(interaction));
}

pub async fn nothing_here() -> Result<HttpResponse, Refusal> {
    Err(Refusal::missing(""))
}

async fn metadata(request: HttpRequest, receiver: Data<Receiver>) -> Answer {
    Answer::ok(capability::statement(&receiver, &base(&request)))
}

async fn transaction(request: HttpRequest, receiver: Data<Receiver>, body: Bytes) -> Result<Answer, Refusal> {
    let bundle = resource_of(&request, &body, "Bundle")?;
    let entries = entries(&bundle)?;
    let base = base(&request);
    blocking(move || {
        let kinds: Vec<String> = entries.iter().map(|e| e.kind.clone()).collect();
        let outcomes = receiver.change(|desk| perform(desk, entries, |kind| receiver.creates_by_id(kind)))?;
        let links = Links { receiver: &receiver, base: &base };
        let list: Vec<Value> = kinds.iter().zip(outcomes).map(|(kind, o)| links.entry(kind, o)).collect();
        let mut bundle = json!({ "resourceType": "Bundle", "type": "transaction-response" });
        if !list.is_empty() {
            bundle["entry"] = Value::Array(list);
        }
        Ok(Answer::ok(bundle))
    })
    .await
}

/// One interaction by itself.
async fn interaction(
    request: HttpRequest,
    receiver: Data<Receiver>,
    url: web::Path<String>,
    body: Bytes,
) -> Result<Answer, Refusal> {
    let query = request.query_string();
    let url = if query.is_empty() { url.into_inner() } else { format!("{url}?{query}") };
    let (kind, target) = target(&url).ok_or_else(|| Refusal::missing(""))?;
    let verb = Verb::parse(request.method().as_str()).ok_or_else(|| Refusal::method(""))?;
    let body = match verb {
        Verb::Post | Verb::Put => resource_of(&request, &body, &kind)?,
        Verb::Patch => json_of(&request, &body, JSON_PATCH)?,
        Verb::Get | Verb::Delete => Value::Null,
    };
    let if_match = heading(&request, "If-Match").map(|etag| version_of(&etag, "")).transpose()?;
    let if_none_exist = heading(&request, "If-None-Exist");
    let base = base(&request);
    blocking(move || {
        let links = Links { receiver: &receiver, base: &base };
        if let (Verb::Get, Target::Kind(Some(query))) = (verb, &target)
            && let Some(token) = query.strip_prefix("_page=")
        {
            return page(&links, &kind, token);
        }
        let at = kind.clone();
        let entry = Entry { at, full_url: None, verb, kind: kind.clone(), target, if_match, if_none_exist, body };
        let outcomes = receiver.change(|desk| perform(desk, vec![entry], |kind| receiver.creates_by_id(kind)))?;
        outcomes.into_iter().next().map(|o| links.alone(verb, &kind, o)).ok_or_else(Refusal::fault)
    })
    .await
}

/// `POST {kind}/_search`: where a search carries what must not stand in a URL.
async fn search_by_form(
    request: HttpRequest,
    receiver: Data<Receiver>,
    kind: web::Path<String>,
    form: Result<web::Form<Vec<(String, String)>>, actix_web::Error>,
) -> Result<Answer, Refusal> {
    let Some((kind, Target::Kind(None))) = target(&kind) else { return Err(Refusal::missing("")) };
    let unreadable = |_| Refusal::malformed("", "Sökningen ska vara ett formulär.", "The search must be a form.");
    let pairs = form.map_err(unreadable)?.into_inner();
    let base = base(&request);
    blocking(move || {
        let query = search::parse(&kind, &pairs).map_err(Refusal::query)?;
        let found = receiver.change(|desk| search::find(desk, &kind, &query))?;
        Ok(Answer::ok(Links { receiver: &receiver, base: &base }.searchset(&kind, pairs, found)))
    })
    .await
}

/// Goes on with an earlier search.
fn page(links: &Links<'_>, kind: &str, token: &str) -> Result<Answer, Refusal> {
    let page = locked(&links.receiver.pages).turn(kind, token).ok_or_else(|| Refusal::gone(""))?;
    let mut query = search::parse(kind, &page.pairs).map_err(Refusal::query)?;
    query.after = Some(page.after);
    let found = links.receiver.change(|desk| search::find(desk, kind, &query))?;
    Ok(Answer::ok(links.searchset(kind, page.pairs, found)))
}

/// SQLite blocks, so it works on a thread where that is allowed.
pub async fn blocking(work: impl FnOnce() -> Result<Answer, Refusal> + Send + 'static) -> Result<Answer, Refusal> {
    web::block(work).await.unwrap_or_else(|_| Err(Refusal::fault()))
}

/// The base under which the caller knows the server.
fn base(request: &HttpRequest) -> String {
    let connection = request.connection_info();
    format!("{}://{}/fhir", connection.scheme(), connection.host())
}

fn heading(request: &HttpRequest, name: &str) -> Option<String> {
    request.headers().get(name)?.to_str().ok().map(str::to_owned)
}

fn json_of(request: &HttpRequest, body: &[u8], media_types: &[&str]) -> Result<Value, Refusal> {
    let media_type = heading(request, header::CONTENT_TYPE.as_str()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !media_types.contains(&media_type.as_str()) {
        let (sv, en) = ("Content-Type stöds inte; sänd JSON.", "Content-Type is not supported; send JSON.");
        let issue = Issue::error(Code::NotSupported, "", sv, en);
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, issue));
    }
    serde_json::from_slice(body).map_err(|e| Refusal::unreadable(&e))
}

/// The body as a resource of the type that the address names, its structure checked.
fn resource_of(request: &HttpRequest, body: &[u8], kind: &str) -> Result<Value, Refusal> {
    let resource = json_of(request, body, JSON)?;
    if check::kind_of(&resource) != Some(kind) {
        let (sv, en) = ("Resursens typ ska vara adressens.", "The resource's type must be that of the address.");
        return Err(Refusal::malformed("resourceType", sv, en));
    }
    let issues = check::check(&resource, kind);
    if any_error(&issues) { Err(Refusal::unprocessable(issues)) } else { Ok(resource) }
}
