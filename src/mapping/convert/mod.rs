//! Named two-way converters: what a row's `via` may name when a code map is not enough.
//!
//! Each says whether it makes a single value or a whole element, which R4 types that may be, and which fields of an
//! element it reads back, so that the ledger reports the rest.

mod address;
mod approval;
mod identity;
mod narrative;
mod number;
mod time;

use serde_json::{Value, json};

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
        out: number::integer_out,
        back: number::number_back,
    },
    Converter {
        name: "decimal",
        makes: Makes::Value(&["decimal"]),
        personal: false,
        out: number::decimal_out,
        back: number::number_back,
    },
    Converter {
        name: "boolean",
        makes: Makes::Value(&["boolean"]),
        personal: false,
        out: number::boolean_out,
        back: number::boolean_back,
    },
    Converter {
        name: "person-id",
        makes: Makes::Element("Identifier", &["system", "value"]),
        personal: true,
        out: identity::person_id_out,
        back: identity::person_id_back,
    },
    Converter {
        name: "personnummer",
        makes: Makes::Element("Identifier", &["system", "value"]),
        personal: true,
        out: identity::personnummer_out,
        back: identity::personnummer_back,
    },
    Converter {
        name: "oid",
        makes: Makes::Value(&["uri", "oid", "canonical", "url"]),
        personal: false,
        out: |v| Ok(json!(identity::system_of(text(v)?)).into()),
        back: |v| identity::oid_of(text(v)?).map(|oid| json!(oid).into()),
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
        out: address::address_out,
        back: address::address_back,
    },
    Converter {
        name: "riv-approved",
        makes: Makes::Element("Coding", &["system", "code"]),
        personal: false,
        out: |v| approval::approved_out(text(v)?),
        back: approval::approved_back,
    },
    Converter {
        name: "narrative",
        makes: Makes::Element("Narrative", &["status", "div"]),
        personal: true,
        out: |v| Ok(json!({ "status": "additional", "div": narrative::div(text(v)?)? }).into()),
        back: |v| narrative::text(field(v, "div")?).map(|text| json!(text).into()),
    },
];

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
    fn a_hyphen_is_understood_and_not_kept() {
        assert_eq!(there_and_back("personnummer", &json!("19500907-2553")), json!("195009072553"));
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
        fn numbers_flags_and_oids_come_back(n in any::<i64>(), flag in any::<bool>(), oid in "[0-2](\\.[1-9][0-9]{0,4}){1,8}") {
            prop_assert_eq!(there_and_back("integer", &json!(n.to_string())), json!(n.to_string()));
            prop_assert_eq!(there_and_back("boolean", &json!(flag.to_string())), json!(flag.to_string()));
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
