//! Who a document goes to: the recipients it names, those its Tasks are for, and those it follows from.

use chrono::NaiveDate;
use serde_json::Value;

use super::identify::is_same_person;
use crate::Gateway;
use crate::domain::task::Status;
use crate::domain::unit::NoUnit;
use crate::domain::{Directory, HsaId, Kind, PartyRole};
use crate::fhir::canonical::{HSA_ID, PLAN_ID, REQUEST_ID};
use crate::fhir::issue::{Code, Issue};
use crate::fhir::resource::{id_of, identifier, reference_of, type_of};
use crate::store::{Exchange, ExchangeQuery, Expect, Filter, StoreError};

/// A unit that the document goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    pub unit: String,
    pub partner: String,
    pub role: PartyRole,
    /// The Task it is asked to take.
    pub task: Option<String>,
}

/// What a document is about, read from its resources, whatever format it came in.
#[derive(Debug, Default)]
pub struct Ties {
    /// Tasks with the HSA-id of their owner.
    pub owners: Vec<(String, String)>,
    pub requests: Vec<String>,
    pub plans: Vec<String>,
}

/// Reads the owners of Tasks and the requests and plans that the resources follow from.
pub fn ties(resources: &[Value]) -> Ties {
    let mut ties = Ties::default();
    for resource in resources {
        if type_of(resource) == "Task"
            && let (Some(id), Some(unit)) = (id_of(resource), unit_of(&resource["owner"], resources))
        {
            ties.owners.push((id.to_owned(), unit));
        }
        logical(&resource["basedOn"], REQUEST_ID, &mut ties.requests);
        logical(&resource["basedOn"], PLAN_ID, &mut ties.plans);
    }
    ties
}

fn logical(references: &Value, system: &str, found: &mut Vec<String>) {
    for reference in references.as_array().map_or(&[][..], Vec::as_slice) {
        let identifier = &reference["identifier"];
        if identifier["system"] == system
            && let Some(value) = identifier["value"].as_str()
            && !found.iter().any(|f| f == value)
        {
            found.push(value.to_owned());
        }
    }
}

/// The HSA-id of the unit a reference points at, among the resources or by its identifier.
pub fn unit_of(reference: &Value, resources: &[Value]) -> Option<String> {
    if reference["identifier"]["system"] == HSA_ID {
        return reference["identifier"]["value"].as_str().map(str::to_owned);
    }
    let target = reference["reference"].as_str()?;
    let resource = resources.iter().find(|r| reference_of(r).as_deref() == Some(target))?;
    match type_of(resource) {
        "PractitionerRole" => unit_of(&resource["organization"], resources),
        _ => identifier(resource, HSA_ID).map(str::to_owned),
    }
}

/// A unit as it may stand in a text: whatever is no HSA-id is somebody's free text and is not repeated.
pub fn named(unit: &str) -> &str {
    if HsaId::parse(unit).is_ok() { unit } else { "(inget HSA-id | no HSA-id)" }
}

/// Checks that a unit can be sent to or from on that day.
pub fn open_unit(directory: &Directory, hsa_id: &str, path: &str, today: NaiveDate) -> Result<(), Issue> {
    let what = match directory.open(hsa_id, today) {
        Ok(_) => return Ok(()),
        Err(what) => what,
    };
    let hsa_id = named(hsa_id);
    Err(match what {
        NoUnit::Unknown { nearest: Some(near) } => Issue::error(
            Code::NotFound,
            path,
            format!("Enheten {hsa_id} finns inte i enhetskatalogen; närmast: {near}."),
            format!("Unit {hsa_id} is not in the directory of units; nearest: {near}."),
        ),
        NoUnit::Unknown { nearest: None } => Issue::error(
            Code::NotFound,
            path,
            format!("Enheten {hsa_id} finns inte i enhetskatalogen."),
            format!("Unit {hsa_id} is not in the directory of units."),
        ),
        NoUnit::Closed { since } => {
            let since = since.map(|d| d.to_string()).unwrap_or_default();
            Issue::error(
                Code::BusinessRule,
                path,
                format!("Enheten {hsa_id} är inte öppen (giltig till {since}); välj en enhet som är det."),
                format!("Unit {hsa_id} is not open (valid to {since}); choose one that is."),
            )
        }
    })
}

/// What the ties lead to in the store.
#[derive(Debug, Default)]
pub struct Followed {
    pub recipients: Vec<Recipient>,
    /// Resources of the current plan that travel along.
    pub plan: Vec<String>,
    /// What must still hold when the commit is made, so that a plan and a request that come at the same moment do not miss
    /// each other: the plans that travel along are the newest, and nobody else was asked about the patient meanwhile.
    pub expect: Vec<Expect>,
    pub issues: Vec<Issue>,
}

