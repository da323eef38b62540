//! Messages by their shape: XML to the tree that tables read, and the tree back to XML.

use serde_json::{Map, Value};

use super::near;
use super::shape::{Element, Shape};
use super::xml::{self, Node};
use crate::fhir::issue::{Code, Issue, Severity, shown_name};
use crate::fhir::xml::pieces::is_xml_char;

/// A source document, and what reading it had to say.
#[derive(Debug)]
pub struct Source {
    pub tree: Value,
    pub issues: Vec<Issue>,
    /// The recipient in the header of a SOAP envelope.
    pub logical_address: Option<String>,
}

/// The name in the tree of an element's own text, where it has fields too.
pub(super) const TEXT: &str = "#text";

const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";

/// Reads a message by the shape of its root element.
pub(super) fn read(bytes: &[u8], shapes: &[&Shape]) -> Result<Source, Vec<Issue>> {
    let mut root = xml::parse(bytes).map_err(|issue| vec![issue])?;
    let mut issues = Vec::new();
    let mut logical_address = None;
    if root.namespace == SOAP && root.name == "Envelope" {
        let mut messages = Vec::new();
        for child in root.children.into_iter().filter(|c| c.namespace == SOAP) {
            match child.name.as_str() {
                "Header" => {
                    let address = child.children.iter().find(|c| c.name == "LogicalAddress");
                    logical_address = address.map(|a| a.text.trim().to_owned());
                }
                "Body" => messages.extend(child.children),
                _ => {}
            }
        }
        let wrong = |sv: &str, en: &str| vec![Issue::new(Severity::Fatal, Code::Structure, "Envelope.Body", sv, en)];
        root = messages.pop().ok_or_else(|| wrong("SOAP-kuvertet är tomt.", "The SOAP envelope is empty."))?;
        // To take one of several would lose the others without a word.
        if !messages.is_empty() {
            return Err(wrong(
                "SOAP-kuvertet har mer än ett meddelande; sänd dem var för sig.",
                "The SOAP envelope holds more than one message; send them one by one.",
            ));
        }
    }
    let known = |s: &&&Shape| s.root.name == root.name && s.root.namespace == root.namespace;
    let Some(shape) = shapes.iter().find(known) else {
        let names: Vec<&str> = shapes.iter().map(|s| s.root.name.as_str()).collect();
        let names = names.join(", ");
        return Err(vec![Issue::new(
            Severity::Fatal,
            Code::NotSupported,
            "",
            format!("Rotelementet är inte känt här. Det som tas emot: {names}."),
            format!("The root element is not known here. Accepted: {names}."),
        )]);
    };
    let tree = field(root, &shape.root, &shape.root.name, &mut issues);
    let tree = tree.unwrap_or_else(|| Value::Object(Map::new()));
    Ok(Source { tree, issues: super::ledger::bounded(issues), logical_address })
}

/// An element of the shape as a value; `None` when it is empty.
fn field(node: Node, shape: &Element, path: &str, issues: &mut Vec<Issue>) -> Option<Value> {
    if node.nil {
        return None;
    }
    let mut object = Map::new();
    for (name, value) in node.attributes {
        if shape.attributes.contains(&name) {
            if !value.is_empty() {
                object.insert(name, Value::String(value));
            }
            continue;
        }
        let (sv, en) = near::hint(&name, shape.attributes.iter().map(String::as_str));
        issues.push(Issue::warning(
            Code::Structure,
            format!("{path}.{}", shown_name(&name)),
            format!("Attributet finns inte i formatet och läses inte.{sv}"),
            format!("The attribute is not in the format and is not read.{en}"),
        ));
    }
    let is_text = shape.is_text() && node.children.is_empty();
    let text =
        if shape.children.is_empty() && node.children.is_empty() { node.text.as_str() } else { node.text.trim() };
    if !text.trim().is_empty() {
        if is_text {
            return Some(Value::String(text.to_owned()));
        }
        object.insert(TEXT.to_owned(), Value::String(text.to_owned()));
    }
    let mut last = 0;
    for child in node.children {
        let child_path = format!("{path}.{}", shown_name(&child.name));
        match shape.child(&child.name) {
            Some((order, known)) if known.namespace == child.namespace => {
                if order < last {
                    issues.push(Issue::warning(
                        Code::Structure,
                        child_path.clone(),
                        "Elementet står i fel ordning.",
                        "The element stands in the wrong order.",
                    ));
                }
                last = last.max(order);
                if !known.repeats && object.contains_key(&child.name) {
                    issues.push(Issue::error(
                        Code::Structure,
                        child_path.clone(),
                        "Elementet får bara finnas en gång; ta bort det andra, eller sänd det i ett eget meddelande.",
                        "The element may occur only once; remove the other, or send it in a message of its own.",
                    ));
                }
                let name = child.name.clone();
                if let Some(value) = field(child, known, &child_path, issues) {
                    insert(&mut object, name, value, known.repeats);
                }
            }
            found => {
                if child.namespace == shape.namespace || found.is_some() {
                    let (sv, en) = match found {
                        Some(_) => (" Namnrymden är en annan.".to_owned(), " The namespace is another.".to_owned()),
                        None => near::hint(&child.name, shape.children.iter().map(|c| c.name.as_str())),
                    };
                    issues.push(Issue::warning(
                        Code::Structure,
                        child_path,
                        format!("Elementet finns inte i formatet.{sv}"),
                        format!("The element is not in the format.{en}"),
                    ));
                }
                // A stranger of a known name must not be read in its place.
                let name = if found.is_some() { format!("other-{}", child.name) } else { child.name.clone() };
                if let Some(value) = stranger(child) {
                    insert(&mut object, name, value, false);
                }
            }
        }
    }
    Some(Value::Object(object)).filter(|o| !super::path::is_absent(o))
}

