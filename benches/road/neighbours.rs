//! Whether 128 slow clients and a dead partner change what everybody else gets: runs with and without them, in turns.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Plan;
use crate::database::{send_all, settings};
use crate::delivery::{at_rate, wait_for};
use crate::documents::{MUNICIPALITY, NORTH, SOUTH, next_number, referral};
use crate::figures::{Figures, Goal, median, quantile};
use crate::load::{closed_loop, get, in_turn, once, runtime};
use crate::program::{Program, fresh};
use crate::receiver::{self, Arrivals};
use crate::token::Key;

const PART: &str = "neighbours";
const SLOW_CLIENTS: usize = 128;
/// Deliveries that wait for the dead partner.
const FOR_THE_DEAD: usize = 200;
const CLIENTS: usize = 32;

/// A gateway of its own with what is asked of it.
struct Side {
    program: Program,
    key: Key,
    arrivals: Arrivals,
    accepts: Vec<f64>,
    reads: Vec<f64>,
    effect: Vec<f64>,
}

pub fn measure(plan: &Plan, figures: &mut Figures) {
    let mut quiet = Side::open(&plan.folder, "quiet", None);
    let dead = receiver::start_dead();
    let mut beset = Side::open(&plan.folder, "beset", Some(&dead));
    for _ in 0..FOR_THE_DEAD {
        send_all(&beset.program, &beset.key, next_number(), &[(referral(MUNICIPALITY), "platform")]);
    }
    for _ in 0..plan.runs {
        quiet.run(plan);
        let stop = Arc::new(AtomicBool::new(false));
        let slow = slow_clients(beset.program.address, &beset.key.bearer("platform"), Arc::clone(&stop));
        beset.run(plan);
        stop.store(true, Ordering::Relaxed);
        slow.join().expect("the slow clients");
    }
    figures.note(format!(
        "Neighbours: {SLOW_CLIENTS} clients that send a byte of a referral every tenth of a second, and {FOR_THE_DEAD} referrals \
         for a partner that takes connections and never answers; with and without in turns, each on a gateway of its own."
    ));
    let mut compare = |what: &str, unit, quiet: Vec<f64>, beset: Vec<f64>, goal| {
        let change = median(&beset) / median(&quiet);
        figures.add(PART, format!("{what}, alone"), unit, quiet);
        figures.add(PART, format!("{what}, with bad neighbours"), unit, beset);
        figures.with_goal(PART, format!("… {what}, with beside without"), "×", vec![change], goal);
    };
    compare("referrals accepted, 32 clients", "/s", quiet.accepts, beset.accepts, Goal::AtLeast(0.8));
    compare("reads, 32 clients", "/s", quiet.reads, beset.reads, Goal::AtLeast(0.8));
    compare("POST to effect at 100/s, 99 of 100 within", "ms", quiet.effect, beset.effect, Goal::AtMost(1.2));
}

impl Side {
    fn open(folder: &Path, name: &str, dead: Option<&str>) -> Self {
        let folder = fresh(folder, name);
        let key = Key::new(&folder);
        let (base, arrivals) = receiver::start();
        let program = Program::start(&folder, &folder.join("gateway.db"), &settings(Some(&base), dead, ""));
        send_all(&program, &key, next_number(), &[(referral(SOUTH), "platform")]);
        send_all(&program, &key, next_number(), &[(referral(NORTH), "platform")]);
        wait_for(&arrivals, 1);
        Self { program, key, arrivals, accepts: vec![], reads: vec![], effect: vec![] }
    }

    fn run(&mut self, plan: &Plan) {
        let (address, platform) = (self.program.address, self.key.bearer("platform"));
        let mut effect = at_rate(address, &platform, plan.run, &self.arrivals);
        self.effect.push(quantile(&mut effect, 0.99) / 1000.0);
        let document = referral(SOUTH);
        let make = Arc::new(move || document.request(next_number(), &platform));
        self.accepts.push(runtime().block_on(closed_loop(address, CLIENTS, plan.run, 202, make)).per_s());
        let reader = self.key.bearer("reader");
        let (_, body) = once(address, &get("/fhir/Task?_count=1", &reader));
        let found: serde_json::Value = serde_json::from_slice(&body).expect("a Bundle");
        let id = found["entry"][0]["resource"]["id"].as_str().expect("a Task").to_owned();
        let make = in_turn(vec![get(&format!("/fhir/Task/{id}"), &reader)]);
        self.reads.push(runtime().block_on(closed_loop(address, CLIENTS, plan.run, 200, make)).per_s());
    }
}

/// Clients that hold a connection each and send next to nothing, until they are told to stop.
fn slow_clients(address: SocketAddr, bearer: &str, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let bearer = bearer.to_owned();
    std::thread::spawn(move || {
        runtime().block_on(async move {
            let clients: Vec<_> = (0..SLOW_CLIENTS)
                .map(|_| {
                    tokio::spawn(dawdle(address, referral(SOUTH).request(next_number(), &bearer), Arc::clone(&stop)))
                })
                .collect();
            for client in clients {
                let _ = client.await;
            }
        });
    })
}

async fn dawdle(address: SocketAddr, request: Vec<u8>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(address).await else { continue };
        let head = request.len() - 1000;
        if stream.write_all(&request[..head]).await.is_err() {
            continue;
        }
        for byte in &request[head..] {
            let mut answer = [0; 512];
            // The gateway may have had enough of it.
            let ended = tokio::time::timeout(Duration::from_millis(100), stream.read(&mut answer)).await;
            if ended.is_ok() || stop.load(Ordering::Relaxed) || stream.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
    }
}
