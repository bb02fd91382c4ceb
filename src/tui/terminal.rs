//! The terminal: taken at the start, given back at the end, whatever the end is.
//!
//! Sequences go out by themselves only here; everything else is drawn through the terminal's buffer.
//! Whoever writes to the terminal holds standard output: so a panic elsewhere finds no half a frame,
//! and no frame comes after its words.

use std::io::{self, Write};

use crossterm::event::{
    DisableBracketedPaste, EnableBracketedPaste, KeyboardEnhancementFlags,
    PopKeyboardEnhancementFlags, PushKeyboardEnhancementFlags,
};
use crossterm::{clipboard, execute, queue, style::Print};
use ratatui::{DefaultTerminal, Frame};
use tokio_util::sync::CancellationToken;

/// Presses and drags, in the form that has no bounds; not motion without a button, which would wake
/// the program whenever the mouse crosses the window.
const MOUSE_ON: &str = "\x1b[?1000h\x1b[?1002h\x1b[?1006h";
const MOUSE_OFF: &str = "\x1b[?1006l\x1b[?1002l\x1b[?1000l";

/// The terminal while it is ours. Dropping it gives it back.
#[derive(Debug)]
pub struct TerminalGuard {
    /// What is drawn to.
    pub screen: DefaultTerminal,
    panicked: CancellationToken,
}

impl TerminalGuard {
    /// Takes the terminal: another screen, raw keys, the mouse, pastes as one event.
    ///
    /// # Errors
    /// There is no terminal, or it does not answer.
    pub fn enter() -> io::Result<Self> {
        let terminal = ratatui::try_init()?;
        let previous_hook = std::panic::take_hook();
        let panicked = CancellationToken::new();
        let panic_flag = panicked.clone();
        std::panic::set_hook(Box::new(move |panic| {
            let _out = io::stdout().lock();
            panic_flag.cancel();
            // What can't be given back any more can't be reported either: the panic itself counts.
            disable_modes().ok();
            previous_hook(panic);
        }));
        let screen = Self { screen: terminal, panicked };
        execute!(
            io::stdout(),
            EnableBracketedPaste,
            // Shift-Enter and the like, where the terminal can tell them apart.
            PushKeyboardEnhancementFlags(KeyboardEnhancementFlags::DISAMBIGUATE_ESCAPE_CODES),
            Print(MOUSE_ON),
        )?;
        Ok(screen)
    }

    /// Draws a frame, unless the program panicked somewhere: the terminal is given back then.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn draw(&mut self, view: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        let _out = io::stdout().lock();
        if !self.panicked.is_cancelled() {
            self.screen.draw(view)?;
        }
        Ok(())
    }

    /// Cancelled by a panic anywhere in the program.
    pub fn panicked(&self) -> CancellationToken {
        self.panicked.clone()
    }

    /// Takes the mouse, or leaves it to the terminal.
    ///
    /// # Errors
    /// The terminal is gone.
    #[expect(clippy::unused_self, reason = "only who has taken the terminal may change it")]
    pub fn capture_mouse(&mut self, capture: bool) -> io::Result<()> {
        execute!(io::stdout(), Print(if capture { MOUSE_ON } else { MOUSE_OFF }))
    }

    /// Puts a text on the clipboard, through the terminal (OSC 52), so that it works over SSH as well.
    ///
    /// # Errors
    /// The terminal is gone.
    #[expect(clippy::unused_self, reason = "only who has taken the terminal may change it")]
    pub fn copy_to_clipboard(&mut self, text: &str) -> io::Result<()> {
        execute!(io::stdout(), clipboard::CopyToClipboard::to_clipboard_from(text))
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        if self.panicked.is_cancelled() {
            // It is given back, and what stands below must not be written over.
            return;
        }
        // Nobody is left to tell, and standard error may be the terminal that is gone.
        disable_modes().ok();
        ratatui::try_restore().ok();
    }
}

fn disable_modes() -> io::Result<()> {
    let mut out = io::stdout();
    queue!(out, Print(MOUSE_OFF), PopKeyboardEnhancementFlags, DisableBracketedPaste)?;
    out.flush()
}
