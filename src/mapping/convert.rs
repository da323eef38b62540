//! Named two-way converters: what a row's `via` may name when a code map is not enough.
//!
//! Each says whether it makes a single value or a whole element, which R4 types that may be, and which fields of an
//! element it reads back, so that the ledger reports the rest.

use serde_json::{Value, json};

use super::{narrative, time};

/// A converter by its name.
#[derive(Debug)]
pub(super) struct Converter {
    pub name: &'static str,
    pub makes: Makes,
    /// Values may identify a person: findings name the path only.
    pub personal: bool,
    pub out: fn(&Value) -> Result<Made, Text>,
    pub back: fn(&Value) -> Result<Made, Text>,
}

/// What stands on the FHIR side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Makes {
    /// A value of one of these R4 types.
    Value(&'static [&'static str]),
    /// A whole element of this R4 type, of which these fields are read back.
    Element(&'static str, &'static [&'static str]),
}

/// A converted value, and what is to be said about it.
#[derive(Debug, PartialEq)]
pub(super) struct Made {
    pub value: Value,
    pub note: Option<Text>,
}

/// The same sentence in Swedish and English. Never carries the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub sv: String,
    pub en: String,
}

impl Text {
    pub fn new(sv: &str, en: &str) -> Self {
        Self { sv: sv.to_owned(), en: en.to_owned() }
    }
}

impl From<Value> for Made {
    fn from(value: Value) -> Self {
        Self { value, note: None }
    }
}

/// All converters.
pub(super) static CONVERTERS: &[Converter] = &[
    Converter {
        name: "integer",
        makes: Makes::Value(&["integer", "positiveInt", "unsignedInt"]),
        personal: false,
        out: integer_out,
        back: number_back,
    },
    Converter {
        name: "decimal",
        makes: Makes::Value(&["decimal"]),
        personal: false,
        out: decimal_out,
        back: number_back,
    },
    Converter {
        name: "boolean",
        makes: Makes::Value(&["boolean"]),
        personal: false,
        out: boolean_out,
        back: boolean_back,
    },
    Converter {
        name: "person-id",
        makes: Makes::Element("Identifier", &["system", "value"]),
        personal: true,
        out: person_id_out,
        back: person_id_back,
    },
    Converter {
        name: "personnummer",
        makes: Makes::Element("Identifier", &["system", "value"]),
        personal: true,
        out: personnummer_out,
        back: personnummer_back,
    },
    Converter {
        name: "oid",
        makes: Makes::Value(&["uri", "oid", "canonical", "url"]),
        personal: false,
        out: |v| Ok(json!(system_of(text(v)?)).into()),
        back: |v| oid_of(text(v)?).map(|oid| json!(oid).into()),
    },
    Converter {
        name: "riv-time",
        makes: Makes::Value(&["dateTime", "instant"]),
        personal: false,
        out: |v| time::time_out(text(v)?),
        back: |v| time::time_back(text(v)?),
    },
    Converter {
        name: "riv-date",
        makes: Makes::Value(&["date", "dateTime"]),
        personal: false,
        out: |v| time::date_out(text(v)?),
        back: |v| time::date_back(text(v)?),
    },
    Converter {
        name: "riv-address",
        makes: Makes::Element("Address", &["line", "city", "postalCode"]),
        personal: true,
        out: address_out,
        back: address_back,
    },
    Converter {
        name: "narrative",
        makes: Makes::Element("Narrative", &["status", "div"]),
        personal: true,
        out: |v| Ok(json!({ "status": "additional", "div": narrative::div(text(v)?)? }).into()),
        back: |v| narrative::text(field(v, "div")?).map(|text| json!(text).into()),
    },
    Converter {
        name: "add-on-id",
        makes: Makes::Value(&["string"]),
        personal: false,
        out: |v| Ok(json!(format!("{}{ADD_ON}", text(v)?)).into()),
        back: |v| match text(v)?.strip_suffix(ADD_ON) {
            Some(contact) => Ok(json!(contact).into()),
            None => Err(Text::new("Värdet ska sluta med |ZV051.", "The value should end in |ZV051.")),
        },
    },
];

/// The mark of the one add-on for distance of a contact.
const ADD_ON: &str = "|ZV051";

/// The converter of that name.
pub(super) fn find(name: &str) -> Option<&'static Converter> {
    CONVERTERS.iter().find(|c| c.name == name)
}

