//! A screen without a terminal: keys, clicks and the server's words go in, drawings and requests come
//! out. Time stands still unless a test moves it.

use chrono::{DateTime, FixedOffset, TimeDelta};
use crossterm::event::{
    Event as TerminalEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::Size;

use crate::client;
use crate::client::state::history::Seen;
use crate::protocol::event::{Deleted, Event, Page, Welcome};
use crate::protocol::id::{MessageId, Seq, UserId};
use crate::protocol::limits::Limits;
use crate::protocol::message::{Audience, Kind, Message as Said};
use crate::protocol::query::History;
use crate::protocol::request::Request;
use crate::protocol::text::SafeText;
use crate::tui::key::Chord;
use crate::tui::layout::arrange;
use crate::tui::model::{Effect, Message, Model, Options};
use crate::tui::theme::Theme;
use crate::tui::update::update;
use crate::tui::view::view;

/// The screen under test.
pub(super) struct Stage {
    pub(super) model: Model,
    pub(super) now: DateTime<FixedOffset>,
    terminal: Terminal<TestBackend>,
    effects: Vec<Effect>,
    said: u32,
}

pub(super) fn id(text: &str) -> UserId {
    text.parse().unwrap()
}

pub(super) fn only(ids: &[&str]) -> Audience {
    Audience::Only(ids.iter().map(|text| id(text)).collect())
}

impl Stage {
    /// Bob's screen, logged in, with Ann and Kim in the room.
    pub(super) fn new(width: u16, height: u16) -> Self {
        let mut stage = Self::offline(width, height);
        let now = stage.now.timestamp_millis();
        let head = Seq(0);
        let limits = Limits::default();
        let welcome =
            Welcome { user: id("Bob_4572"), epoch: "e".into(), head, now, resumed: false, limits };
        let connected =
            client::Connected { welcome, fingerprint: "SHA256:abcdefghijklmnop".into() };
        stage.client(client::Event::Connected(connected));
        stage.server(Event::People([id("Ann_1180"), id("Kim_9021")].into()));
        stage
    }

    /// Bob's screen, logged in to a log that has messages up to `head`; they were not asked for yet
    /// when `seen` says how far Bob had read before.
    pub(super) fn with_log(head: u64, seen: Option<u64>) -> Self {
        let mut stage = Self::offline(80, 24);
        if let Some(seen) = seen {
            stage.model.room.left_off(Seen { epoch: "e".into(), seq: Seq(seen) });
        }
        stage.said = u32::try_from(head).unwrap();
        stage.log_in(false);
        stage
    }

    /// Logs in, to go on or to begin anew.
    pub(super) fn log_in(&mut self, resumed: bool) -> &mut Self {
        let now = self.now.timestamp_millis();
        let head = Seq(u64::from(self.said));
        let limits = Limits::default();
        let welcome =
            Welcome { user: id("Bob_4572"), epoch: "e".into(), head, now, resumed, limits };
        let fingerprint = "SHA256:abcdefghijklmnop".into();
        self.client(client::Event::Connected(client::Connected { welcome, fingerprint }))
    }

    /// The message with this number, as the log has it.
    pub(super) fn logged(&self, number: u32) -> Said {
        let sender = if number.is_multiple_of(2) { "Ann_1180" } else { "Kim_9021" };
        Said {
            seq: Seq(u64::from(number)),
            id: MessageId::from_number(100_000 + number).unwrap(),
            sender: id(sender),
            guest: false,
            audience: Audience::Everyone,
            kind: Kind::Plain,
            content: SafeText::clean(&format!("message number {number} ")),
            at: self.now - TimeDelta::seconds(i64::from(self.said - number)),
            cid: None,
        }
    }

    /// The server answers everything that was asked about the history; what was asked.
    pub(super) fn answer_history(&mut self) -> Vec<History> {
        let mut asked = Vec::new();
        for effect in std::mem::take(&mut self.effects) {
            let Effect::Send(cid, Request::History(history)) = effect else { continue };
            asked.push(history);
            let (from, to) = match history {
                History::Before(None) => (self.said.saturating_sub(99), self.said + 1),
                History::Before(Some(before)) => {
                    let before = u32::try_from(before.0).unwrap();
                    (before.saturating_sub(100), before)
                }
                History::Around(id) => {
                    let number = id.to_string().parse::<u32>().unwrap() - 100_000;
                    (number.saturating_sub(50), (number + 50).min(self.said + 1))
                }
            };
            let messages = (from.max(1)..to).map(|number| self.logged(number)).collect();
            let (earlier, later) = (from > 1, to <= self.said);
            self.server(Event::History(Page { messages, earlier, later, cid }));
        }
        asked
    }

    /// A screen that has not connected yet.
    pub(super) fn offline(width: u16, height: u16) -> Self {
        let now = DateTime::parse_from_rfc3339("2026-11-22T09:12:00+00:00").unwrap();
        let options = Options {
            server: "127.0.0.1:65432".into(),
            notices: Vec::new(),
            theme: Theme::Colours,
            cid_prefix: "test".into(),
            seen: client::seen::SeenFile::default(),
        };
        let terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let model = Model::new(options, Size { width, height }, now);
        let mut stage = Self { model, now, terminal, effects: Vec::new(), said: 0 };
        stage.draw();
        stage
    }

    fn take(&mut self, message: Message) -> &mut Self {
        let effects = update(&mut self.model, self.now, message);
        self.effects.extend(effects);
        self.draw();
        self
    }

    fn draw(&mut self) {
        // A new one each time: the backend for tests does not know that a wide character covers two
        // cells, and would show what it covered.
        let size = self.terminal.size().unwrap();
        self.terminal = Terminal::new(TestBackend::new(size.width, size.height)).unwrap();
        let (model, now) = (&mut self.model, self.now);
        let draw = |frame: &mut ratatui::Frame<'_>| {
            model.size = frame.area().as_size();
            arrange(model, now);
            view(model, now, frame);
        };
        self.terminal.draw(draw).unwrap();
    }

    pub(super) fn client(&mut self, event: client::Event) -> &mut Self {
        self.take(Message::Client(event))
    }

    pub(super) fn server(&mut self, event: Event) -> &mut Self {
        self.client(client::Event::Received(event))
    }

    /// The same for many at once: they are drawn together.
    pub(super) fn server_at_once(&mut self, events: impl IntoIterator<Item = Event>) -> &mut Self {
        for event in events {
            let message = Message::Client(client::Event::Received(event));
            let effects = update(&mut self.model, self.now, message);
            self.effects.extend(effects);
        }
        self.draw();
        self
    }

    /// Time passes, and the screen is woken as often as it asked for.
    pub(super) fn wait(&mut self, seconds: i64) -> &mut Self {
        let until = self.now + TimeDelta::seconds(seconds);
        while let Some(wake) = self.model.next_wake(self.now).filter(|wake| *wake <= until) {
            self.now = wake.max(self.now);
            self.take(Message::Tick);
        }
        self.now = until;
        self
    }

    /// The server says that somebody said something; each message has the next number.
    pub(super) fn said(
        &mut self,
        sender: &str,
        audience: Audience,
        kind: Kind,
        text: &str,
    ) -> MessageId {
        self.said += 1;
        let message_id = MessageId::from_number(100_000 + self.said).unwrap();
        self.server(Event::Said(Said {
            seq: Seq(u64::from(self.said)),
            id: message_id,
            sender: id(sender),
            guest: false,
            audience,
            kind,
            content: SafeText::clean(text),
            at: self.now,
            cid: None,
        }));
        message_id
    }

    /// Somebody says something to all.
    pub(super) fn says(&mut self, sender: &str, text: &str) -> MessageId {
        self.said(sender, Audience::Everyone, Kind::Plain, text)
    }

    pub(super) fn deleted(&mut self, id_: MessageId, by: &str) -> &mut Self {
        self.server(Event::Deleted(Deleted { seq: Seq(999), id: id_, by: id(by), cid: None }))
    }

    /// The client hands everything to the connection that was sent since the last look; it stays to
    /// be confirmed.
    pub(super) fn handed_over(&mut self) -> &mut Self {
        for effect in self.effects.clone() {
            if let Effect::Send(Some(cid), Request::Say(_)) = effect {
                self.client(client::Event::Sending(cid));
            }
        }
        self
    }

    /// The server confirms everything that was sent since the last look.
    pub(super) fn echo(&mut self) -> &mut Self {
        for effect in std::mem::take(&mut self.effects) {
            let Effect::Send(cid, Request::Say(say)) = effect else { continue };
            self.said += 1;
            let kind = match say.kind {
                crate::protocol::request::SayKind::Plain => Kind::Plain,
                crate::protocol::request::SayKind::Reply { to } => Kind::Reply { to },
                crate::protocol::request::SayKind::Temporary { seconds } => Kind::Temporary {
                    expires: (self.now + TimeDelta::seconds(i64::from(seconds))).timestamp_millis(),
                },
            };
            self.server(Event::Said(Said {
                seq: Seq(u64::from(self.said)),
                id: MessageId::from_number(100_000 + self.said).unwrap(),
                sender: id("Bob_4572"),
                guest: false,
                audience: say.audience,
                kind,
                content: say.content,
                at: self.now,
                cid,
            }));
        }
        self
    }

    /// Presses keys: text, with named keys in `<…>`.
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
            self.take(Message::Terminal(TerminalEvent::Key(chord.event())));
        }
        self
    }

    pub(super) fn paste(&mut self, text: &str) -> &mut Self {
        self.take(Message::Terminal(TerminalEvent::Paste(text.into())))
    }

    pub(super) fn resize(&mut self, width: u16, height: u16) -> &mut Self {
        self.terminal.backend_mut().resize(width, height);
        self.take(Message::Terminal(TerminalEvent::Resize(width, height)))
    }

    /// Clicks on the first cell of a text on the screen.
    pub(super) fn click(&mut self, text: &str) -> &mut Self {
        let (column, row) = self.find(text);
        self.mouse(MouseEventKind::Down(MouseButton::Left), column, row)
    }

    pub(super) fn wheel(&mut self, kind: MouseEventKind, text: &str) -> &mut Self {
        let (column, row) = self.find(text);
        self.mouse(kind, column, row)
    }

    pub(super) fn mouse(&mut self, kind: MouseEventKind, column: u16, row: u16) -> &mut Self {
        let modifiers = KeyModifiers::NONE;
        let mouse = MouseEvent { kind, column, row, modifiers };
        self.take(Message::Terminal(TerminalEvent::Mouse(mouse)))
    }

    fn find(&self, text: &str) -> (u16, u16) {
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
        panic!("{text:?} is not on the screen:\n{}", self.screen());
    }

    /// What was to be done since the last look.
    pub(super) fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// What was sent since the last look: recipients, kind and text of each message.
    pub(super) fn sent(&mut self) -> Vec<String> {
        let requests = self.effects().into_iter().filter_map(|effect| match effect {
            Effect::Send(_, request) => Some(request),
            Effect::Discard(_)
            | Effect::Copy(_)
            | Effect::Mouse(_)
            | Effect::Redraw
            | Effect::Quit
            | Effect::Untrusted(_) => None,
        });
        let words = requests.map(|request| match request {
            Request::Say(say) => {
                format!("{:?} {:?} {}", say.audience, say.kind, say.content)
            }
            other => format!("{other:?}"),
        });
        words.collect()
    }

    /// The rows of the screen, without white space at their ends.
    pub(super) fn screen(&self) -> String {
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

    /// The screen with its colours.
    pub(super) fn buffer(&self) -> &ratatui::buffer::Buffer {
        self.terminal.backend().buffer()
    }

    #[track_caller]
    pub(super) fn shows(&mut self, text: &str) -> &mut Self {
        let screen = self.screen();
        assert!(screen.contains(text), "{text:?} is not on the screen:\n{screen}");
        self
    }

    #[track_caller]
    pub(super) fn hides(&mut self, text: &str) -> &mut Self {
        let screen = self.screen();
        assert!(!screen.contains(text), "{text:?} is on the screen:\n{screen}");
        self
    }
}
