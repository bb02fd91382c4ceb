//! What each entry looks like: what decides it, the block that comes of it, and the memory of both.

use std::collections::HashMap;
use std::rc::Rc;

use ratatui::text::Span;

use super::Layouter;
use super::slots::{Item, Slot};
use crate::client::state::history::Edge;
use crate::client::state::timeline::{Entry, Fate, RUN};
use crate::client::state::{Delivery, Room};
use crate::protocol::id::MessageId;
use crate::protocol::message::Audience;
use crate::tui::bubble::{self, Block, Bubble, Side, marked};
use crate::tui::model::Key;
use crate::tui::theme::Theme;
use crate::tui::wrap::{drawable, wrap, wrap_words};

/// How many blocks are kept before all are dropped: some screens' worth.
const CACHED: usize = 4_000;

/// The blocks that were drawn lately.
#[derive(Debug, Clone, Default)]
pub struct Cache {
    blocks: HashMap<Key, (Look, Rc<Block>)>,
    wrapped: HashMap<Key, (u16, Fate, Rc<[String]>)>,
}

impl Cache {
    /// Drops what is kept of a message.
    pub fn forget(&mut self, id: MessageId) {
        self.blocks.remove(&Key::Message(id));
        self.wrapped.remove(&Key::Message(id));
    }

    /// Drops everything once it has become much.
    pub(super) fn limit(&mut self) {
        if self.blocks.len() > CACHED || self.wrapped.len() > CACHED {
            *self = Self::default();
        }
    }
}

/// Everything that decides what a block looks like, beside the entry itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, compared at once")]
struct Look {
    width: u16,
    inside: u16,
    fate: Fate,
    first: bool,
    last: bool,
    picked: bool,
    new_day: bool,
    unread: bool,
    quoted: Quoted,
    tag: Tag,
    length: usize,
}

/// What a bubble quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quoted {
    Nothing,
    Unknown,
    Known(Fate),
}

/// What stands in the lower edge of a bubble.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tag {
    None,
    GoneIn(i64),
    Waiting,
    Sending,
    NotSent(String),
    Id(MessageId),
}

