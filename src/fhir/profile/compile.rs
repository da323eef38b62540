//! From a differential to a plan: every element is resolved against R4, and what cannot be enforced is said.

use std::collections::BTreeMap;

use serde_json::Value;

use super::definition::{Definition, Draft, not_enforced};
use super::expression::Expression;
use super::json_name;
use super::plan::{Binding, Invariant, Matcher, Name, Node, Plan, Rules, Slice, Slicing};
use crate::domain::{icd10, kva};
use crate::fhir::issue::{Code, Issue, Severity};
use crate::fhir::r4::{self, Element};
use crate::fhir::terminology::Terminology;
use crate::fhir::validate::{hint, nearest};

const R4_BASE: &str = "http://hl7.org/fhir/StructureDefinition/";

/// What the compiler asks of the rest of the package.
pub struct Compiler<'a> {
    pub terminology: &'a Terminology,
    /// The R4 type of each profile of the package, by url.
    pub kinds: &'a BTreeMap<String, String>,
}

/// One definition on its way.
struct Work<'a> {
    definition: &'a Definition,
    resource: &'static str,
    compiler: &'a Compiler<'a>,
    issues: &'a mut Vec<Issue>,
}

/// Where an element stands, and what it is.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// The element's id in the differential.
    id: &'a str,
    element: &'static Element,
    /// The class its children are in; none when it may be of several types.
    content: Option<&'static str>,
}

impl Compiler<'_> {
    /// Compiles a definition; none when R4 has no such type.
    pub fn compile(&self, definition: &Definition, issues: &mut Vec<Issue>) -> Option<Plan> {
        let (sv, en) = ("typen finns inte i R4-tabellen", "the type is not in the R4 table");
        let Some(content) = r4::children(&definition.kind).first().and_then(|e| e.path.split('.').next()) else {
            issues
                .push(Issue::error(Code::NotFound, "StructureDefinition.type", sv, en).from(definition.file.as_str()));
            return None;
        };
        let base = match definition.base.strip_prefix(R4_BASE) {
            Some(kind) if kind == definition.kind => None,
            _ if self.kinds.get(&definition.base) == Some(&definition.kind) => Some(definition.base.clone()),
            _ => {
                let why = "the base is neither the R4 type nor a profile of the package";
                issues.push(not_enforced(&definition.file, &definition.id, &definition.kind, "baseDefinition", why));
                None
            }
        };
        let mut work = Work { definition, resource: content, compiler: self, issues };
        let rules = work.rules(&definition.root, &definition.kind, Some(content), None);
        let modifier = definition.root.says.get("isModifier") == Some(&Value::Bool(true));
        Some(Plan {
            id: definition.id.clone(),
            kind: definition.kind.clone(),
            base,
            rules,
            context: definition.context.clone(),
            modifier,
        })
    }
}

