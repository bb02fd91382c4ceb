//! `chat tail`: the last messages, and those to come, for pipes.
//!
//! [`Tail`] decides what is asked for and printed; the rest connects, waits and writes.

use std::collections::{BTreeSet, VecDeque};
use std::io::{IsTerminal as _, Write as _};

use anyhow::bail;
use chrono::{DateTime, FixedOffset};
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::exit::Failure;
use super::plain::{format, now, print};
use super::send::complain;
use super::signals;
use super::who::{Ca, Who};
use crate::client::link::Link;
use crate::client::state::Room;
use crate::client::{Client, Event};
use crate::protocol::event::{Event as Said, Page};
use crate::protocol::id::{ClientId, MessageId, Seq};
use crate::protocol::limits::PAGE_MESSAGES;
use crate::protocol::message::Message;
use crate::protocol::query::History;
use crate::protocol::request::Request;

/// From how many messages on people may want to see how far it is: less takes no time.
const LONG: usize = 10 * PAGE_MESSAGES;

/// How many events are taken, and then printed, at once.
const BATCH: usize = 256;

/// What can follow `chat tail`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server: HOST, HOST:PORT or a chat:// link
    #[arg(id = "server", value_name = "SERVER", env = "CHAT_SERVER", default_value_t = Link::default())]
    link: Link,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    ca: Ca,
    /// Print the protocol's objects, one a line
    #[arg(long)]
    json: bool,
    /// How many messages to print
    #[arg(short = 'n', value_name = "N", default_value_t = 10)]
    count: usize,
    /// Go on with what comes, until interrupted
    #[arg(long, short)]
    follow: bool,
}

/// Prints until there is no more, nobody reads it, or a signal comes.
pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let printed = async {
        let (client, events) = args.who.connect(args.link.clone(), &args.ca)?;
        let printing = follow(&args, &client, events);
        let outcome = stop.run_until_cancelled(printing).await.unwrap_or(Ok(()));
        client.close().await;
        outcome
    };
    signals::heeded(&stop, printed).await
}

async fn follow(args: &Args, client: &Client, mut events: Receiver<Event>) -> anyhow::Result<()> {
    let mut tail = Tail::new(args.count, "page".parse()?);
    let progress = Progress { wanted: args.count };
    let room = Room::new("");
    let mut batch = Vec::with_capacity(BATCH);
    while events.recv_many(&mut batch, BATCH).await > 0 {
        let mut lines = String::new();
        for event in batch.drain(..) {
            for step in step(&mut tail, event)? {
                match step {
                    Step::Ask(cid, before) => {
                        progress.show(tail.history.len());
                        client.try_send(Some(&cid), &Request::History(History::Before(before)))?;
                    }
                    Step::Print(said) => lines.push_str(&line(args.json, &room, now(), &said)),
                }
            }
        }
        if tail.is_live {
            progress.clear();
        }
        let is_read = lines.is_empty() || print(&lines).await?;
        if !is_read || (tail.is_live && !args.follow) {
            return Ok(());
        }
    }
    Ok(())
}

/// What an event of the connection leads to.
fn step(tail: &mut Tail, event: Event) -> anyhow::Result<Vec<Step>> {
    match event {
        Event::Connected(connected) if tail.is_live => {
            if !connected.welcome.resumed {
                complain("what was said meanwhile is missing here: the server could not go on");
            }
        }
        Event::Connected(_) => return Ok(tail.begin()),
        Event::Received(Said::Refused(refused)) if refused.cid == Some(tail.cid.clone()) => {
            return Err(Failure::refused(&refused.text).into());
        }
        Event::Received(said) => return Ok(tail.hear(said)),
        Event::FirstContact(words) => complain(words.as_str()),
        Event::Untrusted { reason } => return Err(Failure::untrusted(&reason).into()),
        Event::Ended { reason } => return Err(Failure::refused(&reason).into()),
        Event::Disconnected { reason, .. } if tail.is_live => {
            complain(&format!("{}; trying again", reason.one_line()));
        }
        Event::Disconnected { reason, .. } => bail!("{}", reason.one_line()),
        Event::Connecting | Event::Kept(_) | Event::Sending(_) | Event::NotSent { .. } => {}
    }
    Ok(Vec::new())
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Ask for the page before this place, under this name.
    Ask(ClientId, Option<Seq>),
    /// Print this.
    Print(Said),
}

