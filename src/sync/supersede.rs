//! A version comes into force: everything that follows from it, composed into one commit.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::abort;
use super::charge::{self, Speaks};
use super::consent::{consent_withdrawn, end_part, no_consent, only_here, stop_deliveries, tells_the_end};
use super::consultation;
use super::contribute::told_by;
use super::counterpart;
use super::difference;
use super::held::held_by_blocks;
use super::identify::{is_same_person, settle_patients};
use super::moved::{Mover, moves};
use super::notice::notices_of_version;
use super::package::is_pushed;
use super::particulars::{is_known_to_many, keep_others_word};
use super::parties::{deliveries, farewells, left_out, parties};
use super::provenance::provenance;
use super::read::Read;
use super::reassess::{self, Looked};
use super::receipt::receipt;
use super::route::{Ties, follow, ties};
use super::submit::{Submission, document};
use super::tie::{Tie, check_contact, tie};
use super::veil::{self, Outside};
use super::waiting::park;
use super::weigh::{Current, Scale, Weighed, current, join, set_status};
use super::{Refusal, part, protection, redirected, witness, worklist};
use crate::Gateway;
use crate::domain::delivery::State;
use crate::domain::task::Status;
use crate::domain::{Kind, PartyRole, Stage};
use crate::fhir::issue::{Code, Issue, any_error};
use crate::fhir::lifecycle::retract;
use crate::fhir::protection::{conceal_protected, is_protected, spread};
use crate::fhir::resource::{reference_of, type_of};
use crate::store::{Action, Commit, DeliveryChange, DeliveryQuery, Exchange, Expect, Filter, Share, Store};

/// Resources that a document made say so in `meta.source`; what partners added does not, and outlives a new version.
const FROM_A_DOCUMENT: &str = "urn:oid:1.2.752.129.2.1.4.1#";

