//! The whole program, from outside.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod plain;
