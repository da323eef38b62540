//! The schema: what it refuses, and that it knows every word of the domain.

use rusqlite::Connection;

use super::*;

/// A database with one legal row of everything.
fn legal() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    super::super::migrate::migrate(&connection).unwrap();
    connection
        .execute_batch(
            "PRAGMA foreign_keys = ON;
             INSERT INTO resource VALUES (1, 'Task', 't', 1, 1, 0, NULL, NULL);
             INSERT INTO version VALUES (1, 1, 1, 0, x'7b7d');
             INSERT INTO param VALUES (1, 'Task', 'status', '', 0, 1);
             INSERT INTO facet VALUES (1, zeroblob(32));
             INSERT INTO reindex VALUES ('Task', 0);
             INSERT INTO date VALUES (1, 0, 1, 1);
             INSERT INTO concern VALUES (1, 'SE-1');
             INSERT INTO exchange VALUES (zeroblob(16), 1, 'referral', 'json', 'org', 'd', 1, 0, 'p', 'waiting', 0, 0);
             INSERT INTO party VALUES (zeroblob(16), 0, 'SE-1', 'norr', 'recipient', 't', 'requested', 'waiting', 0);
             INSERT INTO document VALUES (zeroblob(16), 1, 'json', '', '', '', 0, 1, x'', x'');
             INSERT INTO delivery VALUES (1, zeroblob(16), zeroblob(16), 1, 'norr', 'SE-1', 'p', 'transaction', 'waiting', 1, 0, 0,
                                          NULL, 0, 0, NULL, NULL, x'', NULL, 0, 0);
             INSERT INTO block VALUES (zeroblob(16), 'p', 'PROV', NULL, 0, 1, 0, 'SE-P', NULL, NULL);
             INSERT INTO wait VALUES (zeroblob(16), 'SE-1', 'no-receipt', '', 't', 'SE-2', 'referral', 'routine', 5, '[6]', NULL, NULL, 6, 6,
                                      0, 0);
             INSERT INTO pause VALUES (zeroblob(16), zeroblob(16), NULL, 'person', 5, 6, 'SE-P', 'why', NULL);
             INSERT INTO deceased VALUES ('p', 5, NULL);
             INSERT INTO affiliation VALUES ('SE-1', 'PROV');
             INSERT INTO withheld (rid, unit) VALUES (1, 'SE-2');
             INSERT INTO withheld_exchange VALUES (zeroblob(16), 'SE-2');
             INSERT INTO attempt VALUES (zeroblob(16), 1, 0, 'transient', 503, NULL, 1);
             INSERT INTO fact_fill VALUES ('Procedure', 0);
             INSERT INTO fact_unit VALUES (1, 'SE-1');
             INSERT INTO act (rid, code, day, unit, patient, contact, distance) VALUES (1, 'DV143', 20484, 1, 1, 1, 0);
             INSERT INTO act_add_on VALUES ('Procedure/t', 1);
             INSERT INTO milestone VALUES (1, 'plan', 1, 20484, 1);
             INSERT INTO inbound VALUES ('norr', 'k', NULL, 0, NULL, x'');
             INSERT INTO move VALUES (1, zeroblob(16), 't', 0, 'norr', NULL, 1, 'accepted', NULL);
             INSERT INTO mark VALUES (5, 1);
             INSERT INTO sight VALUES (1, 'SE-1', 2, 1);
             INSERT INTO export_job VALUES (zeroblob(16), 'r', '', 'group', 'c', '', '', 0, 0, 0, 1, 0, 0, NULL, NULL, NULL, 'open', 0, 0, 0,
                                            NULL, NULL, NULL, 'k');
             INSERT INTO export_file VALUES (zeroblob(16), 'f', 'output', 'Task', 1, 1, NULL);
             INSERT INTO export_patient VALUES (zeroblob(16), 'p', 'member');
             INSERT INTO answer VALUES ('syd', 'k', '', NULL, 202, NULL, 0, x'');
             INSERT INTO charge_move VALUES (1, zeroblob(16), 'p', zeroblob(16), zeroblob(16), 0, 'takes', 'fatigue', 'SE-1');
             INSERT INTO assertion VALUES ('c', zeroblob(32), 0);
             INSERT INTO programme VALUES (zeroblob(16), 1, 'd', '1', 'started', 'p', 'SE-1', NULL, 5, 5, NULL, NULL, NULL, NULL, 4, 9, 6, '{}');
             INSERT INTO programme_resource VALUES (zeroblob(16), 1, 0);
             INSERT INTO subscription (id, client, caller, topic, asked, endpoint, headers, payload, timeout_s, max_count, created_at,
                                       updated_at, version, generation, changed, status, since_seq, numbered)
               VALUES (zeroblob(16), 'c', '{}', 't', '{}', 'https://x', '[]', 'id-only', 1, 1, 0, 0, 1, 1, 0, 'active', 1, 1);
             INSERT INTO subscription_event VALUES (zeroblob(16), 1, 1, 1, 1, 0);",
        )
        .unwrap();
    connection
}

