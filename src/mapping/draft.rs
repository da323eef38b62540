//! A tree under construction: rows write in any order, and at the end every list and object stands in its own order.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::path::{Step, Take, Test, is_absent};
use super::trail::Trail;

/// One node; it becomes an object, list or value by what is first written to it.
#[derive(Debug, Default)]
pub(super) enum Draft<'t> {
    #[default]
    Vacant,
    Object(Vec<Field<'t>>),
    /// In the order of slots and numbers.
    List(Vec<Entry<'t>>),
    Value {
        value: Value,
        /// What wrote it: a number that the caller understands.
        note: u32,
        /// Written only to be picked by; a row may replace it.
        soft: bool,
    },
}

#[derive(Debug)]
pub(super) struct Field<'t> {
    position: u32,
    name: Cow<'t, str>,
    node: Draft<'t>,
}

/// An element of a list, in the order of the rows that make it and then of the items they make it from.
#[derive(Debug)]
pub(super) struct Entry<'t> {
    slot: u32,
    number: u32,
    node: Draft<'t>,
}

/// What a row writes.
#[derive(Debug)]
pub(super) enum Content<'t> {
    Value(Value),
    /// The fields of a whole element, each with its place and name.
    Element(Vec<(u32, Cow<'t, str>, Value)>),
}

/// Why something could not be written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Clash {
    /// Another row wrote something else there.
    Other(u32),
    /// The element would not be picked again: its system is not among those of the name.
    Unpicked,
}

/// As many as most elements have.
const FEW_FIELDS: usize = 4;

impl<'t> Draft<'t> {
    /// Writes what a row says, with what its path's names need.
    pub fn put(&mut self, steps: &'t [Step], numbers: &[u32], content: Content<'t>, note: u32) -> Result<(), Clash> {
        let Some((step, rest)) = steps.split_first() else { return self.set(content, note) };
        let (number, numbers) = match (step.take, numbers.split_first()) {
            (Take::Each, Some((number, rest))) => (*number, rest),
            _ => (0, numbers),
        };
        let child = self.child(step, number).ok_or(Clash::Other(note))?;
        child.put(rest, numbers, content, note)?;
        for cond in step.conds.iter().filter(|c| c.test == Test::Picks) {
            match child.get(&cond.steps) {
                Some(value) if cond.values.contains(value) => {}
                Some(_) => return Err(Clash::Unpicked),
                None => {
                    let Some(first) = cond.values.first() else { continue };
                    child.put_soft(&cond.steps, first, note)?;
                }
            }
        }
        Ok(())
    }

    fn put_soft(&mut self, steps: &'t [Step], value: &Value, note: u32) -> Result<(), Clash> {
        self.put(steps, &[], Content::Value(value.clone()), note)?;
        if let Some(Draft::Value { soft, .. }) = self.find_mut(steps) {
            *soft = true;
        }
        Ok(())
    }

    fn set(&mut self, content: Content<'t>, note: u32) -> Result<(), Clash> {
        match content {
            Content::Value(value) => match self {
                Draft::Vacant => {
                    *self = Draft::Value { value, note, soft: false };
                    Ok(())
                }
                Draft::Value { value: before, soft, .. } if *before == value => {
                    *soft = false;
                    Ok(())
                }
                Draft::Value { soft: true, .. } => {
                    *self = Draft::Value { value, note, soft: false };
                    Ok(())
                }
                Draft::Value { note: other, .. } => Err(Clash::Other(*other)),
                Draft::Object(_) | Draft::List(_) => Err(Clash::Other(note)),
            },
            Content::Element(fields) => {
                for (position, name, value) in fields {
                    let node = self.field(position, name).ok_or(Clash::Other(note))?;
                    node.set(Content::Value(value), note)?;
                }
                Ok(())
            }
        }
    }

    /// The child a step means, made if it is not there; `None` where a value already stands.
    fn child(&mut self, step: &'t Step, number: u32) -> Option<&mut Self> {
        let node = self.field(step.position, Cow::Borrowed(&*step.name))?;
        if !step.list {
            return Some(node);
        }
        if matches!(node, Draft::Vacant) {
            *node = Draft::List(Vec::with_capacity(1));
        }
        let Draft::List(entries) = node else { return None };
        let at = match place(entries, step.slot, number) {
            Ok(at) => at,
            Err(at) => {
                entries.insert(at, Entry { slot: step.slot, number, node: Draft::Vacant });
                at
            }
        };
        entries.get_mut(at).map(|e| &mut e.node)
    }

    fn field(&mut self, position: u32, name: Cow<'t, str>) -> Option<&mut Self> {
        if matches!(self, Draft::Vacant) {
            *self = Draft::Object(Vec::with_capacity(FEW_FIELDS));
        }
        let Draft::Object(fields) = self else { return None };
        let at = match fields.iter().position(|f| f.name == name) {
            Some(at) => at,
            None => {
                fields.push(Field { position, name, node: Draft::Vacant });
                fields.len() - 1
            }
        };
        fields.get_mut(at).map(|f| &mut f.node)
    }

