//! A document that is kept whole and goes to nobody yet, and what follows from it once it may go: the same whatever it waits for.

use uuid::Uuid;

use super::Refusal;
use super::read::Read;
use super::receipt::receipt;
use super::submit::{Submission, document};
use super::supersede::supersede;
use crate::Gateway;
use crate::domain::{PartyRole, Stage};
use crate::fhir::issue::Issue;
use crate::store::{Commit, Exchange, Expect, Party};

/// The exchange of a document that its sender alone knows of.
pub(super) fn alone(
    gateway: &Gateway,
    submission: &Submission<'_>,
    read: &Read<'_>,
    before: Option<&Exchange>,
    version: u32,
    stage: Stage,
) -> Exchange {
    let partner = gateway.config.directory.find(&read.unit).map_or(String::new(), |u| u.partner.clone());
    Exchange {
        id: before.map_or_else(Uuid::now_v7, |b| b.id),
        revision: before.map_or(1, |b| b.revision + 1),
        kind: submission.kind,
        format: submission.format,
        organisation: read.organisation.clone(),
        document: read.envelope.id.clone(),
        version,
        entered_in_error: false,
        patient: None,
        stage,
        created_at: before.map_or(submission.now, |b| b.created_at),
        updated_at: submission.now,
        parties: vec![Party {
            unit: read.unit.clone(),
            partner,
            role: PartyRole::Sender,
            task: None,
            status: None,
            stage,
        }],
        resources: Vec::new(),
    }
}

/// Keeps the document with its receipt, and nothing that it would make.
pub(super) fn keep(
    gateway: &Gateway,
    submission: &Submission<'_>,
    read: &Read<'_>,
    before: Option<&Exchange>,
    exchange: &Exchange,
    issues: &[Issue],
) -> Commit {
    let receipt = receipt(gateway, exchange, exchange.version, read.table, issues, submission.now, true);
    Commit {
        expect: vec![Expect::Exchange {
            organisation: exchange.organisation.clone(),
            kind: exchange.kind,
            document: exchange.document.clone(),
            revision: before.map(|b| b.revision),
        }],
        documents: vec![document(submission, read, exchange.id, exchange.version, receipt, true)],
        ..Commit::default()
    }
}

/// What follows from a kept document now. It is there since it came, and is not written again.
pub(super) async fn let_go(
    gateway: &Gateway,
    submission: &Submission<'_>,
    read: &Read<'_>,
    exchange: Exchange,
) -> Result<Commit, Refusal> {
    let version = exchange.version;
    let mut commit = supersede(gateway, submission, read, Some(exchange), version).await?;
    commit.documents.clear();
    Ok(commit)
}
