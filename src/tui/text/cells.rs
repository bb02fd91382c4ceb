//! How text is drawn in the cells of a terminal, and how many cells it takes.
//!
//! Wide characters and emoji take two cells, combining marks none. Each grapheme has cells of its own, so the
//! width of a text is the sum over its graphemes. The width that Unicode gives a whole string can be less: it
//! counts some pairs of letters, such as Arabic lam and alef, as one cell, which terminals draw as two.

use std::borrow::Cow;

use ratatui::buffer::CellWidth;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthChar;

/// A tab is drawn as these spaces.
const TAB: &str = "    ";

/// How emoji are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum EmojiStyle {
    /// As pictures, by the terminal.
    #[default]
    Colour,
    /// As their short names, such as `:tada:`, for terminals that draw them wrongly.
    Text,
}

/// The number of cells that a text takes.
pub fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.graphemes(true).map(grapheme_width).sum() }
}

/// The number of cells that a grapheme takes.
pub fn grapheme_width(grapheme: &str) -> usize {
    usize::from(grapheme.cell_width())
}

/// The text that is drawn for a grapheme: see [`drawable`].
pub fn drawn_grapheme(grapheme: &str, emoji: EmojiStyle) -> Cow<'_, str> {
    if grapheme == "\t" {
        return Cow::Borrowed(TAB);
    }
    if emoji == EmojiStyle::Text
        && !grapheme.is_ascii()
        && grapheme_width(grapheme) == 2
        && let Some(name) = emojis::get(grapheme).and_then(emojis::Emoji::shortcode)
    {
        return Cow::Owned(format!(":{name}:"));
    }
    if grapheme.chars().any(is_ambiguous) {
        Cow::Owned(without_joiners(grapheme))
    } else {
        Cow::Borrowed(grapheme)
    }
}

/// Removes what terminals draw differently: variation selectors, and the joiners and skin tones that combine
/// emoji. Many terminals draw a combined emoji as its parts, which would shift everything to its right.
pub fn drawable(text: &str) -> String {
    text.graphemes(true).map(|grapheme| drawn_grapheme(grapheme, EmojiStyle::Colour)).collect()
}

fn is_ambiguous(c: char) -> bool {
    is_variation_selector(c) || is_emoji_joiner(c)
}

fn is_variation_selector(c: char) -> bool {
    matches!(c, '\u{fe0e}' | '\u{fe0f}')
}

/// The zero-width joiner and skin tones.
fn is_emoji_joiner(c: char) -> bool {
    matches!(c, '\u{200d}' | '\u{1f3fb}'..='\u{1f3ff}')
}

fn without_joiners(grapheme: &str) -> String {
    let mut after_wide = false;
    let mut is_kept = |c: char| {
        if is_variation_selector(c) || (is_emoji_joiner(c) && after_wide) {
            return false;
        }
        after_wide = c.width() == Some(2);
        true
    };
    grapheme.chars().filter(|c| is_kept(*c)).collect()
}

/// Shortens a text to at most `cells`, with `…` at the end if something is cut off.
pub fn shorten(text: &str, cells: usize) -> String {
    if width(text) <= cells {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        used += grapheme_width(grapheme);
        if used + 1 > cells {
            break;
        }
        short.push_str(grapheme);
    }
    if cells > 0 {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawable_width_is_sum_of_characters() {
        for (text, drawn) in [
            ("👩\u{200d}👩\u{200d}👧 👍🏽!", "👩👩👧 👍!"),
            ("❤\u{fe0f}\t1\u{fe0f}\u{20e3}", "❤    1\u{20e3}"),
            ("می\u{200c}خواهم क्\u{200d}ष 🇨🇭 e\u{301}", "می\u{200c}خواهم क्\u{200d}ष 🇨🇭 e\u{301}"),
        ] {
            assert_eq!(drawable(text), drawn);
            let cells: usize = drawn.chars().filter_map(UnicodeWidthChar::width).sum();
            assert_eq!(width(drawn), cells, "{drawn}");
        }
    }

    #[test]
    fn arabic_letters_have_a_cell_each() {
        assert_eq!(width("سلام دنیا"), 9);
        assert_eq!(shorten("سلام دنیا", 9), "سلام دنیا");
    }

    #[test]
    fn emoji_can_be_drawn_as_text() {
        let drawn = |text| drawn_grapheme(text, EmojiStyle::Text).into_owned();
        assert_eq!(drawn("👍"), ":+1:");
        assert_eq!(drawn("👩\u{200d}👩\u{200d}👧"), ":family_woman_woman_girl:");
        assert_eq!(drawn("你"), "你");
        assert_eq!(drawn("©"), "©");
    }

    #[test]
    fn shorten_keeps_text_that_fits() {
        assert_eq!(shorten("hello", 5), "hello");
        assert_eq!(shorten("hello!", 5), "hell…");
        assert_eq!(shorten("你好吗", 5), "你好…");
        assert_eq!(shorten("hello", 1), "…");
        assert_eq!(shorten("hello", 0), "");
    }
}
