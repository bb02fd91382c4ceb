//! The text of an input box, edited by graphemes.
//!
//! The widget edits by code points. Here every key that deletes or moves treats what the user sees as one
//! character as one: an emoji with a skin tone, a family, a flag, a letter with its accent. The cursor is never
//! inside of one.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::widgets::Widget;
use tui_textarea::{CursorMove, Input, TextArea, WrapMode};
use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};
use unicode_width::UnicodeWidthStr;

/// The longest text, in characters: 15 of the longest messages. Each key wraps the whole text, so this bounds
/// what a key costs. A position in it fits into a `u16`, as the widget needs.
pub const MAX_CHARACTERS: usize = 60_000;

/// The number of edits that can be undone.
const MAX_UNDO: usize = 500;

/// A text with a cursor, a selection and the history of its edits.
#[derive(Debug, Clone)]
pub struct Editor {
    area: TextArea<'static>,
}

/// A line and a column of the text, in characters.
type Place = (usize, usize);

impl Default for Editor {
    fn default() -> Self {
        Self::containing(vec![String::new()])
    }
}

impl Editor {
    /// Returns an editor with this text and the cursor at its end. Undo does not remove the text.
    pub fn with_text(text: &str) -> Self {
        let mut editor = Self::containing(text.split('\n').map(str::to_owned).collect());
        editor.area.move_cursor(CursorMove::Bottom);
        editor.area.move_cursor(CursorMove::End);
        editor
    }

    fn containing(lines: Vec<String>) -> Self {
        let mut area = TextArea::new(lines);
        // The terminal's own cursor marks the position.
        area.set_cursor_line_style(Style::new());
        area.set_cursor_style(Style::new());
        area.set_wrap_mode(WrapMode::WordOrGlyph);
        area.set_max_histories(MAX_UNDO);
        Self { area }
    }

    /// The text.
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// The lines of the text, at least one.
    pub fn lines(&self) -> &[String] {
        self.area.lines()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.area.is_empty()
    }

    /// The length of the text in characters.
    pub fn characters(&self) -> usize {
        self.lines().iter().map(|line| line.chars().count() + 1).sum::<usize>() - 1
    }

    /// Whether the cursor is in the first line.
    pub fn is_on_first_line(&self) -> bool {
        self.area.cursor().0 == 0
    }

    /// The text before the cursor in its line.
    pub fn before_cursor(&self) -> &str {
        let (row, column) = self.cursor();
        let line = self.line(row);
        line.get(..byte_offset(line, column)).unwrap_or_default()
    }

    /// Handles a key, with the editing keys of a shell. Returns whether the text changed.
    pub fn on_key(&mut self, key: KeyEvent) -> bool {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        match (key.code, control, alt) {
            (KeyCode::Backspace, false, false) | (KeyCode::Char('h'), true, false) => {
                let before = self.before(self.cursor());
                self.delete_to(before)
            }
            (KeyCode::Delete, false, false) | (KeyCode::Char('d'), true, false) => {
                let after = self.after(self.cursor());
                self.delete_to(after)
            }
            (KeyCode::Backspace, ..)
            | (KeyCode::Char('w'), true, false)
            | (KeyCode::Char('h'), false, true) => self.cut_to(CursorMove::WordBack),
            (KeyCode::Delete, ..) | (KeyCode::Char('d'), false, true) => {
                self.cut_to(CursorMove::WordForward)
            }
            (KeyCode::Char('u'), true, false) => self.cut_to(CursorMove::Head),
            (KeyCode::Char('k'), true, false) => self.cut_to(CursorMove::End),
            (KeyCode::Char('z'), true, false) => self.undo(),
            (KeyCode::Left, false, false) | (KeyCode::Char('b'), true, false) => {
                let before = self.before(self.cursor());
                self.move_to(before, key)
            }
            (KeyCode::Right, false, false) | (KeyCode::Char('f'), true, false) => {
                let after = self.after(self.cursor());
                self.move_to(after, key)
            }
            (KeyCode::Char(c), false, false) => self.insert(c.encode_utf8(&mut [0; 4])),
            // The widget would insert the letter of an unknown Ctrl chord.
            (KeyCode::Char(c), true, _) if !"aenpvxy".contains(c) => false,
            _ => {
                let changed = self.area.input(Input::from(key));
                self.leave_grapheme();
                changed
            }
        }
    }

