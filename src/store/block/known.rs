//! What the store knows of one patient, as far as blocks are decided by it: exchanges, resources and who wrote them.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use uuid::Uuid;

use super::super::StoreError;
use super::super::link::{kin, person};
use super::super::row::uuid;
use super::super::statement::Statements;
use crate::domain::block::{Origin, Reader, Rule, is_withheld};
use crate::fhir::origin::{self, Source, documented, has_owners_words, hull, is_actor};
use crate::fhir::resource::type_of;

/// Of the person, under whichever number.
const EXCHANGES: &str = concat!("SELECT id, organisation, created_at FROM exchange WHERE patient IN ", person!("?1"));
const PARTIES: &str = "SELECT unit, role, task FROM party WHERE exchange = ?1 ORDER BY position";
/// How many versions of the document came, and when the last did.
const WRITTEN: &str = "SELECT count(*) AS many, max(received_at) AS last FROM document WHERE exchange = ?1";
const RESOURCES: &str = "SELECT x.rid, r.type, r.id, r.version, r.updated_at, v.body, \
     (SELECT f.at FROM version f WHERE f.rid = r.rid AND f.version = 1) AS made_at \
     FROM exchange_resource x CROSS JOIN resource r ON r.rid = x.rid CROSS JOIN version v ON v.seq = r.seq WHERE x.exchange = ?1";
/// What is of no exchange: its `meta.source` says which unit wrote it.
const OF_PROGRAMMES: &str = concat!(
    "SELECT x.rid, r.type, r.id, r.version, r.updated_at, v.body, \
     (SELECT f.at FROM version f WHERE f.rid = r.rid AND f.version = 1) AS made_at \
     FROM programme p INDEXED BY programme_of_patient CROSS JOIN programme_resource x ON x.programme = p.id \
     CROSS JOIN resource r ON r.rid = x.rid CROSS JOIN version v ON v.seq = r.seq WHERE p.patient IN ",
    person!("?1"),
    " AND p.patient IS NOT NULL"
);
/// Tasks that tell one unit that another has not done what is waited for; they belong to no exchange.
const ITEMS: &str =
    "SELECT x.rid, x.unit, r.id FROM escalation_task x CROSS JOIN resource r ON r.rid = x.rid WHERE x.exchange = ?1";
const PATIENT: &str = "SELECT rid FROM resource WHERE type = 'Patient' AND id = ?1";
/// Tasks that ask for a new assessment, of no exchange either: they say what the plan says.
const REASSESSMENTS: &str = "SELECT x.rid, r.type, r.id, r.version, r.updated_at, v.body, \
     (SELECT f.at FROM version f WHERE f.rid = r.rid AND f.version = 1) AS made_at \
     FROM reassessment x CROSS JOIN resource r ON r.rid = x.rid CROSS JOIN version v ON v.seq = r.seq WHERE x.exchange = ?1";
const PROVIDER: &str = "SELECT provider FROM affiliation WHERE unit = ?1";

/// Everything of a patient's that a block can close.
pub(super) struct Known {
    pub(super) exchanges: BTreeMap<Uuid, Exchange>,
    /// By `Type/id`.
    pub(super) resources: BTreeMap<String, Resource>,
    /// Actors and places, with the exchanges that they stand in.
    pub(super) actors: BTreeMap<i64, Vec<Uuid>>,
    providers: HashMap<String, Option<String>>,
}

pub(super) struct Exchange {
    pub(super) parties: Vec<Party>,
    /// Of the document: its sender's.
    pub(super) origins: Vec<Origin>,
}

pub(super) struct Party {
    pub(super) unit: String,
    pub(super) is_sender: bool,
    pub(super) task: Option<String>,
}

pub(super) struct Resource {
    pub(super) rid: i64,
    /// A Patient has no origin of its own: it is seen by whoever sees anything else of the patient's.
    pub(super) is_patient: bool,
    /// All who wrote something of it: one that is closed closes it.
    pub(super) origins: Vec<Origin>,
}

