//! What nobody should put into a folder: nothing of it is lost, nothing outside is read or written, and no name of a person is told.

use std::os::unix::fs::symlink;
use std::process::Command;

use super::Drop;
use crate::program::{Program, run};
use crate::world::referral;

const PERSON: &str = "195009072553";

fn folder() -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("drop-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    folder
}

fn settings(more: &str) -> String {
    let drop = Drop::settings("export", "referral", "json", more);
    format!(
        "[[partner]]\nname = \"platform\"\nchannel = \"poll\"\n[[partner]]\nname = \"primary-care\"\nchannel = \"poll\"\n{drop}"
    )
}

#[actix_web::test]
async fn whatever_lands_there_is_refused_with_findings_and_kept() {
    let folder = folder();
    let place = Drop::make(&folder, "export");
    std::fs::write(folder.join("outside.json"), referral(7).to_string()).unwrap();
    symlink("../outside.json", place.path("link.json")).unwrap();
    symlink("/nowhere/at/all", place.path("dangling.json")).unwrap();
    assert!(Command::new("mkfifo").arg(place.path("pipe.json")).status().unwrap().success());
    std::fs::create_dir(place.path("folder.json")).unwrap();
    place.put("empty.json", "");
    place.put("garbage.json", [0xff, 0xfe, 0, 1, 2]);
    place.put("half.json", &referral(1).to_string()[..300]);
    place.put("letter.json", "{\"hej\": 1}");
    place.put("other.xml", "<a/>");
    place.put("long.json", vec![b' '; 5000]);
    place.put(&format!("remiss-{PERSON}.json"), "[]");
    place.put(&format!("bra {PERSON}.json"), referral(1).to_string());
    let program = Program::start(&folder, &settings("most_bytes = 4096"), &[]);
    place
        .until_so("all was looked at", || {
            place.names("").iter().all(|name| !name.contains("json") || name == "folder.json")
                && place.names(".taken").is_empty()
                && !place.path("other.xml").exists()
        })
        .await;
    let refused = place.names("refused");
    for name in [
        "link.json",
        "dangling.json",
        "pipe.json",
        "empty.json",
        "garbage.json",
        "half.json",
        "letter.json",
        "other.xml",
        "long.json",
    ] {
        assert!(refused.iter().any(|r| r == name), "{name}: {refused:?}");
        let findings = place.json(&format!("refused/{name}.findings.json"));
        assert_eq!(findings["resourceType"], "OperationOutcome", "{name}");
        assert!(findings["issue"][0]["details"]["text"].is_string(), "{name}");
    }
    assert_eq!(refused.len(), 20, "{refused:?}");
    assert!(place.json("refused/long.json.findings.json").to_string().contains("at most 4096"));
    assert!(
        std::fs::symlink_metadata(place.path("refused/link.json")).unwrap().is_symlink(),
        "it was moved, not followed"
    );
    assert!(folder.join("outside.json").exists());
    assert_eq!(place.names("done").len(), 1);
    let shown = reqwest::Client::builder().no_proxy().build().unwrap();
    let shown = shown.get(format!("{}/v1/exchanges", program.url)).send().await.unwrap().text().await.unwrap();
    assert!(shown.contains("#R-1\"") && !shown.contains("#R-7\""), "{shown}");
    let figures = reqwest::Client::builder().no_proxy().build().unwrap();
    let figures = figures.get(format!("{}/metrics", program.url)).send().await.unwrap().text().await.unwrap();
    assert!(figures.contains("vardkedja_drop_files_total{drop=\"export\",result=\"refused\"} 10"), "{figures}");
    // Whom a name names is told nowhere, nor is any name.
    let log = program.stop().await;
    assert!(log.contains("a file was refused"), "{log}");
    for told in [PERSON, "garbage", "link.json"] {
        assert!(!log.contains(told) && !figures.contains(told), "{told}: {log}");
    }
    for names in ["done", "refused", "answers"] {
        assert!(place.names(names).iter().all(|name| !name.contains(PERSON)), "{:?}", place.names(names));
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[actix_web::test]
async fn a_folder_that_became_a_link_is_not_written_through() {
    let folder = folder();
    let place = Drop::make(&folder, "export");
    std::fs::create_dir(folder.join("elsewhere")).unwrap();
    symlink("../elsewhere", place.path("answers")).unwrap();
    place.put("a.json", referral(1).to_string());
    let program = Program::start(&folder, &settings(""), &[]);
    place.until_so("it was said", || program.log().contains("a round of the drop broke off")).await;
    assert!(place.path("a.json").exists());
    std::fs::remove_file(place.path("answers")).unwrap();
    place.until("done/a.json").await;
    place.until("answers/a.json.receipt.json").await;
    assert_eq!(std::fs::read_dir(folder.join("elsewhere")).unwrap().count(), 0);
    place.until_so("it was said", || program.log().contains("the drop is in order again")).await;
    drop(program);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn check_says_what_a_settings_file_comes_to_without_starting() {
    let folder = folder();
    let file = folder.join("gateway.toml");
    let assumed = settings("").replacen(
        "channel = \"poll\"",
        "channel = \"poll\"\nassumed = \"nothing is published (2026-11)\"",
        1,
    );
    std::fs::write(&file, format!("[gateway]\ndb = \"g.sqlite\"\n{assumed}")).unwrap();
    let check = || run(&["check", "--config", file.to_str().unwrap()]);
    let (code, said) = check();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("drop export:") && said.contains("No such file"), "{said}");
    Drop::make(&folder, "export");
    let (code, said) = check();
    assert_eq!(code, Some(0), "{said}");
    for line in [
        "partner platform: poll, 2 units, ASSUMED",
        "warning: partner \"platform\" is ASSUMED: nothing is published (2026-11)",
        "drop export: referral as json, from platform",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(!folder.join("g.sqlite").exists(), "nothing was started");
    std::fs::write(&file, "[gateway]\nlissten = \"x\"\n").unwrap();
    let (code, said) = check();
    assert!(code == Some(1) && said.contains("lissten"), "{said}");
    std::fs::remove_dir_all(folder).unwrap();
}
