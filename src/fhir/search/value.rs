//! Search values as text: tokens, references, dates and words, turned into what is compared.

use chrono::{DateTime, Utc};

use super::super::r4;
use super::{DateOp, Fault, Kind, Param, Span, TokenMatch, logical, moment, types};

/// Commas mean "or"; `\,` is a comma. Other escapes are kept until the part is read.
pub fn split(value: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in value.chars() {
        let Some(last) = parts.last_mut() else { break };
        match (escaped, c) {
            (false, '\\') => {
                escaped = true;
                continue;
            }
            (false, ',') => parts.push(String::new()),
            (true, ',') => last.push(','),
            (true, c) => last.extend(['\\', c]),
            (false, c) => last.push(c),
        }
        escaped = false;
    }
    parts
}

/// What `\|`, `\$` and `\\` stand for.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut escaped = false;
    for c in text.chars() {
        match (escaped, c) {
            (false, '\\') => escaped = true,
            (_, c) => {
                out.push(c);
                escaped = false;
            }
        }
    }
    out
}

/// `system|value` at the first bar that is not escaped.
fn at_bar(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (escaped, c) {
            (false, '\\') => escaped = true,
            (false, '|') => return Some((text.get(..at)?, text.get(at + 1..)?)),
            _ => escaped = false,
        }
    }
    None
}

/// `code`, `system|code`, `|code` or `system|`.
pub fn token(name: &str, text: &str) -> Result<TokenMatch, Fault> {
    let some = |t: &str| (!t.is_empty()).then(|| plain(t));
    let found = match at_bar(text) {
        Some((system, code)) => TokenMatch { system: Some(plain(system)), code: some(code) },
        None => TokenMatch { system: None, code: some(text) },
    };
    if found.code.is_none() && found.system.as_deref().unwrap_or_default().is_empty() {
        return Err(Fault::wrong(
            name,
            "en kod, system|kod, |kod eller system|",
            "a code, system|code, |code or system|",
        ));
    }
    Ok(found)
}

/// `system|value` of an identifier inside the reference.
pub fn identifier(name: &str, text: &str) -> Result<String, Fault> {
    match at_bar(text) {
        Some((system, value)) if !system.is_empty() && !value.is_empty() => Ok(logical(&plain(system), &plain(value))),
        _ => Err(Fault::wrong(name, "system|värde", "system|value")),
    }
}

/// `Type/id`, an id, a URL (ours means the resource here), or `system|value` of a logical reference. `chosen` is the type that a
/// modifier names.
pub fn reference(
    param: &Param,
    name: &str,
    chosen: Option<&str>,
    text: &str,
    base_url: &str,
) -> Result<Vec<String>, Fault> {
    let wrong = || Fault::wrong(name, "Typ/id, id, eller system|värde", "Type/id, an id, or system|value");
    if param.kind == Kind::Canonical {
        return Ok(vec![plain(text)]);
    }
    if at_bar(text).is_some() && chosen.is_none() {
        return Ok(vec![identifier(name, text)?]);
    }
    let text = plain(text);
    let text = text.strip_prefix(&format!("{base_url}/fhir/")).unwrap_or(&text);
    let allowed = allowed(param);
    if text.contains("://") || text.starts_with("urn:") {
        return Ok(vec![text.to_owned()]);
    }
    let is_id = |id: &str| {
        !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
    };
    match text.split_once('/') {
        Some((target, id)) if is_id(id) && r4::is_resource(target) => {
            if !allowed.contains(&target) || chosen.is_some_and(|chosen| chosen != target) {
                let list = chosen.map_or_else(|| allowed.join(", "), str::to_owned);
                return Err(Fault::wrong(name, &format!("en referens till {list}"), &format!("a reference to {list}")));
            }
            Ok(vec![text.to_owned()])
        }
        Some(_) => Err(wrong()),
        None if !is_id(text) => Err(wrong()),
        None => Ok(match chosen {
            Some(chosen) => vec![format!("{chosen}/{text}")],
            None => allowed.iter().map(|target| format!("{target}/{text}")).collect(),
        }),
    }
}

/// Types that a reference of the parameter may point at.
pub fn allowed(param: &Param) -> Vec<&'static str> {
    match param.only {
        Some(only) => vec![only],
        None => types().iter().copied().filter(|t| param.targets.contains(t)).collect(),
    }
}

/// A date with its prefix. `ap` is a tenth of the time between the value and now to either side, at least what is not said of it.
pub fn date(name: &str, text: &str, now: DateTime<Utc>) -> Result<Span, Fault> {
    let (op, rest) = match text.split_at_checked(2) {
        Some(("eq", rest)) => (DateOp::Eq, rest),
        Some(("ne", rest)) => (DateOp::Ne, rest),
        Some(("gt", rest)) => (DateOp::Gt, rest),
        Some(("ge", rest)) => (DateOp::Ge, rest),
        Some(("lt", rest)) => (DateOp::Lt, rest),
        Some(("le", rest)) => (DateOp::Le, rest),
        Some(("sa", rest)) => (DateOp::Sa, rest),
        Some(("eb", rest)) => (DateOp::Eb, rest),
        Some(("ap", rest)) => (DateOp::Meets, rest),
        _ => (DateOp::Eq, text),
    };
    // A + that was not encoded has become a space.
    let (low, high) = moment(&rest.replace(' ', "+"))
        .ok_or_else(|| Fault::wrong(name, "ett datum, som ge2026-01-31", "a date, like ge2026-01-31"))?;
    if op != DateOp::Meets {
        return Ok(Span { op, low, high });
    }
    let widen = now.timestamp_millis().saturating_sub(low).saturating_abs() / 10;
    Ok(Span { op, low: low.saturating_sub(widen), high: high.saturating_add(widen) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_split_at_commas_and_the_first_bar() {
        let parts = split("urn:x|a,urn:y|b\\|c,d\\,e,\\$");
        assert_eq!(parts, ["urn:x|a", "urn:y|b\\|c", "d,e", "\\$"]);
        let of = |text: &str| token("code", text).map(|t| (t.system, t.code));
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(of("urn:y|b\\|c").unwrap(), (some("urn:y"), some("b|c")));
        assert_eq!(of("d,e").unwrap(), (None, some("d,e")));
        assert_eq!(of("|d").unwrap(), (some(""), some("d")));
        assert_eq!(of("urn:y|").unwrap(), (some("urn:y"), None));
        assert!(of("|").is_err() && of("").is_err());
        assert_eq!(plain("a\\\\b"), "a\\b");
    }

    #[test]
    fn about_is_a_tenth_of_the_time_that_has_passed() {
        let now = "2026-11-01T00:00:00Z".parse().unwrap();
        let span = date("date", "ap2026-10-22", now).unwrap();
        let (low, high) = moment("2026-10-22").unwrap();
        assert!(span.op == DateOp::Meets && low - span.low >= 86_400_000 && span.high > high);
    }
}
