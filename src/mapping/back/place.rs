//! Which item of the document a resource is: by its key, or by the item that links to it; and in which order items come
//! back. Position among the resources means nothing.

use std::collections::HashMap;

use serde_json::Value;

use super::claim::{Claims, reference_steps};
use crate::fhir::issue::{Code, Issue};
use crate::mapping::path::{lists, walk};
use crate::mapping::plan::{Link, Table};

/// The document itself.
const ROOT: usize = 0;

/// An element of a source list.
struct Item {
    list: usize,
    parent: usize,
    name: Name,
    order: Option<u32>,
    index: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Name {
    /// Its number in a list inside a resource.
    Number(u32),
    Key(String),
}

/// A link that was found: who points at whom, and from which element.
struct Seen<'t> {
    link: &'t Link,
    /// The lists from the document to the row's items, beyond those of its block.
    lists: &'t [usize],
    numbers: Vec<u32>,
    from: usize,
    to: usize,
}

pub(super) struct Places {
    items: Vec<Item>,
    known: HashMap<(usize, usize, Name), usize>,
    /// For each claim the items it is.
    of: Vec<Vec<usize>>,
    /// For each claim the links from and to it.
    touching: Vec<Vec<usize>>,
}

impl Places {
    pub fn new(table: &Table, claims: &Claims<'_, '_>, issues: &mut Vec<Issue>) -> Self {
        let root = Item { list: usize::MAX, parent: ROOT, name: Name::Number(0), order: None, index: 0 };
        let seen = seen(table, claims);
        let mut touching = vec![Vec::new(); claims.pairs.len()];
        for (number, link) in seen.iter().enumerate() {
            for claim in [link.from, link.to] {
                if let Some(links) = touching.get_mut(claim) {
                    links.push(number);
                }
            }
        }
        let of = vec![Vec::new(); claims.pairs.len()];
        let mut places = Self { items: vec![root], known: HashMap::new(), of, touching };
        while places.round(table, claims, &seen) {}
        places.order(table, claims, &seen, issues);
        for (claim, (block, resource)) in claims.pairs.iter().enumerate() {
            if let Some(block) = table.blocks.get(*block)
                && places.of.get(claim).is_none_or(Vec::is_empty)
            {
                issues.push(
                    Issue::error(
                        Code::NotFound,
                        block.resource_type,
                        format!("Inget visar vilket {} resursen hör till.", block.each_text),
                        format!("Nothing tells which {} the resource belongs to.", block.each_text),
                    )
                    .from(format!(
                        "{}, {}",
                        block.origin,
                        super::claim::place(claims.resources.get(*resource))
                    )),
                );
            }
        }
        places
    }

    /// The list numbers of every item that a claimed resource is.
    pub fn numbers(&self, claim: usize) -> Vec<Vec<u32>> {
        let items = self.of.get(claim).map_or(&[][..], Vec::as_slice);
        let mut all: Vec<Vec<u32>> = items.iter().map(|item| self.path(*item)).collect();
        all.sort();
        all
    }

    fn path(&self, item: usize) -> Vec<u32> {
        self.ancestors(item).into_iter().filter_map(|i| self.items.get(i)).map(|i| i.index).collect()
    }

    /// From below the document to the item.
    fn ancestors(&self, item: usize) -> Vec<usize> {
        let mut chain = Vec::new();
        let mut at = item;
        while at != ROOT {
            chain.push(at);
            at = self.items.get(at).map_or(ROOT, |i| i.parent);
        }
        chain.reverse();
        chain
    }

    fn up_to(&self, item: usize, depth: usize) -> Option<usize> {
        match depth.checked_sub(1) {
            None => Some(ROOT),
            Some(last) => self.ancestors(item).get(last).copied(),
        }
    }

    fn item(&mut self, list: usize, parent: usize, name: Name) -> usize {
        let next = self.items.len();
        let id = *self.known.entry((list, parent, name.clone())).or_insert(next);
        if id == next {
            self.items.push(Item { list, parent, name, order: None, index: 0 });
        }
        id
    }

