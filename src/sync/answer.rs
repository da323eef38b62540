//! The answer of a unit whose system is no FHIR server: one JSON object about its Task, made into what the FHIR road takes and
//! applied there, in one commit. Findings speak of the fields of that object, and come all at once.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::acknowledge::{Applied, Change, Heard, Kept, acknowledge, receipt};
use super::part::{self, AreaAnswer};
use super::refusal::missing;
use super::submit::Answered;
use super::weigh::{Current, current};
use super::{Refusal, abort, identify};
use crate::Gateway;
use crate::access::Caller;
use crate::domain::business_status::BusinessStatus;
use crate::domain::kva;
use crate::domain::task::Status;
use crate::fhir::canonical::{BASE, HSA_ID};
use crate::fhir::issue::{Code, Issue};
use crate::fhir::origin::BY_UNIT;
use crate::fhir::resource::reference_of;
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

/// An answer that is being made into resources.
struct Form<'a> {
    gateway: &'a Gateway,
    exchange: &'a Exchange,
    unit: &'a str,
    /// The Task that is answered, as it is stored.
    task: &'a Value,
    here: &'a Current,
    said: &'a Said,
    now: DateTime<Utc>,
}

impl Form<'_> {
    fn change(&self) -> Result<Change, Refusal> {
        let said = self.said;
        let stands = self.task["status"].as_str().and_then(Status::parse).unwrap_or(Status::Requested);
        let status = match (said.stops, &said.redirect_to) {
            (Some(true), _) => Status::Completed,
            (Some(false), _) | (None, Some(_)) => Status::Rejected,
            (None, None) => said.status.unwrap_or(stands),
        };
        let mut issues = self.wrong(status);
        let (mut resources, mut output) = (Vec::new(), list(&self.task["output"]).to_vec());
        let says_why = matches!(status, Status::Rejected | Status::Failed | Status::Cancelled | Status::OnHold);
        let text = said.text.as_ref().filter(|_| said.stops.is_none());
        if let Some(text) = text.filter(|_| !says_why) {
            let answer = self.communication("answer", text, said.by.as_deref());
            self.leave("answer", answer, "text", &mut resources, &mut output, &mut issues);
        }
        if let Some(contact) = &said.confirmed_contact {
            let resource = self.contact(contact, &mut issues);
            self.leave("patient-contact", resource, "confirmedContact", &mut resources, &mut output, &mut issues);
        }
        for (index, act) in said.activities.iter().enumerate() {
            let place = format!("activities[{index}]");
            self.leave("activity", self.procedure(act), &place, &mut resources, &mut output, &mut issues);
        }
        if !issues.is_empty() {
            return Err(Refusal::Findings(issues));
        }
        let reason = match &said.text {
            Some(text) if says_why || said.stops.is_some() => json!({ "text": text }),
            _ if status == stands => self.task["statusReason"].clone(),
            _ => Value::Null,
        };
        let business_status = match said.business_status {
            Some(business) => part::concept(business),
            None if status == stands => self.task["businessStatus"].clone(),
            None => Value::Null,
        };
        let redirect = said.redirect_to.clone().map(|to| (to, "redirectTo".to_owned()));
        let note = self.task["note"].clone();
        Ok(Change {
            status,
            reason,
            business_status,
            note,
            output,
            resources,
            areas: said.areas.clone(),
            children: Vec::new(),
            redirect,
        })
    }

    /// What cannot be said so, whatever is in it.
    fn wrong(&self, status: Status) -> Vec<Issue> {
        let said = self.said;
        let mut issues = Vec::new();
        let mut add = |code, place: &str, sv: &str, en: &str| issues.push(Issue::error(code, place, sv, en));
        let more = said.status.is_some()
            || said.business_status.is_some()
            || !said.areas.is_empty()
            || said.confirmed_contact.is_some()
            || !said.activities.is_empty();
        if said.stops.is_some() && (more || said.redirect_to.is_some()) {
            add(
                Code::BusinessRule,
                "cancellation",
                "Svara på begäran att avbryta för sig: bara text, by och version hör dit.",
                "Answer the request to stop by itself: only text, by and version go with it.",
            );
        }
        if said.redirect_to.is_some() && (more && said.status != Some(Status::Rejected) || !said.areas.is_empty()) {
            add(
                Code::BusinessRule,
                "redirectTo",
                "Den som skickar vidare säger inget annat: bara text, by och version hör dit.",
                "Who sends on says nothing else: only text, by and version go with it.",
            );
        }
        if said.stops.is_none() && said.redirect_to.is_none() && !more && said.text.is_none() {
            add(
                Code::Required,
                "status",
                "Svaret är tomt: ange åtminstone status.",
                "The answer is empty: give at least a status.",
            );
        }
        let refuses = said.stops == Some(false);
        let has_answer = list(&self.task["output"]).iter().any(|o| o["type"]["text"] == "answer");
        let needs =
            (said.stops.is_none() && said.redirect_to.is_none() && said.status.is_some_and(Status::needs_answer))
                && !(status == Status::Completed && has_answer);
        if (refuses || needs) && said.text.is_none() {
            add(
                Code::Required,
                "text",
                "Ett svar till avsändaren saknas: vad som gjordes, eller varför inte.",
                "An answer to the sender is missing: what was done, or why not.",
            );
        }
        let is_handover = list(&self.task["meta"]["profile"])
            .iter()
            .any(|p| *p == format!("{BASE}/StructureDefinition/active-handover-task"));
        let has_contact = list(&self.task["output"]).iter().any(|o| o["type"]["text"] == "patient-contact");
        if is_handover && status == Status::Completed && said.confirmed_contact.is_none() && !has_contact {
            add(
                Code::Required,
                "confirmedContact",
                "En aktiv överlämning avslutas med bekräftad kontakt med patienten: ange när och hur.",
                "An active handover ends with a confirmed contact with the patient: say when and how.",
            );
        }
        if !is_handover && said.confirmed_contact.is_some() {
            add(
                Code::BusinessRule,
                "confirmedContact",
                "Bekräftad kontakt hör till en aktiv överlämning.",
                "A confirmed contact belongs to an active handover.",
            );
        }
        let early = matches!(status, Status::Received | Status::Requested | Status::Rejected);
        if early && !said.activities.is_empty() {
            add(
                Code::BusinessRule,
                "activities",
                "Åtgärder redovisas när begäran är accepterad.",
                "What was done is told when the request is accepted.",
            );
        }
        if let Some(business) = said.business_status.filter(|b| b.follows() || !b.beside().contains(&status)) {
            let beside = business.beside().iter().map(|s| s.code()).collect::<Vec<_>>().join(", ");
            let (sv, en) = match business {
                BusinessStatus::Redirected => {
                    ("Ange enheten i redirectTo.".to_owned(), "Give the unit in redirectTo.".to_owned())
                }
                BusinessStatus::PartlyAccepted => (
                    "Svara på områdena i areas; att begäran är delvis accepterad följer av det.".to_owned(),
                    "Answer the areas in areas; that the request is taken in part follows from that.".to_owned(),
                ),
                _ => (
                    format!("{business} sägs bredvid {beside}, inte bredvid {status}."),
                    format!("{business} is said beside {beside}, not beside {status}."),
                ),
            };
            add(Code::BusinessRule, "businessStatus", &sv, &en);
        }
        issues
    }

    /// Adds a resource with the output that points at it, in place of what such an output said before; an activity is one more.
    fn leave(
        &self,
        kind: &str,
        resource: Value,
        place: &str,
        resources: &mut Vec<Value>,
        output: &mut Vec<Value>,
        issues: &mut Vec<Issue>,
    ) {
        let found = self.gateway.validate(std::slice::from_ref(&resource));
        issues.extend(found.into_iter().filter(Issue::is_error).map(|issue| placed(issue, place)));
        let name = reference_of(&resource);
        let said = json!({ "type": { "text": kind }, "valueReference": { "reference": name } });
        if kind != "activity" {
            output.retain(|o| o["type"]["text"] != kind);
        }
        if !output.contains(&said) {
            output.push(said);
        }
        // What was told before stands as it was told.
        if name.as_ref().is_none_or(|name| !self.here.contains_key(name)) {
            resources.push(resource);
        }
    }

    fn communication(&self, kind: &str, text: &str, by: Option<&str>) -> Value {
        let task = self.task["id"].as_str().unwrap_or_default();
        let mut communication = json!({
            "resourceType": "Communication",
            "id": identify::id(&["answer", task, kind, text, by.unwrap_or_default()]),
            "meta": self.meta("referral-answer"),
            "basedOn": self.based_on(),
            "status": "completed",
            "category": [{ "coding": [{ "system": format!("{BASE}/CodeSystem/communication-kind"), "code": kind }] }],
            "subject": self.task["for"],
            "sent": self.now.to_rfc3339_opts(SecondsFormat::Millis, true),
            "sender": self.who(by),
            "payload": [{ "contentString": text }],
        });
        without_nulls(&mut communication);
        communication
    }

    fn contact(&self, contact: &Contact, issues: &mut Vec<Issue>) -> Value {
        let by = contact.by.as_deref().or(self.said.by.as_deref());
        let mut resource = self.communication("patient-contact", contact.text.as_deref().unwrap_or_default(), by);
        let task = self.task["id"].as_str().unwrap_or_default();
        resource["id"] = json!(identify::id(&["patient-contact", task, &contact.at]));
        resource["meta"] = self.meta("patient-contact");
        resource["sent"] = json!(contact.at);
        if contact.text.is_none() {
            resource["payload"] = Value::Null;
        }
        if let Some(medium) = &contact.medium {
            match self.gateway.mappings.coded("codes/medium", medium) {
                Ok(code) => {
                    let system = "http://terminology.hl7.org/CodeSystem/v3-ParticipationMode";
                    resource["medium"] = json!([{ "coding": [{ "system": system, "code": code }] }]);
                }
                Err(near) => {
                    issues.push(Issue::error(
                        Code::CodeInvalid,
                        "confirmedContact.medium",
                        format!("Sättet är inte känt; närmast: {near}."),
                        format!("The medium is not known; nearest: {near}."),
                    ));
                }
            }
        }
        without_nulls(&mut resource);
        resource
    }

    fn procedure(&self, act: &Act) -> Value {
        let task = self.task["id"].as_str().unwrap_or_default();
        let mut procedure = json!({
            "resourceType": "Procedure",
            "id": identify::id(&["activity", task, &act.kva, &act.at]),
            "meta": self.meta("kva-procedure"),
            "basedOn": self.based_on(),
            "status": "completed",
            "code": { "coding": [{ "system": kva::SYSTEM, "code": act.kva }] },
            "subject": self.task["for"],
            "performedDateTime": act.at,
            "performer": [{ "actor": self.who(self.said.by.as_deref()), "onBehalfOf": self.who(None) }],
        });
        without_nulls(&mut procedure);
        procedure
    }

    fn meta(&self, profile: &str) -> Value {
        json!({
            "source": format!("{BY_UNIT}{}", self.unit),
            "profile": [format!("{BASE}/StructureDefinition/{profile}")],
        })
    }

    /// The request, where the Task is about one.
    fn based_on(&self) -> Value {
        let focus = self.task["focus"]["reference"].as_str().unwrap_or_default();
        let is_request = focus.starts_with("ServiceRequest/") && self.exchange.resources.iter().any(|r| r == focus);
        if is_request { json!([{ "reference": focus }]) } else { Value::Null }
    }

    /// A person by HSA-id, or the unit itself.
    fn who(&self, by: Option<&str>) -> Value {
        let kind = if by.is_some() { "Practitioner" } else { "Organization" };
        json!({ "type": kind, "identifier": { "system": HSA_ID, "value": by.unwrap_or(self.unit) } })
    }
}

fn without_nulls(resource: &mut Value) {
    if let Some(object) = resource.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A finding about a resource that was made of a field, at the field.
fn placed(issue: Issue, place: &str) -> Issue {
    let field = match issue.expression.as_str() {
        path if path.starts_with("Procedure.code") => ".kva",
        path if path.starts_with("Procedure.performed") => ".at",
        path if path.starts_with("Communication.sent") && place == "confirmedContact" => ".at",
        path if path.starts_with("Communication.medium") => ".medium",
        path if path.starts_with("Communication.payload") && place == "confirmedContact" => ".text",
        _ => "",
    };
    Issue { expression: format!("{place}{field}"), ..issue }
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