/// A resource as it stands in the database.
struct Row {
    rid: i64,
    name: String,
    version: u32,
    updated_at: i64,
    made_at: i64,
    body: Value,
}

impl Row {
    fn read(row: &rusqlite::Row<'_>) -> Result<Self, StoreError> {
        let (kind, id): (String, String) = (row.get("type")?, row.get("id")?);
        let updated_at = row.get("updated_at")?;
        let body: Vec<u8> = row.get("body")?;
        Ok(Self {
            rid: row.get("rid")?,
            name: format!("{kind}/{id}"),
            version: row.get("version")?,
            updated_at,
            made_at: row.get::<_, Option<i64>>("made_at")?.unwrap_or(updated_at),
            body: serde_json::from_slice(&body).map_err(|_| StoreError::Corrupt("a resource"))?,
        })
    }
}

impl Known {
    pub(super) fn read(db: &Statements<'_>, patient: &str) -> Result<Self, StoreError> {
        let mut known = Self {
            exchanges: BTreeMap::new(),
            resources: BTreeMap::new(),
            actors: BTreeMap::new(),
            providers: HashMap::new(),
        };
        let found = db.all(EXCHANGES, [patient], |row| {
            Ok::<_, StoreError>((uuid(row, "id")?, row.get::<_, String>("organisation")?, row.get("created_at")?))
        })?;
        for (id, organisation, created_at) in found {
            known.add(db, id, &organisation, created_at)?;
        }
        known.add_programmes(db, patient)?;
        known.add_linked(db, patient)?;
        Ok(known)
    }

    fn add(&mut self, db: &Statements<'_>, id: Uuid, organisation: &str, created_at: i64) -> Result<(), StoreError> {
        let key = id.as_bytes();
        let parties = db.all(PARTIES, [key], |row| {
            let role: String = row.get("role")?;
            let unit: String = row.get("unit")?;
            let unit = unit.to_ascii_uppercase();
            Ok::<_, StoreError>(Party { unit, is_sender: role == "sender", task: row.get("task")? })
        })?;
        let (many, last): (i64, Option<i64>) = db
            .first(WRITTEN, [key], |row| Ok::<_, StoreError>((row.get("many")?, row.get("last")?)))?
            .unwrap_or_default();
        let rows = db.all(RESOURCES, [key], Row::read)?;
        let sender = parties.iter().find(|p| p.is_sender).map(|p| p.unit.clone());
        let made = rows.iter().map(|row| &row.body).filter(|r| matches!(origin::source(r), Source::Document(_)));
        let written = origin::document_written(made).unwrap_or((created_at, created_at));
        // A version that came later was written later, whatever the document says of when it was begun.
        let written = if many > 1 { hull(written, (written.0, last.unwrap_or(written.1))) } else { written };
        let origins = match &sender {
            Some(unit) => self.origins(db, unit, Some(organisation), written)?,
            None => vec![Origin { documented: Some(written), ..Origin::default() }],
        };
        let exchange = Exchange { parties, origins };
        let told = told(&rows, &exchange);
        for row in rows {
            if is_actor(type_of(&row.body)) {
                self.actors.entry(row.rid).or_default().push(id);
                continue;
            }
            let by = told.get(&row.name).map(String::as_str);
            let origins = self.origins_of(db, &row, &exchange, by, written)?;
            let resource = self.resources.entry(row.name).or_insert_with(|| Resource {
                rid: row.rid,
                is_patient: type_of(&row.body) == "Patient",
                origins: Vec::new(),
            });
            resource.origins.extend(origins);
        }
        let items = db.all(ITEMS, [key], |row| {
            Ok::<_, StoreError>((row.get("rid")?, row.get::<_, String>("unit")?, row.get::<_, String>("id")?))
        })?;
        for (rid, unit, id) in items {
            // It tells that there is an exchange, and how the Task stands.
            let party = exchange.parties.iter().find(|p| p.unit.eq_ignore_ascii_case(&unit));
            let task = party.and_then(|p| p.task.as_ref()).and_then(|task| self.resources.get(&format!("Task/{task}")));
            let origins = exchange.origins.iter().chain(task.iter().flat_map(|t| &t.origins)).cloned().collect();
            self.resources.insert(format!("Task/{id}"), Resource { rid, is_patient: false, origins });
        }
        for row in db.all(REASSESSMENTS, [key], Row::read)? {
            let mut origins = exchange.origins.clone();
            // That its owner has assessed the patient anew is the owner's own word.
            let owner = row.body["owner"]["identifier"]["value"].as_str().map(str::to_ascii_uppercase);
            if let Some(unit) = owner.filter(|_| has_owners_words(&row.body)) {
                origins.extend(self.origins(db, &unit, None, (row.made_at, row.updated_at))?);
            }
            self.resources.insert(row.name, Resource { rid: row.rid, is_patient: false, origins });
        }
        self.exchanges.insert(id, exchange);
        Ok(())
    }

