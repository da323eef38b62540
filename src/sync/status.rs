//! How the gateway is doing: what is undelivered, what waits for a person, and what that person does about it. From a running
//! gateway, or from its database when it is down.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::Gateway;
use crate::store::{BackupNote, PartnerQueue, Queue, Space, StoreError, Worklist, last_backup};
use crate::telemetry::{Seen, SeenPartner};

/// A queue that is older than this has somebody look at the partner, in hours.
const OLD_QUEUE_H: i64 = 4;
/// A Task that nobody touched for this long is worth a call, in days.
const UNANSWERED_D: i64 = 7;
/// Less room than this on the disk is a matter for today.
const LITTLE_ROOM_BYTES: u64 = 1024 * 1024 * 1024;
/// A log that grew beyond this is not being moved into the database.
const LONG_LOG_BYTES: u64 = 256 * 1024 * 1024;
/// A newest backup that is older than this was missed, in hours.
const OLD_BACKUP_H: i64 = 48;
/// Ids of one cause that are shown.
const IDS: usize = 3;

/// The whole picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub gateway: State,
    pub version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    pub now: String,
    pub partners: Vec<Partner>,
    pub parked: Vec<Cause>,
    pub held: Held,
    pub unanswered: Vec<Silent>,
    pub disk: Disk,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<Backup>,
    /// What needs a person; empty when all is well.
    pub concerns: Vec<Concern>,
}

/// Whether documents are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Ready,
    /// The disk refuses commits.
    NotReady,
    Stopping,
    /// Nobody has been asked: this was read from the database.
    Offline,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Partner {
    pub name: String,
    pub waiting: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_waiting_at: Option<String>,
    pub in_flight: u32,
    pub parked: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_parked_at: Option<String>,
}

/// Parked deliveries of one partner with one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    pub partner: String,
    /// `transient` (given up), `unauthorized`, `conflict`, `permanent`, or `decided` where nothing was tried.
    pub class: String,
    pub reason: String,
    pub count: u32,
    /// The first few; the rest is in `GET /v1/deliveries`.
    pub deliveries: Vec<String>,
    pub oldest_at: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    pub count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_at: Option<String>,
}

