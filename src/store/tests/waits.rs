//! Waits against a naive model: random moves, pauses, deaths, rounds and restarts, and somebody who counts every minute.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;

use super::*;
use crate::domain::clock::{After, Clocks, Priority, Rule, Sort, Step};
use crate::domain::task::Status;

/// After how many minutes each level of each step is reached.
const LIMITS: [(Step, &[u32]); 5] = [
    (Step::NotDelivered, &[180, 400]),
    (Step::NoReceipt, &[300, 301, 900]),
    (Step::NoDecision, &[500, 1200]),
    (Step::NoCompletion, &[240]),
    (Step::NoOutcome, &[2000, 3000]),
];

fn rules() -> Arc<Clocks> {
    let rule = |(step, minutes): (Step, &[u32])| Rule {
        region: None,
        step,
        sorts: vec![Sort::Referral],
        priorities: vec![Priority::Routine],
        levels: minutes.iter().map(|m| After::Seconds(m * 60)).collect(),
        line: 1,
    };
    Arc::new(Clocks::check(LIMITS.map(rule).to_vec(), true, true, "a mark".into()).unwrap())
}

fn open(folder: &Folder, clocks: Arc<Clocks>) -> Store {
    Store::open(&folder.database(), Options { clocks: Some(clocks), ..Options::default() }).unwrap()
}

/// Somebody who looks at the clock every minute and keeps a count for each step.
#[derive(Default)]
struct Model {
    status: Option<Status>,
    stage: Option<Stage>,
    /// Minutes that counted, and the levels that were told since it last stood still.
    steps: BTreeMap<Step, (u32, u8)>,
    person_until: Option<i64>,
    is_dead: bool,
}

impl Model {
    fn steps_now(&self) -> Vec<Step> {
        let (status, stage) = (self.status.unwrap(), self.stage.unwrap());
        let mut steps = Vec::new();
        if stage == Stage::Waiting {
            steps.push(Step::NotDelivered);
        }
        match status {
            Status::Requested if stage == Stage::Delivered || self.steps.contains_key(&Step::NoReceipt) => {
                steps.push(Step::NoReceipt);
            }
            Status::Received => steps.push(Step::NoDecision),
            Status::Accepted | Status::InProgress => steps.push(Step::NoOutcome),
            Status::OnHold => {
                steps.push(Step::NoCompletion);
                let had = self.steps.contains_key(&Step::NoOutcome);
                steps.push(if had { Step::NoOutcome } else { Step::NoDecision });
            }
            _ => {}
        }
        steps
    }

    fn is_held(&self, step: Step, minute: i64) -> bool {
        let by_task = self.status == Some(Status::OnHold) && matches!(step, Step::NoDecision | Step::NoOutcome);
        self.is_dead || by_task || self.person_until.is_some_and(|until| minute < until)
    }

    fn turn(&mut self, minute: i64) {
        let now = self.steps_now();
        self.steps.retain(|step, _| now.contains(step));
        for step in now {
            self.steps.entry(step).or_default();
        }
        for step in self.steps.keys().copied().collect::<Vec<_>>() {
            if self.is_held(step, minute) {
                self.steps.get_mut(&step).unwrap().1 = 0;
            }
        }
    }

    fn tick(&mut self, minute: i64) {
        let held: Vec<Step> = self.steps.keys().copied().filter(|step| self.is_held(*step, minute)).collect();
        for (step, (count, _)) in &mut self.steps {
            *count += u32::from(!held.contains(step));
        }
    }

    fn reached(&self, step: Step) -> usize {
        let limits = LIMITS.iter().find(|(s, _)| *s == step).unwrap().1;
        limits.iter().filter(|limit| self.steps[&step].0 >= **limit).count()
    }
}

fn patient_put(version: u32, is_dead: bool, minute: i64) -> Put {
    let at = at(minute).to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let body = format!(
        r#"{{"resourceType":"Patient","id":"p1","meta":{{"versionId":"{version}","lastUpdated":"{at}"}},"deceasedBoolean":{is_dead}}}"#
    );
    Put { body: body.into(), ..put("Patient", "p1", version) }
}