impl Work<'_> {
    fn unenforced(&mut self, element: &str, key: &str, why: &str) {
        self.issues.push(not_enforced(&self.definition.file, &self.definition.id, element, key, why));
    }

    fn error(&mut self, code: Code, element: &str, sv: impl Into<String>, en: impl Into<String>) {
        self.issues.push(Issue::error(code, element, sv, en).from(self.definition.file.as_str()));
    }

    /// What holds of each value of an element, and of what is below it.
    fn rules(&mut self, draft: &Draft, id: &str, content: Option<&'static str>, place: Option<Place<'_>>) -> Rules {
        let mut rules = Rules {
            fixed: draft.value("fixed").cloned(),
            pattern: draft.value("pattern").cloned(),
            longest: draft.says.get("maxLength").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok()),
            ..Rules::default()
        };
        self.binding(draft, id, &mut rules);
        if let Some(place) = place {
            self.targets(draft, place, &mut rules);
        }
        self.invariants(draft, id, content, &mut rules);
        if draft.children.is_empty() {
            return rules;
        }
        let Some(content) = content else {
            self.unenforced(id, "children", "the element may be of several types; narrow it to one");
            return rules;
        };
        for child in draft.children.iter().filter(|c| c.slice.is_none()) {
            rules.children.extend(self.node(child, draft, id, content));
        }
        // A list may be sliced without a word about the list itself.
        let mut sliced: Vec<&str> = Vec::new();
        for child in draft.children.iter().filter(|c| c.slice.is_some()) {
            let named = draft.children.iter().any(|c| c.slice.is_none() && c.name == child.name);
            if !named && !sliced.contains(&child.name.as_str()) {
                sliced.push(&child.name);
                let bare = Draft { name: child.name.clone(), ..Draft::default() };
                rules.children.extend(self.node(&bare, draft, id, content));
            }
        }
        rules
    }

    fn node(&mut self, draft: &Draft, parent: &Draft, parent_id: &str, content: &'static str) -> Option<Node> {
        let id = format!("{parent_id}.{}", draft.name);
        let siblings = r4::children(content);
        let Some(element) = siblings.iter().find(|e| e.name == draft.name) else {
            let (sv, en) = hint(nearest(&draft.name, siblings.iter().map(|e| e.name)));
            self.error(
                Code::NotFound,
                &id,
                format!("finns inte i {content}{sv}"),
                format!("is not an element of {content}{en}"),
            );
            return None;
        };
        let (names, content) = self.types(draft, &id, element, content);
        let place = Place { id: &id, element, content };
        let (min, max) = self.cardinality(draft, place);
        let rules = self.rules(draft, &id, content, Some(place));
        let slices: Vec<&Draft> =
            parent.children.iter().filter(|c| c.name == draft.name && c.slice.is_some()).collect();
        let slicing = self.slicing(draft, &slices, place);
        let narrowed = names.iter().any(|n| !n.allowed);
        let idle = min == 0 && max.is_none() && rules.is_empty() && slicing.is_none() && !narrowed;
        (!idle).then_some(Node { names, shown: element.stem(), min, max, rules, slicing })
    }

    /// The names in JSON, and the class of the children where there is only one.
    fn types(
        &mut self,
        draft: &Draft,
        id: &str,
        element: &'static Element,
        content: &'static str,
    ) -> (Vec<Name>, Option<&'static str>) {
        let wanted: Vec<&str> = draft.list("type").iter().filter_map(|t| t.get("code")?.as_str()).collect();
        for code in &wanted {
            if !element.types.iter().any(|t| t.code == *code) {
                let list: Vec<&str> = element.types.iter().map(|t| t.code).collect();
                let (sv, en) = hint(nearest(code, list.iter().copied()));
                let list = list.join(", ");
                self.error(
                    Code::Value,
                    id,
                    format!("typen {code} finns inte i R4:s val ({list}){sv}"),
                    format!("the type {code} is not in R4's choice ({list}){en}"),
                );
            }
        }
        let names: Vec<Name> = if element.is_choice() {
            let named = element.types.iter().map(|t| Name {
                json: json_name(element.stem(), t.code),
                allowed: wanted.is_empty() || wanted.contains(&t.code),
            });
            named.collect()
        } else {
            vec![Name { json: element.name.to_owned(), allowed: true }]
        };
        let mut allowed = names.iter().filter(|n| n.allowed);
        let only = match (allowed.next(), allowed.next()) {
            (Some(only), None) => r4::find(content, &only.json).map(|f| f.content),
            _ => None,
        };
        (names, only)
    }

    /// Cardinality, where it is narrower than R4's; wider is an error.
    fn cardinality(&mut self, draft: &Draft, place: Place<'_>) -> (usize, Option<usize>) {
        let (min, max) = self.bounds(draft, place.id);
        let (base_min, base_max) = (place.element.min as usize, place.element.max.map(|m| m as usize));
        let wider =
            min.is_some_and(|m| m < base_min) || max.is_some_and(|m| base_max.is_some_and(|b| m.is_none_or(|m| m > b)));
        let upside_down = max.flatten().is_some_and(|max| min.unwrap_or(base_min) > max);
        if wider || upside_down {
            let base = base_max.map_or_else(|| "*".to_owned(), |m| m.to_string());
            self.error(
                Code::Conflict,
                place.id,
                format!("kardinaliteten måste rymmas i R4:s {base_min}..{base}"),
                format!("the cardinality must be within R4's {base_min}..{base}"),
            );
        }
        (min.filter(|m| *m > base_min).unwrap_or(0), max.flatten().filter(|m| base_max.is_none_or(|b| *m < b)))
    }

    /// min, and max (`Some(None)` is unbounded), as they are written.
    fn bounds(&mut self, draft: &Draft, id: &str) -> (Option<usize>, Option<Option<usize>>) {
        let min = draft.says.get("min").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let max = match draft.text("max") {
            None => None,
            Some("*") => Some(None),
            Some(text) => match text.parse() {
                Ok(max) => Some(Some(max)),
                Err(_) => {
                    self.error(Code::Value, id, "max ska vara ett tal eller *", "max must be a number or *");
                    None
                }
            },
        };
        (min, max)
    }

    fn binding(&mut self, draft: &Draft, id: &str, rules: &mut Rules) {
        let Some(binding) = draft.says.get("binding") else { return };
        let text = |name: &str| binding.get(name).and_then(Value::as_str);
        let required = match text("strength") {
            Some("required") => true,
            Some("extensible") => false,
            _ => return,
        };
        let Some(url) = text("valueSet") else {
            return self.error(Code::Required, id, "binding saknar valueSet", "the binding lacks valueSet");
        };
        match self.compiler.terminology.compose(url, &mut Vec::new()) {
            Some(set) => {
                // KVÅ and ICD-10-SE have checks of their own; of any other system only its name is then held to.
                for system in set.open_systems().filter(|s| !kva::is_system(s) && !icd10::is_system(s)) {
                    self.unenforced(id, "binding", &format!("the codes of {system} are not listed in the package"));
                }
                let name = url.rsplit('/').next().unwrap_or(url).to_owned();
                rules.bindings.push(Binding { name, set, required });
            }
            None => self.unenforced(id, "binding", "the value set is not in the package"),
        }
    }

    fn targets(&mut self, draft: &Draft, place: Place<'_>, rules: &mut Rules) {
        for named in draft.list("type") {
            for profile in named.get("targetProfile").and_then(Value::as_array).into_iter().flatten() {
                let url = profile.as_str().unwrap_or_default();
                let kind =
                    url.strip_prefix(R4_BASE).map(str::to_owned).or_else(|| self.compiler.kinds.get(url).cloned());
                match kind {
                    Some(kind) => rules.targets.push(kind),
                    None => self.unenforced(place.id, "type.targetProfile", "the profile is not in the package"),
                }
            }
            for word in ["aggregation", "versioning"] {
                if named.get(word).is_some() {
                    self.unenforced(place.id, &format!("type.{word}"), "the validator does not know the word");
                }
            }
            let profiled = named.get("profile").is_some();
            if profiled && place.element.types.iter().all(|t| t.code != "Extension") {
                self.unenforced(place.id, "type.profile", "only extensions are held to a profile of their own");
            }
        }
        rules.targets.sort_unstable();
        rules.targets.dedup();
        let base: Vec<&str> = place.element.types.iter().flat_map(|t| t.targets.iter().copied()).collect();
        for target in rules.targets.iter().filter(|t| !base.is_empty() && !base.contains(&t.as_str())) {
            self.issues.push(
                Issue::error(
                    Code::Conflict,
                    place.id,
                    format!("R4 låter inte elementet peka på {target}"),
                    format!("R4 does not let the element point at {target}"),
                )
                .from(self.definition.file.as_str()),
            );
        }
    }

    fn invariants(&mut self, draft: &Draft, id: &str, content: Option<&'static str>, rules: &mut Rules) {
        for constraint in draft.list("constraint") {
            let text = |name: &str| constraint.get(name).and_then(Value::as_str).unwrap_or_default();
            let key = text("key");
            let Some(content) = content else {
                self.unenforced(id, key, "the element may be of several types");
                continue;
            };
            match Expression::compile(text("expression"), content, self.resource) {
                Ok(expression) => rules.invariants.push(Invariant {
                    key: key.to_owned(),
                    expression,
                    severity: if text("severity") == "warning" { Severity::Warning } else { Severity::Error },
                    sv: swedish(constraint).unwrap_or_else(|| text("human").to_owned()),
                    en: text("human").to_owned(),
                }),
                Err(refusal) => self.unenforced(id, key, &refusal.to_string()),
            }
        }
    }

    fn slicing(&mut self, draft: &Draft, slices: &[&Draft], place: Place<'_>) -> Option<Slicing> {
        if slices.is_empty() {
            return None;
        }
        let written = draft.says.get("slicing");
        let extension = matches!(draft.name.as_str(), "extension" | "modifierExtension");
        let mut paths: Vec<String> = Vec::new();
        for discriminator in
            written.and_then(|s| s.get("discriminator")).and_then(Value::as_array).into_iter().flatten()
        {
            let text = |name: &str| discriminator.get(name).and_then(Value::as_str).unwrap_or_default();
            match text("type") {
                "value" | "pattern" => paths.push(text("path").to_owned()),
                _ => self.unenforced(place.id, "slicing.discriminator", "only value and pattern are enforced"),
            }
        }
        if paths.is_empty() && extension {
            paths.push("url".to_owned());
        }
        let rule = written.and_then(|s| s.get("rules")).and_then(Value::as_str).unwrap_or("open");
        if rule == "openAtEnd" || written.and_then(|s| s.get("ordered")) == Some(&Value::Bool(true)) {
            self.unenforced(place.id, "slicing.ordered", "the order of slices is not enforced");
        }
        let mut out = Slicing { closed: rule == "closed", slices: Vec::new() };
        for slice in slices {
            let name = slice.slice.clone().unwrap_or_default();
            let id = format!("{}:{name}", place.id);
            let matchers: Option<Vec<Matcher>> = paths.iter().map(|path| matcher(slice, path, extension)).collect();
            let Some(matchers) = matchers.filter(|m| !m.is_empty()) else {
                self.unenforced(
                    &id,
                    "slicing",
                    "the slice has no fixed or pattern value where its discriminator looks",
                );
                continue;
            };
            let (min, max) = self.bounds(slice, &id);
            let mut rules = self.rules(slice, &id, place.content, Some(Place { id: &id, ..place }));
            // What made an item fall into the slice needs no second look.
            rules.children.retain(|child| !tells_nothing(child, &paths));
            out.slices.push(Slice { name, min: min.unwrap_or(0), max: max.flatten(), matchers, rules });
        }
        Some(out)
    }
}

