//! What falls due: messages, check-ins, days of the calendar, and the end. Each is made once, because its id follows from the
//! programme and the thing, and the row says until when all has been made; both are one commit.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeZone, Utc};
use chrono_tz::Europe::Stockholm;
use tokio::sync::watch;

use super::state::State;
use super::{Change, course, next_at, purge, resources, responsible};
use crate::Gateway;
use crate::domain::audit::{By, Deed, Event};
use crate::rules::programme::{Due, Entry, between};
use crate::store::{Commit, Committed, Expect, Filter, Programme};
use crate::sync::weigh::current;
use crate::sync::{Refusal, TRIES, witness};

/// Programmes that one round looks at.
const AT_ONCE: u32 = 100;

/// Makes what is due, of every programme; how many things there were.
pub async fn sweep(gateway: &Gateway, now: DateTime<Utc>) -> Result<usize, Refusal> {
    let mut made = 0;
    loop {
        let due = gateway.store.programmes_due(now, AT_ONCE).await?;
        if due.is_empty() {
            return Ok(made);
        }
        for one in due {
            made += sweep_one(gateway, one, now).await?;
        }
    }
}

async fn sweep_one(gateway: &Gateway, mut one: Programme, now: DateTime<Utc>) -> Result<usize, Refusal> {
    for _ in 0..TRIES {
        if one.closed_at.is_some() || one.purge_at <= now {
            let rule = if one.closed_at.is_some() { "PUR-1" } else { "PUR-2" };
            if purge::purge(gateway, &one, rule, "gateway", now).await? {
                return Ok(1);
            }
        } else if let Some(made) = try_one(gateway, one.clone(), now).await? {
            return Ok(made);
        }
        match gateway.store.programme(one.id).await? {
            Some(again) if again.next_at.is_some_and(|next| next <= now) => one = again,
            _ => return Ok(0),
        }
    }
    Err(Refusal::Busy)
}

/// `None`: somebody else was faster.
async fn try_one(gateway: &Gateway, one: Programme, now: DateTime<Utc>) -> Result<Option<usize>, Refusal> {
    let Some(definition) = gateway.conformance.programmes.get(&one.definition) else {
        // Its end is in its row; the rest waits until somebody brings the definition back.
        tracing::error!(programme = one.definition, "a programme is under way that is not defined any more");
        let put_off = Programme { next_at: Some(next_at(None, &one, now)), ..one };
        return Ok(rewrite(gateway, put_off).await?.then_some(0));
    };
    let state = State::read(&one.state);
    let entries = between(definition, &course(&one), one.swept_at, now);
    let mut names: Vec<String> = entries.iter().map(|entry| name_of(&one, entry)).collect();
    names.extend(state.check_in.iter().map(|id| format!("Task/{id}")));
    let known = current(gateway.store.resources(&Filter::ALL, &names).await?);
    let mut change = Change { gateway, definition, one, state, known, weighed: Default::default(), now };
    let last = entries.iter().rposition(|entry| matches!(entry.due, Due::Message(_)));
    let mut words: Vec<String> = Vec::new();
    let is_deceased = match &change.one.patient {
        Some(patient) => gateway.store.is_deceased(patient).await?,
        None => false,
    };
    for (index, entry) in entries.iter().enumerate() {
        // Made before: a clock was set back, and it stays as it was.
        if change.known.contains_key(&name_of(&change.one, entry)) {
            continue;
        }
        match entry.due {
            Due::Message(message) => {
                let mut resource = resources::message(&change.one, message, entry.at, last != Some(index));
                if is_deceased {
                    // Nobody writes to one who has died; what else the programme asks of staff goes on until they end it.
                    resources::unsend(&mut resource, resources::DEAD);
                } else if change.one.treatment_at.is_some_and(|at| at <= now) {
                    // It was due before treatment, and is made only now.
                    resources::unsend(&mut resource, resources::TREATED);
                }
                change.add(&resource, false)?;
                words.push(format!("message-{}", message.code));
            }
            Due::CheckIn { day, next } => {
                check_in(&mut change, day, next, now)?;
                words.push("check-in".into());
            }
            Due::Mark(mark) => {
                let (thing, owner) = (format!("mark/{}", mark.code), responsible(&change.one).to_owned());
                let (code, text) = ("mark", mark.text.as_str());
                let to_do = resources::ToDo { thing: &thing, code, text, from: entry.at, until: None, owner: &owner };
                let resource = resources::task(&change.one, &to_do, now);
                change.add(&resource, false)?;
                words.push(format!("mark-{}", mark.code));
            }
            Due::Close => {
                let owner = responsible(&change.one).to_owned();
                let text = "LIF-8: ”När patienten påbörjat behandling ska programmet avslutas och sedan gallras av behandlaren i samråd med patienten.”";
                let (thing, code) = ("close", "close");
                let to_do = resources::ToDo { thing, code, text, from: entry.at, until: None, owner: &owner };
                let resource = resources::task(&change.one, &to_do, now);
                change.add(&resource, false)?;
                words.push("close-due".into());
            }
        }
    }
    change.one.swept_at = now.max(change.one.swept_at);
    let (id, patient, count) = (change.one.id, change.one.patient.clone(), words.len());
    let mut commit = change.commit();
    if count > 0 {
        let event = Event::new(now, By::gateway(), Deed::Programme, format!("programme/{id}")).about(patient);
        commit.audit.push(witness::wrote(event.with("due", words), &commit));
    }
    Ok(matches!(gateway.store.commit(commit).await?, Committed::Done { .. }).then_some(count))
}

