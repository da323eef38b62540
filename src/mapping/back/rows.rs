//! Rows on the way back: values, copies, links and constants, each from one element.

use serde_json::{Map, Value};

use super::claim::reference_steps;
use super::{Copied, Outer, Place, Reader};
use crate::fhir::issue::{Code, Issue};
use crate::mapping::convert::Made;
use crate::mapping::ledger;
use crate::mapping::path::{Marks, is_absent, walk};
use crate::mapping::plan::{Fixed, Link, Row, Via};
use crate::mapping::table::Only;

impl<'t, 'v> Reader<'t, 'v, '_> {
    pub(super) fn row(&mut self, place: &Place<'v, '_>, row: &'t Row, element: &'v Value, numbers: &[u32]) -> bool {
        let Some(source) = &row.source else { return false };
        let mut found = Vec::new();
        self.values(row, element, &mut |own, value| found.push((own.to_vec(), value)));
        for (own, value) in &found {
            see(&self.marks, row.via.as_ref(), value);
            self.within(place, row, value);
            let read = match &row.via {
                None => Ok(Made::from((*value).clone())),
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

    /// What a value says that it is within is held against the document when all is read.
    fn within(&mut self, place: &Place<'v, '_>, row: &'t Row, value: &'v Value) {
        if let Some(Via::Within(within)) = &row.via {
            self.outers.push(Outer { row, field: &within.path, value, resource: place.resource });
        }
    }

    /// A copy is known, and held against its original when all is read.
    pub(super) fn copy(&mut self, place: &Place<'v, '_>, row: &'t Row, element: &'v Value, numbers: &[u32]) -> bool {
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
            self.within(place, row, value);
            if let Some(source) = row.source.as_ref().filter(|_| row.guard.is_empty()) {
                let numbers = self.place_of(source, place, numbers, &own);
                self.copies.push(Copied { row, source, numbers, value, resource: place.resource });
            }
        }
        false
    }

    pub(super) fn link(
        &mut self,
        place: &Place<'v, '_>,
        row: &'t Row,
        link: &Link,
        element: &'v Value,
        numbers: &[u32],
    ) -> bool {
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

    pub(super) fn constant(
        &mut self,
        place: &Place<'v, '_>,
        fixed: &'t Fixed,
        element: &'v Value,
        numbers: &[u32],
    ) -> bool {
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
}

/// Marks a value as read; of a converted element only the fields that the converter reads.
fn see(marks: &Marks, via: Option<&Via>, value: &Value) {
    match via.and_then(Via::reads) {
        Some(fields) => fields.iter().filter_map(|name| value.get(name)).for_each(|field| marks.see(field)),
        None => marks.see(value),
    }
}
