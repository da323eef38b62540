//! The journal: which requests came and how they were answered; and the refusal of a personnummer in a URL.
//!
//! Tests count deliveries here. The refusal stands here because the journal must not keep such a URL either.

use std::collections::VecDeque;
use std::sync::Mutex;

use actix_web::HttpMessage;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::web::{self, Data};
use actix_web::{Error, ResponseError};
use chrono::{NaiveDate, Utc};
use serde_json::{Value, json};

use super::answer::Answer;
use super::faults::Struck;
use super::records::instant;
use super::refusal::Refusal;
use super::{Receiver, locked};
use crate::fhir::issue::{Code, Issue};

/// How many requests are remembered.
const LENGTH: usize = 500;

#[derive(Default)]
pub struct Journal(Mutex<VecDeque<Value>>);

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/journal", web::get().to(journal));
}

async fn journal(receiver: Data<Receiver>) -> Answer {
    Answer::ok(locked(&receiver.journal.0).iter().cloned().collect())
}

/// Middleware around everything: one line a request, except for requests about the journal and the faults.
pub async fn record(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let path = request.path().to_owned();
    let receiver = request.app_data::<Data<Receiver>>().cloned();
    let at = instant(Utc::now().timestamp_millis());
    let (method, address) = (request.method().to_string(), request.uri().to_string());
    let forbidden = names_a_person(&address);
    let response = if forbidden {
        request.into_response(url_refusal().error_response()).map_into_right_body()
    } else {
        next.call(request).await?.map_into_left_body()
    };
    if let Some(receiver) = receiver.filter(|_| path != "/journal" && path != "/faults") {
        let path = if forbidden { "/…" } else { path.as_str() };
        let mut line = json!({ "at": at, "method": method, "path": path, "status": response.status().as_u16() });
        if let Some(Struck(fault)) = response.request().extensions().get() {
            line["fault"] = json!(fault);
        }
        let mut lines = locked(&receiver.journal.0);
        lines.push_back(line);
        if lines.len() > LENGTH {
            lines.pop_front();
        }
    }
    Ok::<ServiceResponse<EitherBody<_>>, Error>(response)
}

fn url_refusal() -> Refusal {
    let (sv, en) = (
        "Ett personnummer får inte stå i en adress; sök med POST _search.",
        "A personnummer must not stand in a URL; search with POST _search.",
    );
    Refusal::new(StatusCode::BAD_REQUEST, Issue::error(Code::Forbidden, "", sv, en))
}

/// Whether a URL contains a personnummer or samordningsnummer, in any of its forms.
fn names_a_person(url: &str) -> bool {
    let plain = decoded(url);
    plain.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '+').any(|word| {
        let digits: String = word.chars().filter(char::is_ascii_digit).collect();
        let separators = word.len() - digits.len();
        let separated = digits.len().checked_sub(4).and_then(|i| word.get(i..=i)).is_some_and(|c| "-+".contains(c));
        (separators == 0 || (separators == 1 && separated)) && is_personal(&digits)
    })
}

/// `YYYYMMDDNNNC` or `YYMMDDNNNC`: a date (the day + 60 in a samordningsnummer) and a check digit that agree.
fn is_personal(digits: &str) -> bool {
    let short = match digits.len() {
        10 => digits,
        12 if ["18", "19", "20"].iter().any(|c| digits.starts_with(c)) => digits.get(2..).unwrap_or_default(),
        _ => return false,
    };
    let number = |range: std::ops::Range<usize>| short.get(range).and_then(|d| d.parse::<u32>().ok()).unwrap_or(0);
    let day = number(4..6);
    let day = if day > 60 { day - 60 } else { day };
    // The year 2000 has every date; which century is meant does not matter here.
    let dated = NaiveDate::from_ymd_opt(2000, number(2..4), day).is_some();
    let sum: u32 = short
        .chars()
        .filter_map(|c| c.to_digit(10))
        .enumerate()
        .map(|(i, d)| if i % 2 == 0 { d * 2 / 10 + d * 2 % 10 } else { d })
        .sum();
    dated && sum.is_multiple_of(10)
}

/// The URL with its percent signs undone.
fn decoded(url: &str) -> String {
    let mut plain = String::new();
    let mut rest = url;
    while let Some((before, after)) = rest.split_once('%') {
        plain.push_str(before);
        let code = after.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        plain.push(code.map_or('%', char::from));
        rest = if code.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_personnummer_is_seen_in_every_form() {
        for url in [
            "/fhir/Patient?identifier=195009072553",
            "/fhir/Patient?identifier=http%3A%2F%2Fx%2Fpnr%7C19500907-2553",
            "/fhir/Patient?identifier=x|5009072553,y",
            "/fhir/Patient?identifier=196109732393",
            "/fhir/Patient/18900202%2B9800",
            "/fhir/Patient?identifier=%31950090%372553",
        ] {
            assert!(names_a_person(url), "{url}");
        }
    }

    #[test]
    fn other_numbers_are_left_alone() {
        for url in [
            "/fhir/Patient?identifier=195009072554",
            "/fhir/Organization?identifier=urn:oid:1.2.752.29.4.19|SE2321000131-E000000000101",
            "/fhir/Organization?identifier=2321000131",
            "/fhir/Task/19500907-2553-4a1b-8c3d-195009072553",
            "/fhir/Task?_lastUpdated=ge2026-01-01T10:00:00.000Z",
        ] {
            assert!(!names_a_person(url), "{url}");
        }
    }
}
