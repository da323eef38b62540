//! Everything that can be asked of the store, and written to it, in every shape: for the test that looks at the plans.

use super::*;
use crate::domain::delivery::State;
use crate::fhir::search;

/// Asks everything that can be asked, in every shape.
pub(super) async fn ask_everything(store: &Store) {
    let one = exchange("d1");
    let sent = delivery(one.id, "norr", "p1");
    store
        .done(Commit {
            put: vec![Put { units: vec![ASKER.into()], exchange: Some(one.id), ..patient("p1", "195009072553") }],
            exchanges: vec![one.clone()],
            documents: vec![document(one.id, 1)],
            deliveries: vec![sent.clone()],
            delivery_changes: vec![change(&sent, State::Waiting, State::Delivered)],
            inbound: vec![inbound("norr", "k")],
            answer: Some(answer("syd", "k")),
            expect: vec![
                Expect::Unused { client: "c".into(), jti: [0; 32] },
                Expect::FewAssertions { client: "c".into(), most: 1, at: at(0) },
            ],
            assertion: Some(Assertion { client: "c".into(), jti: [0; 32], at: at(0), expires_at: at(5) }),
            audit: vec![audit("submit")],
            ..Commit::default()
        })
        .await;
    let registries = Deed::Registries(vec![("rehab".to_owned(), false)]);
    store.done(Commit { deeds: vec![registries], ..Commit::default() }).await;
    for filter in [Filter::ALL, units(&[ASKER]), narrow(), Filter::registry("rehab")] {
        store.resource(&filter, "Patient", "p1").await.unwrap();
        store.version(&filter, "Patient", "p1", 1).await.unwrap();
        store.versions(&filter, &versions("Patient", "p1", 5, None)).await.unwrap();
        let of_type = Versions { resource_type: Some("Patient".into()), limit: 5, ..Versions::default() };
        store.versions(&filter, &of_type).await.unwrap();
        let of_all = Versions { since: Some(at(0)), limit: 5, ..Versions::default() };
        store.versions(&filter, &of_all).await.unwrap();
        store.by_identifier(&filter, "Patient", PNR, "195009072553").await.unwrap();
        store.exchange(&filter, one.id).await.unwrap();
        let default = ExchangeQuery::default;
        let before = Some((at(0), one.id));
        for query in [
            default(),
            ExchangeQuery { before, ..default() },
            ExchangeQuery { open: true, before, ..default() },
            ExchangeQuery { attention: true, unit: Some(ASKER.into()), before, ..default() },
            ExchangeQuery { stage: Some(Stage::Waiting), before, ..default() },
            ExchangeQuery { patient: Some("p1".into()), before, ..default() },
            ExchangeQuery { unit: Some(ASKER.into()), before, ..default() },
            ExchangeQuery { partner: Some("norr".into()), kind: Some(Kind::Referral), before, ..default() },
        ] {
            store.exchanges(&filter, &query).await.unwrap();
        }
        ask_by_search(store, &filter).await;
        super::exports::ask_everything(store, &filter).await;
    }
    // When nothing is rare any more the other plan is made.
    store.done(puts((0..1100).map(crowded))).await;
    for filter in [Filter::ALL, units(&[ASKER]), narrow(), Filter::registry("rehab")] {
        ask_by_search(store, &filter).await;
    }
    ask_for_acts(store).await;
    store.patient_id(PNR, "195009072553").await.unwrap();
    store.exchange_of("org", Kind::Referral, "d1").await.unwrap();
    store.exchange_of_resource("Patient", "p1").await.unwrap();
    store.unreached(&["Patient/p1".into()], &[ASKER.into()]).await.unwrap();
    store.document(one.id, None).await.unwrap();
    store.document(one.id, Some(1)).await.unwrap();
    store.documents(one.id).await.unwrap();
    store.recall("syd", "k").await.unwrap();
    for (id, exchange, partner, state) in [
        (Some(sent.id), None, None, None),
        (None, Some(one.id), None, Some(State::Parked)),
        (None, None, Some("norr".to_owned()), None),
        (None, None, Some("norr".to_owned()), Some(State::Parked)),
        (None, None, Some("norr".to_owned()), Some(State::Waiting)),
        (None, None, Some("norr".to_owned()), Some(State::Delivered)),
        (None, None, None, Some(State::Parked)),
    ] {
        let own = Filter::units(vec![ASKER.into()]);
        for (filter, after) in [(Filter::ALL, None), (Filter::ALL, Some(1)), (own, Some(1)), (narrow(), None)] {
            let (partner, query) =
                (partner.clone(), DeliveryQuery { filter, after, limit: 5, ..DeliveryQuery::default() });
            store.deliveries(&DeliveryQuery { id, exchange, partner, state, ..query }).await.unwrap();
        }
    }
    store.attempts(sent.id).await.unwrap();
    store.due(at(0), &[], &Rooms::upto(5)).await.unwrap();
    store.head_of("norr", "p1").await.unwrap();
    store.retrying("norr", at(0), 5).await.unwrap();
    store.queue().await.unwrap();
    let states = vec![State::Delivered];
    let (partner, filter) = ("norr".to_owned(), Filter::units(vec![ASKER.into()]));
    let window = Window { partner, from: at(0), to: at(1), states, filter, after: None, limit: 5 };
    store.deliveries_between(&window).await.unwrap();
    store.lane_after(one.id, "norr", 0).await.unwrap();
    let end = Expect::LaneEnd { exchange: one.id, partner: "norr".into(), seq: 0 };
    store.commit(Commit { expect: vec![end], ..Commit::default() }).await.unwrap();
    store.open_tasks("norr", 5, None).await.unwrap();
    store.held_inbound(None, 5).await.unwrap();
    store.held_inbound(Some("norr"), 5).await.unwrap();
    store.worklist().await.unwrap();
    store.inbound_of(one.id).await.unwrap();
    store.verify_audit().await.unwrap();
    let before = Some((0, 1));
    for query in [
        AuditQuery { patient: Some("p1".into()), before, ..AuditQuery::default() },
        AuditQuery { failed: true, before, ..AuditQuery::default() },
        AuditQuery { from: Some(at(0)), ..AuditQuery::default() },
    ] {
        store.audit_rows(&Filter::ALL, &query).await.unwrap();
    }
    store.audit_row(&Filter::ALL, 1).await.unwrap();
    store.leaving(at(0), 5).await.unwrap();
    let head = store.audit_head().await.unwrap();
    store.audit_hash(head.seq).await.unwrap();
    let (kind, token) = (CheckpointKind::Prune, "a.b.c".to_owned());
    let made = Checkpoint { number: 1, kind, seq: head.seq, hash: head.hash, at: at(0), token };
    store.done(Commit { checkpoint: Some(made), ..Commit::default() }).await;
    store.last_checkpoint().await.unwrap();
    store.checkpoints(0).await.unwrap();
    let prune = Some(Prune { through: 0, most: 1 });
    store.done(Commit { prune, ..Commit::default() }).await;
    store.verify_audit().await.unwrap();
    for when in [Some(at(3)), None] {
        let look = Look { exchange: one.id, at: when, tasks: Vec::new() };
        store.done(Commit { looks: vec![look], ..Commit::default() }).await;
    }
    store.plans_due(at(0), 9).await.unwrap();
    store.next_look().await.unwrap();
    store.reassessments("p1").await.unwrap();
    ask_of_rights(store).await;
    ask_for_subscribers(store).await;
    // Last: it leaves something in the lane.
    ask_about_blocks(store, &one, &sent).await;
}