/// Whether a slice's child only repeats the discriminator.
fn tells_nothing(child: &Node, paths: &[String]) -> bool {
    let constant = child.rules.fixed.is_some() || child.rules.pattern.is_some();
    constant
        && paths.iter().any(|p| p == child.shown)
        && child.rules.children.is_empty()
        && child.rules.bindings.is_empty()
        && child.max.is_none()
}

/// What an item must have at the discriminator's path to be of the slice.
fn matcher(slice: &Draft, path: &str, extension: bool) -> Option<Matcher> {
    let steps: Vec<String> = if path == "$this" { Vec::new() } else { path.split('.').map(str::to_owned).collect() };
    if extension && path == "url" {
        let profile = slice.list("type").first()?.get("profile")?.get(0)?.as_str()?;
        return Some(Matcher { path: steps, pattern: Value::String(profile.to_owned()) });
    }
    let mut draft = slice;
    let mut rest = steps.as_slice();
    loop {
        if let Some(value) = draft.value("fixed").or_else(|| draft.value("pattern")) {
            // The value is given here or above; what is asked for is the part of it at the path.
            return Some(Matcher { path: steps.clone(), pattern: descend(value, rest)?.clone() });
        }
        let (first, after) = rest.split_first()?;
        draft = draft.children.iter().find(|c| c.name == *first && c.slice.is_none())?;
        rest = after;
    }
}

fn descend<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    let value = value.as_array().map_or(Some(value), |list| list.first())?;
    path.split_first().map_or(Some(value), |(first, rest)| descend(value.get(first)?, rest))
}

/// The Swedish text of an invariant: FHIR's translation extension on `human`.
fn swedish(constraint: &Value) -> Option<String> {
    let extensions = constraint.get("_human")?.get("extension")?.as_array()?;
    extensions.iter().find_map(|translation| {
        let parts = translation.get("extension")?.as_array()?;
        let part = |url: &str| parts.iter().find(|p| p.get("url").is_some_and(|u| u == url));
        let lang = part("lang")?.get("valueCode")?.as_str()?;
        let text = part("content")?.get("valueString").or_else(|| part("content")?.get("valueMarkdown"))?.as_str()?;
        (lang == "sv").then(|| text.to_owned())
    })
}
