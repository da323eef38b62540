//! A new version of a document comes in, and performers have said something of their activities since the one before: their word
//! stays, and a sender that says something else hears so.

use serde_json::Value;

use super::super::Refusal;
use super::super::weigh::Current;
use super::clash::Clashes;
use crate::Gateway;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::resource::{id_of, reference_of, type_of};
use crate::fhir::three_way::{Clash, get, put};
use crate::store::{Owned, OwnedChange};

/// What was kept, and what is to be told of it.
#[derive(Debug, Default)]
pub(in crate::sync) struct Kept {
    pub(in crate::sync) issues: Vec<Issue>,
    pub(in crate::sync) changes: Vec<OwnedChange>,
    /// By partner.
    pub(in crate::sync) clashes: Vec<(String, Clashes)>,
}

/// Puts the performers' words where the new version has others.
pub(in crate::sync) async fn keep(
    gateway: &Gateway,
    resources: &mut [Value],
    current: &Current,
) -> Result<Kept, Refusal> {
    let mut kept = Kept::default();
    for resource in resources.iter_mut().filter(|r| type_of(r) == "CarePlan") {
        let (Some(name), Some(id)) = (reference_of(resource), id_of(resource).map(str::to_owned)) else { continue };
        if !current.contains_key(&name) {
            continue;
        }
        for said in gateway.store.owned("CarePlan", &id).await? {
            let item = said.path.split_once(']').map_or(said.path.as_str(), |(item, _)| item);
            // What is asked for no more is nobody's.
            if get(resource, &format!("{item}]")).is_none() {
                kept.changes.push(OwnedChange::Taken {
                    resource_type: said.resource_type,
                    id: said.id,
                    path: said.path,
                });
                continue;
            }
            let wanted = get(resource, &said.path).cloned();
            put(resource, &said.path, said.said.clone());
            if wanted == said.said || wanted == said.was {
                continue;
            }
            kept.issues.push(stands(&said));
            let found = vec![Clash {
                path: said.path.clone(),
                base: said.was.clone(),
                ours: wanted.clone(),
                theirs: said.said.clone(),
            }];
            kept.clashes.push((said.partner.clone(), Clashes { name: name.clone(), found }));
            kept.changes.push(OwnedChange::Said(Owned { was: wanted, ..said }));
        }
    }
    Ok(kept)
}

fn stands(_: &Owned) -> Issue {
    Issue::warning(
        Code::Conflict,
        "interventions[].status",
        "En åtgärds läge har ändrats av den enhet som utför den: dess ord står kvar, och skillnaden finns som en uppgift att avgöra.",
        "How an intervention stands was changed by the unit that carries it out: its word stands, and the difference is a Task to be settled.",
    )
}
