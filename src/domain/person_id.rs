//! Personnummer, samordningsnummer and reservnummer: what a Swedish patient is known by.
//!
//! Own code, because the published crate refuses every samordningsnummer and takes numbers without a check digit.
//! The number is never shown: `Debug` and `Display` say only what kind it is, so that no log can leak it by accident.

use std::fmt;

use chrono::NaiveDate;

use super::issuer::{Issuer, PersonIdKind};

/// A checked number: twelve characters without separator, letters in upper case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PersonId {
    issuer: Issuer,
    value: String,
}

/// Why a number was refused. No text of it repeats the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PersonIdError {
    #[error("must be twelve characters with the century, as YYYYMMDDNNNN")]
    Length,
    #[error("contains characters that no Swedish personal number has in that place")]
    Characters,
    #[error("begins with a date that does not exist")]
    Date,
    #[error("has a wrong check digit; probably a digit is mistyped")]
    CheckDigit,
    #[error(
        "is a temporary number (TF number, with P, T or F in the ninth place), which has no identifier system in FHIR; give the personnummer, samordningsnummer or reserve number"
    )]
    Temporary,
    #[error("has the form of another number ({}), which has an identifier system of its own", found.name())]
    OtherIssuer { found: Issuer },
}

impl PersonIdError {
    /// The same in Swedish.
    pub fn sv(self) -> String {
        match self {
            Self::Length => "ska vara tolv tecken med sekel, ÅÅÅÅMMDDNNNN".to_owned(),
            Self::Characters => "innehåller tecken som inget svenskt personnummer har på den platsen".to_owned(),
            Self::Date => "börjar med ett datum som inte finns".to_owned(),
            Self::CheckDigit => "har fel kontrollsiffra; troligen är en siffra felskriven".to_owned(),
            Self::Temporary => "är ett tillfälligt nummer (TF-nummer, med P, T eller F på nionde plats), som inte har \
                något identifierarsystem i FHIR; ange personnummer, samordningsnummer eller reservnummer"
                .to_owned(),
            Self::OtherIssuer { found } => {
                format!("har en annan nummersorts form ({}), som har ett eget identifierarsystem", found.name())
            }
        }
    }
}

impl PersonId {
    /// Reads a number in any of the forms that can be told apart by form alone. One `-` or `+` before the last four
    /// is tolerated. That the date is a neighbour of the birth date is no error: days run out of numbers.
    pub fn parse(text: &str) -> Result<Self, PersonIdError> {
        let value = compact(text)?;
        let issuer = issuer_by_form(&value)?;
        Ok(Self { issuer, value })
    }

    /// Reads a number that stands under an identifier system; `None` when the system is no person's.
    pub fn parse_in(system: &str, text: &str) -> Option<Result<Self, PersonIdError>> {
        let issuer = Issuer::of_system(system)?;
        Some(Self::parse_of(issuer, text))
    }

    fn parse_of(issuer: Issuer, text: &str) -> Result<Self, PersonIdError> {
        let value = compact(text)?;
        if issuer == Issuer::VgrGlobal {
            return Ok(Self { issuer, value });
        }
        match issuer_by_form(&value)? {
            found if found == issuer => Ok(Self { issuer, value }),
            found => Err(PersonIdError::OtherIssuer { found }),
        }
    }

    pub fn kind(&self) -> PersonIdKind {
        self.issuer.kind()
    }

    pub fn issuer(&self) -> Issuer {
        self.issuer
    }

    /// The twelve characters. Only for what is written into a document or an index, never for a log.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The day that the number says; nothing of a reserve number, whose date may be anybody's guess.
    pub fn born(&self) -> Option<chrono::NaiveDate> {
        let coordination = match self.kind() {
            PersonIdKind::Personnummer => 0,
            PersonIdKind::Samordningsnummer => 60,
            _ => return None,
        };
        let number = |from: usize, to: usize| self.value().get(from..to)?.parse::<u32>().ok();
        let day = number(6, 8)?.checked_sub(coordination)?;
        chrono::NaiveDate::from_ymd_opt(i32::try_from(number(0, 4)?).ok()?, number(4, 6)?, day)
    }

    /// The FHIR identifier system that belongs to the number.
    pub fn system(&self) -> &'static str {
        self.issuer.system()
    }
}

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ************", self.kind().name())
    }
}

impl fmt::Debug for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PersonId({self})")
    }
}

