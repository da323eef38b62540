//! Messages of programmes to a patient who has died: those that are to be sent are revoked in the commit that tells of the death, and
//! none is made after it. What the programme asks of staff goes on until they end it.

use chrono::{DateTime, Utc};

use super::resources::{DEAD, unsend};
use crate::Gateway;
use crate::store::{Commit, Expect, Filter, Programme};
use crate::sync::Refusal;
use crate::sync::weigh::{Scale, Weighed, current};

/// Adds it to the commit, for every programme of the person.
pub async fn silence(gateway: &Gateway, patient: &str, now: DateTime<Utc>, commit: &mut Commit) -> Result<(), Refusal> {
    for one in gateway.store.programmes_of(patient).await? {
        let mut names = gateway.store.programme_resources(one.id).await?;
        names.retain(|name| name.starts_with("CommunicationRequest/"));
        let known = current(gateway.store.resources(&Filter::ALL, &names).await?);
        let mut weighed = Weighed::default();
        let scale = Scale { now, patient: one.patient.as_deref(), units: &[], exchange: None };
        for (_, message) in known.values().filter(|(_, message)| message["status"] == "active") {
            let mut message = message.clone();
            unsend(&mut message, DEAD);
            scale.add(&message, &known, &mut weighed);
        }
        commit.put.extend(weighed.put);
        commit.expect.extend(weighed.expect);
        // Whoever is making one in this moment begins again, and sees it.
        commit.expect.push(Expect::Programme { programme: one.id, revision: one.revision });
        commit.programmes.push(Programme { revision: one.revision + 1, made: Vec::new(), ..one });
    }
    Ok(())
}
