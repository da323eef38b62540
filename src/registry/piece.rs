//! One piece of an export on its way: the reader only copies the rows that pass, and they are made into lines of the files while it
//! reads the next.

use std::collections::BTreeSet;
use std::io;

use super::outgoing::Line;
use super::spool::Spool;
use crate::fhir::about::is_definition;
use crate::store::{FileKind, Passed};

/// Rows as they passed, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Ids and patients.
    names: String,
    bodies: Vec<u8>,
    all: Vec<Lengths>,
}

/// How much of `names` and `bodies` is a row's.
#[derive(Debug, Clone, Copy)]
struct Lengths {
    id: usize,
    patient: Option<usize>,
    /// `None`: the client is to have it no more.
    body: Option<usize>,
}

/// What has become lines.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub resources: u64,
    /// `Type/id` of each, where the client is a registry.
    pub names: Vec<String>,
    pub patients: BTreeSet<String>,
}

impl Rows {
    pub fn take(&mut self, passed: &Passed<'_>) {
        let (id, patient, body) = match *passed {
            Passed::Stands { id, patient, body } => (id, patient, Some(body)),
            Passed::Left { id } => (id, None, None),
        };
        self.names.push_str(id);
        self.names.push_str(patient.unwrap_or_default());
        self.bodies.extend_from_slice(body.unwrap_or_default());
        self.all.push(Lengths { id: id.len(), patient: patient.map(str::len), body: body.map(<[u8]>::len) });
    }

    /// Bytes of the resources.
    pub fn bytes(&self) -> usize {
        self.bodies.len()
    }

    fn each(&self) -> impl Iterator<Item = Passed<'_>> {
        let (mut names, mut bodies) = (self.names.as_str(), self.bodies.as_slice());
        self.all.iter().filter_map(move |lengths| {
            let (id, rest) = names.split_at_checked(lengths.id)?;
            let (patient, rest) = rest.split_at_checked(lengths.patient.unwrap_or(0))?;
            names = rest;
            let Some(length) = lengths.body else { return Some(Passed::Left { id }) };
            let (body, rest) = bodies.split_at_checked(length)?;
            bodies = rest;
            Some(Passed::Stands { id, patient: lengths.patient.map(|_| patient), body })
        })
    }

    /// Writes them to the files; a registry's names are kept, because it may have to erase them.
    pub fn write(&self, kind: &str, line: &Line, is_registry: bool, spool: &mut Spool) -> io::Result<Written> {
        let mut written = Written::default();
        for passed in self.each() {
            let (id, patient, body) = match passed {
                Passed::Stands { id, patient, body } => (id, patient, body),
                Passed::Left { id } => {
                    line.write_deleted(id).try_for_each(|text| spool.add(FileKind::Deleted, "Bundle", &text))?;
                    continue;
                }
            };
            let Some(text) = line.write(body) else { continue };
            spool.add(FileKind::Output, kind, &text)?;
            written.resources += 1;
            if is_registry && !is_definition(kind) {
                written.names.push(format!("{kind}/{id}"));
            }
            let patient = if kind == "Patient" { Some(id) } else { patient };
            if let Some(patient) = patient.filter(|patient| !written.patients.contains(*patient)) {
                written.patients.insert(patient.to_owned());
            }
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_out_as_they_passed() {
        let mut rows = Rows::default();
        let all = [
            Passed::Stands { id: "a", patient: Some("p1"), body: b"{\"a\":1}" },
            Passed::Left { id: "åäö" },
            Passed::Stands { id: "b", patient: None, body: b"{}" },
            Passed::Stands { id: "c", patient: Some(""), body: b"" },
        ];
        for passed in &all {
            rows.take(passed);
        }
        assert_eq!(rows.bytes(), 9);
        let told = |passed: &Passed<'_>| format!("{passed:?}");
        assert_eq!(rows.each().map(|p| told(&p)).collect::<Vec<_>>(), all.iter().map(told).collect::<Vec<_>>());
    }
}
