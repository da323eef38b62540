//! FHIR paths against the R4 schema: names, lists, types, and what a name in brackets picks.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::fhir::canonical::RESOURCE_ID;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::r4;
use crate::mapping::near;
use crate::mapping::path::{Cond, Part, Step, Take, Test, Written};
use crate::mapping::plan::Class;
use crate::mapping::table::AliasText;

/// Compiles the FHIR paths of one table.
pub(super) struct Elements<'a> {
    aliases: &'a BTreeMap<String, AliasText>,
    slots: BTreeMap<String, u32>,
    /// What the rows of the block at hand do with each list and element.
    pub usage: Usage,
}

/// What the rows of one block reach.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// For each list the ways its elements are chosen, and a row that does.
    pub lists: BTreeMap<String, BTreeMap<Choice, String>>,
    /// For each element that rows make: its content and the children they write.
    pub made: BTreeMap<String, (String, BTreeSet<&'static str>)>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Choice {
    Bare,
    Each,
    Picked(String),
    EachPicked(String),
}

/// Where paths start: a resource, or the element a part is about.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    pub content: &'static str,
    pub key: String,
    pub steps: Vec<Step>,
}

/// What a path leads to.
pub(super) struct Reached {
    pub steps: Vec<Step>,
    pub type_code: &'static str,
    pub content: &'static str,
    pub key: String,
    /// The codes a required binding allows.
    pub codes: Vec<&'static str>,
    /// The resource types a Reference may point at; empty: any.
    pub targets: &'static [&'static str],
}

/// How a row uses the end of its path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum End {
    Value,
    Element(&'static str),
    Link,
    /// A part's prefix.
    Inside,
}

/// What a step is compiled for.
#[derive(Clone, Copy)]
struct Aim<'o> {
    origin: &'o str,
    /// Whether the row writes on the way out.
    out: bool,
    /// Inside a condition, lists are searched.
    cond: bool,
    depth: u32,
}

impl<'a> Elements<'a> {
    pub fn new(aliases: &'a BTreeMap<String, AliasText>) -> Self {
        Self { aliases, slots: BTreeMap::new(), usage: Usage::default() }
    }

    pub fn path(&mut self, scope: &Scope, text: &str, end: End, out: bool, origin: &str) -> Result<Reached, Issue> {
        let aim = Aim { origin, out, cond: false, depth: 0 };
        self.compile(scope, text, end, aim)
    }

    /// The number of a container by its key.
    pub fn slot(&mut self, key: &str) -> u32 {
        let next = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        *self.slots.entry(key.to_owned()).or_insert(next)
    }

    fn compile(&mut self, scope: &Scope, text: &str, end: End, aim: Aim<'_>) -> Result<Reached, Issue> {
        let written = match Written::parse(text) {
            Some(written) if !written.root => written,
            _ => return Err(wrong(text, "Vägen går inte att läsa.", "The path cannot be read.")),
        };
        if aim.depth > 4 {
            return Err(wrong(text, "Namnen hänvisar till varandra.", "The names refer to each other."));
        }
        let mut reached = Reached {
            steps: Vec::new(),
            type_code: "",
            content: scope.content,
            key: scope.key.clone(),
            codes: Vec::new(),
            targets: &[],
        };
        for part in &written.parts {
            self.step(&mut reached, part, text, aim)?;
        }
        let Some(last) = written.parts.last() else {
            return match end {
                End::Inside => Ok(reached),
                _ => Err(wrong(text, "FHIR-vägen är tom.", "The FHIR path is empty.")),
            };
        };
        match end {
            End::Inside => {}
            End::Value => {
                if let Some(AliasText::Systems(_)) = last.alias.and_then(|a| self.aliases.get(a)) {
                    self.value_of(&mut reached, last, text, aim)?;
                }
                if !r4::is_primitive(reached.type_code) {
                    return Err(not_a_value(text, &reached));
                }
            }
            End::Element(wanted) => {
                if reached.type_code != wanted {
                    let found = reached.type_code;
                    return Err(wrong(
                        text,
                        format!("Omvandlaren gör {wanted}, men här står {found}."),
                        format!("The converter makes {wanted}, but this is {found}."),
                    ));
                }
                self.cover_all(&reached, aim);
            }
            End::Link => {
                if reached.type_code != "Reference" {
                    let found = reached.type_code;
                    return Err(wrong(
                        text,
                        format!("En länk kräver Reference, men här står {found}."),
                        format!("A link needs a Reference, but this is {found}."),
                    ));
                }
                let part = Part { name: "reference", each: false, alias: None };
                self.step(&mut reached, &part, text, aim)?;
            }
        }
        Ok(reached)
    }

