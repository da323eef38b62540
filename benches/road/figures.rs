//! Figures with the runs they come from: medians, what they are measured against, what was to be reached, table and JSON.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

/// Something to reach.
#[derive(Clone, Copy)]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    fn is_reached(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(least) => format!("≥ {}", short(least)),
            Self::AtMost(most) => format!("≤ {}", short(most)),
        }
    }
}

/// One figure: the median of its runs is what counts.
pub struct Figure {
    part: &'static str,
    what: String,
    unit: &'static str,
    runs: Vec<f64>,
    goal: Option<Goal>,
}

impl Figure {
    fn median(&self) -> f64 {
        median(&self.runs)
    }

    fn range(&self) -> String {
        let least = self.runs.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.runs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if self.runs.len() < 2 { "one run".into() } else { format!("{}–{}", short(least), short(most)) }
    }
}

pub struct Figures {
    quick: bool,
    all: Vec<Figure>,
    notes: Vec<String>,
}

impl Figures {
    pub fn new(quick: bool) -> Self {
        Self { quick, all: Vec::new(), notes: Vec::new() }
    }

    pub fn add(&mut self, part: &'static str, what: impl Into<String>, unit: &'static str, runs: Vec<f64>) -> f64 {
        self.with_goal(part, what, unit, runs, None)
    }

    pub fn with_goal(
        &mut self,
        part: &'static str,
        what: impl Into<String>,
        unit: &'static str,
        runs: Vec<f64>,
        goal: impl Into<Option<Goal>>,
    ) -> f64 {
        let figure = Figure { part, what: what.into(), unit, runs, goal: goal.into() };
        eprintln!("    {}: {} {}", figure.what, short(figure.median()), figure.unit);
        self.all.push(figure);
        self.all.last().map_or(0.0, Figure::median)
    }

    /// What a reader has to know beside the figures.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    pub fn print(&self, took: Duration) {
        println!("\n{}, {:.0} s{}\n", machine(), took.as_secs_f64(), if self.quick { ", quick" } else { "" });
        println!("| part | what | median | unit | least–most | to reach | |");
        println!("|---|---|--:|---|--:|--:|---|");
        for figure in &self.all {
            let goal = figure.goal.map(Goal::text).unwrap_or_default();
            let reached = match figure.goal {
                Some(goal) if goal.is_reached(figure.median()) => "yes",
                Some(_) => "**no**",
                None => "",
            };
            let (median, range) = (short(figure.median()), figure.range());
            println!(
                "| {} | {} | {median} | {} | {range} | {goal} | {reached} |",
                figure.part, figure.what, figure.unit
            );
        }
        println!();
        for note in &self.notes {
            println!("- {note}");
        }
    }

    pub fn write(&self, file: &Path, took: Duration) -> std::io::Result<()> {
        let figures: Vec<Value> = self
            .all
            .iter()
            .map(|f| {
                json!({
                    "part": f.part, "what": f.what, "unit": f.unit, "median": round(f.median()),
                    "runs": f.runs.iter().map(|r| round(*r)).collect::<Vec<_>>(),
                    "toReach": f.goal.map(Goal::text), "reached": f.goal.map(|g| g.is_reached(f.median())),
                })
            })
            .collect();
        let all = json!({
            "machine": machine(), "at": chrono::Utc::now().to_rfc3339(), "quick": self.quick,
            "tookSeconds": took.as_secs(), "figures": figures, "notes": self.notes,
        });
        std::fs::write(file, serde_json::to_vec_pretty(&all)?)
    }
}

pub fn median(runs: &[f64]) -> f64 {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.get(sorted.len() / 2), sorted.len() % 2) {
        (Some(high), 0) => f64::midpoint(sorted[sorted.len() / 2 - 1], *high),
        (Some(middle), _) => *middle,
        (None, _) => f64::NAN,
    }
}

/// The share of `times` given, in the unit of `times`: 0.99 is what one in a hundred exceeds.
pub fn quantile(times: &mut [u32], share: f64) -> f64 {
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    times.get(((times.len() as f64 * share) as usize).min(last)).map_or(f64::NAN, |t| f64::from(*t))
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Three figures are as many as a measurement like this has.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The machine in one line: processor, cores, memory, kernel, file system of the databases, load from others, day.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|l| l.starts_with(name)).unwrap_or_default();
        line.split(':').nth(1).unwrap_or("?").trim().to_owned()
    };
    let model = field(&read("/proc/cpuinfo"), "model name");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0_u64) >> 20;
    let kernel = read("/proc/sys/kernel/osrelease");
    let disk = Command::new("df").args(["--output=fstype", env!("CARGO_MANIFEST_DIR")]).output();
    let disk = disk.map(|o| String::from_utf8_lossy(&o.stdout).lines().last().unwrap_or("?").to_owned());
    let day = chrono::Utc::now().format("%Y-%m-%d");
    format!("{model}, {cores} cores, {memory} GiB, Linux {}, {}, {day}", kernel.trim(), disk.unwrap_or_default())
}
