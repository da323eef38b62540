//! `openapi.yaml` read, and its schemas made strict: in tests a field that no schema knows is an error.

use serde_json::{Map, Value, json};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

pub struct Contract {
    pub doc: Value,
    /// `components` where every object is closed, with open copies of those that others build on.
    strict: Value,
}

/// One method of one path.
pub struct Operation<'a> {
    pub contract: &'a Contract,
    pub method: String,
    pub path: String,
    pub spec: &'a Value,
}

impl Contract {
    pub fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.yaml");
        let doc: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let schemas = doc["components"]["schemas"].as_object().unwrap();
        let copy = |base: bool| -> Map<String, Value> {
            schemas.iter().map(|(name, schema)| (name.clone(), closed(schema, base))).collect()
        };
        let strict = json!({ "schemas": copy(false), "open": copy(true) });
        Self { doc, strict }
    }

    pub fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        self.doc["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
            METHODS.iter().filter_map(|method| {
                let spec = item.get(method)?;
                Some(Operation { contract: self, method: method.to_uppercase(), path: path.clone(), spec })
            })
        })
    }

    pub fn schema(&self, name: &str) -> &Value {
        &self.doc["components"]["schemas"][name]
    }

    /// What a `$ref` points at, or the value itself.
    pub fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(place) => self.doc.pointer(place.trim_start_matches('#')).unwrap_or_else(|| panic!("no {place}")),
            None => value,
        }
    }

    /// Holds a value against a schema of the file.
    pub fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let root = json!({ "components": self.strict, "allOf": [closed_use(schema)] });
        let validator = jsonschema::options().should_validate_formats(true).build(&root).unwrap();
        let errors: Vec<String> = validator.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors.join("\n")) }
    }

    /// Every media type of every request and answer.
    pub fn visit_media(&self, visit: &mut impl FnMut(&Value)) {
        fn walk(value: &Value, visit: &mut impl FnMut(&Value)) {
            for (name, child) in value.as_object().into_iter().flatten() {
                if name == "content" && child.as_object().is_some_and(|c| c.keys().all(|k| k.contains('/'))) {
                    child.as_object().unwrap().values().for_each(&mut *visit);
                }
                walk(child, visit);
            }
        }
        walk(&self.doc["paths"], visit);
        walk(&self.doc["components"]["responses"], visit);
    }
}

impl<'a> Operation<'a> {
    pub fn parameters(&self, place: &str) -> Vec<&'a Value> {
        let list = self.spec["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        list.iter().map(|p| self.contract.resolve(p)).filter(|p| p["in"] == place).collect()
    }

    pub fn response(&self, status: u16) -> Option<&'a Value> {
        self.spec["responses"].get(status.to_string()).map(|r| self.contract.resolve(r))
    }
}

/// The schema where it is used as a whole, and not as something that others add to.
fn closed_use(schema: &Value) -> Value {
    closed(schema, false)
}

/// A copy in which objects take no field that they do not name. A `base` stays open for whoever builds on it.
fn closed(schema: &Value, base: bool) -> Value {
    let Some(object) = schema.as_object() else { return schema.clone() };
    let mut copy = Map::new();
    for (name, value) in object {
        let value = match (name.as_str(), value) {
            ("properties", Value::Object(fields)) => {
                fields.iter().map(|(name, field)| (name.clone(), closed(field, false))).collect()
            }
            ("allOf", Value::Array(bases)) => bases.iter().map(open).collect(),
            ("oneOf" | "anyOf", Value::Array(choices)) => choices.iter().map(|c| closed(c, base)).collect(),
            ("items", item) => closed(item, false),
            _ => value.clone(),
        };
        copy.insert(name.clone(), value);
    }
    let has_fields = object.contains_key("properties") || object.contains_key("allOf");
    if has_fields && !base && !object.contains_key("additionalProperties") {
        copy.insert("unevaluatedProperties".into(), json!(false));
    }
    Value::Object(copy)
}

fn open(base: &Value) -> Value {
    match base["$ref"].as_str() {
        Some(place) => json!({ "$ref": place.replace("#/components/schemas/", "#/components/open/") }),
        None => closed(base, true),
    }
}
