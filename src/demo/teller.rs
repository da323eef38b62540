//! Tells the journey: what came in, what it became, who got it, what was answered, and what was refused and why.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::documents;
use super::world::World;

/// Counts what it tells, for the summary.
#[derive(Debug, Default)]
pub struct Teller {
    step: usize,
    taken: usize,
    refused: usize,
    answered: usize,
    quiet: bool,
}

impl Teller {
    /// A teller that only counts, for tests.
    pub fn quiet() -> Self {
        Self { quiet: true, ..Self::default() }
    }

    fn say(&self, line: &str) {
        if !self.quiet {
            println!("{line}");
        }
    }

    pub fn places(&self, world: &World) {
        self.say("Vårdkedja: one test patient's way between specialist care, primary care and the municipality.");
        self.say("Two programs have been started, and everything below is real HTTP between them:");
        self.say("");
        self.say(&format!("  the gateway                {}   its database: gateway.db", world.gateway));
        self.say(&format!("  Vårdcentralen Norr's FHIR  {}/fhir   another process, its own database", world.clinic));
        self.say(&format!("  databases and logs         {}", world.folder.display()));
        self.say("");
        self.say("The addresses answer while the demo runs; `--stay` keeps both programs up.");
    }

    /// A new step: who does what.
    pub fn step(&mut self, what: &str) {
        self.step += 1;
        self.say("");
        self.say(&format!("{:>2}  {what}", self.step));
    }

    fn line(&self, word: &str, text: &str) {
        self.say(&format!("      {word:<10} {text}"));
    }

    /// The document was taken in.
    pub fn taken(&mut self, route: &str, receipt: &Value, gateway: &str) {
        self.taken += 1;
        self.line("in", &format!("POST {route} → 202"));
        let became = resources(receipt);
        self.line("became", if became.is_empty() { "nothing yet: it is kept as it came" } else { &became });
        let recipients: Vec<String> = receipt["recipients"]
            .as_array()
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .map(|r| match text(&r["channel"]) {
                "push" => format!("{}: sent to its server", named(text(&r["unit"]))),
                _ => format!("{}: it reads from the gateway", named(text(&r["unit"]))),
            })
            .collect();
        if recipients.is_empty() && receipt["note"].is_null() {
            self.line("goes to", "nobody yet: it waits for what the note says");
        } else if recipients.is_empty() {
            self.line("goes to", "nobody: kept for the quality registries");
        } else {
            for recipient in recipients {
                self.line("goes to", &recipient);
            }
        }
        for issue in receipt["outcome"]["issue"].as_array().map_or(&[][..], Vec::as_slice) {
            if issue["severity"] == "warning" {
                self.line("note", &finding(issue));
            }
        }
        self.line("look at", &format!("{gateway}/v1/exchanges/{}", text(&receipt["exchange"])));
    }

    /// It was refused, as it should be.
    pub fn refused(&mut self, route: &str, status: u16, outcome: &Value) {
        self.refused += 1;
        self.line("refused", &format!("{route} → {status}"));
        for issue in outcome["issue"].as_array().map_or(&[][..], Vec::as_slice) {
            if matches!(issue["severity"].as_str(), Some("error" | "fatal")) {
                self.line("because", &finding(issue));
            }
        }
    }

    /// Where the exchange stands now.
    pub fn stands(&self, exchange: &Value) {
        for party in exchange["parties"].as_array().map_or(&[][..], Vec::as_slice) {
            if party["role"] != "sender" {
                let status = party["status"].as_str().map_or(String::new(), |s| format!(" (Task {s})"));
                self.line("now", &format!("{}: {}{status}", named(text(&party["unit"])), text(&party["stage"])));
            }
        }
    }

    /// Something that people did.
    pub fn did(&mut self, what: &str) {
        self.line("did", what);
    }

    /// What the sender reads back in its own format.
    pub fn answer(&mut self, what: &str) {
        self.answered += 1;
        self.line("answer", what);
    }

    /// Ends the tale. True: exit 0.
    pub fn sum_up(&self, took: Duration) {
        self.say("");
        self.say(&format!(
            "Done in {:.1} s: {} documents taken in, {} answers read back by the sender, {} requests refused with what to mend.",
            took.as_secs_f32(),
            self.taken,
            self.answered,
            self.refused
        ));
    }

    pub fn broke(&self, error: &anyhow::Error) {
        self.say("");
        self.say(&format!("The journey broke off: {error:#}"));
    }

    pub fn stay(&self) {
        self.say("Both systems stay up, with the addresses above to look at; end with Ctrl-C.");
    }
}

/// A unit by the name people use.
fn named(unit: &str) -> &str {
    match unit {
        documents::ONCOLOGY => "Onkologimottagningen",
        documents::NORTH => "Vårdcentralen Norr",
        documents::HOME_CARE => "Hemsjukvården (kommunen)",
        other => other,
    }
}

/// `CarePlan, Goal ×2, CareTeam`.
fn resources(receipt: &Value) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut order = Vec::new();
    for name in receipt["resources"].as_array().map_or(&[][..], Vec::as_slice) {
        let kind = text(name).split('/').next().unwrap_or_default().to_owned();
        if !order.contains(&kind) {
            order.push(kind.clone());
        }
        *counts.entry(kind).or_default() += 1;
    }
    let shown = order.into_iter().map(|kind| match counts.get(&kind) {
        Some(1) | None => kind,
        Some(n) => format!("{kind} ×{n}"),
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn finding(issue: &Value) -> String {
    let place = issue["expression"][0].as_str().unwrap_or_default();
    let origin = issue["diagnostics"].as_str().map_or(String::new(), |d| format!(" [{d}]"));
    format!("{place} — {}{origin}", text(&issue["details"]["text"]))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
