//! XML to the tree that JSON gives: every element in its place, lists where R4 has lists, numbers with the digits written.
//!
//! What R4 does not have there is a finding, and reading goes on, so that all are told at once. Nothing is guessed: an
//! element in the wrong order or namespace, or text where a value attribute belongs, refuses the document.

use serde_json::{Map, Number, Value};

use super::pieces::{self, Bounds, Piece, Pieces, Tag};
use super::schema::{Class, Field, Kind, schema};
use super::{FHIR, MOST_FINDINGS, narrative};
use crate::fhir::guard::Limits;
use crate::fhir::issue::{Code, Issue, Severity, shown_name};
use crate::fhir::validate::{Path, hint, nearest};

type Object = Map<String, Value>;

const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";
const MOST_ATTRIBUTES: usize = 32;
/// The smallest element that says something takes more than this many bytes: `<a value="b"/>`.
const LEAST_BYTES: usize = 8;

/// Reads a resource. The depth is that of the tree; XML may be twice as deep, because a narrative has elements of its own.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Value, Vec<Issue>> {
    let text = decode(bytes, limits).map_err(|issue| vec![issue])?;
    let bounds = Bounds {
        depth: limits.depth.saturating_mul(2),
        attributes: MOST_ATTRIBUTES,
        elements: (limits.bytes / LEAST_BYTES).min(200_000),
    };
    let pieces = Pieces::new(text, bounds).map_err(|issue| vec![issue])?;
    let mut reader = Reader { pieces, issues: Vec::new(), depth: limits.depth };
    let read = reader.document();
    match read {
        Ok(Some(resource)) if reader.issues.is_empty() => Ok(Value::Object(resource)),
        _ => Err(reader.issues),
    }
}

fn decode<'a>(bytes: &'a [u8], limits: &Limits) -> Result<&'a str, Issue> {
    let fatal = |code, sv: String, en: String| Issue::new(Severity::Fatal, code, "", sv, en);
    if bytes.len() > limits.bytes {
        let (size, most) = (bytes.len(), limits.bytes);
        return Err(fatal(
            Code::TooLong,
            format!("dokumentet är {size} byte, högst {most} tas emot; dela upp det"),
            format!("the document is {size} bytes, at most {most} are accepted; split it"),
        ));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).ok();
    let declared = pieces::declared_encoding(bytes);
    match (text, declared.as_deref()) {
        (Some(text), None | Some("utf-8" | "utf8" | "us-ascii")) => Ok(text),
        _ => Err(fatal(
            Code::Structure,
            "FHIR-XML skrivs i UTF-8; spara om dokumentet så, och säg det i dess första rad".into(),
            "FHIR XML is written in UTF-8; save the document so, and say it in its first line".into(),
        )),
    }
}

/// Reading cannot go on; why is among the findings.
struct Stopped;

struct Reader<'a> {
    pieces: Pieces<'a>,
    issues: Vec<Issue>,
    depth: usize,
}

/// What stood in an element beside its elements.
#[derive(Default)]
struct Attributes {
    id: Option<String>,
    url: Option<String>,
    value: Option<String>,
}

