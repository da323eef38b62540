//! Topics: what can be subscribed to, as files of `profiles/` in the form of R5's SubscriptionTopic. Whoever owns the profiles adds
//! one without a compiler; what is in it and cannot be kept is an error when it is loaded.

use serde_json::Value;

use super::super::guard::{self, Limits};
use super::super::issue::{Code, Issue, any_error};
use super::super::profile::Files;
use super::super::search::{Clause, Reader, param, types};

/// What starts an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    pub resource_type: String,
    pub on_create: bool,
    pub on_update: bool,
    /// Search criteria that the version has to satisfy: `name`, `value`.
    pub criteria: Vec<(String, String)>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub url: String,
    pub title: String,
    pub triggers: Vec<Trigger>,
    /// Type and search parameter that a client may narrow it by.
    pub filters: Vec<(String, String)>,
}

impl Topic {
    /// The types whose changes are its events, each once.
    pub fn types(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self.triggers.iter().map(|trigger| trigger.resource_type.as_str()).collect();
        all.dedup();
        all
    }

    pub fn may_filter(&self, resource_type: &str, name: &str) -> bool {
        self.filters.iter().any(|(of, filter)| of == resource_type && filter == name)
    }
}

/// Every topic, by url.
#[derive(Debug, Clone, Default)]
pub struct Topics(Vec<Topic>);

/// Who exists in care is open to everybody, and would be everybody's event; a person's resource is not shown to all alike, and is read.
const CLOSED: [&str; 8] = [
    "CodeSystem",
    "Location",
    "Measure",
    "Organization",
    "Patient",
    "Practitioner",
    "PractitionerRole",
    "RelatedPerson",
];

impl Topics {
    /// Those of a package; every finding names its file. A topic with an error is left out.
    pub fn load(files: &Files, reader: &Reader<'_>) -> (Self, Vec<Issue>) {
        let (mut topics, mut issues) = (Self::default(), Vec::new());
        let named = |name: &str| name.starts_with("SubscriptionTopic-") && name.ends_with(".json");
        for (file, text) in files.iter().filter(|(name, _)| named(name)) {
            let mut found = Vec::new();
            match guard::read(text.as_bytes(), &Limits::RESOURCE) {
                (Some(value), more) => {
                    found.extend(more);
                    let topic = topic(&value, reader, &mut found);
                    if topics.find(&topic.url).is_some() {
                        found.push(wrong("url", "två filer har samma url", "two files have the same url"));
                    }
                    if !any_error(&found) {
                        topics.0.push(topic);
                    }
                }
                (None, more) => found.extend(more),
            }
            issues.extend(found.into_iter().map(|issue| issue.from(file.as_str())));
        }
        (topics, issues)
    }

    /// The topic of that canonical url; a version behind it is not looked at.
    pub fn find(&self, url: &str) -> Option<&Topic> {
        let url = url.split('|').next().unwrap_or(url);
        self.0.iter().find(|topic| topic.url == url)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.0.iter()
    }
}

fn wrong(at: &str, sv: impl Into<String>, en: impl Into<String>) -> Issue {
    Issue::error(Code::Value, format!("SubscriptionTopic.{at}"), sv, en)
}

const KNOWN: [&str; 15] = [
    "resourceType",
    "id",
    "meta",
    "url",
    "version",
    "name",
    "title",
    "status",
    "experimental",
    "date",
    "publisher",
    "description",
    "resourceTrigger",
    "canFilterBy",
    "notificationShape",
];

fn topic(value: &Value, reader: &Reader<'_>, issues: &mut Vec<Issue>) -> Topic {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    if value["resourceType"] != "SubscriptionTopic" {
        issues.push(wrong("resourceType", "filen är ingen SubscriptionTopic", "the file is no SubscriptionTopic"));
    }
    for name in value.as_object().into_iter().flatten().map(|(name, _)| name) {
        if !KNOWN.contains(&name.as_str()) {
            let known = KNOWN.join(", ");
            issues.push(wrong(name, format!("läses inte; kända: {known}"), format!("is not read; known: {known}")));
        }
    }
    if text("url").is_empty() {
        issues.push(wrong("url", "saknas", "is missing"));
    }
    let list = |name: &str| value[name].as_array().cloned().unwrap_or_default();
    let triggers: Vec<Trigger> = list("resourceTrigger")
        .iter()
        .enumerate()
        .filter_map(|(at, trigger)| read_trigger(trigger, &format!("resourceTrigger[{at}]"), reader, issues))
        .collect();
    if triggers.is_empty() {
        issues.push(wrong("resourceTrigger", "ingen händelse är angiven", "names nothing that happens"));
    }
    let mut filters = Vec::new();
    for (at, filter) in list("canFilterBy").iter().enumerate() {
        let at = format!("canFilterBy[{at}]");
        let (kind, name) = (short(&filter["resource"]), filter["filterParameter"].as_str().unwrap_or_default());
        if !triggers.iter().any(|trigger| trigger.resource_type == kind) {
            let at = format!("{at}.resource");
            issues.push(wrong(&at, "ingen händelse gäller typen", "is of no resourceTrigger"));
        } else if param(kind, name).is_none_or(|param| param.is_personal) {
            let (sv, en) = (format!("{kind} söks inte så"), format!("{kind} is not searched by that"));
            issues.push(wrong(&format!("{at}.filterParameter"), sv, en));
        } else {
            filters.push((kind.to_owned(), name.to_owned()));
        }
    }
    Topic { url: text("url"), title: text("title"), triggers, filters }
}

