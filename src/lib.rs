//! A self-hosted group chat for the terminal: a server, a full-screen client and a line-mode client
//! in one binary, connected over TLS 1.3.
//!
//! The binary is the product. The library exists so that the binary, the integration tests and the
//! benchmarks share one implementation; its API is not stable. To write a client in another
//! language, read the wire protocol in [`protocol`]. To change the program, start with
//! `ARCHITECTURE.md` in the repository.
//!
//! # Layers
//!
//! A module uses only modules of lower layers. The integration test `layers` enforces this.
//!
//! | layer | module | contents |
//! | --- | --- | --- |
//! | 5 | [`cli`] | subcommands, flags, settings, logging, the line-mode client |
//! | 4 | [`tui`] | the full-screen client |
//! | 3 | [`server`], [`client`] | the two ends of a connection; neither uses the other |
//! | 2 | [`tls`], [`store`] | certificates and encrypted streams; the log on disk |
//! | 1 | [`protocol`], [`files`] | requests, events and their encoding; atomic file writes |
//!
//! # Functional core, imperative shell
//!
//! Decisions are made by pure code: it takes the current time and an input, and returns effects. It
//! does not await, read a clock or do I/O. The tasks around it wait for input, read the clock and
//! carry out the effects. The pure parts are [`protocol`], [`server::hub`], [`client::state`] and
//! most of [`tui`].
//!
//! # Where to start
//!
//! - [`server::Server`] runs a server.
//! - [`client::connect`] returns a handle for requests and a stream of events.
//! - [`protocol::request::Request`] and [`protocol::event::Event`] are what crosses the wire.
//! - [`store::Viewers`] names who may see an event; the module `store::sight` is the one rule of visibility.
//! - [`store::Store`] and [`store::Reader`] are the log.

pub mod files;
pub mod protocol;

pub mod store;
pub mod tls;

pub mod client;
pub mod server;

pub mod tui;

pub mod cli;
