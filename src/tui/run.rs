//! The event loop: passes events to `update`, carries out its effects, draws the result.
//!
//! The only module of `tui` that waits, reads the clock and calls the client.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::draft_writer::DraftWriter;
use super::event::{UiEffect, UiEvent};
use super::model::{Model, UiOptions};
use super::opener::{self, LinkOutcome};
use super::screen::Screen;
use super::terminal::job_control::{self, JobControl, JobSignal};
use super::terminal::{TerminalGuard, TerminalInput};
use super::text::Link;
use crate::client::clock::now;
use crate::client::read_marker::ReadMarkerFile;
use crate::client::state::history::ReadPosition;
use crate::client::state::{ConnectionState, Session};
use crate::client::{Client, ClientEvent};
use crate::protocol::text::SafeText;

/// Minimum time between two frames: 60 frames a second.
const FRAME_INTERVAL: Duration = Duration::from_millis(16);

/// Minimum time between two writes of the read marker. After a crash, what was read since counts as new.
const READ_MARKER_INTERVAL: Duration = Duration::from_secs(5);

/// Maximum number of events that are handled before the next frame.
const MAX_EVENTS_PER_FRAME: usize = 256;

/// Said when the program was asked to suspend itself, and nobody could continue it.
const NO_SHELL: &str = "cannot suspend: no shell started this program";

/// Why the full screen failed.
#[derive(Debug, thiserror::Error)]
pub enum UiError {
    /// Setting up the terminal failed.
    #[error("cannot use the terminal: {0} (use --plain for line mode)")]
    Terminal(#[from] std::io::Error),
    /// The drafts could not be written.
    #[error("cannot save drafts: {0}")]
    Drafts(std::io::Error),
    /// A thread panicked. The panic hook has printed the message.
    #[error("internal error: the program panicked (please report this)")]
    Panicked,
}

/// Why the screen was closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuitReason {
    /// The user quit, the terminal was closed, or the program was asked to stop.
    Requested,
    /// The server is not trusted, for this reason.
    Untrusted(SafeText),
    /// The server refused the login or ended the session, for this reason.
    Refused(SafeText),
}

impl QuitReason {
    /// The reason to report when the user quits: `Refused` if the server had ended the session.
    fn on_quit(chat: &Session) -> Self {
        match chat.connection() {
            ConnectionState::Ended { reason } => Self::Refused(reason.clone()),
            ConnectionState::Connecting
            | ConnectionState::Online { .. }
            | ConnectionState::Offline { .. } => Self::Requested,
        }
    }
}

/// Shows the screen until the user quits, the terminal is closed, the server is not trusted or refuses the
/// first login, or `shutdown` is cancelled.
///
/// # Errors
/// [`UiError::Terminal`] if the terminal cannot be set up, [`UiError::Panicked`] if a thread panicked.
pub async fn run(
    mut options: UiOptions,
    client: &Client,
    events: mpsc::Receiver<ClientEvent>,
    shutdown: &CancellationToken,
) -> Result<QuitReason, UiError> {
    let mut terminal = TerminalGuard::enter()?;
    if !options.mouse {
        terminal.capture_mouse(false)?;
    }
    let mut drafts = std::mem::take(&mut options.drafts);
    let restored = drafts.take_restored();
    let mut drafts = DraftWriter::start(drafts);
    let mut read_marker = ReadMarkerWriter {
        file: options.read_marker.clone(),
        written: None,
        written_at: instant(),
    };
    let mut model = Model::new(options, terminal.size()?, now());
    model.restore_drafts(&restored);
    let mut screen = Screen::new(model);
    // After the setup, an I/O error means that the terminal was closed. That is a normal end.
    let outcome = event_loop(
        &mut screen,
        &mut terminal,
        client,
        events,
        &mut read_marker,
        &mut drafts,
        shutdown,
    )
    .await;
    let saved = drafts.finish(screen.model.all_drafts()).await;
    read_marker.write_if_changed(screen.model.read_position);
    let reason = outcome.unwrap_or(QuitReason::Requested);
    if terminal.panicked().is_cancelled() {
        return Err(UiError::Panicked);
    }
    saved.map_err(UiError::Drafts)?;
    Ok(reason)
}

