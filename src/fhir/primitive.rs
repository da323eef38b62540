//! The formats of R4's primitive types, days that do not exist included.
//!
//! Hand-written instead of regular expressions: they are on the path of every value of every resource.

mod times;

use serde_json::{Number, Value};

use self::times::{date, date_time, instant, time};
pub use self::times::{day_of, days_of};

/// A primitive type of R4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Primitive {
    Base64Binary,
    Boolean,
    Canonical,
    Code,
    Date,
    DateTime,
    Decimal,
    Id,
    Instant,
    Integer,
    Markdown,
    Oid,
    PositiveInt,
    String,
    Time,
    UnsignedInt,
    Uri,
    Url,
    Uuid,
    Xhtml,
}

/// R4: strings shall not exceed 1 MB.
const LONGEST_STRING: usize = 1024 * 1024;

/// Why a value has not the format of its type: how it should be, in Swedish and English.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wrong {
    pub sv: &'static str,
    pub en: &'static str,
}

const fn wrong<T>(sv: &'static str, en: &'static str) -> Result<T, Wrong> {
    Err(Wrong { sv, en })
}

impl Primitive {
    /// The type a StructureDefinition calls `code`.
    pub fn named(code: &str) -> Option<Self> {
        Some(match code {
            "base64Binary" => Self::Base64Binary,
            "boolean" => Self::Boolean,
            "canonical" => Self::Canonical,
            "code" => Self::Code,
            "date" => Self::Date,
            "dateTime" => Self::DateTime,
            "decimal" => Self::Decimal,
            "id" => Self::Id,
            "instant" => Self::Instant,
            "integer" => Self::Integer,
            "markdown" => Self::Markdown,
            "oid" => Self::Oid,
            "positiveInt" => Self::PositiveInt,
            "string" => Self::String,
            "time" => Self::Time,
            "unsignedInt" => Self::UnsignedInt,
            "uri" => Self::Uri,
            "url" => Self::Url,
            "uuid" => Self::Uuid,
            "xhtml" => Self::Xhtml,
            _ => return None,
        })
    }

    /// Checks a JSON value against the type.
    pub fn check(self, value: &Value) -> Result<(), Wrong> {
        match (self, value) {
            (Self::Boolean, Value::Bool(_)) => Ok(()),
            (Self::Boolean, _) => {
                wrong("ska vara true eller false utan citattecken", "must be true or false, without quotes")
            }
            (Self::Decimal | Self::Integer | Self::PositiveInt | Self::UnsignedInt, Value::Number(n)) => self.number(n),
            (Self::Decimal | Self::Integer | Self::PositiveInt | Self::UnsignedInt, _) => {
                wrong("ska vara ett tal utan citattecken", "must be a number, without quotes")
            }
            (_, Value::String(text)) => self.text(text),
            _ => wrong("ska vara en text inom citattecken", "must be a text in quotes"),
        }
    }

    fn number(self, number: &Number) -> Result<(), Wrong> {
        let written = number.as_str();
        if self == Self::Decimal {
            // As R4's pattern has it: up to 18 digits or so are meant, but no limit is given; the exponent is.
            return match written.split_once(['e', 'E']) {
                Some((_, exponent)) if exponent.trim_start_matches(['+', '-']).len() > 3 => {
                    wrong("har en orimlig exponent", "has an unreasonable exponent")
                }
                _ => Ok(()),
            };
        }
        let (low, sv, en) = match self {
            Self::PositiveInt => (1, "ska vara ett heltal från 1", "must be a whole number from 1"),
            Self::UnsignedInt => (0, "ska vara ett heltal från 0", "must be a whole number from 0"),
            _ => (i32::MIN, "ska vara ett heltal på högst 32 bitar", "must be a whole number of at most 32 bits"),
        };
        match written.parse::<i32>() {
            Ok(n) if n >= low && written != "-0" => Ok(()),
            _ => wrong(sv, en),
        }
    }

    /// Checks the text of a type that JSON writes as a string.
    pub fn text(self, text: &str) -> Result<(), Wrong> {
        if text.is_empty() {
            return wrong("är tom; utelämna fältet", "is empty; leave the field out");
        }
        match self {
            Self::String | Self::Markdown => string(text),
            Self::Xhtml => Ok(()),
            Self::Code if is_code(text) => Ok(()),
            Self::Code => wrong(
                "en kod har inga blanksteg i början, slutet eller i rad",
                "a code has no space at its ends and no two in a row",
            ),
            Self::Id if is_id(text) => Ok(()),
            Self::Id => {
                wrong("ska vara 1–64 tecken A–Z, a–z, 0–9, - och .", "must be 1–64 characters A–Z, a–z, 0–9, - and .")
            }
            Self::Uri | Self::Url | Self::Canonical => uri(text),
            Self::Oid if text.strip_prefix("urn:oid:").is_some_and(is_oid) => Ok(()),
            Self::Oid => wrong("ska vara urn:oid: följt av en OID", "must be urn:oid: followed by an OID"),
            Self::Uuid if text.strip_prefix("urn:uuid:").is_some_and(is_uuid) => Ok(()),
            Self::Uuid => wrong("ska vara urn:uuid: följt av ett UUID", "must be urn:uuid: followed by a UUID"),
            Self::Base64Binary => base64(text),
            Self::Date => date(text).map(drop),
            Self::DateTime => date_time(text),
            Self::Instant => instant(text),
            Self::Time => time(text),
            // Not written as strings; `check` has refused them before.
            Self::Boolean | Self::Decimal | Self::Integer | Self::PositiveInt | Self::UnsignedInt => Ok(()),
        }
    }
}

