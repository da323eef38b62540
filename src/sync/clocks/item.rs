//! The Task that tells one unit what is overdue: its own move, or that another has not made its move.
//!
//! Its id follows from the wait and its owner, so a wait that is overdue again opens the same Task again. It belongs to no
//! exchange, as reading it is not reading the document; blocks and removal find it by what it was made for.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::identify;
use super::super::weigh::{instant, touch};
use crate::Gateway;
use crate::domain::clock::pause::FOREVER;
use crate::domain::clock::{Priority, Step};
use crate::fhir::canonical::{BASE, HSA_ID};
use crate::store::{Exchange, Waiting};

/// The codes of such Tasks in our CodeSystem `worklist`.
pub const OVERDUE: &str = "overdue";
pub const PATIENT_DECEASED: &str = "patient-deceased";

/// On whose worklist it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'a> {
    /// The unit that is asked.
    Unit,
    Sender,
    /// Another unit of the exchange, where it is about a death.
    Party(&'a str),
    /// Whoever runs the gateway.
    Gateway,
}

/// What is told.
pub struct Telling<'a> {
    pub exchange: &'a Exchange,
    pub wait: &'a Waiting,
    pub level: u8,
    pub is_deceased: bool,
}

/// The word for a level in our CodeSystem `overdue-level`.
pub fn level_code(level: u8) -> &'static str {
    if level > 1 { "escalation" } else { "reminder" }
}

impl Telling<'_> {
    /// The unit that sees it; none where it is for whoever runs the gateway.
    pub fn unit<'s>(&'s self, owner: Owner<'s>) -> Option<&'s str> {
        match owner {
            Owner::Unit => Some(&self.wait.unit),
            Owner::Sender => Some(&self.wait.sender),
            Owner::Party(unit) => Some(unit),
            Owner::Gateway => None,
        }
    }

    pub fn id(&self, gateway: &Gateway, owner: Owner<'_>) -> String {
        let exchange = self.exchange.id.to_string();
        let to = self.unit(owner).unwrap_or(&gateway.config.hsa_id).to_ascii_uppercase();
        if self.is_deceased {
            return identify::id(&[PATIENT_DECEASED, &exchange, &to]);
        }
        let unit = self.wait.unit.to_ascii_uppercase();
        identify::id(&[OVERDUE, &exchange, &unit, self.wait.step.code(), &self.wait.subject, &to])
    }

    /// As it is to stand; `stored` as it stands.
    pub fn task(&self, gateway: &Gateway, owner: Owner<'_>, stored: Option<&Value>, now: DateTime<Utc>) -> Value {
        let (wait, is_for_unit) = (self.wait, owner != Owner::Gateway);
        let (sv, en) = self.text(gateway, owner);
        let code = if self.is_deceased { PATIENT_DECEASED } else { OVERDUE };
        let coding = |system: &str, code: &str| json!({ "coding": [{ "system": format!("{BASE}/CodeSystem/{system}"), "code": code }] });
        let is_open = stored.is_some_and(|task| task["status"] != "completed");
        let mut due = json!({ "start": instant(wait.since) });
        if let Some(at) = DateTime::from_timestamp_millis(wait.due_at).filter(|_| wait.due_at < FOREVER) {
            due["end"] = json!(instant(at));
        }
        let priority = if self.level > 1 { wait.priority.max(Priority::Urgent) } else { wait.priority };
        let mut task = json!({
            "resourceType": "Task",
            "id": self.id(gateway, owner),
            "meta": { "profile": [format!("{BASE}/StructureDefinition/overdue-task")] },
            // How the exchange is found: GET /v1/exchanges/{id}.
            "identifier": [{ "system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{}", self.exchange.id) }],
            "status": "requested",
            "businessStatus": if self.is_deceased { Value::Null } else { coding("overdue-level", level_code(self.level)) },
            "intent": "order",
            "priority": priority.code(),
            "code": coding("worklist", code),
            "description": format!("{sv} | {en}"),
            "focus": if is_for_unit { self.focus() } else { Value::Null },
            "for": self.exchange.patient.as_ref().filter(|_| is_for_unit)
                .map(|id| json!({ "reference": format!("Patient/{id}") })),
            "authoredOn": stored.filter(|_| is_open).map_or_else(|| json!(instant(now)), |task| task["authoredOn"].clone()),
            "requester": { "type": "Organization", "identifier": { "system": HSA_ID, "value": gateway.config.hsa_id } },
            "owner": {
                "type": "Organization",
                "identifier": { "system": HSA_ID, "value": self.unit(owner).unwrap_or(&gateway.config.hsa_id) },
            },
            "reasonCode": if self.is_deceased { Value::Null } else { self.reason(owner) },
            "restriction": if self.is_deceased { Value::Null } else { json!({ "period": due }) },
        });
        if let Some(object) = task.as_object_mut() {
            object.retain(|_, value| !value.is_null());
            touch(object, now);
        }
        task
    }

    /// What its owner is asked to do, in Swedish and English; of which area, where it is about one.
    fn text(&self, gateway: &Gateway, owner: Owner<'_>) -> (String, String) {
        let (sv, en) = match self.is_deceased {
            true if owner == Owner::Sender => ON_DEATH,
            true => ON_DEATH_TO_PARTY,
            false => text(self.wait.step, owner),
        };
        let Some(area) = self.area(owner) else { return (sv.to_owned(), en.to_owned()) };
        let system = format!("{BASE}/CodeSystem/rehab-area");
        let terminology = gateway.conformance.profiles.terminology();
        let words = terminology.words(&system, area);
        let (in_sv, in_en) = words.map_or((area, area), |words| (words.sv.as_str(), words.en.as_str()));
        (format!("{in_sv}: {sv}"), format!("{in_en}: {en}"))
    }

    /// Whoever runs the gateway needs not know what care it is about.
    fn area(&self, owner: Owner<'_>) -> Option<&str> {
        self.wait.area().filter(|_| owner != Owner::Gateway && !self.is_deceased)
    }

    fn reason(&self, owner: Owner<'_>) -> Value {
        let coding =
            |system: &str, code: &str| json!({ "system": format!("{BASE}/CodeSystem/{system}"), "code": code });
        let mut codings = vec![coding("overdue-step", self.wait.step.code())];
        codings.extend(self.area(owner).map(|area| coding("rehab-area", area)));
        json!({ "coding": codings })
    }

    /// The Task that is not moved, or what the document is about where nobody has one.
    fn focus(&self) -> Value {
        let wait = self.wait;
        let is_abort = wait.step == Step::NoAbortAnswer;
        let task = if is_abort { Some(wait.subject.as_str()) } else { wait.task.as_deref() };
        if let Some(task) = task.filter(|_| !self.is_deceased) {
            return json!({ "reference": format!("Task/{task}") });
        }
        super::super::worklist::focus(self.exchange)
    }
}

