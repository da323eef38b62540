//! One person, several numbers: a named person says that a number has been replaced by another (`Patient.link`), and that this
//! was wrong. What follows from either, the writer settles in the same commit.
//!
//! A unit may say it that has an exchange with the patient under one of the numbers: it has met the patient and knows (PDL
//! 2008:355, 4 kap. 1 §), and whether the other number is known here, and to whom, it is not told. Whoever runs the gateway
//! may not. A personnummer is never replaced: a person with fingerade personuppgifter has a new one, and nothing may lead to
//! it from the old.

mod fit;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use fit::{standing, unfit};

use super::read::hash;
use super::refusal::missing;
use super::submit::Answered;
use super::weigh::{Current, Scale, Weighed, current, instant};
use super::{Refusal, TRIES, deceased, programme, protection, reassess, witness};
use crate::Gateway;
use crate::access::{Caller, Reach};
use crate::domain::PersonId;
use crate::domain::audit::{Deed, Event};
use crate::fhir::canonical::BASE;
use crate::fhir::issue::{Code, Issue, any_error};
use crate::fhir::protection::is_protected;
use crate::store::{Answer, Commit, Committed, ExchangeQuery, Expect, Filter, Link, StoreError, Undone};

/// Exchanges that are looked through for the caller's own part.
const LOOKED_AT: u32 = 50;

/// What is said.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The number that is used no more.
    pub old: PersonId,
    pub new: PersonId,
    /// The HSA-id of the person.
    pub by: String,
    pub reason: String,
}

/// How it came: its bytes and the Idempotency-Key.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    pub bytes: &'a [u8],
    pub key: Option<&'a str>,
}

/// Links the numbers: 201, or 200 where the same link stands already.
pub async fn link(
    gateway: &Gateway,
    caller: &Caller,
    wish: &Wish,
    sent: Sent<'_>,
    now: DateTime<Utc>,
) -> Result<Answered, Refusal> {
    let request_hash = hash(&[b"link", sent.bytes]);
    if let Some(answered) = recall(gateway, caller, sent, &request_hash).await? {
        return Ok(answered);
    }
    let wrong = unfit(wish);
    if !wrong.is_empty() {
        return Err(Refusal::Findings(wrong));
    }
    for _ in 0..TRIES {
        if let Some(answered) = attempt(gateway, caller, wish, sent, &request_hash, now).await? {
            return Ok(answered);
        }
        if let Some(answered) = recall(gateway, caller, sent, &request_hash).await? {
            return Ok(answered);
        }
    }
    Err(Refusal::Busy)
}

async fn recall(
    gateway: &Gateway,
    caller: &Caller,
    sent: Sent<'_>,
    request_hash: &str,
) -> Result<Option<Answered>, Refusal> {
    let Some(key) = sent.key else { return Ok(None) };
    let Some(answer) = gateway.store.recall(&caller.name, key).await? else { return Ok(None) };
    if answer.request_hash != request_hash {
        return Err(Refusal::KeyReused);
    }
    Ok(Some(Answered { status: answer.status, location: answer.location, body: answer.body }))
}

