//! Ties a finding about a mapped element to the row and the source field that made it.

use serde_json::Value;

use super::Trace;
use crate::fhir::issue::Issue;
use crate::fhir::primitive::Primitive;
use crate::fhir::r4;
use crate::fhir::resource::reference_of;

/// A finding about a mapped element, with the row and the source field that made it. Where no row made the element,
/// or the finding is about the whole resource, the block and its item say which of the resources it is.
pub fn traced(issue: Issue, resource: &Value, trace: &[Trace]) -> Issue {
    if issue.origin.is_some() {
        return issue;
    }
    let name = reference_of(resource).unwrap_or_default();
    let wanted = steps(&issue.expression);
    let own = || trace.iter().filter(|t| t.resource == name);
    // The row of the element itself, or of the nearest element around or inside it; of two equally near, the one that
    // reads a field. A bare type is no element: every row would be as near as another.
    let nearest = own()
        .filter(|_| wanted.len() > 1)
        .filter_map(|t| Some((far(&wanted, &steps(&t.expression))?, t)))
        .min_by_key(|(far, t)| (*far, t.source.is_empty()));
    let (origin, field) = match nearest {
        Some((_, row)) if row.source.is_empty() => (&row.origin, &row.item),
        Some((_, row)) => (&row.origin, &row.source),
        None => match own().next() {
            Some(row) => (&row.block, &row.item),
            None => return issue,
        },
    };
    let origin = if field.is_empty() { origin.clone() } else { format!("{origin}, source {field}") };
    issue.from(origin)
}

/// `Task.input[0].value` as `Task`, `input`, `[0]`, `value`.
fn steps(expression: &str) -> Vec<&str> {
    let mut steps = Vec::new();
    for name in expression.split('.') {
        let (name, index) = name.split_at(name.find('[').unwrap_or(name.len()));
        steps.push(name);
        if !index.is_empty() {
            steps.push(index);
        }
    }
    steps
}

/// How many steps one element is inside the other, if it is.
fn far(one: &[&str], other: &[&str]) -> Option<usize> {
    let inside = one.iter().zip(other).all(|(a, b)| a == b || is_choice(a, b) || is_choice(b, a));
    inside.then(|| one.len().abs_diff(other.len()))
}

/// Whether a JSON name is the FHIRPath name with a type: `performedDateTime` is `performed`.
fn is_choice(name: &str, json: &str) -> bool {
    let Some(suffix) = json.strip_prefix(name).filter(|s| !s.is_empty() && !name.is_empty()) else { return false };
    let mut letters = suffix.chars();
    let Some(first) = letters.next().filter(char::is_ascii_uppercase) else { return false };
    let small = first.to_ascii_lowercase().to_string() + letters.as_str();
    !r4::children(suffix).is_empty() || Primitive::named(&small).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    use crate::fhir::issue::Code;

    fn row(expression: &str, origin: &str, source: &str, item: &str) -> Trace {
        Trace {
            expression: expression.into(),
            resource: "Procedure/1".into(),
            origin: format!("t [act] {origin}"),
            block: "t [act]".into(),
            item: item.into(),
            source: source.into(),
            via: None,
        }
    }

    fn origin(expression: &str, trace: &[Trace]) -> Option<String> {
        let resource = json!({ "resourceType": "Procedure", "id": "1" });
        traced(Issue::error(Code::Value, expression, "", ""), &resource, trace).origin
    }

    #[test]
    fn a_choice_element_finds_the_row_that_wrote_it_with_its_type() {
        let trace = [
            row("Procedure.performedDateTime", "row 1", "start", ""),
            row("Procedure.extension[0].valueString", "row 2", "text", ""),
            row("Procedure.extension[0].url", "fixed 1", "", ""),
            row("Procedure.reasonReference[0].display", "row 3", "reason", ""),
            row("Procedure.extension[1].valueCodeableConcept.text", "row 4", "concept", ""),
        ];
        assert_eq!(origin("Procedure.performed", &trace).unwrap(), "t [act] row 1, source start");
        assert_eq!(origin("Procedure.extension[0].value", &trace).unwrap(), "t [act] row 2, source text");
        assert_eq!(origin("Procedure.extension[0].url", &trace).unwrap(), "t [act] fixed 1");
        assert_eq!(origin("Procedure.extension[1].value.text", &trace).unwrap(), "t [act] row 4, source concept");
        assert_eq!(origin("Procedure.reasonCode", &trace).unwrap(), "t [act]", "another element");
        assert!(!is_choice("reason", "reasonWhy") && !is_choice("", "dateTime"));
    }

    #[test]
    fn a_finding_about_a_whole_resource_names_its_block_and_item_and_no_row() {
        let trace = [row("Procedure.note[0].text", "row 1", "acts[1].description", "acts[1]")];
        assert_eq!(origin("Procedure", &trace).unwrap(), "t [act], source acts[1]");
        assert_eq!(origin("Procedure.code", &trace).unwrap(), "t [act], source acts[1]");
        assert_eq!(origin("Procedure", &[]), None);
    }

    #[test]
    fn the_nearest_row_is_named_though_a_farther_one_reads_a_field() {
        let trace = [
            row("Procedure.code.coding[0].system", "fixed 1", "", "acts[0]"),
            row("Procedure.code.coding[0].code", "row 1", "acts[0].code", "acts[0]"),
        ];
        assert_eq!(origin("Procedure.code.coding[0].system", &trace).unwrap(), "t [act] fixed 1, source acts[0]");
        assert_eq!(origin("Procedure.code", &trace).unwrap(), "t [act] row 1, source acts[0].code");
        assert_eq!(origin("Procedure.code.coding", &trace).unwrap(), "t [act] row 1, source acts[0].code");
    }
}
