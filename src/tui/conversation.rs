//! Which entries of the conversation are on the screen, and in which rows.
//!
//! The work is O(screen): blocks are laid from the bottom edge upwards until the area is full, and what
//! a block looks like is kept until something about it changes. Both drawing and mouse use the result.

use std::collections::HashMap;
use std::rc::Rc;

use chrono::{DateTime, FixedOffset};
use ratatui::layout::Rect;
use ratatui::text::Span;

use super::bubble::{self, Block, Bubble, Side};
use super::model::{Key, Scroll};
use super::theme::Theme;
use super::wrap::{drawable, wrap};
use crate::client::state::timeline::{Entry, Fate, Place, RUN, Said, continues};
use crate::client::state::{Pending, Room};
use crate::protocol::id::MessageId;
use crate::protocol::message::{Audience, Kind};
use crate::protocol::request::SayKind;

/// How many blocks are kept before all are dropped: some screens' worth.
const CACHED: usize = 4_000;

/// The blocks that were drawn lately.
#[derive(Debug, Clone, Default)]
pub struct Cache {
    blocks: HashMap<Key, (Look, Rc<Block>)>,
    wrapped: HashMap<Key, (u16, Fate, Rc<[String]>)>,
}

/// Everything that decides what a block looks like, beside the entry itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    width: u16,
    inside: u16,
    fate: Fate,
    first: bool,
    last: bool,
    picked: bool,
    new_day: bool,
    quoted: Option<Option<Fate>>,
    tag: Tag,
    length: usize,
}

/// What stands in the lower edge of a bubble.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tag {
    None,
    GoneIn(i64),
    Sending,
    NotSent(String),
    Id(MessageId),
}

/// A block on the screen.
#[derive(Debug, Clone)]
pub struct Placed {
    /// What it shows.
    pub key: Key,
    /// The rows of the screen that it has.
    pub area: Rect,
    /// How many of its own rows are cut off above.
    pub cut: u16,
    /// Its rows.
    pub block: Rc<Block>,
}

/// The conversation on the screen.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    /// From top to bottom.
    pub placed: Vec<Placed>,
    /// Whether something on it counts down.
    pub counting: bool,
}

impl Conversation {
    /// The newest message that is seen.
    pub fn newest(&self) -> Option<Key> {
        let messages = self.placed.iter().rev().map(|placed| &placed.key);
        messages.filter(|key| !matches!(key, Key::Other(_))).cloned().next()
    }
}

/// Lays the conversation out.
#[derive(Debug)]
pub struct Layouter<'a> {
    /// The room.
    pub room: &'a Room,
    /// Kept from frame to frame.
    pub cache: &'a mut Cache,
    /// Where it is drawn.
    pub area: Rect,
    /// The message that is picked.
    pub picked: Option<&'a Key>,
    /// The moment.
    pub now: DateTime<FixedOffset>,
    /// The styles.
    pub theme: Theme,
}

/// An entry or a pending message, counted through.
type Slot = u64;

