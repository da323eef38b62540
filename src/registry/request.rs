//! What was asked of an export, as it was checked and as it is kept: an export that goes on after a restart is the same one.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::access::{Caller, Purpose, Reach, Scope};
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

/// A caller as it is kept beside its export.
pub fn write_caller(caller: &Caller) -> String {
    let reach = match &caller.reach {
        Reach::Everything => json!({ "everything": true }),
        Reach::Units(units) => json!({ "units": units }),
        Reach::Registry(name) => json!({ "registry": name }),
    };
    let purpose = match caller.purpose {
        Purpose::Care => "care",
        Purpose::Registry => "registry",
        Purpose::Operations => "operations",
    };
    let scopes = caller.scopes.as_ref().map(|scopes| scopes.iter().map(Scope::to_string).collect::<Vec<_>>());
    json!({ "name": caller.name, "partner": caller.partner, "reach": reach, "purpose": purpose, "scopes": scopes })
        .to_string()
}

/// The caller again, no wider than it was, its scopes to be read anew ([`Caller::narrowed`]); `None` where any part cannot be
/// read.
pub fn read_caller(text: &str) -> Option<Caller> {
    let kept: Value = serde_json::from_str(text).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let reach = &kept["reach"];
    let reach = if reach["everything"] == true {
        Reach::Everything
    } else if let Some(units) = reach["units"].as_array() {
        Reach::Units(units.iter().map(text).collect::<Option<_>>()?)
    } else {
        Reach::Registry(text(&reach["registry"])?)
    };
    let scopes = match &kept["scopes"] {
        Value::Null => None,
        Value::Array(list) => {
            let scopes: Option<Vec<Scope>> = list.iter().map(|s| Scope::parse(s.as_str()?)).collect();
            Some(Arc::from(scopes?))
        }
        _ => return None,
    };
    let purpose = match kept["purpose"].as_str()? {
        "care" => Purpose::Care,
        "registry" => Purpose::Registry,
        "operations" => Purpose::Operations,
        _ => return None,
    };
    Some(Caller { name: text(&kept["name"])?, partner: text(&kept["partner"]), reach, purpose, scopes, grants: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::scope;

    #[test]
    fn a_caller_that_is_kept_is_the_same_caller_again() {
        let scopes: Arc<[Scope]> = Arc::from(scope::read("system/Procedure.rs?code=DV133 system/*.r"));
        for reach in [Reach::Everything, Reach::Units(vec!["SE1".into()]), Reach::Registry("r".into())] {
            for scopes in [None, Some(Arc::clone(&scopes))] {
                let purpose = Purpose::Registry;
                let caller =
                    Caller { name: "r".into(), partner: None, reach: reach.clone(), purpose, scopes, grants: None };
                assert_eq!(read_caller(&write_caller(&caller)), Some(caller));
            }
        }
        assert_eq!(read_caller("{}"), None);
    }

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