#[test]
fn illegal_states_are_refused_by_the_database_itself() {
    let connection = legal();
    for sql in [
        "UPDATE resource SET version = 0",
        "UPDATE programme SET stage = 'lost'",
        "UPDATE programme SET stage = 'purged'",
        "UPDATE programme SET stage = 'closed'",
        "UPDATE programme SET closed_at = 7",
        "UPDATE programme SET patient = NULL",
        "UPDATE programme SET moment_at = 6",
        "UPDATE programme SET unit = 'se-1'",
        "DELETE FROM programme",
        "INSERT INTO programme SELECT randomblob(16), revision, definition, version, stage, patient, unit, team, started_at, moment_at, active_at,
         treatment_at, closed_at, purged_at, swept_at, purge_at, next_at, state FROM programme",
        "UPDATE programme_resource SET kept = 2",
        "UPDATE resource SET type = ''",
        "UPDATE version SET body = x''",
        "UPDATE date SET lo = 2",
        "UPDATE param SET ready = 2",
        "UPDATE param SET coded = 2",
        "UPDATE facet SET hash = zeroblob(31)",
        "UPDATE reindex SET done = -1",
        "UPDATE resource SET facet = 7",
        "UPDATE concern SET unit = 'se-1'",
        "UPDATE move SET status = 'rejected'",
        "DELETE FROM move",
        "INSERT INTO move VALUES (2, zeroblob(16), 't', 0, 'norr', NULL, 1, 'ready', NULL)",
        "INSERT INTO move VALUES (2, zeroblob(16), 't', 0, '', NULL, 1, 'accepted', NULL)",
        "UPDATE mark SET seq = 2",
        "INSERT INTO mark VALUES (4, 2)",
        "INSERT INTO mark VALUES (6, -1)",
        "UPDATE sight SET gained = 0",
        "INSERT INTO sight VALUES (1, 'se-1', 3, 1)",
        "INSERT INTO sight VALUES (1, 'SE-1', 3, 2)",
        "UPDATE export_job SET state = 'lost'",
        "UPDATE export_job SET state = 'done'",
        "UPDATE export_job SET state = 'failed'",
        "UPDATE export_job SET seq = 2",
        "UPDATE export_job SET client = 'other'",
        "UPDATE export_job SET client_id = NULL",
        "UPDATE export_job SET asked = 'more'",
        "UPDATE export_job SET step = -1",
        "INSERT INTO export_job SELECT randomblob(16), client, caller, 'system', cohort, request, asked, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, 'open', 0, 0, 0, NULL, NULL, NULL, client_id FROM export_job",
        "UPDATE export_file SET bytes = 0",
        "UPDATE export_file SET kind = 'other'",
        "UPDATE export_file SET sha256 = 'short'",
        "UPDATE export_patient SET state = 'somebody'",
        "UPDATE exchange SET stage = 'lost'",
        "UPDATE exchange SET kind = 'letter'",
        "UPDATE exchange SET format = 'pdf'",
        "UPDATE exchange SET entered_in_error = 2",
        "UPDATE exchange SET id = zeroblob(15)",
        "UPDATE party SET stage = 'lost'",
        "UPDATE party SET role = 'bystander'",
        "UPDATE party SET status = 'ready'",
        "UPDATE party SET status = NULL",
        "UPDATE party SET task = NULL",
        "UPDATE party SET exchange = randomblob(16)",
        "INSERT INTO party VALUES (zeroblob(16), 1, 'se-1', 'norr', 'recipient', NULL, NULL, 'waiting', 0)",
        "UPDATE document SET source = x'00'",
        "INSERT INTO document VALUES (zeroblob(16), 2, 'json', '', '', '', 0, 1, x'', x'')",
        "UPDATE delivery SET body = x'00'",
        "UPDATE delivery SET patient = 'q'",
        "UPDATE delivery SET state = 'lost'",
        "UPDATE delivery SET state = 'parked'",
        "UPDATE delivery SET state = 'parked', note = ''",
        "UPDATE delivery SET state = 'skipped', head = 0",
        "UPDATE delivery SET state = 'skipped', note = 'why'",
        "UPDATE delivery SET state = 'delivered', head = 0",
        "UPDATE delivery SET attempts = 1",
        "UPDATE delivery SET first_attempt_at = 1",
        "INSERT INTO delivery SELECT 2, randomblob(16), exchange, 1, partner, unit, patient, action, state, 1, 0, 0, NULL, 0, 0,
         NULL, NULL, x'', NULL, 0, 0 FROM delivery",
        "INSERT INTO delivery SELECT 2, randomblob(16), exchange, 1, partner, unit, 'q', action, state, 1, 0, 0, NULL, 0, 0,
         id, NULL, x'', NULL, 0, 0 FROM delivery",
        "INSERT INTO delivery SELECT 2, randomblob(16), exchange, 1, partner, unit, 'q', 'notice', state, 1, 0, 0, NULL, 0, 0,
         NULL, NULL, x'', NULL, 0, 0 FROM delivery",
        "UPDATE delivery SET urgent = 2",
        "UPDATE delivery SET resend_of = randomblob(16)",
        "UPDATE delivery SET held = 1",
        "UPDATE delivery SET held = 1, state = 'parked', note = 'why'",
        "UPDATE delivery SET listed = 2",
        "UPDATE charge_move SET unit = 'SE-2'",
        "UPDATE charge_move SET exchange = NULL, origin = randomblob(16)",
        "DELETE FROM charge_move",
        "INSERT INTO charge_move SELECT 2, randomblob(16), patient, origin, exchange, at, 'lost', area, unit FROM charge_move",
        "INSERT INTO charge_move SELECT 2, randomblob(16), patient, origin, exchange, at, 'void', area, unit FROM charge_move",
        "INSERT INTO charge_move SELECT 2, randomblob(16), patient, randomblob(16), exchange, at, step, area, unit FROM charge_move",
        "INSERT INTO charge_move SELECT 2, randomblob(16), patient, origin, exchange, at, step, area, 'se-1' FROM charge_move",
        "UPDATE block SET from_at = 2",
        "UPDATE block SET unit = 'A'",
        "UPDATE block SET patient = 'q'",
        "UPDATE block SET lifted_at = 1",
        "UPDATE block SET lifted_by = 'SE-P'",
        "UPDATE block SET lifted_at = -1, lifted_by = 'SE-P'",
        "DELETE FROM block",
        "INSERT INTO block VALUES (randomblob(16), 'p', 'prov', NULL, NULL, NULL, 0, 'SE-P', NULL, NULL)",
        "INSERT INTO block VALUES (randomblob(16), 'p', 'PROV', '', NULL, NULL, 0, 'SE-P', NULL, NULL)",
        "INSERT INTO block VALUES (randomblob(16), 'p', 'PROV', NULL, 2, 1, 0, 'SE-P', NULL, NULL)",
        "UPDATE wait SET step = 'lost'",
        "UPDATE wait SET subject = 't'",
        "UPDATE wait SET level = 5",
        "UPDATE wait SET held_until = 9",
        "UPDATE wait SET dues = '6'",
        "UPDATE pause SET reason = 'another'",
        "UPDATE pause SET until_at = 4",
        "UPDATE pause SET until_at = NULL",
        "INSERT INTO pause VALUES (randomblob(16), zeroblob(16), NULL, 'person', 5, 6, NULL, 'why', NULL)",
        "INSERT INTO pause VALUES (randomblob(16), zeroblob(16), NULL, 'on-hold', 5, NULL, NULL, NULL, NULL)",
        "UPDATE deceased SET until_at = 4",
        "INSERT INTO affiliation VALUES ('se-1', 'PROV')",
        "INSERT INTO withheld (rid, unit) VALUES (7, 'SE-2')",
        "UPDATE attempt SET class = 'lost'",
        "UPDATE attempt SET reason = 'another'",
        "INSERT INTO attempt VALUES (zeroblob(16), 2, 0, 'lost', NULL, NULL, 1)",
        "INSERT INTO attempt VALUES (zeroblob(16), 2, 0, 'transient', 20, NULL, 1)",
        "UPDATE fact_edition SET edition = -1",
        "UPDATE fact_fill SET done = -1",
        "UPDATE fact_unit SET hsa_id = 'se-1'",
        "UPDATE act SET code = 'DV133'",
        "UPDATE act SET day = 1",
        "UPDATE act SET distance = 2",
        "INSERT INTO act (rid, code, day, unit, distance) VALUES (2, 'DV143', 1, 1, 0)",
        "UPDATE act_month SET acts = -1",
        "UPDATE act_year SET acts = -1",
        "UPDATE milestone SET kind = 'lost'",
        "UPDATE milestone SET day = NULL",
        "UPDATE inbound SET finding = ''",
        "UPDATE answer SET status = 0",
        "UPDATE assertion SET expires_at = 1",
        "INSERT INTO assertion VALUES ('c', zeroblob(32), 1)",
        "INSERT INTO assertion VALUES ('c', zeroblob(31), 1)",
        "INSERT INTO assertion VALUES ('', zeroblob(32), 1)",
        "UPDATE subscription SET status = 'paused'",
        "UPDATE subscription SET status = 'error'",
        "UPDATE subscription SET payload = 'some'",
        "UPDATE subscription SET topic = 'other'",
        "UPDATE subscription SET told = 2",
        "UPDATE subscription SET offered = 2",
        "UPDATE subscription SET numbered = 0",
        "UPDATE subscription SET attempts = 1",
        "UPDATE subscription SET timeout_s = 0",
        "UPDATE subscription_event SET number = 2",
        "UPDATE subscription_event SET rid = 2",
        "INSERT INTO subscription_event VALUES (zeroblob(16), 2, 1, 1, 1, 0)",
        "INSERT INTO subscription_log VALUES (2, 0, 0)",
        "UPDATE exchange SET created_at = 'yesterday'",
    ] {
        let refused = connection.execute(sql, []);
        let code = refused.as_ref().err().and_then(rusqlite::Error::sqlite_error_code);
        assert_eq!(code, Some(rusqlite::ErrorCode::ConstraintViolation), "{sql}: {refused:?}");
    }
}

