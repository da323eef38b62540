//! What a unit answers, as the resources that a FHIR server would have sent; and everything that is wrong with it, at its fields.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::super::acknowledge::Change;
use super::super::weigh::Current;
use super::super::{Refusal, identify, part};
use super::{Act, Contact, Said};
use crate::Gateway;
use crate::domain::business_status::BusinessStatus;
use crate::domain::kva;
use crate::domain::task::Status;
use crate::fhir::canonical::{BASE, HSA_ID};
use crate::fhir::issue::{Code, Issue};
use crate::fhir::origin::BY_UNIT;
use crate::fhir::resource::reference_of;
use crate::store::Exchange;

/// An answer that is being made into resources.
pub(super) struct Form<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) exchange: &'a Exchange,
    pub(super) unit: &'a str,
    /// The Task that is answered, as it is stored.
    pub(super) task: &'a Value,
    pub(super) here: &'a Current,
    pub(super) said: &'a Said,
    pub(super) now: DateTime<Utc>,
}

impl Form<'_> {
    pub(super) fn change(&self) -> Result<Change, Refusal> {
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
