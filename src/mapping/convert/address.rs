//! Addresses as RIV-TA has them, and the lines of an Address.

use serde_json::{Value, json};

use super::{Made, Text};

const CARE_OF: &str = "c/o ";
const BOX: &str = "Box ";

/// Lines in the order an envelope has them: c/o, street, second street line, box.
pub(super) fn address_out(value: &Value) -> Result<Made, Text> {
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

pub(super) fn address_back(value: &Value) -> Result<Made, Text> {
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
