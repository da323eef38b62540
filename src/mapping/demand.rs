//! What the profiles demand of the resources that tables make, and none of their rows can write.
//!
//! A table that leaves out what its profile requires would have every document refused, one at a time, when somebody
//! sends it. It is found here instead, before the first: when the gateway starts, and by `vardkedja check`.

use super::folder::Mappings;
use super::near;
use super::path::{Step, Take, Test};
use super::plan::{Block, Row, Via};
use super::table::Only;
use crate::fhir::canonical::BASE;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::profile::{Outline, Profiles, Unwritten};

/// An error for every element that a profile requires and nothing in its block can write, and for every profile that
/// the package does not have. What rows without `need` may leave out is not told: the validator sees each document.
pub fn unwritten(mappings: &Mappings, profiles: &Profiles) -> Vec<Issue> {
    let blocks = mappings.tables().flat_map(|table| &table.blocks).filter(|block| block.made);
    let found = blocks.flat_map(|block| {
        let mut issues: Vec<Issue> = unknown(block, profiles).into_iter().collect();
        let missing = profiles.unwritten(block.resource_type, &outline(block));
        issues.extend(missing.iter().map(|m| told(m).from(block.origin.clone())));
        issues
    });
    found.collect()
}

/// A block's profile that is not in the package, though it is one of ours.
fn unknown(block: &Block, profiles: &Profiles) -> Option<Issue> {
    let url = block.profile.as_ref().map(|p| p.url.as_str())?;
    if profiles.urls().any(|known| known == url) {
        return None;
    }
    let start = format!("{BASE}/StructureDefinition/");
    let names = profiles.urls().filter(|u| !profiles.is_extension(u)).filter_map(|u| u.strip_prefix(&start));
    let name = url.strip_prefix(&start).unwrap_or(url);
    let (sv, en) = near::hint(name, names);
    let issue = Issue::error(
        Code::NotFound,
        "profile",
        format!("Det finns ingen profil {name}.{sv}"),
        format!("There is no profile {name}.{en}"),
    );
    Some(issue.from(block.origin.clone()))
}

fn told(missing: &Unwritten) -> Issue {
    let Unwritten { profile, element, paths, with } = missing;
    let path = paths.join(" | ");
    let (mut sv, mut en) = (
        format!("Profilen {profile} kräver {element}, men inget i blocket skriver det; lägg till fhir = \"{path}\""),
        format!("The profile {profile} requires {element}, but nothing in the block writes it; add fhir = \"{path}\""),
    );
    if !with.is_empty() {
        let with = with.join(", ");
        sv.push_str(&format!(" som har {with}"));
        en.push_str(&format!(" that has {with}"));
    }
    sv.push_str(" i en rad eller en konstant.");
    en.push_str(" in a row or a constant.");
    Issue::error(Code::Required, element.clone(), sv, en)
}

/// Everything that a block's rows, links and constants may write.
fn outline(block: &Block) -> Outline {
    let mut outline = Outline::default();
    // The gateway's own.
    outline.element("id", 0, false).told();
    if let Some(profile) = &block.profile {
        reach(&mut outline, &profile.steps).constant(&profile.url.clone().into(), true);
    }
    for (_, row) in block.rows().into_iter().filter(|(_, row)| row.only != Only::Back) {
        written(reach(&mut outline, &row.fhir.full), row);
    }
    for (_, fixed) in block.fixed().into_iter().filter(|(_, fixed)| fixed.only != Only::Back) {
        if let Some(path) = &fixed.fhir {
            reach(&mut outline, &path.full).constant(&fixed.value, fixed.guard.is_empty());
        }
    }
    outline
}

/// A code map knows its codes beforehand; whatever else a row writes is the document's.
fn written(element: &mut Outline, row: &Row) {
    match &row.via {
        Some(Via::Codes(map)) => map.targets().for_each(|code| element.constant(code, false)),
        _ => element.told(),
    }
}

/// The element that steps lead to, with what its names in brackets write on the way.
fn reach<'o>(outline: &'o mut Outline, steps: &[Step]) -> &'o mut Outline {
    let mut element = outline;
    for step in steps {
        element = element.element(&step.name, step.slot, step.take == Take::Each);
        for cond in step.conds.iter().filter(|c| c.test == Test::Picks) {
            if let Some(first) = cond.values.first() {
                reach(element, &cond.steps).constant(first, true);
            }
        }
    }
    element
}
