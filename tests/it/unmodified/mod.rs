//! Clients that others wrote, unmodified, against the real program: what they expect of a FHIR server is no opinion of ours.
//!
//! They are installed from PyPI and npm into the folder of the build, so these tests are asked for by name:
//! `cargo test --test it unmodified:: -- --ignored`. Where Python, Node or the registries are missing a test says so and
//! leaves itself out.

mod bulk;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::world::{ONCOLOGY, World, referral};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/unmodified");
const FHIR_KIT: &str = "fhir-kit-client@2.0.3";

/// One installation at a time.
static INSTALLING: Mutex<()> = Mutex::new(());

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("unmodified");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn runs(command: &mut Command) -> bool {
    match command.output() {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
            false
        }
        Err(_) => false,
    }
}

/// The folder with the programs of a Python environment that has the clients; `None` where it cannot be made.
fn python() -> Option<PathBuf> {
    let _alone = INSTALLING.lock().unwrap();
    let environment = folder().join("python");
    let programs = environment.join("bin");
    let requirements = format!("{HERE}/requirements.txt");
    let made = programs.join("python").exists() || runs(Command::new("python3").args(["-m", "venv"]).arg(&environment));
    let install = || {
        runs(Command::new(programs.join("pip")).args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
            &requirements,
        ]))
    };
    (made && install()).then_some(programs)
}

/// The folder with the Node module; `None` where it cannot be had.
fn node() -> Option<PathBuf> {
    let _alone = INSTALLING.lock().unwrap();
    let modules = folder().join("node");
    std::fs::create_dir_all(&modules).unwrap();
    let there = modules.join("node_modules/fhir-kit-client").exists();
    let install = || {
        runs(Command::new("npm").current_dir(&modules).args([
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            FHIR_KIT,
        ]))
    };
    (there || install()).then_some(modules)
}

fn left_out(what: &str) {
    eprintln!("left out: {what} cannot be installed here");
}

/// What the program printed; it must end well.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    out.into_owned()
}

/// A gateway that holds so many referrals.
async fn with_referrals(count: u32) -> World {
    let world = World::open().await;
    for number in 1..=count {
        world.refer(&referral(number)).await;
    }
    world
}

#[actix_web::test]
#[ignore = "installs fhirpy from PyPI"]
async fn fhirpy_pages_through_a_search() {
    let Some(programs) = python() else { return left_out("fhirpy") };
    let world = with_referrals(25).await;
    let mut page = Command::new(programs.join("python"));
    page.arg(format!("{HERE}/page.py")).args([&format!("{}/fhir", world.gateway), ONCOLOGY, "ServiceRequest", "10"]);
    let said = actix_web::web::block(move || said(&mut page)).await.unwrap();
    assert_eq!(said.trim(), "25");
    world.close().await;
}

#[actix_web::test]
#[ignore = "installs fhir-kit-client from npm"]
async fn fhir_kit_client_pages_through_a_search() {
    let Some(modules) = node() else { return left_out("fhir-kit-client") };
    let world = with_referrals(25).await;
    let mut page = Command::new("node");
    page.arg(format!("{HERE}/page.mjs")).arg(modules.join("node_modules/fhir-kit-client/dist/index.js"));
    page.args([&format!("{}/fhir", world.gateway), ONCOLOGY, "ServiceRequest", "10"]);
    let said = actix_web::web::block(move || said(&mut page)).await.unwrap();
    assert_eq!(said.trim(), "25");
    world.close().await;
}

/// Every operation of the document, with values that fit it and values that do not: no fault of ours, and no answer that the
/// document does not have. Which methods an address takes depends on the type in it, which the document cannot say.
#[actix_web::test]
#[ignore = "installs schemathesis from PyPI"]
async fn the_openapi_document_survives_schemathesis() {
    let Some(programs) = python() else { return left_out("schemathesis") };
    let world = with_referrals(1).await;
    let mut run = Command::new(programs.join("st"));
    run.current_dir(folder()).env("PYTHONPATH", HERE).env("SCHEMATHESIS_HOOKS", "serializers");
    run.args(["run", concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.yaml"), "--url", &world.gateway]);
    run.args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"]);
    run.args(["--checks", "response_headers_conformance,response_schema_conformance,unsupported_method"]);
    run.args([
        "--phases",
        "examples,coverage,fuzzing",
        "-n",
        "10",
        "--seed",
        "1",
        "--continue-on-failure",
        "--no-color",
    ]);
    let said = actix_web::web::block(move || said(&mut run)).await.unwrap();
    eprintln!("{said}");
    world.close().await;
}
