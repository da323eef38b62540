//! One test binary: real files, real sockets on loopback, the real program.

mod mappings;
mod r4_table;
mod receiver;
