//! A second opinion on the schema: fhirbolt's own R4 definitions, made by others from the same standard.
//!
//! `r4.tsv` is what everything here is checked and written by; where it and fhirbolt's `ElementPath` differ in names,
//! order or repetition, one of the two is wrong, and `vardkedja check` says so.

use fhirbolt::FhirReleases;
use fhirbolt_shared::path::ElementPath;

use super::r4::{self, Element};

/// Every difference between the table and fhirbolt, one line each.
pub fn differences() -> Vec<String> {
    let mut found = Vec::new();
    for name in r4::types() {
        let mut path = ElementPath::new(FhirReleases::R4);
        path.push(name);
        compare(name, &mut path, &mut found);
    }
    found
}

fn compare(content: &'static str, path: &mut ElementPath, found: &mut Vec<String>) {
    let Some(theirs) = path.children() else { return };
    let theirs: Vec<&str> = theirs.iter().copied().collect();
    let elements = r4::children(content);
    let ours: Vec<String> = elements.iter().flat_map(names).collect();
    for missing in theirs.iter().filter(|t| !ours.iter().any(|o| o == *t)) {
        found.push(format!("{content}.{missing} is in fhirbolt and not in the table"));
    }
    for extra in ours.iter().filter(|o| !theirs.contains(&o.as_str())) {
        found.push(format!("{content}.{extra} is in the table and not in fhirbolt"));
    }
    if ours.len() == theirs.len() && !ours.iter().eq(theirs.iter()) {
        found.push(format!("{content}: the table and fhirbolt disagree on the order of elements"));
    }
    for element in elements {
        for name in names(element) {
            path.push(&name);
            if path.current_element_is_sequence() != element.is_list() {
                found.push(format!("{content}.{name}: the table and fhirbolt disagree on whether it repeats"));
            }
            if element.types.iter().any(|t| t.code == "BackboneElement") {
                compare(element.path, path, found);
            }
            path.pop();
        }
    }
}

/// The names an element has in JSON: one for each type of a choice.
fn names(element: &Element) -> Vec<String> {
    if !element.is_choice() {
        return vec![element.name.to_owned()];
    }
    let capital = |code: &str| {
        let mut letters = code.chars();
        letters.next().map_or(String::new(), |c| c.to_ascii_uppercase().to_string() + letters.as_str())
    };
    element.types.iter().map(|t| format!("{}{}", element.stem(), capital(t.code))).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_and_fhirbolt_describe_the_same_r4() {
        let found = super::differences();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}
