//! A request that was sent on, as its sender has to do with it: a newer version finds whoever has it now, and the document
//! shows one Task.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Refusal;
use super::part::is_part;
use super::redirect::{FROM, TO, continues, is_redirected, list, owner_of};
use super::weigh::current;
use crate::domain::Format;
use crate::domain::task::Status;
use crate::fhir::issue::Issue;
use crate::fhir::resource::{content, id_of, reference_of, type_of};
use crate::store::{Exchange, Filter, Store};

/// What a newer version of a request becomes where the unit that it names has sent the request on: the version goes to whoever
/// has it now, as long as that unit's Task is open. Otherwise the unit that is named is asked anew.
#[derive(Debug, Default)]
pub(super) struct Carried {
    /// Tasks that stay ended, with the units that sent them on: they are told nothing more.
    pub(super) ended: Vec<(String, String)>,
    pub(super) issues: Vec<Issue>,
}

/// Puts the Tasks that go on into the version's resources.
pub(super) async fn carry_on(
    store: &Store,
    before: Option<&Exchange>,
    resources: &mut Vec<Value>,
) -> Result<Carried, Refusal> {
    let mut carried = Carried::default();
    let Some(before) = before else { return Ok(carried) };
    let stored = current(store.resources(&Filter::ALL, &before.resources).await?);
    let named: Vec<Value> = resources.iter().filter(|r| type_of(r) == "Task").cloned().collect();
    for asked in named {
        let Some(mut name) = reference_of(&asked) else { continue };
        let mut chain: Vec<&Value> = Vec::new();
        let mut seen = BTreeSet::new();
        while let Some((_, task)) = stored.get(&name).filter(|(_, task)| is_redirected(task))
            && seen.insert(name.clone())
        {
            chain.push(task);
            match stored.values().map(|(_, v)| v).find(|t| continues(t) == Some(&name)).and_then(reference_of) {
                Some(next) => name = next,
                None => break,
            }
        }
        let Some((_, last)) = stored.get(&name).filter(|_| !chain.is_empty()) else { continue };
        let is_open = last["status"].as_str().and_then(Status::parse).is_some_and(|s| !s.is_final());
        let is_here = resources.iter().any(|r| reference_of(r).as_deref() == Some(&name));
        if !is_open || is_here {
            continue;
        }
        let mut task = asked.clone();
        for element in ["id", "owner", "relevantHistory"] {
            task[element] = last[element].clone();
        }
        let mut inputs = list(&asked["input"]).to_vec();
        inputs.extend(list(&last["input"]).iter().filter(|i| i["type"]["text"] == FROM).cloned());
        task["input"] = Value::Array(inputs);
        for ended in chain {
            let unit = owner_of(ended, &stored).unwrap_or_default();
            carried.ended.push((id_of(ended).unwrap_or_default().to_owned(), unit));
            let name = reference_of(ended);
            resources.retain(|r| reference_of(r) != name);
            resources.push(content(ended));
        }
        if let Some((_, unit)) = last["owner"]["reference"].as_str().and_then(|r| stored.get(r))
            && !resources.iter().any(|r| reference_of(r) == reference_of(unit))
        {
            resources.push(content(unit));
        }
        let unit = last["owner"]["identifier"]["value"].as_str().unwrap_or_default();
        carried.issues.push(Issue::information(
            "recipient",
            format!("Begäran är vidareskickad: versionen går till {unit}, som har den nu."),
            format!("The request was sent on: the version goes to {unit}, who has it now."),
        ));
        resources.push(task);
    }
    Ok(carried)
}

/// The resources as the sender's document has them: one Task, to the unit that it asked, with how far it has come with whoever
/// has it now. A RIV-TA referral that was sent on names its new recipient (forwarding, TKB of activity:request).
pub fn as_asked(resources: Vec<Value>, format: Format) -> Vec<Value> {
    let by_name = |name: &str| resources.iter().find(|r| reference_of(r).as_deref() == Some(name));
    let next = |task: &Value| {
        let name = reference_of(task)?;
        resources.iter().find(|t| continues(t) == Some(name.as_str()))
    };
    let first = resources.iter().find(|t| is_redirected(t) && continues(t).is_none_or(|n| by_name(n).is_none()));
    let Some(first) = first.filter(|t| next(t).is_some()) else { return resources };
    let (mut last, mut others) = (first, Vec::new());
    while let Some(task) = next(last) {
        others.extend(reference_of(task));
        last = task;
        if others.len() > resources.len() {
            break;
        }
    }
    let mut task = first.clone();
    for name in ["status", "statusReason", "businessStatus", "output", "note", "lastModified", "relevantHistory"] {
        match last.get(name) {
            Some(value) => task[name] = value.clone(),
            None => {
                task.as_object_mut().and_then(|t| t.shift_remove(name));
            }
        }
    }
    let to = json!({ "type": { "text": TO }, "valueReference": {
        "type": "Organization", "identifier": last["owner"]["identifier"],
    } });
    let mut output: Vec<Value> = list(&last["output"]).iter().filter(|o| o["type"]["text"] != TO).cloned().collect();
    output.push(to);
    task["output"] = Value::Array(output);
    let (first_name, last_name) = (reference_of(first), reference_of(last));
    let owner = last["owner"].clone();
    let mut shown = Vec::new();
    for mut resource in resources.iter().cloned() {
        let name = reference_of(&resource);
        if name == first_name {
            resource = task.clone();
            if format == Format::Riv {
                resource["owner"] = owner.clone();
            }
        } else if name.as_ref().is_some_and(|name| others.contains(name)) {
            continue;
        } else if is_part(&resource) && resource["partOf"][0]["reference"].as_str() == last_name.as_deref() {
            resource["partOf"] = json!([{ "reference": first_name }]);
        } else if format == Format::Riv && type_of(&resource) == "ServiceRequest" {
            resource["performer"] = json!([owner]);
        }
        shown.push(resource);
    }
    shown
}
