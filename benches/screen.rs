//! Latency and allocations of the screen at 200x50 cells, with 5,000 people and 300 conversations. Frames are
//! drawn to a buffer, not to a terminal.
//!
//! Each is measured with a short and a long conversation, which must make no difference: a frame takes at
//! most 1 ms and 200 allocations, a key press to its frame at most 5 ms, also from one end of the history to the
//! other. With 1,000 messages a second, a frame takes at most 20 ms with the messages that arrived before it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark may panic")]

use chat::client;
use chat::client::state::search::SearchState;
use chat::client::state::search_input::SearchInput;
use chat::protocol::event::{Event, Welcome};
use chat::protocol::id::{MessageId, Seq, UserId};
use chat::protocol::mention::Mentions;
use chat::protocol::message::{Audience, Message, MessageKind};
use chat::protocol::room::{ConversationInfo, ConversationList, NotifyLevel, RoomState};
use chat::protocol::text::SafeText;
use chat::tui::event::UiEvent;
use chat::tui::key::Chord;
use chat::tui::model::{Model, UiOptions};
use chat::tui::screen::Screen;
use chat::tui::text::EmojiStyle;
use chat::tui::{Keymap, Theme};
use chrono::{DateTime, FixedOffset, TimeDelta};
use crossterm::event::{Event as TerminalEvent, KeyModifiers, MouseEvent, MouseEventKind};
use divan::{Bencher, black_box};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::Size;

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

/// The number of messages in the conversation. The client keeps the last 200,000.
const MESSAGES: [u32; 2] = [1_000, 1_000_000];

/// The number of people online.
const PEOPLE: u32 = 5_000;

/// The number of rooms, and that of direct conversations.
const ROOMS: u32 = 150;

/// The number of messages between two frames in a flood of 1,000 a second, at 50 frames a second.
const FLOOD: usize = 20;

/// The number of characters in a long draft.
const LONG_DRAFT: usize = 60_000;

const SIZE: Size = Size { width: 200, height: 50 };

/// How many steps the benchmark scrolls up before it scrolls down again.
const SCROLL_STEPS: usize = 200;

const TEXTS: [&str; 5] = [
    "we deployed 2.4 at 09:10, and the logs look clean",
    "great",
    "你好，世界 👍 and a longer line that has to be wrapped somewhere, because it is wider than a \
     bubble may be: people do write such lines, in particular when they explain what went wrong",
    "one line\nand another\nand the last",
    "https://example.org/a/very/long/path/without/any/space/in/it?query=1234567890",
];

fn main() {
    divan::main();
}

struct BenchScreen {
    screen: Screen,
    terminal: Terminal<TestBackend>,
    now: DateTime<FixedOffset>,
    n_posted: u32,
}

impl BenchScreen {
    /// Bob's screen with `messages` messages, drawn once.
    fn new(messages: u32) -> Self {
        let now = DateTime::UNIX_EPOCH.fixed_offset();
        let options = UiOptions {
            server: "127.0.0.1:65432".to_owned(),
            notices: Vec::new(),
            theme: Theme::TERMINAL.into(),
            keymap: Keymap::default(),
            emoji: EmojiStyle::default(),
            mouse: true,
            cid_prefix: "bench".to_owned(),
            read_marker: client::read_marker::ReadMarkerFile::default(),
            typing: chat::tui::model::TypingIndicator::Sent,
            drafts: client::drafts::DraftFile::default(),
        };
        let terminal = Terminal::new(TestBackend::new(SIZE.width, SIZE.height)).unwrap();
        let screen = Screen::new(Model::new(options, SIZE, now));
        let mut screen = Self { screen, terminal, now, n_posted: 0 };
        let welcome = Welcome {
            user: user(4),
            epoch: "e".to_owned(),
            head: Seq(0),
            now: now.timestamp_millis(),
            resumed: false,
            limits: chat::protocol::limits::Limits::default(),
        };
        let connected = client::Connected { welcome, fingerprint: "SHA256:fingerprint".to_owned() };
        screen.update(UiEvent::Client(client::ClientEvent::Connected(connected)));
        screen.receive(Event::Users((0..PEOPLE).filter(|number| *number != 4).map(user).collect()));
        let conversations = conversations();
        let list = ConversationList { conversations, has_more: false, cid: None };
        screen.receive(Event::Conversations(list));
        for _ in 0..messages {
            let posted = client::ClientEvent::Received(screen.next_message());
            black_box(screen.screen.model.chat.apply(screen.now, posted));
        }
        screen.draw();
        screen
    }

