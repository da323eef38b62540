//! Numbers and flags that the source writes as texts.

use serde_json::{Value, json};

use super::{Made, Text, text};

pub(super) fn integer_out(value: &Value) -> Result<Made, Text> {
    let digits = text(value)?;
    digits
        .parse::<i64>()
        .map(|n| json!(n).into())
        .map_err(|_| Text::new("Värdet ska vara ett heltal.", "The value should be a whole number."))
}

pub(super) fn decimal_out(value: &Value) -> Result<Made, Text> {
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

pub(super) fn number_back(value: &Value) -> Result<Made, Text> {
    match value {
        Value::Number(number) => Ok(json!(number.to_string()).into()),
        _ => Err(Text::new("Värdet ska vara ett tal.", "The value should be a number.")),
    }
}

pub(super) fn boolean_out(value: &Value) -> Result<Made, Text> {
    match text(value)? {
        "true" | "1" => Ok(json!(true).into()),
        "false" | "0" => Ok(json!(false).into()),
        _ => Err(Text::new("Värdet ska vara true eller false.", "The value should be true or false.")),
    }
}

pub(super) fn boolean_back(value: &Value) -> Result<Made, Text> {
    match value {
        Value::Bool(flag) => Ok(json!(flag.to_string()).into()),
        _ => Err(Text::new("Värdet ska vara true eller false.", "The value should be true or false.")),
    }
}
