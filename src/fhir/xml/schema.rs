//! What the XML reader and writer must know of R4: the order of elements, which repeat, and what each is made of.
//!
//! `r4.tsv` has the types that the gateway serves; XML may hold any (a resource contained in another, a Parameters), so this
//! is laid out once from the definitions that fhirbolt carries of all of R4. A test holds the two against each other.

use std::collections::HashMap;
use std::sync::OnceLock;

use fhirbolt_shared::element_map::{ElementSet, r4::ELEMENT_MAP};
use fhirbolt_shared::type_hints::r4::TYPE_HINTS;

/// What an element is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Boolean,
    /// Digits, without or with a fraction: both keep the digits they are written with.
    Integer,
    Decimal,
    /// The div of a narrative.
    Xhtml,
    /// A whole resource inside an element of that name.
    Resource,
    /// The class, by its place in the schema.
    Class(usize),
}

/// An element of a class.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    /// As JSON has it: `valueString` for a choice.
    pub name: &'static str,
    pub kind: Kind,
    pub list: bool,
    /// Its place among its siblings.
    pub position: usize,
    /// Written as an attribute: the id of an element that is no resource, the url of an extension, the value of a primitive.
    pub attribute: bool,
}

impl Field {
    /// Whether JSON has a string, number or boolean there, with id and extensions beside it.
    pub fn is_primitive(&self) -> bool {
        matches!(self.kind, Kind::Text | Kind::Boolean | Kind::Integer | Kind::Decimal)
    }
}

/// A resource, a data type, or an element with elements of its own.
#[derive(Debug)]
pub(super) struct Class {
    pub name: &'static str,
    pub resource: bool,
    names: &'static ElementSet,
    fields: Vec<Field>,
}

impl Class {
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.get(self.names.get_index(name)?)
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.names.iter().copied()
    }

    pub fn at(&self, position: usize) -> Option<&Field> {
        self.fields.get(position)
    }
}

/// All of R4.
pub(super) struct Schema {
    classes: Vec<Class>,
    by_name: HashMap<&'static str, usize>,
    companion: usize,
}

impl Schema {
    pub fn class(&self, at: usize) -> Option<&Class> {
        self.classes.get(at)
    }

    pub fn resource(&self, name: &str) -> Option<&Class> {
        self.class(*self.by_name.get(name)?).filter(|class| class.resource)
    }

    /// What stands beside the value of a primitive: its id and extensions.
    pub fn companion(&self) -> Option<&Class> {
        self.class(self.companion)
    }
}

pub(super) fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(lay_out)
}

fn lay_out() -> Schema {
    let by_name: HashMap<&'static str, usize> = ELEMENT_MAP.keys().enumerate().map(|(at, name)| (*name, at)).collect();
    let classes = ELEMENT_MAP
        .entries()
        .map(|(class, names)| {
            // Every resource has implicitRules, and nothing else has.
            let resource = names.contains("implicitRules");
            let field = |(position, name): (usize, &&'static str)| Field {
                name,
                kind: kind(class, resource, name, &by_name),
                list: repeats(class, resource, name),
                position,
                attribute: (*name == "id" && !resource)
                    || (*class == "Extension" && *name == "url")
                    || (*name == "value" && class.starts_with(|c: char| c.is_ascii_lowercase())),
            };
            let fields = names.iter().enumerate().map(field).collect();
            Class { name: class, resource, names, fields }
        })
        .collect();
    let companion = by_name.get("string").copied().unwrap_or(usize::MAX);
    Schema { classes, by_name, companion }
}

fn repeats(class: &str, resource: bool, name: &str) -> bool {
    matches!(name, "extension" | "modifierExtension")
        || (resource && name == "contained")
        || TYPE_HINTS.array_paths.contains(&format!("{class}.{name}"))
}

fn kind(class: &str, resource: bool, name: &str, by_name: &HashMap<&'static str, usize>) -> Kind {
    let path = format!("{class}.{name}");
    let own = match name {
        "id" => return Kind::Text,
        "extension" | "modifierExtension" => Some("Extension"),
        "contained" if resource => Some("Resource"),
        "meta" if resource => Some("Meta"),
        "text" if resource => Some("Narrative"),
        "implicitRules" | "language" if resource => return Kind::Text,
        _ => None,
    };
    let content = own
        .or_else(|| TYPE_HINTS.type_paths.get(&path).copied())
        .or_else(|| TYPE_HINTS.content_reference_paths.get(&path).copied());
    if content == Some("Resource") {
        return Kind::Resource;
    }
    let hints = &TYPE_HINTS;
    match by_name.get(content.unwrap_or(&path)) {
        Some(at) => Kind::Class(*at),
        None if path == "Narrative.div" => Kind::Xhtml,
        None if hints.boolean_paths.contains(&path) => Kind::Boolean,
        None if hints.decimal_paths.contains(&path) => Kind::Decimal,
        None if hints.integer_paths.contains(&path)
            || hints.unsigned_integer_paths.contains(&path)
            || hints.positive_integer_paths.contains(&path) =>
        {
            Kind::Integer
        }
        None => Kind::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::r4;

    fn of(class: &'static str) -> &'static Class {
        schema().class(schema().by_name[class]).unwrap()
    }

    #[test]
    fn every_element_that_is_no_class_is_a_primitive_of_r4() {
        for class in schema().classes.iter().filter(|c| c.name.starts_with(|c: char| c.is_uppercase())) {
            for field in &class.fields {
                let path = format!("{}.{}", class.name, field.name);
                let known = TYPE_HINTS.all_primitives_paths.contains(&path)
                    || matches!(field.name, "id" | "implicitRules" | "language")
                    || path == "Extension.url";
                assert!(matches!(field.kind, Kind::Class(_) | Kind::Resource) || known, "{path}");
            }
        }
    }

    #[test]
    fn the_table_of_what_we_serve_and_this_schema_agree_on_what_an_element_is() {
        let mut looked_at = 0;
        for (path, class) in &schema().by_name {
            let root = path.split('.').next().unwrap();
            if !r4::types().contains(&root) {
                continue;
            }
            for field in &schema().class(*class).unwrap().fields {
                let found = r4::find(path, field.name).unwrap_or_else(|| panic!("{path}.{}", field.name));
                let wanted = match found.type_code {
                    "boolean" => Kind::Boolean,
                    "decimal" => Kind::Decimal,
                    "integer" | "unsignedInt" | "positiveInt" => Kind::Integer,
                    "xhtml" => Kind::Xhtml,
                    // Any resource by the standard, which the table narrows to the one that makes sense.
                    "Resource" | "OperationOutcome" => Kind::Resource,
                    primitive if r4::is_primitive(primitive) => Kind::Text,
                    _ => Kind::Class(schema().by_name[found.content]),
                };
                assert_eq!(field.kind, wanted, "{path}.{}", field.name);
                assert_eq!(field.list, found.element.is_list(), "{path}.{}", field.name);
                looked_at += 1;
            }
        }
        assert!(looked_at > 1500, "{looked_at}");
    }

    #[test]
    fn ids_are_attributes_but_of_resources() {
        assert!(!of("Patient").field("id").unwrap().attribute);
        assert!(of("HumanName").field("id").unwrap().attribute);
        assert!(of("Extension").field("url").unwrap().attribute);
        assert!(!of("Attachment").field("url").unwrap().attribute);
        assert!(schema().companion().unwrap().field("value").unwrap().attribute);
    }
}
