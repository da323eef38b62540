//! The fields of a source document, gathered from all paths of a table: which are lists, and in which order they are
//! written. An XML format knows its fields from its shape; a JSON document has those that the table names.

use crate::fhir::issue::{Code, Issue};
use crate::mapping::form::{self, Form};
use crate::mapping::near;
use crate::mapping::path::{Step, Take, Written};
use crate::mapping::plan::SourcePath;
use crate::mapping::shape::{Element, Shape};

/// All fields, as a tree with the document at its root.
pub(super) struct Sources<'s> {
    nodes: Vec<Field<'s>>,
}

struct Field<'s> {
    name: String,
    path: String,
    children: Vec<usize>,
    list: Option<bool>,
    shape: Shaped<'s>,
}

#[derive(Clone, Copy)]
enum Shaped<'s> {
    /// The format has no shape.
    Free,
    Element(&'s Element),
    /// An attribute or the text of an element.
    Leaf,
}

/// The document itself.
pub(super) const ROOT: usize = 0;

/// Where relative paths start: the steps to an item and the field it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Base {
    pub steps: Vec<Step>,
    pub node: usize,
    /// The lists on the way.
    pub chain: Vec<usize>,
}

impl<'s> Sources<'s> {
    pub fn new(shape: Option<&'s Shape>) -> Self {
        let shape = shape.map_or(Shaped::Free, |s| Shaped::Element(&s.root));
        Self {
            nodes: vec![Field { name: String::new(), path: String::new(), children: Vec::new(), list: None, shape }],
        }
    }

    /// Whether the format carries texts only.
    pub fn is_xml(&self) -> bool {
        self.nodes.first().is_some_and(|n| !matches!(n.shape, Shaped::Free))
    }

    /// Compiles a path of a row, and notes its fields.
    pub fn path(&mut self, base: &Base, text: &str) -> Result<SourcePath, Issue> {
        let written = parse(text)?;
        let empty = Base::default();
        let from = if written.root { &empty } else { base };
        let (steps, node) = self.steps(from.node, &written, text)?;
        let at = from.steps.len();
        let full: Vec<Step> = from.steps.iter().cloned().chain(steps).collect();
        Ok(SourcePath { root: written.root, full, at, text: self.text(node), node })
    }

    /// Compiles the path of a block's or part's `each`: the base of its rows.
    pub fn base(&mut self, base: &Base, text: &str) -> Result<Base, Issue> {
        let path = self.path(base, text)?;
        let chain = path.full.iter().filter(|s| s.take == Take::Each).map(|s| s.slot as usize).collect();
        Ok(Base { steps: path.full, node: path.node, chain })
    }

    /// Whether some row names the field, or one above or below it.
    pub fn knows(&self, base: &Base, text: &str) -> bool {
        let Ok(written) = parse(text) else { return false };
        let mut node = if written.root { ROOT } else { base.node };
        for part in &written.parts {
            match self.child(node, part.name) {
                Some(child) => node = child,
                None => return self.nodes.get(node).is_some_and(|n| n.children.is_empty() && node != ROOT),
            }
        }
        true
    }

    /// The names below a field, for "did you mean".
    pub fn siblings(&self, base: &Base, text: &str) -> Vec<String> {
        let root = text.starts_with('/');
        let node = if root { ROOT } else { base.node };
        let mut paths = Vec::new();
        self.below(node, String::new(), &mut paths);
        if root { paths.into_iter().map(|p| format!("/{p}")).collect() } else { paths }
    }

    fn below(&self, node: usize, prefix: String, paths: &mut Vec<String>) {
        for child in self.nodes.get(node).map_or(&[][..], |n| n.children.as_slice()) {
            let Some(field) = self.nodes.get(*child) else { continue };
            let mark = if field.list == Some(true) { "[]" } else { "" };
            let path = if prefix.is_empty() { field.name.clone() } else { format!("{prefix}.{}", field.name) };
            paths.push(path.clone());
            self.below(*child, format!("{path}{mark}"), paths);
        }
    }

    /// The field as people write it, from the root.
    pub fn text(&self, node: usize) -> String {
        self.nodes.get(node).map_or(String::new(), |n| if n.path.is_empty() { ".".into() } else { n.path.clone() })
    }

    /// Whether the field has fields of its own, so that it is no value.
    pub fn has_fields(&self, node: usize) -> bool {
        self.nodes.get(node).is_some_and(|field| match field.shape {
            Shaped::Free => !field.children.is_empty(),
            Shaped::Element(element) => !element.is_text(),
            Shaped::Leaf => false,
        })
    }

    /// The fields as a document must have them, where no shape says it.
    pub fn form(&self) -> Form {
        if self.is_xml() { Form::default() } else { self.form_of(ROOT) }
    }

    fn form_of(&self, node: usize) -> Form {
        let children = self.nodes.get(node).map_or(&[][..], |n| n.children.as_slice());
        let field = |child: &usize| {
            let field = self.nodes.get(*child)?;
            let list = field.list == Some(true);
            Some(form::Field { name: field.name.as_str().into(), list, inside: self.form_of(*child) })
        };
        Form(children.iter().filter_map(field).collect())
    }

