//! Whose word an element is when a resource lives at two systems: one table, read by every path that brings the two together.
//!
//! The unit that asked owns what it asks for, its goals and its plan; the unit that was asked owns what becomes of the Task;
//! whoever carries out an activity of a plan says how that goes. What is not in the table is the asking side's.

/// Whose word it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The unit that sent the document.
    Placer,
    /// The unit that owns the Task.
    Filler,
    /// The unit that carries out the activity that the element stands in.
    Performer,
}

/// Type, element (without what picks one of a list), owner.
const TABLE: &[(&str, &str, Owner)] = &[
    ("Task", "status", Owner::Filler),
    ("Task", "statusReason", Owner::Filler),
    ("Task", "businessStatus", Owner::Filler),
    ("Task", "output", Owner::Filler),
    ("Task", "note", Owner::Filler),
    ("Task", "lastModified", Owner::Filler),
    ("Task", "executionPeriod", Owner::Filler),
    ("CarePlan", "activity.detail.status", Owner::Performer),
    ("CarePlan", "activity.detail.statusReason", Owner::Performer),
    ("CarePlan", "activity.progress", Owner::Performer),
    ("CarePlan", "activity.outcomeCodeableConcept", Owner::Performer),
    ("CarePlan", "activity.outcomeReference", Owner::Performer),
];

/// The owner of an element, written `status` or `activity[I1].detail.status`.
pub fn owner(resource_type: &str, path: &str) -> Owner {
    let bare = bare(path);
    let row = TABLE.iter().find(|(of, element, _)| *of == resource_type && *element == bare);
    row.map_or(Owner::Placer, |(_, _, owner)| *owner)
}

/// The elements of a list's items that are told apart from the rest of the item, because they have another owner: `detail.status`.
pub fn apart(resource_type: &str, list: &str) -> impl Iterator<Item = &'static str> {
    let (resource_type, list) = (resource_type.to_owned(), list.to_owned());
    TABLE.iter().filter_map(move |(of, element, _)| {
        (*of == resource_type).then(|| element.strip_prefix(list.as_str())?.strip_prefix('.')).flatten()
    })
}

/// What picks one of a list: `I1` in `activity[I1].detail.status`.
pub fn key(path: &str) -> Option<&str> {
    let (_, rest) = path.split_once('[')?;
    rest.split_once(']').map(|(key, _)| key)
}

fn bare(path: &str) -> String {
    match (path.split_once('['), path.split_once(']')) {
        (Some((list, _)), Some((_, rest))) => format!("{list}{rest}"),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_who_asks_owns_what_is_asked_and_the_one_who_is_asked_what_becomes_of_it() {
        for (of, path, expected) in [
            ("ServiceRequest", "reasonCode", Owner::Placer),
            ("ServiceRequest", "status", Owner::Placer),
            ("Goal", "description", Owner::Placer),
            ("CarePlan", "goal", Owner::Placer),
            ("CarePlan", "status", Owner::Placer),
            ("CarePlan", "activity[I1]", Owner::Placer),
            ("CarePlan", "activity[I1].detail.status", Owner::Performer),
            ("CarePlan", "activity[I 1.b].progress", Owner::Performer),
            ("Task", "status", Owner::Filler),
            ("Task", "output", Owner::Filler),
            ("Task", "priority", Owner::Placer),
            ("Task", "input", Owner::Placer),
        ] {
            assert_eq!(owner(of, path), expected, "{of}.{path}");
        }
    }

    #[test]
    fn an_activity_is_told_apart_from_how_it_goes() {
        let apart: Vec<&str> = apart("CarePlan", "activity").collect();
        assert!(apart.contains(&"detail.status") && apart.contains(&"progress"), "{apart:?}");
        assert_eq!(super::apart("Task", "output").count(), 0);
        assert_eq!(key("activity[I1].detail.status"), Some("I1"));
        assert_eq!(key("status"), None);
    }
}
