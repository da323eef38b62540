//! The walk over a resource by the compiled schema: names, cardinality, types, formats, codes, references.
//!
//! It allocates only for findings: a validator on the path of every document must cost little when all is well.

use serde_json::{Map, Value};

use super::path::Path;
use super::reference::{self, Entries, Surroundings};
use super::schema::{Class, Content, Field, Role, bit, schema};
use super::swedish::{self, Acts};
use super::{Context, MOST_FINDINGS, contained, narrative, near, required, type_names};
use crate::fhir::issue::{Code, Issue, Severity, shown_name};

type Object = Map<String, Value>;

/// Validates a whole document: a resource, with those inside it.
pub fn document(value: &Value, profiles: &[&str], context: &Context<'_>, out: &mut Vec<Issue>) {
    let Some(object) = value.as_object() else {
        return out.push(Issue::error(
            Code::Structure,
            "",
            "en resurs är ett JSON-objekt med resourceType",
            "a resource is a JSON object with resourceType",
        ));
    };
    let kind = object.get("resourceType").and_then(Value::as_str).unwrap_or_default();
    let root = Path::root(if kind.is_empty() { "" } else { shown_name(kind) });
    resource(object, &Place { path: &root, nested: None, outermost: true, entries: None }, profiles, context, out);
}

/// Where a resource stands.
struct Place<'a> {
    path: &'a Path<'a>,
    /// The resource that contains it.
    nested: Option<&'a Object>,
    outermost: bool,
    entries: Option<&'a Entries<'a>>,
}

fn resource(object: &Object, place: &Place<'_>, profiles: &[&str], context: &Context<'_>, out: &mut Vec<Issue>) {
    let path = place.path;
    let Some(kind) = object.get("resourceType").and_then(Value::as_str) else {
        return out.push(Issue::error(
            Code::Required,
            path,
            "resourceType saknas: det säger vad resursen är",
            "resourceType is missing: it says what the resource is",
        ));
    };
    let Some(at) = schema().named(kind).filter(|at| schema().class(*at).is_some_and(|c| c.role == Role::Resource))
    else {
        // Of the document itself nothing could then be said.
        let mut issue = unknown_type(kind, path);
        issue.severity = if place.outermost { Severity::Error } else { issue.severity };
        return out.push(issue);
    };
    let own = (kind == "Bundle").then(|| reference::entries(object));
    let mut walk = Walk {
        context,
        around: Surroundings { container: place.nested.unwrap_or(object), entries: own.as_ref().or(place.entries) },
        contained: place.nested.is_some(),
        acts: Acts::default(),
        resource: swedish::Resource { kind, object, codes: context.codes },
        out,
    };
    walk.object(at, object, path, None);
    walk.resource.judge(&walk.acts, walk.out);
    context.profiles.apply(object, profiles, path, &walk.around, walk.out);
}

/// A type we do not serve may be right; one that R4 does not have is wrong.
fn unknown_type(kind: &str, path: &Path<'_>) -> Issue {
    if type_names::exists(kind) {
        return Issue::warning(
            Code::NotSupported,
            path,
            "typen används inte här och har inte granskats",
            "the type is not used here and was not checked",
        );
    }
    let (sv, en) = near::hint(near::nearest(kind, type_names::all()));
    Issue::error(
        Code::Value,
        &path.field("resourceType"),
        format!("är ingen resurstyp i R4{sv}"),
        format!("is no resource type of R4{en}"),
    )
}

struct Walk<'a, 'o> {
    context: &'a Context<'a>,
    around: Surroundings<'a>,
    contained: bool,
    acts: Acts,
    resource: swedish::Resource<'a>,
    out: &'o mut Vec<Issue>,
}

impl Walk<'_, '_> {
    fn error(&mut self, code: Code, path: &Path<'_>, sv: impl Into<String>, en: impl Into<String>) {
        self.out.push(Issue::error(code, path, sv, en));
    }

