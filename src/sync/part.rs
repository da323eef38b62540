//! The areas of a request that was not taken as a whole: each is a Task of its own, part of the unit's Task, made and moved in
//! the commit of the answer that decides it. How the parts and the whole hang together is [`crate::domain::part`].

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::acknowledge::Change;
use super::moved::business_status;
use super::weigh::{Current, instant, set_status, touch};
use super::{Refusal, abort, identify};
use crate::domain::business_status::BusinessStatus;
use crate::domain::part::{self, Discord};
use crate::domain::task::{self, Role, Status, Verdict};
use crate::fhir::canonical::BASE;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::origin::BY_UNIT;
use crate::fhir::resource::{has_coding, id_of, reference_of, type_of};
use crate::store::Exchange;

/// The code of such a Task in our CodeSystem `task-kind`.
const AREA: &str = "area";
/// What an owner says of an area in the output of its Task begins so; the area's status follows.
const SAID: &str = "area-";

/// What is said of one area.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AreaAnswer {
    pub area: String,
    pub status: Status,
    pub reason: Option<String>,
    pub business_status: Option<BusinessStatus>,
    /// Where it stands in what was sent: `areas[1]`, `Task.output[2]`.
    pub place: String,
}

/// What an answer makes of the areas.
#[derive(Debug, Default)]
pub(super) struct Decided {
    /// Parts that are new or changed.
    pub(super) tasks: Vec<Value>,
    /// How all of them stand then.
    pub(super) standing: Vec<Status>,
}

/// Whether the Task is about one area of a request.
pub fn is_part(resource: &Value) -> bool {
    type_of(resource) == "Task" && has_coding(&resource["code"], &task_kinds(), AREA)
}

/// The id of the Task that it is a part of.
pub fn whole_of(part: &Value) -> Option<&str> {
    part["partOf"][0]["reference"].as_str()?.strip_prefix("Task/")
}

/// The area that a part is about.
pub fn area_of(part: &Value) -> Option<&str> {
    areas_in(&part["reasonCode"]).into_iter().next()
}

/// The parts of the Task (`Task/id`) that were not entered in error, by area.
pub fn parts_of<'a>(resources: impl IntoIterator<Item = &'a Value>, whole: &str) -> BTreeMap<&'a str, &'a Value> {
    let parts = resources.into_iter().filter(|r| is_part(r) && r["partOf"][0]["reference"] == *whole);
    parts.filter(|p| status_of(p) != Some(Status::EnteredInError)).filter_map(|p| Some((area_of(p)?, p))).collect()
}

/// What an owner says of areas in its Task's output, beside what it had said before:
/// `{ "type": { "text": "area-rejected" }, "valueCodeableConcept": { "coding": [the area], "text": "why" } }`.
pub fn said_in(stored: &Value, wanted: &Value) -> Vec<AreaAnswer> {
    let before = stored["output"].as_array().map_or(&[][..], Vec::as_slice);
    let outputs = wanted["output"].as_array().map_or(&[][..], Vec::as_slice);
    let new = outputs.iter().enumerate().filter(|(_, output)| !before.contains(output));
    new.filter_map(|(index, output)| {
        let status = Status::parse(output["type"]["text"].as_str()?.strip_prefix(SAID)?)?;
        let concept = &output["valueCodeableConcept"];
        Some(AreaAnswer {
            area: areas_in(concept).first().map_or_else(String::new, |area| (*area).to_owned()),
            status,
            reason: concept["text"].as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned),
            business_status: None,
            place: format!("Task.output[{index}]"),
        })
    })
    .collect()
}

/// Whether an output is a decision, which a newer version of the request takes back.
pub(super) fn is_decision(output: &Value) -> bool {
    output["type"]["text"].as_str().is_some_and(|text| text.starts_with(SAID) || text == super::redirect::TO)
}

