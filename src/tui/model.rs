//! All that the screen shows, as one value. What changes it is `update`, what draws it `view`.

use chrono::{DateTime, FixedOffset};
use ratatui::layout::Size;

use super::compose::Compose;
use super::conversation::Cache;
use super::layout::Areas;
use super::overlay::Overlay;
use super::overlay::found::Found;
use super::theme::Theme;
use crate::client;
use crate::client::seen::SeenFile;
use crate::client::state::Room;
use crate::client::state::history::{Edge, Seen};
use crate::client::state::timeline::Place;
use crate::protocol::id::{ClientId, MessageId};
use crate::protocol::request::Request;
use crate::protocol::text::SafeText;

/// What a screen needs to begin.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server, as it is shown.
    pub server: String,
    /// What is said in the conversation before anything else, such as how others can join.
    pub notices: Vec<SafeText>,
    /// The styles.
    pub theme: Theme,
    /// What the names of requests begin with; unique among all clients.
    pub cid_prefix: String,
    /// How far one had read when one left the last time, and where to note it this time.
    pub seen: SeenFile,
}

/// Something that happens to the screen.
#[derive(Debug, Clone)]
pub enum Message {
    /// A key, the mouse, a paste, another size.
    Terminal(crossterm::event::Event),
    /// Something on the connection.
    Client(client::Event),
    /// A request that could not even be handed over.
    NotSent {
        /// Its name.
        cid: Option<ClientId>,
        /// Why.
        reason: SafeText,
    },
    /// A moment that was waited for has come.
    Tick,
}

/// Something that the screen wants to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send this to the server.
    Send(Option<ClientId>, Request),
    /// Don't send this message any more: it was taken back.
    Discard(ClientId),
    /// Put this on the clipboard.
    Copy(String),
    /// Take the mouse, or give it back to the terminal.
    Mouse(bool),
    /// Draw everything anew.
    Redraw,
    /// Leave.
    Quit,
    /// Leave: it is not the right server, and this is why.
    Untrusted(SafeText),
}

/// A message that can be picked, or another line of the conversation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// A message of the server's.
    Message(MessageId),
    /// A message that is not confirmed.
    Pending(ClientId),
    /// What there is beyond the conversation.
    Edge(Edge),
    /// Anything else.
    Other(Place),
}

/// How far one has scrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scroll {
    /// Following the newest.
    Bottom,
    /// The last entry that is seen, and how many of its rows are hidden below.
    At {
        /// The entry.
        place: Place,
        /// Its hidden rows.
        below: i64,
    },
}

/// What the letters go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Focus {
    /// The input.
    Typing,
    /// A message.
    Picked(Key),
    /// The people, at this row (0 is everyone).
    People(usize),
}

/// A word in the status line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What it says.
    pub text: String,
    /// Whether something went wrong.
    pub is_error: bool,
}

/// The whole screen.
#[derive(Debug, Clone)]
pub struct Model {
    /// The room.
    pub room: Room,
    /// The server, as it is shown.
    pub server: String,
    /// The styles.
    pub theme: Theme,
    /// The size of the terminal.
    pub size: Size,
    /// What is being written, and to whom.
    pub compose: Compose,
    /// What the letters go to, unless something lies on top.
    pub focus: Focus,
    /// What lies on top, the topmost last.
    pub overlays: Vec<Overlay>,
    /// Where the conversation is.
    pub scroll: Scroll,
    /// Rows to scroll by at the next layout; up is positive.
    pub scroll_by: i64,
    /// What the next layout has to show.
    pub reveal: Option<Key>,
    /// A message that is to be picked once the conversation around it has come.
    pub looking: Option<MessageId>,
    /// Whether the way back from the past to the present is to be taken.
    pub returning: bool,
    /// How far everything was on the screen.
    pub seen: Option<Seen>,
    /// How many messages of others came while one was reading further up.
    pub newer: usize,
    /// The first row of the people pane that is seen.
    pub people_top: usize,
    /// What the server searches for at the moment.
    pub finding: Option<ClientId>,
    /// The hits of the last search, for going from one to the next.
    pub found: Option<Found>,
    /// What the status line says.
    pub notice: Option<Notice>,
    /// Whether the mouse is ours.
    pub mouse: bool,
    /// Whether the next Ctrl-C leaves.
    pub leaving: bool,
    /// Where everything was when it was last laid out: what a click refers to.
    pub areas: Areas,
    /// Blocks kept from frame to frame.
    pub cache: Cache,
}

