//! The full-screen client.
//!
//! The state is one value, [`model::Model`]. [`mod@update`] changes it, [`layout`] computes where everything
//! is, [`mod@view`] draws it; these are pure. [`screen::Screen`] holds the state beside what a frame derives from
//! it: the layout, which is the hit map of the mouse, and the cache of rendered blocks. Only [`mod@run`] and
//! [`terminal`] do I/O.

pub mod bubble;
pub mod command;
pub mod completion;
pub mod composer;
pub mod conversation;
mod draft_writer;
pub mod editor;
pub mod event;
pub mod item;
pub mod key;
pub mod keymap;
pub mod layout;
pub mod list;
pub mod model;
pub mod notices;
pub mod opener;
pub mod overlay;
pub mod run;
pub mod screen;
pub mod sidebar;
pub mod terminal;
pub mod text;
pub mod theme;
pub mod to_line;
pub mod update;
pub mod view;
pub mod viewport;

#[cfg(test)]
mod tests;

pub use self::keymap::Keymap;
pub use self::model::UiOptions;
pub use self::run::{QuitReason, UiError, run};
pub use self::theme::{ColourDepth, Theme, ThemeChoice};
