//! Which resource belongs to which block: from the anchor along the links, by type and standing constants.
//!
//! Links are followed outwards first: what a claimed resource points at is surest. Then a resource that points at a
//! claimed one is taken by the first block in the file that it fits. Actors may belong to several blocks.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::fhir::issue::{Code, Issue, shown_id, shown_name};
use crate::mapping::path::{self, Step, walk};
use crate::mapping::plan::{Block, Group, KeyRead, Link, Row, Table};

pub(super) struct Claims<'t, 'v> {
    table: &'t Table,
    pub resources: &'v [Value],
    by_reference: HashMap<(&'v str, &'v str), usize>,
    by_identifier: HashMap<(&'v str, &'v str), usize>,
    /// Block and resource, in the order of the file.
    pub pairs: Vec<(usize, usize)>,
    known: HashSet<(usize, usize)>,
    taken: HashSet<usize>,
    links: Vec<Vec<(&'t Group, &'t Row, &'t Link)>>,
    rivals: Vec<(usize, usize)>,
    /// How many of the pairs have been followed outwards.
    followed: usize,
    /// Blocks that can be one resource only, and are.
    filled: HashSet<usize>,
}

impl<'t, 'v> Claims<'t, 'v> {
    pub fn new(table: &'t Table, resources: &'v [Value], issues: &mut Vec<Issue>) -> Self {
        let mut by_reference = HashMap::new();
        let mut by_identifier = HashMap::new();
        for (number, resource) in resources.iter().enumerate() {
            let text = |name: &str| resource.get(name).and_then(Value::as_str);
            if let (Some(kind), Some(id)) = (text("resourceType"), text("id")) {
                by_reference.entry((kind, id)).or_insert(number);
            }
            let single = resource.get("identifier").map_or(&[][..], |i| i.as_array().map_or(&[][..], Vec::as_slice));
            for identifier in single {
                by_identifier.extend(identity(identifier).map(|i| (i, number)));
            }
        }
        let links = table
            .blocks
            .iter()
            .map(|b| b.rows().into_iter().filter_map(|(g, r)| Some((g, r, r.link.as_ref()?))).collect())
            .collect();
        let mut claims = Self {
            table,
            resources,
            by_reference,
            by_identifier,
            pairs: Vec::new(),
            known: HashSet::new(),
            taken: HashSet::new(),
            links,
            rivals: Vec::new(),
            followed: 0,
            filled: HashSet::new(),
        };
        claims.start(issues);
        claims.outwards();
        while claims.inwards() {}
        claims.pairs.sort_unstable();
        claims.tell(issues);
        claims
    }

    /// Whether a resource belongs to a block.
    pub fn has(&self, block: usize, resource: usize) -> bool {
        self.known.contains(&(block, resource))
    }

