//! XML to elements with their namespaces resolved, behind guards: no document types, no entities of one's own, no
//! depth and no swarm of attributes that would cost more than a message is worth. The size is the caller's to limit.

use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

use crate::fhir::issue::{Code, Issue, Severity};

const MOST_DEPTH: usize = 40;
const MOST_ATTRIBUTES: usize = 40;
const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// An element as it was written.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub namespace: String,
    pub name: String,
    /// Without those of XML itself and of other namespaces.
    pub attributes: Vec<(String, String)>,
    /// All text directly inside, put together.
    pub text: String,
    pub children: Vec<Node>,
    /// `xsi:nil="true"`
    pub nil: bool,
}

/// Reads a document's root element.
pub(super) fn parse(bytes: &[u8]) -> Result<Node, Issue> {
    let text = decode(bytes)?;
    let mut reader = NsReader::from_str(&text);
    reader.config_mut().expand_empty_elements = true;
    let mut open: Vec<Node> = Vec::new();
    let mut root = None;
    loop {
        let event = reader.read_event().map_err(|_| malformed(reader.error_position()))?;
        let at = reader.buffer_position();
        match event {
            Event::Start(start) => {
                if open.len() >= MOST_DEPTH {
                    return Err(refused(
                        Code::TooCostly,
                        format!("Elementen är inneslutna i fler än {MOST_DEPTH} nivåer."),
                        format!("Elements are nested more than {MOST_DEPTH} levels deep."),
                    ));
                }
                if root.is_some() {
                    return Err(malformed(at));
                }
                open.push(element(&reader, &start)?);
            }
            Event::End(_) => {
                let Some(done) = open.pop() else { return Err(malformed(at)) };
                match open.last_mut() {
                    Some(parent) => parent.children.push(done),
                    None => root = Some(done),
                }
            }
            Event::Text(text) => add(&mut open, &text.xml10_content(), at)?,
            Event::CData(text) => add(&mut open, &text.xml10_content(), at)?,
            Event::GeneralRef(reference) => {
                let letter = match &*reference {
                    "amp" => '&',
                    "lt" => '<',
                    "gt" => '>',
                    "quot" => '"',
                    "apos" => '\'',
                    _ => match reference.resolve_char_ref() {
                        Ok(Some(letter)) if is_xml_char(letter) => letter,
                        Ok(None) => return Err(entity()),
                        _ => return Err(malformed(at)),
                    },
                };
                add(&mut open, letter.encode_utf8(&mut [0; 4]), at)?;
            }
            Event::DocType(_) => {
                return Err(refused(
                    Code::Forbidden,
                    "Dokumentet har en DOCTYPE; det tas inte emot.".into(),
                    "The document has a DOCTYPE; it is not accepted.".into(),
                ));
            }
            Event::Eof => return root.ok_or_else(|| malformed(at)),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) | Event::Empty(_) => {}
        }
    }
}

fn element(reader: &NsReader<&[u8]>, start: &BytesStart<'_>) -> Result<Node, Issue> {
    let at = reader.buffer_position();
    if start.attributes().with_checks(false).take(MOST_ATTRIBUTES + 1).count() > MOST_ATTRIBUTES {
        return Err(refused(
            Code::TooCostly,
            format!("Ett element har fler än {MOST_ATTRIBUTES} attribut."),
            format!("An element has more than {MOST_ATTRIBUTES} attributes."),
        ));
    }
    let (namespace, name) = reader.resolver().resolve_element(start.name());
    let mut node = Node { namespace: bound(namespace, at)?, name: name.as_ref().to_owned(), ..Node::default() };
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|_| malformed(at))?;
        if attribute.key.as_namespace_binding().is_some() {
            continue;
        }
        let (namespace, name) = reader.resolver().resolve_attribute(attribute.key);
        let namespace = bound(namespace, at)?;
        let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).map_err(|_| entity())?;
        if namespace.is_empty() {
            node.attributes.push((name.as_ref().to_owned(), value.into_owned()));
        } else if namespace == XSI && name.as_ref() == "nil" {
            node.nil = matches!(&*value, "true" | "1");
        }
    }
    Ok(node)
}

fn bound(namespace: ResolveResult<'_>, at: u64) -> Result<String, Issue> {
    match namespace {
        ResolveResult::Bound(namespace) => Ok(namespace.0.to_owned()),
        ResolveResult::Unbound => Ok(String::new()),
        ResolveResult::Unknown(_) => Err(malformed(at)),
    }
}

fn add(open: &mut [Node], text: &str, at: u64) -> Result<(), Issue> {
    match open.last_mut() {
        Some(node) => {
            node.text.push_str(text);
            Ok(())
        }
        None if text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\u{feff}').is_empty() => Ok(()),
        None => Err(malformed(at)),
    }
}

