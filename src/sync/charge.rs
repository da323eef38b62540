//! Who has charge of what, moved in the commit that moves it: what a document and its answers say is read from the resources as
//! they stand after the commit, the steps that follow are added to it, and each charge is written as an EpisodeOfCare.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::weigh::{Current, Scale, Weighed, current, instant};
use super::{Refusal, identify};
use crate::Gateway;
use crate::domain::audit::{By, Deed, Event};
use crate::domain::charge::{Answer, Charge, Errand, Move, Part, Said, answer, charges, given, steps};
use crate::domain::task::Status;
use crate::domain::{HsaId, Kind};
use crate::fhir::canonical::{BASE, HSA_ID};
use crate::fhir::issue::any_error;
use crate::fhir::resource::{has_coding, reference_of, type_of};
use crate::store::{Commit, Exchange, Expect, Filter, Moved};

/// Whose word the commit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// The sender's: a version, or that it takes the request back. It gives nobody anything.
    Sender,
    /// The owner's of a Task: what it moves is its own word.
    Owner,
}

/// The id of the EpisodeOfCare that a charge stands as.
pub(super) fn episode_id(charge: &Charge) -> String {
    identify::id(&["charge", &charge.id.to_string()])
}

/// The episodes that an exchange has made, each with the unit that it says is responsible: whoever comes to the exchange sees them,
/// and whoever leaves it only its own.
pub(super) async fn episodes_of(gateway: &Gateway, exchange: Uuid) -> Result<Vec<(String, String)>, Refusal> {
    let mut names = gateway.store.resources_of(exchange).await?;
    names.retain(|name| name.starts_with("EpisodeOfCare/"));
    let known = current(gateway.store.resources(&Filter::ALL, &names).await?);
    let unit = |episode: &Value| episode["managingOrganization"]["identifier"]["value"].as_str().map(str::to_owned);
    Ok(known.into_iter().map(|(name, (_, episode))| (name, unit(&episode).unwrap_or_default())).collect())
}

/// Adds to the commit what it moves; the episodes that it writes. Called when all that it puts of the exchange is there.
pub(super) async fn follow(
    gateway: &Gateway,
    commit: &mut Commit,
    exchange: &Exchange,
    speaks: Speaks,
    by: By,
    now: DateTime<Utc>,
) -> Result<Vec<Value>, Refusal> {
    let Some(patient) = exchange.patient.as_deref().filter(|_| exchange.kind != Kind::Activity) else {
        return Ok(Vec::new());
    };
    let resources = standing(gateway, commit, exchange).await?;
    let spoke: Vec<String> = commit.put.iter().filter(|p| p.resource_type == "Task").map(|p| p.id.clone()).collect();
    let mut said = read(exchange, &resources, |task: &Value| {
        let own = |id: &str| speaks == Speaks::Owner && spoke.iter().any(|s| s == id);
        own(task["id"].as_str().unwrap_or_default()) || parts_of(&resources, task).any(|part| own(id_in(part)))
    });
    let before = gateway.store.charge_moves(patient).await?;
    said.had = given(&before.steps, exchange.id);
    let past: Vec<&Move> = before.steps.iter().filter(|m| m.exchange == Some(exchange.id)).collect();
    let new = steps(&said, &past);
    if new.is_empty() {
        return Ok(Vec::new());
    }
    // A clock that was set back changes no order.
    let at = before.steps.iter().map(|m| m.at).chain([now]).max().unwrap_or(now);
    let made = new.into_iter().map(|(step, area, unit)| Move {
        id: Uuid::now_v7(),
        origin: exchange.id,
        exchange: Some(exchange.id),
        at: DateTime::from_timestamp_millis(at.timestamp_millis()).unwrap_or(at),
        step,
        patient: patient.to_owned(),
        area,
        unit,
    });
    let made: Vec<Move> = made.collect();
    let all: Vec<Move> = before.steps.iter().chain(&made).cloned().collect();
    let contact = in_contact(gateway, commit, &resources).await?;
    let changed = changed(&charges(&before.steps), &charges(&all));
    let episodes = write(gateway, commit, exchange, &changed, contact.as_ref(), now).await?;
    commit.expect.push(Expect::Charges { patient: patient.to_owned(), last: before.last });
    let told: Vec<String> = made.iter().map(|m| format!("{} {} {}", m.step.code(), m.area, m.unit)).collect();
    let names = commit.put.iter().filter(|p| p.resource_type == "EpisodeOfCare");
    let names = names.map(|p| format!("{}/{}/{}", p.resource_type, p.id, p.version)).collect();
    let event = Event::new(now, by, Deed::Responsibility, format!("exchange/{}", exchange.id))
        .about([patient.to_owned()])
        .showing(names)
        .with("steps", told);
    commit.audit.push(event.into());
    commit.charges.extend(made.into_iter().map(|step| Moved { patient: patient.to_owned(), step }));
    Ok(episodes)
}

