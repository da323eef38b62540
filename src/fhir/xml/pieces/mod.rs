//! XML piece by piece behind guards, for every reader of XML in the program: no document types, no entities of one's own,
//! no depth and no swarm of attributes that would cost more than a document is worth. The size is the caller's to limit.
//!
//! quick-xml splits and resolves namespaces; what it lets pass although XML 1.0 does not (control characters, `<` in an
//! attribute, attributes without space between them) is refused here, because narratives are handed on as they are written.

mod letters;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::rc::Rc;

use quick_xml::XmlVersion;
use quick_xml::events::Event;
use quick_xml::events::attributes::Attributes;
use quick_xml::name::{PrefixDeclaration, ResolveResult};
use quick_xml::reader::NsReader;

pub(crate) use self::letters::{declared_encoding, is_xml_char};
use self::letters::{is_name, is_spaced};
use crate::fhir::issue::{Code, Issue, Severity};

/// How much structure a document may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub depth: usize,
    /// Of one element, declarations of namespaces included.
    pub attributes: usize,
    pub elements: usize,
}

/// What comes next in a document.
#[derive(Debug)]
pub(crate) enum Piece<'a> {
    Open(Tag<'a>),
    Close,
    /// Text as it is meant: references resolved. One run of text may come as several pieces.
    Text(Cow<'a, str>),
    /// A comment or an instruction to some program.
    Aside,
    /// The document has ended, with its one root element closed.
    End,
}

/// The start of an element.
#[derive(Debug)]
pub(crate) struct Tag<'a> {
    /// Empty when the element is in none.
    pub namespace: Rc<str>,
    /// As it is written, with its prefix.
    pub written: &'a str,
    /// Without prefix.
    pub name: &'a str,
    /// What is written after the name.
    pub raw: &'a str,
    /// Without declarations of namespaces.
    pub attributes: Vec<Attribute<'a>>,
}

/// An attribute of an element.
#[derive(Debug)]
pub(crate) struct Attribute<'a> {
    /// Empty for an attribute without prefix.
    pub namespace: Rc<str>,
    pub name: &'a str,
    pub value: Cow<'a, str>,
}

/// A document on its way through.
pub(crate) struct Pieces<'a> {
    text: &'a str,
    reader: NsReader<&'a [u8]>,
    bounds: Bounds,
    depth: usize,
    elements: usize,
    rooted: bool,
    /// Where the last piece stands.
    from: usize,
    to: usize,
    /// The namespaces met last, so that not every element makes its own copy.
    last: Rc<str>,
    none: Rc<str>,
    /// A place whose line is known, and that line, from 1, and where it starts.
    counted: (usize, usize, usize),
}

impl<'a> Pieces<'a> {
    /// The text is the whole document, without a byte order mark.
    pub fn new(text: &'a str, bounds: Bounds) -> Result<Self, Issue> {
        let mut reader = NsReader::from_str(text);
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        config.enable_all_checks(true);
        reader.resolver_mut().set_max_namespace_bindings(bounds.attributes * 4);
        let none: Rc<str> = Rc::from("");
        let mut pieces = Self {
            text,
            reader,
            bounds,
            depth: 0,
            elements: 0,
            rooted: false,
            from: 0,
            to: 0,
            last: none.clone(),
            none,
            counted: (0, 1, 0),
        };
        match text.char_indices().find(|(_, letter)| !is_xml_char(*letter)) {
            Some((at, _)) => {
                pieces.from = at;
                Err(pieces.fatal(
                    Code::Structure,
                    "Dokumentet innehåller ett tecken som inte får stå i XML; ta bort det.".into(),
                    "The document holds a character that XML does not have; remove it.".into(),
                ))
            }
            None => Ok(pieces),
        }
    }