    /// Inserts text at the cursor, in place of the selection. Returns whether the text changed.
    pub fn insert(&mut self, text: &str) -> bool {
        let changed = self.area.insert_str(text);
        // What was inserted may combine with what comes after it.
        let (row, column) = self.cursor();
        let line = self.line(row);
        if !is_boundary(line, column) {
            let after = self.after((row, column));
            self.jump(after);
        }
        changed
    }

    /// Replaces this many characters before the cursor, in one line.
    pub fn replace_before_cursor(&mut self, characters: usize, text: &str) {
        let (row, column) = self.cursor();
        self.area.cancel_selection();
        self.area.start_selection();
        self.jump((row, column.saturating_sub(characters)));
        self.insert(text);
    }

    /// Removes all text. Undo restores it.
    pub fn clear(&mut self) {
        self.area.select_all();
        self.area.cut();
    }

    /// Undoes the last edit. Returns whether there was one.
    pub fn undo(&mut self) -> bool {
        let undone = self.area.undo();
        self.leave_grapheme();
        undone
    }

    /// Whether there is an edit to undo.
    pub fn can_undo(&self) -> bool {
        self.area.clone().undo()
    }

    /// Puts the cursor where a click in the box hits the text.
    pub fn on_click(&mut self, row: u16, column: u16) {
        let row = usize::from(self.area.scroll_offset().0 + row);
        let (start, end) = self.screen_row(row);
        let line = self.line(start.0);
        let mut at = start.1;
        let mut right_edge = 0;
        for grapheme in slice(line, start.1, end).graphemes(true) {
            right_edge += cells(grapheme);
            if right_edge > usize::from(column) {
                break;
            }
            at += grapheme.chars().count();
        }
        self.area.cancel_selection();
        self.jump((start.0, at));
        self.leave_grapheme();
    }

    /// The number of rows of the text in a box of `width` cells, if they are not more than `most`, else `most`.
    pub fn height(&self, width: u16, most: u16) -> u16 {
        let (width, rows) = (usize::from(width.max(1)), usize::from(most));
        match self.lines() {
            // No character is wider than its bytes are many.
            [line] if line.len() < width => return most.min(1),
            lines if lines.len() >= rows => return most,
            _ => {}
        }
        // Only the widget knows how it wraps, and it reports only the row of its cursor. What is beyond `most`
        // rows does not matter.
        let visible = |line: &String| line.chars().take(width * rows).collect();
        let mut excerpt = Self::containing(self.lines().iter().map(visible).collect()).area;
        excerpt.move_cursor(CursorMove::Bottom);
        excerpt.move_cursor(CursorMove::End);
        let area =
            Rect { width: u16::try_from(width).unwrap_or(u16::MAX), height: 1, ..Rect::ZERO };
        (&excerpt).render(area, &mut Buffer::empty(area));
        u16::try_from(excerpt.screen_cursor().row + 1).map_or(most, |height| height.min(most))
    }

    /// The position of the cursor, when the box is drawn in `area`.
    pub fn cursor_position(&self, area: Rect) -> Option<Position> {
        let screen_row = self.area.screen_cursor().row;
        let row = u16::try_from(screen_row).ok()?.checked_sub(self.area.scroll_offset().0)?;
        let (start, _) = self.screen_row(screen_row);
        let (line, column) = self.cursor();
        let before = slice(self.line(line), start.1, column);
        let column = u16::try_from(before.graphemes(true).map(cells).sum::<usize>()).ok()?;
        let x = area.x + column.min(area.width.saturating_sub(1));
        let position = Position { x, y: area.y + row };
        area.contains(position).then_some(position)
    }

    /// Where a row on the screen starts, and the column in its line where it ends.
    fn screen_row(&self, row: usize) -> (Place, usize) {
        let start = self.area.screen_to_data(row, 0);
        let end = self.area.screen_to_data(row, usize::MAX);
        // The end of a row that goes on in the next one is the start of that.
        let goes_on = self.area.screen_to_data(row + 1, 0) == end;
        let end = if goes_on { self.before((end.0, end.1)) } else { (end.0, end.1) };
        ((start.0, start.1), end.1.max(start.1))
    }

    fn cursor(&self) -> Place {
        let cursor = self.area.cursor();
        (cursor.0, cursor.1)
    }

    fn line(&self, row: usize) -> &str {
        self.lines().get(row).map_or("", String::as_str)
    }

