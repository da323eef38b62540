//! One test binary: real files, real sockets on loopback, the real program.

mod gateway;
mod mappings;
mod openapi;
mod r4_table;
mod receiver;
