//! Exports in the store: where one stands among the commits, whose it is, and what a walk passes.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use super::*;
use crate::store::search::{Criteria, List, Passed, Targets, Walk};

fn owner(name: &str) -> Owner {
    Owner { name: name.into(), client: Some(name.into()) }
}

fn order(client: &str) -> ExportOrder {
    ExportOrder {
        id: Uuid::now_v7(),
        owner: owner(client),
        caller: "{}".into(),
        level: ExportLevel::System,
        cohort: None,
        request: "r".into(),
        asked: "{}".into(),
        is_partial: false,
        created_at: at(0),
        since_at: None,
        until_at: None,
    }
}

fn begin(order: &ExportOrder) -> Commit {
    Commit { exports: vec![ExportChange::Begin(Box::new(order.clone()))], ..Commit::default() }
}

/// An export that was begun at that time.
pub(super) fn begin_at(created_at: DateTime<Utc>) -> Commit {
    begin(&ExportOrder { created_at, ..order("r") })
}

fn advance(id: Uuid, step: u32, position: i64, sha256: Option<String>) -> Commit {
    let (kind, resource_type) = (FileKind::Output, "Patient".to_owned());
    let file = ExportFile { name: "f".into(), kind, resource_type, lines: 1, bytes: 1, sha256 };
    let patients = vec![("p1".to_owned(), Membership::Member)];
    let change = ExportChange::Advance { id, step, position, resources: 1, files: vec![file], patients };
    Commit { exports: vec![change], ..Commit::default() }
}

fn walk(resource_type: &str, seq: i64) -> Walk {
    Walk {
        resource_type: resource_type.into(),
        seq,
        since: None,
        since_at: None,
        until: None,
        of_patients: false,
        list: None,
        any_of: Vec::new(),
        provenance: None,
        after: 0,
    }
}

/// Ids that a walk passes: those that stand, with a `-` those that left.
async fn passed(store: &Store, filter: &Filter, mut walk: Walk, most: usize) -> Vec<String> {
    let ids: Arc<Mutex<Vec<String>>> = Arc::default();
    loop {
        let told = Arc::clone(&ids);
        let mut left = most;
        let pass = move |passed: Passed<'_>| {
            let name = match passed {
                Passed::Stands { id, .. } => id.to_owned(),
                Passed::Left { id } => format!("-{id}"),
            };
            told.lock().unwrap().push(name);
            left = left.saturating_sub(1);
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let (_, walked) = store.walk(filter, walk.clone(), pass).await.unwrap();
        assert!(walked.position >= walk.after);
        if walked.is_end {
            return ids.lock().unwrap().clone();
        }
        walk.after = walked.position;
    }
}

