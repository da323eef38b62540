//! Who saw or got what about one patient, in words that the patient understands (PDL 8 kap. 5 §).

use chrono::SecondsFormat;
use serde_json::{Value, json};

use crate::domain::audit::{Deed, Record};
use crate::domain::{Directory, HsaId};
use crate::fhir::search::types;

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub at: String,
    /// The unit, or whoever else it was.
    pub who: String,
    pub hsa_id: Option<String>,
    pub care_provider: Option<String>,
    /// The client that asked for it, where one did.
    pub client: Option<String>,
    /// `läste`, `fick` …
    pub did: &'static str,
    /// What it was about: kinds of information, never what stands in them.
    pub what: Vec<&'static str>,
    pub purpose: Option<&'static str>,
    /// The whole line as a sentence.
    pub sentence: String,
    /// The row in the log.
    pub record: i64,
}

/// What kinds of information are called.
const KINDS: [(&str, &str); 22] = [
    ("Patient", "personuppgifter"),
    ("CarePlan", "rehabiliteringsplan eller SIP"),
    ("Goal", "mål"),
    ("CareTeam", "vårdteam"),
    ("Condition", "diagnos"),
    ("ServiceRequest", "remiss"),
    ("Task", "ärende"),
    ("Procedure", "åtgärd"),
    ("Encounter", "vårdkontakt"),
    ("Observation", "bedömning"),
    ("QuestionnaireResponse", "formulärsvar"),
    ("Communication", "meddelande eller svar"),
    ("Consent", "samtycke"),
    ("Composition", "överlämning"),
    ("DocumentReference", "bilaga"),
    ("Binary", "bilaga"),
    ("Appointment", "möte"),
    ("EpisodeOfCare", "vårdansvar"),
    ("Provenance", "uppgiftens ursprung"),
    ("RelatedPerson", "närstående"),
    ("AuditEvent", "loggen över åtkomst"),
    ("Location", "plats"),
];

/// Who exists in care is nothing about the patient.
const ACTORS: [&str; 3] = ["Organization", "Practitioner", "PractitionerRole"];

/// A row as a line; nothing for one that the patient is not told of.
pub fn line(record: &Record, directory: &Directory) -> Option<Line> {
    let deed = record.deed();
    let did = deed.told()?;
    // Where we hand something out, it is the recipient who got it.
    let is_ours = record.actor == "gateway";
    let unit_of = |name: &str| HsaId::parse(name).is_ok();
    let recipient = || record.agents.iter().find(|name| unit_of(name)).or_else(|| record.agents.first());
    let name = if is_ours { recipient().map_or("okänd mottagare", String::as_str) } else { record.actor.as_str() };
    let unit = directory.find(name);
    let organisation = record.by("organisation").or_else(|| unit.map(|unit| unit.care_provider.as_str()));
    let who = match (unit, name) {
        (Some(unit), _) => unit.name.clone(),
        (None, "operator") => "driften av tjänsten".to_owned(),
        (None, name) => name.to_owned(),
    };
    let what = what(record);
    let purpose = match (record.by("purpose"), deed) {
        (Some("care"), _) | (None, Deed::Deliver) => Some("vård och behandling"),
        (Some("registry"), _) | (None, Deed::Export) => Some("nationellt kvalitetsregister"),
        (Some("operations"), _) => Some("drift och kontroll"),
        _ => None,
    };
    let listed = if what.is_empty() { "uppgifter".to_owned() } else { what.join(", ") };
    let may_have = if record.outcome == crate::domain::audit::Outcome::Success { "" } else { " (obekräftat)" };
    let sentence = format!("{who} {did} {listed}{may_have}.");
    Some(Line {
        at: record.at.to_rfc3339_opts(SecondsFormat::Secs, true),
        who,
        hsa_id: unit_of(name).then(|| name.to_owned()),
        care_provider: organisation.map(str::to_owned),
        client: record.by("client").map(str::to_owned),
        did,
        what,
        purpose,
        sentence,
        record: record.seq,
    })
}