    /// The place one grapheme before another, or at the end of the previous line.
    fn before(&self, (row, column): Place) -> Place {
        if column == 0 {
            let Some(above) = row.checked_sub(1) else { return (0, 0) };
            return (above, self.line(above).chars().count());
        }
        let line = self.line(row);
        let mut at = GraphemeCursor::new(byte_offset(line, column), line.len(), true);
        let start = at.prev_boundary(line, 0).ok().flatten().unwrap_or(0);
        (row, line.get(..start).unwrap_or_default().chars().count())
    }

    /// The place one grapheme after another, or at the start of the next line.
    fn after(&self, (row, column): Place) -> Place {
        let line = self.line(row);
        let offset = byte_offset(line, column);
        if offset == line.len() {
            return if row + 1 < self.lines().len() { (row + 1, 0) } else { (row, column) };
        }
        let mut at = GraphemeCursor::new(offset, line.len(), true);
        let end = at.next_boundary(line, 0).ok().flatten().unwrap_or(line.len());
        (row, line.get(..end).unwrap_or_default().chars().count())
    }

    /// Moves the cursor. With Shift, the selection follows.
    fn move_to(&mut self, to: Place, key: KeyEvent) -> bool {
        if key.modifiers.contains(KeyModifiers::SHIFT) {
            if !self.area.is_selecting() {
                self.area.start_selection();
            }
        } else {
            self.area.cancel_selection();
        }
        self.jump(to);
        false
    }

    fn jump(&mut self, (row, column): Place) {
        let clamp = |position: usize| u16::try_from(position).unwrap_or(u16::MAX);
        self.area.move_cursor(CursorMove::Jump(clamp(row), clamp(column)));
    }

    /// Deletes the selection, or else the text up to a place.
    fn delete_to(&mut self, to: Place) -> bool {
        if self.area.selection_range().is_none_or(|(start, end)| start == end) {
            if to == self.cursor() {
                return false;
            }
            self.area.start_selection();
            self.jump(to);
        }
        self.area.delete_char()
    }

    /// Cuts the text up to where `to` leads; from the end of a line, the line break.
    fn cut_to(&mut self, to: CursorMove) -> bool {
        let from = self.cursor();
        self.area.cancel_selection();
        self.area.start_selection();
        self.area.move_cursor(to);
        self.leave_grapheme();
        if self.cursor() == from && to == CursorMove::End {
            let after = self.after(from);
            self.jump(after);
        }
        self.area.cut()
    }

    /// Moves the cursor to the start of the grapheme that it is in.
    fn leave_grapheme(&mut self) {
        let (row, column) = self.cursor();
        if !is_boundary(self.line(row), column) {
            let start = self.before((row, column));
            self.jump(start);
        }
    }
}

impl Widget for &Editor {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        (&self.area).render(area, buffer);
    }
}

/// The width of a grapheme on the screen.
fn cells(grapheme: &str) -> usize {
    if grapheme.contains(char::is_control) { 0 } else { grapheme.width() }
}

fn byte_offset(line: &str, column: usize) -> usize {
    line.char_indices().nth(column).map_or(line.len(), |(offset, _)| offset)
}

fn slice(line: &str, from: usize, to: usize) -> &str {
    line.get(byte_offset(line, from)..byte_offset(line, to)).unwrap_or_default()
}

