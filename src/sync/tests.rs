//! What happens between reading and committing: a pause that only a test can make, with somebody else in it.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::deliver::deliver;
use super::read::{Read, read};
use super::submit::{Submission, submit};
use super::supersede::supersede;
use crate::Gateway;
use crate::access::Caller;
use crate::config::Config;
use crate::domain::{Format, Kind};
use crate::store::{Begun, Commit, Committed, Delivery, DeliveryQuery, Exchange, Expect, Rooms};

const PLAN: &str = include_str!("../../mappings/examples/rehab-plan.small.source.json");
const REFERRAL: &str = include_str!("../../mappings/examples/referral.small.source.json");
const SIP: &str = include_str!("../../mappings/examples/handover.sip-small.source.json");
const NORTH: &str = "SE2321000131-E000000000202";
const SOUTH: &str = "SE2321000131-E000000000203";

/// A gateway that nobody listens to, in a folder that goes away with it.
struct Alone {
    gateway: Gateway,
    folder: std::path::PathBuf,
}

impl Alone {
    fn open() -> Self {
        Self::open_as("")
    }

    /// Keys and files are beside the database: nothing is left where the tests are run.
    fn open_as(partners: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("vardkedja-alone-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let settings = folder.join("gateway.toml");
        std::fs::write(&settings, format!("[gateway]\ndb = \"store.sqlite\"\n{partners}")).unwrap();
        Self { gateway: Gateway::open(Config::load(Some(&settings)).unwrap()).unwrap(), folder }
    }

    async fn take_in(&self, kind: Kind, document: &Value) {
        let (caller, bytes) = (Caller::operator(), document.to_string());
        submit(&self.gateway, &submission(&caller, kind, bytes.as_bytes())).await.unwrap();
    }

    /// Everything up to the commit.
    async fn compose(&self, kind: Kind, document: &Value) -> Commit {
        let (caller, bytes) = (Caller::operator(), document.to_string());
        let submission = submission(&caller, kind, bytes.as_bytes());
        let read: Read<'_> = read(&self.gateway, &submission).unwrap();
        let before = self.gateway.store.exchange_of(&read.organisation, kind, &read.envelope.id).await.unwrap();
        let version = read.envelope.version.unwrap();
        supersede(&self.gateway, &submission, &read, before, version).await.unwrap()
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn submission<'a>(caller: &'a Caller, kind: Kind, bytes: &'a [u8]) -> Submission<'a> {
    let now: DateTime<Utc> = "2026-03-10T09:00:00Z".parse().unwrap();
    Submission { caller, kind, format: Format::Json, bytes, key: None, now }
}

fn plan(version: u32) -> Value {
    let mut plan: Value = serde_json::from_str(PLAN).unwrap();
    plan["version"] = json!(version);
    plan
}

/// To a unit that the plan does not name: only the referral makes it one that follows the plan.
fn referral() -> Value {
    let mut referral: Value = serde_json::from_str(REFERRAL).unwrap();
    referral["recipient"]["unit"] = json!(SOUTH);
    referral
}

#[actix_web::test]
async fn a_revised_plan_does_not_miss_the_unit_that_was_asked_while_it_was_read() {
    let alone = Alone::open();
    alone.take_in(Kind::RehabPlan, &plan(1)).await;
    let revision = alone.compose(Kind::RehabPlan, &plan(2)).await;
    assert!(!revision.exchanges[0].parties.iter().any(|p| p.unit == SOUTH));
    alone.take_in(Kind::Referral, &referral()).await;
    let ended = alone.gateway.store.commit(revision).await.unwrap();
    assert!(matches!(ended, Committed::Conflict(Expect::Unchanged { .. })), "{ended:?}");
    let again = alone.compose(Kind::RehabPlan, &plan(2)).await;
    assert!(again.exchanges[0].parties.iter().any(|p| p.unit == SOUTH));
    assert!(matches!(alone.gateway.store.commit(again).await.unwrap(), Committed::Done { .. }));
}

#[actix_web::test]
async fn a_referral_does_not_carry_the_plan_that_was_revised_while_it_was_read() {
    let alone = Alone::open();
    alone.take_in(Kind::RehabPlan, &plan(1)).await;
    let carrying = alone.compose(Kind::Referral, &referral()).await;
    alone.take_in(Kind::RehabPlan, &plan(2)).await;
    let ended = alone.gateway.store.commit(carrying).await.unwrap();
    assert!(matches!(ended, Committed::Conflict(Expect::Revision { .. })), "{ended:?}");
}

fn sip(version: u32, decision: &str) -> Value {
    let mut sip: Value = serde_json::from_str(SIP).unwrap();
    sip["version"] = json!(version);
    sip["consent"]["decision"] = json!(decision);
    if decision == "withdrawn" {
        sip["consent"]["withdrawnAt"] = json!("2026-04-01T08:00:00+02:00");
    }
    sip
}

/// A gateway that sends to a server which takes a connection and never says a word, or takes none.
fn alone_with(listener: &std::net::TcpListener) -> Alone {
    let base = listener.local_addr().unwrap();
    Alone::open_as(&format!(
        "[[partner]]\nname = \"platform\"\nchannel = \"poll\"\n\
         [[partner]]\nname = \"primary-care\"\nchannel = \"push\"\nfhir_base = \"http://{base}/fhir\"\n\
         [[partner]]\nname = \"reader\"\nchannel = \"poll\"\n"
    ))
}

impl Alone {
    async fn first(&self) -> Delivery {
        self.gateway.store.due(Utc::now(), &[], &Rooms::upto(1)).await.unwrap().ready.remove(0)
    }

    async fn stands(&self, id: uuid::Uuid) -> Delivery {
        let query = DeliveryQuery { id: Some(id), ..DeliveryQuery::default() };
        self.gateway.store.deliveries(&query).await.unwrap().remove(0)
    }

    async fn exchange(&self, of: &Delivery) -> Exchange {
        self.gateway.store.exchange(&crate::store::Filter::ALL, of.exchange).await.unwrap().unwrap()
    }

    /// Begins an attempt and lets it fall, as a kill does: its outcome is never recorded.
    async fn cut_off(&self, delivery: &Delivery) {
        let attempt = deliver(&self.gateway, delivery, Utc::now(), 0.5);
        let begun = async { while self.stands(delivery.id).await.begun_at.is_none() {} };
        tokio::select! {
            ended = attempt => panic!("{ended:?}"),
            () = begun => {}
        }
    }
}

fn goes_to(exchange: &Exchange, unit: &str) -> bool {
    exchange.recipients().any(|p| p.unit == unit)
}

#[actix_web::test]
async fn a_withdrawal_is_told_to_the_unit_whose_attempt_was_cut_off() {
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let alone = alone_with(&deaf);
    alone.take_in(Kind::Handover, &sip(1, "given")).await;
    let first = alone.first().await;
    assert_eq!(first.unit, NORTH);
    alone.cut_off(&first).await;
    // The next finds nobody there. That says nothing of the one before.
    drop(deaf);
    deliver(&alone.gateway, &first, Utc::now() + chrono::Duration::seconds(1), 0.5).await.unwrap().unwrap();
    assert!(alone.stands(first.id).await.begun_at.is_some());
    alone.take_in(Kind::Handover, &sip(2, "withdrawn")).await;
    assert!(goes_to(&alone.exchange(&first).await, NORTH), "it may have the plan");
}

#[actix_web::test]
async fn a_withdrawal_is_not_told_to_a_unit_that_there_never_was_a_connection_to() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let alone = alone_with(&nobody);
    drop(nobody);
    alone.take_in(Kind::Handover, &sip(1, "given")).await;
    let first = alone.first().await;
    deliver(&alone.gateway, &first, Utc::now(), 0.5).await.unwrap().unwrap();
    assert_eq!(alone.stands(first.id).await.begun_at, None);
    alone.take_in(Kind::Handover, &sip(2, "withdrawn")).await;
    assert!(!goes_to(&alone.exchange(&first).await, NORTH));
}

#[actix_web::test]
async fn a_withdrawal_that_was_weighed_before_the_attempt_began_is_weighed_anew_and_nothing_is_sent_after_it() {
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let alone = alone_with(&deaf);
    alone.take_in(Kind::Handover, &sip(1, "given")).await;
    let first = alone.first().await;
    let withdrawal = alone.compose(Kind::Handover, &sip(2, "withdrawn")).await;
    alone.cut_off(&first).await;
    let ended = alone.gateway.store.commit(withdrawal).await.unwrap();
    assert!(matches!(ended, Committed::Conflict(Expect::Untried { .. })), "{ended:?}");
    alone.take_in(Kind::Handover, &sip(2, "withdrawn")).await;
    assert!(goes_to(&alone.exchange(&first).await, NORTH));
    assert_eq!(deliver(&alone.gateway, &first, Utc::now(), 0.5).await.unwrap(), None, "it is skipped, and not sent");
}

/// A block of the unit that sends the documents here.
fn block() -> super::block::Wish {
    use crate::domain::block::{Period, Scope};
    let patient = crate::domain::PersonId::parse("195009072553").unwrap();
    let (unit, provider) = ("SE2321000131-E000000000101".to_owned(), "SE2321000131-E000000000001".to_owned());
    let by = "SE2321000131-P000000000011".to_owned();
    super::block::Wish { patient, scope: Scope::Inner { unit, provider }, period: Period::default(), by }
}

impl Alone {
    async fn block(&self) -> crate::store::Block {
        use super::block::{Registered, register};
        match register(&self.gateway, &Caller::operator(), &block(), Utc::now()).await.unwrap() {
            Registered::New(block) | Registered::There(block) => block,
        }
    }

    async fn lift(&self, block: &crate::store::Block) {
        super::block::lift(&self.gateway, &Caller::operator(), block.id, "SE2321000131-P1", Utc::now()).await.unwrap();
    }
}

fn referral_to_north() -> Value {
    serde_json::from_str(REFERRAL).unwrap()
}

#[actix_web::test]
async fn a_block_registered_a_moment_before_wins_over_a_delivery_that_was_found_due() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let alone = alone_with(&listener);
    alone.take_in(Kind::Referral, &referral_to_north()).await;
    let due = alone.first().await;
    let block = alone.block().await;
    assert_eq!(deliver(&alone.gateway, &due, Utc::now(), 0.5).await.unwrap(), None);
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nobody was called");
    let held = alone.stands(due.id).await;
    assert_eq!((held.state.code(), held.held, held.attempts), ("parked", true, 0));
    alone.lift(&block).await;
    let released = alone.stands(due.id).await;
    assert_eq!((released.state.code(), released.held), ("waiting", false));
    assert_eq!(alone.first().await.id, due.id);
}

#[actix_web::test]
async fn what_was_under_way_when_a_block_came_is_on_record_and_stays_held() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let alone = alone_with(&listener);
    alone.take_in(Kind::Referral, &referral_to_north()).await;
    let due = alone.first().await;
    let attempt = deliver(&alone.gateway, &due, Utc::now(), 0.5);
    let called = tokio::task::spawn_blocking(move || listener.accept().unwrap());
    let meanwhile = async {
        let connection = called.await.unwrap();
        let block = alone.block().await;
        drop(connection);
        block
    };
    let (outcome, block) = tokio::join!(attempt, meanwhile);
    assert_eq!(outcome.unwrap().unwrap().class(), "transient");
    let held = alone.stands(due.id).await;
    assert_eq!((held.state.code(), held.held, held.attempts), ("parked", true, 1));
    assert_eq!(deliver(&alone.gateway, &due, Utc::now(), 0.5).await.unwrap(), None);
    alone.lift(&block).await;
    assert_eq!(alone.stands(due.id).await.state.code(), "waiting");
}

