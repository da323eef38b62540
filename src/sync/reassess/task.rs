//! The Task that asks a unit for a new assessment, because an intervention in specialist care has ended. It cites the rules that
//! ask for it, in the guideline's own words and version.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::identify;
use super::super::planned::{Intervention, list};
use super::super::weigh::{instant, touch};
use super::ended::{Assessed, Ended};
use crate::Gateway;
use crate::fhir::canonical::{BASE, HSA_ID};
use crate::rules::{Following, RuleSet};

/// The code of such Tasks in our CodeSystem `worklist`.
pub const REASSESSMENT: &str = "reassessment";
/// The names of what stands in `Task.input`.
const INTERVENTION: &str = "intervention";
const INCLUDES: &str = "includes";
const BEFORE: &str = "assessed-before";

/// One for each intervention of a plan, however often it is looked at.
pub fn task_id(exchange: Uuid, intervention: &str) -> String {
    identify::id(&[REASSESSMENT, &exchange.to_string(), intervention])
}

/// What is asked for, and why.
pub struct Asking<'a> {
    pub exchange: Uuid,
    pub patient: &'a str,
    /// `CarePlan/id`
    pub plan: &'a str,
    pub intervention: &'a Intervention,
    pub ended: Ended,
    pub set: &'a RuleSet,
    pub rules: &'a [Following<'a>],
    pub owner: &'a str,
    /// The day of the assessment that is known.
    pub before: Option<NaiveDate>,
}

impl Asking<'_> {
    /// As it is to stand; `stored` as it stands, where it stood before and was not to be done after all.
    pub fn task(&self, gateway: &Gateway, stored: Option<&Value>, now: DateTime<Utc>) -> Value {
        let (one, ended) = (self.intervention, self.ended);
        let (sv, en) = self.text(gateway);
        let mut input = vec![json!({ "type": { "text": INTERVENTION }, "valueString": one.id })];
        input.extend(
            one.area
                .as_ref()
                .map(|area| json!({ "type": { "text": "area" }, "valueCodeableConcept": concept(area, None) })),
        );
        for following in self.rules {
            for area in &following.rule.includes {
                let concept = concept(area, Some(&following.cited()));
                input.push(json!({ "type": { "text": INCLUDES }, "valueCodeableConcept": concept }));
            }
        }
        input.extend(
            self.rules.iter().map(|following| json!({ "type": { "text": "rule" }, "valueString": following.cited() })),
        );
        input.extend(self.before.map(|day| json!({ "type": { "text": BEFORE }, "valueDate": day.to_string() })));
        let coding = |system: &str, code: &str| json!({ "coding": [{ "system": format!("{BASE}/CodeSystem/{system}"), "code": code }] });
        let mut task = json!({
            "resourceType": "Task",
            "id": task_id(self.exchange, &one.id),
            "meta": { "profile": [format!("{BASE}/StructureDefinition/reassessment-task")] },
            // How the exchange of the plan is found: GET /v1/exchanges/{id}.
            "identifier": [{ "system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{}", self.exchange) }],
            "instantiatesCanonical": self.set.canonical(),
            "status": "requested",
            "intent": "order",
            "code": coding("worklist", REASSESSMENT),
            "description": format!("{sv} | {en}"),
            "focus": { "reference": self.plan },
            "for": { "reference": format!("Patient/{}", self.patient) },
            "authoredOn": stored.map_or_else(|| json!(instant(now)), |task| task["authoredOn"].clone()),
            "requester": { "type": "Organization", "identifier": { "system": HSA_ID, "value": gateway.config.hsa_id } },
            "owner": { "type": "Organization", "identifier": { "system": HSA_ID, "value": self.owner } },
            "reasonCode": coding("intervention-end", ended.how.code()),
            "restriction": ended.on.map(|on| json!({ "period": { "start": on.to_string() } })),
            "input": input,
        });
        if let Some(object) = task.as_object_mut() {
            object.retain(|_, value| !value.is_null());
            touch(object, now);
        }
        task
    }

    /// What has ended, and what is asked, in Swedish and in English. Nothing that anybody wrote is repeated.
    pub fn text(&self, gateway: &Gateway) -> (String, String) {
        let one = self.intervention;
        let words = |system: &str, code: &Option<String>| {
            let code = code.as_deref()?;
            let words = gateway.conformance.profiles.terminology().words(&format!("{BASE}/CodeSystem/{system}"), code);
            Some(words.map_or((code.to_owned(), code.to_owned()), |words| (words.sv.clone(), words.en.clone())))
        };
        let what: Vec<(String, String)> =
            [words("intervention-form", &one.form), words("rehab-area", &one.area)].into_iter().flatten().collect();
        let join = |pick: fn(&(String, String)) -> &str| {
            let all: Vec<&str> = what.iter().map(pick).collect();
            if all.is_empty() { String::new() } else { format!(" ({})", all.join(", ")) }
        };
        let day = self.ended.on.map(|on| format!(" {on}")).unwrap_or_default();
        let mut areas: Vec<(String, String)> = Vec::new();
        for area in self.rules.iter().flat_map(|following| &following.rule.includes) {
            areas.extend(words("rehab-area", &Some(area.clone())).filter(|word| !areas.contains(word)));
        }
        let within = |lead: &str, pick: fn(&(String, String)) -> &str| {
            let all: Vec<String> = areas.iter().map(|area| pick(area).to_lowercase()).collect();
            if all.is_empty() { String::new() } else { format!("{lead} {}", all.join(", ")) }
        };
        (
            format!(
                "En insats i specialistvården{} är avslutad{day}: gör en ny bedömning av behoven{}, och sänd en plan med den.",
                join(first),
                within(", även av", first)
            ),
            format!(
                "An intervention in specialist care{} has ended{day}: assess the needs anew{}, and send a plan with that.",
                join(second),
                within(", also", second)
            ),
        )
    }
}

