//! One test binary: real files, real sockets on loopback, the real program.

mod profiles;
mod r4_table;