impl Layouter<'_> {
    pub(super) fn block(&mut self, slot: Slot) -> Rc<Block> {
        let key = self.slots.key(slot);
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
        let new_day = self.slots.is_new_day(slot);
        let bare = Look {
            width,
            inside: 0,
            fate: Fate::Readable,
            first: true,
            last: true,
            picked,
            new_day,
            unread: self.slots.is_first_unread(slot),
            quoted: Quoted::Nothing,
            tag: Tag::None,
            length: 0,
        };
        match self.slots.item(slot) {
            Some(Item::Other(Entry::Presence { joined, left, .. })) => {
                Look { length: joined.count() + left.count(), ..bare }
            }
            Some(Item::Edge(_) | Item::Other(_)) | None => bare,
            Some(Item::Said(_) | Item::Pending(_)) => {
                let run = self.slots.run(slot);
                let start = slot - i64::from(run);
                let last = !self.slots.continues_after(slot);
                let end =
                    (slot..slot + i64::from(RUN)).find(|slot| !self.slots.continues_after(*slot));
                let inside = (start..=end.unwrap_or(slot))
                    .map(|slot| self.natural_width(slot))
                    .max()
                    .unwrap_or(1)
                    .clamp(1, bubble::inside_width(width));
                let fate = self.slots.fate(slot);
                let quoted = match self.slots.quoted(slot) {
                    None => Quoted::Nothing,
                    Some(id) => match self.slots.room.timeline().said(id) {
                        None => Quoted::Unknown,
                        Some(said) => Quoted::Known(said.fate),
                    },
                };
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
            && let Some(at) = self.slots.at(slot)
        {
            rows.push(bubble::day_row(at, look.width, self.theme));
        }
        if look.unread {
            rows.push(bubble::rule_row("new since you left", look.width, self.theme));
        }
        match self.slots.item(slot) {
            Some(Item::Edge(edge)) => {
                rows.push(bubble::quiet_row(edge_words(edge), look.width, self.theme));
            }
            Some(Item::Other(entry)) => {
                let width = usize::from(look.width.saturating_sub(2));
                let lines = wrap_words(&quiet_words(entry), width);
                rows.extend(lines.iter().map(|l| bubble::quiet_row(l, look.width, self.theme)));
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
        let own = self.slots.is_own(slot);
        let private = matches!(self.slots.audience(slot), Some(Audience::Only(_)));
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
            quote: self.slots.quoted(slot).map(|id| (quote_words(self.slots.room, id), id)),
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
            fate: self.slots.fate(slot),
            first: self.slots.run(slot) == 0,
            last: true,
            picked: false,
            new_day: false,
            unread: false,
            quoted: Quoted::Nothing,
            // The countdown gets shorter, the bubble should not.
            tag: match self.tag(slot, self.picked == Some(&self.slots.key(slot))) {
                Tag::GoneIn(_) => Tag::GoneIn(9_999),
                tag @ (Tag::None | Tag::Waiting | Tag::Sending | Tag::NotSent(_) | Tag::Id(_)) => {
                    tag
                }
            },
            length: 0,
        };
        self.bubble(slot, &look, &text).natural_width()
    }

    fn wrapped(&mut self, slot: Slot) -> Rc<[String]> {
        let width = bubble::inside_width(self.area.width);
        let key = self.slots.key(slot);
        let fate = self.slots.fate(slot);
        if let Some((kept, at, lines)) = self.cache.wrapped.get(&key)
            && *kept == width
            && *at == fate
        {
            return Rc::clone(lines);
        }
        let text = match (fate, self.slots.item(slot)) {
            (Fate::Removed, _) => "message removed",
            (Fate::Expired, _) => "message expired",
            (Fate::Readable, Some(Item::Said(said))) => said.message.content.as_str(),
            (Fate::Readable, Some(Item::Pending(pending))) => pending.say.content.as_str(),
            (Fate::Readable, Some(Item::Edge(_) | Item::Other(_)) | None) => "",
        };
        let lines: Rc<[String]> = wrap(text, usize::from(width)).into();
        self.cache.wrapped.insert(key, (width, fate, Rc::clone(&lines)));
        lines
    }

    fn tag(&self, slot: Slot, picked: bool) -> Tag {
        match self.slots.item(slot) {
            Some(Item::Said(said)) if said.fate == Fate::Readable => match said.message.expires() {
                Some(expires) => {
                    let left = expires - self.slots.room.server_time(self.now);
                    Tag::GoneIn((left.max(0) + 999) / 1_000)
                }
                None if picked => Tag::Id(said.message.id),
                None => Tag::None,
            },
            Some(Item::Pending(pending)) => match &pending.delivery {
                Delivery::Waiting => Tag::Waiting,
                Delivery::Sending => Tag::Sending,
                Delivery::Failed(reason) => Tag::NotSent(reason.one_line()),
            },
            Some(Item::Said(_) | Item::Edge(_) | Item::Other(_)) | None => Tag::None,
        }
    }

    fn header(&self, slot: Slot) -> Option<Vec<Span<'static>>> {
        let own = self.slots.is_own(slot);
        let sender = match self.slots.item(slot)? {
            Item::Said(said) => Some((&said.message.sender, said.message.guest)),
            Item::Pending(_) | Item::Edge(_) | Item::Other(_) => None,
        };
        let to = match self.slots.audience(slot)? {
            Audience::Everyone => None,
            Audience::Only(people) => {
                let mut names: Vec<String> = people
                    .iter()
                    .filter(|id| !self.slots.room.is_you(id))
                    .map(ToString::to_string)
                    .collect();
                if people.iter().any(|id| self.slots.room.is_you(id)) {
                    names.insert(0, "you".to_owned());
                }
                Some(names.join(", "))
            }
        };
        Some(bubble::header(sender.filter(|_| !own), to, self.slots.at(slot)?, self.theme))
    }
}

/// The line that stands for a message where it is quoted.
pub fn quote_words(room: &Room, id: MessageId) -> String {
    match room.timeline().said(id) {
        Some(said) => {
            let who = &said.message.sender;
            let you = room.is_you(who);
            let who = if you { "you".to_owned() } else { marked(who, said.message.guest) };
            match said.fate {
                Fate::Readable => format!("{who}: {}", drawable(&said.message.content.one_line())),
                Fate::Removed => format!("{who}: message removed"),
                Fate::Expired => format!("{who}: message expired"),
            }
        }
        None => format!("message {id}, which is not shown here"),
    }
}

fn edge_words(edge: Edge) -> &'static str {
    match edge {
        Edge::Loading => "loading…",
        Edge::Earlier => "…",
        Edge::Beginning => "beginning of the history",
        Edge::Later => "the past (End: the newest)",
    }
}

fn quiet_words(entry: &Entry) -> String {
    match entry {
        Entry::Presence { joined, left, .. } => match (joined.count(), left.count()) {
            (0, 0) => String::new(),
            (_, 0) => format!("→ {} joined", joined.words()),
            (0, _) => format!("← {} left", left.words()),
            (_, _) => format!("→ {} joined  ← {} left", joined.words(), left.words()),
        },
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
        Tag::Waiting => Some(Span::styled("waiting…", theme.temporary())),
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
