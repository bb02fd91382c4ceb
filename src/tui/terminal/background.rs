//! The terminal's background colour.
//!
//! A terminal answers the question among the keys that the user types, at any time, or never. crossterm does
//! not know such an answer and reports it as Alt-] and letters. The filter takes it out of the events, so
//! nothing waits for it and nothing typed is lost.

use std::str::FromStr as _;

use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};

use crate::tui::theme::Rgb;

/// Asks for the background colour (OSC 11).
pub(super) const ASK_BACKGROUND: &str = "\x1b]11;?\x07";

/// How an answer begins, after the escape character and the bracket.
const PREFIX: &str = "11;rgb:";

/// The longest answer, without its ends: three numbers of four digits.
const MAX_LENGTH: usize = PREFIX.len() + 3 * 4 + 2;

/// Takes the answer of the terminal out of its events.
#[derive(Debug, Default)]
pub(super) struct AnswerFilter {
    /// The events that may be the beginning of the answer, and their letters.
    held: Vec<Event>,
    letters: String,
}

/// What events mean.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filtered {
    /// Possibly a part of the answer.
    Held,
    /// The answer.
    Background(Rgb),
    /// These are not the answer.
    Events(Vec<Event>),
}

impl AnswerFilter {
    pub(super) fn filter(&mut self, event: Event) -> Filtered {
        let key = match &event {
            Event::Key(key) if key.kind == KeyEventKind::Press => Some((key.code, key.modifiers)),
            _ => None,
        };
        match key {
            Some((KeyCode::Char(']'), KeyModifiers::ALT)) if self.held.is_empty() => {}
            Some(
                (KeyCode::Char('\\'), KeyModifiers::ALT)
                | (KeyCode::Char('g'), KeyModifiers::CONTROL),
            ) if let Some(background) = self.answer() => {
                *self = Self::default();
                return Filtered::Background(background);
            }
            Some((KeyCode::Char(c), KeyModifiers::NONE | KeyModifiers::SHIFT))
                if !self.held.is_empty() && self.accepts(c) =>
            {
                self.letters.push(c);
            }
            _ => {
                let mut events = std::mem::take(self).held;
                events.push(event);
                return Filtered::Events(events);
            }
        }
        self.held.push(event);
        Filtered::Held
    }

    fn accepts(&self, c: char) -> bool {
        match PREFIX.get(self.letters.len()..) {
            Some(rest) if !rest.is_empty() => rest.starts_with(c),
            _ => self.letters.len() < MAX_LENGTH && (c.is_ascii_hexdigit() || c == '/'),
        }
    }

    fn answer(&self) -> Option<Rgb> {
        let mut parts = self.letters.strip_prefix(PREFIX)?.split('/').map(channel);
        let (r, g, b) = (parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(Rgb { r, g, b })
    }
}

/// A number of one to four hexadecimal digits, of which the highest is full light.
fn channel(digits: &str) -> Option<u8> {
    let value = u32::from_str_radix(digits, 16).ok()?;
    let most = match digits.len() {
        1 => 0xf,
        2 => 0xff,
        3 => 0xfff,
        4 => 0xffff,
        _ => return None,
    };
    u8::try_from(value * 255 / most).ok()
}

/// The background that the variable `COLORFGBG` of some terminals announces, such as `15;0`.
pub(super) fn from_colorfgbg(value: &str) -> Option<Rgb> {
    let background = u8::from_str(value.rsplit(';').next()?).ok()?;
    match background {
        0..=6 | 8 => Some(Rgb { r: 0, g: 0, b: 0 }),
        7 | 9..=15 => Some(Rgb { r: 255, g: 255, b: 255 }),
        16.. => None,
    }
}

#[cfg(test)]
mod tests {
    use crossterm::event::KeyEvent;

    use super::*;

    fn key(c: char, modifiers: KeyModifiers) -> Event {
        Event::Key(KeyEvent::new(KeyCode::Char(c), modifiers))
    }

    /// The events that crossterm reports for an answer.
    fn answer(letters: &str) -> Vec<Event> {
        let letters = letters.chars().map(|c| key(c, KeyModifiers::NONE));
        let (start, end) = (key(']', KeyModifiers::ALT), key('\\', KeyModifiers::ALT));
        std::iter::once(start).chain(letters).chain([end]).collect()
    }

    fn run(events: &[Event]) -> (Vec<Event>, Option<Rgb>) {
        let (mut filter, mut passed, mut background) = (AnswerFilter::default(), Vec::new(), None);
        for event in events {
            match filter.filter(event.clone()) {
                Filtered::Held => {}
                Filtered::Background(rgb) => background = Some(rgb),
                Filtered::Events(events) => passed.extend(events),
            }
        }
        (passed, background)
    }

    #[test]
    fn answer_is_taken_out_of_what_is_typed() {
        let typed: Vec<Event> = "hi".chars().map(|c| key(c, KeyModifiers::NONE)).collect();
        for (letters, rgb) in [
            ("11;rgb:ffff/8080/0000", Rgb { r: 255, g: 128, b: 0 }),
            ("11;rgb:1e/1E/2e", Rgb { r: 30, g: 30, b: 46 }),
        ] {
            let events = [&typed[..1], &answer(letters), &typed[1..]].concat();
            assert_eq!(run(&events), (typed.clone(), Some(rgb)), "{letters}");
        }
    }

    #[test]
    fn what_is_no_answer_is_passed_on_unchanged() {
        let others =
            ["11;rgb:", "11;rgb:1/2", "11;rgb:1/2/3/4", "11;rgb:12345/1/1", "hello", "11;?"];
        for events in others.map(answer) {
            assert_eq!(run(&events), (events.clone(), None), "{events:?}");
        }
    }

    #[test]
    fn variable_tells_dark_from_light() {
        let light = |value| from_colorfgbg(value).map(|rgb| rgb.r > 0);
        assert_eq!(light("15;0"), Some(false));
        assert_eq!(light("0;default;15"), Some(true));
        for unknown in ["", "15;default", "1;300"] {
            assert_eq!(light(unknown), None);
        }
    }
}
