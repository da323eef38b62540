//! A primary care system that takes everything: it answers each transaction, and notes when which referral arrived.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::load::head;

/// When which referral arrived, by its number.
#[derive(Clone, Default)]
pub struct Arrivals(Arc<Mutex<HashMap<u64, Instant>>>);

impl Arrivals {
    pub fn count(&self) -> usize {
        self.0.lock().expect("arrivals").len()
    }

    pub fn take(&self) -> HashMap<u64, Instant> {
        std::mem::take(&mut self.0.lock().expect("arrivals"))
    }
}

/// Starts one in a thread of its own; its address as `http://…`.
pub fn start() -> (String, Arrivals) {
    let arrivals = Arrivals::default();
    let noted = arrivals.clone();
    (listen(move |stream| drop(tokio::spawn(serve(stream, noted.clone())))), arrivals)
}

/// A partner that takes connections and never answers.
pub fn start_dead() -> String {
    let kept = Mutex::new(Vec::new());
    listen(move |stream| kept.lock().expect("connections").push(stream))
}

fn listen(mut take: impl FnMut(TcpStream) + Send + 'static) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    listener.set_nonblocking(true).expect("a listener");
    std::thread::spawn(move || {
        crate::load::runtime().block_on(async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                take(stream);
            }
        });
    });
    format!("http://{address}")
}

async fn serve(mut stream: TcpStream, arrivals: Arrivals) {
    let mut buffer = Vec::new();
    loop {
        let request = loop {
            if let Some(head) = head(&buffer)
                && buffer.len() >= head.bytes + head.length
            {
                break head;
            }
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let whole = request.bytes + request.length;
        let answer = if buffer.starts_with(b"POST") {
            take_in(&buffer[request.bytes..whole], &arrivals)
        } else {
            // It has no Tasks yet, and says nothing of what it can.
            r#"{"resourceType":"Bundle","type":"searchset","entry":[]}"#.to_owned()
        };
        buffer.drain(..whole);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        if stream.write_all(&[head.as_bytes(), answer.as_bytes()].concat()).await.is_err() {
            return;
        }
    }
}

#[derive(Deserialize)]
struct Bundle {
    entry: Vec<IgnoredAny>,
}

/// The transaction-response, and a note of the referral that was in it.
fn take_in(body: &[u8], arrivals: &Arrivals) -> String {
    let bundle: Bundle = serde_json::from_slice(body).expect("a Bundle");
    let arrived_at = Instant::now();
    let text = std::str::from_utf8(body).expect("text");
    if let Some((_, rest)) = text.split_once("#R-")
        && let Some(Ok(number)) = rest.get(..8).map(str::parse)
    {
        arrivals.0.lock().expect("arrivals").entry(number).or_insert(arrived_at);
    }
    let entries = vec![r#"{"response":{"status":"201"}}"#; bundle.entry.len()].join(",");
    format!(r#"{{"resourceType":"Bundle","type":"transaction-response","entry":[{entries}]}}"#)
}
