//! A running gateway for tests: in this process, on a port, with a folder and a database of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use vardkedja::StartError;
use vardkedja::config::Config;

pub struct TestGateway {
    /// `http://127.0.0.1:port`
    pub url: String,
    pub config: Config,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<Result<(), StartError>>,
    /// Removed at the end, where it is this gateway's own.
    folder: Option<PathBuf>,
}

impl TestGateway {
    /// Starts one with the example units. `settings` is TOML after the section `[gateway]`: partners, limits, delivery.
    pub async fn start(settings: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("gateway-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let mut gateway = Self::start_in(&folder, settings).await;
        gateway.folder = Some(folder);
        gateway
    }

    /// Starts one in a folder that outlives it, for another to go on from.
    pub async fn start_in(folder: &Path, settings: &str) -> Self {
        let file = folder.join("gateway.toml");
        let text = format!("[gateway]\nlisten = \"127.0.0.1:0\"\ndb = \"gateway.sqlite\"\n{settings}");
        std::fs::write(&file, text).unwrap();
        Self::start_as(Config::load(Some(&file)).unwrap()).await
    }

    /// Starts one with settings that somebody else has made.
    pub async fn start_as(mut config: Config) -> Self {
        let listener = TcpListener::bind(config.listen).unwrap();
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        // Where the settings say how it is known, that holds.
        if config.base_url.ends_with(":0") {
            config.base_url.clone_from(&url);
        }
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { stopped.await.unwrap_or_default() };
        let mut server = tokio::spawn(vardkedja::run(config.clone(), listener, shutdown));
        let client = reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true).build().unwrap();
        let live = client.get(format!("{url}/health/live")).send();
        tokio::select! {
            ended = &mut server => panic!("the gateway did not start: {:?}", ended.unwrap()),
            answer = live => assert!(answer.unwrap().status().is_success()),
        }
        Self { url, config, stop: Some(stop), server, folder: None }
    }

    /// Stops it as a signal would: requests and deliveries under way are finished.
    pub async fn stop(mut self) {
        self.stop.take();
        (&mut self.server).await.unwrap().unwrap();
    }
}

impl TestGateway {
    /// Stops it, and does something with its folder before that goes away.
    pub async fn stop_and(mut self, work: impl FnOnce()) {
        self.stop.take();
        (&mut self.server).await.unwrap().unwrap();
        work();
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}
