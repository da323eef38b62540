//! Every path on which something is shown, with what the model says that it shows. A new route is a new line in [`PATHS`].

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use serde_json::{Value, json};

use super::library::{Request, subscription};
use super::model::{
    Asker, CODES, GENDERS, KINDS, Model, NUMBERS, Purpose, REGISTRIES, Resource, STATUSES, has_code, has_status, pick,
};

/// A path by its name, and what is asked on it.
pub type Path = (&'static str, fn(&Model, &Asker, &mut Rng) -> Vec<Question>);

pub const PATHS: &[Path] = &[
    ("read", read),
    ("read if changed", read_if_changed),
    ("vread", vread),
    ("search", search),
    ("search in pages, sorted", search_sorted),
    ("POST _search", search_by_form),
    ("count", count),
    ("chain", chain),
    ("_has", has),
    ("_include", include),
    ("_revinclude", revinclude),
    ("history of one", history),
    ("history of a type", history_of_type),
    ("history of everything", history_of_all),
    ("$everything", everything),
    ("$document", document),
    ("rules applied", rules_applied),
    ("who is responsible", responsible),
    ("programme applied", programme_applied),
    ("rules asked of a plan", rules_asked),
    ("If-None-Exist", if_none_exist),
    ("conditional update", conditional_update),
    ("a conflict settled", settle),
    ("exchanges", exchanges),
    ("exchange", exchange),
    ("deliveries", deliveries),
    ("statistics", statistics),
    ("$export of everything", export),
    ("$export about patients", export_of_patients),
    ("AuditEvent", audit_log),
    ("access-log", access_log),
    ("disclosures", disclosures),
    ("erasures", erasures),
    ("$events of a subscription", events),
    ("open loops", open_loops),
    ("timeline", timeline),
    ("$diff", difference),
    ("code list", code_list),
];

/// What is read of an answer.
pub type Reading = fn(&Value) -> Value;

/// What is asked, and what has to come.
pub struct Question {
    pub request: Request,
    /// Exactly these marks stand in the answer.
    pub marks: BTreeSet<String>,
    /// `Bundle.total`.
    pub total: Option<usize>,
    /// Exactly these of all ids of exchanges.
    pub exchanges: Option<BTreeSet<String>>,
    /// `resources` of an exchange.
    pub names: Option<BTreeSet<String>>,
    pub status: Option<fn(u16) -> bool>,
    /// What is read of the answer, and what it has to be.
    pub figures: Option<(Reading, Value)>,
}

fn get(path: String, marks: impl IntoIterator<Item = String>) -> Question {
    Question {
        request: Request { method: "GET", path, ..Request::default() },
        marks: marks.into_iter().collect(),
        total: None,
        exchanges: None,
        names: None,
        status: None,
        figures: None,
    }
}

fn found<'m>(model: &'m Model, asker: &'m Asker, kind: &'m str) -> impl Iterator<Item = &'m Resource> {
    model.of(kind).filter(move |r| model.sees(asker, 's', r))
}

fn read(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let one = |r: &Resource| {
        let shown = model.sees(asker, 'r', r).then(|| model.shown(asker, r)).flatten();
        get(format!("/fhir/{}", r.name()), shown)
    };
    model.resources.iter().map(one).collect()
}

fn read_if_changed(model: &Model, asker: &Asker, random: &mut Rng) -> Vec<Question> {
    let r = &model.resources[random.usize(..model.resources.len())];
    let mut question = get(format!("/fhir/{}", r.name()), None);
    question.request.headers.push(("If-None-Match", "*".into()));
    question.status = Some(if model.sees(asker, 'r', r) { |s| s == 304 } else { |s| s == 404 || s == 403 });
    vec![question]
}

fn vread(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let mut all = Vec::new();
    for r in &model.resources {
        for version in 1..=r.versions.len() {
            let seen = model.sees_version(asker, 'r', r, version) && model.shown(asker, r).is_some();
            all.push(get(format!("/fhir/{}/_history/{version}", r.name()), seen.then(|| r.mark(version))));
        }
    }
    all
}

fn search(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let of =
        |kind| get(format!("/fhir/{kind}?_count=500"), found(model, asker, kind).filter_map(|r| model.shown(asker, r)));
    KINDS.into_iter().map(of).collect()
}

