//! Search: `GET /fhir/{type}` and `POST /fhir/{type}/_search`, by the same rules.

mod ask;
mod link;
mod person;

use actix_web::{HttpRequest, web};
use serde_json::json;

use super::super::body::Body;
use super::super::caller::Call;
use super::super::problem::{Answer, Problem};
use super::read::{bundle, entry, link};
use super::{known_type, media, preferences, query};
use crate::access::Operation;
use crate::fhir::issue::{Code, Issue, Severity, outcome};
use crate::fhir::subset::{Shape, subset};
use crate::store::{Page, Right, StoreError, Stored};
use crate::sync::{particulars, witness};

use crate::fhir::search::Reader;
use ask::{Asked, Asking, Pair};
pub use ask::{documentation, is_sortable};

/// `GET /fhir/{type}?…`
pub async fn search_get(call: Call, resource_type: web::Path<String>, request: HttpRequest) -> Answer {
    let pairs = pairs(request.query_string(), true)?;
    search(call, &resource_type, pairs, &request, false).await
}

/// `POST /fhir/{type}/_search`: the form may hold a national identifier.
pub async fn search_post(call: Call, resource_type: web::Path<String>, request: HttpRequest, body: Body) -> Answer {
    let mut all = pairs(request.query_string(), true)?;
    let form = std::str::from_utf8(&body.0)
        .map_err(|_| Problem::bad_request("", "Formuläret är inte UTF-8.", "The form is not UTF-8."))?;
    media::asked_in_form(&request, &query::pairs(form)?)?;
    all.extend(pairs(form, false)?);
    search(call, &resource_type, all, &request, true).await
}

fn pairs(text: &str, in_url: bool) -> Result<Vec<Pair>, Problem> {
    let pairs = query::pairs(text)?;
    Ok(pairs.into_iter().map(|(name, value)| Pair { name, value, in_url }).collect())
}

/// RFC 7240: the caller may wish that what is unknown is left out.
pub fn is_lenient(request: &HttpRequest) -> bool {
    preferences(request).any(|wish| wish.eq_ignore_ascii_case("handling=lenient"))
}

async fn search(call: Call, resource_type: &str, pairs: Vec<Pair>, request: &HttpRequest, is_form: bool) -> Answer {
    known_type(resource_type)?;
    call.may(Operation::Fhir(Right::Search, resource_type))?;
    let gateway = &call.gateway;
    let asking = Asking {
        reader: Reader {
            terminology: gateway.conformance.profiles.terminology(),
            base_url: &gateway.config.base_url,
            now: call.now,
            hops: gateway.config.limits.search_hops,
            in_url: true,
        },
        limits: gateway.config.limits,
        is_lenient: is_lenient(request),
        is_named: pairs.iter().any(|pair| pair.name == "_query"),
    };
    let mut asked = asking.read(resource_type, pairs)?;
    if let Some(page) = &asked.page {
        asked.search.after = Some(link::behind(resource_type, &asked.applied, page)?);
    }
    let filter = call.caller.filter();
    let total = match asked.total || asked.count_only {
        true => Some(gateway.store.count(&filter, &asked.search).await?),
        false => None,
    };
    let (page, included) = match asked.count_only {
        true => (Page { matches: Vec::new(), more: false }, Vec::new()),
        false => found(&call, &asked).await?,
    };
    let shown: Vec<Stored> = page.matches.iter().chain(&included).cloned().collect();
    // By which parameters, as they are known here; never what was looked for.
    let names: Vec<&str> = asked.applied.iter().map(|pair| pair.name.as_str()).collect();
    let object =
        if names.is_empty() { resource_type.to_owned() } else { format!("{resource_type}?{}", names.join("&")) };
    witness::shown(gateway, &call.caller, "search", &object, &shown, call.now).await?;
    answer(&call, &asked, &page, &included, total, is_form)
}

