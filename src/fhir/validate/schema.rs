//! The R4 table compiled for walking: every name that JSON may use in a type, found by one binary search.
//!
//! `r4::find` compares the siblings one by one, which is right for a path in a table and too slow for every value of
//! every resource.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::invariant::{self, Rule};
use crate::fhir::primitive::Primitive;
use crate::fhir::r4::{self, Element};

/// A resource, datatype or backbone element.
pub struct Class {
    /// `CarePlan`, `Reference`, `CarePlan.activity.detail`.
    pub name: &'static str,
    pub role: Role,
    pub elements: &'static [Element],
    /// By JSON name, sorted; a choice has one field a type.
    fields: Vec<Field>,
    /// The bits of the elements with min ≥ 1.
    pub required: u64,
    pub rules: Vec<&'static Rule>,
}

/// Types that have more to check than their elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Resource,
    Extension,
    Reference,
    Identifier,
    Coding,
    CodeableConcept,
    Other,
}

pub struct Field {
    /// The name in JSON: `valueString`.
    pub json: String,
    /// The name in FHIRPath: `value`.
    pub name: &'static str,
    /// The element's place in its class.
    pub position: usize,
    pub element: &'static Element,
    pub type_code: &'static str,
    pub content: Content,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Primitive(Primitive),
    /// The place of a class in the schema.
    Class(usize),
    /// Any resource.
    Resource,
}

impl Class {
    pub fn field(&self, json: &str) -> Option<&Field> {
        self.fields.binary_search_by(|f| f.json.as_str().cmp(json)).ok().and_then(|at| self.fields.get(at))
    }

    pub fn fields(&self) -> &[Field] {
        &self.fields
    }
}

pub struct Schema {
    classes: Vec<Class>,
    by_name: HashMap<&'static str, usize>,
    /// What the companion `_field` of a primitive holds: id and extensions.
    pub companion: usize,
}

impl Schema {
    pub fn class(&self, at: usize) -> Option<&Class> {
        self.classes.get(at)
    }

    pub fn named(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    fn add(&mut self, content: &'static str) -> usize {
        if let Some(at) = self.by_name.get(content) {
            return *at;
        }
        let at = self.classes.len();
        let elements = r4::children(content);
        self.by_name.insert(content, at);
        // The place is taken before the fields are made: types contain themselves.
        self.classes.push(Class {
            name: content,
            role: role(content),
            required: 0,
            rules: invariant::of(content),
            elements,
            fields: Vec::new(),
        });
        let mut fields: Vec<Field> =
            elements.iter().enumerate().flat_map(|(p, e)| self.fields(content, p, e)).collect();
        fields.sort_by(|a, b| a.json.cmp(&b.json));
        let required = elements.iter().enumerate().filter(|(_, e)| e.min > 0).map(|(p, _)| bit(p)).sum();
        if let Some(class) = self.classes.get_mut(at) {
            class.fields = fields;
            class.required = required;
        }
        at
    }

    fn fields(&mut self, content: &'static str, position: usize, element: &'static Element) -> Vec<Field> {
        let names: Vec<String> = if element.is_choice() {
            element.types.iter().map(|t| format!("{}{}", element.stem(), capital(t.code))).collect()
        } else {
            vec![element.name.to_owned()]
        };
        let found = names.into_iter().filter_map(|json| r4::find(content, &json).map(|f| (json, f)));
        found
            .map(|(json, found)| {
                let content = match Primitive::named(found.type_code) {
                    Some(_) if element.name == "id" && r4::is_resource(content) => Content::Primitive(Primitive::Id),
                    Some(primitive) => Content::Primitive(primitive),
                    None if found.type_code == "Resource" => Content::Resource,
                    None => Content::Class(self.add(found.content)),
                };
                Field { json, name: element.stem(), position, element, type_code: found.type_code, content }
            })
            .collect()
    }
}

/// The bit of an element in a set of seen ones. No R4 type has 64 elements; a test holds that.
pub fn bit(position: usize) -> u64 {
    u32::try_from(position).ok().and_then(|p| 1_u64.checked_shl(p)).unwrap_or(0)
}

fn capital(code: &str) -> String {
    let mut chars = code.chars();
    chars.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + chars.as_str())
}

fn role(content: &str) -> Role {
    match content {
        "Extension" => Role::Extension,
        "Reference" => Role::Reference,
        "Identifier" => Role::Identifier,
        "Coding" => Role::Coding,
        "CodeableConcept" => Role::CodeableConcept,
        _ if r4::is_resource(content) => Role::Resource,
        _ => Role::Other,
    }
}

/// The schema, made on first use.
pub fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let mut schema = Schema { classes: Vec::new(), by_name: HashMap::new(), companion: 0 };
        schema.companion = schema.add("Element");
        for name in r4::resources() {
            schema.add(name);
        }
        schema
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_can_be_walked() {
        for class in &schema().classes {
            assert!(!class.fields.is_empty(), "{} has no fields", class.name);
            assert!(class.elements.len() <= 64, "{} has too many elements for the set of bits", class.name);
        }
    }

    #[test]
    fn a_choice_is_found_by_each_of_its_names() {
        let schema = schema();
        let extension = schema.class(schema.named("Extension").unwrap()).unwrap();
        let field = extension.field("valueDateTime").unwrap();
        assert_eq!((field.name, field.content), ("value", Content::Primitive(Primitive::DateTime)));
        assert!(extension.field("value").is_none() && extension.field("valueMeter").is_none());
    }
}
