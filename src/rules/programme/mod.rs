//! A programme of prehabilitation as data: whom it is for, its modules, messages, clocks and steps, read from a PlanDefinition.
//!
//! Kronoberg's guide contradicts itself, and is silent, in places (the numbers are those of the list of contradictions that was
//! made when it was read). What was decided, and where:
//!
//! 1. When it ends: by the step `close` and nothing else. Day 62 and day 90 are reminders (`calendar`), treatment start makes
//!    closing due at once, and two years after the earliest moment everything goes, whoever forgot. From treatment start on no
//!    message goes out, day 48's neither: the step `close` is then due, and whoever takes it talks with the patient (LIF-8).
//! 2. ”inom 2 veckor” (NOT-3) and ”om 2 veckor” (NOT-11): day 62 is the last day to close.
//! 3. Three sends at the start (NOT-1) and two texts: at start-up the text of ”Nytt meddelande” (NOT-7) goes out, day 1 and day 3
//!    have their own.
//! 5. ”från det att man startat upp patienten i ett moment” (PUR-2): the earliest moment counts for all, and the programme's own
//!    start is a moment. The last day is the one before two years are full.
//! 6. ”i samråd med patienten” (LIF-8): whoever closes says whether the patient took part, and why not; the two years ask nobody.
//! 15. ”över 65” (ELG-7) is strict; below it nobody rates, so a frailty that nobody knows of excludes nobody (ELG-5).
//! 16. Hand-over is optional; until it is accepted the one who started is responsible (`domain::programme`).
//! 17. Two check-ins a week: Mondays and Thursdays, in the data. They do not move for holidays: each may be made until the next.
//! 21. What the patient answers in the evaluation is never taken in here: only that there was one.

mod calendar;
mod copied;
mod definition;
mod eligible;
mod proposal;

pub use calendar::{Course, Due, Entry, between, limit, next};
pub use copied::is_copied;
pub use definition::is_programme;
pub use definition::{Citation, Criterion, Mark, Message, Module, Programme, Programmes, StepRule, Strictness};
pub use eligible::{Eligible, Verdict, age_on, judge};
pub use proposal::care_plan;

#[cfg(test)]
mod tests;