enum Item<'a> {
    Said(&'a Said),
    Pending(&'a Pending),
    Other(&'a Entry),
}

impl<'a> Layouter<'a> {
    fn first(&self) -> Slot {
        self.room.timeline().first().0
    }

    fn end(&self) -> Slot {
        self.room.timeline().end().0 + self.room.pending().len() as u64
    }

    fn item(&self, slot: Slot) -> Option<Item<'a>> {
        match self.room.timeline().get(Place(slot)) {
            Some(Entry::Said(said)) => Some(Item::Said(said)),
            Some(entry) => Some(Item::Other(entry)),
            None => {
                let index = slot.checked_sub(self.room.timeline().end().0)?;
                self.room.pending().get(usize::try_from(index).ok()?).map(Item::Pending)
            }
        }
    }

    fn key(&self, slot: Slot) -> Key {
        match self.item(slot) {
            Some(Item::Said(said)) => Key::Message(said.message.id),
            Some(Item::Pending(pending)) => Key::Pending(pending.cid.clone()),
            Some(Item::Other(_)) | None => Key::Other(Place(slot)),
        }
    }

    fn slot(&self, key: &Key) -> Option<Slot> {
        match key {
            Key::Message(id) => self.room.timeline().place(*id).map(|place| place.0),
            Key::Other(place) => Some(place.0),
            Key::Pending(cid) => {
                let index = self.room.pending().iter().position(|pending| pending.cid == *cid)?;
                Some(self.room.timeline().end().0 + index as u64)
            }
        }
    }

    /// The message before or after `key` that can be picked.
    pub fn neighbour(&self, key: &Key, older: bool) -> Option<Key> {
        let slot = self.slot(key)?;
        let mut slots: Box<dyn Iterator<Item = Slot>> = if older {
            Box::new((self.first()..slot).rev())
        } else {
            Box::new(slot + 1..self.end())
        };
        let found = slots.find(|slot| !matches!(self.item(*slot), Some(Item::Other(_)) | None))?;
        Some(self.key(found))
    }

    /// The newest message that can be picked.
    pub fn newest(&self) -> Option<Key> {
        let mut slots = (self.first()..self.end()).rev();
        let found = slots.find(|slot| !matches!(self.item(*slot), Some(Item::Other(_)) | None))?;
        Some(self.key(found))
    }

    /// Lays it out; `scroll` is moved by `rows` (up is positive) and set to what there really is.
    pub fn lay_out(
        &mut self,
        scroll: &mut Scroll,
        rows: i64,
        reveal: Option<&Key>,
    ) -> Conversation {
        if self.cache.blocks.len() > CACHED || self.cache.wrapped.len() > CACHED {
            *self.cache = Cache::default();
        }
        if self.first() == self.end() || self.area.is_empty() {
            *scroll = Scroll::Bottom;
            return Conversation::default();
        }
        let (mut slot, mut below) = self.anchor(scroll);
        self.move_by(&mut slot, &mut below, rows);
        if let Some(target) = reveal.and_then(|key| self.slot(key)) {
            self.reveal(target, &mut slot, &mut below);
        }
        let missing = self.missing_above(slot, below);
        if missing > 0 {
            self.move_by(&mut slot, &mut below, -missing);
        }
        *scroll = match slot + 1 == self.end() && below == 0 {
            true => Scroll::Bottom,
            false => Scroll::At { place: Place(slot), below },
        };
        self.place(slot, below)
    }

    fn anchor(&mut self, scroll: &Scroll) -> (Slot, i64) {
        match scroll {
            Scroll::Bottom => (self.end() - 1, 0),
            Scroll::At { place, below } => {
                let slot = place.0.clamp(self.first(), self.end() - 1);
                (slot, (*below).min(self.height(slot) - 1))
            }
        }
    }

    /// Moves the bottom edge: `below` rows of `slot` are hidden under it.
    fn move_by(&mut self, slot: &mut Slot, below: &mut i64, rows: i64) {
        *below += rows;
        while *below >= self.height(*slot) {
            if *slot == self.first() {
                *below = self.height(*slot) - 1;
                return;
            }
            *below -= self.height(*slot);
            *slot -= 1;
        }
        while *below < 0 {
            if *slot + 1 == self.end() {
                *below = 0;
                return;
            }
            *slot += 1;
            *below += self.height(*slot);
        }
    }

    /// Moves the edge so that `target` can be seen, with some of what was said before it.
    fn reveal(&mut self, target: Slot, slot: &mut Slot, below: &mut i64) {
        let room = i64::from(self.area.height);
        let mut rows = self.height(*slot) - *below;
        let mut top = *slot;
        while top > target && rows < room {
            top -= 1;
            rows += self.height(top);
        }
        let visible = top == target && (target < *slot || *below == 0) && rows <= room;
        if visible {
            return;
        }
        (*slot, *below) = (target, 0);
        let height = self.height(target).min(room);
        self.move_by(slot, below, -((room - height) * 2 / 3));
        if self.height(target) > room {
            *below = self.height(target) - room;
        }
    }

    /// How many rows stay empty above when the bottom edge is here.
    fn missing_above(&mut self, slot: Slot, below: i64) -> i64 {
        let room = i64::from(self.area.height);
        let mut rows = -below;
        for older in (self.first()..=slot).rev() {
            rows += self.height(older);
            if rows >= room {
                return 0;
            }
        }
        room - rows
    }

    fn place(&mut self, slot: Slot, below: i64) -> Conversation {
        let mut placed = Vec::new();
        let mut counting = false;
        let top = i64::from(self.area.y);
        let mut bottom = i64::from(self.area.bottom()) + below;
        for older in (self.first()..=slot).rev() {
            if bottom <= top {
                break;
            }
            let block = self.block(older);
            let start = bottom - block.rows.len() as i64;
            let visible_start = start.max(top);
            let visible_end = bottom.min(i64::from(self.area.bottom()));
            counting |= self.counts(older);
            placed.push(Placed {
                key: self.key(older),
                area: Rect {
                    x: self.area.x,
                    y: clamp(visible_start),
                    width: self.area.width,
                    height: clamp(visible_end - visible_start),
                },
                cut: clamp(visible_start - start),
                block,
            });
            bottom = start;
        }
        placed.reverse();
        Conversation { placed, counting }
    }

    fn counts(&self, slot: Slot) -> bool {
        match self.item(slot) {
            Some(Item::Said(said)) => {
                said.fate == Fate::Readable && said.message.expires().is_some()
            }
            Some(Item::Pending(_) | Item::Other(_)) | None => false,
        }
    }

    fn height(&mut self, slot: Slot) -> i64 {
        self.block(slot).rows.len() as i64
    }

    fn block(&mut self, slot: Slot) -> Rc<Block> {
        let key = self.key(slot);
        let look = self.look(slot, &key);
        if let Some((kept, block)) = self.cache.blocks.get(&key)
            && *kept == look
        {
            return Rc::clone(block);
        }
        let block = Rc::new(self.build(slot, &look));
        self.cache.blocks.insert(key, (look, Rc::clone(&block)));
        block
    }

    fn look(&mut self, slot: Slot, key: &Key) -> Look {
        let width = self.area.width;
        let picked = self.picked == Some(key);
        let new_day = self.is_new_day(slot);
        let bare = Look {
            width,
            inside: 0,
            fate: Fate::Readable,
            first: true,
            last: true,
            picked,
            new_day,
            quoted: None,
            tag: Tag::None,
            length: 0,
        };
        match self.item(slot) {
            Some(Item::Other(Entry::Presence { joined, left, .. })) => {
                Look { length: joined.len() + left.len(), ..bare }
            }
            Some(Item::Other(_)) | None => bare,
            Some(Item::Said(_) | Item::Pending(_)) => {
                let run = self.run(slot);
                let start = slot - u64::from(run);
                let last = !self.continues_after(slot);
                let end = (slot..slot + u64::from(RUN)).find(|slot| !self.continues_after(*slot));
                let inside = (start..=end.unwrap_or(slot))
                    .map(|slot| self.natural_width(slot))
                    .max()
                    .unwrap_or(1)
                    .clamp(1, bubble::inside_width(width));
                let fate = self.fate(slot);
                let quoted =
                    self.quoted(slot).map(|id| self.room.timeline().said(id).map(|q| q.fate));
                Look {
                    inside,
                    fate,
                    first: run == 0,
                    last,
                    quoted,
                    tag: self.tag(slot, picked),
                    ..bare
                }
            }
        }
    }

    fn build(&mut self, slot: Slot, look: &Look) -> Block {
        let mut rows = Vec::new();
        if look.new_day
            && let Some(at) = self.at(slot)
        {
            rows.push(bubble::day_row(at, look.width, self.theme));
        }
        match self.item(slot) {
            Some(Item::Other(entry)) => {
                rows.push(bubble::quiet_row(&quiet_words(entry), look.width, self.theme));
            }
            Some(Item::Said(_) | Item::Pending(_)) => {
                let text = self.wrapped(slot);
                let bubble = self.bubble(slot, look, &text);
                rows.extend(bubble.rows(look.width, self.theme));
            }
            None => {}
        }
        Block { rows }
    }

    fn bubble<'t>(&self, slot: Slot, look: &Look, text: &'t [String]) -> Bubble<'t> {
        let theme = self.theme;
        let own = self.is_own(slot);
        let private = matches!(self.audience(slot), Some(Audience::Only(_)));
        let failed = matches!(look.tag, Tag::NotSent(_));
        let style = match look.fate {
            Fate::Readable => theme.text(),
            Fate::Removed | Fate::Expired => theme.gone(),
        };
        let frame = match (failed, private, own) {
            (true, ..) => theme.error(),
            (false, true, _) => theme.private(),
            (false, false, true) => theme.own(),
            (false, false, false) => theme.quiet(),
        };
        Bubble {
            side: if own { Side::Right } else { Side::Left },
            header: look.first.then(|| self.header(slot)).flatten(),
            quote: self.quoted(slot).map(|id| (self.quote(id), id)),
            text,
            style,
            frame,
            tag: tag_span(&look.tag, theme),
            last: look.last,
            picked: look.picked,
            inside: look.inside,
        }
    }

    /// What a bubble's inside needs at the least, without the shape of its neighbours.
    fn natural_width(&mut self, slot: Slot) -> u16 {
        let text = self.wrapped(slot);
        let look = Look {
            width: self.area.width,
            inside: 0,
            fate: self.fate(slot),
            first: self.run(slot) == 0,
            last: true,
            picked: false,
            new_day: false,
            quoted: None,
            // The countdown gets shorter, the bubble should not.
            tag: match self.tag(slot, false) {
                Tag::GoneIn(_) => Tag::GoneIn(9_999),
                tag @ (Tag::None | Tag::Sending | Tag::NotSent(_) | Tag::Id(_)) => tag,
            },
            length: 0,
        };
        self.bubble(slot, &look, &text).natural_width()
    }

    fn wrapped(&mut self, slot: Slot) -> Rc<[String]> {
        let width = bubble::inside_width(self.area.width);
        let key = self.key(slot);
        let fate = self.fate(slot);
        if let Some((kept, at, lines)) = self.cache.wrapped.get(&key)
            && *kept == width
            && *at == fate
        {
            return Rc::clone(lines);
        }
        let text = match (fate, self.item(slot)) {
            (Fate::Removed, _) => "message removed",
            (Fate::Expired, _) => "message expired",
            (Fate::Readable, Some(Item::Said(said))) => said.message.content.as_str(),
            (Fate::Readable, Some(Item::Pending(pending))) => pending.say.content.as_str(),
            (Fate::Readable, Some(Item::Other(_)) | None) => "",
        };
        let lines: Rc<[String]> = wrap(text, usize::from(width)).into();
        self.cache.wrapped.insert(key, (width, fate, Rc::clone(&lines)));
        lines
    }

    fn run(&self, slot: Slot) -> u8 {
        match self.item(slot) {
            Some(Item::Said(said)) => {
                let kept = slot - self.first();
                said.run.min(u8::try_from(kept).unwrap_or(u8::MAX))
            }
            Some(Item::Pending(_)) if slot > self.first() => {
                let before = self.run(slot - 1);
                if before + 1 < RUN && self.belongs_together(slot) { before + 1 } else { 0 }
            }
            Some(Item::Pending(_) | Item::Other(_)) | None => 0,
        }
    }

    /// Whether a pending message continues the bubble before it.
    fn belongs_together(&self, slot: Slot) -> bool {
        let temporary = |slot| match self.item(slot) {
            Some(Item::Said(said)) => said.message.expires().is_some(),
            Some(Item::Pending(pending)) => matches!(pending.say.kind, SayKind::Temporary { .. }),
            Some(Item::Other(_)) | None => true,
        };
        let before = slot - 1;
        match (self.audience(before), self.at(before), self.audience(slot), self.at(slot)) {
            (Some(earlier), Some(then), Some(audience), Some(at)) => {
                self.is_own(before)
                    && !temporary(before)
                    && !temporary(slot)
                    && continues(earlier, then, audience, at)
            }
            _ => false,
        }
    }

    fn continues_after(&self, slot: Slot) -> bool {
        self.run(slot + 1) > 0
    }

    fn is_own(&self, slot: Slot) -> bool {
        match self.item(slot) {
            Some(Item::Said(said)) => self.room.is_you(&said.message.sender),
            Some(Item::Pending(_)) => true,
            Some(Item::Other(_)) | None => false,
        }
    }

    fn audience(&self, slot: Slot) -> Option<&'a Audience> {
        match self.item(slot)? {
            Item::Said(said) => Some(&said.message.audience),
            Item::Pending(pending) => Some(&pending.say.audience),
            Item::Other(_) => None,
        }
    }

    fn at(&self, slot: Slot) -> Option<DateTime<FixedOffset>> {
        let at = match self.item(slot)? {
            Item::Said(said) => said.message.at,
            Item::Pending(pending) => pending.at,
            Item::Other(Entry::Presence { at, .. } | Entry::Notice { at, .. }) => *at,
            Item::Other(Entry::Said(said)) => said.message.at,
        };
        Some(at.with_timezone(self.now.offset()))
    }

    fn is_new_day(&self, slot: Slot) -> bool {
        let Some(at) = self.at(slot) else { return false };
        let before = slot.checked_sub(1).filter(|slot| *slot >= self.first());
        match before.and_then(|slot| self.at(slot)) {
            Some(before) => before.date_naive() != at.date_naive(),
            None => true,
        }
    }

    fn fate(&self, slot: Slot) -> Fate {
        match self.item(slot) {
            Some(Item::Said(said)) => said.fate,
            Some(Item::Pending(_) | Item::Other(_)) | None => Fate::Readable,
        }
    }

    fn quoted(&self, slot: Slot) -> Option<MessageId> {
        match self.item(slot)? {
            Item::Said(said) if said.fate == Fate::Readable => match said.message.kind {
                Kind::Reply { to } => Some(to),
                Kind::Plain | Kind::Temporary { .. } => None,
            },
            Item::Pending(pending) => match pending.say.kind {
                SayKind::Reply { to } => Some(to),
                SayKind::Plain | SayKind::Temporary { .. } => None,
            },
            Item::Said(_) | Item::Other(_) => None,
        }
    }

    fn quote(&self, id: MessageId) -> String {
        quote_words(self.room, id)
    }

    fn tag(&self, slot: Slot, picked: bool) -> Tag {
        match self.item(slot) {
            Some(Item::Said(said)) if said.fate == Fate::Readable => match said.message.expires() {
                Some(expires) => {
                    let left = expires - self.room.server_time(self.now);
                    Tag::GoneIn((left.max(0) + 999) / 1_000)
                }
                None if picked => Tag::Id(said.message.id),
                None => Tag::None,
            },
            Some(Item::Pending(pending)) => match &pending.failed {
                Some(reason) => Tag::NotSent(reason.one_line()),
                None => Tag::Sending,
            },
            Some(Item::Said(_) | Item::Other(_)) | None => Tag::None,
        }
    }

    fn header(&self, slot: Slot) -> Option<Vec<Span<'static>>> {
        let own = self.is_own(slot);
        let sender = match self.item(slot)? {
            Item::Said(said) => Some(&said.message.sender),
            Item::Pending(_) | Item::Other(_) => None,
        };
        let to = match self.audience(slot)? {
            Audience::Everyone => None,
            Audience::Only(people) => {
                let mut names: Vec<String> = people
                    .iter()
                    .filter(|id| !self.room.is_you(id))
                    .map(ToString::to_string)
                    .collect();
                if people.iter().any(|id| self.room.is_you(id)) {
                    names.insert(0, "you".to_owned());
                }
                Some(names.join(", "))
            }
        };
        Some(bubble::header(sender.filter(|_| !own), to, self.at(slot)?, self.theme))
    }
}

