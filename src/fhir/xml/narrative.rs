//! The div of a narrative, which JSON carries as a string and XML as elements.
//!
//! It is kept as it was written, space and comments too. Only what would mean something else where it is going is changed:
//! prefixes and namespaces declared further out, CDATA, and characters that have names in HTML only.

use quick_xml::events::attributes::Attributes;

use super::XHTML;
use super::entities::numbered;
use super::pieces::{Bounds, Piece, Pieces, Tag};
use crate::fhir::issue::Issue;

/// What is wrong with a div, in Swedish and English.
pub(super) type Fault = (&'static str, &'static str);

const NOT_XHTML: Fault = (
    "ska bara ha element ur namnrymden http://www.w3.org/1999/xhtml, och inga attribut ur andra",
    "must hold only elements of the namespace http://www.w3.org/1999/xhtml, and no attributes of others",
);
const NOT_A_DIV: Fault = (
    "ska vara ett enda <div xmlns=\"http://www.w3.org/1999/xhtml\"> i välformad XHTML",
    "must be one <div xmlns=\"http://www.w3.org/1999/xhtml\"> in well-formed XHTML",
);
const XML: &str = "http://www.w3.org/XML/1998/namespace";
const OPENING: &str = "<div xmlns=\"http://www.w3.org/1999/xhtml\"";
const BOUNDS: Bounds = Bounds { depth: 128, attributes: 64, elements: 200_000 };

pub(super) fn is_div(tag: &Tag<'_>) -> bool {
    tag.name == "div" && *tag.namespace == *XHTML
}

/// Takes the rest of the div that has just been opened: as a document of its own, and what is wrong with it.
pub(super) fn take<'a>(pieces: &mut Pieces<'a>, tag: &Tag<'a>) -> Result<(String, Option<Fault>), Issue> {
    let mut div = String::new();
    let mut fault = None;
    let begins = pieces.source().strip_prefix(OPENING);
    match begins.is_some_and(|rest| rest.starts_with(['>', ' ', '/', '\n', '\r', '\t'])) {
        true => div.push_str(pieces.source()),
        false => {
            div.push_str(OPENING);
            attributes(tag.raw, pieces.source(), &mut div);
        }
    }
    if !is_xhtml(tag) {
        fault = Some(NOT_XHTML);
    }
    let mut depth = 1_usize;
    while depth > 0 {
        match pieces.next()? {
            Piece::Open(tag) => {
                depth += 1;
                if !is_xhtml(&tag) {
                    fault = Some(NOT_XHTML);
                }
                if tag.written == tag.name {
                    div.push_str(pieces.source());
                } else {
                    div.push('<');
                    div.push_str(tag.name);
                    attributes(tag.raw, pieces.source(), &mut div);
                }
            }
            Piece::Close => {
                depth -= 1;
                match pieces.source().split_once(':') {
                    Some((_, name)) => {
                        div.push_str("</");
                        div.push_str(name);
                    }
                    None => div.push_str(pieces.source()),
                }
            }
            Piece::Text(text) if pieces.source().starts_with("<![CDATA[") => {
                div.push_str(&text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"));
            }
            Piece::Text(_) => div.push_str(pieces.source()),
            Piece::Aside if pieces.source().starts_with("<!--") => div.push_str(pieces.source()),
            Piece::Aside => {}
            Piece::End => break,
        }
    }
    Ok((div, fault))
}

/// The div of a JSON narrative, fit to stand in XML.
pub(super) fn checked(div: &str) -> Result<String, Fault> {
    let numbered = numbered(div);
    let mut pieces = Pieces::new(&numbered, BOUNDS).map_err(|_| NOT_A_DIV)?;
    let mut next = move || -> Result<_, Issue> {
        let mut found = None;
        loop {
            match pieces.next()? {
                Piece::Open(tag) if is_div(&tag) => found = Some(take(&mut pieces, &tag)?),
                Piece::End | Piece::Open(_) => return Ok(found),
                _ => {}
            }
        }
    };
    match next() {
        Ok(Some((div, None))) => Ok(div),
        Ok(Some((_, Some(fault)))) => Err(fault),
        _ => Err(NOT_A_DIV),
    }
}