/// An element that no shape describes: kept, so that the ledger can tell of it.
fn stranger(node: Node) -> Option<Value> {
    if node.attributes.is_empty() && node.children.is_empty() {
        return (!node.text.trim().is_empty()).then_some(Value::String(node.text));
    }
    let mut object = Map::new();
    for (name, value) in node.attributes {
        object.insert(name, Value::String(value));
    }
    if !node.text.trim().is_empty() {
        object.insert(TEXT.to_owned(), Value::String(node.text.trim().to_owned()));
    }
    for child in node.children {
        let name = child.name.clone();
        if let Some(value) = stranger(child) {
            insert(&mut object, name, value, false);
        }
    }
    Some(Value::Object(object)).filter(|o| !super::path::is_absent(o))
}

fn insert(object: &mut Map<String, Value>, name: String, value: Value, list: bool) {
    match object.get_mut(&name) {
        None if list => {
            object.insert(name, Value::Array(vec![value]));
        }
        None => {
            object.insert(name, value);
        }
        Some(Value::Array(before)) => before.push(value),
        Some(before) => {
            let first = before.take();
            *before = Value::Array(vec![first, value]);
        }
    }
}

/// Writes a tree as a message, every element in its place.
pub(super) fn write(shape: &Shape, tree: &Value) -> Vec<u8> {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let mut declared = String::new();
    for (prefix, uri) in &shape.namespaces {
        declared.push_str(&format!(" xmlns:{prefix}=\""));
        escape(&mut declared, uri);
        declared.push('"');
    }
    element(&mut xml, &shape.root, tree, &declared);
    xml.push('\n');
    xml.into_bytes()
}

