//! Resources to a document: claims and places first; then rows, guards and constants; then needs and the ledger.

use serde_json::{Map, Value};

use super::claim::{Claims, place, reference_steps};
use super::draft::{Clash, Content, Draft};
use super::ledger;
use super::path::{self, Marks, Step, Take, is_absent, walk};
use super::place::Places;
use super::plan::{Block, Fixed, Group, Guard, Link, Row, SourcePath, Table, Via};
use super::table::Only;
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
            marks: Marks::default(),
            issues,
            draft: Draft::default(),
            origins: Vec::new(),
            guarded: Vec::new(),
            copies: Vec::new(),
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
    marks: Marks,
    issues: Vec<Issue>,
    draft: Draft<'t>,
    origins: Vec<&'t str>,
    guarded: Vec<Guarded<'t>>,
    copies: Vec<Copied<'t, 'v>>,
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
            let mut elements = Vec::new();
            walk(element, &part.into, &mut Vec::new(), None, &mut |own, inner| {
                elements.push(([numbers, own].concat(), inner));
                true
            });
            let mut some = false;
            for (numbers, inner) in elements {
                if self.group(place, part, inner, &numbers) {
                    (any, some) = (true, true);
                    self.guards(&part.guard, place, &numbers, &part.origin);
                    self.mark_picks(element, &part.into, inner);
                }
            }
            if let (false, true, Some(need)) = (some, part.guard.is_empty(), &part.need) {
                let kind = place.resource.get("resourceType").and_then(Value::as_str).unwrap_or("?");
                self.issues.push(super::out::at_least_one(super::plan::named(kind, &need.fhir), part));
            }
        }
        any
    }

    /// Marks the conditions by which an element was picked.
    fn mark_picks(&self, from: &'v Value, steps: &[Step], picked: &'v Value) {
        walk(from, steps, &mut Vec::new(), Some(&self.marks), &mut |_, value| std::ptr::eq(value, picked));
    }

    fn row(&mut self, place: &Place<'v, '_>, row: &'t Row, element: &'v Value, numbers: &[u32]) -> bool {
        let Some(source) = &row.source else { return false };
        let mut found = Vec::new();
        self.values(row, element, &mut |own, value| found.push((own.to_vec(), value)));
        for (own, value) in &found {
            see(&self.marks, row.via.as_ref(), value);
            let read = match &row.via {
                None => Ok(super::convert::Made::from((*value).clone())),
                Some(via) => via.back(value),
            };
            let all = self.place_of(source, place, numbers, own);
            match read {
                Ok(made) => {
                    if let Some(note) = made.note {
                        let at = ledger::locate(place.resource, value);
                        self.issues.push(Issue::warning(Code::Value, at, note.sv, note.en).from(row.origin.clone()));
                    }
                    self.put(source, &all, made.value, &row.origin);
                }
                Err(text) => {
                    let code = if matches!(row.via, Some(Via::Codes(_))) { Code::CodeInvalid } else { Code::Value };
                    let at = ledger::locate(place.resource, value);
                    self.issues.push(Issue::error(code, at, text.sv, text.en).from(row.origin.clone()));
                }
            }
        }
        !found.is_empty()
    }

    /// The values of a row below an element, without those that stand below another branch's link.
    fn values(&self, row: &Row, element: &'v Value, found: &mut dyn FnMut(&[u32], &'v Value)) {
        let tail = row.fhir.tail();
        let split = row.below_link.as_ref().map_or(0, |b| b.depth);
        let (above, below) = tail.split_at_checked(split).unwrap_or((&[], tail));
        let mut outer = Vec::new();
        walk(element, above, &mut outer, Some(&self.marks), &mut |own, reference| {
            let others = row.below_link.as_ref().is_some_and(|b| {
                let target = self.claims.resolve(reference);
                target.is_some_and(|t| b.blocks.iter().any(|block| self.claims.has(*block, t)))
            });
            if others {
                return false;
            }
            let mut inner = own.to_vec();
            walk(reference, below, &mut inner, Some(&self.marks), &mut |own, value| {
                if is_absent(value) {
                    return false;
                }
                found(own, value);
                true
            })
        });
    }

    /// A copy is known, and held against its original when all is read.
    fn copy(&mut self, place: &Place<'v, '_>, row: &'t Row, element: &'v Value, numbers: &[u32]) -> bool {
        let mut found = Vec::new();
        if row.link.is_some() {
            let steps = reference_steps(row).get(row.fhir.at..).unwrap_or(&[]);
            walk(element, steps, &mut Vec::new(), Some(&self.marks), &mut |_, reference| {
                self.marks.see(reference);
                true
            });
            return false;
        }
        self.values(row, element, &mut |own, value| found.push((own.to_vec(), value)));
        for (own, value) in found {
            see(&self.marks, row.via.as_ref(), value);
            if let Some(source) = row.source.as_ref().filter(|_| row.guard.is_empty()) {
                let numbers = self.place_of(source, place, numbers, &own);
                self.copies.push(Copied { row, source, numbers, value, resource: place.resource });
            }
        }
        false
    }

    fn link(&mut self, place: &Place<'v, '_>, row: &'t Row, link: &Link, element: &'v Value, numbers: &[u32]) -> bool {
        let steps = reference_steps(row).get(row.fhir.at..).unwrap_or(&[]);
        let mut found = Vec::new();
        walk(element, steps, &mut Vec::new(), Some(&self.marks), &mut |own, reference| {
            let target = self.claims.resolve(reference);
            let ours = target.is_some_and(|t| self.claims.has(link.block, t));
            let logical = link.by_key && target.is_none();
            if ours || logical {
                found.push((own.to_vec(), reference, target));
            }
            ours || logical
        });
        let mut any = false;
        for (own, reference, target) in found {
            let Some(source) = row.source.as_ref() else {
                self.marks.see(reference);
                any = true;
                continue;
            };
            let Some(value) = self.key_of(link, reference, target) else { continue };
            self.marks.see(reference);
            let all = self.place_of(source, place, numbers, &own);
            self.put(source, &all, value, &row.origin);
            any = true;
        }
        any
    }

    /// The key of the resource a reference leads to, or of the one its identifier describes.
    fn key_of(&self, link: &Link, reference: &Value, target: Option<usize>) -> Option<Value> {
        let block = self.table.blocks.get(link.block)?;
        if let Some(target) = target {
            return self.claims.key(block, 0, self.claims.resources.get(target)?);
        }
        let identifier = reference.get("identifier")?.clone();
        let described = Map::from_iter([("identifier".to_owned(), Value::Array(vec![identifier]))]);
        self.claims.key(block, 0, &Value::Object(described))
    }

    fn constant(&mut self, place: &Place<'v, '_>, fixed: &'t Fixed, element: &'v Value, numbers: &[u32]) -> bool {
        if let Some(source) = fixed.source.as_ref().filter(|_| fixed.only != Only::Out) {
            let all = self.place_of(source, place, numbers, &[]);
            self.constants.push((fixed, source, all));
        }
        let Some(path) = &fixed.fhir else { return false };
        let stands = fixed.tie == 0 && fixed.guard.is_empty() && fixed.only != Only::Out;
        if stands {
            return false;
        }
        let mut equal = false;
        let mut other = Vec::new();
        walk(element, path.tail(), &mut Vec::new(), Some(&self.marks), &mut |_, value| {
            let same = *value == fixed.value;
            equal |= same;
            if same || fixed.only == Only::Out {
                self.marks.see(value);
                return true;
            }
            other.push(value);
            false
        });
        if fixed.only == Only::Out {
            return false;
        }
        if fixed.guard.is_empty() {
            for value in other {
                self.marks.see(value);
                let at = ledger::locate(place.resource, value);
                let (sv, en) = (
                    format!("Här väntades konstanten {}.", fixed.value),
                    format!("The constant {} was expected here.", fixed.value),
                );
                self.issues.push(Issue::warning(Code::Value, at, sv, en).from(fixed.origin.clone()));
            }
            return false;
        }
        if equal {
            self.guards(&fixed.guard, place, numbers, &fixed.origin);
        }
        equal
    }

    /// Writes the constants that stand alone, and those beside something that a row wrote.
    fn constants(&mut self) {
        for (fixed, source, numbers) in std::mem::take(&mut self.constants) {
            let beside = source.full.get(..fixed.source_tie).unwrap_or(&[]);
            if beside.is_empty() || self.draft.has(beside, &numbers) {
                self.put(source, &numbers, fixed.value.clone(), &fixed.origin);
            }
        }
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

    /// Notes a needed row that found nothing, in its element or in some element of its innermost list.
    fn needed(
        &mut self,
        place: &Place<'v, '_>,
        group: &'t Group,
        row: &'t Row,
        element: &'v Value,
        numbers: &[u32],
        read: bool,
    ) {
        let tail =
            if row.link.is_some() { reference_steps(row).get(row.fhir.at..).unwrap_or(&[]) } else { row.fhir.tail() };
        let inner = tail.iter().rposition(|s| s.take == Take::Each).map_or(0, |last| last + 1);
        let (outer, rest) = tail.split_at_checked(inner).unwrap_or((&[], tail));
        let mut missing = !read;
        if !outer.is_empty() && !rest.is_empty() {
            missing = false;
            walk(element, outer, &mut Vec::new(), None, &mut |_, inner| {
                missing |= path::first(inner, rest).is_none();
                true
            });
        }
        if !missing {
            return;
        }
        let kind = place.resource.get("resourceType").and_then(Value::as_str).unwrap_or("?");
        let issue = Issue::error(
            Code::Required,
            super::plan::named(kind, if row.link.is_some() { reference_steps(row) } else { &row.fhir.full }),
            "Elementet krävs.",
            "The element is required.",
        )
        .from(row.origin.clone());
        let guards: Vec<&Guard> = row.guard.iter().chain(&group.guard).collect();
        let numbers = [place.item, numbers].concat();
        self.guarded.push(Guarded { guards, numbers, issue });
    }

    /// Says which needs are not met, now that guards can be held against the document.
    fn needs(&mut self) {
        for need in std::mem::take(&mut self.guarded) {
            let holds = need.guards.iter().all(|guard| {
                let numbers = if guard.path.root { &[][..] } else { &need.numbers };
                self.draft.get_at(&guard.path.full, numbers) == Some(&guard.value)
            });
            if holds {
                self.issues.push(need.issue);
            }
        }
        for (number, block) in self.table.blocks.iter().enumerate() {
            let claimed = self.claims.pairs.iter().any(|(b, _)| *b == number);
            let meant = block
                .guard
                .iter()
                .all(|guard| block.chain.is_empty() && self.draft.get_at(&guard.path.full, &[]) == Some(&guard.value));
            if block.need && !claimed && (block.guard.is_empty() || meant) {
                self.issues.push(
                    Issue::error(
                        Code::Required,
                        block.resource_type,
                        format!("{} krävs, men ingen resurs är det.", block.title()),
                        format!("{} is required, but no resource is it.", block.title()),
                    )
                    .from(block.origin.clone()),
                );
            }
        }
        for copied in std::mem::take(&mut self.copies) {
            let Some(original) = self.draft.get_at(&copied.source.full, &copied.numbers) else { continue };
            let agrees = match &copied.row.via {
                None => original == copied.value,
                Some(via) if via.reads().is_some() => true,
                Some(via) => via.out(original).is_ok_and(|made| made.value == *copied.value),
            };
            if !agrees {
                let at = ledger::locate(copied.resource, copied.value);
                let name = path::render(&copied.source.full, &copied.numbers);
                self.issues.push(
                    Issue::warning(
                        Code::Conflict,
                        at,
                        format!("Elementet är en kopia av {name} och säger något annat; originalet gäller."),
                        format!("The element is a copy of {name} and says something else; the original is used."),
                    )
                    .from(copied.row.origin.clone()),
                );
            }
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
        let tree = self.draft.finish(&mut String::new(), &mut |_| ());
        Back { tree: tree.unwrap_or_else(|| Value::Object(Map::new())), issues: self.issues }
    }
}

/// Marks a value as read; of a converted element only the fields that the converter reads.
fn see(marks: &Marks, via: Option<&Via>, value: &Value) {
    match via.and_then(Via::reads) {
        Some(fields) => fields.iter().filter_map(|name| value.get(name)).for_each(|field| marks.see(field)),
        None => marks.see(value),
    }
}