fn search_sorted(model: &Model, asker: &Asker, random: &mut Rng) -> Vec<Question> {
    let kind = pick(random, &KINDS);
    let sort = match kind {
        "Patient" => pick(random, &["_id", "-gender", "gender"]),
        _ if has_code(kind) => pick(random, &["-_lastUpdated", "code", "-status,code", "_id"]),
        _ if has_status(kind) => pick(random, &["status", "-_lastUpdated"]),
        _ => "-_id",
    };
    let shown = found(model, asker, kind).filter_map(|r| model.shown(asker, r));
    vec![get(format!("/fhir/{kind}?_sort={sort}&_count=2"), shown)]
}

fn search_by_form(model: &Model, asker: &Asker, random: &mut Rng) -> Vec<Question> {
    let code = pick(random, &CODES);
    let kind = pick(random, &["Procedure", "Task", "ServiceRequest"]);
    let matches = found(model, asker, kind).filter(|r| r.now().code == code).map(Resource::mark_now);
    let mut question = get(format!("/fhir/{kind}/_search"), matches);
    question.request.method = "POST";
    question.request.headers.push(("Content-Type", "application/x-www-form-urlencoded".into()));
    question.request.body = Some(format!("code=urn:k|{code}&_count=500"));
    // What is asked for in so many words may be the very criterion of a scope.
    let bare = format!("/fhir/{kind}?code={code}&_count=500");
    let again = get(bare, question.marks.iter().cloned());
    vec![question, again]
}

fn count(model: &Model, asker: &Asker, random: &mut Rng) -> Vec<Question> {
    let status = pick(random, &STATUSES);
    let mut all = Vec::new();
    for kind in KINDS {
        let may = asker.may_ask(kind, 's');
        let mut question = get(format!("/fhir/{kind}?_summary=count"), None);
        question.total = may.then(|| found(model, asker, kind).count());
        all.push(question);
        if has_status(kind) {
            let matches: Vec<&Resource> = found(model, asker, kind).filter(|r| r.now().status == status).collect();
            let path = format!("/fhir/{kind}?status={status}&_total=accurate&_count=500");
            let mut question = get(path, matches.iter().map(|r| r.mark_now()));
            question.total = may.then_some(matches.len());
            all.push(question);
        }
    }
    all
}

fn chain(model: &Model, asker: &Asker, random: &mut Rng) -> Vec<Question> {
    let gender = pick(random, &GENDERS);
    let of_gender = |name: &String| {
        let patient = model.find(name).unwrap();
        model.sees(asker, 's', patient) && !model.is_own_word(asker, patient) && patient.now().gender == gender
    };
    let by_gender = |kind: &'static str| {
        let matches = found(model, asker, kind).filter(|r| r.now().patient.as_ref().is_some_and(of_gender));
        get(format!("/fhir/{kind}?patient.gender={gender}&_count=500"), matches.map(Resource::mark_now))
    };
    let mut all: Vec<Question> = ["Procedure", "Task", "CarePlan"].into_iter().map(by_gender).collect();
    let code = pick(random, &CODES);
    let of_code = |name: &String| {
        let procedure = model.find(name).unwrap();
        model.sees(asker, 's', procedure) && procedure.now().code == code
    };
    let matches = found(model, asker, "Task").filter(|r| r.now().other.as_ref().is_some_and(of_code));
    all.push(get(format!("/fhir/Task?focus:Procedure.code={code}&_count=500"), matches.map(Resource::mark_now)));
    let named = |name: &String| model.sees(asker, 's', model.find(name).unwrap()) && name == "Patient/01";
    let matches = found(model, asker, "Task").filter(|r| r.now().patient.as_ref().is_some_and(named));
    let path = "/fhir/Task?patient.identifier=urn:id|Patient-01&_count=500".to_owned();
    all.push(get(path, matches.map(Resource::mark_now)));
    all
}

