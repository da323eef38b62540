//! Units of care and the directory that says which system each of them uses.

use chrono::NaiveDate;

/// The level of care a unit belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    Specialist,
    Primary,
    Municipality,
    External,
}

impl Level {
    pub const ALL: [Self; 4] = [Self::Specialist, Self::Primary, Self::Municipality, Self::External];

    pub fn code(self) -> &'static str {
        match self {
            Self::Specialist => "specialist",
            Self::Primary => "primary",
            Self::Municipality => "municipality",
            Self::External => "external",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|l| l.code() == code)
    }
}

/// One row of `units.csv`. HSA-ids are kept in upper case, because they are compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    pub hsa_id: String,
    pub name: String,
    pub care_provider: String,
    pub orgnr: String,
    pub level: Level,
    pub region: String,
    /// The partner (a system) that serves the unit.
    pub partner: String,
    pub valid_from: Option<NaiveDate>,
    pub valid_to: Option<NaiveDate>,
}

impl Unit {
    pub fn is_open(&self, on: NaiveDate) -> bool {
        self.valid_from.is_none_or(|from| from <= on) && self.valid_to.is_none_or(|to| on <= to)
    }
}

/// Every unit the gateway knows.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    units: Vec<Unit>,
}

/// Why a unit cannot be sent to or from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoUnit {
    /// No row has this HSA-id; the nearest that exists, if any is near.
    Unknown {
        nearest: Option<String>,
    },
    Closed {
        since: Option<NaiveDate>,
    },
}

impl Directory {
    pub fn new(mut units: Vec<Unit>) -> Self {
        for unit in &mut units {
            unit.hsa_id = unit.hsa_id.to_ascii_uppercase();
        }
        units.sort_by(|a, b| a.hsa_id.cmp(&b.hsa_id));
        Self { units }
    }

    pub fn find(&self, hsa_id: &str) -> Option<&Unit> {
        let wanted = hsa_id.to_ascii_uppercase();
        self.units.binary_search_by(|u| u.hsa_id.cmp(&wanted)).ok().and_then(|i| self.units.get(i))
    }

    /// The unit, if it is open on that day.
    pub fn open(&self, hsa_id: &str, on: NaiveDate) -> Result<&Unit, NoUnit> {
        match self.find(hsa_id) {
            Some(unit) if unit.is_open(on) => Ok(unit),
            Some(unit) => Err(NoUnit::Closed { since: unit.valid_to }),
            None => Err(NoUnit::Unknown { nearest: self.nearest(hsa_id) }),
        }
    }

    /// The units a partner's system serves.
    pub fn of_partner<'a>(&'a self, partner: &'a str) -> impl Iterator<Item = &'a Unit> {
        self.units.iter().filter(move |u| u.partner == partner)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Unit> {
        self.units.iter()
    }

    fn nearest(&self, hsa_id: &str) -> Option<String> {
        let wanted = hsa_id.to_ascii_uppercase();
        self.units
            .iter()
            .map(|u| (distance(&u.hsa_id, &wanted), &u.hsa_id))
            .min()
            .filter(|(d, _)| *d <= 3)
            .map(|(_, id)| id.clone())
    }
}

/// Edit distance of two short words, for "did you mean".
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let best = (diagonal + usize::from(x != *y)).min(left + 1).min(*cell + 1);
            diagonal = *cell;
            *cell = best;
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(hsa_id: &str, valid_to: Option<NaiveDate>) -> Unit {
        Unit {
            hsa_id: hsa_id.into(),
            name: "Vårdcentralen Norr".into(),
            care_provider: "SE2321000131-E000000000001".into(),
            orgnr: "2321000131".into(),
            level: Level::Primary,
            region: "14".into(),
            partner: "norr".into(),
            valid_from: None,
            valid_to,
        }
    }

    #[test]
    fn a_unit_is_found_whatever_the_case_and_refused_when_it_has_closed() {
        let day = |s: &str| s.parse::<NaiveDate>().unwrap();
        let directory =
            Directory::new(vec![unit("SE2321000131-e202", None), unit("SE2321000131-E303", Some(day("2026-06-30")))]);
        assert!(directory.open("se2321000131-E202", day("2026-11-01")).is_ok());
        assert!(directory.open("SE2321000131-E303", day("2026-06-30")).is_ok());
        assert_eq!(
            directory.open("SE2321000131-E303", day("2026-07-01")),
            Err(NoUnit::Closed { since: Some(day("2026-06-30")) })
        );
        assert_eq!(
            directory.open("SE2321000131-E203", day("2026-07-01")),
            Err(NoUnit::Unknown { nearest: Some("SE2321000131-E202".into()) })
        );
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("DV199", "DV133"), 2);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
