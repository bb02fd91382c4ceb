//! The state of the screen. `update` changes it, `view` draws it.

use std::collections::BTreeMap;

use chrono::{DateTime, FixedOffset};
use ratatui::layout::{Position, Size};

use super::bubble::MessageLayout;
use super::command::Scope;
use super::composer::Composer;
use super::conversation::{TextPoint, TextSelection};
use super::item::ItemId;
use super::keymap::Keymap;
use super::notices::Notices;
use super::overlay::help::HelpOverlay;
use super::overlay::search::SearchHitList;
use super::overlay::{Overlay, OverlayContext, Overlays};
use super::text::EmojiStyle;
use super::theme::{Theme, ThemeChoice};
use super::viewport::{BottomEdge, Viewport};
use crate::client;
use crate::client::drafts::{Draft, DraftFile};
use crate::client::read_marker::ReadMarkerFile;
use crate::client::state::Session;
use crate::client::state::history::ReadPosition;
use crate::protocol::id::{Cid, MessageId, RoomName, UserId};
use crate::protocol::message::Audience;
use crate::protocol::text::SafeText;

/// Whether others are told that the user is writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypingIndicator {
    /// They are, in small conversations.
    Sent,
    /// They are not.
    Off,
}

/// Start options of the screen.
#[derive(Debug)]
pub struct UiOptions {
    /// The address of the server, as shown in the header.
    pub server: String,
    /// Notices at the start of the conversation, such as how others can join.
    pub notices: Vec<SafeText>,
    /// The styles.
    pub theme: ThemeChoice,
    /// The keys of the commands.
    pub keymap: Keymap,
    /// How emoji are drawn.
    pub emoji: EmojiStyle,
    /// Whether the terminal reports the mouse to this program at the start.
    pub mouse: bool,
    /// Prefix of this client's request IDs (`cid`); unique among all clients.
    pub cid_prefix: String,
    /// The file with the read marker of the last run, updated during this one.
    pub read_marker: ReadMarkerFile,
    /// Whether others are told that the user is writing.
    pub typing: TypingIndicator,
    /// The drafts of the last run, updated during this one.
    pub drafts: DraftFile,
}

/// What receives keys while no overlay is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Focus {
    /// The input.
    Typing,
    /// The picked message.
    Picked(ItemId),
    /// The conversations in the sidebar, at this one.
    Conversations(Audience),
    /// The people in the sidebar.
    People(PeopleFocus),
}

/// The focus on the people in the sidebar.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeopleFocus {
    /// The one that has it. `None`: nobody is listed.
    pub at: Option<UserId>,
    /// Only people whose ID contains this text are listed.
    pub filter: String,
}

/// How far a part of the sidebar is scrolled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListScroll {
    /// The first visible row.
    pub top: usize,
    /// Whether the wheel has scrolled it, so that the open or focused row need not be visible.
    pub is_free: bool,
}

/// How far the sidebar is scrolled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the field names say it")]
pub struct SidebarScroll {
    pub conversations: ListScroll,
    pub people: ListScroll,
}

/// Where a jump started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JumpOrigin {
    /// The open conversation.
    pub conversation: Audience,
    /// What was visible of its latest messages; `None` if an excerpt was shown.
    pub edge: Option<BottomEdge>,
    /// The newest message that was visible.
    pub message: Option<MessageId>,
}

/// A press of the left button in the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Press {
    /// The cell.
    pub cell: Position,
    /// When it was pressed.
    pub at: DateTime<FixedOffset>,
    /// The place in a text that it is in or near.
    pub point: Option<TextPoint>,
    /// Whether the button is held.
    pub is_held: bool,
}

/// A text in the status line, shown until the next key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// One line; shortened to the width of the screen.
    pub text: String,
    /// Whether it is drawn as an error.
    pub is_error: bool,
}

