//! What has changed since, and what is to be erased.

use serde_json::{Value, json};
use vardkedja::store::{Commit, Share};

use super::{Bulk, OTHER, UNIT, patient, procedure, resource};

fn seen(what: &str, units: &[&str]) -> Vec<Share> {
    vec![Share { resources: vec![what.into()], units: units.iter().map(|u| (*u).to_owned()).collect() }]
}

#[actix_web::test]
async fn what_changed_since_comes_and_what_was_retracted_is_to_be_erased() {
    let bulk = Bulk::open("").await;
    bulk.put([patient("p1"), patient("old")]).await;
    bulk.put(["same", "changed", "retracted", "corrected"].map(|id| procedure(id, 1, "p1", "completed"))).await;
    let first = bulk.export("/fhir/$export", None).await;
    assert_eq!(first.names().len(), 6);
    let nothing = bulk.export(&format!("/fhir/$export?_since={}", first.since()), None).await;
    assert_eq!((nothing.names().len(), nothing.deleted.len()), (0, 0), "nothing has changed");

    bulk.put([procedure("changed", 2, "p1", "completed"), procedure("new", 1, "p1", "completed")]).await;
    bulk.put([procedure("retracted", 2, "p1", "entered-in-error")]).await;
    bulk.put([procedure("never", 1, "p1", "completed"), procedure("never", 2, "p1", "entered-in-error")]).await;
    bulk.put([procedure("corrected", 2, "p1", "entered-in-error")]).await;
    bulk.put([procedure("corrected", 3, "p1", "completed")]).await;
    let merged = json!({ "resourceType": "Patient", "id": "old", "link": [
        { "type": "replaced-by", "other": { "reference": "Patient/p1" } },
    ] });
    bulk.put([resource(merged, 2, "old", &[UNIT])]).await;
    let second = bulk.export(&format!("/fhir/$export?_since={}", nothing.since()), None).await;
    assert_eq!(second.names(), ["Procedure/changed", "Procedure/corrected", "Procedure/new"]);
    assert_eq!(second.deleted, ["Patient/old", "Procedure/retracted"], "what was never had is not to be erased");
    // What is to be erased is in no output, whichever of them is read first.
    let whole = bulk.export("/fhir/$export", None).await;
    assert!(!whole.names().iter().any(|name| second.deleted.contains(name)));
    bulk.close().await;
}

#[actix_web::test]
async fn what_a_unit_no_longer_sees_is_to_be_erased_and_what_it_was_let_in_to_comes() {
    let bulk = Bulk::open("").await;
    bulk.put([patient("p1")]).await;
    bulk.put(["kept", "lost", "lent"].map(|id| procedure(id, 1, "p1", "completed"))).await;
    let theirs = json!({ "resourceType": "Procedure", "id": "gained", "status": "completed" });
    bulk.put([resource(theirs, 1, "p1", &[OTHER])]).await;
    let export =
        async |since: &str| bulk.export(&format!("/fhir/$export?_type=Procedure&_since={since}"), Some(UNIT)).await;
    let first = bulk.export("/fhir/$export?_type=Procedure", Some(UNIT)).await;
    assert_eq!(first.names(), ["Procedure/kept", "Procedure/lent", "Procedure/lost"]);

    bulk.commit(Commit { hide: seen("Procedure/lost", &[UNIT]), ..Commit::default() }).await;
    bulk.commit(Commit { hide: seen("Procedure/lent", &[UNIT]), ..Commit::default() }).await;
    bulk.commit(Commit { share: seen("Procedure/lent", &[UNIT]), ..Commit::default() }).await;
    bulk.commit(Commit { share: seen("Procedure/gained", &[UNIT]), ..Commit::default() }).await;
    let second = export(&first.since()).await;
    assert_eq!(second.names(), ["Procedure/gained", "Procedure/lent"], "although none of them has a new version");
    assert_eq!(second.deleted, ["Procedure/lost"]);
    let third = export(&second.since()).await;
    assert_eq!((third.names().len(), third.deleted.len()), (0, 0));
    let all = bulk.export(&format!("/fhir/$export?_type=Procedure&_since={}", first.since()), None).await;
    assert_eq!((all.names().len(), all.deleted.len()), (0, 0), "for those who see everything nothing has changed");
    bulk.close().await;
}

#[actix_web::test]
async fn windows_that_meet_give_each_version_that_stood_once_at_least() {
    let bulk = Bulk::open("").await;
    bulk.put([patient("p1")]).await;
    let at = |version: u32, id: &str, time: &str| {
        let mut put = procedure(id, version, "p1", "completed");
        let mut body: Value = serde_json::from_slice(&put.body).unwrap();
        body["meta"]["lastUpdated"] = json!(time);
        put.body = body.to_string().into_bytes();
        put
    };
    bulk.put([at(1, "a", "2026-01-01T00:00:00Z"), at(1, "b", "2026-03-01T00:00:00Z")]).await;
    let until = bulk.export("/fhir/$export?_type=Procedure&_until=2026-02-01T00:00:00Z", None).await;
    assert_eq!(until.names(), ["Procedure/a"]);
    assert_eq!(until.since(), "2026-02-01T00:00:00.000Z", "whoever goes on from there loses nothing");
    let after = bulk.export(&format!("/fhir/$export?_type=Procedure&_since={}", until.since()), None).await;
    assert!(after.names().contains(&"Procedure/b".to_owned()));
    bulk.close().await;
}

#[actix_web::test]
async fn what_a_filter_no_longer_finds_is_to_be_erased() {
    let bulk = Bulk::open("").await;
    bulk.put([patient("p1")]).await;
    bulk.put(["stays", "changes", "never"].map(|id| procedure(id, 1, "p1", "completed"))).await;
    bulk.put([procedure("never", 2, "p1", "not-done")]).await;
    let path = "/fhir/$export?_type=Procedure&_typeFilter=Procedure%3Fstatus%3Dcompleted";
    let first = bulk.export(path, None).await;
    assert_eq!(first.names(), ["Procedure/changes", "Procedure/stays"]);
    bulk.put([procedure("changes", 2, "p1", "in-progress"), procedure("never", 3, "p1", "in-progress")]).await;
    let second = bulk.export(&format!("{path}&_since={}", first.since()), None).await;
    assert_eq!((second.names(), second.deleted), (Vec::new(), vec!["Procedure/changes".to_owned()]));
    bulk.close().await;
}
