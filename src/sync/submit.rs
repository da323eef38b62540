//! Takes a document in: recall, read, decide what its version means, and one commit of everything that follows from it.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::consultation;
use super::identify::settle_patients;
use super::read::{Read, hash, read};
use super::receipt::receipt;
use super::supersede::{check_same, supersede};
use super::waiting::resume;
use super::{Refusal, TRIES, witness};
use crate::Gateway;
use crate::access::Caller;
use crate::domain::audit::{Deed, Event};
use crate::domain::{Format, Kind};
use crate::fhir::issue::{Code, Issue};
use crate::store::{Answer, Commit, Committed, Document, Exchange, Expect};

/// A document that somebody sends.
#[derive(Debug, Clone)]
pub struct Submission<'a> {
    pub caller: &'a Caller,
    pub kind: Kind,
    pub format: Format,
    pub bytes: &'a [u8],
    /// The Idempotency-Key.
    pub key: Option<&'a str>,
    pub now: DateTime<Utc>,
}

impl<'a> Submission<'a> {
    /// A document that is stored, as if it came now.
    pub(super) fn again(caller: &'a Caller, kind: Kind, kept: &'a Document, now: DateTime<Utc>) -> Self {
        Self { caller, kind, format: kept.format, bytes: &kept.source, key: None, now }
    }
}

/// What the sender is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub status: u16,
    pub location: Option<String>,
    pub body: Vec<u8>,
}

/// Takes a document in. Nothing is answered before it is on disk.
pub async fn submit(gateway: &Gateway, submission: &Submission<'_>) -> Result<Answered, Refusal> {
    let result = take_in(gateway, submission).await;
    let outcome = match &result {
        Ok(_) => "accepted",
        Err(Refusal::Store(_) | Refusal::Busy) => "failed",
        Err(refusal) => {
            count(gateway, refusal.issues());
            "refused"
        }
    };
    gateway.figures.document(submission.kind.name(), outcome);
    result
}

fn count(gateway: &Gateway, issues: &[Issue]) {
    for issue in issues {
        gateway.figures.finding(issue.code.code(), issue.severity.code());
    }
}

async fn take_in(gateway: &Gateway, submission: &Submission<'_>) -> Result<Answered, Refusal> {
    let request_hash =
        hash(&[submission.kind.name().as_bytes(), submission.format.name().as_bytes(), submission.bytes]);
    if let Some(answer) = recall(gateway, submission, &request_hash).await? {
        return Ok(answer);
    }
    let read = read(gateway, submission)?;
    count(gateway, &read.issues);
    for _ in 0..TRIES {
        if let Some(answered) = attempt(gateway, submission, &read, &request_hash).await? {
            if submission.kind == Kind::Activity
                && let Err(error) = resume(gateway, Some(&read.unit), submission.now).await
            {
                // The document itself is on disk; what waits is tried again with the next one, and at every start.
                tracing::warn!(error = %error, "activities that wait could not be taken up");
            }
            return Ok(answered);
        }
        if let Some(answer) = recall(gateway, submission, &request_hash).await? {
            return Ok(answer);
        }
    }
    Err(Refusal::Busy)
}

async fn recall(
    gateway: &Gateway,
    submission: &Submission<'_>,
    request_hash: &str,
) -> Result<Option<Answered>, Refusal> {
    let Some(key) = submission.key else { return Ok(None) };
    let Some(answer) = gateway.store.recall(&submission.caller.name, key).await? else { return Ok(None) };
    if answer.request_hash != request_hash {
        return Err(Refusal::KeyReused);
    }
    Ok(Some(Answered { status: answer.status, location: answer.location, body: answer.body }))
}

