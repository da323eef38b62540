//! Blocks in the store: what is kept from whom is what the rule says, whatever is written, blocked and lifted in what order;
//! and lanes stay lanes.

use serde_json::json;

use super::*;
use crate::domain::block::{Origin, Period, Reader, Rule, Scope, is_withheld};
use crate::domain::delivery::State;

/// A and B belong to P, C to Q; nobody knows where X belongs.
pub(super) const UNITS: [&str; 4] = ["SE2321000131-A", "SE2321000131-B", "SE2321000131-C", "SE2321000131-X"];
const P: &str = "SE2321000131-P";
const Q: &str = "SE2321000131-Q";

fn provider(unit: &str) -> Option<&'static str> {
    match unit {
        "SE2321000131-A" | "SE2321000131-B" => Some(P),
        "SE2321000131-C" => Some(Q),
        _ => None,
    }
}

pub(super) fn open(folder: &Folder) -> Store {
    let units = UNITS.iter().filter_map(|unit| Some(((*unit).to_owned(), provider(unit)?.to_owned()))).collect();
    Store::open(&folder.database(), Options { units, ..Options::default() }).unwrap()
}

fn block(scope: Scope, period: Period) -> Block {
    Block {
        id: Uuid::now_v7(),
        patient: "p1".into(),
        scope,
        period,
        registered_at: at(0),
        registered_by: "SE2321000131-N".into(),
        lifted: None,
    }
}

pub(super) fn lifted(block: &Block) -> Block {
    Block { lifted: Some(Lifted { at: at(5), by: "SE2321000131-N".into() }), ..block.clone() }
}

pub(super) fn inner(unit: &str) -> Block {
    let provider = provider(unit).unwrap().to_owned();
    block(Scope::Inner { unit: unit.into(), provider }, Period::default())
}

pub(super) fn blocks(blocks: impl IntoIterator<Item = Block>) -> Commit {
    Commit { blocks: blocks.into_iter().collect(), ..Commit::default() }
}

/// A document of `from` to `to`: a ServiceRequest authored at that minute, and the Patient.
pub(super) fn sent(number: usize, from: &str, to: &str, minute: i64) -> (Commit, Exchange, String) {
    let mut exchange = exchange(&format!("d{number}"));
    exchange.organisation = provider(from).unwrap_or(from).to_owned();
    exchange.parties =
        vec![party(from, &format!("of {from}"), PartyRole::Sender), party(to, "norr", PartyRole::Recipient)];
    let id = format!("s{number}");
    let source = format!("urn:oid:1.2.752.129.2.1.4.1#{from}");
    let body = json!({ "resourceType": "ServiceRequest", "id": id, "meta": { "source": source }, "authoredOn": at(minute).to_rfc3339() });
    let units = vec![from.to_owned(), to.to_owned()];
    let put = Put {
        body: body.to_string().into(),
        patient: Some("p1".into()),
        units: units.clone(),
        exchange: Some(exchange.id),
        ..put("ServiceRequest", &id, 1)
    };
    exchange.resources = vec![format!("ServiceRequest/{id}"), "Patient/p1".into()];
    let share = vec![Share { resources: exchange.resources.clone(), units }];
    (Commit { put: vec![put], exchanges: vec![exchange.clone()], share, ..Commit::default() }, exchange, id)
}

pub(super) async fn with_patient(folder: &Folder) -> Store {
    let store = open(folder);
    store.done(puts([Put { patient: Some("p1".into()), ..patient("p1", "195009072553") }])).await;
    store
}

/// Where one document stands, and what the rule says of it.
struct Sent {
    exchange: Uuid,
    name: String,
    parties: [String; 2],
    origin: Origin,
}

