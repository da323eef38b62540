//! What a sender is told at once of blocks: from which of its recipients they keep the document that it sends. To others
//! nothing is told.

use serde_json::Value;

use super::Refusal;
use super::read::Read;
use crate::Gateway;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::origin::document_written;
use crate::store::{Exchange, Expect, Filter, Outgoing};

/// What follows from blocks for a document that is about to be taken in.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// A warning for each unit that the document is held for.
    pub(super) issues: Vec<Issue>,
    /// That no block comes or goes before the commit.
    pub(super) expect: Vec<Expect>,
    /// What of the exchange is kept from the sender itself.
    pub(super) withheld: Vec<String>,
}

/// Asks the blocks of the exchange's patient. Whatever is said here, the writer holds what they close in the same commit.
pub(super) async fn held_by_blocks(
    gateway: &Gateway,
    read: &Read<'_>,
    exchange: &Exchange,
    along: &[String],
    resources: &[Value],
) -> Result<Held, Refusal> {
    let mut held = Held::default();
    let Some(patient) = exchange.patient.clone() else { return Ok(held) };
    let marks = gateway.store.block_marks(&patient).await?;
    held.expect.push(Expect::Blocks { patient: patient.clone(), marks });
    if marks == 0 {
        return Ok(held);
    }
    let written = document_written(resources).unwrap_or_else(|| {
        let at = exchange.created_at.timestamp_millis();
        (at, at)
    });
    let is_later_version = exchange.created_at < exchange.updated_at;
    let last = if is_later_version { written.1.max(exchange.updated_at.timestamp_millis()) } else { written.1 };
    let outgoing = Outgoing {
        patient,
        unit: read.unit.clone(),
        provider: read.organisation.clone(),
        documented: Some((written.0, last)),
        along: along.to_vec(),
        to: exchange.recipients().map(|party| party.unit.clone()).collect(),
    };
    held.issues = gateway.store.would_withhold(&outgoing).await?.iter().map(|unit| told(unit)).collect();
    held.withheld = gateway.store.withheld(&Filter::units(vec![read.unit.clone()]), exchange.id).await?;
    Ok(held)
}

fn told(unit: &str) -> Issue {
    Issue::warning(
        Code::BusinessRule,
        "recipient",
        format!(
            "Patienten har spärrat uppgifterna för {unit}: dokumentet är mottaget och hålls, och når enheten när spärren hävs."
        ),
        format!(
            "The patient has blocked the data for {unit}: the document is taken and held, and reaches the unit when the block is lifted."
        ),
    )
}
