//! What a withdrawn consent hides from the units that had the plan: everything that rested on it, on every path, with all
//! its versions. What tells them that it is over stays, and so does what they have on a ground of their own.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::Refusal;
use super::consent::{consent_withdrawn, skip};
use super::route::ties;
use super::weigh::current;
use crate::Gateway;
use crate::domain::delivery::State;
use crate::domain::{Kind, PartyRole, Stage};
use crate::fhir::resource::{references, type_of};
use crate::store::{Commit, DeliveryQuery, Exchange, ExchangeQuery, Expect, Filter, Share};

/// Exchanges of one patient that are looked at.
const MOST: u32 = 100_000;
/// People and units are no secret of the plan's.
const PEOPLE: [&str; 5] = ["Patient", "Organization", "Practitioner", "PractitionerRole", "Location"];

/// A unit that is to see no more.
#[derive(Debug, Clone)]
pub(super) struct Outside {
    pub(super) unit: String,
    /// It has got something: it keeps its own Task and the Consent, which say that it is over.
    pub(super) informed: bool,
}

/// Adds to the commit what hides the plan. `made`: the names of what this version makes beside what stands in the exchange.
pub(super) async fn draw(
    gateway: &Gateway,
    exchange: &Exchange,
    tasks: &BTreeMap<String, String>,
    made: &[Value],
    outside: &[Outside],
    now: DateTime<Utc>,
    commit: &mut Commit,
) -> Result<(), Refusal> {
    if let Some(patient) = &exchange.patient {
        // Whatever gives or takes a ground at this moment has to be weighed too.
        let changes = gateway.store.changes_of_patient(patient).await?;
        commit.expect.push(Expect::Unchanged { patient: patient.clone(), changes });
    }
    let mut names: BTreeSet<String> = gateway.store.resources_of(exchange.id).await?.into_iter().collect();
    names.extend(exchange.resources.iter().cloned());
    names.extend(made.iter().filter_map(crate::fhir::resource::reference_of));
    let told: Vec<&str> = made.iter().filter(|r| type_of(r) == "Consent").flat_map(references).collect();
    let mut left: BTreeMap<Uuid, Exchange> = BTreeMap::new();
    for Outside { unit, informed } in outside {
        let grounds = grounds(gateway, exchange, unit).await?;
        let own_task = tasks.get(unit).map(|id| format!("Task/{id}"));
        let stays = |name: &String| {
            let kind = name.split('/').next().unwrap_or_default();
            let tells = *informed
                && (kind == "Consent"
                    || Some(name) == own_task.as_ref()
                    || (kind == "RelatedPerson" && told.contains(&name.as_str())));
            PEOPLE.contains(&kind) || tells || grounds.kept.contains(name)
        };
        let resources = names.iter().chain(&grounds.lost).filter(|name| !stays(name)).cloned().collect();
        commit.hide.push(Share { resources, units: vec![unit.clone()] });
        for plan in grounds.left {
            left.entry(plan.id).or_insert(plan).parties.retain(|p| p.role == PartyRole::Sender || p.unit != *unit);
        }
    }
    for mut plan in left.into_values() {
        let query = DeliveryQuery { exchange: Some(plan.id), ..DeliveryQuery::default() };
        let gone = |unit: &str| outside.iter().any(|o| o.unit == unit) && !plan.parties.iter().any(|p| p.unit == unit);
        let made = gateway.store.deliveries(&query).await?;
        let open = made.iter().filter(|d| matches!(d.state, State::Waiting | State::Parked) && gone(&d.unit));
        commit.delivery_changes.extend(open.map(skip));
        commit.expect.push(Expect::Revision { exchange: plan.id, revision: plan.revision });
        plan.revision += 1;
        plan.updated_at = now;
        plan.stage = Stage::of_all(plan.recipients().map(|p| p.stage));
        commit.exchanges.push(plan);
    }
    Ok(())
}

/// What a unit has without the consent, and what it had only because of it.
#[derive(Debug, Default)]
struct Grounds {
    kept: BTreeSet<String>,
    /// Resources of the sender's plans that travelled along.
    lost: BTreeSet<String>,
    /// Plans that the unit was sent because it took part here.
    left: Vec<Exchange>,
}

async fn grounds(gateway: &Gateway, here: &Exchange, unit: &str) -> Result<Grounds, Refusal> {
    let mut grounds = Grounds::default();
    let Some(patient) = here.patient.clone() else { return Ok(grounds) };
    let store = &gateway.store;
    let query = ExchangeQuery { patient: Some(patient), limit: MOST, ..ExchangeQuery::default() };
    let all = store.exchanges(&Filter::ALL, &query).await?.matches;
    let is_party = |e: &Exchange| e.parties.iter().any(|p| p.unit.eq_ignore_ascii_case(unit));
    let sender_of = |e: &Exchange| e.sender().map(|s| s.unit.to_ascii_uppercase());
    let mut senders = Vec::new();
    let mut plans = Vec::new();
    for other in all.iter().filter(|e| e.id != here.id && e.kind != Kind::RehabPlan && is_party(e)) {
        let resources: Vec<Value> =
            current(store.resources(&Filter::ALL, &other.resources).await?).into_values().map(|(_, v)| v).collect();
        if other.entered_in_error || consent_withdrawn(&resources) {
            continue;
        }
        grounds.kept.extend(store.resources_of(other.id).await?);
        plans.extend(ties(&resources).plans);
        senders.extend(sender_of(other));
    }
    for plan in all.into_iter().filter(|e| e.kind == Kind::RehabPlan) {
        let sender = sender_of(&plan);
        let takes_part = is_party(&plan);
        let own = sender.as_deref() == Some(&unit.to_ascii_uppercase())
            || plans.contains(&plan.document)
            || (takes_part && sender.as_ref().is_some_and(|s| senders.contains(s)))
            || (takes_part && sender != sender_of(here))
            || (takes_part && is_named(gateway, &plan, unit).await?);
        let resources = store.resources_of(plan.id).await?;
        if own {
            grounds.kept.extend(resources);
        } else {
            grounds.lost.extend(resources);
            grounds.left.extend(takes_part.then_some(plan));
        }
    }
    Ok(grounds)
}

/// Whether the plan's own document names the unit as its recipient.
async fn is_named(gateway: &Gateway, plan: &Exchange, unit: &str) -> Result<bool, Refusal> {
    let Some(document) = gateway.store.document(plan.id, None).await? else { return Ok(false) };
    let Some(table) = gateway.mappings.tables().find(|t| t.name() == document.table) else { return Ok(false) };
    let Ok(tree) = gateway.read(plan.kind, document.format, &document.source) else { return Ok(false) };
    Ok(table.envelope(&tree.value).recipients.iter().any(|r| r.eq_ignore_ascii_case(unit)))
}
