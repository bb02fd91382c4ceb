//! Whole screens, driven by keys and clicks as text, compared with drawings.

mod limits;
mod mouse;
mod screens;
mod stage;
mod talk;
