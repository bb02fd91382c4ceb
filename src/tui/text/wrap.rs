//! Wraps text to a width: between words where possible, else between graphemes.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

use super::cells::{EmojiStyle, drawable, drawn_grapheme, grapheme_width, width};
use super::link::Link;
use super::markup::{self, Face, Format, Lead, Paragraph};

/// What is drawn in place of the `>` of a quote, and on the rows that it continues on.
const QUOTE_BAR: &str = "┃ ";

/// A row of a wrapped text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TextRow {
    /// Its parts, from left to right.
    pub segments: Vec<Segment>,
}

/// A part of a row that is drawn in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// What is drawn.
    pub drawn: String,
    /// The bytes of the original text that it stands for.
    pub source: Range<usize>,
    /// Whether something else than the original is drawn, such as spaces for a tab: it is selected as a whole.
    pub is_replaced: bool,
    /// How it is drawn.
    pub format: Format,
}

impl Segment {
    /// Cell by cell: the first cell of each grapheme, its width, and the bytes that it stands for.
    fn graphemes(&self) -> impl Iterator<Item = (usize, Range<usize>)> {
        let whole = self.is_replaced.then(|| (width(&self.drawn), self.source.clone()));
        let start = self.source.start;
        let each = self.drawn.grapheme_indices(true).filter(|_| !self.is_replaced).map(
            move |(at, grapheme)| {
                let at = start + at;
                (grapheme_width(grapheme), at..at + grapheme.len())
            },
        );
        whole.into_iter().chain(each)
    }
}

impl TextRow {
    /// The number of cells that the row takes.
    pub fn width(&self) -> usize {
        self.segments.iter().map(|segment| width(&segment.drawn)).sum()
    }

    /// The bytes of the original text that the row stands for.
    pub fn source(&self) -> Range<usize> {
        let start = self.segments.first().map_or(0, |segment| segment.source.start);
        start..self.segments.last().map_or(start, |segment| segment.source.end)
    }

    /// The byte of the original text at a cell: of a character if the cell is in its left half, else the one
    /// after it.
    pub fn offset_at(&self, cell: usize) -> usize {
        let mut x = 0;
        for (cells, source) in self.segments.iter().flat_map(Segment::graphemes) {
            if cell < x + cells {
                return if cell - x < cells.div_ceil(2) { source.start } else { source.end };
            }
            x += cells;
        }
        self.source().end
    }

    /// The cells in which a part of the original text is drawn. A row has it in one piece.
    pub fn cells_of(&self, part: &Range<usize>) -> Option<Range<usize>> {
        let mut found: Option<Range<usize>> = None;
        let mut x = 0;
        for (cells, source) in self.segments.iter().flat_map(Segment::graphemes) {
            if source.start < part.end && part.start < source.end {
                let start = found.map_or(x, |found| found.start);
                found = Some(start..x + cells);
            }
            x += cells;
        }
        found
    }

    /// The links, with the cells in which they are drawn.
    pub fn links(&self) -> impl Iterator<Item = (Range<usize>, &Link)> {
        let mut x = 0;
        self.segments.iter().filter_map(move |segment| {
            let start = x;
            x += width(&segment.drawn);
            segment.format.link.as_ref().map(|link| (start..x, link))
        })
    }
}

/// Wraps a text without Markdown to lines of at most `cells`. Returns at least one line. A word longer than a
/// line is split; a grapheme wider than a line is dropped.
pub fn wrap(text: &str, cells: usize) -> Vec<String> {
    let rows = wrap_markup(text, &markup::plain(text), cells, EmojiStyle::Colour);
    let line = |row: TextRow| row.segments.into_iter().map(|segment| segment.drawn).collect();
    rows.into_iter().map(line).collect()
}

/// Wraps a text at spaces only. A word is split only if it is longer than a line, so that a fingerprint, which
/// users compare, stays in one piece.
pub fn wrap_words(text: &str, cells: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in drawable(text).split(' ') {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(word) <= cells => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.extend(wrap(word, cells)),
        }
    }
    lines
}

/// Wraps the lines of a text to rows of at most `cells`. Returns at least one row a line.
pub fn wrap_markup(
    text: &str,
    paragraphs: &[Paragraph],
    cells: usize,
    emoji: EmojiStyle,
) -> Vec<TextRow> {
    let mut rows = Vec::new();
    for paragraph in paragraphs {
        Wrapper::new(text, paragraph, cells.max(1), emoji).wrap(&mut rows);
    }
    rows
}

