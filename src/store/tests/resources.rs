//! Resources: what is put is read back, version by version, by name and by identifier.

use super::*;

#[tokio::test]
async fn a_resource_is_read_as_it_was_put_and_every_version_stays() {
    let store = Store::open_temporary().unwrap();
    for version in 1..=3 {
        store.done(puts([put("CarePlan", "c", version), put("Goal", &format!("g{version}"), 1)])).await;
    }
    let now = store.resource(&Filter::ALL, "CarePlan", "c").await.unwrap().unwrap();
    assert_eq!((now.version, now.seq, now.body), (3, 5, put("CarePlan", "c", 3).body));
    let first = store.version(&Filter::ALL, "CarePlan", "c", 1).await.unwrap().unwrap();
    assert_eq!((first.version, first.seq, first.body), (1, 1, put("CarePlan", "c", 1).body));
    assert_eq!(store.version(&Filter::ALL, "CarePlan", "c", 4).await.unwrap(), None);
    assert_eq!(store.resource(&Filter::ALL, "Goal", "c").await.unwrap(), None);
}

#[tokio::test]
async fn history_is_newest_first_and_pages_by_seq() {
    let store = Store::open_temporary().unwrap();
    for version in 1..=5 {
        store.done(puts([put("CarePlan", "c", version)])).await;
    }
    let page = |limit, before| {
        let store = store.clone();
        async move {
            let page = store.versions(&Filter::ALL, &versions("CarePlan", "c", limit, before)).await.unwrap();
            page.iter().map(|stored| stored.version).collect::<Vec<_>>()
        }
    };
    assert_eq!(page(10, None).await, [5, 4, 3, 2, 1]);
    assert_eq!(page(2, None).await, [5, 4]);
    assert_eq!(page(2, Some(4)).await, [3, 2]);
    assert_eq!(page(2, Some(1)).await, [0; 0]);
}

#[tokio::test]
async fn several_come_in_the_order_asked_and_what_is_missing_is_left_out() {
    let store = Store::open_temporary().unwrap();
    store.done(puts([put("Goal", "a", 1), put("Goal", "b", 1), put("Task", "a", 1)])).await;
    let names = ["Task/a", "Goal/missing", "Goal/b", "nonsense", "Goal/a", "Goal/b"].map(str::to_owned);
    let found = store.resources(&Filter::ALL, &names).await.unwrap();
    let found: Vec<String> = found.iter().map(|r| format!("{}/{}", r.resource_type, r.id)).collect();
    assert_eq!(found, ["Task/a", "Goal/b", "Goal/a", "Goal/b"]);
}

#[tokio::test]
async fn the_time_of_a_version_is_what_its_meta_says() {
    let store = Store::open_temporary().unwrap();
    let body = br#"{"resourceType":"Goal","meta":{"lastUpdated":"2026-11-02T10:15:30.123+01:00"},"id":"g"}"#;
    store.done(puts([Put { body: body.to_vec(), ..put("Goal", "g", 1) }])).await;
    let goal = store.resource(&Filter::ALL, "Goal", "g").await.unwrap().unwrap();
    assert_eq!(goal.updated_at, "2026-11-02T09:15:30.123Z".parse::<DateTime<Utc>>().unwrap());
    assert_eq!(goal.body, body);
}

#[tokio::test]
async fn a_version_that_does_not_say_when_it_was_made_has_the_time_of_its_commit() {
    let store = Store::open_temporary().unwrap();
    let before = Utc::now().timestamp_millis();
    store.done(puts([Put { body: b"not JSON".to_vec(), ..put("Binary", "b", 1) }])).await;
    let binary = store.resource(&Filter::ALL, "Binary", "b").await.unwrap().unwrap();
    assert!((before..=Utc::now().timestamp_millis()).contains(&binary.updated_at.timestamp_millis()));
}

#[tokio::test]
async fn an_identifier_finds_all_that_have_it_now_oldest_first() {
    let store = Store::open_temporary().unwrap();
    let named = |id: &str, version, code: &str| Put {
        index: vec![identifier("urn:s", code), identifier("urn:t", "other"), identifier("urn:s", code)],
        ..put("Goal", id, version)
    };
    store.done(puts([named("b", 1, "x"), named("a", 1, "x"), named("c", 1, "x")])).await;
    store.done(puts([named("c", 2, "y")])).await;
    let find = |resource_type: &'static str, code: &'static str| {
        let store = store.clone();
        async move {
            let found = store.by_identifier(&Filter::ALL, resource_type, "urn:s", code).await.unwrap();
            found.into_iter().map(|stored| stored.id).collect::<Vec<_>>()
        }
    };
    assert_eq!(find("Goal", "x").await, ["b", "a"]);
    assert_eq!(find("Goal", "y").await, ["c"]);
    assert_eq!(find("Task", "x").await, [""; 0]);
}

#[tokio::test]
async fn a_patient_is_found_by_personnummer_and_by_nothing_else() {
    let store = Store::open_temporary().unwrap();
    store.done(puts([patient("p1", "195009072553"), patient("p2", "196101182803")])).await;
    assert_eq!(store.patient_id(PNR, "196101182803").await.unwrap().as_deref(), Some("p2"));
    assert_eq!(store.patient_id(PNR, "200302022389").await.unwrap(), None);
    assert_eq!(store.patient_id("urn:other", "196101182803").await.unwrap(), None);
}