#[test]
fn legal_changes_of_the_same_rows_are_not_refused() {
    let connection = legal();
    for sql in [
        "UPDATE resource SET version = 2",
        "UPDATE party SET status = NULL, task = NULL",
        "UPDATE document SET in_force = 0",
        "UPDATE delivery SET attempts = 1, first_attempt_at = 5, note = 'timeout'",
        "UPDATE delivery SET urgent = 1",
        "UPDATE delivery SET state = 'parked', note = 'why'",
        "UPDATE delivery SET held = 1, head = 0",
        "UPDATE delivery SET listed = 1",
        "UPDATE pause SET until_at = 5, ended_by = 'SE-Q'",
        "UPDATE wait SET level = 1, item = 1, next_at = NULL",
        "UPDATE delivery SET held = 0, head = 1",
        "UPDATE block SET lifted_at = 5, lifted_by = 'SE-P'",
        "DELETE FROM block",
        "UPDATE delivery SET state = 'waiting', note = NULL",
        "UPDATE delivery SET state = 'delivered', head = 0",
        "UPDATE inbound SET finding = 'why'",
        "UPDATE subscription SET numbered = 2, offered = 2, told = 1",
        "UPDATE subscription SET status = 'error', error = 'why'",
        "UPDATE subscription SET attempts = 1, failing_since = 5",
        "DELETE FROM subscription",
    ] {
        assert_eq!(connection.execute(sql, []), Ok(1), "{sql}");
    }
}

