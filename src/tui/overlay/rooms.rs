//! The list of public rooms: joins the chosen one, or creates a room with the typed name.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::client::state::Session;
use crate::protocol::id::{Cid, RoomName};
use crate::protocol::message::Audience;
use crate::protocol::request::Request;
use crate::protocol::room::{RoomList, RoomState};
use crate::protocol::text::SafeText;
use crate::tui::editor::Editor;
use crate::tui::list::{self, ListFrame, ListLayout, Selection};
use crate::tui::text::shorten;
use crate::tui::theme::Theme;

/// Rooms that are loaded. A server has 200 by default; the filter finds those that an administrator added.
const MAX_ROOMS: usize = 2_000;

/// Where the answer to the request for the list stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Loading {
    /// The next page, after this room, is to be requested.
    Wanted(Option<RoomName>),
    /// A page was requested.
    Requested(Cid),
    Done,
    Failed(SafeText),
}

/// The list of public rooms.
#[derive(Debug, Clone)]
pub struct RoomsOverlay {
    /// A part of a name, or the name of a new room.
    filter: Editor,
    rooms: Vec<(RoomName, RoomState)>,
    /// The selected row.
    pub list: Selection,
    loading: Loading,
}

/// What Enter does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomChoice {
    /// Opens the room, which the user joins if necessary.
    Open(RoomName),
    /// Creates a public room.
    Create(RoomName),
}

impl Default for RoomsOverlay {
    fn default() -> Self {
        let loading = Loading::Wanted(None);
        Self { filter: Editor::default(), rooms: Vec::new(), list: Selection::default(), loading }
    }
}

impl RoomsOverlay {
    /// The input of the filter.
    pub fn input(&self) -> &Editor {
        &self.filter
    }

    /// Lets `edit` change the filter. The first match becomes the selected one.
    pub fn edit(&mut self, edit: impl FnOnce(&mut Editor) -> bool) {
        if edit(&mut self.filter) {
            self.list = Selection::new(self.choices().len());
        }
    }

    /// The selected row.
    pub fn choice(&self) -> Option<RoomChoice> {
        self.choices().into_iter().nth(self.list.index())
    }

    /// Returns the request for the next page, unless it waits for an answer or a connection.
    pub fn request_page(&mut self, chat: &mut Session) -> Option<(Cid, Request)> {
        let Loading::Wanted(after) = &self.loading else { return None };
        let (cid, request) = chat.list_rooms(after.clone())?;
        self.loading = Loading::Requested(cid.clone());
        Some((cid, request))
    }

    /// Handles a page.
    pub fn on_page(&mut self, page: RoomList) {
        if matches!(&self.loading, Loading::Requested(cid) if Some(cid) == page.cid.as_ref()) {
            self.rooms.extend(page.rooms);
            self.rooms.truncate(MAX_ROOMS);
            let last = self.rooms.last().map(|(room, _)| room.clone());
            let has_more = page.has_more && self.rooms.len() < MAX_ROOMS;
            self.loading = if has_more { Loading::Wanted(last) } else { Loading::Done };
            self.list.set_count(self.choices().len());
        }
    }

    /// Handles the refusal of a request. Returns whether it was for this list.
    pub fn on_refused(&mut self, cid: &Cid, reason: &SafeText) -> bool {
        let is_own = matches!(&self.loading, Loading::Requested(asked) if asked == cid);
        if is_own {
            self.loading = Loading::Failed(reason.clone());
        }
        is_own
    }

    fn typed(&self) -> String {
        self.filter.lines().concat().trim().trim_start_matches('#').to_lowercase()
    }

    fn matching(&self) -> impl Iterator<Item = &(RoomName, RoomState)> {
        let typed = self.typed();
        self.rooms.iter().filter(move |(room, state)| {
            room.as_str().contains(&typed) || state.topic.as_str().to_lowercase().contains(&typed)
        })
    }

    fn choices(&self) -> Vec<RoomChoice> {
        let open = self.matching().map(|(room, _)| RoomChoice::Open(room.clone()));
        open.chain(self.new_room().map(RoomChoice::Create)).collect()
    }

    /// The room that the typed name would create.
    fn new_room(&self) -> Option<RoomName> {
        let room = RoomName::from_input(&self.typed()).ok()?;
        let is_known = self.rooms.iter().any(|(known, _)| *known == room);
        (!is_known).then_some(room)
    }

    /// Lays out the visible rows.
    pub fn lay_out(&self, area: Rect) -> ListLayout {
        self.list.lay_out(|_| 1, list::rows_area(area, true))
    }

    /// Draws the overlay. Returns the area of its input.
    pub fn draw(
        &self,
        area: Rect,
        rows: &[(usize, Rect)],
        chat: &Session,
        theme: Theme,
        buffer: &mut Buffer,
    ) -> Option<Rect> {
        let matching: Vec<_> = self.matching().collect();
        let rows = rows.iter().map(|(index, row)| {
            let width = usize::from(row.width);
            let text = if let Some((room, state)) = matching.get(*index) {
                room_row(room, state, is_member(chat, room), width)
            } else {
                let new = self.new_room();
                let text = new.map(|room| format!("+ create {room}, a public room"));
                shorten(&text.unwrap_or_default(), width)
            };
            (vec![Line::from(text)], *row, *index == self.list.index())
        });
        let (title, note) = (" Rooms ".to_owned(), &self.note());
        let frame = ListFrame { title, input: Some(("find or create: #", &self.filter)), note };
        list::draw(&frame, area, rows, theme, buffer)
    }

    fn note(&self) -> String {
        match &self.loading {
            Loading::Wanted(_) | Loading::Requested(_) => " loading… ".to_owned(),
            Loading::Failed(reason) => format!(" {} ", reason.one_line()),
            Loading::Done if self.rooms.is_empty() => {
                " no rooms yet: type a name to create one ".to_owned()
            }
            Loading::Done if self.rooms.len() == 1 => " 1 room ".to_owned(),
            Loading::Done => format!(" {} rooms ", self.rooms.len()),
        }
    }
}

fn is_member(chat: &Session, room: &RoomName) -> bool {
    chat.conversation(&Audience::Room(room.clone())).is_some()
}

/// A row: name, people, topic.
fn room_row(room: &RoomName, state: &RoomState, is_member: bool, width: usize) -> String {
    let mark = if is_member { "✓" } else { " " };
    let people = if state.people == 1 { "person" } else { "people" };
    let archived = if state.archived { " (archived)" } else { "" };
    let (name, count, topic) = (room.to_string(), state.people, state.topic.one_line());
    shorten(&format!("{mark} {name:<16} {count:>4} {people}{archived}  {topic}"), width)
}