fn element(xml: &mut String, shape: &Element, value: &Value, declared: &str) {
    let tag = format!("{}:{}", shape.prefix, shape.name);
    xml.push('<');
    xml.push_str(&tag);
    xml.push_str(declared);
    for name in &shape.attributes {
        if let Some(text) = value.get(name).and_then(text) {
            xml.push_str(&format!(" {name}=\""));
            escape(xml, &text);
            xml.push('"');
        }
    }
    let start = xml.len();
    xml.push('>');
    if let Some(text) = text(value).or_else(|| value.get(TEXT).and_then(text)) {
        escape(xml, &text);
    }
    for child in &shape.children {
        match value.get(&child.name) {
            Some(Value::Array(list)) => list.iter().for_each(|v| element(xml, child, v, "")),
            Some(Value::Null) | None if !child.always => {}
            Some(Value::Null) | None => element(xml, child, &Value::Null, ""),
            Some(single) => element(xml, child, single, ""),
        }
    }
    if xml.len() == start + 1 {
        xml.truncate(start);
        xml.push_str("/>");
    } else {
        xml.push_str(&format!("</{tag}>"));
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// Text that is the same when read again, in an element as in an attribute.
fn escape(xml: &mut String, text: &str) {
    for letter in text.chars() {
        match letter {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\t' => xml.push_str("&#9;"),
            '\n' => xml.push_str("&#10;"),
            '\r' => xml.push_str("&#13;"),
            letter if is_xml_char(letter) => xml.push(letter),
            _ => xml.push('\u{fffd}'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const SHAPE: &str = "ns r urn:r\nns c urn:c\nr:Root\n  c:request\n    id @extension\n    name\n    item[] @code\n    extra!\n      note\n";

    fn shape() -> Shape {
        Shape::load("shapes/x.shape", SHAPE, &mut Vec::new()).unwrap()
    }

    fn tree(xml: &str) -> (Value, Vec<String>) {
        let source = read(xml.as_bytes(), &[&shape()]).unwrap();
        (source.tree, source.issues.into_iter().map(|i| format!("{}: {}", i.expression, i.en)).collect())
    }

    fn message(inside: &str) -> String {
        format!("<a:Root xmlns:a='urn:r' xmlns='urn:c'><request>{inside}</request></a:Root>")
    }

    #[test]
    fn attributes_are_fields_and_repeated_elements_are_lists() {
        let (tree, issues) = tree(&message("<id extension='1'/><name> A </name><item code='x'>t</item><extra/>"));
        assert_eq!(
            tree,
            json!({ "request": { "id": { "extension": "1" }, "name": " A ", "item": [{ "code": "x", "#text": "t" }] } })
        );
        assert!(issues.is_empty(), "{issues:?}");
    }

    #[test]
    fn what_the_format_does_not_have_is_told_and_kept_for_the_ledger() {
        let (tree, issues) = tree(&message(
            "<name>A</name><id extension='1' root='2'/><nmae>B</nmae><o:x xmlns:o='urn:o' y='1'>Z</o:x><o:name xmlns:o='urn:o'>N</o:name>",
        ));
        assert_eq!(
            tree["request"],
            json!({ "name": "A", "id": { "extension": "1" }, "nmae": "B", "x": { "y": "1", "#text": "Z" }, "other-name": "N" })
        );
        assert_eq!(
            issues,
            [
                "Root.request.id: The element stands in the wrong order.",
                "Root.request.id.root: The attribute is not in the format and is not read.",
                "Root.request.nmae: The element is not in the format. Did you mean \u{201c}name\u{201d}?",
                "Root.request.name: The element is not in the format. The namespace is another.",
            ]
        );
    }

    #[test]
    fn an_element_that_stands_twice_is_refused_and_both_are_kept() {
        let source = read(message("<name>A</name><name>B</name>").as_bytes(), &[&shape()]).unwrap();
        assert_eq!(source.tree["request"]["name"], json!(["A", "B"]));
        assert_eq!(source.issues.iter().filter(|i| i.is_error()).count(), 1);
        let two = "<a:Root xmlns:a='urn:r' xmlns='urn:c'><request><name>A</name></request><request><name>B</name></request></a:Root>";
        assert!(read(two.as_bytes(), &[&shape()]).unwrap().issues.iter().any(Issue::is_error));
    }

    #[test]
    fn a_name_that_could_be_a_person_is_not_repeated() {
        let (_, issues) = tree(&message("<p195009072553 n195009072553='1'/><name n195009072553='1'>A</name>"));
        assert_eq!(issues.len(), 2);
        assert!(!issues.concat().contains("1950"), "{issues:?}");
    }

    #[test]
    fn an_envelope_with_two_messages_is_refused_and_not_taken_as_one() {
        let one = message("<name>A</name>");
        let bodies = [format!("<s:Body>{one}{one}</s:Body>"), format!("<s:Body>{one}</s:Body><s:Body>{one}</s:Body>")];
        for body in bodies {
            let xml = format!("<s:Envelope xmlns:s='{SOAP}'>{body}</s:Envelope>");
            let issues = read(xml.as_bytes(), &[&shape()]).unwrap_err();
            assert!(issues[0].en.contains("more than one message"));
        }
    }

    #[test]
    fn the_envelope_is_opened_and_its_address_is_kept() {
        let xml = format!(
            "<s:Envelope xmlns:s='{SOAP}'><s:Header><l:LogicalAddress xmlns:l='urn:l'> SE1 </l:LogicalAddress></s:Header><s:Body>{}</s:Body></s:Envelope>",
            message("<name>A</name>")
        );
        let source = read(xml.as_bytes(), &[&shape()]).unwrap();
        assert_eq!(source.logical_address.as_deref(), Some("SE1"));
        assert_eq!(source.tree["request"]["name"], "A");
    }

    #[test]
    fn another_root_is_refused_with_those_that_are_known() {
        let issues = read(b"<Root xmlns='urn:other'/>", &[&shape()]).unwrap_err();
        assert!(issues[0].en.contains("Accepted: Root"));
    }

    #[test]
    fn elements_are_written_in_the_order_of_the_shape_and_marked_ones_even_when_empty() {
        let tree = json!({ "request": { "item": [{ "code": "x" }, { "#text": "t" }], "id": { "extension": "<1>" } } });
        let xml = String::from_utf8(write(&shape(), &tree)).unwrap();
        assert_eq!(
            xml.lines().nth(1).unwrap(),
            "<r:Root xmlns:r=\"urn:r\" xmlns:c=\"urn:c\"><c:request><c:id extension=\"&lt;1&gt;\"/><c:item code=\"x\"/><c:item>t</c:item><c:extra/></c:request></r:Root>"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(name in "[^\u{0}-\u{8}\u{b}\u{c}\u{e}-\u{1f}\u{fffe}\u{ffff}]{0,20}", code in "[ -~åäö]{1,8}") {
            prop_assume!(!name.trim().is_empty());
            let tree = json!({ "request": { "id": { "extension": name }, "name": name, "item": [{ "code": code }] } });
            let xml = write(&shape(), &tree);
            prop_assert_eq!(read(&xml, &[&shape()]).unwrap().tree, tree);
        }
    }
}