    fn update(&mut self, event: UiEvent) {
        black_box(self.screen.update(self.now, event));
    }

    fn receive(&mut self, event: Event) {
        self.update(UiEvent::Client(client::ClientEvent::Received(event)));
    }

    /// Receives the next message.
    fn post(&mut self) {
        let message = self.next_message();
        self.receive(message);
    }

    fn next_message(&mut self) -> Event {
        self.n_posted += 1;
        self.now += TimeDelta::seconds(7);
        let kind = match self.n_posted % 11 {
            0 => MessageKind::Reply { to: MessageId::from_number(self.n_posted + 99_997).unwrap() },
            _ => MessageKind::Plain,
        };
        let message = Message {
            seq: Seq(u64::from(self.n_posted)),
            id: MessageId::from_number(self.n_posted + 100_000).unwrap(),
            sender: user(self.n_posted / 3 % 5),
            guest: false,
            audience: Audience::Everyone,
            kind,
            content: SafeText::clean(TEXTS[self.n_posted as usize % TEXTS.len()]),
            at: self.now,
            cid: None,
            mentions: Mentions::None,
            edited: None,
            reactions: Vec::new(),
            pinned: false,
        };
        Event::Posted(message)
    }

    fn key(&mut self, key: &str) {
        let chord: Chord = key.parse().unwrap();
        self.update(UiEvent::Terminal(TerminalEvent::Key(chord.to_event())));
    }

    fn wheel(&mut self, kind: MouseEventKind) {
        let mouse = MouseEvent { kind, column: 100, row: 20, modifiers: KeyModifiers::NONE };
        self.update(UiEvent::Terminal(TerminalEvent::Mouse(mouse)));
    }

    /// Draws a frame, as the program's event loop does.
    fn draw(&mut self) {
        let (screen, now) = (&mut self.screen, self.now);
        black_box(self.terminal.draw(|frame| drop(screen.draw(now, frame))).unwrap());
    }
}

fn user(number: u32) -> UserId {
    let name = ["Ann", "Kim", "Eve", "Tom", "Bob"][number as usize % 5];
    format!("{name}_{}", 1_000 + number).parse().unwrap()
}

/// Everyone, rooms and direct conversations.
fn conversations() -> Vec<ConversationInfo> {
    let rooms = (0..ROOMS).map(|number| Audience::Room(format!("#room-{number}").parse().unwrap()));
    let direct = (0..ROOMS).map(|number| Audience::Only([user(100 + number)].into()));
    let all = [Audience::Everyone].into_iter().chain(rooms).chain(direct);
    let state = |_: &_| RoomState {
        private: false,
        topic: SafeText::clean("a topic"),
        people: PEOPLE,
        archived: false,
    };
    all.enumerate()
        .map(|(index, conversation)| ConversationInfo {
            room: conversation.room().map(state),
            last: Seq(index as u64 + 1),
            read: Seq(0),
            unread: u32::try_from(index % 3).unwrap(),
            mentions: 0,
            notify: NotifyLevel::All,
            muted_until: None,
            conversation,
        })
        .collect()
}

/// A frame in which little has changed.
#[divan::bench(args = MESSAGES)]
fn steady_frame(bencher: Bencher<'_, '_>, messages: u32) {
    let mut screen = BenchScreen::new(messages);
    bencher.bench_local(|| screen.draw());
}

/// A full redraw: every cell is sent.
#[divan::bench(args = MESSAGES)]
fn frame(bencher: Bencher<'_, '_>, messages: u32) {
    let mut screen = BenchScreen::new(messages);
    bencher.bench_local(|| {
        screen.terminal.clear().unwrap();
        screen.draw();
    });
}

#[divan::bench(args = MESSAGES)]
fn scroll_to_frame(bencher: Bencher<'_, '_>, messages: u32) {
    let mut screen = BenchScreen::new(messages);
    let mut directions = std::iter::repeat_n(MouseEventKind::ScrollUp, SCROLL_STEPS)
        .chain(std::iter::repeat_n(MouseEventKind::ScrollDown, SCROLL_STEPS))
        .cycle();
    bencher.bench_local(|| {
        screen.wheel(directions.next().unwrap());
        screen.draw();
    });
}

