//! Whether what is planned is among what a level of care offers by the rules: the form, and for how long.

use super::set::{Group, Kind, Offer, Responsible, Rule, RuleSet};

/// An intervention as it is planned.
#[derive(Debug, Clone, Copy)]
pub struct Planned<'a> {
    pub area: &'a str,
    pub form: &'a str,
    pub level: Responsible,
    /// Days from the first to the last; none where it has no end.
    pub days: Option<i64>,
}

/// What the rules do not have.
#[derive(Debug, Clone, Copy)]
pub enum Unusual<'s> {
    /// The level does not offer the form in that area: the rule says what it does offer.
    Form(&'s Rule),
    /// It is offered for so many weeks.
    Length(&'s Rule, u32),
}

/// What of a planned intervention the guideline does not offer. A guideline that lists no forms for the area says nothing of them.
pub fn unusual<'s>(set: &'s RuleSet, planned: &Planned<'_>) -> Vec<Unusual<'s>> {
    let Some(group) = set.groups.iter().find(|g| g.is_area() && g.about.code() == planned.area) else {
        return Vec::new();
    };
    let offers: Vec<(&Rule, &Offer)> = offers(group, planned.level).collect();
    let of_form = || offers.iter().filter(|(_, offer)| offer.form == planned.form);
    if of_form().next().is_none() {
        return offers.first().map(|(rule, _)| Unusual::Form(rule)).into_iter().collect();
    }
    let is_other = |weeks: u32| planned.days.is_none_or(|days| !spans(days, weeks));
    let length = |(rule, offer): &(&'s Rule, &Offer)| {
        let weeks = offer.weeks.filter(|weeks| is_other(*weeks))?;
        Some(Unusual::Length(rule, weeks))
    };
    of_form().filter_map(length).collect()
}

/// What a level is said to offer without condition.
fn offers(group: &Group, level: Responsible) -> impl Iterator<Item = (&Rule, &Offer)> {
    let is_of = move |rule: &&Rule| {
        let names = rule.outcomes.iter().any(|outcome| outcome.to.responsible == level);
        rule.kind == Kind::Offer && names && !rule.is_conditional()
    };
    group.rules.iter().filter(is_of).flat_map(|rule| rule.offers.iter().map(move |offer| (rule, offer)))
}

/// Whether so many days from first to last are so many weeks: the last day may be that of the last occasion, the last of the last
/// week, or the same weekday as the first.
fn spans(days: i64, weeks: u32) -> bool {
    let whole = i64::from(weeks) * 7;
    (whole - 7..=whole).contains(&days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_weeks_are_twelve_however_the_last_day_is_counted() {
        for (days, is_twelve) in [(76, false), (77, true), (83, true), (84, true), (85, false)] {
            assert_eq!(spans(days, 12), is_twelve, "{days}");
        }
    }
}