    /// Whether `inner` is `outer` or below it.
    pub fn within(&self, inner: usize, outer: usize) -> bool {
        let (Some(inner_field), Some(outer_field)) = (self.nodes.get(inner), self.nodes.get(outer)) else {
            return false;
        };
        inner == outer
            || outer == ROOT
            || inner_field.path.strip_prefix(&outer_field.path).is_some_and(|rest| rest.starts_with('.'))
    }

    fn child(&self, node: usize, name: &str) -> Option<usize> {
        self.nodes.get(node)?.children.iter().copied().find(|c| self.nodes.get(*c).is_some_and(|n| n.name == name))
    }

    fn steps(&mut self, from: usize, written: &Written<'_>, text: &str) -> Result<(Vec<Step>, usize), Issue> {
        let mut node = from;
        let mut steps = Vec::new();
        for part in &written.parts {
            if part.alias.is_some() {
                return Err(Issue::error(
                    Code::NotSupported,
                    text,
                    "Ett namn inom hakparentes hör hemma på FHIR-sidan; i källan finns bara [].",
                    "A name in brackets belongs on the FHIR side; a source path has only [].",
                ));
            }
            let (child, position) = self.enter(node, part.name, text)?;
            let list = self.list(child, part.each, text)?;
            steps.push(Step {
                name: part.name.into(),
                position,
                list,
                take: if part.each { Take::Each } else { Take::First },
                slot: u32::try_from(child).unwrap_or(u32::MAX),
                conds: Vec::new(),
            });
            node = child;
        }
        Ok((steps, node))
    }

    /// The child field and its place among its siblings.
    fn enter(&mut self, node: usize, name: &str, text: &str) -> Result<(usize, u32), Issue> {
        let Some(parent) = self.nodes.get(node) else { return Ok((ROOT, 0)) };
        let (shape, order) = match parent.shape {
            Shaped::Free => (Shaped::Free, None),
            Shaped::Element(element) => {
                let order = element.fields().position(|f| f == name);
                let known = order.is_some() || name == "#text";
                if !known {
                    let (sv, en) = near::hint(name, element.fields());
                    return Err(Issue::error(
                        Code::NotFound,
                        text,
                        format!("Elementet {} har inget fält {name}.{sv}", element.name),
                        format!("The element {} has no field {name}.{en}", element.name),
                    ));
                }
                (element.child(name).map_or(Shaped::Leaf, |(_, child)| Shaped::Element(child)), order)
            }
            Shaped::Leaf => {
                return Err(Issue::error(
                    Code::NotFound,
                    text,
                    format!("{} är ett attribut och har inga fält.", parent.name),
                    format!("{} is an attribute and has no fields.", parent.name),
                ));
            }
        };
        let known = self.child(node, name);
        let place = parent.children.iter().position(|c| Some(*c) == known).unwrap_or(parent.children.len());
        let position = u32::try_from(order.unwrap_or(place)).unwrap_or(u32::MAX);
        if let Some(child) = known {
            return Ok((child, position));
        }
        let path = if parent.path.is_empty() { name.to_owned() } else { format!("{}.{name}", parent.path) };
        let list = match shape {
            Shaped::Element(element) => Some(element.repeats),
            Shaped::Leaf => Some(false),
            Shaped::Free => None,
        };
        let child = self.nodes.len();
        self.nodes.push(Field { name: name.to_owned(), path, children: Vec::new(), list, shape });
        if let Some(parent) = self.nodes.get_mut(node) {
            parent.children.push(child);
        }
        Ok((child, position))
    }

    /// Whether the field is written as a list; brackets must agree with the shape, or with the rows before.
    fn list(&mut self, node: usize, each: bool, text: &str) -> Result<bool, Issue> {
        let Some(field) = self.nodes.get_mut(node) else { return Ok(each) };
        if each && !field.path.ends_with("[]") && field.children.is_empty() {
            field.path.push_str("[]");
        }
        match (field.shape, field.list) {
            (Shaped::Free, None) => {
                field.list = Some(each);
                Ok(each)
            }
            (Shaped::Free, Some(before)) if before == each => Ok(each),
            (Shaped::Free, Some(_)) => Err(Issue::error(
                Code::Conflict,
                text,
                format!("{} står med [] på en rad och utan på en annan.", field.name),
                format!("{} stands with [] in one row and without in another.", field.name),
            )),
            (_, Some(false)) if each => Err(Issue::error(
                Code::Conflict,
                text,
                format!("Elementet {} upprepas inte i formatet; ta bort [].", field.name),
                format!("The element {} does not repeat in the format; remove [].", field.name),
            )),
            (_, list) => Ok(list.unwrap_or(false)),
        }
    }
}

fn parse(text: &str) -> Result<Written<'_>, Issue> {
    Written::parse(text)
        .ok_or_else(|| Issue::error(Code::Structure, text, "Vägen går inte att läsa.", "The path cannot be read."))
}