    /// A Patient of another number of the person, which no document may have come under.
    fn add_linked(&mut self, db: &Statements<'_>, patient: &str) -> Result<(), StoreError> {
        let others = kin(db, patient)?;
        let person = others.iter().map(String::as_str).chain([patient]);
        for id in person.filter(|_| !others.is_empty()) {
            let Some(rid) = db.first(PATIENT, [id], |row| Ok::<_, StoreError>(row.get(0)?))? else { continue };
            let resource = || Resource { rid, is_patient: true, origins: Vec::new() };
            self.resources.entry(format!("Patient/{id}")).or_insert_with(resource);
        }
        Ok(())
    }

    fn add_programmes(&mut self, db: &Statements<'_>, patient: &str) -> Result<(), StoreError> {
        let none = Exchange { parties: Vec::new(), origins: Vec::new() };
        for row in db.all(OF_PROGRAMMES, [patient], Row::read)? {
            let origins = self.origins_of(db, &row, &none, None, (row.made_at, row.made_at))?;
            let is_patient = type_of(&row.body) == "Patient";
            self.resources.insert(row.name, Resource { rid: row.rid, is_patient, origins });
        }
        Ok(())
    }

    /// Who wrote a resource. `by`: the unit whose answer it is, for what was read back from a partner's server.
    fn origins_of(
        &mut self,
        db: &Statements<'_>,
        row: &Row,
        exchange: &Exchange,
        by: Option<&str>,
        written: (i64, i64),
    ) -> Result<Vec<Origin>, StoreError> {
        let kind = type_of(&row.body);
        if kind == "Patient" {
            return Ok(Vec::new());
        }
        let own = documented(&row.body).unwrap_or((row.made_at, row.made_at));
        let own = if row.version > 1 { hull(own, (own.0, row.updated_at)) } else { own };
        let mut origins = match origin::source(&row.body) {
            // What a document made was written when the document was, whatever day stands in it.
            Source::Document(unit) => match exchange.parties.iter().find(|p| p.is_sender && p.unit == unit) {
                Some(_) => exchange.origins.clone(),
                None => self.origins(db, &unit, None, written)?,
            },
            Source::Unit(unit) => self.origins(db, &unit, None, own)?,
            // Requests to stop, Provenance and who has charge of what are made here, of the sender's words.
            Source::Unsaid if matches!(kind, "Task" | "Provenance" | "EpisodeOfCare") => exchange.origins.clone(),
            Source::Partner if by.is_some() => self.origins(db, by.unwrap_or_default(), None, own)?,
            Source::Partner | Source::Unsaid => vec![Origin { documented: Some(own), ..Origin::default() }],
        };
        if kind == "Task" && has_owners_words(&row.body) {
            let id = row.body["id"].as_str();
            let owner = exchange.owner(id);
            // Who has sent it on is no party any more, and its Task says who that was.
            let gone = owner.is_none().then(|| row.body["owner"]["identifier"]["value"].as_str()).flatten();
            let unit = owner.filter(|owner| !owner.is_sender).map(|owner| owner.unit.clone());
            if let Some(unit) = unit.or_else(|| gone.map(str::to_ascii_uppercase)) {
                origins.extend(self.origins(db, &unit, None, (row.made_at, row.updated_at))?);
            }
        }
        // That it has charge of something, and since when, is also its own word.
        let charged = row.body["managingOrganization"]["identifier"]["value"].as_str().map(str::to_ascii_uppercase);
        if kind == "EpisodeOfCare"
            && let Some(unit) = charged.filter(|unit| !exchange.parties.iter().any(|p| p.is_sender && p.unit == *unit))
        {
            origins.extend(self.origins(db, &unit, None, own)?);
        }
        Ok(origins)
    }

