//! The only outgoing HTTP.
