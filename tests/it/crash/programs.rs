//! The two programs as processes of their own, and the moments at which they are killed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use tokio::sync::oneshot;

/// Where both systems live: a folder, the receiver's port, and where the gateway listens this time.
#[derive(Clone)]
pub struct Site {
    pub folder: PathBuf,
    pub clinic: String,
    gateway: Arc<Mutex<String>>,
}

impl Site {
    pub fn open() -> Self {
        let folder = std::env::temp_dir().join(format!("vardkedja-crash-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        // Below the ports that the system hands out by itself, so that it is still free after a restart.
        let port = (0..1000)
            .map(|_| fastrand::u16(15_000..30_000))
            .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
            .unwrap();
        let site = Self { folder, clinic: format!("http://127.0.0.1:{port}"), gateway: Arc::default() };
        let text = format!(
            "[gateway]\nlisten = \"127.0.0.1:0\"\ndb = \"gateway.sqlite\"\nbase_url = \"http://gateway.example\"\n\
             [delivery]\nretry_s = [1]\npoll_s = 1\n\
             [[partner]]\nname = \"platform\"\nchannel = \"poll\"\n\
             [[partner]]\nname = \"primary-care\"\nchannel = \"push\"\nfhir_base = \"{}/fhir\"\ntimeout_s = 1\n\
             max_in_flight = 8\n\
             [[partner]]\nname = \"reader\"\nchannel = \"poll\"\n[transfer]\nrules = \"transfer.toml\"\n",
            site.clinic
        );
        // What waits for a person is nothing to be delivered.
        let rules = include_str!("../../../src/config/transfer.toml").replace("riv = \"hold\"", "riv = \"warn\"");
        std::fs::write(site.folder.join("transfer.toml"), rules).unwrap();
        std::fs::write(site.folder.join("gateway.toml"), text).unwrap();
        site
    }

    /// Where the gateway listened last; nobody may be there now.
    pub fn gateway(&self) -> String {
        self.gateway.lock().unwrap().clone()
    }

    pub fn gateway_db(&self) -> PathBuf {
        self.folder.join("gateway.sqlite")
    }

    pub fn receiver_db(&self) -> PathBuf {
        self.folder.join("receiver.sqlite")
    }
}

/// When the gateway is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Somewhere in the first milliseconds of the process: opening, recovering the log, migrating, loading.
    Starting,
    /// Just when it says that it listens, and everybody who waited rushes in.
    Listening,
    /// While it works.
    Working,
    /// When the log is being moved into the database.
    Checkpoint,
}

impl Moment {
    pub fn any(rng: &mut fastrand::Rng) -> Self {
        match rng.u8(..20) {
            0..4 => Self::Starting,
            4..6 => Self::Listening,
            6..9 => Self::Checkpoint,
            _ => Self::Working,
        }
    }
}

/// The program under test; `CRASH_PROGRAM` names another, for instance a release build.
fn program() -> PathBuf {
    std::env::var_os("CRASH_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_vardkedja").into(), PathBuf::from)
}

/// The gateway's process.
pub struct Gateway {
    process: Child,
    /// The address, when it has been said.
    said: Option<oneshot::Receiver<String>>,
}