/// `Type/id` of what an entry of the calendar becomes.
fn name_of(one: &Programme, entry: &Entry<'_>) -> String {
    let (kind, thing) = match entry.due {
        Due::Message(message) => ("CommunicationRequest", format!("message/{}", message.code)),
        Due::CheckIn { day, .. } => ("Task", format!("check-in/{day}")),
        Due::Mark(mark) => ("Task", format!("mark/{}", mark.code)),
        Due::Close => ("Task", "close".to_owned()),
    };
    format!("{kind}/{}", resources::id_of(one.id, &thing))
}

/// A check-in may be made until the day of the next; the one before it that nobody made is over.
fn check_in(change: &mut Change<'_>, day: NaiveDate, next: NaiveDate, now: DateTime<Utc>) -> Result<(), Refusal> {
    let midnight = |day: NaiveDate| {
        let local = Stockholm.from_local_datetime(&day.and_time(NaiveTime::MIN)).earliest();
        local.map_or(now, |at| at.with_timezone(&Utc))
    };
    let before = change.state.check_in.take();
    let stands = before.and_then(|id| change.known.get(&format!("Task/{id}")).map(|(_, task)| task.clone()));
    if let Some(over) = stands.and_then(|task| resources::ended(&task, "failed", Some(NOT_MADE), now)) {
        change.add(&over, false)?;
    }
    let (from, until) = (midnight(day), midnight(next));
    let (thing, owner) = (format!("check-in/{day}"), responsible(&change.one).to_owned());
    let text = "LIF-6: ”två avstämningar i veckan där patienternas behandling via programmet kontrolleras, eventuella frågor besvaras”";
    let to_do = resources::ToDo { thing: &thing, code: "check-in", text, from, until: Some(until), owner: &owner };
    let task = resources::task(&change.one, &to_do, now);
    // One whose time was over before anybody could be told of it was not made.
    let is_over = until <= now;
    let task = if is_over { resources::ended(&task, "failed", Some(NOT_MADE), now).unwrap_or(task) } else { task };
    change.state.check_in = (!is_over).then(|| resources::id_of(change.one.id, &thing));
    change.add(&task, false)
}

const NOT_MADE: &str = "Avstämningen gjordes inte före nästa.";

/// Writes a programme's row and nothing else.
pub(super) async fn rewrite(gateway: &Gateway, one: Programme) -> Result<bool, Refusal> {
    let expect = vec![Expect::Programme { programme: one.id, revision: one.revision }];
    let programmes = vec![Programme { revision: one.revision + 1, ..one }];
    let commit = Commit { expect, programmes, ..Commit::default() };
    Ok(matches!(gateway.store.commit(commit).await?, Committed::Done { .. }))
}

/// The longest that is slept, so that a clock that was set is noticed.
const LONGEST: Duration = Duration::from_secs(60);

/// Rounds in the background until `shutdown` says stop.
pub async fn run(gateway: Arc<Gateway>, mut shutdown: watch::Receiver<bool>) {
    while !*shutdown.borrow() {
        let mut pause = LONGEST;
        match sweep(&gateway, Utc::now()).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "programmes: made what was due"),
            Err(error) => {
                tracing::error!(error = %error, "what is due in programmes could not be made; it is tried again")
            }
        }
        if let Ok(Some(next)) = gateway.store.programme_next().await {
            let until = (next - Utc::now()).to_std().unwrap_or(Duration::from_secs(1));
            pause = pause.min(until.max(Duration::from_millis(200)));
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = gateway.programmes.wake.notified() => {}
            _ = shutdown.changed() => {}
        }
    }
}