pub(super) async fn supersede(
    gateway: &Gateway,
    submission: &Submission<'_>,
    read: &Read<'_>,
    before: Option<Exchange>,
    version: u32,
) -> Result<Commit, Refusal> {
    let now = submission.now;
    let store = &gateway.store;
    let mut resources = read.resources.clone();
    let patients = settle_patients(store, &mut resources).await?;
    let subject = patients.first();
    consultation::carry(&mut resources, before.as_ref());
    if let Some(before) = &before {
        check_same(store, before, read, subject.map(|p| p.id.as_str())).await?;
        check_successor(before, read, consent_withdrawn(&resources))?;
    }
    match tie(gateway, &read.unit, &mut resources).await? {
        Tie::Tied => {}
        Tie::Refused(issue) => return Err(Refusal::Findings(vec![issue])),
        Tie::Waiting(main) => return Ok(park(gateway, submission, read, before.as_ref(), version, &main)),
    }
    let contact = match check_contact(gateway, &resources).await? {
        Ok(expect) => expect,
        Err(issue) => return Err(Refusal::Conflict(issue)),
    };
    let known_patient = subject.filter(|p| !p.is_new).map(|p| p.id.as_str());
    let carried = redirected::carry_on(store, before.as_ref(), &mut resources).await?;
    let mut ties = ties(&resources);
    ties.owners.retain(|(task, _)| !carried.ended.iter().any(|(ended, _)| ended == task));
    let mut recipients = read.envelope.recipients.clone();
    recipients.retain(|unit| !carried.ended.iter().any(|(_, ended)| ended.eq_ignore_ascii_case(unit)));
    let followed = follow(gateway, submission.kind, &read.unit, &recipients, &ties, known_patient).await?;
    if any_error(&followed.issues) {
        return Err(Refusal::Findings(read.issues.iter().chain(&followed.issues).cloned().collect()));
    }

    let names: Vec<String> = resources.iter().filter_map(reference_of).collect();
    let others: Vec<String> =
        before.iter().flat_map(|b| b.resources.iter()).filter(|r| !names.contains(r)).cloned().collect();
    let wanted: Vec<String> = names.iter().chain(&others).chain(&followed.plan).cloned().collect();
    let current = current(store.resources(&Filter::ALL, &wanted).await?);
    let wrong = read.envelope.entered_in_error;
    let was_withdrawn = current.values().any(|(_, r)| consent_withdrawn(std::slice::from_ref(r)));
    // What was entered in error shares nothing again that a withdrawal has hidden.
    let withdrawn = (consent_withdrawn(&resources) && (before.is_some() || !wrong)) || (wrong && was_withdrawn);
    keep_others_word(gateway, &read.unit, &mut resources, &current).await?;
    for resource in &mut resources {
        live_on(resource, &current, &ties, read);
        match type_of(resource) {
            "Task" if withdrawn => end_part(resource),
            "Consent" if withdrawn && wrong => resource["status"] = json!("inactive"),
            _ => {}
        }
    }
    let kept = match wrong || withdrawn {
        true => counterpart::Kept::default(),
        false => counterpart::keep(gateway, &mut resources, &current).await?,
    };
    spread(&mut resources);
    let kept_here = resources.iter().any(is_protected) && conceal_protected(&mut resources.clone());
    let (mut fallen, stays) = fallen(&others, &current);
    fallen.extend(unasked(&stays, resources.iter().chain(&fallen), &current, now));
    let standing: Vec<Value> = resources.iter().chain(&fallen).cloned().collect();
    fallen.extend(part::renewed(&standing, &current, now));

    let id = before.as_ref().map_or_else(Uuid::now_v7, |b| b.id);
    let mut exchange = Exchange {
        id,
        revision: before.as_ref().map_or(1, |b| b.revision + 1),
        kind: submission.kind,
        format: submission.format,
        organisation: read.organisation.clone(),
        document: read.envelope.id.clone(),
        version,
        entered_in_error: read.envelope.entered_in_error,
        patient: subject.map(|p| p.id.clone()),
        stage: Stage::Recorded,
        created_at: before.as_ref().map_or(now, |b| b.created_at),
        updated_at: now,
        parties: parties(gateway, read, &followed, &ties, &resources, before.as_ref()),
        resources: names.iter().chain(&stays).cloned().collect(),
    };
    let left = left_out(before.as_ref(), &exchange.parties);

    let plan = followed.plan.iter().filter(|p| !names.contains(p)).filter_map(|p| current.get(p)).map(|(_, v)| v);
    let mut commit = Commit::default();
    let mut weighed = Weighed::default();
    let (mut hidden, mut untried) = (Vec::new(), Vec::new());
    let episodes = match &before {
        Some(before) => charge::episodes_of(gateway, before.id).await?,
        None => Vec::new(),
    };
    if !left.is_empty() {
        // They keep seeing their own Task, which says that it is over, what they told themselves, and nothing of what came after.
        for party in &left {
            let task = party.task.as_ref().and_then(|id| current.get(&format!("Task/{id}"))).map(|(_, task)| task);
            let own = |name: &String| current.get(name).is_some_and(|(_, r)| told_by(&party.unit, task, r));
            let others =
                episodes.iter().filter(|(_, of)| *of != party.unit.to_ascii_uppercase()).map(|(name, _)| name.clone());
            let resources = only_here(&exchange).into_iter().filter(|name| !own(name)).chain(others).collect();
            hidden.push(Share { resources, units: vec![party.unit.clone()] });
        }
    }
    let mut outside = Vec::new();
    if withdrawn {
        let Some(before) = &before else { return Err(Refusal::Findings(vec![no_consent()])) };
        let stop = stop_deliveries(gateway, before).await?;
        commit.delivery_changes = stop.changes;
        untried = stop.expect;
        // Who never got it is no party to it any more, and sees nothing of it; who has got it sees that it is over.
        let informed = |unit: &String| stop.informed.contains(unit);
        outside =
            exchange.recipients().map(|p| Outside { unit: p.unit.clone(), informed: informed(&p.unit) }).collect();
        exchange.parties.retain(|p| p.role == PartyRole::Sender || informed(&p.unit));
    } else if let Some(before) = &before {
        commit.delivery_changes = overtaken(gateway, before, version).await?;
    }
    exchange.stage = Stage::of_all(exchange.recipients().map(|p| p.stage));

    let units = exchange.units();
    let scale = Scale { now, patient: exchange.patient.as_deref(), units: &units, exchange: Some(id) };
    for resource in resources.iter().chain(&fallen) {
        scale.add(resource, &current, &mut weighed);
    }
    protection::of_every_number(gateway, &resources, now, &mut weighed).await?;
    let stood: Vec<Value> =
        before.iter().flat_map(|b| &b.resources).filter_map(|name| current.get(name)).map(|(_, r)| r.clone()).collect();
    let stands: Vec<Value> = resources.iter().chain(stood.iter().filter(|r| is_stay(r, &stays))).cloned().collect();
    let changes = difference::from_resources(&stood, &stands);
    let mut provenance = provenance(gateway, read, &exchange, version, now, &weighed);
    if !changes.is_empty() && !withdrawn && !wrong {
        provenance["extension"] = json!(difference::extensions(gateway, &changes));
    }
    scale.add(&provenance, &current, &mut weighed);
    // Copied only where somebody is sent it, or where it is weighed who has seen it.
    let is_copied = !outside.is_empty() || exchange.recipients().any(|p| is_pushed(gateway, &p.partner));
    let all: Vec<Value> =
        resources.iter().chain(&fallen).chain(plan).chain([&provenance]).filter(|_| is_copied).cloned().collect();
    let ends: Vec<Value> = all.iter().filter(|r| withdrawn && tells_the_end(r)).cloned().collect();
    let told = if withdrawn { &ends } else { &all };
    commit.deliveries = deliveries(gateway, &exchange, told, &current, now);
    commit.deliveries.extend(farewells(gateway, &exchange, &left, &fallen, now));

    let counted = (before.is_some() && !withdrawn && has_plan(&resources)).then(|| difference::numbers(&changes));
    commit.deliveries.extend(notices_of_version(gateway, &exchange, counted.as_ref(), now));
    commit.put = weighed.put;
    let mover = Mover { actor: &read.unit, by: None };
    commit.moves = moves(&exchange, resources.iter().chain(&fallen), &current, mover, now);
    commit.expect = weighed.expect;
    worklist::follow(gateway, &mut commit, &exchange, now).await?;
    let by = witness::by(&gateway.config.directory, submission.caller);
    let charges = charge::follow(gateway, &mut commit, &exchange, Speaks::Sender, by, now).await?;
    let looked = Looked {
        exchange: &exchange,
        before: &stood,
        after: &stands,
        answered: &[],
        areas: None,
        is_over: withdrawn || wrong,
    };
    let ended = reassess::follow(gateway, &mut commit, &looked, now).await?;
    commit.expect.extend(contact);
    commit.expect.extend(untried);
    commit.expect.push(Expect::Exchange {
        organisation: exchange.organisation.clone(),
        kind: exchange.kind,
        document: exchange.document.clone(),
        revision: before.as_ref().map(|b| b.revision),
    });
    commit.expect.extend(followed.expect);
    let episodes = episodes.iter().map(|(name, _)| name);
    let shared = exchange.resources.iter().chain(&followed.plan).chain(episodes).cloned().collect();
    commit.share = vec![Share { resources: shared, units }];
    commit.hide = hidden;
    if !outside.is_empty() {
        let tasks = ties.owners.iter().map(|(task, unit)| (unit.to_ascii_uppercase(), task.clone())).collect();
        let made: Vec<Value> = all.iter().chain(&charges).cloned().collect();
        veil::draw(gateway, &exchange, &tasks, &made, &outside, now, &mut commit).await?;
    }
    for patient in patients {
        let id = (!patient.is_new).then_some(patient.id);
        commit.expect.push(Expect::Patient { system: patient.system, value: patient.value, id });
    }
    for (partner, clashes) in &kept.clashes {
        counterpart::open(gateway, &mut commit, &exchange, partner, clashes, now).await?;
    }
    commit.owned = kept.changes;
    let said = [&read.issues, &followed.issues, &carried.issues, &ended, &kept.issues];
    let mut issues: Vec<Issue> = said.into_iter().flatten().cloned().collect();
    if read.envelope.entered_in_error && before.is_none() {
        issues.push(nothing_retracted());
    }
    if kept_here {
        issues.push(not_forwarded());
    }
    let held = held_by_blocks(gateway, read, &exchange, &followed.plan, &resources).await?;
    issues.extend(held.issues);
    commit.expect.extend(held.expect);
    // What a block keeps from the sender stays in the exchange, and is not in its receipt.
    let told = Exchange {
        resources: exchange.resources.iter().filter(|name| !held.withheld.contains(name)).cloned().collect(),
        ..exchange.clone()
    };
    let receipt = receipt(gateway, &told, version, read.table, &issues, now, true);
    commit.documents.push(document(submission, read, id, version, receipt, true));
    commit.exchanges.push(exchange);
    Ok(commit)
}

