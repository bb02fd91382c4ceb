//! `chat tail`: prints the latest messages, and with `--follow` also new ones.
//!
//! [`TailState`] decides what to request and to print; the rest of the module connects, waits and writes.

use std::collections::{BTreeSet, VecDeque};
use std::io::{IsTerminal as _, Write as _};

use anyhow::bail;
use chrono::{DateTime, FixedOffset};
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::exit::CliError;
use super::identity_args::{CaArgs, IdentityArgs};
use super::output::{print_note, print_to_pipe};
use super::plain::{EVENT_BATCH, format};
use super::signals;
use crate::client::clock::now;
use crate::client::link::ServerLink;
use crate::client::state::Session;
use crate::client::{Client, ClientEvent};
use crate::protocol::event::{Edited, Event, HistoryPage};
use crate::protocol::id::{Cid, MessageId, RoomName, Seq};
use crate::protocol::limits::PAGE_MESSAGES;
use crate::protocol::message::{Audience, Message};
use crate::protocol::query::{HistoryQuery, HistoryRange};
use crate::protocol::request::Request;

/// The progress line is shown for more messages than this. Fewer arrive immediately.
const PROGRESS_THRESHOLD: usize = 10 * PAGE_MESSAGES;

/// The number of printed messages whose reactions, pins and removals are reported with `--follow`.
const MAX_PRINTED: usize = 10_000;

/// The arguments of `chat tail`.
#[derive(Debug, clap::Args)]
pub(super) struct TailArgs {
    /// Server to read from: HOST, HOST:PORT or a chat:// link
    #[arg(id = "server", value_name = "SERVER", env = "CHAT_SERVER", default_value_t = ServerLink::default())]
    link: ServerLink,
    #[command(flatten)]
    identity: IdentityArgs,
    #[command(flatten)]
    ca: CaArgs,
    /// Print the messages of this room, of which you are a member, instead of those to everyone
    #[arg(long, value_name = "ROOM", value_parser = RoomName::from_input)]
    room: Option<RoomName>,
    /// Print the messages of all your conversations
    #[arg(long, conflicts_with = "room")]
    all: bool,
    /// Print the JSON objects of the protocol, one per line
    ///
    /// They have the fields of both dialects of the protocol. `time` is in UTC.
    #[arg(long)]
    json: bool,
    /// Number of messages to print
    #[arg(short = 'n', value_name = "NUM", default_value_t = 10)]
    count: usize,
    /// Keep printing new messages until interrupted
    ///
    /// Edits, reactions, pins, removed and expired messages and changes of rooms are reported too. A lost
    /// connection is retried.
    #[arg(long, short)]
    follow: bool,
}

/// Prints until all messages are printed, the output is closed, or a signal arrives.
pub(super) async fn run(args: TailArgs) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let printed = async {
        let (client, events) = args.identity.connect_quietly(args.link.clone(), &args.ca).await?;
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
    let conversation = match &args.room {
        _ if args.all => None,
        Some(room) => Some(Audience::Room(room.clone())),
        None => Some(Audience::Everyone),
    };
    let mut tail = TailState::new(args.count, conversation.clone(), "page".parse()?);
    let progress = ProgressLine { wanted: args.count };
    let state = Session::new("");
    let mut batch = Vec::with_capacity(EVENT_BATCH);
    while events.recv_many(&mut batch, EVENT_BATCH).await > 0 {
        let mut lines = String::new();
        for event in batch.drain(..) {
            for action in handle_event(&mut tail, event)? {
                match action {
                    TailAction::FetchPage(cid, before) => {
                        progress.show(tail.history.len());
                        let range = before.map_or(HistoryRange::Latest, HistoryRange::Before);
                        let query = HistoryQuery { conversation: conversation.clone(), range };
                        client.try_send(Some(&cid), &Request::History(query))?;
                    }
                    TailAction::Print(event) => {
                        lines.push_str(&format_line(args.json, &state, now(), &event));
                    }
                }
            }
        }
        if tail.is_live {
            progress.clear();
        }
        let is_open = lines.is_empty() || print_to_pipe(&lines).await?;
        if !is_open || (tail.is_live && !args.follow) {
            return Ok(());
        }
    }
    Ok(())
}

