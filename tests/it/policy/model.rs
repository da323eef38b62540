//! The model: resources with units and versions, callers with scopes, and the naive rules of who may see what. It knows nothing
//! of how the gateway decides.

use std::cell::RefCell;
use std::collections::BTreeSet;

use fastrand::Rng;
use serde_json::{Value, json};
use uuid::Uuid;
use vardkedja::domain::Kind;
use vardkedja::domain::charge::{Move, Step, charges};

use crate::world::{NORTH, ONCOLOGY, REHAB_TEAM, SOUTH};

pub const MUNICIPALITY: &str = "SE2120001355-E000000000501";
/// Units with the partner whose system speaks for them.
pub const UNITS: [(&str, &str); 5] = [
    (ONCOLOGY, "platform"),
    (REHAB_TEAM, "platform"),
    (NORTH, "primary-care"),
    (SOUTH, "reader"),
    (MUNICIPALITY, "municipality"),
];
/// The personnummer of each Patient.
pub const NUMBERS: [&str; 3] = ["195009072553", "189002029800", "191212121212"];
/// Registries, and whether each gets only patients who were informed.
pub const REGISTRIES: [(&str, bool); 2] = [("named", false), ("told", true)];

/// The care provider of a unit.
pub fn provider(unit: &str) -> &'static str {
    if unit == MUNICIPALITY { "SE2120001355-E000000000001" } else { "SE2321000131-E000000000001" }
}
pub const KINDS: [&str; 10] = [
    "Patient",
    "Procedure",
    "Task",
    "CarePlan",
    "ServiceRequest",
    "Composition",
    "Organization",
    "Communication",
    "CommunicationRequest",
    "EpisodeOfCare",
];
/// What is said and written: no registry's, whatever was agreed.
const WORDS: [&str; 3] = ["Composition", "Communication", "CommunicationRequest"];
/// The area of each EpisodeOfCare.
pub const AREAS: [&str; 4] = ["fatigue", "tobacco", "nutrition", "alcohol"];
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
    /// The unit that wrote it.
    pub author: &'static str,
    pub versions: Vec<Said>,
}

/// A block: of what a unit has written to every other unit, or what a provider's units have to every other provider's.
#[derive(Debug, Clone)]
pub struct Block {
    pub id: Uuid,
    pub patient: String,
    /// Of an inner block; of an outer one its provider's.
    pub unit: &'static str,
    pub is_inner: bool,
    pub is_lifted: bool,
    /// So many exchanges came before it.
    pub after: usize,
}

impl Block {
    /// Whether it keeps what that unit has written from that reader; none: a registry.
    fn keeps(&self, author: &str, reader: Option<&str>) -> bool {
        if self.is_lifted || reader == Some(author) {
            return false;
        }
        match self.is_inner {
            true => author == self.unit && reader != Some(self.unit),
            false => {
                provider(author) == provider(self.unit) && reader.is_none_or(|r| provider(r) != provider(self.unit))
            }
        }
    }
}

/// That a unit has an area of a patient, as an EpisodeOfCare says.
#[derive(Debug, Clone)]
pub struct Held {
    pub patient: String,
    pub step: Move,
    /// The name of the EpisodeOfCare.
    pub episode: String,
}

