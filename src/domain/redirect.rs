//! Who may send on (vidareskicka) what it was asked to do, and to whom. The rule is data; here it is decided. Pure.

use super::unit::{Level, Unit};

/// To which levels of care each level may send on, and how far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub levels: Vec<(Level, Vec<Level>)>,
    /// Whether only to units of the same region.
    pub same_region: bool,
    /// How often one request may be sent on.
    pub most: usize,
}

/// Why it may not be sent on there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barred {
    /// To the unit itself, or back to whoever asked: that is an answer.
    Back,
    /// To a unit that has sent it on itself.
    Again,
    Level,
    Region,
    TooOften,
}

impl Rule {
    /// `asked_by`: the unit that sent the request. `sent_on_by`: those who have sent it on already.
    pub fn allows(&self, from: &Unit, to: &Unit, asked_by: &str, sent_on_by: &[&str]) -> Result<(), Barred> {
        let is = |unit: &&str| unit.eq_ignore_ascii_case(&to.hsa_id);
        let levels =
            self.levels.iter().find(|(level, _)| *level == from.level).map_or(&[][..], |(_, to)| to.as_slice());
        if is(&from.hsa_id.as_str()) || is(&asked_by) {
            Err(Barred::Back)
        } else if sent_on_by.iter().any(is) {
            Err(Barred::Again)
        } else if sent_on_by.len() >= self.most {
            Err(Barred::TooOften)
        } else if !levels.contains(&to.level) {
            Err(Barred::Level)
        } else if self.same_region && from.region != to.region {
            Err(Barred::Region)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(id: &str, level: Level, region: &str) -> Unit {
        Unit {
            hsa_id: id.into(),
            name: id.into(),
            care_provider: "P".into(),
            orgnr: "1".into(),
            level,
            region: region.into(),
            partner: "p".into(),
            valid_from: None,
            valid_to: None,
        }
    }

    #[test]
    fn a_request_is_sent_on_along_the_levels_within_the_region_and_never_in_a_ring() {
        let rule =
            Rule { levels: vec![(Level::Primary, vec![Level::Primary, Level::External])], same_region: true, most: 2 };
        let norr = unit("NORR", Level::Primary, "14");
        let to = |id: &str, level, region: &str, by: &[&str]| rule.allows(&norr, &unit(id, level, region), "ASKER", by);
        assert_eq!(to("SYD", Level::Primary, "14", &[]), Ok(()));
        assert_eq!(to("LYMF", Level::External, "14", &["VÄST"]), Ok(()));
        assert_eq!(to("norr", Level::Primary, "14", &[]), Err(Barred::Back));
        assert_eq!(to("asker", Level::Primary, "14", &[]), Err(Barred::Back));
        assert_eq!(to("SYD", Level::Primary, "14", &["syd"]), Err(Barred::Again));
        assert_eq!(to("SYD", Level::Primary, "14", &["A", "B"]), Err(Barred::TooOften));
        assert_eq!(to("ONK", Level::Specialist, "14", &[]), Err(Barred::Level));
        assert_eq!(to("SYD", Level::Primary, "06", &[]), Err(Barred::Region));
        let other = rule.allows(&unit("KOM", Level::Municipality, "14"), &norr, "ASKER", &[]);
        assert_eq!(other, Err(Barred::Level), "a level that the rule does not name sends nothing on");
    }
}
