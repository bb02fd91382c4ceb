//! Turns cells into the bytes of one frame.
//!
//! ratatui's own backend writes the cells that differ from the last frame and trusts that the terminal gives
//! each character the width that it has in the Unicode tables. Terminals do not agree about emoji sequences,
//! flags, ligatures and marks: what follows such a character lands in another column, and the next frame does
//! not overwrite it. This backend therefore remembers the screen, moves the cursor explicitly after such a
//! character, and erases and rewrites a whole row that has or had one. What is visible is then always what a
//! redraw from scratch would show.
//!
//! A frame is collected in memory, to be written at once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::rc::Rc;

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::style::{Attribute, ContentStyle, SetAttribute, SetStyle};
use crossterm::terminal::{BeginSynchronizedUpdate, Clear, ClearType as CrosstermClear};
use crossterm::terminal::{EndSynchronizedUpdate, WindowSize as CrosstermWindowSize};
use crossterm::{queue, terminal};
use ratatui::backend::{Backend, ClearType, WindowSize};
use ratatui::buffer::{Cell, CellWidth as _};
use ratatui::layout::{Position, Size};
use ratatui::prelude::IntoCrossterm as _;
use ratatui::style::{Color, Style};
use unicode_width::UnicodeWidthChar as _;

use super::link::{CLOSE_LINK, PlacedLink, open_link};

/// The screen as the terminal shows it, and the bytes of the frame that is drawn.
#[derive(Debug, Default)]
pub struct FrameBackend {
    output: Vec<u8>,
    /// The rows that the terminal shows; shorter than the screen where nothing was drawn yet.
    rows: Vec<Vec<Cell>>,
    /// The links that the terminal shows.
    shown_links: Vec<PlacedLink>,
    /// The links of the frame that is drawn.
    links: Rc<RefCell<Vec<PlacedLink>>>,
    /// Where the cursor is visible; `None` if it is hidden.
    cursor: Option<Position>,
    shown_cursor: Option<Position>,
}

impl FrameBackend {
    /// The links of the next frame.
    pub fn links(&self) -> Rc<RefCell<Vec<PlacedLink>>> {
        Rc::clone(&self.links)
    }

    /// The bytes of the frame, with the marks that make a terminal show it at once. Empty if nothing changed.
    ///
    /// # Errors
    /// Never in practice: bytes are added to memory.
    pub fn take_frame(&mut self) -> io::Result<Vec<u8>> {
        if self.output.is_empty() && self.cursor == self.shown_cursor {
            return Ok(Vec::new());
        }
        let mut frame = Vec::with_capacity(self.output.len() + 64);
        queue!(frame, BeginSynchronizedUpdate, Hide)?;
        frame.append(&mut self.output);
        if let Some(Position { x, y }) = self.cursor {
            queue!(frame, MoveTo(x, y), Show)?;
        }
        queue!(frame, EndSynchronizedUpdate)?;
        self.shown_cursor = self.cursor;
        Ok(frame)
    }

    /// Takes the changes over into `rows`. Returns the columns that changed, by row.
    fn apply<'a>(
        &mut self,
        content: impl Iterator<Item = (u16, u16, &'a Cell)>,
    ) -> BTreeMap<u16, ChangedRow> {
        let mut changed: BTreeMap<u16, ChangedRow> = BTreeMap::new();
        for (x, y, cell) in content {
            let (column, row) = (usize::from(x), usize::from(y));
            if self.rows.len() <= row {
                self.rows.resize_with(row + 1, Vec::new);
            }
            let Some(cells) = self.rows.get_mut(row) else { continue };
            let change = changed.entry(y).or_insert_with(|| ChangedRow {
                rewrite: cells.iter().any(|cell| !has_certain_width(cell.symbol())),
                columns: Vec::new(),
            });
            let end = column + usize::from(cell.cell_width().max(1));
            if cells.len() < end {
                cells.resize(end, Cell::EMPTY);
            }
            change.rewrite |= !has_certain_width(cell.symbol());
            change.columns.push(x);
            // ratatui does not send the cells that a wide character covers.
            for covered in cells.get_mut(column + 1..end).into_iter().flatten() {
                covered.reset();
            }
            if let Some(place) = cells.get_mut(column) {
                place.clone_from(cell);
            }
        }
        changed
    }

    /// Adds the rows whose links changed: they are rewritten.
    fn apply_links(&mut self, changed: &mut BTreeMap<u16, ChangedRow>) {
        let links = self.links.borrow();
        let added = links.iter().filter(|link| !self.shown_links.contains(link));
        let removed = self.shown_links.iter().filter(|link| !links.contains(link));
        for y in added.chain(removed).flat_map(|(area, _)| area.top()..area.bottom()) {
            changed.entry(y).or_default().rewrite = true;
        }
        self.shown_links.clone_from(&links);
    }
}

/// What changed in a row.
#[derive(Debug, Default)]
struct ChangedRow {
    /// Whether the whole row has to be rewritten.
    rewrite: bool,
    columns: Vec<u16>,
}

