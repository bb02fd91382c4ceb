//! The plain mode: a conversation as lines, for pipes, screen readers and simple terminals.
//!
//! The shell: it reads the clock and the input, and does what the heart ([`talk`]) says. No escape
//! sequence leaves it.

pub(super) mod format;
mod input;
mod past;
mod talk;

#[cfg(test)]
mod tests;

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::{DateTime, FixedOffset, Local};
use tokio::io::{AsyncWriteExt as _, BufReader, Stdin};
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use self::input::{Input, Lines};
use self::talk::{Effect, Talk};
use super::exit::Failure;
use crate::client::{Client, Event};
use crate::protocol::limits;

/// How long another answer is waited for after the end of the input.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// How many events are taken, and then printed, at once.
const BATCH: usize = 256;

/// Talks until the input ends, `.exit` is typed, nobody reads the output any more, or `stop`.
///
/// # Errors
/// The server refused the login; some of what was typed has no answer; a stream broke.
pub(super) async fn run(
    client: &Client,
    events: Receiver<Event>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let talk =
        Talk::new(&format!("{:016x}", rand::random::<u64>()), std::io::stdin().is_terminal());
    let input = Lines::new(BufReader::new(tokio::io::stdin()));
    let mut shell = Shell { client, events, input, talk };
    if stop.run_until_cancelled(shell.run()).await.unwrap_or(Ok(Next::Left))? == Next::Left {
        return Ok(());
    }
    match shell.talk.unconfirmed() {
        0 => Ok(()),
        count => bail!("the server has not confirmed everything ({count} not confirmed)"),
    }
}

struct Shell<'a> {
    client: &'a Client,
    events: Receiver<Event>,
    input: Lines<BufReader<Stdin>>,
    talk: Talk,
}

/// How it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// As before.
    Talk,
    /// There is no more input: only answers are waited for.
    Settle,
    /// Nobody reads what would be printed.
    Left,
}

impl Shell<'_> {
    async fn run(&mut self) -> anyhow::Result<Next> {
        loop {
            match self.talk().await? {
                Next::Talk => {}
                Next::Settle => break,
                Next::Left => return Ok(Next::Left),
            }
        }
        while self.talk.waiting() > 0 {
            match tokio::time::timeout(ANSWER_TIME, self.answer()).await {
                Ok(Ok(Next::Talk | Next::Settle)) => {}
                Ok(other) => return other,
                Err(_elapsed) => break,
            }
        }
        Ok(Next::Settle)
    }

    /// Listens until there is another answer.
    async fn answer(&mut self) -> anyhow::Result<Next> {
        let waiting = self.talk.waiting();
        while self.talk.waiting() >= waiting {
            if self.listen().await? == Next::Left {
                return Ok(Next::Left);
            }
        }
        Ok(Next::Talk)
    }

    async fn talk(&mut self) -> anyhow::Result<Next> {
        let mut batch = Vec::with_capacity(BATCH);
        let effects = tokio::select! {
            count = self.events.recv_many(&mut batch, BATCH) => {
                if count == 0 { return Ok(Next::Left) }
                self.heard(batch)
            }
            line = self.input.next(), if self.talk.wants_input() => {
                match line.context("cannot read standard input")? {
                    Some(Input::Line(line)) => self.talk.type_line(now(), &line),
                    Some(Input::TooLong) => vec![Effect::Complain(too_long())],
                    None => return Ok(Next::Settle),
                }
            }
            () = reached(self.talk.deadline()) => self.talk.tick(now()),
        };
        self.perform(effects).await
    }

    async fn listen(&mut self) -> anyhow::Result<Next> {
        let mut batch = Vec::with_capacity(BATCH);
        if self.events.recv_many(&mut batch, BATCH).await == 0 {
            return Ok(Next::Left);
        }
        let effects = self.heard(batch);
        self.perform(effects).await
    }

    fn heard(&mut self, batch: Vec<Event>) -> Vec<Effect> {
        let now = now();
        batch.into_iter().flat_map(|event| self.talk.happen(now, event)).collect()
    }

    async fn perform(&mut self, effects: Vec<Effect>) -> anyhow::Result<Next> {
        let mut next = Next::Talk;
        let mut ended = None;
        let mut lines = String::new();
        for effect in effects {
            match effect {
                Effect::Print(line) => {
                    lines.push_str(&line);
                    lines.push('\n');
                }
                Effect::Complain(line) => complain(&line),
                Effect::Send(cid, request) => {
                    if let Err(error) = self.client.try_send(Some(&cid), &request)
                        && let Some(Effect::Complain(line)) = self.talk.not_sent(&cid, error)
                    {
                        complain(&line);
                    }
                }
                Effect::Leave => next = Next::Settle,
                Effect::Refused(reason) => ended = Some(Failure::refused(&reason)),
                Effect::Untrusted(reason) => ended = Some(Failure::untrusted(&reason)),
            }
        }
        if !lines.is_empty() && !print(&lines).await? {
            return Ok(Next::Left);
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
fn complain(line: &str) {
    writeln!(std::io::stderr(), "error: {line}").unwrap_or_default();
}

async fn reached(at: Option<DateTime<FixedOffset>>) {
    match at {
        Some(at) => tokio::time::sleep((at - now()).to_std().unwrap_or_default()).await,
        None => std::future::pending().await,
    }
}

fn too_long() -> String {
    format!(
        "that line is too long: a message has {} characters at most",
        limits::CONTENT_CHARACTERS
    )
}

#[expect(clippy::disallowed_methods, reason = "this is the shell")]
pub(super) fn now() -> DateTime<FixedOffset> {
    Local::now().fixed_offset()
}