/// Twelve ASCII characters without separator, upper case.
fn compact(text: &str) -> Result<String, PersonIdError> {
    if !text.is_ascii() {
        return Err(PersonIdError::Characters);
    }
    let joined = match (text.len(), text.get(..8), text.get(8..9), text.get(9..)) {
        (12, ..) => text.to_owned(),
        (13, Some(date), Some("-" | "+"), Some(rest)) => format!("{date}{rest}"),
        (13, ..) => return Err(PersonIdError::Characters),
        _ => return Err(PersonIdError::Length),
    };
    if joined.bytes().all(|b| b.is_ascii_alphanumeric()) {
        Ok(joined.to_ascii_uppercase())
    } else {
        Err(PersonIdError::Characters)
    }
}

fn issuer_by_form(value: &str) -> Result<Issuer, PersonIdError> {
    let bytes = value.as_bytes();
    let (date, rest) = bytes.split_at_checked(8).ok_or(PersonIdError::Length)?;
    if !date.iter().all(u8::is_ascii_digit) {
        return Err(PersonIdError::Characters);
    }
    if rest.iter().all(u8::is_ascii_digit) {
        return by_digits(bytes);
    }
    let issuer = match rest {
        [b'K' | b'M' | b'X', b'0', b'6'..=b'9', d] if d.is_ascii_digit() => Issuer::VgrLocal,
        [b'K' | b'M' | b'X', b'1'..=b'8', c, d] if c.is_ascii_digit() && d.is_ascii_digit() => Issuer::VgrLocal,
        [a, b, c, d] if letter(*a) && letter(*b) && (letter(*c) || c.is_ascii_digit()) && d.is_ascii_digit() => {
            Issuer::National
        }
        [b'P' | b'T' | b'F', b, c, d] if [b, c, d].iter().all(|b| b.is_ascii_digit()) => {
            return Err(PersonIdError::Temporary);
        }
        _ => return Err(PersonIdError::Characters),
    };
    let [century, year, month, day] = date_parts(bytes);
    let century = match issuer {
        // The true century plus a multiple of three, so that the number can never be a personnummer.
        Issuer::National if century >= 21 => 18 + (century - 18) % 3,
        Issuer::National => return Err(PersonIdError::Date),
        _ => century,
    };
    if exists(century, year, month, day) { Ok(issuer) } else { Err(PersonIdError::Date) }
}

fn by_digits(bytes: &[u8]) -> Result<Issuer, PersonIdError> {
    if bytes.starts_with(b"99") {
        return Ok(Issuer::Stockholm);
    }
    let [century, year, month, day] = date_parts(bytes);
    let (issuer, day) = if day > 60 { (Issuer::Coordination, day - 60) } else { (Issuer::Population, day) };
    if !exists(century, year, month, day) {
        return Err(PersonIdError::Date);
    }
    if luhn(bytes) { Ok(issuer) } else { Err(PersonIdError::CheckDigit) }
}

/// Letters of the national reserve number: none that can be mistaken for another.
fn letter(byte: u8) -> bool {
    byte.is_ascii_uppercase() && !matches!(byte, b'I' | b'O' | b'Q' | b'V' | b'W')
}

/// Century, year, month and day of the first eight digits.
fn date_parts(bytes: &[u8]) -> [u32; 4] {
    let mut parts = [0; 4];
    for (part, pair) in parts.iter_mut().zip(bytes.chunks(2)) {
        *part = pair.iter().fold(0, |n, b| n * 10 + u32::from(b.wrapping_sub(b'0')));
    }
    parts
}

fn exists(century: u32, year: u32, month: u32, day: u32) -> bool {
    (18..=20).contains(&century)
        && i32::try_from(century * 100 + year).is_ok_and(|y| NaiveDate::from_ymd_opt(y, month, day).is_some())
}

