//! What was asked of an export, as it was checked and as it is kept: an export that goes on after a restart is the same one.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fhir::issue::Issue;
use crate::store::ExportLevel;

/// An export as somebody wishes it, every part checked.
#[derive(Debug, Clone)]
pub struct Wish {
    pub level: ExportLevel,
    pub cohort: Option<String>,
    /// The address it was asked for at.
    pub address: String,
    pub since: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
    /// Only these; `None`: every type that the caller may read.
    pub types: Option<Vec<String>>,
    pub request: Request,
    /// What was left out at the caller's wish.
    pub left_out: Vec<Issue>,
}

/// What is to be in the files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// In the order of the files.
    pub types: Vec<String>,
    /// A type and the criteria of it; of several for a type one has to hold.
    pub filters: Vec<(String, String)>,
    /// `element`, or `Type.element`.
    pub elements: Vec<String>,
    /// Only these patients, by id.
    pub patients: Option<Vec<String>>,
    pub provenance: Option<Associated>,
    /// OperationOutcomes for the manifest's `error`.
    pub notes: Vec<Value>,
}

/// Which Provenance comes along (`includeAssociatedData`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Associated {
    Latest,
    Relevant,
}

impl Associated {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "LatestProvenanceResources" => Some(Self::Latest),
            "RelevantProvenanceResources" => Some(Self::Relevant),
            _ => None,
        }
    }
}

impl Request {
    /// The criteria of a type, each as it was written.
    pub fn filters_of<'a>(&'a self, resource_type: &'a str) -> impl Iterator<Item = &'a str> {
        self.filters.iter().filter(move |(of, _)| of == resource_type).map(|(_, query)| query.as_str())
    }

    /// The elements that are wanted of a type; `None`: all.
    pub fn elements_of(&self, resource_type: &str) -> Option<Vec<String>> {
        let of = |element: &String| match element.split_once('.') {
            Some((kind, name)) => (kind == resource_type).then(|| name.to_owned()),
            None => Some(element.clone()),
        };
        let wanted: Vec<String> = self.elements.iter().filter_map(of).collect();
        (!wanted.is_empty()).then_some(wanted)
    }

    pub fn write(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_belong_to_the_types_they_name_and_to_all_where_they_name_none() {
        let request = Request { elements: vec!["Patient.name".into(), "status".into()], ..Request::default() };
        assert_eq!(request.elements_of("Patient"), Some(vec!["name".to_owned(), "status".to_owned()]));
        assert_eq!(request.elements_of("Task"), Some(vec!["status".to_owned()]));
        let request = Request { elements: vec!["Patient.name".into()], ..Request::default() };
        assert_eq!(request.elements_of("Task"), None);
        assert_eq!(Request::read(&request.write()), Some(request));
    }
}
