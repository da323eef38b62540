//! What can be said only when all is read: constants beside what rows wrote, needs under guards, copies against their
//! originals.

use serde_json::Value;

use super::claim::reference_steps;
use super::{Guarded, Place, Reader};
use crate::fhir::issue::{Code, Issue};
use crate::mapping::ledger;
use crate::mapping::path::{self, Take, walk};
use crate::mapping::plan::{Group, Guard, Row, Via, named};
use crate::mapping::within;

impl<'t, 'v> Reader<'t, 'v, '_> {
    /// Writes the constants that stand alone, and those beside something that a row wrote.
    pub(super) fn constants(&mut self) {
        for (fixed, source, numbers) in std::mem::take(&mut self.constants) {
            let beside = source.full.get(..fixed.source_tie).unwrap_or(&[]);
            if beside.is_empty() || self.draft.has(beside, &numbers) {
                self.put(source, &numbers, fixed.value.clone(), &fixed.origin);
            }
        }
    }

    /// Notes a needed row that found nothing, in its element or in some element of its innermost list.
    pub(super) fn needed(
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
            named(kind, if row.link.is_some() { reference_steps(row) } else { &row.fhir.full }),
            "Elementet krävs.",
            "The element is required.",
        )
        .from(row.origin.clone());
        let guards: Vec<&Guard> = row.guard.iter().chain(&group.guard).collect();
        let numbers = [place.item, numbers].concat();
        self.guarded.push(Guarded { guards, numbers, issue });
    }

    /// Says which needs are not met, now that guards can be held against the document.
    pub(super) fn needs(&mut self) {
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
        for outer in std::mem::take(&mut self.outers) {
            let own = self.draft.get_at(&outer.field.full, &[]).and_then(Value::as_str);
            let said = within::parts(outer.value).map(|(said, _)| said);
            if own.is_none() || said.is_none() || own == said {
                continue;
            }
            let name = &outer.field.text;
            let at = ledger::locate(outer.resource, outer.value);
            self.issues.push(
                Issue::error(
                    Code::Conflict,
                    at,
                    format!("Det som står före | är inte dokumentets {name}; elementet hör till ett annat dokument."),
                    format!(
                        "What stands before | is not the document's {name}; the element belongs to another document."
                    ),
                )
                .from(outer.row.origin.clone()),
            );
        }
        for copied in std::mem::take(&mut self.copies) {
            let Some(original) = self.draft.get_at(&copied.source.full, &copied.numbers) else { continue };
            let agrees = match &copied.row.via {
                None => original == copied.value,
                Some(via) if via.reads().is_some() => true,
                // What it is within has been held against the document above.
                Some(Via::Within(within)) => within.back(copied.value).is_ok_and(|made| made.value == *original),
                Some(via) => via.out(original, &Value::Null).is_ok_and(|made| made.value == *copied.value),
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
}