/// Tells what is due, as the gateway does, with a Task that is always the same.
async fn sweep(store: &Store, model: &mut Model, minute: i64) {
    for wait in store.due_waits(at(minute), 50).await.unwrap() {
        let is_deceased = wait.held_by == Some(HeldBy::Deceased);
        let due = |level: &usize| wait.due(*level) <= at(minute).timestamp_millis();
        let reached = (1..=3).filter(due).max().unwrap_or(0);
        let level = if is_deceased { wait.level } else { u8::try_from(reached).unwrap() };
        assert!(is_deceased || level > wait.level, "told twice, or too early: {wait:?} at {minute}");
        let raised = Raised {
            exchange: wait.exchange,
            unit: wait.unit.clone(),
            step: wait.step,
            subject: String::new(),
            since: wait.since,
            before: wait.level,
            level,
            is_deceased,
            at: at(minute),
            tasks: Vec::new(),
        };
        let done = store.commit(Commit { raised: vec![raised.clone()], ..Commit::default() }).await.unwrap();
        // Of a death the whole exchange is told at once.
        assert!(is_deceased || matches!(done, Committed::Done { .. }), "{wait:?}");
        let again = store.commit(Commit { raised: vec![raised], ..Commit::default() }).await.unwrap();
        assert!(matches!(again, Committed::Conflict(Expect::Waiting { .. })), "the same is told once");
        if !is_deceased {
            assert_eq!(usize::from(level), model.reached(wait.step), "{wait:?} at {minute}");
            model.steps.get_mut(&wait.step).unwrap().1 = level;
        }
    }
}

#[tokio::test]
async fn waits_are_overdue_when_somebody_who_counts_every_minute_says_so() {
    use Status::*;
    let stands = [
        (Requested, Stage::Waiting),
        (Requested, Stage::Delivered),
        (Received, Stage::Received),
        (Received, Stage::Waiting),
        (OnHold, Stage::OnHold),
        (Accepted, Stage::Accepted),
        (InProgress, Stage::InProgress),
        (Accepted, Stage::Waiting),
        (Completed, Stage::Completed),
    ];
    let (mut overdue, mut held, mut told) = (0, 0, 0);
    for seed in 0..30 {
        let mut random = Rng::with_seed(seed);
        let (folder, clocks) = (Folder::new(), rules());
        let mut store = open(&folder, Arc::clone(&clocks));
        let mut model = Model { status: Some(Requested), stage: Some(Stage::Waiting), ..Model::default() };
        let mut one = exchange("d");
        let step = |one: &mut Exchange, model: &Model, minute: i64| {
            one.stage = model.stage.unwrap();
            one.updated_at = at(minute);
            one.parties[1] = Party {
                task: Some("t".into()),
                status: model.status,
                stage: model.stage.unwrap(),
                ..party(HELPER, "norr", PartyRole::Recipient)
            };
        };
        step(&mut one, &model, 0);
        store
            .done(Commit { exchanges: vec![one.clone()], put: vec![patient_put(1, false, 0)], ..Commit::default() })
            .await;
        let (mut version, mut pause) = (1, None);
        model.turn(0);
        for minute in 1..4000_i64 {
            // Where a pause ends by itself, it does between two minutes.
            model.tick(minute - 1);
            if model.person_until.is_some_and(|until| until <= minute) {
                model.person_until = None;
            }
            match random.u32(..900) {
                0..=5 => {
                    (model.status, model.stage) = {
                        let (status, stage) = stands[random.usize(..stands.len())];
                        (Some(status), Some(stage))
                    };
                    one.revision += 1;
                    step(&mut one, &model, minute);
                    store.done(Commit { exchanges: vec![one.clone()], ..Commit::default() }).await;
                    model.turn(minute);
                }
                6..=7 if model.person_until.is_none() => {
                    let (id, length) = (Uuid::now_v7(), random.i64(1..600));
                    let (by, reason) = ("SE-P1".to_owned(), "resa".to_owned());
                    let (from, until) = (at(minute), at(minute + length));
                    let begin = PauseChange::Begin { id, exchange: one.id, unit: None, from, until, by, reason };
                    store.done(Commit { pauses: vec![begin], ..Commit::default() }).await;
                    (pause, model.person_until) = (Some(id), Some(minute + length));
                    model.turn(minute);
                }
                8 if model.person_until.is_some() => {
                    let end =
                        PauseChange::End { id: pause.unwrap(), exchange: one.id, at: at(minute), by: "SE-P2".into() };
                    store.done(Commit { pauses: vec![end], ..Commit::default() }).await;
                    model.person_until = None;
                    model.turn(minute);
                }
                // Whoever has died by mistake is soon alive again.
                n if n == 9 && !model.is_dead || (40..50).contains(&n) && model.is_dead => {
                    model.is_dead = !model.is_dead;
                    version += 1;
                    let put = patient_put(version, model.is_dead, minute);
                    store.done(Commit { put: vec![put], ..Commit::default() }).await;
                    model.turn(minute);
                }
                10..=30 => sweep(&store, &mut model, minute).await,
                31 if seed % 10 == 0 => {
                    store.close();
                    store = open(&folder, Arc::clone(&clocks));
                }
                _ => continue,
            }
            let found = store.waits_of(one.id).await.unwrap();
            let steps: Vec<Step> = {
                let mut s: Vec<Step> = found.iter().map(|w| w.step).collect();
                s.sort();
                s
            };
            assert_eq!(steps, model.steps.keys().copied().collect::<Vec<_>>(), "seed {seed}, minute {minute}");
            for wait in &found {
                let is_held = model.is_held(wait.step, minute);
                let expected = !is_held && model.reached(wait.step) > 0;
                let seen = format!("seed {seed}, minute {minute}: {wait:?}, counted {}", model.steps[&wait.step].0);
                assert_eq!(wait.is_overdue(at(minute)), expected, "{seen}");
                assert_eq!(wait.is_held(at(minute)), is_held, "{seen}");
                assert_eq!(wait.level, model.steps[&wait.step].1, "{seen}");
                (overdue, held) = (overdue + usize::from(expected), held + usize::from(is_held));
                told += usize::from(wait.level > 0);
            }
        }
        store.close();
    }
    assert!(overdue > 200 && held > 200 && told > 200, "too little happened: {overdue} {held} {told}");
}

