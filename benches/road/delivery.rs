//! From the POST of a referral to its effect at a receiver on loopback: how many a second, and how soon.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::Plan;
use crate::database::settings;
use crate::documents::{Document, NORTH, next_number, referral};
use crate::figures::{Figures, Goal, quantile};
use crate::load::{Line, closed_loop, runtime};
use crate::program::{Program, fresh};
use crate::receiver::{self, Arrivals};
use crate::token::Key;

const PART: &str = "delivery";
/// Referrals a second, sent whether or not the ones before are answered.
pub const RATE: u32 = 100;
/// How long what was accepted may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn measure(plan: &Plan, figures: &mut Figures) {
    let (base, arrivals) = receiver::start();
    let (mut sustained, mut p50, mut p99) = (vec![], vec![], vec![]);
    for _ in 0..plan.runs {
        let folder = fresh(&plan.folder, "delivery");
        let key = Key::new(&folder);
        let program = Program::start(&folder, &folder.join("gateway.db"), &settings(Some(&base), None, ""));
        sustained.push(sustain(&program, &key, plan.run * 2, &arrivals));
        let mut times = at_rate(program.address, &key.bearer("platform"), plan.run * 2, &arrivals);
        p50.push(quantile(&mut times, 0.5) / 1000.0);
        p99.push(quantile(&mut times, 0.99) / 1000.0);
        program.stop();
    }
    figures.note(
        "Sustained: referrals accepted from 32 clients, divided by the time until the last of them had arrived. A receiver \
         in this process takes everything at once; settings are the defaults.",
    );
    figures.with_goal(PART, "accepted and delivered, sustained", "/s", sustained, Goal::AtLeast(300.0));
    figures.add(PART, format!("POST to effect at {RATE}/s, half within"), "ms", p50);
    figures.with_goal(PART, format!("POST to effect at {RATE}/s, 99 of 100 within"), "ms", p99, Goal::AtMost(60.0));
}

fn sustain(program: &Program, key: &Key, run: Duration, arrivals: &Arrivals) -> f64 {
    arrivals.take();
    let document = referral(NORTH);
    let bearer = key.bearer("platform");
    let sent = Arc::new(Mutex::new(0_usize));
    let counted = Arc::clone(&sent);
    let make = Arc::new(move || {
        *counted.lock().expect("a count") += 1;
        document.request(next_number(), &bearer)
    });
    let started = Instant::now();
    runtime().block_on(closed_loop(program.address, 32, run, 202, make));
    // Each client made one request more than it sent.
    let sent = *sent.lock().expect("a count") - 32;
    wait_for(arrivals, sent);
    sent as f64 / started.elapsed().as_secs_f64()
}

pub fn wait_for(arrivals: &Arrivals, count: usize) {
    let started = Instant::now();
    while arrivals.count() < count {
        assert!(started.elapsed() < PATIENCE, "{} of {count} arrived", arrivals.count());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends referrals at [`RATE`]; for each the microseconds from when it was to be sent to its arrival at the receiver.
pub fn at_rate(address: SocketAddr, bearer: &str, run: Duration, arrivals: &Arrivals) -> Vec<u32> {
    arrivals.take();
    let document = referral(NORTH);
    let sent: HashMap<u64, Instant> = runtime().block_on(send_at_rate(address, bearer, run, &document));
    wait_for(arrivals, sent.len());
    let arrived = arrivals.take();
    sent.iter().map(|(number, at)| arrived[number].duration_since(*at).as_micros() as u32).collect()
}

async fn send_at_rate(address: SocketAddr, bearer: &str, run: Duration, document: &Document) -> HashMap<u64, Instant> {
    // Enough lines that one is always free; what waits for one still counts from its time.
    const LINES: usize = 16;
    let mut lines = Vec::new();
    for _ in 0..LINES {
        let (give, mut work) = mpsc::unbounded_channel::<Vec<u8>>();
        let mut line = Line::open(address).await.expect("a connection");
        let task = tokio::spawn(async move {
            while let Some(request) = work.recv().await {
                let (status, body) = line.ask(&request).await.expect("an answer");
                assert!(status == 202, "answered {status}: {}", String::from_utf8_lossy(body));
            }
        });
        lines.push((give, task));
    }
    let started = tokio::time::Instant::now();
    let mut sent = HashMap::new();
    for n in 0..(run.as_secs_f64() * f64::from(RATE)) as u32 {
        let due = started + Duration::from_secs(1) * n / RATE;
        tokio::time::sleep_until(due).await;
        let number = next_number();
        sent.insert(number, due.into_std());
        lines[n as usize % LINES].0.send(document.request(number, bearer)).expect("a line");
    }
    for (give, task) in lines {
        drop(give);
        task.await.expect("answers");
    }
    sent
}
