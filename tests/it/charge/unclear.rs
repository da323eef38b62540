//! What cannot be told is said to be so, with the referral that left it open: rather nobody is named than the wrong unit.

use serde_json::{Value, json};

use super::{PATIENT, moved, takeover, who};
use crate::world::{NORTH, ONCOLOGY, SOUTH, World};

async fn ask(world: &World, unit: &str) -> Value {
    let reply = world.post("/v1/responsibility/search", unit, &json!({ "patient": PATIENT })).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()
}

fn of<'a>(answer: &'a Value, area: &str) -> &'a Value {
    answer["areas"].as_array().unwrap().iter().find(|line| line["area"] == area).unwrap()
}

#[actix_web::test]
async fn a_riv_referral_that_is_accepted_leaves_everything_of_its_senders_unknown_and_says_why() {
    let world = World::open().await;
    // Before it, the sender says that it has tobacco and the municipality's team that it has taken fatigue.
    let other = world.refer(&takeover(1, &["fatigue", "tobacco"])).await;
    let parts = json!({ "status": "accepted", "areas": [
        { "area": "fatigue", "status": "accepted" },
        { "area": "tobacco", "status": "rejected", "reason": "Ingen tid." },
    ] });
    assert_eq!(world.post(&format!("{other}/answers"), SOUTH, &parts).await.status, 200);
    assert_eq!(who(&world, ONCOLOGY, "tobacco", None).await, format!("one {ONCOLOGY}"));
    let text = include_str!("../../../mappings/examples/referral.riv-small.source.xml")
        .replace(NORTH, SOUTH)
        .replace("191212121212", PATIENT);
    let headers = [("Vardkedja-Unit", ONCOLOGY), ("Content-Type", "application/xml")];
    let sent = world.ask("POST", "/v1/referrals", &headers, Some(text)).await;
    assert_eq!(sent.status, 202, "{}", sent.text);
    let exchange = sent.location.unwrap();
    let said = world.post(&format!("{exchange}/consultations"), ONCOLOGY, &crate::transfer::consultations()).await;
    assert_eq!(said.status, 200, "{}", said.text);
    assert_eq!(ask(&world, ONCOLOGY).await["unclear"], json!([]), "asked for is not accepted");
    moved(&world, &exchange, SOUTH, "accepted").await;
    for unit in [ONCOLOGY, SOUTH] {
        let answer = ask(&world, unit).await;
        let [why] = &answer["unclear"].as_array().unwrap()[..] else { panic!("{answer:#}") };
        assert!(exchange.ends_with(why["exchange"].as_str().unwrap()), "{why:#}");
        assert_eq!((&why["why"], &why["unit"], &why["sender"]), (&json!("not-said"), &json!(SOUTH), &json!(ONCOLOGY)));
        assert!(why["sv"].as_str().unwrap().contains("vårdansvaret"), "{why:#}");
        let tobacco = of(&answer, "tobacco");
        assert_eq!((&tobacco["answer"], &tobacco["responsible"]), (&json!("unknown"), &json!([])), "{tobacco:#}");
        assert_eq!(tobacco["lastKnown"][0]["unit"], ONCOLOGY);
        assert_eq!(of(&answer, "nutrition")["answer"], "unknown");
        let fatigue = of(&answer, "fatigue");
        assert_eq!((&fatigue["answer"], &fatigue["responsible"][0]["unit"]), (&json!("one"), &json!(SOUTH)));
        assert_eq!(fatigue["lastKnown"], json!([]), "who has said yes by another document has it");
    }
    assert_eq!(ask(&world, NORTH).await["unclear"], json!([]), "whom it does not concern is told of no referral");
    // A word that was said after it counts again; and what is given back is nobody's question any more.
    let after = world.refer(&takeover(2, &["tobacco"])).await;
    moved(&world, &after, SOUTH, "accepted").await;
    assert_eq!(who(&world, ONCOLOGY, "tobacco", None).await, format!("one {SOUTH}"));
    moved(&world, &exchange, SOUTH, "failed").await;
    assert_eq!(ask(&world, ONCOLOGY).await["unclear"], json!([]));
    world.close().await;
}
