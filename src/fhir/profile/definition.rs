//! A StructureDefinition as it is read: its differential as a tree by element id, and a warning for every word that
//! the validator does not enforce.

use serde_json::{Map, Value};

use crate::fhir::issue::{Code, Issue};

/// What a profile file says.
#[derive(Debug)]
pub struct Definition {
    pub file: String,
    pub url: String,
    /// `rehab-plan`: what tables and findings call it.
    pub id: String,
    /// The R4 type it is about.
    pub kind: String,
    pub base: String,
    pub root: Draft,
    /// Where an extension may stand.
    pub context: Vec<String>,
}

/// One element of the differential, with those below it.
#[derive(Debug, Default)]
pub struct Draft {
    /// The last segment: `value[x]`.
    pub name: String,
    pub slice: Option<String>,
    /// The element's own words; empty where only its children are named.
    pub says: Map<String, Value>,
    pub children: Vec<Draft>,
}

/// Words that constrain nothing: they describe, or they tell systems what to store.
const DESCRIBE: &[&str] = &[
    "id",
    "path",
    "sliceName",
    "label",
    "short",
    "definition",
    "comment",
    "requirements",
    "alias",
    "base",
    "example",
    "mapping",
    "mustSupport",
    "isModifier",
    "isModifierReason",
    "isSummary",
    "meaningWhenMissing",
    "orderMeaning",
    "condition",
    "code",
    "extension",
    "representation",
];

/// Words that are enforced; the compiler reads them.
const ENFORCED: &[&str] = &["slicing", "min", "max", "type", "binding", "constraint", "maxLength"];

impl Draft {
    pub fn text(&self, name: &str) -> Option<&str> {
        self.says.get(name).and_then(Value::as_str)
    }

    pub fn list(&self, name: &str) -> &[Value] {
        self.says.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// `fixedCode`, `patternCodeableConcept` and so on: what the value must be, or contain.
    pub fn value(&self, word: &str) -> Option<&Value> {
        self.says.iter().find(|(key, _)| is_typed(key, word)).map(|(_, value)| value)
    }

    fn child(&mut self, name: &str, slice: Option<&str>) -> Option<&mut Draft> {
        let found = self.children.iter().position(|c| c.name == name && c.slice.as_deref() == slice);
        let at = found.unwrap_or_else(|| {
            self.children.push(Draft { name: name.to_owned(), slice: slice.map(str::to_owned), ..Draft::default() });
            self.children.len() - 1
        });
        self.children.get_mut(at)
    }
}

/// Whether a key is a choice of the word: `fixedCode` of `fixed`.
fn is_typed(key: &str, word: &str) -> bool {
    key.strip_prefix(word).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
}

impl Definition {
    /// Reads a StructureDefinition; `None`, with findings, when nothing can be made of it.
    pub fn read(file: &str, resource: &Value, issues: &mut Vec<Issue>) -> Option<Self> {
        let text = |name: &str| resource.get(name).and_then(Value::as_str);
        let mut need = |name: &str| {
            let found = text(name).map(str::to_owned);
            if found.is_none() {
                issues.push(
                    Issue::error(Code::Required, format!("StructureDefinition.{name}"), "saknas", "is missing")
                        .from(file),
                );
            }
            found
        };
        let (url, id, kind, base) = (need("url"), need("id"), need("type"), need("baseDefinition"));
        let (url, id, kind, base) = (url?, id?, kind?, base?);
        if text("derivation") != Some("constraint") {
            issues.push(
                Issue::error(
                    Code::Value,
                    "StructureDefinition.derivation",
                    "ska vara constraint",
                    "must be constraint",
                )
                .from(file),
            );
            return None;
        }
        let mut root = Draft { name: kind.clone(), ..Draft::default() };
        let elements = resource.get("differential").and_then(|d| d.get("element")).and_then(Value::as_array);
        for element in elements.into_iter().flatten() {
            place(&mut root, element, &kind, &id, file, issues);
        }
        let context = resource.get("context").and_then(Value::as_array).into_iter().flatten();
        let context = context
            .filter_map(|c| {
                let place = c.get("expression")?.as_str()?;
                if c.get("type").is_some_and(|t| t == "element") {
                    return Some(place.to_owned());
                }
                issues.push(not_enforced(file, &id, place, "context.type", "only element is enforced"));
                None
            })
            .collect();
        Some(Self { file: file.to_owned(), url, id, kind, base, root, context })
    }
}

/// A finding about something that a profile says and nobody holds resources to.
pub fn not_enforced(file: &str, profile: &str, element: &str, key: &str, why: &str) -> Issue {
    Issue::warning(
        Code::NotSupported,
        element,
        format!("profilen {profile} säger {key}, som inte tillämpas: {why}"),
        format!("the profile {profile} says {key}, which is not enforced: {why}"),
    )
    .from(file)
}

fn place(root: &mut Draft, element: &Value, kind: &str, profile: &str, file: &str, issues: &mut Vec<Issue>) {
    let text = |name: &str| element.get(name).and_then(Value::as_str);
    let (Some(id), Some(path)) = (text("id"), text("path")) else {
        let (sv, en) = ("ett element saknar id eller path", "an element lacks id or path");
        issues.push(Issue::error(Code::Required, format!("StructureDefinition {profile}"), sv, en).from(file));
        return;
    };
    let segments: Vec<(&str, Option<&str>)> =
        id.split('.').map(|s| s.split_once(':').map_or((s, None), |(name, slice)| (name, Some(slice)))).collect();
    let bare: Vec<&str> = segments.iter().map(|(name, _)| *name).collect();
    let slice_name = segments.last().and_then(|(_, slice)| *slice);
    if bare.join(".") != path || bare.first() != Some(&kind) || slice_name != text("sliceName") {
        let (sv, en) = ("id, path och sliceName säger inte samma sak", "id, path and sliceName do not say the same");
        issues.push(Issue::error(Code::Conflict, id, sv, en).from(file));
        return;
    }
    let mut draft = root;
    for (name, slice) in segments.iter().skip(1) {
        let Some(child) = draft.child(name, *slice) else { return };
        draft = child;
    }
    if !draft.says.is_empty() {
        issues.push(
            Issue::error(Code::Duplicate, id, "elementet finns två gånger", "the element stands twice").from(file),
        );
        return;
    }
    let Some(says) = element.as_object() else { return };
    for key in says.keys().map(|k| k.trim_start_matches('_')) {
        let known =
            DESCRIBE.contains(&key) || ENFORCED.contains(&key) || is_typed(key, "fixed") || is_typed(key, "pattern");
        if !known {
            issues.push(not_enforced(file, profile, id, key, "the validator does not know the word"));
        }
    }
    draft.says.clone_from(says);
}
