//! Exchanges: their parties, documents and resources, lists of them, and what partners said.

use super::*;

/// `n` exchanges, one a minute; every third has come to its end, every fifth is a plan, and the partners take turns.
async fn many(n: i64) -> (Store, Vec<Exchange>) {
    let store = Store::open_temporary().unwrap();
    let exchanges: Vec<Exchange> = (0..n)
        .map(|i| {
            let (helper, partner) = [(HELPER, "norr"), (STRANGER, "väst")][usize::from(i % 2 == 0)];
            let parties = vec![party(ASKER, "syd", PartyRole::Sender), party(helper, partner, PartyRole::Recipient)];
            Exchange {
                kind: if i % 5 == 0 { Kind::RehabPlan } else { Kind::Referral },
                stage: if i % 3 == 0 { Stage::Completed } else { Stage::Waiting },
                patient: Some(format!("p{}", i % 4)),
                // Pairs share a time, so that the cursor needs the id too.
                updated_at: at(i / 2),
                parties,
                ..exchange(&format!("d{i}"))
            }
        })
        .collect();
    store.done(Commit { exchanges: exchanges.clone(), ..Commit::default() }).await;
    (store, exchanges)
}

/// All pages of a query, of three each.
async fn listed(store: &Store, filter: &Filter, query: &ExchangeQuery) -> Vec<Exchange> {
    let mut query = ExchangeQuery { limit: 3, ..query.clone() };
    let mut all = Vec::new();
    loop {
        let page = store.exchanges(filter, &query).await.unwrap();
        all.extend(page.matches);
        query.before = all.last().map(|last: &Exchange| (last.updated_at, last.id));
        if !page.more {
            return all;
        }
    }
}

#[tokio::test]
async fn every_filter_pages_through_exactly_what_it_names_newest_first() {
    let (store, exchanges) = many(40).await;
    let none = ExchangeQuery::default();
    let queries = [
        none.clone(),
        ExchangeQuery { stage: Some(Stage::Completed), ..none.clone() },
        ExchangeQuery { partner: Some("norr".into()), ..none.clone() },
        ExchangeQuery { unit: Some(HELPER.to_lowercase()), ..none.clone() },
        ExchangeQuery { kind: Some(Kind::RehabPlan), ..none.clone() },
        ExchangeQuery { patient: Some("p2".into()), ..none.clone() },
        ExchangeQuery { open: true, ..none.clone() },
        ExchangeQuery { unit: Some(ASKER.into()), partner: Some("norr".into()), open: true, ..none.clone() },
        ExchangeQuery { patient: Some("p1".into()), unit: Some(HELPER.into()), ..none.clone() },
        ExchangeQuery { unit: Some("SE-nobody".into()), ..none.clone() },
    ];
    for filter in [Filter::ALL, units(&[HELPER]), units(&[ASKER, HELPER, STRANGER])] {
        for query in &queries {
            let of_unit = |e: &Exchange, unit: &str| e.parties.iter().any(|p| p.unit.eq_ignore_ascii_case(unit));
            let mut expected: Vec<Exchange> = exchanges
                .iter()
                .filter(|e| query.stage.is_none_or(|stage| e.stage == stage))
                .filter(|e| query.partner.as_ref().is_none_or(|name| e.parties.iter().any(|p| p.partner == *name)))
                .filter(|e| query.unit.as_ref().is_none_or(|unit| of_unit(e, unit)))
                .filter(|e| query.kind.is_none_or(|kind| e.kind == kind))
                .filter(|e| query.patient.is_none() || e.patient == query.patient)
                .filter(|e| !query.open || e.stage == Stage::Waiting)
                .filter(|e| match &filter.who {
                    Who::Gateway | Who::Registry(_) => true,
                    Who::Units(own) => own.iter().any(|unit| of_unit(e, unit)),
                })
                .cloned()
                .collect();
            expected.sort_by_key(|e| std::cmp::Reverse((e.updated_at, e.id)));
            assert_eq!(listed(&store, &filter, query).await, expected, "{filter:?} {query:?}");
        }
    }
}

