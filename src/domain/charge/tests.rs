//! The table cell by cell, what documents do one by one, and random histories against a model that knows no moves.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use super::*;
use crate::domain::task::Status;

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + chrono::TimeDelta::minutes(minute)
}

/// Every cell, spelt out a second time in words.
#[test]
fn every_cell_of_the_table_is_as_the_rules_say() {
    use Errand::{ActiveHandover, Consultation, Sip, Takeover};
    let said = |errand, answer: Answer, in_contact| -> String {
        let of = Status::ALL.into_iter().filter(|s| super::answer(errand, *s, in_contact) == answer);
        of.map(Status::code).collect::<Vec<_>>().join(" ")
    };
    for in_contact in [false, true] {
        assert_eq!(said(Takeover, Answer::Yes, in_contact), "accepted in-progress completed");
        assert_eq!(said(Takeover, Answer::No, in_contact), "rejected failed cancelled entered-in-error");
        assert_eq!(said(Takeover, Answer::Open, in_contact), "requested received on-hold");
        assert_eq!(said(Sip, Answer::Yes, in_contact), "accepted in-progress completed");
        assert_eq!(said(Sip, Answer::No, in_contact), "rejected failed cancelled entered-in-error");
        assert_eq!(said(Sip, Answer::Open, in_contact), "requested received on-hold");
        assert_eq!(said(Consultation, Answer::Yes, in_contact), "");
        assert_eq!(said(Consultation, Answer::Open, in_contact), "");
        assert_eq!(said(ActiveHandover, Answer::No, in_contact), "rejected failed cancelled entered-in-error");
    }
    assert_eq!(said(ActiveHandover, Answer::Yes, false), "");
    assert_eq!(said(ActiveHandover, Answer::Yes, true), "completed");
    assert_eq!(said(ActiveHandover, Answer::Open, true), "requested received on-hold accepted in-progress");
}

#[test]
fn two_numbers_that_turn_out_to_be_one_persons_take_nothing_from_anybody_and_what_is_given_away_is_given_under_both() {
    let step = |n: u128, patient: &str, step, unit: &str| Move {
        id: Uuid::from_u128(n),
        origin: Uuid::from_u128(n),
        exchange: None,
        at: at(n as i64),
        step,
        patient: patient.into(),
        area: "fatigue".into(),
        unit: unit.into(),
    };
    let mut moves = vec![step(1, "old", Step::States, "A"), step(2, "new", Step::States, "B")];
    assert_eq!(held(&moves, at(2))["fatigue"].iter().collect::<Vec<_>>(), ["A", "B"]);
    moves.push(step(3, "new", Step::States, "A"));
    assert_eq!(charges(&moves).len(), 2, "it has it already, by the other number");
    moves.extend([step(4, "new", Step::Takes, "C"), step(5, "new", Step::Gives, "A")]);
    assert_eq!(held(&moves, at(5))["fatigue"].iter().collect::<Vec<_>>(), ["B", "C"]);
}

/// A patient's moves as exchanges make them.
#[derive(Default)]
struct History {
    moves: Vec<Move>,
    minute: i64,
    /// The number that they come under.
    patient: String,
}

impl History {
    fn say(&mut self, origin: u128, said: &Said) {
        self.minute += 1;
        let origin = Uuid::from_u128(origin);
        let past: Vec<&Move> = self.moves.iter().filter(|m| m.origin == origin).collect();
        let had = given(&self.moves, origin);
        for (step, area, unit) in steps(&Said { had, ..said.clone() }, &past) {
            let id = Uuid::from_u128(1000 + self.moves.len() as u128);
            self.moves.push(Move {
                id,
                origin,
                exchange: Some(origin),
                at: at(self.minute),
                step,
                patient: self.patient.clone(),
                area,
                unit,
            });
        }
    }

    /// Who has each area now.
    fn now(&self) -> BTreeMap<String, BTreeSet<String>> {
        held(&self.moves, at(self.minute))
    }

    fn has(&self, area: &str) -> String {
        self.now().get(area).map_or(String::new(), |units| units.iter().cloned().collect::<Vec<_>>().join("+"))
    }
}

fn held(moves: &[Move], at: DateTime<Utc>) -> BTreeMap<String, BTreeSet<String>> {
    let mut held: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for charge in charges(moves).iter().filter(|c| c.holds_at(at)) {
        assert!(held.entry(charge.area.clone()).or_default().insert(charge.unit.clone()), "nobody has an area twice");
    }
    held
}

/// A referral of S's to P after which the responsibility is P's.
fn takeover(areas: &[&str], status: Status, speaks: bool) -> Said {
    asked("S", "P", Errand::Takeover, areas, status, speaks)
}

