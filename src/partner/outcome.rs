//! What an HTTP answer means for a delivery. One table for every call to a partner.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use crate::domain::delivery::Outcome;

/// Why an attempt certainly had no effect: nothing was sent.
pub const NO_CONNECTION: &str = "no connection";

/// How a reason begins where there was no token to show the partner: nothing was sent then either.
pub(super) const NO_TOKEN: &str = "no token: ";

/// Whether an attempt that ended for this reason certainly changed nothing at the partner: nothing was sent.
pub fn had_no_effect(reason: Option<&str>) -> bool {
    reason.is_some_and(|reason| reason == NO_CONNECTION || reason.starts_with(NO_TOKEN))
}

/// A 2xx without a body: done, or not.
pub const NOTHING_SAID: &str = "the answer says nothing";

/// What was asked of the partner, and so what an answer must look like to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A transaction of so many entries.
    Transaction { entries: usize },
    /// A Task in place of the one that is there.
    Put,
    /// Something to read, for answers that do not bring it.
    Read,
    /// A notice taken: the status is the whole answer.
    Notice,
}

/// The outcome of an answer. A 2xx counts only with the body that a FHIR server gives to what was asked:
/// a gateway page in HTML, a cut-off answer or a resource that has nothing to do with it says nothing of what happened
/// behind it, and a resend is harmless.
pub fn classify(asked: Asked, status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Outcome {
    let reason = format!("HTTP {}", status.as_u16());
    match status.as_u16() {
        200..=299 => accepted(asked, body),
        401 | 403 => Outcome::Unauthorized { reason },
        409 | 412 => Outcome::Conflict { reason: with_codes(reason, body) },
        408 | 425 | 429 | 500..=599 => Outcome::Transient { reason, retry_after },
        300..=399 => Outcome::Permanent { reason: format!("{reason}: redirects are not followed") },
        _ => Outcome::Permanent { reason: with_codes(reason, body) },
    }
}

/// Nothing could be read: no connection, a timeout, a reset, a body that is too large.
pub fn unreadable(error: &reqwest::Error) -> Outcome {
    if let Some(barred) = super::guard::barred(error) {
        return barred;
    }
    let reason = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        NO_CONNECTION
    } else {
        "the connection broke"
    };
    Outcome::Transient { reason: reason.into(), retry_after: None }
}

fn accepted(asked: Asked, body: &[u8]) -> Outcome {
    let unclear = |reason: &str| Outcome::Transient { reason: reason.into(), retry_after: None };
    if asked == Asked::Notice {
        return Outcome::Delivered;
    }
    // `Prefer: return=minimal` is how some servers are set up; whether it was done is seen by reading.
    if asked == Asked::Put && body.trim_ascii().is_empty() {
        return unclear(NOTHING_SAID);
    }
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return unclear("the answer is no FHIR JSON") };
    match (asked, value["resourceType"].as_str()) {
        (_, None) => unclear("the answer is no FHIR resource"),
        (_, Some("OperationOutcome")) if has_errors(&value) => {
            Outcome::Permanent { reason: with_codes("an OperationOutcome of errors".into(), body) }
        }
        (Asked::Transaction { entries }, Some("Bundle")) if value["type"] == "transaction-response" => {
            done(&value, entries)
        }
        (Asked::Transaction { .. }, _) => unclear("the answer is no transaction-response"),
        (Asked::Put, Some("Task" | "OperationOutcome")) => Outcome::Delivered,
        (Asked::Put, _) => unclear("the answer is no Task"),
        (Asked::Read | Asked::Notice, _) => unclear("the answer does not bring what was asked for"),
    }
}

/// A transaction is done when each of its entries is.
fn done(bundle: &Value, entries: usize) -> Outcome {
    let answered = bundle["entry"].as_array().map_or(&[][..], Vec::as_slice);
    let statuses: Vec<&str> = answered.iter().filter_map(|e| e["response"]["status"].as_str()).collect();
    if let Some(refused) = statuses.iter().find(|s| !s.starts_with('2')) {
        // Three digits or nothing: what else stands there is the partner's text.
        let status = refused.get(..3).filter(|s| s.bytes().all(|b| b.is_ascii_digit())).unwrap_or("without a status");
        return Outcome::Permanent { reason: format!("an entry was answered {status}") };
    }
    if answered.len() != entries || statuses.len() != entries {
        let reason = "the transaction-response does not answer every entry".to_owned();
        return Outcome::Transient { reason, retry_after: None };
    }
    Outcome::Delivered
}

fn has_errors(outcome: &Value) -> bool {
    let issues = outcome["issue"].as_array().map_or(&[][..], Vec::as_slice);
    issues.iter().any(|i| matches!(i["severity"].as_str(), Some("error" | "fatal")))
}

/// FHIR's codes for what is wrong (<http://hl7.org/fhir/R4/valueset-issue-type.html>), and what any other becomes.
const ISSUE_TYPES: &str = "invalid structure required value invariant security login unknown expired forbidden suppressed \
     processing not-supported duplicate multiple-matches not-found deleted too-long code-invalid extension too-costly \
     business-rule conflict transient lock-error no-store exception timeout incomplete throttled informational";
const OTHER: &str = "other";

