//! A referral's exchange to read in tests.

use chrono::DateTime;
use uuid::Uuid;

use crate::domain::task::Status;
use crate::domain::{Format, Kind, PartyRole, Stage};
use crate::store::{Exchange, Party};

pub(super) const SENDER: &str = "SE2321000131-E000000000101";
const OWNER: &str = "SE2321000131-E000000000203";

pub(super) fn exchange() -> Exchange {
    let party = |unit: &str, role, task: Option<&str>| Party {
        unit: unit.into(),
        partner: "p".into(),
        role,
        task: task.map(str::to_owned),
        status: task.map(|_| Status::Requested),
        stage: Stage::Waiting,
    };
    Exchange {
        id: Uuid::from_u128(1),
        revision: 1,
        kind: Kind::Referral,
        format: Format::Json,
        organisation: "o".into(),
        document: "d".into(),
        version: 1,
        entered_in_error: false,
        patient: Some("p".into()),
        stage: Stage::Waiting,
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
        parties: vec![party(SENDER, PartyRole::Sender, None), party(OWNER, PartyRole::Recipient, Some("t"))],
        resources: Vec::new(),
    }
}
