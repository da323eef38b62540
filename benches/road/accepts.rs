//! Referrals taken in, beside the raw ceiling (the same rows straight into SQLite) and the disk's own syncs.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Plan;
use crate::database::{capture, open, send_all, settings};
use crate::documents::{SOUTH, next_number, referral};
use crate::figures::{Figures, Goal};
use crate::load::{closed_loop, runtime};
use crate::program::{Program, fresh};
use crate::rows::{Marks, Rows, write};
use crate::token::Key;

const PART: &str = "accepts";

pub fn measure(plan: &Plan, figures: &mut Figures) {
    let (before, rows) = capture(&plan.folder, "referral", &[(referral(SOUTH), "platform")]);
    figures.note(format!(
        "A referral is {} rows with {} bytes. Its recipient reads from the gateway, so that nothing is sent out meanwhile.",
        rows.count(),
        rows.bytes()
    ));
    figures.add(PART, "fdatasync of 4 KiB", "/s", (0..plan.runs).map(|_| syncs(&plan.folder, plan.run / 2)).collect());
    for &clients in &plan.clients {
        let (mut per_s, mut p50, mut p99, mut cpu, mut ceiling) = (vec![], vec![], vec![], vec![], vec![]);
        for _ in 0..plan.runs {
            // In turns, so that the machine's moods fall on both alike.
            ceiling.push(raw(plan, &before, &rows, clients));
            let run = accept(plan, clients);
            per_s.push(run.per_s);
            p50.push(run.p50_ms);
            p99.push(run.p99_ms);
            cpu.push(run.cpu_us);
        }
        let goal = (clients == 32).then_some(Goal::AtLeast(700.0));
        let ratio = per_s.iter().zip(&ceiling).map(|(own, raw)| own / raw).collect();
        figures.with_goal(PART, format!("referrals accepted, {clients} clients"), "/s", per_s, goal);
        figures.add(PART, format!("… half within, {clients} clients"), "ms", p50);
        figures.add(PART, format!("… 99 of 100 within, {clients} clients"), "ms", p99);
        figures.add(PART, format!("… CPU of the gateway for each, {clients} clients"), "µs", cpu);
        figures.add(PART, format!("raw ceiling, groups of {clients}"), "/s", ceiling);
        let goal = (clients == 32).then_some(Goal::AtLeast(0.4));
        figures.with_goal(PART, format!("… share of the raw ceiling, {clients} clients"), "×", ratio, goal);
    }
}

struct Accepted {
    per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_us: f64,
}

fn accept(plan: &Plan, clients: usize) -> Accepted {
    let folder = fresh(&plan.folder, "accepts");
    let key = Key::new(&folder);
    let program = Program::start(&folder, &folder.join("gateway.db"), &settings(None, None, ""));
    let document = referral(SOUTH);
    send_all(&program, &key, next_number(), &[(document.clone(), "platform")]);
    let bearer = key.bearer("platform");
    let make = Arc::new(move || document.request(next_number(), &bearer));
    let before = program.cpu();
    let mut run = runtime().block_on(closed_loop(program.address, clients, plan.run, 202, make));
    // The warm-up is an eighth of the run and is in the CPU time too.
    let cpu = (program.cpu() - before).as_secs_f64() * 8.0 / 9.0;
    let accepted = Accepted {
        per_s: run.per_s(),
        p50_ms: run.milliseconds(0.5),
        p99_ms: run.milliseconds(0.99),
        cpu_us: cpu * 1e6 / run.answers as f64,
    };
    program.stop();
    accepted
}

/// The same rows in groups of that size straight into SQLite, as durable, with the log looked after as the store does it.
/// Only the writing is timed, not the making of values.
fn raw(plan: &Plan, before: &Path, rows: &Rows, group: usize) -> f64 {
    let folder = fresh(&plan.folder, "ceiling");
    let path = folder.join("raw.db");
    std::fs::copy(before, &path).expect("a copy");
    let db = open(&path, true);
    let mut marks = Marks::of(&db);
    let mut statements = rows.prepare(&db);
    let (mut written, mut took) = (0, Duration::ZERO);
    while took < plan.run {
        let copies: Vec<_> = (0..group).map(|_| rows.copy(&mut marks)).collect();
        let started = Instant::now();
        db.execute_batch("BEGIN IMMEDIATE").expect("a transaction");
        write(&mut statements, &copies);
        db.execute_batch("COMMIT").expect("a commit");
        let pages: i64 = db.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1)).expect("the log");
        if pages >= 2048 {
            db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).expect("a checkpoint");
        }
        took += started.elapsed();
        written += group;
    }
    written as f64 / took.as_secs_f64()
}

/// How often a second the disk takes four kilobytes for certain, in a file that has its room already.
fn syncs(folder: &Path, run: Duration) -> f64 {
    let path = folder.join("syncs");
    let file = File::create(&path).expect("a file");
    let room = vec![1_u8; 4 << 20];
    file.write_all_at(&room, 0).expect("room");
    file.sync_all().expect("a sync");
    let (started, mut count) = (Instant::now(), 0_u64);
    while started.elapsed() < run {
        file.write_all_at(&room[..4096], count % 1024 * 4096).expect("a page");
        file.sync_data().expect("a sync");
        count += 1;
    }
    let _ = std::fs::remove_file(path);
    count as f64 / started.elapsed().as_secs_f64()
}
