//! Our profiles: a FHIR package, loaded, checked and compiled to plans that resources are held against.
//!
//! What a profile says and the validator cannot enforce is a warning when it is loaded, never silently ignored.

mod apply;
mod check;
mod compile;
mod definition;
pub mod expression;
mod outline;
mod plan;
mod snapshot;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use self::apply::Application;
use self::compile::Compiler;
use self::definition::Definition;
use self::plan::Plan;
use super::canonical::BASE;
use super::guard::{self, Limits};
use super::issue::{Code, Issue, any_error};
use super::terminology::Terminology;
use super::validate::{Path, Surroundings, hint, nearest};
use crate::domain::kva::{CodeList, CodeListError};

pub use check::check;
pub use outline::{Outline, Unwritten};
pub use snapshot::snapshot;

/// The files of a package by their names in it: `StructureDefinition-rehab-plan.json`, `examples/…`.
pub type Files = BTreeMap<String, String>;

/// The profiles, extensions and value sets in force.
#[derive(Default)]
pub struct Profiles {
    plans: Vec<Plan>,
    by_url: BTreeMap<String, usize>,
    terminology: Terminology,
    codes: CodeList,
}

impl Profiles {
    /// Loads a package. A file with an error is left out of the result; every finding names its file.
    pub fn load(files: &Files) -> (Self, Vec<Issue>) {
        let mut issues = Vec::new();
        let mut terminology = Terminology::default();
        let mut codes = CodeList::default();
        let mut definitions: Vec<Definition> = Vec::new();
        for (file, text) in files.iter().filter(|(name, _)| is_part(name)) {
            let resource = match guard::read(text.as_bytes(), &Limits::RESOURCE) {
                (Some(resource), _) => resource,
                (None, found) => {
                    issues.extend(found.into_iter().map(|i| placed(i, file)));
                    continue;
                }
            };
            match resource.get("resourceType").and_then(Value::as_str) {
                Some("StructureDefinition") => {
                    let mut found = Vec::new();
                    let read = Definition::read(file, &resource, &mut found);
                    snapshot::check(file, &resource, &mut found);
                    definitions.extend(read.filter(|_| !any_error(&found)));
                    issues.append(&mut found);
                }
                Some("CodeSystem") => {
                    terminology.add_system(file, &resource, &mut issues);
                    match CodeList::read(&resource) {
                        Ok(list) => codes = list,
                        Err(CodeListError::OtherSystem) => {}
                        Err(error) => issues.push(
                            Issue::error(
                                Code::Value,
                                "CodeSystem.concept",
                                format!("kodlistan går inte att läsa: {error}"),
                                format!("the code list {error}"),
                            )
                            .from(file.as_str()),
                        ),
                    }
                }
                Some("ValueSet") => terminology.add_set(file, &resource, &mut issues),
                // Read by people and by other tools.
                Some(
                    "NamingSystem"
                    | "SearchParameter"
                    | "ImplementationGuide"
                    | "CapabilityStatement"
                    | "OperationDefinition"
                    | "Measure"
                    | "PlanDefinition"
                    | "Questionnaire"
                    | "SubscriptionTopic",
                ) => {}
                _ => issues.push(
                    Issue::warning(
                        Code::NotSupported,
                        "",
                        "filen är inget som läses",
                        "the file is nothing that is read",
                    )
                    .from(file.as_str()),
                ),
            }
        }
        terminology.check(&mut issues);
        let mut profiles = Self::compile(&definitions, terminology, &mut issues);
        profiles.codes = codes;
        (profiles, issues)
    }

    fn compile(definitions: &[Definition], terminology: Terminology, issues: &mut Vec<Issue>) -> Self {
        let mut kinds = BTreeMap::new();
        for definition in definitions {
            if kinds.insert(definition.url.clone(), definition.kind.clone()).is_some() {
                let (sv, en) = ("två filer har samma url", "two files have the same url");
                issues.push(
                    Issue::error(Code::Duplicate, "StructureDefinition.url", sv, en).from(definition.file.as_str()),
                );
            }
        }
        let mut profiles = Self { terminology, ..Self::default() };
        for definition in definitions {
            let compiler = Compiler { terminology: &profiles.terminology, kinds: &kinds };
            let mut found = Vec::new();
            let plan = compiler.compile(definition, &mut found);
            let sound = !any_error(&found);
            issues.append(&mut found);
            if let Some(plan) = plan.filter(|_| sound) {
                profiles.by_url.insert(definition.url.clone(), profiles.plans.len());
                profiles.plans.push(plan);
            }
        }
        profiles
    }

