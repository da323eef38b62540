//! A document to resources: items and their existence, keys and ids first; then source rows, links, constants, needs.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::draft::{Clash, Content, Draft, Told};
use super::ledger;
use super::path::{self, Marks, Step, Take, is_absent, walk};
use super::plan::{Block, Fixed, Group, Guard, Link, Row, SourcePath, Table, Via, guard_value, holds};
use super::table::Only;
use super::{IdAsk, Ids, Mapped, Out, Trace};
use crate::fhir::issue::{Code, Issue};
use crate::fhir::r4;

impl Table {
    /// Turns a document into resources, with every finding and the origin of every element.
    pub fn out(&self, document: &Value, ids: &dyn Ids) -> Out {
        let mut maker = Maker {
            table: self,
            document,
            marks: Marks::default(),
            issues: Vec::new(),
            notes: Vec::new(),
            made: Vec::new(),
        };
        if maker.meant() {
            let items = maker.items(ids);
            for pass in [Pass::Source, Pass::Links, Pass::Constants] {
                maker.pass(pass, &items);
            }
            ledger::unread_fields(document, &maker.marks, &self.name, &mut maker.issues);
        }
        maker.finish()
    }
}

/// An item of a block: one object of the document, and the resource it makes.
struct Item<'v> {
    numbers: Vec<u32>,
    node: &'v Value,
    key: Option<&'v Value>,
    resource: usize,
}

/// A resource under construction.
struct Made<'t> {
    block: &'t Block,
    id: String,
    draft: Draft<'t>,
}

/// Where a value came from.
struct Note<'t> {
    origin: &'t str,
    source: String,
    via: Option<&'t str>,
}

#[derive(Clone, Copy, PartialEq)]
enum Pass {
    Source,
    Links,
    Constants,
}

struct Maker<'t, 'v> {
    table: &'t Table,
    document: &'v Value,
    marks: Marks,
    issues: Vec<Issue>,
    notes: Vec<Note<'t>>,
    made: Vec<Made<'t>>,
}

impl<'t, 'v> Maker<'t, 'v> {
    /// Whether the table is meant for the document at all.
    fn meant(&mut self) -> bool {
        let holds = holds(&self.table.guard, self.document, self.document);
        self.mark_guards(&self.table.guard, self.document);
        if !holds {
            for guard in &self.table.guard {
                self.issues.push(
                    Issue::error(
                        Code::NotSupported,
                        guard.path.text.clone(),
                        format!("Tabellen gäller bara när fältet är {}.", guard.value),
                        format!("The table is only for when the field is {}.", guard.value),
                    )
                    .from(self.table.name.clone()),
                );
            }
        }
        holds
    }