impl Held {
    fn new(n: usize, patient: String, unit: &str) -> Self {
        let step = Move {
            id: Uuid::from_u128(n as u128 + 1),
            origin: Uuid::from_u128(n as u128 + 100),
            exchange: None,
            at: "2026-11-01T10:00:00Z".parse().unwrap(),
            step: Step::Takes,
            patient: patient.replace("Patient/", ""),
            area: AREAS[n].into(),
            unit: unit.into(),
        };
        let charge = charges(std::slice::from_ref(&step)).remove(0);
        Self { patient, step, episode: format!("EpisodeOfCare/{}", vardkedja::sync::charge::episode_id(&charge)) }
    }
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

/// What somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Care,
    Registry(&'static str),
    Operations,
}

/// Somebody who asks. Without scopes: all that concerns its units.
#[derive(Debug)]
pub struct Asker {
    pub purpose: Purpose,
    /// The unit that its token speaks for; without one, all units of the partner.
    pub unit: Option<&'static str>,
    pub partner: &'static str,
    pub scopes: Option<Vec<Scope>>,
}

#[derive(Default)]
pub struct Model {
    pub resources: Vec<Resource>,
    pub exchanges: Vec<Exchange>,
    pub blocks: Vec<Block>,
    pub held: Vec<Held>,
    /// Patients who do not want to be in a registry.
    pub objections: BTreeSet<(&'static str, String)>,
    /// Patients who were informed of the registries.
    pub informed: BTreeSet<String>,
    /// Ids of two Patients that turn out to be one person, the old one first, when so many exchanges have come.
    pub link: Option<(&'static str, &'static str, usize)>,
    /// What each registry was shown.
    pub got: RefCell<BTreeSet<(&'static str, String)>>,
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
                      "source": format!("urn:oid:1.2.752.129.2.1.4.1#{}", self.author),
                      "tag": [{ "system": "urn:mark", "code": self.mark(version) }] },
        });
        body["identifier"] = if self.kind == "Composition" { identifier } else { json!([identifier]) };
        let of_patient = match self.kind {
            "Task" => "for",
            "EpisodeOfCare" => "patient",
            _ => "subject",
        };
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
            ("Patient", _) => {
                body["gender"] = json!(said.gender);
                let number = self.id.parse::<usize>().ok().and_then(|n| NUMBERS.get(n));
                body["identifier"].as_array_mut().unwrap().push(json!({
                    "system": "http://electronichealth.se/identifier/personnummer", "value": number,
                }));
            }
            ("Procedure", _) => {
                // Each is an act that can be counted.
                let kva = json!({ "system": "urn:oid:1.2.752.116.1.3.2.1.4", "code": "DV133" });
                body["code"]["coding"].as_array_mut().unwrap().push(kva);
                body["performedDateTime"] = json!("2026-03-10T10:00:00+01:00");
            }
            ("EpisodeOfCare", _) => {
                let identifier = json!({ "system": "urn:oid:1.2.752.29.4.19", "value": self.author });
                body["managingOrganization"] = json!({ "identifier": identifier });
            }
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
    !matches!(kind, "Patient" | "Organization" | "Subscription" | "AuditEvent")
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
    /// Whether it speaks for one of the units.
    pub fn is_among(&self, units: &BTreeSet<&'static str>) -> bool {
        units.iter().any(|unit| self.is(unit))
    }

    /// Whether it speaks for the unit.
    pub fn is(&self, unit: &str) -> bool {
        if self.purpose != Purpose::Care {
            return false;
        }
        match self.unit {
            Some(own) => own == unit,
            None => UNITS.iter().any(|(own, partner)| *own == unit && *partner == self.partner),
        }
    }