    /// The next piece, or why the document cannot be read further.
    pub fn next(&mut self) -> Result<Piece<'a>, Issue> {
        self.from = self.to;
        let Ok(event) = self.reader.read_event() else {
            self.from = usize::try_from(self.reader.error_position()).unwrap_or(self.to);
            return Err(self.malformed());
        };
        self.to = usize::try_from(self.reader.buffer_position()).unwrap_or(self.to);
        match event {
            Event::Start(start) => {
                let tag = self.tag(start.name().0.len())?;
                self.depth += 1;
                Ok(Piece::Open(tag))
            }
            Event::End(_) => {
                self.depth = self.depth.checked_sub(1).ok_or_else(|| self.malformed())?;
                Ok(Piece::Close)
            }
            Event::Text(text) => {
                if self.source().contains("]]>") {
                    return Err(self.malformed());
                }
                let text = text.xml10_content();
                // Around the root element stands nothing but space.
                if self.depth == 0 && !text.trim_ascii().is_empty() {
                    return Err(self.malformed());
                }
                Ok(Piece::Text(text))
            }
            Event::CData(_) if self.depth == 0 => Err(self.malformed()),
            Event::CData(text) => Ok(Piece::Text(text.xml10_content())),
            Event::GeneralRef(reference) => {
                let letter = match &*reference {
                    "amp" => '&',
                    "lt" => '<',
                    "gt" => '>',
                    "quot" => '"',
                    "apos" => '\'',
                    _ => match reference.resolve_char_ref() {
                        Ok(Some(letter)) if is_xml_char(letter) => letter,
                        Ok(None) => return Err(self.entity()),
                        _ => return Err(self.malformed()),
                    },
                };
                if self.depth == 0 {
                    return Err(self.malformed());
                }
                Ok(Piece::Text(Cow::Owned(letter.to_string())))
            }
            Event::DocType(_) => Err(self.fatal(
                Code::Forbidden,
                "Dokumentet har en DOCTYPE; det tas inte emot.".into(),
                "The document has a DOCTYPE; it is not accepted.".into(),
            )),
            Event::Eof if self.rooted && self.depth == 0 => Ok(Piece::End),
            Event::Eof => Err(self.malformed()),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) | Event::Empty(_) => Ok(Piece::Aside),
        }
    }

    /// The last piece as it was written. The end of an element that is closed by its own tag (`<br/>`) is empty.
    pub fn source(&self) -> &'a str {
        self.text.get(self.from..self.to).unwrap_or_default()
    }

    /// `12:3`: line and column, from 1, where the last piece stands. Asked for places that come one after the other.
    pub fn place(&mut self) -> String {
        let at = self.from.min(self.text.len());
        let (mut done, mut line, mut start) = self.counted;
        if at < done {
            (done, line, start) = (0, 1, 0);
        }
        for (offset, byte) in self.text.as_bytes().get(done..at).unwrap_or_default().iter().enumerate() {
            if *byte == b'\n' {
                line += 1;
                start = done + offset + 1;
            }
        }
        self.counted = (at, line, start);
        let column = self.text.get(start..at).map_or(0, |before| before.chars().count());
        format!("{line}:{}", column + 1)
    }

    fn tag(&mut self, name_bytes: usize) -> Result<Tag<'a>, Issue> {
        if self.rooted && self.depth == 0 {
            return Err(self.malformed());
        }
        self.rooted = true;
        if self.depth >= self.bounds.depth {
            let most = self.bounds.depth;
            return Err(self.fatal(
                Code::TooCostly,
                format!("Elementen är inneslutna i fler än {most} nivåer."),
                format!("Elements are nested more than {most} levels deep."),
            ));
        }
        self.elements += 1;
        if self.elements > self.bounds.elements {
            let most = self.bounds.elements;
            return Err(self.fatal(
                Code::TooCostly,
                format!("Dokumentet har fler än {most} element; dela upp det."),
                format!("The document has more than {most} elements; split it."),
            ));
        }
        let inside = self.source().strip_prefix('<').and_then(|s| s.strip_suffix('>')).unwrap_or_default();
        let inside = inside.strip_suffix('/').unwrap_or(inside);
        let (Some(written), Some(raw)) = (inside.get(..name_bytes), inside.get(name_bytes..)) else {
            return Err(self.malformed());
        };
        let (namespace, name) = self.reader.resolver().resolve_element(quick_xml::name::QName(written));
        let namespace = owned(&namespace, &self.last, &self.none);
        let name = written.len().checked_sub(name.as_ref().len()).and_then(|at| written.get(at..));
        let (Some(namespace), Some(name)) = (namespace, name) else { return Err(self.malformed()) };
        if !is_name(written) || !is_spaced(raw) {
            return Err(self.malformed());
        }
        self.last = namespace.clone();
        let attributes = self.attributes(raw)?;
        Ok(Tag { namespace, written, name, raw, attributes })
    }

    fn attributes(&mut self, raw: &'a str) -> Result<Vec<Attribute<'a>>, Issue> {
        let mut found = Vec::new();
        if raw.trim_ascii().is_empty() {
            return Ok(found);
        }
        let most = self.bounds.attributes;
        if Attributes::new(raw, 0).with_checks(false).take(most + 1).count() > most {
            return Err(self.fatal(
                Code::TooCostly,
                format!("Ett element har fler än {most} attribut."),
                format!("An element has more than {most} attributes."),
            ));
        }
        for attribute in Attributes::new(raw, 0) {
            let Ok(attribute) = attribute else { return Err(self.malformed()) };
            let written = attribute.key.into_inner();
            if !is_name(written) || attribute.value.contains('<') {
                return Err(self.malformed());
            }
            match attribute.key.as_namespace_binding() {
                // A name for no namespace at all is not allowed.
                Some(PrefixDeclaration::Named(_)) if attribute.value.is_empty() => return Err(self.malformed()),
                Some(_) => continue,
                None => {}
            }
            let (namespace, name) = self.reader.resolver().resolve_attribute(attribute.key);
            let Some(namespace) = owned(&namespace, &self.last, &self.none) else { return Err(self.malformed()) };
            let name = written.len().checked_sub(name.as_ref().len()).and_then(|at| written.get(at..));
            let Some(name) = name else { return Err(self.malformed()) };
            let Ok(value) = attribute.normalized_value(XmlVersion::Implicit1_0) else { return Err(self.entity()) };
            if !value.chars().all(is_xml_char) {
                return Err(self.malformed());
            }
            found.push(Attribute { namespace, name, value });
        }
        Ok(found)
    }

    fn malformed(&mut self) -> Issue {
        self.fatal(Code::Structure, "XML går inte att läsa.".into(), "The XML cannot be read.".into())
    }

    fn entity(&mut self) -> Issue {
        self.fatal(
            Code::Forbidden,
            "Dokumentet använder en entitet som inte är en av XML:s fem.".into(),
            "The document uses an entity that is not one of XML's five.".into(),
        )
    }

    fn fatal(&mut self, code: Code, sv: String, en: String) -> Issue {
        Issue::new(Severity::Fatal, code, "", sv, en).from(self.place())
    }
}

/// None for a prefix that was not declared.
fn owned(namespace: &ResolveResult<'_>, last: &Rc<str>, none: &Rc<str>) -> Option<Rc<str>> {
    match namespace {
        ResolveResult::Bound(namespace) if namespace.0 == &**last => Some(last.clone()),
        ResolveResult::Bound(namespace) => Some(Rc::from(namespace.0)),
        ResolveResult::Unbound => Some(none.clone()),
        ResolveResult::Unknown(_) => None,
    }
}
