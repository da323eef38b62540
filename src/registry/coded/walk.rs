//! Writes what stays of a resource while its stored bytes are read. Every step says whether anything was written; what turns out
//! to be nothing is cut off again.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::super::kept::is_known_address;
use super::rules::{self, Content, Known, Rule};
use super::small::{Coding, Identifier, Quantity, Reference, Text, Typed};
use super::write::Coder;
use crate::fhir::canonical::BASE;

/// A resource, the one that is exported or one that it contains.
pub(super) struct Resource<'w, 'c> {
    pub coder: &'w mut Coder<'c>,
    pub content: &'static Content,
    pub is_contained: bool,
}

impl<'d> DeserializeSeed<'d> for Resource<'_, '_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'d>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'d> Visitor<'d> for Resource<'_, '_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a resource")
    }

    fn visit_map<A: MapAccess<'d>>(self, map: A) -> Result<bool, A::Error> {
        let Self { coder, content, is_contained } = self;
        let start = coder.out.len();
        coder.out.extend_from_slice(b"{\"resourceType\":\"");
        coder.out.extend_from_slice(content.resource_type.as_bytes());
        coder.out.push(b'"');
        let kind = if is_contained { "#" } else { content.resource_type };
        match (Elements { coder, content, kind }).write(map)? {
            Left::Unfit => {
                coder.out.truncate(start);
                Ok(false)
            }
            Left::Nothing | Left::Something => {
                coder.out.push(b'}');
                Ok(true)
            }
        }
    }
}

/// What is left of the elements of an object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    /// One that R4 demands had to go, and cannot be said to be masked.
    Unfit,
    Nothing,
    Something,
}

/// The elements of a type, each by its own rule.
struct Elements<'w, 'c> {
    coder: &'w mut Coder<'c>,
    content: &'static Content,
    /// Of what an id here is.
    kind: &'w str,
}

impl Elements<'_, '_> {
    /// Writes them behind what stands there already; the braces are the caller's.
    fn write<'d, A: MapAccess<'d>>(self, mut map: A) -> Result<Left, A::Error> {
        let Self { coder, content, kind } = self;
        let (mut left, mut written, mut masked) = (Left::Nothing, 0_u64, Vec::new());
        while let Some(known) = map.next_key_seed(Name(content))? {
            let Some(known) = known else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let mark = coder.out.len();
            coder.name(&known.name);
            if map.next_value_seed(Element { coder, rule: known.rule, kind })? {
                left = Left::Something;
                written |= bit(known);
            } else {
                coder.out.truncate(mark);
                masked.extend(known.demanded.is_some().then_some(known));
            }
        }
        for known in masked {
            // Of a choice, another type may stand.
            if written & bit(known) != 0 {
                continue;
            }
            if known.is_primitive && known.is_list {
                return Ok(Left::Unfit);
            }
            coder.mask(known);
            left = Left::Something;
        }
        Ok(left)
    }
}

fn bit(known: &Known) -> u64 {
    known.demanded.and_then(|place| 1_u64.checked_shl(place)).unwrap_or(0)
}

/// The name of an element; beside a primitive (`_name`): extensions and ids, of which nothing is counted.
struct Name(&'static Content);

impl<'d> DeserializeSeed<'d> for Name {
    type Value = Option<&'static Known>;

    fn deserialize<D: Deserializer<'d>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static Known>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.find(name))
    }
}

/// The value of an element, or each of its values.
struct Element<'w, 'c> {
    coder: &'w mut Coder<'c>,
    rule: Rule,
    kind: &'w str,
}

