//! The one integration test binary: the rules of the code base, its documents, and the real program.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod docs;
mod floors;
mod plain;
mod tree;
