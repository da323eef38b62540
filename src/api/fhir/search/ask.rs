//! A whole search as it was asked: what is looked for, what is shown of it, and what was left out at the caller's wish.

use actix_web::http::StatusCode;

use super::super::super::problem::{Problem, told};
use super::person::refuse_person;
use crate::config::Limits;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::search::{self, Clause, Fault, Kind, Reader, allowed, modifiers, split, types};
use crate::fhir::subset::{Shape, has_element};
use crate::store::{Include, Search, Sort, SortBy};

/// A parameter as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub name: String,
    pub value: String,
    pub in_url: bool,
}

/// A checked search.
#[derive(Debug)]
pub struct Asked {
    pub search: Search,
    pub includes: Vec<Include>,
    pub total: bool,
    /// Only how many there are.
    pub count_only: bool,
    pub shape: Shape,
    /// What is applied, with the values that it is applied with.
    pub applied: Vec<Pair>,
    pub left_out: Vec<Issue>,
    /// What the link of a page said.
    pub page: Option<String>,
}

/// What a search is read with.
pub struct Asking<'a> {
    pub reader: Reader<'a>,
    pub limits: Limits,
    /// `Prefer: handling=lenient`: what is unknown is left out, and said.
    pub is_lenient: bool,
    /// A named query is asked for, and its parameters are known.
    pub is_named: bool,
}

/// Parameters that say how the answer is to look; each at most once.
const ONCE: [&str; 7] = ["_count", "_total", "_summary", "_elements", "_sort", "_page", "_query"];

impl Asking<'_> {
    /// Checks a search: everything is served, refused, or left out by name. All that is wrong is told at once.
    pub fn read(&self, resource_type: &str, pairs: Vec<Pair>) -> Result<Asked, Problem> {
        let mut asked = Asked {
            search: Search { limit: self.limits.page.min(self.limits.page_max), ..Search::of(resource_type) },
            includes: Vec::new(),
            total: false,
            count_only: false,
            shape: Shape::Whole,
            applied: Vec::new(),
            left_out: Vec::new(),
            page: None,
        };
        let terms: usize = pairs.iter().map(|pair| split(&pair.value).len()).sum();
        if terms > self.limits.search_terms {
            let most = self.limits.search_terms;
            return Err(Problem::bad_request(
                "",
                format!("{terms} sökvärden; högst {most} tas emot (limits.search_terms)."),
                format!("{terms} search values; at most {most} are taken (limits.search_terms)."),
            ));
        }
        let mut wrong = Vec::new();
        for mut pair in pairs {
            if pair.in_url {
                refuse_person(&pair.name, &pair.value)?;
            }
            let again = asked.applied.iter().any(|other| other.name == pair.name);
            let read = if ONCE.contains(&pair.name.as_str()) && again {
                Err(Fault::wrong(&pair.name, "angivet en gång", "given once"))
            } else {
                self.one(&mut pair, &mut asked)
            };
            match read {
                Ok(()) => asked.applied.push(pair),
                Err(Fault::Unknown(issue)) if self.is_lenient => asked.left_out.push(issue),
                Err(Fault::Unknown(issue) | Fault::Wrong(issue)) => wrong.push(issue),
            }
        }
        if asked.shape == Shape::Text && !asked.includes.is_empty() {
            wrong.push(alone(
                "_summary",
                "_summary=text kan inte förenas med _include",
                "_summary=text does not go with _include",
            ));
        }
        let has = |name: &str| asked.applied.iter().any(|pair| pair.name == name);
        if has("_summary") && has("_elements") {
            wrong.push(alone(
                "_elements",
                "_elements kan inte förenas med _summary",
                "_elements does not go with _summary",
            ));
        }
        if wrong.is_empty() { Ok(asked) } else { Err(Problem::all(StatusCode::BAD_REQUEST, wrong)) }
    }

    fn one(&self, pair: &mut Pair, asked: &mut Asked) -> Result<(), Fault> {
        let (name, value) = (pair.name.as_str(), pair.value.as_str());
        let resource_type = asked.search.resource_type.clone();
        match name {
            "_count" => {
                let count: u32 = value.parse().map_err(|_| Fault::wrong(name, "ett heltal", "a whole number"))?;
                asked.count_only |= count == 0;
                asked.search.limit = count.clamp(1, self.limits.page_max);
                pair.value = count.min(self.limits.page_max).to_string();
            }
            "_page" => asked.page = Some(value.to_owned()),
            // The one named query; with `overdue=true` only what is overdue.
            "_query" => match (resource_type.as_str(), value) {
                ("Task", "open-loops") => asked.search.clauses.push(Clause::Awaited { due_by: None }),
                _ => return Err(Fault::wrong(name, "open-loops, för Task", "open-loops, of Task")),
            },
            "overdue" if resource_type == "Task" && self.is_named => match value {
                "true" => {
                    let due_by = Some(self.reader.now.timestamp_millis());
                    asked.search.clauses.push(Clause::Awaited { due_by });
                }
                "false" => {}
                _ => return Err(Fault::wrong(name, "true eller false", "true or false")),
            },
            // The answer's format has been settled around the handlers.
            "_format" => {}
            "_total" => match value {
                "none" => {}
                // Counting is exact here, so an estimate is too.
                "estimate" | "accurate" => asked.total = true,
                _ => return Err(Fault::wrong(name, "none, estimate eller accurate", "none, estimate or accurate")),
            },
            "_summary" => match value {
                "true" => asked.shape = Shape::Summary,
                "text" => asked.shape = Shape::Text,
                "data" => asked.shape = Shape::Data,
                "count" => asked.count_only = true,
                "false" => {}
                _ => {
                    let known = "true, text, data, count eller false";
                    return Err(Fault::wrong(name, known, "true, text, data, count or false"));
                }
            },
            "_elements" => {
                let names = split(value);
                if let Some(other) = names.iter().find(|n| !has_element(&resource_type, n)) {
                    let (sv, en) = (
                        format!("element i {resource_type}; {} är inget", told(other)),
                        format!("elements of {resource_type}; {} is none", told(other)),
                    );
                    return Err(Fault::wrong(name, &sv, &en));
                }
                asked.shape = Shape::Elements(names);
            }
            "_sort" => {
                asked.search.sort =
                    split(value).iter().map(|key| sort(&resource_type, key)).collect::<Result<_, _>>()?
            }
            "_include" | "_include:iterate" | "_revinclude" | "_revinclude:iterate" => {
                asked.includes.push(include(&resource_type, name, value)?);
            }
            _ => {
                let reader = Reader { in_url: pair.in_url, ..self.reader };
                asked.search.clauses.push(reader.clause(&resource_type, name, value)?);
            }
        }
        Ok(())
    }
}