/// Every version, an older one too, is of the same unit and about the same patient, under whichever number.
pub(super) async fn check_same(
    store: &Store,
    before: &Exchange,
    read: &Read<'_>,
    patient: Option<&str>,
) -> Result<(), Refusal> {
    if before.sender().is_some_and(|s| !s.unit.eq_ignore_ascii_case(&read.unit)) {
        return conflict(
            "id",
            "Dokumentet med detta id sändes av en annan enhet; bara den kan ändra det.",
            "The document with this id was sent by another unit; only that unit can change it.",
        );
    }
    if before.patient.is_some() && !is_same_person(store, before.patient.as_deref(), patient).await? {
        return conflict(
            "patient",
            "En annan version gäller en annan patient: markera den som entered-in-error och sänd ett nytt dokument.",
            "Another version is about another patient: mark it entered-in-error and send a new document.",
        );
    }
    Ok(())
}

/// A retraction of what never came: kept, so that the document cannot come into force when it arrives late.
fn nothing_retracted() -> Issue {
    Issue::warning(
        Code::NotFound,
        "id",
        "Inget dokument med detta id har kommit hit: inget återtogs. Stämmer id:t, även stora och små bokstäver?",
        "No document with this id has come here: nothing was retracted. Is the id right, letter by letter?",
    )
}

