//! Our invariants against another FHIRPath engine: those of the profiles, which a closed part of FHIRPath is enough for,
//! and R4's own, which are functions of ours. On every example, and on each with one thing changed, both must say the same.
//!
//! The engine is built only for this: `cargo test --features fhirpath-oracle oracle`.

use std::collections::{BTreeMap, BTreeSet};

use rh_fhirpath::{EvaluationContext, FhirPathEvaluator, FhirPathExpression, FhirPathParser, FhirPathValue};
use serde_json::{Value, json};
use vardkedja::fhir::issue::{Code, Issue};
use vardkedja::fhir::profile::Profiles;
use vardkedja::fhir::profile::expression::{Condition, FieldType};
use vardkedja::fhir::r4;
use vardkedja::fhir::validate::{Context, enforced, validate};
use vardkedja::rules::{Inputs, RuleSets};
use vardkedja::{mapping_files, profile_files};

/// R4's invariants that cannot be compared so, and why.
const KNOWN: &[(&str, &str)] = &[
    ("trd-3", "a trigger without a type is refused for that; the engine then also calls the invariant broken"),
    ("per-1", "a day and a time cannot be put in order: the engine then refuses, we do not"),
    ("inv-1", "the same, of the times of a Task; and for Parameters the key stands twice"),
    ("ppc-2", "the expression asks for a system called 'something', so that it never fails"),
    ("ppc-3", "the same"),
    ("ppc-4", "the same"),
    ("ppc-5", "the same"),
    ("tim-1", "the engine takes durationMax for the choice duration[x], which Timing has not"),
    ("tim-2", "the same, of periodMax and period"),
    ("tim-4", "as tim-1"),
    ("tim-5", "as tim-2"),
    ("tim-6", "as tim-2"),
    ("tim-7", "as tim-1"),
    ("tim-8", "the same, of countMax and count"),
];

/// An invariant, as the other engine reads it.
struct Rule {
    /// The class whose objects it is asked of: `CarePlan.activity`.
    class: String,
    key: String,
    expression: FhirPathExpression,
    /// The texts that it looks for.
    words: Vec<String>,
}

impl Rule {
    fn new(class: &str, key: &str, text: &str) -> Self {
        let expression = FhirPathParser::new().parse(text).unwrap_or_else(|e| panic!("{class} {key}: {e}"));
        let words = text.split('\'').skip(1).step_by(2).map(str::to_owned).collect();
        Self { class: class.to_owned(), key: key.to_owned(), expression, words }
    }
}

/// The keys of the rules that do not hold: only what is true holds.
fn broken<'r>(rules: &'r [Rule], resource: &Value, evaluator: &FhirPathEvaluator) -> BTreeSet<&'r str> {
    let mut objects: Vec<(&str, &Value)> = Vec::new();
    gather(resource["resourceType"].as_str().unwrap_or_default(), resource, &mut objects);
    let mut keys = BTreeSet::new();
    for rule in rules {
        for (_, object) in objects.iter().filter(|(class, _)| *class == rule.class) {
            let mut context = EvaluationContext::new(resource.clone());
            context.current = (*object).clone();
            let result = evaluator.evaluate(&rule.expression, &context);
            if !matches!(result, Ok(FhirPathValue::Boolean(true))) {
                keys.insert(rule.key.as_str());
            }
        }
    }
    keys
}

/// Every object of a resource with its class; resources inside it are their own.
fn gather<'v>(class: &'v str, object: &'v Value, found: &mut Vec<(&'v str, &'v Value)>) {
    found.push((class, object));
    for (name, value) in object.as_object().into_iter().flatten() {
        let Some(field) = r4::find(class, name).filter(|f| !r4::is_primitive(f.type_code) && f.content != "Resource")
        else {
            continue;
        };
        match value {
            Value::Array(items) => items.iter().for_each(|item| gather(field.content, item, found)),
            single => gather(field.content, single, found),
        }
    }
}

/// The resources of all examples: good, bad, and what documents become.
fn examples() -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for (name, text) in profile_files(None).unwrap().iter().filter(|(n, _)| n.starts_with("examples/")) {
        if let Ok(resource @ Value::Object(_)) = serde_json::from_str::<Value>(text) {
            all.push((name.clone(), resource));
        }
    }
    for (name, text) in mapping_files(None).unwrap().iter().filter(|(n, _)| n.ends_with(".fhir.json")) {
        let resources: Vec<Value> = serde_json::from_str(text).unwrap();
        all.extend(resources.into_iter().map(|r| (name.clone(), r)));
    }
    all
}

