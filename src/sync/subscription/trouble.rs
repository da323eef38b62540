//! What waits for a person: a subscriber that is told no more has a Task on the worklist of whoever runs the gateway, until its
//! client begins the subscription again or ends it.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Gateway;
use crate::fhir::canonical::{BASE, HSA_ID};
use crate::store::{Commit, Filter, Subscription};
use crate::sync::weigh::{Scale, Weighed, current, instant, touch};
use crate::sync::{Refusal, identify};

/// The code of such a Task in our CodeSystem `worklist`.
const FAILED: &str = "subscription-failed";

fn task_id(subscription: Uuid) -> String {
    identify::id(&["worklist", "subscription", &subscription.to_string()])
}

/// Adds the Task to the commit that gives up.
pub(super) async fn begin(
    gateway: &Gateway,
    commit: &mut Commit,
    subscription: &Subscription,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let owner = json!({ "type": "Organization", "identifier": { "system": HSA_ID, "value": gateway.config.hsa_id } });
    let mut task = json!({
        "resourceType": "Task",
        "id": task_id(subscription.id),
        "identifier": [{ "system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{}", subscription.id) }],
        "status": "requested",
        "statusReason": { "text": reason },
        "intent": "order",
        "priority": "routine",
        "code": { "coding": [{ "system": format!("{BASE}/CodeSystem/worklist"), "code": FAILED }] },
        "description": "Prenumeranten får inga fler besked: hör av er till partens förvaltning. När den begär prenumerationen igen (PUT, \
            requested) sänds det som väntar. | The subscriber is told no more: get in touch with whoever runs its system. When it asks \
            for the subscription again (PUT, requested), what waits is sent.",
        "authoredOn": instant(now),
        "requester": owner,
        "owner": owner,
        "note": [{ "text": format!("{} · {}", subscription.client, subscription.topic) }],
    });
    if let Some(object) = task.as_object_mut() {
        touch(object, now);
    }
    put(gateway, commit, subscription.id, now, |stored| {
        let authored = stored.map(|stored| stored["authoredOn"].clone());
        if let Some(authored) = authored {
            task["authoredOn"] = authored;
        }
        Some(task)
    })
    .await
}

/// Adds the end of the Task, where there is one that is open.
pub(super) async fn end(
    gateway: &Gateway,
    commit: &mut Commit,
    subscription: Uuid,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    put(gateway, commit, subscription, now, |stored| {
        let mut task = stored.filter(|task| task["status"] == "requested").cloned()?;
        if let Some(object) = task.as_object_mut() {
            object.insert("status".into(), json!("completed"));
            object.shift_remove("statusReason");
            touch(object, now);
        }
        Some(task)
    })
    .await
}

async fn put(
    gateway: &Gateway,
    commit: &mut Commit,
    subscription: Uuid,
    now: DateTime<Utc>,
    make: impl FnOnce(Option<&Value>) -> Option<Value>,
) -> Result<(), Refusal> {
    let name = format!("Task/{}", task_id(subscription));
    let current = current(gateway.store.resources(&Filter::ALL, std::slice::from_ref(&name)).await?);
    let mut weighed = Weighed::default();
    if let Some(task) = make(current.get(&name).map(|(_, task)| task)) {
        Scale { now, patient: None, units: &[], exchange: None }.add(&task, &current, &mut weighed);
    }
    commit.put.extend(weighed.put);
    commit.expect.extend(weighed.expect);
    Ok(())
}
