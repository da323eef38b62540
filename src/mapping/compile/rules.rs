//! What must hold between rows, so that a table that loads can be read both ways: one row back for every field, one
//! owner for every list, branches that can be told apart, and a place to return to for every resource. It is long because
//! each rule looks at all rows at once; none of them has a part that would be read alone.

use std::collections::BTreeMap;

use super::error;
use super::source::Sources;
use crate::fhir::issue::Issue;
use crate::mapping::path::{Cond, Step, Take, Test, lists};
use crate::mapping::plan::{BelowLink, Block, Group, Guard, Row, Standing, Via};
use crate::mapping::table::{Only, TableText};

/// Ties constants to the containers that rows make, and finds those that stand alone.
pub(super) fn tie(block: &mut Block, issues: &mut Vec<Issue>) {
    let paths: Vec<Vec<Step>> = block
        .rows()
        .into_iter()
        .filter(|(_, row)| row.only != Only::Back)
        .map(|(_, row)| row.fhir.full.clone())
        .collect();
    let mut soft = Vec::new();
    let mut standing = Vec::new();
    tie_group(&mut block.group, &paths, &mut soft, &mut standing, issues);
    for (slot, cond) in &soft {
        soften(&mut block.group, *slot, cond);
    }
    block.standing = standing;
}

fn tie_group(
    group: &mut Group,
    paths: &[Vec<Step>],
    soft: &mut Vec<(u32, Cond)>,
    standing: &mut Vec<Standing>,
    issues: &mut Vec<Issue>,
) {
    for fixed in &mut group.fixed {
        let Some(path) = &fixed.fhir else { continue };
        let most = path.full.len().saturating_sub(1);
        fixed.tie = paths.iter().map(|other| shared(&path.full, other).min(most)).max().unwrap_or(0);
        let (made, rest) = path.full.split_at_checked(fixed.tie).unwrap_or((&[], &path.full));
        if lists(rest) > 0 {
            issues.push(error(
                &fixed.origin,
                &path.text,
                "En konstant under [] kräver en rad som gör listans element.",
                "A constant below [] needs a row that makes the list's elements.",
            ));
        }
        let counts_back = fixed.only != Only::Out && fixed.guard.is_empty();
        if fixed.tie == 0 && counts_back {
            standing.push(Standing { cond: anywhere(&path.full), value: fixed.value.clone() });
        }
        if let Some(at) = made.iter().rposition(|s| s.take == Take::Each)
            && let Some((list, inside)) = path.full.get(at..).and_then(<[Step]>::split_first)
            && counts_back
        {
            let cond = Cond { steps: anywhere(inside), values: vec![fixed.value.clone()], test: Test::Agrees };
            soft.push((list.slot, cond));
        }
    }
    for part in &mut group.parts {
        tie_group(part, paths, soft, standing, issues);
    }
}

/// Ties constants of the source to the objects that rows write there.
fn tie_sources(blocks: &mut [Block]) {
    let paths: Vec<Vec<Step>> = blocks
        .iter()
        .flat_map(Block::rows)
        .filter(|(_, row)| row.only != Only::Out)
        .filter_map(|(_, row)| row.source.as_ref().map(|s| s.full.clone()))
        .collect();
    blocks.iter_mut().for_each(|block| tie_group_sources(&mut block.group, block.each.len(), &paths));
}

fn tie_group_sources(group: &mut Group, item: usize, paths: &[Vec<Step>]) {
    for fixed in &mut group.fixed {
        let Some(source) = &fixed.source else { continue };
        let most = source.full.len().saturating_sub(1);
        let tie = paths.iter().map(|path| shared(&source.full, path).min(most)).max().unwrap_or(0);
        fixed.source_tie = if source.root || tie > item { tie } else { 0 };
    }
    group.parts.iter_mut().for_each(|part| tie_group_sources(part, item, paths));
}

/// Elements of a numbered list that have another constant are not the rows' own.
fn soften(group: &mut Group, slot: u32, cond: &Cond) {
    let add = |steps: &mut Vec<Step>| {
        for step in steps.iter_mut().filter(|s| s.slot == slot && s.take == Take::Each) {
            step.conds.push(cond.clone());
        }
    };
    add(&mut group.into);
    group.rows.iter_mut().for_each(|row| add(&mut row.fhir.full));
    group.fixed.iter_mut().filter_map(|f| f.fhir.as_mut()).for_each(|path| add(&mut path.full));
    group.parts.iter_mut().for_each(|part| soften(part, slot, cond));
}

