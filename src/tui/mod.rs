//! The full screen. What one sees is a value ([`model::Model`]); `update` changes it, `layout` says where
//! everything is, `view` draws it, and all of that is pure. `run` and `terminal` alone act.

mod bubble;
pub mod command;
mod complete;
mod compose;
mod conversation;
mod key;
mod layout;
mod model;
mod overlay;
mod run;
mod terminal;
mod theme;
mod update;
mod view;
mod wrap;

#[cfg(test)]
mod tests;

pub use self::model::Options;
pub use self::run::{Error, run};
pub use self::theme::Theme;