fn string(text: &str) -> Result<(), Wrong> {
    if text.len() > LONGEST_STRING {
        return wrong("är längre än 1 MB", "is longer than 1 MB");
    }
    if text.trim().is_empty() {
        return wrong("består bara av blanksteg; utelämna fältet", "is only white space; leave the field out");
    }
    if text.bytes().any(|b| b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r')) {
        return wrong("innehåller ett styrtecken", "contains a control character");
    }
    Ok(())
}

fn is_code(text: &str) -> bool {
    let mut after_space = true;
    for c in text.chars() {
        let space = c.is_whitespace();
        if space && (after_space || c != ' ') {
            return false;
        }
        after_space = space;
    }
    !after_space
}

/// The form of a logical id.
pub fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
}

fn is_oid(text: &str) -> bool {
    text.starts_with(['0', '1', '2'])
        && text.contains('.')
        && text.split('.').all(|arc| {
            !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit()) && (arc == "0" || !arc.starts_with('0'))
        })
}

/// The form of a UUID in lower case, as R4 has it.
pub fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
        })
}

fn uri(text: &str) -> Result<(), Wrong> {
    if text.chars().any(char::is_whitespace) {
        return wrong("en adress (uri) har inga blanksteg", "a uri has no white space");
    }
    // A fragment may follow: Inera writes a system of origin as urn:oid:1.2.752.129.2.1.4.1#SE….
    let plain = text.split('#').next().unwrap_or_default();
    if plain.strip_prefix("urn:oid:").is_some_and(|oid| !is_oid(oid)) {
        return wrong("urn:oid: ska följas av en OID", "urn:oid: must be followed by an OID");
    }
    if text.strip_prefix("urn:uuid:").is_some_and(|u| !is_uuid(&u.to_ascii_lowercase())) {
        return wrong("urn:uuid: ska följas av ett UUID", "urn:uuid: must be followed by a UUID");
    }
    Ok(())
}

fn base64(text: &str) -> Result<(), Wrong> {
    let mut count = 0_usize;
    let mut padding = 0_usize;
    for b in text.bytes() {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if padding == 0 => count += 1,
            b'=' => padding += 1,
            b' ' | b'\n' | b'\r' | b'\t' => {}
            _ => return wrong("är inte base64", "is not base64"),
        }
    }
    if padding <= 2 && (count + padding).is_multiple_of(4) && count > 0 {
        Ok(())
    } else {
        wrong("är inte base64: fel längd eller utfyllnad", "is not base64: wrong length or padding")
    }
}

#[cfg(test)]
mod tests {
    use super::times::NO_DAY;
    use super::*;
    use chrono::NaiveDate;
    use proptest::prelude::*;
    use serde_json::json;

    fn ok(kind: Primitive, texts: &[&str]) {
        for text in texts {
            assert_eq!(kind.text(text), Ok(()), "{kind:?} {text}");
        }
    }

    fn bad(kind: Primitive, texts: &[&str]) {
        for text in texts {
            assert!(kind.text(text).is_err(), "{kind:?} {text}");
        }
    }

    #[test]
    fn days_that_do_not_exist_are_refused() {
        ok(Primitive::Date, &["2024", "2024-02", "2024-02-29", "1900-01-01"]);
        bad(
            Primitive::Date,
            &[
                "2023-02-29",
                "2024-13",
                "2024-00-10",
                "2024-04-31",
                "0000",
                "24-01-01",
                "2024-1-1",
                "2024-02-29T10:00:00Z",
            ],
        );
        assert_eq!(Primitive::Date.text("2023-02-29"), Err(NO_DAY));
    }

    #[test]
    fn a_time_needs_a_whole_day_and_a_zone() {
        ok(Primitive::DateTime, &["2024", "2024-02-29", "2024-02-29T10:00:00Z", "2024-02-29T23:59:60.123+14:00"]);
        bad(
            Primitive::DateTime,
            &[
                "2024-02-29T10:00:00",
                "2024-02T10:00:00Z",
                "2024-02-29T10:00Z",
                "2024-02-29T24:00:00Z",
                "2024-02-29T10:00:00+15:00",
                "2024-02-29 10:00:00Z",
                "2024-02-30T10:00:00Z",
                "2024-02-29T10:00:00.Z",
                "2024-02-29T10:00:00ZZ",
            ],
        );
        ok(Primitive::Instant, &["2015-02-07T13:28:17.239+02:00"]);
        bad(Primitive::Instant, &["2015-02-07", "2015-02-07T13:28:17"]);
        ok(Primitive::Time, &["08:30:00", "08:30:00.5"]);
        bad(Primitive::Time, &["08:30", "24:00:00", "08:30:00Z", "8:30:00"]);
    }

