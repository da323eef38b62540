//! A document to resources: items and their existence, keys and ids first; then source rows, links, constants, needs.

mod items;
mod links;
mod rows;

use std::collections::HashMap;

use serde_json::Value;

use self::items::{Item, Items};
use super::draft::{Clash, Content, Draft, Told};
use super::ledger;
use super::path::{self, Marks, Step, is_absent, walk};
use super::plan::{Block, Group, Guard, SourcePath, Table, guard_value, holds};
use super::table::Only;
use super::{Ids, Mapped, Out, Trace};
use crate::fhir::issue::{Code, Issue};

impl Table {
    /// Turns a document into resources, with every finding; the trace is empty.
    pub fn out(&self, document: &Value, ids: &dyn Ids) -> Out {
        self.make(document, ids, false)
    }

    /// The same, with the origin of every element.
    pub fn explain(&self, document: &Value, ids: &dyn Ids) -> Out {
        self.make(document, ids, true)
    }

    fn make(&self, document: &Value, ids: &dyn Ids, explain: bool) -> Out {
        let mut maker = Maker {
            table: self,
            document,
            explain,
            marks: Marks::default(),
            issues: Vec::new(),
            notes: Vec::with_capacity(self.blocks.len() * 8),
            made: Vec::with_capacity(self.blocks.len()),
            known: HashMap::with_capacity(self.blocks.len()),
        };
        if maker.meant() {
            self.form.check(document, &self.name, &mut maker.issues);
            let items = maker.items(ids);
            for pass in [Pass::Source, Pass::Links, Pass::Constants] {
                maker.pass(pass, &items);
            }
            ledger::unread_fields(document, &maker.marks, &self.name, &mut maker.issues);
        }
        maker.finish()
    }
}

/// A resource under construction.
struct Made<'t> {
    block: &'t Block,
    id: String,
    /// The list numbers of its item, of the first where several are one resource.
    numbers: Vec<u32>,
    draft: Draft<'t>,
}

/// Where a value came from.
struct Note<'t> {
    origin: &'t str,
    source: Option<(&'t SourcePath, Vec<u32>)>,
    via: Option<&'t str>,
}

impl Note<'_> {
    /// The field's path with its numbers; nothing for links and constants.
    fn source(&self) -> String {
        self.source.as_ref().map_or(String::new(), |(source, numbers)| path::render(&source.full, numbers))
    }
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
    /// Whether the trace is wanted: it costs as much as the resources.
    explain: bool,
    marks: Marks,
    issues: Vec<Issue>,
    notes: Vec<Note<'t>>,
    made: Vec<Made<'t>>,
    known: HashMap<(&'static str, String), usize>,
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

    fn pass(&mut self, pass: Pass, items: &[Items<'v>]) {
        let table = self.table;
        for (block, items_of_block) in table.blocks.iter().zip(items) {
            for item in items_of_block.all() {
                if pass == Pass::Source
                    && let Some(profile) = &block.profile
                {
                    let note = self.note(&block.origin, None, None);
                    let content = Content::Value(Value::String(profile.url.clone()));
                    self.put(item.resource, &profile.steps, &[], content, note);
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
        items: &[Items<'v>],
    ) {
        if pass == Pass::Source {
            self.mark_guards(&group.guard, node);
        }
        match pass {
            Pass::Source | Pass::Links => {
                for row in group.rows.iter().filter(|r| r.only != Only::Back) {
                    let held = || holds(&row.guard, self.document, node);
                    match (&row.source, &row.link) {
                        (Some(source), _) if pass == Pass::Source && held() => {
                            self.mark_guards(&row.guard, node);
                            self.source_row(row, source, item, node, numbers, items);
                        }
                        (None, Some(link)) if pass == Pass::Links && held() => {
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
                self.issues.push(part.at_least_one(at));
            }
        }
    }

    fn put(&mut self, resource: usize, steps: &'t [Step], numbers: &[u32], content: Content<'t>, note: u32) {
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
        let (place, origin) = match self.notes.get(note as usize) {
            Some(note) if note.source.is_some() => (note.source(), note.origin),
            Some(note) => (self.element(resource, steps), note.origin),
            None => (String::new(), "?"),
        };
        self.issues.push(Issue::error(Code::Conflict, place, sv, en).from(origin));
    }

    fn note(&mut self, origin: &'t str, source: Option<(&'t SourcePath, Vec<u32>)>, via: Option<&'t str>) -> u32 {
        self.notes.push(Note { origin, source, via });
        to_u32(self.notes.len() - 1)
    }

    fn reference(&self, resource: usize) -> String {
        self.made.get(resource).map_or(String::new(), |m| [m.block.resource_type, "/", &m.id].concat())
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
        let Self { mut issues, notes, made, explain, .. } = self;
        let mut resources = Vec::with_capacity(made.len());
        let mut trace = Vec::new();
        for Made { block, id, numbers, draft } in made {
            let (reference, item) = match explain {
                true => (format!("{}/{id}", block.resource_type), path::render(&block.each, &numbers)),
                false => (String::new(), String::new()),
            };
            let object = draft.finish_resource(block.resource_type, id, &mut |told| match told {
                Told::Value(..) if !explain => {}
                Told::Value(expression, note) => {
                    let Some(note) = notes.get(note as usize) else { return };
                    trace.push(Trace {
                        expression: expression.to_string(),
                        resource: reference.clone(),
                        origin: note.origin.to_owned(),
                        block: block.origin.clone(),
                        item: item.clone(),
                        source: note.source(),
                        via: note.via.map(str::to_owned),
                    });
                }
                Told::Gap(expression) => issues.push(
                    Issue::warning(
                        Code::Structure,
                        expression.to_string(),
                        "Ett element i källans lista blir ingenting i FHIR; de som följer flyttas upp och kommer tillbaka så.",
                        "An element of the source's list becomes nothing in FHIR; those after it move up and come back so.",
                    )
                    .from(block.origin.clone()),
                ),
            });
            resources.push(Mapped { block: block.name.clone(), value: Value::Object(object) });
        }
        Out { resources, issues: ledger::bounded(issues), trace }
    }
}

/// The list numbers of a source path: of the item, the group and the row, or of the row alone from the root.
fn placed(source: &SourcePath, item: &[u32], group: &[u32], own: &[u32]) -> Vec<u32> {
    if source.root { own.to_vec() } else { [item, group, own].concat() }
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
