//! What whoever runs the gateway types: status, backup, verify-backup, restore, gallra, audit, rotate-keys. Each says what it
//! did in plain words.

mod audit;
mod copies;
mod removal;
mod screen;

use std::path::Path;

use anyhow::Context;
use chrono::Utc;

use crate::config::Config;
use crate::signing;
use crate::store::look;
use crate::sync::status::{Facts, State, Status, picture};

pub use audit::{Verify, export as export_audit, verify as verify_audit};
pub use copies::{back_up, record as record_copies, restore, verify_backup};
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

/// Adds a key that the gateway signs with; with `revoke`, drops those before it.
pub fn rotate_keys(config: Option<&Path>, revoke: bool) -> anyhow::Result<bool> {
    let config = Config::load(config)?;
    let path = &config.oauth.key_file;
    let count = signing::rotate(path, revoke, Utc::now().timestamp())?;
    let others = if revoke { "every token that is out is void".to_owned() } else { format!("{} are kept", count - 1) };
    println!(
        "{}: a new key signs, and {others}. A running gateway looks every {} seconds, and at SIGHUP.",
        path.display(),
        config.oauth.reload.as_secs()
    );
    Ok(true)
}

fn show(status: &Status, json: bool) -> anyhow::Result<bool> {
    let text = if json { serde_json::to_string_pretty(status)? } else { screen::screen(status) };
    // Nobody may be reading any more (`vardkedja status | head`).
    let _ = std::io::Write::write_all(&mut std::io::stdout(), format!("{}\n", text.trim_end()).as_bytes());
    Ok(status.concerns.is_empty())
}
