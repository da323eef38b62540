//! The thread through systems: W3C Trace Context (<https://www.w3.org/TR/trace-context/>), taken from who calls us and handed
//! to whom we call. A delivery goes on with the thread of the request that caused it, for as long as this process remembers.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

/// Threads that are remembered; after that, and after a restart, a delivery begins one of its own.
const REMEMBERED: usize = 10_000;

/// Where we are in a thread: its number and the step we are at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    pub trace_id: u128,
    pub span_id: u64,
    /// Bit 0: somebody upstream keeps this thread.
    pub flags: u8,
}

tokio::task_local! {
    static CURRENT: TraceContext;
}

impl TraceContext {
    /// Reads a `traceparent` header. Only what is well-formed counts: anything else may be whatever a caller wrote.
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let known = version == "00" && parts.next().is_none();
        let later = version != "00" && version != "ff" && is_hex(version, 2);
        if !(known || later) || !is_hex(trace, 32) || !is_hex(span, 16) || !is_hex(flags, 2) {
            return None;
        }
        let context = Self {
            trace_id: u128::from_str_radix(trace, 16).ok()?,
            span_id: u64::from_str_radix(span, 16).ok()?,
            flags: u8::from_str_radix(flags, 16).ok()? & 1,
        };
        (context.trace_id != 0 && context.span_id != 0).then_some(context)
    }

    /// A thread that begins here.
    pub fn fresh() -> Self {
        Self::with(Uuid::new_v4().as_u128())
    }

    /// A thread with a number that was given.
    pub fn with(trace_id: u128) -> Self {
        Self { trace_id, span_id: fastrand::u64(1..), flags: 0 }
    }

    /// The next step of the same thread.
    #[must_use]
    pub fn child(self) -> Self {
        Self { span_id: fastrand::u64(1..), ..self }
    }

    /// As a `traceparent` header.
    pub fn header(self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }

    /// Runs `work` with this as the [`current`] step.
    pub async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self, work).await
    }
}

/// The step that the running task is at.
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(|context| *context).ok()
}

/// The first step here of a thread that nobody handed us. `number` is what the caller calls its request, if it does.
pub fn begin(span: &tracing::Span, number: Option<Uuid>) -> TraceContext {
    #[cfg(feature = "otel")]
    if let Some(context) = super::otel::of(span) {
        return context;
    }
    let _ = span;
    number.map_or_else(TraceContext::fresh, |number| TraceContext::with(number.as_u128()))
}

/// The step that `span` is, after `before` in the same thread.
pub fn join(span: &tracing::Span, before: TraceContext) -> TraceContext {
    #[cfg(feature = "otel")]
    if let Some(context) = super::otel::join(span, before) {
        return context;
    }
    let _ = span;
    before.child()
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
}

/// Which thread caused an exchange's latest change, so that its deliveries go on with it.
#[derive(Debug, Default)]
pub struct Traces(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    of: HashMap<Uuid, TraceContext>,
    /// In the order they came, the oldest first.
    order: VecDeque<Uuid>,
}

impl Traces {
    /// Remembers the running thread for an exchange.
    pub fn keep(&self, exchange: Uuid) {
        let Some(context) = current() else { return };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.of.insert(exchange, context).is_none() {
            kept.order.push_back(exchange);
        }
        if kept.order.len() > REMEMBERED
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.of.remove(&oldest);
        }
    }

    /// The thread of an exchange; one of its own where none is remembered.
    pub fn of(&self, exchange: Uuid) -> TraceContext {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.of.get(&exchange).copied().unwrap_or_else(TraceContext::fresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_well_formed_header_is_read_and_written_alike() {
        let context = TraceContext::parse(HEADER).unwrap();
        assert_eq!(context.header(), HEADER);
        assert_eq!(context.child().trace_id, context.trace_id);
        assert_ne!(context.child().span_id, context.span_id);
    }

    #[test]
    fn nothing_else_that_a_caller_wrote_is_taken() {
        for header in [
            "",
            "195009072553",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-19500907",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceContext::parse(header), None, "{header}");
        }
    }

    #[tokio::test]
    async fn an_exchange_keeps_the_thread_that_caused_it_until_too_many_came_after() {
        let traces = Traces::default();
        let first = Uuid::from_u128(1);
        let context = TraceContext::fresh();
        context.scope(async { traces.keep(first) }).await;
        assert_eq!(traces.of(first), context);
        for n in 0..REMEMBERED as u128 {
            TraceContext::fresh().scope(async { traces.keep(Uuid::from_u128(n + 2)) }).await;
        }
        assert_ne!(traces.of(first), context);
        assert_eq!(traces.0.lock().unwrap().of.len(), REMEMBERED);
    }
}
