//! The load: connections that send prepared requests and read answers, with as little work of their own as can be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::figures::quantile;

pub fn post(path: &str, headers: &str, media_type: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

pub fn get(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").into_bytes()
}

/// A connection that is kept.
pub struct Line {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Line {
    pub async fn open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(64 * 1024) })
    }

    /// Sends a request and reads the whole answer: its status and body.
    pub async fn ask(&mut self, request: &[u8]) -> std::io::Result<(u16, &[u8])> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let Some(head) = head(&self.buffer) else { continue };
            if head.chunked {
                while !self.buffer.ends_with(b"\r\n0\r\n\r\n") {
                    if self.stream.read_buf(&mut self.buffer).await? == 0 {
                        return Err(std::io::ErrorKind::UnexpectedEof.into());
                    }
                }
                return Ok((head.status, &self.buffer[head.bytes..]));
            }
            while self.buffer.len() < head.bytes + head.length {
                if self.stream.read_buf(&mut self.buffer).await? == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
            }
            return Ok((head.status, &self.buffer[head.bytes..head.bytes + head.length]));
        }
    }
}

/// The first lines of an answer or request.
pub struct Head {
    pub bytes: usize,
    pub length: usize,
    /// Its length is not known before its end.
    pub chunked: bool,
    /// Of an answer.
    pub status: u16,
}

pub fn head(buffer: &[u8]) -> Option<Head> {
    let end = buffer.windows(4).position(|w| w == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&buffer[..end]).ok()?;
    let status = text.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    let length = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok());
    Some(Head { bytes: end + 4, length: length.unwrap_or(0), chunked: length.is_none() && is_chunked(text), status })
}

fn is_chunked(head: &str) -> bool {
    head.lines().any(|line| line.eq_ignore_ascii_case("transfer-encoding: chunked"))
}

/// What a run came to.
pub struct Run {
    pub answers: usize,
    pub took: Duration,
    /// Microseconds from the request to the end of its answer.
    pub times: Vec<u32>,
}

impl Run {
    pub fn per_s(&self) -> f64 {
        self.answers as f64 / self.took.as_secs_f64()
    }

    pub fn milliseconds(&mut self, share: f64) -> f64 {
        quantile(&mut self.times, share) / 1000.0
    }
}

/// The load has one thread, so that it takes no more than one core from the program.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// So many clients, each sending the next request when the last is answered. Every answer must have the status expected.
pub async fn closed_loop(
    address: SocketAddr,
    clients: usize,
    run: Duration,
    expected: u16,
    make: Arc<dyn Fn() -> Vec<u8> + Send + Sync>,
) -> Run {
    let mut lines = Vec::new();
    for _ in 0..clients {
        lines.push(Line::open(address).await.expect("a connection"));
    }
    // Connections and caches are warm before the clock starts.
    let begin = Instant::now() + run / 8;
    let end = begin + run;
    let tasks: Vec<_> = lines
        .into_iter()
        .map(|mut line| {
            let make = Arc::clone(&make);
            tokio::spawn(async move {
                let mut times = Vec::new();
                loop {
                    let request = make();
                    let sent = Instant::now();
                    if sent >= end {
                        return times;
                    }
                    let (status, body) = line.ask(&request).await.expect("an answer");
                    assert!(status == expected, "answered {status}: {}", String::from_utf8_lossy(body));
                    if sent >= begin {
                        times.push(sent.elapsed().as_micros() as u32);
                    }
                }
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.expect("a client"));
    }
    Run { answers: times.len(), took: begin.elapsed(), times }
}

/// The same request again and again, or several in turn.
pub fn in_turn(requests: Vec<Vec<u8>>) -> Arc<dyn Fn() -> Vec<u8> + Send + Sync> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    Arc::new(move || {
        let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        requests[at % requests.len()].clone()
    })
}

/// One request, one answer.
pub fn once(address: SocketAddr, request: &[u8]) -> (u16, Vec<u8>) {
    runtime().block_on(async {
        let mut line = Line::open(address).await.expect("a connection");
        let (status, body) = line.ask(request).await.expect("an answer");
        (status, body.to_vec())
    })
}
