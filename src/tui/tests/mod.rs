//! Whole screens, driven by keys and clicks as text, compared with drawings.

mod harness;
mod history;
mod hostile;
mod messages;
mod mouse;
mod robustness;
mod screens;
mod search;
