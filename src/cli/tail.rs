//! `chat tail`: the last messages, and those to come, for pipes.
//!
//! [`TailState`] decides what is asked for and printed; the rest connects, waits and writes.

use std::collections::{BTreeSet, VecDeque};
use std::io::{IsTerminal as _, Write as _};

use anyhow::bail;
use chrono::{DateTime, FixedOffset};
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::exit::CliError;
use super::identity_args::{CaArgs, IdentityArgs};
use super::plain::{format, now, print};
use super::send::print_note;
use super::signals;
use crate::client::link::ServerLink;
use crate::client::state::ChatState;
use crate::client::{Client, ClientEvent};
use crate::protocol::event::{Event as Said, HistoryPage};
use crate::protocol::id::{Cid, MessageId, Seq};
use crate::protocol::limits::PAGE_MESSAGES;
use crate::protocol::message::Message;
use crate::protocol::query::HistoryQuery;
use crate::protocol::request::Request;

/// From how many messages on people may want to see how far it is: less takes no time.
const PROGRESS_THRESHOLD: usize = 10 * PAGE_MESSAGES;

/// How many events are taken, and then printed, at once.
const EVENT_BATCH: usize = 256;

/// What can follow `chat tail`.
#[derive(Debug, clap::Args)]
pub(super) struct TailArgs {
    /// The server: HOST, HOST:PORT or a chat:// link
    #[arg(id = "server", value_name = "SERVER", env = "CHAT_SERVER", default_value_t = ServerLink::default())]
    link: ServerLink,
    #[command(flatten)]
    identity: IdentityArgs,
    #[command(flatten)]
    ca: CaArgs,
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
pub(super) async fn run(args: TailArgs) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let printed = async {
        let (client, events) = args.identity.connect_in_memory(args.link.clone(), &args.ca)?;
        let printing = print_messages(&args, &client, events);
        let outcome = stop.run_until_cancelled(printing).await.unwrap_or(Ok(()));
        client.close().await;
        outcome
    };
    signals::with_shutdown_signals(&stop, printed).await
}

