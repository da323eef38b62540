//! One test binary: real files, real sockets on loopback, the real program.

mod r4_table;
mod receiver;
