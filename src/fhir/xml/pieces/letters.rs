//! What letters, names and tags XML 1.0 has, where the splitter is kinder than the standard.

/// The characters that XML 1.0 has.
pub(crate) fn is_xml_char(letter: char) -> bool {
    matches!(letter, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Whether the text can name an element or attribute, with at most one prefix.
pub(super) fn is_name(text: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '\u{b7}'))
    };
    text.split_once(':').map_or_else(|| part(text), |(prefix, name)| part(prefix) && part(name))
}

/// Whether space stands between the attributes of a tag.
pub(super) fn is_spaced(raw: &str) -> bool {
    let mut quote = None;
    let mut after = false;
    for byte in raw.bytes() {
        match quote {
            Some(open) if byte == open => (quote, after) = (None, true),
            Some(_) => {}
            None if after && !byte.is_ascii_whitespace() => return false,
            None => {
                after = false;
                quote = matches!(byte, b'"' | b'\'').then_some(byte);
            }
        }
    }
    quote.is_none()
}

/// The encoding that an XML declaration names, in small letters.
pub(crate) fn declared_encoding(bytes: &[u8]) -> Option<String> {
    let start = bytes.get(..bytes.len().min(200))?;
    let start = start.strip_prefix(b"<?xml")?;
    let end = start.windows(2).position(|w| w == b"?>")?;
    let text: String = start.get(..end)?.iter().map(|b| char::from(b.to_ascii_lowercase())).collect();
    let (_, after) = text.split_once("encoding")?;
    let value = after.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next()?;
    value.get(1..)?.split(quote).next().map(str::to_owned)
}