/// Handles an event of the client.
fn handle_event(tail: &mut TailState, event: ClientEvent) -> anyhow::Result<Vec<TailAction>> {
    match event {
        ClientEvent::Connected(connected) if tail.is_live => {
            if !connected.welcome.resumed {
                print_note(
                    "some messages are missing here: the server could not resume the session",
                );
            }
        }
        ClientEvent::Connected(_) => return Ok(tail.start()),
        ClientEvent::Received(Event::Error(error)) if error.cid == Some(tail.cid.clone()) => {
            return Err(CliError::refused(&error.text).into());
        }
        ClientEvent::Received(event) => return Ok(tail.on_event(event)),
        ClientEvent::FirstContact(notice) => print_note(notice),
        ClientEvent::Untrusted { reason } => return Err(CliError::untrusted(&reason).into()),
        ClientEvent::Ended { reason } => return Err(CliError::refused(&reason).into()),
        ClientEvent::Disconnected { reason, .. } if tail.is_live => {
            print_note(format_args!("disconnected: {}; reconnecting", reason.one_line()));
        }
        ClientEvent::Disconnected { reason, .. } => bail!("{}", reason.one_line()),
        ClientEvent::Connecting
        | ClientEvent::Restored(_)
        | ClientEvent::Sending(_)
        | ClientEvent::NotSent { .. } => {}
    }
    Ok(Vec::new())
}

/// What [`TailState`] asks its caller to do.
#[derive(Debug, PartialEq, Eq)]
enum TailAction {
    /// Request the page before this sequence number, or the latest one.
    FetchPage(Cid, Option<Seq>),
    /// Print a message, or a change of one or of a room.
    Print(Event),
}

/// Collects the requested history from its end backwards, then passes on live events.
#[derive(Debug)]
struct TailState {
    wanted: usize,
    /// The conversation to print; `None` for all.
    conversation: Option<Audience>,
    /// The `cid` of every request: at most one is unanswered at a time.
    cid: Cid,
    history: VecDeque<Message>,
    /// Live events that arrived before the history was complete.
    live_backlog: Vec<Event>,
    /// Messages that were removed or expired before they were printed.
    removed: BTreeSet<MessageId>,
    /// The latest messages that were printed: the events that change a message do not name its conversation.
    printed: VecDeque<MessageId>,
    is_live: bool,
}

impl TailState {
    fn new(wanted: usize, conversation: Option<Audience>, cid: Cid) -> Self {
        Self {
            wanted,
            conversation,
            cid,
            history: VecDeque::new(),
            live_backlog: Vec::new(),
            removed: BTreeSet::new(),
            printed: VecDeque::new(),
            is_live: false,
        }
    }

    fn start(&mut self) -> Vec<TailAction> {
        // The answer tells whether the user may read the room.
        let is_room = matches!(self.conversation, Some(Audience::Room(_)));
        if self.wanted == 0 && !is_room {
            self.go_live()
        } else {
            vec![TailAction::FetchPage(self.cid.clone(), None)]
        }
    }