/// Everything that every unit sees, held against the rule.
async fn check(store: &Store, sent: &[Sent], rules: &[Rule], what: &str) {
    let registries = vec![("r".to_owned(), false)];
    store.done(Commit { deeds: vec![Deed::Registries(registries)], ..Commit::default() }).await;
    for unit in UNITS {
        let reader = Reader { unit: Some(unit.into()), provider: provider(unit).map(str::to_owned) };
        let filter = units(&[unit]);
        let mut sees_any = false;
        for one in sent {
            let takes_part = one.parties.iter().any(|p| p == unit);
            let expected = takes_part && !is_withheld(rules, &one.origin, &reader);
            sees_any |= expected;
            let id = one.name.split_once('/').unwrap().1;
            let seen = store.resource(&filter, "ServiceRequest", id).await.unwrap().is_some();
            let listed = store.exchange(&filter, one.exchange).await.unwrap().is_some();
            assert_eq!((seen, listed), (expected, expected), "{what}: {unit} {} {rules:?}", one.name);
            let kept = is_withheld(rules, &one.origin, &Reader::default());
            let shown = ways_of_registry(store, id, one.exchange).await;
            assert!(shown.iter().all(|shown| *shown != kept), "{what}: a registry, {} {shown:?}", one.name);
        }
        let expected = sent.iter().filter(|one| one.parties.iter().any(|p| p == unit)).count() > 0 && sees_any;
        let patient = store.resource(&filter, "Patient", "p1").await.unwrap().is_some();
        assert_eq!(patient, expected, "{what}: {unit} the Patient");
        let found = store.search(&filter, &Search::of("ServiceRequest")).await.unwrap().matches.len();
        let page = store.exchanges(&filter, &ExchangeQuery::default()).await.unwrap().matches.len();
        assert_eq!(found, page, "{what}: {unit} lists");
        assert_eq!(store.count(&filter, &Search::of("ServiceRequest")).await.unwrap(), found as u64);
    }
}

/// Whether a registry gets it by each of its ways.
async fn ways_of_registry(store: &Store, id: &str, exchange: Uuid) -> [bool; 6] {
    let registry = Filter::registry("r");
    let name = format!("ServiceRequest/{id}");
    let search = Search { clauses: vec![Clause::Id(vec![id.to_owned()])], ..Search::of("ServiceRequest") };
    let history = versions("ServiceRequest", id, 9, None);
    [
        store.resource(&registry, "ServiceRequest", id).await.unwrap().is_some(),
        store.version(&registry, "ServiceRequest", id, 1).await.unwrap().is_some(),
        !store.resources(&registry, std::slice::from_ref(&name)).await.unwrap().is_empty(),
        store.count(&registry, &search).await.unwrap() == 1,
        !store.versions(&registry, &history).await.unwrap().is_empty(),
        !store.withheld(&registry, exchange).await.unwrap().contains(&name),
    ]
}

#[tokio::test]
async fn whatever_is_sent_blocked_and_lifted_in_what_order_the_rule_says_who_sees_it() {
    for seed in 0..12 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let folder = Folder::new();
        let mut store = with_patient(&folder).await;
        let (mut all, mut standing): (Vec<Sent>, Vec<Block>) = (Vec::new(), Vec::new());
        for step in 0..14 {
            let what = format!("seed {seed}, step {step}");
            match rng.u8(..8) {
                0..4 => {
                    let (from, to) = (rng.usize(..4), rng.usize(1..4));
                    let (from, to) = (UNITS[from], UNITS[(from + to) % 4]);
                    let minute = rng.i64(0..10);
                    let (commit, exchange, id) = sent(step, from, to, minute);
                    store.done(commit).await;
                    let written = at(minute).timestamp_millis();
                    all.push(Sent {
                        exchange: exchange.id,
                        name: format!("ServiceRequest/{id}"),
                        parties: [from.to_owned(), to.to_owned()],
                        origin: Origin {
                            unit: Some(from.into()),
                            provider: provider(from).map(str::to_owned),
                            documented: Some((written, written + 999)),
                        },
                    });
                }
                4..6 => {
                    let end = |minute: i64| at(minute).timestamp_millis();
                    let from = rng.bool().then(|| end(rng.i64(0..5)));
                    let to = rng.bool().then(|| end(rng.i64(5..10)));
                    let unit = UNITS[rng.usize(..3)];
                    let provider = provider(unit).unwrap().to_owned();
                    let scope = match rng.bool() {
                        true => Scope::Inner { unit: unit.into(), provider },
                        false => Scope::Outer { provider },
                    };
                    let one = block(scope, Period { from, to });
                    store.done(blocks([one.clone()])).await;
                    standing.push(one);
                }
                6 if !standing.is_empty() => {
                    let one = standing.swap_remove(rng.usize(..standing.len()));
                    store.done(blocks([lifted(&one)])).await;
                }
                _ => {
                    drop(store);
                    store = open(&folder);
                }
            }
            let rules: Vec<Rule> = standing.iter().map(Block::rule).collect();
            check(&store, &all, &rules, &what).await;
        }
    }
}

