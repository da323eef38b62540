//! The Python of docs/integrator/access.md gets a token, as a stranger would who copies it. Skipped where there is no Python
//! with PyJWT.

use std::process::Command;

use super::{Door, registry};

fn python() -> Option<String> {
    let text = include_str!("../../../docs/integrator/access.md");
    Some(text.split("```python\n").nth(1)?.split("```").next()?.to_owned())
}

#[actix_web::test]
async fn twenty_lines_of_python_get_a_token() {
    let script = python().expect("the page has Python in it");
    assert!(script.lines().filter(|l| !l.trim().is_empty()).count() <= 20);
    let has = Command::new("python3").args(["-c", "import jwt, cryptography"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no python3 with PyJWT and cryptography");
        return;
    }
    let folder = std::env::temp_dir().join(format!("oauth-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    let run = async |base: &str| {
        let script = script.replace("https://gateway.example.se", base);
        let mut command = Command::new("python3");
        command.arg("-c").arg(script).current_dir(&folder).env("no_proxy", "*");
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    // At first there is only a key, whose public half is handed to whoever runs the gateway.
    run("http://127.0.0.1:9").await;
    assert!(folder.join("jwks.json").exists());
    let settings = registry("system/Procedure.rs").replace("\"registry\"\nname", "\"rehab-registry\"\nname");
    let door = Door::open_in(folder.clone(), &settings.replace("registry.json", "jwks.json")).await;
    let (said, failed) = run(&door.url).await;
    assert!(said.contains("searchset"), "{said}\n{failed}");
    door.close().await;
}