#[tokio::test]
async fn what_is_open_is_what_the_domain_says() {
    let store = Store::open_temporary().unwrap();
    for stage in Stage::ALL {
        let exchange = Exchange { stage, ..exchange(stage.code()) };
        store.done(Commit { exchanges: vec![exchange], ..Commit::default() }).await;
    }
    let open = ExchangeQuery { open: true, ..ExchangeQuery::default() };
    let mut listed: Vec<Stage> =
        store.exchanges(&Filter::ALL, &open).await.unwrap().matches.iter().map(|exchange| exchange.stage).collect();
    listed.sort();
    // `Recorded` and everything behind it expects nothing more.
    assert_eq!(listed, Stage::ALL.into_iter().filter(|stage| *stage < Stage::Recorded).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_exchange_is_read_back_whole_and_found_by_its_document() {
    let (store, exchanges) = many(3).await;
    let mut first = exchanges[0].clone();
    assert_eq!(store.exchange(&Filter::ALL, first.id).await.unwrap(), Some(first.clone()));
    first.revision = 2;
    first.stage = Stage::Accepted;
    first.updated_at = at(99);
    first.parties[1] = Party {
        task: Some("t1".into()),
        status: Some(task::Status::Accepted),
        stage: Stage::Accepted,
        ..party(HELPER, "norr", PartyRole::Participant)
    };
    store.done(Commit { exchanges: vec![first.clone()], ..Commit::default() }).await;
    assert_eq!(store.exchange(&Filter::ALL, first.id).await.unwrap(), Some(first.clone()));
    let organisation = first.organisation.to_lowercase();
    let found = store.exchange_of(&organisation, first.kind, &first.document).await.unwrap();
    assert_eq!(found, Some(first.clone()));
    assert_eq!(store.exchange_of(&organisation, Kind::Activity, &first.document).await.unwrap(), None);
}

#[tokio::test]
async fn resources_keep_their_order_and_those_of_older_versions_still_belong() {
    let store = Store::open_temporary().unwrap();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let mut one = Exchange { resources: names(&["Task/b", "Goal/z", "Goal/a"]), ..exchange("d1") };
    let resources = || [put("Task", "b", 1), put("Goal", "z", 1), put("Goal", "a", 1), put("Goal", "q", 1)];
    store.done(Commit { exchanges: vec![one.clone()], ..puts(resources()) }).await;
    assert_eq!(store.exchange(&Filter::ALL, one.id).await.unwrap().unwrap().resources, one.resources);
    one.revision = 2;
    one.resources = names(&["Goal/q", "Task/b"]);
    let answer = Put { exchange: Some(one.id), ..put("Communication", "answer", 1) };
    let other = Exchange { resources: names(&["Goal/q"]), ..exchange("d2") };
    store.done(Commit { exchanges: vec![one.clone(), other.clone()], ..puts([answer]) }).await;
    assert_eq!(store.exchange(&Filter::ALL, one.id).await.unwrap().unwrap().resources, one.resources);
    for (id, belongs) in [("q", vec![one.id, other.id]), ("z", vec![one.id]), ("nothing", vec![])] {
        assert_eq!(store.exchange_of_resource("Goal", id).await.unwrap(), belongs, "{id}");
    }
    assert_eq!(store.exchange_of_resource("Communication", "answer").await.unwrap(), [one.id]);
}

#[tokio::test]
async fn an_exchange_of_a_resource_that_does_not_exist_is_refused() {
    let store = Store::open_temporary().unwrap();
    let one = Exchange { resources: vec!["Task/nowhere".into()], ..exchange("d1") };
    let commit = Commit { exchanges: vec![one.clone()], ..Commit::default() };
    assert!(matches!(store.commit(commit).await, Err(StoreError::Refused(_))));
    assert_eq!(store.exchange(&Filter::ALL, one.id).await.unwrap(), None);
}

#[tokio::test]
async fn one_document_has_one_exchange() {
    let store = Store::open_temporary().unwrap();
    store.done(Commit { exchanges: vec![exchange("d1")], ..Commit::default() }).await;
    let again = Exchange { organisation: exchange("d1").organisation.to_lowercase(), ..exchange("d1") };
    let commit = Commit { exchanges: vec![again], ..Commit::default() };
    assert!(matches!(store.commit(commit).await, Err(StoreError::Refused(_))));
}

#[tokio::test]
async fn the_document_in_force_is_the_last_that_was_and_all_are_kept() {
    let store = Store::open_temporary().unwrap();
    let one = exchange("d1");
    store
        .done(Commit { exchanges: vec![one.clone()], documents: vec![document(one.id, 1)], ..Commit::default() })
        .await;
    store.done(Commit { documents: vec![document(one.id, 3)], ..Commit::default() }).await;
    let late = Document { in_force: false, ..document(one.id, 2) };
    store.done(Commit { documents: vec![late.clone()], ..Commit::default() }).await;
    assert_eq!(store.document(one.id, None).await.unwrap(), Some(document(one.id, 3)));
    assert_eq!(store.document(one.id, Some(2)).await.unwrap(), Some(late.clone()));
    let first = Document { in_force: false, ..document(one.id, 1) };
    assert_eq!(store.documents(one.id).await.unwrap(), [document(one.id, 3), late, first]);
    assert_eq!(store.document(Uuid::now_v7(), None).await.unwrap(), None);
    let again = Commit { documents: vec![document(one.id, 3)], ..Commit::default() };
    assert!(matches!(store.commit(again).await, Err(StoreError::Refused(_))), "a version is received once");
}

#[tokio::test]
async fn open_tasks_are_those_a_partner_has_and_has_not_finished() {
    use delivery::State;
    let store = Store::open_temporary().unwrap();
    // Each with how often it was tried: what was put aside or given up after that may have arrived.
    let sent: [&[(State, u32)]; 8] = [
        &[],
        &[(State::Waiting, 1)],
        &[(State::Skipped, 0)],
        &[(State::Skipped, 1)],
        &[(State::Parked, 1)],
        &[(State::Delivered, 1)],
        &[(State::Delivered, 1), (State::Waiting, 1)],
        &[(State::Delivered, 1), (State::Parked, 1)],
    ];
    let mut expected = Vec::new();
    for (n, status) in task::Status::ALL.into_iter().enumerate() {
        for (m, (states, role)) in sent.iter().flat_map(|s| PartyRole::ALL.map(|role| (*s, role))).enumerate() {
            let task = format!("t{n}-{m:02}");
            let stage = if states.contains(&(State::Parked, 1)) { Stage::Parked } else { Stage::Waiting };
            let may_have_it = states.iter().any(|(state, tried)| *tried > 0 && *state != State::Waiting);
            let mine = Party { task: Some(task.clone()), status: Some(status), stage, ..party(HELPER, "norr", role) };
            let other = Party { unit: STRANGER.into(), task: Some(format!("{task}-other")), ..mine.clone() };
            let one = Exchange { parties: vec![mine, other], ..exchange(&task) };
            if role != PartyRole::Sender && !status.is_final() && may_have_it {
                expected.push(OpenTask { exchange: one.id, task: task.clone(), version: None });
            }
            let deliveries = states.iter().map(|(state, attempts)| Delivery {
                unit: HELPER.to_lowercase(),
                state: *state,
                attempts: *attempts,
                first_attempt_at: (*attempts > 0).then_some(at(0)),
                note: Some("why".into()),
                ..delivery(one.id, "norr", &task)
            });
            let deliveries = deliveries.collect();
            store.done(Commit { exchanges: vec![one], deliveries, ..Commit::default() }).await;
        }
    }
    expected.sort_by(|a, b| a.task.cmp(&b.task));
    assert_eq!(store.open_tasks("norr", 1000, None).await.unwrap(), expected);
    assert_eq!(store.open_tasks("norr", 2, None).await.unwrap(), expected[..2]);
    assert_eq!(store.open_tasks("norr", 1000, Some(expected[1].task.clone())).await.unwrap(), expected[2..]);
    assert_eq!(store.open_tasks("syd", 1000, None).await.unwrap(), []);
}

#[tokio::test]
async fn a_task_whose_move_has_not_reached_the_partner_is_not_asked_for() {
    use delivery::State;
    let store = Store::open_temporary().unwrap();
    let says = br#"{"identifier":"x","set":{"status":"cancelled"}}"#.as_slice();
    // Which version of the request it is about says nothing of how it stands.
    let tells = br#"{"identifier":"x","set":{"input":[]}}"#.as_slice();
    for (state, body, asked) in [
        (State::Waiting, says, false),
        (State::Parked, says, false),
        (State::Skipped, says, true),
        (State::Delivered, says, true),
        (State::Waiting, tells, true),
    ] {
        let task = format!("t-{}-{asked}", state.code());
        let mine = Party {
            task: Some(task.clone()),
            status: Some(task::Status::Requested),
            ..party(HELPER, "norr", PartyRole::Recipient)
        };
        let one = Exchange { parties: vec![mine], resources: vec![format!("Task/{task}")], ..exchange(&task) };
        let had = Delivery {
            unit: HELPER.into(),
            state: State::Delivered,
            attempts: 1,
            first_attempt_at: Some(at(0)),
            ..delivery(one.id, "norr", &task)
        };
        let moved = Delivery {
            id: Uuid::now_v7(),
            action: Action::MoveTask,
            state,
            note: Some("why".into()),
            body: body.to_vec(),
            ..had.clone()
        };
        let (id, deliveries) = (one.id, vec![had, moved]);
        store.done(Commit { exchanges: vec![one], deliveries, ..puts([put("Task", &task, 1)]) }).await;
        let expected =
            if asked { vec![OpenTask { exchange: id, task: task.clone(), version: Some(1) }] } else { vec![] };
        let found = store.open_tasks("norr", 1000, None).await.unwrap();
        assert_eq!(found.into_iter().filter(|o| o.task == task).collect::<Vec<_>>(), expected, "{task}");
    }
}

#[tokio::test]
async fn what_a_partner_said_is_kept_and_held_until_it_is_applied() {
    let store = Store::open_temporary().unwrap();
    let one = exchange("d1");
    let held = Inbound { finding: Some("unknown task".into()), ..inbound("norr", "Task/1/2") };
    let applied = Inbound { exchange: Some(one.id), at: at(1), ..inbound("norr", "Task/1/3") };
    let other = Inbound { finding: Some("no such move".into()), at: at(2), ..inbound("syd", "Task/1/2") };
    let said = vec![held.clone(), applied.clone(), other.clone()];
    store.done(Commit { exchanges: vec![one.clone()], inbound: said, ..Commit::default() }).await;
    assert_eq!(store.held_inbound(None, 10).await.unwrap(), [held.clone(), other]);
    assert_eq!(store.held_inbound(Some("norr"), 10).await.unwrap(), std::slice::from_ref(&held));
    assert_eq!(store.inbound_of(one.id).await.unwrap(), std::slice::from_ref(&applied));
    let mended = Inbound { exchange: Some(one.id), finding: None, body: b"something else".to_vec(), ..held.clone() };
    store.done(Commit { inbound: vec![mended], ..Commit::default() }).await;
    assert_eq!(store.held_inbound(Some("norr"), 10).await.unwrap(), []);
    let first = Inbound { exchange: Some(one.id), finding: None, ..held };
    assert_eq!(store.inbound_of(one.id).await.unwrap(), [first, applied], "what was said stays as it was said");
}

#[tokio::test]
async fn an_answer_is_recalled_by_caller_and_key_and_given_once() {
    let store = Store::open_temporary().unwrap();
    store.done(Commit { answer: Some(answer("syd", "k")), ..Commit::default() }).await;
    assert_eq!(store.recall("syd", "k").await.unwrap(), Some(answer("syd", "k")));
    assert_eq!(store.recall("norr", "k").await.unwrap(), None);
    let again = Commit { answer: Some(answer("syd", "k")), ..Commit::default() };
    assert!(matches!(store.commit(again).await, Err(StoreError::Refused(_))));
}

#[tokio::test]
async fn a_unit_is_unreached_until_it_has_what_is_meant_for_it() {
    let store = Store::open_temporary().unwrap();
    let waiting = |role| Party { stage: Stage::Waiting, ..party(HELPER, "norr", role) };
    let for_it = Exchange { parties: vec![waiting(PartyRole::Recipient)], ..exchange("d1") };
    let of_it = Exchange { parties: vec![waiting(PartyRole::Sender)], ..exchange("d2") };
    let put = [&for_it, &of_it]
        .map(|e| Put { exchange: Some(e.id), ..put("Task", &format!("t-{}", e.document), 1) })
        .to_vec();
    store.done(Commit { put, exchanges: vec![for_it.clone(), of_it], ..Commit::default() }).await;
    let names = ["Task/t-d1".to_owned(), "Task/t-d2".to_owned(), "Task/nobody".to_owned()];
    assert_eq!(store.unreached(&names, &[HELPER.to_lowercase()]).await.unwrap(), [for_it.id]);
    assert!(store.unreached(&names, &[STRANGER.into()]).await.unwrap().is_empty());
    assert!(store.unreached(&names[1..], &[HELPER.into()]).await.unwrap().is_empty());
    let parties = vec![Party { stage: Stage::Received, ..waiting(PartyRole::Recipient) }];
    store.done(Commit { exchanges: vec![Exchange { revision: 2, parties, ..for_it }], ..Commit::default() }).await;
    assert!(store.unreached(&names, &[HELPER.into()]).await.unwrap().is_empty());
}