/// The state of the whole screen.
#[derive(Debug, Clone)]
pub struct Model {
    /// Connection, users and conversations, of which one is open.
    pub chat: Session,
    /// The address of the server, as shown in the header.
    pub server: String,
    /// How the styles follow from the background of the terminal.
    pub theme_choice: ThemeChoice,
    /// The styles.
    pub theme: Theme,
    /// The keys of the commands.
    pub keymap: Keymap,
    /// How emoji are drawn.
    pub emoji: EmojiStyle,
    /// How messages are arranged.
    pub layout: MessageLayout,
    /// The notice that waits.
    pub notices: Notices,
    /// The size of the terminal.
    pub size: Size,
    /// The conversation that the composer and the viewport belong to. It follows the open one.
    pub shown: Audience,
    /// The draft of the open conversation.
    pub composer: Composer,
    /// The drafts of other conversations, and what undo restores there.
    pub drafts: BTreeMap<Audience, Composer>,
    /// Whether others are told that the user is writing.
    pub typing: TypingIndicator,
    /// When the drafts are written to disk.
    pub drafts_due: Option<DateTime<FixedOffset>>,
    /// Where the user began to tick people, to return there.
    pub ticked_from: Option<Audience>,
    /// The room that is opened as soon as the user is a member.
    pub joining: Option<RoomName>,
    /// Whether the terminal has the focus. What is displayed without it is not read.
    pub is_focused: bool,
    /// What receives keys while no overlay is open.
    pub focus: Focus,
    /// The open overlays; the last one is on top and receives the keys.
    pub overlays: Overlays,
    /// Which part of the open conversation is visible.
    pub viewport: Viewport,
    /// Where other conversations were left.
    pub viewports: BTreeMap<Audience, Viewport>,
    /// The read marker: the newest event that was visible, with all before it.
    pub read_position: Option<ReadPosition>,
    /// How far the sidebar is scrolled.
    pub sidebar_scroll: SidebarScroll,
    /// The request ID of the search that the server is running.
    pub server_search: Option<Cid>,
    /// The hits of the last search, to step from one to the next.
    pub search_hits: Option<SearchHitList>,
    /// The text in the status line, if there is one.
    pub notice: Option<Notice>,
    /// Whether the terminal reports the mouse to this program.
    pub mouse_captured: bool,
    /// Until when Ctrl-C quits.
    pub quit_armed: Option<DateTime<FixedOffset>>,
    /// The text that is selected with the mouse.
    pub selection: Option<TextSelection>,
    /// Where the left button was pressed last in the conversation.
    pub press: Option<Press>,
    /// Where jumps to quoted messages, hits and threads started; the last one is gone back to first.
    pub jump_origins: Vec<JumpOrigin>,
    /// Grows when nothing that was drawn before may be drawn again: another conversation or another timeline is
    /// shown, or a text was removed.
    pub drawing_generation: u64,
}

impl Model {
    /// Creates the screen, with the read marker of the last run.
    pub fn new(options: UiOptions, size: Size, now: DateTime<FixedOffset>) -> Self {
        let mut chat = Session::new(&options.cid_prefix);
        if let Some(position) = options.read_marker.read() {
            chat.set_last_read(position);
        }
        for notice in options.notices {
            chat.add_notice(now, notice);
        }
        Self {
            chat,
            server: options.server,
            notices: Notices::default(),
            theme_choice: options.theme,
            theme: options.theme.resolve(None),
            layout: MessageLayout::default(),
            keymap: options.keymap,
            emoji: options.emoji,
            size,
            shown: Audience::Everyone,
            composer: Composer::default(),
            drafts: BTreeMap::new(),
            typing: options.typing,
            drafts_due: None,
            ticked_from: None,
            joining: None,
            is_focused: true,
            focus: Focus::Typing,
            overlays: Overlays::default(),
            viewport: Viewport::opening(),
            viewports: BTreeMap::new(),
            read_position: None,
            sidebar_scroll: SidebarScroll::default(),
            server_search: None,
            search_hits: None,
            notice: None,
            mouse_captured: options.mouse,
            quit_armed: None,
            selection: None,
            press: None,
            jump_origins: Vec::new(),
            drawing_generation: 0,
        }
    }

    /// Opens the help at the context that is open now.
    pub fn open_help(&mut self) {
        let help = HelpOverlay::new(self.scope());
        self.overlays.open(Overlay::Help(Box::new(help)));
    }

