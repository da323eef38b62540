//! One piece of an export on its way: the reader only copies the rows that pass, and they become lines of the files while it reads
//! the next.

use std::collections::BTreeSet;

use memchr::{memchr_iter, memrchr};

use super::outgoing::Line;
use crate::fhir::about::is_definition;
use crate::store::Passed;

/// Rows as they passed, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Ids and patients.
    names: String,
    /// Each with the end of its line.
    bodies: Vec<u8>,
    stand: Vec<Row>,
    /// What the client is to have no more.
    left: Vec<String>,
}

/// The row, and how much of `names` and `bodies` is its.
#[derive(Debug, Clone, Copy)]
struct Row {
    rid: i64,
    id: usize,
    patient: Option<usize>,
    /// With the end of its line.
    body: usize,
}

/// Lines of one file, each with its end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    pub text: Vec<u8>,
    /// Where each ends in `text`.
    pub ends: Vec<usize>,
}

impl Lines {
    pub fn push(&mut self, line: &[u8]) {
        self.text.extend_from_slice(line);
        self.text.push(b'\n');
        self.ends.push(self.text.len());
    }
}

/// What rows have become.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub output: Lines,
    pub deleted: Lines,
    /// The rows in `output`; of what is about nobody none, which nobody has to erase.
    pub rows: Vec<i64>,
    pub patients: BTreeSet<String>,
}

/// The row that goes beyond the piece.
const BEYOND: usize = 16 * 1024;

impl Rows {
    /// With room for so many bytes of resources.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bodies: Vec::with_capacity(bytes + BEYOND), ..Self::default() }
    }

    pub fn take(&mut self, passed: &Passed<'_>) {
        match *passed {
            Passed::Stands { rid, id, patient, body } => {
                self.names.push_str(id);
                self.names.push_str(patient.unwrap_or_default());
                self.bodies.extend_from_slice(body);
                self.bodies.push(b'\n');
                self.stand.push(Row { rid, id: id.len(), patient: patient.map(str::len), body: body.len() + 1 });
            }
            Passed::Left { id } => self.left.push(id.to_owned()),
        }
    }

    /// Bytes of the resources.
    pub fn bytes(&self) -> usize {
        self.bodies.len()
    }

    /// Makes lines of them.
    pub fn make(self, kind: &str, line: &Line) -> Made {
        let mut made = Made::default();
        for text in self.left.iter().flat_map(|id| line.write_deleted(id)) {
            made.deleted.push(&text);
        }
        let is_kept = line.keeps_bytes() && self.is_lines();
        if !is_kept {
            made.output.text.reserve_exact(self.bodies.len());
        }
        let (mut names, mut bodies) = (self.names.as_str(), self.bodies.as_slice());
        for row in &self.stand {
            let Some((id, rest)) = names.split_at_checked(row.id) else { break };
            let Some((patient, rest)) = rest.split_at_checked(row.patient.unwrap_or(0)) else { break };
            names = rest;
            let Some((body, rest)) = bodies.split_at_checked(row.body) else { break };
            bodies = rest;
            if is_kept {
                let before = made.output.ends.last().copied().unwrap_or(0);
                made.output.ends.push(before + row.body);
            } else if let Some(text) = body.split_last().and_then(|(_, body)| line.write(body)) {
                made.output.push(&text);
            } else {
                continue;
            }
            if !is_definition(kind) {
                made.rows.push(row.rid);
            }
            let patient = if kind == "Patient" { Some(id) } else { row.patient.map(|_| patient) };
            if let Some(patient) = patient.filter(|patient| !made.patients.contains(*patient)) {
                made.patients.insert(patient.to_owned());
            }
        }
        if is_kept {
            made.output.text = self.bodies;
        }
        made
    }

    /// Whether each body is one line as it is stored.
    fn is_lines(&self) -> bool {
        memchr_iter(b'\n', &self.bodies).count() == self.stand.len() && memrchr(b'\r', &self.bodies).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::Request;
    use super::super::terms::Terms;
    use super::*;

    fn made(passed: &[Passed<'_>]) -> Made {
        let mut rows = Rows::default();
        passed.iter().for_each(|passed| rows.take(passed));
        rows.make("Task", &Line::of("Task", &Request::default(), &Terms::Whole))
    }

    fn texts(lines: &Lines) -> Vec<&str> {
        let begins = std::iter::once(0).chain(lines.ends.iter().copied());
        begins.zip(&lines.ends).map(|(from, to)| std::str::from_utf8(&lines.text[from..*to]).unwrap()).collect()
    }

    #[test]
    fn rows_become_lines_in_their_order_and_what_left_is_told_apart() {
        let made = made(&[
            Passed::Stands { rid: 3, id: "a", patient: Some("p1"), body: b"{\"a\":1}" },
            Passed::Left { id: "gone" },
            Passed::Stands { rid: 5, id: "b", patient: None, body: b"{}" },
            Passed::Stands { rid: 9, id: "\u{e5}", patient: Some("p1"), body: "{\"x\":\"\u{e5}\"}".as_bytes() },
        ]);
        assert_eq!(texts(&made.output), ["{\"a\":1}\n", "{}\n", "{\"x\":\"\u{e5}\"}\n"]);
        assert!(texts(&made.deleted)[0].contains("Task/gone"));
        assert_eq!((made.rows, made.patients), (vec![3, 5, 9], BTreeSet::from(["p1".to_owned()])));
    }

    #[test]
    fn a_break_inside_one_body_breaks_no_line_of_any() {
        let whole = Passed::Stands { rid: 1, id: "a", patient: None, body: b"{\"a\":1}" };
        let broken = Passed::Stands { rid: 2, id: "b", patient: None, body: b"{\n\"a\":2}" };
        assert_eq!(texts(&made(&[whole, broken]).output), ["{\"a\":1}\n", "{\"a\":2}\n"]);
    }
}
