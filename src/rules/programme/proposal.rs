//! A programme applied to a patient, as R4's `$apply` answers: a CarePlan that nobody has kept. To whom it may be offered it has an
//! activity for each module, message, day and the check-ins, as they would fall if it were started on that day; to whom it may
//! not, none, and why in the guide's words.

use chrono::{Days, NaiveDate};
use serde_json::{Value, json};

use super::super::assessment::Inputs;
use super::definition::{Citation, Criterion, Programme};
use super::eligible::{Eligible, Verdict};
use crate::fhir::canonical::BASE;

/// `subject` is a Reference, `start` the day on which it would begin.
pub fn care_plan(
    programme: &Programme,
    judged: &Eligible<'_>,
    inputs: &Inputs,
    start: NaiveDate,
    subject: Value,
) -> Value {
    let mut plan = json!({
        "resourceType": "CarePlan",
        "instantiatesCanonical": [programme.canonical()],
        "status": "draft",
        "intent": "proposal",
        "category": [concept("programme", &programme.id)],
        "title": programme.title,
        "subject": subject,
        "created": start.to_string(),
        "note": notes(judged, inputs),
    });
    if judged.verdict == Verdict::Eligible {
        plan["activity"] = json!(activities(programme, start));
    }
    plan
}

fn concept(system: &str, code: &str) -> Value {
    json!({ "coding": [{ "system": format!("{BASE}/CodeSystem/{system}"), "code": code }] })
}

/// What it comes to, and each criterion that decides it.
fn notes(judged: &Eligible<'_>, inputs: &Inputs) -> Vec<Value> {
    let verdict = match judged.verdict {
        Verdict::Eligible => "Programmet kan erbjudas patienten. | The programme may be offered to the patient.",
        Verdict::NotEligible => "Programmet är inte för patienten. | The programme is not for the patient.",
        Verdict::Undetermined => "Besked saknas. | Something has to be said first.",
    };
    let mut notes = vec![json!({ "text": format!("{}: {verdict}", judged.verdict.code()) })];
    let deciding: Vec<&Criterion> = match judged.verdict {
        Verdict::NotEligible => judged.unmet.clone(),
        _ => judged.met.clone(),
    };
    notes.extend(deciding.iter().map(|criterion| json!({ "text": words(&criterion.cited) })));
    for (criterion, missing) in &judged.open {
        for name in missing {
            let (sv, en) = inputs.get(name).map_or((name.as_str(), name.as_str()), |i| (i.sv.as_str(), i.en.as_str()));
            notes.push(json!({ "text": format!("Besked saknas: {sv} ({name}). | Not said: {en}. {}", words(&criterion.cited)) }));
        }
    }
    notes
}

fn activities(programme: &Programme, start: NaiveDate) -> Vec<Value> {
    let on = |day: u32| start.checked_add_days(Days::new(day.into())).unwrap_or(start).to_string();
    let detail = |uri: String, title: &str, cited: &[Citation]| {
        let mut detail = json!({ "instantiatesUri": [uri], "status": "not-started", "description": title });
        if !cited.is_empty() {
            detail["reasonCode"] = json!([{ "text": words(cited) }]);
        }
        detail
    };
    let at = |mut detail: Value, day: u32| {
        detail["scheduledPeriod"] = json!({ "start": on(day), "end": on(day) });
        json!({ "detail": detail })
    };
    let of = |kind: &str, code: &str| format!("{}#{kind}-{code}", programme.url);
    let mut all = Vec::new();
    for module in &programme.modules {
        let mut module_detail = detail(of("module", &module.code), &module.title, &[]);
        module_detail["code"] = concept("programme-module", &module.code);
        all.push(json!({ "detail": module_detail }));
    }
    for message in &programme.messages {
        all.push(at(detail(of("message", &message.code), &message.title, &message.cited), message.day));
    }
    for mark in &programme.marks {
        all.push(at(detail(of("mark", &mark.code), &mark.title, &mark.cited), mark.day));
    }
    let days: Vec<String> = programme.check_in_days.iter().map(|day| day.to_string().to_lowercase()).collect();
    let mut check_in = detail(format!("{}#check-in", programme.url), "Avstämning", &programme.check_in_cited);
    check_in["scheduledTiming"] = json!({ "repeat": { "dayOfWeek": days, "period": 1, "periodUnit": "wk" } });
    all.push(json!({ "detail": check_in }));
    all
}

fn words(cited: &[Citation]) -> String {
    cited.iter().map(|c| format!("{}: ”{}” ({})", c.rule, c.quote, c.source)).collect::<Vec<_>>().join(" ")
}
