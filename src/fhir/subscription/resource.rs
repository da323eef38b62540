//! The Subscription resource as a client sends it: read whole, or refused with everything that is wrong.

use serde_json::Value;

use super::super::issue::{Code, Issue, told};
use super::super::search::{Reader, moment, names_person};
use super::topic::{Topics, is_own};
use super::{GUIDE, definition};
use crate::domain::subscription::{Payload, Status};

/// What a client asks for, read and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    pub topic: String,
    /// Type, parameter, value.
    pub filters: Vec<(String, String, String)>,
    pub reason: String,
    pub contact: Option<Value>,
    pub channel: Channel,
    /// Milliseconds.
    pub end: Option<i64>,
    /// What it asks to be; without, and on creation, [`Status::Requested`].
    pub status: Status,
}

/// Where it is to be told, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    pub endpoint: String,
    /// `Name: value`; `None` where nothing is said of them.
    pub headers: Option<Vec<String>>,
    pub payload: Payload,
    pub heartbeat_s: Option<u32>,
    pub timeout_s: Option<u32>,
    pub max_count: Option<u32>,
}

pub(super) const FHIR_JSON: &str = "application/fhir+json";
const MOST_FILTERS: usize = 20;
const MOST_HEADERS: usize = 10;
const LONGEST: usize = 4096;
/// Headers that the gateway writes itself.
const OWN_HEADERS: [&str; 7] =
    ["host", "content-length", "content-type", "transfer-encoding", "connection", "upgrade", "accept-encoding"];

/// Collects findings at their places.
struct Findings(Vec<Issue>);

impl Findings {
    fn wrong(&mut self, at: &str, sv: impl Into<String>, en: impl Into<String>) {
        self.0.push(Issue::error(Code::Value, format!("Subscription.{at}"), sv, en));
    }

    fn known(&mut self, at: &str, value: &Value, names: &[&str]) {
        for (name, _) in value.as_object().into_iter().flatten() {
            if !names.contains(&name.as_str()) {
                let (known, place) = (names.join(", "), if at.is_empty() { String::new() } else { format!("{at}.") });
                let place = format!("{place}{}", told(name));
                let sv = format!("Läses inte här; kända: {known}.");
                self.wrong(&place, sv, format!("Is not read here; known: {known}."));
            }
        }
    }
}

/// Reads a Subscription of a topic; all that is wrong with it is told at once.
pub fn read(value: &Value, topics: &Topics, reader: &Reader<'_>) -> Result<Asked, Vec<Issue>> {
    let mut found = Findings(Vec::new());
    found.known(
        "",
        value,
        &[
            "resourceType",
            "id",
            "meta",
            "text",
            "status",
            "contact",
            "end",
            "reason",
            "criteria",
            "_criteria",
            "error",
            "channel",
        ],
    );
    if value["resourceType"] != "Subscription" {
        found.wrong("resourceType", "Kroppen är ingen Subscription.", "The body is no Subscription.");
    }
    let status = match value["status"].as_str() {
        Some("off") => Status::Off,
        Some("requested" | "active" | "error") => Status::Requested,
        _ => {
            found.wrong("status", "Ange requested, eller off.", "Say requested, or off.");
            Status::Requested
        }
    };
    let end = match &value["end"] {
        Value::Null => None,
        end => match end.as_str().filter(|text| text.contains('T')).and_then(moment) {
            Some((low, _)) => Some(low),
            None => {
                found.wrong("end", "Ett klockslag med zon.", "An instant, like 2026-12-31T23:00:00Z.");
                None
            }
        },
    };
    let reason = value["reason"].as_str().unwrap_or_default().to_owned();
    if reason.is_empty() || reason.len() > LONGEST {
        found.wrong("reason", "Skriv varför, kort.", "Say why, briefly.");
    } else if names_person(&reason) {
        found.wrong("reason", "Här ska inget personnummer stå.", "No national identifier belongs here.");
    }
    let contact = value.get("contact").cloned();
    if contact.as_ref().is_some_and(|contact| !contact.is_array() || contact.to_string().len() > LONGEST) {
        found.wrong("contact", "En kort lista av ContactPoint.", "A short list of ContactPoint.");
    }
    let topic = value["criteria"].as_str().unwrap_or_default().to_owned();
    let filters = filters(value, &topic, topics, reader, &mut found);
    let channel = channel(&value["channel"], &mut found);
    match channel {
        Some(channel) if found.0.is_empty() => Ok(Asked { topic, filters, reason, contact, channel, end, status }),
        _ => Err(found.0),
    }
}

