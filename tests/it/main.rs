//! The one integration test binary: the rules of the code base, its documents, and the real program.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod admin;
mod crash;
mod docs;
mod faults;
mod flaky;
mod flood;
mod floors;
mod fuzz;
mod hostile;
mod invite;
mod malformed;
mod original;
mod plain;
mod send;
mod serve;
mod settings;
mod simulated;
mod support;
mod tail;
mod terminal;
mod tree;
mod trust;
