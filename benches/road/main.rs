//! What the gateway carries: the real program under load on this machine, beside what the machine itself can do.
//!
//! `cargo bench --bench road` runs everything; `-- quick` the same in a minute with smaller data; `-- accepts reads` only
//! those parts; `-- accepts runs=1 seconds=20 clients=32` or `-- reads sizes=1000` to look at one thing with a profiler. It
//! prints a table and writes `target/bench/road.json`. The load comes from this process, so both share the cores.

mod accepts;
mod database;
mod delivery;
mod documents;
mod export;
mod figures;
mod load;
mod mapping;
mod neighbours;
mod program;
mod reads;
mod receiver;
mod rows;
mod start;
mod statistics;
mod token;
mod tokens;

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

const PARTS: [Part; 9] = [
    ("mapping", mapping::measure),
    ("accepts", accepts::measure),
    ("delivery", delivery::measure),
    ("reads", reads::measure),
    ("tokens", tokens::measure),
    ("export", export::measure),
    ("start", start::measure),
    ("statistics", statistics::measure),
    ("neighbours", neighbours::measure),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let (settings, names): (Vec<&str>, Vec<&str>) = words.iter().map(String::as_str).partition(|w| w.contains('='));
    let quick = names.contains(&"quick");
    let mut plan = if quick { quick_plan() } else { whole_plan() };
    for setting in settings {
        set(&mut plan, setting);
    }
    let parts: Vec<&str> = names.into_iter().filter(|name| *name != "quick").collect();
    if let Some(word) = parts.iter().find(|word| !PARTS.iter().any(|(name, _)| name == *word)) {
        give_up(word);
    }
    let wanted = |name: &str| parts.is_empty() || parts.contains(&name);
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

/// `runs=3`, `seconds=10`, `clients=1,32`, `sizes=1000`.
fn set(plan: &mut Plan, setting: &str) {
    let (name, value) = setting.split_once('=').unwrap_or_default();
    let numbers: Vec<u64> = value.split(',').filter_map(|n| n.parse().ok()).filter(|n| *n > 0).collect();
    match (name, numbers.as_slice()) {
        ("runs", [runs]) => plan.runs = *runs as usize,
        ("seconds", [seconds]) => plan.run = Duration::from_secs(*seconds),
        ("clients", [_, ..]) => plan.clients = numbers.iter().map(|n| *n as usize).collect(),
        ("sizes", [_, ..]) => plan.sizes = numbers,
        _ => give_up(setting),
    }
}

fn give_up(word: &str) -> ! {
    let names: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
    eprintln!("{word:?} is not understood; parts: {}; also quick, runs=, seconds=, clients=, sizes=", names.join(" "));
    std::process::exit(2);
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
