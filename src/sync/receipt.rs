//! The receipt: what the sender gets when its document is on disk, and what it gets again for the same document.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::package::is_pushed;
use super::weigh::instant;
use crate::Gateway;
use crate::domain::Stage;
use crate::fhir::issue::{Issue, outcome};
use crate::mapping::Table;
use crate::store::Exchange;

/// The receipt's bytes. They are stored with the document and sent again as they are.
pub fn receipt(
    gateway: &Gateway,
    exchange: &Exchange,
    version: u32,
    table: &Table,
    issues: &[Issue],
    now: DateTime<Utc>,
    in_force: bool,
) -> Vec<u8> {
    let recipients: Vec<Value> = exchange
        .recipients()
        .map(|p| {
            let channel = if is_pushed(gateway, &p.partner) { "push" } else { "poll" };
            json!({ "unit": p.unit, "partner": p.partner, "channel": channel })
        })
        .collect();
    let mut receipt = json!({
        "exchange": exchange.id.to_string(),
        "kind": exchange.kind.name(),
        "document": { "id": exchange.document, "version": version, "inForce": in_force },
        "receivedAt": instant(now),
        "recipients": recipients,
        "resources": exchange.resources,
        "mapping": { "table": table.name(), "version": table.version() },
        "outcome": bounded_outcome(issues, gateway.config.limits.findings),
    });
    // What waits for a person has a finding that says for what.
    if exchange.recipients().next().is_none() && exchange.stage != Stage::Parked {
        receipt["note"] = json!(
            "Behålls för kvalitetsregistren; ingen annan mottagare. | Kept for the quality registries; there is no other recipient."
        );
    }
    serde_json::to_vec(&receipt).unwrap_or_default()
}

/// The findings as an OperationOutcome, the worst first, and how many were left out.
pub fn bounded_outcome(issues: &[Issue], most: usize) -> Value {
    let mut sorted: Vec<Issue> = issues.to_vec();
    sorted.sort_by_key(|i| std::cmp::Reverse(i.severity));
    let left_out = sorted.len().saturating_sub(most);
    sorted.truncate(most);
    if left_out > 0 {
        sorted.push(Issue::information(
            "",
            format!("{left_out} anmärkningar till visas inte."),
            format!("{left_out} more findings are not shown."),
        ));
    }
    outcome(&sorted)
}
