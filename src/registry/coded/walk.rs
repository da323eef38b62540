//! Writes what stays of a resource while its stored bytes are read. Every step says whether anything was written; what turns out
//! to be nothing is cut off again.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::super::cipher::Cipher;
use super::super::kept::{is_known_address, is_known_code, is_moment, is_small, is_word};
use super::CODED;
use super::rules::{self, Content, Known, Rule};
use super::small::{Coding, Identifier, Quantity, Reference, Text, Typed};
use crate::fhir::canonical::BASE;
use crate::fhir::r4;

const MASK: &str =
    r#"{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"masked"}]}"#;
/// Who is older than this stands under the year of those who are: few people of a registry are, and a year would find them.
const OLDEST_YEARS: i32 = 90;

/// What has been written, and what it is written with.
pub(super) struct Coder<'c> {
    pub cipher: &'c Cipher,
    pub year: i32,
    pub out: Vec<u8>,
}

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

fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

impl Coder<'_> {
    /// The name of an element, behind what stands before it.
    fn name(&mut self, name: &str) {
        self.name_with("", name);
    }

    fn name_with(&mut self, before: &str, name: &str) {
        let comma = if self.out.last() == Some(&b'{') { "\"" } else { ",\"" };
        for part in [comma, before, name, "\":"] {
            self.out.extend_from_slice(part.as_bytes());
        }
    }

    /// What R4 demands and had to go; of a choice, under the name that it had.
    fn mask(&mut self, known: &Known) {
        self.name_with(if known.is_primitive { "_" } else { "" }, &known.name);
        let masked = if known.is_list { ["[", MASK, "]"] } else { ["", MASK, ""] };
        masked.into_iter().for_each(|part| self.out.extend_from_slice(part.as_bytes()));
    }

    /// A number that is no person's.
    fn number(&mut self, number: &str) -> bool {
        let stays = is_number(number) && is_small(number);
        if stays {
            self.out.extend_from_slice(number.as_bytes());
        }
        stays
    }

    /// A text that needs no escape.
    fn plain(&mut self, text: &str) {
        self.out.push(b'"');
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'"');
    }

    /// Any text.
    fn quoted(&mut self, text: &str) -> bool {
        serde_json::to_writer(&mut self.out, text).is_ok()
    }

    fn code(&mut self, before: &str, kind: &str, value: &str) {
        self.out.push(b'"');
        self.out.extend_from_slice(before.as_bytes());
        self.cipher.write(kind, value, &mut self.out);
        self.out.push(b'"');
    }

    fn text(&mut self, rule: Rule, kind: &str, text: &str) -> bool {
        let stays = match rule {
            Rule::Id if kind == "#" => {
                self.code("", kind, text);
                return true;
            }
            Rule::Id => {
                self.id("", kind, text);
                return true;
            }
            Rule::BirthYear => return self.birth_year(text),
            Rule::Year => {
                let year = text.get(..4).filter(|year| is_moment(year));
                year.into_iter().for_each(|year| self.plain(year));
                return year.is_some();
            }
            Rule::Date => is_moment(text),
            Rule::Moment | Rule::Day => return self.moment(rule, text),
            Rule::Word => is_word(text),
            Rule::Count => text.len() <= 6 && text.bytes().all(|b| b.is_ascii_digit()),
            Rule::Address => return is_known_address(text) && self.quoted(text),
            Rule::Source => return self.is_source(text) && self.quoted(text),
            _ => false,
        };
        if stays {
            self.plain(text);
        }
        stays
    }

    /// A year; all who are older than [`OLDEST_YEARS`] in one.
    fn birth_year(&mut self, date: &str) -> bool {
        let Some(year) = date.get(..4).and_then(|year| year.parse::<i32>().ok()) else { return false };
        self.plain(&format!("{:04}", year.max(self.year - OLDEST_YEARS)));
        true
    }

    /// A moment as a registry needs it. Our own milliseconds would tell two registries which of their rows are one: times go to
    /// the minute, and when we wrote something (an instant) to the day.
    fn moment(&mut self, rule: Rule, text: &str) -> bool {
        if !is_moment(text) {
            return false;
        }
        let Some((date, time)) = text.split_once('T') else {
            self.plain(text);
            return true;
        };
        let zone = time.find(['Z', '+', '-']).and_then(|at| time.get(at..)).unwrap_or_default();
        let (minute, zone) =
            if matches!(rule, Rule::Day) { ("00:00", "Z") } else { (time.get(..5).unwrap_or(""), zone) };
        if minute.is_empty() {
            return false;
        }
        for part in ["\"", date, "T", minute, ":00", zone, "\""] {
            self.out.extend_from_slice(part.as_bytes());
        }
        true
    }

    /// `meta.source` names the unit that sent it, behind a `#` or as the last part of a URN.
    fn is_source(&self, source: &str) -> bool {
        let unit = source.rsplit(['#', ':']).next().unwrap_or_default();
        let before = source.strip_suffix(unit);
        let is_ours = matches!(before, Some("urn:oid:1.2.752.129.2.1.4.1#" | "urn:vardkedja:unit:"));
        is_ours && self.cipher.is_unit(unit)
    }

    /// The id of a resource, behind `before`.
    fn id(&mut self, before: &str, resource_type: &str, id: &str) {
        self.out.push(b'"');
        self.out.extend_from_slice(before.as_bytes());
        self.cipher.write_id(resource_type, id, &mut self.out);
        self.out.push(b'"');
    }

    fn reference(&mut self, source: &Reference<'_>) -> bool {
        self.out.push(b'{');
        let start = self.out.len();
        if let Some(target) = source.reference.get() {
            if let Some(inside) = target.strip_prefix('#') {
                self.name("reference");
                self.code("#", "#", inside);
            } else if let Some((resource_type, id)) = target.split_once('/').filter(|(name, _)| r4::is_resource(name)) {
                self.name("reference");
                // A reference to a version is one to the resource.
                let id = id.split('/').next().unwrap_or_default();
                self.out.push(b'"');
                self.out.extend_from_slice(resource_type.as_bytes());
                self.out.push(b'/');
                self.cipher.write_id(resource_type, id, &mut self.out);
                self.out.push(b'"');
            }
        }
        let mut leads = self.out.len() > start;
        if let Some(resource_type) = source.resource_type.get().filter(|name| r4::is_resource(name)) {
            self.name("type");
            self.plain(resource_type);
        }
        if let Some(identifier) = &source.identifier {
            let mark = self.out.len();
            self.name("identifier");
            if self.identifier(identifier) {
                leads = true;
            } else {
                self.out.truncate(mark);
            }
        }
        self.out.push(b'}');
        leads
    }

    /// A unit's stays; any other becomes a code, the same wherever the same identifier stands.
    fn identifier(&mut self, source: &Identifier<'_>) -> bool {
        let Some(value) = source.value.get() else { return false };
        let system = source.system.get().unwrap_or_default();
        self.out.push(b'{');
        self.name("system");
        if self.cipher.is_unit(value) && is_known_address(system) {
            self.quoted(system);
            self.name("value");
            self.quoted(value);
        } else {
            for part in ["\"", BASE, "/sid/", CODED, "\""] {
                self.out.extend_from_slice(part.as_bytes());
            }
            self.name("value");
            self.code("", system, value);
        }
        self.out.push(b'}');
        true
    }

    fn coding(&mut self, source: &Coding<'_>) -> bool {
        let Some((system, code)) = known_code(&source.system, &source.code) else { return false };
        self.out.push(b'{');
        self.system_and_code(system, code);
        self.out.push(b'}');
        true
    }

    fn system_and_code(&mut self, system: &str, code: &str) {
        self.name("system");
        self.quoted(system);
        self.name("code");
        self.quoted(code);
    }

    /// The number and its coded unit; a unit in words is a text.
    fn quantity(&mut self, source: &Quantity<'_>) -> bool {
        self.out.push(b'{');
        self.name("value");
        // Without its number it says nothing.
        if !source.value.is_some_and(|number| self.number(number.get())) {
            return false;
        }
        if let Some(comparator) = source.comparator.get().filter(|c| ["<", "<=", ">=", ">"].contains(c)) {
            self.name("comparator");
            self.plain(comparator);
        }
        if let Some((system, code)) = known_code(&source.system, &source.code) {
            self.system_and_code(system, code);
        }
        self.out.push(b'}');
        true
    }

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

fn known_code<'t>(system: &'t Text<'_>, code: &'t Text<'_>) -> Option<(&'t str, &'t str)> {
    system.get().zip(code.get()).filter(|(system, code)| is_known_code(system, code))
}