async fn print_messages(
    args: &TailArgs,
    client: &Client,
    mut events: Receiver<ClientEvent>,
) -> anyhow::Result<()> {
    let mut tail = TailState::new(args.count, "page".parse()?);
    let progress = ProgressLine { wanted: args.count };
    let state = ChatState::new("");
    let mut batch = Vec::with_capacity(EVENT_BATCH);
    while events.recv_many(&mut batch, EVENT_BATCH).await > 0 {
        let mut lines = String::new();
        for event in batch.drain(..) {
            for step in handle_event(&mut tail, event)? {
                match step {
                    TailAction::FetchPage(cid, before) => {
                        progress.show(tail.history.len());
                        client.try_send(
                            Some(&cid),
                            &Request::History(HistoryQuery::Before(before)),
                        )?;
                    }
                    TailAction::Print(said) => {
                        lines.push_str(&format_line(args.json, &state, now(), &said))
                    }
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
fn handle_event(tail: &mut TailState, event: ClientEvent) -> anyhow::Result<Vec<TailAction>> {
    match event {
        ClientEvent::Connected(connected) if tail.is_live => {
            if !connected.welcome.resumed {
                print_note("what was said meanwhile is missing here: the server could not go on");
            }
        }
        ClientEvent::Connected(_) => return Ok(tail.start()),
        ClientEvent::Received(Said::Error(refused)) if refused.cid == Some(tail.cid.clone()) => {
            return Err(CliError::refused(&refused.text).into());
        }
        ClientEvent::Received(said) => return Ok(tail.on_event(said)),
        ClientEvent::FirstContact(words) => print_note(words.as_str()),
        ClientEvent::Untrusted { reason } => return Err(CliError::untrusted(&reason).into()),
        ClientEvent::Ended { reason } => return Err(CliError::refused(&reason).into()),
        ClientEvent::Disconnected { reason, .. } if tail.is_live => {
            print_note(&format!("{}; trying again", reason.one_line()));
        }
        ClientEvent::Disconnected { reason, .. } => bail!("{}", reason.one_line()),
        ClientEvent::Connecting
        | ClientEvent::Restored(_)
        | ClientEvent::Sending(_)
        | ClientEvent::NotSent { .. } => {}
    }
    Ok(Vec::new())
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
enum TailAction {
    /// Ask for the page before this place, under this name.
    FetchPage(Cid, Option<Seq>),
    /// Print this.
    Print(Said),
}

/// The history from its end back to where it begins here, and then what comes.
#[derive(Debug)]
struct TailState {
    wanted: usize,
    /// Whatever is asked: only one question at a time has no answer.
    cid: Cid,
    history: VecDeque<Message>,
    /// What came before all of the history was there.
    live_backlog: Vec<Message>,
    /// What was removed before it was printed.
    removed: BTreeSet<MessageId>,
    is_live: bool,
}

impl TailState {
    fn new(wanted: usize, cid: Cid) -> Self {
        let (history, live_backlog, removed) = (VecDeque::new(), Vec::new(), BTreeSet::new());
        Self { wanted, cid, history, live_backlog, removed, is_live: false }
    }

    fn start(&mut self) -> Vec<TailAction> {
        if self.wanted == 0 {
            self.go_live()
        } else {
            vec![TailAction::FetchPage(self.cid.clone(), None)]
        }
    }

    fn on_event(&mut self, said: Said) -> Vec<TailAction> {
        match said {
            Said::History(page) if !self.is_live => self.on_page(page),
            Said::Posted(_) | Said::Deleted(_) | Said::Expired { .. } if self.is_live => {
                vec![TailAction::Print(said)]
            }
            Said::Posted(message) => {
                self.live_backlog.push(message);
                Vec::new()
            }
            Said::Deleted(deleted) => {
                self.removed.insert(deleted.id);
                Vec::new()
            }
            Said::Expired { id, .. } => {
                self.removed.insert(id);
                Vec::new()
            }
            Said::LoginPrompt
            | Said::Welcome(_)
            | Said::LoginRefused(_)
            | Said::Users(_)
            | Said::Presence { .. }
            | Said::Guests(_)
            | Said::Live(_)
            | Said::Stored(_)
            | Said::History(_)
            | Said::SearchResults(_)
            | Said::Pong(_)
            | Said::Error(_)
            | Said::Closing(_) => Vec::new(),
        }
    }

    fn on_page(&mut self, page: HistoryPage) -> Vec<TailAction> {
        let before = page.messages.first().map(|message| message.seq);
        for message in page.messages.into_iter().rev() {
            self.history.push_front(message);
        }
        let missing = self.wanted.saturating_sub(self.history.len());
        match before.filter(|_| page.has_earlier && missing > 0) {
            Some(before) => vec![TailAction::FetchPage(self.cid.clone(), Some(before))],
            None => self.go_live(),
        }
    }

    /// All of the history is there, and what came meanwhile follows without a gap or a double.
    fn go_live(&mut self) -> Vec<TailAction> {
        self.is_live = true;
        let surplus = self.history.len().saturating_sub(self.wanted);
        let history = std::mem::take(&mut self.history);
        let last = history.back().map_or(Seq(0), |message| message.seq);
        let came = std::mem::take(&mut self.live_backlog).into_iter().filter(|m| m.seq > last);
        let all = history.into_iter().skip(surplus).chain(came);
        all.filter(|message| !self.removed.contains(&message.id))
            .map(|message| TailAction::Print(Said::Posted(message)))
            .collect()
    }
}

fn format_line(json: bool, state: &ChatState, now: DateTime<FixedOffset>, said: &Said) -> String {
    if json {
        return String::from_utf8_lossy(&said.encode()).into_owned();
    }
    let mut line = match said {
        Said::Posted(message) => format::message(state, now, message),
        Said::Deleted(deleted) => format::notice(
            now,
            &format!("message {} was removed by {}", deleted.id, deleted.author),
        ),
        Said::Expired { id, .. } => format::notice(now, &format!("message {id} has expired")),
        Said::LoginPrompt
        | Said::Welcome(_)
        | Said::LoginRefused(_)
        | Said::Users(_)
        | Said::Presence { .. }
        | Said::Guests(_)
        | Said::Live(_)
        | Said::Stored(_)
        | Said::History(_)
        | Said::SearchResults(_)
        | Said::Pong(_)
        | Said::Error(_)
        | Said::Closing(_) => return String::new(),
    };
    line.push('\n');
    line
}

/// How far it is, on a terminal, when it takes its time.
struct ProgressLine {
    wanted: usize,
}

impl ProgressLine {
    fn show(&self, count: usize) {
        if self.wanted > PROGRESS_THRESHOLD && std::io::stderr().is_terminal() {
            write!(std::io::stderr(), "\r{count} of {} messages ", self.wanted).unwrap_or_default();
        }
    }

    fn clear(&self) {
        if self.wanted > PROGRESS_THRESHOLD && std::io::stderr().is_terminal() {
            write!(std::io::stderr(), "\r{:60}\r", "").unwrap_or_default();
        }
    }
}
