//! Where a walk through a tree stands: kept as links on the stack, because hardly any path is ever shown to anybody.

use std::fmt;

/// A place in a tree; written out it is `plan.activity[0].text`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trail<'a> {
    /// The tree itself, under this name or none.
    Root(&'a str),
    Field(&'a Trail<'a>, &'a str),
    Element(&'a Trail<'a>, usize),
}

impl fmt::Display for Trail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(name) => f.write_str(name),
            Self::Field(Self::Root(""), name) => f.write_str(name),
            Self::Field(above, name) => write!(f, "{above}.{name}"),
            Self::Element(above, number) => write!(f, "{above}[{number}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_as_people_write_it_with_and_without_a_name_for_the_tree() {
        let root = Trail::Root("");
        let list = Trail::Field(&root, "plan");
        let element = Trail::Element(&list, 2);
        assert_eq!(Trail::Field(&element, "text").to_string(), "plan[2].text");
        assert_eq!(Trail::Field(&Trail::Root("Task"), "status").to_string(), "Task.status");
    }
}