/// The check digit is over the ten digits without century, as they are written (a samordningsnummer with its +60).
fn luhn(bytes: &[u8]) -> bool {
    let sum: u32 = bytes
        .iter()
        .skip(2)
        .enumerate()
        .map(|(i, b)| {
            let digit = u32::from(b.wrapping_sub(b'0'));
            if i % 2 == 1 {
                digit
            } else if digit > 4 {
                digit * 2 - 9
            } else {
                digit * 2
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERSONNUMMER: [&str; 8] = [
        "195009072553",
        "196101182803",
        "189002029800",
        "200302022389",
        "199002222397",
        "200001252386",
        "189602029812",
        "191212121212",
    ];
    const SAMORDNINGSNUMMER: [&str; 3] = ["196109732393", "197010632391", "196408833231"];

    #[test]
    fn personnummer_and_samordningsnummer_are_told_apart() {
        for number in PERSONNUMMER {
            assert_eq!(PersonId::parse(number).unwrap().kind(), PersonIdKind::Personnummer);
        }
        for number in SAMORDNINGSNUMMER {
            let id = PersonId::parse(number).unwrap();
            assert_eq!(id.kind(), PersonIdKind::Samordningsnummer);
            assert_eq!(id.system(), "http://electronichealth.se/identifier/samordningsnummer");
        }
    }

    #[test]
    fn one_separator_is_tolerated_and_dropped() {
        for text in ["19500907-2553", "18900202+9800"] {
            assert_eq!(PersonId::parse(text).unwrap().value().len(), 12);
        }
        assert_eq!(PersonId::parse("1950-09072553"), Err(PersonIdError::Characters));
        assert_eq!(PersonId::parse("19500907--2553"), Err(PersonIdError::Length));
    }

    #[test]
    fn every_single_mistyped_digit_is_found() {
        for number in PERSONNUMMER.iter().chain(&SAMORDNINGSNUMMER) {
            // The check digit does not cover the century.
            for place in 2..12 {
                for digit in b'0'..=b'9' {
                    let mut bytes = number.as_bytes().to_vec();
                    if bytes[place] == digit {
                        continue;
                    }
                    bytes[place] = digit;
                    assert!(PersonId::parse(std::str::from_utf8(&bytes).unwrap()).is_err());
                }
            }
        }
    }

    #[test]
    fn impossible_days_short_forms_and_foreign_digits_are_refused() {
        assert_eq!(PersonId::parse("195002302553"), Err(PersonIdError::Date));
        assert_eq!(PersonId::parse("195013072553"), Err(PersonIdError::Date));
        assert_eq!(PersonId::parse("5009072553"), Err(PersonIdError::Length));
        assert_eq!(PersonId::parse("500907-2553"), Err(PersonIdError::Length));
        assert_eq!(PersonId::parse("18900202980"), Err(PersonIdError::Length));
        assert_eq!(PersonId::parse("１９５００９０７２５５３"), Err(PersonIdError::Characters));
        assert_eq!(PersonId::parse("19500907255x"), Err(PersonIdError::Characters));
    }

    #[test]
    fn reserve_numbers_are_known_by_their_form() {
        let national = PersonId::parse("98240301AA06").unwrap();
        assert_eq!(national.issuer(), Issuer::National);
        assert_eq!(PersonId::parse("98240301-aa06").unwrap(), national);
        assert_eq!(PersonId::parse("98240301AI06"), Err(PersonIdError::Characters), "I is never used");
        assert_eq!(PersonId::parse("98241301AA06"), Err(PersonIdError::Date));
        assert_eq!(PersonId::parse("20240301AA06"), Err(PersonIdError::Date), "the century is raised");
        assert_eq!(PersonId::parse("20210325K069").unwrap().issuer(), Issuer::VgrLocal);
        assert_eq!(PersonId::parse("991234567890").unwrap().issuer(), Issuer::Stockholm);
        assert_eq!(PersonId::parse("991234567890").unwrap().system(), "https://uid.regionstockholm.se/reservnummer");
    }

    #[test]
    fn a_temporary_number_is_refused_by_name() {
        for number in ["19500907P553", "19500907t553", "19500907-F553"] {
            assert_eq!(PersonId::parse(number), Err(PersonIdError::Temporary), "{number}");
        }
    }

    #[test]
    fn a_number_under_the_wrong_system_is_named_for_what_it_is() {
        let system = "http://electronichealth.se/identifier/personnummer";
        assert!(PersonId::parse_in(system, "195009072553").unwrap().is_ok());
        assert_eq!(
            PersonId::parse_in(system, "196109732393").unwrap(),
            Err(PersonIdError::OtherIssuer { found: Issuer::Coordination })
        );
        assert!(PersonId::parse_in("urn:oid:1.2.752.113.11.0.2.1.1.4", "20210325A123").unwrap().is_ok());
        assert!(PersonId::parse_in("https://example.org/mrn", "1").is_none());
    }

    #[test]
    fn the_number_is_never_shown() {
        let id = PersonId::parse("195009072553").unwrap();
        for text in [format!("{id}"), format!("{id:?}"), format!("{:?}", PersonId::parse("195009072554"))] {
            assert!(!text.contains("1950") && !text.contains("2553"), "{text}");
        }
    }
}