/// The same steps, looking at every element of a list.
fn anywhere(steps: &[Step]) -> Vec<Step> {
    let mut steps = steps.to_vec();
    steps.iter_mut().filter(|s| s.take == Take::First && s.list).for_each(|s| s.take = Take::Any);
    steps
}

/// How many steps two paths share from the resource on.
fn shared(a: &[Step], b: &[Step]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x.slot == y.slot).count()
}

fn same(a: &[Step], b: &[Step]) -> bool {
    a.len() == b.len() && shared(a, b) == a.len()
}

/// Checks a table as a whole.
pub(super) fn check(blocks: &mut [Block], sources: &Sources<'_>, text: &TableText, issues: &mut Vec<Issue>) {
    let paired = owners(blocks, sources, issues);
    tie_sources(blocks);
    read_back(blocks, sources, text, issues);
    for number in 0..blocks.len() {
        let parent = enclosing(blocks, number);
        if let Some(block) = blocks.get_mut(number) {
            block.parent = parent;
        }
    }
    for number in 0..blocks.len() {
        branches(blocks, number, issues);
        keys(blocks, number, &paired, issues);
    }
}

/// The nearest block on an enclosing list that has a key; for a block without one, also on its own list.
fn enclosing(blocks: &[Block], number: usize) -> Option<usize> {
    let own = blocks.get(number)?;
    let limit = if own.key.is_empty() { own.chain.len() + 1 } else { own.chain.len() };
    (0..blocks.len())
        .filter(|n| {
            blocks.get(*n).is_some_and(|b| {
                !b.key.is_empty() && !b.chain.is_empty() && b.chain.len() < limit && own.chain.starts_with(&b.chain)
            })
        })
        .max_by_key(|n| blocks.get(*n).map_or(0, |b| b.chain.len()))
}

/// A source list has one owner: resources with keys, or one list inside a resource. Returns those of the second kind.
fn owners(blocks: &[Block], sources: &Sources<'_>, issues: &mut Vec<Issue>) -> Vec<usize> {
    // For each list the block, the FHIR list and the row.
    type Owner = (usize, u32, String);
    let mut owned: BTreeMap<u32, Owner> = BTreeMap::new();
    for (number, block) in blocks.iter().enumerate() {
        let mut claim = |source: &[Step], fhir: &[Step], origin: &str| {
            let numbered = |steps: &[Step]| -> Vec<u32> {
                steps.iter().filter(|s| s.take == Take::Each).map(|s| s.slot).collect()
            };
            for (list, slot) in numbered(source).into_iter().zip(numbered(fhir)) {
                let owner = owned.entry(list).or_insert_with(|| (number, slot, origin.to_owned()));
                if (owner.0, owner.1) != (number, slot) {
                    let name = sources.text(list as usize);
                    issues.push(error(
                        origin,
                        &name,
                        format!("Listan {name} hör redan ihop med en annan FHIR-lista: {}.", owner.2),
                        format!("The list {name} already belongs with another FHIR list: {}.", owner.2),
                    ));
                }
            }
        };
        for (_, row) in block.rows() {
            if let Some(source) = row.source.as_ref().filter(|_| row.only != Only::Out) {
                claim(source.tail(), row.fhir.tail(), &row.origin);
            }
        }
        claim_parts(&block.group, &block.origin, &mut claim);
    }
    owned.into_keys().map(|list| list as usize).collect()
}

/// Hears which source steps belong with which FHIR steps, in which row.
type Claim<'a> = dyn FnMut(&[Step], &[Step], &str) + 'a;

fn claim_parts(group: &Group, origin: &str, claim: &mut Claim<'_>) {
    for part in &group.parts {
        claim(&part.each, &part.into, origin);
        claim_parts(part, origin, claim);
    }
}

/// Guards that cannot hold at once.
fn exclusive(a: &[Guard], b: &[Guard]) -> bool {
    a.iter().any(|x| b.iter().any(|y| x.path.node == y.path.node && x.value != y.value))
}

