//! Programmes as data.