impl<'a> Reader<'a> {
    fn next(&mut self, path: &Path<'_>) -> Result<Piece<'a>, Stopped> {
        self.pieces.next().map_err(|mut issue| {
            issue.expression = path.to_string();
            self.issues.push(issue);
            Stopped
        })
    }

    /// Notes an error where the last piece stands.
    fn error(&mut self, code: Code, path: &Path<'_>, sv: &str, en: &str) -> Result<(), Stopped> {
        let place = self.pieces.place();
        self.issues.push(Issue::error(code, path, sv, en).from(place));
        if self.issues.len() < MOST_FINDINGS { Ok(()) } else { Err(Stopped) }
    }

    fn document(&mut self) -> Result<Option<Object>, Stopped> {
        let nowhere = Path::root("");
        let mut resource = None;
        loop {
            match self.next(&nowhere)? {
                Piece::Open(tag) => resource = self.resource(&tag, &Path::root(shown_name(tag.name)), 1)?,
                Piece::End => return Ok(resource),
                Piece::Close | Piece::Text(_) | Piece::Aside => {}
            }
        }
    }

    /// A resource whose tag was just read.
    fn resource(&mut self, tag: &Tag<'a>, path: &Path<'_>, depth: usize) -> Result<Option<Object>, Stopped> {
        if !self.is_fhir(tag, path)? {
            return Ok(None);
        }
        let Some(class) = schema().resource(tag.name) else {
            self.error(Code::Value, path, "är ingen resurstyp i R4", "is no resource type of R4")?;
            self.skip(path)?;
            return Ok(None);
        };
        self.attributes(tag, &[], path)?;
        let mut object = Object::new();
        object.insert("resourceType".to_owned(), Value::from(class.name));
        self.elements(class, &mut object, path, depth)?;
        Ok(Some(object))
    }

    /// The elements of a class, to the end of the one they stand in.
    fn elements(
        &mut self,
        class: &'static Class,
        object: &mut Object,
        path: &Path<'_>,
        depth: usize,
    ) -> Result<(), Stopped> {
        if depth > self.depth {
            let most = self.depth;
            let (sv, en) =
                (format!("är innesluten i fler än {most} nivåer"), format!("is nested more than {most} levels deep"));
            self.error(Code::TooCostly, path, &sv, &en)?;
            return Err(Stopped);
        }
        let mut last = 0;
        let mut told = false;
        loop {
            match self.next(path)? {
                Piece::Open(tag) => self.child(class, tag, object, &mut last, path, depth)?,
                Piece::Text(text) if !told && !text.trim_ascii().is_empty() => {
                    told = true;
                    self.error(
                        Code::Structure,
                        path,
                        "har text mellan taggarna; värdet skrivs i attributet value",
                        "has text between its tags; the value is written in the attribute value",
                    )?;
                }
                Piece::Text(_) | Piece::Aside => {}
                Piece::Close | Piece::End => break,
            }
        }
        level(object);
        Ok(())
    }

    fn child(
        &mut self,
        class: &'static Class,
        tag: Tag<'a>,
        object: &mut Object,
        last: &mut usize,
        parent: &Path<'_>,
        depth: usize,
    ) -> Result<(), Stopped> {
        let path = parent.field(shown_name(tag.name));
        let Some(field) = class.field(tag.name).filter(|f| !f.attribute) else {
            self.unknown(class, tag.name, &path)?;
            return self.skip(&path);
        };
        let foreign = match field.kind {
            Kind::Xhtml => !narrative::is_div(&tag),
            _ => !self.is_fhir(&tag, &path)?,
        };
        if foreign {
            if field.kind == Kind::Xhtml {
                let (sv, en) = (
                    "ska ligga i namnrymden http://www.w3.org/1999/xhtml",
                    "must be in the namespace http://www.w3.org/1999/xhtml",
                );
                self.error(Code::Structure, &path, sv, en)?;
                self.skip(&path)?;
            }
            return Ok(());
        }
        if field.position < *last {
            let before = class.at(*last).map_or("", |f| f.name);
            self.error(
                Code::Structure,
                &path,
                &format!("står i fel ordning; flytta det före {before}"),
                &format!("stands in the wrong order; move it before {before}"),
            )?;
        }
        *last = field.position.max(*last);
        let index = object.get(field.name).map_or(0, |v| v.as_array().map_or(1, Vec::len));
        if !field.list && (index > 0 || object.contains_key(&companion(field))) {
            self.error(Code::Structure, &path, "får bara förekomma en gång", "may occur only once")?;
            return self.skip(&path);
        }
        let path = if field.list { path.item(index) } else { path };
        let inner = depth + if field.list { 2 } else { 1 };
        match field.kind {
            Kind::Class(at) => {
                let Some(content) = schema().class(at) else { return self.skip(&path) };
                let mut value = Object::new();
                self.own_attributes(&tag, content, &mut value, &path)?;
                self.elements(content, &mut value, &path, inner)?;
                if value.is_empty() {
                    self.error(Code::Structure, &path, "är tomt; utelämna det", "is empty; leave it out")?;
                }
                put(object, field, Value::Object(value));
            }
            Kind::Resource => self.nested(&tag, field, object, &path, inner)?,
            Kind::Xhtml => {
                let (div, fault) = narrative::take(&mut self.pieces, &tag).map_err(|mut issue| {
                    issue.expression = path.to_string();
                    self.issues.push(issue);
                    Stopped
                })?;
                if let Some((sv, en)) = fault {
                    self.error(Code::Structure, &path, sv, en)?;
                }
                put(object, field, Value::String(div));
            }
            _ => self.primitive(&tag, field, object, &path, inner)?,
        }
        Ok(())
    }

    /// `<contained><Patient>…</Patient></contained>`
    fn nested(
        &mut self,
        tag: &Tag<'a>,
        field: &Field,
        object: &mut Object,
        path: &Path<'_>,
        depth: usize,
    ) -> Result<(), Stopped> {
        self.attributes(tag, &[], path)?;
        let mut count = 0_usize;
        loop {
            match self.next(path)? {
                Piece::Open(tag) => {
                    count += 1;
                    if let Some(resource) = self.resource(&tag, path, depth)?
                        && count == 1
                    {
                        put(object, field, Value::Object(resource));
                    }
                }
                Piece::Text(text) if !text.trim_ascii().is_empty() => count = count.max(2),
                Piece::Text(_) | Piece::Aside => {}
                Piece::Close | Piece::End => break,
            }
        }
        if count != 1 {
            self.error(Code::Structure, path, "ska innehålla en resurs", "must hold one resource")?;
        }
        Ok(())
    }

    fn primitive(
        &mut self,
        tag: &Tag<'a>,
        field: &Field,
        object: &mut Object,
        path: &Path<'_>,
        depth: usize,
    ) -> Result<(), Stopped> {
        let attributes = self.attributes(tag, &["value", "id"], path)?;
        let value = match &attributes.value {
            Some(text) => self.value(field, text, path)?,
            None => None,
        };
        let mut beside = Object::new();
        if let Some(id) = attributes.id {
            beside.insert("id".to_owned(), Value::String(id));
        }
        let Some(class) = schema().companion() else { return self.skip(path) };
        self.elements(class, &mut beside, path, depth)?;
        if attributes.value.is_none() && !beside.contains_key("extension") {
            self.error(
                Code::Required,
                path,
                "saknar attributet value; sätt ett, eller utelämna elementet",
                "has no attribute value; give it one, or leave the element out",
            )?;
        }
        let beside = (!beside.is_empty()).then_some(Value::Object(beside));
        if !field.list {
            if let Some(value) = value {
                object.insert(field.name.to_owned(), value);
            }
            if let Some(beside) = beside {
                object.insert(companion(field), beside);
            }
            return Ok(());
        }
        put(object, field, value.unwrap_or(Value::Null));
        if let Some(beside) = beside {
            let count = object.get(field.name).and_then(Value::as_array).map_or(1, Vec::len);
            let list = object.entry(companion(field)).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list.resize(count.saturating_sub(1), Value::Null);
                list.push(beside);
            }
        }
        Ok(())
    }

