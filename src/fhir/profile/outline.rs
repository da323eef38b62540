//! What a resource can at most become, and what its profile asks for beyond that.
//!
//! Whoever makes resources by a plan (a mapping table) can be told before the first document that the plan leaves out
//! what a profile requires. An outline has every element that the plan may write; it never has less than a resource
//! made by it, so what is missing here is missing always. What may be missing is for the validator to say.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Profiles;
use super::plan::{Matcher, Node, Rules, Slicing};

/// One element, with everything that may ever be written in it.
#[derive(Debug, Default)]
pub struct Outline {
    /// What may stand here that is known beforehand.
    values: Vec<Value>,
    /// Whether what stands here is known only from a document.
    open: bool,
    /// Whether a constant here may be left out.
    unsure: bool,
    /// Whether it may be written more than once.
    many: bool,
    /// By name in JSON, and then by a number that tells the elements of one list apart.
    fields: BTreeMap<String, BTreeMap<u32, Outline>>,
}

/// Something that a profile asks for and the outline has not.
#[derive(Debug, PartialEq, Eq)]
pub struct Unwritten {
    /// The profile's id: `rehab-plan`.
    pub profile: String,
    /// The element as the profile names it: `CarePlan.identifier:plan-id`.
    pub element: String,
    /// Its path by the names in JSON, one for each type that a choice may have: `activity.detail.status`.
    pub paths: Vec<String>,
    /// What the element must have where the profile looks: `system = "…"`.
    pub with: Vec<String>,
}

/// How sure it is that an element will be what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Never,
    Perhaps,
    Always,
}

impl Outline {
    /// The element of that name and number, made if it is not there.
    pub fn element(&mut self, name: &str, number: u32, many: bool) -> &mut Self {
        let element = self.fields.entry(name.to_owned()).or_default().entry(number).or_default();
        element.many |= many;
        element
    }

    /// A constant is written here; `sure` where nothing can keep it out.
    pub fn constant(&mut self, value: &Value, sure: bool) {
        self.unsure |= !sure;
        if !self.values.contains(value) {
            self.values.push(value.clone());
        }
    }

    /// Something that a document tells is written here.
    pub fn told(&mut self) {
        self.open = true;
    }

    fn of(&self, name: &str) -> impl Iterator<Item = &Self> {
        self.fields.get(name).into_iter().flat_map(BTreeMap::values)
    }

    /// Whether the element will contain a pattern.
    fn fit(&self, pattern: &Value) -> Fit {
        if self.open {
            return Fit::Perhaps;
        }
        match pattern {
            Value::Object(fields) => {
                let inside = fields.iter().map(|(name, wanted)| match wanted {
                    Value::Array(items) => items.iter().map(|item| self.best(name, item)).min().unwrap_or(Fit::Always),
                    single => self.best(name, single),
                });
                inside.min().unwrap_or(Fit::Always)
            }
            _ if !self.values.contains(pattern) => Fit::Never,
            _ if self.unsure || self.values.len() > 1 => Fit::Perhaps,
            _ => Fit::Always,
        }
    }

    fn best(&self, name: &str, pattern: &Value) -> Fit {
        self.of(name).map(|element| element.fit(pattern)).max().unwrap_or(Fit::Never)
    }

    fn reaches(&self, path: &[String], pattern: &Value) -> Fit {
        match path.split_first() {
            None => self.fit(pattern),
            Some(_) if self.open => Fit::Perhaps,
            Some((first, rest)) => self.of(first).map(|e| e.reaches(rest, pattern)).max().unwrap_or(Fit::Never),
        }
    }
}

impl Profiles {
    /// What the profiles that an outline's `meta.profile` names ask for and it has not. A profile that is not in the
    /// package asks for nothing here.
    pub fn unwritten(&self, resource_type: &str, outline: &Outline) -> Vec<Unwritten> {
        let mut out = Vec::new();
        let claimed = outline.of("meta").flat_map(|meta| meta.of("profile")).flat_map(|p| &p.values);
        for url in claimed.filter_map(Value::as_str) {
            let mut next = self.plan(url);
            // As when a resource is held against it: a chain longer than the package goes in a circle.
            for _ in 0..self.plans.len() {
                let Some(plan) = next else { break };
                let mut search = Search { profile: &plan.id, out: &mut out };
                search.rules(&plan.rules, outline, &Place::new(resource_type));
                next = plan.base.as_deref().and_then(|base| self.plan(base));
            }
        }
        self.extensions(outline, &Place::new(resource_type), &mut out);
        out
    }

