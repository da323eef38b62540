//! Interactions, one or many, carried out together: all of them, or none.
//!
//! An interaction that comes alone is a list of one here, so that it cannot behave otherwise than in a Bundle.

use std::collections::{HashMap, HashSet};

use actix_web::http::StatusCode;
use uuid::Uuid;

use super::interaction::{Entry, Target, Verb};
use super::records::{Desk, Version, refuse_stale};
use super::refusal::Refusal;
use super::terms::text;
use super::{check, patch, references, search};
use crate::fhir::issue::{Code, Issue, any_error};

/// What came of it.
pub enum Outcome {
    /// Written, or found by `If-None-Exist` and left alone.
    Done(StatusCode, Version),
    Read(Version),
    Found(Vec<(String, String)>, search::Found),
    Versions(Vec<Version>),
}

/// Where an entry's resource lies before anything is written.
struct Place {
    id: String,
    /// Whether a condition found it.
    found: bool,
}

/// Carries out all entries in one transaction; answers come in the order of the entries.
pub fn perform(
    desk: &mut Desk<'_>,
    mut entries: Vec<Entry>,
    may_create: impl Fn(&str) -> bool,
) -> Result<Vec<Outcome>, Refusal> {
    let places = locate(desk, &entries)?;
    let mut links = HashMap::new();
    for (entry, place) in entries.iter().zip(&places) {
        let Some(url) = &entry.full_url else { continue };
        if links.insert(url.clone(), format!("{}/{}", entry.kind, place.id)).is_some() {
            let (sv, en) = ("Två poster har samma fullUrl.", "Two entries have the same fullUrl.");
            return Err(Refusal::malformed(&entry.at, sv, en));
        }
    }
    for entry in &mut entries {
        references::resolve(desk, &mut entry.body, &entry.at, &links)?;
    }
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|i| entries.get(*i).map(|e| e.verb));
    let mut outcomes: Vec<Option<Outcome>> = entries.iter().map(|_| None).collect();
    for i in order {
        if let (Some(entry), Some(place), Some(slot)) = (entries.get(i), places.get(i), outcomes.get_mut(i)) {
            *slot = Some(act(desk, entry, place, &may_create).map_err(|refusal| placed(refusal, &entry.at))?);
        }
    }
    for entry in entries.iter_mut().filter(|e| matches!(e.verb, Verb::Post | Verb::Put | Verb::Patch)) {
        references::refuse_dangling(desk, &mut entry.body, &entry.at)?;
    }
    Ok(outcomes.into_iter().flatten().collect())
}

/// A finding about the whole entry gets its place in the Bundle.
fn placed(mut refusal: Refusal, at: &str) -> Refusal {
    for issue in refusal.issues.iter_mut().filter(|i| i.expression.is_empty()) {
        at.clone_into(&mut issue.expression);
    }
    refusal
}

/// Finds or gives every entry its id, from what was stored before; two entries may not write the same resource.
fn locate(desk: &Desk<'_>, entries: &[Entry]) -> Result<Vec<Place>, Refusal> {
    let mut written = HashSet::new();
    let mut places = Vec::new();
    for entry in entries {
        let condition = match (&entry.verb, &entry.target) {
            (Verb::Post, _) => entry.if_none_exist.as_ref(),
            (Verb::Put, Target::Kind(query)) => query.as_ref(),
            _ => None,
        };
        let found = match condition {
            Some(c) => references::the_only_match(desk, &entry.kind, c, &entry.at)?,
            None => None,
        };
        let writes = entry.verb != Verb::Get && !(entry.verb == Verb::Post && found.is_some());
        let place = match (&entry.target, found) {
            (Target::Kind(_), Some(id)) => Place { id, found: true },
            (Target::Kind(_), None) => Place { id: Uuid::new_v4().to_string(), found: false },
            (Target::Instance(id) | Target::History(id) | Target::Version(id, _), _) => {
                Place { id: id.clone(), found: false }
            }
        };
        let by_condition = condition.filter(|_| !place.found).map(|c| format!("{}?{c}", entry.kind));
        if writes && !written.insert(by_condition.unwrap_or_else(|| format!("{}/{}", entry.kind, place.id))) {
            let (sv, en) = ("Två poster skriver samma resurs.", "Two entries write the same resource.");
            return Err(Refusal::malformed(&entry.at, sv, en));
        }
        places.push(place);
    }
    Ok(places)
}

