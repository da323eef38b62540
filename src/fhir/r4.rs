//! The R4 schema as a table: what each type contains, how often, of which types and codes.
//!
//! `r4.tsv` is made from HL7's definitions by a test and parsed once. Mapping checks, the validator and the order in
//! which elements are written all ask here; nothing else in the program knows what an R4 resource looks like.

use std::sync::OnceLock;

use rustc_hash::{FxHashMap, FxHashSet};

/// One element of a type, as R4 defines it.
#[derive(Debug)]
pub struct Element {
    /// `CarePlan.activity.detail.status`; a choice ends in `[x]`.
    pub path: &'static str,
    /// The last segment of the path.
    pub name: &'static str,
    pub min: u32,
    /// `None` is unbounded.
    pub max: Option<u32>,
    /// Empty only for an element that takes its content from another (`content_of`).
    pub types: Vec<Type>,
    /// `#Provenance.agent`: the element whose content this one repeats.
    pub content_of: Option<&'static str>,
    /// Codes of a required binding that can be listed.
    pub codes: Vec<Codes>,
    /// Keys of the base invariants of level error.
    pub invariants: Vec<&'static str>,
}

/// A type an element may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type {
    pub code: &'static str,
    /// What a Reference may point at; empty: anything.
    pub targets: Vec<&'static str>,
}

/// The codes of one system in a required binding.
#[derive(Debug)]
pub struct Codes {
    pub system: &'static str,
    pub codes: Vec<&'static str>,
}

impl Element {
    /// Whether JSON carries the element as an array.
    pub fn is_list(&self) -> bool {
        self.max != Some(1)
    }

    /// The name without the mark of a choice: `onset` for `onset[x]`.
    pub fn stem(&self) -> &'static str {
        self.name.strip_suffix("[x]").unwrap_or(self.name)
    }

    /// Whether the element is a choice of types.
    pub fn is_choice(&self) -> bool {
        self.name.ends_with("[x]")
    }
}

/// An element found under the name it has in JSON, with the type that name decides.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    pub element: &'static Element,
    /// The type's code: `Reference`, `code`, `BackboneElement`. Empty for an element with content of another.
    pub type_code: &'static str,
    /// Where the children are: a type name, or a path inside a resource for a backbone element.
    pub content: &'static str,
    /// The place of the element among its siblings, for writing in the order of the standard.
    pub position: usize,
}

struct Table {
    contents: FxHashMap<&'static str, Content>,
    /// Whose element a definition path is, and which.
    places: FxHashMap<&'static str, (&'static str, usize)>,
    resources: Vec<&'static str>,
    /// The same, to look one up: every reference is.
    served: FxHashSet<&'static str>,
}

/// What a type or backbone element contains.
#[derive(Default)]
struct Content {
    elements: Vec<Element>,
    /// By the name in JSON: which element, and of a choice which type. Every element of every resource is looked up here.
    names: FxHashMap<String, (usize, usize)>,
}

impl Content {
    fn add(&mut self, element: Element) -> usize {
        let position = self.elements.len();
        self.names.entry(element.name.to_owned()).or_insert((position, 0));
        if element.is_choice() {
            for (chosen, t) in element.types.iter().enumerate() {
                let name = format!("{}{}", element.stem(), capitalised(t.code));
                self.names.entry(name).or_insert((position, chosen));
            }
        }
        self.elements.push(element);
        position
    }
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| parse(include_str!("r4.tsv")))
}

fn parse(text: &'static str) -> Table {
    let mut table = Table {
        contents: FxHashMap::default(),
        places: FxHashMap::default(),
        resources: Vec::new(),
        served: FxHashSet::default(),
    };
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        let mut cells = line.split('\t');
        let mut next = || cells.next().unwrap_or_default();
        let (path, min, max, types, codes, invariants) = (next(), next(), next(), next(), next(), next());
        let Some((parent, name)) = path.rsplit_once('.') else {
            if types == "resource" {
                table.resources.push(path);
            }
            table.contents.entry(path).or_default();
            continue;
        };
        let content_of = types.strip_prefix('#');
        let element = Element {
            path,
            name,
            min: min.parse().unwrap_or(0),
            max: max.parse().ok(),
            types: if content_of.is_some() { Vec::new() } else { split_types(types) },
            content_of,
            codes: codes.split(';').filter_map(split_codes).collect(),
            invariants: invariants.split(',').filter(|k| !k.is_empty()).collect(),
        };
        let position = table.contents.entry(parent).or_default().add(element);
        table.places.insert(path, (parent, position));
    }
    table.resources.sort_unstable();
    table.served = table.resources.iter().copied().collect();
    table
}

