//! Whether the patient may see something, as a security label: RIV-TA writes it as an `xs:boolean`, whose four spellings
//! must all count, because one that is not understood would be shown.

use serde_json::{Value, json};

use super::{Made, Text, field};

const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";

pub(super) fn approved_out(text: &str) -> Result<Made, Text> {
    match text.trim() {
        "true" | "1" => Ok(json!({ "system": CONFIDENTIALITY, "code": "N" }).into()),
        "false" | "0" => Ok(json!({ "system": ACT_CODE, "code": "NOPATIENT" }).into()),
        _ => Err(Text::new("Värdet ska vara true, false, 1 eller 0.", "The value should be true, false, 1 or 0.")),
    }
}

pub(super) fn approved_back(label: &Value) -> Result<Made, Text> {
    match (field(label, "system")?, field(label, "code")?) {
        (CONFIDENTIALITY, "N") => Ok(json!("true").into()),
        (ACT_CODE, "NOPATIENT") => Ok(json!("false").into()),
        _ => Err(Text::new("Märkningen ska vara N eller NOPATIENT.", "The label should be N or NOPATIENT.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_no_hides_it_from_the_patient_and_nothing_else_is_guessed() {
        for (text, code) in
            [("true", "N"), ("1", "N"), ("false", "NOPATIENT"), ("0", "NOPATIENT"), (" 0 ", "NOPATIENT")]
        {
            assert_eq!(approved_out(text).unwrap().value["code"], code, "{text}");
        }
        for text in ["", "nej", "False", "00"] {
            assert!(approved_out(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_label_of_another_kind_is_not_read_as_an_answer() {
        assert_eq!(approved_back(&approved_out("0").unwrap().value).unwrap().value, json!("false"));
        assert_eq!(approved_back(&approved_out("1").unwrap().value).unwrap().value, json!("true"));
        assert!(approved_back(&json!({ "system": CONFIDENTIALITY, "code": "V" })).is_err());
        assert!(approved_back(&json!({ "system": ACT_CODE, "code": "N" })).is_err());
    }
}