/// The resource with one thing changed, for each thing: a field or element removed, an element doubled, a value
/// replaced by another that stands in the same resource or in an invariant, a field that R4 has put in.
fn changed(resource: &Value, words: &[&str], visit: &mut dyn FnMut(&Value)) {
    let mut places = Vec::new();
    let kind = resource["resourceType"].as_str().unwrap_or_default().to_owned();
    walk(resource, &kind, &mut String::new(), &mut places);
    with_more(resource, "", &kind, visit);
    for (turn, (pointer, class)) in places.iter().enumerate() {
        let (parent, last) = pointer.rsplit_once('/').unwrap();
        if pointer.starts_with("/resourceType") || pointer.starts_with("/meta/profile") {
            continue;
        }
        let mut one = resource.clone();
        match one.pointer_mut(parent) {
            Some(Value::Object(fields)) => drop(fields.shift_remove(last)),
            Some(Value::Array(items)) if items.len() > 1 => drop(items.remove(last.parse().unwrap())),
            _ => {}
        }
        if one != *resource {
            visit(&one);
        }
        let mut one = resource.clone();
        if let (Some(Value::Array(items)), Ok(at)) = (one.pointer_mut(parent), last.parse::<usize>()) {
            let twin = items[at].clone();
            items.push(twin);
            visit(&one);
        }
        let replaced = match resource.pointer(pointer) {
            // Words that invariants look for, and some of the others, take turns.
            Some(Value::String(_)) => words.iter().skip(turn % 5).step_by(5).map(|w| json!(w)).collect(),
            Some(Value::Bool(flag)) => vec![json!(!flag)],
            Some(Value::Number(_)) => vec![json!(0), json!(-1), json!(7)],
            _ => Vec::new(),
        };
        for value in replaced {
            let mut one = resource.clone();
            *one.pointer_mut(pointer).unwrap() = value;
            visit(&one);
        }
        if let Some(class) = class {
            with_more(resource, pointer, class, visit);
        }
    }
}

/// The resource with each field that R4 has for one of its objects, and it has not.
fn with_more(resource: &Value, pointer: &str, class: &str, visit: &mut dyn FnMut(&Value)) {
    for (name, value) in r4::children(class).into_iter().filter_map(|element| sample(class, element)) {
        let mut one = resource.clone();
        if let Some(Value::Object(fields)) = one.pointer_mut(pointer)
            && !fields.contains_key(&name)
        {
            fields.insert(name, value);
            visit(&one);
        }
    }
}

/// Every place inside as a pointer, with its class where it is an object.
fn walk(value: &Value, class: &str, pointer: &mut String, found: &mut Vec<(String, Option<String>)>) {
    let length = pointer.len();
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                pointer.push_str(&format!("/{name}"));
                let field = r4::find(class, name).filter(|f| f.content != "Resource");
                let content = field.map_or("", |f| f.content);
                found.push((pointer.clone(), inner.is_object().then(|| content.to_owned()).filter(|c| !c.is_empty())));
                walk(inner, content, pointer, found);
                pointer.truncate(length);
            }
        }
        Value::Array(items) => {
            for (at, inner) in items.iter().enumerate() {
                pointer.push_str(&format!("/{at}"));
                found.push((pointer.clone(), inner.is_object().then(|| class.to_owned()).filter(|c| !c.is_empty())));
                walk(inner, class, pointer, found);
                pointer.truncate(length);
            }
        }
        _ => {}
    }
}

/// A field of a class with some value of its (first) type.
fn sample(class: &str, element: &'static r4::Element) -> Option<(String, Value)> {
    let code = element.types.first()?.code;
    let mut letters = code.chars();
    let name = match element.name.strip_suffix("[x]") {
        Some(stem) => format!("{stem}{}{}", letters.next()?.to_ascii_uppercase(), letters.as_str()),
        None => element.name.to_owned(),
    };
    if matches!(name.as_str(), "resourceType" | "id" | "extension" | "modifierExtension" | "contained") {
        return None;
    }
    let one = match code {
        "boolean" => json!(true),
        "integer" | "positiveInt" | "unsignedInt" => json!(1),
        "decimal" => json!(1.5),
        "date" => json!("2026-03-01"),
        "dateTime" => json!("2026-03-01T08:00:00+01:00"),
        "instant" => json!("2026-03-01T08:00:00+01:00"),
        "code" => json!(element.codes.first().and_then(|c| c.codes.first()).copied().unwrap_or("x")),
        code if r4::is_primitive(code) => json!("x"),
        "CodeableConcept" => json!({ "text": "x" }),
        "Reference" => json!({ "display": "x" }),
        "Coding" => json!({ "code": "x" }),
        "Period" => json!({ "start": "2026-03-01" }),
        _ => json!({ "id": "x" }),
    };
    r4::find(class, &name)?;
    Some((name, if element.is_list() { json!([one]) } else { one }))
}

/// What a resource is held to, by the profile it claims; under nothing, what every resource is held to.
type Rules = BTreeMap<String, Vec<Rule>>;