/// Writes the read marker to its file.
struct ReadMarkerWriter {
    file: ReadMarkerFile,
    written: Option<ReadPosition>,
    written_at: Instant,
}

impl ReadMarkerWriter {
    /// Writes the position unless it is the last one written. An error is ignored: its only effect is that the
    /// next run shows no unread line, or shows it too high.
    fn write_if_changed(&mut self, position: Option<ReadPosition>) {
        if let Some(position) = position.filter(|position| self.written.as_ref() != Some(position))
        {
            self.file.write(&position).ok();
            (self.written, self.written_at) = (Some(position), instant());
        }
    }
}

async fn event_loop(
    screen: &mut Screen,
    terminal: &mut TerminalGuard,
    client: &Client,
    mut events: mpsc::Receiver<ClientEvent>,
    read_marker: &mut ReadMarkerWriter,
    drafts: &mut DraftWriter,
    shutdown: &CancellationToken,
) -> std::io::Result<QuitReason> {
    let (mut jobs, panicked) = (JobControl::new()?, terminal.panicked());
    let mut last_frame = instant();
    // Most terminals tell their background before the first frame.
    let mut next_frame = Some(last_frame + FRAME_INTERVAL);
    loop {
        if next_frame.is_some_and(|at| at <= instant()) {
            let effects = draw(screen, terminal)?;
            (last_frame, next_frame) = (instant(), None);
            match perform_all(screen, terminal, client, drafts, effects)? {
                Performed::Done => {}
                Performed::Failed => next_frame = Some(last_frame + FRAME_INTERVAL),
                Performed::Quit(reason) => return Ok(reason),
            }
            if read_marker.written_at + READ_MARKER_INTERVAL <= instant() {
                read_marker.write_if_changed(screen.model.read_position.clone());
            }
        }
        let event = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(QuitReason::Requested),
            () = panicked.cancelled() => return Ok(QuitReason::Requested),
            signal = jobs.next() => {
                on_job_signal(&mut screen.model, terminal, signal)?;
                next_frame = Some(instant());
                continue;
            }
            input = terminal.next_input() => match input.transpose()? {
                Some(TerminalInput::Event(event)) => UiEvent::Terminal(event),
                Some(TerminalInput::Background(rgb)) => UiEvent::Background(rgb),
                None => return Ok(QuitReason::Requested),
            },
            Some(event) = events.recv() => UiEvent::Client(event),
            Some(error) = drafts.next_error() => {
                screen.model.show_error(format!("cannot save drafts: {error}"));
                next_frame = Some(instant());
                continue;
            }
            () = sleep_until(next_frame) => continue,
            () = sleep_until(next_wake(screen)) => UiEvent::Tick,
        };
        let queued = std::iter::from_fn(|| events.try_recv().ok().map(UiEvent::Client));
        for event in std::iter::once(event).chain(queued).take(MAX_EVENTS_PER_FRAME) {
            let effects = screen.update(now(), event);
            if let Performed::Quit(reason) = perform_all(screen, terminal, client, drafts, effects)?
            {
                return Ok(reason);
            }
        }
        next_frame = Some(last_frame + FRAME_INTERVAL);
    }
}

/// The outcome of effects.
enum Performed {
    Done,
    /// One failed, which was reported to the screen.
    Failed,
    Quit(QuitReason),
}

/// Carries out effects, and those that follow from a failure.
fn perform_all(
    screen: &mut Screen,
    terminal: &mut TerminalGuard,
    client: &Client,
    drafts: &DraftWriter,
    effects: Vec<UiEffect>,
) -> std::io::Result<Performed> {
    let mut effects = VecDeque::from(effects);
    let mut performed = Performed::Done;
    while let Some(effect) = effects.pop_front() {
        match perform(&mut screen.model, terminal, client, drafts, effect)? {
            None => {}
            Some(Interruption::Failed(event)) => {
                performed = Performed::Failed;
                effects.extend(screen.update(now(), event));
            }
            Some(Interruption::Quit(reason)) => return Ok(Performed::Quit(reason)),
        }
    }
    Ok(performed)
}