/// Every field has one row that is read back; every copy has an original.
fn read_back(blocks: &[Block], sources: &Sources<'_>, text: &TableText, issues: &mut Vec<Issue>) {
    struct Reader<'a> {
        node: usize,
        /// All of the field's own fields are read with it.
        whole: bool,
        guards: Vec<Guard>,
        origin: &'a str,
        text: &'a str,
    }
    impl Reader<'_> {
        fn reads(&self, node: usize, sources: &Sources<'_>) -> bool {
            self.node == node || (self.whole && sources.within(node, self.node))
        }
    }
    let mut readers: Vec<Reader<'_>> = Vec::new();
    let mut written: Vec<usize> = Vec::new();
    for block in blocks {
        written.extend(block.guard.iter().map(|g| g.path.node));
        for (group, row) in block.rows() {
            written.extend(group.guard.iter().chain(&row.guard).map(|g| g.path.node));
            let Some(source) = row.source.as_ref().filter(|_| row.only != Only::Out) else { continue };
            let guards = block.guard.iter().chain(&group.guard).chain(&row.guard).cloned().collect();
            let whole = row.via.as_ref().is_some_and(|via| via.reads().is_some());
            readers.push(Reader { node: source.node, whole, guards, origin: &row.origin, text: &source.text });
        }
        for (group, fixed) in block.fixed() {
            written.extend(group.guard.iter().chain(&fixed.guard).map(|g| g.path.node));
            written.extend(fixed.source.iter().filter(|_| fixed.only != Only::Out).map(|s| s.node));
        }
    }
    for (n, reader) in readers.iter().enumerate() {
        let both = |r: &&Reader<'_>| r.reads(reader.node, sources) || reader.reads(r.node, sources);
        let twice = readers.iter().take(n).filter(both).find(|r| !exclusive(&r.guards, &reader.guards));
        if let Some(before) = twice {
            issues.push(error(
                reader.origin,
                reader.text,
                format!("Fältet läses tillbaka av två rader, även {}; gör den ena till only = \"out\".", before.origin),
                format!("Two rows read the field back, also {}; make one of them only = \"out\".", before.origin),
            ));
        }
    }
    for block in blocks {
        for (_, row) in block.rows() {
            if let Some(Via::Within(within)) = &row.via
                && !readers.iter().any(|r| r.reads(within.path.node, sources))
            {
                issues.push(error(
                    &row.origin,
                    &within.path.text,
                    "Inget läser tillbaka fältet som within nämner.",
                    "No row reads back the field that within names.",
                ));
            }
            let Some(source) = row.source.as_ref().filter(|_| row.only == Only::Out) else { continue };
            let original = readers.iter().map(|r| r.node).chain(written.iter().copied());
            let header = text.when.iter().any(|(path, _)| path.trim_start_matches('/') == source.text);
            if !header
                && !original.into_iter().any(|n| sources.within(source.node, n) || sources.within(n, source.node))
            {
                issues.push(error(
                    &row.origin,
                    &source.text,
                    "Raden är en kopia (only = \"out\"), men ingen rad läser fältet tillbaka.",
                    "The row is a copy (only = \"out\"), but no row reads the field back.",
                ));
            }
        }
    }
}

/// Rows that write the same element must be told apart on the way back.
fn branches(blocks: &mut [Block], number: usize, issues: &mut Vec<Issue>) {
    let Some(block) = blocks.get(number) else { return };
    let rows: Vec<(&Group, &Row)> = block.rows().into_iter().filter(|(_, row)| row.only != Only::Out).collect();
    let mut apart = |a: &str, b: &str, path: &str| {
        issues.push(error(
            b,
            path,
            format!("Raden skriver samma element som {a} och kan inte skiljas från den på vägen tillbaka."),
            format!("The row writes the same element as {a} and cannot be told from it on the way back."),
        ));
    };
    for (n, (_, row)) in rows.iter().enumerate() {
        for (_, before) in rows.iter().take(n).filter(|(_, b)| same(&b.fhir.full, &row.fhir.full)) {
            let told = match (&before.link, &row.link) {
                (Some(a), Some(b)) => match (blocks.get(a.block), blocks.get(b.block)) {
                    (Some(x), Some(y)) => a.block != b.block && differ(x, y),
                    _ => false,
                },
                _ => false,
            };
            if !told {
                apart(&before.origin, &row.origin, &row.fhir.text);
            }
        }
    }
    let fixed: Vec<_> = block.fixed().into_iter().filter(|(_, f)| f.only != Only::Out).collect();
    for (n, (_, constant)) in fixed.iter().enumerate() {
        let Some(path) = &constant.fhir else { continue };
        for (_, row) in rows.iter().filter(|(_, r)| same(&r.fhir.full, &path.full)) {
            apart(&row.origin, &constant.origin, &path.text);
        }
        for (_, before) in fixed.iter().take(n) {
            let Some(other) = &before.fhir else { continue };
            let clash = before.value == constant.value || !exclusive(&before.guard, &constant.guard);
            if same(&other.full, &path.full) && clash {
                apart(&before.origin, &constant.origin, &path.text);
            }
        }
    }
    let below = below_links(block);
    if let Some(block) = blocks.get_mut(number) {
        set_below(&mut block.group, &below);
    }
}

