//! Reads and searches by a partner with a token, each on record, at several sizes of the database, beside an empty handler.

use std::collections::HashMap;
use std::sync::Arc;

use vardkedja::fhir::canonical::REQUEST_ID;

use crate::Plan;
use crate::database::{Filled, filled, settings};
use crate::documents::{ONCOLOGY, SOUTH};
use crate::figures::{Figures, Goal};
use crate::load::{closed_loop, get, in_turn, once, runtime};
use crate::program::{Program, fresh};
use crate::rows::{day, number};
use crate::token::Key;

const PART: &str = "reads";
const CLIENTS: usize = 32;
const KVA: &str = "urn:oid:1.2.752.116.1.3.2.1.4";
/// Patients asked about, spread over the database: the same number at every size, so that what is warm is the same too.
const PATIENTS: u64 = 40;

/// A question, and the requests it is asked with.
struct Question {
    what: &'static str,
    requests: Vec<Vec<u8>>,
    /// The same without a scope: what it may take at most 1.3 times as long as.
    beside: Option<&'static str>,
}

pub fn measure(plan: &Plan, figures: &mut Figures) {
    figures.note(format!(
        "Reads and searches come from {CLIENTS} clients with a token about {PATIENTS} patients spread over the database. A search by \
         identifier or patient finds one, one by code and date twenty."
    ));
    let mut by_patient = Vec::new();
    for &size in &plan.sizes {
        let database = filled(&plan.folder, size);
        let folder = fresh(&plan.folder, "reads");
        let path = folder.join("gateway.db");
        std::fs::copy(&database.path, &path).expect("a copy");
        let on_record = on(plan, figures, &folder, size, &database, true);
        by_patient.push(on_record);
        on(plan, figures, &folder, size, &database, false);
    }
    if let (Some(first), Some(last)) = (by_patient.first(), by_patient.last()) {
        figures.with_goal(
            PART,
            format!("by patient, time at {} beside {}", name(plan.sizes[plan.sizes.len() - 1]), name(plan.sizes[0])),
            "×",
            vec![first / last],
            Goal::AtMost(1.5),
        );
    }
}

/// Searches by patient a second.
fn on(
    plan: &Plan,
    figures: &mut Figures,
    folder: &std::path::Path,
    size: u64,
    database: &Filled,
    recorded: bool,
) -> f64 {
    let key = Key::new(folder);
    let (settings, caller) = if recorded {
        (settings(None, None, ""), key.bearer("reader"))
    } else {
        // The record can be left out only where nobody has to show a token.
        let open = settings(None, None, "[audit]\nreads = false").replace("jwks_file = \"jwks.json\"\n", "");
        (open, format!("Vardkedja-Unit: {SOUTH}\r\n"))
    };
    let program = Program::start(folder, &folder.join("gateway.db"), &settings);
    let mut by_patient = 0.0;
    let mut rates: HashMap<&str, f64> = HashMap::new();
    let mut asked = questions(database, &caller);
    if recorded {
        asked.extend(narrow(database, &key));
    }
    for question in asked {
        let (status, body) = once(program.address, &question.requests[0]);
        if status == 400 && question.what.contains("_include") {
            figures.note("_include is not served by this version.");
            continue;
        }
        assert!(status == 200, "{} answered {status}: {}", question.what, String::from_utf8_lossy(&body));
        // A first round lets each exchange become read and each page warm.
        for request in &question.requests {
            once(program.address, request);
        }
        let (mut per_s, mut p99, mut cpu) = (vec![], vec![], vec![]);
        // In turns with the empty handler, so that both have the same minutes of a shared machine.
        let mut floor = vec![];
        let is_read = question.what == "read";
        for _ in 0..plan.runs {
            let make = in_turn(question.requests.clone());
            let before = program.cpu();
            let mut run = runtime().block_on(closed_loop(program.address, CLIENTS, plan.run, 200, make));
            // The warm-up is an eighth of the run and is in the CPU time too.
            cpu.push((program.cpu() - before).as_secs_f64() * 8.0 / 9.0 * 1e6 / run.answers as f64);
            per_s.push(run.per_s());
            p99.push(run.milliseconds(0.99));
            if is_read && !recorded {
                let run = runtime().block_on(closed_loop(program.address, CLIENTS, plan.run, 200, empty()));
                floor.push(run.per_s());
            }
        }
        let record = if recorded { "" } else { ", not recorded" };
        let what = format!("{} at {}{record}", question.what, name(size));
        let goal = (is_read && recorded).then_some(Goal::AtLeast(4000.0));
        let median = figures.with_goal(PART, &what, "/s", per_s.clone(), goal);
        figures.add(PART, format!("… 99 of 100 within, {what}"), "ms", p99);
        figures.add(PART, format!("… CPU of the gateway for each, {what}"), "µs", cpu);
        rates.insert(question.what, median);
        if let Some(without) = question.beside.and_then(|beside| rates.get(beside)) {
            let times = per_s.iter().map(|rate| without / rate).collect();
            figures.with_goal(PART, format!("… time beside it without, {what}"), "×", times, Goal::AtMost(1.3));
        }
        if question.what == "by patient" {
            by_patient = median;
        }
        if is_read && !recorded {
            let share = per_s.iter().zip(&floor).map(|(own, floor)| own / floor).collect();
            figures.add(PART, "empty handler", "/s", floor);
            figures.with_goal(PART, format!("… share of it, {what}"), "×", share, Goal::AtLeast(0.3));
        }
        if !recorded {
            break;
        }
    }
    program.stop();
    by_patient
}

