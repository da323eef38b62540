//! The criteria of a filter (`_typeFilter`): what is asked of a resource alone, and nothing of how an answer is to look.

use chrono::{DateTime, Utc};

use crate::Gateway;
use crate::access::{Caller, Reach};
use crate::fhir::issue::{Code, Issue, told};
use crate::fhir::search::{Clause, Fault, Reader, links, names_person, split};

/// The clauses of a query, or everything that is wrong with it.
pub fn criteria(
    gateway: &Gateway,
    caller: &Caller,
    resource_type: &str,
    query: &str,
    now: DateTime<Utc>,
    in_url: bool,
) -> Result<Vec<Clause>, Vec<Issue>> {
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let reader = Reader { in_url, ..reader(gateway, now) };
    let (mut clauses, mut issues) = (Vec::new(), Vec::new());
    let terms: usize = pairs.iter().map(|(_, value)| split(value).len()).sum();
    let most = gateway.config.limits.search_terms;
    if pairs.is_empty() || terms > most {
        issues.push(too_many_terms(most));
    }
    for (name, value) in pairs {
        if in_url && names_person(&value) {
            issues.push(a_person(told(&name)));
            continue;
        }
        match reader.clause(resource_type, &name, &value) {
            Ok(clause) if leads_away(&clause) => issues.push(leads(told(&name))),
            Ok(clause) if links_codes(gateway, caller, resource_type, &clause) => issues.push(a_link(told(&name))),
            Ok(clause) => clauses.push(clause),
            Err(Fault::Unknown(issue) | Fault::Wrong(issue)) => issues.push(issue),
        }
    }
    if issues.is_empty() { Ok(clauses) } else { Err(issues) }
}

/// Whether the answer would tell a registry that gets codes whose they are.
fn links_codes(gateway: &Gateway, caller: &Caller, resource_type: &str, clause: &Clause) -> bool {
    let Reach::Registry(name) = &caller.reach else { return false };
    let directory = &gateway.config.directory;
    gateway.config.gets_codes(name) && links(resource_type, clause, &|id| directory.find(id).is_some())
}

/// What filters and scopes are read by.
pub(super) fn reader(gateway: &Gateway, now: DateTime<Utc>) -> Reader<'_> {
    Reader {
        terminology: gateway.conformance.profiles.terminology(),
        base_url: &gateway.config.base_url,
        now,
        hops: gateway.config.limits.search_hops,
        in_url: true,
    }
}

/// Whether other resources are asked too.
fn leads_away(clause: &Clause) -> bool {
    match clause {
        Clause::Chain { .. } | Clause::Has { .. } => true,
        Clause::Not(clause) => leads_away(clause),
        Clause::Any(clauses) => clauses.iter().any(leads_away),
        _ => false,
    }
}

fn too_many_terms(most: usize) -> Issue {
    Issue::error(
        Code::Value,
        "",
        format!("Ett filter har minst ett villkor och högst {most} värden (limits.search_terms)."),
        format!("A filter has at least one criterion and at most {most} values (limits.search_terms)."),
    )
}

fn a_person(name: &str) -> Issue {
    Issue::error(
        Code::Value,
        name,
        "Person- och samordningsnummer tas inte emot i en adress; sänd filtret i en kropp.",
        "A national identifier is not taken in a URL; send the filter in a body.",
    )
}

fn a_link(name: &str) -> Issue {
    Issue::error(
        Code::Forbidden,
        name,
        "Registret får kodade uppgifter: filtret frågar efter något som kodas eller utelämnas, och svaret skulle peka ut personen.",
        "The registry gets coded data: the filter asks for what is coded or left out, and the answer would point out the person.",
    )
}

fn leads(name: &str) -> Issue {
    Issue::error(
        Code::NotSupported,
        name,
        "Ett filter frågar resursen själv; kedjor och _has tas inte emot.",
        "A filter asks the resource itself; chains and _has are not taken.",
    )
}
