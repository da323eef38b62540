//! R4's required bindings that can be listed.

use serde_json::{Map, Value};

use super::near;
use super::path::Path;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::r4::Codes;

type Object = Map<String, Value>;

/// A code of a required binding.
pub fn code(code: &str, sets: &[Codes], path: &Path<'_>, out: &mut Vec<Issue>) {
    if sets.iter().any(|s| s.codes.binary_search(&code).is_ok()) {
        return;
    }
    let all = || sets.iter().flat_map(|s| s.codes.iter().copied());
    let (sv, en) = near::hint(near::nearest(code, all()));
    let list = if all().count() <= 12 { all().collect::<Vec<_>>().join(", ") } else { String::new() };
    let (sv_list, en_list) = match list.as_str() {
        "" => Default::default(),
        list => (format!(": {list}"), format!(": {list}")),
    };
    out.push(Issue::error(
        Code::CodeInvalid,
        path,
        format!("koden är ingen av dem som R4 tillåter{sv_list}{sv}"),
        format!("the code is none of those that R4 allows{en_list}{en}"),
    ));
}

/// A coded element with a required binding: one of its codings must be in the set.
pub fn bound<'v>(codings: impl Iterator<Item = &'v Object>, sets: &[Codes], path: &Path<'_>, out: &mut Vec<Issue>) {
    let text = |coding: &'v Object, name: &str| coding.get(name).and_then(Value::as_str);
    let mut codings = codings;
    let found = codings.any(|coding| {
        let (system, code) = (text(coding, "system"), text(coding, "code"));
        sets.iter().any(|s| system == Some(s.system) && code.is_some_and(|c| s.codes.binary_search(&c).is_ok()))
    });
    if !found {
        let shown = |s: &Codes| match s.codes.len() {
            0..=30 => format!("{} ({})", s.system, s.codes.join(", ")),
            _ => s.system.to_owned(),
        };
        let sets: Vec<String> = sets.iter().map(shown).collect();
        let sets = sets.join("; ");
        out.push(Issue::error(
            Code::CodeInvalid,
            path,
            format!("kräver en kod ur {sets}"),
            format!("needs a code of {sets}"),
        ));
    }
}