const ON_DEATH: (&str, &str) = (
    "Patienten är avliden: ärendets klockor står stilla. Återta det som inte längre ska göras och meddela mottagaren.",
    "The patient has died: the clocks of the exchange stand still. Take back what is not to be done any more, and tell the recipient.",
);

const ON_DEATH_TO_PARTY: (&str, &str) = (
    "Patienten är avliden: ärendets klockor står stilla. Avboka det som är planerat, och avsluta det som inte längre ska göras.",
    "The patient has died: the clocks of the exchange stand still. Cancel what is booked, and end what is not to be done any more.",
);

/// What its owner is asked to do.
fn text(step: Step, owner: Owner<'_>) -> (&'static str, &'static str) {
    let is_copy = owner == Owner::Sender;
    match step {
        Step::NotDelivered if owner == Owner::Gateway => (
            "Mottagarens system tar inte emot: se leveransen och hör av er till dem som förvaltar systemet.",
            "The recipient's system does not take it: see the delivery, and call those who run the system.",
        ),
        Step::NotDelivered if is_copy => (
            "Mottagaren har inte fått dokumentet: det försöks igen av sig självt. Hör av er till enheten på annat sätt.",
            "The recipient has not got the document: it goes on being tried. Reach the unit in another way.",
        ),
        Step::NotDelivered => (
            "Ett dokument till enheten är inte hämtat: hämta det.",
            "A document for the unit has not been fetched: fetch it.",
        ),
        Step::Parked => (
            "Dokumentet väntar på en person hos er: se vad som saknas under attention i ärendet.",
            "The document waits for a person of yours: see what is missing under attention in the exchange.",
        ),
        Step::NoConsultation => (
            "Remissen är inte sänd: registrera samråd med patienten och med primärvården, eller ta tillbaka den.",
            "The referral is not sent: record the consultations with the patient and with primary care, or take it back.",
        ),
        Step::NoReceipt if is_copy => (
            "Mottagaren har inte kvitterat: hör av er till enheten.",
            "The recipient has not acknowledged it: call the unit.",
        ),
        Step::NoReceipt => (
            "Kvittera uppgiften (received), acceptera den eller avvisa den med ett skäl.",
            "Acknowledge the Task (received), accept it, or reject it with a reason.",
        ),
        Step::NoDecision if is_copy => (
            "Mottagaren har varken accepterat eller avvisat: hör av er till enheten.",
            "The recipient has neither accepted nor rejected it: call the unit.",
        ),
        Step::NoDecision => {
            ("Acceptera uppgiften eller avvisa den med ett skäl.", "Accept the Task, or reject it with a reason.")
        }
        Step::NoCompletion => (
            "Mottagaren väntar på komplettering: sänd en ny version, eller återta.",
            "The recipient waits for more: send a new version, or take it back.",
        ),
        Step::NoContact if is_copy => (
            "Mottagaren har inte bekräftat kontakt med patienten: ni ansvarar till dess. Hör av er till enheten.",
            "The recipient has not confirmed a contact with the patient: until then you are responsible. Call the unit.",
        ),
        Step::NoContact => (
            "Ta kontakt med patienten och bekräfta kontakten i uppgiften.",
            "Contact the patient, and confirm the contact in the Task.",
        ),
        Step::NoOutcome if is_copy => (
            "Mottagaren har accepterat men inte svarat: hör av er till enheten.",
            "The recipient has accepted and not answered: call the unit.",
        ),
        Step::NoOutcome => (
            "Svara avsändaren: slutför uppgiften med ett svar, eller säg varför det dröjer.",
            "Answer the sender: complete the Task with an answer, or say why it takes time.",
        ),
        Step::NoTaker => (
            "Mottagaren tar inte området och ingen annan har det: ni ansvarar. Vänd er till en annan enhet, eller sänd en ny version utan området.",
            "The recipient does not take the area and nobody else has it: you are responsible. Ask another unit, or send a new version without it.",
        ),
        Step::NotCalled => (
            "Kalla till SIP-möte, och sänd planen med mötets tid.",
            "Call the SIP meeting, and send the plan with its time.",
        ),
        Step::NoAbortAnswer if is_copy => (
            "Mottagaren har inte svarat på er begäran att avbryta: hör av er till enheten.",
            "The recipient has not answered your request to stop: call the unit.",
        ),
        Step::NoAbortAnswer => (
            "Avsändaren ber er avbryta: godta begäran (completed) eller avvisa den (rejected).",
            "The sender asks you to stop: agree (completed) or refuse (rejected).",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_a_code_in_the_code_system_and_says_what_to_do_in_two_languages() {
        let text_of = |name: &str| std::fs::read_to_string(format!("profiles/CodeSystem-{name}.json")).unwrap();
        let codes = |name: &str| -> Vec<String> {
            let system: Value = serde_json::from_str(&text_of(name)).unwrap();
            let concepts = system["concept"].as_array().unwrap().clone();
            concepts.iter().map(|c| c["code"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(codes("overdue-step"), Step::ALL.map(|step| step.code().to_owned()));
        assert_eq!(codes("overdue-level"), [level_code(1), level_code(2)]);
        assert!([OVERDUE, PATIENT_DECEASED].iter().all(|code| codes("worklist").iter().any(|c| c == code)));
        for (step, owner) in Step::ALL.into_iter().flat_map(|s| [Owner::Unit, Owner::Sender].map(|o| (s, o))) {
            let (sv, en) = text(step, owner);
            assert!(sv.ends_with('.') && en.ends_with('.') && sv != en, "{step:?}");
        }
    }
}