/// What is asked of patients' rights and of what is due; what it writes is prepared by the tests of those.
async fn ask_of_rights(store: &Store) {
    let id = Uuid::now_v7();
    store.opt_out(id).await.unwrap();
    store.opt_outs(PNR, "195009072553").await.unwrap();
    store.informed(PNR, "195009072553").await.unwrap();
    store.objected_since("rehab", 0).await.unwrap();
    store.returned_since("rehab", 0).await.unwrap();
    store.informed_since("rehab", 0).await.unwrap();
    store.erasures("rehab", 0, 9).await.unwrap();
    store.disclosed(&units(&[ASKER]), "p1").await.unwrap();
    store.to_erase(&units(&[ASKER]), "p1").await.unwrap();
    store.held_by("rehab", 0, 9).await.unwrap();
    store.hold(id).await.unwrap();
    store.holds(9).await.unwrap();
    store.removable(Kind::Referral, at(0), 9).await.unwrap();
    store.stubs(at(0), 9).await.unwrap();
    store.stub_of(id).await.unwrap();
    let rules = crate::config::Config::parse("").unwrap().retention.rules;
    store.tally(&rules, at(0)).await.unwrap();
    for what in crate::domain::retention::What::ALL {
        store.has_copies_due(what, at(0), at(0)).await.unwrap();
    }
    store.programme(id).await.unwrap();
    store.programme_resources(id).await.unwrap();
    store.programmes_of("p1").await.unwrap();
    store.programmes_due(at(0), 9).await.unwrap();
    store.programme_next().await.unwrap();
    store.programme_hold("p1").await.unwrap();
    for filter in [Filter::ALL, units(&[ASKER])] {
        store.programmes(&filter, at(5), 9).await.unwrap();
    }
    super::removal::write_everything(store).await;
}

