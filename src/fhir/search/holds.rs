//! Whether a clause holds of one resource that is at hand, by its own search values: for a version that stands in no index.

use super::{Clause, DateOp, Index, Param, Span, TextMatch, TokenMatch};

/// What a resource at hand does not say itself: of others that it points at, or that point at it.
pub trait Beyond {
    type Error;

    /// Whether that resource (`Type/id`) satisfies the clause.
    fn target(&mut self, name: &str, clause: &Clause) -> Result<bool, Self::Error>;

    /// Whether a clause that asks who points at the resource, [`Clause::Has`] or [`Clause::Awaited`], holds.
    fn pointed_at(&mut self, clause: &Clause) -> Result<bool, Self::Error>;
}

/// Whether the clause holds of the resource with that id, time of change (milliseconds) and these values.
pub fn holds<B: Beyond>(
    clause: &Clause,
    id: &str,
    updated_at: i64,
    values: &[Index],
    beyond: &mut B,
) -> Result<bool, B::Error> {
    let of = |param: &str| {
        let param = param.to_owned();
        values.iter().filter(move |value| value.param() == param)
    };
    Ok(match clause {
        Clause::Id(ids) => ids.iter().any(|known| known == id),
        Clause::LastUpdated { any_of } => any_of.iter().any(|span| spans(span, updated_at, updated_at)),
        Clause::Token { param, any_of } => of(param).any(|value| any_of.iter().any(|token| is_token(token, value))),
        Clause::Reference { param, any_of } => {
            of(param).any(|value| matches!(value, Index::Reference { target, .. } if any_of.contains(target)))
        }
        Clause::Date { param, any_of } => of(param).any(|value| {
            matches!(value, Index::Date { low, high, .. } if any_of.iter().any(|span| spans(span, *low, *high)))
        }),
        Clause::Text { param, any_of, how } => of(param).any(|value| any_of.iter().any(|word| says(word, *how, value))),
        Clause::Present(param) => of(param.kept_as).any(|value| counts(param, value)),
        Clause::Chain { param, target, clause } => {
            let start = format!("{target}/");
            for value in of(param) {
                if let Index::Reference { target: name, .. } = value
                    && name.starts_with(&start)
                    && beyond.target(name, clause)?
                {
                    return Ok(true);
                }
            }
            false
        }
        Clause::Has { .. } | Clause::Awaited { .. } => beyond.pointed_at(clause)?,
        Clause::Not(clause) => !holds(clause, id, updated_at, values, beyond)?,
        Clause::Any(clauses) => {
            for clause in clauses {
                if holds(clause, id, updated_at, values, beyond)? {
                    return Ok(true);
                }
            }
            false
        }
    })
}

fn is_token(token: &TokenMatch, value: &Index) -> bool {
    let Index::Token { system, code, .. } = value else { return false };
    (token.system.is_some() || token.code.is_some())
        && token.system.as_ref().is_none_or(|wanted| wanted == system)
        && token.code.as_ref().is_none_or(|wanted| wanted == code)
}

fn says(word: &str, how: TextMatch, value: &Index) -> bool {
    let Index::Text { folded, exact, .. } = value else { return false };
    match how {
        TextMatch::Starts => folded.starts_with(word),
        TextMatch::Contains => folded.contains(word),
        TextMatch::Exact => exact == word,
    }
}

/// A reference to a type that the parameter does not mean is no value of it; a logical one may mean any.
fn counts(param: &Param, value: &Index) -> bool {
    match (param.only, value) {
        (Some(only), Index::Reference { target, .. }) => {
            target.starts_with(&format!("{only}/")) || target.starts_with("identifier:")
        }
        _ => true,
    }
}

/// FHIR's comparison of the span `lo..hi` of a resource with that of a criterion.
fn spans(span: &Span, lo: i64, hi: i64) -> bool {
    let (low, high) = (span.low, span.high);
    let inside = low <= lo && hi <= high;
    match span.op {
        DateOp::Eq => inside,
        DateOp::Ne => !inside,
        DateOp::Gt => hi > high,
        DateOp::Lt => lo < low,
        DateOp::Ge => hi > high || inside,
        DateOp::Le => lo < low || inside,
        DateOp::Sa => lo > high,
        DateOp::Eb => hi < low,
        DateOp::Meets => lo <= high && hi >= low,
    }
}
