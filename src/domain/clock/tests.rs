//! The table of waits, spelt out; and rules that contradict each other.

use chrono::{DateTime, Utc};

use super::pause::FOREVER;
use super::*;
use crate::domain::Stage;
use crate::domain::task::Status;

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000 + 60 * minute, 0).unwrap()
}

fn taker(status: Option<Status>, stage: Stage) -> Taker<'static> {
    Taker { unit: "U", task: status.map(|_| "t"), status, stage }
}

fn standing(sort: Sort, taker: Taker<'static>) -> Standing<'static> {
    Standing {
        sort,
        sender: "S",
        stage: taker.stage,
        takers: vec![taker],
        areas: Vec::new(),
        aborts: Vec::new(),
        is_called: true,
    }
}

fn referral(step: Step, priority: Priority) -> Matter<'static> {
    Matter { step, sort: Sort::Referral, priority, sender: "S" }
}

fn steps(before: &[Wait], standing: &Standing<'_>) -> String {
    let all = waits(before, standing, at(9));
    all.iter()
        .map(|w| format!("{}{}", w.step.code(), if w.is_on_hold { "*" } else { "" }))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn every_standing_of_a_recipient_is_waited_for_as_the_table_says() {
    use Status::*;
    let cases = [
        (None, Stage::Waiting, "not-delivered"),
        (None, Stage::Parked, "parked"),
        (None, Stage::Delivered, ""),
        (None, Stage::EnteredInError, ""),
        (Some(Requested), Stage::Waiting, "not-delivered"),
        (Some(Requested), Stage::Parked, "parked"),
        (Some(Requested), Stage::Delivered, "no-receipt"),
        (Some(Received), Stage::Received, "no-decision"),
        (Some(Received), Stage::Waiting, "not-delivered no-decision"),
        (Some(OnHold), Stage::OnHold, "no-completion no-decision*"),
        (Some(Accepted), Stage::Accepted, "no-outcome"),
        (Some(Accepted), Stage::Parked, "parked no-outcome"),
        (Some(InProgress), Stage::InProgress, "no-outcome"),
        (Some(Completed), Stage::Completed, ""),
        (Some(Completed), Stage::Waiting, "not-delivered"),
        (Some(Rejected), Stage::Rejected, ""),
        (Some(Failed), Stage::Failed, ""),
        (Some(Cancelled), Stage::Cancelled, ""),
        (Some(EnteredInError), Stage::EnteredInError, ""),
        (Some(EnteredInError), Stage::Waiting, "not-delivered"),
    ];
    for (status, stage, expected) in cases {
        assert_eq!(steps(&[], &standing(Sort::Referral, taker(status, stage))), expected, "{status:?} {stage}");
    }
    let accepted = taker(Some(Accepted), Stage::Accepted);
    assert_eq!(steps(&[], &standing(Sort::Active, accepted)), "no-contact");
    let uncalled = Standing { is_called: false, ..standing(Sort::Sip, accepted) };
    assert_eq!(steps(&[], &uncalled), "no-outcome sip-not-called");
    let over = Standing { is_called: false, ..standing(Sort::Sip, taker(Some(Rejected), Stage::Rejected)) };
    assert_eq!(steps(&[], &over), "");
    let stop = Abort { id: "a".into(), of: "t".into() };
    let asked = Standing { aborts: vec![stop.clone()], ..standing(Sort::Referral, accepted) };
    assert_eq!(steps(&[], &asked), "no-outcome no-abort-answer");
    let gone = Standing { aborts: vec![stop], takers: Vec::new(), ..standing(Sort::Referral, accepted) };
    assert_eq!(steps(&[], &gone), "", "whoever was to stop takes no part any more");
    let alone = Standing { stage: Stage::Parked, takers: Vec::new(), ..standing(Sort::Activity, accepted) };
    assert_eq!(steps(&[], &alone), "parked");
    let unheard = Standing { stage: Stage::Parked, takers: Vec::new(), ..standing(Sort::Referral, accepted) };
    assert_eq!(steps(&[], &unheard), "no-consultation", "a referral that waits for samråd is no parked delivery");
}

fn area(code: &str, status: Option<Status>) -> Area {
    Area { of: "t".into(), code: code.into(), task: status.map(|s| (format!("t-{code}"), s)), is_taken: false }
}

/// `step area` of every wait.
fn by_area(sort: Sort, status: Status, areas: Vec<Area>) -> String {
    let standing = Standing { areas, ..standing(sort, taker(Some(status), Stage::of_task(status))) };
    let word = |w: &Wait| format!("{} {}{}", w.step.code(), w.subject, if w.is_on_hold { "*" } else { "" });
    waits(&[], &standing, at(9)).iter().map(|w| word(w).trim().to_owned()).collect::<Vec<_>>().join(", ")
}

#[test]
fn what_is_answered_area_by_area_is_waited_for_area_by_area() {
    use Status::*;
    let all =
        || vec![area("a", Some(Accepted)), area("b", Some(Rejected)), area("c", None), area("d", Some(Completed))];
    let said = |status| by_area(Sort::Referral, status, all());
    assert_eq!(said(Accepted), "no-outcome a, no-taker b, no-decision c");
    assert_eq!(said(InProgress), "no-outcome a, no-taker b, no-decision c");
    assert_eq!(said(OnHold), "no-outcome a*, no-taker b, no-decision c*, no-completion", "the sender waits for nobody");
    assert_eq!(said(Completed), "", "with the whole they are over");
    assert_eq!(said(Requested), "no-receipt", "a request that is asked anew is asked whole");
    assert_eq!(
        by_area(Sort::Active, Accepted, all()),
        "no-taker b, no-decision c, no-contact",
        "contact is of the whole"
    );
    let over = vec![area("a", Some(Completed)), area("b", Some(Failed))];
    assert_eq!(by_area(Sort::Referral, Accepted, over), "no-taker b, no-outcome", "what is left is to end the whole");
    let taken = vec![area("a", Some(InProgress)), Area { is_taken: true, ..area("b", Some(Rejected)) }];
    assert_eq!(by_area(Sort::Referral, Accepted, taken), "no-outcome a", "another unit has it by now");
    let other = vec![Area { of: "of another unit".into(), ..area("a", Some(Accepted)) }];
    assert_eq!(by_area(Sort::Referral, Accepted, other), "no-outcome");
}

#[test]
fn an_area_is_owed_since_the_whole_was_and_its_clock_goes_on_by_itself() {
    use Status::*;
    let stands = |areas| Standing { areas, ..standing(Sort::Referral, taker(Some(Accepted), Stage::Accepted)) };
    let whole = waits(&[], &stands(Vec::new()), at(0));
    let split = waits(&whole, &stands(vec![area("a", Some(Accepted)), area("b", Some(Rejected))]), at(5));
    let since = |waits: &[Wait], code: &str| waits.iter().find(|w| w.subject == code).map(|w| w.since);
    assert_eq!((since(&split, "a"), since(&split, "b")), (Some(at(0)), Some(at(5))));
    let later = waits(&split, &stands(vec![area("a", Some(InProgress)), area("b", Some(Rejected))]), at(7));
    assert_eq!((since(&later, "a"), since(&later, "b")), (Some(at(0)), Some(at(5))));
    assert_eq!(later[0].task.as_deref(), Some("t-a"));
}

#[test]
fn a_wait_goes_on_since_it_began_until_the_step_is_taken() {
    use Status::*;
    let go = |before: &[Wait], status, stage, minute| {
        waits(before, &standing(Sort::Referral, taker(Some(status), stage)), at(minute))
    };
    let since = |waits: &[Wait], step: Step| waits.iter().find(|w| w.step == step).map(|w| w.since);
    let sent = go(&[], Requested, Stage::Waiting, 0);
    let come = go(&sent, Requested, Stage::Delivered, 5);
    assert_eq!(since(&come, Step::NoReceipt), Some(at(5)));
    let newer = go(&come, Requested, Stage::Waiting, 7);
    assert_eq!((since(&newer, Step::NotDelivered), since(&newer, Step::NoReceipt)), (Some(at(7)), Some(at(5))));
    let received = go(&newer, Received, Stage::Received, 8);
    let held = go(&received, OnHold, Stage::OnHold, 9);
    assert_eq!((since(&held, Step::NoCompletion), since(&held, Step::NoDecision)), (Some(at(9)), Some(at(8))));
    let again = go(&held, Received, Stage::Received, 20);
    assert_eq!(since(&again, Step::NoDecision), Some(at(8)));
    let asked_anew = go(&held, Requested, Stage::Delivered, 21);
    assert_eq!(since(&asked_anew, Step::NoReceipt), Some(at(21)), "a new version asks anew");
    let accepted = go(&again, Accepted, Stage::Accepted, 30);
    let busy = go(&accepted, InProgress, Stage::InProgress, 40);
    assert_eq!(since(&busy, Step::NoOutcome), Some(at(30)));
    let held = go(&busy, OnHold, Stage::OnHold, 50);
    assert_eq!(since(&held, Step::NoOutcome), Some(at(30)));
    assert_eq!(go(&held, Completed, Stage::Completed, 60), []);
}

fn rule(step: Step, levels: &[&str], line: usize) -> Rule {
    let levels = levels.iter().map(|text| After::parse(text).unwrap()).collect();
    Rule { step, sorts: vec![Sort::Referral], priorities: vec![Priority::Routine], region: None, levels, line }
}

fn check(rules: Vec<Rule>) -> Result<Clocks, Vec<(usize, String)>> {
    Clocks::check(rules, true, true, "1".into())
}

#[test]
fn rules_that_contradict_each_other_are_named_with_their_lines() {
    let wrong = check(vec![
        rule(Step::NoReceipt, &["2d", "5d"], 3),
        rule(Step::NoReceipt, &["3d"], 9),
        rule(Step::NoDecision, &["5d", "4d"], 15),
        // Four days are longer than two working days, except over a long weekend.
        rule(Step::NoOutcome, &["2wd", "4d"], 21),
        rule(Step::NoContact, &[], 27),
    ])
    .unwrap_err();
    assert_eq!(wrong.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [9, 15, 21, 27]);
    assert!(wrong[0].1.contains("in line 3"), "{wrong:?}");
}

#[test]
fn what_has_no_rule_is_never_due() {
    let clocks = check(vec![rule(Step::NoReceipt, &["1h", "2h"], 1)]).unwrap();
    let dues = |step, pauses: &[Pause]| clocks.dues(referral(step, Priority::Routine), 1000, pauses);
    assert_eq!(dues(Step::NoReceipt, &[]), [3_601_000, 7_201_000]);
    assert_eq!(dues(Step::NoReceipt, &[Pause { from: 3_700_000, until: None }]), [3_601_000, FOREVER]);
    assert!(dues(Step::NoDecision, &[]).is_empty());
    let held = check(vec![rule(Step::Parked, &["1h"], 1)]).unwrap();
    assert_eq!(held.levels(referral(Step::NoConsultation, Priority::Routine)).len(), 1, "older rules meant it too");
    assert!(Clocks::default().dues(referral(Step::NoReceipt, Priority::Stat), 0, &[]).is_empty());
}

#[test]
fn a_regions_own_rule_goes_before_the_one_for_all_and_only_for_what_its_units_send() {
    let of = |region: &str, levels: &[&str], line| Rule {
        region: Some(region.into()),
        ..rule(Step::NoReceipt, levels, line)
    };
    let rules = vec![rule(Step::NoReceipt, &["2d"], 1), of("14", &["1h"], 2), of("07", &["3h"], 3)];
    let units = [("U-WEST", "14"), ("u-kronoberg", "07"), ("U-EAST", "05")];
    let clocks = check(rules.clone()).unwrap().with_regions(units.into_iter());
    let due = |sender: &str, step| {
        let matter = Matter { step, sort: Sort::Referral, priority: Priority::Routine, sender };
        clocks.dues(matter, 0, &[]).first().copied()
    };
    assert_eq!(due("u-west", Step::NoReceipt), Some(3_600_000));
    assert_eq!(due("U-KRONOBERG", Step::NoReceipt), Some(10_800_000));
    assert_eq!(due("U-EAST", Step::NoReceipt), due("nobody", Step::NoReceipt), "as for all");
    assert!(due("nobody", Step::NoReceipt) > Some(86_000_000));
    assert_eq!(due("u-west", Step::NoDecision), None);
    // Whoever moves to another region has other rules, and all is reckoned anew.
    let moved = check(rules).unwrap().with_regions([("U-WEST", "05")].into_iter());
    assert_ne!(moved.mark, clocks.mark);
    let plain = check(vec![rule(Step::NoReceipt, &["2d"], 1)]).unwrap();
    assert_eq!(
        plain.clone().with_regions(units.into_iter()).mark,
        plain.mark,
        "where it decides nothing it changes nothing"
    );
    let twice = check(vec![of("14", &["1h"], 2), of("14", &["2h"], 9)]).unwrap_err();
    assert_eq!(twice[0].0, 9);
}
