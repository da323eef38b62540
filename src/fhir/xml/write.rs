//! The tree to XML: elements in the order of R4, values as they are written.
//!
//! What XML cannot hold, or R4 does not have, is refused with its place: a reader would not get back what was there.

use serde_json::{Map, Value};

use super::pieces::is_xml_char;
use super::schema::{Class, Field, Kind, schema};
use super::{FHIR, MOST_FINDINGS, narrative};
use crate::fhir::issue::{Code, Issue, shown_name};
use crate::fhir::validate::Path;

type Object = Map<String, Value>;

/// Writes a resource, or says all that keeps it from being XML.
pub fn write(resource: &Value) -> Result<Vec<u8>, Vec<Issue>> {
    let mut writer = Writer { xml: String::with_capacity(1024), issues: Vec::new() };
    writer.xml.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let kind = resource["resourceType"].as_str().unwrap_or_default();
    writer.resource(resource, &Path::root(shown_name(kind)), true);
    if writer.issues.is_empty() { Ok(writer.xml.into_bytes()) } else { Err(writer.issues) }
}

struct Writer {
    xml: String,
    issues: Vec<Issue>,
}

impl Writer {
    fn error(&mut self, path: &Path<'_>, sv: impl Into<String>, en: impl Into<String>) {
        if self.issues.len() < MOST_FINDINGS {
            self.issues.push(Issue::error(Code::Structure, path, sv, en));
        }
    }

    fn push(&mut self, parts: &[&str]) {
        for part in parts {
            self.xml.push_str(part);
        }
    }

    fn resource(&mut self, resource: &Value, path: &Path<'_>, outermost: bool) {
        let class = resource.get("resourceType").and_then(Value::as_str).and_then(|name| schema().resource(name));
        let (Some(class), Some(object)) = (class, resource.as_object()) else {
            return self.error(path, "är ingen resurs i R4", "is no resource of R4");
        };
        self.push(&["<", class.name]);
        if outermost {
            self.push(&[" xmlns=\"", FHIR, "\""]);
        }
        self.xml.push('>');
        self.elements(class, object, path);
        self.push(&["</", class.name, ">"]);
    }

    /// The elements of an object in the order of its class.
    fn elements(&mut self, class: &'static Class, object: &Object, path: &Path<'_>) {
        let mut fields: Vec<&'static Field> = Vec::with_capacity(object.len());
        for key in object.keys().filter(|key| !(class.resource && *key == "resourceType")) {
            let name = key.strip_prefix('_').unwrap_or(key);
            // The value of a primitive stands in the object around its companion.
            match class.field(name).filter(|field| !(field.attribute && name == "value")) {
                Some(field) if name == key || (field.is_primitive() && !field.attribute) => fields.push(field),
                _ => self.error(
                    &path.field(shown_name(key)),
                    format!("finns inte i {}", class.name),
                    format!("is not an element of {}", class.name),
                ),
            }
        }
        fields.sort_unstable_by_key(|field| field.position);
        fields.dedup_by_key(|field| field.position);
        for field in fields.into_iter().filter(|field| !field.attribute) {
            let value = object.get(field.name);
            let beside = object.get(&format!("_{}", field.name));
            let here = path.field(field.name);
            match (field.list, value, beside) {
                (true, None | Some(Value::Array(_)), None | Some(Value::Array(_))) => {
                    let values = value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                    let companions = beside.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                    let count = values.len().max(companions.len());
                    if count == 0 {
                        self.error(&here, "är en tom lista; utelämna den", "is an empty array; leave it out");
                    }
                    for index in 0..count {
                        self.element(field, values.get(index), companions.get(index), &here.item(index));
                    }
                }
                (true, ..) => self.error(&here, "ska vara en lista", "must be an array"),
                (false, ..) => self.element(field, value, beside, &here),
            }
        }
    }

