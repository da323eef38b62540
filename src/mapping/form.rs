//! Which fields of a document are lists, as a table's paths say: a list where one value belongs, and one value where a
//! list belongs, would else be read as the other without a word.

use serde_json::Value;

use super::path::is_absent;
use super::trail::Trail;
use crate::fhir::issue::{Code, Issue};

/// The fields that the table names inside a field, or at the top of the document.
#[derive(Debug, Default)]
pub(super) struct Form(pub Vec<Field>);

#[derive(Debug)]
pub(super) struct Field {
    pub name: Box<str>,
    pub list: bool,
    pub inside: Form,
}

impl Form {
    /// One finding for every field that is a list and should not be, or the other way about.
    pub fn check(&self, document: &Value, table: &str, issues: &mut Vec<Issue>) {
        self.inside(document, &Trail::Root(""), table, issues);
    }

    fn inside(&self, value: &Value, place: &Trail<'_>, table: &str, issues: &mut Vec<Issue>) {
        let Some(object) = value.as_object() else { return };
        for field in &self.0 {
            let Some(value) = object.get(&*field.name).filter(|v| !is_absent(v)) else { continue };
            field.check(value, &Trail::Field(place, &field.name), table, issues);
        }
    }
}

impl Field {
    fn check(&self, value: &Value, place: &Trail<'_>, table: &str, issues: &mut Vec<Issue>) {
        let (sv, en) = match (self.list, value) {
            (true, Value::Array(elements)) => {
                for (number, element) in elements.iter().enumerate() {
                    self.inside.inside(element, &Trail::Element(place, number), table, issues);
                }
                return;
            }
            (false, Value::Array(_)) => (
                "Fältet ska vara ett värde, inte en lista; ta bort [ ].",
                "The field must be one value, not a list; remove [ ].",
            ),
            (true, _) => ("Fältet ska vara en lista; sätt [ ] om.", "The field must be a list; put [ ] around it."),
            (false, _) => return self.inside.inside(value, place, table, issues),
        };
        issues.push(Issue::error(Code::Structure, place.to_string(), sv, en).from(table));
    }
}