/// The recipients of a document: named, owners of Tasks, the one who asked (activity), and the units that follow a plan.
pub async fn follow(
    gateway: &Gateway,
    kind: Kind,
    sender: &str,
    named: &[String],
    ties: &Ties,
    known_patient: Option<&str>,
) -> Result<Followed, StoreError> {
    let mut followed = Followed::default();
    let directory = &gateway.config.directory;
    let role =
        if kind == Kind::Handover && ties.owners.len() > 1 { PartyRole::Participant } else { PartyRole::Recipient };
    for (task, unit) in &ties.owners {
        add(&mut followed.recipients, directory, sender, unit, role, Some(task));
    }
    for unit in named {
        add(&mut followed.recipients, directory, sender, unit, PartyRole::Recipient, None);
    }
    if kind == Kind::Activity {
        for request in &ties.requests {
            follow_request(gateway, sender, request, known_patient, &mut followed).await?;
        }
    }
    if kind == Kind::RehabPlan
        && let Some(patient) = known_patient
    {
        let changes = gateway.store.changes_of_patient(patient).await?;
        followed.expect.push(Expect::Unchanged { patient: patient.to_owned(), changes });
        for exchange in open_exchanges(gateway, sender, patient).await? {
            // Whose part was taken back, or ended with the consent, is told no more.
            for party in exchange.recipients().filter(|p| p.status != Some(Status::Cancelled)) {
                add(&mut followed.recipients, directory, sender, &party.unit, PartyRole::Recipient, None);
            }
        }
    }
    if matches!(kind, Kind::Referral | Kind::Handover) {
        for plan in &ties.plans {
            follow_plan(gateway, sender, plan, known_patient, &mut followed).await?;
        }
    }
    Ok(followed)
}

fn add(
    list: &mut Vec<Recipient>,
    directory: &Directory,
    sender: &str,
    unit: &str,
    role: PartyRole,
    task: Option<&String>,
) {
    let Some(known) = directory.find(unit) else { return };
    if known.hsa_id.eq_ignore_ascii_case(sender) {
        return;
    }
    match list.iter_mut().find(|r| r.unit == known.hsa_id) {
        Some(there) => there.task = there.task.take().or_else(|| task.cloned()),
        None => list.push(Recipient {
            unit: known.hsa_id.clone(),
            partner: known.partner.clone(),
            role,
            task: task.cloned(),
        }),
    }
}

/// What is pointed at belongs to somebody else: nothing of it may travel along.
fn other_patient(place: &str) -> Issue {
    Issue::error(
        Code::BusinessRule,
        place,
        "Det som id:t pekar på gäller en annan patient.",
        "What the id points at is about another patient.",
    )
}

async fn follow_request(
    gateway: &Gateway,
    sender: &str,
    request: &str,
    patient: Option<&str>,
    followed: &mut Followed,
) -> Result<(), StoreError> {
    let seen_by_sender = Filter::units(vec![sender.to_owned()]);
    let found = gateway.store.by_identifier(&seen_by_sender, "ServiceRequest", REQUEST_ID, request).await?;
    let Some(stored) = found.first() else {
        followed.issues.push(Issue::warning(
            Code::NotFound,
            "requestId",
            "Remissen är inte känd här av den sändande enheten; aktiviteten behålls för registren men ingen får svar.",
            "The request is not known here to the sending unit; the activity is kept for the registries, but nobody gets an answer.",
        ));
        return Ok(());
    };
    for id in gateway.store.exchange_of_resource("ServiceRequest", &stored.id).await? {
        let Some(exchange) = gateway.store.exchange(&Filter::ALL, id).await? else { continue };
        if !is_same_person(&gateway.store, exchange.patient.as_deref(), patient).await? {
            followed.issues.push(other_patient("requestId"));
            continue;
        }
        if let Some(asked) = exchange.sender() {
            add(&mut followed.recipients, &gateway.config.directory, sender, &asked.unit, PartyRole::Recipient, None);
        }
    }
    Ok(())
}

async fn follow_plan(
    gateway: &Gateway,
    sender: &str,
    plan: &str,
    patient: Option<&str>,
    followed: &mut Followed,
) -> Result<(), StoreError> {
    let seen_by_sender = Filter::units(vec![sender.to_owned()]);
    let found = gateway.store.by_identifier(&seen_by_sender, "CarePlan", PLAN_ID, plan).await?;
    let Some(stored) = found.first() else {
        followed.issues.push(Issue::warning(
            Code::NotFound,
            "planId",
            "Planen är inte känd här av den sändande enheten; dokumentet går utan den. Sänd planen först.",
            "The plan is not known here to the sending unit; the document goes without it. Send the plan first.",
        ));
        return Ok(());
    };
    for id in gateway.store.exchange_of_resource("CarePlan", &stored.id).await? {
        if let Some(exchange) = gateway.store.exchange(&Filter::ALL, id).await?
            && exchange.kind == Kind::RehabPlan
        {
            if !is_same_person(&gateway.store, exchange.patient.as_deref(), patient).await? {
                followed.issues.push(other_patient("planId"));
                continue;
            }
            followed.expect.push(Expect::Revision { exchange: exchange.id, revision: exchange.revision });
            followed.plan.extend(exchange.resources.iter().filter(|r| !r.starts_with("Task/")).cloned());
        }
    }
    Ok(())
}

/// Open exchanges about the patient in which the unit takes part: whoever was asked is to know that the plan changed.
async fn open_exchanges(gateway: &Gateway, sender: &str, patient: &str) -> Result<Vec<Exchange>, StoreError> {
    let filter = Filter::units(vec![sender.to_owned()]);
    let mut query =
        ExchangeQuery { patient: Some(patient.to_owned()), open: true, limit: 200, ..ExchangeQuery::default() };
    let mut open = Vec::new();
    loop {
        let page = gateway.store.exchanges(&filter, &query).await?;
        query.before = page.matches.last().map(|last| (last.updated_at, last.id));
        open.extend(page.matches);
        if !page.more {
            return Ok(open);
        }
    }
}
