//! Source rows on the way out: each value converted, held against its element's type, and written.

use std::borrow::Cow;

use serde_json::Value;

use super::items::{Item, Items};
use super::{Maker, placed, to_u32};
use crate::fhir::issue::{Code, Issue};
use crate::fhir::r4;
use crate::mapping::draft::Content;
use crate::mapping::path::{self, Take, is_absent, walk};
use crate::mapping::plan::{Row, SourcePath, Via};
use crate::mapping::table::Only;

impl<'t, 'v> Maker<'t, 'v> {
    pub(super) fn source_row(
        &mut self,
        row: &'t Row,
        source: &'t SourcePath,
        item: &Item<'v>,
        node: &'v Value,
        numbers: &[u32],
        items: &[Items<'v>],
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
        items: &[Items<'v>],
    ) {
        let numbers = placed(source, &item.numbers, group, own);
        let place = || path::render(&source.full, &numbers);
        let content = if let Some(link) = &row.link {
            let Some(target) = items.get(link.block).and_then(|targets| targets.with_key(value)) else {
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
        let note = self.note(&row.origin, Some((source, numbers)), row.via.as_ref().map(Via::name));
        let all: Cow<'_, [u32]> = if own.is_empty() { Cow::Borrowed(group) } else { Cow::Owned([group, own].concat()) };
        self.put(item.resource, &row.fhir.full, &all, content, note);
    }

    /// Converts a value and says at once how it comes back.
    fn converted(&mut self, row: &'t Row, via: &Via, value: &Value, place: &dyn Fn() -> String) -> Option<Content<'t>> {
        let made = match via.out(value, self.document) {
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
                    path::render(&source.full, &placed(source, &item.numbers, group, &own)),
                    "Fältet krävs.",
                    "The field is required.",
                )
                .from(row.origin.clone()),
            );
        }
    }
}
