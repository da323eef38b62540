//! The items of every block that exist in a document: their keys, their ids, and the resources they begin.

use std::collections::HashMap;

use serde_json::Value;

use super::{Made, Maker};
use crate::fhir::issue::{Code, Issue};
use crate::mapping::draft::Draft;
use crate::mapping::path::{self, is_absent, walk};
use crate::mapping::plan::{Block, Group, holds};
use crate::mapping::table::Only;
use crate::mapping::{IdAsk, Ids};

/// An item of a block: one object of the document, and the resource it makes.
pub(super) struct Item<'v> {
    pub numbers: Vec<u32>,
    pub node: &'v Value,
    pub key: Option<&'v Value>,
    pub resource: usize,
}

/// The items of one block, in the order of the document.
#[derive(Default)]
pub(super) struct Items<'v> {
    all: Vec<Item<'v>>,
    by_key: HashMap<&'v str, usize>,
}

impl<'v> Items<'v> {
    fn push(&mut self, item: Item<'v>) {
        if let Some(Value::String(key)) = item.key {
            self.by_key.entry(key).or_insert(self.all.len());
        }
        self.all.push(item);
    }

    pub fn all(&self) -> &[Item<'v>] {
        &self.all
    }

    /// The first item with a key.
    pub fn with_key(&self, key: &Value) -> Option<&Item<'v>> {
        match key {
            Value::String(text) => self.all.get(*self.by_key.get(text.as_str())?),
            other => self.all.iter().find(|item| item.key == Some(other)),
        }
    }
}

impl<'t, 'v> Maker<'t, 'v> {
    /// The items of every block that exist, each with its resource begun.
    pub(super) fn items(&mut self, ids: &dyn Ids) -> Vec<Items<'v>> {
        let mut all = Vec::with_capacity(self.table.blocks.len());
        for block in &self.table.blocks {
            let mut items = Items::default();
            let mut found = Vec::new();
            if block.made {
                walk(self.document, &block.each, &mut Vec::new(), None, &mut |numbers, node| {
                    if !is_absent(node) {
                        found.push((numbers.to_vec(), node));
                    }
                    true
                });
            }
            let mut guarded = false;
            for (numbers, node) in found {
                if !holds(&block.guard, self.document, node) {
                    guarded = true;
                    continue;
                }
                self.mark_guards(&block.guard, node);
                let keys: Vec<Option<&'v Value>> = block.key.iter().map(|k| self.source_value(k, node)).collect();
                let keyed = keys.iter().any(Option::is_some);
                if !keyed && !self.has_value(&block.group, node) {
                    continue;
                }
                if !keyed && !block.key.is_empty() {
                    self.without_key(block, &numbers);
                    continue;
                }
                let resource = self.begin(block, &keys, &numbers, &items.all, ids);
                items.push(Item { numbers, node, key: keys.first().copied().flatten(), resource });
            }
            if block.need && items.all.is_empty() && (block.guard.is_empty() || !guarded) {
                self.issues.push(missing(block));
            }
            all.push(items);
        }
        all
    }

    fn without_key(&mut self, block: &'t Block, numbers: &[u32]) {
        let names: Vec<&str> = block.key.iter().map(|k| k.text.as_str()).collect();
        let names = names.join(", ");
        let each = path::render(&block.each, numbers);
        let place = if each.is_empty() || each == "." { names.clone() } else { each };
        self.issues.push(
            Issue::error(
                Code::Required,
                place,
                format!("Nyckeln saknas: {names}."),
                format!("The key is missing: {names}."),
            )
            .from(block.origin.clone()),
        );
    }

    /// Finds or begins the resource of an item.
    fn begin(
        &mut self,
        block: &'t Block,
        keys: &[Option<&Value>],
        numbers: &[u32],
        items: &[Item<'v>],
        ids: &dyn Ids,
    ) -> usize {
        let mut key = String::new();
        if let Some(parent) = block.parent.filter(|_| !block.actor).and_then(|p| self.table.blocks.get(p)) {
            let above = numbers.get(..parent.chain.len()).unwrap_or(numbers);
            if let Some(node) = path::at(self.document, &parent.each, above) {
                let keys: Vec<_> = parent.key.iter().map(|k| self.source_value(k, node)).collect();
                push_key(&mut key, &keys);
            }
        }
        push_key(&mut key, keys);
        let ask = IdAsk { resource_type: block.resource_type, block: &block.name, key: &key, actor: block.actor };
        let id = ids.id(&ask);
        let next = self.made.len();
        let known = *self.known.entry((block.resource_type, id.clone())).or_insert(next);
        if known == next {
            self.made.push(Made { block, id, numbers: numbers.to_vec(), draft: Draft::default() });
            return next;
        }
        if !block.actor && items.iter().any(|item| item.resource == known) {
            self.issues.push(
                Issue::warning(
                    Code::Duplicate,
                    path::render(&block.each, numbers),
                    "Samma nyckel som ett tidigare objekt; de blir en resurs.",
                    "The same key as an earlier item; they become one resource.",
                )
                .from(block.origin.clone()),
            );
        }
        known
    }

    /// Whether a row that counts has a value: not a copy, not one from the root, not a constant.
    fn has_value(&self, group: &Group, node: &Value) -> bool {
        let own = group.rows.iter().any(|row| {
            row.only == Only::Both
                && row.source.as_ref().is_some_and(|source| {
                    let mut has = false;
                    !source.root
                        && holds(&row.guard, self.document, node)
                        && walk(node, source.tail(), &mut Vec::new(), None, &mut |_, value| {
                            has |= !is_absent(value);
                            has
                        })
                })
        });
        own || group.parts.iter().any(|part| {
            walk(node, &part.each, &mut Vec::new(), None, &mut |_, item| {
                !is_absent(item) && holds(&part.guard, self.document, item) && self.has_value(part, item)
            })
        })
    }
}

/// Keys as one text; a bar inside a key is marked, so that two keys never read as one.
fn push_key(text: &mut String, keys: &[Option<&Value>]) {
    for key in keys {
        if !text.is_empty() {
            text.push('|');
        }
        match key {
            Some(Value::String(value)) => {
                text.reserve(value.len());
                for letter in value.chars() {
                    if matches!(letter, '\\' | '|') {
                        text.push('\\');
                    }
                    text.push(letter);
                }
            }
            Some(value) => text.push_str(&value.to_string()),
            None => {}
        }
    }
}

/// A block that must be there is not: says which fields would make it. Without `each` the first of them is its place.
fn missing(block: &Block) -> Issue {
    let needed = block.group.rows.iter().filter(|row| row.need && row.only != Only::Back);
    let needed = needed.filter_map(|row| row.source.as_ref()).filter(|path| !path.root);
    let mut fields: Vec<&str> = Vec::new();
    for path in needed.chain(&block.key) {
        if !fields.contains(&path.text.as_str()) {
            fields.push(&path.text);
        }
    }
    let first = fields.first().copied().filter(|_| block.each.is_empty());
    let (title, fields) = (block.title(), fields.join(", "));
    let (sv, en) = if fields.is_empty() {
        (
            format!("{title} krävs, men inget i dokumentet gör det."),
            format!("{title} is required, but nothing in the document makes it."),
        )
    } else {
        (format!("{title} krävs; det görs av {fields}."), format!("{title} is required; it is made of {fields}."))
    };
    Issue::error(Code::Required, first.unwrap_or(&block.each_text), sv, en).from(block.origin.clone())
}
