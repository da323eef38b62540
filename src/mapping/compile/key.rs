//! Keys: the fields that make an item itself, and how the way back learns them.

use super::source::Sources;
use super::{Compiler, error};
use crate::fhir::issue::{Code, Issue};
use crate::mapping::near;
use crate::mapping::path::lists;
use crate::mapping::plan::{Block, KeyRead, SourcePath};
use crate::mapping::table::BlockText;

impl Compiler<'_> {
    pub(super) fn key(&mut self, number: usize, text: &BlockText) -> Vec<SourcePath> {
        let base = self.bases.get(number).cloned().unwrap_or_default();
        let mut key = Vec::new();
        for path in &text.key {
            if !self.sources.knows(&base, path) {
                let known = self.sources.siblings(&base, path);
                let (sv, en) = near::hint(path, known.iter().map(String::as_str));
                self.issues.push(
                    Issue::error(
                        Code::NotFound,
                        path.clone(),
                        format!("Ingen rad läser nyckeln {path}.{sv}"),
                        format!("No row reads the key {path}.{en}"),
                    )
                    .from(format!("{} key", text.origin)),
                );
                continue;
            }
            let compiled = self.sources.path(&base, path);
            let Some(compiled) = self.said(compiled, &format!("{} key", text.origin)) else { continue };
            if lists(compiled.tail()) > 0 {
                self.issues.push(error(&text.origin, path, "En nyckel får inte ha [].", "A key may not have []."));
            }
            key.push(compiled);
        }
        key
    }
}

/// The rows of a block that carry a key, or something around it.
pub(super) fn key_reads(block: &Block, key: &SourcePath, sources: &Sources<'_>) -> Vec<KeyRead> {
    let mut reads = Vec::new();
    for (_, row) in block.rows() {
        let Some(source) = &row.source else { continue };
        let whole = row.via.as_ref().is_some_and(|via| via.reads().is_some());
        if lists(&row.fhir.full) > 0 || !(source.node == key.node || (whole && sources.within(key.node, source.node))) {
            continue;
        }
        let mut steps = row.fhir.full.clone();
        reads.push(match &row.link {
            Some(link) => {
                steps.pop();
                KeyRead::Link { steps, block: link.block, key: 0 }
            }
            None => {
                let rest = key.full.get(source.full.len()..).unwrap_or(&[]).to_vec();
                KeyRead::Row { steps, via: row.via.clone(), rest }
            }
        });
    }
    let fixed = block.fixed().into_iter().filter(|(_, f)| f.source.as_ref().is_some_and(|s| s.node == key.node));
    reads.extend(fixed.map(|(_, f)| KeyRead::Constant(f.value.clone())));
    let guards = block.guard.iter().filter(|g| g.path.node == key.node);
    reads.extend(guards.map(|g| KeyRead::Constant(g.value.clone())));
    reads
}

/// A block without a row for a key has that of the block it links to on the same item.
pub(super) fn borrowed_keys(blocks: &mut [Block]) {
    let mut borrowed = Vec::new();
    for (number, block) in blocks.iter().enumerate() {
        for (_, row) in block.rows() {
            let Some(link) = row.link.as_ref().filter(|l| !l.by_key && !l.appends) else { continue };
            let Some(target) = blocks.get(link.block) else { continue };
            if target.chain != block.chain || block.chain.is_empty() {
                continue;
            }
            for (own, path) in block.key.iter().enumerate() {
                let key = target.key.iter().position(|k| k.node == path.node);
                if let Some(key) = key.filter(|_| block.key_reads.get(own).is_some_and(Vec::is_empty)) {
                    let steps = row.fhir.full.split_last().map_or(Vec::new(), |(_, steps)| steps.to_vec());
                    borrowed.push((number, own, KeyRead::Link { steps, block: link.block, key }));
                }
            }
        }
    }
    for (number, own, read) in borrowed {
        if let Some(reads) = blocks.get_mut(number).and_then(|b| b.key_reads.get_mut(own)) {
            reads.push(read);
        }
    }
}