fn is_xhtml(tag: &Tag<'_>) -> bool {
    *tag.namespace == *XHTML && tag.attributes.iter().all(|a| a.namespace.is_empty() || *a.namespace == *XML)
}

/// The attributes and end of a tag whose name has been written anew, without the default namespace of the old one.
fn attributes(raw: &str, source: &str, out: &mut String) {
    for attribute in Attributes::new(raw, 0).flatten().filter(|a| a.key.as_ref() != "xmlns") {
        out.push(' ');
        out.push_str(attribute.key.as_ref());
        out.push_str("=\"");
        out.push_str(&attribute.value.replace('"', "&quot;"));
        out.push('"');
    }
    out.push_str(if source.ends_with("/>") { "/>" } else { ">" });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The div inside a document.
    fn div(document: &str) -> Result<String, Fault> {
        let mut pieces = Pieces::new(document, BOUNDS).unwrap();
        loop {
            if let Piece::Open(tag) = pieces.next().unwrap()
                && is_div(&tag)
            {
                let (div, fault) = take(&mut pieces, &tag).unwrap();
                return fault.map_or(Ok(div), Err);
            }
        }
    }

    #[test]
    fn a_div_is_kept_as_it_was_written() {
        let text = "<div xmlns=\"http://www.w3.org/1999/xhtml\" class='a'>\r\n <p  id = 'x'>a&amp;b&#160;\"c\"<br /></p><!-- c --><hr></hr>\t</div >";
        assert_eq!(div(text).unwrap(), text);
        assert_eq!(div(&format!("<text xmlns='http://hl7.org/fhir'>{text}</text>")).unwrap(), text);
        assert_eq!(checked(text).unwrap(), text);
    }

    #[test]
    fn prefixes_and_namespaces_from_further_out_come_along() {
        let prefixed = "<f:text xmlns:f='http://hl7.org/fhir' xmlns:h='http://www.w3.org/1999/xhtml'><h:div class='\"'><h:p xmlns='urn:x'>a</h:p><h:br/></h:div></f:text>";
        let plain = "<div xmlns=\"http://www.w3.org/1999/xhtml\" class=\"&quot;\"><p>a</p><br/></div>";
        assert_eq!(div(prefixed).unwrap(), plain);
        let inherited =
            "<f:text xmlns:f='http://hl7.org/fhir' xmlns='http://www.w3.org/1999/xhtml'><div><p>a</p></div></f:text>";
        assert_eq!(div(inherited).unwrap(), "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>a</p></div>");
        let later = "<div lang='sv' xmlns='http://www.w3.org/1999/xhtml'/>";
        assert_eq!(div(later).unwrap(), "<div xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"sv\"/>");
    }

    #[test]
    fn what_json_readers_would_not_understand_is_written_otherwise() {
        let text = format!("{OPENING}><![CDATA[a<b&c]]><?p?></div>");
        assert_eq!(div(&text).unwrap(), format!("{OPENING}>a&lt;b&amp;c</div>"));
        assert_eq!(checked(&format!("{OPENING}>a&nbsp;b</div>")).unwrap(), format!("{OPENING}>a&#160;b</div>"));
    }

    #[test]
    fn what_is_no_div_of_xhtml_does_not_get_into_xml() {
        for wrong in [
            "text".to_owned(),
            "<div>a</div>".to_owned(),
            format!("{OPENING}>a"),
            format!("{OPENING}>a</div><status value='x'/>"),
            format!("{OPENING}>a</div>x"),
            format!("<!DOCTYPE div>{OPENING}>a</div>"),
            format!("{OPENING}>&unknown;</div>"),
            format!("{OPENING}><p xmlns='urn:other'>a</p></div>"),
            format!("{OPENING} xmlns:x='urn:x'><p x:y='1'>a</p></div>"),
            format!("{OPENING}>a\u{1}</div>"),
            "<p xmlns=\"http://www.w3.org/1999/xhtml\">a</p>".to_owned(),
        ] {
            assert!(checked(&wrong).is_err(), "{wrong}");
        }
    }
}
