//! What an HTTP answer means for a delivery. One table for every call to a partner.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use crate::domain::delivery::Outcome;

/// Why an attempt certainly had no effect: nothing was sent.
pub const NO_CONNECTION: &str = "no connection";

/// The outcome of an answer to a write. A 2xx counts only with a body that a FHIR server would send:
/// a gateway page in HTML or a cut-off answer says nothing of what happened behind it, and a resend is harmless.
pub fn classify(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Outcome {
    let reason = format!("HTTP {}", status.as_u16());
    match status.as_u16() {
        200..=299 => accepted(body),
        401 | 403 => Outcome::Unauthorized { reason },
        409 | 412 => Outcome::Conflict { reason: with_codes(reason, body) },
        408 | 425 | 429 | 500..=599 => Outcome::Transient { reason, retry_after },
        300..=399 => Outcome::Permanent { reason: format!("{reason}: redirects are not followed") },
        _ => Outcome::Permanent { reason: with_codes(reason, body) },
    }
}

/// Nothing could be read: no connection, a timeout, a reset, a body that is too large.
pub fn unreadable(error: &reqwest::Error) -> Outcome {
    let reason = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        NO_CONNECTION
    } else {
        "the connection broke"
    };
    Outcome::Transient { reason: reason.into(), retry_after: None }
}

fn accepted(body: &[u8]) -> Outcome {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return Outcome::Transient { reason: "the answer is no FHIR JSON".into(), retry_after: None };
    };
    match value["resourceType"].as_str() {
        Some("OperationOutcome") if has_errors(&value) => {
            Outcome::Permanent { reason: with_codes("an OperationOutcome of errors".into(), body) }
        }
        Some("Bundle") => refused_entry(&value).map_or(Outcome::Delivered, |status| Outcome::Permanent {
            reason: format!("an entry was answered {status}"),
        }),
        Some(_) => Outcome::Delivered,
        None => Outcome::Transient { reason: "the answer is no FHIR resource".into(), retry_after: None },
    }
}

fn has_errors(outcome: &Value) -> bool {
    let issues = outcome["issue"].as_array().map_or(&[][..], Vec::as_slice);
    issues.iter().any(|i| matches!(i["severity"].as_str(), Some("error" | "fatal")))
}

fn refused_entry(bundle: &Value) -> Option<String> {
    let entries = bundle["entry"].as_array()?;
    let statuses = entries.iter().filter_map(|e| e["response"]["status"].as_str());
    statuses.filter(|s| !s.starts_with('2')).map(|s| s.chars().take(3).collect()).next()
}

/// Adds the codes of an OperationOutcome, never its texts: they may quote the document.
fn with_codes(reason: String, body: &[u8]) -> String {
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return reason };
    let issues = value["issue"].as_array().map_or(&[][..], Vec::as_slice);
    let mut codes: Vec<&str> = issues.iter().filter_map(|i| i["code"].as_str()).collect();
    codes.dedup();
    codes.truncate(5);
    if codes.is_empty() { reason } else { format!("{reason} ({})", codes.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(status: u16, body: &str) -> &'static str {
        classify(StatusCode::from_u16(status).unwrap(), None, body.as_bytes()).class()
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
            assert_eq!(class(status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn the_reason_carries_codes_and_no_text_of_the_partner() {
        let body = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid","details":{"text":"195009072553"}}]}"#;
        let outcome = classify(StatusCode::UNPROCESSABLE_ENTITY, None, body.as_bytes());
        assert_eq!(outcome.reason(), Some("HTTP 422 (invalid)"));
    }
}
