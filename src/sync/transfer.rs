//! Holds a document against the rules for transfers: what it is, from which level to which, and what it carries, read from its
//! resources and the directory of units, whatever format it came in.

use serde_json::Value;

use super::route::unit_of;
use super::submit::Submission;
use crate::Gateway;
use crate::domain::transfer::{Effect, Evidence, Finding, Mode, Transfer};
use crate::domain::{Format, Kind, Level};
use crate::fhir::canonical::BASE;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::resource::{has_coding, type_of};
use crate::fhir::search::moment;
use crate::mapping::Envelope;

const APPOINTMENT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v2-0276";

/// What the rules say of a document.
#[derive(Debug, Default)]
pub(super) struct Weighed {
    /// Refusals and warnings.
    pub(super) issues: Vec<Issue>,
    /// What it waits for.
    pub(super) lacks: Vec<Issue>,
}

pub(super) fn weigh(
    gateway: &Gateway,
    submission: &Submission<'_>,
    envelope: &Envelope,
    unit: &str,
    resources: &[Value],
) -> Weighed {
    let mut weighed = Weighed::default();
    if envelope.entered_in_error {
        return weighed;
    }
    let plan = resources.iter().find(|r| type_of(r) == "CarePlan");
    let mode = match (submission.kind, plan) {
        (Kind::Referral, _) => Mode::Referral,
        (Kind::Handover, Some(_)) => Mode::Sip,
        (Kind::Handover, None) => Mode::Active,
        _ => return weighed,
    };
    if mode == Mode::Sip {
        weighed.issues.extend(principals(gateway, plan, resources));
        weighed.issues.extend(consent(plan, resources));
        weighed.issues.extend(meeting(submission, resources));
    }
    if remains(resources) {
        return weighed;
    }
    let directory = &gateway.config.directory;
    let Some(sender) = directory.find(unit) else { return weighed };
    let to: Vec<Level> = match mode {
        Mode::Sip => others(plan, unit, resources).iter().filter_map(|u| directory.find(u)).map(|u| u.level).collect(),
        _ => envelope.recipients.iter().filter_map(|u| directory.find(u)).map(|u| u.level).collect(),
    };
    let (areas, carries) = (areas(resources), carried(resources));
    let transfer = Transfer {
        mode,
        format: submission.format,
        region: &sender.region,
        from: sender.level,
        to,
        areas: &areas,
        carries: &carries,
        day: submission.now.date_naive(),
    };
    for finding in gateway.config.transfer.weigh(&transfer) {
        match finding {
            Finding::Lacks { ground, demand, effect } => {
                let cited = ground.cited();
                let sv = format!("{} {cited}", demand.sv);
                let en = format!("{} {}.", demand.en, ground.named());
                let at = if submission.format == Format::Riv { "request" } else { demand.at.as_str() };
                match effect {
                    Effect::Refuse => weighed.issues.push(Issue::error(Code::BusinessRule, at, sv, en)),
                    Effect::Warn => weighed.issues.push(Issue::warning(Code::BusinessRule, at, sv, en)),
                    Effect::Hold => weighed.lacks.push(Issue::warning(Code::BusinessRule, at, sv, en)),
                }
            }
            Finding::OtherMode { rule } => {
                let named = |word: fn(Mode) -> &'static str| rule.modes.iter().map(|m| word(*m)).collect::<Vec<_>>();
                let cited = rule.ground.cited();
                weighed.issues.push(Issue::warning(
                    Code::BusinessRule,
                    "areas",
                    format!(
                        "För {} nämner riktlinjen {}, inte {}. {cited}",
                        rule.area,
                        named(Mode::sv).join(", "),
                        mode.sv()
                    ),
                    format!(
                        "For {} the guideline names {}, not {}. {cited}",
                        rule.area,
                        named(Mode::en).join(", "),
                        mode.en()
                    ),
                ));
            }
        }
    }
    weighed
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Whether the sender says that its responsibility remains.
fn remains(resources: &[Value]) -> bool {
    let system = format!("{BASE}/CodeSystem/care-responsibility");
    let requests = resources.iter().filter(|r| type_of(r) == "ServiceRequest");
    requests.into_iter().flat_map(|r| list(&r["category"])).any(|c| has_coding(c, &system, "consultation"))
}

/// The units, other than the one that makes the plan, that are responsible for something of it.
fn others(plan: Option<&Value>, author: &str, resources: &[Value]) -> Vec<String> {
    let activities = plan.map(|plan| list(&plan["activity"])).unwrap_or_default();
    let performers = activities.iter().flat_map(|activity| list(&activity["detail"]["performer"]));
    let units = performers.filter_map(|performer| unit_of(performer, resources));
    units.filter(|unit| !unit.eq_ignore_ascii_case(author)).collect()
}

fn areas(resources: &[Value]) -> Vec<String> {
    let system = format!("{BASE}/CodeSystem/rehab-area");
    let mut concepts: Vec<&Value> = Vec::new();
    for resource in resources {
        match type_of(resource) {
            "ServiceRequest" | "Composition" => concepts.extend(list(&resource["category"])),
            "CarePlan" => {
                concepts.extend(list(&resource["activity"]).iter().flat_map(|a| list(&a["detail"]["reasonCode"])))
            }
            _ => {}
        }
    }
    let codings = concepts.into_iter().flat_map(|concept| list(&concept["coding"]));
    codings.filter(|c| c["system"] == *system).filter_map(|c| c["code"].as_str().map(str::to_owned)).collect()
}

fn carried(resources: &[Value]) -> Vec<Evidence> {
    let kind = format!("{BASE}/CodeSystem/communication-kind");
    let is = |resource: &Value, code: &str| list(&resource["category"]).iter().any(|c| has_coding(c, &kind, code));
    let mut found = Vec::new();
    for resource in resources {
        match type_of(resource) {
            "Communication" => {
                let kinds = [Evidence::ConsultationPatient, Evidence::ConsultationPrimaryCare, Evidence::OralContact];
                found.extend(kinds.into_iter().filter(|kind| is(resource, kind.code())));
            }
            "Consent" => found.push(Evidence::Consent),
            "Appointment" if is_meeting(resource) => found.push(Evidence::Meeting),
            _ => {}
        }
    }
    found
}

fn is_meeting(appointment: &Value) -> bool {
    has_coding(&appointment["appointmentType"], APPOINTMENT_REASON, "ROUTINE")
}

/// A statutory SIP joins region and municipality (HSL 16 kap. 4 §): units of both take part in it.
fn principals(gateway: &Gateway, plan: Option<&Value>, resources: &[Value]) -> Option<Issue> {
    if !is_statutory(plan) {
        return None;
    }
    let tasks = resources.iter().filter(|r| type_of(r) == "Task");
    let units = tasks.filter_map(|task| unit_of(&task["owner"], resources));
    let levels: Vec<Level> = units.filter_map(|u| gateway.config.directory.find(&u).map(|u| u.level)).collect();
    let municipality = levels.contains(&Level::Municipality);
    let region = levels.iter().any(|level| matches!(level, Level::Specialist | Level::Primary));
    if municipality && region {
        return None;
    }
    let (sv, en) = if municipality { ("regionen", "the region") } else { ("kommunen", "the municipality") };
    Some(Issue::error(
        Code::BusinessRule,
        "participants",
        format!(
            "En lagstadgad SIP upprättas av region och kommun tillsammans (HSL 2017:30 16 kap. 4 §), men ingen enhet i {sv} deltar: lägg till den, eller ange basis within-principal."
        ),
        format!(
            "A statutory SIP is made by region and municipality together (HSL 2017:30 16:4), but no unit of {en} takes part: add it, or say basis within-principal."
        ),
    ))
}

fn is_statutory(plan: Option<&Value>) -> bool {
    let basis = format!("{BASE}/CodeSystem/sip-basis");
    let categories = plan.map(|plan| list(&plan["category"])).unwrap_or_default();
    categories.iter().any(|c| has_coding(c, &basis, "statutory"))
}

/// A SIP is made where the patient consents to that: by law where region and municipality make it, and by the same method where
/// one principal does. The guideline (TRF-1) says nothing of it.
fn consent(plan: Option<&Value>, resources: &[Value]) -> Option<Issue> {
    if resources.iter().any(|r| type_of(r) == "Consent") {
        return None;
    }
    let (sv, en) = match is_statutory(plan) {
        true => (
            "en SIP upprättas om den enskilde samtycker till det (HSL 2017:30 16 kap. 4 §; för socialnämnden SoL 2025:400 10 kap. 8 §)",
            "a SIP is made where the individual consents to it (HSL 2017:30 16:4; for the social services SoL 2025:400 10:8)",
        ),
        false => (
            "också inom en huvudman arbetar man med SIP som lagen har den: om den enskilde samtycker till det (jfr HSL 2017:30 16 kap. 4 §)",
            "within one principal, too, a SIP is made as the law has it: where the individual consents to it (cf. HSL 2017:30 16:4)",
        ),
    };
    Some(Issue::error(
        Code::BusinessRule,
        "consent",
        format!("Patientens samtycke saknas: {sv}. Ange vem som gav det, när och till vad."),
        format!("The patient's consent is missing: {en}. Say who gave it, when and to what."),
    ))
}

/// A meeting that was held has been.
fn meeting(submission: &Submission<'_>, resources: &[Value]) -> Option<Issue> {
    let held = resources.iter().find(|r| type_of(r) == "Appointment" && is_meeting(r) && r["status"] == "fulfilled")?;
    let (begins, _) = held["start"].as_str().and_then(moment)?;
    (begins > submission.now.timestamp_millis()).then(|| {
        Issue::error(
            Code::BusinessRule,
            "meeting.status",
            "Mötet sägs vara hållet men börjar senare än nu: ange called (kallat).",
            "The meeting is said to be held, but begins later than now: say called.",
        )
    })
}
