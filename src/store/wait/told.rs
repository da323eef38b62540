//! What a commit says of an exchange that its clocks need to know, from the search values that its resources come with: how
//! urgent it is, who is asked to stop, whether a meeting is called, and that a patient has died.

use uuid::Uuid;

use super::super::record::Put;
use crate::domain::clock::{Abort, Priority};
use crate::domain::task::Status;
use crate::fhir::search::Index;

const TASK_CODE: &str = "http://hl7.org/fhir/CodeSystem/task-code";

/// What a commit says of one exchange; `None`: nothing new.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) priority: Option<Priority>,
    pub(super) is_called: Option<bool>,
    /// Requests to stop that are not answered.
    pub(super) asked: Vec<Abort>,
    /// The ids of those that are.
    pub(super) answered: Vec<String>,
}

impl Told {
    pub(super) fn of(exchange: Uuid, puts: &[Put]) -> Self {
        let mut told = Self::default();
        let urn = format!("urn:uuid:{exchange}");
        for put in puts.iter().filter(|put| put.exchange == Some(exchange) || holds(&put.index, &urn)) {
            told.hear(put);
        }
        told
    }

    pub(super) fn hear(&mut self, put: &Put) {
        match put.resource_type.as_str() {
            "Task" if is_abort(&put.index) => self.hear_abort(put),
            "ServiceRequest" | "Task" => {
                if let Some(priority) = code(&put.index, "priority").and_then(Priority::parse) {
                    // Of several the most urgent.
                    self.priority = self.priority.max(Some(priority));
                }
            }
            "Appointment" if code(&put.index, "appointment-type") == Some("ROUTINE") => {
                let is_called =
                    matches!(code(&put.index, "status"), Some("booked" | "arrived" | "checked-in" | "fulfilled"));
                self.is_called = Some(self.is_called.unwrap_or(false) || is_called);
            }
            _ => {}
        }
    }

    fn hear_abort(&mut self, put: &Put) {
        let status = code(&put.index, "status").and_then(Status::parse);
        let of = put.index.iter().find_map(|index| match index {
            Index::Reference { param: "focus", target } => target.strip_prefix("Task/"),
            _ => None,
        });
        match of {
            Some(of) if status.is_none_or(|status| !status.is_final()) => {
                self.asked.push(Abort { id: put.id.clone(), of: of.to_owned() });
            }
            _ => self.answered.push(put.id.clone()),
        }
    }
}

/// Of a Patient: whether it says that the patient has died. No text of a document can look like one of these: a quotation mark
/// within it is escaped.
pub(super) fn is_deceased(put: &Put) -> Option<bool> {
    let says = || {
        std::str::from_utf8(&put.body)
            .is_ok_and(|body| body.contains("\"deceasedDateTime\":") || body.contains("\"deceasedBoolean\":true"))
    };
    (put.resource_type == "Patient").then(says)
}

/// Whether it is the Task on the sender's worklist about a referral that waits: of that nothing else is stored.
fn holds(index: &[Index], urn: &str) -> bool {
    let is = |name: &str, value: &str| {
        index.iter().any(|i| matches!(i, Index::Token { param, code, .. } if *param == name && code == value))
    };
    is("code", "consultation-missing") && is("identifier", urn)
}

fn is_abort(index: &[Index]) -> bool {
    index
        .iter()
        .any(|i| matches!(i, Index::Token { param: "code", system, code } if system == TASK_CODE && code == "abort"))
}

fn code<'a>(index: &'a [Index], name: &str) -> Option<&'a str> {
    index.iter().find_map(|i| match i {
        Index::Token { param, code, .. } if *param == name => Some(code.as_str()),
        _ => None,
    })
}
