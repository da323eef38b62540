//! Links and constants on the way out: what a row writes without reading a field.

use std::collections::HashSet;

use serde_json::Value;

use super::items::{Item, Items};
use super::{Maker, placed};
use crate::fhir::issue::{Code, Issue};
use crate::mapping::draft::Content;
use crate::mapping::path::{self, Take};
use crate::mapping::plan::{Fixed, Link, Row, SourcePath};
use crate::mapping::table::Only;

impl<'t, 'v> Maker<'t, 'v> {
    pub(super) fn link_row(
        &mut self,
        row: &'t Row,
        link: &Link,
        item: &Item<'v>,
        numbers: &[u32],
        items: &[Items<'v>],
    ) {
        let here = [item.numbers.as_slice(), numbers].concat();
        let shared = here.get(..link.common).unwrap_or(&here);
        // Items stand in the order of their numbers, so those that share the first of them stand together.
        let all = items.get(link.block).map_or(&[][..], Items::all);
        let from = all.partition_point(|target| target.numbers.as_slice() < shared);
        let mut targets: Vec<usize> = all
            .iter()
            .skip(from)
            .take_while(|target| target.numbers.starts_with(shared))
            .map(|target| target.resource)
            .collect();
        if targets.len() > 1 {
            let mut told = HashSet::with_capacity(targets.len());
            targets.retain(|resource| told.insert(*resource));
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
            let note = self.note(&row.origin, None, None);
            self.put(item.resource, steps, &place, reference, note);
        }
    }

    pub(super) fn constant(&mut self, fixed: &'t Fixed, item: &Item<'v>, node: &'v Value, numbers: &[u32]) {
        if let Some(source) = &fixed.source
            && fixed.only != Only::Back
        {
            let place = path::render(&source.full, &placed(source, &item.numbers, numbers, &[]));
            let value = self.source_value(source, node);
            // Alone in its object, a constant beside rows does not come back: it is as unread as any field.
            if let Some(value) = value.filter(|_| !self.is_alone(fixed, source, node)) {
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
            let note = self.note(&fixed.origin, None, None);
            let content = Content::Value(fixed.value.clone());
            self.put(item.resource, &path.full, &place, content, note);
        }
    }

    /// Whether the object that rows write beside the constant has nothing else.
    fn is_alone(&self, fixed: &Fixed, source: &SourcePath, node: &'v Value) -> bool {
        let Some(beside) = source.full.get(source.at..fixed.source_tie) else { return false };
        let object = path::first(if source.root { self.document } else { node }, beside);
        let fields = object.and_then(Value::as_object);
        fields.is_some_and(|fields| fields.values().filter(|v| !path::is_absent(v)).count() < 2)
    }

    /// Whether the document has the object that a constant of the source stands in, or it stands alone.
    fn has_beside(&self, fixed: &Fixed, source: &SourcePath, node: &'v Value) -> bool {
        let Some(beside) = source.full.get(source.at..fixed.source_tie) else { return true };
        path::first(if source.root { self.document } else { node }, beside).is_some()
    }
}