    fn step(&mut self, reached: &mut Reached, part: &Part<'_>, text: &str, aim: Aim<'_>) -> Result<(), Issue> {
        let parent = reached.content;
        let Some(found) = r4::find(parent, part.name) else { return Err(unknown(text, parent, part.name)) };
        if part.name == "id" && r4::is_resource(parent) {
            return Err(wrong(text, "Resursens id sätts av gatewayen.", "The resource's id is the gateway's to set."));
        }
        let list = found.element.is_list();
        if part.each && !list {
            return Err(wrong(
                text,
                format!("{} är ingen lista; ta bort [].", part.name),
                format!("{} is not a list; remove [].", part.name),
            ));
        }
        if part.each && aim.cond {
            return Err(wrong(text, "En väg i ett namn har inga [].", "A path inside a name has no []."));
        }
        let list_key = format!("{}.{}", reached.key, part.name);
        let choice = match (part.alias, part.each) {
            (None, false) => Choice::Bare,
            (None, true) => Choice::Each,
            (Some(alias), false) => Choice::Picked(alias.to_owned()),
            (Some(alias), true) => Choice::EachPicked(alias.to_owned()),
        };
        let key = match (&choice, list) {
            (_, false) | (Choice::Bare, true) => list_key.clone(),
            (Choice::Each, true) => format!("{list_key}[]"),
            (Choice::Picked(alias) | Choice::EachPicked(alias), true) => format!("{list_key}[{alias}]"),
        };
        if list {
            self.usage.lists.entry(list_key).or_default().entry(choice).or_insert_with(|| aim.origin.to_owned());
        }
        if aim.out {
            let made = self.usage.made.entry(reached.key.clone());
            made.or_insert_with(|| (parent.to_owned(), BTreeSet::new())).1.insert(found.element.path);
        }
        let slot = self.slot(&key);
        let scope = Scope { content: found.content, key: key.clone(), steps: Vec::new() };
        let conds = match part.alias {
            Some(alias) => vec![self.cond(&scope, found.type_code, alias, text, aim)?],
            None if list && found.type_code == "Identifier" => vec![not_ours()],
            None => Vec::new(),
        };
        let take = match (part.each, list && aim.cond) {
            (true, _) => Take::Each,
            (false, true) => Take::Any,
            (false, false) => Take::First,
        };
        reached.steps.push(Step {
            name: part.name.into(),
            position: u32::try_from(found.position).unwrap_or(u32::MAX),
            list,
            take,
            slot,
            conds,
        });
        reached.type_code = found.type_code;
        reached.content = found.content;
        reached.key = key;
        reached.codes = found.element.codes.iter().flat_map(|c| c.codes.iter().copied()).collect();
        if found.type_code != "code" {
            reached.codes.clear();
        }
        if found.type_code == "Reference" {
            let reference = found.element.types.iter().find(|t| t.code == "Reference");
            reached.targets = reference.map_or(&[], |t| t.targets.as_slice());
        }
        Ok(())
    }

    /// The condition by which an alias picks an element of a type.
    fn cond(&mut self, scope: &Scope, type_code: &str, alias: &str, text: &str, aim: Aim<'_>) -> Result<Cond, Issue> {
        let Some(found) = self.aliases.get(alias) else {
            let (sv, en) = near::hint(alias, self.aliases.keys().map(String::as_str));
            return Err(Issue::error(
                Code::NotFound,
                text,
                format!("Namnet [{alias}] är inte känt.{sv}"),
                format!("The name [{alias}] is not known.{en}"),
            ));
        };
        let inner = Aim { cond: true, depth: aim.depth + 1, ..aim };
        let (path, values) = match found {
            AliasText::At { at, is } => (at.clone(), is.clone()),
            AliasText::Systems(systems) => {
                let path = match type_code {
                    "Identifier" | "Coding" => "system".to_owned(),
                    "Extension" => "url".to_owned(),
                    "CodeableConcept" => format!("coding[{alias}].system"),
                    "Reference" => "identifier.system".to_owned(),
                    other => {
                        return Err(wrong(
                            text,
                            format!("Ett system kan inte välja {other}; skriv namnet som {{ at, is }}."),
                            format!("A system cannot pick a {other}; write the name as {{ at, is }}."),
                        ));
                    }
                };
                (path, systems.iter().map(|s| json!(s)).collect::<Vec<Value>>())
            }
        };
        let end = self.compile(scope, &path, End::Value, inner)?;
        for value in &values {
            check_value(text, value, &end)?;
        }
        Ok(Cond { steps: end.steps, values, test: Test::Picks })
    }

