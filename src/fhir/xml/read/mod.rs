//! XML to the tree that JSON gives: every element in its place, lists where R4 has lists, numbers with the digits written.
//!
//! What R4 does not have there is a finding, and reading goes on, so that all are told at once. Nothing is guessed: an
//! element in the wrong order or namespace, or text where a value attribute belongs, refuses the document.

mod attributes;
mod value;

use serde_json::{Map, Value};

use self::value::{companion, level, put};

use super::pieces::{self, Bounds, Piece, Pieces, Tag};
use super::schema::{Class, Field, Kind, schema};
use super::{FHIR, MOST_FINDINGS, narrative};
use crate::fhir::guard::Limits;
use crate::fhir::issue::{Code, Issue, Severity, shown_name};
use crate::fhir::validate::{Path, hint, nearest};

type Object = Map<String, Value>;

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
        match field.kind {
            Kind::Xhtml if !narrative::is_div(&tag) => {
                let (sv, en) = (
                    "ska ligga i namnrymden http://www.w3.org/1999/xhtml",
                    "must be in the namespace http://www.w3.org/1999/xhtml",
                );
                self.error(Code::Structure, &path, sv, en)?;
                return self.skip(&path);
            }
            Kind::Xhtml => {}
            _ if !self.is_fhir(&tag, &path)? => return Ok(()),
            _ => {}
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