/// The history from its end back to where it begins here, and then what comes.
#[derive(Debug)]
struct Tail {
    wanted: usize,
    /// Whatever is asked: only one question at a time has no answer.
    cid: ClientId,
    history: VecDeque<Message>,
    /// What came before all of the history was there.
    waiting: Vec<Message>,
    /// What was removed before it was printed.
    gone: BTreeSet<MessageId>,
    is_live: bool,
}

impl Tail {
    fn new(wanted: usize, cid: ClientId) -> Self {
        let (history, waiting, gone) = (VecDeque::new(), Vec::new(), BTreeSet::new());
        Self { wanted, cid, history, waiting, gone, is_live: false }
    }

    fn begin(&mut self) -> Vec<Step> {
        if self.wanted == 0 { self.go_live() } else { vec![Step::Ask(self.cid.clone(), None)] }
    }

    fn hear(&mut self, said: Said) -> Vec<Step> {
        match said {
            Said::History(page) if !self.is_live => self.page(page),
            Said::Said(_) | Said::Deleted(_) | Said::Expired { .. } if self.is_live => {
                vec![Step::Print(said)]
            }
            Said::Said(message) => {
                self.waiting.push(message);
                Vec::new()
            }
            Said::Deleted(deleted) => {
                self.gone.insert(deleted.id);
                Vec::new()
            }
            Said::Expired { id, .. } => {
                self.gone.insert(id);
                Vec::new()
            }
            Said::LoginPrompt
            | Said::Welcome(_)
            | Said::LoginRefused(_)
            | Said::People(_)
            | Said::Presence { .. }
            | Said::Guests(_)
            | Said::Live(_)
            | Said::Stored(_)
            | Said::History(_)
            | Said::Found(_)
            | Said::Pong(_)
            | Said::Refused(_)
            | Said::Closing(_) => Vec::new(),
        }
    }

    fn page(&mut self, page: Page) -> Vec<Step> {
        let before = page.messages.first().map(|message| message.seq);
        for message in page.messages.into_iter().rev() {
            self.history.push_front(message);
        }
        let missing = self.wanted.saturating_sub(self.history.len());
        match before.filter(|_| page.earlier && missing > 0) {
            Some(before) => vec![Step::Ask(self.cid.clone(), Some(before))],
            None => self.go_live(),
        }
    }

    /// All of the history is there, and what came meanwhile follows without a gap or a double.
    fn go_live(&mut self) -> Vec<Step> {
        self.is_live = true;
        let surplus = self.history.len().saturating_sub(self.wanted);
        let history = std::mem::take(&mut self.history);
        let last = history.back().map_or(Seq(0), |message| message.seq);
        let came = std::mem::take(&mut self.waiting).into_iter().filter(|m| m.seq > last);
        let all = history.into_iter().skip(surplus).chain(came);
        all.filter(|message| !self.gone.contains(&message.id))
            .map(|message| Step::Print(Said::Said(message)))
            .collect()
    }
}

fn line(json: bool, room: &Room, now: DateTime<FixedOffset>, said: &Said) -> String {
    if json {
        return String::from_utf8_lossy(&said.encode()).into_owned();
    }
    let mut line = match said {
        Said::Said(message) => format::message(room, now, message),
        Said::Deleted(deleted) => {
            format::notice(now, &format!("message {} was removed by {}", deleted.id, deleted.by))
        }
        Said::Expired { id, .. } => format::notice(now, &format!("message {id} has expired")),
        Said::LoginPrompt
        | Said::Welcome(_)
        | Said::LoginRefused(_)
        | Said::People(_)
        | Said::Presence { .. }
        | Said::Guests(_)
        | Said::Live(_)
        | Said::Stored(_)
        | Said::History(_)
        | Said::Found(_)
        | Said::Pong(_)
        | Said::Refused(_)
        | Said::Closing(_) => return String::new(),
    };
    line.push('\n');
    line
}

/// How far it is, on a terminal, when it takes its time.
struct Progress {
    wanted: usize,
}

impl Progress {
    fn show(&self, count: usize) {
        if self.wanted > LONG && std::io::stderr().is_terminal() {
            write!(std::io::stderr(), "\r{count} of {} messages ", self.wanted).unwrap_or_default();
        }
    }

    fn clear(&self) {
        if self.wanted > LONG && std::io::stderr().is_terminal() {
            write!(std::io::stderr(), "\r{:60}\r", "").unwrap_or_default();
        }
    }
}
