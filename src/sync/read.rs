//! Reads and maps a document, before the store is asked anything: every finding that the document alone can give.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Refusal;
use super::identify::{self, DocumentIds};
use super::offered::warnings;
use super::particulars::is_known_to_many;
use super::route::{named, open_unit, ties};
use super::submit::Submission;
use super::transfer;
use crate::Gateway;
use crate::domain::{Directory, Format, HsaId, Kind};
use crate::fhir::document::rules;
use crate::fhir::issue::{Code, Issue, any_error};
use crate::mapping::{Envelope, Table, traced};

/// The document read and mapped, before the store is asked anything.
pub(super) struct Read<'a> {
    pub(super) table: &'a Table,
    pub(super) envelope: Envelope,
    pub(super) unit: String,
    pub(super) organisation: String,
    pub(super) resources: Vec<Value>,
    pub(super) issues: Vec<Issue>,
    /// What the document has to wait for, as its sender is told.
    pub(super) lacks: Vec<Issue>,
    pub(super) hash: String,
}

pub(super) fn read<'a>(gateway: &'a Gateway, submission: &Submission<'_>) -> Result<Read<'a>, Refusal> {
    let tree = gateway.read(submission.kind, submission.format, submission.bytes).map_err(Refusal::Malformed)?;
    let table = gateway
        .mappings
        .choose(submission.kind, submission.format, &tree.value)
        .map_err(|issue| Refusal::Findings(vec![issue]))?;
    let envelope = table.envelope(&tree.value);
    let mut issues = tree.issues;
    let today = submission.now.date_naive();
    let directory = &gateway.config.directory;
    let Some(unit) = envelope.unit.clone() else {
        issues.extend(table.out(&tree.value, &identify::Blank).issues);
        issues.push(Issue::error(
            Code::Required,
            "unit",
            "Det framgår inte vilken enhet som sänder; ange dess HSA-id.",
            "It does not say which unit is sending; give its HSA-id.",
        ));
        return Err(Refusal::Findings(issues));
    };
    if !submission.caller.may_act_for(&unit) {
        return Err(Refusal::Forbidden(Issue::error(
            Code::Forbidden,
            "unit",
            format!("Anroparen får inte sända för enheten {}.", named(&unit)),
            format!("The caller may not send for unit {}.", named(&unit)),
        )));
    }
    if submission.format == Format::Json {
        issues.extend(check_id(&envelope.id, &unit, directory).err());
    }
    // What was wrong can be retracted although a unit has closed since.
    if !envelope.entered_in_error {
        issues.extend(open_unit(directory, &unit, "unit", today).err());
        for recipient in &envelope.recipients {
            issues.extend(open_unit(directory, recipient, "recipient", today).err());
        }
        issues.extend(to_itself(submission.kind, &unit, &envelope.recipients).err());
    }
    let organisation = directory.find(&unit).map_or_else(|| unit.clone(), |u| u.care_provider.to_ascii_uppercase());
    let ids = DocumentIds { organisation: &organisation, kind: submission.kind, document: &envelope.id };
    let mapped = table.out(&tree.value, &ids);
    issues.extend(mapped.issues);
    let mut resources: Vec<Value> = mapped.resources.into_iter().map(|m| m.value).collect();
    for (_, owner) in &ties(&resources).owners {
        if !envelope.entered_in_error && !envelope.recipients.iter().any(|r| r.eq_ignore_ascii_case(owner)) {
            issues.extend(open_unit(directory, owner, "Task.owner", today).err());
        }
    }
    for resource in resources.iter_mut().filter(|r| !is_known_to_many(r)) {
        // Inera's convention for the system of origin (inera.ehds.tk): the HSA-id of the source.
        resource["meta"]["source"] = json!(format!("urn:oid:1.2.752.129.2.1.4.1#{unit}"));
    }
    issues.extend(rules(&resources));
    issues.extend(warnings(gateway, &resources, submission.now));
    let weighed = transfer::weigh(gateway, submission, &envelope, &unit, &resources);
    issues.extend(weighed.issues);
    let mut found: Vec<(usize, Issue)> = Vec::new();
    for (index, resource) in resources.iter().enumerate() {
        found.extend(gateway.validate(std::slice::from_ref(resource)).into_iter().map(|issue| (index, issue)));
    }
    if !found.is_empty() {
        // Only now is it worth asking which row made what.
        let trace = table.explain(&tree.value, &ids).trace;
        for (index, issue) in found {
            issues.push(resources.get(index).map_or(issue.clone(), |r| traced(issue, r, &trace)));
        }
    }
    if any_error(&issues) {
        return Err(Refusal::Findings(issues));
    }
    // The same fields in another order are the same document.
    let mut sorted = tree.value.clone();
    sorted.sort_all_objects();
    let canonical = serde_json::to_vec(&sorted).unwrap_or_default();
    Ok(Read {
        table,
        unit: unit.to_ascii_uppercase(),
        organisation,
        resources,
        issues,
        lacks: weighed.lacks,
        hash: hash(&[&canonical]),
        envelope,
    })
}

/// Nobody refers a patient to oneself: there would be nobody to act.
fn to_itself(kind: Kind, unit: &str, recipients: &[String]) -> Result<(), Issue> {
    if kind != Kind::Referral || !recipients.iter().any(|r| r.eq_ignore_ascii_case(unit)) {
        return Ok(());
    }
    Err(Issue::error(
        Code::BusinessRule,
        "recipient",
        "Remissen går till den enhet som sänder den; välj en annan mottagare.",
        "The referral goes to the unit that sends it; choose another recipient.",
    ))
}

/// A document id is `HSA-id#local`, as RIV-TA has it: two organisations never choose the same, and nobody chooses another's.
fn check_id(id: &str, sender: &str, directory: &Directory) -> Result<(), Issue> {
    let unit = id.split_once('#').filter(|(_, local)| !local.is_empty() && id.len() <= 256).map(|(unit, _)| unit);
    let Some(unit) = unit.filter(|unit| HsaId::parse(unit).is_ok() && !unit.contains(|c: char| c.is_ascii_lowercase()))
    else {
        return Err(Issue::error(
            Code::Value,
            "id",
            "Dokumentets id ska vara HSA-id#lokalt-id med HSA-id i versaler, högst 256 tecken, som SE2321000131-E000000000101#R-1.",
            "The document's id is HSA-id#local-id with the HSA-id in capitals, at most 256 characters, as SE2321000131-E000000000101#R-1.",
        ));
    };
    if directory.find(unit).is_some_and(|known| !known.hsa_id.eq_ignore_ascii_case(sender)) {
        return Err(Issue::error(
            Code::BusinessRule,
            "id",
            "Dokumentets id börjar med en annan enhets HSA-id; börja med den sändande enhetens eller vårdgivarens.",
            "The document's id begins with another unit's HSA-id; begin with that of the sending unit or its care provider.",
        ));
    }
    Ok(())
}

pub(super) fn hash(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().iter().map(|b| format!("{b:02x}")).collect()
}