    /// The text of a value attribute as its type; none where it is not one.
    fn value(&mut self, field: &Field, text: &str, path: &Path<'_>) -> Result<Option<Value>, Stopped> {
        let whole = || {
            let digits = text.strip_prefix('-').unwrap_or(text);
            digits == "0" || (!digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()))
        };
        let value = match field.kind {
            Kind::Boolean => match text {
                "true" => Some(Value::Bool(true)),
                "false" => Some(Value::Bool(false)),
                _ => None,
            },
            Kind::Integer if !whole() => None,
            // Said by JSON's own grammar, which is R4's for a decimal too; the digits are kept as they are.
            Kind::Integer | Kind::Decimal => text.parse::<Number>().ok().map(Value::Number),
            _ => (!text.is_empty()).then(|| Value::from(text)),
        };
        if value.is_none() {
            let (sv, en) = match field.kind {
                Kind::Boolean => ("ska vara true eller false", "must be true or false"),
                Kind::Integer => ("ska vara ett heltal", "must be a whole number"),
                Kind::Decimal => ("ska vara ett tal, som 1.50", "must be a number, like 1.50"),
                _ => ("är tomt; utelämna det", "is empty; leave it out"),
            };
            self.error(Code::Value, path, sv, en)?;
        }
        Ok(value)
    }

    /// The id of an element, and the url of an extension.
    fn own_attributes(
        &mut self,
        tag: &Tag<'a>,
        content: &Class,
        object: &mut Object,
        path: &Path<'_>,
    ) -> Result<(), Stopped> {
        let has_url = content.field("url").is_some_and(|f| f.attribute);
        let found = self.attributes(tag, if has_url { &["id", "url"] } else { &["id"] }, path)?;
        for (name, value) in [("id", found.id), ("url", found.url)] {
            match value {
                Some(value) if value.is_empty() => {
                    self.error(Code::Value, &path.field(name), "är tomt; utelämna det", "is empty; leave it out")?;
                }
                Some(value) => {
                    object.insert(name.to_owned(), Value::String(value));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Those the element may have. Where schemas are to be found (`xsi:`) says nothing of the resource.
    fn attributes(&mut self, tag: &Tag<'a>, allowed: &[&str], path: &Path<'_>) -> Result<Attributes, Stopped> {
        let mut found = Attributes::default();
        for attribute in &tag.attributes {
            let value = || Some(attribute.value.clone().into_owned());
            match attribute.name {
                _ if *attribute.namespace == *XSI => {}
                name if attribute.namespace.is_empty() && allowed.contains(&name) => match name {
                    "id" => found.id = value(),
                    "url" => found.url = value(),
                    _ => found.value = value(),
                },
                name => {
                    let here = path.field(shown_name(name));
                    self.error(
                        Code::Structure,
                        &here,
                        "är inget attribut som R4 har här",
                        "is no attribute that R4 has here",
                    )?;
                }
            }
        }
        Ok(found)
    }

    /// Whether the element is FHIR's; otherwise it is told of and skipped.
    fn is_fhir(&mut self, tag: &Tag<'a>, path: &Path<'_>) -> Result<bool, Stopped> {
        if *tag.namespace == *FHIR {
            return Ok(true);
        }
        self.error(
            Code::Structure,
            path,
            "ska ligga i namnrymden http://hl7.org/fhir",
            "must be in the namespace http://hl7.org/fhir",
        )?;
        self.skip(path)?;
        Ok(false)
    }

    fn unknown(&mut self, class: &Class, name: &str, path: &Path<'_>) -> Result<(), Stopped> {
        if class.field(name).is_some() {
            let (sv, en) = ("skrivs som attribut, inte som element", "is written as an attribute, not as an element");
            return self.error(Code::Structure, path, sv, en);
        }
        let (sv, en) = hint(nearest(name, class.names()));
        let (sv, en) = (format!("finns inte i {}{sv}", class.name), format!("is not an element of {}{en}", class.name));
        self.error(Code::Structure, path, &sv, &en)
    }

    /// Reads past the element that was just opened.
    fn skip(&mut self, path: &Path<'_>) -> Result<(), Stopped> {
        let mut depth = 1_usize;
        while depth > 0 {
            match self.next(path)? {
                Piece::Open(_) => depth += 1,
                Piece::Close | Piece::End => depth -= 1,
                Piece::Text(_) | Piece::Aside => {}
            }
        }
        Ok(())
    }
}

fn companion(field: &Field) -> String {
    format!("_{}", field.name)
}

fn put(object: &mut Object, field: &Field, value: Value) {
    if !field.list {
        object.insert(field.name.to_owned(), value);
        return;
    }
    match object.get_mut(field.name) {
        Some(Value::Array(list)) => list.push(value),
        _ => {
            object.insert(field.name.to_owned(), Value::Array(vec![value]));
        }
    }
}

/// Makes a list and the list of its companions equally long; a list without one value is left out.
fn level(object: &mut Object) {
    let beside: Vec<String> = object
        .iter()
        .filter(|(name, value)| name.starts_with('_') && value.is_array())
        .map(|(n, _)| n.clone())
        .collect();
    for name in beside {
        let values = name.strip_prefix('_').and_then(|plain| object.get(plain)).and_then(Value::as_array);
        let (count, any) = values.map_or((0, false), |v| (v.len(), v.iter().any(|v| !v.is_null())));
        if let Some(Value::Array(list)) = object.get_mut(&name) {
            list.resize(count, Value::Null);
        }
        if !any {
            object.shift_remove(name.trim_start_matches('_'));
        }
    }
}
