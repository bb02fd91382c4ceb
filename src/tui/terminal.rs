//! Terminal modes: set up on entry and restored on exit, error and panic.
//!
//! Only this module writes escape sequences directly; everything else is drawn through the terminal's
//! buffer. Drawing and the panic hook hold the lock of standard output, so a panic message never appears in
//! the middle of a frame, and no frame is drawn after it.

use std::io::{self, Write};

use crossterm::event::{
    DisableBracketedPaste, DisableFocusChange, EnableBracketedPaste, EnableFocusChange,
    KeyboardEnhancementFlags, PopKeyboardEnhancementFlags, PushKeyboardEnhancementFlags,
};
use crossterm::{clipboard, execute, queue, style::Print, terminal::SetTitle};
use ratatui::{DefaultTerminal, Frame};
use tokio_util::sync::CancellationToken;

/// Reports presses and drags (1000, 1002) in the SGR encoding (1006), which has no coordinate limit. Motion
/// without a button is not reported: it would wake the program whenever the pointer crosses the window.
const MOUSE_ON: &str = "\x1b[?1000h\x1b[?1002h\x1b[?1006h";
const MOUSE_OFF: &str = "\x1b[?1006l\x1b[?1002l\x1b[?1000l";

/// Saves and restores the title of the window.
const SAVE_TITLE: &str = "\x1b[22;2t";
const RESTORE_TITLE: &str = "\x1b[23;2t";

/// The terminal in full-screen mode. Dropping the guard restores it.
#[derive(Debug)]
pub struct TerminalGuard {
    /// The buffer that frames are drawn to.
    pub screen: DefaultTerminal,
    panicked: CancellationToken,
    title: String,
}

impl TerminalGuard {
    /// Enters full-screen mode: alternate screen, raw keys, mouse reports, bracketed paste.
    ///
    /// # Errors
    /// Standard output is not a terminal, or a write to it failed.
    pub fn enter() -> io::Result<Self> {
        let terminal = ratatui::try_init()?;
        let previous_hook = std::panic::take_hook();
        let panicked = CancellationToken::new();
        let panic_flag = panicked.clone();
        std::panic::set_hook(Box::new(move |panic| {
            let _out = io::stdout().lock();
            panic_flag.cancel();
            // A failure to restore the terminal cannot be reported on it; the panic matters more.
            disable_modes().ok();
            previous_hook(panic);
        }));
        let guard = Self { screen: terminal, panicked, title: String::new() };
        execute!(
            io::stdout(),
            EnableBracketedPaste,
            // Reports Shift-Enter and similar chords, where the terminal supports it.
            PushKeyboardEnhancementFlags(KeyboardEnhancementFlags::DISAMBIGUATE_ESCAPE_CODES),
            Print(MOUSE_ON),
            // What is displayed without the focus is not read.
            EnableFocusChange,
            Print(SAVE_TITLE),
        )?;
        Ok(guard)
    }

    /// Draws a frame. Does nothing after a panic, since the terminal is restored then.
    ///
    /// # Errors
    /// A write to the terminal failed.
    pub fn draw(&mut self, view: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        let _out = io::stdout().lock();
        if !self.panicked.is_cancelled() {
            self.screen.draw(view)?;
        }
        Ok(())
    }

    /// A token that is cancelled by a panic in any thread.
    pub fn panicked(&self) -> CancellationToken {
        self.panicked.clone()
    }

    /// Turns mouse reports on or off. While they are off, the terminal selects text with the mouse.
    ///
    /// # Errors
    /// A write to the terminal failed.
    #[expect(clippy::unused_self, reason = "only the owner of the terminal may change its modes")]
    pub fn capture_mouse(&mut self, capture: bool) -> io::Result<()> {
        execute!(io::stdout(), Print(if capture { MOUSE_ON } else { MOUSE_OFF }))
    }

    /// Sets the title of the window, unless it is set already.
    ///
    /// # Errors
    /// A write to the terminal failed.
    pub fn set_title(&mut self, title: &str) -> io::Result<()> {
        if self.title != title && !self.panicked.is_cancelled() {
            title.clone_into(&mut self.title);
            execute!(io::stdout(), SetTitle(title))?;
        }
        Ok(())
    }

    /// Rings the bell.
    ///
    /// # Errors
    /// A write to the terminal failed.
    #[expect(clippy::unused_self, reason = "only the owner of the terminal may write to it")]
    pub fn ring(&mut self) -> io::Result<()> {
        execute!(io::stdout(), Print('\x07'))
    }

    /// Copies a text to the clipboard through the terminal (OSC 52), which works over SSH too.
    ///
    /// # Errors
    /// A write to the terminal failed.
    #[expect(clippy::unused_self, reason = "only the owner of the terminal may change its modes")]
    pub fn copy_to_clipboard(&mut self, text: &str) -> io::Result<()> {
        execute!(io::stdout(), clipboard::CopyToClipboard::to_clipboard_from(text))
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        if self.panicked.is_cancelled() {
            // The panic hook restored the terminal; the panic message must not be overwritten.
            return;
        }
        // The error cannot be reported: standard error may be the same terminal.
        disable_modes().ok();
        ratatui::try_restore().ok();
    }
}

fn disable_modes() -> io::Result<()> {
    let mut out = io::stdout();
    queue!(
        out,
        Print(RESTORE_TITLE),
        DisableFocusChange,
        Print(MOUSE_OFF),
        PopKeyboardEnhancementFlags,
        DisableBracketedPaste,
    )?;
    out.flush()
}
