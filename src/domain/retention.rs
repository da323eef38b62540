//! How long things are kept: rules as data, held against what the law demands at least, and when something of a rule is due.

use chrono::{DateTime, Days, Months, Utc};

use super::Kind;

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// An exchange with everything of it: documents, resources in all versions, deliveries, answers.
    Exchange,
    /// The bytes of deliveries that have ended. The resources they were made of stay.
    DeliveryBody,
    /// The bytes of partners' answers that were applied.
    Inbound,
    /// Receipts kept for an Idempotency-Key.
    Answer,
    /// What the audit log says of an exchange that was removed, beside who did what and when.
    AuditPayload,
}

impl What {
    pub const ALL: [Self; 5] = [Self::Exchange, Self::DeliveryBody, Self::Inbound, Self::Answer, Self::AuditPayload];

    pub fn code(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::DeliveryBody => "delivery-body",
            Self::Inbound => "inbound",
            Self::Answer => "answer",
            Self::AuditPayload => "audit-payload",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|what| what.code() == code)
    }

    /// What nobody may go below, and by which text: a journal for ten years after its last entry, the log for five, copies for
    /// as long as a partner may ask for them again.
    fn least(self) -> (Keep, &'static str) {
        match self {
            Self::Exchange => (Keep { years: 10, days: 0 }, "PDL (2008:355) 3 kap. 17 §"),
            Self::AuditPayload => (Keep { years: 5, days: 0 }, "HSLF-FS 2016:40 4 kap. 9 §"),
            Self::DeliveryBody | Self::Inbound | Self::Answer => (
                Keep { years: 0, days: 30 },
                "deliveries are tried for more than eight days and may be asked for again",
            ),
        }
    }
}

/// A time in years and days, by the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    pub years: u32,
    pub days: u32,
}

/// Longer than anything is kept.
const MOST_YEARS: u32 = 200;

impl Keep {
    /// What was last touched before this is due. `None`: so long ago that no calendar has it.
    pub fn cutoff(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        now.checked_sub_months(Months::new(self.years.checked_mul(12)?))?.checked_sub_days(Days::new(self.days.into()))
    }

    /// Whether it is at least as long, whatever years have leap days.
    fn covers(self, least: Self) -> bool {
        let days = |years: u32, of_year: u64, days: u32| u64::from(years) * of_year + u64::from(days);
        let has_years = self.years >= least.years
            && days(self.years.saturating_sub(least.years), 365, self.days) >= u64::from(least.days);
        has_years || days(self.years, 365, self.days) >= days(least.years, 366, least.days)
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub name: String,
    pub what: What,
    /// Of exchanges: which kinds.
    pub kinds: Vec<Kind>,
    pub keep: Keep,
    /// The law or decision it rests on, for whoever reads a stub.
    pub basis: String,
}

/// Rules that are complete and lawful.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    version: String,
    rules: Vec<Rule>,
}

impl Rules {
    /// Everything that is wrong with them.
    pub fn check(version: String, rules: Vec<Rule>) -> Result<Self, Vec<String>> {
        let mut wrong = Vec::new();
        if version.trim().is_empty() {
            wrong.push("version is empty: a stub says by which version of the rules something went".to_owned());
        }
        for (index, rule) in rules.iter().enumerate() {
            let name = format!("rule {} ({})", index + 1, rule.name);
            let (least, basis) = rule.what.least();
            if rule.name.trim().is_empty() || rules.iter().filter(|r| r.name == rule.name).count() > 1 {
                wrong.push(format!("{name}: the name is empty or stands twice"));
            }
            if rule.keep.years > MOST_YEARS || rule.keep.days > MOST_YEARS * 366 {
                wrong.push(format!("{name}: more than {MOST_YEARS} years"));
            } else if !rule.keep.covers(least) {
                let (years, days) = (least.years, least.days);
                wrong.push(format!("{name}: shorter than {years} years and {days} days ({basis})"));
            }
            if rule.basis.trim().is_empty() {
                wrong.push(format!("{name}: basis is empty: say which law or decision it rests on"));
            }
            if (rule.what == What::Exchange) == rule.kinds.is_empty() {
                wrong.push(format!("{name}: kinds are given for exchanges, and only for them"));
            }
        }
        for kind in Kind::ALL {
            let of_kind = |rule: &&Rule| rule.what == What::Exchange && rule.kinds.contains(&kind);
            match rules.iter().filter(of_kind).count() {
                1 => {}
                count => wrong.push(format!("exchanges of kind {kind} have {count} rules instead of one")),
            }
        }
        for what in What::ALL.into_iter().filter(|what| *what != What::Exchange) {
            let count = rules.iter().filter(|rule| rule.what == what).count();
            if count != 1 {
                wrong.push(format!("{} has {count} rules instead of one", what.code()));
            }
        }
        if wrong.is_empty() { Ok(Self { version, rules }) } else { Err(wrong) }
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// How long the log's payloads are kept.
    pub fn of_log(&self) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.what == What::AuditPayload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lawful() -> Vec<Rule> {
        let rule = |what: What, years, days| Rule {
            name: what.code().into(),
            what,
            kinds: if what == What::Exchange { Kind::ALL.to_vec() } else { Vec::new() },
            keep: Keep { years, days },
            basis: "law".into(),
        };
        vec![
            rule(What::Exchange, 10, 0),
            rule(What::DeliveryBody, 0, 400),
            rule(What::Inbound, 0, 400),
            rule(What::Answer, 0, 30),
            rule(What::AuditPayload, 5, 0),
        ]
    }

    #[test]
    fn a_journal_shorter_than_ten_years_and_a_log_shorter_than_five_are_refused() {
        assert!(Rules::check("1".into(), lawful()).is_ok());
        for (what, keep) in [
            (What::Exchange, Keep { years: 9, days: 365 }),
            (What::Exchange, Keep { years: 0, days: 3650 }),
            (What::AuditPayload, Keep { years: 4, days: 364 }),
            (What::DeliveryBody, Keep { years: 0, days: 29 }),
            (What::Exchange, Keep { years: u32::MAX, days: 0 }),
        ] {
            let mut rules = lawful();
            rules.iter_mut().filter(|rule| rule.what == what).for_each(|rule| rule.keep = keep);
            assert!(Rules::check("1".into(), rules).is_err(), "{what:?} {keep:?}");
        }
        let mut longer = lawful();
        longer[0].keep = Keep { years: 0, days: 3661 };
        assert!(Rules::check("1".into(), longer).is_ok());
    }

    #[test]
    fn what_has_no_rule_or_two_is_named() {
        let wrong = Rules::check("1".into(), lawful()[1..].to_vec()).unwrap_err().join("\n");
        assert!(wrong.contains("referral") && wrong.contains("rehab-plan"), "{wrong}");
        let mut twice = lawful();
        twice.push(Rule { name: "again".into(), ..twice[4].clone() });
        assert!(Rules::check("1".into(), twice).unwrap_err()[0].contains("audit-payload has 2"));
    }

    #[test]
    fn years_are_the_calendars() {
        let now: DateTime<Utc> = "2036-02-29T12:00:00Z".parse().unwrap();
        assert_eq!(Keep { years: 10, days: 0 }.cutoff(now).unwrap().to_rfc3339(), "2026-02-28T12:00:00+00:00");
        assert_eq!(Keep { years: 0, days: 30 }.cutoff(now).unwrap().to_rfc3339(), "2036-01-30T12:00:00+00:00");
    }
}
