//! A table compiled: every name looked up, every path taken apart, nothing left to parse when a document comes.

use std::sync::Arc;

use serde_json::Value;

use super::codes::CodeMap;
use super::convert::{Converter, Made, Makes, Text};
use super::form::Form;
use super::path::{Step, is_absent};
use super::shape::Shape;
use super::table::Only;
use super::within::Within;
use crate::domain::{Format, Kind};
use crate::fhir::issue::{Code, Issue};

/// One table: a kind of document in one format, and the resources it becomes.
#[derive(Debug)]
pub struct Table {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) kind: Kind,
    pub(super) format: Format,
    pub(super) shape: Option<Arc<Shape>>,
    pub(super) guard: Vec<Guard>,
    /// Nothing for a message: its shape has judged it.
    pub(super) form: Form,
    pub(super) envelope: EnvelopePaths,
    pub(super) blocks: Vec<Block>,
    /// The block whose resource the way back starts from.
    pub(super) anchor: usize,
}

#[derive(Debug, Default)]
pub(super) struct EnvelopePaths {
    pub id: Vec<Step>,
    pub version: Option<Vec<Step>>,
    pub status: Option<Vec<Step>>,
    pub unit: Option<Vec<Step>>,
    pub patient: Option<Vec<Step>>,
    pub recipients: Vec<Vec<Step>>,
}

/// `[[resource]]`: what one resource, or one for each item of a list, is made of.
#[derive(Debug)]
pub(super) struct Block {
    pub name: String,
    pub resource_type: &'static str,
    /// The resource stands for someone outside the document, and is one however many documents name it.
    pub actor: bool,
    pub each: Vec<Step>,
    pub each_text: String,
    /// The lists that `each` goes through.
    pub chain: Vec<usize>,
    pub key: Vec<SourcePath>,
    /// Where the way back finds each key: rows that carry it.
    pub key_reads: Vec<Vec<KeyRead>>,
    /// Whether the key tells which item a resource is; otherwise a link does.
    pub placed_by_key: bool,
    pub need: bool,
    pub guard: Vec<Guard>,
    pub profile: Option<Profile>,
    pub group: Group,
    /// The constants by which a resource is known as this block's.
    pub standing: Vec<Standing>,
    /// Whether a document can make it; blocks with nothing but `only = "back"` rows exist on the way back alone.
    pub made: bool,
    /// The nearest block on an enclosing list, whose key makes this one's unique.
    pub parent: Option<usize>,
    pub origin: String,
}

#[derive(Debug)]
pub(super) struct Profile {
    pub url: String,
    pub steps: Vec<Step>,
}

/// Rows that start from the same item and the same element.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// From the enclosing item to this group's items.
    pub each: Vec<Step>,
    /// From the enclosing element to this group's elements.
    pub into: Vec<Step>,
    /// The lists from the root to this group's items.
    pub chain: Vec<usize>,
    /// A part that must have at least one item.
    pub need: Option<Need>,
    pub guard: Vec<Guard>,
    pub rows: Vec<Row>,
    pub fixed: Vec<Fixed>,
    pub parts: Vec<Group>,
    pub origin: String,
}

/// Both sides of what must be there, from the root, for messages.
#[derive(Debug)]
pub(super) struct Need {
    pub source: Vec<Step>,
    pub fhir: Vec<Step>,
}

/// A source path of a row: the whole of it from the root, and where the item ends.
#[derive(Debug, Clone)]
pub(super) struct SourcePath {
    pub root: bool,
    pub full: Vec<Step>,
    pub at: usize,
    pub text: String,
    /// The identity of the field in the tree of all fields that the table names.
    pub node: usize,
}

impl SourcePath {
    /// The steps from the item, or from the root for a path that begins with `/`.
    pub fn tail(&self) -> &[Step] {
        self.full.get(self.at..).unwrap_or(&[])
    }
}

/// A FHIR path of a row: the whole of it from the resource, and where the group's element ends.
#[derive(Debug, Clone)]
pub(super) struct FhirPath {
    pub full: Vec<Step>,
    pub at: usize,
    pub text: String,
    pub class: Class,
    pub type_code: &'static str,
}

impl FhirPath {
    /// The steps from the group's element.
    pub fn tail(&self) -> &[Step] {
        self.full.get(self.at..).unwrap_or(&[])
    }
}

/// How JSON writes a FHIR type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Text,
    Integer,
    Decimal,
    Boolean,
    Element,
}

impl Class {
    pub fn of(type_code: &str) -> Self {
        match type_code {
            "integer" | "positiveInt" | "unsignedInt" => Self::Integer,
            "decimal" => Self::Decimal,
            "boolean" => Self::Boolean,
            code if crate::fhir::r4::is_primitive(code) => Self::Text,
            _ => Self::Element,
        }
    }

    pub fn admits(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Text, Value::String(_))
            | (Self::Boolean, Value::Bool(_))
            | (Self::Decimal, Value::Number(_))
            | (Self::Element, Value::Object(_)) => true,
            (Self::Integer, Value::Number(number)) => number.is_i64() || number.is_u64(),
            _ => false,
        }
    }

    /// What JSON has, in Swedish and English.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Text => ("en text", "a text"),
            Self::Integer => ("ett heltal", "a whole number"),
            Self::Decimal => ("ett tal", "a number"),
            Self::Boolean => ("true eller false", "true or false"),
            Self::Element => ("ett objekt", "an object"),
        }
    }
}

/// Two columns and few keys.
#[derive(Debug)]
pub(super) struct Row {
    pub source: Option<SourcePath>,
    pub fhir: FhirPath,
    pub link: Option<Link>,
    pub via: Option<Via>,
    pub need: bool,
    pub only: Only,
    pub guard: Vec<Guard>,
    /// Another branch has a link where this row's value stands below.
    pub below_link: Option<BelowLink>,
    pub origin: String,
}

