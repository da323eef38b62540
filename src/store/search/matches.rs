//! A clause asked of one version of a resource by its own values, where the index speaks of another version.

use super::super::query::{Clause, DateOp, Span, TextMatch, TokenMatch};
use crate::fhir::search::{Index, fold};

/// Whether the clause holds. Whatever leads to other resources does not: those stand as they stand now.
pub(super) fn holds(clause: &Clause, id: &str, updated_ms: i64, values: &[Index]) -> bool {
    let of = |name: &str| values.iter().filter(move |value| value.param() == name).collect::<Vec<_>>();
    match clause {
        Clause::Id(ids) => ids.iter().any(|one| one == id),
        Clause::LastUpdated { any_of } => any_of.iter().any(|span| meets(span, updated_ms, updated_ms)),
        Clause::Token { param, any_of } => of(param).iter().any(|v| match v {
            Index::Token { system, code, .. } => any_of.iter().any(|wanted| is_token(wanted, system, code)),
            _ => false,
        }),
        Clause::Reference { param, any_of } => of(param).iter().any(|v| match v {
            Index::Reference { target, .. } => any_of.contains(target),
            _ => false,
        }),
        Clause::Date { param, any_of } => of(param).iter().any(|v| match v {
            Index::Date { low, high, .. } => any_of.iter().any(|span| meets(span, *low, *high)),
            _ => false,
        }),
        Clause::Text { param, any_of, how } => of(param).iter().any(|v| match v {
            Index::Text { folded, exact, .. } => any_of.iter().any(|word| is_text(word, *how, folded, exact)),
            _ => false,
        }),
        Clause::Present(param) => of(param.kept_as).iter().any(|v| match (v, param.only) {
            (Index::Reference { target, .. }, Some(only)) => {
                target.starts_with("identifier:") || target.split_once('/').is_some_and(|(kind, _)| kind == only)
            }
            _ => true,
        }),
        Clause::Not(clause) => !holds(clause, id, updated_ms, values),
        Clause::Any(clauses) => clauses.iter().any(|clause| holds(clause, id, updated_ms, values)),
        Clause::Chain { .. } | Clause::Has { .. } => false,
    }
}

fn is_token(wanted: &TokenMatch, system: &str, code: &str) -> bool {
    let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
    (wanted.system.is_some() || wanted.code.is_some()) && same(&wanted.system, system) && same(&wanted.code, code)
}

fn is_text(word: &str, how: TextMatch, folded: &str, exact: &str) -> bool {
    match how {
        TextMatch::Starts => folded.starts_with(word),
        TextMatch::Contains => folded.contains(word),
        TextMatch::Exact => exact == word && folded == fold(word),
    }
}

/// As `condition::span` says it in SQL.
fn meets(span: &Span, lo: i64, hi: i64) -> bool {
    let (low, high) = (span.low, span.high);
    match span.op {
        DateOp::Eq => lo >= low && hi <= high,
        DateOp::Ne => lo < low || hi > high,
        DateOp::Gt => hi > high,
        DateOp::Lt => lo < low,
        DateOp::Ge => hi >= low && (hi > high || lo >= low),
        DateOp::Le => lo <= high && (lo < low || hi <= high),
        DateOp::Sa => lo > high,
        DateOp::Eb => hi < low,
        DateOp::Meets => lo <= high && hi >= low,
    }
}
