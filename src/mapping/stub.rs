use super::*;
use crate::domain::{Format, Kind};
pub struct Back {
    pub tree: Value,
    pub issues: Vec<Issue>,
}
impl Mappings {
    pub fn read(&self, _: Kind, _: Format, _: &[u8]) -> Result<Value, Vec<Issue>> {
        Err(vec![])
    }
    pub fn write(&self, _: &Table, _: &Value) -> Vec<u8> {
        vec![]
    }
    pub fn check(&self, _: &Files) -> Vec<Issue> {
        vec![]
    }
}
impl Table {
    pub fn back(&self, _: &[Value]) -> Back {
        Back { tree: Value::Null, issues: vec![] }
    }
}