/// The page, and what it brings along.
async fn found(call: &Call, asked: &Asked) -> Result<(Page, Vec<Stored>), Problem> {
    let (store, filter) = (&call.gateway.store, call.caller.filter());
    let mut page = match store.search(&filter, &asked.search).await {
        Err(StoreError::LostPage) => return Err(link::lost()),
        found => found?,
    };
    page.matches = particulars::as_known(&call.gateway, &call.caller, page.matches).await?;
    if asked.includes.is_empty() {
        return Ok((page, Vec::new()));
    }
    let names = page.matches.iter().map(|m| format!("{}/{}", m.resource_type, m.id)).collect();
    let most = call.gateway.config.limits.search_includes;
    let Some(included) = store.included(&filter, names, asked.includes.clone(), most).await? else {
        return Err(Problem::bad_request(
            "_include",
            format!("Fler än {most} resurser skulle följa med (limits.search_includes); välj ett mindre _count."),
            format!("More than {most} resources would come along (limits.search_includes); choose a smaller _count."),
        ));
    };
    Ok((page, particulars::as_known(&call.gateway, &call.caller, included).await?))
}

fn answer(call: &Call, asked: &Asked, page: &Page, included: &[Stored], total: Option<u64>, is_form: bool) -> Answer {
    let resource_type = &asked.search.resource_type;
    let base = format!("{}/fhir/{resource_type}", call.gateway.config.base_url);
    let last = page.matches.last().filter(|_| page.more);
    let next = last.map(|last| link::page(resource_type, &asked.applied, last.seq)).transpose()?;
    let next = next.as_deref();
    let mut links = Vec::new();
    if is_form {
        // What was sent in a body has no link that could repeat it, because it might be a number or a name; how the answer looks
        // is no secret.
        let control = asked.applied.iter().filter(|pair| {
            matches!(pair.name.as_str(), "_count" | "_sort" | "_total" | "_summary" | "_elements")
                || pair.name.starts_with("_include")
                || pair.name.starts_with("_revinclude")
        });
        let form = format!("{base}/_search");
        links.push(link("self", &link::with_query(&form, control.map(|p| (p.name.as_str(), p.value.as_str())))));
        links.extend(next.map(|page| link("next", &link::with_query(&form, std::iter::once(("_page", page))))));
    } else {
        let applied = || asked.applied.iter().map(|pair| (pair.name.as_str(), pair.value.as_str()));
        links.push(link("self", &link::with_query(&base, applied())));
        let rest = || applied().filter(|(name, _)| *name != "_page");
        links.extend(next.map(|page| link("next", &link::with_query(&base, rest().chain([("_page", page)])))));
    }
    let mut entries = Vec::new();
    for (stored, mode) in page.matches.iter().map(|m| (m, "match")).chain(included.iter().map(|i| (i, "include"))) {
        let mut entry = entry(call, stored);
        let is_whole = mode == "include" && matches!(asked.shape, Shape::Elements(_));
        if !is_whole {
            entry["resource"] = subset(entry["resource"].take(), &asked.shape);
        }
        entry["search"] = json!({ "mode": mode });
        entries.push(entry);
    }
    if !asked.left_out.is_empty() {
        entries.push(json!({ "resource": outcome(&left_out(&asked.left_out)), "search": { "mode": "outcome" } }));
    }
    Ok(bundle("searchset", total, links, entries))
}

/// What a lenient caller is told was not applied.
fn left_out(issues: &[Issue]) -> Vec<Issue> {
    issues
        .iter()
        .map(|issue| Issue { severity: Severity::Warning, code: Code::NotSupported, ..issue.clone() })
        .collect()
}

/// What `_include` and `_revinclude` take for the type.
pub fn includes(resource_type: &str) -> (Vec<String>, Vec<String>) {
    use crate::fhir::search::{Kind, all, allowed};
    let references = || all().filter(|p| p.kind == Kind::Reference);
    let out = references().filter(|p| p.resource_type == resource_type);
    let back = references().filter(|p| allowed(p).contains(&resource_type));
    let name = |p: &crate::fhir::search::Param| format!("{}:{}", p.resource_type, p.name);
    (out.map(name).collect(), back.map(name).collect())
}