/// Everything that can be asked of exports, for the test of query plans.
pub(super) async fn ask_everything(store: &Store, filter: &Filter) {
    let first = ExportOrder { level: ExportLevel::Group, cohort: Some("c".into()), ..order("r") };
    let mut second = ExportOrder { since_at: Some(at(5)), until_at: Some(at(6)), ..first.clone() };
    second.id = Uuid::now_v7();
    let room = Expect::ExportRoom { owner: owner("r"), open: 9, kept: 99 };
    store.done(Commit { expect: vec![room], ..begin(&first) }).await;
    store.done(begin(&second)).await;
    let open = Expect::ExportOpen { export: first.id };
    store.done(Commit { expect: vec![open], ..advance(first.id, 2, 5, None) }).await;
    let finish = ExportChange::Finish { id: first.id, at: at(1), expires_at: at(2) };
    store.done(Commit { exports: vec![finish], ..Commit::default() }).await;
    let fail = ExportChange::Fail { id: second.id, expires_at: at(2), note: "n".into() };
    store.done(Commit { exports: vec![fail], ..Commit::default() }).await;
    store.export_of(&owner("r"), first.id).await.unwrap();
    store.export(first.id).await.unwrap();
    store.open_exports(5).await.unwrap();
    store.expired_exports(at(3), 5).await.unwrap();
    store.export_files(first.id).await.unwrap();
    store.export_file(first.id, "f").await.unwrap();
    store.export_leavers(first.id, second.id, "", 5).await.unwrap();
    store.export_has_patients(first.id).await.unwrap();
    store.seq_at(at(5)).await.unwrap();
    store.last_seq().await.unwrap();
    let list = List { export: first.id, is_whole: true };
    let token = TokenMatch { system: None, code: Some("female".into()) };
    let clause = Clause::Token { param: "gender".into(), any_of: vec![token] };
    for kind in ["Patient", "Procedure"] {
        let whole = walk(kind, 9);
        passed(store, filter, whole.clone(), 9).await;
        let until = Some(Until { at: at(9), seq: 9 });
        let narrow = Walk { since: Some(0), until, of_patients: true, list: Some(list), ..whole };
        passed(store, filter, narrow, 9).await;
    }
    passed(store, filter, Walk { any_of: vec![vec![clause]], ..walk("Patient", 9) }, 9).await;
    let targets = Some(Targets { types: vec!["Patient".into()], latest: true });
    passed(store, filter, Walk { provenance: targets, ..walk("Provenance", 9) }, 9).await;
    let criteria = Criteria {
        diagnoses: vec![("C00".into(), "C97".into())],
        systems: vec!["urn:s".into()],
        plans: vec!["RP".into()],
        units: vec![ASKER.into()],
        period: Some((0, 1)),
    };
    store.members(filter, &criteria, Some(first.id), 0).await.unwrap();
    for id in [first.id, second.id] {
        let remove = ExportChange::Remove { id };
        store.done(Commit { exports: vec![remove], ..Commit::default() }).await;
        store.forgotten_exports(at(9), 5).await.unwrap();
        let forget = ExportChange::Forget { id };
        store.done(Commit { exports: vec![forget], ..Commit::default() }).await;
    }
    assert_eq!(store.export(first.id).await.unwrap(), None);
}

#[tokio::test]
async fn a_walk_is_the_same_in_pieces_of_any_size_and_shows_versions_that_stood() {
    let store = Store::open_temporary().unwrap();
    for n in 0..40 {
        store.done(puts([put("Task", &format!("t{n}"), 1), put("Goal", &format!("g{n}"), 1)])).await;
    }
    let seq = store.last_seq().await.unwrap();
    store.done(puts((0..40).step_by(3).map(|n| put("Task", &format!("t{n}"), 2)))).await;
    store.done(puts([put("Task", "later", 1)])).await;
    let whole = passed(&store, &Filter::ALL, walk("Task", seq), usize::MAX).await;
    assert_eq!(whole, (0..40).map(|n| format!("t{n}")).collect::<Vec<_>>());
    for most in [1, 2, 7] {
        assert_eq!(passed(&store, &Filter::ALL, walk("Task", seq), most).await, whole, "{most}");
    }
    let since = Walk { since: Some(seq), ..walk("Task", store.last_seq().await.unwrap()) };
    assert_eq!(passed(&store, &Filter::ALL, since, 3).await.len(), 15);
}

#[tokio::test]
async fn what_a_unit_is_shut_out_from_left_and_what_was_never_there_did_not() {
    let store = Store::open_temporary().unwrap();
    let mine = |id: &str| Put { units: vec![ASKER.into()], ..put("Task", id, 1) };
    store.done(puts([mine("a"), mine("b"), put("Task", "c", 1)])).await;
    let since = store.last_seq().await.unwrap();
    let seen = |id: &str| vec![Share { resources: vec![format!("Task/{id}")], units: vec![ASKER.into()] }];
    store.done(Commit { hide: seen("a"), ..puts([mine("new")]) }).await;
    store.done(Commit { hide: seen("new"), share: seen("c"), ..Commit::default() }).await;
    // Nothing happens twice.
    let before = store.last_seq().await.unwrap();
    store.done(Commit { hide: seen("new"), share: seen("c"), ..Commit::default() }).await;
    assert_eq!(store.last_seq().await.unwrap(), before);
    let changed = Walk { since: Some(since), ..walk("Task", before) };
    let filter = Filter::units(vec![ASKER.into()]);
    assert_eq!(passed(&store, &filter, changed.clone(), usize::MAX).await, ["c", "-a"]);
    assert_eq!(passed(&store, &Filter::ALL, changed, usize::MAX).await, ["new"]);
}

