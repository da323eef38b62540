//! Connections that take their time. The server below bounds the head of a connection's first request only: whoever sends
//! one good request could trickle the next for ever, or never read the answer. Here every connection has a moment by which it
//! must be at work again, and one that is not is closed.

use std::any::Any;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream as TokioStream;

use super::super::tls::below;
use crate::config::Limits;

/// How often the connections are looked at.
const ROUND: Duration = Duration::from_millis(500);
/// How long an answer of "too slow" may take to be read before the connection is closed.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// All open connections of the server.
pub struct Watch {
    /// How long a connection may take until it has its next request, or has read its answer.
    patience: Duration,
    connections: Mutex<Vec<Weak<Connection>>>,
}

/// One connection, by a second handle on its socket.
pub struct Connection {
    socket: TcpStream,
    patience: Duration,
    /// `None` while a request is worked on: the work has bounds of its own.
    until: Mutex<Option<Instant>>,
}

impl Watch {
    /// Begins to look after connections, for as long as somebody holds the watch.
    pub fn begin(limits: &Limits) -> Arc<Self> {
        let patience = Duration::from_secs(limits.header_s.saturating_add(limits.keep_alive_s));
        let watch = Arc::new(Self { patience, connections: Mutex::default() });
        let held = Arc::downgrade(&watch);
        tokio::spawn(async move {
            while let Some(watch) = held.upgrade() {
                watch.sweep(Instant::now());
                drop(watch);
                tokio::time::sleep(ROUND).await;
            }
        });
        watch
    }

    /// For `HttpServer::on_connect`: also notes the certificate that the caller has shown.
    pub fn add(&self, socket: &dyn Any, data: &mut Extensions) {
        let socket = match socket.downcast_ref::<TlsStream<TokioStream>>().map(below) {
            Some((socket, shown)) => {
                shown.map(|shown| data.insert(shown));
                Some(socket)
            }
            None => socket.downcast_ref::<TokioStream>(),
        };
        let Some(socket) = socket else { return };
        // Without a second handle, when no file descriptor is left, the connection goes on unwatched.
        let Ok(socket) = socket.as_fd().try_clone_to_owned() else { return };
        let until = Mutex::new(Some(Instant::now() + self.patience));
        let connection = Arc::new(Connection { socket: TcpStream::from(socket), patience: self.patience, until });
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&connection));
        data.insert(connection);
    }

    fn sweep(&self, now: Instant) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|connection| connection.upgrade().is_some_and(|open| !open.close_if_late(now)));
    }
}

impl Connection {
    /// A request has come.
    pub fn begin(&self) {
        self.set(None);
    }

    /// It is answered; the answer is to be read, and the next request to come.
    pub fn end(&self) {
        // A moment that was set while the request was worked on stays.
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.get_or_insert(Instant::now() + self.patience);
    }

    /// A part of the answer was taken, and more of it follows.
    pub fn goes_on(&self) {
        self.set(Some(Instant::now() + self.patience));
    }

    /// Nothing more is expected of it: it is closed after the answer.
    pub fn dismiss(&self) {
        self.set(Some(Instant::now() + LAST_WORDS));
    }

    fn set(&self, moment: Option<Instant>) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = moment;
    }

    fn close_if_late(&self, now: Instant) -> bool {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let late = until.is_some_and(|until| until <= now);
        if late {
            // It may have been closed already by the other side.
            let _ = self.socket.shutdown(Shutdown::Both);
        }
        late
    }
}
