//! Plain text as the XHTML of a Narrative, and back: paragraphs and line breaks, nothing more.

use super::Text;
use crate::fhir::primitive::Primitive;
use crate::fhir::xml::pieces::is_xml_char;

const OPEN: &str = "<div xmlns=\"http://www.w3.org/1999/xhtml\">";
const CLOSE: &str = "</div>";

/// Text to XHTML: every line break stays one.
pub(super) fn div(text: &str) -> Result<String, Text> {
    if text.trim().is_empty() {
        return Err(Text::new("Texten är tom.", "The text is empty."));
    }
    Primitive::Markdown
        .text(text)
        .map_err(|wrong| Text { sv: format!("Texten {}.", wrong.sv), en: format!("The text {}.", wrong.en) })?;
    let mut div = String::with_capacity(text.len() + OPEN.len() + CLOSE.len() + 7);
    div.push_str(OPEN);
    div.push_str("<p>");
    for letter in text.chars() {
        match letter {
            '&' => div.push_str("&amp;"),
            '<' => div.push_str("&lt;"),
            '>' => div.push_str("&gt;"),
            '\n' => div.push_str("<br/>"),
            letter => div.push(letter),
        }
    }
    div.push_str("</p>");
    div.push_str(CLOSE);
    Ok(div)
}

/// XHTML to text: breaks and ends of paragraphs become line breaks, all other tags fall away.
pub(super) fn text(div: &str) -> Result<String, Text> {
    let wrong = || Text::new("Texten är inte läsbar XHTML.", "The text is not readable XHTML.");
    let mut text = String::with_capacity(div.len());
    let mut rest = div;
    while let Some(at) = rest.find(['<', '&']) {
        let (before, after) = rest.split_at_checked(at).ok_or_else(wrong)?;
        text.push_str(before);
        if let Some(tag) = after.strip_prefix('<') {
            let (tag, left) = tag.split_once('>').ok_or_else(wrong)?;
            let name = tag.trim_end_matches('/').split_whitespace().next().unwrap_or_default();
            if matches!(name, "br" | "/p" | "/li" | "/h1" | "/h2" | "/h3" | "/tr") {
                text.push('\n');
            }
            rest = left;
        } else {
            let (name, left) = after.get(1..).and_then(|a| a.split_once(';')).ok_or_else(wrong)?;
            text.push(letter(name).ok_or_else(wrong)?);
            rest = left;
        }
    }
    text.push_str(rest);
    // The last paragraph ends the text, not a line of it.
    let whole = text.strip_suffix('\n').unwrap_or(&text);
    if whole.trim().is_empty() {
        return Err(wrong());
    }
    Ok(whole.to_owned())
}

fn letter(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some('\u{a0}'),
        _ => {
            let number = name.strip_prefix('#')?;
            let number = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(number).filter(|letter| is_xml_char(*letter))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paragraphs_of_others_become_lines() {
        let xhtml = "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p class='x'>A &#229;</p><p><b>B</b><br />C</p></div>";
        assert_eq!(text(xhtml).unwrap(), "A å\nB\nC");
        assert!(text("<div>&bad;</div>").is_err());
        assert!(text("<div><p></p></div>").is_err());
    }

    #[test]
    fn a_control_character_does_not_become_xhtml_nor_come_out_of_it() {
        assert!(div("a\u{7}b").unwrap_err().en.contains("control character"));
        assert!(text("<div>a&#7;b</div>").is_err());
        assert!(div("a\tb\r\nc").is_ok());
    }

    proptest! {
        #[test]
        fn text_comes_back(wanted in "[ -~åäöÅÄÖ\n]{1,60}") {
            prop_assume!(!wanted.trim().is_empty());
            prop_assert_eq!(text(&div(&wanted).unwrap()).unwrap(), wanted);
        }

        #[test]
        fn no_text_makes_it_fall_over(any in "\\PC{0,30}") {
            let _ = text(&any);
        }
    }
}
