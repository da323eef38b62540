//! What a document and its answers say of who is responsible, read from their resources.

use serde_json::{Value, json};

use super::super::identify;
use crate::domain::Kind;
use crate::domain::charge::{Answer, Errand, Part, Said, answer};
use crate::domain::task::Status;
use crate::fhir::canonical::{BASE, HSA_ID};
use crate::fhir::resource::{has_coding, reference_of, type_of};
use crate::store::Exchange;

/// What the document and its answers say.
pub(super) fn read(exchange: &Exchange, resources: &[Value], speaks: impl Fn(&Value) -> bool) -> Said {
    let of = |kind: &'static str| resources.iter().filter(move |r| type_of(r) == kind);
    let sender = exchange.sender().map(|s| s.unit.to_ascii_uppercase()).unwrap_or_default();
    let mut said = Said { retracted: exchange.entered_in_error, sender: sender.clone(), ..Said::default() };
    let plan = of("CarePlan").find(|plan| exchange.resources.iter().any(|n| reference_of(plan).as_ref() == Some(n)));
    let is_sip = exchange.kind == Kind::Handover && plan.is_some();
    let asked = match exchange.kind {
        Kind::Referral => {
            let request = of("ServiceRequest").next();
            let takes = request.is_some_and(|r| has_category(r, "care-responsibility", "takeover"));
            let remains = request.is_some_and(|r| has_category(r, "care-responsibility", "consultation"));
            let areas = request.map(|r| areas(&r["category"])).unwrap_or_default();
            if takes || remains {
                said.states.clone_from(&areas);
            }
            Some((if takes { Errand::Takeover } else { Errand::Consultation }, areas))
        }
        Kind::Handover if !is_sip => {
            let areas = of("Composition").next().map(|r| areas(&r["category"])).unwrap_or_default();
            said.states.clone_from(&areas);
            Some((Errand::ActiveHandover, areas))
        }
        Kind::RehabPlan => {
            said.states_lapse = true;
            let own = plan.map(|plan| planned(exchange, plan)).unwrap_or_default();
            said.states = own.into_iter().filter(|(_, unit)| *unit == sender).map(|(area, _)| area).collect();
            said.states.dedup();
            None
        }
        Kind::Handover | Kind::Activity => None,
    };
    let planned = plan.filter(|_| is_sip).map(|plan| planned(exchange, plan)).unwrap_or_default();
    if exchange.kind != Kind::RehabPlan {
        said.givers.push(sender.clone());
    }
    for party in &exchange.parties {
        let unit = party.unit.to_ascii_uppercase();
        let Some(task) = of("Task").find(|t| party.task.is_some() && t["id"].as_str() == party.task.as_deref()) else {
            continue;
        };
        // Who makes the plan has agreed to its own part in it.
        let speaks = speaks(task) || (is_sip && unit == sender);
        let mut add = |errand, area: &str| {
            let answer = answer_in(errand, task, resources, area);
            said.parts.push(Part { area: area.to_owned(), unit: unit.clone(), answer, speaks });
        };
        if let Some((errand, areas)) = &asked {
            areas.iter().for_each(|area| add(*errand, area));
        }
        let mut own: Vec<&String> = planned.iter().filter(|(_, by)| *by == unit).map(|(area, _)| area).collect();
        own.dedup();
        own.into_iter().for_each(|area| add(Errand::Sip, area));
        let agrees = is_sip && answer_in(Errand::Sip, task, resources, "") == Answer::Yes;
        if agrees && !said.givers.contains(&unit) {
            said.givers.push(unit);
        }
    }
    said
}

/// Whether a referral may have handed over what it does not name: it neither says that the responsibility remains, nor which areas
/// it is about. RIV-TA has no field for either (careResponsibilityRemains came with 2.2, areas are ours).
pub(super) fn leaves_open(request: &Value) -> bool {
    !has_category(request, "care-responsibility", "consultation") && areas(&request["category"]).is_empty()
}

/// Areas and responsible units of a plan's interventions, as far as these are to be or were done.
fn planned(exchange: &Exchange, plan: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for activity in list(&plan["activity"]) {
        let detail = &activity["detail"];
        let is_off = matches!(detail["status"].as_str(), Some("cancelled" | "stopped" | "entered-in-error"));
        if detail["kind"] != "ServiceRequest" || is_off {
            continue;
        }
        let unit = list(&detail["performer"]).first().and_then(|performer| unit_of(exchange, performer));
        let (Some(unit), areas) = (unit, areas(&detail["reasonCode"])) else { continue };
        found.extend(areas.into_iter().map(|area| (area, unit.clone())));
    }
    found.sort();
    found.dedup();
    found
}

/// The unit of a reference to an Organization: by its HSA-id, or as one of the exchange's parties.
fn unit_of(exchange: &Exchange, reference: &Value) -> Option<String> {
    unit_by(reference, exchange.units().iter().map(String::as_str))
}

/// The unit of a reference to an Organization, by its HSA-id or as one of these.
pub(super) fn unit_by<'u>(reference: &Value, mut units: impl Iterator<Item = &'u str>) -> Option<String> {
    if reference["identifier"]["system"] == HSA_ID {
        return reference["identifier"]["value"].as_str().map(str::to_ascii_uppercase);
    }
    let target = reference["reference"].as_str()?;
    units.find(|unit| organization(&unit.to_ascii_uppercase()) == target).map(str::to_ascii_uppercase)
}

