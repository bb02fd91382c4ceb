//! What goes over the wire, as types; `PROTOCOL.md` beside this file is the specification.
//!
//! Pure: bytes in, values out. Nothing here knows of sockets, clocks or screens, and who may do what
//! is decided in `server::hub`.
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
pub mod message;
pub mod query;
pub mod rate;
pub mod request;
pub mod text;

#[cfg(test)]
mod tests;
