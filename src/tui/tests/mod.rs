//! Whole screens, driven by keys and clicks as text, compared with drawings.

mod history;
mod hostile;
mod limits;
mod mouse;
mod screens;
mod search;
mod stage;
mod talk;