fn has(model: &Model, asker: &Asker, random: &mut Rng) -> Vec<Question> {
    let (code, status) = (pick(random, &CODES), pick(random, &STATUSES));
    let points = |r: &&Resource| {
        found(model, asker, "Procedure").any(|p| p.now().code == code && p.now().patient.as_ref() == Some(&r.name()))
    };
    let patients = found(model, asker, "Patient").filter(points).filter_map(|r| model.shown(asker, r));
    let about = |r: &&Resource| {
        found(model, asker, "Task").any(|t| t.now().status == status && t.now().other.as_ref() == Some(&r.name()))
    };
    let procedures = found(model, asker, "Procedure").filter(about).map(Resource::mark_now);
    vec![
        get(format!("/fhir/Patient?_has:Procedure:patient:code={code}&_count=500"), patients),
        get(format!("/fhir/Procedure?_has:Task:focus:status={status}&_count=500"), procedures),
    ]
}

fn include(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let shown = |r: &Resource| model.sees(asker, 's', r).then(|| model.shown(asker, r)).flatten();
    let mut procedures = BTreeSet::new();
    for r in found(model, asker, "Procedure") {
        procedures.insert(r.mark_now());
        procedures.extend(r.now().patient.iter().filter_map(|name| shown(model.find(name).unwrap())));
    }
    let mut tasks = BTreeSet::new();
    for r in found(model, asker, "Task") {
        tasks.insert(r.mark_now());
        let focus = r.now().other.as_ref().and_then(|name| model.find(name)).filter(|f| model.sees(asker, 's', f));
        if let Some(focus) = focus {
            tasks.insert(focus.mark_now());
            tasks.extend(focus.now().patient.iter().filter_map(|name| shown(model.find(name).unwrap())));
        }
    }
    let iterated = "/fhir/Task?_include=Task:focus&_include:iterate=Procedure:patient&_count=500";
    let mut messages = BTreeSet::new();
    for r in found(model, asker, "Communication") {
        messages.insert(r.mark_now());
        messages.extend(r.now().patient.iter().filter_map(|name| shown(model.find(name).unwrap())));
    }
    vec![
        get("/fhir/Procedure?_include=Procedure:patient&_count=500".into(), procedures),
        get(iterated.into(), tasks),
        get("/fhir/Communication?_include=Communication:subject&_count=500".into(), messages),
    ]
}

fn revinclude(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let mut marks = BTreeSet::new();
    for patient in found(model, asker, "Patient") {
        marks.extend(model.shown(asker, patient));
        let about = |r: &&Resource| r.now().patient.as_ref() == Some(&patient.name());
        marks.extend(found(model, asker, "Procedure").filter(about).map(Resource::mark_now));
        marks.extend(found(model, asker, "CarePlan").filter(about).map(Resource::mark_now));
        marks.extend(found(model, asker, "CommunicationRequest").filter(about).map(Resource::mark_now));
    }
    let path = "/fhir/Patient?_revinclude=Procedure:patient&_revinclude=CarePlan:patient\
                &_revinclude=CommunicationRequest:patient&_count=500";
    vec![get(path.into(), marks)]
}

/// The marks of every version that is shown.
fn versions<'m>(model: &'m Model, asker: &'m Asker, right: char, r: &'m Resource) -> impl Iterator<Item = String> + 'm {
    (1..=r.versions.len())
        .filter(move |version| model.sees_version(asker, right, r, *version) && model.shown(asker, r).is_some())
        .map(|version| r.mark(version))
}

fn history(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let of = |r| get(format!("/fhir/{}/_history?_count=2", Resource::name(r)), versions(model, asker, 'r', r));
    model.resources.iter().map(of).collect()
}

fn history_of_type(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let of = |kind| {
        let marks = model.of(kind).flat_map(|r| versions(model, asker, 's', r));
        get(format!("/fhir/{kind}/_history?_count=5"), marks)
    };
    KINDS.into_iter().map(of).collect()
}

fn history_of_all(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    // Of everything at once a unit gets the actors that take part in what concerns it, and who runs the gateway none.
    let is_registry = matches!(asker.purpose, Purpose::Registry(_));
    let all = model.resources.iter().filter(|r| is_registry || asker.is_among(&r.units));
    vec![get("/fhir/_history?_count=20".into(), all.flat_map(|r| versions(model, asker, 's', r)))]
}

