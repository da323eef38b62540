//! The table of parameters: `params.tsv` and what all types have, parsed once.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::{Kind, Param, Place};

/// Raised when the same elements are made into other values, so that what is stored is indexed anew.
const EDITION: u32 = 2;

/// What every type has beside `_id` and `_lastUpdated`, which the store knows of itself.
const COMMON: [&str; 3] = [
    "_profile\turi\tfacet\tmeta.profile\t\t\thl7:Resource-profile\t",
    "_security\ttoken\tfacet\tmeta.security\t\t\thl7:Resource-security\t",
    "_tag\ttoken\tfacet\tmeta.tag\t\t\thl7:Resource-tag\t",
];

struct Table {
    types: Vec<&'static str>,
    by_type: BTreeMap<&'static str, Vec<Param>>,
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| parse(include_str!("params.tsv")))
}

fn parse(text: &'static str) -> Table {
    let lines: Vec<(&str, &str)> =
        text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('\t')).collect();
    let mut types: Vec<&str> = lines.iter().map(|(resource_type, _)| *resource_type).collect();
    types.dedup();
    let mut by_type: BTreeMap<&str, Vec<Param>> = BTreeMap::new();
    for resource_type in &types {
        let own = lines.iter().filter(|(of, _)| of == resource_type).map(|(_, line)| *line);
        for line in COMMON.into_iter().chain(own) {
            let params = by_type.entry(*resource_type).or_default();
            params.extend(read(resource_type, line, &types, params));
        }
    }
    Table { types, by_type }
}

fn read(resource_type: &'static str, line: &'static str, types: &[&'static str], before: &[Param]) -> Option<Param> {
    let mut cells = line.split('\t');
    let mut next = || cells.next().unwrap_or_default();
    let (name, kind, place, paths, only) = (next(), next(), next(), next(), next());
    let (targets, definition, personal) = (next(), next(), next());
    let kind = match kind {
        "token" => Kind::Token,
        "reference" => Kind::Reference,
        "canonical" => Kind::Canonical,
        "date" => Kind::Date,
        "string" => Kind::String,
        "uri" => Kind::Uri,
        _ => return None,
    };
    let paths: Vec<&str> = paths.split('|').collect();
    let kept_as = before.iter().find(|p| p.paths == paths && p.kind == kind).map_or(name, |p| p.kept_as);
    Some(Param {
        resource_type,
        name,
        kind,
        place: if place == "facet" { Place::Facet } else { Place::Rows },
        kept_as,
        paths,
        only: (!only.is_empty()).then_some(only),
        targets: match targets {
            "*" => types.to_vec(),
            list => list.split(',').filter(|t| !t.is_empty()).collect(),
        },
        definition,
        is_personal: personal == "personal",
    })
}

/// The types that are served, sorted.
pub fn types() -> &'static [&'static str] {
    &table().types
}

/// The parameters of a type, beside `_id` and `_lastUpdated`.
pub fn params(resource_type: &str) -> &'static [Param] {
    table().by_type.get(resource_type).map_or(&[], Vec::as_slice)
}

/// Every parameter of every type.
pub fn all() -> impl Iterator<Item = &'static Param> {
    table().by_type.values().flatten()
}

/// The parameter a type has under that name.
pub fn param(resource_type: &str, name: &str) -> Option<&'static Param> {
    params(resource_type).iter().find(|p| p.name == name)
}

/// What says how a parameter's values are made and kept: when it changes, they are made anew.
pub fn fingerprint(param: &Param) -> String {
    format!("{EDITION} {} {:?} {}", param.kind.code(), param.place, param.paths.join("|"))
}

#[cfg(test)]
mod tests {
    use super::super::super::r4;
    use super::*;

    #[test]
    fn every_line_of_the_table_is_read() {
        let lines = include_str!("params.tsv").lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(all().count(), lines + COMMON.len() * types().len());
        assert!(types().is_sorted() && types().contains(&"Task") && !types().contains(&"Basic"));
    }

    #[test]
    fn every_parameter_names_an_element_that_r4_has() {
        for param in all() {
            for path in &param.paths {
                let mut content = param.resource_type;
                for name in path.split('.') {
                    if name.starts_with("extension[") {
                        content = "Extension";
                        continue;
                    }
                    let found = r4::find(content, name).unwrap_or_else(|| panic!("{} {path}", param.resource_type));
                    content = found.content;
                }
            }
        }
    }

    #[test]
    fn parameters_of_the_same_elements_are_kept_once() {
        let kept = |name| param("Task", name).map(|p| (p.kept_as, p.only));
        assert_eq!(kept("patient"), Some(("patient", Some("Patient"))));
        assert_eq!(kept("subject"), Some(("patient", None)));
        assert_eq!(kept("owner"), Some(("owner", None)));
    }

    #[test]
    fn only_coded_values_are_kept_in_facets_and_identifiers_never() {
        for param in all().filter(|p| p.place == Place::Facet) {
            assert!(matches!(param.kind, Kind::Token | Kind::Uri), "{}.{}", param.resource_type, param.name);
            assert!(!param.paths.iter().any(|p| p.to_ascii_lowercase().ends_with("identifier")), "{}", param.name);
        }
    }
}
