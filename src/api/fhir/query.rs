//! A FHIR search as it stands in a URL or form, checked and turned into what the store is asked.

use actix_web::web;
use uuid::Uuid;

use super::super::problem::{Problem, told};
use crate::domain::PersonId;
use crate::fhir::search::{self, Kind};
use crate::store::{Clause, DateOp, Search, TokenMatch};

/// A checked search, and the words it was asked with, for the links of the answer.
#[derive(Debug)]
pub struct Asked {
    pub search: Search,
    pub pairs: Vec<(String, String)>,
}

/// Splits `a=1&b=2`.
pub fn pairs(text: &str) -> Result<Vec<(String, String)>, Problem> {
    web::Query::<Vec<(String, String)>>::from_query(text)
        .map(web::Query::into_inner)
        .map_err(|_| Problem::bad_request("", "Frågan kan inte läsas.", "The query cannot be read."))
}

/// Checks a search. Every parameter is served or refused; none is ignored.
pub fn parse(
    resource_type: &str,
    pairs: Vec<(String, String)>,
    page: u32,
    page_max: u32,
    in_url: bool,
) -> Result<Asked, Problem> {
    let mut search = Search { limit: page, ..Search::of(resource_type) };
    for (name, value) in &pairs {
        if in_url {
            refuse_person(name, value)?;
        }
        match name.as_str() {
            "_count" => {
                let count: u32 = value.parse().map_err(|_| wrong(name, "ett heltal", "a whole number"))?;
                search.limit = count.clamp(1, page_max);
            }
            "_after" => {
                search.after = Some(value.parse().map_err(|_| wrong(name, "en länk från oss", "a link of ours"))?)
            }
            // The answer's format has been settled around the handlers.
            "_format" => {}
            "_id" => search.clauses.push(Clause::Id(value.split(',').map(str::to_owned).collect())),
            "_lastUpdated" => {
                let (op, low, high) = date(name, value)?;
                search.clauses.push(Clause::LastUpdated { op, low, high });
            }
            _ => search.clauses.push(clause(resource_type, name, value)?),
        }
    }
    Ok(Asked { search, pairs })
}

fn clause(resource_type: &str, name: &str, value: &str) -> Result<Clause, Problem> {
    let Some(param) = search::param(resource_type, name) else { return Err(unknown(resource_type, name)) };
    let param_name = param.name.to_owned();
    Ok(match param.kind {
        Kind::Token => Clause::Token { param: param_name, any_of: split(value).iter().map(|t| token(t)).collect() },
        Kind::Reference => {
            let targets = split(value).iter().map(|t| reference(name, t)).collect::<Result<Vec<_>, _>>()?;
            Clause::Reference { param: param_name, any_of: targets.into_iter().flatten().collect() }
        }
        Kind::Date => {
            let (op, low, high) = date(name, value)?;
            Clause::Date { param: param_name, op, low, high }
        }
    })
}

/// Commas mean "or"; `\,` is a comma.
fn split(value: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in value.chars() {
        match (escaped, c) {
            (false, '\\') => {
                escaped = true;
                continue;
            }
            (false, ',') => parts.push(String::new()),
            _ => {
                if escaped && c == '|' {
                    // Kept escaped until the system is split off.
                    if let Some(last) = parts.last_mut() {
                        last.push('\\');
                    }
                }
                if let Some(last) = parts.last_mut() {
                    last.push(c);
                }
            }
        }
        escaped = false;
    }
    parts
}

fn token(text: &str) -> TokenMatch {
    let bar = text.char_indices().find(|(i, c)| *c == '|' && !text.get(..*i).is_some_and(|t| t.ends_with('\\')));
    let plain = |t: &str| t.replace("\\|", "|");
    match bar {
        Some((at, _)) => {
            let (system, code) = (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default());
            TokenMatch { system: Some(plain(system)), code: (!code.is_empty()).then(|| plain(code)) }
        }
        None => TokenMatch { system: None, code: Some(plain(text)) },
    }
}

/// `Type/id`; a bare id for the types the parameter can point at; `system|value` for a logical reference.
fn reference(name: &str, text: &str) -> Result<Vec<String>, Problem> {
    if let Some((system, value)) = text.split_once('|') {
        return Ok(vec![search::logical(system, value)]);
    }
    if text.contains('/') {
        return Ok(vec![text.to_owned()]);
    }
    let types: &[&str] = match name {
        "patient" => &["Patient"],
        "owner" | "requester" | "organization" => &["Organization", "PractitionerRole", "Practitioner"],
        "focus" | "based-on" => &["ServiceRequest", "CarePlan", "Task"],
        "encounter" => &["Encounter"],
        "part-of" => &["Procedure"],
        _ => return Err(wrong(name, "Typ/id", "Type/id")),
    };
    Ok(types.iter().map(|t| format!("{t}/{text}")).collect())
}