/// The exchange's resources as they stand after the commit, as far as they speak of responsibility.
async fn standing(gateway: &Gateway, commit: &Commit, exchange: &Exchange) -> Result<Vec<Value>, Refusal> {
    let kinds = ["ServiceRequest", "Task", "Composition", "CarePlan"];
    let is_meant = |kind: &str| kinds.contains(&kind);
    let put: Vec<Value> = commit
        .put
        .iter()
        .filter(|p| is_meant(&p.resource_type))
        .filter_map(|p| serde_json::from_slice(&p.body).ok())
        .collect();
    let is_put = |name: &String| put.iter().any(|r| reference_of(r).as_ref() == Some(name));
    let rest: Vec<String> = exchange
        .resources
        .iter()
        .filter(|name| name.split_once('/').is_some_and(|(kind, _)| is_meant(kind)) && !is_put(name))
        .cloned()
        .collect();
    if rest.is_empty() {
        return Ok(put);
    }
    let known: Current = current(gateway.store.resources(&Filter::ALL, &rest).await?);
    Ok(put.into_iter().chain(known.into_values().map(|(_, value)| value)).collect())
}

/// What the document and its answers say.
fn read(exchange: &Exchange, resources: &[Value], speaks: impl Fn(&Value) -> bool) -> Said {
    let of = |kind: &'static str| resources.iter().filter(move |r| type_of(r) == kind);
    let sender = exchange.sender().map(|s| s.unit.to_ascii_uppercase()).unwrap_or_default();
    let mut said = Said { retracted: exchange.entered_in_error, sender: sender.clone(), ..Said::default() };
    let plan = of("CarePlan").find(|plan| exchange.resources.iter().any(|n| reference_of(plan).as_ref() == Some(n)));
    let is_sip = exchange.kind == Kind::Handover && plan.is_some();
    let asked = match exchange.kind {
        Kind::Referral => {
            let request = of("ServiceRequest").next();
            let takes = request.is_some_and(|r| has_category(r, "care-responsibility", "takeover"));
            let remains = request.is_some_and(|r| has_category(r, "care-responsibility", "consultation"));
            let areas = request.map(|r| areas(&r["category"])).unwrap_or_default();
            if takes || remains {
                said.states.clone_from(&areas);
            }
            Some((if takes { Errand::Takeover } else { Errand::Consultation }, areas))
        }
        Kind::Handover if !is_sip => {
            let areas = of("Composition").next().map(|r| areas(&r["category"])).unwrap_or_default();
            said.states.clone_from(&areas);
            Some((Errand::ActiveHandover, areas))
        }
        Kind::RehabPlan => {
            said.states_lapse = true;
            let own = plan.map(|plan| planned(exchange, plan)).unwrap_or_default();
            said.states = own.into_iter().filter(|(_, unit)| *unit == sender).map(|(area, _)| area).collect();
            said.states.dedup();
            None
        }
        Kind::Handover | Kind::Activity => None,
    };
    let planned = plan.filter(|_| is_sip).map(|plan| planned(exchange, plan)).unwrap_or_default();
    if exchange.kind != Kind::RehabPlan {
        said.givers.push(sender.clone());
    }
    for party in &exchange.parties {
        let unit = party.unit.to_ascii_uppercase();
        let Some(task) = of("Task").find(|t| party.task.is_some() && t["id"].as_str() == party.task.as_deref()) else {
            continue;
        };
        // Who makes the plan has agreed to its own part in it.
        let speaks = speaks(task) || (is_sip && unit == sender);
        let mut add = |errand, area: &str| {
            let answer = answer_in(errand, task, resources, area);
            said.parts.push(Part { area: area.to_owned(), unit: unit.clone(), answer, speaks });
        };
        if let Some((errand, areas)) = &asked {
            areas.iter().for_each(|area| add(*errand, area));
        }
        let mut own: Vec<&String> = planned.iter().filter(|(_, by)| *by == unit).map(|(area, _)| area).collect();
        own.dedup();
        own.into_iter().for_each(|area| add(Errand::Sip, area));
        let agrees = is_sip && answer_in(Errand::Sip, task, resources, "") == Answer::Yes;
        if agrees && !said.givers.contains(&unit) {
            said.givers.push(unit);
        }
    }
    said
}

