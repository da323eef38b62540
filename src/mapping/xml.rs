//! Messages in XML as a tree of elements with their namespaces resolved, behind the guards of [`pieces`].

use crate::fhir::issue::{Code, Issue, Severity};
use crate::fhir::xml::pieces::{self, Bounds, Piece, Pieces, Tag};

const BOUNDS: Bounds = Bounds { depth: 40, attributes: 40, elements: 200_000 };
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
    let mut pieces = Pieces::new(&text, BOUNDS)?;
    let mut open: Vec<Node> = Vec::new();
    let mut root = Node::default();
    loop {
        match pieces.next()? {
            Piece::Open(tag) => open.push(element(tag)),
            Piece::Close => match (open.pop(), open.last_mut()) {
                (Some(done), Some(parent)) => parent.children.push(done),
                (done, _) => root = done.unwrap_or_default(),
            },
            Piece::Text(text) => {
                if let Some(node) = open.last_mut() {
                    node.text.push_str(&text);
                }
            }
            Piece::Aside => {}
            Piece::End => return Ok(root),
        }
    }
}

fn element(tag: Tag<'_>) -> Node {
    let mut node = Node { namespace: tag.namespace.to_string(), name: tag.name.to_owned(), ..Node::default() };
    for attribute in tag.attributes {
        if attribute.namespace.is_empty() {
            node.attributes.push((attribute.name.to_owned(), attribute.value.into_owned()));
        } else if &*attribute.namespace == XSI && attribute.name == "nil" {
            node.nil = matches!(&*attribute.value, "true" | "1");
        }
    }
    node
}

/// UTF-8, or ISO-8859-1 where the declaration says so.
fn decode(bytes: &[u8]) -> Result<String, Issue> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let latin = match pieces::declared_encoding(bytes).as_deref() {
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