fn asked(sender: &str, owner: &str, errand: Errand, areas: &[&str], status: Status, speaks: bool) -> Said {
    let part = |area: &&str| Part {
        area: (*area).to_owned(),
        unit: owner.to_owned(),
        answer: answer(errand, status, true),
        speaks,
    };
    Said {
        sender: sender.to_owned(),
        parts: areas.iter().map(part).collect(),
        states: areas.iter().map(|a| (*a).to_owned()).collect(),
        givers: vec![sender.to_owned()],
        ..Said::default()
    }
}

#[test]
fn a_referral_moves_its_areas_when_it_is_accepted_and_a_cancelled_one_gives_them_back() {
    let mut history = History::default();
    history.say(1, &takeover(&["fatigue"], Status::Requested, false));
    assert_eq!(history.has("fatigue"), "S", "the sender has it until somebody says yes");
    history.say(1, &takeover(&["fatigue"], Status::Accepted, true));
    assert_eq!(history.has("fatigue"), "P");
    history.say(1, &takeover(&["fatigue"], Status::OnHold, true));
    assert_eq!(history.has("fatigue"), "P", "on hold it stays with who accepted");
    history.say(1, &takeover(&["fatigue"], Status::Cancelled, true));
    assert_eq!(history.has("fatigue"), "S");
    assert_eq!(held(&history.moves, at(2)).len(), 1);
    assert!(held(&history.moves, at(2))["fatigue"].contains("P"), "and what was is not forgotten");
    assert!(history.has("nutrition").is_empty(), "of what nobody spoke nothing is known");
}

#[test]
fn a_rejected_referral_and_one_whose_responsibility_remains_move_nothing() {
    let mut history = History::default();
    history.say(1, &takeover(&["fatigue"], Status::Rejected, true));
    assert_eq!(history.has("fatigue"), "S");
    let mut history = History::default();
    history.say(1, &asked("S", "P", Errand::Consultation, &["fatigue"], Status::Accepted, true));
    assert_eq!(history.has("fatigue"), "S");
}

#[test]
fn an_area_that_a_new_version_adds_is_nobodys_until_the_owner_speaks_and_one_that_it_drops_goes_back() {
    let mut history = History::default();
    history.say(1, &takeover(&["fatigue", "tobacco"], Status::Requested, false));
    history.say(1, &takeover(&["fatigue", "tobacco"], Status::Accepted, true));
    history.say(1, &takeover(&["fatigue", "nutrition"], Status::Accepted, false));
    assert_eq!(
        (history.has("fatigue"), history.has("tobacco"), history.has("nutrition")),
        ("P".into(), "S".into(), "S".into())
    );
    history.say(1, &takeover(&["fatigue", "nutrition"], Status::InProgress, true));
    assert_eq!(history.has("nutrition"), "P");
}

#[test]
fn what_was_entered_in_error_never_happened() {
    let mut history = History::default();
    history.say(1, &takeover(&["fatigue"], Status::Requested, false));
    history.say(1, &takeover(&["fatigue"], Status::Accepted, true));
    history.say(2, &asked("S", "Q", Errand::Takeover, &["fatigue"], Status::Accepted, true));
    assert_eq!(history.has("fatigue"), "P+Q", "the sender gave what it no more had: both have said yes");
    history.say(1, &Said { retracted: true, ..takeover(&["fatigue"], Status::Accepted, false) });
    assert_eq!(history.has("fatigue"), "Q");
    assert!(!held(&history.moves, at(2)).contains_key("fatigue"), "not even then");
}

#[test]
fn what_was_handed_on_does_not_come_back_to_the_first() {
    let mut history = History::default();
    history.say(1, &takeover(&["fatigue"], Status::Accepted, true));
    history.say(2, &asked("P", "Q", Errand::Takeover, &["fatigue"], Status::Accepted, true));
    history.say(1, &takeover(&["fatigue"], Status::Failed, true));
    assert_eq!(history.has("fatigue"), "Q");
}

#[test]
fn a_sip_gives_each_area_to_all_who_have_a_part_in_it_and_have_agreed() {
    let sip = |p: Status, q: Status, speaks: &str| Said {
        sender: "S".into(),
        parts: [("fatigue", "P", p), ("fatigue", "Q", q), ("nutrition", "S", Status::Accepted)]
            .map(|(area, unit, status)| Part {
                area: area.into(),
                unit: unit.into(),
                answer: answer(Errand::Sip, status, false),
                speaks: unit == speaks || unit == "S",
            })
            .into(),
        givers: vec!["S".into()],
        ..Said::default()
    };
    let mut history = History::default();
    history.say(9, &asked("S", "X", Errand::Takeover, &["fatigue"], Status::Requested, false));
    history.say(1, &sip(Status::Requested, Status::Requested, ""));
    assert_eq!((history.has("fatigue"), history.has("nutrition")), ("S".into(), "S".into()));
    history.say(1, &sip(Status::Accepted, Status::Requested, "P"));
    assert_eq!(history.has("fatigue"), "P");
    history.say(1, &sip(Status::Accepted, Status::Accepted, "Q"));
    assert_eq!(history.has("fatigue"), "P+Q", "shared");
    history.say(1, &sip(Status::Cancelled, Status::Accepted, "P"));
    assert_eq!(history.has("fatigue"), "Q");
    history.say(1, &sip(Status::Cancelled, Status::Cancelled, "Q"));
    assert_eq!(history.has("fatigue"), "S", "when the last one leaves, who gave has it again");
}