/// Areas and responsible units of a plan's interventions, as far as these are to be or were done.
fn planned(exchange: &Exchange, plan: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for activity in list(&plan["activity"]) {
        let detail = &activity["detail"];
        let is_off = matches!(detail["status"].as_str(), Some("cancelled" | "stopped" | "entered-in-error"));
        if detail["kind"] != "ServiceRequest" || is_off {
            continue;
        }
        let unit = list(&detail["performer"]).first().and_then(|performer| unit_of(exchange, performer));
        let (Some(unit), areas) = (unit, areas(&detail["reasonCode"])) else { continue };
        found.extend(areas.into_iter().map(|area| (area, unit.clone())));
    }
    found.sort();
    found.dedup();
    found
}

/// The unit of a reference to an Organization: by its HSA-id, or as one of the exchange's parties.
fn unit_of(exchange: &Exchange, reference: &Value) -> Option<String> {
    if reference["identifier"]["system"] == HSA_ID {
        return reference["identifier"]["value"].as_str().map(str::to_ascii_uppercase);
    }
    let target = reference["reference"].as_str()?;
    exchange.units().into_iter().map(|u| u.to_ascii_uppercase()).find(|unit| organization(unit) == target)
}

fn organization(unit: &str) -> String {
    format!("Organization/{}", identify::id(&["Organization", unit]))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn id_in(resource: &Value) -> &str {
    resource["id"].as_str().unwrap_or_default()
}

/// Codes of our areas in a list of concepts.
fn areas(concepts: &Value) -> Vec<String> {
    let system = format!("{BASE}/CodeSystem/rehab-area");
    let mut found: Vec<String> = Vec::new();
    for coding in list(concepts).iter().flat_map(|concept| list(&concept["coding"])) {
        if coding["system"] == *system
            && let Some(code) = coding["code"].as_str()
            && !found.iter().any(|f| f == code)
        {
            found.push(code.to_owned());
        }
    }
    found
}

fn has_category(resource: &Value, system: &str, code: &str) -> bool {
    let system = format!("{BASE}/CodeSystem/{system}");
    list(&resource["category"]).iter().any(|concept| has_coding(concept, &system, code))
}

/// Tasks that are parts of this one: an area each.
fn parts_of<'r>(resources: &'r [Value], task: &Value) -> impl Iterator<Item = &'r Value> {
    let name = format!("Task/{}", id_in(task));
    resources.iter().filter(move |r| {
        type_of(r) == "Task" && list(&r["partOf"]).iter().any(|of| of["reference"].as_str() == Some(&name))
    })
}

/// What a Task says of an area: where it was answered area by area, the part that is about this one.
fn answer_in(errand: Errand, task: &Value, resources: &[Value], area: &str) -> Answer {
    let whole = answer_of(errand, task);
    let parts: Vec<&Value> = parts_of(resources, task).collect();
    if parts.is_empty() || whole == Answer::No || area.is_empty() {
        return whole;
    }
    let about = |part: &&&Value| areas(&json!([part["reasonCode"]])).iter().any(|a| a == area);
    // An area that nobody has answered is not answered by the others.
    parts.iter().find(about).map_or(Answer::Open, |part| match answer_of(errand, part) {
        // A part ends in its own way; contact with the patient is told in the whole.
        Answer::Open if errand == Errand::ActiveHandover && whole == Answer::Yes => Answer::Yes,
        answer => answer,
    })
}