/// A row's reference to the resources of a block.
#[derive(Debug)]
pub(super) struct Link {
    pub block: usize,
    /// How many lists the row's item and the block's items have in common.
    pub common: usize,
    /// Whether the row's own list takes one element for each target.
    pub appends: bool,
    /// With `source`: the target is the one whose key has the value.
    pub by_key: bool,
}

/// A reference that other branches link: when it leads to one of their blocks, the value below it is theirs.
#[derive(Debug)]
pub(super) struct BelowLink {
    /// How many steps from the group's element to the reference.
    pub depth: usize,
    pub blocks: Vec<usize>,
}

/// A constant on one side or both.
#[derive(Debug)]
pub(super) struct Fixed {
    pub source: Option<SourcePath>,
    pub fhir: Option<FhirPath>,
    /// How many of the FHIR steps rows share: nothing is a constant that stands alone.
    pub tie: usize,
    /// The same of the source's steps.
    pub source_tie: usize,
    pub value: Value,
    pub only: Only,
    pub guard: Vec<Guard>,
    pub origin: String,
}

/// A constant that decides whether a resource is a block's.
#[derive(Debug)]
pub(super) struct Standing {
    pub cond: Vec<Step>,
    pub value: Value,
}

/// `when`: a value that a field must have; written when a row under it is read back.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    pub path: SourcePath,
    pub value: Value,
}

/// What translates between the columns.
#[derive(Debug, Clone)]
pub(super) enum Via {
    Convert(&'static Converter),
    Codes(Arc<CodeMap>),
    Within(Arc<Within>),
}

impl Via {
    pub fn name(&self) -> &str {
        match self {
            Self::Convert(converter) => converter.name,
            Self::Codes(map) => &map.name,
            Self::Within(within) => &within.name,
        }
    }

    pub fn personal(&self) -> bool {
        matches!(self, Self::Convert(converter) if converter.personal)
    }

    /// The fields of the element that are read back; `None` for a value.
    pub fn reads(&self) -> Option<&'static [&'static str]> {
        match self {
            Self::Convert(Converter { makes: Makes::Element(_, fields), .. }) => Some(fields),
            _ => None,
        }
    }

    /// What a value becomes in a document.
    pub fn out(&self, value: &Value, document: &Value) -> Result<Made, Text> {
        match self {
            Self::Within(within) => within.out(value, document),
            Self::Convert(converter) => (converter.out)(value),
            Self::Codes(map) => map.out(value).map(|v| v.clone().into()).ok_or_else(|| untranslated(map, value, true)),
        }
    }

    pub fn back(&self, value: &Value) -> Result<Made, Text> {
        match self {
            Self::Within(within) => within.back(value),
            Self::Convert(converter) => (converter.back)(value),
            Self::Codes(map) => {
                map.back(value).map(|v| v.clone().into()).ok_or_else(|| untranslated(map, value, false))
            }
        }
    }
}

fn untranslated(map: &CodeMap, value: &Value, outwards: bool) -> Text {
    let near = map.nearest(value, outwards);
    Text {
        sv: format!("Koden finns inte i {}; närmast: {near}.", map.name),
        en: format!("The code is not in {}; nearest: {near}.", map.name),
    }
}

/// How the way back learns a key.
#[derive(Debug)]
pub(super) enum KeyRead {
    /// A row carries it, or something around it.
    Row { steps: Vec<Step>, via: Option<Via>, rest: Vec<Step> },
    /// A row links to the block whose key it is.
    Link { steps: Vec<Step>, block: usize, key: usize },
    /// It can only be this.
    Constant(Value),
}

impl Block {
    /// All rows with the group they stand in, in the order of the file.
    pub fn rows(&self) -> Vec<(&Group, &Row)> {
        let mut rows = Vec::new();
        self.group.collect(&mut |group| rows.extend(group.rows.iter().map(|row| (group, row))));
        rows
    }

    /// All constants with the group they stand in.
    pub fn fixed(&self) -> Vec<(&Group, &Fixed)> {
        let mut fixed = Vec::new();
        self.group.collect(&mut |group| fixed.extend(group.fixed.iter().map(|f| (group, f))));
        fixed
    }

    /// The block's place in the table for messages: `[plan]`.
    pub fn title(&self) -> String {
        format!("[{}]", self.name)
    }
}

impl Group {
    /// The finding that a needed part has nothing in it.
    pub fn at_least_one(&self, place: String) -> Issue {
        let (sv, en) = ("Det krävs minst ett sådant.", "At least one is required.");
        Issue::error(Code::Required, place, sv, en).from(self.origin.clone())
    }

    fn collect<'a>(&'a self, visit: &mut dyn FnMut(&'a Group)) {
        visit(self);
        self.parts.iter().for_each(|part| part.collect(visit));
    }
}

/// Whether all guards hold for an item.
pub(super) fn holds(guards: &[Guard], document: &Value, item: &Value) -> bool {
    guards.iter().all(|guard| guard_value(guard, document, item).is_some_and(|value| *value == guard.value))
}

/// The value a guard looks at.
pub(super) fn guard_value<'v>(guard: &Guard, document: &'v Value, item: &'v Value) -> Option<&'v Value> {
    super::path::first(if guard.path.root { document } else { item }, guard.path.tail()).filter(|v| !is_absent(v))
}

/// A path by its names alone, as FHIRPath: for what is missing and so has no number.
pub(super) fn named(resource_type: &str, steps: &[Step]) -> String {
    let names = steps.iter().map(|s| &*s.name);
    std::iter::once(resource_type).chain(names).collect::<Vec<_>>().join(".")
}
