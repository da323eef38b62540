//! The crash test: the real program under load from many clients, killed with SIGKILL again and again, against a receiver
//! that misbehaves and is killed too. At the end everything is counted: what was acknowledged is there, once, in order.
//!
//! - `programs`: the two processes, and when they are killed
//! - `documents`: what is sent, each version with a mark that is found again wherever it went
//! - `clients`: those who send, and their notes of what they were promised
//! - `people`: the staff at the receiver, who answer, and the person on call, who decides about what is parked
//! - `effects`: what the receiver's database says happened; `books`: what the gateway's says
//! - `table`: the loss table
//!
//! `cargo test` kills 20 times. A long run, printed as Markdown:
//! `CRASH_KILLS=1000 cargo test --test it crash::the_road -- --nocapture`, with `CRASH_SEED` to repeat one.

mod books;
mod clients;
mod documents;
mod effects;
mod people;
pub mod programs;
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clients::{Client, Note};
use people::People;
use programs::{Gateway, Moment, Receiver, Site};
use table::Table;

/// Kills in one chapter: after that the systems begin anew, so that a long run is not a test of large databases.
const CHAPTER: usize = 50;
/// How long the road may take to become quiet when nobody sends and nobody misbehaves any more.
const PATIENCE: Duration = Duration::from_secs(90);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_road_loses_nothing_however_often_it_is_killed() {
    let kills = number("CRASH_KILLS").map_or(20, |n| n as usize);
    let seed = number("CRASH_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000_000));
    println!("crash test: {kills} kills, CRASH_SEED={seed}");
    let mut table = Table::default();
    let mut left = kills;
    let mut chapter = 0;
    while left > 0 {
        let here = left.min(CHAPTER);
        let found = play(seed.wrapping_add(chapter), here).await;
        if kills > CHAPTER {
            println!("chapter {chapter}: {}\n{}", found.line(), found.faults().join("\n"));
        }
        table.add(found);
        left -= here;
        chapter += 1;
    }
    println!("\n{}", table.markdown(seed));
    let faults = table.faults();
    assert!(faults.is_empty(), "CRASH_SEED={seed}\n{}", faults.join("\n"));
    assert!(table.is_telling(), "too little happened to mean anything:\n{}", table.markdown(seed));
}

/// One chapter: both systems from nothing, load, `kills` kills, quiet, and the count.
async fn play(seed: u64, kills: usize) -> Table {
    let mut rng = fastrand::Rng::with_seed(seed);
    let site = Site::open();
    let mut receiver = Receiver::start(&site);
    receiver.misbehave(&mut rng).await;
    let stop = Arc::new(AtomicBool::new(false));
    let people = People::new(&site, rng.u64(..));
    let at_work = tokio::spawn(people.clone().work(Arc::clone(&stop)));
    let clients: Vec<_> = documents::PATIENTS
        .iter()
        .enumerate()
        .map(|(n, patient)| tokio::spawn(Client::new(&site, n, patient, rng.u64(..)).send_until(Arc::clone(&stop))))
        .collect();

    let mut table = Table::default();
    for round in 0..kills {
        let moment = Moment::any(&mut rng);
        let gateway = Gateway::spawn(&site);
        gateway.kill_at(moment, &site, &mut rng).await;
        table.kills.add(moment);
        if rng.u8(..8) == 0 || round == kills / 2 {
            receiver.kill();
            receiver = Receiver::start(&site);
            receiver.misbehave(&mut rng).await;
            table.receiver_kills += 1;
        }
    }

    receiver.behave().await;
    let gateway = Gateway::spawn(&site);
    gateway.listening(&site).await;
    stop.store(true, Ordering::SeqCst);
    let mut notes: Vec<Note> = Vec::new();
    for client in clients {
        notes.extend(client.await.unwrap());
    }
    at_work.await.unwrap();
    quieten(&site, &people, &receiver).await;
    // Even the quiet road is killed rather than stopped: what is counted is what is on disk.
    gateway.kill();
    receiver.kill();

    table.count(&site, &notes).await;
    if table.faults().is_empty() {
        let _ = std::fs::remove_dir_all(&site.folder);
    } else {
        println!("seed {seed}: the databases are kept in {}", site.folder.display());
    }
    table
}

/// Until nothing waits and every answer has come back, or patience ends; what is left then shows in the table.
async fn quieten(site: &Site, people: &People, receiver: &Receiver) {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        people.decide().await;
        let quiet =
            people.nothing_waits().await && books::Books::read(site).unanswered(&receiver.tasks(site)).is_empty();
        if quiet {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