/// What becomes of the areas when the owner moves the whole there and says this of them. All that is wrong at once.
pub(super) fn decide(
    exchange: &Exchange,
    moved: &Value,
    change: &Change,
    current: &Current,
    now: DateTime<Utc>,
) -> Result<Decided, Refusal> {
    let whole = reference_of(moved).unwrap_or_default();
    let stored = parts_of(current.values().map(|(_, v)| v), &whole);
    if change.areas.is_empty() && stored.is_empty() {
        return Ok(Decided::default());
    }
    let asked = asked_for(moved, current);
    let (mut issues, mut conflicts) = (Vec::new(), Vec::new());
    let place = match change.areas.first() {
        Some(answer) if answer.place.starts_with("Task.") => "Task.output",
        _ => "areas",
    };
    if !change.areas.is_empty()
        && (abort::is_abort(moved)
            || is_part(moved)
            || moved["focus"]["reference"].as_str().is_some_and(|f| f.starts_with("CarePlan/")))
    {
        return Err(Refusal::Findings(vec![Issue::error(
            Code::BusinessRule,
            place,
            "Den här uppgiften har inga områden: svara på den som helhet.",
            "This Task has no areas: answer it as a whole.",
        )]));
    }
    let mut standing: BTreeMap<String, Status> = BTreeMap::new();
    for (area, part) in &stored {
        standing.insert((*area).to_owned(), status_of(part).unwrap_or(Status::Requested));
    }
    let mut said: BTreeMap<&str, &AreaAnswer> = BTreeMap::new();
    for answer in &change.areas {
        let from = stored.get(answer.area.as_str()).and_then(|part| status_of(part)).unwrap_or(Status::Requested);
        issues.extend(wrong(answer, &asked, said.contains_key(answer.area.as_str())));
        match task::verdict(from, answer.status, Role::Filler) {
            Verdict::Allowed | Verdict::Same => {}
            Verdict::NotYours | Verdict::Illegal => conflicts.push(illegal(answer, from)),
        }
        standing.insert(answer.area.clone(), answer.status);
        said.insert(&answer.area, answer);
    }
    if !change.areas.is_empty() {
        issues.extend(asked.iter().filter(|area| !standing.contains_key(**area)).map(|area| undecided(area, place)));
    }
    for status in standing.iter_mut().filter(|(area, _)| !said.contains_key(area.as_str())).map(|(_, status)| status) {
        if let Some(along) = part::goes_along(change.status, *status) {
            *status = along;
        }
    }
    let all: Vec<Status> = standing.values().copied().collect();
    if issues.is_empty()
        && let Err(discord) = part::agrees(change.status, &all)
    {
        let open: Vec<&str> = standing.iter().filter(|(_, s)| !s.is_final()).map(|(area, _)| area.as_str()).collect();
        conflicts.push(told(discord, change.status, &open.join(", ")));
    }
    match (issues.is_empty(), conflicts.len()) {
        (true, 0) => {}
        (true, 1) => return Err(Refusal::Conflict(conflicts.swap_remove(0))),
        _ => return Err(Refusal::Findings(issues.into_iter().chain(conflicts).collect())),
    }
    let unit = owner(exchange, moved);
    let tasks = standing.iter().filter_map(|(area, status)| {
        let before = stored.get(area.as_str()).copied();
        match said.get(area.as_str()) {
            Some(answer) => Some(put(moved, before, answer, unit, now)).filter(|part| before != Some(part)),
            None if before.and_then(status_of) != Some(*status) => before.map(|part| at(part, *status, None, now)),
            None => None,
        }
    });
    Ok(Decided { tasks: tasks.collect(), standing: all })
}

/// The whole says that it is less than what was asked for, unless its owner says something else.
pub(super) fn mark(moved: &mut Value, decided: &Decided) {
    let status = status_of(moved).unwrap_or(Status::Requested);
    let says = moved.get("businessStatus").is_some();
    let stale = business_status(moved) == Some(BusinessStatus::PartlyAccepted.code());
    if decided.standing.is_empty() || (says && !stale) {
        return;
    }
    let Some(object) = moved.as_object_mut() else { return };
    match part::told(status, &decided.standing) {
        Some(told) => object.insert("businessStatus".into(), concept(told)),
        None => object.shift_remove("businessStatus"),
    };
}

/// `Task.businessStatus` of ours.
pub(super) fn concept(business: BusinessStatus) -> Value {
    json!({ "coding": [{ "system": format!("{BASE}/CodeSystem/business-status"), "code": business.code() }] })
}

