//! The answer of a unit whose system is no FHIR server: one JSON object about its Task, made into what the FHIR road takes and
//! applied there, in one commit. Findings speak of the fields of that object, and come all at once.

mod form;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use form::Form;

use super::acknowledge::{Applied, Heard, Kept, acknowledge, receipt};
use super::part::AreaAnswer;
use super::refusal::missing;
use super::submit::Answered;
use super::weigh::{Current, current};
use super::{Refusal, abort};
use crate::Gateway;
use crate::access::Caller;
use crate::domain::business_status::BusinessStatus;
use crate::domain::task::Status;
use crate::fhir::issue::{Code, Issue};
use crate::store::{Exchange, Filter, Party, Right};

/// What the unit says, read and checked as far as it can be by itself.
#[derive(Debug, Clone, Default)]
pub struct Said {
    pub unit: Option<String>,
    /// Without one the Task stays where it is.
    pub status: Option<Status>,
    pub business_status: Option<BusinessStatus>,
    pub areas: Vec<AreaAnswer>,
    pub text: Option<String>,
    /// The HSA-id of the person who answers.
    pub by: Option<String>,
    pub confirmed_contact: Option<Contact>,
    pub activities: Vec<Act>,
    /// The unit that it is sent on to.
    pub redirect_to: Option<String>,
    /// What is answered to a request to stop: agreed or not.
    pub stops: Option<bool>,
    /// The version of the Task that the unit has read.
    pub version: Option<u32>,
}

/// A contact with the patient, which ends an active handover.
#[derive(Debug, Clone)]
pub struct Contact {
    pub at: String,
    /// A code of `codes/medium`.
    pub medium: Option<String>,
    pub text: Option<String>,
    pub by: Option<String>,
}

/// Something that was done.
#[derive(Debug, Clone)]
pub struct Act {
    pub kva: String,
    pub at: String,
}

/// An answer as it came.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    pub said: &'a Said,
    pub bytes: &'a [u8],
    /// The Idempotency-Key.
    pub key: Option<&'a str>,
}

/// Applies the answer. Nothing is answered before it is on disk.
pub async fn answer(
    gateway: &Gateway,
    caller: &Caller,
    id: Uuid,
    sent: Sent<'_>,
    now: DateTime<Utc>,
) -> Result<Answered, Refusal> {
    let request_hash = super::read::hash(&[b"answer", id.as_bytes(), sent.bytes]);
    if let Some(key) = sent.key
        && let Some(answer) = gateway.store.recall(&caller.name, key).await?
    {
        if answer.request_hash != request_hash {
            return Err(Refusal::KeyReused);
        }
        return Ok(Answered { status: answer.status, location: answer.location, body: answer.body });
    }
    let said = sent.said;
    let exchange = gateway.store.exchange(&caller.filter(), id).await?.ok_or_else(|| missing("exchange"))?;
    let party = asked(caller, &exchange, said)?;
    let here = current(gateway.store.resources(&Filter::ALL, &exchange.resources).await?);
    let whole = party.task.clone().unwrap_or_default();
    let task_id = match said.stops {
        None => whole,
        Some(_) => to_stop(&here, &whole)?,
    };
    let may = gateway.store.resource(&caller.filter_to(Right::Update), "Task", &task_id).await?;
    let stored = may.ok_or_else(|| missing("Task"))?;
    let task: Value = serde_json::from_slice(&stored.body).map_err(|_| missing("Task"))?;
    let form = Form { gateway, exchange: &exchange, unit: &party.unit, task: &task, here: &here, said, now };
    let change = form.change()?;
    let key = format!("answer/{task_id}/{}/{}", stored.version, super::read::hash(&[sent.bytes]));
    let heard = Heard {
        partner: caller.partner.as_deref().unwrap_or(&caller.name),
        actor: &caller.name,
        key: &key,
        body: sent.bytes,
        expected_version: said.version,
        by: said.by.as_deref(),
        here: true,
        kept: sent.key.map(|key| Kept { caller: &caller.name, key, request_hash: &request_hash }),
    };
    let applied = acknowledge(gateway, &task_id, &change, &heard, now).await.map_err(in_fields)?;
    let (Applied::Moved { version } | Applied::Same { version }) = applied;
    let body = serde_json::to_vec(&receipt(id, &task_id, version, change.status)).unwrap_or_default();
    Ok(Answered { status: 200, location: None, body })
}

/// The caller's own part in the exchange.
fn asked<'e>(caller: &Caller, exchange: &'e Exchange, said: &Said) -> Result<&'e Party, Refusal> {
    let named = |p: &&Party| said.unit.as_ref().is_none_or(|unit| unit.eq_ignore_ascii_case(&p.unit));
    let own: Vec<&Party> =
        exchange.parties.iter().filter(|p| p.task.is_some() && caller.may_act_for(&p.unit)).filter(named).collect();
    match own.as_slice() {
        [one] => Ok(one),
        [] => Err(Refusal::Forbidden(Issue::error(
            Code::Forbidden,
            "unit",
            "Bara den enhet som är tillfrågad svarar; enheten har ingen uppgift i ärendet.",
            "Only the unit that is asked answers; the unit has no Task in the exchange.",
        ))),
        [..] => Err(Refusal::Findings(vec![Issue::error(
            Code::Required,
            "unit",
            "Flera av anroparens enheter är tillfrågade: ange vilken som svarar.",
            "Several of the caller's units are asked: say which one answers.",
        )])),
    }
}

/// The open request to stop that Task.
fn to_stop(here: &Current, whole: &str) -> Result<String, Refusal> {
    let name = format!("Task/{whole}");
    let open = abort::asked_of(here, &name).find(|a| abort::is_open(a)).and_then(|a| a["id"].as_str());
    open.map(str::to_owned).ok_or_else(|| {
        Refusal::Conflict(Issue::error(
            Code::BusinessRule,
            "cancellation",
            "Avsändaren har inte bett enheten avbryta, eller har fått svar.",
            "The sender has not asked the unit to stop, or has been answered.",
        ))
    })
}

/// Findings of the road that all answers take, at the fields of this one.
fn in_fields(refusal: Refusal) -> Refusal {
    let placed = |issue: Issue| {
        let field = match issue.expression.as_str() {
            "Task.status" => "status",
            "Task.meta.versionId" => "version",
            path if path.starts_with("Task.businessStatus") => "businessStatus",
            path if path.starts_with("Task.statusReason") => "text",
            path if path.starts_with("Task.output") => "text",
            path if path.starts_with("Task.reasonCode") => "areas",
            _ => return issue,
        };
        Issue { expression: field.to_owned(), ..issue }
    };
    match refusal {
        Refusal::Findings(issues) => Refusal::Findings(issues.into_iter().map(placed).collect()),
        Refusal::Conflict(issue) => Refusal::Conflict(placed(issue)),
        Refusal::Stale(issue) => Refusal::Stale(placed(issue)),
        other => other,
    }
}