/// A subscription's whole life, and every question about it.
async fn ask_for_subscribers(store: &Store) {
    use crate::domain::subscription::{Payload, Status};
    let id = Uuid::new_v4();
    let channel = Hook {
        endpoint: "https://x.example".into(),
        headers: Vec::new(),
        payload: Payload::IdOnly,
        heartbeat_s: None,
        timeout_s: 1,
        max_count: 1,
    };
    let (client, caller, topic, asked) = ("c".to_owned(), "{}".into(), "t".into(), "{}".into());
    let status = Status::Active;
    let order = SubscriptionOrder { id, client, caller, topic, asked, channel, status, end_at: None, at: at(0) };
    let order = Box::new(order);
    let room = Expect::SubscriptionRoom { client: "c".into(), most: 1 };
    let begin = vec![SubscriptionChange::Begin(order.clone())];
    store.done(Commit { expect: vec![room], subscriptions: begin, ..Commit::default() }).await;
    let share = vec![Share { resources: vec!["Patient/p1".into()], units: vec![HELPER.into()] }];
    store.done(Commit { share, ..Commit::default() }).await;
    let happened = store.happened(0, &["Patient".to_owned()], 9).await.unwrap();
    let event = |seq| NewEvent { subscription: id, seq, rid: 1, version: happened.rows[0].version_seq, at: at(0) };
    let eyes = Box::new(Eyes { filter: narrow(), rights: vec![Right::Search, Right::Read] });
    let spoken = Spoken {
        id,
        generation: 2,
        status,
        error: None,
        told: Some(0),
        attempts: 0,
        failing_since: None,
        due_at: None,
        spoken_at: None,
        at: at(0),
    };
    let last = store.last_seq().await.unwrap();
    let all = vec![
        SubscriptionChange::Match { through: last, events: vec![event(last + 1), event(last + 2)] },
        SubscriptionChange::Number { id, eyes: Box::new(Eyes { filter: Filter::ALL, ..*eyes.clone() }), most: 1 },
        SubscriptionChange::Offer { id, eyes: eyes.clone(), most: 1 },
        SubscriptionChange::Revise { order, version: 1 },
        SubscriptionChange::Speak(Box::new(spoken)),
    ];
    let stands = vec![Expect::Subscription { subscription: id }];
    store.done(Commit { expect: stands, subscriptions: all, ..Commit::default() }).await;
    store.subscription(id).await.unwrap();
    store.subscriptions_of("c", Some((at(0), id)), 5).await.unwrap();
    store.subscriptions_changed(0).await.unwrap();
    store.matched().await.unwrap();
    store.with_news(vec![id]).await.unwrap();
    store.offered(id, &eyes).await.unwrap();
    store.numbered(id, &eyes, (1, 9), 5).await.unwrap();
    store.last_number(id, &eyes, 0).await.unwrap();
    store.overfull(vec![id], at(1), 1).await.unwrap();
    let end = vec![SubscriptionChange::Forget { id, before: at(1), keep: 1 }, SubscriptionChange::Remove { id }];
    store.done(Commit { subscriptions: end, ..Commit::default() }).await;
}

