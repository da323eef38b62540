//! What of a gateway's state needs a person, and what that person does about it. Pure.

use chrono::{DateTime, SecondsFormat, Utc};

use super::status::{Cause, Concern, Facts, State, loops};
use crate::store::Worklist;

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

/// Parked deliveries by partner, class and reason.
pub(super) fn causes(worklist: &Worklist) -> Vec<Cause> {
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
                oldest_at: parked.created_at.to_rfc3339_opts(SecondsFormat::Secs, true),
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

/// Everything that needs a person, what stops documents first.
pub(super) fn concerns(facts: &Facts, now: DateTime<Utc>) -> Vec<Concern> {
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
    let escalated: u32 = loops(&facts.worklist.open).iter().map(|l| l.escalated).sum();
    if escalated > 0 {
        add(
            format!(
                "{escalated} steg dröjer trots påminnelse. Enheterna har dem på sin lista; regionen ser dem samlat."
            ),
            format!(
                "{escalated} steps are overdue although somebody was reminded. Units have them on their lists; the region sees them all."
            ),
            Some("curl -s 'localhost:8080/v1/open-loops?overdue=true'".into()),
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
    use crate::store::{BackupNote, OpenCount, PartnerQueue, Unanswered};
    use crate::sync::status::picture;
    use crate::sync::status::tests::{now, quiet};

    #[test]
    fn each_thing_that_needs_a_person_is_a_concern() {
        type Change = fn(&mut Facts);
        let cases: [(&str, Change); 8] = [
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
            ("although somebody was reminded", |f| {
                let step = crate::domain::clock::Step::NoReceipt;
                let count = |level| OpenCount { step, level, count: 2, oldest: now() };
                f.worklist.open = vec![count(0), count(1), count(2)];
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
