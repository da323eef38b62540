//! The real program as a process of its own, with its log; and a wire that writes down what goes over it.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How long anything is waited for that ought to happen at once.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Program {
    process: Child,
    pub url: String,
    pub db: PathBuf,
    log: Arc<Mutex<String>>,
}

impl Program {
    /// Starts `serve` in a folder. `settings` comes after `listen` and `db`: more of [gateway] first.
    pub fn start(folder: &Path, settings: &str, environment: &[(&str, &str)]) -> Self {
        let file = folder.join("program.toml");
        let text = format!("[gateway]\nlisten = \"127.0.0.1:0\"\ndb = \"program.sqlite\"\n{settings}");
        std::fs::write(&file, text).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_vardkedja"))
            .args(["serve", "--config", file.to_str().unwrap()])
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (kept, errors) = (Arc::clone(&log), process.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                let mut kept = kept.lock().unwrap();
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ");
        let url = url.unwrap_or_else(|| panic!("it did not start: {}", log.lock().unwrap())).to_owned();
        Self { process, url, db: folder.join("program.sqlite"), log }
    }

    /// All lines of its log so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "it did not end: {}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// SIGTERM, and the end of it.
    pub async fn stop(mut self) -> String {
        self.signal("-TERM");
        assert!(self.ended().await.success(), "{}", self.log());
        self.log()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs another verb to its end: whether it ended well, and what it said on both outputs.
pub fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vardkedja"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code(), said)
}

/// Stands between two programs, carries everything, and keeps a copy of each direction.
pub struct Wire {
    pub url: String,
    there: Arc<Mutex<Vec<u8>>>,
    back: Arc<Mutex<Vec<u8>>>,
}

impl Wire {
    /// `to` is an address like `http://127.0.0.1:8080`.
    pub async fn to(to: &str) -> Self {
        let to = to.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (there, back) = (Arc::default(), Arc::default());
        let wire = Self { url, there: Arc::clone(&there), back: Arc::clone(&back) };
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(&to).await else { continue };
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = far.into_split();
                tokio::spawn(carry(near_in, far_out, Arc::clone(&there)));
                tokio::spawn(carry(far_in, near_out, Arc::clone(&back)));
            }
        });
        wire
    }

    /// What was sent there, as text.
    pub fn there(&self) -> String {
        String::from_utf8_lossy(&self.there.lock().unwrap()).into_owned()
    }

    /// What came back, as text.
    pub fn back(&self) -> String {
        String::from_utf8_lossy(&self.back.lock().unwrap()).into_owned()
    }
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    copy: Arc<Mutex<Vec<u8>>>,
) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        copy.lock().unwrap().extend_from_slice(&piece[..read]);
        if to.write_all(&piece[..read]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
