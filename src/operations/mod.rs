//! What whoever runs the gateway types: status, backup, verify-backup, restore, gallra, audit. Each says what it did in plain
//! words.

mod audit;
mod copies;
mod removal;
mod screen;

use std::path::Path;

use anyhow::Context;
use chrono::Utc;

use crate::store::look;
use crate::sync::status::{Facts, State, Status, picture};

pub use audit::{Verify, export as export_audit, verify as verify_audit};
pub use copies::{back_up, restore, verify_backup};
pub use removal::{remove_due, show_due};

/// The status of a running gateway; false where something needs a person, and where nobody answers.
pub async fn status_of_gateway(url: &str, token: Option<String>, json: bool) -> anyhow::Result<bool> {
    let (code, body) = match crate::partner::call(url, token, "/v1/status", None).await {
        Ok(answer) => answer,
        Err(error) => {
            anyhow::bail!("{}", screen::nobody_answers(url, error.is_timeout()));
        }
    };
    if code != 200 {
        anyhow::bail!("{url} answered {code}: {}", body["issue"][0]["details"]["text"].as_str().unwrap_or_default());
    }
    let status: Status =
        serde_json::from_value(body).context("the gateway answers in another form: is it of another version?")?;
    show(&status, json)
}

/// The status as a database file has it, for a gateway that is down.
pub fn status_of_file(db: &Path, json: bool) -> anyhow::Result<bool> {
    let (worklist, space) = look(db).with_context(|| format!("cannot read {}", db.display()))?;
    let backup = crate::store::last_backup(db);
    let facts = Facts { state: State::Offline, since: None, worklist, space, backup, partners: Vec::new() };
    show(&picture(facts, Utc::now()), json)
}

fn show(status: &Status, json: bool) -> anyhow::Result<bool> {
    let text = if json { serde_json::to_string_pretty(status)? } else { screen::screen(status) };
    // Nobody may be reading any more (`vardkedja status | head`).
    let _ = std::io::Write::write_all(&mut std::io::stdout(), format!("{}\n", text.trim_end()).as_bytes());
    Ok(status.concerns.is_empty())
}
