//! The full screen. What one sees is a value ([`model::Model`]); `update` changes it, `layout` says where
//! everything is, `view` draws it, and all of that is pure. `run` and `terminal` alone act.

pub mod bubble;
pub mod command;
pub mod completion;
pub mod composer;
pub mod conversation;
pub mod key;
pub mod layout;
pub mod model;
pub mod overlay;
pub mod run;
pub mod terminal;
pub mod theme;
pub mod update;
pub mod view;
pub mod wrap;

#[cfg(test)]
mod tests;

pub use self::model::UiOptions;
pub use self::run::{QuitReason, UiError, run};
pub use self::theme::Theme;