#[test]
fn when_a_sip_ends_nobody_gets_what_they_only_agreed_that_another_should_have() {
    let sip = |status: Status, speaks: &str| Said {
        sender: "S".into(),
        parts: [("fatigue", "S"), ("nutrition", "P"), ("tobacco", "Q")]
            .map(|(area, unit)| Part {
                area: area.into(),
                unit: unit.into(),
                answer: answer(Errand::Sip, status, false),
                speaks: unit == speaks || unit == "S",
            })
            .into(),
        givers: vec!["S".into(), "P".into(), "Q".into()],
        ..Said::default()
    };
    let mut history = History::default();
    history.say(9, &asked("P", "X", Errand::Takeover, &["tobacco"], Status::Requested, false));
    history.say(1, &sip(Status::Accepted, "P"));
    history.say(1, &sip(Status::Accepted, "Q"));
    let all = |history: &History| ["fatigue", "nutrition", "tobacco"].map(|area| history.has(area));
    assert_eq!(all(&history), ["S", "P", "Q"]);
    history.say(1, &Said { givers: vec!["S".into()], ..sip(Status::Cancelled, "") });
    assert_eq!(all(&history), ["S", "S", "P"], "P had tobacco, and nobody but S had fatigue");
    history.say(1, &Said { givers: vec!["S".into()], ..sip(Status::Cancelled, "") });
    assert_eq!(all(&history), ["S", "S", "P"]);
}

#[test]
fn a_plans_own_statement_lapses_with_it_and_never_takes_from_anybody() {
    let plan = |areas: &[&str]| Said {
        sender: "S".into(),
        states: areas.iter().map(|a| (*a).to_owned()).collect(),
        states_lapse: true,
        ..Said::default()
    };
    let mut history = History::default();
    history.say(1, &asked("Q", "P", Errand::Takeover, &["fatigue"], Status::Accepted, true));
    history.say(2, &plan(&["fatigue", "tobacco"]));
    assert_eq!((history.has("fatigue"), history.has("tobacco")), ("P".into(), "S".into()));
    history.say(2, &plan(&["fatigue"]));
    assert_eq!(history.has("tobacco"), "");
}

/// What the model knows of a referral: no moves, no past, only who asked whom for what and what became of it.
#[derive(Clone)]
struct Referral {
    sender: usize,
    owner: usize,
    areas: BTreeSet<usize>,
    takeover: bool,
    status: Status,
    /// Areas that the owner has said no to by themselves.
    refused: BTreeSet<usize>,
    /// Areas that the owner has said yes to, and has not given back.
    agreed: BTreeSet<usize>,
    retracted: bool,
}

const UNITS: [&str; 4] = ["S", "P", "Q", "R"];
const AREAS: [&str; 3] = ["fatigue", "nutrition", "tobacco"];

impl Referral {
    fn answer(&self, area: usize) -> Answer {
        let errand = if self.takeover { Errand::Takeover } else { Errand::Consultation };
        let status =
            if self.refused.contains(&area) && !self.status.is_final() { Status::Rejected } else { self.status };
        answer(errand, status, false)
    }

    fn said(&self, speaks: bool) -> Said {
        let part = |area: &usize| Part {
            area: AREAS[*area].into(),
            unit: UNITS[self.owner].into(),
            answer: self.answer(*area),
            speaks,
        };
        Said {
            retracted: self.retracted,
            sender: UNITS[self.sender].into(),
            parts: self.areas.iter().map(part).collect(),
            states: self.areas.iter().map(|a| AREAS[*a].to_owned()).collect(),
            states_lapse: false,
            givers: vec![UNITS[self.sender].into()],
            had: Vec::new(),
        }
    }

    /// What it says now of one area, to a reader who knows nothing of moves.
    fn agrees(&self, area: usize) -> bool {
        !self.retracted && self.agreed.contains(&area)
    }

    fn update(&mut self, speaks: bool) {
        let before = self.agreed.clone();
        self.agreed = self
            .areas
            .iter()
            .copied()
            .filter(|area| match self.answer(*area) {
                Answer::Yes => speaks || before.contains(area),
                Answer::Open => before.contains(area),
                Answer::No => false,
            })
            .collect();
    }
}

