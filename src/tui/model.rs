//! All that the screen shows, as one value. What changes it is `update`, what draws it `view`.

use chrono::{DateTime, FixedOffset};
use ratatui::layout::Size;

use super::composer::Composer;
use super::conversation::BlockCache;
use super::layout::ScreenLayout;
use super::overlay::Overlay;
use super::overlay::found::SearchHitList;
use super::theme::Theme;
use crate::client;
use crate::client::read_marker::ReadMarkerFile;
use crate::client::state::ChatState;
use crate::client::state::history::{HistoryBoundary, ReadPosition};
use crate::client::state::timeline::EntryIndex;
use crate::protocol::id::{Cid, MessageId};
use crate::protocol::request::Request;
use crate::protocol::text::SafeText;

/// What a screen needs to begin.
#[derive(Debug, Clone)]
pub struct UiOptions {
    /// The server, as it is shown.
    pub server: String,
    /// What is said in the conversation before anything else, such as how others can join.
    pub notices: Vec<SafeText>,
    /// The styles.
    pub theme: Theme,
    /// What the names of requests begin with; unique among all clients.
    pub cid_prefix: String,
    /// How far one had read when one left the last time, and where to note it this time.
    pub read_marker: ReadMarkerFile,
}

/// Something that happens to the screen.
#[derive(Debug, Clone)]
pub enum UiEvent {
    /// A key, the mouse, a paste, another size.
    Terminal(crossterm::event::Event),
    /// Something on the connection.
    Client(client::ClientEvent),
    /// A request that could not even be handed over.
    SendFailed {
        /// Its name.
        cid: Option<Cid>,
        /// Why.
        reason: SafeText,
    },
    /// A moment that was waited for has come.
    Tick,
}

/// Something that the screen wants to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UiEffect {
    /// Send this to the server.
    Send(Option<Cid>, Request),
    /// Don't send this message any more: it was taken back.
    DiscardPending(Cid),
    /// Put this on the clipboard.
    Copy(String),
    /// Take the mouse, or give it back to the terminal.
    CaptureMouse(bool),
    /// Draw everything anew.
    Redraw,
    /// Leave.
    Quit,
    /// Leave: it is not the right server, and this is why.
    Untrusted(SafeText),
}

/// A message that can be picked, or another line of the conversation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ItemId {
    /// A message of the server's.
    Message(MessageId),
    /// A message that is not confirmed.
    Pending(Cid),
    /// What there is beyond the conversation.
    Boundary(HistoryBoundary),
    /// Anything else.
    Other(EntryIndex),
}

/// How far one has scrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Viewport {
    /// Following the newest.
    Live,
    /// The last entry that is seen, and how many of its rows are hidden below.
    Anchored {
        /// The entry.
        entry: EntryIndex,
        /// Its hidden rows.
        hidden_rows: i64,
    },
}

/// What the letters go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Focus {
    /// The input.
    Typing,
    /// A message.
    Picked(ItemId),
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
    pub chat: ChatState,
    /// The server, as it is shown.
    pub server: String,
    /// The styles.
    pub theme: Theme,
    /// The size of the terminal.
    pub size: Size,
    /// What is being written, and to whom.
    pub composer: Composer,
    /// What the letters go to, unless something lies on top.
    pub focus: Focus,
    /// What lies on top, the topmost last.
    pub overlays: Vec<Overlay>,
    /// Where the conversation is.
    pub viewport: Viewport,
    /// Rows to scroll by at the next layout; up is positive.
    pub scroll_by: i64,
    /// What the next layout has to show.
    pub scroll_into_view: Option<ItemId>,
    /// A message that is to be picked once the conversation around it has come.
    pub pending_jump: Option<MessageId>,
    /// Whether the way back from the past to the present is to be taken.
    pub returning_to_live: bool,
    /// How far everything was on the screen.
    pub read_position: Option<ReadPosition>,
    /// How many messages of others came while one was reading further up.
    pub unread_below: usize,
    /// The first row of the people pane that is seen.
    pub people_top: usize,
    /// What the server searches for at the moment.
    pub server_search: Option<Cid>,
    /// The hits of the last search, for going from one to the next.
    pub search_hits: Option<SearchHitList>,
    /// What the status line says.
    pub notice: Option<Notice>,
    /// Whether the mouse is ours.
    pub mouse_captured: bool,
    /// Whether the next Ctrl-C leaves.
    pub quit_armed: bool,
    /// Where everything was when it was last laid out: what a click refers to.
    pub layout: ScreenLayout,
    /// Blocks kept from frame to frame.
    pub block_cache: BlockCache,
}