/// Open parts of Tasks that have come to such an end, and go along.
pub(super) fn along(wholes: &[Value], current: &Current, now: DateTime<Utc>) -> Vec<Value> {
    let mut changed = Vec::new();
    for whole in wholes.iter().filter(|t| type_of(t) == "Task") {
        let Some(status) = status_of(whole) else { continue };
        let name = reference_of(whole).unwrap_or_default();
        for part in parts_of(current.values().map(|(_, v)| v), &name).into_values() {
            if let Some(to) = part::goes_along(status, status_of(part).unwrap_or(Status::Requested)) {
                changed.push(at(part, to, None, now));
            }
        }
    }
    changed
}

/// What a new version of the request makes of the parts: decisions on what is asked anew, or asked no more, are no decisions.
pub(super) fn renewed(wholes: &[Value], current: &Current, now: DateTime<Utc>) -> Vec<Value> {
    let mut changed = along(wholes, current, now);
    let new: Current = wholes.iter().filter_map(|r| Some((reference_of(r)?, (0, r.clone())))).collect();
    for whole in wholes.iter().filter(|t| type_of(t) == "Task") {
        let begins = status_of(whole) == Some(Status::Requested);
        let asked = asked_for(whole, &new);
        let name = reference_of(whole).unwrap_or_default();
        for (area, part) in parts_of(current.values().map(|(_, v)| v), &name) {
            let gone = !asked.is_empty() && !asked.contains(&area);
            if (begins || gone) && !changed.iter().any(|c| c["id"] == part["id"]) {
                let why = "En ny version av begäran har kommit. | A new version of the request has come.";
                changed.push(at(part, Status::EnteredInError, Some(why), now));
            }
        }
    }
    changed
}

fn task_kinds() -> String {
    format!("{BASE}/CodeSystem/task-kind")
}

fn status_of(task: &Value) -> Option<Status> {
    task["status"].as_str().and_then(Status::parse)
}

fn areas_in(concept: &Value) -> Vec<&str> {
    let system = format!("{BASE}/CodeSystem/rehab-area");
    let codings = concept["coding"].as_array().map_or(&[][..], Vec::as_slice);
    codings.iter().filter(|coding| coding["system"] == *system).filter_map(|coding| coding["code"].as_str()).collect()
}

/// The areas that the request of the Task names.
fn asked_for<'a>(task: &Value, current: &'a Current) -> Vec<&'a str> {
    let focus = task["focus"]["reference"].as_str().and_then(|focus| current.get(focus));
    let categories = focus.and_then(|(_, request)| request["category"].as_array());
    categories.into_iter().flatten().flat_map(areas_in).collect()
}

fn owner<'a>(exchange: &'a Exchange, task: &Value) -> &'a str {
    let party = exchange.parties.iter().find(|p| p.task.is_some() && p.task.as_deref() == id_of(task));
    party.map_or("", |p| p.unit.as_str())
}

/// The part as the answer makes it.
fn put(whole: &Value, before: Option<&Value>, answer: &AreaAnswer, unit: &str, now: DateTime<Utc>) -> Value {
    let business = answer.business_status.map(concept);
    if let Some(before) = before {
        let same = status_of(before) == Some(answer.status)
            && before["statusReason"]["text"].as_str() == answer.reason.as_deref()
            && before.get("businessStatus") == business.as_ref();
        if same {
            return before.clone();
        }
        let mut part = at(before, answer.status, answer.reason.as_deref(), now);
        if let Some(business) = business {
            part["businessStatus"] = business;
        }
        return part;
    }
    let id = identify::id(&["area", id_of(whole).unwrap_or_default(), &answer.area]);
    let mut part = json!({
        "resourceType": "Task",
        "id": id,
        "meta": {
            "source": format!("{BY_UNIT}{unit}"),
            "profile": [format!("{BASE}/StructureDefinition/area-task")],
        },
        "groupIdentifier": whole["groupIdentifier"],
        "partOf": [{ "reference": reference_of(whole) }],
        "status": answer.status.code(),
        "statusReason": answer.reason.as_ref().map(|text| json!({ "text": text })),
        "businessStatus": business,
        "intent": "order",
        "priority": whole["priority"],
        "code": { "coding": [{ "system": task_kinds(), "code": AREA }] },
        "focus": whole["focus"],
        "for": whole["for"],
        "authoredOn": instant(now),
        "lastModified": instant(now),
        "requester": whole["requester"],
        "owner": whole["owner"],
        "reasonCode": { "coding": [{ "system": format!("{BASE}/CodeSystem/rehab-area"), "code": answer.area }] },
    });
    if let Some(object) = part.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
    part
}

