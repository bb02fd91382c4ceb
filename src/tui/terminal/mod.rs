//! Terminal modes: set up on entry and restored on exit, suspension, error and panic.
//!
//! Only this module writes to the terminal. A frame is one write. Writing and the panic hook hold the lock of
//! standard output, so a panic message never appears in the middle of a frame, and no frame is drawn after it.

pub mod backend;
mod background;
pub mod job_control;
pub mod link;
mod notification;

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::Show;
use crossterm::event::{
    DisableBracketedPaste, DisableFocusChange, EnableBracketedPaste, EnableFocusChange, Event,
    EventStream, KeyboardEnhancementFlags, PopKeyboardEnhancementFlags,
    PushKeyboardEnhancementFlags,
};
use crossterm::style::Print;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, SetTitle, disable_raw_mode, enable_raw_mode,
};
use crossterm::{clipboard, queue};
use futures_util::StreamExt as _;
use ratatui::layout::Size;
use ratatui::{Frame, Terminal};
use tokio_util::sync::CancellationToken;

use self::backend::FrameBackend;
use self::background::{ASK_BACKGROUND, AnswerFilter, Filtered};
use self::link::PlacedLink;
use super::theme::Rgb;

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
    screen: Terminal<FrameBackend>,
    /// The input; `None` while another program uses the terminal.
    input: Option<EventStream>,
    /// Takes the terminal's answers out of the input.
    answers: AnswerFilter,
    /// What was read and not yet returned.
    queued: VecDeque<TerminalInput>,
    /// Whether the full-screen modes are on. The panic hook turns them off.
    is_entered: Arc<AtomicBool>,
    panicked: CancellationToken,
    title: String,
    captures_mouse: bool,
}

/// What comes from the terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TerminalInput {
    /// A key, a mouse event, a paste, a resize.
    Event(Event),
    /// The colour of the background.
    Background(Rgb),
}

impl TerminalGuard {
    /// Enters full-screen mode: alternate screen, raw keys, mouse reports, bracketed paste.
    ///
    /// # Errors
    /// Standard output is not a terminal, or a write to it failed.
    pub fn enter() -> io::Result<Self> {
        let mut guard = Self {
            screen: Terminal::new(FrameBackend::default())?,
            input: None,
            answers: AnswerFilter::default(),
            // The answer of the terminal, if there is one, comes later and counts.
            queued: std::env::var("COLORFGBG")
                .ok()
                .and_then(|value| background::from_colorfgbg(&value))
                .map(TerminalInput::Background)
                .into_iter()
                .collect(),
            is_entered: Arc::new(AtomicBool::new(false)),
            panicked: CancellationToken::new(),
            title: String::new(),
            captures_mouse: true,
        };
        guard.set_panic_hook();
        guard.re_enter()?;
        Ok(guard)
    }

    fn set_panic_hook(&self) {
        let previous_hook = std::panic::take_hook();
        let (panicked, is_entered) = (self.panicked.clone(), Arc::clone(&self.is_entered));
        std::panic::set_hook(Box::new(move |panic| {
            let _out = io::stdout().lock();
            panicked.cancel();
            // A failure to restore the terminal cannot be reported on it; the panic matters more.
            restore(&is_entered).ok();
            previous_hook(panic);
        }));
    }

    /// Restores the terminal for another program, or for the shell while this process is stopped. Nothing is
    /// drawn or read until [`Self::re_enter`].
    ///
    /// # Errors
    /// A write to the terminal failed.
    pub fn leave(&mut self) -> io::Result<()> {
        self.input = None;
        restore(&self.is_entered)
    }

    /// Enters full-screen mode again; the next frame draws every cell. After a stop that could not be
    /// noticed, the shell has changed the modes, so they are all set, whatever they were.
    ///
    /// # Errors
    /// A write to the terminal failed.
    pub fn re_enter(&mut self) -> io::Result<()> {
        self.leave()?;
        if self.panicked.is_cancelled() {
            return Ok(());
        }
        enable_raw_mode()?;
        self.is_entered.store(true, Ordering::SeqCst);
        let mut modes = Vec::new();
        queue!(
            modes,
            EnterAlternateScreen,
            EnableBracketedPaste,
            // Reports Shift-Enter and similar chords, where the terminal supports it.
            PushKeyboardEnhancementFlags(KeyboardEnhancementFlags::DISAMBIGUATE_ESCAPE_CODES),
            Print(if self.captures_mouse { MOUSE_ON } else { "" }),
            // What is displayed without the focus is not read.
            EnableFocusChange,
            Print(SAVE_TITLE),
            Print(ASK_BACKGROUND),
        )?;
        self.write(&modes)?;
        self.title.clear();
        self.input = Some(EventStream::new());
        self.redraw()
    }