fn answer_of(errand: Errand, task: &Value) -> Answer {
    let system = format!("{BASE}/CodeSystem/business-status");
    // Whoever sent it on has it not, however its Task ended.
    if has_coding(&task["businessStatus"], &system, "redirected") {
        return Answer::No;
    }
    let in_contact = list(&task["output"]).iter().any(|o| o["type"]["text"] == "patient-contact");
    let status = task["status"].as_str().and_then(Status::parse);
    status.map_or(Answer::Open, |status| answer(errand, status, in_contact))
}

/// The person who met the patient, where a handover ends with that: who leads the care from then on.
async fn in_contact(gateway: &Gateway, commit: &Commit, resources: &[Value]) -> Result<Option<Value>, Refusal> {
    let outputs = resources.iter().filter(|r| type_of(r) == "Task").flat_map(|task| list(&task["output"]));
    let Some(name) = outputs
        .filter(|o| o["type"]["text"] == "patient-contact")
        .find_map(|o| o["valueReference"]["reference"].as_str())
    else {
        return Ok(None);
    };
    let put = commit.put.iter().find(|p| format!("{}/{}", p.resource_type, p.id) == name);
    let told: Option<Value> = match put {
        Some(put) => serde_json::from_slice(&put.body).ok(),
        None => {
            let found = gateway.store.resources(&Filter::ALL, &[name.to_owned()]).await?;
            current(found).into_values().map(|(_, value)| value).next()
        }
    };
    let sender = told.map(|told| told["sender"]["identifier"].clone()).unwrap_or_default();
    let person = sender["value"].as_str().filter(|id| HsaId::parse(id).is_ok());
    let is_person = person.is_some_and(|id| gateway.config.directory.find(id).is_none());
    Ok(is_person.then(|| json!({ "type": "Practitioner", "identifier": { "system": HSA_ID, "value": person } })))
}

/// Charges that are not as they were: those that stand, and those that never were.
fn changed(before: &[Charge], after: &[Charge]) -> Vec<(Charge, bool)> {
    let same = |one: &Charge, all: &[Charge]| {
        all.iter().find(|c| c.id == one.id).map(|c| (c.from, c.to) == (one.from, one.to))
    };
    let mut found: Vec<(Charge, bool)> = Vec::new();
    found.extend(before.iter().filter(|c| same(c, after).is_none()).map(|c| (c.clone(), false)));
    found.extend(after.iter().filter(|c| same(c, before) != Some(true)).map(|c| (c.clone(), true)));
    found
}

/// Writes each of them as it is to stand.
async fn write(
    gateway: &Gateway,
    commit: &mut Commit,
    exchange: &Exchange,
    changed: &[(Charge, bool)],
    contact: Option<&Value>,
    now: DateTime<Utc>,
) -> Result<Vec<Value>, Refusal> {
    let names: Vec<String> = changed.iter().map(|(c, _)| format!("EpisodeOfCare/{}", episode_id(c))).collect();
    let known = current(gateway.store.resources(&Filter::ALL, &names).await?);
    let mut others: BTreeMap<Uuid, Exchange> = BTreeMap::new();
    let mut weighed = Weighed::default();
    let mut episodes = Vec::new();
    for ((charge, stands), name) in changed.iter().zip(&names) {
        // Of what was removed nothing is written again.
        let Some(id) = charge.exchange else { continue };
        if id != exchange.id
            && !others.contains_key(&id)
            && let Some(other) = gateway.store.exchange(&Filter::ALL, id).await?
        {
            others.insert(id, other);
        }
        let of = if id == exchange.id { Some(exchange) } else { others.get(&id) };
        let Some(of) = of else { continue };
        let stored = known.get(name).map(|(_, value)| value);
        let mut episode = episode(of, charge, *stands, stored, now);
        if let (Some(contact), None, true) = (contact, stored, id == exchange.id)
            && exchange.recipients().any(|p| p.unit.eq_ignore_ascii_case(&charge.unit))
        {
            episode["careManager"] = contact.clone();
        }
        // Who sees one of another exchange is settled there.
        let units = if stored.is_none() || id == exchange.id { of.units() } else { Vec::new() };
        let scale = Scale { now, patient: of.patient.as_deref(), units: &units, exchange: Some(id) };
        scale.add(&episode, &known, &mut weighed);
        episodes.push(episode);
    }
    let issues = gateway.validate(&episodes);
    if any_error(&issues) {
        return Err(Refusal::Findings(issues));
    }
    commit.put.extend(weighed.put);
    commit.expect.extend(weighed.expect);
    Ok(episodes)
}