#[tokio::test]
async fn a_unit_that_moves_to_another_provider_is_settled_when_the_store_opens() {
    let folder = Folder::new();
    let store = with_patient(&folder).await;
    let (commit, exchange, _) = sent(1, UNITS[0], UNITS[1], 0);
    store.done(commit).await;
    store.done(blocks([block(Scope::Outer { provider: P.into() }, Period::default())])).await;
    let filter = units(&[UNITS[1]]);
    assert!(store.exchange(&filter, exchange.id).await.unwrap().is_some(), "of the same provider");
    drop(store);
    for (provider, expected) in [(Q, false), (P, true)] {
        let units = vec![(UNITS[0].to_owned(), P.to_owned()), (UNITS[1].to_lowercase(), provider.to_owned())];
        let store = Store::open(&folder.database(), Options { units, ..Options::default() }).unwrap();
        assert_eq!(store.exchange(&filter, exchange.id).await.unwrap().is_some(), expected, "{provider}");
    }
    // A unit that left the directory belongs nowhere: it is kept out.
    let units = vec![(UNITS[0].to_owned(), P.to_owned())];
    let store = Store::open(&folder.database(), Options { units, ..Options::default() }).unwrap();
    assert!(store.exchange(&filter, exchange.id).await.unwrap().is_none());
    // Whoever opens the file without a directory leaves it as it is.
    drop(store);
    let store = Store::open(&folder.database(), Options::default()).unwrap();
    assert!(store.exchange(&filter, exchange.id).await.unwrap().is_none());
}

#[tokio::test]
async fn what_a_withdrawal_has_hidden_a_lifted_block_does_not_show() {
    let folder = Folder::new();
    let store = with_patient(&folder).await;
    let (commit, _, id) = sent(1, UNITS[0], UNITS[1], 0);
    store.done(commit).await;
    let one = inner(UNITS[0]);
    store.done(blocks([one.clone()])).await;
    let hide = Share { resources: vec![format!("ServiceRequest/{id}")], units: vec![UNITS[1].into()] };
    store.done(Commit { hide: vec![hide], ..Commit::default() }).await;
    store.done(blocks([lifted(&one)])).await;
    assert!(store.resource(&units(&[UNITS[1]]), "ServiceRequest", &id).await.unwrap().is_none());
}

fn to(exchange: &Exchange, patient: &str, carries: &str) -> Delivery {
    let body = json!({ "entry": [{ "fullUrl": format!("urn:uuid:{carries}"), "resource": { "resourceType": "ServiceRequest" } }] });
    let recipient = exchange.recipients().next().unwrap().unit.clone();
    Delivery { unit: recipient, body: body.to_string().into(), ..delivery(exchange.id, "norr", patient) }
}

/// How the deliveries stand, and that each lane has the head it should: the first that no block holds.
async fn stands(store: &Store, all: &[&Delivery]) -> String {
    let mut stands = String::new();
    for one in all {
        let found = store.deliveries(&DeliveryQuery { id: Some(one.id), ..DeliveryQuery::default() }).await.unwrap();
        stands.push_str(match (found[0].state, found[0].held) {
            (State::Parked, true) => "h",
            (state, _) => &state.code()[..1],
        });
    }
    stands
}

async fn head(store: &Store) -> Option<Uuid> {
    store.head_of("norr", "p1").await.unwrap().map(|head| head.id)
}