/// What a protected person's document had and its recipients do not get.
fn not_forwarded() -> Issue {
    Issue::information(
        "patient",
        "Patienten har skyddade personuppgifter: adress och telefon behålls här och lämnas inte vidare; märkningen följer med.",
        "The patient has a protected identity: address and telephone are kept here and not passed on; the label goes along.",
    )
}

fn conflict(place: &str, sv: &str, en: &str) -> Result<(), Refusal> {
    Err(Refusal::Conflict(Issue::error(Code::Conflict, place, sv, en)))
}

/// A newer version is of something that has not ended.
pub(super) fn check_successor(before: &Exchange, read: &Read<'_>, withdraws: bool) -> Result<(), Refusal> {
    if read.envelope.entered_in_error {
        return Ok(());
    }
    if before.entered_in_error {
        return conflict(
            "status",
            "Dokumentet är återtaget (entered-in-error); sänd ett nytt med eget id.",
            "The document was retracted (entered-in-error); send a new one with an id of its own.",
        );
    }
    let mut tasks = before.recipients().filter_map(|p| p.status).peekable();
    let asks = matches!(before.kind, Kind::Referral | Kind::Handover) && tasks.peek().is_some();
    // A consent can be withdrawn whenever the patient wants.
    if asks && !withdraws && tasks.all(|s| s == Status::Completed) {
        return conflict(
            "version",
            "Mottagaren har redan slutfört och svarat; sänd en ny begäran med eget id.",
            "The recipient has completed and answered already; send a new request with an id of its own.",
        );
    }
    Ok(())
}

