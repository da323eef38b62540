//! The model: resources with units and versions, callers with scopes, and the naive rules of who may see what. It knows nothing
//! of how the gateway decides.

use std::collections::BTreeSet;

use fastrand::Rng;
use serde_json::{Value, json};
use uuid::Uuid;
use vardkedja::domain::Kind;

use crate::world::{NORTH, ONCOLOGY, REHAB_TEAM, SOUTH};

/// Units with the partner whose system speaks for them.
pub const UNITS: [(&str, &str); 4] =
    [(ONCOLOGY, "platform"), (REHAB_TEAM, "platform"), (NORTH, "primary-care"), (SOUTH, "reader")];
pub const KINDS: [&str; 7] =
    ["Patient", "Procedure", "Task", "CarePlan", "ServiceRequest", "Composition", "Organization"];
pub const CODES: [&str; 3] = ["k1", "k2", "k3"];
pub const STATUSES: [&str; 2] = ["requested", "completed"];
pub const GENDERS: [&str; 2] = ["female", "male"];

/// What one version of a resource says.
#[derive(Debug, Clone)]
pub struct Said {
    pub code: &'static str,
    pub status: &'static str,
    pub gender: &'static str,
    pub patient: Option<String>,
    /// The Procedure that a Task is about, or what a Composition speaks of.
    pub other: Option<String>,
}

#[derive(Debug)]
pub struct Resource {
    pub kind: &'static str,
    pub id: String,
    pub units: BTreeSet<&'static str>,
    pub versions: Vec<Said>,
}

#[derive(Debug)]
pub struct Exchange {
    pub id: Uuid,
    pub kind: Kind,
    pub patient: String,
    pub sender: &'static str,
    pub recipients: BTreeSet<&'static str>,
    /// Names of what it is made of.
    pub resources: Vec<String>,
    pub delivery: Uuid,
}

