//! Whoever is refused is in the audit log before the answer leaves: strangers as a number, known callers one by one as long
//! as they are few. What was asked for stands there as its route, and by its id only where there is such a thing.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, web};
use chrono::Utc;
use uuid::Uuid;

use crate::Gateway;
use crate::access::{Caller, Purpose};
use crate::store::Filter;
use crate::sync::refused::{Known, Refused, refused};

/// Remembers beside the request who was let in.
pub fn remember(request: &HttpRequest, caller: &Caller) {
    let purpose = match caller.purpose {
        Purpose::Care => "care",
        Purpose::Registry => "registry",
        Purpose::Operations => "operations",
    };
    let (name, client, partner) = (caller.name.clone(), caller.client.clone(), caller.partner.clone());
    let known = Known { name, client, partner, purpose };
    request.extensions_mut().insert(known);
}

/// Middleware around every route.
pub async fn watch(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let gateway = request.app_data::<web::Data<Gateway>>().cloned();
    let answered = next.call(request).await?;
    let Some(gateway) = gateway else { return Ok(answered) };
    let status = answered.status();
    let is_refusal = matches!(
        status,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY
    );
    let request = answered.request();
    let who = request.extensions().get::<Known>().cloned();
    let pattern = request.match_pattern();
    // What is none of a caller's business is answered as if it were not there: that, too, is a refusal.
    let is_hidden = status == StatusCode::NOT_FOUND && who.is_some() && pattern.is_some();
    if !is_refusal && !is_hidden {
        return Ok(answered);
    }
    let pattern = pattern.unwrap_or_else(|| "none".to_owned());
    let route = format!("{} {pattern}", method(request.method().as_str()));
    let object = match &who {
        Some(_) => meant(&gateway, request).await,
        None => None,
    };
    let of = Refused { who: who.as_ref(), status: status.as_u16(), route: &route, object };
    refused(&gateway, of, Utc::now()).await;
    Ok(answered)
}

/// A method's name, where it is one of the few that we know: what else a caller wrote there is not repeated.
fn method(name: &str) -> &str {
    if matches!(name, "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") { name } else { "other" }
}

/// What the address names, if there is such a thing: otherwise it is whatever the caller wrote.
async fn meant(gateway: &Gateway, request: &HttpRequest) -> Option<String> {
    let path = request.match_info();
    let id = path.get("id").or_else(|| path.get("job"))?;
    if request.match_pattern()?.starts_with("/bulk/") {
        let there = gateway.store.export(Uuid::parse_str(id).ok()?).await.ok()??;
        return Some(format!("export/{}", there.id));
    }
    if request.match_pattern()?.starts_with("/v1/exchanges/") {
        let id = Uuid::parse_str(id).ok()?;
        let there = gateway.store.exchange(&Filter::ALL, id).await.ok()??;
        return Some(format!("exchange/{}", there.id));
    }
    let resource_type = path.get("type")?;
    let there = gateway.store.resource(&Filter::ALL, resource_type, id).await.ok()??;
    Some(format!("{}/{}", there.resource_type, there.id))
}
