//! The full screen of the real program: a server, and people in front of terminals.
//!
//! What each command does is tested in `src/tui/tests`; here is what only a terminal, or several
//! processes, can show.

mod leaving;
mod outside;
mod shapes;
mod talk;
mod typing;