#[test]
fn the_database_itself_counts_acts_by_month() {
    let db = legal();
    let counted = || -> String {
        let all = "SELECT coalesce(group_concat(code || ' ' || month || ' ' || distance || ' ' || acts, ', '), '') FROM act_month";
        db.query_row(all, [], |row| row.get(0)).unwrap()
    };
    let january = 2026 * 12;
    // 2026-01-31 and the day after.
    for (rid, day) in [(2, 20_484), (3, 20_485)] {
        db.execute("INSERT INTO resource VALUES (?1, 'Procedure', ?1, 1, ?1, 0, NULL, NULL)", [rid]).unwrap();
        db.execute("INSERT INTO act (rid, code, day, unit, distance) VALUES (?1, 'DV143', ?2, 1, 0)", [rid, day])
            .unwrap();
    }
    assert_eq!(counted(), format!("DV143 {january} 0 2, DV143 {} 0 1", january + 1));
    db.execute("UPDATE act SET distance = 1 WHERE rid = 2", []).unwrap();
    assert_eq!(counted(), format!("DV143 {january} 0 1, DV143 {january} 1 1, DV143 {} 0 1", january + 1));
    // With the resource its act goes, and with the act its count.
    db.execute("DELETE FROM resource WHERE rid = 2", []).unwrap();
    db.execute("DELETE FROM act WHERE rid = 3", []).unwrap();
    assert_eq!(counted(), format!("DV143 {january} 0 1"));
}

