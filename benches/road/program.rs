//! The real program as a process of its own: started with settings in a folder, watched through `/proc`, stopped.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Program {
    process: Child,
    pub address: SocketAddr,
    /// From the start of the process to the line that says it listens.
    pub started_in: Duration,
}

impl Program {
    /// `settings` is what follows `[gateway]` with address and database.
    pub fn start(folder: &Path, database: &Path, settings: &str) -> Self {
        let file = folder.join("gateway.toml");
        let text = format!("[gateway]\nlisten = \"127.0.0.1:0\"\ndb = \"{}\"\n{settings}", database.display());
        std::fs::write(&file, text).expect("settings are written");
        let started = Instant::now();
        let mut process = Command::new(env!("CARGO_BIN_EXE_vardkedja"))
            .args(["serve", "--config"])
            .arg(&file)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.join("gateway.log")).expect("a log file"))
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let out = process.stdout.as_mut().expect("its output");
        BufReader::new(out).read_line(&mut line).expect("a line of its output");
        let address = line.trim().strip_prefix("listening on http://").and_then(|a| a.parse().ok());
        let log = folder.join("gateway.log");
        let address = address.unwrap_or_else(|| panic!("the program does not listen; see {}", log.display()));
        Self { process, address, started_in: started.elapsed() }
    }

    /// CPU time of the process so far.
    pub fn cpu(&self) -> Duration {
        let text = self.proc("stat");
        let fields: Vec<u64> =
            text.rsplit(')').next().unwrap_or_default().split_whitespace().map(|f| f.parse().unwrap_or(0)).collect();
        // utime and stime, the 14th and 15th field, in hundredths of a second.
        Duration::from_millis((fields.get(11).unwrap_or(&0) + fields.get(12).unwrap_or(&0)) * 10)
    }

    /// Memory that the process holds, in MiB.
    pub fn resident_mib(&self) -> f64 {
        let text = self.proc("status");
        let line = text.lines().find(|l| l.starts_with("VmRSS:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
    }

    /// The most that it has held so far, in MiB.
    pub fn peak_mib(&self) -> f64 {
        let text = self.proc("status");
        let line = text.lines().find(|l| l.starts_with("VmHWM:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.process.id())).unwrap_or_default()
    }

    /// Stops it as a service manager does, and waits for the end.
    pub fn stop(mut self) {
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An empty folder of that name.
pub fn fresh(folder: &Path, name: &str) -> PathBuf {
    let folder = folder.join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}
