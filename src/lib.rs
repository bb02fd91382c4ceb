//! `chat`: a group chat for the terminal that a team can run by itself and trust.
//!
//! The crate is built in floors. A floor names only what stands below it, and a test holds it to that
//! (`tests/it/floors.rs`). `ARCHITECTURE.md` tells the rest.
//!
//! 1. [`protocol`]: what goes over the wire, as types.
//! 2. [`tls`]: certificates and encrypted streams; [`store`]: the log on disk.
//! 3. [`server`] and [`client`], which never name each other.
//! 4. [`tui`]: the full screen.
//! 5. [`cli`]: the command line, which names all the others.

pub mod protocol;
pub mod store;
pub mod tls;

pub mod client;
pub mod server;

pub mod tui;

pub mod cli;
