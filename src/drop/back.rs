//! What goes back: how each exchange of a drop stands, and its document with the answers, whenever that has changed. That it was read
//! is on record before anybody can fetch the files.

use std::io;

use chrono::Utc;
use serde_json::Value;
use uuid::Uuid;

use super::folder::Folder;
use super::{Broken, blocking};
use crate::Gateway;
use crate::access::Caller;
use crate::config::FileDrop;
use crate::domain::Format;
use crate::store::{Commit, Dropped};
use crate::sync::{Refusal, present, witness};

/// Exchanges of one round; the others have their turn in the next.
const MOST: u32 = 500;

/// Writes what has changed since it was written last.
pub async fn write(gateway: &Gateway, settings: &FileDrop, caller: &Caller, folder: &Folder) -> Result<(), Broken> {
    for (exchange, revision) in gateway.store.untold(&settings.name, MOST).await.map_err(Refusal::from)? {
        let Some(files) = shown(gateway, caller, exchange).await? else { continue };
        // Before the files can be seen under their names.
        witness::record(gateway, caller, "read", &format!("exchange/{exchange}/document"), &Value::Null, Utc::now())
            .await?;
        blocking(folder.work(move |folder| -> io::Result<()> {
            for (name, bytes) in &files {
                folder.write_answer(name, bytes)?;
            }
            Ok(())
        }))
        .await??;
        let told = Dropped { name: settings.name.clone(), exchange, told: revision };
        gateway.store.commit(Commit { dropped: vec![told], ..Commit::default() }).await.map_err(Refusal::from)?;
    }
    Ok(())
}

/// The files, with their names; none where the exchange is not shown to the caller at present (a block, a consent that was withdrawn):
/// it is asked for again.
async fn shown(gateway: &Gateway, caller: &Caller, id: Uuid) -> Result<Option<Vec<(String, Vec<u8>)>>, Refusal> {
    let status = match present::exchange(gateway, caller, id, Utc::now()).await {
        Ok(status) => serde_json::to_vec_pretty(&status).unwrap_or_default(),
        Err(Refusal::Missing(_) | Refusal::Forbidden(_)) => return Ok(None),
        Err(other) => return Err(other),
    };
    let mut files = Vec::new();
    match present::document(gateway, caller, id, None).await {
        Ok(document) => {
            let end = if document.format == Format::Riv { "xml" } else { "json" };
            files.push((format!("{id}.document.{end}"), document.body));
        }
        Err(Refusal::Missing(_) | Refusal::Forbidden(_) | Refusal::Conflict(_)) => {}
        Err(other) => return Err(other),
    }
    // Last: who sees by it that something is answered finds the answer there.
    files.push((format!("{id}.status.json"), status));
    Ok(Some(files))
}