fn text(value: &Value) -> Result<&str, Text> {
    value.as_str().ok_or_else(|| Text::new("Värdet ska vara en text.", "The value should be a text."))
}

fn field<'a>(value: &'a Value, name: &str) -> Result<&'a str, Text> {
    value.get(name).and_then(Value::as_str).filter(|t| !t.is_empty()).ok_or_else(|| Text {
        sv: format!("Fältet {name} saknas eller är inte en text."),
        en: format!("The field {name} is missing or not a text."),
    })
}

fn integer_out(value: &Value) -> Result<Made, Text> {
    let digits = text(value)?;
    digits
        .parse::<i64>()
        .map(|n| json!(n).into())
        .map_err(|_| Text::new("Värdet ska vara ett heltal.", "The value should be a whole number."))
}

fn decimal_out(value: &Value) -> Result<Made, Text> {
    let wrong = || Text::new("Värdet ska vara ett tal med punkt.", "The value should be a number with a point.");
    let digits = text(value)?;
    let plain = digits.strip_prefix('-').unwrap_or(digits);
    if plain.is_empty() || !plain.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(wrong());
    }
    match serde_json::from_str::<Value>(digits) {
        Ok(number @ Value::Number(_)) => Ok(number.into()),
        _ => Err(wrong()),
    }
}

fn number_back(value: &Value) -> Result<Made, Text> {
    match value {
        Value::Number(number) => Ok(json!(number.to_string()).into()),
        _ => Err(Text::new("Värdet ska vara ett tal.", "The value should be a number.")),
    }
}

fn boolean_out(value: &Value) -> Result<Made, Text> {
    match text(value)? {
        "true" | "1" => Ok(json!(true).into()),
        "false" | "0" => Ok(json!(false).into()),
        _ => Err(Text::new("Värdet ska vara true eller false.", "The value should be true or false.")),
    }
}

fn boolean_back(value: &Value) -> Result<Made, Text> {
    match value {
        Value::Bool(flag) => Ok(json!(flag.to_string()).into()),
        _ => Err(Text::new("Värdet ska vara true eller false.", "The value should be true or false.")),
    }
}

/// OIDs that have another URI than `urn:oid:` in FHIR, the one place. Where an OID or URI stands on several lines,
/// the first is written.
const SYSTEMS: &[(&str, &str)] = &[
    ("1.2.752.129.2.1.3.1", PERSONNUMMER),
    ("1.2.752.129.2.1.3.3", SAMORDNINGSNUMMER),
    ("1.2.752.74.9.1", RESERVNUMMER),
    ("1.2.752.129.2.1.4.1", "urn:oid:1.2.752.29.4.19"),
    ("1.2.752.116.2.1.1", "http://snomed.info/sct"),
    ("2.16.840.1.113883.6.96", "http://snomed.info/sct"),
    ("2.16.840.1.113883.6.3", "http://hl7.org/fhir/sid/icd-10"),
    ("1.2.752.116.1.1.1.1.3", "urn:oid:1.2.752.116.1.1.1.1.3"),
    ("1.2.752.116.1.1.1.1.3", "https://www.icd10.se/"),
    ("1.2.752.116.1.1.1.1.3", "http://terminology.hl7.se/CodeSystem/icd-10-se"),
    ("1.2.752.116.1.3.2.1.4", "urn:oid:1.2.752.116.1.3.2.1.4"),
    ("1.2.752.116.1.3.2.1.4", "https://www.socialstyrelsen.se/statistik-och-data/klassifikationer-och-koder/kva/"),
];

const PERSONNUMMER: &str = "http://electronichealth.se/identifier/personnummer";
const SAMORDNINGSNUMMER: &str = "http://electronichealth.se/identifier/samordningsnummer";
const RESERVNUMMER: &str = "http://electronichealth.se/identifier/nationelltReservnummer";

fn system_of(oid: &str) -> String {
    match SYSTEMS.iter().find(|(known, _)| *known == oid) {
        Some((_, uri)) => (*uri).to_owned(),
        None => format!("urn:oid:{oid}"),
    }
}

fn oid_of(uri: &str) -> Result<String, Text> {
    if let Some((oid, _)) = SYSTEMS.iter().find(|(_, known)| *known == uri) {
        return Ok((*oid).to_owned());
    }
    uri.strip_prefix("urn:oid:")
        .map(str::to_owned)
        .ok_or_else(|| Text::new("Systemet har ingen känd OID.", "The system has no known OID."))
}