    /// The same of every extension in it, by its definition.
    fn extensions(&self, outline: &Outline, place: &Place, out: &mut Vec<Unwritten>) {
        for (name, elements) in &outline.fields {
            for element in elements.values() {
                let here = place.field(name, name);
                if matches!(name.as_str(), "extension" | "modifierExtension") {
                    let mut urls = element.of("url").flat_map(|url| &url.values).filter_map(Value::as_str);
                    if let (Some(url), None) = (urls.next(), urls.next())
                        && let Some(plan) = self.plan(url)
                    {
                        let mut search = Search { profile: &plan.id, out };
                        search.rules(&plan.rules, element, &here.slice(&plan.id));
                    }
                }
                self.extensions(element, &here, out);
            }
        }
    }
}

/// Where an element is: as the profile names it, and by its names in JSON.
struct Place {
    element: String,
    path: String,
}

impl Place {
    fn new(resource_type: &str) -> Self {
        Self { element: resource_type.to_owned(), path: String::new() }
    }

    fn field(&self, shown: &str, json: &str) -> Self {
        let path = if self.path.is_empty() { json.to_owned() } else { format!("{}.{json}", self.path) };
        Self { element: format!("{}.{shown}", self.element), path }
    }

    fn slice(&self, name: &str) -> Self {
        Self { element: format!("{}:{name}", self.element), path: self.path.clone() }
    }
}

struct Search<'a> {
    profile: &'a str,
    out: &'a mut Vec<Unwritten>,
}

impl Search<'_> {
    fn lacks(&mut self, element: String, paths: Vec<String>, with: Vec<String>) {
        let found = Unwritten { profile: self.profile.to_owned(), element, paths, with };
        if !self.out.contains(&found) {
            self.out.push(found);
        }
    }

    fn rules(&mut self, rules: &Rules, outline: &Outline, place: &Place) {
        if outline.open {
            return;
        }
        for wanted in rules.fixed.iter().chain(&rules.pattern) {
            if outline.fit(wanted) == Fit::Never {
                self.lacks(place.element.clone(), vec![place.path.clone()], vec![wanted.to_string()]);
            }
        }
        for node in &rules.children {
            self.node(node, outline, place);
        }
    }

    fn node(&mut self, node: &Node, outline: &Outline, place: &Place) {
        let allowed = || node.names.iter().filter(|n| n.allowed);
        let mut count = 0;
        for name in allowed() {
            for element in outline.of(&name.json) {
                count += if element.many { usize::MAX / 2 } else { 1 };
                self.rules(&node.rules, element, &place.field(node.shown, &name.json));
            }
        }
        let before = self.out.len();
        if let Some((slicing, name)) = node.slicing.as_ref().zip(node.names.first()) {
            let elements: Vec<&Outline> = outline.of(&name.json).collect();
            self.slices(slicing, &elements, &place.field(node.shown, &name.json));
        }
        // A slice that is missing says more than that its list is.
        if count < node.min && self.out.len() == before {
            let element = place.field(node.shown, "").element;
            let paths = allowed().map(|n| place.field(node.shown, &n.json).path).collect();
            self.lacks(element, paths, Vec::new());
        }
    }

    fn slices(&mut self, slicing: &Slicing, elements: &[&Outline], place: &Place) {
        for slice in slicing.slices.iter().filter(|slice| slice.min > 0) {
            if elements.iter().all(|element| takes(&slice.matchers, element) == Fit::Never) {
                let with = slice.matchers.iter().map(known_by).collect();
                self.lacks(place.slice(&slice.name).element, vec![place.path.clone()], with);
            }
        }
        for element in elements {
            // The first slice that takes it is its own; where that is not certain, nothing can be said.
            let own =
                slicing.slices.iter().map(|s| (takes(&s.matchers, element), s)).find(|(fit, _)| *fit > Fit::Never);
            if let Some((Fit::Always, slice)) = own {
                self.rules(&slice.rules, element, &place.slice(&slice.name));
            }
        }
    }
}

fn takes(matchers: &[Matcher], element: &Outline) -> Fit {
    matchers.iter().map(|m| element.reaches(&m.path, &m.pattern)).min().unwrap_or(Fit::Always)
}

fn known_by(matcher: &Matcher) -> String {
    if matcher.path.is_empty() {
        matcher.pattern.to_string()
    } else {
        format!("{} = {}", matcher.path.join("."), matcher.pattern)
    }
}