/// Wraps one line.
struct Wrapper<'t> {
    text: &'t str,
    paragraph: &'t Paragraph,
    /// The run that the next character belongs to.
    run: usize,
    max: usize,
    emoji: EmojiStyle,
    /// What the rows after the first one begin with.
    indent: String,
    row: TextRow,
    used: usize,
    /// Whether the row has more than its indentation.
    has_text: bool,
    /// White space after the last word, which is dropped if the row ends here.
    spaces: Range<usize>,
}

impl<'t> Wrapper<'t> {
    fn new(text: &'t str, paragraph: &'t Paragraph, max: usize, emoji: EmojiStyle) -> Self {
        let start = paragraph.range.start;
        let indent = match paragraph.lead {
            Lead::None | Lead::Code => String::new(),
            Lead::Quote(_) => QUOTE_BAR.to_owned(),
            Lead::Item(mark) => {
                " ".repeat(width(text.get(start..start + mark).unwrap_or_default()))
            }
        };
        let indent = if width(&indent) * 2 > max { String::new() } else { indent };
        let spaces = start..start;
        let row = TextRow::default();
        Self { text, paragraph, run: 0, max, emoji, indent, row, used: 0, has_text: false, spaces }
    }

    fn wrap(mut self, rows: &mut Vec<TextRow>) {
        let Range { mut start, end } = self.paragraph.range;
        if let Lead::Quote(bar) = self.paragraph.lead
            && !self.indent.is_empty()
        {
            self.push(start..start + bar, QUOTE_BAR, true);
            start += bar;
            self.has_text = false;
        }
        self.spaces = start..start;
        let text = self.text.get(start..end).unwrap_or_default();
        for (at, word) in text.split_word_bound_indices() {
            let range = start + at..start + at + word.len();
            if self.paragraph.lead != Lead::Code && word.trim().is_empty() {
                self.spaces.end = range.end;
            } else {
                self.add_word(range.clone(), word, rows);
                self.spaces = range.end..range.end;
            }
        }
        if self.row.segments.is_empty() {
            // An empty line can be selected, too.
            self.push(start..start, "", false);
        }
        rows.push(self.row);
    }

    fn add_word(&mut self, range: Range<usize>, word: &str, rows: &mut Vec<TextRow>) {
        let spaces = self.spaces.clone();
        let cells = self.cells(&range);
        if self.used + self.cells(&spaces) + cells <= self.max {
            self.add(spaces, rows);
            return self.add(range, rows);
        }
        let fits_alone = width(&self.indent) + cells <= self.max;
        if fits_alone && can_break_before(word) {
            if self.has_text {
                self.end_row(range.start, rows);
            }
        } else if self.used + self.cells(&spaces) < self.max {
            self.add(spaces, rows);
        }
        self.add(range, rows);
    }

    /// The number of cells that a part of the text takes.
    fn cells(&self, range: &Range<usize>) -> usize {
        let text = self.text.get(range.clone()).unwrap_or_default();
        if is_simple(text) {
            return text.len();
        }
        let graphemes = text.graphemes(true);
        graphemes.map(|grapheme| width(&drawn_grapheme(grapheme, self.emoji))).sum()
    }

    /// Adds a part of the text, split between graphemes where it does not fit.
    fn add(&mut self, range: Range<usize>, rows: &mut Vec<TextRow>) {
        if range.is_empty() {
            return;
        }
        let text = self.text.get(range.clone()).unwrap_or_default();
        if is_simple(text)
            && self.used + text.len() <= self.max
            && range.end <= self.run_end(range.start)
        {
            return self.push(range, text, false);
        }
        let emoji = self.emoji;
        for (at, grapheme) in text.grapheme_indices(true) {
            let source = range.start + at..range.start + at + grapheme.len();
            let drawn = drawn_grapheme(grapheme, emoji);
            let is_replaced = drawn != grapheme;
            for part in drawn.graphemes(true) {
                let cells = grapheme_width(part);
                if self.used + cells > self.max && self.has_text {
                    self.end_row(source.start, rows);
                }
                if self.used + cells <= self.max {
                    self.push(source.clone(), part, is_replaced);
                }
            }
        }
    }

    /// The end of the run that the byte at `at` belongs to.
    fn run_end(&mut self, at: usize) -> usize {
        while let Some(run) = self.paragraph.runs.get(self.run) {
            if at < run.range.end {
                return run.range.end;
            }
            self.run += 1;
        }
        self.paragraph.range.end
    }