#[tokio::test]
async fn a_lane_goes_on_without_what_is_held_and_takes_it_up_again_in_order() {
    let folder = Folder::new();
    let store = with_patient(&folder).await;
    let (one, first, id) = sent(1, UNITS[0], UNITS[1], 0);
    let (two, second, other) = sent(2, UNITS[2], UNITS[1], 0);
    let all = [to(&first, "p1", &id), to(&first, "p1", &id), to(&second, "p1", &other), to(&second, "p1", &other)];
    let [a, b, c, d] = &all;
    store.done(Commit { deliveries: vec![a.clone(), b.clone()], ..one }).await;
    store.done(Commit { deliveries: vec![c.clone(), d.clone()], ..two }).await;
    let all = [a, b, c, d];
    assert_eq!((stands(&store, &all).await.as_str(), head(&store).await), ("wwww", Some(a.id)));
    let block = inner(UNITS[0]);
    store.done(blocks([block.clone()])).await;
    assert_eq!((stands(&store, &all).await.as_str(), head(&store).await), ("hhww", Some(c.id)));
    // Whoever decides that one be tried while the block stands is not heard.
    store.done(Commit { delivery_changes: vec![change(b, State::Parked, State::Waiting)], ..Commit::default() }).await;
    assert_eq!((stands(&store, &all).await.as_str(), head(&store).await), ("hhww", Some(c.id)));
    assert_eq!(store.unlisted(9).await.unwrap().len(), 2);
    assert!(store.is_held(a.id).await.unwrap() && !store.is_held(c.id).await.unwrap());
    let queue = store.queue().await.unwrap().partners;
    assert_eq!((queue[0].waiting, queue[0].parked), (2, 0), "held is not in the queue");

    store.done(blocks([lifted(&block)])).await;
    // What may be under way is not overtaken; behind it stands what was held.
    assert_eq!((stands(&store, &all).await.as_str(), head(&store).await), ("wwww", Some(c.id)));
    for expected in [c, a, b, d] {
        assert_eq!(head(&store).await, Some(expected.id));
        let done = change(expected, State::Waiting, State::Delivered);
        store.done(Commit { delivery_changes: vec![done], ..Commit::default() }).await;
    }
    assert_eq!((stands(&store, &all).await.as_str(), head(&store).await), ("dddd", None));
    store.verify_audit().await.unwrap();
}

#[tokio::test]
async fn what_waits_for_a_person_steps_back_for_what_was_made_before_it() {
    let folder = Folder::new();
    let store = with_patient(&folder).await;
    let (one, first, id) = sent(1, UNITS[0], UNITS[1], 0);
    let (two, second, other) = sent(2, UNITS[2], UNITS[1], 0);
    let (a, b) = (to(&first, "p1", &id), to(&second, "p1", &other));
    store.done(Commit { deliveries: vec![a.clone()], ..one }).await;
    let block = inner(UNITS[0]);
    store.done(blocks([block.clone()])).await;
    store.done(Commit { deliveries: vec![b.clone()], ..two }).await;
    store.done(Commit { delivery_changes: vec![change(&b, State::Waiting, State::Parked)], ..Commit::default() }).await;
    assert_eq!((stands(&store, &[&a, &b]).await.as_str(), head(&store).await), ("hp", Some(b.id)));
    store.done(blocks([lifted(&block)])).await;
    assert_eq!((stands(&store, &[&a, &b]).await.as_str(), head(&store).await), ("wp", Some(a.id)));
    let done = change(&a, State::Waiting, State::Delivered);
    store.done(Commit { delivery_changes: vec![done], ..Commit::default() }).await;
    assert_eq!(head(&store).await, Some(b.id));
}

#[tokio::test]
async fn nothing_overtakes_what_is_held_with_something_that_it_brings() {
    let folder = Folder::new();
    let store = with_patient(&folder).await;
    let (one, first, id) = sent(1, UNITS[0], UNITS[1], 0);
    let (two, second, other) = sent(2, UNITS[2], UNITS[1], 0);
    store.done(one).await;
    store.done(two).await;
    store.done(blocks([inner(UNITS[0])])).await;
    // The first brings what is blocked and what is not; the second only the latter; the third nothing of either.
    let mut both = to(&first, "p1", &id);
    let bundle = json!({ "entry": [
        { "fullUrl": format!("urn:uuid:{id}"), "resource": { "resourceType": "ServiceRequest" } },
        { "fullUrl": format!("urn:uuid:{other}"), "resource": { "resourceType": "ServiceRequest" } } ] });
    both.body = bundle.to_string().into();
    let (newer, free) = (to(&second, "p1", &other), to(&second, "p1", "elsewhere"));
    let deliveries = vec![both.clone(), newer.clone(), free.clone()];
    store.done(Commit { deliveries, ..Commit::default() }).await;
    assert_eq!(stands(&store, &[&both, &newer, &free]).await, "hhh", "one exchange is sent in order");
    assert!(store.is_blocked(&both, "p1").await.unwrap() && !store.is_blocked(&newer, "p1").await.unwrap());
}