fn filters(
    value: &Value,
    url: &str,
    topics: &Topics,
    reader: &Reader<'_>,
    found: &mut Findings,
) -> Vec<(String, String, String)> {
    let Some(topic) = topics.find(url) else {
        let known: Vec<&str> = topics.iter().map(|topic| topic.url.as_str()).collect();
        let known = known.join(", ");
        found.wrong("criteria", format!("Url:en till ett ämne: {known}."), format!("The url of a topic: {known}."));
        return Vec::new();
    };
    let mut filters = Vec::new();
    let list = value["_criteria"]["extension"].as_array().map_or(&[][..], Vec::as_slice);
    for (at, extension) in list.iter().enumerate() {
        let at = format!("criteria.extension[{at}]");
        let text = extension["valueString"].as_str().unwrap_or_default();
        if extension["url"] != definition("backport-filter-criteria") || text.is_empty() {
            let sv = format!("Bara {GUIDE}/StructureDefinition/backport-filter-criteria med valueString tas emot.");
            let en = format!("Only {GUIDE}/StructureDefinition/backport-filter-criteria with valueString is taken.");
            found.wrong(&at, sv, en);
            continue;
        }
        let types = topic.types();
        let (kind, query) = match text.split_once('?') {
            Some((kind, query)) => (kind, query),
            None => (types.first().copied().unwrap_or_default(), text),
        };
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        if pairs.is_empty() || !types.contains(&kind) {
            let types = types.join(", ");
            let sv = format!("Skriv Typ?parameter=värde; ämnets typer: {types}.");
            found.wrong(&at, sv, format!("Write Type?parameter=value; the topic's types: {types}."));
            continue;
        }
        for (name, wanted) in pairs {
            // Names are data of the topic; values are the caller's, and may say who somebody is.
            if !topic.may_filter(kind, &name) {
                let known: Vec<&str> =
                    topic.filters.iter().filter(|(of, _)| of == kind).map(|(_, name)| name.as_str()).collect();
                let known = known.join(", ");
                let sv = format!("{} filtreras inte; ämnets filter: {known}.", told(&name));
                found.wrong(&at, sv, format!("There is no filter {}; the topic's: {known}.", told(&name)));
                continue;
            }
            match reader.clause(kind, &name, &wanted) {
                Ok(clause) if is_own(&clause) && !names_person(&wanted) => {
                    filters.push((kind.to_owned(), name, wanted))
                }
                _ => found.wrong(
                    &at,
                    format!("Värdet för {name} kan inte läsas."),
                    format!("The value of {name} cannot be read."),
                ),
            }
        }
    }
    if filters.len() > MOST_FILTERS {
        found.wrong("criteria", format!("Högst {MOST_FILTERS} filter."), format!("At most {MOST_FILTERS} filters."));
    }
    filters
}