    /// The value at a path, if one was written.
    pub fn get(&self, steps: &[Step]) -> Option<&Value> {
        self.get_at(steps, &[])
    }

    /// The value at a path with the given list numbers.
    pub fn get_at(&self, steps: &[Step], numbers: &[u32]) -> Option<&Value> {
        let (node, rest) = self.reach(steps, numbers)?;
        match node {
            Draft::Value { value, .. } if rest.is_empty() => Some(value),
            Draft::Value { value, .. } => super::path::first(value, rest),
            _ => None,
        }
    }

    /// Whether anything was written at or below a path.
    pub fn has(&self, steps: &[Step], numbers: &[u32]) -> bool {
        match self.reach(steps, numbers) {
            Some((Draft::Value { value, .. }, rest)) => super::path::first(value, rest).is_some(),
            Some((_, rest)) => rest.is_empty(),
            None => false,
        }
    }

    /// As far as the steps lead: to their end, or to a value with steps left.
    fn reach<'s>(&self, steps: &'s [Step], numbers: &[u32]) -> Option<(&Self, &'s [Step])> {
        let Some((step, rest)) = steps.split_first() else { return Some((self, steps)) };
        let (number, numbers) = match (step.take, numbers.split_first()) {
            (Take::Each, Some((number, rest))) => (*number, rest),
            _ => (0, numbers),
        };
        let node = match self {
            Draft::Object(fields) => &fields.iter().find(|f| *f.name == *step.name)?.node,
            Draft::Value { .. } => return Some((self, steps)),
            _ => return None,
        };
        match node {
            Draft::List(entries) => {
                let entry = entries.get(place(entries, step.slot, number).ok()?)?;
                entry.node.reach(rest, numbers)
            }
            node => node.reach(rest, numbers),
        }
    }

    fn find_mut(&mut self, steps: &[Step]) -> Option<&mut Self> {
        let Some((step, rest)) = steps.split_first() else { return Some(self) };
        let Draft::Object(fields) = self else { return None };
        let node = &mut fields.iter_mut().find(|f| *f.name == *step.name)?.node;
        match node {
            Draft::List(entries) => {
                let at = place(entries, step.slot, 0).ok()?;
                entries.get_mut(at)?.node.find_mut(rest)
            }
            node => node.find_mut(rest),
        }
    }

    /// How many elements the last step's slot has in the list at the given numbers.
    pub fn count(&self, steps: &[Step], numbers: &[u32]) -> u32 {
        let Some((step, rest)) = steps.split_first() else { return 0 };
        let Draft::Object(fields) = self else { return 0 };
        let Some(field) = fields.iter().find(|f| *f.name == *step.name) else { return 0 };
        let Draft::List(entries) = &field.node else { return field.node.count(rest, numbers) };
        match (step.take, numbers.split_first()) {
            (Take::Each, None) => {
                let end = entries.partition_point(|e| e.slot <= step.slot);
                let last = end.checked_sub(1).and_then(|at| entries.get(at)).filter(|e| e.slot == step.slot);
                last.map_or(0, |e| e.number + 1)
            }
            (take, numbered) => {
                let (number, left) = match (take, numbered) {
                    (Take::Each, Some((number, left))) => (*number, left),
                    _ => (0, numbers),
                };
                let entry = place(entries, step.slot, number).ok().and_then(|at| entries.get(at));
                entry.map_or(0, |e| e.node.count(rest, left))
            }
        }
    }

    /// Calls `visit` with the numbers of every container that the steps lead to.
    pub fn made(&self, steps: &[Step], numbers: &mut Vec<u32>, visit: &mut dyn FnMut(&[u32])) {
        let Some((step, rest)) = steps.split_first() else { return visit(numbers) };
        let Draft::Object(fields) = self else { return };
        let Some(field) = fields.iter().find(|f| *f.name == *step.name) else { return };
        let Draft::List(entries) = &field.node else { return field.node.made(rest, numbers, visit) };
        for entry in entries.iter().filter(|e| e.slot == step.slot) {
            if step.take == Take::Each {
                numbers.push(entry.number);
            }
            entry.node.made(rest, numbers, visit);
            if step.take == Take::Each {
                numbers.pop();
            }
        }
    }

    /// The finished resource, its type and id first. `told` hears what `finish` tells.
    pub fn finish_resource(
        self,
        resource_type: &str,
        id: String,
        told: &mut dyn FnMut(Told<'_>),
    ) -> Map<String, Value> {
        let fields = if let Draft::Object(fields) = self { fields } else { Vec::new() };
        let mut object = Map::with_capacity(fields.len() + 2);
        object.insert("resourceType".to_owned(), Value::String(resource_type.to_owned()));
        object.insert("id".to_owned(), Value::String(id));
        finish_fields(fields, &mut object, &Trail::Root(resource_type), told);
        object
    }

    /// The finished tree. `told` hears of every value with its FHIRPath and note, and of every gap: the path of a
    /// list whose elements are not those numbered from nothing up.
    pub fn finish(self, place: &Trail<'_>, told: &mut dyn FnMut(Told<'_>)) -> Option<Value> {
        match self {
            Draft::Vacant => None,
            Draft::Value { value, note, .. } => {
                told(Told::Value(place, note));
                Some(value)
            }
            Draft::Object(fields) => {
                let mut object = Map::with_capacity(fields.len());
                finish_fields(fields, &mut object, place, told);
                Some(Value::Object(object)).filter(|o| !is_absent(o))
            }
            Draft::List(entries) => {
                let mut list = Vec::with_capacity(entries.len());
                let mut before = None;
                for entry in entries {
                    let expected = match before {
                        Some((slot, number)) if slot == entry.slot => number + 1,
                        _ => 0,
                    };
                    if entry.number != expected {
                        told(Told::Gap(place));
                    }
                    before = Some((entry.slot, entry.number));
                    let element = entry.node.finish(&Trail::Element(place, list.len()), told);
                    list.extend(element);
                }
                Some(Value::Array(list)).filter(|l| !is_absent(l))
            }
        }
    }
}