/// The system of a person number by its form, without its check digit. The one place to ask for it.
fn person_system(number: &str) -> Option<&'static str> {
    let (date, last) = number.split_at_checked(8)?;
    if !date.bytes().all(|b| b.is_ascii_digit()) || last.len() != 4 {
        return None;
    }
    if !last.bytes().all(|b| b.is_ascii_digit()) {
        let letters = last.bytes().take_while(|b| b.is_ascii_uppercase() && !b"IOQVW".contains(b)).count();
        let digits = last.bytes().skip(letters).all(|b| b.is_ascii_digit());
        return (matches!(letters, 2 | 3) && digits).then_some(RESERVNUMMER);
    }
    let month: u32 = date.get(4..6)?.parse().ok()?;
    let day: u32 = date.get(6..8)?.parse().ok()?;
    match (month, day) {
        (1..=12, 1..=31) => Some(PERSONNUMMER),
        (1..=12, 60..=91) => Some(SAMORDNINGSNUMMER),
        _ => None,
    }
}

fn not_a_person_number() -> Text {
    Text::new(
        "Värdet är inte ett personnummer, samordningsnummer eller nationellt reservnummer med 12 tecken.",
        "The value is not a personnummer, samordningsnummer or national reserve number of 12 characters.",
    )
}

fn personnummer_out(value: &Value) -> Result<Made, Text> {
    let number: String = text(value)?.chars().filter(|c| !matches!(c, '-' | '+' | ' ')).collect();
    let system = person_system(&number).ok_or_else(not_a_person_number)?;
    Ok(json!({ "system": system, "value": number }).into())
}

fn personnummer_back(value: &Value) -> Result<Made, Text> {
    Ok(json!(field(value, "value")?).into())
}

fn person_id_out(value: &Value) -> Result<Made, Text> {
    let (root, extension) = (field(value, "root")?, field(value, "extension")?);
    let system = system_of(root);
    if system.starts_with("http://electronichealth.se/") && person_system(extension).is_none() {
        return Err(not_a_person_number());
    }
    Ok(json!({ "system": system, "value": extension }).into())
}

fn person_id_back(value: &Value) -> Result<Made, Text> {
    Ok(json!({ "root": oid_of(field(value, "system")?)?, "extension": field(value, "value")? }).into())
}

const CARE_OF: &str = "c/o ";
const BOX: &str = "Box ";

/// Lines in the order an envelope has them: c/o, street, second street line, box.
fn address_out(value: &Value) -> Result<Made, Text> {
    let get = |name: &str| value.get(name).and_then(Value::as_str).filter(|t| !t.is_empty());
    let mut lines = Vec::new();
    lines.extend(get("careOf").map(|c| format!("{CARE_OF}{c}")));
    lines.extend(get("streetName1").map(str::to_owned));
    lines.extend(get("streetName2").map(str::to_owned));
    lines.extend(get("postBox").map(|b| format!("{BOX}{b}")));
    let mut address = serde_json::Map::new();
    if !lines.is_empty() {
        address.insert("line".into(), json!(lines));
    }
    address.extend(get("postalCity").map(|c| ("city".to_owned(), json!(c))));
    address.extend(get("postalCode").map(|c| ("postalCode".to_owned(), json!(c))));
    if address.is_empty() {
        return Err(Text::new("Adressen har inga kända fält.", "The address has no known fields."));
    }
    Ok(Value::Object(address).into())
}