fn is_boundary(line: &str, column: usize) -> bool {
    let offset = byte_offset(line, column);
    GraphemeCursor::new(offset, line.len(), true).is_boundary(line, 0).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tui::key::Chord;

    const CLUSTERS: [&str; 8] = [
        "👍🏽",
        "👩\u{200d}👩\u{200d}👧\u{200d}👦",
        "🇨🇭",
        "e\u{301}",
        "❤\u{fe0f}",
        "1\u{fe0f}\u{20e3}",
        "क्\u{200d}ष",
        "你",
    ];

    fn press(editor: &mut Editor, keys: &[&str]) {
        for key in keys {
            editor.on_key(key.parse::<Chord>().unwrap().to_event());
        }
    }

    fn edited(text: &str, keys: &[&str]) -> String {
        let mut editor = Editor::with_text(text);
        press(&mut editor, keys);
        editor.text()
    }

    #[test]
    fn keys_treat_a_grapheme_as_one_character() {
        for cluster in CLUSTERS {
            let text = format!("a{cluster}b");
            assert_eq!(edited(&text, &["left", "backspace"]), "ab", "{cluster}");
            assert_eq!(edited(&text, &["home", "right", "delete"]), "ab", "{cluster}");
            assert_eq!(edited(&text, &["left", "left", "x"]), format!("ax{cluster}b"));
            assert_eq!(edited(&text, &["home", "right", "right", "x"]), format!("a{cluster}xb"));
            assert_eq!(edited(&format!("go {cluster} "), &["ctrl-w"]), "go ", "{cluster}");
            assert_eq!(edited(cluster, &["shift-left", "x"]), "x", "{cluster}");
            assert_eq!(edited(cluster, &["backspace", "ctrl-z"]), cluster);
        }
    }

    #[test]
    fn line_keys_cut_up_to_the_ends_of_the_line() {
        assert_eq!(edited("one\ntwo", &["ctrl-u"]), "one\n");
        assert_eq!(edited("one\ntwo", &["home", "ctrl-u"]), "one\ntwo");
        assert_eq!(edited("one\ntwo", &["home", "ctrl-k"]), "one\n");
        assert_eq!(edited("one\ntwo", &["up", "end", "ctrl-k"]), "onetwo");
        assert_eq!(edited("one two", &["ctrl-w", "ctrl-y"]), "one two");
        assert_eq!(edited("", &["backspace", "delete", "ctrl-w", "ctrl-k"]), "");
    }

    #[test]
    fn undo_restores_a_cleared_text_and_keeps_the_first_one() {
        let mut editor = Editor::with_text("draft");
        assert!(!editor.can_undo());
        editor.insert("s");
        editor.clear();
        assert!(editor.is_empty());
        assert!(editor.undo());
        assert_eq!(editor.text(), "drafts");
        assert!(editor.undo());
        assert!(!editor.undo());
        assert_eq!(editor.text(), "draft");
    }

    #[test]
    fn cursor_is_drawn_behind_the_cells_of_a_cluster() {
        let area = Rect::new(0, 0, 20, 3);
        for cluster in CLUSTERS {
            let mut editor = Editor::with_text(&format!("a{cluster}"));
            let mut buffer = Buffer::empty(area);
            (&editor).render(area, &mut buffer);
            let x = 1 + u16::try_from(cluster.width()).unwrap();
            assert_eq!(editor.cursor_position(area), Some(Position { x, y: 0 }), "{cluster}");
            editor.on_click(0, x - 1);
            assert_eq!(editor.cursor(), (0, 1), "{cluster}");
            editor.on_click(0, 19);
            assert_eq!(editor.cursor(), (0, 1 + cluster.chars().count()), "{cluster}");
        }
    }

    #[test]
    fn height_is_that_of_the_wrapped_text_up_to_the_maximum() {
        for (text, height) in
            [("", 1), ("abcd", 1), ("abcdefgh", 2), ("one two", 2), ("a\nb\nc", 3), ("你好吗", 2)]
        {
            assert_eq!(Editor::with_text(text).height(4, 5), height, "{text}");
        }
        assert_eq!(Editor::with_text(&"word ".repeat(10_000)).height(80, 12), 12);
        assert_eq!(Editor::with_text(&"\n".repeat(10_000)).height(80, 12), 12);
    }

    proptest! {
        #[test]
        fn cursor_is_never_inside_of_a_grapheme(
            text in proptest::collection::vec(
                prop_oneof![proptest::sample::select(CLUSTERS.to_vec()), Just("a"), Just(" "), Just("\n")],
                0..12,
            ),
            keys in proptest::collection::vec(proptest::sample::select(vec![
                "left", "right", "up", "down", "home", "end", "backspace", "delete", "ctrl-w", "alt-d",
                "ctrl-left", "ctrl-right", "ctrl-z", "shift-left", "shift-up", "x", "ctrl-k", "ctrl-u", "ctrl-y",
            ]), 0..30),
            width in 1..12_u16,
        ) {
            let mut editor = Editor::with_text(&text.concat());
            let area = Rect::new(0, 0, width, 3);
            for key in keys {
                (&editor).render(area, &mut Buffer::empty(area));
                press(&mut editor, &[key]);
                let (row, column) = editor.cursor();
                prop_assert!(is_boundary(editor.line(row), column), "{key}: {row}:{column} in {:?}", editor.lines());
                (&editor).render(area, &mut Buffer::empty(area));
                prop_assert!(editor.cursor_position(area).is_some());
            }
        }

        #[test]
        fn backspace_deletes_exactly_one_grapheme(text in "[a-z👍🏽e\u{301}👩\u{200d}👧🇨🇭 ]{1,20}") {
            let graphemes: Vec<&str> = text.graphemes(true).collect();
            let mut editor = Editor::with_text(&text);
            press(&mut editor, &["backspace"]);
            prop_assert_eq!(editor.text(), graphemes.split_last().unwrap().1.concat());
        }
    }
}
