//! The journey that `vardkedja demo` plays, and the primary care system it plays it against.

pub mod receiver;