/// What a hundred thousand open exchanges cost: `cargo test --lib a_hundred_thousand -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn a_hundred_thousand_open_exchanges_cost_what_is_found() {
    let (folder, clocks) = (Folder::new(), rules());
    let store = open(&folder, clocks);
    let started = std::time::Instant::now();
    for chunk in 0..100 {
        let exchanges = (0..1000).map(|n| {
            let mut one = exchange(&format!("d{chunk}-{n}"));
            one.updated_at = at(chunk * 1000 + n);
            let unit = format!("SE2321000131-E{}", n % 200);
            one.parties[1] = Party { unit, ..party(HELPER, "norr", PartyRole::Recipient) };
            one
        });
        store.done(Commit { exchanges: exchanges.collect(), ..Commit::default() }).await;
    }
    println!("100 000 exchanges written in {:?}", started.elapsed());
    let time = |what: &'static str, since: std::time::Instant| println!("{what}: {:?}", since.elapsed());
    let now = at(100_000);
    let since = std::time::Instant::now();
    assert!(store.next_wait().await.unwrap().is_some());
    time("the next due", since);
    let since = std::time::Instant::now();
    assert_eq!(store.due_waits(at(180 + 20), 500).await.unwrap().len(), 21);
    time("21 that are due", since);
    let query = WaitQuery {
        filter: units(&["SE2321000131-E7"]),
        unit: None,
        step: None,
        sort: None,
        among: None,
        overdue_at: None,
        limit: 50,
        after: None,
    };
    let since = std::time::Instant::now();
    assert_eq!(store.open_loops(&query).await.unwrap().len(), 50);
    time("a page of a unit's 500", since);
    let since = std::time::Instant::now();
    assert_eq!(store.count_loops(&query, now).await.unwrap()[0].open, 500);
    time("a unit's 500 counted", since);
    let all = WaitQuery { filter: Filter::ALL, ..query };
    let since = std::time::Instant::now();
    assert_eq!(store.open_loops(&all).await.unwrap().len(), 50);
    time("a page of all", since);
    let since = std::time::Instant::now();
    assert_eq!(store.count_loops(&all, now).await.unwrap()[0].open, 100_000);
    time("all counted", since);
    let since = std::time::Instant::now();
    assert_eq!(store.open_counts().await.unwrap()[0].count, 100_000);
    time("counted for a scrape", since);
}