    /// Goes on from a picked element to its value.
    fn value_of(&mut self, reached: &mut Reached, last: &Part<'_>, text: &str, aim: Aim<'_>) -> Result<(), Issue> {
        let part = |name, alias| Part { name, each: false, alias };
        let on: Vec<Part<'_>> = match reached.type_code {
            "Identifier" => vec![part("value", None)],
            "Coding" => vec![part("code", None)],
            "CodeableConcept" => vec![part("coding", last.alias), part("code", None)],
            "Reference" => vec![part("identifier", None), part("value", None)],
            _ => return Err(not_a_value(text, reached)),
        };
        on.iter().try_for_each(|part| self.step(reached, part, text, aim))
    }

    /// A converter that makes an element writes what R4 requires of it.
    fn cover_all(&mut self, reached: &Reached, aim: Aim<'_>) {
        if !aim.out {
            return;
        }
        let made = self.usage.made.entry(reached.key.clone());
        let covered = &mut made.or_insert_with(|| (reached.content.to_owned(), BTreeSet::new())).1;
        covered.extend(r4::children(reached.content).iter().map(|e| e.path));
    }
}

/// Whether a constant can stand where a path leads.
pub(super) fn check_value(text: &str, value: &Value, end: &Reached) -> Result<(), Issue> {
    let class = Class::of(end.type_code);
    if !class.admits(value) {
        let (sv, en) = class.words();
        return Err(wrong(text, format!("Här ska stå {sv}."), format!("This should be {en}.")));
    }
    match value.as_str() {
        Some(code) if !end.codes.is_empty() && !end.codes.contains(&code) => {
            let (sv, en) = near::hint(code, end.codes.iter().copied());
            Err(Issue::error(
                Code::CodeInvalid,
                text,
                format!("Koden {code} är inte tillåten i R4.{sv}"),
                format!("The code {code} is not allowed by R4.{en}"),
            ))
        }
        _ => Ok(()),
    }
}

/// The identifier that the gateway adds to a resource is nobody else's, least of all the only one.
fn not_ours() -> Cond {
    let system =
        Step { name: "system".into(), position: 0, list: false, take: Take::First, slot: u32::MAX, conds: Vec::new() };
    Cond { steps: vec![system], values: vec![json!(RESOURCE_ID)], test: Test::Differs }
}

fn wrong(text: &str, sv: impl Into<String>, en: impl Into<String>) -> Issue {
    Issue::error(Code::Structure, text, sv, en)
}

fn not_a_value(text: &str, reached: &Reached) -> Issue {
    let names: Vec<&str> = r4::children(reached.content).iter().map(|e| e.name).filter(|n| *n != "id").collect();
    let (found, names) = (reached.type_code, names.join(", "));
    wrong(
        text,
        format!("Vägen slutar vid {found}, som inte är ett värde; gå vidare till något av: {names}."),
        format!("The path ends at {found}, which is not a value; go on to one of: {names}."),
    )
}

fn unknown(text: &str, parent: &str, name: &str) -> Issue {
    let children = r4::children(parent);
    if let Some(choice) = children.iter().find(|e| e.is_choice() && e.stem() == name) {
        let stem = choice.stem();
        let names: Vec<String> = choice
            .types
            .iter()
            .filter_map(|t| {
                let mut letters = t.code.chars();
                letters.next().map(|first| format!("{stem}{}{}", first.to_ascii_uppercase(), letters.as_str()))
            })
            .take(8)
            .collect();
        let names = names.join(", ");
        return wrong(
            text,
            format!("{name} har flera typer; skriv vilken: {names} …"),
            format!("{name} has several types; write which: {names} …"),
        );
    }
    let known: Vec<String> = children
        .iter()
        .flat_map(|e| match e.is_choice() {
            false => vec![e.name.to_owned()],
            true => e
                .types
                .iter()
                .filter_map(|t| {
                    let mut letters = t.code.chars();
                    letters.next().map(|f| format!("{}{}{}", e.stem(), f.to_ascii_uppercase(), letters.as_str()))
                })
                .collect(),
        })
        .collect();
    let (sv, en) = near::hint(name, known.iter().map(String::as_str));
    let parent = if parent.is_empty() { "?" } else { parent };
    Issue::error(
        Code::NotFound,
        text,
        format!("{parent} har inget element {name}.{sv}"),
        format!("{parent} has no element {name}.{en}"),
    )
}