fn empty() -> Arc<dyn Fn() -> Vec<u8> + Send + Sync> {
    in_turn(vec![get("/health/live", "")])
}

fn questions(database: &Filled, caller: &str) -> Vec<Question> {
    let rows = &database.rows;
    let copies: Vec<u64> = (0..PATIENTS).map(|n| n * database.copies / PATIENTS).collect();
    let ask = |what: &'static str, path: &dyn Fn(u64) -> String| Question {
        what,
        requests: copies.iter().map(|copy| get(&path(*copy), caller)).collect(),
        beside: None,
    };
    let request = |copy: u64| encoded(&format!("{REQUEST_ID}|{ONCOLOGY}#R-{}", number(copy)));
    let code = encoded(&format!("{KVA}|DV133"));
    vec![
        ask("read", &|copy| format!("/fhir/ServiceRequest/{}", rows.id_in("ServiceRequest", copy))),
        ask("by identifier", &|copy| format!("/fhir/ServiceRequest?identifier={}", request(copy))),
        ask("by patient", &|copy| format!("/fhir/ServiceRequest?patient=Patient/{}", rows.id_in("Patient", copy))),
        ask("by code and date", &|copy| format!("/fhir/Procedure?code={code}&date={}", day(copy))),
        ask("by identifier, with _include", &|copy| {
            format!("/fhir/ServiceRequest?identifier={}&_include=ServiceRequest:subject", request(copy))
        }),
    ]
}

/// Searches that were asked without a scope, now with one that has criteria; each finds the same.
fn narrow(database: &Filled, key: &Key) -> Vec<Question> {
    let with = |scope: &str| questions(database, &key.bearer_with("reader", Some(scope)));
    let same = |what: &'static str, beside: &'static str, scope: &str| {
        let asked = with(scope).into_iter().filter(|question| question.what == beside);
        asked.map(|question| Question { what, beside: Some(beside), ..question }).collect::<Vec<_>>()
    };
    let code = encoded(&format!("{KVA}|DV133"));
    let by_code = format!("system/Procedure.rs?code={code}");
    let by_status = "system/ServiceRequest.rs?status=active system/Patient.rs";
    let two = "system/ServiceRequest.rs?intent=order&status=active system/ServiceRequest.rs?patient.gender=female";
    let mut all = same("by code and date, with its code as scope", "by code and date", &by_code);
    all.extend(same(
        "by code and date, with a status as scope",
        "by code and date",
        "system/Procedure.rs?status=completed",
    ));
    all.extend(same("by patient, with a status as scope", "by patient", by_status));
    all.extend(same("by identifier, with two scopes", "by identifier", two));
    all
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-._:/".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

pub fn name(size: u64) -> String {
    match size {
        1_000_000 => "1 000 000".into(),
        size => format!("{} {:03}", size / 1000, size % 1000),
    }
}