fn date(name: &str, value: &str) -> Result<(DateOp, i64, i64), Problem> {
    let (op, text) = match value.get(..2) {
        Some("eq") => (DateOp::Eq, value.get(2..)),
        Some("ne") => (DateOp::Ne, value.get(2..)),
        Some("gt") => (DateOp::Gt, value.get(2..)),
        Some("ge") => (DateOp::Ge, value.get(2..)),
        Some("lt") => (DateOp::Lt, value.get(2..)),
        Some("le") => (DateOp::Le, value.get(2..)),
        Some("sa") => (DateOp::Sa, value.get(2..)),
        Some("eb") => (DateOp::Eb, value.get(2..)),
        _ => (DateOp::Eq, Some(value)),
    };
    // A + that was not encoded has become a space.
    let text = text.unwrap_or_default().replace(' ', "+");
    let (low, high) =
        search::moment(&text).ok_or_else(|| wrong(name, "ett datum, som ge2026-01-31", "a date, like ge2026-01-31"))?;
    Ok((op, low, high))
}

/// A national identifier in a URL would stand in every log on the way.
fn refuse_person(name: &str, value: &str) -> Result<(), Problem> {
    if split(value).iter().any(|v| holds_person(v)) {
        return Err(Problem::bad_request(
            told(name),
            "Person- och samordningsnummer tas inte emot i en adress; sök med POST …/_search.",
            "A national identifier is not taken in a URL; search with POST …/_search.",
        ));
    }
    Ok(())
}

/// Whether a number stands anywhere in the text, with what people and programs put before its last four.
fn holds_person(text: &str) -> bool {
    // Ids of ours are UUIDs; some of them begin or end with digits that could be a number.
    if text.rsplit(['/', '|']).next().is_some_and(|id| Uuid::try_parse(id).is_ok()) {
        return false;
    }
    let after_digit = |at: usize| text.get(..at).is_some_and(|t| t.ends_with(|c: char| c.is_ascii_digit()));
    let starts = text.char_indices().filter(|(at, c)| c.is_ascii_digit() && !after_digit(*at));
    starts.filter_map(|(at, _)| number_at(text.get(at..)?)).any(|number| PersonId::parse(&number).is_ok())
}

/// Eight digits and four more characters, of which no more follow: `19500907 2553`, `19500907-2553`, `19500907%2D2553`.
fn number_at(text: &str) -> Option<String> {
    let (date, rest) = text.split_at_checked(8)?;
    let between = |c: char| !c.is_alphanumeric() && !matches!(c, '%' | '|');
    let mut rest = rest.trim_start_matches(between);
    while let Some(escaped) = rest.strip_prefix('%') {
        rest = escaped.get(2..)?.trim_start_matches(between);
    }
    let (last, more) = rest.split_at_checked(4)?;
    (!more.starts_with(|c: char| c.is_ascii_digit())).then(|| format!("{date}{last}"))
}

fn unknown(resource_type: &str, name: &str) -> Problem {
    let mut known: Vec<&str> = search::params(resource_type).iter().map(|p| p.name).collect();
    known.extend(["_id", "_lastUpdated", "_count"]);
    let known = known.join(", ");
    Problem::bad_request(
        told(name),
        format!("Sökparametern finns inte för {resource_type}; kända: {known}."),
        format!("{resource_type} has no such search parameter; known: {known}."),
    )
}

fn wrong(name: &str, sv: &str, en: &str) -> Problem {
    Problem::bad_request(name, format!("Värdet ska vara {sv}."), format!("The value should be {en}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(text: &str) -> Result<Asked, Problem> {
        parse("Task", pairs(text).unwrap(), 50, 500, true)
    }

    #[test]
    fn tokens_are_split_at_commas_and_the_first_bar() {
        let asked = ask("identifier=urn:x|a,urn:y|b\\|c,d").unwrap();
        let some = |s: &str| Some(s.to_owned());
        assert_eq!(
            asked.search.clauses,
            [Clause::Token {
                param: "identifier".into(),
                any_of: vec![
                    TokenMatch { system: some("urn:x"), code: some("a") },
                    TokenMatch { system: some("urn:y"), code: some("b|c") },
                    TokenMatch { system: None, code: some("d") },
                ],
            }]
        );
    }

    #[test]
    fn an_unknown_parameter_is_refused_and_never_ignored() {
        for text in ["colour=red", "status:not=requested", "_sort=date"] {
            assert!(ask(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_national_identifier_in_a_url_is_refused() {
        for text in [
            "identifier=http://electronichealth.se/identifier/personnummer|195009072553",
            "identifier=19500907-2553",
            "identifier=urn:x|1,196109732393",
            "identifier=19500907%202553",
            "identifier=19500907%25202553",
            "identifier=19500907+2553",
            "identifier=18900202%2B9800",
            "identifier=19500907--2553",
            "patient=Patient/195009072553",
            "identifier=no.195009072553.",
            "identifier=p195009072553p",
            "identifier=urn:x|195009072553|2",
            "identifier=98240301aa06",
        ] {
            let problem = ask(text).unwrap_err();
            assert!(problem.outcome().to_string().contains("POST"), "{text}");
        }
        for text in [
            "identifier=urn:x|123456789012",
            "identifier=urn:x|1195009072553",
            "identifier=1950-09-07",
            "_id=99123456-7890-4c93-b40d-acc512272e12",
            "owner=SE2321000131-E000000000202",
            "identifier=SE2321000131-E000000000202",
            "_lastUpdated=ge2026-01-31T10:00:00%2B01:00",
        ] {
            assert!(ask(text).is_ok(), "{text}");
        }
    }
}