fn address_back(value: &Value) -> Result<Made, Text> {
    let lines = value.get("line").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut lines: Vec<&str> = lines.iter().filter_map(Value::as_str).collect();
    let mut address = serde_json::Map::new();
    if let Some(care_of) = lines.first().and_then(|l| l.strip_prefix(CARE_OF)) {
        address.insert("careOf".into(), json!(care_of));
        lines.remove(0);
    }
    let post_box = lines.last().and_then(|l| l.strip_prefix(BOX));
    if post_box.is_some() {
        lines.pop();
    }
    let mut streets = lines.into_iter();
    address.extend(streets.next().map(|s| ("streetName1".to_owned(), json!(s))));
    let rest: Vec<&str> = streets.collect();
    let note = (rest.len() > 1).then(|| {
        Text::new(
            "Adressen har fler rader än avsändarens format.",
            "The address has more lines than the sender's format.",
        )
    });
    if !rest.is_empty() {
        address.insert("streetName2".into(), json!(rest.join(", ")));
    }
    for (name, from) in [("postalCode", "postalCode"), ("postalCity", "city")] {
        address.extend(value.get(from).map(|v| (name.to_owned(), v.clone())));
    }
    address.extend(post_box.map(|b| ("postBox".to_owned(), json!(b))));
    Ok(Made { value: Value::Object(address), note })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn there_and_back(name: &str, value: &Value) -> Value {
        let converter = find(name).unwrap();
        let made = (converter.out)(value).unwrap();
        (converter.back)(&made.value).unwrap().value
    }

    #[test]
    fn a_person_number_gets_the_system_of_its_form() {
        for (number, system) in [
            ("195009072553", PERSONNUMMER),
            ("196109732393", SAMORDNINGSNUMMER),
            ("19610973ABC1", RESERVNUMMER),
            ("19610973AB12", RESERVNUMMER),
        ] {
            let made = (find("personnummer").unwrap().out)(&json!(number)).unwrap();
            assert_eq!(made.value, json!({ "system": system, "value": number }));
        }
        for wrong in ["19500907255", "195013072553", "195009402553", "abc", "19610973IOQ1", "åäö109073239"] {
            assert!((find("personnummer").unwrap().out)(&json!(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_hyphen_is_understood_and_not_kept() {
        assert_eq!(there_and_back("personnummer", &json!("19500907-2553")), json!("195009072553"));
    }

    #[test]
    fn an_unknown_oid_is_carried_as_a_urn() {
        assert_eq!(system_of("1.2.3"), "urn:oid:1.2.3");
        assert_eq!(oid_of("urn:oid:1.2.3").unwrap(), "1.2.3");
        assert_eq!(oid_of("https://www.icd10.se/").unwrap(), "1.2.752.116.1.1.1.1.3");
        assert!(oid_of("https://example.org").is_err());
    }

    #[test]
    fn a_decimal_keeps_its_digits() {
        assert_eq!(there_and_back("decimal", &json!("1.50")), json!("1.50"));
        for wrong in ["1e3", "", "01", ".5", "1,5"] {
            assert!((find("decimal").unwrap().out)(&json!(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_street_that_looks_like_a_box_comes_back_as_one() {
        let address = json!({ "streetName1": "A", "streetName2": "Box 12", "postalCode": "1", "postalCity": "x" });
        assert_ne!(there_and_back("riv-address", &address), address);
    }

    proptest! {
        #[test]
        fn numbers_flags_and_ids_come_back(n in any::<i64>(), flag in any::<bool>(), id in "[A-Z0-9-]{1,20}", oid in "[0-2](\\.[1-9][0-9]{0,4}){1,8}") {
            prop_assert_eq!(there_and_back("integer", &json!(n.to_string())), json!(n.to_string()));
            prop_assert_eq!(there_and_back("boolean", &json!(flag.to_string())), json!(flag.to_string()));
            prop_assert_eq!(there_and_back("add-on-id", &json!(id)), json!(id));
            prop_assert_eq!(there_and_back("oid", &json!(oid)), json!(oid));
        }

        #[test]
        fn an_ordinary_address_comes_back(
            care_of in proptest::option::of("[A-ZÅÄÖ][a-zåäö]{1,9}"), second in proptest::option::of("lgh [0-9]{4}"),
            post_box in proptest::option::of("[0-9]{1,4}"), street in "[A-Z][a-z]{2,9}gatan [0-9]{1,3}",
        ) {
            let mut address = json!({ "streetName1": street, "postalCode": "41101", "postalCity": "Göteborg" });
            for (name, value) in [("careOf", care_of), ("streetName2", second), ("postBox", post_box)] {
                if let Some(value) = value { address[name] = json!(value); }
            }
            let back = there_and_back("riv-address", &address);
            prop_assert_eq!(back, address);
        }

        #[test]
        fn no_text_makes_a_converter_fall_over(text in "\\PC{0,20}") {
            for converter in CONVERTERS {
                let _ = (converter.out)(&json!(text));
                let _ = (converter.back)(&json!(text));
                let _ = (converter.out)(&json!({ "root": text, "extension": text, "careOf": text }));
                let _ = (converter.back)(&json!({ "system": text, "value": text, "line": [text] }));
            }
        }
    }
}