pub(super) fn organization(unit: &str) -> String {
    format!("Organization/{}", identify::id(&["Organization", unit]))
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn id_in(resource: &Value) -> &str {
    resource["id"].as_str().unwrap_or_default()
}

/// Codes of our areas in a list of concepts.
fn areas(concepts: &Value) -> Vec<String> {
    let system = format!("{BASE}/CodeSystem/rehab-area");
    let mut found: Vec<String> = Vec::new();
    for coding in list(concepts).iter().flat_map(|concept| list(&concept["coding"])) {
        if coding["system"] == *system
            && let Some(code) = coding["code"].as_str()
            && !found.iter().any(|f| f == code)
        {
            found.push(code.to_owned());
        }
    }
    found
}

pub(super) fn has_category(resource: &Value, system: &str, code: &str) -> bool {
    let system = format!("{BASE}/CodeSystem/{system}");
    list(&resource["category"]).iter().any(|concept| has_coding(concept, &system, code))
}

/// Tasks that are parts of this one: an area each.
pub(super) fn parts_of<'r>(resources: &'r [Value], task: &Value) -> impl Iterator<Item = &'r Value> {
    let name = format!("Task/{}", id_in(task));
    resources.iter().filter(move |r| {
        type_of(r) == "Task" && list(&r["partOf"]).iter().any(|of| of["reference"].as_str() == Some(&name))
    })
}

/// What a Task says of an area: where it was answered area by area, the part that is about this one.
fn answer_in(errand: Errand, task: &Value, resources: &[Value], area: &str) -> Answer {
    let whole = answer_of(errand, task);
    let parts: Vec<&Value> = parts_of(resources, task).collect();
    if parts.is_empty() || whole == Answer::No || area.is_empty() {
        return whole;
    }
    let about = |part: &&&Value| areas(&json!([part["reasonCode"]])).iter().any(|a| a == area);
    // An area that nobody has answered is not answered by the others.
    parts.iter().find(about).map_or(Answer::Open, |part| match answer_of(errand, part) {
        // A part ends in its own way; contact with the patient is told in the whole.
        Answer::Open if errand == Errand::ActiveHandover && whole == Answer::Yes => Answer::Yes,
        answer => answer,
    })
}

fn answer_of(errand: Errand, task: &Value) -> Answer {
    let system = format!("{BASE}/CodeSystem/business-status");
    // Whoever sent it on has it not, however its Task ended.
    if has_coding(&task["businessStatus"], &system, "redirected") {
        return Answer::No;
    }
    let in_contact = list(&task["output"]).iter().any(|o| o["type"]["text"] == "patient-contact");
    let status = task["status"].as_str().and_then(Status::parse);
    status.map_or(Answer::Open, |status| answer(errand, status, in_contact))
}

#[cfg(test)]
mod tests {
    use super::super::tests::exchange;
    use super::*;

    fn area(code: &str) -> Value {
        json!({ "coding": [{ "system": format!("{BASE}/CodeSystem/rehab-area"), "code": code }] })
    }

    fn request(responsibility: &str) -> Value {
        json!({
            "resourceType": "ServiceRequest", "id": "r",
            "category": [
                { "coding": [{ "system": format!("{BASE}/CodeSystem/care-responsibility"), "code": responsibility }] },
                area("fatigue"), area("tobacco"), area("nutrition"),
            ],
        })
    }

    fn task(status: &str, business: Option<&str>) -> Value {
        let mut task = json!({ "resourceType": "Task", "id": "t", "status": status });
        if let Some(code) = business {
            let coding = json!({ "system": format!("{BASE}/CodeSystem/business-status"), "code": code });
            task["businessStatus"] = json!({ "coding": [coding] });
        }
        task
    }

    /// A part of the Task, about one area.
    fn part(code: &str, status: &str) -> Value {
        json!({
            "resourceType": "Task", "id": format!("t-{code}"), "status": status,
            "partOf": [{ "reference": "Task/t" }], "reasonCode": area(code),
        })
    }

    fn answers(resources: &[Value]) -> String {
        let said = read(&exchange(), resources, |_| true);
        let word = |part: &Part| format!("{} {:?}", part.area, part.answer);
        said.parts.iter().map(word).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn where_a_request_is_answered_area_by_area_each_moves_by_itself() {
        let whole = [request("takeover"), task("accepted", None)];
        assert_eq!(answers(&whole), "fatigue Yes, tobacco Yes, nutrition Yes");
        let parts = [
            request("takeover"),
            task("accepted", Some("partly-accepted")),
            part("fatigue", "accepted"),
            part("tobacco", "rejected"),
        ];
        assert_eq!(answers(&parts), "fatigue Yes, tobacco No, nutrition Open", "what nobody has answered is open");
        let ended =
            [request("takeover"), task("cancelled", None), part("fatigue", "accepted"), part("tobacco", "rejected")];
        assert_eq!(answers(&ended), "fatigue No, tobacco No, nutrition No", "with the whole its parts are over");
        let later =
            [request("takeover"), task("in-progress", None), part("fatigue", "failed"), part("nutrition", "completed")];
        assert_eq!(answers(&later), "fatigue No, tobacco Open, nutrition Yes");
    }

    #[test]
    fn what_is_sent_on_or_only_asked_about_moves_nothing() {
        let redirected = [request("takeover"), task("completed", Some("redirected"))];
        assert_eq!(answers(&redirected), "fatigue No, tobacco No, nutrition No");
        let asked = [request("consultation"), task("accepted", None)];
        assert_eq!(answers(&asked), "fatigue No, tobacco No, nutrition No");
        let silent = [
            json!({ "resourceType": "ServiceRequest", "id": "r", "category": [area("fatigue")] }),
            task("accepted", None),
        ];
        assert_eq!(answers(&silent), "fatigue No");
        let said = read(&exchange(), &silent, |_| true);
        assert!(said.states.is_empty(), "who does not say that it remains has said nothing");
        assert_eq!(read(&exchange(), &asked, |_| true).states, ["fatigue", "tobacco", "nutrition"]);
    }
}