fn split_types(types: &'static str) -> Vec<Type> {
    types
        .split(',')
        .filter(|t| !t.is_empty())
        .map(|t| match t.split_once('(') {
            Some((code, targets)) => Type { code, targets: targets.trim_end_matches(')').split('|').collect() },
            None => Type { code: t, targets: Vec::new() },
        })
        .collect()
}

fn split_codes(group: &'static str) -> Option<Codes> {
    let (system, codes) = group.split_once('#')?;
    Some(Codes { system, codes: codes.split('|').collect() })
}

/// Whether `name` is a resource type that the gateway serves.
pub fn is_resource(name: &str) -> bool {
    table().served.contains(name)
}

/// The resource types the gateway serves, sorted.
pub fn resources() -> &'static [&'static str] {
    &table().resources
}

/// Every type and resource of the table, sorted.
pub fn types() -> Vec<&'static str> {
    let mut types: Vec<&str> = table().contents.keys().copied().filter(|c| !c.contains('.')).collect();
    types.sort_unstable();
    types
}

/// Every type, resource and backbone element that has elements.
pub fn contents() -> impl Iterator<Item = &'static str> {
    table().contents.keys().copied()
}

/// The names that the elements of a type or backbone element can have in JSON.
pub fn names(content: &str) -> impl Iterator<Item = &'static str> {
    table().contents.get(content).into_iter().flat_map(|content| content.names.keys().map(String::as_str))
}

/// The element at an exact definition path (`Task.input.value[x]`).
pub fn element(path: &str) -> Option<&'static Element> {
    let (content, position) = table().places.get(path)?;
    children(content).get(*position)
}

/// The elements of a type or backbone element, in the standard's order.
pub fn children(content: &str) -> &'static [Element] {
    table().contents.get(content).map_or(&[], |content| &content.elements)
}

/// Finds the element that JSON calls `name` (`valueString` for `value[x]`) inside `content`.
pub fn find(content: &str, name: &str) -> Option<Found> {
    let content = table().contents.get(content)?;
    let (position, chosen) = *content.names.get(name)?;
    let element = content.elements.get(position)?;
    Some(found(element, element.types.get(chosen), position))
}

fn found(element: &'static Element, chosen: Option<&'static Type>, position: usize) -> Found {
    if let Some(other) = element.content_of {
        return Found { element, type_code: "BackboneElement", content: other, position };
    }
    let type_code = chosen.map_or("", |t| t.code);
    let own = matches!(type_code, "BackboneElement" | "Element");
    Found { element, type_code, content: if own { element.path } else { type_code }, position }
}

/// A type's code as it stands in the name of a choice: `valueString`.
fn capitalised(code: &str) -> String {
    let mut letters = code.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}", first.to_ascii_uppercase(), letters.as_str()))
}

/// Whether the type is written as a JSON string, number or boolean.
pub fn is_primitive(type_code: &str) -> bool {
    type_code.starts_with(|c: char| c.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_found_by_the_name_it_has_in_json() {
        let found = find("Task.input", "valueReference").unwrap();
        assert_eq!(found.element.path, "Task.input.value[x]");
        assert_eq!((found.type_code, found.content), ("Reference", "Reference"));
        assert!(find("Task.input", "valueBicycle").is_none());
    }

    #[test]
    fn a_backbone_element_has_its_own_children() {
        let detail = find("CarePlan.activity", "detail").unwrap();
        assert_eq!(detail.content, "CarePlan.activity.detail");
        assert!(find(detail.content, "status").unwrap().element.codes[0].codes.contains(&"in-progress"));
    }

    #[test]
    fn content_taken_from_another_element_is_followed() {
        let section = find("Composition.section", "section").unwrap();
        assert!(find(section.content, "title").is_some());
    }

    #[test]
    fn references_know_their_targets() {
        let subject = find("ServiceRequest", "subject").unwrap();
        assert!(subject.element.types[0].targets.contains(&"Patient"));
        assert_eq!(subject.element.min, 1);
        assert!(!subject.element.is_list());
    }
}
