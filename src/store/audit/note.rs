//! Reads off an audit row what it is found by, and seals its payload: in the thread of whoever says it, because the writer
//! has one thread for everybody.

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Hash;
use crate::domain::audit::Outcome;
use crate::store::record::Audit;

/// What the writer needs to know of a row, beside the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Noted {
    pub(super) salt: [u8; 16],
    pub(super) payload_hash: Hash,
    pub(super) outcome: u8,
    /// As the row itself says; otherwise they are looked up.
    pub(super) patients: Option<Vec<String>>,
    pub(super) shown: Vec<String>,
    pub(super) exchange: Option<String>,
    /// Who took part beside the actor.
    pub(super) agents: Vec<String>,
}

/// What [`crate::domain::audit::Event::payload`] writes, as far as rows are found by it.
#[derive(Debug, Default, Deserialize)]
struct Said {
    #[serde(default)]
    outcome: u8,
    patients: Option<Vec<String>>,
    #[serde(default)]
    shown: Vec<String>,
    exchange: Option<String>,
    unit: Option<String>,
    partner: Option<String>,
    recipient: Option<String>,
}

pub(super) fn salted(salt: &[u8], payload: &str) -> Hash {
    Sha256::new().chain_update(salt).chain_update(payload).finalize().into()
}

pub(in crate::store) fn note(audit: &Audit) -> Noted {
    // 122 random bits: what was erased cannot be found again by trying.
    let salt = *Uuid::new_v4().as_bytes();
    let payload_hash = salted(&salt, &audit.payload);
    let said = said(&audit.payload);
    let partner = said.partner.map(|name| name.trim_end_matches("#notices").to_owned());
    let agents = [said.unit, said.recipient, partner];
    Noted {
        salt,
        payload_hash,
        outcome: Outcome::of(said.outcome).unwrap_or_default().code(),
        patients: said.patients,
        shown: said.shown,
        exchange: said.exchange,
        agents: agents.into_iter().flatten().filter(|name| !name.is_empty()).collect(),
    }
}

/// A field of another form than ours says nothing, and takes nothing away from the others.
fn said(payload: &str) -> Said {
    serde_json::from_str(payload).unwrap_or_else(|_| {
        let value: Value = serde_json::from_str(payload).unwrap_or_default();
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let list = |name: &str| {
            let list = value.get(name)?.as_array()?;
            Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        };
        Said {
            outcome: value.get("outcome").and_then(Value::as_u64).and_then(|n| u8::try_from(n).ok()).unwrap_or(0),
            patients: list("patients"),
            shown: list("shown").unwrap_or_default(),
            exchange: text("exchange"),
            unit: text("unit"),
            partner: text("partner"),
            recipient: text("recipient"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(payload: &str) -> Noted {
        note(&Audit { payload: payload.into(), ..Audit::default() })
    }

    #[test]
    fn what_a_payload_says_in_our_form_is_noted() {
        let noted = noted(
            r#"{"by":{"client":"c"},"outcome":8,"patients":["p"],"shown":["Task/1/1"],"unit":"U","partner":"n#notices"}"#,
        );
        assert_eq!((noted.outcome, noted.patients), (8, Some(vec!["p".to_owned()])));
        assert_eq!(noted.agents, ["U", "n"]);
        assert_eq!(noted.shown, ["Task/1/1"]);
    }

    #[test]
    fn a_field_of_another_form_takes_nothing_away_from_the_others() {
        let noted = noted(r#"{"patients":17,"exchange":{"id":1},"unit":"U","outcome":"bad","shown":["Task/1/1",2]}"#);
        assert_eq!((noted.outcome, noted.patients, noted.exchange), (0, None, None));
        assert_eq!((noted.agents, noted.shown), (vec!["U".to_owned()], vec!["Task/1/1".to_owned()]));
        assert_eq!(self::noted("no JSON").agents, Vec::<String>::new());
    }
}