    /// The urls of the profiles and extensions in force.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        self.by_url.keys().map(String::as_str)
    }

    /// The value sets and code systems of the package.
    pub fn terminology(&self) -> &Terminology {
        &self.terminology
    }

    /// KVÅ in force: the package's CodeSystem of it.
    pub fn codes(&self) -> &CodeList {
        &self.codes
    }

    /// Whether a url is an extension's.
    pub fn is_extension(&self, url: &str) -> bool {
        self.plan(url).is_some_and(|p| p.kind == "Extension")
    }

    fn plan(&self, url: &str) -> Option<&Plan> {
        self.by_url.get(url).and_then(|at| self.plans.get(*at))
    }

    /// Holds a resource against the profiles it claims, and against further ones by url.
    pub(crate) fn apply(
        &self,
        object: &Map<String, Value>,
        more: &[&str],
        path: &Path<'_>,
        around: &Surroundings<'_>,
        out: &mut Vec<Issue>,
    ) {
        let claimed = object.get("meta").and_then(|m| m.get("profile")).and_then(Value::as_array);
        let claimed: Vec<&str> = claimed.into_iter().flatten().filter_map(Value::as_str).collect();
        for (index, url) in claimed.iter().enumerate() {
            let url = url.split('|').next().unwrap_or_default();
            match self.plan(url) {
                Some(plan) => self.hold(plan, object, path, around, out),
                None => out.push(self.unknown(url, &path.field("meta").field("profile").item(index))),
            }
        }
        for url in more.iter().filter(|url| !claimed.contains(url)) {
            match self.plan(url) {
                Some(plan) => self.hold(plan, object, path, around, out),
                None => out.push(self.unknown(url, path)),
            }
        }
    }

    fn hold(
        &self,
        plan: &Plan,
        object: &Map<String, Value>,
        path: &Path<'_>,
        around: &Surroundings<'_>,
        out: &mut Vec<Issue>,
    ) {
        if object.get("resourceType").is_none_or(|kind| kind != plan.kind.as_str()) {
            let (id, kind) = (&plan.id, &plan.kind);
            return out.push(Issue::error(
                Code::Value,
                &path.field("meta").field("profile"),
                format!("profilen {id} gäller {kind}"),
                format!("the profile {id} is for {kind}"),
            ));
        }
        let mut plan = plan;
        // A profile may build on another; a chain longer than the package goes in a circle.
        for _ in 0..self.plans.len() {
            Application { plan, resource: object, around, out }.run(object, path);
            match plan.base.as_deref().and_then(|base| self.plan(base)) {
                Some(base) => plan = base,
                None => return,
            }
        }
    }

    fn unknown(&self, url: &str, path: &Path<'_>) -> Issue {
        if url.starts_with(BASE) {
            let (sv, en) = hint(nearest(url, self.urls()));
            return Issue::warning(
                Code::NotFound,
                path,
                format!("profilen finns inte{sv}"),
                format!("there is no such profile{en}"),
            );
        }
        Issue::information(
            path,
            "profilen finns inte här och har inte prövats",
            "the profile is not known here and was not checked",
        )
    }

    /// Holds an extension against its definition, if it is one of ours.
    pub(crate) fn extension(
        &self,
        extension: &Map<String, Value>,
        places: [&str; 2],
        modifier: bool,
        path: &Path<'_>,
        around: &Surroundings<'_>,
        out: &mut Vec<Issue>,
    ) {
        let Some(url) = extension.get("url").and_then(Value::as_str) else { return };
        let Some(plan) = self.plan(url).filter(|p| p.kind == "Extension") else {
            if url.starts_with(BASE) {
                let extensions =
                    self.by_url.iter().filter(|(_, at)| self.plans.get(**at).is_some_and(|p| p.kind == "Extension"));
                let (sv, en) = hint(nearest(url, extensions.map(|(url, _)| url.as_str())));
                out.push(Issue::error(
                    Code::NotFound,
                    &path.field("url"),
                    format!("utvidgningen finns inte{sv}"),
                    format!("there is no such extension{en}"),
                ));
            } else if modifier {
                out.push(Issue::error(
                    Code::NotSupported,
                    path,
                    "en okänd modifierExtension ändrar innebörden, så resursen kan inte användas",
                    "an unknown modifierExtension changes the meaning, so the resource cannot be used",
                ));
            }
            return;
        };
        let fits = |place: &String| places.contains(&place.as_str()) || place == "Element";
        if plan.modifier != modifier || !plan.context.is_empty() && !plan.context.iter().any(fits) {
            let list = plan.context.join(", ");
            out.push(Issue::error(
                Code::Structure,
                path,
                format!("utvidgningen {} hör hemma i: {list}", plan.id),
                format!("the extension {} belongs in: {list}", plan.id),
            ));
        }
        Application { plan, resource: extension, around, out }.run(extension, path);
    }
}

/// Whether a file of the package is a conformance resource.
fn is_part(name: &str) -> bool {
    name.ends_with(".json") && !name.contains('/') && name != "package.json"
}

/// A guard's finding with the file before its line.
fn placed(issue: Issue, file: &str) -> Issue {
    let origin = issue.origin.as_ref().map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"));
    issue.from(origin)
}

/// The name a type of a choice has in JSON: `value` and `dateTime` make `valueDateTime`.
fn json_name(stem: &str, code: &str) -> String {
    let mut chars = code.chars();
    chars.next().map_or_else(|| stem.to_owned(), |c| format!("{stem}{}{}", c.to_ascii_uppercase(), chars.as_str()))
}

#[cfg(test)]
mod tests;
