//! The shape of an XML message: which elements it has, in which order and namespace, and which repeat.
//!
//! A shape file has one line an element, indented two spaces a level under its parent:
//! `ns c urn:…` names a namespace, `c:name` puts an element and what is below it there, `[]` means that it repeats,
//! `!` that it is written even when empty, `@name` that it has the attribute.

use crate::fhir::issue::{Code, Issue};

/// A contract's message.
#[derive(Debug)]
pub(super) struct Shape {
    pub name: String,
    pub root: Element,
    /// Prefixes and namespaces, in the order of the file.
    pub namespaces: Vec<(String, String)>,
}

/// One element of a message.
#[derive(Debug, Clone, Default)]
pub(super) struct Element {
    pub name: String,
    pub prefix: String,
    pub namespace: String,
    pub attributes: Vec<String>,
    pub repeats: bool,
    /// Written even when empty.
    pub always: bool,
    pub children: Vec<Element>,
}

impl Element {
    /// Whether the element has nothing but text.
    pub fn is_text(&self) -> bool {
        self.attributes.is_empty() && self.children.is_empty()
    }

    pub fn child(&self, name: &str) -> Option<(usize, &Element)> {
        self.children.iter().enumerate().find(|(_, c)| c.name == name)
    }

    /// The names of all fields it may have in a tree.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        let text = (!self.is_text() && self.children.is_empty()).then_some("#text");
        self.attributes.iter().map(String::as_str).chain(text).chain(self.children.iter().map(|c| c.name.as_str()))
    }
}

impl Shape {
    /// Reads a shape file with all its findings.
    pub fn load(file: &str, text: &str, issues: &mut Vec<Issue>) -> Option<Self> {
        let before = issues.len();
        let mut namespaces: Vec<(String, String)> = Vec::new();
        // The open elements, the root first; a line closes those that are not above it.
        let mut open: Vec<Element> = Vec::new();
        for (n, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.trim_start().starts_with('#') {
                continue;
            }
            let mut say = |sv: &str, en: &str| {
                issues.push(Issue::error(Code::Structure, file, sv, en).from(format!("{file} line {}", n + 1)));
            };
            let mut words = line.split_whitespace();
            let first = words.next().unwrap_or_default();
            if first == "ns" {
                match (words.next(), words.next(), words.next()) {
                    (Some(prefix), Some(uri), None) => namespaces.push((prefix.to_owned(), uri.to_owned())),
                    _ => say("Raden ska vara: ns prefix namnrymd.", "The line should be: ns prefix namespace."),
                }
                continue;
            }
            let indent = line.len() - line.trim_start().len();
            let level = indent / 2;
            if indent % 2 != 0 || level > open.len() || (level == 0) != open.is_empty() {
                say(
                    "Indraget ska vara två mellanslag per nivå, under en enda rot.",
                    "The indent should be two spaces a level, under one root.",
                );
                continue;
            }
            while open.len() > level {
                close(&mut open);
            }
            let mut name = first;
            let (mut repeats, mut always) = (false, false);
            loop {
                if let Some(rest) = name.strip_suffix("[]") {
                    (name, repeats) = (rest, true);
                } else if let Some(rest) = name.strip_suffix('!') {
                    (name, always) = (rest, true);
                } else {
                    break;
                }
            }
            let parent = open.last();
            let (prefix, name) = match name.split_once(':') {
                Some((prefix, name)) => (prefix.to_owned(), name),
                None => (parent.map_or(String::new(), |p| p.prefix.clone()), name),
            };
            let Some((_, namespace)) = namespaces.iter().find(|(p, _)| *p == prefix) else {
                say("Prefixet har ingen rad: ns prefix namnrymd.", "The prefix has no line: ns prefix namespace.");
                continue;
            };
            if parent.is_some_and(|p| p.child(name).is_some()) {
                say("Elementet står redan under samma förälder.", "The element already stands under the same parent.");
                continue;
            }
            let mut attributes = Vec::new();
            for word in words {
                match word.strip_prefix('@') {
                    Some(attribute) if !attribute.is_empty() => attributes.push(attribute.to_owned()),
                    _ => say(
                        "Efter namnet ska det stå attribut: @namn.",
                        "After the name there should be attributes: @name.",
                    ),
                }
            }
            let namespace = namespace.clone();
            open.push(Element {
                name: name.to_owned(),
                prefix,
                namespace,
                attributes,
                repeats,
                always,
                children: Vec::new(),
            });
        }
        while open.len() > 1 {
            close(&mut open);
        }
        let Some(root) = open.pop() else {
            issues.push(
                Issue::error(Code::Structure, file, "Filen har inget element.", "The file has no element.").from(file),
            );
            return None;
        };
        let name = file.trim_start_matches("shapes/").trim_end_matches(".shape").to_owned();
        (issues.len() == before).then_some(Self { name, root, namespaces })
    }
}

fn close(open: &mut Vec<Element>) {
    if let Some(done) = open.pop()
        && let Some(parent) = open.last_mut()
    {
        parent.children.push(done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# a message\nns r urn:r\nns c urn:c\nr:Root\n  c:request\n    id @extension @root\n    item[] @code\n      text\n    extra!\n";

    #[test]
    fn namespaces_are_inherited_and_marks_are_read() {
        let mut issues = Vec::new();
        let shape = Shape::load("shapes/x.shape", TEXT, &mut issues).unwrap();
        assert!(issues.is_empty());
        let request = &shape.root.children[0];
        assert_eq!((shape.root.namespace.as_str(), request.namespace.as_str()), ("urn:r", "urn:c"));
        assert_eq!(request.children[0].attributes, ["extension", "root"]);
        assert!(request.children[1].repeats && request.children[1].children[0].namespace == "urn:c");
        assert!(request.children[2].always);
        assert_eq!(shape.name, "x");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, line) in [
            ("r:Root", 1),
            ("ns r u\nr:Root\n   x", 3),
            ("ns r u\nr:Root\n  x\n  x", 4),
            ("ns r", 1),
            ("ns r u\nr:Root x", 2),
        ] {
            let mut issues = Vec::new();
            assert!(Shape::load("shapes/x.shape", text, &mut issues).is_none(), "{text}");
            assert_eq!(issues[0].origin.as_deref(), Some(format!("shapes/x.shape line {line}").as_str()));
        }
    }
}
