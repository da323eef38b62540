//! A partner adds what it did or answers: a Procedure or Communication that belongs to a request it takes part in.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::consent::rests_on_nothing;
use super::weigh::{Current, Scale, Weighed};
use super::{Refusal, TRIES};
use crate::Gateway;
use crate::access::Caller;
use crate::fhir::issue::{Code, Issue, any_error};
use crate::fhir::resource::type_of;
use crate::store::{Audit, Commit, Committed, Exchange, Expect, Filter, Stored};

/// What became of a create.
#[derive(Debug, Clone)]
pub enum Created {
    New(Stored),
    /// If-None-Exist: it was there already.
    There(Stored),
}

/// Creates the resource, once for each If-None-Exist identifier, however many ask at the same time.
pub async fn create(
    gateway: &Gateway,
    caller: &Caller,
    mut resource: Value,
    unless: Option<(String, String)>,
    now: DateTime<Utc>,
) -> Result<Created, Refusal> {
    let resource_type = type_of(&resource).to_owned();
    let id = Uuid::new_v4().to_string();
    resource["id"] = json!(id);
    if let Some((system, value)) = &unless {
        let has = resource["identifier"]
            .as_array()
            .is_some_and(|l| l.iter().any(|i| i["system"] == **system && i["value"] == **value));
        if !has {
            return Err(Refusal::Findings(vec![Issue::error(
                Code::Required,
                format!("{resource_type}.identifier"),
                "Identifieraren i If-None-Exist ska också stå i resursen.",
                "The identifier of If-None-Exist must stand in the resource too.",
            )]));
        }
    }
    for _ in 0..TRIES {
        if let Some(stored) = there(gateway, &caller.filter(), &resource_type, unless.as_ref()).await? {
            return Ok(Created::There(stored));
        }
        let exchange = exchange_of(gateway, caller, &resource).await?;
        let issues = gateway.validate(std::slice::from_ref(&resource));
        if any_error(&issues) {
            return Err(Refusal::Findings(issues));
        }
        if there(gateway, &Filter::All, &resource_type, unless.as_ref()).await?.is_some() {
            // The caller's own, when another request of its came first meanwhile.
            let own = there(gateway, &caller.filter(), &resource_type, unless.as_ref()).await?;
            return own.map(Created::There).ok_or_else(taken);
        }
        let commit = commit_of(caller, &exchange, &resource, unless.as_ref(), now);
        if let Committed::Done { .. } = gateway.store.commit(commit).await? {
            let stored = gateway.store.resource(&Filter::All, &resource_type, &id).await?;
            return stored.map(Created::New).ok_or(Refusal::Busy);
        }
    }
    Err(Refusal::Busy)
}

/// What has the identifier, as far as the filter shows it.
async fn there(
    gateway: &Gateway,
    filter: &Filter,
    resource_type: &str,
    unless: Option<&(String, String)>,
) -> Result<Option<Stored>, Refusal> {
    let Some((system, value)) = unless else { return Ok(None) };
    let mut found = gateway.store.by_identifier(filter, resource_type, system, value).await?;
    if found.len() > 1 {
        return Err(Refusal::Stale(Issue::error(
            Code::Conflict,
            "If-None-Exist",
            "Flera resurser har identifieraren: det går inte att säga vilken som menas.",
            "Several resources have the identifier: which is meant cannot be said.",
        )));
    }
    Ok(found.pop())
}

/// The identifier stands in something that the caller does not see: nothing is said of what that is.
fn taken() -> Refusal {
    Refusal::Stale(Issue::error(
        Code::Conflict,
        "If-None-Exist",
        "Identifieraren kan inte användas; ange en som är unik i det egna systemet.",
        "The identifier cannot be used; give one that is unique within your own system.",
    ))
}

fn commit_of(
    caller: &Caller,
    exchange: &Exchange,
    resource: &Value,
    unless: Option<&(String, String)>,
    now: DateTime<Utc>,
) -> Commit {
    let units = exchange.units();
    let scale = Scale { now, patient: exchange.patient.as_deref(), units: &units, exchange: Some(exchange.id) };
    let mut weighed = Weighed::default();
    scale.add(resource, &Current::new(), &mut weighed);
    let resource_type = type_of(resource);
    let id = resource["id"].as_str().unwrap_or_default();
    let mut after = Exchange { revision: exchange.revision + 1, updated_at: now, ..exchange.clone() };
    after.resources.push(format!("{resource_type}/{id}"));
    let mut commit = Commit {
        put: weighed.put,
        expect: weighed.expect,
        exchanges: vec![after],
        audit: vec![Audit {
            at: now,
            actor: caller.name.clone(),
            action: "create".into(),
            object: format!("{resource_type}/{id}"),
            payload: json!({ "exchange": exchange.id.to_string() }).to_string(),
        }],
        ..Commit::default()
    };
    commit.expect.push(Expect::Revision { exchange: exchange.id, revision: exchange.revision });
    if let Some((system, value)) = unless {
        commit.expect.push(Expect::NoIdentifier {
            resource_type: resource_type.to_owned(),
            system: system.clone(),
            value: value.clone(),
        });
    }
    commit
}

/// The exchange of the request that `basedOn` points at, with the same patient.
async fn exchange_of(gateway: &Gateway, caller: &Caller, resource: &Value) -> Result<Exchange, Refusal> {
    let resource_type = type_of(resource);
    for based_on in resource["basedOn"].as_array().map_or(&[][..], Vec::as_slice) {
        let Some((kind, id)) = based_on["reference"].as_str().and_then(|r| r.split_once('/')) else { continue };
        for exchange in gateway.store.exchange_of_resource(kind, id).await? {
            let Some(exchange) = gateway.store.exchange(&caller.filter(), exchange).await? else { continue };
            let patient = exchange.patient.as_ref().map(|p| format!("Patient/{p}"));
            if rests_on_nothing(gateway, &exchange).await? {
                return Err(Refusal::Conflict(Issue::error(
                    Code::BusinessRule,
                    format!("{resource_type}.basedOn"),
                    "Samtycket till planen är återkallat: inget mer delas genom den. Sänd en egen remiss eller aktivitet.",
                    "The consent to the plan is withdrawn: nothing more is shared through it. Send a referral or activity of your own.",
                )));
            }
            if resource["subject"]["reference"].as_str() == patient.as_deref() {
                return Ok(exchange);
            }
            return Err(Refusal::Findings(vec![Issue::error(
                Code::BusinessRule,
                format!("{resource_type}.subject"),
                "Patienten är inte den som begäran gäller.",
                "The patient is not the one the request is about.",
            )]));
        }
    }
    Err(Refusal::Findings(vec![Issue::error(
        Code::Required,
        format!("{resource_type}.basedOn"),
        "Ange den begäran det hör till (ServiceRequest, CarePlan eller Task här), som enheten är part i.",
        "Point at the request it belongs to (a ServiceRequest, CarePlan or Task here) that the unit takes part in.",
    )]))
}