/// One try: `None` when somebody else committed in between.
async fn attempt(
    gateway: &Gateway,
    caller: &Caller,
    wish: &Wish,
    sent: Sent<'_>,
    request_hash: &str,
    now: DateTime<Utc>,
) -> Result<Option<Answered>, Refusal> {
    let store = &gateway.store;
    let old = store.patient_id(wish.old.system(), wish.old.value()).await?;
    let new = store.patient_id(wish.new.system(), wish.new.value()).await?;
    let known: Vec<String> = old.iter().chain(&new).cloned().collect();
    let Some(unit) = own_unit(gateway, caller, &known).await? else { return Err(not_ones_patient()) };
    let expect = |person: &PersonId, id: &Option<String>| Expect::Patient {
        system: person.system().to_owned(),
        value: person.value().to_owned(),
        id: id.clone(),
    };
    let mut expects = vec![expect(&wish.old, &old), expect(&wish.new, &new)];
    if let Some(there) = standing(gateway, old.as_deref(), new.as_deref()).await? {
        let answered = answered(200, &there);
        let Some(kept) = kept(caller, sent, request_hash, &answered) else { return Ok(Some(answered)) };
        expects = vec![
            Expect::Linked { id: there.id },
            Expect::FreshKey { caller: kept.caller.clone(), key: kept.key.clone() },
        ];
        let commit = Commit { expect: expects, answer: Some(kept), ..Commit::default() };
        return Ok(matches!(store.commit(commit).await?, Committed::Done { .. }).then_some(answered));
    }
    let link = Link {
        id: Uuid::now_v7(),
        old: old.unwrap_or_else(|| Uuid::new_v4().to_string()),
        new: new.unwrap_or_else(|| Uuid::new_v4().to_string()),
        unit,
        made_at: now,
        made_by: wish.by.clone(),
        reason: wish.reason.clone(),
        undone: None,
    };
    let names = [format!("Patient/{}", link.old), format!("Patient/{}", link.new)];
    let known = current(store.resources(&Filter::ALL, &names).await?);
    let stands = |id: &str, person: &PersonId| match known.get(&format!("Patient/{id}")) {
        Some((_, body)) => body.clone(),
        None => unknown(id, person),
    };
    let (mut replaced, mut kept_on) = (stands(&link.old, &wish.old), stands(&link.new, &wish.new));
    replaced["active"] = json!(false);
    replaced["link"] = json!([{
        "other": {
            "reference": format!("Patient/{}", link.new),
            "identifier": { "system": wish.new.system(), "value": wish.new.value() },
        },
        "type": "replaced-by",
    }]);
    // Whose death was told under one number has died under the other, and who is protected under one is under the other.
    deceased::carry(&replaced.clone(), &mut kept_on);
    deceased::carry(&kept_on, &mut replaced);
    protection::carry(&replaced.clone(), &mut kept_on);
    protection::carry(&kept_on, &mut replaced);
    let mut weighed = write(gateway, [&replaced, &kept_on], &known, now)?;
    weighed.expect.append(&mut expects);
    weighed.expect.push(Expect::Unlinked { old: link.old.clone(), new: link.new.clone() });
    let answered = answered(201, &link);
    let mut commit = Commit {
        expect: weighed.expect,
        put: weighed.put,
        links: vec![link.clone()],
        answer: kept(caller, sent, request_hash, &answered),
        ..Commit::default()
    };
    if let Some(kept) = &commit.answer {
        commit.expect.push(Expect::FreshKey { caller: kept.caller.clone(), key: kept.key.clone() });
    }
    if deceased::is_told(&kept_on) {
        // Before the link stands each number has its own programmes.
        for patient in [&link.old, &link.new] {
            programme::silence(gateway, patient, now, &mut commit).await?;
        }
    }
    commit.audit.push(witness::wrote(event(gateway, caller, "begin", &link, &wish.by, now), &commit));
    Ok(matches!(store.commit(commit).await?, Committed::Done { .. }).then_some(answered))
}

fn not_ones_patient() -> Refusal {
    Refusal::Forbidden(Issue::error(
        Code::Forbidden,
        "old",
        "Bara en enhet som har ett ärende med patienten under ett av numren kan göra detta.",
        "Only a unit that has an exchange with the patient under one of the numbers can do this.",
    ))
}

/// A unit that the caller speaks for and that has an exchange with one of these patients; who runs the gateway has none.
pub(super) async fn own_unit(
    gateway: &Gateway,
    caller: &Caller,
    patients: &[String],
) -> Result<Option<String>, StoreError> {
    let Reach::Units(units) = &caller.reach else { return Ok(None) };
    let mut own = BTreeSet::new();
    for patient in patients {
        let query = ExchangeQuery { patient: Some(patient.clone()), limit: LOOKED_AT, ..ExchangeQuery::default() };
        for exchange in gateway.store.exchanges(&caller.within_reach(), &query).await?.matches {
            own.extend(exchange.parties.iter().map(|party| party.unit.to_ascii_uppercase()));
        }
    }
    Ok(units.iter().map(|unit| unit.to_ascii_uppercase()).find(|unit| own.contains(unit)))
}