/// One try: `None` when somebody else committed in between.
async fn attempt(
    gateway: &Gateway,
    submission: &Submission<'_>,
    read: &Read<'_>,
    request_hash: &str,
) -> Result<Option<Answered>, Refusal> {
    let store = &gateway.store;
    let before = store.exchange_of(&read.organisation, submission.kind, &read.envelope.id).await?;
    if let Some(before) = &before {
        // Before anything is told of it: whoever may not change it learns no more than that.
        let patients = settle_patients(store, &mut read.resources.clone()).await?;
        check_same(store, before, read, patients.first().map(|p| p.id.as_str())).await?;
    }
    if submission.kind == Kind::Activity {
        let patients = settle_patients(store, &mut read.resources.clone()).await?;
        let patient = patients.first().map(|p| p.id.as_str());
        super::programme::check_copied(gateway, &read.resources, patient).await?;
    }
    let version = match weigh_version(gateway, read, before.as_ref()).await? {
        Version::Known(document) => {
            let receipt = match before.as_ref().filter(|_| read.envelope.version.is_none() && !document.in_force) {
                Some(before) => receipt_of_old(gateway, submission, read, before, document.version),
                None => document.receipt,
            };
            let answer = answered(document.exchange, receipt);
            let Some(kept) = kept_answer(submission, request_hash, document.exchange, &answer) else {
                return Ok(Some(answer));
            };
            let expect = vec![Expect::FreshKey { caller: kept.caller.clone(), key: kept.key.clone() }];
            let commit = Commit { expect, answer: Some(kept), ..Commit::default() };
            return Ok(matches!(store.commit(commit).await?, Committed::Done { .. }).then_some(answer));
        }
        Version::New(version) => version,
    };
    let late = before.as_ref().filter(|b| version < b.version);
    if let Some(before) = late.filter(|_| read.envelope.entered_in_error) {
        return Err(Refusal::Conflict(retracts_nothing(before)));
    }
    let mut commit = match late {
        Some(before) => keep_late(gateway, submission, read, before, version),
        None if !read.lacks.is_empty() && !consultation::is_recorded(before.as_ref()) => {
            consultation::park(gateway, submission, read, before.as_ref(), version).await?
        }
        // It never left: nobody is told that it was wrong.
        None if read.envelope.entered_in_error && before.as_ref().is_some_and(consultation::never_left) => {
            consultation::park(gateway, submission, read, before.as_ref(), version).await?
        }
        None => {
            let waited = before.clone().filter(consultation::waits);
            let mut commit = supersede(gateway, submission, read, before, version).await?;
            if let Some(waited) = waited {
                consultation::overtaken(gateway, &mut commit, &waited, submission.now).await?;
            }
            commit
        }
    };
    let Some((exchange, receipt)) = commit.documents.first().map(|d| (d.exchange, d.receipt.clone())) else {
        return Err(Refusal::Busy);
    };
    let answer = answered(exchange, receipt);
    let who = witness::by(&gateway.config.directory, submission.caller);
    let event = Event::new(submission.now, who, Deed::Submit, format!("exchange/{exchange}"))
        .with("kind", submission.kind.name())
        .with("version", version)
        .with("unit", read.unit.as_str())
        .with("hash", read.hash.as_str());
    commit.audit.push(witness::wrote(event, &commit));
    if let Some(kept) = kept_answer(submission, request_hash, exchange, &answer) {
        commit.expect.push(Expect::FreshKey { caller: kept.caller.clone(), key: kept.key.clone() });
        commit.answer = Some(kept);
    }
    let moves_deliveries = !commit.deliveries.is_empty() || !commit.delivery_changes.is_empty();
    match store.commit(commit).await? {
        Committed::Done { .. } => {
            gateway.traces.keep(exchange);
            if moves_deliveries {
                gateway.wake.notify_one();
            }
            Ok(Some(answer))
        }
        Committed::Conflict(_) => Ok(None),
    }
}

/// The answer as it is kept for the Idempotency-Key, where the caller gave one.
fn kept_answer(submission: &Submission<'_>, request_hash: &str, exchange: Uuid, answer: &Answered) -> Option<Answer> {
    Some(Answer {
        caller: submission.caller.name.clone(),
        key: submission.key?.to_owned(),
        request_hash: request_hash.to_owned(),
        exchange: Some(exchange),
        status: answer.status,
        location: answer.location.clone(),
        body: answer.body.clone(),
    })
}