/// What is reached from the resources by references, as far as each can be read.
fn reached<'m>(
    model: &'m Model,
    asker: &Asker,
    from: Vec<&'m Resource>,
    wanted: impl Fn(&str) -> bool,
) -> BTreeSet<String> {
    let (mut open, mut seen, mut marks) = (from, BTreeSet::new(), BTreeSet::new());
    while let Some(r) = open.pop() {
        if !seen.insert(r.name()) || !model.sees(asker, 'r', r) {
            continue;
        }
        marks.extend(model.shown(asker, r));
        open.extend(r.targets().filter(|name| wanted(name)).filter_map(|name| model.find(name)));
    }
    marks
}

fn everything(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let of = |patient: &Resource| {
        let name = patient.name();
        let mut from = vec![patient];
        for exchange in model.exchanges.iter().filter(|e| e.patient == name) {
            from.extend(exchange.resources.iter().filter_map(|name| model.find(name)));
        }
        let wanted = |other: &str| !other.starts_with("Patient/") || other == name;
        let marks = match model.sees(asker, 'r', patient) {
            true => reached(model, asker, from, wanted),
            false => BTreeSet::new(),
        };
        get(format!("/fhir/{name}/$everything?_count=3"), marks)
    };
    model.of("Patient").map(of).collect()
}

fn document(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let of = |r| get(format!("/fhir/{}/$document", Resource::name(r)), reached(model, asker, vec![r], |_| true));
    model.of("Composition").map(of).collect()
}

/// Rules read a patient's Observations: for whom the patient is not there they say nothing, and to nobody what an Observation is.
fn rules_applied(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let of = |patient: &Resource| {
        let path = format!("/fhir/PlanDefinition/vgr-cancerrehabilitering/$apply?subject={}", patient.name());
        let mut question = get(path, None);
        let sees = model.sees(asker, 'r', patient);
        question.status = Some(if sees { |s| s == 200 || s == 403 } else { |s| s == 404 || s == 403 });
        question
    };
    model.of("Patient").map(of).collect()
}

/// A programme is judged over what is seen of a patient, and for whom the patient is not there over nothing.
fn programme_applied(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let of = |patient: &Resource| {
        let path = format!("/fhir/PlanDefinition/infor-din-cancerbehandling/$apply?subject={}", patient.name());
        let mut question = get(path, None);
        let sees = model.sees(asker, 'r', patient);
        question.status = Some(if sees { |s| s == 200 || s == 403 } else { |s| s == 404 || s == 403 });
        question
    };
    model.of("Patient").map(of).collect()
}

/// Who has which area is told by what may be read of the episodes that say so, and by nothing else.
fn responsible(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let of = |patient: &Resource| {
        let number = NUMBERS[patient.id.parse::<usize>().unwrap()];
        let mut question = get("/v1/responsibility/search".into(), None);
        question.request.method = "POST";
        question.request.headers.push(("Content-Type", "application/json".into()));
        question.request.body = Some(json!({ "patient": number }).to_string());
        if asker.purpose != Purpose::Care {
            question.status = Some(|s| s == 403);
            return question;
        }
        // With a scope that could cover something and covers nothing, all is unknown.
        let may = asker.may_ask("EpisodeOfCare", 'r');
        question.status = Some(if may { |s| s == 200 } else { |s| s == 200 || s == 403 });
        let seen = model.held.iter().filter(|held| held.patient == patient.name());
        let seen = seen.filter(|held| may && model.sees(asker, 'r', model.find(&held.episode).unwrap()));
        let lines: BTreeSet<String> = seen.map(|held| format!("{} {}", held.step.area, held.step.unit)).collect();
        let read = |answer: &Value| {
            let line = |area: &Value| -> Vec<String> {
                let units = area["responsible"].as_array().into_iter().flatten();
                units
                    .map(|one| format!("{} {}", area["area"].as_str().unwrap(), one["unit"].as_str().unwrap()))
                    .collect()
            };
            let lines: BTreeSet<String> = answer["areas"].as_array().into_iter().flatten().flat_map(line).collect();
            json!(lines)
        };
        question.figures = Some((read, json!(lines)));
        question
    };
    model.of("Patient").map(of).collect()
}

