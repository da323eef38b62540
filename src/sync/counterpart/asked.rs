//! What is asked in a Task is the placer's: a partner that changes how urgent it is, or which version of the request it is about,
//! has not changed what it is asked, and a person at the sender sees it.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::super::Refusal;
use super::super::package::PLACERS;
use super::{Clashes, home, open};
use crate::Gateway;
use crate::domain::audit::{By, Deed, Event};
use crate::domain::ownership::{Owner, owner};
use crate::fhir::three_way::incoming;
use crate::store::{Commit, Committed, Counterpart, Expect, Filter, OpenTask};
use crate::sync::witness;

/// Looks at a partner's copy of a Task for what is not the partner's. Where ours was moved meanwhile nothing is said: the next
/// round reads both.
pub(in crate::sync) async fn check_asked(
    gateway: &Gateway,
    partner: &str,
    of: &OpenTask,
    theirs: &Value,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let store = &gateway.store;
    let name = format!("Task/{}", of.task);
    let Some(known) = store.counterparts(partner, std::slice::from_ref(&name)).await?.pop() else { return Ok(()) };
    let Some(stored) = store.resource(&Filter::ALL, "Task", &of.task).await? else { return Ok(()) };
    let ours: Value = serde_json::from_slice(&stored.body).unwrap_or_default();
    let base: Value = serde_json::from_slice(&known.body).unwrap_or_default();
    let mut found = incoming(&base, &ours, theirs, |path| owner("Task", path) == Owner::Filler).clashes;
    found.retain(|clash| PLACERS.contains(&clash.path.as_str()));
    let Some(exchange) = home(gateway, &name).await? else { return Ok(()) };
    if found.is_empty() || Some(stored.version) != of.version || store.is_under_way(partner, &known.patient).await? {
        return Ok(());
    }
    let clashes = found.len();
    let mut commit = Commit {
        expect: vec![
            Expect::Counterpart {
                partner: partner.to_owned(),
                resource_type: "Task".to_owned(),
                id: of.task.clone(),
                mark: Some(known.mark),
            },
            Expect::Revision { exchange: exchange.id, revision: exchange.revision },
        ],
        counterparts: vec![Counterpart { body: serde_json::to_vec(theirs).unwrap_or_default(), ..known }],
        ..Commit::default()
    };
    open(gateway, &mut commit, &exchange, partner, &Clashes { name: name.clone(), found }, now).await?;
    let event = Event::new(now, By::named(partner), Deed::Sync, name)
        .with("exchange", exchange.id.to_string())
        .with("partner", partner)
        .with("conflicts", clashes);
    commit.audit.push(witness::wrote(event, &commit));
    // Where others were faster it is looked at again when it changes, or in a full round.
    let _: Committed = store.commit(commit).await?;
    Ok(())
}