    fn element(&mut self, field: &Field, value: Option<&Value>, beside: Option<&Value>, path: &Path<'_>) {
        let object = value.and_then(Value::as_object);
        match field.kind {
            Kind::Class(at) => {
                let (Some(class), Some(object)) = (schema().class(at), object) else {
                    return self.error(path, "ska vara ett objekt", "must be an object");
                };
                self.push(&["<", field.name]);
                self.open(class, object, path);
                self.elements(class, object, path);
                self.push(&["</", field.name, ">"]);
            }
            Kind::Resource => {
                self.push(&["<", field.name, ">"]);
                self.resource(value.unwrap_or(&Value::Null), path, false);
                self.push(&["</", field.name, ">"]);
            }
            Kind::Xhtml => match (value.and_then(Value::as_str).map(narrative::checked), beside) {
                (Some(Ok(div)), None) => self.xml.push_str(&div),
                (Some(Err((sv, en))), _) => self.error(path, sv, en),
                _ => self.error(path, "ska vara XHTML och inget annat", "must be XHTML and nothing else"),
            },
            _ => self.primitive(field, value, beside, path),
        }
    }

    fn primitive(&mut self, field: &Field, value: Option<&Value>, beside: Option<&Value>, path: &Path<'_>) {
        let value = value.filter(|v| !v.is_null());
        let beside = beside.filter(|b| !b.is_null());
        if value.is_none() && beside.is_none() {
            return self.error(path, "är null; utelämna det", "is null; leave it out");
        }
        self.push(&["<", field.name]);
        let empty = Object::new();
        let beside = match beside.map_or(Some(&empty), Value::as_object) {
            Some(object) => object,
            None => return self.error(path, "ska ha ett objekt bredvid sig", "must have an object beside it"),
        };
        let Some(class) = schema().companion() else { return };
        let children = beside.keys().any(|key| key != "id");
        if value.is_none() && !children {
            self.error(path, "har bara ett id; ge det ett värde", "has nothing but an id; give it a value");
        }
        if let Some(id) = beside.get("id") {
            self.attribute("id", id, path);
        }
        match (field.kind, value) {
            (_, None) => {}
            (Kind::Boolean, Some(Value::Bool(value))) => {
                self.push(&[" value=\"", if *value { "true" } else { "false" }, "\""]);
            }
            (Kind::Integer | Kind::Decimal, Some(Value::Number(number))) => {
                self.push(&[" value=\"", &number.to_string(), "\""]);
            }
            (Kind::Boolean, Some(_)) => self.error(path, "ska vara true eller false", "must be true or false"),
            (Kind::Integer | Kind::Decimal, Some(_)) => self.error(path, "ska vara ett tal", "must be a number"),
            (_, Some(value)) => self.attribute("value", value, path),
        }
        if children {
            self.xml.push('>');
            self.elements(class, beside, path);
            self.push(&["</", field.name, ">"]);
        } else {
            self.xml.push_str("/>");
        }
    }

    /// Ends the tag of an object, with what is written as attributes.
    fn open(&mut self, class: &Class, object: &Object, path: &Path<'_>) {
        if object.is_empty() {
            self.error(path, "är tomt; utelämna det", "is empty; leave it out");
        }
        for name in ["id", "url"] {
            if let (Some(value), Some(field)) = (object.get(name), class.field(name))
                && field.attribute
            {
                self.attribute(name, value, path);
            }
        }
        self.xml.push('>');
    }

    fn attribute(&mut self, name: &str, value: &Value, path: &Path<'_>) {
        let Some(text) = value.as_str().filter(|text| !text.is_empty()) else {
            return self.error(path, "ska vara text, och inte tom", "must be text, and not empty");
        };
        if !text.chars().all(is_xml_char) {
            return self.error(
                path,
                "innehåller ett tecken som inte får stå i XML",
                "holds a character that XML does not have",
            );
        }
        self.push(&[" ", name, "=\""]);
        let mut rest = text;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\n', '\r', '\t']) {
            let (before, after) = rest.split_at(at);
            self.xml.push_str(before);
            // Space other than blanks would become blanks on the way.
            self.xml.push_str(match after.as_bytes().first() {
                Some(b'&') => "&amp;",
                Some(b'<') => "&lt;",
                Some(b'>') => "&gt;",
                Some(b'"') => "&quot;",
                Some(b'\n') => "&#10;",
                Some(b'\r') => "&#13;",
                _ => "&#9;",
            });
            rest = after.get(1..).unwrap_or_default();
        }
        self.push(&[rest, "\""]);
    }
}
