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
use super::model::{Effect, Message, Model, Options};
use super::terminal::Screen;
use super::update::update;
use super::view::view;
use crate::client::seen::SeenFile;
use crate::client::state::history::Seen;
use crate::client::state::{Link, Room};
use crate::client::{Client, Event};
use crate::protocol::text::SafeText;

/// How soon after one frame the next may come: more often nobody sees it.
const FRAME: Duration = Duration::from_millis(16);

/// How often it is noted how far one has read: what a crash may make new once more.
const NOTE: Duration = Duration::from_secs(5);

/// How many things are taken in before drawing, at the most.
const BATCH: usize = 256;

/// Why there is no screen, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The terminal can't be used.
    #[error("the terminal does not work: {0} (`--plain` works without one)")]
    Terminal(#[from] std::io::Error),
    /// A defect of this program, somewhere else; it was reported when it happened.
    #[error("that is a defect of this program: please report it")]
    Panicked,
}

/// Why the screen is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leave {
    /// The person, or the system, wants it.
    Wish,
    /// It is not the right server, and this is why.
    Untrusted(SafeText),
    /// The server does not want this person, and this is why.
    Refused(SafeText),
}

impl Leave {
    /// The person leaves: out of what?
    fn by_wish(room: &Room) -> Self {
        match room.link() {
            Link::Ended { reason } => Self::Refused(reason.clone()),
            Link::Connecting | Link::Online { .. } | Link::Offline { .. } => Self::Wish,
        }
    }
}

/// Shows the room until the person leaves, the terminal is gone, the server turns out to be a wrong one or
/// refuses the first login, or `until` is cancelled.
///
/// # Errors
/// See [`enum@Error`].
pub async fn run(
    options: Options,
    client: &Client,
    events: mpsc::Receiver<Event>,
    until: &CancellationToken,
) -> Result<Leave, Error> {
    let mut screen = Screen::enter()?;
    let mut seen = Noted { file: options.seen.clone(), last: None, at: instant() };
    let mut model = Model::new(options, screen.terminal.size()?, now());
    // A terminal that did work fails only when it is gone: a good end, and nobody is left to tell.
    let left = show(&mut model, &mut screen, client, events, &mut seen, until).await;
    seen.note(model.seen);
    let left = left.unwrap_or(Leave::Wish);
    if screen.panicked().is_cancelled() { Err(Error::Panicked) } else { Ok(left) }
}

/// How far one has read, as it was noted last.
struct Noted {
    file: SeenFile,
    last: Option<Seen>,
    at: Instant,
}

impl Noted {
    /// Notes it if it is new. Where it can't be written only a line is missing the next time.
    fn note(&mut self, seen: Option<Seen>) {
        if let Some(seen) = seen.filter(|seen| self.last.as_ref() != Some(seen)) {
            self.file.write(&seen).ok();
            (self.last, self.at) = (Some(seen), instant());
        }
    }
}

async fn show(
    model: &mut Model,
    screen: &mut Screen,
    client: &Client,
    mut events: mpsc::Receiver<Event>,
    seen: &mut Noted,
    until: &CancellationToken,
) -> std::io::Result<Leave> {
    let (mut input, panicked) = (EventStream::new(), screen.panicked());
    let mut next_frame = Some(instant());
    let mut drawn = instant();
    loop {
        if next_frame.is_some_and(|at| at <= instant()) {
            draw(model, screen)?;
            if seen.at + NOTE <= instant() {
                seen.note(model.seen.clone());
            }
            (drawn, next_frame) = (instant(), None);
        }
        let message = tokio::select! {
            biased;
            () = until.cancelled() => return Ok(Leave::Wish),
            () = panicked.cancelled() => return Ok(Leave::Wish),
            event = input.next() => match event {
                Some(event) => Message::Terminal(event?),
                None => return Ok(Leave::Wish),
            },
            Some(event) = events.recv() => Message::Client(event),
            () = reached(next_frame) => continue,
            () = reached(wake(model)) => Message::Tick,
        };
        let waiting = std::iter::from_fn(|| events.try_recv().ok().map(Message::Client));
        for message in std::iter::once(message).chain(waiting).take(BATCH) {
            for effect in update(model, now(), message) {
                if let Some(left) = perform(model, screen, client, effect)? {
                    return Ok(left);
                }
            }
        }
        next_frame = Some(drawn + FRAME);
    }
}

/// Does what the screen wants; why to leave, if so.
fn perform(
    model: &mut Model,
    screen: &mut Screen,
    client: &Client,
    effect: Effect,
) -> std::io::Result<Option<Leave>> {
    match effect {
        Effect::Send(cid, request) => {
            if let Err(error) = client.try_send(cid.as_ref(), &request) {
                let reason = SafeText::clean(&error.to_string());
                update(model, now(), Message::NotSent { cid, reason });
            }
        }
        Effect::Discard(cid) => {
            if let Err(error) = client.discard(&cid) {
                model.complain(error.to_string());
            }
        }
        Effect::Copy(text) => screen.copy(&text)?,
        Effect::Mouse(ours) => screen.mouse(ours)?,
        Effect::Redraw => screen.terminal.clear()?,
        Effect::Quit => return Ok(Some(Leave::by_wish(&model.room))),
        Effect::Untrusted(reason) => return Ok(Some(Leave::Untrusted(reason))),
    }
    Ok(None)
}

fn draw(model: &mut Model, screen: &mut Screen) -> std::io::Result<()> {
    let now = now();
    screen.draw(|frame| {
        model.size = frame.area().as_size();
        arrange(model, now);
        view(model, now, frame);
    })
}

fn wake(model: &Model) -> Option<Instant> {
    let now = now();
    let wait = model.next_wake(now)? - now;
    Some(instant() + wait.to_std().unwrap_or_default())
}

async fn reached(at: Option<Instant>) {
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
