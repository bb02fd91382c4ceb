//! The test harness: a screen without a terminal, connection or clock.
//!
//! Tests feed keys, clicks and server events, and check the drawn screen and the effects. Time stands still
//! unless a test moves it with [`UiHarness::wait`].

use chrono::{DateTime, FixedOffset, TimeDelta};
use crossterm::event::{
    Event as TerminalEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::Size;

use crate::client;
use crate::client::state::history::ReadPosition;
use crate::protocol::event::{Deleted, Event, HistoryPage, Welcome};
use crate::protocol::id::{Cid, MessageId, Seq, UserId};
use crate::protocol::limits::Limits;
use crate::protocol::mention::Mentions;
use crate::protocol::message::{Audience, Message, MessageKind};
use crate::protocol::query::HistoryRange;
use crate::protocol::request::Request;
use crate::protocol::room::{ConversationInfo, ConversationList, NotifyLevel, RoomState};
use crate::protocol::text::SafeText;
use crate::tui::event::{UiEffect, UiEvent};
use crate::tui::key::Chord;
use crate::tui::keymap::Keymap;
use crate::tui::model::{Model, TypingIndicator, UiOptions};
use crate::tui::screen::Screen;
use crate::tui::text::EmojiStyle;
use crate::tui::theme::Theme;

/// The screen under test.
pub(super) struct UiHarness {
    pub(super) screen: Screen,
    pub(super) now: DateTime<FixedOffset>,
    terminal: Terminal<TestBackend>,
    pub(super) effects: Vec<UiEffect>,
    last_number: u32,
}

pub(super) fn id(text: &str) -> UserId {
    text.parse().unwrap()
}

pub(super) fn only(ids: &[&str]) -> Audience {
    Audience::Only(ids.iter().map(|text| id(text)).collect())
}

pub(super) fn room(name: &str) -> Audience {
    Audience::Room(name.parse().unwrap())
}

/// A conversation of Bob's, read up to `read`.
pub(super) fn conversation_info(
    conversation: Audience,
    read: u64,
    unread: u32,
    mentions: u32,
) -> ConversationInfo {
    let topic = SafeText::clean("release 2.4 and on-call");
    let state = RoomState { private: false, topic, people: 3, archived: false };
    ConversationInfo {
        room: conversation.room().map(|_| state),
        last: Seq(read + u64::from(unread)),
        read: Seq(read),
        unread,
        mentions,
        notify: if conversation.is_direct() { NotifyLevel::All } else { NotifyLevel::Mentions },
        muted_until: None,
        conversation,
    }
}

impl UiHarness {
    /// Bob's screen, logged in, with Ann and Kim online.
    pub(super) fn new(width: u16, height: u16) -> Self {
        let mut ui = Self::offline(width, height);
        let now = ui.now.timestamp_millis();
        let head = Seq(0);
        let limits = Limits::default();
        let welcome =
            Welcome { user: id("Bob_4572"), epoch: "e".into(), head, now, resumed: false, limits };
        let connected =
            client::Connected { welcome, fingerprint: "SHA256:abcdefghijklmnop".into() };
        ui.client_event(client::ClientEvent::Connected(connected));
        ui.server_event(Event::Users([id("Ann_1180"), id("Kim_9021")].into()));
        ui.list(vec![conversation_info(Audience::Everyone, 0, 0, 0)]);
        ui
    }

    /// The server lists the conversations.
    pub(super) fn list(&mut self, conversations: Vec<ConversationInfo>) -> &mut Self {
        let list = ConversationList { conversations, has_more: false, cid: None };
        self.server_event(Event::Conversations(list))
    }

    /// Bob is a member of the room #ops with Ann and Kim, read up to the last message.
    pub(super) fn in_room(width: u16, height: u16) -> Self {
        let mut ui = Self::new(width, height);
        ui.list(vec![
            conversation_info(Audience::Everyone, 0, 0, 0),
            conversation_info(room("#ops"), 0, 0, 0),
        ]);
        ui
    }

    /// Bob's screen, logged in to a log with `head` messages, none of which is loaded yet. `seen` is the
    /// position of Bob's read marker.
    pub(super) fn with_log(head: u64, seen: Option<u64>) -> Self {
        let mut ui = Self::offline(80, 24);
        if let Some(seen) = seen {
            ui.screen.model.chat.set_last_read(ReadPosition { epoch: "e".into(), seq: Seq(seen) });
        }
        ui.last_number = u32::try_from(head).unwrap();
        ui.log_in(false);
        ui
    }

    /// Logs in, to resume the session or with a reset history.
    pub(super) fn log_in(&mut self, resumed: bool) -> &mut Self {
        let now = self.now.timestamp_millis();
        let head = Seq(u64::from(self.last_number));
        let limits = Limits::default();
        let welcome =
            Welcome { user: id("Bob_4572"), epoch: "e".into(), head, now, resumed, limits };
        let fingerprint = "SHA256:abcdefghijklmnop".into();
        self.client_event(client::ClientEvent::Connected(client::Connected {
            welcome,
            fingerprint,
        }))
    }

    /// The message with this number in the log.
    pub(super) fn logged_message(&self, number: u32) -> Message {
        let sender = if number.is_multiple_of(2) { "Ann_1180" } else { "Kim_9021" };
        Message {
            seq: Seq(u64::from(number)),
            id: MessageId::from_number(100_000 + number).unwrap(),
            sender: id(sender),
            guest: false,
            audience: Audience::Everyone,
            kind: MessageKind::Plain,
            content: SafeText::clean(&format!("message number {number} ")),
            at: self.now - TimeDelta::seconds(i64::from(self.last_number - number)),
            cid: None,
            mentions: Mentions::None,
            edited: None,
            reactions: Vec::new(),
            pinned: false,
        }
    }

    /// Answers all history requests, and returns them.
    pub(super) fn answer_history(&mut self) -> Vec<HistoryRange> {
        let mut asked = Vec::new();
        for effect in std::mem::take(&mut self.effects) {
            let UiEffect::Send(cid, Request::History(history)) = effect else { continue };
            let range = history.range;
            asked.push(range);
            let (from, to) = match range {
                HistoryRange::Latest => (self.last_number.saturating_sub(99), self.last_number + 1),
                HistoryRange::Before(before) => {
                    let before = u32::try_from(before.0).unwrap();
                    (before.saturating_sub(100), before)
                }
                HistoryRange::Around(id) => {
                    let number = id.to_string().parse::<u32>().unwrap() - 100_000;
                    (number.saturating_sub(50), (number + 50).min(self.last_number + 1))
                }
                HistoryRange::After(after) => {
                    let after = u32::try_from(after.0).unwrap();
                    (after + 1, (after + 101).min(self.last_number + 1))
                }
                other => panic!("{other:?}"),
            };
            let messages = (from.max(1)..to).map(|number| self.logged_message(number)).collect();
            let (earlier, later) = (from > 1, to <= self.last_number);
            self.server_event(Event::History(HistoryPage {
                messages,
                has_earlier: earlier,
                has_later: later,
                cid,
            }));
        }
        asked
    }

    /// Bob's screen before the first connection.
    pub(super) fn offline(width: u16, height: u16) -> Self {
        let now = DateTime::parse_from_rfc3339("2026-11-22T09:12:00+00:00").unwrap();
        let options = UiOptions {
            server: "127.0.0.1:65432".into(),
            notices: Vec::new(),
            theme: Theme::TERMINAL.into(),
            keymap: Keymap::default(),
            emoji: EmojiStyle::default(),
            mouse: true,
            cid_prefix: "test".into(),
            read_marker: client::read_marker::ReadMarkerFile::default(),
            typing: TypingIndicator::Sent,
            drafts: client::drafts::DraftFile::default(),
        };
        let terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let screen = Screen::new(Model::new(options, Size { width, height }, now));
        let mut ui = Self { screen, now, terminal, effects: Vec::new(), last_number: 0 };
        ui.draw();
        ui
    }

    fn dispatch(&mut self, message: UiEvent) -> &mut Self {
        let effects = self.screen.update(self.now, message);
        self.effects.extend(effects);
        self.draw();
        self
    }

    /// Draws another frame, in which nothing has changed.
    pub(super) fn redraw(&mut self) -> &mut Self {
        self.draw();
        self
    }

    fn draw(&mut self) {
        // A new terminal for each frame: the test backend does not clear the second cell of a wide
        // character, and would show what it covers.
        let size = self.terminal.size().unwrap();
        self.terminal = Terminal::new(TestBackend::new(size.width, size.height)).unwrap();
        let (screen, now, effects) = (&mut self.screen, self.now, &mut self.effects);
        self.terminal.draw(|frame| effects.extend(screen.draw(now, frame))).unwrap();
    }

    pub(super) fn client_event(&mut self, event: client::ClientEvent) -> &mut Self {
        self.dispatch(UiEvent::Client(event))
    }

    pub(super) fn server_event(&mut self, event: Event) -> &mut Self {
        self.client_event(client::ClientEvent::Received(event))
    }

    /// The client did not take a request.
    pub(super) fn send_failed(&mut self, cid: Option<Cid>, reason: SafeText) -> &mut Self {
        self.dispatch(UiEvent::SendFailed { cid, reason })
    }

    /// Several server events before one frame.
    pub(super) fn server_events(&mut self, events: impl IntoIterator<Item = Event>) -> &mut Self {
        for event in events {
            let message = UiEvent::Client(client::ClientEvent::Received(event));
            let effects = self.screen.update(self.now, message);
            self.effects.extend(effects);
        }
        self.draw();
        self
    }

    /// Lets time pass, with a tick at each time that the screen asked for.
    pub(super) fn wait(&mut self, seconds: i64) -> &mut Self {
        let until = self.now + TimeDelta::seconds(seconds);
        while let Some(wake) = self.screen.next_wake(self.now).filter(|wake| *wake <= until) {
            self.now = wake.max(self.now);
            self.dispatch(UiEvent::Tick);
        }
        self.now = until;
        self
    }

    /// The server delivers a message, which gets the next number.
    pub(super) fn post(
        &mut self,
        sender: &str,
        audience: Audience,
        kind: MessageKind,
        text: &str,
    ) -> MessageId {
        self.last_number += 1;
        let message_id = MessageId::from_number(100_000 + self.last_number).unwrap();
        self.server_event(Event::Posted(Message {
            seq: Seq(u64::from(self.last_number)),
            id: message_id,
            sender: id(sender),
            guest: false,
            audience,
            kind,
            content: SafeText::clean(text),
            at: self.now,
            cid: None,
            mentions: Mentions::None,
            edited: None,
            reactions: Vec::new(),
            pinned: false,
        }));
        message_id
    }

    /// The server delivers a message to everyone.
    pub(super) fn post_to_all(&mut self, sender: &str, text: &str) -> MessageId {
        self.post(sender, Audience::Everyone, MessageKind::Plain, text)
    }

    pub(super) fn deleted(&mut self, id_: MessageId, by: &str) -> &mut Self {
        self.server_event(Event::Deleted(Deleted {
            seq: Seq(999),
            id: id_,
            author: id(by),
            cid: None,
        }))
    }

    /// The client passes the posts sent since the last check to the connection. They stay unconfirmed.
    pub(super) fn mark_as_sending(&mut self) -> &mut Self {
        for effect in self.effects.clone() {
            if let UiEffect::Send(Some(cid), Request::Post(_)) = effect {
                self.client_event(client::ClientEvent::Sending(cid));
            }
        }
        self
    }

    /// The server confirms the posts sent since the last check.
    pub(super) fn confirm_sent(&mut self) -> &mut Self {
        for effect in std::mem::take(&mut self.effects) {
            let UiEffect::Send(cid, Request::Post(post)) = effect else { continue };
            self.last_number += 1;
            let kind = match post.kind {
                crate::protocol::request::PostKind::Plain => MessageKind::Plain,
                crate::protocol::request::PostKind::Reply { to } => MessageKind::Reply { to },
                crate::protocol::request::PostKind::Temporary { seconds } => {
                    MessageKind::Temporary {
                        expires: (self.now + TimeDelta::seconds(i64::from(seconds)))
                            .timestamp_millis(),
                    }
                }
            };
            self.server_event(Event::Posted(Message {
                seq: Seq(u64::from(self.last_number)),
                id: MessageId::from_number(100_000 + self.last_number).unwrap(),
                sender: id("Bob_4572"),
                guest: false,
                audience: post.audience,
                kind,
                content: post.content,
                at: self.now,
                cid,
                mentions: Mentions::None,
                edited: None,
                reactions: Vec::new(),
                pinned: false,
            }));
        }
        self
    }

    /// Types text, with named keys in `<…>`.
    pub(super) fn keys(&mut self, keys: &str) -> &mut Self {
        let mut rest = keys;
        while let Some(first) = rest.chars().next() {
            let (name, after) = match rest.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
                Some((name, after)) => (name.to_owned(), after),
                None => (first.to_string(), rest.split_at(first.len_utf8()).1),
            };
            rest = after;
            let chord: Chord = match name.as_str() {
                " " => "space".parse().unwrap(),
                "-" => "hyphen".parse().unwrap(),
                name => name.parse().unwrap(),
            };
            self.dispatch(UiEvent::Terminal(TerminalEvent::Key(chord.to_event())));
        }
        self
    }

    pub(super) fn paste(&mut self, text: &str) -> &mut Self {
        self.dispatch(UiEvent::Terminal(TerminalEvent::Paste(text.into())))
    }

    pub(super) fn resize(&mut self, width: u16, height: u16) -> &mut Self {
        self.terminal.backend_mut().resize(width, height);
        self.dispatch(UiEvent::Terminal(TerminalEvent::Resize(width, height)))
    }

    /// Clicks on the first cell of a text.
    pub(super) fn click(&mut self, text: &str) -> &mut Self {
        let (column, row) = self.find(text);
        self.mouse(MouseEventKind::Down(MouseButton::Left), column, row);
        self.mouse(MouseEventKind::Up(MouseButton::Left), column, row)
    }

    pub(super) fn wheel(&mut self, kind: MouseEventKind, text: &str) -> &mut Self {
        let (column, row) = self.find(text);
        self.mouse(kind, column, row)
    }

    pub(super) fn mouse(&mut self, kind: MouseEventKind, column: u16, row: u16) -> &mut Self {
        let modifiers = KeyModifiers::NONE;
        let mouse = MouseEvent { kind, column, row, modifiers };
        self.dispatch(UiEvent::Terminal(TerminalEvent::Mouse(mouse)))
    }

    pub(super) fn find(&self, text: &str) -> (u16, u16) {
        let buffer = self.terminal.backend().buffer();
        for y in 0..buffer.area.height {
            let cells: Vec<&str> =
                (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect();
            let line = cells.concat();
            if let Some(at) = line.find(text) {
                let mut bytes = 0;
                let x = cells.iter().position(|cell| {
                    bytes += cell.len();
                    bytes > at
                });
                return (u16::try_from(x.unwrap()).unwrap(), y);
            }
        }
        panic!("{text:?} is not on the screen:\n{}", self.text());
    }

    pub(super) fn terminal_event(&mut self, event: TerminalEvent) -> &mut Self {
        self.dispatch(UiEvent::Terminal(event))
    }

    /// The effects since the last check.
    pub(super) fn all_effects(&mut self) -> Vec<UiEffect> {
        std::mem::take(&mut self.effects)
    }

    /// The effects since the last check, without the requests that every session makes by itself.
    pub(super) fn effects(&mut self) -> Vec<UiEffect> {
        let mut effects = self.all_effects();
        effects.retain(|effect| {
            let UiEffect::Send(_, request) = effect else {
                return !matches!(effect, UiEffect::SaveDrafts(_));
            };
            !matches!(
                request,
                Request::Conversations
                    | Request::Users { .. }
                    | Request::Read { .. }
                    | Request::Typing(_)
            )
        });
        effects
    }

    /// The requests sent since the last check; for posts, audience, kind and text.
    pub(super) fn sent(&mut self) -> Vec<String> {
        let requests = self.effects().into_iter().filter_map(|effect| match effect {
            UiEffect::Send(_, request) => Some(request),
            UiEffect::DiscardPending(_)
            | UiEffect::Copy(_)
            | UiEffect::OpenLink(_)
            | UiEffect::CaptureMouse(_)
            | UiEffect::Notify(_)
            | UiEffect::SaveDrafts(_)
            | UiEffect::Redraw
            | UiEffect::Suspend
            | UiEffect::Quit
            | UiEffect::Untrusted(_) => None,
        });
        let texts = requests.map(|request| match request {
            Request::Post(post) => {
                format!("{:?} {:?} {}", post.audience, post.kind, post.content)
            }
            other => format!("{other:?}"),
        });
        texts.collect()
    }

    /// The text of the screen, without white space at the ends of lines.
    pub(super) fn text(&self) -> String {
        let buffer = self.terminal.backend().buffer();
        let row = |y: u16| {
            let mut line = String::new();
            let mut covered = 0_usize;
            for x in 0..buffer.area.width {
                let symbol = buffer[(x, y)].symbol();
                if covered == 0 {
                    line.push_str(symbol);
                    covered = unicode_width::UnicodeWidthStr::width(symbol).max(1);
                }
                covered -= 1;
            }
            line.trim_end().to_owned()
        };
        (0..buffer.area.height).map(row).collect::<Vec<_>>().join("\n")
    }

    /// The screen with its styles.
    pub(super) fn buffer(&self) -> &ratatui::buffer::Buffer {
        self.terminal.backend().buffer()
    }

    #[track_caller]
    pub(super) fn shows(&mut self, text: &str) -> &mut Self {
        let screen = self.text();
        assert!(screen.contains(text), "{text:?} is not on the screen:\n{screen}");
        self
    }

    #[track_caller]
    pub(super) fn hides(&mut self, text: &str) -> &mut Self {
        let screen = self.text();
        assert!(!screen.contains(text), "{text:?} is on the screen:\n{screen}");
        self
    }
}
