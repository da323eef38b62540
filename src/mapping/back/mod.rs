//! Resources to a document: claims and places first; then rows, guards and constants; then needs and the ledger.

mod claim;
mod needs;
mod place;
mod rows;

use std::rc::Rc;

use serde_json::{Map, Value};

use self::claim::{Claims, place};
use self::place::Places;
use super::draft::{Clash, Content, Draft};
use super::ledger;
use super::path::{self, Marks, walk};
use super::plan::{Block, Fixed, Group, Guard, Row, SourcePath, Table};
use super::table::Only;
use super::trail::Trail;
use crate::fhir::canonical::RESOURCE_ID;
use crate::fhir::issue::{Code, Issue};

/// A document read back, and what is to be said about it.
#[derive(Debug)]
pub struct Back {
    pub tree: Value,
    pub issues: Vec<Issue>,
}

impl Table {
    /// Reads a document back from resources in any order, which may hold more than the table writes.
    pub fn back(&self, resources: &[Value]) -> Back {
        let mut issues = Vec::new();
        let claims = Claims::new(self, resources, &mut issues);
        let places = Places::new(self, &claims, &mut issues);
        let mut reader = Reader {
            table: self,
            claims: &claims,
            marks: Rc::default(),
            issues,
            draft: Draft::default(),
            origins: Vec::new(),
            guarded: Vec::new(),
            copies: Vec::new(),
            outers: Vec::new(),
            constants: Vec::new(),
        };
        for guard in &self.guard {
            reader.put(&guard.path, &[], guard.value.clone(), &self.name);
        }
        for (claim, (block, resource)) in claims.pairs.iter().enumerate() {
            let (Some(block), Some(resource)) = (self.blocks.get(*block), resources.get(*resource)) else { continue };
            reader.known(block, resource);
            for numbers in places.numbers(claim) {
                for guard in &block.guard {
                    reader.put(&guard.path, &numbers, guard.value.clone(), &block.origin);
                }
                reader.group(&Place { resource, item: &numbers }, &block.group, resource, &[]);
            }
        }
        reader.constants();
        reader.needs();
        reader.finish()
    }
}

/// Where a row reads: a resource, and the item it is.
struct Place<'v, 'n> {
    resource: &'v Value,
    item: &'n [u32],
}

/// A need that holds only if its guards turn out to.
struct Guarded<'t> {
    guards: Vec<&'t Guard>,
    numbers: Vec<u32>,
    issue: Issue,
}

/// What stood before a value that is unique only within a field of the document.
struct Outer<'t, 'v> {
    row: &'t Row,
    field: &'t SourcePath,
    value: &'v Value,
    resource: &'v Value,
}

/// A copy, to be held against its original.
struct Copied<'t, 'v> {
    row: &'t Row,
    source: &'t SourcePath,
    numbers: Vec<u32>,
    value: &'v Value,
    resource: &'v Value,
}

struct Reader<'t, 'v, 'c> {
    table: &'t Table,
    claims: &'c Claims<'t, 'v>,
    /// Shared with the walk that a part's elements are read in.
    marks: Rc<Marks>,
    issues: Vec<Issue>,
    draft: Draft<'t>,
    origins: Vec<&'t str>,
    guarded: Vec<Guarded<'t>>,
    copies: Vec<Copied<'t, 'v>>,
    outers: Vec<Outer<'t, 'v>>,
    /// Constants of the source, written when it is known which objects rows have made.
    constants: Vec<(&'t Fixed, &'t SourcePath, Vec<u32>)>,
}