/// Holds both sides against each other over all examples and changes; says where they differ.
fn compare(rules: &Rules, more_words: &[&str], mark: impl Fn(&str) -> String) {
    let (profiles, issues) = Profiles::load(&profile_files(None).unwrap());
    assert!(issues.is_empty());
    let context = Context { profiles: &profiles, codes: profiles.codes() };
    let evaluator = FhirPathEvaluator::new();
    let words: BTreeSet<&str> = rules
        .values()
        .flatten()
        .flat_map(|rule| &rule.words)
        .map(String::as_str)
        .chain(more_words.iter().copied())
        .collect();
    let words: Vec<&str> = words.into_iter().collect();
    let (mut seen, mut caught, mut differ) = (0, BTreeSet::new(), BTreeMap::<String, Vec<String>>::new());
    let mut hold = |name: &str, resource: &Value| {
        // It is refused for that; which of the two `value` then means, the other engine decides otherwise.
        if has_a_choice_twice(resource) {
            return;
        }
        let url = resource["meta"]["profile"][0].as_str().unwrap_or_default();
        let Some(rules) = rules.get(url).or_else(|| rules.get("")) else { return };
        let told: Vec<Issue> =
            validate(resource, &context).into_iter().filter(|issue| issue.code == Code::Invariant).collect();
        let is_told = |rule: &&Rule| told.iter().any(|issue| issue.en.contains(&mark(&rule.key)));
        let ours: BTreeSet<&str> = rules.iter().filter(is_told).map(|rule| rule.key.as_str()).collect();
        let theirs = broken(rules, resource, &evaluator);
        seen += 1;
        caught.extend(theirs.iter().chain(&ours).map(|key| (*key).to_owned()));
        for key in ours.symmetric_difference(&theirs) {
            let who = if ours.contains(key) { "only we refuse" } else { "only the other refuses" };
            differ.entry(format!("{key}: {who}")).or_default().push(format!("{name} {resource}"));
        }
    };
    for (name, resource) in examples() {
        hold(&name, &resource);
        changed(&resource, &words, &mut |one| hold(&name, one));
    }
    let all: BTreeSet<&str> = rules.values().flatten().map(|rule| rule.key.as_str()).collect();
    let never: Vec<&&str> = all.iter().filter(|key| !caught.contains(**key)).collect();
    println!("{seen} resources; of {} rules these were never broken: {never:?}", all.len());
    let told: Vec<String> =
        differ.iter().map(|(what, where_)| format!("{what}, {} times, as {}", where_.len(), where_[0])).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
    assert!(seen > 3_000, "{seen}");
}

fn has_a_choice_twice(resource: &Value) -> bool {
    let kind = resource["resourceType"].as_str().unwrap_or_default();
    let names: Vec<&String> = resource.as_object().into_iter().flat_map(|object| object.keys()).collect();
    let is_of = |name: &str, stem: &str| {
        name.strip_prefix(stem).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
    };
    let mut choices = r4::children(kind).iter().filter(|element| element.is_choice());
    choices.any(|choice| names.iter().filter(|name| is_of(name, choice.stem())).count() > 1)
}

#[test]
fn every_invariant_of_a_profile_says_what_another_engine_says() {
    let mut rules = Rules::new();
    for (name, text) in profile_files(None).unwrap().iter().filter(|(n, _)| n.starts_with("StructureDefinition-")) {
        let definition: Value = serde_json::from_str(text).unwrap();
        for element in definition["differential"]["element"].as_array().unwrap() {
            for constraint in element["constraint"].as_array().into_iter().flatten() {
                let class = element["path"].as_str().unwrap();
                let rule =
                    Rule::new(class, constraint["key"].as_str().unwrap(), constraint["expression"].as_str().unwrap());
                assert!(r4::is_resource(class), "{name}: an invariant below the resource is not held here");
                rules.entry(definition["url"].as_str().unwrap().to_owned()).or_default().push(rule);
            }
        }
    }
    assert!(rules.values().flatten().count() >= 20);
    compare(&rules, &[], |key| format!("[{key}]"));
}

#[test]
fn every_invariant_of_r4_that_is_a_function_of_ours_says_what_its_expression_says() {
    let mut rules = Vec::new();
    for (class, key) in enforced().filter(|(_, key)| !KNOWN.iter().any(|(known, _)| known == key)) {
        let kind = class.split('.').next().unwrap();
        let expressions = r4_expressions(kind);
        let Some((_, expression)) = expressions.iter().find(|(k, _)| k == key) else {
            panic!("{class} {key} has no expression")
        };
        // R4 asks these two of each address and number; our functions ask the organization.
        let expression = match key {
            "org-2" => format!("address.{expression}"),
            "org-3" => format!("telecom.{expression}"),
            _ => expression.clone(),
        };
        rules.push(Rule::new(class, key, &expression));
    }
    let words = ["2020", "2026-03-01T07:30:00Z", "2027-01-01", "home", "x"];
    compare(&Rules::from([(String::new(), rules)]), &words, |key| format!("({key})"));
}

