//! Writes the values that stay: each kind of value by itself, straight behind what has been written.

use super::super::cipher::Cipher;
use super::super::kept::{is_known_address, is_known_code, is_moment, is_small, is_word};
use super::CODED;
use super::rules::{Known, Rule};
use super::small::{Coding, Identifier, Quantity, Reference, Text};
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

impl Coder<'_> {
    /// The name of an element, behind what stands before it.
    pub fn name(&mut self, name: &str) {
        self.name_with("", name);
    }

    fn name_with(&mut self, before: &str, name: &str) {
        let comma = if self.out.last() == Some(&b'{') { "\"" } else { ",\"" };
        for part in [comma, before, name, "\":"] {
            self.out.extend_from_slice(part.as_bytes());
        }
    }

    /// What R4 demands and had to go; of a choice, under the name that it had.
    pub fn mask(&mut self, known: &Known) {
        self.name_with(if known.is_primitive { "_" } else { "" }, &known.name);
        let masked = if known.is_list { ["[", MASK, "]"] } else { ["", MASK, ""] };
        masked.into_iter().for_each(|part| self.out.extend_from_slice(part.as_bytes()));
    }

    /// A number that is no person's.
    pub fn number(&mut self, number: &str) -> bool {
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
    pub fn quoted(&mut self, text: &str) -> bool {
        serde_json::to_writer(&mut self.out, text).is_ok()
    }

    pub fn code(&mut self, before: &str, kind: &str, value: &str) {
        self.out.push(b'"');
        self.out.extend_from_slice(before.as_bytes());
        self.cipher.write(kind, value, &mut self.out);
        self.out.push(b'"');
    }

    pub fn text(&mut self, rule: Rule, kind: &str, text: &str) -> bool {
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

    pub fn reference(&mut self, source: &Reference<'_>) -> bool {
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
    pub fn identifier(&mut self, source: &Identifier<'_>) -> bool {
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

    pub fn coding(&mut self, source: &Coding<'_>) -> bool {
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
    pub fn quantity(&mut self, source: &Quantity<'_>) -> bool {
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
}

fn known_code<'t>(system: &'t Text<'_>, code: &'t Text<'_>) -> Option<(&'t str, &'t str)> {
    system.get().zip(code.get()).filter(|(system, code)| is_known_code(system, code))
}

fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}