/// Whether all terminals give this character the same width, which is the one of the Unicode tables.
fn has_certain_width(symbol: &str) -> bool {
    let mut chars = symbol.chars();
    let (Some(c), None) = (chars.next(), chars.next()) else { return symbol.is_empty() };
    let is_alphabetic = matches!(c,
        ' '..='~' | '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{24f}' // Latin
        | '\u{370}'..='\u{482}' | '\u{48a}'..='\u{52f}' // Greek, Cyrillic
    );
    // Punctuation, arrows, mathematics, box drawing, shapes; not those that are emoji, too.
    let is_symbol = matches!(c, '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{25ff}' | '✓')
        && c.width() == Some(1);
    let is_east_asian = matches!(c,
        '\u{3001}'..='\u{3029}' | '\u{3041}'..='\u{3096}' | '\u{30a0}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{ff01}'..='\u{ff60}'
    );
    is_alphabetic || is_symbol || is_east_asian
}

/// Writes cells, keeping track of the cursor, the style and the link.
struct Writer<'frame> {
    output: &'frame mut Vec<u8>,
    links: &'frame [PlacedLink],
    /// Where the cursor is, if that is certain.
    at: Option<(u16, u16)>,
    style: Style,
    link: Option<&'frame PlacedLink>,
}

impl Writer<'_> {
    fn write(&mut self, x: u16, y: u16, cell: &Cell) -> io::Result<()> {
        if self.at != Some((x, y)) {
            queue!(self.output, MoveTo(x, y))?;
        }
        self.set_style(visible_style(cell))?;
        let link = self.links.iter().find(|(area, _)| area.contains(Position { x, y }));
        if link != self.link {
            let sequence = link.and_then(|(_, url)| open_link(url));
            self.output.write_all(sequence.as_deref().unwrap_or(CLOSE_LINK).as_bytes())?;
            self.link = link;
        }
        self.output.write_all(cell.symbol().as_bytes())?;
        self.at = has_certain_width(cell.symbol()).then(|| (x + cell.cell_width().max(1), y));
        Ok(())
    }

    fn set_style(&mut self, style: Style) -> io::Result<()> {
        if self.style != style {
            self.style = style;
            let style: ContentStyle = style.into_crossterm();
            queue!(self.output, SetAttribute(Attribute::Reset), SetStyle(style))?;
        }
        Ok(())
    }

    /// Erases the row and writes all of it that is not blank.
    fn rewrite_row(&mut self, y: u16, cells: &[Cell]) -> io::Result<()> {
        self.set_style(Style::default())?;
        queue!(self.output, MoveTo(0, y), Clear(CrosstermClear::CurrentLine))?;
        self.at = Some((0, y));
        let mut next = 0;
        for (x, cell) in (0..).zip(cells) {
            // The cells behind a wide character are covered by it.
            if x >= next {
                next = x + cell.cell_width().max(1);
                if *cell != Cell::EMPTY {
                    self.write(x, y, cell)?;
                }
            }
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.set_style(Style::default())?;
        if self.link.is_some() {
            self.output.write_all(CLOSE_LINK.as_bytes())?;
        }
        Ok(())
    }
}

/// The style of a cell without what is off.
fn visible_style(cell: &Cell) -> Style {
    let colour = |colour: Color| (colour != Color::Reset).then_some(colour);
    Style {
        fg: colour(cell.fg),
        bg: colour(cell.bg),
        add_modifier: cell.modifier,
        ..Style::default()
    }
}

