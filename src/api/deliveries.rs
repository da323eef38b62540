//! The worklist of whoever is on call: deliveries that wait for a person, and answers that could not be applied.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use uuid::Uuid;

use super::body::Body;
use super::caller::Call;
use super::problem::{Answer, Problem, told};
use crate::access::{Operation, Reach};
use crate::domain::delivery::State;
use crate::fhir::guard;
use crate::fhir::issue::{Code, Issue};
use crate::store::{Delivery, DeliveryQuery, Filter};
use crate::sync::weigh::instant;
use crate::sync::{present, refusal, release};

/// `GET /v1/deliveries?state=&partner=&exchange=&limit=&after=`
pub async fn list(call: Call, request: HttpRequest) -> Answer {
    call.may(Operation::SeeDeliveries)?;
    let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string())
        .map_err(|_| Problem::bad_request("", "Frågan kan inte läsas.", "The query cannot be read."))?;
    let limits = &call.gateway.config.limits;
    let mut query =
        DeliveryQuery { limit: limits.page, filter: call.caller.of_deliveries(), ..DeliveryQuery::default() };
    for (name, value) in pairs.into_inner() {
        let wrong = || Problem::bad_request(told(&name), "Värdet kan inte läsas.", "The value cannot be read.");
        match name.as_str() {
            "state" => query.state = Some(State::parse(&value).ok_or_else(wrong)?),
            "partner" => query.partner = Some(value),
            "exchange" => query.exchange = Some(value.parse().map_err(|_| wrong())?),
            "limit" => query.limit = value.parse::<u32>().map_err(|_| wrong())?.clamp(1, limits.page_max),
            "after" => query.after = Some(value.parse().ok().filter(|seq| *seq >= 0).ok_or_else(wrong)?),
            _ => {
                return Err(Problem::bad_request(
                    told(&name),
                    "Okänd parameter; kända: state, partner, exchange, limit, after.",
                    "Unknown parameter; known: state, partner, exchange, limit, after.",
                ));
            }
        }
    }
    let most = query.limit as usize;
    query.limit = query.limit.saturating_add(1); // one more says whether there is a page after this
    let mut found = call.gateway.store.deliveries(&query).await?;
    let is_whole = found.len() <= most;
    found.truncate(most);
    let next = found.last().map(|last| last.seq).filter(|_| !is_whole);
    let shown: Vec<Value> = found.iter().map(present::delivery).collect();
    Ok(HttpResponse::Ok().json(json!({ "deliveries": shown, "next": next })))
}

/// `POST /v1/deliveries/{id}/retry`
pub async fn retry(call: Call, id: web::Path<String>) -> Answer {
    call.may(Operation::SendAgain)?;
    let id = own(&call, &id).await?.id;
    let delivery = release::decide(&call.gateway, id, release::Decision::Retry, &call.caller.name, call.now).await?;
    Ok(HttpResponse::Ok().json(present::delivery(&delivery)))
}

/// `POST /v1/deliveries/{id}/skip { "by": "…", "reason": "…" }`: a named person at the sender decides.
pub async fn skip(call: Call, id: web::Path<String>, body: Body) -> Answer {
    call.may(Operation::Skip)?;
    let value = guard::parse(&body.0, &guard::Limits::DOCUMENT).map_err(refusal::Refusal::Malformed)?;
    let text = |name: &str| value[name].as_str().map(str::trim).filter(|t| !t.is_empty());
    let (Some(by), Some(reason)) = (text("by"), text("reason")) else {
        return Err(Problem::bad_request(
            "by",
            "Ange vem som beslutar och varför: { \"by\": \"…\", \"reason\": \"…\" }.",
            "Say who decides and why: { \"by\": \"…\", \"reason\": \"…\" }.",
        ));
    };
    let delivery = own(&call, &id).await?;
    let id = delivery.id;
    check_sender(&call, delivery.exchange).await?;
    let decision = release::Decision::Skip { by, reason };
    let delivery = release::decide(&call.gateway, id, decision, &call.caller.name, call.now).await?;
    Ok(HttpResponse::Ok().json(present::delivery(&delivery)))
}

/// `GET /v1/partners`: how each partner stands. That a system is down is everybody's business who sends to it; how much waits
/// for it is its own and the operator's.
pub async fn partners(call: Call) -> Answer {
    call.may(Operation::SeeDeliveries)?;
    let whole = |name: &str| call.caller.of_deliveries() == Filter::ALL || call.caller.partner.as_deref() == Some(name);
    let shown = present::partners(&call.gateway, whole, call.now).await?;
    Ok(HttpResponse::Ok().json(json!({ "partners": shown })))
}

/// `GET /v1/answers/held`: what partners said that could not be applied.
pub async fn held(call: Call) -> Answer {
    call.may(Operation::SeeAnswers)?;
    let partner = match call.caller.reach {
        Reach::Everything => None,
        Reach::Units(_) | Reach::Registry(_) => Some(call.caller.partner.clone().unwrap_or_default()),
    };
    let held = call.gateway.store.held_inbound(partner.as_deref(), call.gateway.config.limits.page_max).await?;
    let mut told = Vec::new();
    for said in held {
        // An exchange that a block keeps from the caller is none that it has answered in.
        let is_kept = match said.exchange {
            Some(id) if partner.is_some() => !concerns(&call, id).await?,
            _ => false,
        };
        told.extend((!is_kept).then_some(said));
    }
    let shown: Vec<Value> = told
        .iter()
        .map(|i| json!({ "partner": i.partner, "key": i.key, "exchange": i.exchange.map(|e| e.to_string()), "at": instant(i.at), "finding": i.finding }))
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "answers": shown })))
}

/// What was sent is the sender's to give up: nobody else makes it vanish.
async fn check_sender(call: &Call, exchange: Uuid) -> Result<(), Problem> {
    if call.caller.is_operator() {
        return Ok(());
    }
    let exchange = call.gateway.store.exchange(&call.caller.within_reach(), exchange).await?;
    if exchange.as_ref().and_then(|e| e.sender()).is_some_and(|s| call.caller.may_act_for(&s.unit)) {
        return Ok(());
    }
    Err(refusal::Refusal::Forbidden(Issue::error(
        Code::Forbidden,
        "delivery",
        "Bara den enhet som sände dokumentet kan besluta att det inte ska levereras.",
        "Only the unit that sent the document can decide that it shall not be delivered.",
    ))
    .into())
}

async fn own(call: &Call, id: &str) -> Result<Delivery, Problem> {
    let id: Uuid = id.parse().map_err(|_| refusal::missing("delivery"))?;
    let query = DeliveryQuery { id: Some(id), filter: call.caller.filter(), ..DeliveryQuery::default() };
    let delivery = call.gateway.store.deliveries(&query).await?.into_iter().next();
    match delivery {
        Some(delivery) if concerns(call, delivery.exchange).await? => Ok(delivery),
        _ => Err(refusal::missing("delivery").into()),
    }
}

pub(super) async fn concerns(call: &Call, exchange: Uuid) -> Result<bool, Problem> {
    Ok(call.gateway.store.exchange(&call.caller.of_deliveries(), exchange).await?.is_some())
}
