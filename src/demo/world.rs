//! Two programs of their own: the gateway (`serve`, as anybody would start it) and a primary care system, each with its
//! own database in a folder that is removed afterwards.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long a program may take until it listens.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is running.
pub struct World {
    pub folder: PathBuf,
    pub gateway: String,
    pub clinic: String,
    programs: Vec<Child>,
}

impl World {
    /// Starts the primary care system and then the gateway, which needs its address.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("vardkedja-demo-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let database = folder.join("primary-care.db");
        let arguments = ["demo-receiver", "--db", &database.to_string_lossy()].map(str::to_owned);
        let (clinic, clinic_address) = launch(&arguments, &folder, "primary-care").await?;
        let config = folder.join("vardkedja.toml");
        std::fs::write(&config, settings(&clinic_address))?;
        let arguments = ["serve", "--config", &config.to_string_lossy()].map(str::to_owned);
        let (gateway, gateway_address) = launch(&arguments, &folder, "gateway").await?;
        Ok(Self { folder, gateway: gateway_address, clinic: clinic_address, programs: vec![gateway, clinic] })
    }

    /// The FHIR base of the primary care system.
    pub fn clinic_fhir(&self) -> String {
        format!("{}/fhir", self.clinic)
    }

    /// Stops both, the gateway first, so that it can finish what it is sending.
    pub async fn stop(mut self) {
        for program in &mut self.programs {
            if let Some(id) = program.id() {
                let _ = Command::new("kill").arg("-TERM").arg(id.to_string()).status().await;
            }
            if tokio::time::timeout(Duration::from_secs(10), program.wait()).await.is_err() {
                let _ = program.kill().await;
            }
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The gateway's settings for the demo: what an installation would write, with short waits.
fn settings(clinic: &str) -> String {
    format!(
        "[gateway]\nlisten = \"127.0.0.1:0\"\ndb = \"gateway.db\"\n\n[delivery]\nretry_s = [1, 2, 5]\npoll_s = 1\n\n\
         [[partner]]\nname = \"platform\"\nchannel = \"poll\"\n\n\
         [[partner]]\nname = \"primary-care\"\nchannel = \"push\"\nfhir_base = \"{clinic}/fhir\"\n\n\
         [[partner]]\nname = \"reader\"\nchannel = \"poll\"\n\n\
         [[partner]]\nname = \"municipality\"\nchannel = \"poll\"\n"
    )
}

async fn launch(arguments: &[String], folder: &Path, name: &str) -> anyhow::Result<(Child, String)> {
    let log = std::fs::File::create(folder.join(format!("{name}.log")))?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::from(log))
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let listening = async {
        while let Some(line) = lines.next_line().await? {
            if let Some(address) = line.strip_prefix("listening on ") {
                return Ok(Some(address.trim().to_owned()));
            }
        }
        Ok::<_, std::io::Error>(None)
    };
    match tokio::time::timeout(PATIENCE, listening).await {
        Ok(Ok(Some(address))) => {
            // The pipe stays open, so that the program can go on printing.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            Ok((child, address))
        }
        _ => bail!("{name} did not start; it said:\n{}", std::fs::read_to_string(folder.join(format!("{name}.log")))?),
    }
}
