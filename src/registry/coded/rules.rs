//! What becomes of every element of every type of R4, as a table that is made once.

use std::sync::OnceLock;

use rustc_hash::FxHashMap;

use crate::fhir::about::is_words;
use crate::fhir::r4;

/// What these types hold is somebody's own words, or leads to the person; nothing of them is counted.
const NEVER: [&str; 16] = [
    "HumanName",
    "Address",
    "ContactPoint",
    "ContactDetail",
    "Attachment",
    "Annotation",
    "Narrative",
    "Signature",
    "Expression",
    "SampledData",
    "RelatedArtifact",
    "string",
    "markdown",
    "base64Binary",
    "xhtml",
    "uuid",
];
/// Resources beside somebody's words that hold nothing which is counted.
const UNCOUNTED: [&str; 2] = ["AuditEvent", "OperationOutcome"];
/// Elements that lead to a person although their type does not say so; and `Meta.profile`, which would claim what a coded
/// resource is not: a profile of ours wants the number.
const PERSONAL: [&str; 11] = [
    "Patient.contact",
    "Patient.link",
    "Patient.photo",
    "Patient.communication",
    "Patient.multipleBirth[x]",
    "Practitioner.photo",
    "Practitioner.birthDate",
    "RelatedPerson.photo",
    "RelatedPerson.birthDate",
    "RelatedPerson.communication",
    "Meta.profile",
];
/// What somebody else's extension says of time could be a birth to the minute.
const TIMES: [&str; 6] = ["date", "dateTime", "instant", "time", "Period", "Timing"];

/// What becomes of the value of an element.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rule {
    /// It goes, and so does what nothing is known of.
    Leave,
    /// The resource's own id becomes a code.
    Id,
    /// A year, and of the very old one.
    BirthYear,
    /// The year.
    Year,
    /// The unit that sent it.
    Source,
    Word,
    Address,
    Moment,
    Date,
    /// When we wrote something: the day.
    Day,
    /// `meta.versionId`.
    Count,
    Number,
    Truth,
    Reference,
    Identifier,
    Coding,
    Quantity,
    Extension,
    /// A contained resource.
    Resource,
    /// It has elements of its own.
    Content(&'static str),
}

/// An element under a name that it has in JSON.
#[derive(Debug)]
pub(super) struct Known {
    pub name: String,
    pub rule: Rule,
    /// The place of a demanded element among its type's: a choice has one place under all its names.
    pub demanded: Option<u32>,
    pub is_primitive: bool,
    pub is_list: bool,
    /// In an extension: it says of time.
    pub is_time: bool,
}

/// The elements of a type or backbone element.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub resource_type: &'static str,
    names: FxHashMap<String, Known>,
}

impl Content {
    pub fn find(&self, name: &str) -> Option<&Known> {
        self.names.get(name)
    }
}

/// The elements of a resource that registries count; `None`: nothing of it is for them.
pub(super) fn of_resource(resource_type: &str) -> Option<&'static Content> {
    let content = of(resource_type)?;
    let name = content.resource_type;
    let is_counted = !name.is_empty() && !is_words(name) && !UNCOUNTED.contains(&name);
    is_counted.then_some(content)
}

pub(super) fn of(content: &str) -> Option<&'static Content> {
    static TABLE: OnceLock<FxHashMap<&'static str, Content>> = OnceLock::new();
    TABLE.get_or_init(|| r4::contents().map(|name| (name, make(name))).collect()).get(content)
}

fn make(content: &'static str) -> Content {
    let is_resource = r4::is_resource(content);
    let known = r4::names(content).map(|name| (name.to_owned(), known(content, name, is_resource)));
    Content { resource_type: if is_resource { content } else { "" }, names: known.collect() }
}

fn known(content: &str, name: &str, of_resource: bool) -> Known {
    let found = r4::find(content, name);
    Known {
        name: name.to_owned(),
        rule: found.as_ref().map_or(Rule::Leave, |found| rule(found, of_resource)),
        demanded: found.as_ref().filter(|f| f.element.min > 0).and_then(|f| u32::try_from(f.position).ok()),
        is_primitive: found.as_ref().is_some_and(|f| r4::is_primitive(f.type_code)),
        is_list: found.as_ref().is_some_and(|f| f.element.is_list()),
        is_time: found.as_ref().is_some_and(|f| TIMES.contains(&f.type_code)),
    }
}

fn rule(found: &r4::Found, of_resource: bool) -> Rule {
    let path = found.element.path;
    if of_resource && found.element.name == "id" {
        return Rule::Id;
    }
    if PERSONAL.contains(&path) || NEVER.contains(&found.type_code) {
        return Rule::Leave;
    }
    match (path, found.type_code) {
        ("Patient.birthDate", _) => Rule::BirthYear,
        ("Patient.deceased[x]", "dateTime") => Rule::Year,
        ("Meta.source", _) => Rule::Source,
        (_, "code") => Rule::Word,
        (_, "uri" | "url" | "canonical" | "oid") => Rule::Address,
        (_, "date") => Rule::Date,
        (_, "dateTime" | "time") => Rule::Moment,
        (_, "instant") => Rule::Day,
        (_, "id") => Rule::Count,
        (_, "boolean") => Rule::Truth,
        (_, "decimal" | "integer" | "positiveInt" | "unsignedInt") => Rule::Number,
        (_, "Resource") => Rule::Resource,
        (_, "Reference") => Rule::Reference,
        (_, "Identifier") => Rule::Identifier,
        (_, "Coding") => Rule::Coding,
        (_, "Quantity" | "Age" | "Duration" | "Count" | "Distance" | "Money") => Rule::Quantity,
        (_, "Extension") => Rule::Extension,
        (_, type_code) if r4::is_primitive(type_code) => Rule::Leave,
        _ => Rule::Content(found.content),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_a_single_value_has_a_rule_that_was_thought_of() {
        // A type that R4's table gains must be put on one side or the other.
        let mut unknown: Vec<String> = Vec::new();
        for content in r4::contents() {
            for name in r4::names(content) {
                let Some(found) = r4::find(content, name) else { continue };
                let thought_of = NEVER.contains(&found.type_code) || PERSONAL.contains(&found.element.path);
                if matches!(rule(&found, false), Rule::Leave) && !thought_of {
                    unknown.push(found.element.path.to_owned());
                }
            }
        }
        assert_eq!(unknown, Vec::<String>::new());
    }

    #[test]
    fn every_content_that_a_rule_names_is_there() {
        for content in r4::contents() {
            for known in of(content).unwrap().names.values() {
                if let Rule::Content(inner) = known.rule {
                    assert!(of(inner).is_some(), "{content}.{}: {inner}", known.name);
                }
            }
        }
    }

    #[test]
    fn words_and_files_are_for_no_registry() {
        let never = crate::fhir::about::WORDS.iter().chain(&UNCOUNTED);
        assert!(never.into_iter().all(|name| r4::is_resource(name) && of_resource(name).is_none()));
        assert!(of_resource("Procedure").is_some() && of_resource("Coding").is_none() && of_resource("Cat").is_none());
    }
}
