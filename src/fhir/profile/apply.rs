//! Holds a resource against a plan. Only constrained elements are visited, so a profile costs what it says.

use serde_json::{Map, Value};

use super::plan::{Binding, Node, Plan, Rules, Slicing, contains};
use crate::fhir::issue::{Code, Issue, Severity};
use crate::fhir::validate::{Path, Surroundings, target_type};

type Object = Map<String, Value>;

/// One resource against one plan.
pub struct Application<'a, 'o> {
    pub plan: &'a Plan,
    /// The resource that the rules are about, for `%resource`.
    pub resource: &'a Object,
    pub around: &'a Surroundings<'a>,
    pub out: &'o mut Vec<Issue>,
}

impl Application<'_, '_> {
    /// Holds an object (the resource, or an extension) against the whole plan.
    pub fn run(&mut self, object: &Object, path: &Path<'_>) {
        let rules = &self.plan.rules;
        for invariant in &rules.invariants {
            if !invariant.expression.holds_of(object) {
                self.broken(&invariant.key, invariant.severity, &invariant.sv, &invariant.en, path);
            }
        }
        self.children(rules, object, path);
    }

    fn say(&mut self, severity: Severity, code: Code, path: &Path<'_>, sv: &str, en: &str) {
        let id = &self.plan.id;
        self.out.push(Issue::new(severity, code, path, format!("{sv} (profil {id})"), format!("{en} (profile {id})")));
    }

    fn error(&mut self, code: Code, path: &Path<'_>, sv: &str, en: &str) {
        self.say(Severity::Error, code, path, sv, en);
    }

    fn broken(&mut self, key: &str, severity: Severity, sv: &str, en: &str, path: &Path<'_>) {
        self.say(severity, Code::Invariant, path, &format!("{sv} [{key}]"), &format!("{en} [{key}]"));
    }

    fn children(&mut self, rules: &Rules, object: &Object, path: &Path<'_>) {
        for node in &rules.children {
            self.node(node, object, &path.field(node.shown));
        }
    }

    fn node(&mut self, node: &Node, object: &Object, path: &Path<'_>) {
        let mut count = 0;
        let mut items: &[Value] = &[];
        for name in &node.names {
            let value = object.get(&name.json);
            if value.is_none() && !has_companion(object, &name.json) {
                continue;
            }
            if !name.allowed {
                self.not_in_choice(node, path);
                // It is there, if wrongly: that it is missing need not be said too.
                count = count.max(1);
                continue;
            }
            items = match value {
                Some(Value::Array(list)) => list,
                Some(single) => std::slice::from_ref(single),
                None => &[],
            };
            count = items.len().max(1);
        }
        let list = object.get(node.names.first().map_or("", |n| n.json.as_str())).is_some_and(Value::is_array);
        self.count(count, node.min, node.max, None, path);
        for (index, item) in items.iter().enumerate() {
            let here = if list { path.item(index) } else { *path };
            self.value(&node.rules, item, &here);
        }
        if let Some(slicing) = &node.slicing {
            self.slices(slicing, items, path, list);
        }
    }

    fn not_in_choice(&mut self, node: &Node, path: &Path<'_>) {
        let allowed: Vec<&str> = node.names.iter().filter(|n| n.allowed).map(|n| n.json.as_str()).collect();
        let allowed = allowed.join(", ");
        let (sv, en) = (format!("fel typ; skriv {allowed}"), format!("wrong type; write {allowed}"));
        self.error(Code::Structure, path, &sv, &en);
    }

    fn count(&mut self, count: usize, min: usize, max: Option<usize>, slice: Option<&str>, path: &Path<'_>) {
        let named = slice.map_or_else(String::new, |s| format!(" {s}"));
        if count < min {
            let (sv, en) = if count == 0 {
                (format!("saknas{named}"), format!("is missing{named}"))
            } else {
                (format!("ska förekomma minst {min} gånger{named}"), format!("must occur at least {min} times{named}"))
            };
            self.error(Code::Required, path, &sv, &en);
        }
        if let Some(max) = max.filter(|max| count > *max) {
            let (sv, en) = if max == 0 {
                (format!("ska inte anges{named}"), format!("must not be given{named}"))
            } else {
                (format!("får förekomma högst {max} gånger{named}"), format!("may occur at most {max} times{named}"))
            };
            self.error(Code::Structure, path, &sv, &en);
        }
    }

