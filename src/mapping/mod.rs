//! stub
use crate::domain::{Format, Kind};
use crate::fhir::issue::Issue;
use serde_json::Value;
pub type Files = std::collections::BTreeMap<String, String>;
#[derive(Debug)]
pub struct Mappings;
#[derive(Debug)]
pub struct Table;
pub struct Envelope {
    pub id: String,
    pub version: Option<u32>,
    pub entered_in_error: bool,
    pub unit: Option<String>,
    pub recipients: Vec<String>,
}
pub struct IdAsk<'a> {
    pub resource_type: &'a str,
    pub block: &'a str,
    pub key: &'a str,
    pub actor: bool,
}
pub trait Ids {
    fn id(&self, ask: &IdAsk<'_>) -> String;
}
pub struct Mapped {
    pub block: String,
    pub value: Value,
}
pub struct Out {
    pub resources: Vec<Mapped>,
    pub issues: Vec<Issue>,
    pub trace: Vec<Trace>,
}
pub struct Back {
    pub tree: Value,
    pub issues: Vec<Issue>,
}
impl Mappings {
    pub fn load(_: &Files) -> (Self, Vec<Issue>) {
        (Self, vec![])
    }
    pub fn read(&self, _: Kind, _: Format, _: &[u8]) -> Result<Value, Vec<Issue>> {
        Err(vec![])
    }
    pub fn choose(&self, _: Kind, _: Format, _: &Value) -> Result<&Table, Issue> {
        Ok(&Table)
    }
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        std::iter::empty()
    }
    pub fn write(&self, _: &Table, _: &Value) -> Vec<u8> {
        vec![]
    }
}
impl Table {
    pub fn name(&self) -> &str {
        ""
    }
    pub fn version(&self) -> &str {
        ""
    }
    pub fn format(&self) -> Format {
        Format::Json
    }
    pub fn envelope(&self, _: &Value) -> Envelope {
        Envelope { id: String::new(), version: None, entered_in_error: false, unit: None, recipients: vec![] }
    }
    pub fn out(&self, _: &Value, _: &dyn Ids) -> Out {
        Out { resources: vec![], issues: vec![], trace: vec![] }
    }
    pub fn back(&self, _: &[Value]) -> Back {
        Back { tree: Value::Null, issues: vec![] }
    }
}
pub struct ExampleIds;
impl Ids for ExampleIds {
    fn id(&self, ask: &IdAsk<'_>) -> String {
        ask.key.to_owned()
    }
}
pub struct Trace {
    pub expression: String,
    pub resource: String,
    pub origin: String,
    pub source: String,
    pub via: Option<String>,
}
impl Mappings {
    pub fn check(&self, _: &Files) -> Vec<Issue> {
        vec![]
    }
}
impl Table {
    pub fn kind(&self) -> Kind {
        Kind::Referral
    }
}
