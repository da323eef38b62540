//! A block and its parts: what they are about, their profile, and what R4 wants of them as a whole.

use super::element::{self, Choice, End, Scope};
use super::source::Base;
use super::{ACTORS, Compiler, error, rules};
use crate::fhir::canonical::BASE;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::r4;
use crate::mapping::near;
use crate::mapping::path::{Step, Take, lists};
use crate::mapping::plan::{Block, Group, Guard, Need, Profile};
use crate::mapping::table::{AliasText, BlockText, GroupText, Only};

impl Compiler<'_> {
    pub(super) fn block(&mut self, number: usize, text: &BlockText) -> Option<Block> {
        let place = r4::resources().iter().find(|r| **r == text.resource_type);
        let Some(resource_type) = place else {
            let (sv, en) = near::hint(&text.resource_type, r4::resources().iter().copied());
            let name = &text.resource_type;
            self.issues.push(
                Issue::error(
                    Code::NotFound,
                    "type",
                    format!("Resurstypen {name} är inte känd.{sv}"),
                    format!("The resource type {name} is not known.{en}"),
                )
                .from(text.origin.clone()),
            );
            return None;
        };
        if self.text.blocks.iter().take(number).any(|b| b.name == text.name) {
            self.issues.push(error(
                &text.origin,
                "name",
                "Två block har samma namn.",
                "Two blocks have the same name.",
            ));
        }
        let base = self.bases.get(number).cloned().unwrap_or_default();
        let guard = self.guards(&base, &text.when, &text.origin);
        let scope = Scope { content: resource_type, key: (*resource_type).to_owned(), steps: Vec::new() };
        self.elements.usage = element::Usage::default();
        let group = self.group(&base, &scope, &text.group, Vec::new(), Vec::new(), Vec::new());
        let profile = text.profile.as_ref().map(|name| self.profile(resource_type, name));
        self.mixed_lists(text);
        let mut block = Block {
            name: text.name.clone(),
            resource_type,
            actor: ACTORS.contains(resource_type),
            each_text: self.sources.text(base.node),
            each: base.steps,
            chain: base.chain,
            key: Vec::new(),
            key_reads: Vec::new(),
            placed_by_key: false,
            need: text.need,
            guard,
            profile,
            group,
            standing: Vec::new(),
            made: true,
            parent: None,
            origin: text.origin.clone(),
        };
        let mut from_source = block.rows().into_iter().filter(|(_, row)| row.source.is_some()).peekable();
        block.made = from_source.peek().is_none() || from_source.any(|(_, row)| row.only != Only::Back);
        if block.made {
            self.required(&block);
        }
        rules::tie(&mut block, self.issues);
        Some(block)
    }

    fn group(
        &mut self,
        base: &Base,
        scope: &Scope,
        text: &GroupText,
        each: Vec<Step>,
        into: Vec<Step>,
        guard: Vec<Guard>,
    ) -> Group {
        let rows = text.rows.iter().filter_map(|row| self.row(base, scope, row)).collect();
        let parts = text.parts.iter().filter_map(|part| self.part(base, scope, part)).collect();
        let fixed = text.fixed.iter().filter_map(|fixed| self.fixed(base, scope, fixed)).collect();
        Group {
            each,
            into,
            chain: base.chain.clone(),
            need: None,
            guard,
            rows,
            fixed,
            parts,
            origin: text.origin.clone(),
        }
    }

    fn part(&mut self, base: &Base, scope: &Scope, text: &GroupText) -> Option<Group> {
        let inner = match &text.each {
            Some(each) if each.starts_with('/') => {
                self.issues.push(error(
                    &text.origin,
                    each,
                    "En dels each utgår från blockets objekt, inte från dokumentets rot.",
                    "A part's each starts from the block's item, not from the document's root.",
                ));
                return None;
            }
            Some(each) => {
                let inner = self.sources.base(base, each);
                self.said(inner, &text.origin)?
            }
            None => base.clone(),
        };
        let (mut steps, mut place) = (Vec::new(), scope.clone());
        if let Some(into) = &text.into {
            let reached = self.elements.path(scope, into, End::Inside, writes(text), &text.origin);
            let reached = self.said(reached, &text.origin)?;
            steps = reached.steps.clone();
            let full = scope.steps.iter().cloned().chain(reached.steps).collect();
            place = Scope { content: reached.content, key: reached.key, steps: full };
        }
        let each_steps = inner.steps.get(base.steps.len()..).unwrap_or(&[]).to_vec();
        if lists(&each_steps) != lists(&steps) {
            self.unequal(text.each.as_deref().unwrap_or("."), text.into.as_deref().unwrap_or("."), &text.origin);
            return None;
        }
        let guard = self.guards(&inner, &text.when, &text.origin);
        let need = text.need.then(|| Need { source: inner.steps.clone(), fhir: place.steps.clone() });
        let group = self.group(&inner, &place, text, each_steps, steps, guard);
        Some(Group { need, ..group })
    }

    fn profile(&mut self, resource_type: &'static str, name: &str) -> Profile {
        let mut step = |content: &str, name: &str, list: bool, key: &str| Step {
            name: name.into(),
            position: r4::find(content, name).map_or(0, |f| u32::try_from(f.position).unwrap_or(0)),
            list,
            take: Take::First,
            slot: self.elements.slot(key),
            conds: Vec::new(),
        };
        let meta = step(resource_type, "meta", false, &format!("{resource_type}.meta"));
        let list = step("Meta", "profile", true, &format!("{resource_type}.meta.profile[{name}]"));
        Profile { url: format!("{BASE}/StructureDefinition/{name}"), steps: vec![meta, list] }
    }

    /// Bare and picked access to one list, or access with and without `[]`.
    fn mixed_lists(&mut self, text: &BlockText) {
        for (list, choices) in &self.elements.usage.lists {
            let mut choices_seen = choices.iter();
            let Some((first, first_origin)) = choices_seen.next() else { continue };
            for (choice, origin) in choices_seen {
                let (sv, en) = match (first, choice) {
                    (Choice::Bare | Choice::Each, Choice::Picked(_) | Choice::EachPicked(_)) => (
                        "väljs med namn på en rad och utan på en annan",
                        "is picked by a name in one row and not in another",
                    ),
                    (Choice::Bare, Choice::Each) => (
                        "står med [] på en rad och utan på en annan",
                        "stands with [] in one row and without in another",
                    ),
                    (Choice::Picked(a), Choice::EachPicked(b)) if a == b => (
                        "väljs med each på en rad och utan på en annan",
                        "is picked with each in one row and without in another",
                    ),
                    (Choice::Picked(a) | Choice::EachPicked(a), Choice::Picked(b) | Choice::EachPicked(b))
                        if overlap(self.text.aliases.get(a), self.text.aliases.get(b)) =>
                    {
                        ("väljs med två namn som båda kan passa", "is picked by two names that can both fit")
                    }
                    _ => continue,
                };
                self.issues.push(error(
                    &text.origin,
                    list,
                    format!("Listan {list} {sv}: {first_origin} och {origin}."),
                    format!("The list {list} {en}: {first_origin} and {origin}."),
                ));
            }
        }
    }

    /// Elements that R4 requires and no row writes.
    fn required(&mut self, block: &Block) {
        for (key, (content, written)) in &self.elements.usage.made {
            for element in r4::children(content).iter().filter(|e| e.min > 0) {
                if !written.contains(element.path) {
                    let name = element.name;
                    self.issues.push(
                        Issue::error(
                            Code::Required,
                            format!("{key}.{name}"),
                            format!("R4 kräver {name} i {key}, men ingen rad skriver det."),
                            format!("R4 requires {name} in {key}, but no row writes it."),
                        )
                        .from(block.origin.clone()),
                    );
                }
            }
        }
        if !self.elements.usage.made.contains_key(block.resource_type) {
            self.issues.push(error(&block.origin, &block.name, "Blocket har inga rader.", "The block has no rows."));
        }
    }
}

/// Whether anything in the group goes out.
fn writes(group: &GroupText) -> bool {
    group.rows.iter().any(|r| r.only != Only::Back)
        || group.fixed.iter().any(|f| f.only != Only::Back)
        || group.parts.iter().any(writes)
}

fn overlap(a: Option<&AliasText>, b: Option<&AliasText>) -> bool {
    match (a, b) {
        (Some(AliasText::Systems(a)), Some(AliasText::Systems(b))) => a.iter().any(|x| b.contains(x)),
        (Some(AliasText::At { at, is }), Some(AliasText::At { at: other, is: also })) => {
            at == other && is.iter().any(|x| also.contains(x))
        }
        _ => false,
    }
}
