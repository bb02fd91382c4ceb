//! Line mode (`--plain`): a client for pipes, screen readers and simple terminals.
//!
//! [`session`] is the functional core. This module does its input and output: it reads the clock, standard
//! input and the client's events, and carries out the effects. It prints no escape sequences.

mod commands;
pub(super) mod format;
mod line_reader;
mod session;

#[cfg(test)]
mod tests;

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::{DateTime, FixedOffset};
use tokio::io::{BufReader, Stdin};
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use self::line_reader::{LineInput, LineReader};
use self::session::{LineEffect, LineSession};
use super::exit::CliError;
use super::output::{print_error, print_to_pipe};
use crate::client::clock::now;
use crate::client::{Client, ClientEvent};
use crate::protocol::limits;

/// How long to wait for the next answer after the end of the input.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum number of events that are handled before their output is written.
pub(super) const EVENT_BATCH: usize = 256;

/// Runs until the input ends, the user types `.exit`, the output is closed, or `stop` is cancelled.
///
/// # Errors
/// The server rejected the login, some requests were not acknowledged, or a standard stream failed.
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
    match plain_client.session.unacknowledged() {
        0 => Ok(()),
        count => bail!("requests not acknowledged by the server: {count}"),
    }
}

struct PlainClient<'a> {
    client: &'a Client,
    events: Receiver<ClientEvent>,
    input: LineReader<BufReader<Stdin>>,
    session: LineSession,
}

/// What the loop does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoopState {
    /// Continue.
    Running,
    /// The input has ended: wait for the missing answers.
    Draining,
    /// The output or the connection is closed.
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

    /// Handles events until another request is answered.
    async fn next_answer(&mut self) -> anyhow::Result<LoopState> {
        let before = self.session.unanswered_count();
        while self.session.unanswered_count() >= before {
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
            () = sleep_until(self.session.deadline(now())) => self.session.tick(now()),
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
                            self.session.not_sent(now(), &cid, error)
                    {
                        print_error(&line);
                    }
                }
                LineEffect::Quit => next = LoopState::Draining,
                LineEffect::Refused(reason) => ended = Some(CliError::refused(&reason)),
                LineEffect::Untrusted(reason) => ended = Some(CliError::untrusted(&reason)),
            }
        }
        if !lines.is_empty() && !print_to_pipe(&lines).await? {
            return Ok(LoopState::Stopped);
        }
        ended.map_or(Ok(next), |error| Err(error.into()))
    }
}

async fn sleep_until(at: Option<DateTime<FixedOffset>>) {
    match at {
        Some(at) => tokio::time::sleep((at - now()).to_std().unwrap_or_default()).await,
        None => std::future::pending().await,
    }
}

fn line_too_long() -> String {
    format!("line too long: a message may have at most {} characters", limits::CONTENT_CHARACTERS)
}