fn act(
    desk: &mut Desk<'_>,
    entry: &Entry,
    place: &Place,
    may_create: impl Fn(&str) -> bool,
) -> Result<Outcome, Refusal> {
    let (kind, id) = (entry.kind.as_str(), place.id.as_str());
    match (entry.verb, &entry.target) {
        (Verb::Delete, Target::Instance(_)) => {
            Ok(Outcome::Done(StatusCode::NO_CONTENT, desk.delete(kind, id, entry.if_match)?))
        }
        (Verb::Post, Target::Kind(None)) if place.found => Ok(Outcome::Done(StatusCode::OK, desk.read(kind, id)?)),
        (Verb::Post, Target::Kind(None)) => put(desk, entry, id),
        (Verb::Put, Target::Kind(Some(_))) => {
            let own = text(&entry.body, "id");
            if own.is_some_and(|own| own != id) {
                let (sv, en) = (
                    "Resursens id är inte mottagarens; utelämna id vid villkorad PUT.",
                    "The resource's id is not the receiver's; leave id out of a conditional PUT.",
                );
                return Err(Refusal::malformed("", sv, en));
            }
            put(desk, entry, id)
        }
        (Verb::Put, Target::Instance(_)) => {
            if text(&entry.body, "id") != Some(id) {
                let (sv, en) = ("Resursens id ska vara adressens.", "The resource's id must be that of the address.");
                return Err(Refusal::malformed("", sv, en));
            }
            if desk.newest(kind, id)?.is_none() && entry.if_match.is_none() && !may_create(kind) {
                let (sv, en) = ("Här väljer mottagaren id; använd POST.", "The receiver chooses ids here; use POST.");
                let issue = Issue::error(Code::NotSupported, "", sv, en);
                return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, issue));
            }
            put(desk, entry, id)
        }
        (Verb::Patch, Target::Instance(_)) => {
            let before = desk.read(kind, id)?;
            refuse_stale(Some(&before), entry.if_match)?;
            let mut resource = before.resource.unwrap_or_default();
            patch::apply(&mut resource, &entry.body, &entry.at)?;
            let mut issues = check::check(&resource, kind);
            if check::kind_of(&resource) != Some(kind) || text(&resource, "id") != Some(id) {
                let (sv, en) = ("Typ och id kan inte ändras.", "Type and id cannot be changed.");
                issues.push(Issue::error(Code::Value, kind, sv, en));
            }
            if any_error(&issues) {
                return Err(Refusal::unprocessable(issues));
            }
            references::refuse_dangling(desk, &mut resource, kind)?;
            let (version, _) = desk.write(kind, id, resource, None)?;
            Ok(Outcome::Done(StatusCode::OK, version))
        }
        (Verb::Get, Target::Instance(_)) => Ok(Outcome::Read(desk.read(kind, id)?)),
        (Verb::Get, Target::Version(_, number)) => {
            let version = desk.history(kind, id)?.into_iter().find(|v| v.number == *number);
            let version = version.ok_or_else(|| Refusal::missing(""))?;
            if version.resource.is_none() { Err(Refusal::gone("")) } else { Ok(Outcome::Read(version)) }
        }
        (Verb::Get, Target::History(_)) => match desk.history(kind, id)? {
            none if none.is_empty() => Err(Refusal::missing("")),
            versions => Ok(Outcome::Versions(versions)),
        },
        (Verb::Get, Target::Kind(query)) => {
            let pairs = references::pairs(query.as_deref().unwrap_or_default(), &entry.at)?;
            let found = search::find(desk, kind, &search::parse(kind, &pairs).map_err(Refusal::query)?)?;
            Ok(Outcome::Found(pairs, found))
        }
        _ => Err(Refusal::method("")),
    }
}

/// Stores the body under `id`: created the first time, updated afterwards.
fn put(desk: &mut Desk<'_>, entry: &Entry, id: &str) -> Result<Outcome, Refusal> {
    if check::kind_of(&entry.body) != Some(&entry.kind) {
        let (sv, en) = ("Resursens typ ska vara adressens.", "The resource's type must be that of the address.");
        return Err(Refusal::malformed("", sv, en));
    }
    let existed = desk.is_live(&entry.kind, id)?;
    let (version, _) = desk.write(&entry.kind, id, entry.body.clone(), entry.if_match)?;
    Ok(Outcome::Done(if existed { StatusCode::OK } else { StatusCode::CREATED }, version))
}
