//! Compares what a registry holds with what it would get now: the same rows, the same visibility, the same terms as an export.
//!
//! The digest of a resource is the SHA-256 of its line, without the line's end. Resources are put in ranges by the SHA-256 of
//! their id, in hex: a range is the first digits of it, so `` is all of a type and `a3` a 256th. The digest of a range is the
//! sum of the digests of its resources, as whole numbers, modulo 2^256: it does not depend on their order, so neither side has to
//! sort, and ranges are added up to the wider range that they are in.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::begin::{is_actor, may_read};
use super::cohort;
use super::outgoing::Line;
use super::request::Request;
use super::spool::hex;
use super::terms::Terms;
use super::writing::read_filters;
use crate::Gateway;
use crate::access::Caller;
use crate::fhir::issue::{Code, Issue};
use crate::store::{Clause, List, Passed, Walk};
use crate::sync::Refusal;
use crate::sync::refusal::missing;

/// Digits of a range; more would be one resource each.
pub const MOST_DIGITS: usize = 4;

/// A sum of digests and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    pub count: u64,
    pub digest: [u8; 32],
}

impl Sum {
    /// Adds the digest of one resource: big-endian numbers, what goes beyond 256 bits is dropped.
    pub fn add(&mut self, digest: &[u8; 32]) {
        let mut carry = 0;
        for (ours, theirs) in self.digest.iter_mut().zip(digest).rev() {
            let sum = u16::from(*ours) + u16::from(*theirs) + carry;
            *ours = sum.to_be_bytes()[1];
            carry = sum >> 8;
        }
        self.count += 1;
    }

    pub fn hex(&self) -> String {
        hex(&self.digest)
    }
}

/// A range of a type's resources.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    pub resource_type: String,
    /// The first digits of the SHA-256 of the ids in it, in small letters.
    pub prefix: String,
}

/// What is to be compared.
#[derive(Debug, Clone, Default)]
pub struct Question {
    pub cohort: Option<String>,
    pub request: Request,
    /// How many digits the ranges have that are compared.
    pub digits: usize,
    /// What the registry holds. Ranges of a type that it does not name hold nothing.
    pub held: BTreeMap<Range, (u64, String)>,
    /// Only what is in these ranges; none: everything.
    pub within: BTreeSet<Range>,
    /// Resources of what differs are told one by one, so many of a range at most.
    pub list: bool,
}

/// A range that is not the same on both sides, as it is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub range: Range,
    pub ours: Sum,
    /// Ids and digests, where they were asked for and are few enough.
    pub resources: Option<Vec<(String, String)>>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Compared {
    pub differences: Vec<Difference>,
    /// Resources that were compared.
    pub resources: u64,
}

/// What is here in one range.
#[derive(Debug, Default)]
struct Here {
    sum: Sum,
    listed: Vec<(String, String)>,
}

/// Compares; only one at a time for a caller.
pub async fn verify(
    gateway: &Gateway,
    caller: &Caller,
    question: &Question,
    now: DateTime<Utc>,
) -> Result<Compared, Refusal> {
    let _one = gateway.exports.compare(caller.owner()).ok_or(Refusal::Busy)?;
    let members = match &question.cohort {
        Some(id) => {
            let cohort = cohort::of_caller(gateway, caller, id).ok_or_else(|| missing("Group"))?;
            Some(members(gateway, caller, cohort).await?)
        }
        None => None,
    };
    let mut compared = Compared::default();
    let seq = gateway.store.last_seq().await?;
    for kind in &question.request.types {
        if !may_read(caller, kind) {
            return Err(Refusal::Forbidden(Issue::error(
                Code::Forbidden,
                "range",
                format!("Behörigheten omfattar inte {kind}."),
                format!("The scopes do not cover {kind}."),
            )));
        }
        let Some(any_of) = read_filters(gateway, caller, &question.request, kind, now) else {
            return Err(missing("filter"));
        };
        let here = of_type(gateway, caller, question, kind, (seq, now), any_of, members.as_ref()).await?;
        compared.resources += here.values().map(|here| here.sum.count).sum::<u64>();
        compared.differences.extend(differences(question, kind, here));
    }
    Ok(compared)
}

async fn members(
    gateway: &Gateway,
    caller: &Caller,
    cohort: &crate::config::Cohort,
) -> Result<BTreeSet<String>, Refusal> {
    let (filter, criteria) = (caller.filter(), cohort::criteria(cohort));
    let (mut all, mut after) = (BTreeSet::new(), 0);
    loop {
        let (found, walked) = gateway.store.members(&filter, &criteria, None, after).await?;
        all.extend(found.into_iter().map(|found| found.patient));
        if walked.is_end {
            return Ok(all);
        }
        after = walked.position;
    }
}

