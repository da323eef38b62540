//! One consistent picture while others write, and nothing lost between one picture and the next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde_json::{Value, json};
use vardkedja::store::{Commit, Committed, Put};

use super::{Bulk, patient, procedure};

/// What a registry holds after it has taken in everything it got, in order.
fn take_in(held: &mut BTreeMap<String, u32>, got: &super::Got) {
    for line in got.lines.values().flatten() {
        let resource: Value = serde_json::from_str(line).unwrap();
        let version: u32 = resource["meta"]["versionId"].as_str().unwrap().parse().unwrap();
        held.insert(resource["id"].as_str().unwrap().to_owned(), version);
    }
    for name in &got.deleted {
        held.remove(name.split_once('/').unwrap().1);
    }
}

/// A version with a time of its own, which is not when it was committed.
fn version_at(id: &str, version: u32, status: &str, minutes: i64) -> Put {
    let mut put = procedure(id, version, "p1", status);
    let mut body: Value = serde_json::from_slice(&put.body).unwrap();
    let at = chrono::Utc::now() + chrono::TimeDelta::minutes(minutes);
    body["meta"]["lastUpdated"] = json!(at.to_rfc3339());
    put.body = body.to_string().into_bytes();
    put
}

#[actix_web::test]
async fn nothing_is_lost_between_exports_while_others_write() {
    let bulk = Arc::new(
        Bulk::open("[export]\nrecord_bytes = 4096\nfile_lines = 50\nopen_per_client = 100\nkept_per_client = 100\n")
            .await,
    );
    bulk.put([patient("p1")]).await;
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let mut writers = Vec::new();
    for writer in 0..4_u32 {
        let (gateway, stop, written) = (Arc::clone(&bulk.gateway), Arc::clone(&stop), Arc::clone(&written));
        writers.push(tokio::spawn(async move {
            let mut stands: BTreeMap<String, (u32, bool)> = BTreeMap::new();
            let mut n = 0_u32;
            while !stop.load(Ordering::Acquire) {
                n += 1;
                let id = format!("w{writer}-{}", n.wrapping_mul(7919) % 150);
                let version = stands.get(&id).map_or(1, |(version, _)| version + 1);
                let is_wrong = n.is_multiple_of(11);
                let status = if is_wrong { "entered-in-error" } else { "completed" };
                // Requests that took long, and clocks that are not set right: their times say nothing of the order of commits.
                let put = version_at(&id, version, status, i64::from(n % 7) * 5 - 20);
                let commit = Commit { put: vec![put], ..Commit::default() };
                assert!(matches!(gateway.store.commit(commit).await.unwrap(), Committed::Done { .. }));
                stands.insert(id, (version, is_wrong));
                written.fetch_add(1, Ordering::AcqRel);
            }
            stands
        }));
    }
    let mut held = BTreeMap::new();
    let mut since: Option<String> = None;
    for round in 0..8 {
        let path = match &since {
            Some(since) => format!("/fhir/$export?_type=Procedure&_since={since}"),
            None => "/fhir/$export?_type=Procedure".to_owned(),
        };
        let got = bulk.export(&path, None).await;
        take_in(&mut held, &got);
        since = Some(got.since());
        let before = written.load(Ordering::Acquire);
        while round < 7 && written.load(Ordering::Acquire) < before + 100 {
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::Release);
    let mut stands = BTreeMap::new();
    for writer in writers {
        stands.extend(writer.await.unwrap());
    }
    let last = bulk.export(&format!("/fhir/$export?_type=Procedure&_since={}", since.unwrap()), None).await;
    take_in(&mut held, &last);
    let expected: BTreeMap<String, u32> =
        stands.into_iter().filter(|(_, (_, is_wrong))| !is_wrong).map(|(id, (version, _))| (id, version)).collect();
    assert!(expected.len() > 50 && written.load(Ordering::Acquire) > 500);
    assert_eq!(held, expected, "the registry holds what stands, to the version");
    Arc::into_inner(bulk).unwrap().close().await;
}

#[actix_web::test]
async fn an_export_shows_what_stood_when_it_was_asked_for() {
    // One line a file and a record, so that there is time to write in between.
    let bulk = Bulk::open("[export]\nat_once = 1\nopen_per_client = 10\n").await;
    bulk.put([patient("p1")]).await;
    bulk.put((0..50).map(|n| procedure(&format!("c{n}"), 1, "p1", "completed"))).await;
    // The first is worked on; the second waits, and what it shows is settled already.
    let first = bulk.start("/fhir/$export", None).await;
    let second = bulk.start("/fhir/$export?_type=Procedure&_typeFilter=Procedure%3Fstatus%3Dcompleted", None).await;
    bulk.put((0..50).map(|n| procedure(&format!("c{n}"), 2, "p1", "in-progress"))).await;
    bulk.put((50..60).map(|n| procedure(&format!("c{n}"), 1, "p1", "completed"))).await;
    bulk.wait(&first, None).await;
    let manifest = bulk.wait(&second, None).await;
    let got = bulk.fetch(manifest, None).await;
    let lines = &got.lines["Procedure"];
    assert_eq!(lines.len(), 50, "what came later is not in it");
    assert!(lines.iter().all(|line| line.contains("version 1")), "and what changed stands as it stood");
    let next = bulk.export(&format!("/fhir/$export?_type=Procedure&_since={}", got.since()), None).await;
    assert_eq!(next.names().len(), 60);
    bulk.close().await;
}
