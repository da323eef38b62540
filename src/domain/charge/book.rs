//! What all moves of a patient come to: who had which area from when to when, and by which exchange.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Move, Step};

/// A unit's charge of an area, from one moment to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The move that began it: its id.
    pub id: Uuid,
    pub area: String,
    pub unit: String,
    pub exchange: Option<Uuid>,
    pub from: DateTime<Utc>,
    /// The moment from which it is no more.
    pub to: Option<DateTime<Utc>>,
    /// Which move began and which ended it, by their place among all.
    began: usize,
    ended: Option<usize>,
}

impl Charge {
    pub fn is_open(&self) -> bool {
        self.to.is_none()
    }

    pub fn holds_at(&self, at: DateTime<Utc>) -> bool {
        self.from <= at && self.to.is_none_or(|to| at < to)
    }
}

/// What all moves of a patient come to, in the order in which they were made. What a document that was entered in error said
/// never happened.
pub fn charges(moves: &[Move]) -> Vec<Charge> {
    let is_void = |origin: Uuid| moves.iter().any(|m| m.step == Step::Void && m.origin == origin);
    let valid: Vec<&Move> = moves.iter().filter(|m| m.step != Step::Void && !is_void(m.origin)).collect();
    let mut book = Book { moves: &valid, charges: Vec::new() };
    for at in 0..valid.len() {
        book.apply(at);
    }
    book.charges
}

/// Area and unit of what was given away by that document and was the giver's: to agree that another should have it is not that.
pub fn given(moves: &[Move], origin: Uuid) -> Vec<(String, String)> {
    let gave = |c: &Charge| {
        let by = |m: &&Move| m.origin == origin && m.step == Step::Gives && m.area == c.area && m.unit == c.unit;
        moves.iter().filter(by).any(|m| Some(m.at) == c.to)
    };
    charges(moves).into_iter().filter(gave).map(|c| (c.area, c.unit)).collect()
}

struct Book<'m> {
    moves: &'m [&'m Move],
    charges: Vec<Charge>,
}

impl Book<'_> {
    fn apply(&mut self, at: usize) {
        let Some(step) = self.moves.get(at).copied() else { return };
        match step.step {
            Step::States if self.is_free(step) => self.open(at, step),
            Step::States | Step::Void => {}
            Step::Lapses => self.close(at, step, |began| began.step == Step::States && began.origin == step.origin),
            Step::Takes => {
                self.close(at, step, |_| true);
                self.open(at, step);
            }
            Step::Gives => self.close(at, step, |_| true),
            Step::Returns => {
                let before = self.moves.iter().take(at).rposition(|m| is_same(m, step) && m.step == Step::Takes);
                let open = self.charges.iter().any(|c| c.is_open() && Some(c.began) == before);
                self.close(at, step, |began| began.step == Step::Takes && began.origin == step.origin);
                // What it had already when it said yes, it has still.
                let had = self.charges.iter().any(|c| c.ended == before && before.is_some() && c.unit == step.unit);
                if open && had {
                    self.open(at, step);
                }
            }
            Step::Regains => {
                let gave = self.moves.iter().take(at).rposition(|m| is_same(m, step) && m.step == Step::Gives);
                let had = gave.is_some()
                    && self.charges.iter().any(|c| c.ended == gave && c.unit == step.unit && c.area == step.area);
                // Only what came back: what the unit that took it has given on is somebody else's.
                let came_back = self.charges.iter().any(|c| {
                    let by = c.ended.filter(|ended| gave.is_some_and(|gave| *ended > gave));
                    c.area == step.area
                        && by
                            .and_then(|by| self.moves.get(by))
                            .is_some_and(|m| m.step == Step::Returns && m.origin == step.origin)
                });
                let has = self.charges.iter().any(|c| c.is_open() && c.area == step.area && c.unit == step.unit);
                if !has && ((had && came_back) || self.is_free(step)) {
                    self.open(at, step);
                }
            }
        }
    }

    /// Nobody has the area by what came under the same number, nor the unit itself by any. Of two numbers that turn out to be one
    /// person's, each may have given it to somebody who knew nothing of the other: nobody loses it by that, and it is shared.
    fn is_free(&self, step: &Move) -> bool {
        let is_under_same = |c: &Charge| self.moves.get(c.began).is_some_and(|m| m.patient == step.patient);
        let is_in_the_way = |c: &&Charge| c.unit == step.unit || is_under_same(c);
        !self.charges.iter().filter(|c| c.is_open() && c.area == step.area).any(|c| is_in_the_way(&c))
    }

    fn open(&mut self, at: usize, step: &Move) {
        self.charges.push(Charge {
            id: step.id,
            area: step.area.clone(),
            unit: step.unit.clone(),
            exchange: step.exchange,
            from: step.at,
            to: None,
            began: at,
            ended: None,
        });
    }

    /// Ends the open charge of the step's unit in its area, if it began as asked.
    fn close(&mut self, at: usize, step: &Move, is_meant: impl Fn(&Move) -> bool) {
        for charge in self.charges.iter_mut().filter(|c| c.to.is_none() && c.area == step.area && c.unit == step.unit) {
            if self.moves.get(charge.began).is_some_and(|began| is_meant(began)) {
                charge.to = Some(step.at);
                charge.ended = Some(at);
            }
        }
    }
}

/// Whether two moves are of the same exchange, area and unit.
fn is_same(one: &Move, other: &Move) -> bool {
    one.origin == other.origin && one.area == other.area && one.unit == other.unit
}