fn alone(name: &str, sv: &str, en: &str) -> Issue {
    Issue::error(Code::Value, name, format!("{sv}."), format!("{en}."))
}

/// `-authored`, `status`.
fn sort(resource_type: &str, key: &str) -> Result<Sort, Fault> {
    let (name, descending) = key.strip_prefix('-').map_or((key, false), |name| (name, true));
    let by = match name {
        "_id" => SortBy::Id,
        "_lastUpdated" => SortBy::LastUpdated,
        _ => {
            let param = search::param(resource_type, name).filter(|p| is_sortable(p.kind));
            SortBy::Param(param.ok_or_else(|| Fault::unknown(resource_type, name))?)
        }
    };
    Ok(Sort { by, descending })
}

/// Kinds of parameter that a search can be sorted by.
pub fn is_sortable(kind: Kind) -> bool {
    matches!(kind, Kind::Token | Kind::Date | Kind::String)
}

/// `Task:focus`, `Task:focus:ServiceRequest`.
fn include(resource_type: &str, name: &str, value: &str) -> Result<Include, Fault> {
    let (is_reverse, iterates) = (name.starts_with("_revinclude"), name.ends_with(":iterate"));
    let (sv, en) = (
        "Typ:referens eller Typ:referens:Måltyp; * tas inte",
        "Type:reference or Type:reference:Target; * is not taken",
    );
    let wrong = || Fault::wrong(name.split(':').next().unwrap_or_default(), sv, en);
    let mut parts = value.split(':');
    let (Some(source), Some(base), target, None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(wrong());
    };
    if !types().contains(&source) {
        return Err(wrong());
    }
    let param = search::param(source, base).filter(|p| p.kind == Kind::Reference);
    let param = param.ok_or_else(|| Fault::unknown(source, base))?;
    let allowed = allowed(param);
    if target.is_some_and(|target| !allowed.contains(&target)) {
        return Err(wrong());
    }
    // What could never bring anything along is a mistake, and not to be passed over.
    let fits = if is_reverse { allowed.contains(&resource_type) } else { source == resource_type };
    if !iterates && !fits {
        return Err(wrong());
    }
    Ok(Include {
        is_reverse,
        source: source.to_owned(),
        param: param.kept_as.to_owned(),
        target: target.or(param.only).map(str::to_owned),
        iterates,
    })
}

/// What is said of a parameter's modifiers in the capability statement.
pub fn documentation(kind: Kind) -> String {
    let mut said = vec![":missing".to_owned()];
    said.extend(modifiers(kind).iter().map(|m| format!(":{m}")));
    if kind == Kind::Reference {
        said.push(":[type]".to_owned());
    }
    let mut text = format!("Modifiers: {}.", said.join(", "));
    if kind == Kind::Date {
        text.push_str(" Prefixes: eq, ne, gt, ge, lt, le, sa, eb, ap. Without a zone, Europe/Stockholm.");
    }
    text
}