#[tokio::test]
async fn marks_are_in_order_although_the_clock_is_not_and_an_export_stands_behind_what_is_committed() {
    let store = Store::open_temporary().unwrap();
    store.done(puts([patient("p1", "195009072553")])).await;
    let (first, second) = (order("r"), order("r"));
    store.done(begin(&first)).await;
    // As if the clock had been an hour ahead when the last mark was made.
    store.on_writer(|connection| {
        let ahead = "INSERT INTO mark SELECT max(at) + 3600000, max(seq) FROM mark";
        connection.execute_batch(ahead).unwrap();
    });
    store.done(puts([patient("p2", "196109732393")])).await;
    let shown = store.export(first.id).await.unwrap().unwrap();
    assert!(shown.seq < store.last_seq().await.unwrap());
    assert_eq!(store.seq_at(shown.transaction_at).await.unwrap(), shown.seq);
    let copy = Folder::new();
    let to = copy.database();
    store.on_writer(move |connection| {
        connection.execute("VACUUM INTO ?1", [to.to_str().unwrap()]).unwrap();
    });
    store.done(Commit::default()).await;
    let again = open_at(&copy.database());
    again.done(begin(&second)).await;
    let later = again.export(second.id).await.unwrap().unwrap();
    assert!(later.transaction_at > shown.transaction_at + chrono::TimeDelta::minutes(59), "after every mark before");
    assert!(later.seq > shown.seq);
}

#[tokio::test]
async fn an_export_goes_forward_only_and_belongs_to_its_client() {
    let store = Store::open_temporary().unwrap();
    let mine = order("r");
    store.done(begin(&mine)).await;
    assert!(store.export_of(&owner("other"), mine.id).await.unwrap().is_none());
    store.done(advance(mine.id, 2, 10, None)).await;
    let back = store.commit(advance(mine.id, 1, 99, None)).await.unwrap();
    assert_eq!(back, Committed::Conflict(Expect::ExportOpen { export: mine.id }));
    store.done(advance(mine.id, 3, 0, Some("0".repeat(64)))).await;
    assert!(store.export_file(mine.id, "f").await.unwrap().is_some());
    let remove = || Commit { exports: vec![ExportChange::Remove { id: mine.id }], ..Commit::default() };
    store.done(remove()).await;
    assert!(matches!(store.commit(remove()).await.unwrap(), Committed::Conflict(_)));
    assert!(matches!(store.commit(advance(mine.id, 4, 0, None)).await.unwrap(), Committed::Conflict(_)));
    assert!(store.export_of(&owner("r"), mine.id).await.unwrap().is_none());

    let full = |open, kept| Commit {
        expect: vec![Expect::ExportRoom { owner: owner("r"), open, kept }],
        ..begin(&order("r"))
    };
    store.done(full(1, 1)).await;
    assert!(matches!(store.commit(full(1, 9)).await.unwrap(), Committed::Conflict(_)));
    assert!(matches!(store.commit(full(9, 1)).await.unwrap(), Committed::Conflict(_)));
    store.done(full(2, 2)).await;
}