impl Gateway {
    pub fn spawn(site: &Site) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(site.folder.join("gateway.log")).unwrap();
        let mut process = Command::new(program())
            .args(["serve", "--config"])
            .arg(site.folder.join("gateway.toml"))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let stdout = process.stdout.take().unwrap();
        let (say, said) = oneshot::channel();
        let site = site.clone();
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            if let Some(url) = line.trim().strip_prefix("listening on ") {
                *site.gateway.lock().unwrap() = url.to_owned();
                let _ = say.send(url.to_owned());
            }
        });
        Self { process, said: Some(said) }
    }

    /// Waits until it listens. A program that ends instead has refused its own database: that is a failure of the test.
    pub async fn listening_again(&mut self, site: &Site) {
        let said = tokio::time::timeout(Duration::from_secs(60), self.said.take().unwrap()).await;
        if !matches!(said, Ok(Ok(_))) {
            let log = std::fs::read_to_string(site.folder.join("gateway.log")).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(5).collect();
            panic!("the gateway did not start after a kill ({}): {last:#?}", site.folder.display());
        }
    }

    pub async fn listening(&self, site: &Site) {
        let until = Instant::now() + Duration::from_secs(60);
        let client = http();
        while client.get(format!("{}/health/ready", site.gateway())).send().await.is_err() {
            assert!(Instant::now() < until, "the gateway did not start: {}", site.folder.display());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Lives until the moment, then is killed.
    pub async fn kill_at(mut self, moment: Moment, site: &Site, rng: &mut fastrand::Rng) {
        match moment {
            Moment::Starting => tokio::time::sleep(Duration::from_micros(rng.u64(..250_000))).await,
            Moment::Listening => {
                self.listening_again(site).await;
                tokio::time::sleep(Duration::from_micros(rng.u64(..20_000))).await;
            }
            Moment::Working => {
                self.listening_again(site).await;
                tokio::time::sleep(Duration::from_millis(rng.u64(20..1200))).await;
            }
            Moment::Checkpoint => {
                self.listening_again(site).await;
                let changed = || modified(&site.gateway_db());
                let (before, until) = (changed(), Instant::now() + Duration::from_millis(1500));
                while changed() == before && Instant::now() < until {
                    tokio::time::sleep(Duration::from_micros(200)).await;
                }
                tokio::time::sleep(Duration::from_micros(rng.u64(..3000))).await;
            }
        }
        self.kill();
    }

    /// SIGKILL: nothing of it gets to say goodbye.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// In WAL mode the database file itself changes only when the log is moved into it.
fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
}

/// The primary care system's process.
pub struct Receiver {
    process: Child,
    base: String,
}

/// What goes wrong with the requests to the receiver, and how often.
const FAULTS: [(&str, f64, u64); 14] = [
    ("error", 0.03, 0),
    ("busy", 0.03, 0),
    ("lost-answer", 0.05, 0),
    ("hang", 0.01, 1_300), // beyond the gateway's patience of one second: not done
    ("late", 0.01, 1_300), // the same: done, and answered to nobody
    ("hang", 0.05, 60),
    ("late", 0.03, 60),
    ("html", 0.01, 0),
    ("outcome", 0.01, 0),
    ("empty", 0.01, 0),
    ("truncated", 0.03, 0),
    ("reset", 0.03, 0),
    ("garbage", 0.01, 0),
    ("repeated", 0.04, 0),
];

impl Receiver {
    pub fn start(site: &Site) -> Self {
        let address = site.clinic.trim_start_matches("http://");
        let mut process = Command::new(program())
            .args(["demo-receiver", "--listen", address, "--db"])
            .arg(site.receiver_db())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("listening on "), "the receiver did not start at {address}");
        Self { process, base: site.clinic.clone() }
    }

    pub async fn misbehave(&self, rng: &mut fastrand::Rng) {
        for (kind, probability, milliseconds) in FAULTS {
            let fault = json!({
                "kind": kind, "probability": probability, "seed": rng.u64(..1_000_000), "milliseconds": milliseconds,
                "retryAfterSeconds": 1,
            });
            self.tell(reqwest::Method::POST, fault.to_string()).await;
        }
    }

    pub async fn behave(&self) {
        self.tell(reqwest::Method::DELETE, String::new()).await;
    }

    pub async fn tell(&self, method: reqwest::Method, body: String) {
        let until = Instant::now() + Duration::from_secs(20);
        let client = http();
        loop {
            let request = client.request(method.clone(), format!("{}/faults", self.base)).body(body.clone());
            match request.send().await {
                Ok(response) => return assert!(response.status().is_success()),
                Err(error) => assert!(Instant::now() < until, "the receiver does not answer: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The Tasks that the receiver has of ours: our id, and the status its people gave it.
    pub fn tasks(&self, site: &Site) -> Vec<super::effects::Task> {
        super::effects::Effects::read(site).tasks
    }

    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap()
}