impl Backend for FrameBackend {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut changed = self.apply(content);
        self.apply_links(&mut changed);
        let Self { output, rows, shown_links, .. } = self;
        let mut writer =
            Writer { output, links: shown_links, at: None, style: Style::default(), link: None };
        for (y, ChangedRow { rewrite, columns }) in changed {
            let Some(cells) = rows.get(usize::from(y)) else { continue };
            if rewrite {
                writer.rewrite_row(y, cells)?;
                continue;
            }
            for x in columns {
                cells.get(usize::from(x)).map_or(Ok(()), |cell| writer.write(x, y, cell))?;
            }
        }
        writer.finish()
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.cursor = None;
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        // ratatui sets the position next.
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(self.cursor.unwrap_or_default())
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.cursor = Some(position.into());
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.clear_region(ClearType::All)
    }

    /// Clears the screen. ratatui clears parts of it only for screens that are not full.
    fn clear_region(&mut self, _region: ClearType) -> io::Result<()> {
        self.rows.clear();
        self.shown_links.clear();
        self.output.clear();
        queue!(self.output, SetAttribute(Attribute::Reset), Clear(CrosstermClear::All))
    }

    fn size(&self) -> io::Result<Size> {
        let (width, height) = terminal::size()?;
        Ok(Size { width, height })
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        let CrosstermWindowSize { columns, rows, width, height } = terminal::window_size()?;
        Ok(WindowSize {
            columns_rows: Size { width: columns, height: rows },
            pixels: Size { width, height },
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;
    use ratatui::style::Stylize as _;
    use ratatui::widgets::Paragraph;
    use ratatui::{Terminal, TerminalOptions, Viewport};
    use unicode_segmentation::UnicodeSegmentation as _;

    use super::*;
    use crate::tui::text::find_links;

    const SIZE: Size = Size { width: 20, height: 3 };

    /// Draws a frame; returns its text.
    fn draw(screen: &mut Terminal<FrameBackend>, lines: &str) -> String {
        screen.draw(|frame| frame.render_widget(Paragraph::new(lines), frame.area())).unwrap();
        String::from_utf8(screen.backend_mut().take_frame().unwrap()).unwrap()
    }

    fn screen() -> Terminal<FrameBackend> {
        let viewport = Viewport::Fixed(Rect::from((Position::ORIGIN, SIZE)));
        Terminal::with_options(FrameBackend::default(), TerminalOptions { viewport }).unwrap()
    }

    #[test]
    fn frame_is_one_synchronized_update_and_empty_if_nothing_changed() {
        let mut screen = screen();
        let frame = draw(&mut screen, "one\ntwo");
        assert_eq!(frame, "\x1b[?2026h\x1b[?25l\x1b[1;1Hone\x1b[2;1Htwo\x1b[?2026l");
        assert_eq!(draw(&mut screen, "one\ntwo"), "");
        let frame = draw(&mut screen, "one\ntwin");
        assert_eq!(frame, "\x1b[?2026h\x1b[?25l\x1b[2;3Hin\x1b[?2026l");
    }

    #[test]
    fn cursor_alone_is_a_frame() {
        let mut screen = screen();
        let mut at = |x| {
            screen.draw(|frame| frame.set_cursor_position((x, 0))).unwrap();
            String::from_utf8(screen.backend_mut().take_frame().unwrap()).unwrap()
        };
        assert!(at(3).ends_with("\x1b[1;4H\x1b[?25h\x1b[?2026l"));
        assert_eq!(at(3), "");
        assert!(at(4).contains("\x1b[1;5H"));
    }

    #[test]
    fn row_with_an_uncertain_character_is_rewritten_when_it_changes() {
        let mut screen = screen();
        for uncertain in ["👩\u{200d}👧", "🇨🇭", "❤\u{fe0f}", "سلام", "שָׁ", "e\u{301}", "⌚", "ﾊﾟ"]
        {
            let written = |frame: &str, x: usize| {
                frame.contains(&format!("\x1b[2;1H\x1b[2Ka{}", uncertain.chars().next().unwrap()))
                    && frame.contains(&format!("\x1b[2;{}Hz", x + 2))
            };
            let cells = uncertain.graphemes(true).map(|part| usize::from(part.cell_width())).sum();
            draw(&mut screen, "");
            let frame = draw(&mut screen, &format!("one\na{uncertain}z"));
            assert!(written(&frame, cells), "{frame:?}");
            let frame = draw(&mut screen, &format!("one\na{uncertain}z!"));
            assert!(written(&frame, cells), "{frame:?}");
            let frame = draw(&mut screen, "one\nplain");
            assert!(frame.contains("\x1b[2;1H\x1b[2Kplain"), "{frame:?}");
            let frame = draw(&mut screen, "one\nplane");
            assert!(frame.contains("\x1b[2;4Hne"), "{frame:?}");
        }
    }

    #[test]
    fn character_below_a_wide_one_does_not_come_back() {
        let mut screen = screen();
        draw(&mut screen, "abcdef");
        draw(&mut screen, "a👍🏽e");
        let frame = draw(&mut screen, "a   e");
        assert!(!frame.contains('c'), "{frame:?}");
    }

    #[test]
    fn styles_are_reset_at_the_end() {
        let mut screen = screen();
        let text = || Paragraph::new("red".red().bold());
        screen.draw(|frame| frame.render_widget(text(), frame.area())).unwrap();
        let frame = String::from_utf8(screen.backend_mut().take_frame().unwrap()).unwrap();
        assert!(frame.contains("mred\x1b[0m"), "{frame:?}");
    }

    #[test]
    fn links_are_written_and_removed_without_a_change_of_text() {
        let mut screen = screen();
        let found = find_links("https://example.org/").remove(0);
        let link = (Rect::new(2, 0, 3, 1), found.link);
        screen.backend_mut().links().replace(vec![link]);
        let frame = draw(&mut screen, "a link b");
        let (before, after) = frame.split_once(";https://example.org/\x1b\\lin").unwrap();
        assert!(before.contains("a\x1b[1;3H\x1b]8;id="), "{frame:?}");
        assert!(after.starts_with("\x1b]8;;\x1b\\k\x1b[1;8Hb"), "{frame:?}");
        assert_eq!(draw(&mut screen, "a link b"), "");
        screen.backend_mut().links().take();
        let frame = draw(&mut screen, "a link b");
        assert!(frame.contains("\x1b[1;3Hlink") && !frame.contains("]8"), "{frame:?}");
    }

    #[test]
    fn cleared_screen_is_drawn_again() {
        let mut screen = screen();
        let first = draw(&mut screen, "one\nt🇨🇭o");
        screen.backend_mut().clear().unwrap();
        screen.current_buffer_mut().reset();
        screen.swap_buffers();
        let again = draw(&mut screen, "one\nt🇨🇭o");
        assert_eq!(again.replace("\x1b[0m\x1b[2J", ""), first);
    }
}
