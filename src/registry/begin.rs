//! Takes an order for an export: whose it is, what the caller may have of it, and whether there is room. It is on disk, with the
//! record that it was asked for, before it is answered.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::cohort;
use super::request::{Request, Wish};
use crate::Gateway;
use crate::access::{Caller, Operation, write_caller};
use crate::domain::audit;
use crate::fhir::about::is_definition;
use crate::fhir::issue::{Code, Issue, outcome};
use crate::fhir::search::types;
use crate::store::{Audit, Commit, Committed, Expect, ExportChange, ExportLevel, ExportOrder, Right};
use crate::sync::refusal::missing;
use crate::sync::{Refusal, witness};

/// Actors have no patient: they go along with patients' data only where they are asked for.
const ACTORS: [&str; 4] = ["Location", "Organization", "Practitioner", "PractitionerRole"];

/// Begins an export; its id, or nothing where the client has as many as it may.
pub async fn begin(
    gateway: &Gateway,
    caller: &Caller,
    wish: Wish,
    now: DateTime<Utc>,
) -> Result<Option<Uuid>, Refusal> {
    if let Some(id) = &wish.cohort {
        cohort::of_caller(gateway, caller, id).ok_or_else(|| missing("Group"))?;
    }
    let request = allowed(caller, &wish)?;
    if let Some(patients) = &request.patients {
        let names: Vec<String> = patients.iter().map(|id| format!("Patient/{id}")).collect();
        let seen = gateway.store.resources(&caller.filter(), &names).await?;
        let hidden = patients.iter().enumerate().filter(|(_, id)| !seen.iter().any(|s| s.id == **id));
        let issues: Vec<Issue> = hidden.map(|(n, _)| unknown_patient(n)).collect();
        if !issues.is_empty() {
            return Err(Refusal::Findings(issues));
        }
    }
    let id = Uuid::now_v7();
    let order = ExportOrder {
        id,
        owner: caller.owner(),
        caller: write_caller(caller),
        level: wish.level,
        cohort: wish.cohort.clone(),
        request: wish.address,
        asked: request.write(),
        is_partial: request.patients.is_some(),
        created_at: now,
        since_at: wish.since,
        until_at: wish.until,
    };
    let payload = json!({
        "recipient": caller.name,
        "level": wish.level.code(),
        "group": wish.cohort,
        "types": request.types,
        "since": wish.since.map(|t| t.to_rfc3339()),
        "until": wish.until.map(|t| t.to_rfc3339()),
        "patients": request.patients.as_ref().map(Vec::len),
    });
    let bounds = &gateway.config.export;
    let room = Expect::ExportRoom { owner: caller.owner(), open: bounds.open_per_client, kept: bounds.kept_per_client };
    let commit = Commit {
        expect: vec![room],
        exports: vec![ExportChange::Begin(Box::new(order))],
        audit: vec![row(gateway, caller, "begin", id, &payload, now)],
        ..Commit::default()
    };
    match gateway.store.commit(commit).await? {
        Committed::Done { .. } => {
            gateway.exports.wake.notify_one();
            Ok(Some(id))
        }
        Committed::Conflict(_) => Ok(None),
    }
}

/// A row of the log about an export; whom it is about is on record by resource.
pub(super) fn row(
    gateway: &Gateway,
    caller: &Caller,
    step: &str,
    id: Uuid,
    payload: &Value,
    now: DateTime<Utc>,
) -> Audit {
    let event = witness::did(gateway, caller, audit::Deed::Export, format!("export/{id}"), now);
    event.with("step", step).with_all(payload).about([]).into()
}

/// Whether the caller's purpose and scopes let it read resources of the type at all; what of them is the filter's to say.
pub fn may_read(caller: &Caller, resource_type: &str) -> bool {
    caller.may(Operation::Fhir(Right::Read, resource_type)).is_ok()
}

/// The request with its types: those that were asked for, or all that the caller may read.
fn allowed(caller: &Caller, wish: &Wish) -> Result<Request, Refusal> {
    let mut request = wish.request.clone();
    request.notes.extend(wish.left_out.iter().map(|issue| outcome(std::slice::from_ref(issue))));
    if let Some(asked) = &wish.types {
        let barred = asked.iter().find(|kind| !may_read(caller, kind));
        if let Some(kind) = barred {
            return Err(Refusal::Forbidden(Issue::error(
                Code::Forbidden,
                "_type",
                format!("Behörigheten omfattar inte {kind}; utelämna typen, eller begär system/{kind}.rs."),
                format!("The scopes do not cover {kind}; leave the type out, or ask for system/{kind}.rs."),
            )));
        }
    }
    let is_wanted = |kind: &str| match &wish.types {
        Some(asked) => asked.iter().any(|a| a == kind),
        // What everybody goes by is fetched by whoever wants it.
        None if is_definition(kind) => false,
        None => (wish.level == ExportLevel::System || !ACTORS.contains(&kind)) && may_read(caller, kind),
    };
    request.types = types().iter().filter(|kind| is_wanted(kind)).map(|kind| (*kind).to_owned()).collect();
    if request.provenance.is_some()
        && (request.types.iter().any(|t| t == "Provenance") || !may_read(caller, "Provenance"))
    {
        request.provenance = None;
    }
    Ok(request)
}

/// Whether a type has no patient of its own.
pub(super) fn is_actor(resource_type: &str) -> bool {
    ACTORS.contains(&resource_type)
}

fn unknown_patient(n: usize) -> Issue {
    Issue::error(
        Code::NotFound,
        format!("parameter.where(name = 'patient')[{n}]"),
        "Patienten finns inte, eller rör inte den som frågar; ta bort den.",
        "The patient does not exist, or does not concern the caller; leave it out.",
    )
}