/// The characters that XML 1.0 knows.
pub(super) fn is_xml_char(letter: char) -> bool {
    matches!(letter, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// UTF-8, or ISO-8859-1 where the declaration says so.
fn decode(bytes: &[u8]) -> Result<String, Issue> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let latin = match declared(bytes).as_deref() {
        None | Some("utf-8" | "utf8" | "us-ascii") => false,
        Some("iso-8859-1" | "latin1") => true,
        Some(_) => {
            return Err(refused(
                Code::NotSupported,
                "Teckenkodningen stöds inte; skicka UTF-8.".into(),
                "The encoding is not supported; send UTF-8.".into(),
            ));
        }
    };
    if latin {
        return Ok(bytes.iter().map(|b| char::from(*b)).collect());
    }
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|error| {
        let at = error.valid_up_to();
        refused(
            Code::Structure,
            format!("Texten är inte UTF-8, vid byte {at}."),
            format!("The text is not UTF-8, at byte {at}."),
        )
    })
}

/// The encoding that the XML declaration names, in small letters.
fn declared(bytes: &[u8]) -> Option<String> {
    let start = bytes.get(..bytes.len().min(200))?;
    let start = start.strip_prefix(b"<?xml")?;
    let end = start.windows(2).position(|w| w == b"?>")?;
    let text: String = start.get(..end)?.iter().map(|b| char::from(b.to_ascii_lowercase())).collect();
    let (_, after) = text.split_once("encoding")?;
    let value = after.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next()?;
    value.get(1..)?.split(quote).next().map(str::to_owned)
}

fn malformed(at: u64) -> Issue {
    refused(
        Code::Structure,
        format!("XML går inte att läsa, vid byte {at}."),
        format!("The XML cannot be read, at byte {at}."),
    )
}

fn entity() -> Issue {
    refused(
        Code::Forbidden,
        "Dokumentet använder en entitet som inte är en av XML:s fem.".into(),
        "The document uses an entity that is not one of XML's five.".into(),
    )
}

fn refused(code: Code, sv: String, en: String) -> Issue {
    Issue::new(Severity::Fatal, code, "", sv, en)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refusal(xml: &str) -> String {
        parse(xml.as_bytes()).expect_err("it was accepted").en
    }

    #[test]
    fn prefixes_mean_nothing_and_namespaces_everything() {
        let node = parse(b"<a:x xmlns:a='urn:a' xmlns='urn:b' p='1' a:q='2'><y/></a:x>").unwrap();
        assert_eq!((node.namespace.as_str(), node.name.as_str()), ("urn:a", "x"));
        assert_eq!(node.children[0].namespace, "urn:b");
        assert_eq!(node.attributes, [("p".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn text_is_put_together_from_its_pieces() {
        let node = parse(
            "\u{feff}<?xml version='1.0'?><!-- a --><x>a&amp;<![CDATA[<b>]]>&#229;<!-- c -->\r\nd</x>".as_bytes(),
        )
        .unwrap();
        assert_eq!(node.text, "a&<b>å\nd");
    }

    #[test]
    fn nil_and_latin_letters_are_understood() {
        let node = parse(b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><x xmlns:i='http://www.w3.org/2001/XMLSchema-instance' i:nil='true'>\xe5</x>").unwrap();
        assert!(node.nil);
        assert_eq!(node.text, "å");
    }

    #[test]
    fn what_could_harm_is_refused() {
        assert!(refusal("<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>").contains("DOCTYPE"));
        assert!(refusal("<x>&a;</x>").contains("entity"));
        assert!(refusal("<x y='&a;'/>").contains("entity"));
        assert!(refusal(&format!("{}{}", "<x>".repeat(41), "</x>".repeat(41))).contains("nested"));
        let many: String = (0..41).map(|n| format!(" a{n}=''")).collect();
        assert!(refusal(&format!("<x{many}/>")).contains("attributes"));
        assert!(refusal("<?xml version='1.0' encoding='UTF-16'?><x/>").contains("encoding"));
    }

    #[test]
    fn what_is_not_xml_is_refused() {
        for wrong in ["", "x", "<x>", "<x></y>", "<x/><y/>", "<x a='1' a='2'/>", "<p:x/>", "<x>&#1;</x>", "<x/>after"] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(parse(b"<x>\xff</x>").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fall_over(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[<>/a-c ='\"&;!\\[\\]?-]{0,60}") {
            let _ = parse(&bytes);
            let _ = parse(text.as_bytes());
        }
    }
}
