//! A partner adds what it did or answers: a Procedure or Communication that belongs to a request it takes part in.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::consent::rests_on_nothing;
use super::route::unit_of;
use super::weigh::{Current, Scale, Weighed, current};
use super::{Refusal, TRIES, witness};
use crate::Gateway;
use crate::access::{Caller, Reach};
use crate::domain::audit::{Deed, Event};
use crate::domain::task::Status;
use crate::fhir::issue::{Code, Issue, any_error};
use crate::fhir::resource::{reference_of, references, type_of};
use crate::fhir::search;
use crate::store::{Commit, Committed, Exchange, Expect, Filter, Party, Right, Stored};

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
    // Where it comes from and what it went through here is ours to say.
    if let Some(object) = resource.as_object_mut()
        && let Some(meta) = object.get_mut("meta").and_then(Value::as_object_mut)
    {
        meta.retain(|name, _| !["source", "versionId", "lastUpdated", "tag"].contains(&name.as_str()));
        if meta.is_empty() {
            object.shift_remove("meta");
        }
    }
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
        check_open(gateway, caller, &exchange, &resource).await?;
        let mut issues = gateway.validate(std::slice::from_ref(&resource));
        issues.extend(others_work(gateway, caller, &resource).await?);
        if any_error(&issues) {
            return Err(Refusal::Findings(issues));
        }
        super::programme::check_copied(gateway, std::slice::from_ref(&resource), exchange.patient.as_deref()).await?;
        sign(&mut resource, caller, &exchange);
        check_scope(gateway, caller, &resource, now).await?;
        let commit = commit_of(gateway, caller, &exchange, &resource, unless.as_ref(), now);
        if let Committed::Done { .. } = gateway.store.commit(commit).await? {
            let stored = gateway.store.resource(&Filter::ALL, &resource_type, &id).await?;
            return stored.map(Created::New).ok_or(Refusal::Busy);
        }
    }
    Err(Refusal::Busy)
}

/// What a unit added itself says so in `meta.source`, with the unit's HSA-id behind this.
const BY_UNIT: &str = "urn:vardkedja:unit:";

/// Names the unit that adds it, as far as the caller is one of the exchange's parties.
fn sign(resource: &mut Value, caller: &Caller, exchange: &Exchange) {
    let unit = match &caller.reach {
        Reach::Everything => None,
        Reach::Units(_) | Reach::Registry(_) => {
            exchange.parties.iter().map(|p| p.unit.as_str()).find(|unit| caller.may_act_for(unit))
        }
    };
    if !resource["meta"].is_object() {
        resource["meta"] = json!({});
    }
    resource["meta"]["source"] = json!(format!("{BY_UNIT}{}", unit.unwrap_or(&caller.name)));
}

/// Whether that unit told it: it added the resource itself, or its own Task's output points at it.
pub(super) fn told_by(unit: &str, task: Option<&Value>, resource: &Value) -> bool {
    let source = resource["meta"]["source"].as_str().and_then(|s| s.strip_prefix(BY_UNIT));
    let name = reference_of(resource);
    let outputs = task.and_then(|t| t["output"].as_array()).map_or(&[][..], Vec::as_slice);
    source.is_some_and(|s| s.eq_ignore_ascii_case(unit))
        || outputs.iter().any(|o| o["valueReference"]["reference"].as_str() == name.as_deref())
}

/// Nothing is added to what was retracted, and no work to what was cancelled before it was done.
async fn check_open(gateway: &Gateway, caller: &Caller, exchange: &Exchange, resource: &Value) -> Result<(), Refusal> {
    let resource_type = type_of(resource);
    let conflict = |element: &str, sv: &str, en: &str| {
        let place = format!("{resource_type}.{element}");
        Err(Refusal::Conflict(Issue::error(Code::BusinessRule, place, sv, en)))
    };
    if exchange.entered_in_error {
        return conflict(
            "basedOn",
            "Begäran är återtagen (entered-in-error): inget läggs till den. Sänd en egen aktivitet.",
            "The request was retracted (entered-in-error): nothing is added to it. Send an activity of your own.",
        );
    }
    let Some(cancelled_at) = cancelled_at(gateway, caller, exchange).await?.filter(|_| resource_type == "Procedure")
    else {
        return Ok(());
    };
    let begun = [&resource["performedDateTime"], &resource["performedPeriod"]["start"]];
    match begun.into_iter().find_map(Value::as_str).and_then(search::moment) {
        // A day that is given without a time may have been over before.
        Some((earliest, _)) if earliest <= cancelled_at => Ok(()),
        Some(_) => conflict(
            "performed",
            "Begäran avbröts innan det gjordes. Sänd en egen aktivitet.",
            "The request was cancelled before this was done. Send an activity of your own.",
        ),
        None => conflict(
            "performed",
            "Begäran är avbruten: ange när det gjordes (performedDateTime), det tas emot om det var innan dess.",
            "The request is cancelled: say when this was done (performedDateTime); it is taken if that was before.",
        ),
    }
}