/// `Task` of `http://hl7.org/fhir/StructureDefinition/Task`.
fn short(value: &Value) -> &str {
    let text = value.as_str().unwrap_or_default();
    text.strip_prefix("http://hl7.org/fhir/StructureDefinition/").unwrap_or(text)
}

fn read_trigger(trigger: &Value, at: &str, reader: &Reader<'_>, issues: &mut Vec<Issue>) -> Option<Trigger> {
    let before = issues.len();
    let kind = short(&trigger["resource"]);
    if !types().contains(&kind) || CLOSED.contains(&kind) {
        let (sv, en) = (
            "typen finns inte här, eller är inget man prenumererar på",
            "the type is not served, or not subscribed to",
        );
        issues.push(wrong(&format!("{at}.resource"), sv, en));
        return None;
    }
    let (mut on_create, mut on_update) = (false, false);
    for interaction in trigger["supportedInteraction"].as_array().into_iter().flatten() {
        match interaction.as_str() {
            Some("create") => on_create = true,
            Some("update") => on_update = true,
            // Nothing is deleted here but by the rules of keeping, and of that nobody is told.
            _ => {
                let (sv, en) = ("create eller update", "is create or update");
                issues.push(wrong(&format!("{at}.supportedInteraction"), sv, en));
            }
        }
    }
    if !on_create && !on_update {
        issues.push(wrong(&format!("{at}.supportedInteraction"), "saknas", "is missing"));
    }
    for (name, _) in trigger["queryCriteria"].as_object().into_iter().flatten() {
        if name != "current" {
            let (sv, en) = ("bara current läses", "only current is read");
            issues.push(wrong(&format!("{at}.queryCriteria.{name}"), sv, en));
        }
    }
    if trigger.get("fhirPathCriteria").is_some() {
        issues.push(wrong(&format!("{at}.fhirPathCriteria"), "läses inte", "is not read"));
    }
    let text = trigger["queryCriteria"]["current"].as_str().unwrap_or_default();
    let criteria: Vec<(String, String)> = form_urlencoded::parse(text.as_bytes()).into_owned().collect();
    for (name, value) in &criteria {
        let is_simple = matches!(reader.clause(kind, name, value), Ok(clause) if is_own(&clause));
        if !is_simple {
            let (sv, en) = (format!("{name} söks inte så"), format!("{name} cannot be asked of a {kind} alone"));
            issues.push(wrong(&format!("{at}.queryCriteria.current"), sv, en));
        }
    }
    let sound = issues.len() == before;
    sound.then(|| Trigger { resource_type: kind.to_owned(), on_create, on_update, criteria })
}

/// Whether the resource alone says whether it holds.
pub(super) fn is_own(clause: &Clause) -> bool {
    match clause {
        Clause::Chain { .. } | Clause::Has { .. } => false,
        Clause::Not(inner) => is_own(inner),
        Clause::Any(all) => all.iter().all(is_own),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Conformance;

    fn load(text: &str) -> (Topics, Vec<Issue>) {
        let (conformance, _) = Conformance::load(&crate::profile_files(None).unwrap());
        let terminology = conformance.profiles.terminology();
        let now = chrono::DateTime::UNIX_EPOCH;
        let reader = Reader { terminology, base_url: "http://x", now, hops: 2, in_url: true };
        Topics::load(&Files::from([("SubscriptionTopic-t.json".to_owned(), text.to_owned())]), &reader)
    }

    const GOOD: &str = r#"{ "resourceType": "SubscriptionTopic", "url": "urn:t", "resourceTrigger": [{ "resource":
        "http://hl7.org/fhir/StructureDefinition/Task", "supportedInteraction": ["create"],
        "queryCriteria": { "current": "status=requested" } }],
        "canFilterBy": [{ "resource": "Task", "filterParameter": "owner" }] }"#;

    #[test]
    fn a_topic_is_read_and_whatever_could_not_be_kept_is_told_with_its_place() {
        let (topics, issues) = load(GOOD);
        assert!(issues.is_empty(), "{issues:?}");
        let topic = topics.find("urn:t|1.0").unwrap();
        assert!(topic.may_filter("Task", "owner") && !topic.may_filter("Task", "status"));
        for (was, is, at) in [
            ("\"create\"", "\"delete\"", "resourceTrigger[0].supportedInteraction"),
            ("Definition/Task", "Definition/Organization", "resourceTrigger[0].resource"),
            ("Definition/Task", "Definition/Device", "resourceTrigger[0].resource"),
            ("\"current\"", "\"previous\"", "resourceTrigger[0].queryCriteria.previous"),
            ("status=requested", "colour=red", "resourceTrigger[0].queryCriteria.current"),
            ("status=requested", "patient.gender=male", "resourceTrigger[0].queryCriteria.current"),
            ("\"owner\"", "\"colour\"", "canFilterBy[0].filterParameter"),
            ("\"resource\": \"Task\"", "\"resource\": \"CarePlan\"", "canFilterBy[0].resource"),
            ("\"urn:t\"", "\"\"", "url"),
            ("\"url\"", "\"eventTrigger\": [{ \"description\": \"x\" }], \"url\"", "eventTrigger"),
        ] {
            let (topics, issues) = load(&GOOD.replacen(was, is, 1));
            assert_eq!(topics.iter().count(), 0, "{is}");
            let places: Vec<&str> = issues.iter().map(|issue| issue.expression.as_str()).collect();
            assert!(places.contains(&format!("SubscriptionTopic.{at}").as_str()), "{is}: {places:?}");
            assert!(issues.iter().all(|issue| issue.origin.as_deref() == Some("SubscriptionTopic-t.json")));
        }
    }
}