    /// What it is called in the log.
    pub fn name(&self) -> &'static str {
        match self.purpose {
            Purpose::Care => self.unit.unwrap_or(self.partner),
            Purpose::Registry(name) => name,
            Purpose::Operations => "operations",
        }
    }

    /// Whether its purpose goes that far.
    fn is_for(&self, kind: &str, right: char) -> bool {
        match self.purpose {
            Purpose::Care => true,
            Purpose::Registry(_) => (right == 'r' || right == 's') && !WORDS.contains(&kind),
            Purpose::Operations => matches!(kind, "Organization" | "AuditEvent"),
        }
    }

    /// Whether it may see the log.
    pub fn sees_log(&self) -> bool {
        self.purpose == Purpose::Operations && ['r', 's'].iter().all(|right| self.may_all("AuditEvent", *right))
    }

    /// Whether any resource of the type could be covered: otherwise the answer is 403, whatever there is.
    pub fn may_ask(&self, kind: &str, right: char) -> bool {
        self.is_for(kind, right)
            && self.scopes.as_ref().is_none_or(|scopes| scopes.iter().any(|scope| scope.is_about(kind, right)))
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
        for (kind, count) in KINDS.into_iter().zip([3, 14, 7, 4, 4, 3, 3, 4, 4, AREAS.len()]) {
            for id in ids(count) {
                let said = |random: &mut Rng| Said {
                    code: pick(random, &CODES),
                    status: pick(random, &STATUSES),
                    gender: pick(random, &GENDERS),
                    patient: (has_status(kind) && random.u8(..) < 230)
                        .then(|| format!("Patient/{:02}", random.u8(..3))),
                    other: match kind {
                        "Task" => Some(format!("Procedure/{:02}", random.u8(..14))),
                        "Composition" => Some(format!("Task/{:02}", random.u8(..7))),
                        _ => None,
                    },
                };
                let versions = (0..random.usize(1..4)).map(|_| said(random)).collect();
                let author = pick(random, &unit_names);
                resources.push(Resource { kind, id, units: some_of(random, &unit_names), author, versions });
            }
        }
        let mut held = Vec::new();
        for (n, episode) in resources.iter_mut().filter(|r| r.kind == "EpisodeOfCare").enumerate() {
            let one = Held::new(n, format!("Patient/{:02}", random.u8(..3)), episode.author);
            episode.id = one.episode.replace("EpisodeOfCare/", "");
            held.push(one);
        }
        let mut exchanges = Vec::new();
        for _ in 0..10 {
            let patient = format!("Patient/{:02}", random.u8(..3));
            let about = |r: &&Resource| r.now().patient.as_ref() == Some(&patient);
            let mut names: Vec<String> =
                resources.iter().filter(about).filter(|_| random.bool()).map(Resource::name).collect();
            // The Patient comes with every document.
            names.push(patient.clone());
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
        let mut blocks = Vec::new();
        for _ in 0..random.usize(..4) {
            blocks.push(Block {
                id: Uuid::now_v7(),
                patient: format!("Patient/{:02}", random.u8(..3)),
                unit: pick(random, &unit_names),
                is_inner: random.bool(),
                is_lifted: random.u8(..) < 70,
                after: random.usize(..=exchanges.len()),
            });
        }
        let some = |random: &mut Rng, chance: u8| random.u8(..) < chance;
        let mut objections = BTreeSet::new();
        let mut informed = BTreeSet::new();
        for patient in 0..3 {
            let patient = format!("Patient/{patient:02}");
            for (registry, _) in REGISTRIES {
                if some(random, 60) {
                    objections.insert((registry, patient.clone()));
                }
            }
            if some(random, 170) {
                informed.insert(patient);
            }
        }
        let shown = |random: &mut Rng| resources.iter().filter(|_| random.u8(..) < 60).map(Resource::name).collect();
        let before: Vec<String> = shown(random);
        let got = RefCell::new(before.into_iter().map(|name| ("named", name)).collect());
        Self { resources, exchanges, blocks, held, objections, informed, link: None, got }
    }

    /// The patient that a resource is about; a Patient is about itself.
    pub fn patient_of(resource: &Resource) -> Option<String> {
        if resource.kind == "Patient" { Some(resource.name()) } else { resource.now().patient.clone() }
    }

    fn blocks_of<'m>(&'m self, patient: &'m str) -> impl Iterator<Item = &'m Block> {
        self.blocks.iter().filter(move |block| block.patient == patient && !block.is_lifted)
    }

    /// Whether a block keeps the resource from the reader: what came with documents about the patient, by who wrote it. The
    /// Patient is there for whoever sees anything else of that.
    pub fn is_withheld(&self, resource: &Resource, reader: Option<&str>) -> bool {
        let came_with = |name: String| self.exchanges.iter().filter(move |e| e.resources.contains(&name));
        if resource.kind == "Patient" {
            let name = resource.name();
            let sees = |other: &&Resource| {
                other.kind != "Patient"
                    && came_with(other.name()).any(|e| e.patient == name)
                    && reader.is_none_or(|unit| other.units.contains(unit))
                    && !self.is_withheld(other, reader)
            };
            return came_with(name.clone()).next().is_some()
                && self.blocks_of(&name).next().is_some()
                && !self.resources.iter().any(|other| sees(&other));
        }
        came_with(resource.name()).any(|e| self.blocks_of(&e.patient).any(|block| block.keeps(resource.author, reader)))
    }

    /// Whether a block keeps the exchange from the unit: it is its sender's.
    fn keeps_exchange(&self, exchange: &Exchange, unit: &str) -> bool {
        self.blocks_of(&exchange.patient).any(|block| block.keeps(exchange.sender, Some(unit)))
    }

    /// What the registry has to erase of what it was shown.
    pub fn is_to_be_erased(&self, registry: &'static str, resource: &Resource) -> bool {
        let patient = Self::patient_of(resource);
        let objects = patient.is_some_and(|patient| self.objections.contains(&(registry, patient)));
        resource.kind != "Organization" && (objects || self.is_withheld(resource, None))
    }

    /// The `n`th of those who ask: each purpose comes, and with random scopes, often enough such as let something through.
    pub fn asker(n: usize, random: &mut Rng) -> Asker {
        let (unit, partner) = pick(random, &UNITS);
        let purpose = match n {
            0 | 1 => Purpose::Registry(REGISTRIES[n].0),
            2 | 3 => Purpose::Operations,
            _ if random.u8(..) < 30 => Purpose::Registry(pick(random, &REGISTRIES).0),
            _ => Purpose::Care,
        };
        let unit = (random.u8(..) < 200).then_some(unit);
        if purpose == Purpose::Care && random.u8(..) < 30 {
            return Asker { purpose, unit, partner, scopes: None };
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
        if purpose == Purpose::Operations {
            let rights = if n == 2 { "rs" } else { "r" };
            scopes.push(Scope { kind: Some("AuditEvent"), rights, criteria: Vec::new() });
        }
        Asker { purpose, unit, partner, scopes: Some(scopes) }
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
        self.reaches(asker, resource) && self.covers(asker, right, resource, resource.now(), in_criterion)
    }

    /// Whether it is there for who asks, whatever the scopes.
    fn reaches(&self, asker: &Asker, resource: &Resource) -> bool {
        if resource.kind == "Organization" {
            return true;
        }
        match asker.purpose {
            Purpose::Care => {
                resource.units.iter().any(|unit| asker.is(unit) && !self.is_withheld(resource, Some(unit)))
            }
            Purpose::Operations => false,
            Purpose::Registry(_) if WORDS.contains(&resource.kind) => false,
            Purpose::Registry(registry) => Self::patient_of(resource).is_some_and(|patient| {
                let needs_information = REGISTRIES.iter().any(|(name, needs)| *name == registry && *needs);
                !self.objections.contains(&(registry, patient.clone()))
                    && (!needs_information || self.informed.contains(&patient))
                    && !self.is_withheld(resource, None)
            }),
        }
    }

    fn covers(&self, asker: &Asker, right: char, resource: &Resource, said: &Said, in_criterion: bool) -> bool {
        if !asker.is_for(resource.kind, right) {
            return false;
        }
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
        let has_come = |e: &&&Exchange| e.recipients.iter().any(|unit| asker.is(unit) && !self.keeps_exchange(e, unit));
        about.iter().any(|e| asker.is(e.sender)) && about.iter().find(has_come).is_none()
    }

    /// The marks that are shown of it as it stands.
    pub fn shown(&self, asker: &Asker, resource: &Resource) -> Option<String> {
        let is_hidden = resource.kind == "Patient" && self.is_own_word(asker, resource);
        (!is_hidden).then(|| resource.mark_now())
    }

    /// The asker takes part, and its scopes cover all that the exchange is mainly about.
    pub fn sees_exchange(&self, asker: &Asker, right: char, exchange: &Exchange) -> bool {
        let parties = exchange.recipients.iter().chain([&exchange.sender]);
        if !parties.into_iter().any(|unit| asker.is(unit) && !self.keeps_exchange(exchange, unit)) {
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