/// Whether resources of two blocks can be told apart by themselves.
fn differ(a: &Block, b: &Block) -> bool {
    a.resource_type != b.resource_type
        || a.standing.iter().any(|x| b.standing.iter().any(|y| same(&x.cond, &y.cond) && x.value != y.value))
}

/// For each row by its origin the links of other branches that it stands below.
fn below_links(block: &Block) -> BTreeMap<String, BelowLink> {
    let mut found: BTreeMap<String, BelowLink> = BTreeMap::new();
    let rows = block.rows();
    for (group, row) in &rows {
        for (other_group, other) in &rows {
            let Some(link) = &other.link else { continue };
            let prefix = other.fhir.full.len().saturating_sub(1);
            let below = row.link.is_none()
                && prefix < row.fhir.full.len()
                && prefix >= row.fhir.at
                && shared(&other.fhir.full, &row.fhir.full) == prefix;
            let all =
                |group: &Group, row: &Row| -> Vec<Guard> { group.guard.iter().chain(&row.guard).cloned().collect() };
            if below && exclusive(&all(group, row), &all(other_group, other)) {
                let entry = found.entry(row.origin.clone());
                entry
                    .or_insert_with(|| BelowLink { depth: prefix - row.fhir.at, blocks: Vec::new() })
                    .blocks
                    .push(link.block);
            }
        }
    }
    found
}

fn set_below(group: &mut Group, below: &BTreeMap<String, BelowLink>) {
    for row in &mut group.rows {
        row.below_link = below.get(&row.origin).map(|b| BelowLink { depth: b.depth, blocks: b.blocks.clone() });
    }
    group.parts.iter_mut().for_each(|part| set_below(part, below));
}

/// A block that repeats, or stands for an actor, needs a key, and each of its resources a place to return to.
fn keys(blocks: &mut [Block], number: usize, paired: &[usize], issues: &mut Vec<Issue>) {
    let Some(block) = blocks.get(number) else { return };
    let depth = block.chain.len();
    let whose = block.parent.and_then(|p| blocks.get(p)).is_some_and(|p| p.chain.len() == depth);
    if block.made && block.key.is_empty() && (block.actor || (depth > 0 && !whose)) {
        issues.push(error(
            &block.origin,
            "key",
            "Ett block som upprepas eller står för en aktör behöver en key.",
            "A block that repeats or stands for an actor needs a key.",
        ));
        return;
    }
    let counts = |(_, row): &(&Group, &Row)| row.source.as_ref().is_some_and(|s| !s.root) && row.only != Only::Out;
    if block.made && block.key.is_empty() && !block.rows().iter().any(counts) {
        issues.push(error(
            &block.origin,
            &block.name,
            "Inget i dokumentet kan göra blocket: det behöver en key eller en rad med source.",
            "Nothing in a document can make the block: it needs a key or a row with source.",
        ));
    }
    let Some(list) = block.chain.last() else { return };
    let linked = |least: usize| {
        let own = block.rows().iter().any(|(_, row)| row.link.as_ref().is_some_and(|l| !l.by_key && l.common >= least));
        let others = blocks.iter().flat_map(Block::rows);
        let mut pointing = others.filter_map(|(_, row)| row.link.as_ref()).filter(|l| !l.by_key && l.block == number);
        own || pointing.any(|l| l.common >= least)
    };
    // The first block on a list whose key its resources carry names the items; others with the same key agree.
    let same_key = |other: &Block| other.key.iter().map(|k| k.node).eq(block.key.iter().map(|k| k.node));
    let named_otherwise = blocks.iter().take(number).any(|b| b.placed_by_key && b.chain == block.chain && !same_key(b));
    let by_key = !paired.contains(list)
        && !named_otherwise
        && block.key_reads.iter().any(|reads| !reads.is_empty())
        && (depth == 1 || linked(depth - 1));
    if !by_key && !linked(depth) {
        let each = &block.each_text;
        let (sv, en) = if block.chain.iter().any(|list| paired.contains(list)) {
            (
                format!("{each} hör ihop med en lista i en resurs; blocket behöver en länk från en rad i den listan."),
                format!("{each} belongs with a list in a resource; the block needs a link from a row in that list."),
            )
        } else {
            (
                format!("Varken nyckeln eller en länk visar vilket {each} en resurs hör till på vägen tillbaka."),
                format!("Neither the key nor a link tells which {each} a resource belongs to on the way back."),
            )
        };
        issues.push(error(&block.origin, "key", sv, en));
    }
    if let Some(block) = blocks.get_mut(number) {
        block.placed_by_key = by_key;
    }
}