    /// The items of every block that exist, each with its resource begun.
    fn items(&mut self, ids: &dyn Ids) -> Vec<Vec<Item<'v>>> {
        let mut all = Vec::with_capacity(self.table.blocks.len());
        for block in &self.table.blocks {
            let mut items: Vec<Item<'v>> = Vec::new();
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
                let resource = self.begin(block, &keys, &numbers, &items, ids);
                items.push(Item { numbers, node, key: keys.first().copied().flatten(), resource });
            }
            if block.need && items.is_empty() && (block.guard.is_empty() || !guarded) {
                self.issues.push(missing(block));
            }
            all.push(items);
        }
        all
    }

    fn without_key(&mut self, block: &'t Block, numbers: &[u32]) {
        let names: Vec<&str> = block.key.iter().map(|k| k.text.as_str()).collect();
        let names = names.join(", ");
        self.issues.push(
            Issue::error(
                Code::Required,
                path::render(&block.each, numbers),
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
        let known = self.made.iter().position(|m| m.id == id && m.block.resource_type == block.resource_type);
        let Some(known) = known else {
            self.made.push(Made { block, id, draft: Draft::default() });
            return self.made.len() - 1;
        };
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

    fn pass(&mut self, pass: Pass, items: &[Vec<Item<'v>>]) {
        let table = self.table;
        for (block, items_of_block) in table.blocks.iter().zip(items) {
            for item in items_of_block {
                if pass == Pass::Source
                    && let Some(profile) = &block.profile
                {
                    let note = self.note(&block.origin, String::new(), None);
                    let content = Content::Value(Value::String(profile.url.clone()));
                    self.put(item.resource, &profile.steps, &[], content, note, &block.origin, "meta.profile");
                }
                self.group(pass, &block.group, item, item.node, &mut Vec::new(), items);
            }
        }
    }

    fn group(
        &mut self,
        pass: Pass,
        group: &'t Group,
        item: &Item<'v>,
        node: &'v Value,
        numbers: &mut Vec<u32>,
        items: &[Vec<Item<'v>>],
    ) {
        if pass == Pass::Source {
            self.mark_guards(&group.guard, node);
        }
        match pass {
            Pass::Source | Pass::Links => {
                for row in group.rows.iter().filter(|r| r.only != Only::Back) {
                    if !holds(&row.guard, self.document, node) {
                        continue;
                    }
                    match (&row.source, &row.link) {
                        (Some(source), _) if pass == Pass::Source => {
                            self.mark_guards(&row.guard, node);
                            self.source_row(row, source, item, node, numbers, items);
                        }
                        (None, Some(link)) if pass == Pass::Links => {
                            self.mark_guards(&row.guard, node);
                            self.link_row(row, link, item, numbers, items);
                        }
                        _ => {}
                    }
                }
            }
            Pass::Constants => {
                for fixed in &group.fixed {
                    if holds(&fixed.guard, self.document, node) {
                        self.mark_guards(&fixed.guard, node);
                        self.constant(fixed, item, node, numbers);
                    }
                }
            }
        }
        for part in &group.parts {
            let mut any = false;
            walk(node, &part.each, &mut Vec::new(), None, &mut |own, inner| {
                if !is_absent(inner) && holds(&part.guard, self.document, inner) {
                    any = true;
                    let length = numbers.len();
                    numbers.extend_from_slice(own);
                    self.group(pass, part, item, inner, numbers, items);
                    numbers.truncate(length);
                }
                true
            });
            if let (Pass::Source, false, Some(need)) = (pass, any, &part.need) {
                let at = path::render(&need.source, &[item.numbers.as_slice(), numbers].concat());
                self.issues.push(at_least_one(at, part));
            }
        }
    }

    fn source_row(
        &mut self,
        row: &'t Row,
        source: &'t SourcePath,
        item: &Item<'v>,
        node: &'v Value,
        numbers: &[u32],
        items: &[Vec<Item<'v>>],
    ) {
        let from = if source.root { self.document } else { node };
        let mut any = false;
        walk(from, source.tail(), &mut Vec::new(), None, &mut |own, value| {
            if !is_absent(value) {
                any = true;
                self.marks.see(value);
                self.write(row, source, item, numbers, own, value, items);
            }
            true
        });
        if row.need {
            self.missing(row, source, item, from, numbers, any);
        }
    }

    /// Writes one value where its row says.
    #[expect(clippy::too_many_arguments, reason = "the place of a value is its item and two lists of numbers")]
    fn write(
        &mut self,
        row: &'t Row,
        source: &'t SourcePath,
        item: &Item<'v>,
        group: &[u32],
        own: &[u32],
        value: &Value,
        items: &[Vec<Item<'v>>],
    ) {
        let place = || rendered(source, &item.numbers, group, own);
        let content = if let Some(link) = &row.link {
            let targets = items.get(link.block).map_or(&[][..], Vec::as_slice);
            let Some(target) = targets.iter().find(|t| t.key == Some(value)) else {
                let name = self.table.blocks.get(link.block).map_or("?", |b| b.name.as_str());
                self.issues.push(
                    Issue::error(
                        Code::NotFound,
                        place(),
                        format!("Inget [{name}] i dokumentet har det värdet."),
                        format!("No [{name}] in the document has that value."),
                    )
                    .from(row.origin.clone()),
                );
                return;
            };
            Content::Value(Value::String(self.reference(target.resource)))
        } else if let Some(via) = &row.via {
            match self.converted(row, via, value, &place) {
                Some(content) => content,
                None => return,
            }
        } else {
            if !row.fhir.class.admits(value) {
                let (sv, en) = row.fhir.class.words();
                self.issues.push(
                    Issue::error(
                        Code::Value,
                        place(),
                        format!("Värdet ska vara {sv}."),
                        format!("The value should be {en}."),
                    )
                    .from(row.origin.clone()),
                );
                return;
            }
            Content::Value(value.clone())
        };
        let note = self.note(&row.origin, place(), row.via.as_ref().map(Via::name));
        let all: Cow<'_, [u32]> = if own.is_empty() { Cow::Borrowed(group) } else { Cow::Owned([group, own].concat()) };
        self.put(item.resource, &row.fhir.full, &all, content, note, &row.origin, &place());
    }

    /// Converts a value and says at once how it comes back.
    fn converted(&mut self, row: &'t Row, via: &Via, value: &Value, place: &dyn Fn() -> String) -> Option<Content<'t>> {
        let made = match via.out(value) {
            Ok(made) => made,
            Err(text) => {
                let code = if matches!(via, Via::Codes(_)) { Code::CodeInvalid } else { Code::Value };
                self.issues.push(Issue::error(code, place(), text.sv, text.en).from(row.origin.clone()));
                return None;
            }
        };
        if let Some(text) = made.note {
            self.issues.push(Issue::warning(Code::Value, place(), text.sv, text.en).from(row.origin.clone()));
        }
        if row.only == Only::Both {
            self.comes_back(row, via, value, &made.value, place);
        }
        if via.reads().is_none() {
            if row.fhir.class.admits(&made.value) {
                return Some(Content::Value(made.value));
            }
            let (sv, en) = row.fhir.class.words();
            let (sv, en) = (format!("Värdet ska bli {sv}."), format!("The value should become {en}."));
            self.issues.push(Issue::error(Code::Value, place(), sv, en).from(row.origin.clone()));
            return None;
        }
        let Value::Object(fields) = made.value else { return None };
        let place = |name: &str| r4::find(row.fhir.type_code, name).map_or(u32::MAX, |f| to_u32(f.position));
        Some(Content::Element(fields.into_iter().map(|(name, v)| (place(&name), Cow::Owned(name), v)).collect()))
    }

    fn comes_back(&mut self, row: &Row, via: &Via, value: &Value, made: &Value, place: &dyn Fn() -> String) {
        let (sv, en) = match via.back(made) {
            Ok(back) if back.value == *value => return,
            Ok(back) => match back.value.as_str().filter(|_| !via.personal()) {
                Some(text) => (format!("Kommer tillbaka som {text}."), format!("Comes back as {text}.")),
                None => ("Kommer tillbaka annorlunda.".into(), "Comes back as something else.".into()),
            },
            Err(_) => ("Kommer inte tillbaka.".to_owned(), "Does not come back.".to_owned()),
        };
        self.issues.push(Issue::warning(Code::Value, place(), sv, en).from(row.origin.clone()));
    }

    /// Says where a needed field is missing: in its item, or in each element of the innermost list.
    fn missing(&mut self, row: &Row, source: &SourcePath, item: &Item<'v>, from: &'v Value, group: &[u32], any: bool) {
        let tail = source.tail();
        let inner = tail.iter().rposition(|s| s.take == Take::Each).map_or(0, |last| last + 1);
        let (outer, rest) = tail.split_at_checked(inner).unwrap_or((&[], tail));
        let mut places = Vec::new();
        if outer.is_empty() || rest.is_empty() {
            if !any {
                places.push(Vec::new());
            }
        } else {
            walk(from, outer, &mut Vec::new(), None, &mut |own, element| {
                if !is_absent(element) && path::first(element, rest).is_none() {
                    places.push(own.to_vec());
                }
                true
            });
        }
        for own in places {
            self.issues.push(
                Issue::error(
                    Code::Required,
                    rendered(source, &item.numbers, group, &own),
                    "Fältet krävs.",
                    "The field is required.",
                )
                .from(row.origin.clone()),
            );
        }
    }

    fn link_row(&mut self, row: &'t Row, link: &Link, item: &Item<'v>, numbers: &[u32], items: &[Vec<Item<'v>>]) {
        let here = [item.numbers.as_slice(), numbers].concat();
        let shared = here.get(..link.common).unwrap_or(&here);
        let mut targets: Vec<usize> = Vec::new();
        for target in items.get(link.block).map_or(&[][..], Vec::as_slice) {
            if target.numbers.starts_with(shared) && !targets.contains(&target.resource) {
                targets.push(target.resource);
            }
        }
        if targets.is_empty() && row.need {
            let name = self.table.blocks.get(link.block).map_or("?", |b| b.name.as_str());
            self.issues.push(
                Issue::error(
                    Code::Required,
                    self.element(item.resource, &row.fhir.full),
                    format!("Det finns inget [{name}] att peka på."),
                    format!("There is no [{name}] to point at."),
                )
                .from(row.origin.clone()),
            );
        }
        if targets.len() > 1 && !link.appends {
            self.issues.push(
                Issue::error(
                    Code::Conflict,
                    self.element(item.resource, &row.fhir.full),
                    "Flera resurser för en enda referens.",
                    "Several resources for a single reference.",
                )
                .from(row.origin.clone()),
            );
            targets.truncate(1);
        }
        let steps = &row.fhir.full;
        let list = steps.iter().rposition(|s| s.take == Take::Each).and_then(|last| steps.get(..=last)).unwrap_or(&[]);
        let mut place = numbers.to_vec();
        for target in targets {
            let reference = Content::Value(Value::String(self.reference(target)));
            if link.appends {
                let next = self.made.get(item.resource).map_or(0, |m| m.draft.count(list, numbers));
                place.truncate(numbers.len());
                place.push(next);
            }
            let note = self.note(&row.origin, String::new(), None);
            self.put(item.resource, steps, &place, reference, note, &row.origin, &row.fhir.text);
        }
    }

    fn constant(&mut self, fixed: &'t Fixed, item: &Item<'v>, node: &'v Value, numbers: &[u32]) {
        if let Some(source) = &fixed.source
            && fixed.only != Only::Back
        {
            let place = rendered(source, &item.numbers, numbers, &[]);
            let value = self.source_value(source, node);
            if let Some(value) = value {
                self.marks.see(value);
            }
            if value.is_some_and(|value| *value != fixed.value) {
                let (sv, en) =
                    (format!("Värdet ska vara {}.", fixed.value), format!("The value should be {}.", fixed.value));
                self.issues.push(Issue::error(Code::Value, place, sv, en).from(fixed.origin.clone()));
            } else if value.is_none() && fixed.only == Only::Both && self.has_beside(fixed, source, node) {
                let (sv, en) =
                    (format!("Kommer tillbaka som {}.", fixed.value), format!("Comes back as {}.", fixed.value));
                self.issues.push(Issue::warning(Code::Value, place, sv, en).from(fixed.origin.clone()));
            }
        }
        let Some(path) = fixed.fhir.as_ref().filter(|_| fixed.only != Only::Back) else { return };
        let mut places = Vec::new();
        if fixed.tie == 0 {
            places.push(numbers.to_vec());
        } else if let Some(made) = self.made.get(item.resource) {
            let shared = path.full.get(..fixed.tie).unwrap_or(&[]);
            made.draft.made(shared, &mut Vec::new(), &mut |found| {
                if found.starts_with(numbers) || numbers.starts_with(found) {
                    places.push(found.to_vec());
                }
            });
        }
        for place in places {
            let note = self.note(&fixed.origin, String::new(), None);
            let content = Content::Value(fixed.value.clone());
            self.put(item.resource, &path.full, &place, content, note, &fixed.origin, &path.text);
        }
    }

    /// Whether the document has the object that a constant of the source stands in, or it stands alone.
    fn has_beside(&self, fixed: &Fixed, source: &SourcePath, node: &'v Value) -> bool {
        let Some(beside) = source.full.get(source.at..fixed.source_tie) else { return true };
        path::first(if source.root { self.document } else { node }, beside).is_some()
    }

    #[expect(clippy::too_many_arguments, reason = "one call for all that is written, with what a clash must say")]
    fn put(
        &mut self,
        resource: usize,
        steps: &'t [Step],
        numbers: &[u32],
        content: Content<'t>,
        note: u32,
        origin: &str,
        place: &str,
    ) {
        let Some(made) = self.made.get_mut(resource) else { return };
        let (sv, en) = match made.draft.put(steps, numbers, content, note) {
            Ok(()) => return,
            Err(Clash::Other(other)) => {
                let other = self.notes.get(other as usize).map_or("?", |n| n.origin);
                (
                    format!("Ett annat värde står redan i samma element, från {other}."),
                    format!("Another value already stands in the same element, from {other}."),
                )
            }
            Err(Clash::Unpicked) => (
                "Elementets system finns inte bland dem som namnet i hakparentes läser.".to_owned(),
                "The element's system is not among those that the name in brackets reads.".to_owned(),
            ),
        };
        self.issues.push(Issue::error(Code::Conflict, place, sv, en).from(origin));
    }

    fn note(&mut self, origin: &'t str, source: String, via: Option<&'t str>) -> u32 {
        self.notes.push(Note { origin, source, via });
        to_u32(self.notes.len() - 1)
    }

    fn reference(&self, resource: usize) -> String {
        self.made.get(resource).map_or(String::new(), |m| format!("{}/{}", m.block.resource_type, m.id))
    }

    fn element(&self, resource: usize, steps: &[Step]) -> String {
        let kind = self.made.get(resource).map_or("?", |m| m.block.resource_type);
        let element = steps.split_last().map_or(steps, |(_, element)| element);
        super::plan::named(kind, element)
    }

    fn source_value(&self, source: &SourcePath, node: &'v Value) -> Option<&'v Value> {
        path::first(if source.root { self.document } else { node }, source.tail())
    }

    fn mark_guards(&self, guards: &[Guard], node: &Value) {
        for guard in guards {
            if let Some(value) = guard_value(guard, self.document, node) {
                self.marks.see(value);
            }
        }
    }

    fn finish(self) -> Out {
        let Self { mut issues, notes, made, .. } = self;
        let mut resources = Vec::with_capacity(made.len());
        let mut trace = Vec::with_capacity(notes.len());
        for Made { block, id, draft } in made {
            let reference = format!("{}/{id}", block.resource_type);
            let mut object = Map::new();
            object.insert("resourceType".to_owned(), Value::String(block.resource_type.to_owned()));
            object.insert("id".to_owned(), Value::String(id));
            let mut path = block.resource_type.to_owned();
            let finished = draft.finish(&mut path, &mut |told| match told {
                Told::Value(expression, note) => {
                    let Some(note) = notes.get(note as usize) else { return };
                    trace.push(Trace {
                        expression: expression.to_owned(),
                        resource: reference.clone(),
                        origin: note.origin.to_owned(),
                        source: note.source.clone(),
                        via: note.via.map(str::to_owned),
                    });
                }
                Told::Gap(expression) => issues.push(
                    Issue::warning(
                        Code::Structure,
                        expression,
                        "Ett element i källans lista blir ingenting i FHIR; de som följer flyttas upp och kommer tillbaka så.",
                        "An element of the source's list becomes nothing in FHIR; those after it move up and come back so.",
                    )
                    .from(block.origin.clone()),
                ),
            });
            if let Some(Value::Object(fields)) = finished {
                object.extend(fields);
            }
            resources.push(Mapped { block: block.name.clone(), value: Value::Object(object) });
        }
        Out { resources, issues, trace }
    }
}

/// The source path with all its numbers.
fn rendered(source: &SourcePath, item: &[u32], group: &[u32], own: &[u32]) -> String {
    if source.root {
        return path::render(&source.full, own);
    }
    path::render(&source.full, &[item, group, own].concat())
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Keys as one text; a bar inside a key is marked, so that two keys never read as one.
fn push_key(text: &mut String, keys: &[Option<&Value>]) {
    for key in keys {
        if !text.is_empty() {
            text.push('|');
        }
        match key {
            Some(Value::String(value)) => text.push_str(&value.replace('\\', "\\\\").replace('|', "\\|")),
            Some(value) => text.push_str(&value.to_string()),
            None => {}
        }
    }
}

/// A list that must have something in it has nothing.
pub(super) fn at_least_one(place: String, part: &Group) -> Issue {
    let (sv, en) = ("Det krävs minst ett sådant.", "At least one is required.");
    Issue::error(Code::Required, place, sv, en).from(part.origin.clone())
}

/// A block that must be there is not: says which fields would make it. Without `each` the first of them is its place.
fn missing(block: &Block) -> Issue {
    let rows = block.group.rows.iter().filter(|row| row.need && row.only != Only::Back);
    let needed = rows.filter_map(|row| row.source.as_ref());
    let mut fields: Vec<&str> = Vec::new();
    for path in needed.filter(|path| !path.root).chain(&block.key) {
        if !fields.contains(&path.text.as_str()) {
            fields.push(&path.text);
        }
    }
    let place =
        if block.each.is_empty() { fields.first().copied().unwrap_or(&block.each_text) } else { &block.each_text };
    let (title, fields) = (block.title(), fields.join(", "));
    let (sv, en) = if fields.is_empty() {
        (
            format!("{title} krävs, men inget i dokumentet gör det."),
            format!("{title} is required, but nothing in the document makes it."),
        )
    } else {
        (format!("{title} krävs; det görs av {fields}."), format!("{title} is required; it is made of {fields}."))
    };
    Issue::error(Code::Required, place, sv, en).from(block.origin.clone())
}