/// A plan that is hidden answers as one that there is not.
fn rules_asked(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let of = |plan: &Resource| {
        let mut question = get("/v1/responsibility".into(), None);
        question.request.method = "POST";
        question.request.headers = vec![("Content-Type", "application/json".into())];
        question.request.body = Some(json!({ "region": "14", "plan": plan.name(), "assessment": {} }).to_string());
        let sees = model.sees(asker, 'r', plan);
        question.status = Some(if sees { |s| s == 200 || s == 403 } else { |s| s == 404 || s == 403 });
        question
    };
    model.of("CarePlan").map(of).collect()
}

/// An identifier of something hidden is as good as one that nobody has.
fn if_none_exist(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let of = |r: &Resource| {
        let value = format!("Procedure-{}", r.id);
        let body = json!({
            "resourceType": "Procedure", "status": "completed", "identifier": [{ "system": "urn:id", "value": value }],
        });
        let may = asker.may_ask("Procedure", 'c') && asker.may_ask("Procedure", 's');
        let is_there = may && model.sees(asker, 's', r);
        let mut question = get("/fhir/Procedure".into(), is_there.then(|| r.mark_now()));
        question.request.method = "POST";
        question.request.headers = vec![
            ("Content-Type", "application/fhir+json".into()),
            ("If-None-Exist", format!("identifier=urn:id|{value}")),
        ];
        question.request.body = Some(body.to_string());
        question.status = Some(match (may, is_there) {
            (_, true) => |s| s == 200,
            (true, false) => |s| s == 422,
            (false, false) => |s| s == 403,
        });
        question
    };
    model.of("Procedure").map(of).collect()
}

fn conditional_update(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let of = |r: &Resource| {
        let path = format!("/fhir/Task?identifier=urn:id|Task-{}", r.id);
        let mut question = get(path, None);
        question.request.method = "PUT";
        question.request.headers =
            vec![("Content-Type", "application/fhir+json".into()), ("If-Match", "W/\"99\"".into())];
        question.request.body = Some(json!({ "resourceType": "Task" }).to_string());
        question.status = Some(match (asker.may_ask("Task", 'u'), model.sees(asker, 'u', r)) {
            (false, _) => |s| s == 403,
            // Seen, and then not its own, or of an exchange that it takes no part in.
            (true, true) => |s| matches!(s, 403 | 404 | 412),
            (true, false) => |s| s == 404,
        });
        question
    };
    model.of("Task").map(of).collect()
}

/// None of these Tasks is about a difference: whoever sees it is told no more than who does not.
fn settle(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let of = |r: &Resource| {
        let mut question = get(format!("/v1/conflicts/{}/settle", r.id), None);
        question.request.method = "POST";
        question.request.headers = vec![("Content-Type", "application/json".into())];
        let body = json!({ "by": "SE2321000131-P000000000011", "elements": { "title": "ours" } });
        question.request.body = Some(body.to_string());
        let is_open = asker.purpose == Purpose::Care && asker.may_ask("Task", 'u');
        question.status = Some(if is_open { |s| s == 404 } else { |s| s == 403 });
        question
    };
    model.of("Task").map(of).collect()
}

fn exchanges(model: &Model, asker: &Asker, random: &mut Rng) -> Vec<Question> {
    let seen = |kind: Option<vardkedja::domain::Kind>| -> BTreeSet<String> {
        let all = model.exchanges.iter().filter(|e| kind.is_none_or(|kind| e.kind == kind));
        all.filter(|e| model.sees_exchange(asker, 's', e)).map(|e| e.id.to_string()).collect()
    };
    let kind = pick(random, &vardkedja::domain::Kind::ALL);
    let mut all = get("/v1/exchanges?limit=100".into(), None);
    all.exchanges = Some(seen(None));
    let mut of_kind = get(format!("/v1/exchanges?kind={}&limit=100", kind.name()), None);
    of_kind.exchanges = Some(seen(Some(kind)));
    vec![all, of_kind]
}

fn exchange(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let of = |e: &super::model::Exchange| {
        let mut question = get(format!("/v1/exchanges/{}", e.id), None);
        if model.sees_exchange(asker, 'r', e) {
            let read = |name: &&String| model.sees(asker, 'r', model.find(name).unwrap());
            question.names = Some(e.resources.iter().filter(read).cloned().collect());
            question.status = Some(|s| s == 200);
        } else {
            let is_care = asker.purpose == Purpose::Care;
            question.status = Some(if is_care { |s| s == 404 } else { |s| s == 403 });
        }
        question
    };
    model.exchanges.iter().map(of).collect()
}

