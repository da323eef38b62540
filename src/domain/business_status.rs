//! `Task.businessStatus`: what R4's statuses have no word for, and beside which of them each word can stand. One table.

use std::fmt;

use super::task::Status::{self, Accepted, Cancelled, Completed, Failed, InProgress, OnHold, Received, Rejected};

/// A code of our CodeSystem `business-status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BusinessStatus {
    /// Sent on to another unit (vidareskickad): this errand ends, that unit's goes on.
    Redirected,
    /// Some areas are taken and others are not; each has a Task of its own.
    PartlyAccepted,
    /// Ended with some of it done.
    PartlyFulfilled,
    /// The patient did not come (uteblev).
    NoShow,
    /// A first time is booked.
    Booked,
    /// Advice is given, and the patient is not taken over.
    Consultation,
    DeclinedByPatient,
}

use BusinessStatus::{Booked, Consultation, DeclinedByPatient, NoShow, PartlyAccepted, PartlyFulfilled, Redirected};

/// Each word with the statuses beside which it can stand.
const TABLE: [(BusinessStatus, &str, &[Status]); 7] = [
    (Redirected, "redirected", &[Rejected]),
    (PartlyAccepted, "partly-accepted", &[OnHold, Accepted, InProgress]),
    (PartlyFulfilled, "partly-fulfilled", &[InProgress, Completed, Failed, Cancelled]),
    (NoShow, "no-show", &[OnHold, Accepted, InProgress, Completed, Failed, Cancelled]),
    (Booked, "booked", &[Received, OnHold, Accepted, InProgress]),
    (Consultation, "consultation", &[Accepted, InProgress, Completed]),
    (DeclinedByPatient, "declined-by-patient", &[OnHold, Accepted, InProgress, Completed, Rejected, Failed, Cancelled]),
];

impl BusinessStatus {
    pub const ALL: [Self; 7] =
        [Redirected, PartlyAccepted, PartlyFulfilled, NoShow, Booked, Consultation, DeclinedByPatient];

    pub fn code(self) -> &'static str {
        TABLE.iter().find(|row| row.0 == self).map_or("", |row| row.1)
    }

    pub fn parse(code: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.1 == code).map(|row| row.0)
    }

    /// The statuses beside which it can stand.
    pub fn beside(self) -> &'static [Status] {
        TABLE.iter().find(|row| row.0 == self).map_or(&[], |row| row.2)
    }

    /// Whether it follows from what was decided, and cannot be said by itself.
    pub fn follows(self) -> bool {
        matches!(self, Redirected | PartlyAccepted)
    }
}

impl fmt::Display for BusinessStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every word beside every status, spelt out a second time.
    #[test]
    fn each_word_stands_beside_the_statuses_that_the_design_says() {
        let expected = [
            (Redirected, "rejected"),
            (PartlyAccepted, "on-hold accepted in-progress"),
            (PartlyFulfilled, "in-progress completed failed cancelled"),
            (NoShow, "on-hold accepted in-progress completed failed cancelled"),
            (Booked, "received on-hold accepted in-progress"),
            (Consultation, "accepted in-progress completed"),
            (DeclinedByPatient, "on-hold accepted in-progress completed rejected failed cancelled"),
        ];
        for (word, statuses) in expected {
            let beside: Vec<&str> = word.beside().iter().map(|s| s.code()).collect();
            assert_eq!(beside.join(" "), statuses, "{word}");
        }
        assert_eq!(TABLE.map(|row| row.0), BusinessStatus::ALL);
    }

    #[test]
    fn the_code_system_has_these_words_and_no_others() {
        let system = include_str!("../../profiles/CodeSystem-business-status.json");
        let system: serde_json::Value = serde_json::from_str(system).unwrap();
        let known: Vec<&str> = system["concept"].as_array().unwrap().iter().flat_map(|c| c["code"].as_str()).collect();
        let ours: Vec<&str> = BusinessStatus::ALL.iter().map(|word| word.code()).collect();
        assert_eq!(ours, known);
        assert!(ours.iter().all(|code| BusinessStatus::parse(code).is_some_and(|word| word.code() == *code)));
    }
}
