//! Words and spans of time compared as FHIR says, in SQL that an index can answer.

use rusqlite::types::Value;

use super::super::sql::Sql;
use crate::fhir::search::{DateOp, Span, TextMatch, fold};

/// Words are compared in code points, as the index has them.
pub(super) fn words(word: &str, how: TextMatch) -> Sql {
    let text = || Value::from(word.to_owned());
    match how {
        TextMatch::Starts => Sql::new("t.folded >= ? AND t.folded < ? || char(0x10FFFF)", [text(), text()]),
        TextMatch::Contains => Sql::new("instr(t.folded, ?) > 0", [text()]),
        TextMatch::Exact => Sql::new("t.folded = ? AND t.exact = ?", [Value::from(fold(word)), text()]),
    }
}

/// FHIR's comparison of the span `lo..hi` of a resource with the span `low..high` of a search. Where a bound follows from the
/// others it is written out: it is what an index can find.
pub(super) fn span(span: &Span, lo: &str, hi: &str) -> Sql {
    let (low, high) = (span.low, span.high);
    let (test, bounds) = match span.op {
        DateOp::Eq => (format!("{lo} BETWEEN ? AND ? AND {hi} <= ?"), vec![low, high, high]),
        DateOp::Ne => (format!("({lo} < ? OR {hi} > ?)"), vec![low, high]),
        DateOp::Gt => (format!("{hi} > ?"), vec![high]),
        DateOp::Lt => (format!("{lo} < ?"), vec![low]),
        // Reaching beyond, or wholly inside.
        DateOp::Ge => (format!("{hi} >= ? AND ({hi} > ? OR {lo} >= ?)"), vec![low, high, low]),
        DateOp::Le => (format!("{lo} <= ? AND ({lo} < ? OR {hi} <= ?)"), vec![high, low, high]),
        DateOp::Sa => (format!("{lo} > ?"), vec![high]),
        DateOp::Eb => (format!("{hi} < ?"), vec![low]),
        DateOp::Meets => (format!("{lo} <= ? AND {hi} >= ?"), vec![high, low]),
    };
    Sql::new(test, bounds.into_iter().map(Value::from))
}