    /// One object of a class. `field` is the element it stands in, none for a resource.
    fn object(&mut self, at: usize, object: &Object, path: &Path<'_>, field: Option<&Field>) {
        let Some(class) = schema().class(at) else { return };
        if self.out.len() >= MOST_FINDINGS {
            return;
        }
        if object.is_empty() {
            return self.error(Code::Structure, path, "är tomt; utelämna det", "is empty; leave it out");
        }
        let mut seen = 0_u64;
        for (key, value) in object {
            if key == "resourceType" && class.role == Role::Resource {
                continue;
            }
            let (name, companion) = key.strip_prefix('_').map_or((key.as_str(), false), |name| (name, true));
            let Some(inner) = class.field(name) else {
                self.unknown(class, key, path);
                continue;
            };
            if seen & bit(inner.position) != 0 && inner.element.is_choice() {
                self.one_choice(class, inner, object, path);
            }
            seen |= bit(inner.position);
            let here = path.field(inner.name);
            if !companion {
                self.field(inner, value, object, &here);
            } else if matches!(inner.content, Content::Primitive(_)) {
                self.companion(inner, value, object, &here);
            } else {
                self.unknown(class, key, path);
            }
        }
        let missing = class.required & !seen;
        if missing != 0 {
            for (_, element) in class.elements.iter().enumerate().filter(|(p, _)| missing & bit(*p) != 0) {
                self.error(
                    Code::Required,
                    &path.field(element.stem()),
                    "saknas: R4 kräver det",
                    "is missing: R4 requires it",
                );
            }
        }
        for rule in &class.rules {
            if !(rule.holds)(object) {
                let (sv, en) = (format!("{} ({})", rule.sv, rule.key), format!("{} ({})", rule.en, rule.key));
                self.error(Code::Invariant, path, sv, en);
            }
        }
        self.role(class, object, path, field);
    }

    /// What a type has to say beyond its elements.
    fn role(&mut self, class: &Class, object: &Object, path: &Path<'_>, field: Option<&Field>) {
        match class.role {
            Role::Identifier => swedish::identifier(object, path, self.out),
            Role::Coding => {
                swedish::coding(object, path, &self.resource, &mut self.acts, self.out);
                if let Some(field) = field.filter(|f| f.type_code == "Coding" && !f.element.codes.is_empty()) {
                    required::bound(std::iter::once(object), &field.element.codes, path, self.out);
                }
            }
            Role::CodeableConcept => {
                if let Some(field) = field.filter(|f| !f.element.codes.is_empty()) {
                    let codings = object.get("coding").and_then(Value::as_array).into_iter().flatten();
                    required::bound(codings.filter_map(Value::as_object), &field.element.codes, path, self.out);
                }
            }
            Role::Reference => {
                let targets = field.and_then(|f| f.element.types.iter().find(|t| t.code == "Reference"));
                reference::check(object, targets.map_or(&[], |t| &t.targets), &self.around, path, self.out);
            }
            Role::Extension => {
                let value = object.keys().any(|k| k.trim_start_matches('_').starts_with("value"));
                if value == object.contains_key("extension") {
                    let (sv, en) = (
                        "en utvidgning har antingen value[x] eller egna utvidgningar (ext-1)",
                        "an extension has either value[x] or extensions of its own (ext-1)",
                    );
                    self.error(Code::Invariant, path, sv, en);
                }
            }
            Role::Resource => contained::check(object, path, self.out),
            Role::Other => {
                if class.name == "Narrative"
                    && let Some(div) = object.get("div").and_then(Value::as_str)
                    && let Err((sv, en)) = narrative::check(div)
                {
                    self.error(Code::Invariant, &path.field("div"), sv, en);
                }
            }
        }
        if let Some(list) = object.get("extension").and_then(Value::as_array) {
            self.extensions(list, class, false, field, &path.field("extension"));
        }
        if let Some(list) = object.get("modifierExtension").and_then(Value::as_array) {
            self.extensions(list, class, true, field, &path.field("modifierExtension"));
        }
    }

    fn extensions(&mut self, list: &[Value], class: &Class, modifier: bool, field: Option<&Field>, path: &Path<'_>) {
        let places = [class.name, field.map_or("", |f| f.element.path)];
        for (index, extension) in list.iter().enumerate() {
            if let Some(extension) = extension.as_object() {
                self.context.profiles.extension(extension, places, modifier, &path.item(index), &self.around, self.out);
            }
        }
    }

    fn field(&mut self, field: &Field, value: &Value, parent: &Object, path: &Path<'_>) {
        if !field.element.is_list() {
            if value.is_array() {
                return self.error(
                    Code::Structure,
                    path,
                    "ska vara ett enda värde, inte en lista; ta bort [ ]",
                    "must be a single value, not an array; remove [ ]",
                );
            }
            return self.value(field, value, path);
        }
        let Some(items) = value.as_array() else {
            self.error(Code::Structure, path, "ska vara en lista; sätt [ ] om", "must be an array; put [ ] around it");
            return self.value(field, value, path);
        };
        if items.is_empty() {
            self.error(Code::Structure, path, "är en tom lista; utelämna den", "is an empty array; leave it out");
        }
        if let Some(max) = field.element.max.filter(|max| items.len() > usize::try_from(*max).unwrap_or(usize::MAX)) {
            self.error(
                Code::Structure,
                path,
                format!("får förekomma högst {max} gånger"),
                format!("may occur at most {max} times"),
            );
        }
        for (index, item) in items.iter().enumerate() {
            let path = path.item(index);
            if item.is_null() && matches!(field.content, Content::Primitive(_)) {
                let companion = parent.get(&format!("_{}", field.json)).and_then(|c| c.get(index));
                if companion.is_none_or(Value::is_null) {
                    self.null(&path);
                }
                continue;
            }
            self.value(field, item, &path);
        }
    }

