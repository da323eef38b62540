//! What of a programme is no time and no stage: codes and HSA-ids of staff, kept as JSON in its row. No word of a patient's.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct State {
    /// The contact nurse who started it.
    pub started_by: Option<String>,
    /// The appointed behandlare.
    pub therapist: Option<String>,
    pub modules: BTreeMap<String, Progress>,
    /// The id of the last check-in's Task, while nobody has made it.
    pub check_in: Option<String>,
    /// `start`, `end`: what a journal says of it.
    pub documented: BTreeSet<String>,
    /// Whether the patient took part in closing it.
    pub with_patient: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    pub started_at: Option<DateTime<Utc>>,
    pub completed_at: Option<DateTime<Utc>>,
}

impl State {
    /// As it stands in a row; what cannot be read is as if nothing were there.
    pub fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned())
    }
}