fn channel(channel: &Value, found: &mut Findings) -> Option<Channel> {
    found.known("channel", channel, &["type", "endpoint", "payload", "_payload", "header", "extension"]);
    if channel["type"] != "rest-hook" {
        found.wrong("channel.type", "Bara rest-hook finns.", "There is only rest-hook.");
    }
    if channel["payload"].as_str().is_none_or(|payload| payload != FHIR_JSON) {
        found.wrong("channel.payload", format!("Bara {FHIR_JSON} sänds."), format!("Only {FHIR_JSON} is sent."));
    }
    let content = channel["_payload"]["extension"].as_array().map_or(&[][..], Vec::as_slice);
    let content: Vec<Option<Payload>> = content
        .iter()
        .map(|e| {
            let is_it = e["url"] == definition("backport-payload-content");
            e["valueCode"].as_str().filter(|_| is_it).and_then(Payload::parse)
        })
        .collect();
    let payload = match content.as_slice() {
        [Some(payload)] => Some(*payload),
        _ => {
            let sv = "Ange backport-payload-content en gång: empty, id-only eller full-resource.";
            let en = "Give backport-payload-content once: empty, id-only or full-resource.";
            found.wrong("channel.payload.extension", sv, en);
            None
        }
    };
    let (mut heartbeat_s, mut timeout_s, mut max_count) = (None, None, None);
    let list = channel["extension"].as_array().map_or(&[][..], Vec::as_slice);
    for (at, extension) in list.iter().enumerate() {
        let url = extension["url"].as_str().unwrap_or_default();
        let (place, key) = match url.strip_prefix(GUIDE).and_then(|url| url.strip_prefix("/StructureDefinition/")) {
            Some("backport-heartbeat-period") => (&mut heartbeat_s, "valueUnsignedInt"),
            Some("backport-timeout") => (&mut timeout_s, "valueUnsignedInt"),
            Some("backport-max-count") => (&mut max_count, "valuePositiveInt"),
            _ => {
                let sv = "Tas inte emot; kända: backport-heartbeat-period, backport-timeout, backport-max-count.";
                let en = "Is not taken; known: backport-heartbeat-period, backport-timeout, backport-max-count.";
                found.wrong(&format!("channel.extension[{at}]"), sv, en);
                continue;
            }
        };
        match extension[key].as_u64().and_then(|n| u32::try_from(n).ok()) {
            Some(number) if place.is_none() => *place = Some(number),
            _ => {
                let (sv, en) = (format!("Ett heltal i {key}, en gång."), format!("A whole number in {key}, once."));
                found.wrong(&format!("channel.extension[{at}]"), sv, en);
            }
        }
    }
    let headers = headers(channel.get("header"), found);
    let endpoint = channel["endpoint"].as_str().unwrap_or_default().to_owned();
    if endpoint.is_empty() || endpoint.len() > LONGEST {
        found.wrong("channel.endpoint", "Ange adressen.", "Give the address.");
    }
    // 0 is the same as nothing.
    let heartbeat_s = heartbeat_s.filter(|s| *s > 0);
    Some(Channel {
        endpoint,
        headers,
        payload: payload?,
        heartbeat_s,
        timeout_s: timeout_s.filter(|s| *s > 0),
        max_count: max_count.filter(|n| *n > 0),
    })
}