/// Where every area has one referral alone, who has it follows from that referral's state and nothing else; where several speak
/// of it, whoever has agreed and has not passed it on is among those who have it. At every moment, also looking back.
#[test]
fn random_histories_come_to_what_a_model_without_moves_says_at_every_moment() {
    for seed in 0..4000 {
        let mut random = Rng::with_seed(seed);
        let mut history = History::default();
        let mut referrals: Vec<Referral> = Vec::new();
        let mut past: Vec<(i64, BTreeMap<String, BTreeSet<String>>, bool)> = Vec::new();
        for _ in 0..random.usize(5..40) {
            let fresh = referrals.is_empty() || (referrals.len() < 4 && random.u8(..) < 60);
            let (which, speaks) = if fresh {
                let sender = random.usize(..UNITS.len());
                let owner = (sender + 1 + random.usize(..UNITS.len() - 1)) % UNITS.len();
                let areas = (0..AREAS.len()).filter(|_| random.bool()).collect();
                let (refused, agreed) = Default::default();
                let (takeover, status) = (random.u8(..) < 220, Status::Requested);
                referrals.push(Referral { sender, owner, areas, takeover, status, refused, agreed, retracted: false });
                (referrals.len() - 1, false)
            } else {
                let which = random.usize(..referrals.len());
                let one = &mut referrals[which];
                if one.retracted {
                    continue;
                }
                let role = if random.u8(..) < 170 {
                    crate::domain::task::Role::Filler
                } else {
                    crate::domain::task::Role::Placer
                };
                let open = crate::domain::task::moves(one.status, role);
                match (role, random.u8(..4)) {
                    (crate::domain::task::Role::Placer, 0) => one.retracted = true,
                    (crate::domain::task::Role::Placer, 1) => {
                        one.areas = (0..AREAS.len()).filter(|_| random.bool()).collect();
                        one.takeover = random.u8(..) < 220;
                    }
                    (crate::domain::task::Role::Filler, 0) if !one.status.is_final() => {
                        one.refused = one.areas.iter().copied().filter(|_| random.bool()).collect();
                    }
                    _ => {
                        let open: Vec<Status> = open.into_iter().filter(|s| *s != Status::EnteredInError).collect();
                        if open.is_empty() {
                            continue;
                        }
                        one.status = open[random.usize(..open.len())];
                    }
                }
                (which, role == crate::domain::task::Role::Filler)
            };
            referrals[which].update(speaks);
            let said = referrals[which].said(speaks);
            history.say(which as u128 + 1, &said);
            let now = history.now();
            for (area, name) in AREAS.iter().enumerate() {
                let holders = now.get(*name).cloned().unwrap_or_default();
                let about: Vec<&Referral> = referrals
                    .iter()
                    .filter(|r| !r.retracted && (r.areas.contains(&area) || r.agreed.contains(&area)))
                    .collect();
                let ever: usize =
                    history.moves.iter().filter(|m| m.area == *name).map(|m| m.origin).collect::<BTreeSet<_>>().len();
                if let ([one], 1) = (&about[..], ever) {
                    let expected = if one.agrees(area) { one.owner } else { one.sender };
                    assert_eq!(holders, BTreeSet::from([UNITS[expected].to_owned()]), "seed {seed}, {name}");
                }
                for one in about.iter().filter(|r| r.agrees(area)) {
                    let passed_on =
                        referrals.iter().any(|r| !r.retracted && r.sender == one.owner && (r.agrees(area) || ever > 1));
                    assert!(
                        passed_on || holders.contains(UNITS[one.owner]),
                        "seed {seed}: {} said yes to {name} and nobody took it from it: {holders:?}",
                        UNITS[one.owner]
                    );
                }
                for holder in &holders {
                    let spoke = |r: &Referral| UNITS[r.owner] == holder || UNITS[r.sender] == holder;
                    assert!(
                        referrals.iter().any(|r| !r.retracted && spoke(r)),
                        "seed {seed}: {holder} never spoke of {name}"
                    );
                }
                if about.iter().any(|r| r.agrees(area)) {
                    assert!(!holders.is_empty(), "seed {seed}: {name} was lost between two");
                }
            }
            past.push((history.minute, now, referrals.iter().any(|r| r.retracted)));
        }
        // Looking back one sees what was seen then, as long as nothing was declared never to have been.
        let retracted = referrals.iter().any(|r| r.retracted);
        for (minute, then, _) in past.iter().filter(|_| !retracted) {
            assert_eq!(&held(&history.moves, at(*minute)), then, "seed {seed} at {minute}");
        }
    }
}