#[tokio::test]
async fn every_word_of_the_domain_can_be_written_and_read_back() {
    let store = Store::open_temporary().unwrap();
    let mut exchanges = Vec::new();
    for stage in Stage::ALL {
        exchanges.push(Exchange { stage, ..exchange(&format!("stage {stage}")) });
    }
    for (kind, format) in Kind::ALL.into_iter().flat_map(|kind| Format::ALL.map(|format| (kind, format))) {
        exchanges.push(Exchange { kind, format, entered_in_error: true, patient: None, ..exchange(format.name()) });
    }
    for status in task::Status::ALL {
        for role in PartyRole::ALL {
            let mut of = exchange(&format!("{status} {}", role.code()));
            let stage = Stage::of_task(status);
            of.parties =
                vec![Party { task: Some("t".into()), status: Some(status), stage, ..party(HELPER, "norr", role) }];
            exchanges.push(of);
        }
    }
    for exchange in exchanges {
        store.done(Commit { exchanges: vec![exchange.clone()], ..Commit::default() }).await;
        assert_eq!(store.exchange(&Filter::ALL, exchange.id).await.unwrap(), Some(exchange));
    }
}

#[tokio::test]
async fn every_state_action_and_class_of_a_delivery_can_be_written_and_read_back() {
    use crate::domain::delivery::{Outcome, State};
    let store = Store::open_temporary().unwrap();
    let exchange = exchange("d");
    store.done(Commit { exchanges: vec![exchange.clone()], ..Commit::default() }).await;
    let reason = || String::from("why");
    let outcomes = [
        Outcome::Delivered,
        Outcome::Transient { reason: reason(), retry_after: None },
        Outcome::Unauthorized { reason: reason() },
        Outcome::Conflict { reason: reason() },
        Outcome::Permanent { reason: reason() },
        Outcome::Barred { reason: reason() },
    ];
    assert_eq!(outcomes.iter().map(Outcome::class).collect::<Vec<_>>(), delivery::CLASSES);
    for (n, state) in State::ALL.into_iter().enumerate() {
        for action in Action::ALL {
            let partner = if action == Action::Notice { delivery::notices_of("norr") } else { "norr".to_owned() };
            let one = Delivery { action, ..delivery(exchange.id, &partner, &format!("{n} {action:?}")) };
            store.done(Commit { deliveries: vec![one.clone()], ..Commit::default() }).await;
            for outcome in &outcomes {
                let tried = Attempt { reason: outcome.reason().map(str::to_owned), ..attempt(outcome.class()) };
                let again = DeliveryChange { attempt: Some(tried), ..change(&one, State::Waiting, State::Waiting) };
                store.done(Commit { delivery_changes: vec![again], ..Commit::default() }).await;
            }
            let last = change(&one, State::Waiting, state);
            store.done(Commit { delivery_changes: vec![last], ..Commit::default() }).await;
            let found =
                store.deliveries(&DeliveryQuery { id: Some(one.id), ..DeliveryQuery::default() }).await.unwrap();
            assert_eq!(found.iter().map(|d| (d.state, d.action)).collect::<Vec<_>>(), [(state, action)]);
        }
    }
}