fn deliveries(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let mut question = get("/v1/deliveries?limit=100".into(), None);
    let all = asker.purpose == Purpose::Operations;
    let seen = model.exchanges.iter().filter(|e| all || model.sees_exchange(asker, 's', e));
    question.exchanges = Some(seen.map(|e| e.id.to_string()).collect());
    vec![question]
}

/// Numbers under five are not shown.
fn statistics(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let all = asker.purpose == Purpose::Operations;
    let is_act = |r: &&Resource| r.now().status == "completed";
    let acts = model.of("Procedure").filter(|r| all || model.sees(asker, 's', r)).filter(is_act).count();
    let mut question = get("/v1/statistics/kva?from=2026&to=2026&by=code".into(), None);
    if all || asker.may_ask("Procedure", 's') {
        let shown = if (1..5).contains(&acts) { Value::Null } else { json!(acts) };
        question.figures = Some((|answer| answer["total"]["acts"].clone(), shown));
    } else {
        question.status = Some(|s| s == 403);
    }
    vec![question]
}

fn export(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    exported("/fhir/$export", model, asker, |_| true)
}

fn export_of_patients(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    exported("/fhir/Patient/$export", model, asker, |r| Model::patient_of(r).is_some())
}

/// Everything that can be read, in files: as it stands, and of a Patient nothing but what has come.
fn exported(path: &str, model: &Model, asker: &Asker, is_meant: fn(&Resource) -> bool) -> Vec<Question> {
    let all = model.resources.iter().filter(|r| is_meant(r) && model.sees(asker, 'r', r));
    let mut question = get(path.into(), all.filter_map(|r| model.shown(asker, r)));
    question.request.is_export = true;
    vec![question]
}

fn audit_log(_: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let mut question = get("/fhir/AuditEvent?_count=3".into(), None);
    question.request.is_one_page = true;
    question.status = Some(if asker.sees_log() { |s| s == 200 } else { |s| s == 403 });
    vec![question]
}

fn access_log(_: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let of = |path: &str| {
        let mut question = get(path.to_owned(), None);
        question.request.is_one_page = true;
        question.status = Some(if asker.sees_log() { |s| s == 200 } else { |s| s == 403 });
        question
    };
    vec![of("/v1/patients/01/access-log?limit=3"), of("/fhir/Patient/01/$access-log?_count=3")]
}

/// What registries have got of a patient: of what the unit itself may see, and of nothing else.
fn disclosures(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let of = |patient: &Resource| {
        let number = NUMBERS[patient.id.parse::<usize>().unwrap()];
        let mut question = get("/v1/disclosures/search".into(), None);
        question.request.method = "POST";
        question.request.headers.push(("Content-Type", "application/json".into()));
        question.request.body = Some(json!({ "patient": number }).to_string());
        if asker.purpose != Purpose::Care || !model.sees(asker, 'r', patient) {
            let is_care = asker.purpose == Purpose::Care;
            question.status = Some(if is_care { |s| s == 404 } else { |s| s == 403 });
            return question;
        }
        let (mut has, mut erases) = (BTreeMap::new(), BTreeMap::new());
        for (registry, name) in model.got.borrow().iter() {
            let resource = model.find(name).unwrap();
            let is_about = Model::patient_of(resource) == Some(patient.name());
            if is_about && model.sees(asker, 'r', resource) {
                let counts = if model.is_to_be_erased(registry, resource) { &mut erases } else { &mut has };
                *counts.entry(format!("{registry} {}", resource.kind)).or_insert(0) += 1;
            }
        }
        let read = |answer: &Value| {
            let of = |list: &Value| -> BTreeMap<String, u64> {
                let line = |one: &Value| {
                    let of = format!("{} {}", one["registry"].as_str()?, one["type"].as_str()?);
                    Some((of, one["resources"].as_u64()?))
                };
                list.as_array().into_iter().flatten().filter_map(line).collect()
            };
            json!([of(&answer["disclosures"]), of(&answer["toErase"])])
        };
        question.figures = Some((read, json!([has, erases])));
        question
    };
    model.of("Patient").map(of).collect()
}