#[actix_web::test]
async fn a_document_that_was_read_before_a_block_came_is_read_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let alone = alone_with(&listener);
    alone.take_in(Kind::RehabPlan, &plan(1)).await;
    let composed = alone.compose(Kind::Referral, &referral_to_north()).await;
    alone.block().await;
    let ended = alone.gateway.store.commit(composed).await.unwrap();
    assert!(matches!(ended, Committed::Conflict(Expect::Blocks { .. })), "{ended:?}");
    let again = alone.compose(Kind::Referral, &referral_to_north()).await;
    let receipt = String::from_utf8(again.documents[0].receipt.clone()).unwrap();
    assert!(receipt.contains("spärrat"), "{receipt}");
    assert!(matches!(alone.gateway.store.commit(again).await.unwrap(), Committed::Done { .. }));
    // What stops a worker in the middle stops the worklist there too: it hears of what is held when it is asked again.
    let told = super::worklist::tend(&alone.gateway, Utc::now()).await.unwrap();
    assert!(told >= 1);
    assert_eq!(super::worklist::tend(&alone.gateway, Utc::now()).await.unwrap(), 0);
}

/// What the gateway asks of the server first, when it sends the delivery.
async fn first_line(alone: &Alone, listener: &std::net::TcpListener, delivery: &Delivery) -> String {
    use std::io::BufRead as _;
    let listener = listener.try_clone().unwrap();
    let heard = tokio::task::spawn_blocking(move || {
        let (connection, _) = listener.accept().unwrap();
        let mut line = String::new();
        std::io::BufReader::new(connection).read_line(&mut line).unwrap();
        line
    });
    let (outcome, line) = tokio::join!(deliver(&alone.gateway, delivery, Utc::now(), 0.5), heard);
    assert_eq!(outcome.unwrap().unwrap().class(), "transient");
    line.unwrap()
}

#[actix_web::test]
async fn a_first_attempt_is_on_record_before_it_is_sent_and_one_whose_end_nobody_knows_is_read_before_it_is_sent_again()
{
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let alone = alone_with(&listener);
    alone.take_in(Kind::Referral, &referral_to_north()).await;
    let first = alone.first().await;
    alone.cut_off(&first).await;
    let begun = alone.stands(first.id).await;
    assert_eq!((begun.attempts, begun.state.code()), (0, "waiting"));
    drop(listener);

    for (is_begun, expected) in [(false, "POST /fhir HTTP/1.1"), (true, "GET /fhir/")] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let alone = alone_with(&listener);
        alone.take_in(Kind::Referral, &referral_to_north()).await;
        let first = alone.first().await;
        if is_begun {
            let begun = vec![Begun { delivery: first.id, at: first.created_at }];
            alone.gateway.store.commit(Commit { begun, ..Commit::default() }).await.unwrap();
        }
        let line = first_line(&alone, &listener, &alone.stands(first.id).await).await;
        assert!(line.starts_with(expected), "{line}");
    }
}
