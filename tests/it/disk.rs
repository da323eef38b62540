//! The disk under the real program: full and empty again, read-only, a file of an older, newer or other program, a broken
//! file, a log left behind, two processes on one file. What was acknowledged is never lost, and every refusal is a sentence.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::Value;

use crate::world::{ONCOLOGY, referral, referral_to};

/// A folder with settings, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("vardkedja-disk-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let place = Self(folder);
        place.set("gateway.sqlite");
        place
    }

    /// Names the database in the settings.
    fn set(&self, db: &str) {
        let text = format!(
            "[gateway]\nlisten = \"127.0.0.1:0\"\ndb = \"{db}\"\n[[partner]]\nname = \"reader\"\nchannel = \"poll\"\n"
        );
        std::fs::write(self.settings(), text).unwrap();
    }

    fn settings(&self) -> PathBuf {
        self.0.join("gateway.toml")
    }

    fn db(&self) -> PathBuf {
        self.0.join("gateway.sqlite")
    }

    fn beside(&self, end: &str) -> PathBuf {
        self.0.join(format!("gateway.sqlite{end}"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The gateway as a process, with what it says on standard error.
struct Program {
    process: Child,
    url: String,
    said: Arc<Mutex<Vec<String>>>,
    http: reqwest::Client,
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_vardkedja");

impl Program {
    fn command(place: &Place) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("serve").arg("--config").arg(place.settings());
        command
    }

    fn start(place: &Place) -> Self {
        Self::run(Self::command(place)).unwrap_or_else(|(code, said)| panic!("{code:?}: {said}"))
    }

    /// Starts it; where it ends instead of listening: its exit code and what it said.
    fn run(mut command: Command) -> Result<Self, (Option<i32>, String)> {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let errors = process.stderr.take().unwrap();
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let lines = Arc::clone(&said);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        match line.trim().strip_prefix("listening on ") {
            Some(url) => Ok(Self { process, url: url.to_owned(), said, http }),
            None => {
                let code = process.wait().unwrap().code();
                reader.join().unwrap();
                Err((code, said.lock().unwrap().join("\n")))
            }
        }
    }

    /// How it refuses to start: not with a panic, and with an exit code that says so.
    fn refuses(command: Command, what: &str) -> String {
        let Err((code, said)) = Self::run(command) else { panic!("{what}: it started") };
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("vardkedja: ") && !said.contains("panicked"), "{said}");
        said.lines().last().unwrap().to_owned()
    }

    async fn send(&self, document: &Value) -> (u16, Option<String>, String) {
        let url = format!("{}/v1/referrals", self.url);
        let response = self.http.post(url).header("Vardkedja-Unit", ONCOLOGY).json(document).send().await.unwrap();
        let header = |name: &str| response.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
        let (status, place) = (response.status().as_u16(), header("location").or_else(|| header("retry-after")));
        (status, place, response.text().await.unwrap())
    }

    async fn accept(&self, document: &Value) -> String {
        let (status, place, text) = self.send(document).await;
        assert_eq!(status, 202, "{text}");
        place.unwrap()
    }

    async fn status(&self, path: &str) -> u16 {
        self.http.get(format!("{}{path}", self.url)).send().await.unwrap().status().as_u16()
    }

    async fn becomes_ready(&self) {
        let until = Instant::now() + Duration::from_secs(20);
        while self.status("/health/ready").await != 200 {
            assert!(Instant::now() < until, "it never became ready again");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Bounds how large its files may become, from now on: to its system calls the disk is full beyond that.
    fn limit_files(&self, bytes: &str) {
        let pid = self.process.id().to_string();
        let set = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:")]).status().unwrap();
        assert!(set.success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn there(tool: &str, arguments: &[&str]) -> bool {
    let found = Command::new(tool).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let there = found.is_ok_and(|status| status.success());
    if !there {
        println!("skipped: {tool} {} does not work here", arguments.join(" "));
    }
    there
}

#[actix_web::test]
async fn on_a_full_disk_nothing_is_acknowledged_and_nothing_lost_and_it_goes_on_when_there_is_room() {
    if !there("prlimit", &["--version"]) {
        return;
    }
    let place = Place::new();
    // As from a shell that ignores SIGXFSZ: a write beyond the limit fails, and does not end the program.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" serve --config \"$1\"", PROGRAM]).arg(place.settings());
    let program = Program::run(command).unwrap_or_else(|(_, said)| panic!("{said}"));
    let before = program.accept(&referral_to(1, crate::world::SOUTH)).await;
    program.limit_files("4096");
    for n in 2..12 {
        let (status, again, text) = program.send(&referral_to(n, crate::world::SOUTH)).await;
        assert_eq!((status, again.is_some()), (503, true), "{text}");
        assert!(text.contains("nothing was accepted"), "{text}");
    }
    assert_eq!(program.status("/health/ready").await, 503);
    assert_eq!(program.status("/health/live").await, 200);
    let lines = program.said.lock().unwrap().clone();
    let faults: Vec<&String> = lines.iter().filter(|l| l.contains("ERROR")).collect();
    assert!(faults.iter().any(|l| l.contains("could not commit")), "{lines:#?}");
    assert!(faults.len() <= 12, "a line for each refusal and no more: {faults:#?}");
    assert!(!lines.iter().any(|l| l.contains("195009072553")), "{lines:#?}");

    program.limit_files("unlimited");
    program.becomes_ready().await;
    let after = program.accept(&referral_to(2, crate::world::SOUTH)).await;
    program.kill();
    let program = Program::start(&place);
    for exchange in [before, after] {
        assert_eq!(program.status(&exchange).await, 200, "what was acknowledged is there");
    }
    let all: Value =
        program.http.get(format!("{}/v1/exchanges", program.url)).send().await.unwrap().json().await.unwrap();
    assert_eq!(all["exchanges"].as_array().unwrap().len(), 2, "and nothing of what was refused");
}

#[actix_web::test]
async fn where_nothing_can_be_written_it_says_so_and_does_not_start() {
    // Not even root makes a file there.
    for db in ["/proc/vardkedja.sqlite", "/sys/vardkedja.sqlite", "/nowhere/at/all.sqlite"] {
        let place = Place::new();
        place.set(db);
        let said = Program::refuses(Program::command(&place), db);
        assert!(said.contains(db) && said.contains("lock file"), "{said}");
    }
    if !there("unshare", &["--user", "--map-root-user", "--mount", "true"]) {
        return;
    }
    let place = Place::new();
    Program::start(&place).kill();
    let before = std::fs::read(place.db()).unwrap();
    let mut command = Command::new("unshare");
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\" && exec \"$0\" serve --config \"$1/gateway.toml\"";
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, PROGRAM]).arg(&place.0);
    let said = Program::refuses(command, "read-only");
    assert!(said.contains("gateway.sqlite") && said.contains("Read-only file system"), "{said}");
    assert_eq!(std::fs::read(place.db()).unwrap(), before);
}

/// A database with one referral in it, closed as a signal closes it.
async fn closed(place: &Place) -> String {
    let mut program = Program::start(place);
    let exchange = program.accept(&referral_to(1, crate::world::SOUTH)).await;
    let pid = program.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(program.process.wait().unwrap().success());
    assert!(!place.beside("-wal").exists(), "the log was moved into the database");
    exchange
}

#[actix_web::test]
async fn a_file_that_is_not_ours_or_not_whole_is_refused_and_stays_as_it_is() {
    let place = Place::new();
    closed(&place).await;
    let whole = std::fs::read(place.db()).unwrap();
    let newer = place.0.join("newer.sqlite");
    std::fs::write(&newer, &whole).unwrap();
    Connection::open(&newer).unwrap().pragma_update(None, "user_version", 4711).unwrap();
    let foreign = place.0.join("foreign.sqlite");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1)").unwrap();
    let mut flipped = whole.clone();
    flipped[3] ^= 0xff;
    let mut odd = whole.clone();
    odd[16..18].copy_from_slice(&[0x12, 0x34]); // a page size that cannot be
    for (what, bytes, sentence) in [
        ("newer", std::fs::read(&newer).unwrap(), "of version 4711, this program knows versions up to"),
        ("foreign", std::fs::read(&foreign).unwrap(), "a database of another program"),
        ("truncated", whole[..whole.len() / 2].to_vec(), "malformed"),
        ("cut in a page", whole[..whole.len() - 1000].to_vec(), "cut off"),
        ("flipped", flipped, "not a database"),
        ("of odd pages", odd, "not a database"),
        ("text", b"Remisser 2026\n".repeat(400), "not a database"),
    ] {
        for end in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(place.beside(end));
        }
        std::fs::write(place.db(), &bytes).unwrap();
        let said = Program::refuses(Program::command(&place), what);
        assert!(said.contains(sentence) && said.contains("gateway.sqlite"), "{what}: {said}");
        assert!(std::fs::read(place.db()).unwrap() == bytes, "{what}: the file was changed");
        assert!(!place.beside("-wal").exists(), "{what}: something was written beside it");
    }
}

#[actix_web::test]
async fn the_second_process_on_a_file_refuses_and_the_first_goes_on() {
    let place = Place::new();
    let first = Program::start(&place);
    let exchange = first.accept(&referral_to(1, crate::world::SOUTH)).await;
    let said = Program::refuses(Program::command(&place), "the second");
    assert!(said.contains("another process has the database open"), "{said}");
    assert_eq!(first.status(&exchange).await, 200);
    first.accept(&referral_to(2, crate::world::SOUTH)).await;
    first.kill();
    assert!(place.beside(".lock").exists(), "what a killed process leaves behind");
    let third = Program::start(&place);
    assert_eq!(third.status(&exchange).await, 200, "a lock file is no lock when its process is gone");
}

#[actix_web::test]
async fn a_log_left_behind_is_read_and_without_it_the_rest_is_whole() {
    let place = Place::new();
    let moved = closed(&place).await;
    let program = Program::start(&place);
    let logged = program.accept(&referral_to(2, crate::world::SOUTH)).await;
    program.kill();
    assert!(std::fs::metadata(place.beside("-wal")).unwrap().len() > 0);
    let program = Program::start(&place);
    assert_eq!(program.status(&logged).await, 200, "what stood in the log is there");
    program.kill();
    // Somebody tidied up. What stood only in the log is gone, which no program can undo; the rest must be whole.
    std::fs::remove_file(place.beside("-wal")).unwrap();
    let _ = std::fs::remove_file(place.beside("-shm"));
    let program = Program::start(&place);
    assert_eq!(program.status(&moved).await, 200);
    program.accept(&referral_to(3, crate::world::SOUTH)).await;
    program.kill();
    let db = Connection::open(place.db()).unwrap();
    assert_eq!(db.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).unwrap(), "ok");
}

/// A database as the first form of the schema left it, without a log: made by `the_fixture_is_written`.
const FIRST: &str = include_str!("disk/first.sql");

fn restore(path: &Path) {
    let db = Connection::open(path).unwrap();
    db.execute_batch(FIRST).unwrap();
    db.pragma_update(None, "journal_mode", "WAL").unwrap();
}

#[actix_web::test]
async fn a_database_of_the_first_program_is_opened_whole_and_what_waited_is_delivered() {
    let place = Place::new();
    restore(&place.db());
    let old = Connection::open(place.db()).unwrap();
    let count =
        |table: &str| old.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0)).unwrap();
    let tables = ["resource", "version", "exchange", "document", "delivery", "audit", "answer"];
    let before: Vec<i64> = tables.iter().map(|table| count(table)).collect();
    assert!(before.iter().all(|count| *count > 0), "{before:?}");
    let waiting = "SELECT count(*) FROM delivery WHERE state = 'waiting'";
    assert!(old.query_row(waiting, [], |row| row.get::<_, i64>(0)).unwrap() > 0);
    drop(old);

    let clinic = crate::world::World::open().await;
    let text = std::fs::read_to_string(place.settings()).unwrap();
    let push =
        format!("[[partner]]\nname = \"primary-care\"\nchannel = \"push\"\nfhir_base = \"{}/fhir\"\n", clinic.clinic);
    std::fs::write(place.settings(), text + &push).unwrap();
    let program = Program::start(&place);
    let get = async |path: &str| -> Value {
        let response = program.http.get(format!("{}{path}", program.url)).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response.json().await.unwrap()
    };
    let all = get("/v1/exchanges").await;
    let exchanges = all["exchanges"].as_array().unwrap().clone();
    assert_eq!(exchanges.len() as i64, before[2]);
    let until = Instant::now() + Duration::from_secs(30);
    for exchange in &exchanges {
        let path = format!("/v1/exchanges/{}", exchange["id"].as_str().unwrap());
        get(&format!("{path}/document")).await;
        // What is read from us has no delivery; what is sent has one, and it was waiting.
        while get(&path).await["deliveries"].as_array().unwrap().iter().any(|d| d["state"] != "delivered") {
            assert!(Instant::now() < until, "what waited was not delivered: {exchange:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    assert!(!clinic.at_clinic("ServiceRequest").await.is_empty());
    let found = get("/fhir/ServiceRequest").await;
    assert!(found["entry"].as_array().is_some_and(|e| !e.is_empty()), "search finds what was there: {found}");
    // The key of then is honoured now: the same answer, nothing new.
    let again = program.http.post(format!("{}/v1/referrals", program.url)).header("Vardkedja-Unit", ONCOLOGY);
    let again = again.header("Idempotency-Key", "first").json(&referral(1)).send().await.unwrap();
    assert_eq!(again.status(), 202);
    program.kill();
    let store = vardkedja::store::Store::open(&place.db(), vardkedja::store::Options::default()).unwrap();
    assert!(store.verify_audit().await.unwrap() as i64 >= before[5], "the audit log goes on where it was");
    clinic.close().await;
}

/// Not a test: how the fixture was made, with the first released schema. It must not be made again with a newer one.
#[actix_web::test]
#[ignore = "writes tests/it/disk/first.sql from the schema of this program; only version 1 may"]
async fn the_fixture_is_written() {
    let place = Place::new();
    let text = std::fs::read_to_string(place.settings()).unwrap();
    let push = "[[partner]]\nname = \"primary-care\"\nchannel = \"push\"\nfhir_base = \"http://127.0.0.1:9/fhir\"\n";
    std::fs::write(place.settings(), text + push).unwrap();
    let mut program = Program::start(&place);
    let url = format!("{}/v1/referrals", program.url);
    let first = program.http.post(url).header("Vardkedja-Unit", ONCOLOGY).header("Idempotency-Key", "first");
    assert_eq!(first.json(&referral(1)).send().await.unwrap().status(), 202);
    program.accept(&referral_to(2, crate::world::SOUTH)).await;
    Command::new("kill").args(["-TERM", &program.process.id().to_string()]).status().unwrap();
    program.process.wait().unwrap();
    let dump = Command::new("sqlite3").arg(place.db()).arg(".dump").output().unwrap();
    let sql = String::from_utf8(dump.stdout).unwrap();
    let db = Connection::open(place.db()).unwrap();
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 1, "the fixture is of the first schema");
    std::fs::write("tests/it/disk/first.sql", format!("{sql}PRAGMA user_version = 1;\n")).unwrap();
}