#[tokio::test]
async fn a_held_delivery_is_listed_to_its_sender_alone() {
    let folder = Folder::new();
    let store = with_patient(&folder).await;
    let (one, first, id) = sent(1, UNITS[0], UNITS[1], 0);
    let held = to(&first, "p1", &id);
    store.done(Commit { deliveries: vec![held.clone()], ..one }).await;
    store.done(blocks([inner(UNITS[0])])).await;
    for (filter, many) in [(Filter::ALL, 1), (units(&[UNITS[0]]), 1), (units(&[UNITS[1]]), 0), (units(&[UNITS[2]]), 0)]
    {
        let query = DeliveryQuery { filter: filter.clone(), after: Some(0), ..DeliveryQuery::default() };
        assert_eq!(store.deliveries(&query).await.unwrap().len(), many, "{filter:?}");
        let states = vec![State::Parked];
        let window = Window { partner: "norr".into(), from: at(-9), to: at(9), states, filter, after: None, limit: 9 };
        assert_eq!(store.deliveries_between(&window).await.unwrap().len(), many);
    }
    let attention = ExchangeQuery { attention: true, ..ExchangeQuery::default() };
    assert!(store.exchanges(&Filter::ALL, &attention).await.unwrap().matches.is_empty(), "nobody has anything to do");
    assert!(store.worklist().await.unwrap().parked.is_empty());
}

#[tokio::test]
async fn a_block_that_came_in_between_is_noticed() {
    let folder = Folder::new();
    let store = with_patient(&folder).await;
    let marks = store.block_marks("p1").await.unwrap();
    let expect = || Commit { expect: vec![Expect::Blocks { patient: "p1".into(), marks }], ..Commit::default() };
    store.done(expect()).await;
    let one = inner(UNITS[0]);
    store.done(blocks([one.clone()])).await;
    assert!(matches!(store.commit(expect()).await.unwrap(), Committed::Conflict(Expect::Blocks { .. })));
    store.done(blocks([lifted(&one)])).await;
    assert_eq!(store.block_marks("p1").await.unwrap(), 2);
    assert!(matches!(store.commit(blocks([lifted(&one)])).await, Err(StoreError::Refused(_))), "lifted once");
    assert_eq!(store.block(one.id).await.unwrap(), Some(lifted(&one)));
    assert_eq!(store.blocks_of("p1").await.unwrap(), [lifted(&one)]);
}

#[tokio::test]
async fn a_notice_of_what_is_blocked_is_held_with_it_and_so_is_one_of_an_answer_that_is() {
    let folder = Folder::new();
    let store = with_patient(&folder).await;
    let (one, exchange, _) = sent(1, UNITS[0], UNITS[1], 0);
    let notice = |kind: &str, unit: &str| Delivery {
        action: Action::Notice,
        partner: "norr#notices".into(),
        patient: Uuid::now_v7().to_string(),
        unit: unit.into(),
        body: json!({ "type": kind }).to_string().into(),
        ..delivery(exchange.id, "norr", "p1")
    };
    let told = notice("document.available", UNITS[1]);
    store.done(Commit { deliveries: vec![told.clone()], ..one }).await;
    let block_a = inner(UNITS[0]);
    store.done(blocks([block_a.clone()])).await;
    assert_eq!(stands(&store, &[&told]).await, "h");
    store.done(blocks([lifted(&block_a)])).await;
    assert_eq!(stands(&store, &[&told]).await, "w");
    // The recipient has answered in its Task, and the patient has blocked what it writes.
    let body = json!({ "resourceType": "Task", "id": "t1", "status": "rejected", "authoredOn": at(0).to_rfc3339(),
        "meta": { "source": format!("urn:oid:1.2.752.129.2.1.4.1#{}", UNITS[0]) }, "statusReason": { "text": "x" } });
    let units = vec![UNITS[0].to_owned(), UNITS[1].to_owned()];
    let task = Put {
        body: body.to_string().into(),
        patient: Some("p1".into()),
        units,
        exchange: Some(exchange.id),
        ..put("Task", "t1", 1)
    };
    let mut answered = Exchange { revision: 2, ..exchange.clone() };
    answered.resources.push("Task/t1".into());
    answered.parties[1].task = Some("t1".into());
    answered.parties[1].status = Some(task::Status::Rejected);
    let answer = notice("answer.available", UNITS[0]);
    store.done(blocks([inner(UNITS[1])])).await;
    let deliveries = vec![answer.clone()];
    store.done(Commit { put: vec![task], exchanges: vec![answered], deliveries, ..Commit::default() }).await;
    assert_eq!(stands(&store, &[&told, &answer]).await, "wh");
    assert!(store.resource(&self::units(&[UNITS[0]]), "Task", "t1").await.unwrap().is_none());
    assert!(store.resource(&self::units(&[UNITS[1]]), "Task", "t1").await.unwrap().is_some());
}
