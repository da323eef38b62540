//! Who is responsible, and why: a guideline's rules judged over an assessment of one patient. Pure.
//!
//! The rules are data (PlanDefinitions): which there are, what each says, when it applies and what it sets aside. Nothing here
//! knows one of them by name. What is here is how any rules combine:
//!
//! - A rule applies, does not, or cannot be judged: what was not said is unknown, and never false.
//! - A rule that applies sets aside those that it names.
//! - Criteria that are left and point at one side answer; criteria that point at different sides are a conflict, which a person
//!   decides. Where one that cannot be judged could change the answer, there is none yet, and what is missing is named: more
//!   that is said never turns one answer into another.
//! - Where no criterion applies, the area is not regulated here, and the reference says where it is.

mod answer;
mod assessment;
mod cases;
mod ended;
mod explain;
mod judge;
mod load;
mod offered;
mod page;
mod plan;
pub mod programme;
mod read;
mod set;
mod sets;

pub use answer::{shown, shown_set};
pub use assessment::{Assessment, Inputs};
pub use cases::{Case, check_cases};
pub use ended::{Following, on_ended};
pub use judge::{Aside, Finding, Judged, Unjudged, judge};
pub use offered::{Planned, Unusual, unusual};
pub use page::page;
pub use plan::care_plan;
pub use read::{TYPES as ASSESSMENT_TYPES, of_resources};
pub use set::{About, Group, Kind, Offer, Outcome, Profession, Responsible, Rule, RuleSet, Target};
pub use sets::{NoSet, RuleSets};

#[cfg(test)]
mod tests;