    /// Places what can be placed now; false when nothing was.
    fn round(&mut self, table: &Table, claims: &Claims<'_, '_>, seen: &[Seen<'_>]) -> bool {
        let mut changed = false;
        for (claim, (block, resource)) in claims.pairs.iter().enumerate() {
            let Some(block) = table.blocks.get(*block) else { continue };
            let depth = block.chain.len();
            let mut found = Vec::new();
            match (block.chain.last(), claims.resources.get(*resource)) {
                (None, _) => found.push(ROOT),
                (Some(list), Some(value)) if block.placed_by_key => {
                    let keys: Vec<Option<Value>> = (0..block.key.len()).map(|k| claims.key(block, k, value)).collect();
                    if keys.iter().any(Option::is_some) {
                        let name = name(&keys);
                        for parent in self.shown(claim, depth - 1, seen) {
                            found.push(self.item(*list, parent, Name::Key(name.clone())));
                        }
                    }
                }
                _ => found = self.shown(claim, depth, seen),
            }
            let Some(items) = self.of.get_mut(claim) else { continue };
            for item in found {
                if !items.contains(&item) {
                    items.push(item);
                    changed = true;
                }
            }
        }
        changed
    }

    /// The items at a depth that links show a resource to be, or to be below.
    fn shown(&mut self, claim: usize, depth: usize, seen: &[Seen<'_>]) -> Vec<usize> {
        if depth == 0 {
            return vec![ROOT];
        }
        let mut found = Vec::new();
        let touching = self.touching.get(claim).cloned().unwrap_or_default();
        for link in touching.iter().filter_map(|n| seen.get(*n)).filter(|s| s.link.common >= depth) {
            if link.to == claim {
                for item in self.of.get(link.from).cloned().unwrap_or_default() {
                    let mut at = item;
                    for (list, number) in link.lists.iter().zip(&link.numbers) {
                        at = self.item(*list, at, Name::Number(*number));
                    }
                    found.extend(self.up_to(at, depth));
                }
            } else if link.from == claim {
                for item in self.of.get(link.to).cloned().unwrap_or_default() {
                    found.extend(self.up_to(item, depth));
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Items of resources come in the order of the first list of references to them, otherwise by key.
    fn order(&mut self, table: &Table, claims: &Claims<'_, '_>, seen: &[Seen<'_>], issues: &mut Vec<Issue>) {
        let mut next = 0;
        for link in seen.iter().filter(|s| s.link.appends) {
            for item in self.of.get(link.to).cloned().unwrap_or_default() {
                if let Some(item) = self.items.get_mut(item)
                    && item.order.is_none()
                {
                    item.order = Some(next);
                    next += 1;
                }
            }
        }
        let mut siblings: HashMap<(usize, usize), Vec<usize>> = HashMap::new();
        for (id, item) in self.items.iter_mut().enumerate().skip(1) {
            match item.name {
                Name::Number(number) => item.index = number,
                Name::Key(_) => siblings.entry((item.list, item.parent)).or_default().push(id),
            }
        }
        let mut guessed: Vec<usize> = Vec::new();
        for ((list, _), mut ids) in siblings {
            ids.sort_by_key(|id| self.items.get(*id).map(|i| (i.order.is_none(), i.order, i.name.clone())));
            if ids.len() > 1 && ids.iter().any(|id| self.items.get(*id).is_some_and(|i| i.order.is_none())) {
                guessed.push(list);
            }
            for (index, id) in ids.into_iter().enumerate() {
                if let Some(item) = self.items.get_mut(id) {
                    item.index = u32::try_from(index).unwrap_or(u32::MAX);
                }
            }
        }
        guessed.sort_unstable();
        guessed.dedup();
        for list in guessed {
            let block = claims
                .pairs
                .iter()
                .filter_map(|(b, _)| table.blocks.get(*b))
                .find(|b| b.placed_by_key && b.chain.last() == Some(&list));
            let Some(block) = block else { continue };
            issues.push(
                Issue::information(
                    block.each_text.clone(),
                    "Ingen lista i FHIR visar ordningen; den följer nycklarna.",
                    "No list in FHIR tells the order; it follows the keys.",
                )
                .from(block.origin.clone()),
            );
        }
    }
}

/// All links between claimed resources, in the order of the table's rows.
fn seen<'t>(table: &'t Table, claims: &Claims<'t, '_>) -> Vec<Seen<'t>> {
    let by_pair: HashMap<(usize, usize), usize> =
        claims.pairs.iter().enumerate().map(|(claim, pair)| (*pair, claim)).collect();
    let mut all = Vec::new();
    for (number, block) in table.blocks.iter().enumerate() {
        for (group, row, link) in claims.links(number).iter().filter(|(_, _, link)| !link.by_key) {
            for (claim, (_, resource)) in claims.pairs.iter().enumerate().filter(|(_, (b, _))| *b == number) {
                let Some(resource) = claims.resources.get(*resource) else { continue };
                let own = lists(row.fhir.tail());
                walk(resource, reference_steps(row), &mut Vec::new(), None, &mut |numbers, reference| {
                    let target = claims.resolve(reference).and_then(|r| by_pair.get(&(link.block, r)));
                    if let Some(to) = target {
                        let numbers = numbers.get(..numbers.len().saturating_sub(own)).unwrap_or(&[]).to_vec();
                        let lists = group.chain.get(block.chain.len()..).unwrap_or(&[]);
                        all.push(Seen { link, lists, numbers, from: claim, to: *to });
                    }
                    false
                });
            }
        }
    }
    all
}

fn name(keys: &[Option<Value>]) -> String {
    let texts = keys.iter().map(|key| match key {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    });
    texts.collect::<Vec<_>>().join("\u{1f}")
}
