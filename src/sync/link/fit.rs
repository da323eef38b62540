//! Which numbers can be linked: what is wrong with two numbers by themselves, and what other links stand in the way.

use super::super::Refusal;
use super::Wish;
use crate::Gateway;
use crate::domain::{PersonId, PersonIdKind};
use crate::fhir::issue::{Code, Issue};
use crate::store::Link;

/// What is wrong with the two numbers, whoever says it.
pub(super) fn unfit(wish: &Wish) -> Vec<Issue> {
    let rank = |person: &PersonId| match person.kind() {
        PersonIdKind::Reservnummer => 0,
        PersonIdKind::Samordningsnummer => 1,
        PersonIdKind::Personnummer => 2,
    };
    if wish.old == wish.new {
        return vec![Issue::error(
            Code::Value,
            "new",
            "Numren är samma: ange det nummer som ersätter det gamla.",
            "The numbers are the same: give the one that replaces the old one.",
        )];
    }
    let mut issues = Vec::new();
    if wish.old.kind() == PersonIdKind::Personnummer {
        issues.push(Issue::error(
            Code::BusinessRule,
            "old",
            "Ett personnummer kopplas aldrig till ett annat här: hos den som har fingerade personuppgifter (lag 1991:483) får inget leda från det gamla till det nya.",
            "A personnummer is never linked to another here: of a person with a new protected identity (lag 1991:483) nothing may lead from the old number to the new.",
        ));
    }
    if wish.new.kind() == PersonIdKind::Reservnummer {
        issues.push(Issue::error(
            Code::BusinessRule,
            "new",
            "Ett reservnummer ersätter inget: ange personnumret eller samordningsnumret.",
            "A reserve number replaces nothing: give the personnummer or samordningsnummer.",
        ));
    }
    if issues.is_empty() && rank(&wish.new) <= rank(&wish.old) {
        issues.push(Issue::error(
            Code::BusinessRule,
            "new",
            "Ett nummer ersätts av ett som gäller mer: reservnummer av samordningsnummer eller personnummer, samordningsnummer av personnummer.",
            "A number is replaced by one that stands above it: a reserve number by a samordningsnummer or personnummer, a samordningsnummer by a personnummer.",
        ));
    }
    issues
}

/// The same link where it stands already; a finding where another is in its way.
pub(super) async fn standing(gateway: &Gateway, old: Option<&str>, new: Option<&str>) -> Result<Option<Link>, Refusal> {
    let (by, of) = match old {
        Some(old) => gateway.store.links_of(old).await?,
        None => (None, Vec::new()),
    };
    if let Some(there) = by.as_ref().filter(|link| new == Some(link.new.as_str())) {
        return Ok(Some(there.clone()));
    }
    let onwards = match new {
        Some(new) => gateway.store.links_of(new).await?.0,
        None => None,
    };
    if onwards.as_ref().is_some_and(|onwards| old == Some(onwards.new.as_str())) {
        return Err(in_the_way(
            "new",
            "Numren är redan kopplade åt andra hållet: häv den kopplingen först om den är fel.",
            "The numbers are linked the other way round already: undo that link first if it is wrong.",
        ));
    }
    if by.is_some() {
        return Err(in_the_way(
            "old",
            "Det gamla numret är redan ersatt av ett annat: häv den kopplingen först om den är fel.",
            "The old number is replaced by another already: undo that link first if it is wrong.",
        ));
    }
    if onwards.is_some() {
        return Err(in_the_way(
            "new",
            "Det nya numret är självt ersatt: koppla till det nummer som används nu. En kedja av kopplingar görs inte.",
            "The new number is itself replaced: link to the one that is used now. Links make no chain.",
        ));
    }
    if !of.is_empty() {
        return Err(in_the_way(
            "old",
            "Det gamla numret ersätter självt ett annat: häv den kopplingen, och koppla båda till det nya. En kedja av kopplingar görs inte.",
            "The old number itself replaces another: undo that link, and link both to the new one. Links make no chain.",
        ));
    }
    Ok(None)
}

fn in_the_way(at: &str, sv: &str, en: &str) -> Refusal {
    Refusal::Conflict(Issue::error(Code::Conflict, at, sv, en))
}
