//! At the same moment: two links, and documents under both numbers while they are linked.

use serde_json::json;

use super::{NEW, OLD, OTHER, about, by_number, ids, send, wish};
use crate::world::{ONCOLOGY, SOUTH, World};

#[actix_web::test]
async fn of_two_links_at_once_one_stands_and_documents_that_come_meanwhile_are_the_persons() {
    let world = World::open().await;
    send(&world, ONCOLOGY, &about(1, ONCOLOGY, SOUTH, OLD)).await;
    let (two, three) = (about(2, ONCOLOGY, SOUTH, OLD), about(3, ONCOLOGY, SOUTH, NEW));
    let (wish_a, wish_b, same) = (wish(OLD, NEW), wish(OLD, OTHER), wish(OLD, NEW));
    let (a, b, c, d, e) = tokio::join!(
        world.post("/v1/patients/links", ONCOLOGY, &wish_a),
        world.post("/v1/patients/links", ONCOLOGY, &wish_b),
        world.post("/v1/referrals", ONCOLOGY, &two),
        world.post("/v1/referrals", ONCOLOGY, &three),
        world.post("/v1/patients/links", SOUTH, &same),
    );
    assert!([c.status, d.status] == [202, 202], "{} {}", c.text, d.text);
    let mut statuses = [a.status, b.status, e.status];
    statuses.sort_unstable();
    assert!([[200, 201, 409], [201, 409, 409]].contains(&statuses), "{statuses:?}");
    let made = [&a, &b, &e].into_iter().find(|reply| reply.status == 201).unwrap().json();
    let is_new = [&a, &e].into_iter().any(|reply| reply.status < 300);
    let old = made["old"].as_str().unwrap().trim_start_matches("Patient/").to_owned();
    let many = ids(&world.get(&format!("/fhir/Task?patient={old}"), SOUTH).await).len();
    assert_eq!(many, if is_new { 3 } else { 2 });
    let patients = by_number(&world, SOUTH, OLD).await;
    assert_eq!(patients.len(), 2, "each number is one Patient: {patients:?}");
    let all = world.get("/fhir/Patient?_total=accurate&_summary=count", "").await.json();
    assert_eq!(all["total"], json!(if is_new { 2 } else { 3 }), "{all}");
    world.close().await;
}