impl Model {
    /// A screen of this size.
    pub fn new(options: Options, size: Size, now: DateTime<FixedOffset>) -> Self {
        let mut room = Room::new(&options.cid_prefix);
        if let Some(seen) = options.seen.read() {
            room.left_off(seen);
        }
        for notice in options.notices {
            room.announce(now, notice);
        }
        Self {
            room,
            server: options.server,
            theme: options.theme,
            size,
            compose: Compose::default(),
            focus: Focus::Typing,
            overlays: Vec::new(),
            scroll: Scroll::Bottom,
            scroll_by: 0,
            reveal: None,
            looking: None,
            returning: false,
            seen: None,
            newer: 0,
            people_top: 0,
            finding: None,
            found: None,
            notice: None,
            mouse: true,
            leaving: false,
            areas: Areas::default(),
            cache: Cache::default(),
        }
    }

    /// The picked message, if one is.
    pub fn picked(&self) -> Option<&Key> {
        match &self.focus {
            Focus::Picked(key) => Some(key),
            Focus::Typing | Focus::People(_) => None,
        }
    }

    /// Whether there is such a message. What was drawn last may be out of date by a frame: a message on
    /// its way may have arrived since.
    pub fn has(&self, key: &Key) -> bool {
        match key {
            Key::Message(id) => self.room.timeline().place(*id).is_some(),
            Key::Pending(cid) => self.room.pending().iter().any(|pending| pending.cid == *cid),
            Key::Edge(_) | Key::Other(_) => false,
        }
    }

    /// Says something in the status line.
    pub fn tell(&mut self, text: impl Into<String>) {
        self.notice = Some(Notice { text: text.into(), is_error: false });
    }

    /// Says in the status line what went wrong.
    pub fn complain(&mut self, text: impl Into<String>) {
        self.notice = Some(Notice { text: text.into(), is_error: true });
    }

    /// When the screen changes by itself, if nothing happens before: a message expires, something
    /// counts down, a search goes on.
    pub fn next_wake(&self, now: DateTime<FixedOffset>) -> Option<DateTime<FixedOffset>> {
        if self.is_searching() || super::update::wants_history(self) {
            return Some(now);
        }
        let expiry = self.room.next_expiry().and_then(DateTime::from_timestamp_millis);
        let second = (self.areas.conversation.counting || self.is_waiting()).then(|| {
            let server = self.room.server_time(now);
            now + chrono::TimeDelta::milliseconds(1_000 - server.rem_euclid(1_000))
        });
        let expiry = expiry.map(|at| at.with_timezone(now.offset()));
        expiry.into_iter().chain(second).chain(self.search_wake(now)).min()
    }

    /// When the server is to be asked, or a hit expires.
    fn search_wake(&self, now: DateTime<FixedOffset>) -> Option<DateTime<FixedOffset>> {
        let Some(Overlay::Search(search)) = self.overlays.last() else { return None };
        let expiry = search.next_expiry().map(|at| at - self.room.server_time(now));
        let expiry = expiry.map(|left| now + chrono::TimeDelta::milliseconds(left.max(0)));
        search.due().filter(|_| self.room.is_online()).into_iter().chain(expiry).min()
    }

    fn is_searching(&self) -> bool {
        match self.overlays.last() {
            Some(Overlay::Search(search)) => !search.is_done(self.room.timeline()),
            Some(Overlay::Help { .. } | Overlay::Delete(_)) | None => false,
        }
    }

    fn is_waiting(&self) -> bool {
        matches!(self.room.link(), client::state::Link::Offline { .. })
    }
}
