//! What the gateway carries: the real program under load on this machine, beside what the machine itself can do.
//!
//! `cargo bench --bench road` runs everything; `-- quick` the same in a minute with smaller data; `-- accepts reads` only
//! those parts. It prints a table and writes `target/bench/road.json`. The load comes from this process, so both share the cores.

mod accepts;
mod database;
mod delivery;
mod documents;
mod figures;
mod load;
mod mapping;
mod neighbours;
mod program;
mod reads;
mod receiver;
mod rows;
mod start;
mod token;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use figures::Figures;

/// How long and how often things are measured.
pub struct Plan {
    /// Where databases and settings go: on the disk that is measured.
    pub folder: PathBuf,
    /// Runs of each figure; the median counts.
    pub runs: usize,
    pub run: Duration,
    /// Resources in the databases that are read from.
    pub sizes: Vec<u64>,
    pub clients: Vec<usize>,
}

/// A part by its name on the command line.
type Part = (&'static str, fn(&Plan, &mut Figures));

const PARTS: [Part; 6] = [
    ("mapping", mapping::measure),
    ("accepts", accepts::measure),
    ("delivery", delivery::measure),
    ("reads", reads::measure),
    ("start", start::measure),
    ("neighbours", neighbours::measure),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let known = |word: &String| word == "quick" || PARTS.iter().any(|(name, _)| name == word);
    if let Some(word) = words.iter().find(|word| !known(word)) {
        let names: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
        eprintln!("no part is called {word:?}; parts: {}; and quick", names.join(" "));
        std::process::exit(2);
    }
    let quick = words.iter().any(|word| word == "quick");
    let wanted = |name: &str| !words.iter().any(|word| word != "quick") || words.iter().any(|word| word == name);
    let plan = if quick { quick_plan() } else { whole_plan() };
    std::fs::create_dir_all(&plan.folder).expect("a folder under target/");
    let mut figures = Figures::new(quick);
    let started = Instant::now();
    for (name, measure) in PARTS {
        if wanted(name) {
            eprintln!("… {name} ({:.0} s so far)", started.elapsed().as_secs_f64());
            measure(&plan, &mut figures);
        }
    }
    figures.print(started.elapsed());
    let file = plan.folder.join("road.json");
    figures.write(&file, started.elapsed()).expect("road.json is written");
    eprintln!("written: {}", file.display());
}

fn folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    target.join("bench")
}

fn whole_plan() -> Plan {
    Plan {
        folder: folder(),
        runs: 5,
        run: Duration::from_secs(2),
        sizes: vec![1_000, 100_000, 1_000_000],
        clients: vec![1, 8, 32, 128],
    }
}

fn quick_plan() -> Plan {
    Plan { runs: 1, run: Duration::from_millis(1000), sizes: vec![1_000, 10_000], clients: vec![1, 32], ..whole_plan() }
}