fn at(part: &Value, status: Status, reason: Option<&str>, now: DateTime<Utc>) -> Value {
    let mut part = part.clone();
    if let Some(object) = part.as_object_mut() {
        set_status(object, status, reason);
        object.shift_remove("businessStatus");
        touch(object, now);
    }
    part
}

fn wrong(answer: &AreaAnswer, asked: &[&str], is_twice: bool) -> Vec<Issue> {
    let mut issues = Vec::new();
    let place = |field: &str| match answer.place.starts_with("Task.") {
        true => answer.place.clone(),
        false => format!("{}.{field}", answer.place),
    };
    if is_twice {
        issues.push(Issue::error(
            Code::Duplicate,
            place("area"),
            "Området har ett svar redan; ge det ett.",
            "The area has an answer already; give it one.",
        ));
    }
    if !asked.is_empty() && !asked.contains(&answer.area.as_str()) {
        let asked = asked.join(", ");
        issues.push(Issue::error(
            Code::BusinessRule,
            place("area"),
            format!("Begäran gäller inte det området, utan {asked}."),
            format!("The request is not about that area, but {asked}."),
        ));
    }
    if matches!(answer.status, Status::Requested | Status::Received | Status::OnHold | Status::EnteredInError) {
        issues.push(Issue::error(
            Code::Value,
            place("status"),
            "Ett område accepteras eller avvisas, och är sedan pågående, slutfört, misslyckat eller avbrutet.",
            "An area is accepted or rejected, and then in progress, completed, failed or cancelled.",
        ));
    }
    let needs_reason = matches!(answer.status, Status::Rejected | Status::Failed);
    if needs_reason && answer.reason.is_none() {
        issues.push(Issue::error(
            Code::Required,
            place("reason"),
            "Skälet saknas: avsändaren ska få veta varför området inte tas om hand.",
            "The reason is missing: the sender is to know why the area is not taken care of.",
        ));
    }
    if let Some(business) = answer.business_status.filter(|b| b.follows() || !b.beside().contains(&answer.status)) {
        issues.push(Issue::error(
            Code::BusinessRule,
            place("businessStatus"),
            format!("{business} sägs inte om ett område som är {}.", answer.status),
            format!("{business} is not said of an area that is {}.", answer.status),
        ));
    }
    issues
}

fn undecided(area: &str, place: &str) -> Issue {
    Issue::error(
        Code::Required,
        place,
        format!("Området {area} saknas: säg om det accepteras eller avvisas."),
        format!("The area {area} is missing: say whether it is accepted or rejected."),
    )
}

fn illegal(answer: &AreaAnswer, from: Status) -> Issue {
    let open: Vec<&str> = task::moves(from, Role::Filler).into_iter().map(Status::code).collect();
    let (sv, en) = if open.is_empty() { ("inget".into(), "none".into()) } else { (open.join(", "), open.join(", ")) };
    Issue::error(
        Code::BusinessRule,
        answer.place.clone(),
        format!("Området kan inte gå från {from} till {}; möjliga steg: {sv}.", answer.status),
        format!("The area cannot go from {from} to {}; possible: {en}.", answer.status),
    )
}

fn told(discord: Discord, whole: Status, open: &str) -> Issue {
    let (sv, en) = match discord {
        Discord::NothingTaken => (
            format!("Alla områden är avvisade: avvisa hela begäran i stället för {whole}."),
            format!("Every area is rejected: reject the whole request instead of {whole}."),
        ),
        Discord::SomethingTaken => (
            "Ett område är accepterat: då avvisas inte begäran. Acceptera den, eller avbryt den (cancelled, failed) med ett skäl."
                .into(),
            "An area is accepted, so the request is not rejected. Accept it, or end it (cancelled, failed) with a reason."
                .into(),
        ),
        Discord::StillOpen => (
            format!("Dessa områden är inte avslutade: {open}. Säg i samma svar hur de slutade, eller avsluta dem först."),
            format!("These areas have not ended: {open}. Say in the same answer how they ended, or end them first."),
        ),
        Discord::TooEarly => (
            format!("Områden bestäms när begäran accepteras, inte medan den är {whole}."),
            format!("Areas are decided when the request is accepted, not while it is {whole}."),
        ),
    };
    Issue::error(Code::BusinessRule, "Task.status", sv, en)
}