    /// What the content of an overlay depends on beside the overlay.
    pub fn overlay_context(&self, now: DateTime<FixedOffset>) -> OverlayContext<'_> {
        let Self { chat, keymap, server, theme, .. } = self;
        OverlayContext { chat, now, keymap, server, theme: *theme }
    }

    /// Restores the drafts of the last run.
    pub fn restore_drafts(&mut self, drafts: &[Draft]) {
        for draft in drafts {
            let composer = if draft.conversation == self.shown {
                &mut self.composer
            } else {
                self.drafts.entry(draft.conversation.clone()).or_default()
            };
            composer.restore(draft);
        }
    }

    /// Returns all drafts as they are kept on disk, that of the open conversation first.
    pub fn all_drafts(&self) -> Vec<Draft> {
        let open = std::iter::once((&self.shown, &self.composer));
        let all = open.chain(&self.drafts);
        all.flat_map(|(conversation, composer)| composer.to_drafts(conversation)).collect()
    }

    /// The picked message, if any.
    pub fn picked(&self) -> Option<&ItemId> {
        match &self.focus {
            Focus::Picked(item) => Some(item),
            Focus::Typing | Focus::Conversations(_) | Focus::People(_) => None,
        }
    }

    /// The scope whose key bindings apply now.
    pub fn scope(&self) -> Scope {
        match (self.overlays.top(), &self.focus) {
            (Some(overlay), _) => overlay.scope(),
            (None, Focus::Typing) => Scope::Typing,
            (None, Focus::Picked(_)) => Scope::Picked,
            (None, Focus::Conversations(_)) => Scope::Conversations,
            (None, Focus::People(_)) => Scope::People,
        }
    }

    /// Whether the message exists. The last layout can be outdated: a pending message that it shows may be
    /// stored by now.
    pub fn has_message(&self, item: &ItemId) -> bool {
        match item {
            ItemId::Message(id) => self.chat.opened().timeline().index_of(*id).is_some(),
            ItemId::Pending(cid) => {
                self.chat.opened().pending().iter().any(|pending| pending.cid == *cid)
            }
            ItemId::Boundary(_) | ItemId::Other(_) => false,
        }
    }

    /// Shows a notice in the status line.
    pub fn show_notice(&mut self, text: impl Into<String>) {
        self.notice = Some(Notice { text: text.into(), is_error: false });
    }

    /// Shows an error in the status line.
    pub fn show_error(&mut self, text: impl Into<String>) {
        self.notice = Some(Notice { text: text.into(), is_error: true });
    }

    /// When the screen has to be updated without an event: a message expires, a countdown advances, a search
    /// continues. `None` if never. `counts_down`: whether a countdown is visible.
    pub fn next_wake(
        &self,
        now: DateTime<FixedOffset>,
        counts_down: bool,
    ) -> Option<DateTime<FixedOffset>> {
        if self.is_searching() {
            return Some(now);
        }
        let second = (counts_down || self.has_retry_scheduled()).then(|| {
            let server = self.chat.server_time(now);
            now + chrono::TimeDelta::milliseconds(1_000 - server.rem_euclid(1_000))
        });
        self.chat
            .next_deadline(now)
            .into_iter()
            .chain(second)
            .chain(self.notices.next_wake())
            .chain(self.next_search_wake(now))
            .chain(self.drafts_due)
            .min()
    }

    /// When the open search sends its request, or a hit expires.
    fn next_search_wake(&self, now: DateTime<FixedOffset>) -> Option<DateTime<FixedOffset>> {
        let Some(Overlay::Search(search)) = self.overlays.top() else { return None };
        let expiry = search.next_expiry().map(|at| at - self.chat.server_time(now));
        let expiry = expiry.map(|left| now + chrono::TimeDelta::milliseconds(left.max(0)));
        search.next_request().filter(|_| self.chat.is_online()).into_iter().chain(expiry).min()
    }

    fn is_searching(&self) -> bool {
        match self.overlays.top() {
            Some(Overlay::Search(search)) => !search.is_done(&self.chat),
            Some(_) | None => false,
        }
    }

    fn has_retry_scheduled(&self) -> bool {
        matches!(self.chat.connection(), client::state::ConnectionState::Offline { .. })
    }
}
