//! The wire protocol: requests, events, their encoding, and the specification.
//!
//! Everything here is pure: bytes to values and back, without sockets, clocks or I/O. Who may do what
//! is decided in `server::hub`. The rest of this page is the specification,
//! `PROTOCOL.md`.
//!
#![doc = include_str!("PROTOCOL.md")]

mod codec;
pub mod decoder;
pub mod error;
pub mod event;
pub mod id;
pub mod invite;
mod lenient;
pub mod limits;
pub mod mention;
pub mod message;
pub mod query;
pub mod rate;
pub mod reaction;
pub mod request;
pub mod room;
pub mod text;

#[cfg(test)]
mod tests;
