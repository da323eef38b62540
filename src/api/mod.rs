//! The only incoming HTTP.