/// R4's invariants of a type and what is inside it: key and expression.
fn r4_expressions(kind: &str) -> Vec<(String, String)> {
    macro_rules! of {
        ($($name:literal $folder:ident $file:ident),* $(,)?) => {
            match kind {
                $($name => rh_hl7_fhir_r4_core::$folder::$file::INVARIANTS.iter().map(|i| (i.key.clone(), i.expression.clone())).collect(),)*
                _ => panic!("where are the invariants of {kind}?"),
            }
        };
    }
    of!(
        "Age" datatypes age, "Attachment" datatypes attachment, "ContactPoint" datatypes contact_point,
        "Count" datatypes count, "DataRequirement" datatypes data_requirement, "Expression" datatypes expression,
        "TriggerDefinition" datatypes trigger_definition, "Distance" datatypes distance, "Duration" datatypes duration, "Period" datatypes period,
        "Quantity" datatypes quantity, "Range" datatypes range, "Ratio" datatypes ratio, "Timing" datatypes timing,
        "Appointment" resources appointment, "AuditEvent" resources audit_event, "Bundle" resources bundle,
        "CarePlan" resources care_plan, "CodeSystem" resources code_system, "Composition" resources composition,
        "Condition" resources condition, "Consent" resources consent, "Goal" resources goal, "Group" resources group, "Measure" resources measure,
        "MeasureReport" resources measure_report, "Observation" resources observation, "Organization" resources organization, "Parameters" resources parameters, "Patient" resources patient,
        "QuestionnaireResponse" resources questionnaire_response, "ServiceRequest" resources service_request,
        "Task" resources task,
    )
}

#[test]
fn every_condition_of_a_rule_says_what_another_engine_says_of_known_and_unknown() {
    let files = profile_files(None).unwrap();
    let plan: Value = serde_json::from_str(&files["PlanDefinition-vgr-cancerrehabilitering.json"]).unwrap();
    let mut texts = BTreeSet::new();
    conditions(&plan["action"], &mut texts);
    // The fields are texts to the other engine, which knows no types of them: it adds no year to a text.
    texts.retain(|text| !text.contains("year"));
    texts.extend(
        ["a and b", "a or b", "a xor b", "a implies b", "a.not() and b", "(a or b).not()", "n >= 2 or a"]
            .map(String::from),
    );
    assert!(texts.len() > 40, "{}", texts.len());
    let (profiles, _) = Profiles::load(&files);
    let (sets, issues) = RuleSets::load(&files, profiles.terminology());
    assert!(issues.is_empty());
    let mut fields = sets.inputs.fields().clone();
    fields.add("a", FieldType::Boolean);
    fields.add("b", FieldType::Boolean);
    fields.add("n", FieldType::Integer);
    let evaluator = FhirPathEvaluator::new();
    let (mut random, mut seen) = (fastrand::Rng::with_seed(3), BTreeMap::<Option<bool>, usize>::new());
    for text in texts {
        let ours = Condition::compile(&text, &fields).unwrap();
        let theirs = FhirPathParser::new().parse(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
        for _ in 0..60 {
            let mut said = serde_json::Map::new();
            for name in ours.fields() {
                let value = match fields.get(&name).unwrap() {
                    FieldType::Boolean => json!(random.bool()),
                    FieldType::Integer => json!(random.u8(1..9)),
                    FieldType::Date => json!("2026-03-02"),
                    FieldType::Code(codes) => json!(codes[random.usize(..codes.len())]),
                };
                if random.u8(..3) > 0 {
                    Inputs::put(&mut said, &name, value);
                }
            }
            let result = evaluator.evaluate(&theirs, &EvaluationContext::new(Value::Object(said.clone())));
            let other = match result {
                Ok(FhirPathValue::Boolean(b)) => Some(b),
                Ok(FhirPathValue::Empty) => None,
                Ok(FhirPathValue::Collection(ref list)) if list.is_empty() => None,
                other => panic!("{text} of {said:?}: {other:?}"),
            };
            assert_eq!(ours.judge(&said), other, "{text} of {said:?}");
            *seen.entry(other).or_default() += 1;
        }
    }
    assert!(seen.len() == 3 && seen.values().all(|count| *count > 300), "{seen:?}");
}

fn conditions(actions: &Value, found: &mut BTreeSet<String>) {
    for action in actions.as_array().into_iter().flatten() {
        found.extend(action.pointer("/condition/0/expression/expression").and_then(Value::as_str).map(str::to_owned));
        conditions(&action["action"], found);
    }
}
