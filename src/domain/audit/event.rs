//! One thing that was done, as a value: who, what, about whom, from where, and how it ended. It is said once, where it
//! happens, and kept in the audit log.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Deed;

/// How it ended: FHIR's `AuditEvent.outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Outcome {
    #[default]
    Success,
    /// It did not work this time, or was refused: whoever asked can mend it.
    Minor,
    /// It will not work as it is.
    Serious,
    /// Something of ours failed.
    Major,
}

impl Outcome {
    pub const ALL: [Self; 4] = [Self::Success, Self::Minor, Self::Serious, Self::Major];

    /// FHIR's number.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Minor => 4,
            Self::Serious => 8,
            Self::Major => 12,
        }
    }

    pub fn of(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.code() == code)
    }
}

/// Where a request came from, no more closely than anybody needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// This machine.
    Loopback,
    /// A private network.
    Private,
    Internet,
    /// Through a proxy, which knows from where.
    Proxy,
}

impl Origin {
    pub fn code(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::Internet => "internet",
            Self::Proxy => "proxy",
        }
    }
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct By {
    /// A unit's HSA-id, a partner's or client's name, `operator` or `gateway`.
    pub name: String,
    /// HSA-id of the care provider, where one answers for the caller.
    pub organisation: Option<String>,
    /// The client that called, where that is not its name.
    pub client: Option<String>,
    /// The partner that the client belongs to, where that is another name.
    pub partner: Option<String>,
    /// `care`, `registry`, `operations`.
    pub purpose: Option<&'static str>,
    /// Where the request came from that it was done in.
    pub from: Option<Origin>,
    /// The number of that request.
    pub request: Option<Uuid>,
}

impl By {
    /// The gateway of its own accord.
    pub fn gateway() -> Self {
        Self { name: "gateway".into(), ..Self::default() }
    }

    /// Somebody of whom no more than a name is at hand.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }
}

/// Something that was done.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub at: DateTime<Utc>,
    pub by: By,
    pub deed: Deed,
    /// `Type/id`, `exchange/…`, `delivery/…`, or an address without values. Never anything that a caller wrote as a value.
    pub object: String,
    pub outcome: Outcome,
    /// `Type/id/version` of each resource that was shown or handed out.
    pub shown: Vec<String>,
    /// The ids of the Patients it is about. `None`: as `shown` and `object` say, looked up when it is written.
    pub patients: Option<Vec<String>>,
    pub detail: Map<String, Value>,
}

impl Event {
    pub fn new(at: DateTime<Utc>, by: By, deed: Deed, object: impl Into<String>) -> Self {
        Self {
            at,
            by,
            deed,
            object: object.into(),
            outcome: Outcome::Success,
            shown: Vec::new(),
            patients: None,
            detail: Map::new(),
        }
    }

    #[must_use]
    pub fn ended(self, outcome: Outcome) -> Self {
        Self { outcome, ..self }
    }

    /// About these patients and no others; none: about nobody.
    #[must_use]
    pub fn about(self, patients: impl IntoIterator<Item = String>) -> Self {
        Self { patients: Some(patients.into_iter().collect()), ..self }
    }

    /// `Type/id/version` of what was shown.
    #[must_use]
    pub fn showing(self, names: Vec<String>) -> Self {
        Self { shown: names, ..self }
    }

    /// A code, an id or a count: never a name, a number of a person, or free text.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.detail.insert(name.to_owned(), value.into());
        self
    }

    /// All of `detail`.
    #[must_use]
    pub fn with_all(mut self, detail: &Value) -> Self {
        let fields = detail.as_object().into_iter().flatten();
        self.detail.extend(fields.map(|(name, value)| (name.clone(), value.clone())));
        self
    }

    /// What is kept beside who, what and when: `by`, `outcome`, `shown`, `patients` and the details, as one JSON object.
    pub fn payload(&self) -> Value {
        let mut payload = Map::new();
        let by = [
            ("organisation", self.by.organisation.as_deref()),
            ("client", self.by.client.as_deref()),
            ("partner", self.by.partner.as_deref()),
            ("purpose", self.by.purpose),
            ("from", self.by.from.map(Origin::code)),
        ];
        let mut by: Map<String, Value> =
            by.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))).collect();
        if let Some(request) = self.by.request {
            by.insert("request".into(), json!(request.to_string()));
        }
        if !by.is_empty() {
            payload.insert("by".into(), by.into());
        }
        if self.outcome != Outcome::Success {
            payload.insert("outcome".into(), json!(self.outcome.code()));
        }
        if !self.shown.is_empty() {
            payload.insert("shown".into(), json!(self.shown));
        }
        if let Some(patients) = &self.patients {
            payload.insert("patients".into(), json!(patients));
        }
        payload.extend(self.detail.iter().map(|(name, value)| (name.clone(), value.clone())));
        payload.into()
    }
}

/// A row of the audit log as it is read back.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its place in the chain.
    pub seq: i64,
    pub at: DateTime<Utc>,
    pub actor: String,
    pub action: String,
    pub object: String,
    pub outcome: Outcome,
    /// The ids of the Patients it is about.
    pub patients: Vec<String>,
    /// Others who had a part in it: whoever got it.
    pub agents: Vec<String>,
    /// [`Event::payload`]; `None` where it was erased.
    pub payload: Option<Value>,
}

impl Record {
    pub fn deed(&self) -> Deed {
        Deed::of(&self.action)
    }

    /// A text of the payload.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.payload.as_ref()?.get(name)?.as_str()
    }

    /// A text of who did it.
    pub fn by(&self, name: &str) -> Option<&str> {
        self.payload.as_ref()?.get("by")?.get(name)?.as_str()
    }

    /// `Type/id/version` of what was shown.
    pub fn shown(&self) -> impl Iterator<Item = &str> {
        let list = self.payload.as_ref().and_then(|p| p.get("shown")).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str)
    }

    /// Whether a resource `Type/id` (or another thing named so) is what it was done to, or was shown.
    pub fn touches(&self, name: &str) -> bool {
        let is_it = |text: &str| {
            text.strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || rest.starts_with('?'))
        };
        is_it(&self.object)
            || self.shown().any(is_it)
            || name.strip_prefix("Patient/").is_some_and(|id| self.patients.iter().any(|patient| patient == id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_says_no_more_than_there_is_to_say() {
        let event = Event::new(DateTime::UNIX_EPOCH, By::named("x"), Deed::Read, "Task/1");
        assert_eq!(event.payload(), json!({}));
        let by = By { purpose: Some("care"), ..By::named("x") };
        let event = Event::new(DateTime::UNIX_EPOCH, by, Deed::Read, "Task/1").ended(Outcome::Serious).about([]);
        assert_eq!(event.payload(), json!({ "by": { "purpose": "care" }, "outcome": 8, "patients": [] }));
    }

    #[test]
    fn a_record_touches_what_it_names_and_nothing_that_begins_alike() {
        let payload = json!({ "shown": ["Task/12/3", "Goal/7/1"] });
        let record = Record {
            seq: 1,
            at: DateTime::UNIX_EPOCH,
            actor: "x".into(),
            action: "read".into(),
            object: "Task/12/_history/3".into(),
            outcome: Outcome::Success,
            patients: vec!["p1".into()],
            agents: Vec::new(),
            payload: Some(payload),
        };
        for (name, touches) in
            [("Task/12", true), ("Goal/7", true), ("Patient/p1", true), ("Task/1", false), ("Patient/p", false)]
        {
            assert_eq!(record.touches(name), touches, "{name}");
        }
    }
}
