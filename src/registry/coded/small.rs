//! The small types whose elements are judged together: a coding by its system, an identifier by its value, a quantity by its unit.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A text where one is expected; anything else is nothing.
#[derive(Debug, Default)]
pub(super) struct Text<'d>(pub Option<Cow<'d, str>>);

impl Text<'_> {
    pub fn get(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl<'de: 'd, 'd> Deserialize<'de> for Text<'d> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'d> Visitor<'d> for TextVisitor {
    type Value = Text<'d>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'d str) -> Result<Self::Value, E> {
        Ok(Text(Some(Cow::Borrowed(text))))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Some(Cow::Owned(text.to_owned()))))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Text(None))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Text(None))
    }

    fn visit_map<A: MapAccess<'d>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }

    fn visit_seq<A: SeqAccess<'d>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Coding<'d> {
    #[serde(borrow)]
    pub system: Text<'d>,
    #[serde(borrow)]
    pub code: Text<'d>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Identifier<'d> {
    #[serde(borrow)]
    pub system: Text<'d>,
    #[serde(borrow)]
    pub value: Text<'d>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Reference<'d> {
    #[serde(borrow)]
    pub reference: Text<'d>,
    #[serde(borrow, rename = "type")]
    pub resource_type: Text<'d>,
    #[serde(borrow)]
    pub identifier: Option<Identifier<'d>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Quantity<'d> {
    /// As it is written: a decimal keeps its zeros.
    #[serde(borrow)]
    pub value: Option<&'d RawValue>,
    #[serde(borrow)]
    pub comparator: Text<'d>,
    #[serde(borrow)]
    pub system: Text<'d>,
    #[serde(borrow)]
    pub code: Text<'d>,
}

/// What says which resource it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Typed<'d> {
    #[serde(borrow, rename = "resourceType")]
    pub resource_type: Text<'d>,
}
