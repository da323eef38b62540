//! What a document costs on one core: mapping it, and mapping and validating it, beside the floor.
//!
//! The floor is plain serde_json: parse the same bytes in, serialise the same bytes out. Everything is measured in one run, in
//! turns, so that the machine's noise falls on all alike; the figures are medians. `cargo bench`, or with a number of rounds:
//! `cargo bench -- 500`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde_json::Value;
use vardkedja::domain::{Format, Kind};
use vardkedja::fhir::guard::{self, Limits};
use vardkedja::fhir::xml;
use vardkedja::mapping::{ExampleIds, Mappings};
use vardkedja::{Conformance, mapping_files, profile_files};

/// The program's own allocator: what is measured here is what runs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Document {
    name: &'static str,
    kind: Kind,
    source: Vec<u8>,
}

fn main() {
    let rounds: usize = std::env::args().filter_map(|a| a.parse().ok()).next().unwrap_or(300);
    let (mappings, issues) = Mappings::load(&mapping_files(None).expect("tables"));
    assert!(!issues.iter().any(|i| i.is_error()), "the tables have errors");
    let (conformance, _) = Conformance::load(&profile_files(None).expect("profiles"));
    println!("| document | bytes in | bytes out | floor µs | map µs | × floor | map + validate µs | × floor |");
    println!("|---|--:|--:|--:|--:|--:|--:|--:|");
    for document in documents() {
        measure(&document, &mappings, &conformance, rounds);
    }
    println!("\n| its resources | JSON bytes | read µs | write µs | XML bytes | read µs | write µs |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    for document in documents() {
        formats(&document, &mappings, rounds);
    }
}

/// The resources that a document becomes, read and written one by one in both formats.
fn formats(document: &Document, mappings: &Mappings, rounds: usize) {
    let made = map(document, mappings);
    let json: Vec<Vec<u8>> = made.iter().map(|r| serde_json::to_vec(r).expect("bytes")).collect();
    let xml: Vec<Vec<u8>> = made.iter().map(|r| xml::write(r).expect("XML")).collect();
    let mut times = [const { Vec::new() }; 4];
    for _ in 0..rounds {
        times[0].push(time(|| json.iter().for_each(|r| drop(black_box(guard::parse(r, &Limits::RESOURCE))))));
        times[1].push(time(|| made.iter().for_each(|r| drop(black_box(serde_json::to_vec(r))))));
        times[2].push(time(|| xml.iter().for_each(|r| drop(black_box(xml::read(r, &Limits::RESOURCE))))));
        times[3].push(time(|| made.iter().for_each(|r| drop(black_box(xml::write(r))))));
    }
    let [json_read, json_write, xml_read, xml_write] = times.map(median);
    let bytes = |all: &[Vec<u8>]| all.iter().map(Vec::len).sum::<usize>();
    println!(
        "| {} | {} | {json_read:.1} | {json_write:.1} | {} | {xml_read:.1} | {xml_write:.1} |",
        document.name,
        bytes(&json),
        bytes(&xml)
    );
}

fn documents() -> Vec<Document> {
    [
        ("referral.small", Kind::Referral),
        ("referral.full", Kind::Referral),
        ("rehab-plan.small", Kind::RehabPlan),
        ("rehab-plan.full", Kind::RehabPlan),
        ("handover.sip-full", Kind::Handover),
        ("handover.active-full", Kind::Handover),
        ("activity.full", Kind::Activity),
    ]
    .map(|(name, kind)| {
        let path = format!("{}/mappings/examples/{name}.source.json", env!("CARGO_MANIFEST_DIR"));
        Document { name, kind, source: std::fs::read(path).expect("an example") }
    })
    .into()
}

fn map(document: &Document, mappings: &Mappings) -> Vec<Value> {
    let (tree, _) = guard::read(&document.source, &Limits::DOCUMENT);
    let tree = tree.expect("JSON");
    let table = mappings.choose(document.kind, Format::Json, &tree).expect("a table");
    table.out(&tree, &ExampleIds).resources.into_iter().map(|m| m.value).collect()
}

fn measure(document: &Document, mappings: &Mappings, conformance: &Conformance, rounds: usize) {
    let made = map(document, mappings);
    let bytes_out: usize = made.iter().map(|r| serde_json::to_vec(r).map_or(0, |b| b.len())).sum();
    let (mut floor, mut mapping, mut validating) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        floor.push(time(|| {
            let value: Value = serde_json::from_slice(black_box(&document.source)).expect("JSON");
            black_box(value);
            for resource in &made {
                black_box(serde_json::to_vec(resource).expect("bytes"));
            }
        }));
        mapping.push(time(|| {
            for resource in map(black_box(document), mappings) {
                black_box(serde_json::to_vec(&resource).expect("bytes"));
            }
        }));
        validating.push(time(|| {
            let resources = map(black_box(document), mappings);
            black_box(conformance.validate(&resources));
            for resource in &resources {
                black_box(serde_json::to_vec(resource).expect("bytes"));
            }
        }));
    }
    let (floor, mapping, validating) = (median(floor), median(mapping), median(validating));
    println!(
        "| {} | {} | {bytes_out} | {floor:.1} | {mapping:.1} | {:.1} | {validating:.1} | {:.1} |",
        document.name,
        document.source.len(),
        mapping / floor,
        validating / floor
    );
}

fn time(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).map_or(0.0, |t| t.as_secs_f64() * 1e6)
}
