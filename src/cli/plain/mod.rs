//! The plain mode: a conversation as lines, for pipes, screen readers and simple terminals.
//!
//! The shell: it reads the clock and the input, and does what the heart ([`talk`]) says. No escape
//! sequence leaves it.

pub(super) mod format;
mod line_reader;
mod past;
mod session;

#[cfg(test)]
mod tests;

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::{DateTime, FixedOffset, Local};
use tokio::io::{AsyncWriteExt as _, BufReader, Stdin};
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use self::line_reader::{LineInput, LineReader};
use self::session::{LineEffect, LineSession};
use super::exit::CliError;
use crate::client::{Client, ClientEvent};
use crate::protocol::limits;

/// How long another answer is waited for after the end of the input.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How many events are taken, and then printed, at once.
const EVENT_BATCH: usize = 256;

/// Talks until the input ends, `.exit` is typed, nobody reads the output any more, or `stop`.
///
/// # Errors
/// The server refused the login; some of what was typed has no answer; a stream broke.
pub(super) async fn run(
    client: &Client,
    events: Receiver<ClientEvent>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let session = LineSession::new(
        &format!("{:016x}", rand::random::<u64>()),
        std::io::stdin().is_terminal(),
    );
    let input = LineReader::new(BufReader::new(tokio::io::stdin()));
    let mut plain_client = PlainClient { client, events, input, session };
    if stop.run_until_cancelled(plain_client.run()).await.unwrap_or(Ok(LoopState::Stopped))?
        == LoopState::Stopped
    {
        return Ok(());
    }
    match plain_client.session.unconfirmed() {
        0 => Ok(()),
        count => bail!("the server has not confirmed everything ({count} not confirmed)"),
    }
}

struct PlainClient<'a> {
    client: &'a Client,
    events: Receiver<ClientEvent>,
    input: LineReader<BufReader<Stdin>>,
    session: LineSession,
}

/// How it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoopState {
    /// As before.
    Running,
    /// There is no more input: only answers are waited for.
    Draining,
    /// Nobody reads what would be printed.
    Stopped,
}

impl PlainClient<'_> {
    async fn run(&mut self) -> anyhow::Result<LoopState> {
        loop {
            match self.step().await? {
                LoopState::Running => {}
                LoopState::Draining => break,
                LoopState::Stopped => return Ok(LoopState::Stopped),
            }
        }
        while self.session.unanswered_count() > 0 {
            match tokio::time::timeout(ANSWER_TIMEOUT, self.next_answer()).await {
                Ok(Ok(LoopState::Running | LoopState::Draining)) => {}
                Ok(other) => return other,
                Err(_elapsed) => break,
            }
        }
        Ok(LoopState::Draining)
    }

    /// Listens until there is another answer.
    async fn next_answer(&mut self) -> anyhow::Result<LoopState> {
        let waiting = self.session.unanswered_count();
        while self.session.unanswered_count() >= waiting {
            if self.next_events().await? == LoopState::Stopped {
                return Ok(LoopState::Stopped);
            }
        }
        Ok(LoopState::Running)
    }

    async fn step(&mut self) -> anyhow::Result<LoopState> {
        let mut batch = Vec::with_capacity(EVENT_BATCH);
        let effects = tokio::select! {
            count = self.events.recv_many(&mut batch, EVENT_BATCH) => {
                if count == 0 { return Ok(LoopState::Stopped) }
                self.on_events(batch)
            }
            line = self.input.next(), if self.session.accepts_input() => {
                match line.context("cannot read standard input")? {
                    Some(LineInput::Line(line)) => self.session.on_line(now(), &line),
                    Some(LineInput::TooLong) => vec![LineEffect::PrintError(line_too_long())],
                    None => return Ok(LoopState::Draining),
                }
            }
            () = sleep_until(self.session.deadline()) => self.session.tick(now()),
        };
        self.perform(effects).await
    }

    async fn next_events(&mut self) -> anyhow::Result<LoopState> {
        let mut batch = Vec::with_capacity(EVENT_BATCH);
        if self.events.recv_many(&mut batch, EVENT_BATCH).await == 0 {
            return Ok(LoopState::Stopped);
        }
        let effects = self.on_events(batch);
        self.perform(effects).await
    }

    fn on_events(&mut self, batch: Vec<ClientEvent>) -> Vec<LineEffect> {
        let now = now();
        batch.into_iter().flat_map(|event| self.session.on_event(now, event)).collect()
    }

    async fn perform(&mut self, effects: Vec<LineEffect>) -> anyhow::Result<LoopState> {
        let mut next = LoopState::Running;
        let mut ended = None;
        let mut lines = String::new();
        for effect in effects {
            match effect {
                LineEffect::Print(line) => {
                    lines.push_str(&line);
                    lines.push('\n');
                }
                LineEffect::PrintError(line) => print_error(&line),
                LineEffect::Send(cid, request) => {
                    if let Err(error) = self.client.try_send(Some(&cid), &request)
                        && let Some(LineEffect::PrintError(line)) =
                            self.session.not_sent(&cid, error)
                    {
                        print_error(&line);
                    }
                }
                LineEffect::Quit => next = LoopState::Draining,
                LineEffect::Refused(reason) => ended = Some(CliError::refused(&reason)),
                LineEffect::Untrusted(reason) => ended = Some(CliError::untrusted(&reason)),
            }
        }
        if !lines.is_empty() && !print(&lines).await? {
            return Ok(LoopState::Stopped);
        }
        ended.map_or(Ok(next), |failure| Err(failure.into()))
    }
}

/// Prints at once; whether anybody still reads it.
pub(super) async fn print(lines: &str) -> anyhow::Result<bool> {
    let mut stdout = tokio::io::stdout();
    let printed = async {
        stdout.write_all(lines.as_bytes()).await?;
        stdout.flush().await
    };
    match printed.await {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}

/// Where standard error is closed, there is nobody to tell.
fn print_error(line: &str) {
    writeln!(std::io::stderr(), "error: {line}").unwrap_or_default();
}

async fn sleep_until(at: Option<DateTime<FixedOffset>>) {
    match at {
        Some(at) => tokio::time::sleep((at - now()).to_std().unwrap_or_default()).await,
        None => std::future::pending().await,
    }
}

fn line_too_long() -> String {
    format!(
        "that line is too long: a message has {} characters at most",
        limits::CONTENT_CHARACTERS
    )
}

#[expect(clippy::disallowed_methods, reason = "this is the shell")]
pub(super) fn now() -> DateTime<FixedOffset> {
    Local::now().fixed_offset()
}