    /// Both what the exchange says of the unit's provider when it sent, and what the directory says now: either is closed.
    fn origins(
        &mut self,
        db: &Statements<'_>,
        unit: &str,
        then: Option<&str>,
        documented: (i64, i64),
    ) -> Result<Vec<Origin>, StoreError> {
        let now = self.provider(db, unit)?;
        // Where the directory did not know the unit, the exchange has the unit itself in its place.
        let then = then.map(str::to_ascii_uppercase).filter(|then| then != unit);
        let mut providers = vec![now.clone()];
        if then.is_some() && now.is_none() {
            providers.clear();
        }
        if then.is_some() && then != now {
            providers.push(then);
        }
        let origin = |provider| Origin { unit: Some(unit.to_owned()), provider, documented: Some(documented) };
        Ok(providers.into_iter().map(origin).collect())
    }

    pub(super) fn provider(&mut self, db: &Statements<'_>, unit: &str) -> Result<Option<String>, StoreError> {
        if let Some(known) = self.providers.get(unit) {
            return Ok(known.clone());
        }
        let found = db.first(PROVIDER, [unit], |row| Ok::<_, StoreError>(row.get::<_, String>(0)?))?;
        self.providers.insert(unit.to_owned(), found.clone());
        Ok(found)
    }

    /// A unit as a reader; the empty one is whoever has none.
    pub(super) fn reader(&mut self, db: &Statements<'_>, unit: &str) -> Result<Reader, StoreError> {
        if unit == super::NOBODY {
            return Ok(Reader::default());
        }
        Ok(Reader { unit: Some(unit.to_owned()), provider: self.provider(db, unit)? })
    }

    /// Whether the exchange is kept from the reader.
    pub(super) fn keeps_exchange(&self, rules: &[Rule], id: Uuid, reader: &Reader) -> bool {
        self.exchanges.get(&id).is_some_and(|e| e.origins.iter().any(|o| is_withheld(rules, o, reader)))
    }

    /// Whether the resource is kept from the reader; a Patient is where all else of it is.
    pub(super) fn keeps(&self, rules: &[Rule], name: &str, reader: &Reader) -> bool {
        match self.resources.get(name) {
            Some(resource) if resource.is_patient => false,
            Some(resource) => resource.origins.iter().any(|o| is_withheld(rules, o, reader)),
            None => false,
        }
    }
}

impl Exchange {
    /// Who owns the Task.
    fn owner(&self, task: Option<&str>) -> Option<&Party> {
        self.parties.iter().find(|p| p.task.is_some() && p.task.as_deref() == task)
    }
}

/// What the outputs of Tasks point at, with the unit that owns the Task.
fn told(rows: &[Row], exchange: &Exchange) -> HashMap<String, String> {
    let mut told = HashMap::new();
    for task in rows.iter().map(|row| &row.body).filter(|r| type_of(r) == "Task") {
        let Some(owner) = exchange.owner(task["id"].as_str()) else { continue };
        for output in task["output"].as_array().map_or(&[][..], Vec::as_slice) {
            if let Some(name) = output["valueReference"]["reference"].as_str() {
                told.insert(name.to_owned(), owner.unit.clone());
            }
        }
    }
    told
}
