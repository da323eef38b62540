//! What letting a caller in costs: a token that was seen before, one that never was, and one that is made for an assertion.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::Plan;
use crate::database::settings;
use crate::figures::Figures;
use crate::load::{closed_loop, get, once, post, runtime};
use crate::program::{Program, fresh};
use crate::token::Key;

const PART: &str = "tokens";
const CLIENTS: usize = 32;
/// More than a run can ask: a token that came round again would be one that was seen before.
const PER_S: usize = 12_000;
const SIGNED: usize = 2_000;

pub fn measure(plan: &Plan, figures: &mut Figures) {
    figures.note(format!(
        "Tokens are ES384. {CLIENTS} clients read a Patient that is not there, on record; the cost of a check is the difference \
         between tokens that were never seen and one that was."
    ));
    let folder = fresh(&plan.folder, "tokens");
    let key = Key::new(&folder);
    // One client asks for more tokens than any would be given.
    let many_assertions = settings(None, None, "[oauth]\nassertions = 1000000");
    let program = Program::start(&folder, &folder.join("gateway.db"), &many_assertions);
    let smart = once(program.address, &get("/.well-known/smart-configuration", "")).1;
    let smart: serde_json::Value = serde_json::from_slice(&smart).expect("JSON");
    let audience = smart["token_endpoint"].as_str().expect("an address").to_owned();
    let read = |token: &str| get("/fhir/Patient/00000000-0000-4000-8000-000000000000", token);

    let (mut bare, mut seen, mut unseen, mut made) = (vec![], vec![], vec![], vec![]);
    let (mut seen_cpu, mut check_cpu, mut made_cpu) = (vec![], vec![], vec![]);
    let known = read(&key.bearer("reader"));
    for _ in 0..plan.runs {
        bare.push(verified_a_second(&key));
        let (per_s, cpu) = asked(&program, plan, 404, Arc::new(vec![known.clone()]), false);
        seen.push(per_s);
        seen_cpu.push(cpu);
        let strangers = (0..most(plan)).map(|_| read(&key.bearer_once("reader"))).collect();
        let (per_s, of_stranger) = asked(&program, plan, 404, Arc::new(strangers), true);
        unseen.push(per_s);
        check_cpu.push(of_stranger - cpu);
        let grants = (0..most(plan)).map(|_| grant(&key, "reader", &audience)).collect();
        let (per_s, cpu) = asked(&program, plan, 200, Arc::new(grants), true);
        made.push(per_s);
        made_cpu.push(cpu);
    }
    program.stop();
    let share = check_cpu.iter().zip(&bare).map(|(cpu, bare)| cpu * bare / 1e6).collect();
    figures.add(PART, "signatures that one core verifies", "/s", bare);
    figures.add(PART, "reads with a token that was seen before", "/s", seen);
    figures.add(PART, "… CPU of the gateway for each", "µs", seen_cpu);
    figures.add(PART, "reads with a token that was never seen", "/s", unseen);
    figures.add(PART, "… CPU of checking it", "µs", check_cpu);
    figures.add(PART, "… beside the signature alone", "×", share);
    figures.add(PART, "tokens made for assertions, on record", "/s", made);
    figures.add(PART, "… CPU of the gateway for each", "µs", made_cpu);
}

fn most(plan: &Plan) -> usize {
    (plan.run.as_secs_f64() * 1.2).ceil() as usize * PER_S
}

/// Answers a second, and CPU microseconds for each.
fn asked(program: &Program, plan: &Plan, status: u16, requests: Arc<Vec<Vec<u8>>>, once_each: bool) -> (f64, f64) {
    let next = Arc::new(AtomicUsize::new(0));
    let (taken, all) = (Arc::clone(&next), Arc::clone(&requests));
    let make = move || {
        let at = taken.fetch_add(1, Ordering::Relaxed);
        assert!(!once_each || at < all.len(), "more was asked than was signed");
        all[at % all.len()].clone()
    };
    let before = program.cpu();
    let run = runtime().block_on(closed_loop(program.address, CLIENTS, plan.run, status, Arc::new(make)));
    // What was sent before the clock started is in the CPU time too.
    let sent = next.load(Ordering::Relaxed).saturating_sub(CLIENTS).max(1);
    (run.per_s(), (program.cpu() - before).as_secs_f64() * 1e6 / sent as f64)
}

/// A client asks for a token.
pub fn grant(key: &Key, client: &str, audience: &str) -> Vec<u8> {
    let assertion = key.assertion(client, audience);
    let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    let form = format!(
        "grant_type=client_credentials&scope=system%2F*.rs&client_assertion_type={kind}&client_assertion={assertion}"
    );
    post("/oauth/token", "", "application/x-www-form-urlencoded", form.as_bytes())
}

fn verified_a_second(key: &Key) -> f64 {
    let tokens: Vec<String> = (0..SIGNED).map(|_| key.assertion("reader", "anybody")).collect();
    let begun = Instant::now();
    for token in &tokens {
        assert!(key.verifies(token), "a good signature");
    }
    SIGNED as f64 / begun.elapsed().as_secs_f64()
}
