//! Primitives: the value attribute as its type, beside it id and extensions, and both in step where they repeat.

use serde_json::{Number, Value};

use super::super::pieces::Tag;
use super::super::schema::{Field, Kind, schema};
use super::{Object, Reader, Stopped};
use crate::fhir::issue::Code;
use crate::fhir::validate::Path;

impl<'a> Reader<'a> {
    pub(super) fn primitive(
        &mut self,
        tag: &Tag<'a>,
        field: &Field,
        object: &mut Object,
        path: &Path<'_>,
        depth: usize,
    ) -> Result<(), Stopped> {
        let attributes = self.attributes(tag, &["value", "id"], path)?;
        let value = match &attributes.value {
            Some(text) => self.value(field, text, path)?,
            None => None,
        };
        let mut beside = Object::new();
        if let Some(id) = attributes.id {
            beside.insert("id".to_owned(), Value::String(id));
        }
        let Some(class) = schema().companion() else { return self.skip(path) };
        self.elements(class, &mut beside, path, depth)?;
        if attributes.value.is_none() && !beside.contains_key("extension") {
            self.error(
                Code::Required,
                path,
                "saknar attributet value; sätt ett, eller utelämna elementet",
                "has no attribute value; give it one, or leave the element out",
            )?;
        }
        let beside = (!beside.is_empty()).then_some(Value::Object(beside));
        if !field.list {
            if let Some(value) = value {
                object.insert(field.name.to_owned(), value);
            }
            if let Some(beside) = beside {
                object.insert(companion(field), beside);
            }
            return Ok(());
        }
        put(object, field, value.unwrap_or(Value::Null));
        if let Some(beside) = beside {
            let count = object.get(field.name).and_then(Value::as_array).map_or(1, Vec::len);
            let list = object.entry(companion(field)).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list.resize(count.saturating_sub(1), Value::Null);
                list.push(beside);
            }
        }
        Ok(())
    }

    /// The text of a value attribute as its type; none where it is not one.
    fn value(&mut self, field: &Field, text: &str, path: &Path<'_>) -> Result<Option<Value>, Stopped> {
        let whole = || {
            let digits = text.strip_prefix('-').unwrap_or(text);
            digits == "0" || (!digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()))
        };
        let value = match field.kind {
            Kind::Boolean => match text {
                "true" => Some(Value::Bool(true)),
                "false" => Some(Value::Bool(false)),
                _ => None,
            },
            Kind::Integer if !whole() => None,
            // Said by JSON's own grammar, which is R4's for a decimal too; the digits are kept as they are.
            Kind::Integer | Kind::Decimal => text.parse::<Number>().ok().map(Value::Number),
            _ => (!text.is_empty()).then(|| Value::from(text)),
        };
        if value.is_none() {
            let (sv, en) = match field.kind {
                Kind::Boolean => ("ska vara true eller false", "must be true or false"),
                Kind::Integer => ("ska vara ett heltal", "must be a whole number"),
                Kind::Decimal => ("ska vara ett tal, som 1.50", "must be a number, like 1.50"),
                _ => ("är tomt; utelämna det", "is empty; leave it out"),
            };
            self.error(Code::Value, path, sv, en)?;
        }
        Ok(value)
    }
}

pub(super) fn companion(field: &Field) -> String {
    format!("_{}", field.name)
}

pub(super) fn put(object: &mut Object, field: &Field, value: Value) {
    if !field.list {
        object.insert(field.name.to_owned(), value);
        return;
    }
    match object.get_mut(field.name) {
        Some(Value::Array(list)) => list.push(value),
        _ => {
            object.insert(field.name.to_owned(), Value::Array(vec![value]));
        }
    }
}

/// Makes a list and the list of its companions equally long; a list without one value is left out.
pub(super) fn level(object: &mut Object) {
    let beside: Vec<String> = object
        .iter()
        .filter(|(name, value)| name.starts_with('_') && value.is_array())
        .map(|(n, _)| n.clone())
        .collect();
    for name in beside {
        let values = name.strip_prefix('_').and_then(|plain| object.get(plain)).and_then(Value::as_array);
        let (count, any) = values.map_or((0, false), |v| (v.len(), v.iter().any(|v| !v.is_null())));
        if let Some(Value::Array(list)) = object.get_mut(&name) {
            list.resize(count, Value::Null);
        }
        if !any {
            object.shift_remove(name.trim_start_matches('_'));
        }
    }
}