/// A criterion of a scope.
#[derive(Debug, Clone, PartialEq)]
pub enum Criterion {
    Code(Vec<&'static str>),
    Status(&'static str),
    Gender(&'static str),
    PatientGender(&'static str),
    HasTask(&'static str),
}

#[derive(Debug, Clone)]
pub struct Scope {
    /// None for `*`.
    pub kind: Option<&'static str>,
    pub rights: &'static str,
    pub criteria: Vec<Criterion>,
}

/// Somebody who asks. Without scopes: all that concerns the unit.
#[derive(Debug)]
pub struct Asker {
    pub unit: &'static str,
    pub partner: &'static str,
    pub scopes: Option<Vec<Scope>>,
}

pub struct Model {
    pub resources: Vec<Resource>,
    pub exchanges: Vec<Exchange>,
}

pub fn pick<T: Copy>(random: &mut Rng, from: &[T]) -> T {
    from[random.usize(..from.len())]
}

fn some_of<T: Copy + Ord>(random: &mut Rng, from: &[T]) -> BTreeSet<T> {
    from.iter().copied().filter(|_| random.bool()).collect()
}

impl Resource {
    pub fn name(&self) -> String {
        format!("{}/{}", self.kind, self.id)
    }

    pub fn now(&self) -> &Said {
        self.versions.last().unwrap()
    }

    /// What only this version says.
    pub fn mark(&self, version: usize) -> String {
        format!("mark-{}-{}-{version}-end", self.kind, self.id)
    }

    pub fn mark_now(&self) -> String {
        self.mark(self.versions.len())
    }

    /// What it refers to as it stands.
    pub fn targets(&self) -> impl Iterator<Item = &String> {
        self.now().patient.iter().chain(&self.now().other)
    }

    pub fn body(&self, version: usize) -> Value {
        let said = &self.versions[version - 1];
        let identifier = json!({ "system": "urn:id", "value": format!("{}-{}", self.kind, self.id) });
        let mut body = json!({
            "resourceType": self.kind, "id": self.id,
            "meta": { "versionId": version.to_string(), "lastUpdated": format!("2026-11-01T10:00:{version:02}Z"),
                      "tag": [{ "system": "urn:mark", "code": self.mark(version) }] },
        });
        body["identifier"] = if self.kind == "Composition" { identifier } else { json!([identifier]) };
        let of_patient = if self.kind == "Task" { "for" } else { "subject" };
        if let Some(patient) = &said.patient {
            body[of_patient] = json!({ "reference": patient });
        }
        if has_status(self.kind) {
            body["status"] = json!(said.status);
        }
        if has_code(self.kind) {
            body["code"] = json!({ "coding": [{ "system": "urn:k", "code": said.code }] });
        }
        match (self.kind, &said.other) {
            ("Patient", _) => body["gender"] = json!(said.gender),
            ("Task", Some(other)) => body["focus"] = json!({ "reference": other }),
            ("Composition", Some(other)) => body["section"] = json!([{ "entry": [{ "reference": other }] }]),
            _ => {}
        }
        body
    }
}

pub fn has_code(kind: &str) -> bool {
    matches!(kind, "Procedure" | "Task" | "ServiceRequest")
}

pub fn has_status(kind: &str) -> bool {
    !matches!(kind, "Patient" | "Organization")
}

impl Criterion {
    fn follows(&self) -> bool {
        matches!(self, Self::PatientGender(_) | Self::HasTask(_))
    }

    /// Whether the type has the parameter.
    fn is_for(&self, kind: &str) -> bool {
        match self {
            Self::Code(_) => has_code(kind),
            Self::Status(_) => has_status(kind),
            Self::Gender(_) => kind == "Patient",
            Self::PatientGender(_) => has_status(kind),
            Self::HasTask(_) => kind == "Procedure",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Code(codes) => format!("code={}", codes.join(",")),
            Self::Status(status) => format!("status={status}"),
            Self::Gender(gender) => format!("gender={gender}"),
            Self::PatientGender(gender) => format!("patient.gender={gender}"),
            Self::HasTask(status) => format!("_has:Task:focus:status={status}"),
        }
    }
}

impl Scope {
    pub fn text(&self) -> String {
        let query: Vec<String> = self.criteria.iter().map(Criterion::text).collect();
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        format!("system/{}.{}{query}", self.kind.unwrap_or("*"), self.rights)
    }

    fn is_about(&self, kind: &str, right: char) -> bool {
        self.kind.is_none_or(|own| own == kind)
            && self.rights.contains(right)
            && self.criteria.iter().all(|criterion| criterion.is_for(kind))
    }
}

impl Asker {
    /// Whether any resource of the type could be covered: otherwise the answer is 403, whatever there is.
    pub fn may_ask(&self, kind: &str, right: char) -> bool {
        self.scopes.as_ref().is_none_or(|scopes| scopes.iter().any(|scope| scope.is_about(kind, right)))
    }

    fn may_all(&self, kind: &str, right: char) -> bool {
        let whole = |scope: &Scope| scope.is_about(kind, right) && scope.criteria.is_empty();
        self.scopes.as_ref().is_none_or(|scopes| scopes.iter().any(whole))
    }
}

impl Model {
    pub fn random(random: &mut Rng) -> Self {
        let ids = |count: usize| (0..count).map(|n| format!("{n:02}")).collect::<Vec<_>>();
        let unit_names = UNITS.map(|(unit, _)| unit);
        let mut resources: Vec<Resource> = Vec::new();
        for (kind, count) in KINDS.into_iter().zip([3, 9, 7, 4, 4, 3, 3]) {
            for id in ids(count) {
                let said = |random: &mut Rng| Said {
                    code: pick(random, &CODES),
                    status: pick(random, &STATUSES),
                    gender: pick(random, &GENDERS),
                    patient: (has_status(kind) && random.u8(..) < 230)
                        .then(|| format!("Patient/{:02}", random.u8(..3))),
                    other: match kind {
                        "Task" => Some(format!("Procedure/{:02}", random.u8(..9))),
                        "Composition" => Some(format!("Task/{:02}", random.u8(..7))),
                        _ => None,
                    },
                };
                let versions = (0..random.usize(1..4)).map(|_| said(random)).collect();
                resources.push(Resource { kind, id, units: some_of(random, &unit_names), versions });
            }
        }
        let mut exchanges = Vec::new();
        for _ in 0..10 {
            let patient = format!("Patient/{:02}", random.u8(..3));
            let about = |r: &&Resource| r.now().patient.as_ref() == Some(&patient);
            let names = resources.iter().filter(about).filter(|_| random.bool()).map(Resource::name).collect();
            let sender = pick(random, &unit_names);
            let mut recipients = some_of(random, &unit_names);
            recipients.remove(sender);
            exchanges.push(Exchange {
                id: Uuid::now_v7(),
                kind: pick(random, &Kind::ALL),
                patient,
                sender,
                recipients,
                resources: names,
                delivery: Uuid::now_v7(),
            });
        }
        Self { resources, exchanges }
    }

    /// Somebody with random scopes, often enough with such as let something through.
    pub fn asker(random: &mut Rng) -> Asker {
        let (unit, partner) = pick(random, &UNITS);
        if random.u8(..) < 30 {
            return Asker { unit, partner, scopes: None };
        }
        let mut scopes = Vec::new();
        for kind in KINDS {
            for _ in 0..random.usize(..3) {
                let rights = pick(random, &["rs", "r", "s", "cruds", "crs", "rs"]);
                let mut criteria = Vec::new();
                if random.u8(..) < 140 {
                    let all = [
                        Criterion::Code(some_of(random, &CODES).into_iter().collect()),
                        Criterion::Status(pick(random, &STATUSES)),
                        Criterion::Gender(pick(random, &GENDERS)),
                        Criterion::PatientGender(pick(random, &GENDERS)),
                        Criterion::HasTask(pick(random, &STATUSES)),
                    ];
                    let is_fit = |c: &&Criterion| c.is_for(kind) && **c != Criterion::Code(Vec::new());
                    let fit: Vec<Criterion> = all.iter().filter(is_fit).cloned().collect();
                    criteria = fit.into_iter().filter(|_| random.u8(..) < 100).collect();
                }
                let kind = if random.u8(..) < 10 { None } else { Some(kind) };
                scopes.push(Scope { kind, rights, criteria });
            }
        }
        Asker { unit, partner, scopes: Some(scopes) }
    }

    pub fn of(&self, kind: &str) -> impl Iterator<Item = &Resource> {
        self.resources.iter().filter(move |r| r.kind == kind)
    }

    pub fn find(&self, name: &str) -> Option<&Resource> {
        self.resources.iter().find(|r| r.name() == name)
    }

    /// Whether the resource, as it stands, is shown to who asks with that right.
    pub fn sees(&self, asker: &Asker, right: char, resource: &Resource) -> bool {
        self.is_seen(asker, right, resource, false)
    }

    /// Whether that version is.
    pub fn sees_version(&self, asker: &Asker, right: char, resource: &Resource, version: usize) -> bool {
        let said = &resource.versions[version - 1];
        self.sees(asker, right, resource) && self.covers(asker, right, resource, said, false)
    }

    fn is_seen(&self, asker: &Asker, right: char, resource: &Resource, in_criterion: bool) -> bool {
        let concerns = resource.kind == "Organization" || resource.units.contains(asker.unit);
        concerns && self.covers(asker, right, resource, resource.now(), in_criterion)
    }

    fn covers(&self, asker: &Asker, right: char, resource: &Resource, said: &Said, in_criterion: bool) -> bool {
        let Some(scopes) = &asker.scopes else { return true };
        scopes
            .iter()
            .filter(|scope| scope.is_about(resource.kind, right))
            .filter(|scope| !in_criterion || !scope.criteria.iter().any(Criterion::follows))
            .any(|scope| scope.criteria.iter().all(|criterion| self.holds(asker, criterion, resource, said)))
    }

    fn holds(&self, asker: &Asker, criterion: &Criterion, resource: &Resource, said: &Said) -> bool {
        match criterion {
            Criterion::Code(codes) => codes.contains(&said.code),
            Criterion::Status(status) => said.status == *status,
            Criterion::Gender(gender) => said.gender == *gender && !self.is_own_word(asker, resource),
            Criterion::PatientGender(gender) => {
                let patient = said.patient.as_ref().and_then(|name| self.find(name));
                patient.is_some_and(|patient| {
                    self.is_seen(asker, 's', patient, true)
                        && patient.now().gender == *gender
                        && !self.is_own_word(asker, patient)
                })
            }
            Criterion::HasTask(status) => self.of("Task").any(|task| {
                task.now().other.as_ref() == Some(&resource.name())
                    && task.now().status == *status
                    && self.is_seen(asker, 's', task, true)
            }),
        }
    }

    /// A Patient of whom the asker has only spoken itself: what others say of it has not come to it.
    pub fn is_own_word(&self, asker: &Asker, patient: &Resource) -> bool {
        let about: Vec<&Exchange> = self.exchanges.iter().filter(|e| e.patient == patient.name()).collect();
        about.iter().any(|e| e.sender == asker.unit) && !about.iter().any(|e| e.recipients.contains(asker.unit))
    }

    /// The marks that are shown of it as it stands.
    pub fn shown(&self, asker: &Asker, resource: &Resource) -> Option<String> {
        let is_hidden = resource.kind == "Patient" && self.is_own_word(asker, resource);
        (!is_hidden).then(|| resource.mark_now())
    }

    /// The asker takes part, and its scopes cover all that the exchange is mainly about.
    pub fn sees_exchange(&self, asker: &Asker, right: char, exchange: &Exchange) -> bool {
        if exchange.sender != asker.unit && !exchange.recipients.contains(asker.unit) {
            return false;
        }
        let main: &[&str] = match exchange.kind {
            Kind::RehabPlan => &["CarePlan"],
            Kind::Referral => &["ServiceRequest"],
            Kind::Handover => &["CarePlan", "Composition"],
            Kind::Activity => &["Procedure"],
        };
        let mut made = exchange.resources.iter().filter_map(|name| self.find(name)).filter(|r| main.contains(&r.kind));
        main.iter().all(|kind| asker.may_all(kind, right))
            || (made.clone().next().is_some() && made.all(|r| self.covers(asker, right, r, r.now(), false)))
    }
}
