//! What whoever runs the gateway sees of it: figures to scrape, one line for each thing that happened, and the thread that
//! ties them together across systems. None of it carries personal data: labels and fields are kinds, codes, partners and
//! random ids.

mod figures;
mod log;
mod origin;
#[cfg(feature = "otel")]
mod otel;
mod trace;

pub use figures::{Attempted, CONTENT_TYPE, Figures, InFlight, Seen, SeenLoop, SeenPartner, Served};
pub use log::{Guard, LogError, start};
pub use origin::{Asked, asked, origin};
pub use trace::{TraceContext, Traces, begin, current, join};
