//! Public keys at an address: kept, changed, and an address that misbehaves.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{Door, Key, registry};

/// A server that answers every request with the same bytes, after a while or never, and counts them.
pub struct Publisher {
    pub url: String,
    answer: Arc<Mutex<Option<Vec<u8>>>>,
    asked: Arc<AtomicUsize>,
}

impl Publisher {
    pub async fn open(answer: Option<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::new(AtomicUsize::new(0)));
        let (to_send, count) = (Arc::clone(&answer), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let bytes = to_send.lock().unwrap().clone();
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let _ = socket.read(&mut [0; 4096]).await;
                    match bytes {
                        Some(bytes) => drop(socket.write_all(&bytes).await),
                        None => drop(socket.read(&mut [0]).await),
                    }
                });
            }
        });
        Self { url, answer, asked }
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub fn answer(&self, bytes: Vec<u8>) {
        *self.answer.lock().unwrap() = Some(bytes);
    }
}

pub fn http(status: &str, more: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\n{more}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// The same as gzip, behind a megabyte of spaces that take a few bytes.
fn packed(body: &str) -> Vec<u8> {
    let (input, output) = (std::process::Stdio::piped(), std::process::Stdio::piped());
    let mut packer = std::process::Command::new("gzip").arg("-c").stdin(input).stdout(output).spawn().unwrap();
    let text = format!("{}{body}", " ".repeat(1_000_000));
    std::io::Write::write_all(&mut packer.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let bytes = packer.wait_with_output().unwrap().stdout;
    let head = format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        bytes.len()
    );
    [head.into_bytes(), bytes].concat()
}

pub fn at(url: &str) -> String {
    registry("system/Procedure.rs").replace("jwks_file = \"registry.json\"", &format!("jwks_url = \"{url}\""))
}

#[actix_web::test]
async fn keys_at_an_address_are_fetched_once_for_many_and_a_new_key_is_found() {
    let (old, new) = (Key::es384("k1"), Key::es384("k2"));
    let publisher = Publisher::open(Some(http("200 OK", "", &old.jwks()))).await;
    let door = Door::open(&[], &at(&publisher.url)).await;
    let shown: Vec<String> = (0..10).map(|_| old.sign(&door.claims("registry"))).collect();
    let all = shown.iter().map(|assertion| door.show(assertion, ""));
    let mut statuses = Vec::new();
    for one in all {
        statuses.push(one.await.status);
    }
    assert_eq!(statuses, [200; 10]);
    assert_eq!(publisher.asked(), 1);
    // A stranger's key makes us look once, not each time; so the new key may have to wait for a minute.
    for _ in 0..20 {
        assert_eq!(door.show(&new.sign(&door.claims("registry")), "").await.status, 401);
    }
    assert_eq!(publisher.asked(), 1, "they were read a moment ago");
    publisher.answer(http("200 OK", "", &new.jwks()));
    assert_eq!(
        door.show(&old.sign(&door.claims("registry")), "").await.status,
        200,
        "what was read is kept for a while"
    );
    door.close().await;
}

#[actix_web::test]
async fn keys_in_the_settings_themselves_do() {
    let key = Key::es384("k1");
    let inline =
        registry("system/Procedure.rs").replace("jwks_file = \"registry.json\"", &format!("jwks = '{}'", key.jwks()));
    let door = Door::open(&[], &inline).await;
    door.token("registry", &key, "").await;
    door.close().await;
}

#[actix_web::test]
async fn an_address_that_misbehaves_costs_a_bounded_time_and_lets_nobody_in() {
    let key = Key::es384("k1");
    let inside = Publisher::open(Some(http("200 OK", "", &key.jwks()))).await;
    let padded = format!("{{\"keys\":[{}],\"more\":\"{}\"}}", key.public(), "a".repeat(70_000));
    let endless =
        [http("200 OK", "Transfer-Encoding: chunked\r\nX: ", ""), b"ffffff\r\n".to_vec(), vec![b' '; 3_000_000]]
            .concat();
    for (what, answer) in [
        ("it hangs", None),
        ("it redirects to where keys are", Some(http("302 Found", &format!("Location: {}\r\n", inside.url), ""))),
        ("it is huge", Some(http("200 OK", "", &padded))),
        ("it does not end", Some(endless)),
        ("it is packed, and would unpack", Some(packed(&key.jwks()))),
        ("it is no JSON", Some(http("200 OK", "", "<html>"))),
        ("it nests", Some(http("200 OK", "", &format!("{{\"keys\":{}{}}}", "[".repeat(5000), "]".repeat(5000))))),
        ("it is not found", Some(http("404 Not Found", "", &key.jwks()))),
    ] {
        let publisher = Publisher::open(answer).await;
        let door = Door::open(&[], &format!("[oauth]\njwks_s = 1\n{}", at(&publisher.url))).await;
        let started = Instant::now();
        let shown: Vec<String> = (0..8).map(|_| key.sign(&door.claims("registry"))).collect();
        let mut waiting = tokio::task::JoinSet::new();
        for assertion in shown {
            let (http, url) = (door.http.clone(), door.token_url());
            let body = super::form(&[
                ("grant_type", "client_credentials"),
                ("client_assertion_type", super::JWT_BEARER),
                ("client_assertion", &assertion),
            ]);
            waiting.spawn(async move {
                let request = http.post(url).header("Content-Type", "application/x-www-form-urlencoded").body(body);
                request.send().await.unwrap().status().as_u16()
            });
        }
        assert_eq!(waiting.join_all().await, [401; 8], "{what}");
        assert!(started.elapsed() < Duration::from_secs(6), "{what}: eight of them waited for one");
        assert_eq!(publisher.asked(), 1, "{what}: it is asked once");
        assert_eq!(door.get("/health/live", "", &[]).await.status, 200);
        door.close().await;
    }
    assert_eq!(inside.asked(), 0, "a redirect is not followed");
}

#[actix_web::test]
async fn keys_are_not_fetched_from_where_nothing_is_fetched_from() {
    let key = Key::es384("k1");
    let file = |url: &str| {
        let folder = std::env::temp_dir().join(format!("oauth-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("gateway.toml");
        // Beyond loopback, so that this machine is no address for partners either; it is not started.
        let open = "[gateway]\nlisten = \"0.0.0.0:0\"\nbehind_proxy = true\n";
        std::fs::write(&path, format!("{open}{}", at(url))).unwrap();
        let loaded = vardkedja::config::Config::load(Some(&path)).map_err(|e| e.to_string());
        std::fs::remove_dir_all(folder).unwrap();
        loaded
    };
    for url in [
        "http://127.0.0.1:8080/jwks",
        "http://169.254.169.254/jwks",
        "http://[::1]/jwks",
        "http://0.0.0.0/jwks",
        "file:///etc/passwd",
    ] {
        assert!(file(url).unwrap_err().contains("jwks_url"), "{url}");
    }
    // A name is judged when it is connected to.
    let publisher = Publisher::open(Some(http("200 OK", "", &key.jwks()))).await;
    let named = publisher.url.replace("127.0.0.1", "localhost");
    let config = file(&named).unwrap();
    let keys = config.client("registry").unwrap().keys.clone().unwrap();
    let keyring = vardkedja::access::Keyring::default();
    let found = keyring.find(&config, &keys, Some("k1"), key.algorithm, super::now()).await;
    assert!(
        found.found.is_none() && found.fetched.is_some_and(|fetched| fetched.result.is_err()) && publisher.asked() == 0,
        "localhost is this machine"
    );
}
