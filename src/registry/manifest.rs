//! What the client is told when its export is done: which files there are, what is in them, and how to see that they arrived whole.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::store::{Export, ExportFile, FileKind};

/// The manifest of Bulk Data Access.
pub fn manifest(export: &Export, files: &[ExportFile], base_url: &str) -> Value {
    let list = |kind: FileKind| -> Vec<Value> {
        let of_kind = files.iter().filter(|file| file.kind == kind);
        of_kind.map(|file| entry(file, export, base_url)).collect()
    };
    json!({
        "transactionTime": instant(export.transaction_at),
        "request": export.request,
        "requiresAccessToken": true,
        "outputFormat": "application/fhir+ndjson",
        "output": list(FileKind::Output),
        "deleted": list(FileKind::Deleted),
        "error": list(FileKind::Error),
    })
}

fn entry(file: &ExportFile, export: &Export, base_url: &str) -> Value {
    json!({
        "type": file.resource_type,
        "url": format!("{base_url}/bulk/files/{}/{}", export.id, file.name),
        "count": file.lines,
        "extension": { "sha-256": file.sha256, "bytes": file.bytes },
    })
}

/// To the millisecond, as marks are kept: it comes back as `_since`.
pub fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
