//! Attempts at the token endpoint that fail: bounded for each source and for all, without shutting out who is known there.

use super::{Door, FORM, JWT_BEARER, Key, Reply, form, journal, registry};

fn settings(bounds: &str, gateway: &str) -> String {
    format!("{gateway}[oauth]\n{bounds}\n{}{}", registry("system/Procedure.rs"), journal(""))
}

async fn open(bounds: &str, gateway: &str) -> (Door, Key) {
    let key = Key::es384("k1");
    let door = Door::open(&[("registry.json", &key), ("journal.json", &key)], &settings(bounds, gateway)).await;
    (door, key)
}

/// Shows an assertion as somebody who came through a proxy from there.
async fn from(door: &Door, address: &str, assertion: &str) -> Reply {
    let fields =
        [("grant_type", "client_credentials"), ("client_assertion_type", JWT_BEARER), ("client_assertion", assertion)];
    door.post("/oauth/token", &[FORM, ("X-Forwarded-For", address)], form(&fields)).await
}

fn waits(reply: &Reply) -> bool {
    let seconds = reply.headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    reply.status == 429 && reply.error() == "temporarily_unavailable" && seconds.is_some_and(|s| (1..=60).contains(&s))
}

#[actix_web::test]
async fn a_flood_of_failures_is_turned_away_and_a_client_that_is_known_there_is_not() {
    let (door, key) = open("attempts = 6", "").await;
    let stranger = Key::es384("k1");
    let good = async |client: &str| door.show(&key.sign(&door.claims(client)), "").await;
    assert_eq!(good("registry").await.status, 200);
    // Good ones cost nothing, however many.
    for _ in 0..20 {
        assert_eq!(good("registry").await.status, 200);
    }
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(door.show("no jwt", "").await);
        answers.push(door.ask(&[("grant_type", "password")]).await);
        answers.push(door.show(&stranger.sign(&door.claims("journal")), "").await);
        answers.push(door.post("/oauth/token", &[], "{}").await);
    }
    let refused = answers.iter().take_while(|reply| [400, 401].contains(&reply.status)).count();
    assert_eq!(refused, 6, "{answers:?}");
    assert!(answers[refused..].iter().all(waits), "{answers:?}");
    assert!(waits(&good("journal").await), "not known from there: it may be anybody");
    assert_eq!(good("registry").await.status, 200, "it got a token from there a moment ago");
    // Whoever says that it is the known client uses up that client's places, and a replay is no proof either.
    for _ in 0..6 {
        assert_eq!(door.show(&stranger.sign(&door.claims("registry")), "").await.status, 401);
    }
    assert!(waits(&door.show(&stranger.sign(&door.claims("registry")), "").await));
    let figures = door.get("/metrics", "", &[]).await.text;
    let counted = |client: &str| {
        let line = format!("vardkedja_token_requests_total{{client=\"{client}\",result=\"turned_away\"}} ");
        let found = figures.lines().find_map(|l| l.strip_prefix(&line)?.parse::<u64>().ok());
        found.unwrap_or(0)
    };
    assert!(counted("unknown") > 0 && counted("journal") > 1 && counted("registry") == 1, "{figures}");
    door.close().await;
}

#[actix_web::test]
async fn behind_a_proxy_each_source_has_its_own_and_what_a_caller_wrote_is_not_believed() {
    let (door, key) = open("attempts = 3", "behind_proxy = true\n").await;
    for n in 0..3 {
        assert_eq!(from(&door, "192.0.2.1", "no jwt").await.status, 401, "{n}");
    }
    assert!(waits(&from(&door, "192.0.2.1", "no jwt").await));
    assert!(waits(&from(&door, "198.51.100.7, 192.0.2.1", "no jwt").await), "the proxy wrote the last");
    assert_eq!(from(&door, "192.0.2.1, 192.0.2.2", "no jwt").await.status, 401);
    assert_eq!(from(&door, "192.0.2.3", &key.sign(&door.claims("journal"))).await.status, 200);
    door.close().await;
}

#[actix_web::test]
async fn all_sources_together_have_a_bound_too_and_without_a_proxy_nobody_can_make_up_his_own() {
    let (door, key) = open("attempts = 3\nattempts_all = 5", "behind_proxy = true\n").await;
    assert_eq!(from(&door, "203.0.113.1", &key.sign(&door.claims("journal"))).await.status, 200);
    let mut statuses = Vec::new();
    for n in 0..10 {
        statuses.push(from(&door, &format!("192.0.2.{n}"), "no jwt").await.status);
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429, 429, 429, 429]);
    let known = from(&door, "203.0.113.1", &key.sign(&door.claims("journal"))).await;
    assert_eq!(known.status, 200, "known where it comes from: {}", known.text);
    door.close().await;
    let (door, _) = open("attempts = 3", "").await;
    for n in 0..3 {
        assert_eq!(from(&door, &format!("192.0.2.{n}"), "no jwt").await.status, 401);
    }
    assert!(waits(&from(&door, "192.0.2.9", "no jwt").await));
    door.close().await;
}