    fn value(&mut self, rules: &Rules, value: &Value, path: &Path<'_>) {
        if let Some(fixed) = rules.fixed.as_ref().filter(|fixed| *fixed != value) {
            self.error(Code::Value, path, &format!("ska vara {fixed}"), &format!("must be {fixed}"));
        }
        if let Some(pattern) = rules.pattern.as_ref().filter(|pattern| !contains(value, pattern)) {
            self.error(Code::Value, path, &format!("ska innehålla {pattern}"), &format!("must contain {pattern}"));
        }
        for binding in &rules.bindings {
            self.bound(binding, value, path);
        }
        if !rules.targets.is_empty() {
            self.target(&rules.targets, value, path);
        }
        if let Some(longest) = rules.longest.filter(|n| value.as_str().is_some_and(|t| t.chars().count() > *n)) {
            self.error(
                Code::TooLong,
                path,
                &format!("högst {longest} tecken"),
                &format!("at most {longest} characters"),
            );
        }
        for invariant in &rules.invariants {
            if !invariant.expression.holds(value, self.resource) {
                self.broken(&invariant.key, invariant.severity, &invariant.sv, &invariant.en, path);
            }
        }
        if let Some(object) = value.as_object() {
            self.children(rules, object, path);
        }
    }

    fn bound(&mut self, binding: &Binding, value: &Value, path: &Path<'_>) {
        let inside = |coding: &Value| {
            text(coding, "system").zip(text(coding, "code")).is_some_and(|(system, code)| binding.set.has(system, code))
        };
        let (fits, code) = match value {
            Value::String(code) => (binding.set.has_code(code), Some(code.as_str())),
            Value::Object(object) => match object.get("coding").and_then(Value::as_array) {
                Some(codings) => (codings.iter().any(inside), codings.first().and_then(|c| text(c, "code"))),
                // A concept of text alone: extensible allows it.
                None if !object.contains_key("code") => (!binding.required, None),
                None => (inside(value), text(value, "code")),
            },
            _ => return,
        };
        if fits {
            return;
        }
        let (sv, en) = binding.set.help(code);
        let severity = if binding.required { Severity::Error } else { Severity::Warning };
        let (sv, en) = (
            format!("koden finns inte i urvalet {}: {sv}", binding.name),
            format!("the code is not in the value set {}: {en}", binding.name),
        );
        self.say(severity, Code::CodeInvalid, path, &sv, &en);
    }

    fn target(&mut self, targets: &[String], value: &Value, path: &Path<'_>) {
        let Some(kind) = value.as_object().and_then(|reference| target_type(reference, self.around)) else { return };
        if targets.iter().all(|t| t != kind) {
            let list = targets.join(", ");
            let (sv, en) = (format!("ska peka på {list}"), format!("must point at {list}"));
            self.error(Code::Value, path, &sv, &en);
        }
    }

    fn slices(&mut self, slicing: &Slicing, items: &[Value], path: &Path<'_>, list: bool) {
        let mut counts = vec![0_usize; slicing.slices.len()];
        for (index, item) in items.iter().enumerate() {
            let here = if list { path.item(index) } else { *path };
            let found = slicing.slices.iter().zip(&mut counts).find(|(slice, _)| slice.takes(item));
            if let Some((slice, count)) = found {
                *count += 1;
                self.value(&slice.rules, item, &here);
            } else if slicing.closed {
                let names: Vec<&str> = slicing.slices.iter().map(|s| s.name.as_str()).collect();
                let names = names.join(", ");
                let (sv, en) = (format!("är ingen av {names}"), format!("is none of {names}"));
                self.error(Code::Structure, &here, &sv, &en);
            }
        }
        for (slice, count) in slicing.slices.iter().zip(counts) {
            self.count(count, slice.min, slice.max, Some(&slice.name), path);
        }
    }
}

fn text<'a>(coding: &'a Value, name: &str) -> Option<&'a str> {
    coding.get(name).and_then(Value::as_str)
}

/// Whether a primitive without value has its companion: `_birthDate`.
fn has_companion(object: &Object, name: &str) -> bool {
    object.keys().any(|k| k.strip_prefix('_') == Some(name))
}
