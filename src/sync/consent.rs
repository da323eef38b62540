//! What a refused or withdrawn consent stops: nothing more is sent, whoever has the plan is told, and nobody else sees it.

use serde_json::Value;

use super::Refusal;
use super::abort::may_cancel;
use super::package::is_pushed;
use super::weigh::{current, set_status};
use crate::Gateway;
use crate::domain::Stage;
use crate::domain::delivery::State;
use crate::domain::task::Status;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::resource::type_of;
use crate::partner::had_no_effect;
use crate::store::{Action, Delivery, DeliveryChange, DeliveryQuery, Exchange, Expect, Filter};

/// Whether the patient has refused or taken back the consent that the document rests on.
pub(super) fn consent_withdrawn(resources: &[Value]) -> bool {
    let gone = |status: &Value| status == "inactive" || status == "rejected";
    resources.iter().any(|r| type_of(r) == "Consent" && gone(&r["status"]))
}

pub(super) fn no_consent() -> Issue {
    Issue::error(
        Code::BusinessRule,
        "consent.decision",
        "En SIP kräver patientens samtycke (HSL 16 kap. 4 §); med ett nekat eller återkallat samtycke tas den inte emot.",
        "A SIP needs the patient's consent (HSL 16:4); with a refused or withdrawn one it is not taken.",
    )
}

/// The resources that belong to this exchange alone: everything but people and units.
pub(super) fn only_here(exchange: &Exchange) -> Vec<String> {
    let shared = ["Patient/", "Organization/", "Practitioner/", "PractitionerRole/", "RelatedPerson/", "Location/"];
    exchange.resources.iter().filter(|r| !shared.iter().any(|s| r.starts_with(s))).cloned().collect()
}

/// What a withdrawal stops, and who has to be told of it.
pub(super) struct Stop {
    pub(super) changes: Vec<DeliveryChange>,
    /// Units that have got something of it.
    pub(super) informed: Vec<String>,
    /// That nobody else has got anything meanwhile.
    pub(super) expect: Vec<Expect>,
}

/// What was not sent is never sent; whoever has got the plan is told that the consent is withdrawn.
pub(super) async fn stop_deliveries(gateway: &Gateway, exchange: &Exchange) -> Result<Stop, Refusal> {
    let query = DeliveryQuery { exchange: Some(exchange.id), ..DeliveryQuery::default() };
    let made = gateway.store.deliveries(&query).await?;
    let (mut sent, mut expect) = (Vec::new(), Vec::new());
    for delivery in made.iter().filter(|d| d.action != Action::Notice) {
        // A delivery that was tried may have arrived although nobody said so, unless there never was a connection.
        let tries = gateway.store.attempts(delivery.id).await?;
        // So may one whose attempt is under way, or was cut off with the program.
        let tried = tries.iter().any(|a| !had_no_effect(a.reason.as_deref()));
        if delivery.state == State::Delivered || tried || delivery.begun_at.is_some() {
            sent.push(delivery.unit.clone());
        } else {
            expect.push(Expect::Untried { delivery: delivery.id, attempts: delivery.attempts });
        }
    }
    let fetched = exchange
        .recipients()
        .filter(|p| !is_pushed(gateway, &p.partner) && p.stage != Stage::Waiting)
        .map(|p| p.unit.clone());
    let informed = sent.into_iter().chain(fetched).collect();
    let open = |d: &&Delivery| matches!(d.state, State::Waiting | State::Parked) && d.action != Action::Notice;
    let changes = made.iter().filter(open).map(skip).collect();
    Ok(Stop { changes, informed, expect })
}

/// What was not sent is never sent.
pub(super) fn skip(delivery: &Delivery) -> DeliveryChange {
    DeliveryChange {
        id: delivery.id,
        from: delivery.state,
        to: State::Skipped,
        due_at: delivery.due_at,
        note: Some("samtycket är återkallat | the consent is withdrawn".into()),
        attempt: None,
    }
}

/// Whether the exchange rests on a consent that is gone.
pub(super) async fn rests_on_nothing(gateway: &Gateway, exchange: &Exchange) -> Result<bool, Refusal> {
    let names: Vec<String> = exchange.resources.iter().filter(|r| r.starts_with("Consent/")).cloned().collect();
    let consents = current(gateway.store.resources(&Filter::ALL, &names).await?);
    Ok(consent_withdrawn(&consents.into_values().map(|(_, v)| v).collect::<Vec<_>>()))
}

/// A part in the plan ends with the consent, whoever had begun: the owner of a Task is told so by the Task.
pub(super) fn end_part(task: &mut Value) {
    let from = task["status"].as_str().and_then(Status::parse).unwrap_or(Status::Requested);
    if let (true, Some(object)) = (may_cancel(from), task.as_object_mut()) {
        set_status(object, Status::Cancelled, Some("Samtycket är återkallat. | The consent is withdrawn."));
    }
}

/// What a unit that had the plan is sent when the consent is gone: that it is, and nothing of the plan.
pub(super) fn tells_the_end(resource: &Value) -> bool {
    let kinds = ["Patient", "Organization", "Practitioner", "PractitionerRole", "RelatedPerson", "Consent", "Task"];
    kinds.contains(&type_of(resource))
}