impl<'d> DeserializeSeed<'d> for Element<'_, '_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'d>>(self, deserializer: D) -> Result<bool, D::Error> {
        match self.rule {
            Rule::Leave => IgnoredAny::deserialize(deserializer).map(|_| false),
            // A number as it is written; a resource whose type may stand last.
            Rule::Number | Rule::Resource => {
                let raw = <&RawValue>::deserialize(deserializer)?.get();
                if raw.starts_with('[') {
                    let mut items = serde_json::Deserializer::from_str(raw);
                    return items.deserialize_any(self).map_err(D::Error::custom);
                }
                match self.rule {
                    Rule::Number => Ok(self.coder.number(raw)),
                    _ => self.coder.contained(raw).map_err(D::Error::custom),
                }
            }
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'d> Visitor<'d> for Element<'_, '_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value of an element")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        Ok(self.coder.text(self.rule, self.kind, text))
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<bool, E> {
        let stays = matches!(self.rule, Rule::Truth);
        if stays {
            self.coder.out.extend_from_slice(if truth { b"true" } else { b"false" });
        }
        Ok(stays)
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'d>>(self, mut seq: A) -> Result<bool, A::Error> {
        let Self { coder, rule, kind } = self;
        coder.out.push(b'[');
        let first = coder.out.len();
        loop {
            let mark = coder.out.len();
            if mark > first {
                coder.out.push(b',');
            }
            match seq.next_element_seed(Element { coder, rule, kind })? {
                Some(true) => {}
                Some(false) => coder.out.truncate(mark),
                None => {
                    coder.out.truncate(mark);
                    break;
                }
            }
        }
        coder.out.push(b']');
        Ok(coder.out.len() > first + 1)
    }

    fn visit_map<A: MapAccess<'d>>(self, mut map: A) -> Result<bool, A::Error> {
        let coder = self.coder;
        let small = MapAccessDeserializer::new(&mut map);
        match self.rule {
            Rule::Content(name) => {
                let Some(content) = rules::of(name) else { return nothing(map) };
                coder.out.push(b'{');
                let left = Elements { coder, content, kind: "" }.write(map)?;
                coder.out.push(b'}');
                // A concept without a coding: what is left says nothing.
                Ok(left == Left::Something)
            }
            Rule::Reference => Ok(coder.reference(&Reference::deserialize(small)?)),
            Rule::Identifier => Ok(coder.identifier(&Identifier::deserialize(small)?)),
            Rule::Coding => Ok(coder.coding(&Coding::deserialize(small)?)),
            Rule::Quantity => Ok(coder.quantity(&Quantity::deserialize(small)?)),
            Rule::Extension => coder.extension(map),
            _ => nothing(map),
        }
    }
}

fn nothing<'d, A: MapAccess<'d>>(mut map: A) -> Result<bool, A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(false)
}

impl Coder<'_> {
    /// Only those of standards and ours, and of them only what is no text. What names a part of a plan becomes a code.
    fn extension<'d, A: MapAccess<'d>>(&mut self, mut map: A) -> Result<bool, A::Error> {
        // Its address, which decides of all else, may stand last.
        let mut entries: Vec<(Cow<'d, str>, &'d RawValue)> = Vec::new();
        while let Some((Text(name), value)) = map.next_entry::<Text<'d>, &'d RawValue>()? {
            entries.extend(name.map(|name| (name, value)));
        }
        let address = entries.iter().find(|(name, _)| name == "url").map(|(_, url)| serde_json::from_str(url.get()));
        let Some(Ok(Text(Some(url)))) = address else { return Ok(false) };
        let (Some(content), true) = (rules::of("Extension"), is_known_address(&url)) else { return Ok(false) };
        let is_ours = url.starts_with(BASE);
        self.out.push(b'{');
        self.name("url");
        self.quoted(&url);
        let bare = self.out.len();
        for (name, value) in entries.iter().filter(|(name, _)| name != "url") {
            let Some(known) = content.find(name).filter(|known| is_ours || !known.is_time) else { continue };
            let mark = self.out.len();
            self.name(name);
            let kept = if is_ours && name == "valueString" {
                let text = serde_json::from_str::<Text<'_>>(value.get()).map_err(A::Error::custom)?;
                text.get().map(|text| self.code("", &url, text)).is_some()
            } else {
                let element = Element { coder: self, rule: known.rule, kind: "" };
                let mut reader = serde_json::Deserializer::from_str(value.get());
                element.deserialize(&mut reader).map_err(A::Error::custom)?
            };
            if !kept {
                self.out.truncate(mark);
            }
        }
        self.out.push(b'}');
        Ok(self.out.len() > bare + 1)
    }

    fn contained(&mut self, raw: &str) -> Result<bool, serde_json::Error> {
        let typed: Typed<'_> = serde_json::from_str(raw)?;
        let Some(content) = typed.resource_type.get().and_then(rules::of_resource) else { return Ok(false) };
        let resource = Resource { coder: self, content, is_contained: true };
        resource.deserialize(&mut serde_json::Deserializer::from_str(raw))
    }
}
