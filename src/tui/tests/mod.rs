//! Whole screens, driven by keys and clicks as text, compared with drawings.

mod history;
mod limits;
mod mouse;
mod screens;
mod search;
mod stage;
mod talk;
