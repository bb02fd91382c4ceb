//! The text of messages: from the original text to styled rows of cells that map back to it.
//!
//! [`markup`] finds what is emphasised, code, quoted, a mention or a link. [`mod@wrap`] breaks the text into rows of
//! at most a given width. No character of the text is dropped: the marks of Markdown stay visible, only dimmed,
//! so what is seen, selected and copied is the same text.

pub mod cells;
pub mod link;
pub mod markup;
pub mod wrap;

use crate::protocol::mention::MentionWord;

pub use self::cells::{EmojiStyle, drawable, shorten, width};
pub use self::link::{Link, find_links};
pub use self::markup::{Face, Format, MentionKind};
pub use self::wrap::{Segment, TextRow, wrap, wrap_words};

/// How much of a text is drawn. No client sends more in a message; a hostile server might, and must not stall a
/// frame.
const MAX_DRAWN_BYTES: usize = 32 * 1024;

/// The rows of a message's text, of at most `cells`. `mention` tells whom a word that begins with `@` mentions,
/// if anybody.
pub fn rows(
    text: &str,
    mention: impl Fn(&MentionWord<'_>) -> Option<MentionKind>,
    cells: usize,
    emoji: EmojiStyle,
) -> Vec<TextRow> {
    let shown = text.get(..text.floor_char_boundary(MAX_DRAWN_BYTES)).unwrap_or(text);
    let mut rows = wrap::wrap_markup(shown, &markup::parse(shown, mention), cells, emoji);
    if shown.len() < text.len() {
        let drawn = format!(
            "… {} KB more: copy the message to read it",
            (text.len() - shown.len()) / 1_000
        );
        let format = Format { face: Face::Marker, ..Format::default() };
        let source = shown.len()..text.len();
        let drawn = shorten(&drawn, cells);
        rows.push(TextRow { segments: vec![Segment { drawn, source, is_replaced: true, format }] });
    }
    rows
}
