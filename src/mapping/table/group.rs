//! Rows, constants, parts and what they include from the shared files.

use super::fields::{Fields, wrong};
use super::{FixedText, GroupText, Parts, RowText};
use crate::fhir::issue::{Code, Issue};
use crate::mapping::near;

/// Reads `include`, `row`, `fixed` and `part`, which blocks, parts and the files of `parts/` have in common.
pub(super) fn group(mut fields: Fields<'_>, parts: &Parts, used: &mut Vec<String>) -> GroupText {
    let mut group = GroupText { origin: fields.origin.clone(), ..GroupText::default() };
    for name in fields.texts("include") {
        let file = format!("{name}.toml");
        let Some(part) = parts.get(&file) else {
            let known = parts.keys().map(|k| k.trim_end_matches(".toml"));
            let (sv, en) = near::hint(&name, known);
            fields.issues.push(
                Issue::error(
                    Code::NotFound,
                    name.clone(),
                    format!("Det finns ingen fil {file}.{sv}"),
                    format!("There is no file {file}.{en}"),
                )
                .from(fields.origin.clone()),
            );
            continue;
        };
        if fields.origin.split(" in ").any(|outer| outer == file) {
            fields.issues.push(wrong(
                &fields.origin,
                "include",
                "files that do not include each other",
                "filer som inte tar med varandra",
            ));
            continue;
        }
        used.push(file.clone());
        let mut table = part.clone();
        table.remove("alias");
        let origin = format!("{file} in {}", fields.origin);
        let shared = self::group(Fields::new(table, &origin, fields.issues), parts, used);
        group.rows.extend(shared.rows);
        group.fixed.extend(shared.fixed);
        group.parts.extend(shared.parts);
    }
    for (n, table) in fields.tables("row").into_iter().enumerate() {
        let origin = format!("{} row {}", fields.origin, n + 1);
        let mut row = Fields::new(table, &origin, fields.issues);
        let (source, fhir) = (row.text("source"), row.text("fhir"));
        let (link, via, within) = (row.text("link"), row.text("via"), row.text("within"));
        let (need, only, when) = (row.flag("need"), row.only(), row.when());
        let constant = row.take("const").is_some();
        row.finish();
        if constant {
            fields.issues.push(wrong(
                &origin,
                "const",
                "in `fixed`, apart from the data",
                "i `fixed`, skilt från data",
            ));
            continue;
        }
        match fhir {
            Some(fhir) if source.is_some() || link.is_some() => {
                group.rows.push(RowText { source, fhir, link, via, within, need, only, when, origin });
            }
            _ => fields.issues.push(wrong(
                &origin,
                "row",
                "`fhir` with `source` or `link`",
                "`fhir` med `source` eller `link`",
            )),
        }
    }
    for (n, table) in fields.tables("fixed").into_iter().enumerate() {
        let origin = format!("{} fixed {}", fields.origin, n + 1);
        let mut row = Fields::new(table, &origin, fields.issues);
        let (source, fhir, only, when) = (row.text("source"), row.text("fhir"), row.only(), row.when());
        let constant = row.take("const").and_then(|v| row.scalar("const", v));
        row.finish();
        match constant {
            Some(constant) if source.is_some() || fhir.is_some() => {
                group.fixed.push(FixedText { source, fhir, constant, only, when, origin });
            }
            _ => fields.issues.push(wrong(
                &origin,
                "fixed",
                "`const` with `fhir` or `source`",
                "`const` med `fhir` eller `source`",
            )),
        }
    }
    for (n, table) in fields.tables("part").into_iter().enumerate() {
        let origin = format!("{} part {}", fields.origin, n + 1);
        let mut part = Fields::new(table, &origin, fields.issues);
        let (each, into, need, when) = (part.text("each"), part.text("in"), part.flag("need"), part.when());
        let inner = self::group(part, parts, used);
        if each.is_none() && into.is_none() {
            fields.issues.push(wrong(&origin, "part", "`each` and `in`", "`each` och `in`"));
        }
        group.parts.push(GroupText { each, into, need, when, ..inner });
    }
    fields.finish();
    group
}