/// In Swedish, and in English.
fn first(words: &(String, String)) -> &str {
    &words.0
}

fn second(words: &(String, String)) -> &str {
    &words.1
}

fn concept(area: &str, text: Option<&str>) -> Value {
    let mut concept = json!({ "coding": [{ "system": format!("{BASE}/CodeSystem/rehab-area"), "code": area }] });
    if let Some(text) = text {
        concept["text"] = json!(text);
    }
    concept
}

/// Whether it waits for somebody.
pub fn is_open(task: &Value) -> bool {
    task["status"] == "requested"
}

/// The unit that it asks.
pub fn owner(task: &Value) -> &str {
    task["owner"]["identifier"]["value"].as_str().unwrap_or_default()
}

/// The intervention that it is about.
pub fn intervention(task: &Value) -> Option<&str> {
    inputs(task, INTERVENTION).find_map(|input| input["valueString"].as_str())
}

fn inputs<'t>(task: &'t Value, name: &'t str) -> impl Iterator<Item = &'t Value> {
    list(&task["input"]).iter().filter(move |input| input["type"]["text"] == name)
}

/// Whether an assessment is the one that it asks for: of the day that the intervention ended or later; where nobody has said which
/// day that was, later than the one that was known.
pub fn is_met(task: &Value, assessed: &Assessed) -> bool {
    let day = |value: &Value| value.as_str().and_then(|text| text.parse::<NaiveDate>().ok());
    if let Some(ended) = day(&task["restriction"]["period"]["start"]) {
        return assessed.on >= ended;
    }
    let before = inputs(task, BEFORE).find_map(|input| day(&input["valueDate"]));
    before.is_none_or(|before| assessed.on > before)
}

/// The rules whose area the assessment says nothing of, as they are cited.
pub fn left_out<'t>(task: &'t Value, assessed: &Assessed) -> Vec<&'t str> {
    let is_missing = |input: &&Value| {
        let code = input["valueCodeableConcept"]["coding"][0]["code"].as_str();
        code.is_some_and(|code| !assessed.areas.iter().any(|area| area == code))
    };
    inputs(task, INCLUDES)
        .filter(is_missing)
        .filter_map(|input| input["valueCodeableConcept"]["text"].as_str())
        .collect()
}

/// It is done: by which assessment, and which areas that did not say anything of.
pub fn completed(task: &Value, assessed: &Assessed, now: DateTime<Utc>) -> Value {
    let mut done = task.clone();
    let mut output =
        vec![json!({ "type": { "text": "assessment" }, "valueReference": { "reference": assessed.name } })];
    for cited in left_out(task, assessed) {
        output.push(json!({ "type": { "text": "left-out" }, "valueString": cited }));
    }
    if let Some(object) = done.as_object_mut() {
        object.insert("status".into(), json!("completed"));
        object.insert("output".into(), json!(output));
        touch(object, now);
    }
    done
}

/// Nothing has ended after all.
pub fn cancelled(task: &Value, now: DateTime<Utc>) -> Value {
    let mut over = task.clone();
    if let Some(object) = over.as_object_mut() {
        object.insert("status".into(), json!("cancelled"));
        touch(object, now);
    }
    over
}