impl<'t, 'v> Reader<'t, 'v, '_> {
    /// What every resource may have without a row: what servers and the gateway itself add, and what it was known by.
    fn known(&self, block: &Block, resource: &Value) {
        if let Some(meta) = resource.get("meta") {
            ["versionId", "lastUpdated", "source"].iter().filter_map(|n| meta.get(n)).for_each(|v| self.marks.see(v));
            if let (Some(profile), Some(Value::Array(list))) = (&block.profile, meta.get("profile")) {
                let ours = |v: &&Value| v.as_str().is_some_and(|url| url.split('|').next() == Some(&profile.url));
                list.iter().filter(ours).for_each(|v| self.marks.see(v));
            }
        }
        if let Some(Value::Array(list)) = resource.get("identifier") {
            let ours = list.iter().filter(|i| i.get("system").and_then(Value::as_str) == Some(RESOURCE_ID));
            ours.for_each(|identifier| self.marks.see(identifier));
        }
        for standing in &block.standing {
            walk(resource, &standing.cond, &mut Vec::new(), Some(&self.marks), &mut |_, value| {
                let hit = *value == standing.value;
                if hit {
                    self.marks.see(value);
                }
                hit
            });
        }
    }

    /// Reads a group's rows from one element; returns whether anything was there for it.
    fn group(&mut self, place: &Place<'v, '_>, group: &'t Group, element: &'v Value, numbers: &[u32]) -> bool {
        let mut any = false;
        for row in &group.rows {
            if row.only == Only::Out {
                any |= self.copy(place, row, element, numbers);
                continue;
            }
            let before = self.issues.len();
            let read = match &row.link {
                Some(link) => self.link(place, row, link, element, numbers),
                None => self.row(place, row, element, numbers),
            };
            if read {
                self.guards(&row.guard, place, numbers, &row.origin);
            }
            // A value that could not be read has its finding; it is not missing as well.
            if row.need && self.issues.len() == before {
                self.needed(place, group, row, element, numbers, read);
            }
            any |= read;
        }
        for fixed in &group.fixed {
            any |= self.constant(place, fixed, element, numbers);
        }
        for part in &group.parts {
            let mut some = false;
            let marks = Rc::clone(&self.marks);
            walk(element, &part.into, &mut numbers.to_vec(), Some(&marks), &mut |numbers, inner| {
                let read = self.group(place, part, inner, numbers);
                if read {
                    some = true;
                    self.guards(&part.guard, place, numbers, &part.origin);
                }
                read
            });
            any |= some;
            if let (false, true, Some(need)) = (some, part.guard.is_empty(), &part.need) {
                let kind = place.resource.get("resourceType").and_then(Value::as_str).unwrap_or("?");
                self.issues.push(part.at_least_one(super::plan::named(kind, &need.fhir)));
            }
        }
        any
    }

    fn guards(&mut self, guards: &'t [Guard], place: &Place<'v, '_>, numbers: &[u32], origin: &'t str) {
        for guard in guards {
            let all = self.place_of(&guard.path, place, numbers, &[]);
            self.put(&guard.path, &all, guard.value.clone(), origin);
        }
    }

    /// The list numbers of a source path: from the item, or of the row alone for a path from the root.
    fn place_of(&self, source: &SourcePath, place: &Place<'v, '_>, group: &[u32], own: &[u32]) -> Vec<u32> {
        if source.root { own.to_vec() } else { [place.item, group, own].concat() }
    }

    fn put(&mut self, source: &'t SourcePath, numbers: &[u32], value: Value, origin: &'t str) {
        self.origins.push(origin);
        let note = u32::try_from(self.origins.len() - 1).unwrap_or(u32::MAX);
        let content = match value {
            Value::Object(fields) if source.full.is_empty() => {
                let field = |(name, value): (String, Value)| (u32::MAX, name.into(), value);
                Content::Element(fields.into_iter().map(field).collect())
            }
            value => Content::Value(value),
        };
        if let Err(clash) = self.draft.put(&source.full, numbers, content, note) {
            let other = match clash {
                Clash::Other(other) => self.origins.get(other as usize).copied().unwrap_or("?"),
                Clash::Unpicked => "?",
            };
            self.issues.push(
                Issue::error(
                    Code::Conflict,
                    path::render(&source.full, numbers),
                    format!("Resurserna är inte överens: {other} gav ett annat värde."),
                    format!("The resources do not agree: {other} gave another value."),
                )
                .from(origin),
            );
        }
    }

    fn finish(mut self) -> Back {
        let mut told = vec![false; self.claims.resources.len()];
        for (_, number) in &self.claims.pairs {
            let (Some(resource), Some(told)) = (self.claims.resources.get(*number), told.get_mut(*number)) else {
                continue;
            };
            if !std::mem::replace(told, true) {
                ledger::unread_elements(resource, &self.marks, &place(Some(resource)), &mut self.issues);
            }
        }
        let tree = self.draft.finish(&Trail::Root(""), &mut |_| ());
        Back { tree: tree.unwrap_or_else(|| Value::Object(Map::new())), issues: ledger::bounded(self.issues) }
    }
}
