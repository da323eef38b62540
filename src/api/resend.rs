//! Sending again on request: what is asked for is read here, and a preview is given unless it is said that it be sent.

use actix_web::HttpResponse;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::body::Body;
use super::caller::Call;
use super::deliveries::concerns;
use super::problem::{Answer, Problem, told};
use crate::access::Operation;
use crate::domain::delivery::State;
use crate::fhir::guard;
use crate::store::Delivery;
use crate::sync::resend::{LeftOut, Plan, Scope, Way, preview, resend};
use crate::sync::{present, refusal};

/// What the body asks for.
struct Wish {
    scope: Scope,
    states: Vec<State>,
    is_preview: bool,
    /// Where the page before ended.
    after: Option<i64>,
}

/// `POST /v1/deliveries/resend { "exchange" | "partner", "from", "to", "states", "preview", "after" }`
pub async fn post(call: Call, body: Body) -> Answer {
    call.may(Operation::SendAgain)?;
    let value = guard::parse(&body.0, &guard::Limits::DOCUMENT).map_err(refusal::Refusal::Malformed)?;
    let wish = wish(&value, call.now)?;
    if let Scope::Exchange(id) = wish.scope
        && !concerns(&call, id).await?
    {
        return Err(refusal::missing("exchange").into());
    }
    let plan = preview(&call.gateway, &call.caller.of_deliveries(), &wish.scope, &wish.states, wish.after).await?;
    let mut shown = Plan { next: plan.next, left_out: plan.left_out, ..Plan::default() };
    for (delivery, way) in plan.sends {
        if wish.is_preview {
            shown.sends.push((delivery, way));
            continue;
        }
        match resend(&call.gateway, delivery.id, &call.caller.name, call.now).await? {
            Ok(sent) => shown.sends.push(sent),
            Err(left_out) => shown.left_out.push(left_out),
        }
    }
    Ok(HttpResponse::Ok().json(answer(&shown, wish.is_preview)))
}

fn answer(plan: &Plan, is_preview: bool) -> Value {
    let sends = |(delivery, way): &(Delivery, Way)| {
        let mut line = present::delivery(delivery);
        line["way"] = json!(way.code());
        line
    };
    let left_out = |(delivery, why): &(Delivery, LeftOut)| {
        let mut line = present::delivery(delivery);
        line["why"] = json!(why.text());
        line
    };
    json!({
        "preview": is_preview,
        "count": plan.sends.len(),
        "sends": plan.sends.iter().map(sends).collect::<Vec<_>>(),
        "leftOut": plan.left_out.iter().map(left_out).collect::<Vec<_>>(),
        "more": plan.next.is_some(),
        "next": plan.next,
    })
}

const KNOWN: [&str; 7] = ["exchange", "partner", "from", "to", "states", "preview", "after"];

fn wish(value: &Value, now: DateTime<Utc>) -> Result<Wish, Problem> {
    let wrong = |name: &str| Problem::bad_request(name, "Värdet kan inte läsas.", "The value cannot be read.");
    let fields = value.as_object().ok_or_else(|| wrong(""))?;
    if let Some(name) = fields.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        let known = KNOWN.join(", ");
        return Err(Problem::bad_request(
            told(name),
            format!("Okänt fält; kända: {known}."),
            format!("Unknown field; known: {known}."),
        ));
    }
    let text = |name: &'static str| match fields.get(name) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or_else(|| wrong(name)),
    };
    let time = |name: &'static str| {
        let read = |text: &str| DateTime::parse_from_rfc3339(text).map(|at| at.to_utc()).map_err(|_| wrong(name));
        text(name)?.map(read).transpose()
    };
    let states = match fields.get("states") {
        None => vec![State::Waiting, State::Parked],
        Some(list) => {
            let read = |v: &Value| v.as_str().and_then(State::parse).filter(|s| *s != State::Skipped);
            let states: Option<Vec<State>> = list.as_array().map(|l| l.iter().map(read).collect()).unwrap_or_default();
            states.filter(|states| !states.is_empty()).ok_or_else(|| {
                Problem::bad_request(
                    "states",
                    "En lista av waiting, parked, delivered; det som hoppats över sänds aldrig.",
                    "A list of waiting, parked, delivered; what was skipped is never sent.",
                )
            })?
        }
    };
    let is_preview = match fields.get("preview") {
        None => true,
        Some(value) => value.as_bool().ok_or_else(|| wrong("preview"))?,
    };
    let after = match fields.get("after") {
        None => None,
        Some(value) => Some(value.as_i64().filter(|seq| *seq >= 0).ok_or_else(|| wrong("after"))?),
    };
    let (from, to) = (time("from")?, time("to")?);
    let scope = match (text("exchange")?, text("partner")?) {
        (Some(id), None) if from.is_none() && to.is_none() => {
            Scope::Exchange(id.parse().map_err(|_| wrong("exchange"))?)
        }
        (None, Some(name)) => {
            if from.is_none() && states.contains(&State::Delivered) {
                return Err(Problem::bad_request(
                    "from",
                    "Det som är levererat till en part sänds igen från en angiven tid.",
                    "What was delivered to a partner is sent again from a time that is given.",
                ));
            }
            Scope::Partner { name: name.to_owned(), from: from.unwrap_or(DateTime::UNIX_EPOCH), to: to.unwrap_or(now) }
        }
        _ => {
            return Err(Problem::bad_request(
                "exchange",
                "Ange exchange, eller partner med from och to.",
                "Give exchange, or partner with from and to.",
            ));
        }
    };
    Ok(Wish { scope, states, is_preview, after })
}
