//! The narrative's div: XHTML that a reader can show without fear (txt-1) and that says something (txt-2).

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::fhir::primitive::Primitive;

/// Elements R4 allows in a narrative (XHTML's chapters 7 to 11 without forms, a and img), as `txt-1` lists them.
const ELEMENTS: &[&str] = &[
    "a",
    "abbr",
    "acronym",
    "b",
    "big",
    "blockquote",
    "br",
    "caption",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "img",
    "li",
    "ol",
    "p",
    "pre",
    "q",
    "samp",
    "small",
    "span",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "tt",
    "ul",
    "var",
];

/// How a link may begin.
const LINKS: &[&str] = &["#", "http://", "https://", "mailto:", "tel:"];
/// How an image may begin: one that is fetched tells a stranger who reads, and when.
const IMAGES: &[&str] = &["#", "data:image/"];
/// What a style may not hold: it fetches, runs, or hides that it does.
const STYLES: &[&str] = &["url", "image", "import", "expression", "\\", "&"];

const OPENING: &str = "<div xmlns=\"http://www.w3.org/1999/xhtml\"";

/// What is wrong with a div, in Swedish and English.
pub type Fault = (&'static str, &'static str);

/// Checks the text of `Narrative.div`.
pub fn check(div: &str) -> Result<(), Fault> {
    let after = div.trim_start().strip_prefix(OPENING).unwrap_or("x");
    if !after.starts_with(['>', ' ', '/', '\n', '\r', '\t']) {
        return Err((
            "ska börja med <div xmlns=\"http://www.w3.org/1999/xhtml\">",
            "must begin with <div xmlns=\"http://www.w3.org/1999/xhtml\">",
        ));
    }
    const CONTROL: Fault = ("innehåller ett styrtecken", "contains a control character");
    Primitive::Markdown.text(div).map_err(|wrong| (wrong.sv, wrong.en))?;
    const BROKEN: Fault = ("är inte välformad XHTML", "is not well-formed XHTML");
    let mut reader = Reader::from_str(div);
    let mut depth = 0_usize;
    let mut closed = false;
    let mut says = false;
    loop {
        match reader.read_event().map_err(|_| BROKEN)? {
            Event::Start(tag) if !closed => {
                says |= element(&tag)?;
                depth += 1;
            }
            Event::Empty(tag) if !closed => {
                says |= element(&tag)?;
                closed = depth == 0;
            }
            Event::End(_) => {
                depth = depth.checked_sub(1).ok_or(BROKEN)?;
                closed = depth == 0;
            }
            Event::Text(text) => {
                let shown = !text.trim().is_empty();
                if shown && depth == 0 {
                    return Err(BROKEN);
                }
                says |= shown;
            }
            Event::GeneralRef(reference) => {
                says = true;
                match reference.resolve_char_ref() {
                    Ok(Some(letter)) if letter < ' ' && !matches!(letter, '\t' | '\n' | '\r') => {
                        return Err(CONTROL);
                    }
                    Ok(_) => {}
                    Err(_) => return Err(BROKEN),
                }
            }
            Event::Comment(_) => {}
            Event::Eof if closed => break,
            _ => return Err(BROKEN),
        }
    }
    if says { Ok(()) } else { Err(("är tom", "is empty")) }
}

/// Checks one tag; true when it shows something by itself.
fn element(tag: &BytesStart<'_>) -> Result<bool, Fault> {
    const FORBIDDEN: Fault = (
        "har ett element eller attribut som FHIR inte tillåter (skript, formulär, händelser, externa bilder)",
        "has an element or attribute that FHIR does not allow (script, form, event, external image)",
    );
    let name = tag.name();
    if !ELEMENTS.contains(&name.as_ref()) {
        return Err(FORBIDDEN);
    }
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|_| FORBIDDEN)?;
        let key = attribute.key.as_ref().to_ascii_lowercase();
        let begins = |allowed: &[&str]| allowed.iter().any(|s| attribute.value.starts_with(s));
        // By what is allowed where that can be said: what is forbidden can be written in too many ways.
        let allowed = match key.as_str() {
            "href" => begins(LINKS),
            "src" | "background" => begins(IMAGES),
            "srcset" => false,
            "style" => {
                let style = attribute.value.to_ascii_lowercase();
                !STYLES.iter().any(|s| style.contains(s))
            }
            key => !key.starts_with("on"),
        };
        if !allowed {
            return Err(FORBIDDEN);
        }
    }
    Ok(name.as_ref() == "img")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn div(inside: &str) -> String {
        format!("{OPENING}>{inside}</div>")
    }

    #[test]
    fn a_plain_narrative_passes() {
        assert_eq!(
            check(&div(
                "<p style=\"color: rgb(1,2,3)\"><a href=\"https://example.org\">å\tä</a>&nbsp;&#229;<img src=\"data:image/png;base64,AA==\"/></p>"
            )),
            Ok(())
        );
        assert_eq!(
            check(&div("<p>Rehabplan &amp; mål</p><br/><table><tbody><tr><td>1</td></tr></tbody></table>")),
            Ok(())
        );
    }

    #[test]
    fn what_could_run_break_or_say_nothing_is_refused() {
        for bad in [
            "<div>x</div>".to_owned(),
            "text".to_owned(),
            div("<script>x</script>"),
            div("<p onclick=\"x\">a</p>"),
            div("<a href=\" JavaScript:x\">a</a>"),
            div("<form>a</form>"),
            div("<img src=\"http://example.org/a.png\"/>"),
            div("<img SRC=\"https://example.org/a.png\"/>"),
            div("<img srcset=\"data:image/png;base64,AA== 1x, http://example.org/a.png 2x\"/>"),
            div("<table background=\"http://example.org/a.png\"><tr><td>a</td></tr></table>"),
            div("<p style=\"background: URL(http://example.org/a.png)\">a</p>"),
            div("<p style=\"background: u\\72l(http://example.org/a.png)\">a</p>"),
            div("<p style=\"background: &#117;rl(http://example.org/a.png)\">a</p>"),
            div("a\u{7}b"),
            div("a&#7;b"),
            div("<p>a"),
            div(" <br/> "),
            format!("{}x", div("a")),
            "<div xmlns=\"http://www.w3.org/1999/xhtmlx\">a</div>".to_owned(),
        ] {
            assert!(check(&bad).is_err(), "{bad}");
        }
    }
}