/// Facts of every kind, and every question for them.
async fn ask_for_acts(store: &Store) {
    let own = |system: &str, code: &str| {
        format!(r#"{{"coding":[{{"system":"https://vardkedja.example/fhir/CodeSystem/{system}","code":"{code}"}}]}}"#)
    };
    let nurse = format!(r#"{{"resourceType":"PractitionerRole","code":[{}]}}"#, own("profession", "contact-nurse"));
    let team = r#"{"resourceType":"CareTeam","subject":{"reference":"Patient/p1"},"participant":[{"member":{"reference":"PractitionerRole/n"}}]}"#;
    let act = |code: &str, more: &str| {
        format!(
            r#"{{"resourceType":"Procedure","status":"completed","code":{{"coding":[{{"system":"urn:oid:1.2.752.116.1.3.2.1.4","code":"{code}"}}]}},
            "subject":{{"reference":"Patient/p1"}},"performedDateTime":"2026-01-31"{more}}}"#
        )
    };
    let body = |put: Put, body: String| Put { body: body.into(), units: vec![ASKER.into()], ..put };
    store
        .done(puts([
            body(put("PractitionerRole", "n", 1), nurse),
            body(put("CareTeam", "t", 1), team.to_owned()),
            body(put("Procedure", "a1", 1), act("DV143", r#","encounter":{"reference":"Encounter/e"}"#)),
            body(
                put("Procedure", "z1", 1),
                act("ZV051", r#","partOf":[{"reference":"Procedure/a1"}],"encounter":{"reference":"Patient/p1"}"#),
            ),
        ]))
        .await;
    let day = |text: &str| text.parse().unwrap();
    let span = ActSpan { code: "DV143".into(), first: day("2024-12-31"), last: day("2026-02-27") };
    for filter in [Filter::ALL, units(&[ASKER])] {
        for apart in 0..8 {
            let apart = Apart { month: apart & 1 > 0, unit: apart & 2 > 0, patient: apart & 4 > 0 };
            let question = ActQuestion { spans: vec![span.clone()], apart };
            let acts = store.fold_acts(&filter, question, 0, |all, row| *all += row.acts).await.unwrap();
            assert_eq!(acts, 1);
        }
        for kind in crate::fhir::act::Kind::ALL {
            store.reached(&filter, kind, span.first, span.last).await.unwrap();
        }
    }
    assert_eq!(store.codes_in_use().await.unwrap().len(), 1);
}

async fn ask_about_blocks(store: &Store, exchange: &Exchange, sent: &Delivery) {
    use crate::domain::block::{Period, Scope};
    let scope = Scope::Outer { provider: exchange.organisation.clone() };
    let (id, patient, by) = (Uuid::now_v7(), String::from("p1"), String::from("SE-N"));
    let (period, registered_at, lifted) = (Period::default(), at(0), Some(Lifted { at: at(0), by: by.clone() }));
    let standing = Block { id, patient, scope, period, registered_at, registered_by: by.clone(), lifted: None };
    let marks = Expect::Blocks { patient: "p1".into(), marks: 0 };
    let again = Delivery { id: Uuid::now_v7(), ..sent.clone() };
    store.done(Commit { expect: vec![marks], blocks: vec![standing.clone()], ..Commit::default() }).await;
    let retried = vec![change(&again, State::Parked, State::Waiting)];
    store.done(Commit { deliveries: vec![again], ..Commit::default() }).await;
    store.done(Commit { delivery_changes: retried, ..Commit::default() }).await;
    let hide = vec![Share { resources: vec!["Patient/p1".into()], units: vec![STRANGER.into()] }];
    store.done(Commit { hide, ..Commit::default() }).await;
    store.blocks_of("p1").await.unwrap();
    store.block(id).await.unwrap();
    store.is_held(sent.id).await.unwrap();
    for held in store.unlisted(5).await.unwrap() {
        let listed = vec![Listed { delivery: held.id, held: held.held }];
        store.done(Commit { listed, ..Commit::default() }).await;
    }
    store.withheld(&units(&[ASKER]), exchange.id).await.unwrap();
    store.is_blocked(sent, "p1").await.unwrap();
    store.done(Commit { blocks: vec![Block { lifted, ..standing }], ..Commit::default() }).await;
}

/// With scopes that have criteria of every sort.
fn narrow() -> Filter {
    let mut grants = Grants::default();
    for right in [Right::Read, Right::Search] {
        grants.allow("Task", right, Vec::new());
        for clause in clauses() {
            grants.allow("Patient", right, vec![clause.clone()]);
            grants.allow("CarePlan", right, vec![clause, Clause::Id(vec!["x".into()])]);
        }
    }
    units(&[ASKER]).within(std::sync::Arc::new(grants))
}

async fn ask_by_search(store: &Store, filter: &Filter) {
    let sort = |name| Sort { by: SortBy::Param(search::param("Patient", name).unwrap()), descending: true };
    for by in [sort("birthdate"), sort("gender"), sort("family"), sort("identifier"), by_id()] {
        let search = Search { sort: vec![by], after: Some(1), ..Search::of("Patient") };
        store.search(filter, &search).await.unwrap();
        store.count(filter, &search).await.unwrap();
    }
    let include = |is_reverse| Include {
        is_reverse,
        source: if is_reverse { "Task" } else { "Patient" }.into(),
        param: if is_reverse { "patient" } else { "general-practitioner" }.into(),
        target: None,
        iterates: true,
    };
    let rules = vec![include(true), include(false)];
    store.included(filter, vec!["Patient/p1".into()], rules, 9).await.unwrap();
    for clause in clauses() {
        for after in [None, Some(1)] {
            let search = Search { clauses: vec![clause.clone()], after, ..Search::of("Patient") };
            store.search(filter, &search).await.unwrap();
        }
    }
}

fn by_id() -> Sort {
    Sort { by: SortBy::Id, descending: false }
}

fn crowded(n: usize) -> Put {
    let index = vec![
        identifier(PNR, "195009072553"),
        Index::Reference { param: "subject", target: "Patient/p1".into() },
        Index::Date { param: "birthdate", low: 0, high: 1 },
        Index::Date { param: "birthdate", low: -9, high: -8 },
        Index::Date { param: "birthdate", low: 8, high: 9 },
    ];
    Put { index, units: vec![ASKER.into()], ..put("Patient", &format!("crowded{n}"), 1) }
}

fn clauses() -> Vec<Clause> {
    let token = |system: Option<&str>, code: Option<&str>| TokenMatch {
        system: system.map(str::to_owned),
        code: code.map(str::to_owned),
    };
    let param = || String::from("identifier");
    let ops = [DateOp::Eq, DateOp::Ne, DateOp::Gt, DateOp::Ge, DateOp::Lt, DateOp::Le, DateOp::Sa, DateOp::Eb];
    let mut clauses = vec![
        Clause::Id(vec!["p1".into()]),
        Clause::Reference { param: "subject".into(), any_of: vec!["Patient/p1".into()] },
        Clause::Token { param: param(), any_of: vec![token(Some(PNR), Some("195009072553"))] },
        Clause::Token { param: param(), any_of: vec![token(None, Some("195009072553"))] },
        Clause::Token { param: param(), any_of: vec![token(Some(PNR), None)] },
    ];
    let spans = |op| vec![Span { op, low: 0, high: 1 }];
    clauses.extend(ops.map(|op| Clause::Date { param: "birthdate".into(), any_of: spans(op) }));
    let words = |how| Clause::Text { param: "family".into(), any_of: vec!["a".into()], how };
    clauses.extend([TextMatch::Starts, TextMatch::Contains, TextMatch::Exact].map(words));
    let present = |name| Clause::Present(search::param("Patient", name).unwrap());
    clauses.extend(["gender", "family", "identifier", "birthdate", "organization"].map(present));
    clauses.push(Clause::Token { param: "gender".into(), any_of: vec![token(None, Some("female"))] });
    clauses.push(Clause::Not(Box::new(Clause::Token { param: param(), any_of: vec![token(None, Some("1"))] })));
    for inner in [Clause::Id(vec!["p1".into()]), present("identifier")] {
        let clause = || Box::new(inner.clone());
        let has = Clause::Has { source: "Patient".into(), param: "subject".into(), clause: clause() };
        clauses.push(Clause::Chain { param: "subject".into(), target: "Patient".into(), clause: clause() });
        clauses.push(Clause::Chain {
            param: "subject".into(),
            target: "Patient".into(),
            clause: Box::new(has.clone()),
        });
        clauses.push(has);
    }
    clauses.extend(ops.map(|op| Clause::LastUpdated { any_of: spans(op) }));
    clauses
}
