//! Tests of the whole screen: keys, clicks and server events go in; drawings and requests are checked.

mod actions;
mod harness;
mod history;
mod hostile;
mod messages;
mod mouse;
mod robustness;
mod screens;
mod search;
mod sidebar;
mod text;
mod writing;