    fn on_event(&mut self, event: Event) -> Vec<TailAction> {
        match event {
            Event::History(page) if !self.is_live => self.on_page(page),
            event if self.is_live => self.print(event).into_iter().collect(),
            Event::Deleted(deleted) => {
                self.removed.insert(deleted.id);
                Vec::new()
            }
            Event::Expired { id, .. } => {
                self.removed.insert(id);
                Vec::new()
            }
            event if event.seq().is_some() => {
                self.live_backlog.push(event);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// Prints an event of the log that belongs to the conversation.
    fn print(&mut self, event: Event) -> Option<TailAction> {
        let is_printed = |id| self.conversation.is_none() || self.printed.contains(&id);
        let is_wanted = match &event {
            Event::Posted(message) => self.includes(&message.audience),
            Event::Edited(edited) => self.includes(&edited.audience),
            Event::RoomChanged(changed) => self.includes(&Audience::Room(changed.room.clone())),
            Event::Deleted(deleted) => is_printed(deleted.id),
            Event::Expired { id, .. } => is_printed(*id),
            Event::Reacted(reacted) => is_printed(reacted.id),
            Event::Pinned(pinned) => is_printed(pinned.id),
            _ => false,
        };
        if let Event::Posted(message) = &event
            && is_wanted
        {
            self.printed.truncate(MAX_PRINTED - 1);
            self.printed.push_front(message.id);
        }
        is_wanted.then_some(TailAction::Print(event))
    }

    fn includes(&self, audience: &Audience) -> bool {
        self.conversation.as_ref().is_none_or(|conversation| conversation == audience)
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

    /// The history is complete: returns it and the backlog, without gaps and duplicates.
    fn go_live(&mut self) -> Vec<TailAction> {
        self.is_live = true;
        let surplus = self.history.len().saturating_sub(self.wanted);
        let mut history: Vec<Message> = std::mem::take(&mut self.history).into();
        history.drain(..surplus);
        let last = history.last().map_or(Seq(0), |message| message.seq);
        let backlog = std::mem::take(&mut self.live_backlog);
        for edited in backlog.iter().filter_map(edit) {
            let is_target = |message: &&mut Message| message.id == edited.id;
            if let Some(message) = history.iter_mut().find(is_target) {
                edited.apply_to(message);
            }
        }
        let is_new = |event: &Event| !matches!(event, Event::Posted(old) if old.seq <= last);
        let all = history.into_iter().map(Event::Posted).chain(backlog.into_iter().filter(is_new));
        let removed = std::mem::take(&mut self.removed);
        let is_left =
            |event: &Event| !matches!(event, Event::Posted(one) if removed.contains(&one.id));
        all.filter(is_left).filter_map(|event| self.print(event)).collect()
    }
}

fn edit(event: &Event) -> Option<&Edited> {
    if let Event::Edited(edited) = event { Some(edited) } else { None }
}

fn format_line(json: bool, state: &Session, now: DateTime<FixedOffset>, event: &Event) -> String {
    if json {
        return String::from_utf8_lossy(&event.encode_full()).into_owned();
    }
    let mut line = match event {
        Event::Posted(message) => format::message(state, now, message),
        Event::Deleted(deleted) => format::notice(
            now,
            &format!("message {} was removed by {}", deleted.id, deleted.author),
        ),
        Event::Expired { id, .. } => format::notice(now, &format!("message {id} has expired")),
        event => match format::change(state, now, event) {
            Some(line) => line,
            None => return String::new(),
        },
    };
    line.push('\n');
    line
}

/// The progress of a long download, on a terminal.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::id::UserId;
    use crate::protocol::mention::Mentions;
    use crate::protocol::message::MessageKind;
    use crate::protocol::room::{RoomChange, RoomChanged, RoomState};
    use crate::protocol::text::SafeText;

    fn ops() -> Audience {
        Audience::Room("#ops".parse().unwrap())
    }

    fn ann() -> UserId {
        "Ann_1180".parse().unwrap()
    }

    fn message(number: u32, audience: Audience) -> Message {
        Message {
            seq: Seq(number.into()),
            id: MessageId::from_number(number).unwrap(),
            sender: ann(),
            guest: false,
            audience,
            kind: MessageKind::Plain,
            content: SafeText::clean("tpyo"),
            at: DateTime::parse_from_rfc3339("2025-04-20T12:03:00+02:00").unwrap(),
            cid: None,
            mentions: Mentions::None,
            edited: None,
            reactions: Vec::new(),
            pinned: false,
        }
    }

    fn edited(number: u32, audience: Audience) -> Event {
        let Message { id, content: _, at, mentions, .. } = message(number, audience.clone());
        let content = SafeText::clean("typo");
        let (seq, author, reply_to, cid) = (Seq(200_000), ann(), None, None);
        Event::Edited(Edited { seq, id, author, audience, reply_to, content, mentions, at, cid })
    }

    fn room_changed() -> Event {
        Event::RoomChanged(RoomChanged {
            seq: Seq(200_001),
            room: "#ops".parse().unwrap(),
            change: RoomChange::Topic,
            by: Some(ann()),
            at: 0,
            state: RoomState::default(),
            cid: None,
        })
    }

    fn page(messages: Vec<Message>) -> Event {
        let cid = Some("page".parse().unwrap());
        Event::History(HistoryPage { messages, has_earlier: false, has_later: false, cid })
    }

    fn tail(wanted: usize, conversation: Option<Audience>) -> TailState {
        TailState::new(wanted, conversation, "page".parse().unwrap())
    }

    #[test]
    fn room_is_followed_alone() {
        let mut tail = tail(10, Some(ops()));
        tail.start();
        let posted = |number, audience| Event::Posted(message(number, audience));
        tail.on_event(page(vec![message(100_001, ops())]));
        let expired = |number| Event::Expired {
            seq: Seq(200_002),
            id: MessageId::from_number(number).unwrap(),
        };
        for (event, is_printed) in [
            (posted(100_002, ops()), true),
            (posted(100_003, Audience::Everyone), false),
            (edited(100_002, ops()), true),
            (edited(100_003, Audience::Everyone), false),
            (expired(100_001), true),
            (expired(100_003), false),
            (room_changed(), true),
            (Event::Live(Seq(9)), false),
        ] {
            let expected = is_printed.then(|| TailAction::Print(event.clone()));
            assert_eq!(tail.on_event(event), Vec::from_iter(expected));
        }
    }

    #[test]
    fn text_that_is_edited_before_it_is_printed_is_the_new_one() {
        let mut tail = tail(10, None);
        tail.start();
        tail.on_event(edited(100_001, Audience::Everyone));
        let printed = tail.on_event(page(vec![message(100_001, Audience::Everyone)]));
        let Some(TailAction::Print(Event::Posted(message))) = printed.first() else {
            panic!("{printed:?}")
        };
        assert_eq!(message.content.as_str(), "typo");
    }

    #[test]
    fn access_to_a_room_is_checked_even_if_no_message_is_wanted() {
        assert!(matches!(tail(0, Some(ops())).start().as_slice(), [TailAction::FetchPage(..)]));
        assert_eq!(tail(0, Some(Audience::Everyone)).start(), []);
        let mut tail = tail(0, Some(ops()));
        tail.start();
        assert_eq!(tail.on_event(page(vec![message(100_001, ops())])), []);
        assert!(tail.is_live);
    }
}