    /// The next input; `None` once the terminal is closed.
    pub async fn next_input(&mut self) -> Option<io::Result<TerminalInput>> {
        loop {
            if let Some(queued) = self.queued.pop_front() {
                return Some(Ok(queued));
            }
            let event = match &mut self.input {
                Some(input) => input.next().await?,
                None => std::future::pending().await,
            };
            match event.map(|event| self.answers.filter(event)) {
                Ok(Filtered::Held) => {}
                Ok(Filtered::Background(rgb)) => {
                    return Some(Ok(TerminalInput::Background(rgb)));
                }
                Ok(Filtered::Events(events)) => {
                    self.queued.extend(events.into_iter().map(TerminalInput::Event));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The size of the terminal.
    ///
    /// # Errors
    /// The terminal does not tell its size.
    pub fn size(&self) -> io::Result<Size> {
        self.screen.size()
    }

    /// Draws a frame, of which `view` returns the links.
    ///
    /// # Errors
    /// A write to the terminal failed.
    pub fn draw(&mut self, view: impl FnOnce(&mut Frame<'_>) -> Vec<PlacedLink>) -> io::Result<()> {
        let links = self.screen.backend().links();
        self.screen.draw(|frame| {
            links.replace(view(frame));
        })?;
        let frame = self.screen.backend_mut().take_frame()?;
        self.write(&frame)
    }

    /// Makes the next frame draw every cell.
    ///
    /// # Errors
    /// Never in practice: nothing is written before the next frame.
    pub fn redraw(&mut self) -> io::Result<()> {
        self.screen.clear()
    }

    /// A token that is cancelled by a panic in any thread.
    pub fn panicked(&self) -> CancellationToken {
        self.panicked.clone()
    }

    /// Turns mouse reports on or off. While they are off, the terminal selects text with the mouse.
    ///
    /// # Errors
    /// A write to the terminal failed.
    pub fn capture_mouse(&mut self, capture: bool) -> io::Result<()> {
        self.captures_mouse = capture;
        self.write(if capture { MOUSE_ON } else { MOUSE_OFF }.as_bytes())
    }

    /// Sets the title of the window, unless it is set already.
    ///
    /// # Errors
    /// A write to the terminal failed.
    pub fn set_title(&mut self, title: &str) -> io::Result<()> {
        if self.title == title {
            return Ok(());
        }
        title.clone_into(&mut self.title);
        let mut bytes = Vec::new();
        queue!(bytes, SetTitle(title))?;
        self.write(&bytes)
    }

    /// Notifies the user, who looks at another window.
    ///
    /// # Errors
    /// A write to the terminal failed.
    pub fn notify(&mut self, text: &str) -> io::Result<()> {
        let variable = |name| std::env::var(name).unwrap_or_default();
        // Under tmux, and over SSH, only the second one names iTerm2.
        let is_iterm =
            variable("TERM_PROGRAM") == "iTerm.app" || variable("LC_TERMINAL") == "iTerm2";
        let is_tmux = !variable("TMUX").is_empty();
        self.write(notification::notification(text, is_iterm, is_tmux).as_bytes())
    }

    /// Copies a text to the clipboard through the terminal (OSC 52), which works over SSH too.
    ///
    /// # Errors
    /// A write to the terminal failed.
    pub fn copy_to_clipboard(&mut self, text: &str) -> io::Result<()> {
        let mut bytes = Vec::new();
        queue!(bytes, clipboard::CopyToClipboard::to_clipboard_from(text))?;
        self.write(&bytes)
    }

    /// Writes to the terminal, unless another program or the shell has it.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if bytes.is_empty() || !self.is_entered.load(Ordering::SeqCst) {
            return Ok(());
        }
        out.write_all(bytes)?;
        out.flush()
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        // The error cannot be reported: standard error may be the same terminal.
        restore(&self.is_entered).ok();
    }
}

/// Restores the terminal, if it is in full-screen mode.
fn restore(is_entered: &AtomicBool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if !is_entered.swap(false, Ordering::SeqCst) {
        return Ok(());
    }
    let mut modes = Vec::new();
    queue!(
        modes,
        Print(RESTORE_TITLE),
        DisableFocusChange,
        Print(MOUSE_OFF),
        PopKeyboardEnhancementFlags,
        DisableBracketedPaste,
        LeaveAlternateScreen,
        Show,
    )?;
    let written = out.write_all(&modes).and_then(|()| out.flush());
    // The keyboard is restored even if the output is closed.
    disable_raw_mode().and(written)
}