/// When all Tasks here that are the caller's, or all there are where none is, had been cancelled; milliseconds since 1970.
async fn cancelled_at(gateway: &Gateway, caller: &Caller, exchange: &Exchange) -> Result<Option<i64>, Refusal> {
    let owners: Vec<&Party> = exchange.parties.iter().filter(|p| p.task.is_some()).collect();
    let own: Vec<&Party> = owners.iter().copied().filter(|p| caller.may_act_for(&p.unit)).collect();
    let looked = if own.is_empty() { owners } else { own };
    if looked.is_empty() || looked.iter().any(|p| p.status != Some(Status::Cancelled)) {
        return Ok(None);
    }
    let names: Vec<String> = looked.iter().filter_map(|p| Some(format!("Task/{}", p.task.as_ref()?))).collect();
    let tasks = current(gateway.store.resources(&Filter::ALL, &names).await?);
    let times = tasks.values().filter_map(|(_, task)| search::moment(task["lastModified"].as_str()?));
    Ok(Some(times.map(|(_, latest)| latest).max().unwrap_or(i64::MAX)))
}

/// Performers and senders that are units which the caller does not speak for. A person may be named freely.
async fn others_work(gateway: &Gateway, caller: &Caller, resource: &Value) -> Result<Vec<Issue>, Refusal> {
    let resource_type = type_of(resource);
    let performers = resource["performer"].as_array().map_or(&[][..], Vec::as_slice);
    let mut named: Vec<(String, &Value)> = Vec::new();
    for (index, performer) in performers.iter().enumerate() {
        for element in ["actor", "onBehalfOf"] {
            named.push((format!("{resource_type}.performer[{index}].{element}"), &performer[element]));
        }
    }
    named.push((format!("{resource_type}.sender"), &resource["sender"]));
    let mut issues = Vec::new();
    for (place, reference) in named {
        // A role leads to its unit.
        let mut names: Vec<String> = references(reference).into_iter().map(str::to_owned).collect();
        let mut known: Vec<Value> = Vec::new();
        for _ in 0..2 {
            let found = gateway.store.resources(&Filter::ALL, &names).await?;
            let found: Vec<Value> = current(found).into_values().map(|(_, value)| value).collect();
            names = found.iter().filter_map(|r| r["organization"]["reference"].as_str().map(str::to_owned)).collect();
            known.extend(found);
        }
        let unit = unit_of(reference, &known).filter(|unit| gateway.config.directory.find(unit).is_some());
        if unit.is_some_and(|unit| !caller.may_act_for(&unit)) {
            issues.push(Issue::error(
                Code::BusinessRule,
                place,
                "Enheten är inte anroparens egen: en enhet berättar bara om det den själv har gjort.",
                "The unit is not the caller's own: a unit tells only of what it has done itself.",
            ));
        }
    }
    Ok(issues)
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

/// A scope with criteria covers only what satisfies them, also when it is made.
async fn check_scope(gateway: &Gateway, caller: &Caller, resource: &Value, now: DateTime<Utc>) -> Result<(), Refusal> {
    let new = Stored {
        resource_type: type_of(resource).to_owned(),
        id: resource["id"].as_str().unwrap_or_default().to_owned(),
        version: 1,
        seq: 0,
        updated_at: now,
        body: resource.to_string().into_bytes(),
        patient: None,
    };
    if gateway.store.covers(&caller.filter(), Right::Create, &new).await? {
        return Ok(());
    }
    Err(Refusal::Forbidden(Issue::error(
        Code::Forbidden,
        type_of(resource),
        "Anroparens behörighet (scope) täcker inte en sådan resurs: dess villkor är inte uppfyllda.",
        "The caller's scopes do not cover such a resource: it does not satisfy their criteria.",
    )))
}

fn commit_of(
    gateway: &Gateway,
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
    let mut commit = Commit { put: weighed.put, expect: weighed.expect, exchanges: vec![after], ..Commit::default() };
    let who = witness::by(&gateway.config.directory, caller);
    let event =
        Event::new(now, who, Deed::Create, format!("{resource_type}/{id}")).with("exchange", exchange.id.to_string());
    commit.audit.push(witness::wrote(event, &commit));
    commit.expect.push(Expect::Revision { exchange: exchange.id, revision: exchange.revision });
    if let Some((system, value)) = unless {
        commit.expect.push(Expect::NoIdentifier {
            resource_type: resource_type.to_owned(),
            system: system.clone(),
            value: value.clone(),
            filter: caller.filter(),
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
            let Some(exchange) = gateway.store.exchange(&caller.within_reach(), exchange).await? else { continue };
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