    fn null(&mut self, path: &Path<'_>) {
        self.error(Code::Structure, path, "är null; utelämna det", "is null; leave it out");
    }

    fn value(&mut self, field: &Field, value: &Value, path: &Path<'_>) {
        if value.is_null() {
            return self.null(path);
        }
        match field.content {
            Content::Primitive(primitive) => match primitive.check(value) {
                Err(wrong) => self.error(Code::Value, path, wrong.sv, wrong.en),
                Ok(()) => {
                    if let Some(code) = value.as_str().filter(|_| !field.element.codes.is_empty()) {
                        required::code(code, &field.element.codes, path, self.out);
                    }
                }
            },
            Content::Class(at) => match value.as_object() {
                Some(object) => self.object(at, object, path, Some(field)),
                None => self.not_an_object(field, path),
            },
            Content::Resource => match value.as_object() {
                Some(object) => self.nested(field, object, path),
                None => self.not_an_object(field, path),
            },
        }
    }

    fn not_an_object(&mut self, field: &Field, path: &Path<'_>) {
        let kind = field.type_code;
        self.error(
            Code::Structure,
            path,
            format!("ska vara ett objekt ({kind})"),
            format!("must be an object ({kind})"),
        );
    }

    /// A resource inside another: contained in it, or an entry of a Bundle or Parameters.
    fn nested(&mut self, field: &Field, object: &Object, path: &Path<'_>) {
        let contained = field.name == "contained";
        if contained && self.contained {
            let (sv, en) = (
                "en innesluten resurs innesluter inga andra (dom-2)",
                "a contained resource contains no others (dom-2)",
            );
            return self.error(Code::Invariant, path, sv, en);
        }
        let nested = contained.then_some(self.around.container);
        let place = Place { path, nested, outermost: false, entries: self.around.entries };
        resource(object, &place, &[], self.context, self.out);
    }

    /// `_birthDate`: id and extensions of a primitive.
    fn companion(&mut self, field: &Field, value: &Value, parent: &Object, path: &Path<'_>) {
        let companion = schema().companion;
        match (field.element.is_list(), value) {
            (false, Value::Object(object)) => self.object(companion, object, path, Some(field)),
            (true, Value::Array(items)) => {
                let values = parent.get(&field.json).and_then(Value::as_array);
                if values.is_some_and(|v| v.len() != items.len()) {
                    let (sv, en) = (
                        format!("{0} och _{0} ska vara lika långa; fyll ut med null", field.json),
                        format!("{0} and _{0} must be of equal length; fill up with null", field.json),
                    );
                    self.error(Code::Structure, path, sv, en);
                }
                for (index, item) in items.iter().enumerate() {
                    match item {
                        Value::Object(object) => self.object(companion, object, &path.item(index), Some(field)),
                        Value::Null if values.is_some_and(|v| v.get(index).is_some_and(|v| !v.is_null())) => {}
                        _ => self.null(&path.item(index)),
                    }
                }
            }
            (list, _) => {
                let shape = if list { ("en lista", "an array") } else { ("ett objekt", "an object") };
                let (sv, en) = (
                    format!("_{} ska vara {} med id eller utvidgningar", field.json, shape.0),
                    format!("_{} must be {} with id or extensions", field.json, shape.1),
                );
                self.error(Code::Structure, path, sv, en);
            }
        }
    }

    fn unknown(&mut self, class: &Class, key: &str, path: &Path<'_>) {
        let names = class.fields().iter().map(|f| f.json.as_str());
        let (sv, en) = near::hint(near::nearest(key, names));
        self.error(
            Code::Structure,
            &path.field(shown_name(key)),
            format!("finns inte i {}{sv}", class.name),
            format!("is not an element of {}{en}", class.name),
        );
    }

    fn one_choice(&mut self, class: &Class, field: &Field, object: &Object, path: &Path<'_>) {
        let given: Vec<&str> = class
            .fields()
            .iter()
            .filter(|f| f.position == field.position)
            .filter(|f| object.contains_key(&f.json) || object.contains_key(&format!("_{}", f.json)))
            .map(|f| f.json.as_str())
            .collect();
        // A value and its own companion are one choice; and two are told of once, at the last.
        let last = object.keys().rfind(|k| given.contains(&k.trim_start_matches('_')));
        if given.len() > 1 && last.is_some_and(|k| k.trim_start_matches('_') == field.json) {
            let list = given.join(", ");
            self.error(
                Code::Structure,
                &path.field(field.name),
                format!("bara en av {list} får anges"),
                format!("only one of {list} may be given"),
            );
        }
    }
}