#[tokio::test]
async fn an_export_is_its_clients_and_one_of_before_is_the_one_whose_own_name_it_has() {
    let store = Store::open_temporary().unwrap();
    let of = |name: &str, client: Option<&str>| Owner { name: name.into(), client: client.map(str::to_owned) };
    let by = |owner: &Owner| ExportOrder { owner: owner.clone(), ..order("r") };
    let (first, second) = (of("SE1", Some("emr")), of("SE1", Some("lab")));
    let (unknown, own, before) = (of("SE1", None), of("rehab", None), of("SE1", Some("SE1")));
    let orders = [&first, &unknown, &own].map(by);
    for order in &orders {
        let room = Expect::ExportRoom { owner: order.owner.clone(), open: 1, kept: 1 };
        store.done(Commit { expect: vec![room], ..begin(order) }).await;
    }
    let sees = async |owner: &Owner, n: usize| store.export_of(owner, orders[n].id).await.unwrap().is_some();
    assert!(sees(&first, 0).await && !sees(&second, 0).await && !sees(&unknown, 0).await);
    assert!(!sees(&first, 1).await && !sees(&second, 1).await, "a unit's of before is no one system's");
    assert!(sees(&unknown, 1).await && sees(&before, 1).await);
    assert!(sees(&of("rehab", Some("rehab")), 2).await && !sees(&of("rehab", Some("other")), 2).await);

    // What a system had of a group, and what it may have had of before, is what its next is compared with.
    let cohort = |owner: &Owner| ExportOrder { level: ExportLevel::Group, cohort: Some("c".into()), ..by(owner) };
    let mut had = Vec::new();
    for owner in [&unknown, &second, &first] {
        let order = cohort(owner);
        store.done(begin(&order)).await;
        let finish = ExportChange::Finish { id: order.id, at: at(1), expires_at: at(2) };
        store.done(Commit { exports: vec![finish], ..Commit::default() }).await;
        had.push(order.id);
    }
    let now = store.export(had[2]).await.unwrap().unwrap().transaction_at;
    for (owner, basis) in [(&second, had[1]), (&first, had[2]), (&of("SE1", Some("new")), had[0])] {
        let next = ExportOrder { since_at: Some(now), ..cohort(owner) };
        store.done(begin(&next)).await;
        assert_eq!(store.export(next.id).await.unwrap().unwrap().basis, Some(basis), "{owner:?}");
    }
}

#[tokio::test]
async fn a_scope_narrows_a_walk_and_what_it_no_longer_covers_left() {
    let store = Store::open_temporary().unwrap();
    let task = |id: &str, version: u32, status: &str| {
        let body = serde_json::json!({ "resourceType": "Task", "id": id, "status": status });
        let index = crate::fhir::search::index(&body);
        Put { body: body.to_string().into(), index, ..put("Task", id, version) }
    };
    let requested = Clause::Token {
        param: "status".into(),
        any_of: vec![TokenMatch { system: None, code: Some("requested".into()) }],
    };
    let mut grants = Grants::default();
    grants.allow("Task", Right::Read, vec![requested]);
    let filter = Filter::ALL.within(Arc::new(grants));
    store.done(puts([task("a", 1, "requested"), task("b", 1, "accepted"), task("c", 1, "requested")])).await;
    let first = store.last_seq().await.unwrap();
    assert_eq!(passed(&store, &filter, walk("Task", first), 9).await, ["a", "c"]);
    assert_eq!(passed(&store, &filter, walk("Goal", first), 9).await, [""; 0]);
    store.done(puts([task("a", 2, "accepted"), task("b", 2, "completed")])).await;
    let changed = Walk { since: Some(first), ..walk("Task", store.last_seq().await.unwrap()) };
    assert_eq!(passed(&store, &filter, changed, 9).await, ["-a"], "and of what was never covered nothing is told");
    store.done(puts([task("b", 3, "requested")])).await;
    // As it stood at first it was not covered, although it is now.
    assert_eq!(passed(&store, &filter, walk("Task", first), 9).await, ["c"]);
}
