//! Spärr: whose documentation a patient has closed to whom, and the one rule that says whether a reader may see it. Pure.
//!
//! An inner block closes the documentation of a unit to every other unit, within its care provider and outside (PDL 4 kap.
//! 4 §); an outer block closes that of a care provider to every other provider (LSVOD 2 kap. 3 §). Nothing opens what is
//! closed but that the block is lifted: no consent (LSVOD 3 kap. 7 §) and no emergency. What is not known counts against the
//! reader. That a guardian cannot close a child's data is decided where the block is registered: nothing here knows an age.

/// What a delivery that a block holds says about itself.
pub const HELD: &str = "spärr: sänds av sig själv när spärren hävs | block: sent by itself when the block is lifted";

/// Whose documentation is closed. HSA-ids in upper case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// A unit's, to every other unit.
    Inner { unit: String, provider: String },
    /// A care provider's, to every other provider.
    Outer { provider: String },
}

impl Scope {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Inner { .. } => "inner",
            Self::Outer { .. } => "outer",
        }
    }

    /// The provider whose data it is: its units, and nobody else's, register, read and lift it.
    pub fn provider(&self) -> &str {
        match self {
            Self::Inner { provider, .. } | Self::Outer { provider } => provider,
        }
    }

    pub fn unit(&self) -> Option<&str> {
        match self {
            Self::Inner { unit, .. } => Some(unit),
            Self::Outer { .. } => None,
        }
    }
}

/// When what is closed was documented, in milliseconds since 1970, both ends included; `None`: without an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Period {
    pub from: Option<i64>,
    pub to: Option<i64>,
}

/// A block, as far as the rule needs it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    pub scope: Scope,
    pub period: Period,
}

/// Where documentation comes from. What is not known is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Origin {
    pub unit: Option<String>,
    pub provider: Option<String>,
    /// The first and last moment at which it was documented.
    pub documented: Option<(i64, i64)>,
}

/// Who wants to see it. A registry has neither unit nor provider.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Reader {
    pub unit: Option<String>,
    pub provider: Option<String>,
}

impl Rule {
    /// Whether this block keeps that documentation from that reader.
    pub fn withholds(&self, origin: &Origin, reader: &Reader) -> bool {
        self.covers(origin) && !self.spares(reader) && !is_own(origin, reader)
    }

    /// Whether the documentation is, or could be, what is closed.
    fn covers(&self, origin: &Origin) -> bool {
        let period = origin.documented.is_none_or(|(first, last)| {
            self.period.from.is_none_or(|from| last >= from) && self.period.to.is_none_or(|to| first <= to)
        });
        let may_be = |known: &Option<String>, closed: &str| known.as_deref().is_none_or(|known| same(known, closed));
        let place = match &self.scope {
            // A unit that is known decides, whatever provider it had when.
            Scope::Inner { unit, provider } => match &origin.unit {
                Some(known) => same(known, unit),
                None => may_be(&origin.provider, provider),
            },
            Scope::Outer { provider } => may_be(&origin.provider, provider),
        };
        period && place
    }

    /// Whether the block does not speak of the reader: the blocked unit itself, or a unit of the blocked provider.
    fn spares(&self, reader: &Reader) -> bool {
        let is = |known: &Option<String>, spared: &str| known.as_deref().is_some_and(|known| same(known, spared));
        match &self.scope {
            Scope::Inner { unit, .. } => is(&reader.unit, unit),
            Scope::Outer { provider } => is(&reader.provider, provider),
        }
    }
}

/// A unit always sees its own.
fn is_own(origin: &Origin, reader: &Reader) -> bool {
    matches!((&origin.unit, &reader.unit), (Some(wrote), Some(reads)) if same(wrote, reads))
}

fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// Whether documentation is kept from a reader by any of these blocks.
pub fn is_withheld<'a>(rules: impl IntoIterator<Item = &'a Rule>, origin: &Origin, reader: &Reader) -> bool {
    rules.into_iter().any(|rule| rule.withholds(origin, reader))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Provider P has the units A and B, provider Q has C.
    fn reader(unit: &str) -> Reader {
        let provider = match unit {
            "A" | "B" => Some("P"),
            "C" => Some("Q"),
            _ => None,
        };
        Reader { unit: (!unit.is_empty()).then(|| unit.to_owned()), provider: provider.map(str::to_owned) }
    }

    fn origin(unit: &str, provider: &str, documented: Option<(i64, i64)>) -> Origin {
        let known = |text: &str| (text != "?").then(|| text.to_owned());
        Origin { unit: known(unit), provider: known(provider), documented }
    }

    fn inner(unit: &str) -> Scope {
        Scope::Inner { unit: unit.into(), provider: "P".into() }
    }

    fn outer(provider: &str) -> Scope {
        Scope::Outer { provider: provider.into() }
    }

    /// Readers, in this order: A and B of P, C of Q, X that the directory does not know, a registry without a unit.
    const READERS: [&str; 5] = ["A", "B", "C", "X", ""];

    #[test]
    fn the_decision_table() {
        let table: &[(Scope, (&str, &str), &str)] = &[
            // An inner block of A: every unit but A, inside and outside; B's documentation is not what it closes.
            (inner("A"), ("A", "P"), ".####"),
            (inner("A"), ("B", "P"), "....."),
            (inner("A"), ("C", "Q"), "....."),
            // Of whom nothing is known, or only that it is of P, it may be A's: closed to all but A.
            (inner("A"), ("?", "P"), ".####"),
            (inner("A"), ("?", "Q"), "....."),
            (inner("A"), ("?", "?"), ".####"),
            // The unit is known and its provider is not: the unit decides.
            (inner("A"), ("A", "?"), ".####"),
            (inner("A"), ("B", "?"), "....."),
            // An outer block of P: every other provider, and whoever has none that is known.
            (outer("P"), ("A", "P"), "..###"),
            (outer("P"), ("B", "P"), "..###"),
            (outer("P"), ("C", "Q"), "....."),
            (outer("P"), ("?", "P"), "..###"),
            (outer("P"), ("?", "?"), "..###"),
            // A unit whose provider is not known may be one of P's. C sees its own all the same, and so does X.
            (outer("P"), ("C", "?"), "...##"),
            (outer("P"), ("X", "?"), "..#.#"),
            (outer("Q"), ("C", "Q"), "##.##"),
        ];
        for (scope, (unit, provider), expected) in table {
            let rule = Rule { scope: scope.clone(), period: Period::default() };
            let said: String = READERS
                .iter()
                .map(|who| if rule.withholds(&origin(unit, provider, None), &reader(who)) { '#' } else { '.' })
                .collect();
            assert_eq!(said, *expected, "{scope:?} {unit} {provider}");
        }
    }

    #[test]
    fn only_what_was_documented_in_the_period_is_closed_and_what_has_no_time_is() {
        let rule = |from, to| Rule { scope: inner("A"), period: Period { from, to } };
        for (from, to, documented, expected) in [
            (Some(10), Some(20), Some((10, 10)), true),
            (Some(10), Some(20), Some((20, 25)), true),
            (Some(10), Some(20), Some((5, 30)), true),
            (Some(10), Some(20), Some((5, 9)), false),
            (Some(10), Some(20), Some((21, 21)), false),
            (Some(10), None, Some((9, 9)), false),
            (Some(10), None, Some((1_000, 1_000)), true),
            (None, Some(20), Some((-5, -5)), true),
            (None, Some(20), Some((21, 22)), false),
            (None, None, Some((0, 0)), true),
            (Some(10), Some(20), None, true),
        ] {
            let said = rule(from, to).withholds(&origin("A", "P", documented), &reader("B"));
            assert_eq!(said, expected, "{from:?} {to:?} {documented:?}");
        }
    }

    fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
        prop::option::of(prop::sample::select(words).prop_map(str::to_owned))
    }

    fn rules() -> impl Strategy<Value = Rule> {
        let unit = prop::sample::select(&["A", "B", "C"][..]);
        let provider = prop::sample::select(&["P", "Q"][..]);
        let end = || prop::option::of(-3..3_i64);
        (prop::bool::ANY, unit, provider, end(), end()).prop_map(|(is_inner, unit, provider, from, to)| {
            let provider = provider.to_owned();
            let scope = if is_inner { Scope::Inner { unit: unit.into(), provider } } else { Scope::Outer { provider } };
            Rule { scope, period: Period { from, to } }
        })
    }

    fn origins() -> impl Strategy<Value = Origin> {
        let times = prop::option::of((-3..3_i64, 0..3_i64).prop_map(|(at, more)| (at, at + more)));
        (one_of(&["A", "B", "C", "a"]), one_of(&["P", "Q", "p"]), times)
            .prop_map(|(unit, provider, documented)| Origin { unit, provider, documented })
    }

    fn readers() -> impl Strategy<Value = Reader> {
        (one_of(&["A", "B", "C", "X"]), one_of(&["P", "Q"])).prop_map(|(unit, provider)| Reader { unit, provider })
    }

    proptest! {
        #[test]
        fn knowing_less_never_shows_more(rule in rules(), origin in origins(), reader in readers()) {
            // Of an origin that is withheld, less is known: it stays withheld, unless the reader alone could have written it.
            if rule.withholds(&origin, &reader) {
                for less in [
                    Origin { documented: None, ..origin.clone() },
                    Origin { provider: None, ..origin.clone() },
                ] {
                    prop_assert!(rule.withholds(&less, &reader), "{less:?}");
                }
                for nobody in [Reader { provider: None, ..reader.clone() }, Reader::default()] {
                    prop_assert!(rule.withholds(&origin, &nobody), "{nobody:?}");
                }
            }
        }

        #[test]
        fn a_unit_always_sees_its_own(all in prop::collection::vec(rules(), 0..6), mut origin in origins(), reader in readers()) {
            origin.unit.clone_from(&reader.unit);
            if reader.unit.is_some() {
                prop_assert!(!is_withheld(&all, &origin, &reader));
            }
        }

        #[test]
        fn one_more_block_never_shows_more(all in prop::collection::vec(rules(), 0..6), one in rules(), origin in origins(), reader in readers()) {
            let before = is_withheld(&all, &origin, &reader);
            let after = is_withheld(all.iter().chain([&one]), &origin, &reader);
            prop_assert!(!before || after);
        }

        #[test]
        fn a_registry_sees_nothing_that_any_unit_is_kept_from(rule in rules(), origin in origins(), reader in readers()) {
            prop_assert!(!rule.withholds(&origin, &reader) || rule.withholds(&origin, &Reader::default()));
        }
    }
}