    /// The links of a block's rows.
    pub fn links(&self, block: usize) -> &[(&'t Group, &'t Row, &'t Link)] {
        self.links.get(block).map_or(&[], Vec::as_slice)
    }

    /// The resource a Reference leads to, by `Type/id` at the end of it or by its identifier.
    pub fn resolve(&self, reference: &Value) -> Option<usize> {
        if let Some(text) = reference.get("reference").and_then(Value::as_str) {
            let text = text.split_once("/_history/").map_or(text, |(before, _)| before);
            let mut parts = text.rsplit('/');
            if let (Some(id), Some(kind)) = (parts.next(), parts.next())
                && let Some(found) = self.by_reference.get(&(kind, id))
            {
                return Some(*found);
            }
        }
        let identity = identity(reference.get("identifier")?)?;
        self.by_identifier.get(&identity).copied()
    }

    /// The value of a block's key in a resource.
    pub fn key(&self, block: &Block, number: usize, resource: &Value) -> Option<Value> {
        block.key_reads.get(number)?.iter().find_map(|read| self.key_by(read, resource))
    }

    fn key_by(&self, read: &KeyRead, resource: &Value) -> Option<Value> {
        match read {
            KeyRead::Constant(value) => Some(value.clone()),
            KeyRead::Row { steps, via, rest } => {
                let value = path::first(resource, steps)?;
                let value = match via {
                    Some(via) => via.back(value).ok()?.value,
                    None => value.clone(),
                };
                path::first(&value, rest).cloned()
            }
            KeyRead::Link { steps, block, key } => {
                let target = self.resolve(path::first(resource, steps)?)?;
                // A key that is another's key is one link away, never two.
                let reads = self.table.blocks.get(*block)?.key_reads.get(*key)?;
                let target = self.resources.get(target)?;
                reads.iter().filter(|r| !matches!(r, KeyRead::Link { .. })).find_map(|r| self.key_by(r, target))
            }
        }
    }

    fn start(&mut self, issues: &mut Vec<Issue>) {
        let anchor = self.table.anchor;
        let Some(block) = self.table.blocks.get(anchor) else { return };
        let fitting: Vec<usize> = (0..self.resources.len()).filter(|r| self.fits(block, *r)).collect();
        match fitting.as_slice() {
            [] => issues.push(
                Issue::error(
                    Code::NotFound,
                    block.resource_type,
                    format!("Ingen resurs passar {}, där läsningen börjar.", block.title()),
                    format!("No resource fits {}, where reading starts.", block.title()),
                )
                .from(block.origin.clone()),
            ),
            [_] => {}
            [..] => issues.push(
                Issue::error(
                    Code::Duplicate,
                    block.resource_type,
                    format!(
                        "{} resurser passar {}, där läsningen börjar; den första läses.",
                        fitting.len(),
                        block.title()
                    ),
                    format!(
                        "{} resources fit {}, where reading starts; the first is read.",
                        fitting.len(),
                        block.title()
                    ),
                )
                .from(block.origin.clone()),
            ),
        }
        if let Some(first) = fitting.first() {
            self.claim(anchor, *first);
        }
    }

    fn fits(&self, block: &Block, resource: usize) -> bool {
        let number = resource;
        let Some(resource) = self.resources.get(number) else { return false };
        // The same resource twice is one.
        let text = |name: &str| resource.get(name).and_then(Value::as_str);
        if let (Some(kind), Some(id)) = (text("resourceType"), text("id"))
            && self.by_reference.get(&(kind, id)) != Some(&number)
        {
            return false;
        }
        resource.get("resourceType").and_then(Value::as_str) == Some(block.resource_type)
            && block.standing.iter().all(|standing| {
                let mut found = false;
                walk(resource, &standing.cond, &mut Vec::new(), None, &mut |_, value| {
                    found |= *value == standing.value;
                    found
                });
                found
            })
    }

    fn claim(&mut self, block: usize, resource: usize) -> bool {
        let Some(found) = self.table.blocks.get(block) else { return false };
        if self.has(block, resource) || !self.fits(found, resource) {
            return false;
        }
        if !found.actor && self.taken.contains(&resource) {
            return false;
        }
        if found.chain.is_empty() && !self.filled.insert(block) {
            if !self.rivals.contains(&(block, resource)) {
                self.rivals.push((block, resource));
            }
            return false;
        }
        self.pairs.push((block, resource));
        self.known.insert((block, resource));
        self.taken.insert(resource);
        true
    }

    /// What claimed resources point at.
    fn outwards(&mut self) {
        while let Some((block, resource)) = self.pairs.get(self.followed).copied() {
            self.followed += 1;
            let mut found = Vec::new();
            for (_, row, link) in self.links(block) {
                self.references(resource, row, &mut |target| found.push((link.block, target)));
            }
            for (block, target) in found {
                self.claim(block, target);
            }
        }
    }

    /// Resources that point at claimed ones, and what they point at in turn.
    fn inwards(&mut self) -> bool {
        let before = self.pairs.len();
        for resource in 0..self.resources.len() {
            for block in 0..self.table.blocks.len() {
                if self.taken.contains(&resource) {
                    break;
                }
                if self.points_inside(block, resource) && self.claim(block, resource) {
                    self.outwards();
                }
            }
        }
        self.pairs.len() > before
    }

    /// Whether a link of the block leads from the resource to one that is claimed. To be of the same patient is not
    /// enough where the block has links that say more.
    fn points_inside(&self, block: usize, resource: usize) -> bool {
        let actor = |link: &Link| self.table.blocks.get(link.block).is_some_and(|b| b.actor);
        let telling = self.links(block).iter().any(|(_, _, link)| !actor(link));
        self.links(block).iter().filter(|(_, _, link)| !telling || !actor(link)).any(|(_, row, link)| {
            let mut inside = false;
            self.references(resource, row, &mut |target| inside |= self.has(link.block, target));
            inside
        })
    }

    fn references(&self, resource: usize, row: &Row, found: &mut dyn FnMut(usize)) {
        let Some(resource) = self.resources.get(resource) else { return };
        walk(resource, reference_steps(row), &mut Vec::new(), None, &mut |_, reference| {
            if let Some(target) = self.resolve(reference) {
                found(target);
            }
            false
        });
    }

    fn tell(&self, issues: &mut Vec<Issue>) {
        for (block, resource) in &self.rivals {
            let (Some(block), false) = (self.table.blocks.get(*block), self.taken.contains(resource)) else { continue };
            let sv = format!("Fler än en resurs passar {}; den första läses.", block.title());
            let en = format!("More than one resource fits {}; the first is read.", block.title());
            let issue = if block.actor {
                Issue::error(Code::Conflict, block.resource_type, sv, en)
            } else {
                Issue::warning(Code::Duplicate, block.resource_type, sv, en)
            };
            issues.push(issue.from(place(self.resources.get(*resource))));
        }
        for (number, resource) in self.resources.iter().enumerate() {
            if !self.taken.contains(&number) {
                let kind = resource.get("resourceType").and_then(Value::as_str).unwrap_or("?");
                issues.push(
                    Issue::information(
                        kind,
                        "inget block i tabellen tar emot resursen",
                        "no block of the table takes this resource",
                    )
                    .from(place(Some(resource))),
                );
            }
        }
    }
}

/// The steps of a link row to the Reference itself.
pub(super) fn reference_steps(row: &Row) -> &[Step] {
    row.fhir.full.split_last().map_or(&[], |(_, steps)| steps)
}

/// `Type/id`
pub(super) fn place(resource: Option<&Value>) -> String {
    let text = |name: &str| resource.and_then(|r| r.get(name)).and_then(Value::as_str);
    format!("{}/{}", text("resourceType").map_or("?", shown_name), text("id").map_or("?", shown_id))
}

fn identity(identifier: &Value) -> Option<(&str, &str)> {
    let text = |name: &str| identifier.get(name).and_then(Value::as_str);
    Some((text("system")?, text("value")?))
}