/// Adds the codes of an OperationOutcome, at most five and each once; never its texts, and no code that FHIR does not know:
/// they may quote the document.
fn with_codes(reason: String, body: &[u8]) -> String {
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return reason };
    let issues = value["issue"].as_array().map_or(&[][..], Vec::as_slice);
    let mut codes: Vec<&str> = Vec::new();
    for said in issues.iter().filter_map(|i| i["code"].as_str()) {
        let code = ISSUE_TYPES.split(' ').find(|known| *known == said).unwrap_or(OTHER);
        if codes.len() < 5 && !codes.contains(&code) {
            codes.push(code);
        }
    }
    if codes.is_empty() { reason } else { format!("{reason} ({})", codes.join(", ")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ONE: Asked = Asked::Transaction { entries: 1 };

    fn class(asked: Asked, status: u16, body: &str) -> &'static str {
        classify(asked, StatusCode::from_u16(status).unwrap(), None, body.as_bytes()).class()
    }

    #[test]
    fn every_answer_has_its_class() {
        let good = r#"{"resourceType":"Bundle","type":"transaction-response","entry":[{"response":{"status":"201 Created"}}]}"#;
        let half = r#"{"resourceType":"Bundle","type":"transaction-response","entry":[{"response":{"status":"422"}}]}"#;
        let errors = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid"}]}"#;
        let expected = [
            (200, good, "delivered"),
            (200, half, "permanent"),
            (200, errors, "permanent"),
            (200, "<html>", "transient"),
            (200, "", "transient"),
            (200, "{\"resourceType\":\"Bun", "transient"),
            (302, "", "permanent"),
            (400, "", "permanent"),
            (401, "", "unauthorized"),
            (403, "", "unauthorized"),
            (404, "", "permanent"),
            (408, "", "transient"),
            (409, "", "conflict"),
            (412, errors, "conflict"),
            (422, "", "permanent"),
            (425, "", "transient"),
            (429, "", "transient"),
            (500, "", "transient"),
            (503, "", "transient"),
        ];
        for (status, body, expected) in expected {
            assert_eq!(class(ONE, status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_transaction_is_delivered_only_by_a_response_that_answers_every_entry() {
        let response = |kind: &str, statuses: &[&str]| {
            let entries: Vec<Value> = statuses.iter().map(|s| json!({ "response": { "status": s } })).collect();
            json!({ "resourceType": "Bundle", "type": kind, "entry": entries }).to_string()
        };
        let two = Asked::Transaction { entries: 2 };
        for (body, expected) in [
            (response("transaction-response", &["200 OK", "201"]), "delivered"),
            (response("transaction-response", &["200"]), "transient"),
            (response("transaction-response", &["200", "200", "200"]), "transient"),
            (response("transaction-response", &["200", "409 Conflict"]), "permanent"),
            (response("transaction-response", &[]), "transient"),
            (r#"{"resourceType":"Bundle","type":"transaction-response"}"#.into(), "transient"),
            (r#"{"resourceType":"Bundle","type":"transaction-response","entry":[{},{}]}"#.into(), "transient"),
            (response("searchset", &["200", "200"]), "transient"),
            (r#"{"resourceType":"Patient"}"#.into(), "transient"),
            (r#"{"resourceType":"CapabilityStatement"}"#.into(), "transient"),
            (
                r#"{"resourceType":"OperationOutcome","issue":[{"severity":"information","code":"informational"}]}"#
                    .into(),
                "transient",
            ),
            ("{}".into(), "transient"),
        ] {
            assert_eq!(class(two, 200, &body), expected, "{body}");
        }
    }

    #[test]
    fn a_task_that_was_put_is_delivered_by_a_task_or_an_outcome_and_silence_says_nothing() {
        let hint = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"information","code":"informational"}]}"#;
        let error = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid"}]}"#;
        for (status, body, expected) in [
            (200, r#"{"resourceType":"Task"}"#, "delivered"),
            (200, hint, "delivered"),
            (200, error, "permanent"),
            (200, "", "transient"),
            (204, "", "transient"),
            (200, "<html>", "transient"),
            (200, r#"{"resourceType":"Ta"#, "transient"),
            (200, r#"{"resourceType":"Patient"}"#, "transient"),
            (503, "", "transient"),
        ] {
            assert_eq!(class(Asked::Put, status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn the_reason_carries_codes_and_no_text_of_the_partner() {
        let body = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid","details":{"text":"195009072553"}}]}"#;
        let outcome = classify(ONE, StatusCode::UNPROCESSABLE_ENTITY, None, body.as_bytes());
        assert_eq!(outcome.reason(), Some("HTTP 422 (invalid)"));
    }

    #[test]
    fn what_a_partner_writes_in_place_of_a_code_or_a_status_stays_with_it() {
        let long = "Anna Andersson ".repeat(10_000);
        let codes =
            [&long, "195009072553", "invalid", "", "not-found structure", "invalid", "value", "required", "login"];
        let issues: Vec<Value> = codes.iter().map(|code| json!({ "severity": "error", "code": code })).collect();
        let body = json!({ "resourceType": "OperationOutcome", "issue": issues }).to_string();
        for (status, expected) in [
            (StatusCode::OK, "an OperationOutcome of errors (other, invalid, value, required, login)"),
            (StatusCode::CONFLICT, "HTTP 409 (other, invalid, value, required, login)"),
            (StatusCode::UNPROCESSABLE_ENTITY, "HTTP 422 (other, invalid, value, required, login)"),
        ] {
            assert_eq!(classify(ONE, status, None, body.as_bytes()).reason(), Some(expected));
        }
        for (status, expected) in [
            ("Eva", "an entry was answered without a status"),
            ("4å", "an entry was answered without a status"),
            ("", "an entry was answered without a status"),
            ("409 Eva Ek", "an entry was answered 409"),
        ] {
            let entry = json!({ "response": { "status": status } });
            let body =
                json!({ "resourceType": "Bundle", "type": "transaction-response", "entry": [entry] }).to_string();
            assert_eq!(classify(ONE, StatusCode::OK, None, body.as_bytes()).reason(), Some(expected), "{status}");
        }
    }
}
