//! A plan as its readers think of it: interventions, goals, needs, follow-ups and the team, each with its values.
//!
//! Read from resources, so that it shows no more than a caller gets to read; what a plan refers to and is not among them is not
//! in it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::canonical::{BASE, HSA_ID};
use super::super::resource::{has_coding, reference_of, type_of};
use crate::domain::{icd10, kva};

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The plan itself, with the treatment and the assessment that it rests on.
    Plan,
    Intervention,
    Goal,
    Need,
    FollowUp,
    Team,
}

impl Part {
    pub fn code(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Intervention => "intervention",
            Self::Goal => "goal",
            Self::Need => "need",
            Self::FollowUp => "follow-up",
            Self::Team => "team",
        }
    }
}

/// Values by name, each list sorted; what has none is left out.
pub type Fields = BTreeMap<String, Vec<String>>;

/// A plan, item by item.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    pub items: BTreeMap<(Part, String), Fields>,
}

/// What is read of an item before it has its key.
#[derive(Default)]
struct Item(Fields);

impl Item {
    fn put(mut self, name: &str, value: impl Into<Option<String>>) -> Self {
        if let Some(value) = value.into().filter(|value| !value.is_empty()) {
            self.0.entry(name.to_owned()).or_default().push(value);
        }
        self
    }

    fn put_all(mut self, name: &str, values: impl Iterator<Item = String>) -> Self {
        let mut values: Vec<String> = values.filter(|value| !value.is_empty()).collect();
        values.sort_unstable();
        values.dedup();
        if !values.is_empty() {
            self.0.insert(name.to_owned(), values);
        }
        self
    }
}

/// Reads a plan, with those of the resources that it refers to.
pub fn outline(plan: &Value, resources: &[Value]) -> Outline {
    let named: BTreeMap<String, &Value> = resources.iter().filter_map(|r| Some((reference_of(r)?, r))).collect();
    let at = |reference: &Value| reference["reference"].as_str().and_then(|name| named.get(name)).copied();
    let mut items = Vec::new();
    let support: Vec<&Value> = list(&plan["supportingInfo"]).iter().filter_map(at).collect();
    items.push((Part::Plan, String::new(), plan_itself(plan, &support, &at)));
    for detail in list(&plan["activity"]).iter().map(|activity| &activity["detail"]).filter(|d| d.is_object()) {
        items.push(activity(detail, &at));
    }
    for goal in list(&plan["goal"]).iter().filter_map(at) {
        items.push((Part::Goal, goal_id(goal), goal_item(goal)));
    }
    for assessment in support.iter().filter(|o| is_kind(o, "needs-assessment")) {
        for component in list(&assessment["component"]) {
            let area = code(&component["code"], "rehab-area");
            let level = &component["valueCodeableConcept"];
            let item = Item::default().put("area", area.clone()).put("need", code(level, "need-level"));
            items.push((Part::Need, area.unwrap_or_default(), item.put("text", text(&level["text"]))));
        }
    }
    for team in list(&plan["careTeam"]).iter().filter_map(at) {
        for participant in list(&team["participant"]) {
            items.extend(member(participant, &at));
        }
    }
    keyed(items)
}

/// Gives each item a key of its own: of those that would share one, the order of what they say decides.
fn keyed(items: Vec<(Part, String, Item)>) -> Outline {
    let mut groups: BTreeMap<(Part, String), Vec<Fields>> = BTreeMap::new();
    for (part, key, Item(fields)) in items {
        groups.entry((part, key)).or_default().push(fields);
    }
    let mut outline = Outline::default();
    for ((part, key), mut same) in groups {
        same.sort();
        for (index, fields) in same.into_iter().enumerate() {
            let mut own = if index == 0 { key.clone() } else { format!("{key}#{}", index + 1) };
            while outline.items.contains_key(&(part, own.clone())) {
                own.push('#');
            }
            outline.items.insert((part, own), fields);
        }
    }
    outline
}

fn plan_itself<'a>(plan: &'a Value, support: &[&'a Value], at: &impl Fn(&Value) -> Option<&'a Value>) -> Item {
    let diagnoses = list(&plan["addresses"]).iter().filter_map(at);
    let mut item = Item::default()
        .put("status", text(&plan["status"]))
        .put("title", text(&plan["title"]))
        .put_all(
            "category",
            list(&plan["category"]).iter().flat_map(|c| list(&c["coding"])).filter_map(|c| text(&c["code"])),
        )
        .put_all(
            "diagnoses",
            diagnoses.filter_map(|c| coded(&c["code"], icd10::SYSTEM).or_else(|| first_code(&c["code"]))),
        );
    for observation in support {
        if is_kind(observation, "treatment-intent") {
            let component = |name: &str| {
                list(&observation["component"])
                    .iter()
                    .find(|c| list(&c["code"]["coding"]).iter().any(|coding| coding["code"] == name))
            };
            let phase = component("treatment-phase").or_else(|| component("phase"));
            item = item
                .put("treatment-intent", first_code(&observation["valueCodeableConcept"]))
                .put("treatment-phase", phase.and_then(|c| first_code(&c["valueCodeableConcept"])))
                .put("treatment-end", component("treatment-end").and_then(|c| text(&c["valueDateTime"])));
        } else if is_kind(observation, "needs-assessment") {
            item = item
                .put("assessment-date", text(&observation["effectiveDateTime"]))
                .put("assessment-instrument", code(&observation["method"], "instrument"))
                .put("assessment-summary", text(&observation["note"][0]["text"]));
        } else if is_kind(observation, "frailty") {
            item = item
                .put("cfs", observation["valueInteger"].as_i64().map(|grade| grade.to_string()))
                .put("cfs-date", text(&observation["effectiveDateTime"]))
                .put_all("cfs-by", list(&observation["performer"]).iter().filter_map(hsa));
        }
    }
    item
}