/// A Task that reached its unit and that nobody there has touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Silent {
    pub exchange: String,
    pub unit: String,
    pub partner: String,
    pub since: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Disk {
    pub free_bytes: u64,
    pub database_bytes: u64,
    pub log_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backup {
    pub made_at: String,
    pub bytes: u64,
}

/// What is wrong and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Concern {
    pub sv: String,
    pub en: String,
    /// What to type, where something can be typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// What the picture is made of.
#[derive(Debug, Clone)]
pub struct Facts {
    pub state: State,
    pub since: Option<DateTime<Utc>>,
    pub worklist: Worklist,
    pub space: Space,
    pub backup: Option<BackupNote>,
    /// Partners that are configured, and attempts under way to each.
    pub partners: Vec<(String, i64)>,
}

/// The picture of this running gateway.
pub async fn status(gateway: &Gateway, now: DateTime<Utc>) -> Result<Status, Refusal> {
    let state = match (gateway.is_draining(), gateway.store.is_ready()) {
        (true, _) => State::Stopping,
        (false, true) => State::Ready,
        (false, false) => State::NotReady,
    };
    let partners = gateway.config.partners.iter().map(|p| (p.name.clone(), gateway.figures.in_flight(&p.name)));
    let facts = Facts {
        state,
        since: Some(gateway.started_at),
        worklist: gateway.store.worklist().await?,
        space: gateway.store.space()?,
        backup: last_backup(gateway.store.path()),
        partners: partners.collect(),
    };
    Ok(picture(facts, now))
}

/// What `/metrics` looks up at each scrape.
pub async fn seen(gateway: &Gateway, now: DateTime<Utc>) -> Result<Seen, StoreError> {
    let queue = gateway.store.queue().await?;
    let space = gateway.store.space()?;
    let age = |at: Option<DateTime<Utc>>| at.map_or(0, |at| (now - at).num_seconds().max(0));
    let seen = |p: PartnerQueue| SeenPartner {
        waiting: p.waiting,
        waiting_age_s: age(p.waiting_oldest_at),
        parked: p.parked,
        parked_age_s: age(p.parked_oldest_at),
        name: p.partner,
    };
    let held = queue.held;
    let names = gateway.config.partners.iter().map(|p| p.name.clone());
    Ok(Seen {
        ready: gateway.is_ready(),
        draining: gateway.is_draining(),
        started_at_s: gateway.started_at.timestamp(),
        waiting_commits: gateway.store.waiting_commits(),
        partners: everyone(queue, names).into_iter().map(seen).collect(),
        held,
        log_bytes: space.log_bytes,
        database_bytes: space.database_bytes,
        free_bytes: space.free_bytes,
        backup_at_s: last_backup(gateway.store.path()).map_or(0, |backup| backup.made_at.timestamp()),
    })
}

/// Those for whom something waits, and those who are configured, each once.
fn everyone(queue: Queue, names: impl Iterator<Item = String>) -> Vec<PartnerQueue> {
    let mut all = queue.partners;
    for name in names {
        if !all.iter().any(|p| p.partner == name) {
            all.push(PartnerQueue { partner: name, ..PartnerQueue::default() });
        }
    }
    all.sort_by(|a, b| a.partner.cmp(&b.partner));
    all
}

/// The picture that facts make. Pure.
pub fn picture(facts: Facts, now: DateTime<Utc>) -> Status {
    let concerns = concerns(&facts, now);
    let causes = causes(&facts.worklist);
    let Worklist { queue, unanswered, .. } = facts.worklist;
    let held = Held { count: queue.held, oldest_at: queue.held_oldest_at.map(text) };
    let in_flight = |name: &str| {
        let found = facts.partners.iter().find(|(n, _)| n == name);
        found.and_then(|(_, count)| u32::try_from(*count).ok()).unwrap_or(0)
    };
    let partner = |p: PartnerQueue| Partner {
        in_flight: in_flight(&p.partner),
        waiting: p.waiting,
        oldest_waiting_at: p.waiting_oldest_at.map(text),
        parked: p.parked,
        oldest_parked_at: p.parked_oldest_at.map(text),
        name: p.partner,
    };
    let names = facts.partners.iter().map(|(name, _)| name.clone());
    let silent = |u: crate::store::Unanswered| Silent {
        exchange: u.exchange.to_string(),
        unit: u.unit,
        partner: u.partner,
        since: text(u.since),
    };
    Status {
        gateway: facts.state,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        since: facts.since.map(text),
        now: text(now),
        partners: everyone(queue, names).into_iter().map(partner).collect(),
        parked: causes,
        held,
        unanswered: unanswered.into_iter().map(silent).collect(),
        disk: Disk {
            free_bytes: facts.space.free_bytes,
            database_bytes: facts.space.database_bytes,
            log_bytes: facts.space.log_bytes,
        },
        backup: facts.backup.map(|b| Backup { made_at: text(b.made_at), bytes: b.bytes }),
        concerns,
    }
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn causes(worklist: &Worklist) -> Vec<Cause> {
    let mut causes: Vec<Cause> = Vec::new();
    for parked in &worklist.parked {
        let class = parked.class.as_deref().unwrap_or("decided");
        let same =
            causes.iter_mut().find(|c| c.partner == parked.partner && c.class == class && c.reason == parked.note);
        match same {
            Some(cause) => {
                cause.count += 1;
                if cause.deliveries.len() < IDS {
                    cause.deliveries.push(parked.id.to_string());
                }
            }
            None => causes.push(Cause {
                partner: parked.partner.clone(),
                class: class.to_owned(),
                reason: parked.note.clone(),
                count: 1,
                deliveries: vec![parked.id.to_string()],
                oldest_at: text(parked.created_at),
            }),
        }
    }
    causes
}

/// What to do about each class of parked deliveries.
fn remedy(class: &str) -> (&'static str, &'static str) {
    match class {
        "transient" => (
            "Mottagaren svarade inte på åtta dagar: hör av dig till den, och sänd igen när den är uppe.",
            "The partner did not answer for eight days: call it, and retry when it is up.",
        ),
        "unauthorized" => (
            "Mottagaren släpper inte in oss: rätta certifikat eller behörighet, och sänd igen.",
            "The partner does not let us in: mend certificate or permission, and retry.",
        ),
        "conflict" => (
            "Mottagarens uppgifter är inte som våra (t.ex. dubbletter): låt den rätta dem, och sänd igen.",
            "The partner's data are not as ours (duplicates, for instance): have them mended, and retry.",
        ),
        "permanent" => (
            "Mottagaren vägrar innehållet: rätta mottagarens inställning och sänd igen, eller låt avsändaren sända en ny version.",
            "The partner refuses the content: mend its settings and retry, or have the sender send a new version.",
        ),
        _ => (
            "Se leveransens anteckning och besluta: sänd igen eller hoppa över.",
            "See its note, and decide: retry or skip.",
        ),
    }
}

fn concerns(facts: &Facts, now: DateTime<Utc>) -> Vec<Concern> {
    let mut all = Vec::new();
    let mut add = |sv: String, en: String, command: Option<String>| all.push(Concern { sv, en, command });
    if facts.state == State::NotReady {
        add(
            "Databasen kan inte skrivas: inga dokument tas emot. Se till att disken har plats och kan skrivas.".into(),
            "The database cannot be written: no documents are taken. See that the disk has room and can be written."
                .into(),
            Some("df -h".into()),
        );
    }
    for cause in causes(&facts.worklist) {
        let (sv, en) = remedy(&cause.class);
        let first = cause.deliveries.first().cloned().unwrap_or_default();
        add(
            format!("{} leveranser till {} är parkerade ({}). {sv}", cause.count, cause.partner, cause.reason),
            format!("{} deliveries to {} are parked ({}). {en}", cause.count, cause.partner, cause.reason),
            Some(format!("vardkedja retry {first}")),
        );
    }
    let queue = &facts.worklist.queue;
    for partner in &queue.partners {
        let age_h = partner.waiting_oldest_at.map_or(0, |at| (now - at).num_hours());
        if age_h >= OLD_QUEUE_H {
            add(
                format!(
                    "{} leveranser till {} väntar, den äldsta i {age_h} timmar. Hör om dess system är uppe.",
                    partner.waiting, partner.partner
                ),
                format!(
                    "{} deliveries to {} wait, the oldest for {age_h} hours. Ask whether its system is up.",
                    partner.waiting, partner.partner
                ),
                Some("vardkedja deliveries --state waiting".into()),
            );
        }
    }
    if queue.held > 0 {
        add(
            format!("{} svar kunde inte tas in. Mottagaren rättar dem i sitt system; säg till den.", queue.held),
            format!("{} answers could not be applied. The partner mends them in its own system; tell it.", queue.held),
            Some("curl -s localhost:8080/v1/answers/held".into()),
        );
    }
    let silent = facts.worklist.unanswered.iter().filter(|u| (now - u.since).num_days() >= UNANSWERED_D).count();
    if silent > 0 {
        add(
            format!(
                "{silent} uppgifter har nått sin enhet men ingen har rört dem på {UNANSWERED_D} dagar. Ring enheten."
            ),
            format!(
                "{silent} Tasks have reached their unit, and nobody has touched them for {UNANSWERED_D} days. Call the unit."
            ),
            None,
        );
    }
    if facts.space.free_bytes < LITTLE_ROOM_BYTES {
        let free = facts.space.free_bytes / (1024 * 1024);
        add(
            format!("Bara {free} MB är lediga på disken. Utöka den i dag."),
            format!("Only {free} MB are left on the disk. Enlarge it today."),
            Some("df -h".into()),
        );
    }
    if facts.space.log_bytes > LONG_LOG_BYTES {
        add(
            "Databasens logg växer: en läsare håller fast den (en lång säkerhetskopia?), eller så är disken för långsam.".into(),
            "The database's log grows: a reader holds on to it (a long backup?), or the disk is too slow.".into(),
            None,
        );
    }
    let backup_h = facts.backup.as_ref().map(|b| (now - b.made_at).num_hours());
    if let Some(age_h) = backup_h.filter(|age_h| *age_h >= OLD_BACKUP_H) {
        add(
            format!("Den senaste säkerhetskopian är {age_h} timmar gammal."),
            format!("The newest backup is {age_h} hours old."),
            Some("vardkedja backup --db FILE --to FILE".into()),
        );
    }
    all
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::store::{Parked, Unanswered};

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn quiet() -> Facts {
        Facts {
            state: State::Ready,
            since: Some(now()),
            worklist: Worklist::default(),
            space: Space { database_bytes: 1, log_bytes: 1, free_bytes: u64::MAX },
            backup: None,
            partners: vec![("north".into(), 2), ("south".into(), 0)],
        }
    }

    #[test]
    fn a_quiet_gateway_has_no_concerns_and_shows_every_partner() {
        let status = picture(quiet(), now());
        assert!(status.concerns.is_empty(), "{:?}", status.concerns);
        assert_eq!(
            status.partners.iter().map(|p| (p.name.as_str(), p.in_flight)).collect::<Vec<_>>(),
            [("north", 2), ("south", 0)]
        );
    }

    #[test]
    fn parked_deliveries_are_told_by_cause_with_the_command_that_mends_them() {
        let parked = |n: u128, note: &str| Parked {
            id: Uuid::from_u128(n),
            partner: "north".into(),
            created_at: now(),
            class: Some("permanent".into()),
            note: note.into(),
        };
        let mut facts = quiet();
        facts.worklist.parked = vec![parked(1, "HTTP 422"), parked(2, "HTTP 422"), parked(3, "HTTP 404")];
        let status = picture(facts, now());
        assert_eq!(
            status.parked.iter().map(|c| (c.reason.as_str(), c.count)).collect::<Vec<_>>(),
            [("HTTP 422", 2), ("HTTP 404", 1)]
        );
        assert_eq!(status.concerns[0].command.as_deref(), Some("vardkedja retry 00000000-0000-0000-0000-000000000001"));
        assert!(status.concerns[0].en.contains("2 deliveries to north"), "{:?}", status.concerns);
    }

    #[test]
    fn each_thing_that_needs_a_person_is_a_concern() {
        type Change = fn(&mut Facts);
        let cases: [(&str, Change); 7] = [
            ("cannot be written", |f| f.state = State::NotReady),
            ("for 5 hours", |f| {
                let waiting_oldest_at = Some(now() - chrono::Duration::hours(5));
                let partner =
                    PartnerQueue { partner: "north".into(), waiting: 1, waiting_oldest_at, ..PartnerQueue::default() };
                f.worklist.queue.partners = vec![partner];
            }),
            ("answers could not", |f| f.worklist.queue.held = 1),
            ("Call the unit", |f| {
                let since = now() - chrono::Duration::days(8);
                f.worklist.unanswered =
                    vec![Unanswered { exchange: Uuid::nil(), unit: "u".into(), partner: "north".into(), since }];
            }),
            ("left on the disk", |f| f.space.free_bytes = 1000),
            ("log grows", |f| f.space.log_bytes = LONG_LOG_BYTES + 1),
            ("newest backup", |f| {
                f.backup =
                    Some(BackupNote { made_at: now() - chrono::Duration::hours(50), bytes: 1, sha256: String::new() });
            }),
        ];
        for (said, change) in cases {
            let mut facts = quiet();
            change(&mut facts);
            let concerns = picture(facts, now()).concerns;
            assert!(concerns.len() == 1 && concerns[0].en.contains(said), "{said}: {concerns:?}");
        }
    }
}
