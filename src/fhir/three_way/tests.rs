//! Cases and properties of the three-way comparison.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::ownership::{Owner, owner};

fn plan(title: &str, status: &str) -> Value {
    let id = |n: &str| json!([{ "url": "https://vardkedja.example/fhir/StructureDefinition/intervention-id", "valueString": n }]);
    json!({
        "resourceType": "CarePlan", "id": "ours", "title": title, "subject": { "reference": "Patient/1" },
        "activity": [
            { "detail": { "extension": id("I1"), "status": status, "description": "Promenad" } },
            { "detail": { "extension": id("I2"), "status": "scheduled" } },
        ],
    })
}

fn performers(path: &str) -> bool {
    owner("CarePlan", path) == Owner::Performer
}

#[test]
fn the_performers_word_on_its_activity_comes_in_and_a_changed_title_is_a_clash() {
    let base = plan("A", "scheduled");
    let mut theirs = plan("B", "in-progress");
    theirs["id"] = json!("theirs");
    theirs["subject"]["reference"] = json!("Patient/77");
    let read = incoming(&base, &base, &theirs, performers);
    assert_eq!(read.resource["activity"][0]["detail"]["status"], "in-progress");
    assert_eq!(read.resource["title"], "A");
    assert_eq!(read.resource["subject"]["reference"], "Patient/1");
    assert_eq!(read.taken.len(), 1);
    assert_eq!(read.clashes.len(), 1);
    assert_eq!(read.clashes[0].path, "title");
}

#[test]
fn what_we_wrote_ourselves_is_nothing_new_when_it_comes_back() {
    let (base, ours) = (plan("A", "scheduled"), plan("B", "scheduled"));
    let mut theirs = ours.clone();
    theirs["meta"] = json!({ "versionId": "9" });
    let read = incoming(&base, &ours, &theirs, performers);
    assert_eq!((read.taken.len(), read.clashes.len()), (0, 0));
    assert_eq!(read.resource, ours);
}

#[test]
fn a_new_version_keeps_the_performers_word_and_what_was_added_there() {
    let (base, mut ours) = (plan("A", "scheduled"), plan("B", "scheduled"));
    ours["identifier"] = json!([{ "system": "a", "value": "1" }]);
    let mut theirs = plan("A", "completed");
    theirs["note"] = json!([{ "text": "egen" }]);
    theirs["identifier"] = json!([{ "system": "a", "value": "1" }, { "system": "own", "value": "2" }]);
    let written = outgoing(&base, &ours, &theirs, &ours, performers);
    assert_eq!(written.resource["title"], "B");
    assert_eq!(written.resource["activity"][0]["detail"]["status"], "completed");
    assert_eq!(written.resource["note"][0]["text"], "egen");
    assert_eq!(written.resource["identifier"].as_array().unwrap().len(), 2);
    assert_eq!(written.unread, ["activity[I1].detail.status", "note"]);
    assert!(written.clashes.is_empty());
}

#[test]
fn a_late_delivery_does_not_take_back_a_word_that_was_heard_meanwhile() {
    let frozen = plan("B", "scheduled");
    let theirs = plan("A", "in-progress");
    let now = plan("B", "in-progress");
    let written = outgoing(&theirs, &frozen, &theirs, &now, performers);
    assert_eq!(written.resource["activity"][0]["detail"]["status"], "in-progress");
    assert_eq!(written.resource["title"], "B");
    assert!(written.unread.is_empty());
}

#[test]
fn an_activity_that_was_taken_out_of_the_plan_goes_with_all_that_was_said_of_it() {
    let base = plan("A", "scheduled");
    let mut ours = base.clone();
    ours["activity"].as_array_mut().unwrap().remove(0);
    let written = outgoing(&base, &ours, &plan("A", "completed"), &ours, performers);
    assert_eq!(written.resource["activity"].as_array().unwrap().len(), 1);
    assert!(written.clashes.is_empty(), "{:?}", written.clashes);
}

#[test]
fn an_activity_that_was_added_there_is_kept_there_and_shown_to_a_person() {
    let base = plan("A", "scheduled");
    let mut theirs = base.clone();
    theirs["activity"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "detail": { "status": "scheduled", "description": "Nytt" } }));
    let read = incoming(&base, &base, &theirs, performers);
    assert_eq!(read.resource, base);
    assert_eq!(read.clashes.iter().filter(|c| c.base.is_none()).count(), 1);
    let written = outgoing(&base, &base, &theirs, &base, performers);
    assert_eq!(written.resource["activity"].as_array().unwrap().len(), 3);
}

fn any_plan() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec!["A", "B", "C"]);
    let status = prop::sample::select(vec!["scheduled", "in-progress", "completed"]);
    (word, status).prop_map(|(title, status)| plan(title, status))
}

proptest! {
    /// Whatever the three are: after reading theirs and writing ours, both sides have the same, and every element that somebody
    /// changed stands somewhere: in the plan, or in a clash.
    #[test]
    fn reading_and_then_writing_agrees_and_loses_no_word(base in any_plan(), ours in any_plan(), theirs in any_plan()) {
        let read = incoming(&base, &ours, &theirs, performers);
        let written = outgoing(&theirs, &read.resource, &theirs, &read.resource, performers);
        prop_assert!(is_same(&written.resource, &read.resource));
        prop_assert!(written.clashes.is_empty());
        let again = incoming(&written.resource, &read.resource, &written.resource, performers);
        prop_assert!(again.taken.is_empty() && again.clashes.is_empty(), "an echo is nothing new");
        for (path, said) in elements(&theirs) {
            let stands = elements(&read.resource).get(&path) == Some(&said);
            let is_old = elements(&base).get(&path) == Some(&said);
            prop_assert!(stands || is_old || read.clashes.iter().any(|c| c.path == path), "{path}");
        }
    }

    /// Writing before reading loses nothing either: what was not read is still different from the base that is kept.
    #[test]
    fn writing_first_leaves_the_owners_word_to_be_read(base in any_plan(), ours in any_plan(), theirs in any_plan()) {
        let written = outgoing(&base, &ours, &theirs, &ours, performers);
        let mut kept = written.resource.clone();
        for path in &written.unread {
            set(&mut kept, path, &base);
        }
        let read = incoming(&kept, &ours, &written.resource, performers);
        let status = "activity[I1].detail.status";
        if get(&theirs, status) != get(&base, status) {
            prop_assert_eq!(get(&read.resource, status), get(&theirs, status));
        }
        prop_assert!(read.clashes.is_empty());
    }
}