    fn push(&mut self, source: Range<usize>, drawn: &str, is_replaced: bool) {
        self.run_end(source.start);
        let runs = &self.paragraph.runs;
        let format = runs.get(self.run).or_else(|| runs.last()).map(|run| &run.format);
        self.used += width(drawn);
        self.has_text = true;
        if let Some(last) = self.row.segments.last_mut()
            && Some(&last.format) == format
            && last.is_replaced == is_replaced
            && (last.source.end == source.start || (is_replaced && last.source == source))
            && (!is_replaced || last.source == source)
        {
            last.source.end = source.end;
            last.drawn.push_str(drawn);
            return;
        }
        let format = format.cloned().unwrap_or_default();
        self.row.segments.push(Segment { drawn: drawn.to_owned(), source, is_replaced, format });
    }

    /// Begins the next row, whose text is that from byte `at` on.
    fn end_row(&mut self, at: usize, rows: &mut Vec<TextRow>) {
        rows.push(std::mem::take(&mut self.row));
        self.used = width(&self.indent);
        self.has_text = false;
        if !self.indent.is_empty() {
            let face = if matches!(self.paragraph.lead, Lead::Quote(_)) {
                Face::Quote
            } else {
                Face::Text
            };
            let format = Format { face, ..Format::default() };
            let drawn = self.indent.clone();
            self.row.segments.push(Segment { drawn, source: at..at, is_replaced: true, format });
        }
    }
}

/// Whether each byte is drawn as it is in one cell.
fn is_simple(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
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
        let cases: [(&str, usize, &[&str]); 11] = [
            ("", 5, &[""]),
            ("one two three", 8, &["one two", "three"]),
            ("one\n\ntwo", 8, &["one", "", "two"]),
            ("  one two", 8, &["  one", "two"]),
            ("abcdefghij", 4, &["abcd", "efgh", "ij"]),
            ("ab abcdefghij", 4, &["ab a", "bcde", "fghi", "j"]),
            ("你好世界", 5, &["你好", "世界"]),
            ("👩\u{200d}👧 hi", 4, &["👩👧", "hi"]),
            ("你", 1, &[""]),
            ("a\tb", 80, &["a    b"]),
            ("سلام دنیا", 9, &["سلام دنیا"]),
        ];
        for (text, width, lines) in cases {
            assert_eq!(wrap(text, width), lines, "{text:?} in {width}");
        }
    }

    fn rows(text: &str, cells: usize) -> Vec<TextRow> {
        wrap_markup(text, &markup::parse(text, |_| None), cells, EmojiStyle::Colour)
    }

    fn drawn(row: &TextRow) -> String {
        row.segments.iter().map(|segment| segment.drawn.as_str()).collect()
    }

    #[test]
    fn quotes_and_list_items_continue_indented() {
        let lines = |text, cells| rows(text, cells).iter().map(drawn).collect::<Vec<_>>();
        assert_eq!(lines("> one two\nthree", 7), ["┃ one", "┃ two", "three"]);
        assert_eq!(lines("10. one two", 8), ["10. one", "    two"]);
        assert_eq!(lines("```\n  a   b\n```", 6), ["```", "  a   ", "b", "```"]);
    }

    #[test]
    fn cells_map_to_the_original_text() {
        let text = "> a\tb 👍🏽 *c* end";
        let row = &rows(text, 80)[0];
        assert_eq!(drawn(row), "┃ a    b 👍 *c* end");
        for part in ["a", "b", "👍🏽", "c", "end"] {
            let at = text.find(part).unwrap();
            let cells = row.cells_of(&(at..at + part.len())).unwrap();
            assert_eq!(row.offset_at(cells.start), at, "{part}");
        }
        assert_eq!(row.offset_at(100), text.len());
        assert_eq!(row.cells_of(&(0..text.len())), Some(0..row.width()));
    }

    #[test]
    fn link_over_several_rows_is_one_link() {
        let rows = rows("see https://example.org/long", 12);
        let links: Vec<_> = rows.iter().flat_map(TextRow::links).collect();
        assert!(links.len() > 1);
        assert!(links.iter().all(|(_, link)| link.as_str() == "https://example.org/long"));
    }

    proptest::proptest! {
        #[test]
        fn wrap_respects_width_and_keeps_all_text(
            text in "[a-z你👍é \n\t.,*`>_ل-]{0,200}",
            cells in 2..40_usize,
        ) {
            let visible = |text: &str| {
                text.chars().filter(|c| !c.is_whitespace()).collect::<String>()
            };
            let mut shown = String::new();
            let mut end = 0;
            for row in rows(&text, cells) {
                proptest::prop_assert!(row.width() <= cells, "{:?}", row);
                for segment in row.segments {
                    proptest::prop_assert!(segment.source.start >= end, "in order");
                    shown.push_str(text.get(segment.source.clone()).unwrap());
                    end = segment.source.end;
                }
            }
            proptest::prop_assert_eq!(visible(&shown), visible(&text));
        }
    }
}