    #[test]
    fn a_year_is_all_its_days_and_an_instant_is_on_its_day_in_sweden() {
        let days = |text: &str| days_of(text).map(|(first, last)| format!("{first} {last}"));
        assert_eq!(days("2024").unwrap(), "2024-01-01 2024-12-31");
        assert_eq!(days("2024-02").unwrap(), "2024-02-01 2024-02-29");
        assert_eq!(days("2024-02-29").unwrap(), "2024-02-29 2024-02-29");
        assert_eq!(days("2025-12-31T23:30:00Z").unwrap(), "2026-01-01 2026-01-01");
        assert_eq!(days("2026-01-01T01:00:00+03:00").unwrap(), "2025-12-31 2025-12-31");
        assert_eq!(days("2024-13"), None);
    }

    #[test]
    fn ids_uris_and_codes_have_their_forms() {
        ok(Primitive::Id, &["a", "A-1.b", &"x".repeat(64)]);
        bad(Primitive::Id, &["", "a_b", "å", "a b", &"x".repeat(65)]);
        ok(
            Primitive::Uri,
            &[
                "http://x",
                "urn:oid:1.2.752.29.4.19",
                "urn:oid:1.2.752.129.2.1.4.1#SE2321000131-E1",
                "#a",
                "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0",
            ],
        );
        bad(Primitive::Uri, &["http://x y", "urn:oid:1.2.", "urn:oid:1.02", "urn:uuid:0c3151bd"]);
        ok(Primitive::Oid, &["urn:oid:1.2.752", "urn:oid:2.5.4.97"]);
        bad(Primitive::Oid, &["1.2.752", "urn:oid:3.1", "urn:oid:1"]);
        ok(Primitive::Uuid, &["urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"]);
        bad(Primitive::Uuid, &["0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"]);
        ok(Primitive::Code, &["in-progress", "a b"]);
        bad(Primitive::Code, &[" a", "a ", "a  b", "a\tb", " "]);
    }

    #[test]
    fn numbers_are_numbers_and_whole_where_they_must_be() {
        let number = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        for text in ["1", "2147483647"] {
            assert!(Primitive::PositiveInt.check(&number(text)).is_ok());
        }
        for text in ["0", "-1", "1.0", "1e3", "2147483648", "\"1\"", "true"] {
            assert!(Primitive::PositiveInt.check(&number(text)).is_err(), "{text}");
        }
        assert!(Primitive::UnsignedInt.check(&number("0")).is_ok());
        assert!(Primitive::Integer.check(&number("-5")).is_ok() && Primitive::Integer.check(&number("-0")).is_err());
        for text in ["0.10", "-1e-9", "123456789012345678.123456789"] {
            assert!(Primitive::Decimal.check(&number(text)).is_ok());
        }
        assert!(Primitive::Decimal.check(&number("1e9999")).is_err());
        assert!(Primitive::Decimal.check(&json!("1.0")).is_err());
        assert!(Primitive::Boolean.check(&json!(true)).is_ok() && Primitive::Boolean.check(&json!("true")).is_err());
    }

    #[test]
    fn texts_are_neither_empty_nor_endless() {
        ok(Primitive::String, &["a", " a\r\n\tb"]);
        bad(Primitive::String, &["", "  ", "a\u{1}", &"x".repeat(LONGEST_STRING + 1)]);
        ok(Primitive::Base64Binary, &["QQ==", "QUI=", "QUJD", "QUJD\nQUJD"]);
        bad(Primitive::Base64Binary, &["Q", "QQ=", "QQ==Q", "QÅ==", "===="]);
        assert!(Primitive::String.check(&json!(1)).is_err());
    }

    proptest! {
        #[test]
        fn every_day_of_the_calendar_passes(days in 0..60_000i64) {
            let day = NaiveDate::from_ymd_opt(1900, 1, 1).unwrap() + chrono::Duration::days(days);
            prop_assert!(Primitive::Date.text(&day.to_string()).is_ok());
            prop_assert_eq!(day_of(&format!("{day}T10:00:00Z")), Some(day));
        }

        #[test]
        fn no_text_makes_a_format_panic(text in ".{0,30}") {
            for kind in [Primitive::Date, Primitive::DateTime, Primitive::Instant, Primitive::Time, Primitive::Oid, Primitive::Uuid, Primitive::Uri, Primitive::Base64Binary, Primitive::Code] {
                let _ = kind.text(&text);
            }
            let _ = day_of(&text);
            let _ = days_of(&text);
        }
    }
}