/// The line that stands for a message where it is quoted.
pub fn quote_words(room: &Room, id: MessageId) -> String {
    match room.timeline().said(id) {
        Some(said) => {
            let who = &said.message.sender;
            let who = if room.is_you(who) { "you".to_owned() } else { who.to_string() };
            match said.fate {
                Fate::Readable => format!("{who}: {}", drawable(&said.message.content.one_line())),
                Fate::Removed => format!("{who}: message removed"),
                Fate::Expired => format!("{who}: message expired"),
            }
        }
        None => format!("message {id}, which is not shown here"),
    }
}

fn quiet_words(entry: &Entry) -> String {
    match entry {
        Entry::Presence { joined, left, .. } => {
            let names = |ids: &[crate::protocol::id::UserId]| {
                ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            };
            match (joined.is_empty(), left.is_empty()) {
                (false, true) => format!("→ {} joined", names(joined)),
                (true, false) => format!("← {} left", names(left)),
                (false, false) => format!("→ {} joined  ← {} left", names(joined), names(left)),
                (true, true) => String::new(),
            }
        }
        Entry::Notice { text, .. } => text.one_line(),
        Entry::Said(_) => String::new(),
    }
}

fn tag_span(tag: &Tag, theme: Theme) -> Option<Span<'static>> {
    match tag {
        Tag::None => None,
        Tag::GoneIn(seconds) => {
            Some(Span::styled(format!("gone in {}", duration(*seconds)), theme.temporary()))
        }
        Tag::Sending => Some(Span::styled("sending…", theme.quiet())),
        Tag::NotSent(reason) => Some(Span::styled(format!("not sent: {reason}"), theme.error())),
        Tag::Id(id) => Some(Span::styled(id.to_string(), theme.quiet())),
    }
}

/// A time span as people say it.
pub fn duration(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3_600 if seconds % 60 == 0 => format!("{} min", seconds / 60),
        60..3_600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        3_600..86_400 if seconds % 3_600 == 0 => format!("{} h", seconds / 3_600),
        3_600..86_400 => format!("{} h {:02} min", seconds / 3_600, seconds % 3_600 / 60),
        86_400.. => format!("{} days", seconds / 86_400),
    }
}

fn clamp(cells: i64) -> u16 {
    u16::try_from(cells.max(0)).unwrap_or(u16::MAX)
}
