//! Plain text as a Narrative and back: sections of a Composition carry nothing else, and our sources carry only text.

use serde_json::{Value, json};

use super::convert::{Made, Text};

const OPEN: &str = r#"<div xmlns="http://www.w3.org/1999/xhtml">"#;
const CLOSE: &str = "</div>";

/// Text in one `div`; a new line becomes a break, and nothing of the text can be markup.
pub(super) fn out(value: &Value) -> Result<Made, Text> {
    let text = value.as_str().ok_or_else(|| Text::new("Värdet ska vara en text.", "The value should be a text."))?;
    let mut div = String::with_capacity(OPEN.len() + text.len() + CLOSE.len());
    div.push_str(OPEN);
    for c in text.chars() {
        match c {
            '&' => div.push_str("&amp;"),
            '<' => div.push_str("&lt;"),
            '>' => div.push_str("&gt;"),
            '\n' => div.push_str("<br/>"),
            '\r' => div.push_str("&#13;"),
            c => div.push(c),
        }
    }
    div.push_str(CLOSE);
    Ok(json!({ "status": "generated", "div": div }).into())
}

/// The text of the `div`. Markup that we did not write is left out, and that is said.
pub(super) fn back(value: &Value) -> Result<Made, Text> {
    let div = value.get("div").and_then(Value::as_str).unwrap_or_default().trim();
    let inside = div
        .strip_prefix("<div")
        .and_then(|rest| rest.split_once('>'))
        .and_then(|(_, rest)| rest.strip_suffix(CLOSE))
        .ok_or_else(|| Text::new("Texten ska stå i ett div-element.", "The text should be in a div element."))?;
    let (mut text, mut stripped) = (String::with_capacity(inside.len()), false);
    let mut rest = inside;
    while let Some(at) = rest.find(['<', '&']) {
        let (before, markup) = rest.split_at(at);
        text.push_str(before);
        let end = if markup.starts_with('<') { '>' } else { ';' };
        let Some((name, after)) = markup.split_once(end) else {
            return Err(Text::new("Texten i div är inte rätt XHTML.", "The text in div is not well-formed XHTML."));
        };
        match (name.trim_end_matches(['/', ' ']), entity(name)) {
            ("<br", _) => text.push('\n'),
            (_, Some(c)) => text.push(c),
            _ => stripped = true,
        }
        rest = after;
    }
    text.push_str(rest);
    let note = stripped.then(|| {
        Text::new("Uppmärkning i texten kommer inte med tillbaka.", "Markup in the text is not carried back.")
    });
    Ok(Made { value: json!(text), note })
}

fn entity(name: &str) -> Option<char> {
    match name.strip_prefix('&')? {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some('\u{a0}'),
        number => {
            let digits = number.strip_prefix('#')?;
            let code = match digits.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => digits.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(div: &str) -> Result<Made, Text> {
        back(&json!({ "status": "additional", "div": div }))
    }

    #[test]
    fn markup_in_a_text_is_text() {
        let made = out(&json!("<b>a & b</b>\nc")).unwrap();
        assert_eq!(made.value["div"], json!(format!("{OPEN}&lt;b&gt;a &amp; b&lt;/b&gt;<br/>c{CLOSE}")));
        assert_eq!(back(&made.value).unwrap(), json!("<b>a & b</b>\nc").into());
    }

    #[test]
    fn markup_that_is_not_ours_is_left_out_and_that_is_said() {
        let made =
            read(r#"<div xmlns="http://www.w3.org/1999/xhtml"><p class="x">Anna &quot;A&#246;&quot;</p><br /></div>"#)
                .unwrap();
        assert_eq!(made.value, json!("Anna \"Aö\"\n"));
        assert!(made.note.is_some());
        assert!(read("<p>no div</p>").is_err());
        assert!(read("<div>a < b</div>").is_err());
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in "(?s).{0,60}") {
            let made = out(&json!(text)).unwrap();
            prop_assert_eq!(back(&made.value).unwrap(), Made { value: json!(text), note: None });
        }

        #[test]
        fn no_div_makes_it_fall_over(div in "(<div>)?[<>&;#x0-9a-z/ ]{0,30}(</div>)?") {
            let _ = read(&div);
        }
    }
}