/// What an effect leads to, if it does not just happen.
enum Interruption {
    /// It failed, which is reported to the screen.
    Failed(UiEvent),
    Quit(QuitReason),
}

/// Carries out an effect.
fn perform(
    model: &mut Model,
    terminal: &mut TerminalGuard,
    client: &Client,
    drafts: &DraftWriter,
    effect: UiEffect,
) -> std::io::Result<Option<Interruption>> {
    match effect {
        UiEffect::Send(cid, request) => {
            if let Err(error) = client.try_send(cid.as_ref(), &request) {
                let reason = SafeText::clean(&error.to_string());
                let failed = UiEvent::SendFailed { cid, reason };
                return Ok(Some(Interruption::Failed(failed)));
            }
        }
        UiEffect::DiscardPending(cid) => {
            if let Err(error) = client.discard(&cid) {
                model.show_error(error.to_string());
            }
        }
        UiEffect::Copy(text) => terminal.copy_to_clipboard(&text)?,
        UiEffect::OpenLink(link) => open_link(model, terminal, &link)?,
        UiEffect::CaptureMouse(capture) => terminal.capture_mouse(capture)?,
        UiEffect::SaveDrafts(latest) => drafts.save(latest),
        UiEffect::Notify(text) => terminal.notify(&text)?,
        UiEffect::Redraw => terminal.redraw()?,
        UiEffect::Suspend if job_control::has_shell() => job_control::request_stop()?,
        UiEffect::Suspend => model.show_error(NO_SHELL),
        UiEffect::Quit => {
            return Ok(Some(Interruption::Quit(QuitReason::on_quit(&model.chat))));
        }
        UiEffect::Untrusted(reason) => {
            return Ok(Some(Interruption::Quit(QuitReason::Untrusted(reason))));
        }
    }
    Ok(None)
}

/// Gives the terminal to the shell and stops, or takes it back.
fn on_job_signal(
    model: &mut Model,
    terminal: &mut TerminalGuard,
    signal: JobSignal,
) -> std::io::Result<()> {
    match signal {
        JobSignal::Stop if job_control::has_shell() => {
            terminal.leave()?;
            job_control::stop()
        }
        JobSignal::Stop => {
            model.show_error(NO_SHELL);
            Ok(())
        }
        JobSignal::Continue => terminal.re_enter(),
    }
}

fn draw(screen: &mut Screen, terminal: &mut TerminalGuard) -> std::io::Result<Vec<UiEffect>> {
    let now = now();
    let mut effects = Vec::new();
    terminal.draw(|frame| {
        effects = screen.draw(now, frame);
        screen.layout.links.clone()
    })?;
    terminal.set_title(&screen.title(now))?;
    Ok(effects)
}

fn next_wake(screen: &Screen) -> Option<Instant> {
    let now = now();
    let wait = screen.next_wake(now)? - now;
    Some(instant() + wait.to_std().unwrap_or_default())
}

/// Opens a link, or copies it if the desktop cannot open it.
fn open_link(model: &mut Model, terminal: &mut TerminalGuard, link: &Link) -> std::io::Result<()> {
    match opener::open(link) {
        Ok(LinkOutcome::Opened) => {
            model.show_notice(format!("opening {}", link.as_str()));
            return Ok(());
        }
        Ok(LinkOutcome::NoDesktop) => {
            model.show_notice(format!("no desktop here: copied {}", link.as_str()));
        }
        Err(error) => {
            model.show_error(format!("cannot open links here ({error}): copied {}", link.as_str()));
        }
    }
    terminal.copy_to_clipboard(link.as_str())
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[expect(clippy::disallowed_methods, reason = "the event loop passes the time to the pure modules")]
fn instant() -> Instant {
    Instant::now()
}
