//! JSON Patch (RFC 6902), the four operations a client of a Task needs: add, replace, remove, test.

use serde_json::Value;

use super::refusal::Refusal;
use crate::fhir::issue::{Code, Issue};

/// Applies the operations in order; the first that cannot be done refuses the whole patch.
pub fn apply(resource: &mut Value, operations: &Value, at: &str) -> Result<(), Refusal> {
    let Some(operations) = operations.as_array() else {
        return Err(Refusal::malformed(at, "En JSON Patch är en lista.", "A JSON Patch is a list."));
    };
    for (i, operation) in operations.iter().enumerate() {
        if step(resource, operation).is_none() {
            return Err(Refusal::unprocessable(vec![Issue::error(
                Code::Processing,
                at,
                format!("Åtgärd {i} i patchen går inte att utföra på den här versionen."),
                format!("Operation {i} of the patch cannot be done on this version."),
            )]));
        }
    }
    Ok(())
}

fn step(resource: &mut Value, operation: &Value) -> Option<()> {
    let path = operation.get("path")?.as_str()?;
    let value = || operation.get("value").cloned();
    match operation.get("op")?.as_str()? {
        "test" => (resource.pointer(path)? == &value()?).then_some(()),
        "replace" => {
            *resource.pointer_mut(path)? = value()?;
            Some(())
        }
        "add" => add(resource, path, value()?),
        "remove" => remove(resource, path),
        _ => None,
    }
}

fn add(resource: &mut Value, path: &str, value: Value) -> Option<()> {
    let (parent, last) = path.rsplit_once('/')?;
    match resource.pointer_mut(parent)? {
        Value::Object(map) => {
            map.insert(unescaped(last), value);
        }
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => {
            let place = index(last).filter(|i| *i <= items.len())?;
            items.insert(place, value);
        }
        _ => return None,
    }
    Some(())
}

fn remove(resource: &mut Value, path: &str) -> Option<()> {
    let (parent, last) = path.rsplit_once('/')?;
    match resource.pointer_mut(parent)? {
        Value::Object(map) => map.shift_remove(&unescaped(last)).map(drop),
        Value::Array(items) => {
            let place = index(last).filter(|i| *i < items.len())?;
            items.remove(place);
            Some(())
        }
        _ => None,
    }
}

/// A list position: digits without a leading zero.
fn index(text: &str) -> Option<usize> {
    let plain = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| plain)
}

fn unescaped(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(operations: Value) -> Option<Value> {
        let mut task = json!({ "status": "requested", "note": [{ "text": "a" }, { "text": "c" }], "a/b~c": 1 });
        apply(&mut task, &operations, "").is_ok().then_some(task)
    }

    #[test]
    fn the_four_operations_do_what_the_rfc_says() {
        let task = patched(json!([
            { "op": "test", "path": "/status", "value": "requested" },
            { "op": "replace", "path": "/status", "value": "accepted" },
            { "op": "add", "path": "/note/1", "value": { "text": "b" } },
            { "op": "add", "path": "/note/-", "value": { "text": "d" } },
            { "op": "remove", "path": "/note/0" },
            { "op": "remove", "path": "/a~1b~0c" },
        ]));
        let expected = json!({ "status": "accepted", "note": [{ "text": "b" }, { "text": "c" }, { "text": "d" }] });
        assert_eq!(task, Some(expected));
    }

    #[test]
    fn an_operation_that_cannot_be_done_is_refused() {
        for (op, path) in [
            ("test", "/status"),
            ("replace", "/owner"),
            ("remove", "/owner"),
            ("remove", "/note/2"),
            ("add", "/note/3"),
            ("add", "/note/01"),
            ("add", ""),
            ("move", "/status"),
        ] {
            assert_eq!(patched(json!([{ "op": op, "path": path, "value": "x" }])), None, "{op} {path}");
        }
        assert_eq!(patched(json!({ "op": "remove" })), None);
    }
}
