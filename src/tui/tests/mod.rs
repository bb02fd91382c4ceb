//! Whole screens, driven by keys and clicks as text, compared with drawings.

mod history;
mod limits;
mod mouse;
mod screens;
mod stage;
mod talk;