fn erasures(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let of = |(registry, _): &(&'static str, bool)| {
        let mut question = get(format!("/v1/registries/{registry}/erasures?limit=500"), None);
        let may = match asker.purpose {
            Purpose::Care => false,
            Purpose::Operations => true,
            Purpose::Registry(own) => own == *registry,
        };
        if !may {
            question.status = Some(|s| s == 403 || s == 404);
            return question;
        }
        let got = model.got.borrow();
        let names: BTreeSet<&String> = got
            .iter()
            .filter(|(to, name)| to == registry && model.is_to_be_erased(registry, model.find(name).unwrap()))
            .map(|(_, name)| name)
            .collect();
        let read = |answer: &Value| {
            let line = |one: &Value| Some(format!("{}/{}", one["type"].as_str()?, one["id"].as_str()?));
            let names: BTreeSet<String> =
                answer["erasures"].as_array().into_iter().flatten().filter_map(line).collect();
            json!(names)
        };
        question.figures = Some((read, json!(names)));
        question
    };
    REGISTRIES.iter().map(of).collect()
}
/// Of every Task that its subscriber was told of, with what the token of the one who asks covers now.
fn events(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let name = asker.unit.unwrap_or(asker.partner);
    let may = asker.purpose == Purpose::Care && asker.may_ask("Subscription", 'r');
    let seen =
        |r: &Resource, version: usize| ['r', 's'].iter().all(|right| model.sees_version(asker, *right, r, version));
    let all = model.of("Task").flat_map(|r| (1..=r.versions.len()).map(move |version| (r, version)));
    let marks = all.filter(|(r, version)| may && seen(r, *version)).map(|(r, version)| r.mark(version));
    let mut question = get(format!("/fhir/Subscription/{}/$events?content=full-resource", subscription(name)), marks);
    question.status = Some(match (asker.purpose, may) {
        (Purpose::Care, true) => |s| s == 200,
        (Purpose::Care, false) => |s| s == 403,
        // It is another's, or nothing for it.
        (_, _) => |s| s == 403 || s == 404,
    });
    vec![question]
}

/// Each exchange waits for its recipients: whoever may find it sees that.
fn open_loops(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let mut question = get("/v1/open-loops?limit=500".into(), None);
    // Whoever runs the gateway sees what is left open, without content.
    let all = asker.purpose == Purpose::Operations;
    let seen = model.exchanges.iter().filter(|e| all || model.sees_exchange(asker, 's', e));
    question.exchanges = Some(seen.map(|e| e.id.to_string()).collect());
    vec![question]
}

fn timeline(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let of = |e: &super::model::Exchange| {
        let mut question = get(format!("/v1/exchanges/{}/timeline", e.id), None);
        if model.sees_exchange(asker, 'r', e) {
            question.exchanges = Some(std::iter::once(e.id.to_string()).collect());
            question.status = Some(|s| s == 200);
        } else {
            let is_care = asker.purpose == Purpose::Care;
            question.status = Some(if is_care { |s| s == 404 } else { |s| s == 403 });
        }
        question
    };
    model.exchanges.iter().map(of).collect()
}

fn difference(model: &Model, asker: &Asker, _: &mut Rng) -> Vec<Question> {
    let mut all = Vec::new();
    for r in model.of("CarePlan") {
        for version in 1..=r.versions.len() {
            let mut question = get(format!("/fhir/{}/$diff?from={version}&to={version}", r.name()), None);
            let is_care = asker.purpose == Purpose::Care;
            let seen = is_care && model.sees_version(asker, 'r', r, version) && model.shown(asker, r).is_some();
            question.status = Some(if seen { |s| s == 200 } else { |s| s == 404 || s == 403 });
            all.push(question);
        }
    }
    all
}

/// The codes that everybody goes by are about nobody: whoever was let in reads them, whatever the scopes.
fn code_list(_: &Model, _: &Asker, _: &mut Rng) -> Vec<Question> {
    let of = |path: &str| {
        let mut question = get(format!("/fhir/CodeSystem{path}"), None);
        question.status = Some(|s| s == 200);
        question
    };
    let mut count = of("?_summary=count");
    count.total = Some(1);
    vec![count, of("/kva"), of("/kva/_history/1"), of("/kva/_history"), of("?_id=kva"), of("/_history")]
}
