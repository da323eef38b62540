//! The program's verbs.

fn main() {}