fn what(record: &Record) -> Vec<&'static str> {
    let mut found: Vec<&'static str> = Vec::new();
    let names = record.shown().chain([record.object.as_str()]);
    let object_type = |name: &str| name.split(['/', '?']).next().unwrap_or_default().to_owned();
    for kind in names.map(object_type) {
        let called = KINDS.iter().find(|(name, _)| *name == kind).map(|(_, called)| *called);
        let is_other = called.is_none() && !ACTORS.contains(&kind.as_str()) && types().contains(&kind.as_str());
        if let Some(called) = called.or(is_other.then_some("andra uppgifter"))
            && !found.contains(&called)
        {
            found.push(called);
        }
    }
    if found.is_empty() && (record.object.starts_with("exchange/") || record.object.starts_with("delivery/")) {
        let called = match record.text("kind") {
            Some("referral") => "remiss",
            Some("rehab-plan") => "rehabiliteringsplan",
            Some("handover") => "överlämning eller SIP",
            Some("activity") => "åtgärd",
            _ => "remiss, plan eller svar",
        };
        found.push(called);
    }
    found
}

impl Line {
    pub fn json(&self) -> Value {
        json!({
            "at": self.at, "who": self.who, "hsaId": self.hsa_id, "careProvider": self.care_provider,
            "client": self.client, "did": self.did, "what": self.what, "purpose": self.purpose, "sentence": self.sentence, "record": self.record,
        })
    }
}

/// The heads of a table's columns.
pub const COLUMNS: [&str; 9] =
    ["Tidpunkt", "Vem", "HSA-id", "Vårdgivare", "Gjorde", "Uppgifter", "Ändamål", "Loggrad", "System"];

/// The lines as a table, for people who open it in a spreadsheet.
pub fn csv(lines: &[Line]) -> Option<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().delimiter(b';').from_writer("\u{feff}".as_bytes().to_vec());
    writer.write_record(COLUMNS).ok()?;
    for line in lines {
        let text = |text: &Option<String>| plain(text.as_deref().unwrap_or_default());
        writer
            .write_record([
                line.at.clone(),
                plain(&line.who),
                text(&line.hsa_id),
                text(&line.care_provider),
                line.did.to_owned(),
                line.what.join(", "),
                line.purpose.unwrap_or_default().to_owned(),
                line.record.to_string(),
                text(&line.client),
            ])
            .ok()?;
    }
    writer.into_inner().ok()
}

/// A spreadsheet takes a text that begins so for something to compute.
fn plain(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::audit::{By, Event, Outcome};

    fn record(event: Event, agents: &[&str]) -> Record {
        Record {
            seq: 3,
            at: event.at,
            actor: event.by.name.clone(),
            action: event.deed.code().into(),
            object: event.object.clone(),
            outcome: event.outcome,
            patients: vec!["p".into()],
            agents: agents.iter().map(|a| (*a).to_owned()).collect(),
            payload: Some(event.payload()),
        }
    }

    #[test]
    fn what_was_delivered_is_something_that_the_unit_got() {
        let event = Event::new(DateTime::UNIX_EPOCH, By::gateway(), Deed::Deliver, "delivery/d").ended(Outcome::Minor);
        let line = line(&record(event, &["norr", "SE2321000131-E000000000202"]), &Directory::default()).unwrap();
        assert_eq!(line.sentence, "SE2321000131-E000000000202 fick remiss, plan eller svar (obekräftat).");
        assert_eq!(line.purpose, Some("vård och behandling"));
    }

    #[test]
    fn what_was_read_is_told_by_its_kinds_and_upkeep_is_not_told() {
        let by = By { purpose: Some("care"), ..By::named("norr") };
        let shown = vec!["Task/1/1".into(), "Goal/2/1".into(), "Task/3/1".into()];
        let event = Event::new(DateTime::UNIX_EPOCH, by.clone(), Deed::Search, "Task?status").showing(shown);
        let told = line(&record(event, &[]), &Directory::default()).unwrap();
        assert_eq!(told.sentence, "norr sökte fram ärende, mål.");
        let event = Event::new(DateTime::UNIX_EPOCH, by, Deed::Retry, "delivery/1");
        assert!(line(&record(event, &[]), &Directory::default()).is_none());
    }

    #[test]
    fn a_table_computes_nothing() {
        let by = By::named("=cmd|' /C calc'!A0");
        let event = Event::new(DateTime::UNIX_EPOCH, by, Deed::Read, "Task/1");
        let line = line(&record(event, &[]), &Directory::default()).unwrap();
        let table = String::from_utf8(csv(&[line]).unwrap()).unwrap();
        assert!(table.lines().nth(1).unwrap().contains(";'=cmd"), "{table}");
    }
}