fn answered(exchange: Uuid, body: Vec<u8>) -> Answered {
    Answered { status: 202, location: Some(format!("/v1/exchanges/{exchange}")), body }
}

enum Version {
    /// The same content was taken in before: the same receipt again.
    Known(Document),
    New(u32),
}

/// Without a version (RIV-TA activities) the content decides: known content is known, other content is the next version.
async fn weigh_version(gateway: &Gateway, read: &Read<'_>, before: Option<&Exchange>) -> Result<Version, Refusal> {
    let Some(before) = before else { return Ok(Version::New(read.envelope.version.unwrap_or(1))) };
    let documents = gateway.store.documents(before.id).await?;
    let Some(version) = read.envelope.version else {
        let known = documents.into_iter().find(|d| d.hash == read.hash);
        return Ok(known.map_or(Version::New(before.version + 1), Version::Known));
    };
    match documents.into_iter().find(|d| d.version == version) {
        Some(document) if document.hash == read.hash => Ok(Version::Known(document)),
        Some(_) => Err(Refusal::Conflict(Issue::error(
            Code::Conflict,
            "version",
            format!(
                "Version {version} finns redan med annat innehåll; sänd ändringen som version {}.",
                before.version + 1
            ),
            format!(
                "Version {version} is here already with other content; send the change as version {}.",
                before.version + 1
            ),
        ))),
        None => Ok(Version::New(version)),
    }
}

/// A retraction with the number of an older version would change nothing, and its sender would think that it had.
fn retracts_nothing(before: &Exchange) -> Issue {
    let (now, next) = (before.version, before.version + 1);
    Issue::error(
        Code::Conflict,
        "version",
        format!("Version {now} gäller och återtas inte av en äldre version; sänd återtagandet som version {next}."),
        format!("Version {now} is in force and not retracted by an older one; send the retraction as version {next}."),
    )
}

/// Content without a version that was in force once: nobody can say whether it comes late or is meant anew.
fn receipt_of_old(
    gateway: &Gateway,
    submission: &Submission<'_>,
    read: &Read<'_>,
    before: &Exchange,
    version: u32,
) -> Vec<u8> {
    let mut issues = read.issues.clone();
    issues.push(Issue::warning(
        Code::BusinessRule,
        "",
        format!(
            "Detta innehåll har kommit förut (version {version}) och ersattes av version {}, som gäller. Ska det gälla igen: \
             sänd det genom /v1 med ett versionsnummer.",
            before.version
        ),
        format!(
            "This content came before (version {version}) and was replaced by version {}, which is in force. If it is to hold \
             again, send it through /v1 with a version number.",
            before.version
        ),
    ));
    receipt(gateway, before, version, read.table, &issues, submission.now, false)
}

/// An older version that arrives late is kept as history and changes nothing.
fn keep_late(
    gateway: &Gateway,
    submission: &Submission<'_>,
    read: &Read<'_>,
    before: &Exchange,
    version: u32,
) -> Commit {
    let mut issues = read.issues.clone();
    issues.push(Issue::information(
        "version",
        format!("Version {} gäller redan; version {version} sparas som historik och ändrar inget.", before.version),
        format!(
            "Version {} is in force already; version {version} is kept as history and changes nothing.",
            before.version
        ),
    ));
    let receipt = receipt(gateway, before, version, read.table, &issues, submission.now, false);
    Commit {
        expect: vec![Expect::Revision { exchange: before.id, revision: before.revision }],
        exchanges: vec![Exchange { revision: before.revision + 1, updated_at: submission.now, ..before.clone() }],
        documents: vec![document(submission, read, before.id, version, receipt, false)],
        ..Commit::default()
    }
}

pub(super) fn document(
    submission: &Submission<'_>,
    read: &Read<'_>,
    exchange: Uuid,
    version: u32,
    receipt: Vec<u8>,
    in_force: bool,
) -> Document {
    Document {
        exchange,
        version,
        format: submission.format,
        source: submission.bytes.to_vec(),
        hash: read.hash.clone(),
        table: read.table.name().to_owned(),
        table_version: read.table.version().to_owned(),
        received_at: submission.now,
        in_force,
        receipt,
    }
}