fn activity<'a>(detail: &'a Value, at: &impl Fn(&Value) -> Option<&'a Value>) -> (Part, String, Item) {
    let performers = list(&detail["performer"]).iter().filter_map(|p| party(p, at));
    let item = Item::default().put("text", text(&detail["description"])).put_all("responsible", performers);
    let id = extension(detail, "intervention-id", "valueString");
    if id.is_none() && detail["kind"] == "Appointment" {
        let date = text(&detail["scheduledPeriod"]["start"]);
        let item = item.put("date", date.clone()).put("status", text(&detail["status"]));
        return (Part::FollowUp, date.unwrap_or_default(), item);
    }
    let repeat = &detail["scheduledTiming"]["repeat"];
    let bounds = if repeat["boundsPeriod"].is_object() { &repeat["boundsPeriod"] } else { &detail["scheduledPeriod"] };
    let goals = list(&detail["goal"]).iter().filter_map(at).map(goal_id);
    let item = item
        .put("area", list(&detail["reasonCode"]).iter().find_map(|reason| code(reason, "rehab-area")))
        .put("form", code(&detail["code"], "intervention-form"))
        .put("kva", coded(&detail["code"], kva::SYSTEM))
        .put("level", extension(detail, "responsible-level", "valueCode"))
        .put("start", text(&bounds["start"]))
        .put("end", text(&bounds["end"]))
        .put("frequency", frequency(repeat))
        .put("status", text(&detail["status"]))
        .put_all("goals", goals);
    let key = id.or_else(|| item.0.get("text").and_then(|texts| texts.first().cloned())).unwrap_or_default();
    (Part::Intervention, key, item)
}

/// `2/1wk`: two times in a week.
fn frequency(repeat: &Value) -> Option<String> {
    let times = repeat["frequency"].as_u64();
    let every = repeat["period"].is_number().then(|| repeat["period"].to_string());
    let unit = repeat["periodUnit"].as_str();
    if times.is_none() && every.is_none() && unit.is_none() {
        return None;
    }
    let times = times.map_or_else(String::new, |times| times.to_string());
    Some(format!("{times}/{}{}", every.unwrap_or_default(), unit.unwrap_or_default()))
}

fn goal_item(goal: &Value) -> Item {
    Item::default()
        .put("area", list(&goal["category"]).iter().find_map(|c| code(c, "rehab-area")))
        .put("text", text(&goal["description"]["text"]))
        .put("status", text(&goal["lifecycleStatus"]))
        .put("start", text(&goal["startDate"]))
        .put("due", text(&goal["target"][0]["dueDate"]))
}

/// As its document calls it.
fn goal_id(goal: &Value) -> String {
    let whole = list(&goal["identifier"]).iter().find_map(|i| i["value"].as_str());
    let own = whole.map(|whole| whole.rsplit_once('|').map_or(whole, |(_, own)| own));
    own.or_else(|| goal["id"].as_str()).unwrap_or_default().to_owned()
}

fn member<'a>(participant: &'a Value, at: &impl Fn(&Value) -> Option<&'a Value>) -> Option<(Part, String, Item)> {
    let said = &participant["member"];
    if said["reference"].is_string() {
        // Of somebody whom the caller does not get to read nothing is told.
        let role = at(said)?;
        let who = &role["practitioner"];
        let unit = hsa(&role["organization"]);
        let name = text(&who["display"]);
        let key = hsa(who).or_else(|| Some(format!("{}@{}", name.as_deref()?, unit.as_deref().unwrap_or_default())));
        let codes = list(&role["code"]);
        let item = Item::default()
            .put("name", name)
            .put("unit", unit)
            .put("profession", codes.iter().find_map(|c| code(c, "profession")))
            .put("role", codes.iter().find_map(|c| text(&c["text"])));
        return Some((Part::Team, key.unwrap_or_default(), item));
    }
    let unit = hsa(said)?;
    Some((Part::Team, unit.clone(), Item::default().put("unit", unit)))
}

/// Who answers: a unit by its HSA-id, or who the reference names.
fn party<'a>(reference: &'a Value, at: &impl Fn(&Value) -> Option<&'a Value>) -> Option<String> {
    let who = hsa(reference).or_else(|| {
        let found = at(reference)?;
        match type_of(found) {
            "PractitionerRole" => hsa(&found["organization"]),
            _ => list(&found["identifier"]).iter().find(|i| i["system"] == HSA_ID).and_then(|i| text(&i["value"])),
        }
    });
    who.or_else(|| text(&reference["display"]))
}

fn hsa(reference: &Value) -> Option<String> {
    let identifier = &reference["identifier"];
    if identifier["system"] == HSA_ID { text(&identifier["value"]).map(|id| id.to_ascii_uppercase()) } else { None }
}

fn is_kind(observation: &Value, kind: &str) -> bool {
    has_coding(&observation["code"], &format!("{BASE}/CodeSystem/observation-kind"), kind)
}

/// The code of a system of ours.
fn code(concept: &Value, system: &str) -> Option<String> {
    coded(concept, &format!("{BASE}/CodeSystem/{system}"))
}

fn coded(concept: &Value, system: &str) -> Option<String> {
    list(&concept["coding"]).iter().find(|c| c["system"] == system).and_then(|c| text(&c["code"]))
}

fn first_code(concept: &Value) -> Option<String> {
    text(&concept["coding"][0]["code"])
}

fn extension(element: &Value, name: &str, value: &str) -> Option<String> {
    let url = format!("{BASE}/StructureDefinition/{name}");
    list(&element["extension"]).iter().find(|e| e["url"] == *url).and_then(|e| text(&e[value]))
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
