//! Wraps text to a width: between words where possible, else between graphemes.
//!
//! Widths are in terminal cells: wide characters and emoji take two, combining marks none. Variation
//! selectors are dropped, because terminals disagree about the width of the character before them.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A tab is drawn as these spaces.
const TAB: &str = "    ";

/// Wraps a text to lines of at most `width` cells. Returns at least one line. A word longer than a line is
/// split; a grapheme wider than `width` is dropped.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        wrap_paragraph(&drawable(paragraph), width.max(1), &mut lines);
    }
    lines
}

/// Wraps a text at spaces only. A word is split only if it is longer than a line, so that a fingerprint, which
/// users compare, stays in one piece.
pub fn wrap_words(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in drawable(text).split(' ') {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.extend(wrap(word, width)),
        }
    }
    lines
}

/// Removes what terminals draw differently: variation selectors, and the joiners and skin tones that combine
/// emoji. Many terminals draw a combined emoji as its parts, which would shift everything to its right.
pub fn drawable(text: &str) -> String {
    let mut drawn = String::with_capacity(text.len());
    let mut after_wide = false;
    for c in text.chars() {
        match c {
            '\t' => drawn.push_str(TAB),
            // Variation selectors: text or emoji presentation.
            '\u{fe0e}' | '\u{fe0f}' => continue,
            // Zero-width joiner and skin tones.
            '\u{200d}' | '\u{1f3fb}'..='\u{1f3ff}' if after_wide => continue,
            c => drawn.push(c),
        }
        after_wide = c.width() == Some(2);
    }
    drawn
}

/// Shortens a text to at most `width` cells, with `…` at the end if something is cut off.
pub fn shorten(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        used += grapheme.width();
        if used + 1 > width {
            break;
        }
        short.push_str(grapheme);
    }
    if width > 0 {
        short.push('…');
    }
    short
}

fn wrap_paragraph(paragraph: &str, width: usize, lines: &mut Vec<String>) {
    let mut line = String::new();
    let mut used = 0;
    for word in paragraph.split_word_bounds() {
        let cells = word.width();
        if used + cells > width && word.trim().is_empty() {
            // White space at a line break is dropped.
            if used > 0 {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            continue;
        }
        if used + cells > width && used > 0 && cells <= width && can_break_before(word) {
            lines.push(line.trim_end().to_owned());
            line.clear();
            used = 0;
        }
        for grapheme in word.graphemes(true) {
            let cells = grapheme.width();
            if cells > width {
                continue;
            }
            if used + cells > width {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push_str(grapheme);
            used += cells;
        }
    }
    lines.push(line);
}

/// Whether a line may be broken before `word`. Punctuation stays with the word before it.
fn can_break_before(word: &str) -> bool {
    word.chars()
        .next()
        .is_some_and(|c| c.is_alphanumeric() || !c.is_ascii() || "([{<\"'#@./~-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrap_breaks_between_words_then_graphemes() {
        let cases: [(&str, usize, &[&str]); 9] = [
            ("", 5, &[""]),
            ("one two three", 8, &["one two", "three"]),
            ("one\n\ntwo", 8, &["one", "", "two"]),
            ("abcdefghij", 4, &["abcd", "efgh", "ij"]),
            ("ab abcdefghij", 4, &["ab a", "bcde", "fghi", "j"]),
            ("你好世界", 5, &["你好", "世界"]),
            ("👩\u{200d}👧 hi", 4, &["👩👧", "hi"]),
            ("你", 1, &[""]),
            ("a\tb", 80, &["a    b"]),
        ];
        for (text, width, lines) in cases {
            assert_eq!(wrap(text, width), lines, "{text:?} in {width}");
        }
    }

    #[test]
    fn drawable_width_is_sum_of_characters() {
        for (text, drawn) in [
            ("👩\u{200d}👩\u{200d}👧 👍🏽!", "👩👩👧 👍!"),
            ("❤\u{fe0f}\t1\u{fe0f}\u{20e3}", "❤    1\u{20e3}"),
            ("می\u{200c}خواهم क्\u{200d}ष 🇨🇭 e\u{301}", "می\u{200c}خواهم क्\u{200d}ष 🇨🇭 e\u{301}"),
        ] {
            assert_eq!(drawable(text), drawn);
            let cells: usize = drawn.chars().filter_map(UnicodeWidthChar::width).sum();
            assert_eq!(drawn.width(), cells, "{drawn}");
        }
    }

    #[test]
    fn shorten_keeps_text_that_fits() {
        assert_eq!(shorten("hello", 5), "hello");
        assert_eq!(shorten("hello!", 5), "hell…");
        assert_eq!(shorten("你好吗", 5), "你好…");
        assert_eq!(shorten("hello", 1), "…");
        assert_eq!(shorten("hello", 0), "");
    }

    proptest::proptest! {
        #[test]
        fn wrap_respects_width_and_keeps_all_text(text in "[a-z你👍é \n\t.,]{0,200}", width in 2..40_usize) {
            let lines = wrap(&text, width);
            for line in &lines {
                proptest::prop_assert!(line.width() <= width, "{:?}", line);
            }
            let visible = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            proptest::prop_assert_eq!(visible(&lines.concat()), visible(&text));
        }
    }
}
