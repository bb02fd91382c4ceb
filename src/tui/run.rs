//! The loop: what happens goes to `update`, what has to be done is done, what changed is drawn.
//!
//! The only file here that waits, reads the clock, and talks to the client's connection.

use std::time::Duration;

use chrono::{DateTime, FixedOffset, Local};
use crossterm::event::EventStream;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::layout::arrange;
use super::model::{Model, UiEffect, UiEvent, UiOptions};
use super::terminal::TerminalGuard;
use super::update::update;
use super::view::view;
use crate::client::read_marker::ReadMarkerFile;
use crate::client::state::history::ReadPosition;
use crate::client::state::{ChatState, ConnectionState};
use crate::client::{Client, ClientEvent};
use crate::protocol::text::SafeText;

/// How soon after one frame the next may come: more often nobody sees it.
const FRAME_INTERVAL: Duration = Duration::from_millis(16);

/// How often it is noted how far one has read: what a crash may make new once more.
const READ_MARKER_INTERVAL: Duration = Duration::from_secs(5);

/// How many things are taken in before drawing, at the most.
const MAX_EVENTS_PER_FRAME: usize = 256;

/// Why there is no screen, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum UiError {
    /// The terminal can't be used.
    #[error("the terminal does not work: {0} (`--plain` works without one)")]
    Terminal(#[from] std::io::Error),
    /// A defect of this program, somewhere else; it was reported when it happened.
    #[error("that is a defect of this program: please report it")]
    Panicked,
}

/// Why the screen is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuitReason {
    /// The person, or the system, wants it.
    Requested,
    /// It is not the right server, and this is why.
    Untrusted(SafeText),
    /// The server does not want this person, and this is why.
    Refused(SafeText),
}

impl QuitReason {
    /// The person leaves: out of what?
    fn on_quit(chat: &ChatState) -> Self {
        match chat.connection() {
            ConnectionState::Ended { reason } => Self::Refused(reason.clone()),
            ConnectionState::Connecting
            | ConnectionState::Online { .. }
            | ConnectionState::Offline { .. } => Self::Requested,
        }
    }
}

/// Shows the room until the person leaves, the terminal is gone, the server turns out to be a wrong one or
/// refuses the first login, or `until` is cancelled.
///
/// # Errors
/// See [`enum@Error`].
pub async fn run(
    options: UiOptions,
    client: &Client,
    events: mpsc::Receiver<ClientEvent>,
    shutdown: &CancellationToken,
) -> Result<QuitReason, UiError> {
    let mut terminal = TerminalGuard::enter()?;
    let mut read_marker = ReadMarkerWriter {
        file: options.read_marker.clone(),
        written: None,
        written_at: instant(),
    };
    let mut model = Model::new(options, terminal.screen.size()?, now());
    // A terminal that did work fails only when it is gone: a good end, and nobody is left to tell.
    let reason =
        event_loop(&mut model, &mut terminal, client, events, &mut read_marker, shutdown).await;
    read_marker.write_if_changed(model.read_position);
    let left = reason.unwrap_or(QuitReason::Requested);
    if terminal.panicked().is_cancelled() { Err(UiError::Panicked) } else { Ok(left) }
}

/// How far one has read, as it was noted last.
struct ReadMarkerWriter {
    file: ReadMarkerFile,
    written: Option<ReadPosition>,
    written_at: Instant,
}

impl ReadMarkerWriter {
    /// Notes it if it is new. Where it can't be written only a line is missing the next time.
    fn write_if_changed(&mut self, position: Option<ReadPosition>) {
        if let Some(seen) = position.filter(|seen| self.written.as_ref() != Some(seen)) {
            self.file.write(&seen).ok();
            (self.written, self.written_at) = (Some(seen), instant());
        }
    }
}

async fn event_loop(
    model: &mut Model,
    terminal: &mut TerminalGuard,
    client: &Client,
    mut events: mpsc::Receiver<ClientEvent>,
    read_marker: &mut ReadMarkerWriter,
    shutdown: &CancellationToken,
) -> std::io::Result<QuitReason> {
    let (mut input, panicked) = (EventStream::new(), terminal.panicked());
    let mut next_frame = Some(instant());
    let mut last_frame = instant();
    loop {
        if next_frame.is_some_and(|at| at <= instant()) {
            draw(model, terminal)?;
            if read_marker.written_at + READ_MARKER_INTERVAL <= instant() {
                read_marker.write_if_changed(model.read_position.clone());
            }
            (last_frame, next_frame) = (instant(), None);
        }
        let event = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(QuitReason::Requested),
            () = panicked.cancelled() => return Ok(QuitReason::Requested),
            event = input.next() => match event {
                Some(event) => UiEvent::Terminal(event?),
                None => return Ok(QuitReason::Requested),
            },
            Some(event) = events.recv() => UiEvent::Client(event),
            () = sleep_until(next_frame) => continue,
            () = sleep_until(next_wake(model)) => UiEvent::Tick,
        };
        let queued = std::iter::from_fn(|| events.try_recv().ok().map(UiEvent::Client));
        for event in std::iter::once(event).chain(queued).take(MAX_EVENTS_PER_FRAME) {
            for effect in update(model, now(), event) {
                if let Some(left) = perform(model, terminal, client, effect)? {
                    return Ok(left);
                }
            }
        }
        next_frame = Some(last_frame + FRAME_INTERVAL);
    }
}

/// Does what the screen wants; why to leave, if so.
fn perform(
    model: &mut Model,
    terminal: &mut TerminalGuard,
    client: &Client,
    effect: UiEffect,
) -> std::io::Result<Option<QuitReason>> {
    match effect {
        UiEffect::Send(cid, request) => {
            if let Err(error) = client.try_send(cid.as_ref(), &request) {
                let reason = SafeText::clean(&error.to_string());
                update(model, now(), UiEvent::SendFailed { cid, reason });
            }
        }
        UiEffect::DiscardPending(cid) => {
            if let Err(error) = client.discard(&cid) {
                model.show_error(error.to_string());
            }
        }
        UiEffect::Copy(text) => terminal.copy_to_clipboard(&text)?,
        UiEffect::CaptureMouse(ours) => terminal.capture_mouse(ours)?,
        UiEffect::Redraw => terminal.screen.clear()?,
        UiEffect::Quit => return Ok(Some(QuitReason::on_quit(&model.chat))),
        UiEffect::Untrusted(reason) => return Ok(Some(QuitReason::Untrusted(reason))),
    }
    Ok(None)
}

fn draw(model: &mut Model, terminal: &mut TerminalGuard) -> std::io::Result<()> {
    let now = now();
    terminal.draw(|frame| {
        model.size = frame.area().as_size();
        arrange(model, now);
        view(model, now, frame);
    })
}

fn next_wake(model: &Model) -> Option<Instant> {
    let now = now();
    let wait = model.next_wake(now)? - now;
    Some(instant() + wait.to_std().unwrap_or_default())
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[expect(clippy::disallowed_methods, reason = "this shell reads the clock for the pure parts")]
fn now() -> DateTime<FixedOffset> {
    Local::now().fixed_offset()
}

#[expect(clippy::disallowed_methods, reason = "this shell reads the clock for the pure parts")]
fn instant() -> Instant {
    Instant::now()
}