fn headers(given: Option<&Value>, found: &mut Findings) -> Option<Vec<String>> {
    let given = given?;
    let list: Vec<&str> = given.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if given.as_array().is_none_or(|all| all.len() != list.len()) || list.len() > MOST_HEADERS {
        let (sv, en) =
            (format!("En lista av högst {MOST_HEADERS} rader."), format!("A list of at most {MOST_HEADERS} lines."));
        found.wrong("channel.header", sv, en);
        return None;
    }
    for (at, line) in list.iter().enumerate() {
        let sound = line.split_once(':').is_some_and(|(name, value)| {
            let is_token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            let is_plain = value.trim().bytes().all(|b| (0x20..0x7f).contains(&b));
            is_token && is_plain && !OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str())
        });
        if !sound || line.len() > LONGEST {
            let sv = "Namn: värde i ASCII; inte de rubriker som gatewayen skriver själv.";
            let en = "Name: value in ASCII; not the headers that the gateway writes itself.";
            found.wrong(&format!("channel.header[{at}]"), sv, en);
        }
    }
    Some(list.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Shown, write};
    use super::*;
    use crate::Conformance;

    fn asked(value: &Value) -> Result<Asked, Vec<String>> {
        let (conformance, _) = Conformance::load(&crate::profile_files(None).unwrap());
        let terminology = conformance.profiles.terminology();
        let now = chrono::DateTime::UNIX_EPOCH;
        let reader = Reader { terminology, base_url: "http://x", now, hops: 2, in_url: true };
        read(value, &conformance.topics, &reader).map_err(|found| found.into_iter().map(|i| i.expression).collect())
    }

    fn good() -> Value {
        json!({
            "resourceType": "Subscription", "status": "requested", "reason": "Nya remisser",
            "criteria": "https://vardkedja.example/fhir/SubscriptionTopic/task-changed",
            "_criteria": { "extension": [{ "url": definition("backport-filter-criteria"), "valueString": "Task?status=requested" }] },
            "channel": {
                "type": "rest-hook", "endpoint": "https://x.example/hook", "payload": FHIR_JSON, "header": ["Authorization: Bearer s"],
                "_payload": { "extension": [{ "url": definition("backport-payload-content"), "valueCode": "id-only" }] },
                "extension": [{ "url": definition("backport-heartbeat-period"), "valueUnsignedInt": 60 }],
            },
        })
    }

    #[test]
    fn what_is_written_is_read_as_the_same_and_has_no_secret() {
        let first = asked(&good()).unwrap();
        assert_eq!(first.filters, [("Task".to_owned(), "status".to_owned(), "requested".to_owned())]);
        let shown = Shown {
            id: "s",
            version: 2,
            updated_at: "2026-01-01T00:00:00Z",
            status: Status::Active,
            error: None,
            end: None,
            topic: &first.topic,
            filters: &first.filters,
            reason: &first.reason,
            contact: None,
            endpoint: &first.channel.endpoint,
            payload: first.channel.payload,
            heartbeat_s: first.channel.heartbeat_s,
            timeout_s: 10,
            max_count: 5,
        };
        let written = write(&shown);
        assert!(!written.to_string().contains("Bearer") && !written.to_string().contains("null"), "{written:#}");
        let again = asked(&written).unwrap();
        let channel = Channel { headers: None, timeout_s: Some(10), max_count: Some(5), ..first.channel.clone() };
        assert_eq!(again, Asked { channel, ..first });
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_with_its_place() {
        let mut bad = good();
        bad["criteria"] = json!("urn:nothing");
        bad["status"] = json!("paused");
        bad["reason"] = json!("195009072553");
        bad["colour"] = json!("red");
        bad["end"] = json!("2026-01-01");
        bad["channel"]["type"] = json!("email");
        bad["channel"]["payload"] = json!("application/fhir+xml");
        bad["channel"]["_payload"] = json!(null);
        bad["channel"]["header"] = json!(["Host: elsewhere", "x"]);
        bad["channel"]["extension"][0]["url"] = json!("urn:x");
        let mut places = asked(&bad).unwrap_err();
        places.sort();
        let expected = [
            "channel.extension[0]",
            "channel.header[0]",
            "channel.header[1]",
            "channel.payload",
            "channel.payload.extension",
            "channel.type",
            "colour",
            "criteria",
            "end",
            "reason",
            "status",
        ];
        assert_eq!(places, expected.map(|place| format!("Subscription.{place}")));
        for (filter, place) in [
            ("Task?encounter=Encounter/1", "criteria.extension[0]"),
            ("CarePlan?status=active", "criteria.extension[0]"),
            ("Task?patient=195009072553", "criteria.extension[0]"),
            ("Task?", "criteria.extension[0]"),
        ] {
            let mut bad = good();
            bad["_criteria"]["extension"][0]["valueString"] = json!(filter);
            assert_eq!(asked(&bad).unwrap_err(), [format!("Subscription.{place}")], "{filter}");
        }
    }
}