impl Model {
    /// A screen of this size.
    pub fn new(options: UiOptions, size: Size, now: DateTime<FixedOffset>) -> Self {
        let mut chat = ChatState::new(&options.cid_prefix);
        if let Some(seen) = options.read_marker.read() {
            chat.set_last_read(seen);
        }
        for notice in options.notices {
            chat.add_notice(now, notice);
        }
        Self {
            chat,
            server: options.server,
            theme: options.theme,
            size,
            composer: Composer::default(),
            focus: Focus::Typing,
            overlays: Vec::new(),
            viewport: Viewport::Live,
            scroll_by: 0,
            scroll_into_view: None,
            pending_jump: None,
            returning_to_live: false,
            read_position: None,
            unread_below: 0,
            people_top: 0,
            server_search: None,
            search_hits: None,
            notice: None,
            mouse_captured: true,
            quit_armed: false,
            layout: ScreenLayout::default(),
            block_cache: BlockCache::default(),
        }
    }

    /// The picked message, if one is.
    pub fn picked(&self) -> Option<&ItemId> {
        match &self.focus {
            Focus::Picked(key) => Some(key),
            Focus::Typing | Focus::People(_) => None,
        }
    }

    /// Whether there is such a message. What was drawn last may be out of date by a frame: a message on
    /// its way may have arrived since.
    pub fn has_message(&self, key: &ItemId) -> bool {
        match key {
            ItemId::Message(id) => self.chat.timeline().index_of(*id).is_some(),
            ItemId::Pending(cid) => self.chat.pending().iter().any(|pending| pending.cid == *cid),
            ItemId::Boundary(_) | ItemId::Other(_) => false,
        }
    }

    /// Says something in the status line.
    pub fn show_notice(&mut self, text: impl Into<String>) {
        self.notice = Some(Notice { text: text.into(), is_error: false });
    }

    /// Says in the status line what went wrong.
    pub fn show_error(&mut self, text: impl Into<String>) {
        self.notice = Some(Notice { text: text.into(), is_error: true });
    }

    /// When the screen changes by itself, if nothing happens before: a message expires, something
    /// counts down, a search goes on.
    pub fn next_wake(&self, now: DateTime<FixedOffset>) -> Option<DateTime<FixedOffset>> {
        if self.is_searching() || super::update::can_request_history(self) {
            return Some(now);
        }
        let expiry = self.chat.next_expiry().and_then(DateTime::from_timestamp_millis);
        let second = (self.layout.visible.counts_down || self.has_retry_scheduled()).then(|| {
            let server = self.chat.server_time(now);
            now + chrono::TimeDelta::milliseconds(1_000 - server.rem_euclid(1_000))
        });
        let expiry = expiry.map(|at| at.with_timezone(now.offset()));
        expiry.into_iter().chain(second).chain(self.next_search_wake(now)).min()
    }

    /// When the server is to be asked, or a hit expires.
    fn next_search_wake(&self, now: DateTime<FixedOffset>) -> Option<DateTime<FixedOffset>> {
        let Some(Overlay::Search(search)) = self.overlays.last() else { return None };
        let expiry = search.next_expiry().map(|at| at - self.chat.server_time(now));
        let expiry = expiry.map(|left| now + chrono::TimeDelta::milliseconds(left.max(0)));
        search.request_due().filter(|_| self.chat.is_online()).into_iter().chain(expiry).min()
    }

    fn is_searching(&self) -> bool {
        match self.overlays.last() {
            Some(Overlay::Search(search)) => !search.is_done(self.chat.timeline()),
            Some(Overlay::Help { .. } | Overlay::ConfirmDelete(_)) | None => false,
        }
    }

    fn has_retry_scheduled(&self) -> bool {
        matches!(self.chat.connection(), client::state::ConnectionState::Offline { .. })
    }
}
