//! A status as one screen of plain text.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use crate::sync::status::{Partner, State, Status};

/// Causes and silent units shown; more are counted.
const LINES: usize = 5;

/// The whole screen.
pub fn screen(status: &Status) -> String {
    let mut out = String::new();
    head(&mut out, status);
    partners(&mut out, status);
    parked(&mut out, status);
    answers(&mut out, status);
    loops(&mut out, status);
    disk(&mut out, status);
    concerns(&mut out, status);
    out
}

/// What to say where there is no gateway.
pub fn nobody_answers(url: &str, late: bool) -> String {
    let what = if late { "does not answer in time" } else { "does not answer" };
    format!(
        "no gateway at {url}: it {what}. Is it running (systemctl status vardkedja)? What waits is in its database: \
         vardkedja status --db FILE"
    )
}

fn head(out: &mut String, status: &Status) {
    let state = match status.gateway {
        State::Ready => "up and ready",
        State::NotReady => "up, but the database cannot be written: NO DOCUMENTS ARE TAKEN",
        State::Stopping => "stopping",
        State::Offline => "not asked: read from the database",
    };
    let _ = write!(out, "vardkedja {}   {state}", status.version);
    if let Some(since) = &status.since {
        let _ = write!(out, "   since {since} ({})", age(since, &status.now));
    }
    let _ = writeln!(out);
}

fn partners(out: &mut String, status: &Status) {
    if status.partners.is_empty() {
        let _ = writeln!(out, "\nNothing is undelivered.");
        return;
    }
    let width = status.partners.iter().map(|p| p.name.chars().count()).max().unwrap_or(0).max(9);
    let _ = writeln!(out, "\nUNDELIVERED{:pad$} waiting   oldest   in flight   parked   oldest", "", pad = width - 9);
    for partner in &status.partners {
        let Partner { name, waiting, in_flight, parked, .. } = partner;
        let oldest = partner.oldest_waiting_at.as_deref().map_or("-".into(), |at| age(at, &status.now));
        let oldest_parked = partner.oldest_parked_at.as_deref().map_or("-".into(), |at| age(at, &status.now));
        let _ =
            writeln!(out, "  {name:width$} {waiting:>7} {oldest:>8} {in_flight:>11} {parked:>8} {oldest_parked:>8}");
    }
}

fn parked(out: &mut String, status: &Status) {
    if status.parked.is_empty() {
        return;
    }
    let _ = writeln!(out, "\nPARKED, by cause");
    for cause in status.parked.iter().take(LINES) {
        let _ = writeln!(
            out,
            "  {:>5}  {}: {} ({}), the oldest {}",
            cause.count,
            cause.partner,
            cause.reason,
            cause.class,
            age(&cause.oldest_at, &status.now)
        );
        let more = if cause.count as usize > cause.deliveries.len() { " …" } else { "" };
        let _ = writeln!(out, "         {}{more}", cause.deliveries.join(" "));
    }
    more(out, status.parked.len());
}

fn answers(out: &mut String, status: &Status) {
    if status.held.count > 0 {
        let oldest = status.held.oldest_at.as_deref().map_or(String::new(), |at| age(at, &status.now));
        let _ = writeln!(out, "\nANSWERS HELD  {} that could not be applied, the oldest {oldest}", status.held.count);
    }
    if status.unanswered.is_empty() {
        return;
    }
    let _ = writeln!(out, "\nLONGEST UNANSWERED (reached their unit, nobody has touched them)");
    for silent in status.unanswered.iter().take(LINES) {
        let _ = writeln!(
            out,
            "  {:>8}  {} at {}   /v1/exchanges/{}",
            age(&silent.since, &status.now),
            silent.unit,
            silent.partner,
            silent.exchange
        );
    }
    more(out, status.unanswered.len());
}

fn loops(out: &mut String, status: &Status) {
    if status.loops.is_empty() {
        return;
    }
    let _ = writeln!(out, "\nOPEN LOOPS          open  overdue  escalated   oldest");
    for line in &status.loops {
        let oldest = age(&line.oldest_at, &status.now);
        let (step, open, overdue, escalated) = (&line.step, line.open, line.overdue, line.escalated);
        let _ = writeln!(out, "  {step:16} {open:>6} {overdue:>8} {escalated:>10} {oldest:>8}");
    }
}

fn disk(out: &mut String, status: &Status) {
    let backup = match &status.backup {
        Some(backup) => format!("newest backup {} ({})", backup.made_at, age(&backup.made_at, &status.now)),
        None => "no backup is known (vardkedja backup)".into(),
    };
    let _ = writeln!(
        out,
        "\nDISK  {} free, database {}, log {}; {backup}",
        size(status.disk.free_bytes),
        size(status.disk.database_bytes),
        size(status.disk.log_bytes)
    );
}

fn concerns(out: &mut String, status: &Status) {
    if status.concerns.is_empty() {
        let _ = writeln!(out, "\nNothing needs a person.");
        return;
    }
    let _ = writeln!(out, "\nNEEDS A PERSON");
    for (at, concern) in status.concerns.iter().enumerate() {
        let _ = writeln!(out, "  {}. {}\n     {}", at + 1, concern.en, concern.sv);
        if let Some(command) = &concern.command {
            let _ = writeln!(out, "     $ {command}");
        }
    }
}

fn more(out: &mut String, all: usize) {
    if all > LINES {
        let _ = writeln!(out, "         and {} more (--json)", all - LINES);
    }
}

/// How long ago, in the two largest units.
fn age(at: &str, now: &str) -> String {
    let (Ok(at), Ok(now)) = (at.parse::<DateTime<Utc>>(), now.parse::<DateTime<Utc>>()) else { return "?".into() };
    let seconds = (now - at).num_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

fn size(bytes: u64) -> String {
    const MIB: u64 = 1024 * 1024;
    match bytes {
        0..MIB => format!("{} kB", bytes.div_ceil(1024)),
        MIB..=10_737_418_239 => format!("{} MB", bytes / MIB),
        _ => format!("{} GB", bytes / (1024 * MIB)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_sizes_are_short() {
        let now = "2026-03-02T12:00:00Z";
        for (at, said) in [
            ("2026-03-02T11:59:30Z", "30s"),
            ("2026-03-02T11:15:00Z", "45m"),
            ("2026-03-02T09:55:00Z", "2h05m"),
            ("2026-02-27T11:00:00Z", "3d01h"),
        ] {
            assert_eq!(age(at, now), said);
        }
        assert_eq!([size(1), size(5 * 1024 * 1024), size(20 << 30)], ["1 kB", "5 MB", "20 GB"]);
    }
}