/// A link that was wrong: each number is its own person again, with what came under it. Undone again, it stays as it was.
pub async fn undo(
    gateway: &Gateway,
    caller: &Caller,
    id: Uuid,
    by: &str,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<Link, Refusal> {
    for _ in 0..TRIES {
        let link = read(gateway, caller, id).await?;
        let patients = [link.old.clone(), link.new.clone()];
        if own_unit(gateway, caller, &patients).await?.is_none() {
            return Err(not_ones_patient());
        }
        if link.undone.is_some() {
            return Ok(link);
        }
        let store = &gateway.store;
        let names = [format!("Patient/{}", link.old), format!("Patient/{}", link.new)];
        let known = current(store.resources(&Filter::ALL, &names).await?);
        let [mut replaced, mut kept_on] =
            names.map(|name| known.get(&name).map(|(_, body)| body.clone()).unwrap_or_default());
        if let Some(object) = replaced.as_object_mut() {
            object.shift_remove("active");
            object.shift_remove("link");
        }
        // Each is as dead, and as protected, as was said of itself.
        let mut lives = false;
        for (patient, body) in [(&link.old, &mut replaced), (&link.new, &mut kept_on)] {
            if deceased::is_told(body) && !deceased::was_told(gateway, patient).await? {
                deceased::clear(body);
                lives = true;
            }
            if is_protected(body) && !protection::was_said(gateway, patient).await? {
                protection::unlabel(body);
            }
        }
        let at = now.max(link.made_at); // a clock that was set back
        let undone = Link { undone: Some(Undone { at, by: by.to_owned(), reason: reason.to_owned() }), ..link };
        let weighed = write(gateway, [&replaced, &kept_on], &known, now)?;
        let mut commit =
            Commit { expect: weighed.expect, put: weighed.put, links: vec![undone.clone()], ..Commit::default() };
        if lives {
            commit.looks = reassess::look_again(gateway, &undone.old, now).await?;
        }
        commit.audit.push(witness::wrote(event(gateway, caller, "end", &undone, by, now), &commit));
        if let Committed::Done { .. } = store.commit(commit).await? {
            gateway.wake.notify_one();
            return Ok(undone);
        }
    }
    Err(Refusal::Busy)
}

/// A link, for those who know the person by both numbers: to others it is not there.
pub async fn read(gateway: &Gateway, caller: &Caller, id: Uuid) -> Result<Link, Refusal> {
    let link = gateway.store.link(id).await?.ok_or_else(|| missing("link"))?;
    let names = [format!("Patient/{}", link.old), format!("Patient/{}", link.new)];
    let seen = gateway.store.resources(&caller.within_reach(), &names).await?.len();
    // Whose unit made it may see it when it is undone too, and knows no more by the number that was wrong.
    let is_own = link.undone.is_some() && caller.may_act_for(&link.unit) && seen > 0;
    if seen == names.len() || is_own { Ok(link) } else { Err(missing("link")) }
}

/// Both Patients as they are to stand.
fn write(gateway: &Gateway, patients: [&Value; 2], known: &Current, now: DateTime<Utc>) -> Result<Weighed, Refusal> {
    let mut weighed = Weighed::default();
    for patient in patients {
        let issues = gateway.validate(std::slice::from_ref(patient));
        if any_error(&issues) {
            return Err(Refusal::Findings(issues));
        }
        let scale = Scale { now, patient: patient["id"].as_str(), units: &[], exchange: None };
        scale.add(patient, known, &mut weighed);
    }
    Ok(weighed)
}

fn unknown(id: &str, person: &PersonId) -> Value {
    json!({
        "resourceType": "Patient", "id": id,
        "meta": { "profile": [format!("{BASE}/StructureDefinition/patient")] },
        "identifier": [{ "system": person.system(), "value": person.value() }],
    })
}

fn event(gateway: &Gateway, caller: &Caller, change: &str, link: &Link, by: &str, now: DateTime<Utc>) -> Event {
    let who = witness::by(&gateway.config.directory, caller);
    Event::new(now, who, Deed::Link, format!("link/{}", link.id))
        .about([link.old.clone(), link.new.clone()])
        .with("change", change)
        .with("unit", link.unit.as_str())
        .with("decidedBy", by)
}

fn kept(caller: &Caller, sent: Sent<'_>, request_hash: &str, answered: &Answered) -> Option<Answer> {
    Some(Answer {
        caller: caller.name.clone(),
        key: sent.key?.to_owned(),
        request_hash: request_hash.to_owned(),
        exchange: None,
        status: answered.status,
        location: answered.location.clone(),
        body: answered.body.clone(),
    })
}

fn answered(status: u16, link: &Link) -> Answered {
    let body = serde_json::to_vec(&shown(link)).unwrap_or_default();
    Answered { status, location: Some(format!("/v1/patients/links/{}", link.id)), body }
}

/// A link as the API shows it.
pub fn shown(link: &Link) -> Value {
    json!({
        "id": link.id.to_string(),
        "old": format!("Patient/{}", link.old),
        "new": format!("Patient/{}", link.new),
        "standing": link.undone.is_none(),
        "unit": link.unit,
        "madeAt": instant(link.made_at),
        "madeBy": link.made_by,
        "reason": link.reason,
        "undoneAt": link.undone.as_ref().map(|undone| instant(undone.at)),
        "undoneBy": link.undone.as_ref().map(|undone| &undone.by),
        "undoneReason": link.undone.as_ref().map(|undone| &undone.reason),
    })
}