/// A charge in FHIR. Its history of statuses tells what it was before it was ended or declared never to have been.
fn episode(exchange: &Exchange, charge: &Charge, stands: bool, stored: Option<&Value>, now: DateTime<Utc>) -> Value {
    let status = match (stands, charge.is_open()) {
        (false, _) => "entered-in-error",
        (true, true) => "active",
        (true, false) => "finished",
    };
    let mut period = json!({ "start": instant(charge.from) });
    if let Some(to) = charge.to {
        period["end"] = json!(instant(to));
    }
    let mut history = stored.map(|s| list(&s["statusHistory"]).to_vec()).unwrap_or_default();
    if let Some(was) = stored.and_then(|s| s["status"].as_str()).filter(|was| *was != status) {
        let began = history.last().map_or_else(|| json!(instant(charge.from)), |last| last["period"]["end"].clone());
        history.push(json!({ "status": was, "period": { "start": began, "end": instant(now.max(charge.from)) } }));
    }
    let organization = organization(&charge.unit);
    let mut managing = json!({ "type": "Organization", "identifier": { "system": HSA_ID, "value": charge.unit } });
    if exchange.resources.contains(&organization) {
        managing["reference"] = json!(organization);
    }
    let requests = exchange.resources.iter().filter(|name| name.starts_with("ServiceRequest/"));
    let requests: Vec<Value> = requests.map(|name| json!({ "reference": name })).collect();
    let mut episode = json!({
        "resourceType": "EpisodeOfCare",
        "id": episode_id(charge),
        "meta": { "profile": [format!("{BASE}/StructureDefinition/area-responsibility")] },
        "status": status,
        "statusHistory": history,
        "type": [{ "coding": [{ "system": format!("{BASE}/CodeSystem/rehab-area"), "code": charge.area }] }],
        "patient": { "reference": format!("Patient/{}", exchange.patient.as_deref().unwrap_or_default()) },
        "managingOrganization": managing,
        "period": period,
        "referralRequest": requests,
        "careManager": stored.map_or(Value::Null, |s| s["careManager"].clone()),
    });
    if let Some(object) = episode.as_object_mut() {
        object.retain(|_, value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()));
    }
    episode
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Format, PartyRole, Stage};
    use crate::store::Party;

    const SENDER: &str = "SE2321000131-E000000000101";
    const OWNER: &str = "SE2321000131-E000000000203";

    fn exchange() -> Exchange {
        let party = |unit: &str, role, task: Option<&str>| Party {
            unit: unit.into(),
            partner: "p".into(),
            role,
            task: task.map(str::to_owned),
            status: task.map(|_| Status::Requested),
            stage: Stage::Waiting,
        };
        Exchange {
            id: Uuid::from_u128(1),
            revision: 1,
            kind: Kind::Referral,
            format: Format::Json,
            organisation: "o".into(),
            document: "d".into(),
            version: 1,
            entered_in_error: false,
            patient: Some("p".into()),
            stage: Stage::Waiting,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
            parties: vec![party(SENDER, PartyRole::Sender, None), party(OWNER, PartyRole::Recipient, Some("t"))],
            resources: Vec::new(),
        }
    }

    fn area(code: &str) -> Value {
        json!({ "coding": [{ "system": format!("{BASE}/CodeSystem/rehab-area"), "code": code }] })
    }

    fn request(responsibility: &str) -> Value {
        json!({
            "resourceType": "ServiceRequest", "id": "r",
            "category": [
                { "coding": [{ "system": format!("{BASE}/CodeSystem/care-responsibility"), "code": responsibility }] },
                area("fatigue"), area("tobacco"), area("nutrition"),
            ],
        })
    }

    fn task(status: &str, business: Option<&str>) -> Value {
        let mut task = json!({ "resourceType": "Task", "id": "t", "status": status });
        if let Some(code) = business {
            let coding = json!({ "system": format!("{BASE}/CodeSystem/business-status"), "code": code });
            task["businessStatus"] = json!({ "coding": [coding] });
        }
        task
    }

    /// A part of the Task, about one area.
    fn part(code: &str, status: &str) -> Value {
        json!({
            "resourceType": "Task", "id": format!("t-{code}"), "status": status,
            "partOf": [{ "reference": "Task/t" }], "reasonCode": area(code),
        })
    }

    fn answers(resources: &[Value]) -> String {
        let said = read(&exchange(), resources, |_| true);
        let word = |part: &Part| format!("{} {:?}", part.area, part.answer);
        said.parts.iter().map(word).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn where_a_request_is_answered_area_by_area_each_moves_by_itself() {
        let whole = [request("takeover"), task("accepted", None)];
        assert_eq!(answers(&whole), "fatigue Yes, tobacco Yes, nutrition Yes");
        let parts = [
            request("takeover"),
            task("accepted", Some("partly-accepted")),
            part("fatigue", "accepted"),
            part("tobacco", "rejected"),
        ];
        assert_eq!(answers(&parts), "fatigue Yes, tobacco No, nutrition Open", "what nobody has answered is open");
        let ended =
            [request("takeover"), task("cancelled", None), part("fatigue", "accepted"), part("tobacco", "rejected")];
        assert_eq!(answers(&ended), "fatigue No, tobacco No, nutrition No", "with the whole its parts are over");
        let later =
            [request("takeover"), task("in-progress", None), part("fatigue", "failed"), part("nutrition", "completed")];
        assert_eq!(answers(&later), "fatigue No, tobacco Open, nutrition Yes");
    }

    #[test]
    fn what_is_sent_on_or_only_asked_about_moves_nothing() {
        let redirected = [request("takeover"), task("completed", Some("redirected"))];
        assert_eq!(answers(&redirected), "fatigue No, tobacco No, nutrition No");
        let asked = [request("consultation"), task("accepted", None)];
        assert_eq!(answers(&asked), "fatigue No, tobacco No, nutrition No");
        let silent = [
            json!({ "resourceType": "ServiceRequest", "id": "r", "category": [area("fatigue")] }),
            task("accepted", None),
        ];
        assert_eq!(answers(&silent), "fatigue No");
        let said = read(&exchange(), &silent, |_| true);
        assert!(said.states.is_empty(), "who does not say that it remains has said nothing");
        assert_eq!(read(&exchange(), &asked, |_| true).states, ["fatigue", "tobacco", "nutrition"]);
    }

    #[test]
    fn an_episode_tells_what_it_was_before() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let step = |n: u128, step, unit: &str, minute: &str| Move {
            id: Uuid::from_u128(n),
            origin: Uuid::from_u128(1),
            exchange: Some(Uuid::from_u128(1)),
            at: at(minute),
            step,
            patient: "p".into(),
            area: "fatigue".into(),
            unit: unit.into(),
        };
        use crate::domain::charge::Step;
        let first = step(7, Step::States, SENDER, "2026-03-01T08:00:00Z");
        let open = charges(std::slice::from_ref(&first)).remove(0);
        let active = episode(&exchange(), &open, true, None, at("2026-03-01T08:00:00Z"));
        assert_eq!((&active["status"], active.get("statusHistory")), (&json!("active"), None));
        let gives = step(8, Step::Gives, SENDER, "2026-03-05T08:00:00Z");
        let ended = charges(&[first, gives]).remove(0);
        let finished = episode(&exchange(), &ended, true, Some(&active), at("2026-03-05T08:00:00Z"));
        assert_eq!(finished["period"]["end"], "2026-03-05T08:00:00.000Z");
        assert_eq!(finished["statusHistory"][0]["period"]["end"], "2026-03-05T08:00:00.000Z");
        let never = episode(&exchange(), &ended, false, Some(&finished), at("2026-03-09T08:00:00Z"));
        assert_eq!(never["status"], "entered-in-error");
        let history: Vec<&Value> = never["statusHistory"].as_array().unwrap().iter().map(|h| &h["status"]).collect();
        assert_eq!(history, ["active", "finished"]);
    }
}