async fn of_type(
    gateway: &Gateway,
    caller: &Caller,
    question: &Question,
    kind: &str,
    (seq, now): (i64, DateTime<Utc>),
    any_of: Vec<Vec<Clause>>,
    members: Option<&BTreeSet<String>>,
) -> Result<BTreeMap<String, Here>, Refusal> {
    let here: Arc<Mutex<BTreeMap<String, Here>>> = Arc::default();
    let digits = question.digits;
    let within: Arc<Vec<String>> = Arc::new(
        question.within.iter().filter(|range| range.resource_type == kind).map(|range| range.prefix.clone()).collect(),
    );
    let line = Line::of(kind, &question.request, &Terms::of(gateway, caller, now).joined_at(gateway, i64::MAX).await?);
    // Over all ranges of the type: what is listed is kept in memory until it is known what differs.
    let left = Arc::new(AtomicUsize::new(if question.list { gateway.config.export.verify_listed } else { 0 }));
    let mut walk = Walk {
        resource_type: kind.to_owned(),
        seq,
        since: None,
        since_at: None,
        until: None,
        of_patients: members.is_some() && !is_actor(kind),
        list: None::<List>,
        any_of,
        provenance: None,
        after: 0,
    };
    let members = Arc::new(members.filter(|_| !is_actor(kind)).cloned());
    let is_patient = kind == "Patient";
    loop {
        let (told, line, within) = (Arc::clone(&here), line.clone(), Arc::clone(&within));
        let (members, left) = (Arc::clone(&members), Arc::clone(&left));
        let pass = move |passed: Passed<'_>| {
            let Passed::Stands { id, patient, body, .. } = passed else { return ControlFlow::Continue(()) };
            let about = if is_patient { Some(id) } else { patient };
            let is_member = members.as_ref().as_ref().is_none_or(|all| about.is_some_and(|id| all.contains(id)));
            if let Some(written) = is_member.then(|| line.write(body)).flatten() {
                let id = line.known_as(id);
                let place = hex(&Sha256::digest(id.as_bytes()));
                let is_in = within.is_empty() || within.iter().any(|prefix| place.starts_with(prefix.as_str()));
                if let Some(prefix) = place.get(..digits).filter(|_| is_in) {
                    let digest: [u8; 32] = Sha256::digest(&written).into();
                    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                    let here = told.entry(prefix.to_owned()).or_default();
                    here.sum.add(&digest);
                    if left.load(Ordering::Relaxed) > 0 {
                        left.fetch_sub(1, Ordering::Relaxed);
                        here.listed.push((id.into_owned(), hex(&digest)));
                    }
                }
            }
            ControlFlow::Continue(())
        };
        let (pass, walked) = gateway.store.walk(&caller.filter(), walk.clone(), pass).await?;
        drop(pass);
        if walked.is_end {
            break;
        }
        walk.after = walked.position;
        tokio::task::yield_now().await;
    }
    let mut here = here.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut here))
}

/// Ranges that are in either place and not the same.
fn differences(question: &Question, kind: &str, mut here: BTreeMap<String, Here>) -> Vec<Difference> {
    let held = question.held.iter().filter(|(range, _)| range.resource_type == kind);
    let held: BTreeMap<&str, &(u64, String)> = held.map(|(range, what)| (range.prefix.as_str(), what)).collect();
    let mut prefixes: BTreeSet<String> = here.keys().cloned().collect();
    prefixes.extend(held.keys().map(|prefix| (*prefix).to_owned()));
    let nothing = (0, Sum::default().hex());
    let differs = prefixes.into_iter().filter_map(|prefix| {
        let Here { sum, listed } = here.remove(&prefix).unwrap_or_default();
        let theirs = held.get(prefix.as_str()).copied().unwrap_or(&nothing);
        if (theirs.0, theirs.1.as_str()) == (sum.count, sum.hex().as_str()) {
            return None;
        }
        let is_whole = question.list && listed.len() as u64 == sum.count;
        let range = Range { resource_type: kind.to_owned(), prefix };
        Some(Difference { range, ours: sum, resources: is_whole.then_some(listed) })
    });
    differs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_does_not_depend_on_the_order_and_carries_over_every_digit() {
        let digests: Vec<[u8; 32]> = (0..50_u8).map(|n| Sha256::digest([n]).into()).collect();
        let sum = |order: &mut dyn Iterator<Item = &[u8; 32]>| {
            let mut sum = Sum::default();
            order.for_each(|digest| sum.add(digest));
            sum
        };
        assert_eq!(sum(&mut digests.iter()), sum(&mut digests.iter().rev()));
        let mut most = Sum::default();
        most.add(&[0xff; 32]);
        let mut one = [0; 32];
        one[31] = 2;
        most.add(&one);
        let mut expected = [0; 32];
        expected[31] = 1;
        assert_eq!((most.digest, most.count), (expected, 2), "modulo 2^256");
    }
}