/// Moves fields into an object, in the standard's order.
fn finish_fields(
    mut fields: Vec<Field<'_>>,
    object: &mut Map<String, Value>,
    place: &Trail<'_>,
    told: &mut dyn FnMut(Told<'_>),
) {
    fields.sort_by_key(|f| f.position);
    for Field { name, node, .. } in fields {
        if let Some(value) = node.finish(&Trail::Field(place, &name), told) {
            object.insert(name.into_owned(), value);
        }
    }
}

/// Where an element is in its list, or where it belongs.
fn place(entries: &[Entry<'_>], slot: u32, number: u32) -> Result<usize, usize> {
    entries.binary_search_by_key(&(slot, number), |e| (e.slot, e.number))
}

/// What is heard of a tree being finished.
pub(super) enum Told<'a> {
    Value(&'a Trail<'a>, u32),
    Gap(&'a Trail<'a>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::path::Cond;
    use serde_json::json;

    fn step(name: &str, position: u32, slot: u32, list: bool, take: Take) -> Step {
        Step { name: name.into(), position, list, take, slot, conds: Vec::new() }
    }

    fn finish(draft: Draft<'_>) -> Value {
        draft.finish(&Trail::Root(""), &mut |_| ()).unwrap_or(Value::Null)
    }

    #[test]
    fn order_is_by_place_and_row_not_by_time() {
        let value = step("v", 0, 9, false, Take::First);
        let late = [step("list", 1, 2, true, Take::Each), value.clone()];
        let early = [step("list", 1, 1, true, Take::First), value];
        let first = [step("a", 0, 3, false, Take::First)];
        let mut draft = Draft::default();
        draft.put(&late, &[1], Content::Value(json!("c")), 0).unwrap();
        draft.put(&late, &[0], Content::Value(json!("b")), 0).unwrap();
        draft.put(&early, &[], Content::Value(json!("a")), 0).unwrap();
        draft.put(&first, &[], Content::Value(json!(true)), 0).unwrap();
        assert_eq!(draft.count(&late[..1], &[]), 2);
        let text = finish(draft).to_string();
        assert_eq!(text, r#"{"a":true,"list":[{"v":"a"},{"v":"b"},{"v":"c"}]}"#);
    }

    #[test]
    fn a_picked_element_gets_its_system_and_a_converter_may_choose_another_of_the_name() {
        let mut picked = step("identifier", 0, 1, true, Take::First);
        picked.conds = vec![Cond {
            steps: vec![step("system", 0, 2, false, Take::First)],
            values: vec![json!("a"), json!("b")],
            test: Test::Picks,
        }];
        let value = [picked.clone(), step("value", 1, 3, false, Take::First)];
        let whole = [picked];
        let mut draft = Draft::default();
        draft.put(&value, &[], Content::Value(json!("1")), 0).unwrap();
        assert_eq!(draft.get(&value), Some(&json!("1")));
        let fields = vec![(0, Cow::Borrowed("system"), json!("b")), (1, Cow::Borrowed("value"), json!("1"))];
        draft.put(&whole, &[], Content::Element(fields), 1).unwrap();
        assert_eq!(finish(draft), json!({ "identifier": [{ "system": "b", "value": "1" }] }));

        let mut draft = Draft::default();
        let fields = vec![(0, Cow::Borrowed("system"), json!("c"))];
        assert_eq!(draft.put(&whole, &[], Content::Element(fields), 1), Err(Clash::Unpicked));
    }

    #[test]
    fn two_values_for_one_place_clash() {
        let path = [step("a", 0, 1, false, Take::First)];
        let mut draft = Draft::default();
        draft.put(&path, &[], Content::Value(json!("x")), 7).unwrap();
        draft.put(&path, &[], Content::Value(json!("x")), 8).unwrap();
        assert_eq!(draft.put(&path, &[], Content::Value(json!("y")), 8), Err(Clash::Other(7)));
    }
}
