//! The full-screen client.
//!
//! The screen is one value, [`model::Model`]. [`mod@update`] changes it, [`layout`] computes where everything
//! is, [`mod@view`] draws it; these are pure. Only [`mod@run`] and [`terminal`] do I/O.

pub mod bubble;
pub mod command;
pub mod completion;
pub mod composer;
pub mod conversation;
pub mod editor;
pub mod event;
pub mod item;
pub mod key;
pub mod layout;
pub mod model;
pub mod overlay;
pub mod run;
pub mod sidebar;
pub mod terminal;
pub mod theme;
pub mod to_line;
pub mod update;
pub mod view;
pub mod viewport;
pub mod wrap;

#[cfg(test)]
mod tests;

pub use self::model::UiOptions;
pub use self::run::{QuitReason, UiError, run};
pub use self::theme::{ColourDepth, Theme, ThemeChoice};