#[divan::bench(args = MESSAGES)]
fn key_to_frame(bencher: Bencher<'_, '_>, messages: u32) {
    let mut screen = BenchScreen::new(messages);
    let mut keys = ["x", "backspace"].into_iter().cycle();
    bencher.bench_local(|| {
        screen.key(keys.next().unwrap());
        screen.draw();
    });
}

#[divan::bench(args = MESSAGES)]
fn message_to_frame(bencher: Bencher<'_, '_>, messages: u32) {
    let mut screen = BenchScreen::new(messages);
    bencher.bench_local(|| {
        screen.post();
        screen.draw();
    });
}

/// The messages between two frames of a flood, a key press, and the frame.
#[divan::bench(args = MESSAGES)]
fn flood_to_frame(bencher: Bencher<'_, '_>, messages: u32) {
    let mut screen = BenchScreen::new(messages);
    let mut keys = ["x", "backspace"].into_iter().cycle();
    bencher.bench_local(|| {
        for _ in 0..FLOOD {
            screen.post();
        }
        screen.key(keys.next().unwrap());
        screen.draw();
    });
}

/// A jump to the oldest loaded message, then one to the latest.
#[divan::bench(args = MESSAGES)]
fn jump_to_frame(bencher: Bencher<'_, '_>, messages: u32) {
    let mut screen = BenchScreen::new(messages);
    let mut keys = ["ctrl-home", "ctrl-end"].into_iter().cycle();
    bencher.bench_local(|| {
        screen.key(keys.next().unwrap());
        screen.draw();
    });
}

/// A key press with the focus on the people.
#[divan::bench(args = MESSAGES)]
fn people_key_to_frame(bencher: Bencher<'_, '_>, messages: u32) {
    let mut screen = BenchScreen::new(messages);
    screen.key("f2");
    bencher.bench_local(|| {
        screen.key("down");
        screen.draw();
    });
}

/// A key press in a long draft that was pasted.
#[divan::bench(args = MESSAGES)]
fn key_in_long_draft_to_frame(bencher: Bencher<'_, '_>, messages: u32) {
    let mut screen = BenchScreen::new(messages);
    let text: String = TEXTS[0].chars().chain("\n".chars()).cycle().take(LONG_DRAFT).collect();
    screen.update(UiEvent::Terminal(TerminalEvent::Paste(text)));
    // Keeps the paste in the input.
    screen.key("enter");
    screen.draw();
    let kept = screen.screen.model.composer.input.characters();
    assert!(kept + 1 >= LONG_DRAFT, "the paste is kept, but for a line break at its end: {kept}");
    let mut keys = ["x", "backspace"].into_iter().cycle();
    bencher.bench_local(|| {
        screen.key(keys.next().unwrap());
        screen.draw();
    });
}

/// A key press in the search: parsing the pattern, searching the first slice of messages, and the frame.
#[divan::bench(args = MESSAGES)]
fn search_key_to_frame(bencher: Bencher<'_, '_>, messages: u32) {
    let mut screen = BenchScreen::new(messages);
    screen.key("ctrl-f");
    for key in ["d", "e", "p", "l", "o", "y"] {
        screen.key(key);
    }
    let mut keys = ["e", "backspace"].into_iter().cycle();
    bencher.bench_local(|| {
        screen.key(keys.next().unwrap());
        screen.draw();
    });
}

/// The first frame after the width of the terminal has changed, when all visible text is wrapped again.
#[divan::bench(args = MESSAGES)]
fn resize_to_frame(bencher: Bencher<'_, '_>, messages: u32) {
    let mut screen = BenchScreen::new(messages);
    let mut widths = [SIZE.width - 1, SIZE.width].into_iter().cycle();
    bencher.bench_local(|| {
        let width = widths.next().unwrap();
        screen.terminal.backend_mut().resize(width, SIZE.height);
        screen.update(UiEvent::Terminal(TerminalEvent::Resize(width, SIZE.height)));
        screen.draw();
    });
}

/// A search of the whole conversation, in the slices the screen uses.
#[divan::bench(args = MESSAGES)]
fn search_all_messages(bencher: Bencher<'_, '_>, messages: u32) {
    let screen = BenchScreen::new(messages);
    let session = &screen.screen.model.chat;
    let expression = "deploy(ed|ing)? .*clean$";
    let query = SearchInput::parse(expression, false, screen.now, &screen.screen.model.chat);
    bencher.bench_local(|| {
        let mut search = SearchState::new(query.clone());
        while !search.is_done(session) {
            search.search_slice(session, 4_000);
        }
        black_box(search.hits().len())
    });
}
