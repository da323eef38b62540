//! `vardkedja gallra`: shows what is due to be removed, or removes it while the gateway is down.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, Utc};

use crate::config::Config;
use crate::store::{Options, Store, StoreError, Tally, look_due};
use crate::sync::remove;

/// What would go by each rule. Nothing is written, and the gateway may be running.
pub fn show_due(config: Option<&Path>, now: DateTime<Utc>) -> anyhow::Result<bool> {
    let config = Config::load(config)?;
    let rules = &config.retention.rules;
    let all = look_due(&config.db, rules, now).with_context(|| format!("cannot read {}", config.db.display()))?;
    let mut out = String::new();
    let _ = writeln!(out, "Rules of version {}. Nothing was removed.", rules.version());
    for tally in &all {
        tell(&mut out, tally);
    }
    say(&out);
    Ok(true)
}

fn tell(out: &mut String, tally: &Tally) {
    let before = tally.before.to_rfc3339_opts(SecondsFormat::Secs, true);
    let held = if tally.held == 0 { String::new() } else { format!(" ({} more are held)", tally.held) };
    let _ = writeln!(out, "{:<16} {:<14} before {before}: {} due{held}", tally.rule, tally.what.code(), tally.due);
}

/// Removes what is due, round after round. It may be stopped and started again at any moment.
pub async fn remove_due(config: Option<&Path>, by: &str, now: DateTime<Utc>) -> anyhow::Result<bool> {
    let config = Config::load(config)?;
    let registries = config.agreements.now().terms();
    let store = match Store::open(&config.db, Options { registries, ..Options::default() }) {
        Ok(store) => store,
        Err(StoreError::Locked) => anyhow::bail!(
            "a gateway has {} open: it removes by itself with [retention] removes = true, or stop it first",
            config.db.display()
        ),
        Err(error) => return Err(error).with_context(|| format!("cannot open {}", config.db.display())),
    };
    let mut out = String::new();
    loop {
        let removed = remove::round(&store, &config.retention, by, now).await?;
        let count: u32 = removed.iter().map(|one| one.count).sum();
        for one in removed.iter().filter(|one| one.count > 0) {
            let unit = if one.what.code() == "exchange" { "exchanges" } else { "batches" };
            let _ = writeln!(out, "{:<16} {} {unit} removed", one.rule, one.count);
        }
        if count == 0 {
            break;
        }
    }
    store.close();
    let _ = writeln!(out, "Nothing more is due.");
    say(&out);
    Ok(true)
}

/// Nobody may be reading any more (`vardkedja gallra … | head`); what was done is done.
fn say(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
}