/// Joins a resource with what is stored of it: a Task goes on with its life, and one of the sender's own begins accepted.
fn live_on(resource: &mut Value, current: &Current, ties: &Ties, read: &Read<'_>) {
    let stored = reference_of(resource).and_then(|r| current.get(&r)).map(|(_, value)| value);
    *resource = join(std::mem::take(resource), stored);
    let begins = type_of(resource) == "Task" && resource["status"] == "requested";
    let by_sender =
        ties.owners.iter().any(|(task, unit)| resource["id"] == **task && unit.eq_ignore_ascii_case(&read.unit));
    if begins
        && by_sender
        && let Some(task) = resource.as_object_mut()
    {
        // A unit that makes the plan has taken its own part in it.
        set_status(task, Status::Accepted, None);
    }
    if read.envelope.entered_in_error {
        retract(resource);
    }
}

/// What the new version does not make any more, retracted; and the names of what partners added, which stays.
fn fallen(others: &[String], current: &Current) -> (Vec<Value>, Vec<String>) {
    let (mut fallen, mut stays) = (Vec::new(), Vec::new());
    for name in others {
        let Some((_, value)) = current.get(name) else { continue };
        let from_a_document = value["meta"]["source"].as_str().is_some_and(|s| s.starts_with(FROM_A_DOCUMENT));
        if from_a_document || is_known_to_many(value) {
            let mut value = value.clone();
            retract(&mut value);
            fallen.push(value);
        } else {
            stays.push(name.clone());
        }
    }
    (fallen, stays)
}

fn is_stay(resource: &Value, stays: &[String]) -> bool {
    reference_of(resource).is_some_and(|name| stays.contains(&name))
}

fn has_plan(resources: &[Value]) -> bool {
    resources.iter().any(|resource| type_of(resource) == "CarePlan")
}

/// Requests to stop a Task that has ended with this version: there is nothing left to stop.
fn unasked<'a>(
    stays: &[String],
    resources: impl Iterator<Item = &'a Value>,
    current: &Current,
    now: DateTime<Utc>,
) -> Vec<Value> {
    let ended: Vec<(String, Status)> = resources
        .filter(|r| type_of(r) == "Task")
        .filter_map(|t| Some((reference_of(t)?, t["status"].as_str().and_then(Status::parse)?)))
        .filter(|(_, status)| status.is_final())
        .collect();
    let aborts = stays.iter().filter_map(|name| current.get(name)).map(|(_, value)| value);
    let open = aborts.filter(|a| abort::is_abort(a) && abort::is_open(a));
    open.filter_map(|a| {
        let (_, status) = ended.iter().find(|(name, _)| name == abort::target(a))?;
        Some(abort::closed(a, *status, now))
    })
    .collect()
}

/// Parked deliveries of earlier versions: the new one carries all that they did.
async fn overtaken(gateway: &Gateway, before: &Exchange, version: u32) -> Result<Vec<DeliveryChange>, Refusal> {
    let query = DeliveryQuery { exchange: Some(before.id), state: Some(State::Parked), ..DeliveryQuery::default() };
    let parked = gateway.store.deliveries(&query).await?;
    let change = |d: crate::store::Delivery| DeliveryChange {
        id: d.id,
        from: State::Parked,
        to: State::Skipped,
        due_at: d.due_at,
        note: Some(format!("ersatt av version {version} | superseded by version {version}")),
        attempt: None,
    };
    // What was to tell the sender's own server how it goes is in no version of the document.
    let is_report = |d: &crate::store::Delivery| before.sender().is_some_and(|s| s.unit.eq_ignore_ascii_case(&d.unit));
    Ok(parked.into_iter().filter(|d| d.action != Action::Notice && !is_report(d)).map(change).collect())
}
