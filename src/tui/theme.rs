//! Semantic styles: colours of the terminal's own palette, or none.
//!
//! No meaning is carried by colour alone. White and Black are not used for text: one of them is invisible
//! on some background.

use ratatui::style::{Color, Modifier, Style};

use crate::protocol::id::UserId;

/// The set of styles, with or without colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// The 16 colours of the terminal's palette.
    Colours,
    /// Bold, dim, italic and reverse only, as `NO_COLOR` requests.
    Plain,
}

/// Colours for user names. None of them has another meaning on the screen.
const NAME_COLOURS: [Color; 4] = [Color::Cyan, Color::Green, Color::LightCyan, Color::LightGreen];

#[expect(clippy::unused_self, reason = "callers need not know which styles have colours")]
impl Theme {
    fn colour(self, colour: Color) -> Style {
        match self {
            Self::Colours => Style::new().fg(colour),
            Self::Plain => Style::new(),
        }
    }

    /// Frames, hints, times: everything but the text itself.
    pub fn dim(self) -> Style {
        // Not DarkGray: several popular palettes use it as the background.
        Style::new().add_modifier(Modifier::DIM)
    }

    /// The text of messages.
    pub fn text(self) -> Style {
        Style::new()
    }

    /// Titles.
    pub fn title(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// The name of a user; a user has the same colour everywhere.
    pub fn name(self, id: &UserId) -> Style {
        let sum = id.as_str().bytes().fold(7_usize, |sum, b| sum.wrapping_mul(31) ^ usize::from(b));
        let colour = NAME_COLOURS.get(sum % NAME_COLOURS.len()).copied().unwrap_or(Color::Cyan);
        self.colour(colour).add_modifier(Modifier::BOLD)
    }

    /// The user's own messages and name.
    pub fn own(self) -> Style {
        self.colour(Color::Blue)
    }

    /// Rooms.
    pub fn accent(self) -> Style {
        self.colour(Color::Cyan)
    }

    /// Direct messages and their recipients.
    pub fn private(self) -> Style {
        self.colour(Color::Magenta).add_modifier(Modifier::BOLD)
    }

    /// Messages that mention the user.
    pub fn mention(self) -> Style {
        self.colour(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    /// Countdowns and states that will change: expiry, waiting, connecting.
    pub fn warning(self) -> Style {
        self.colour(Color::Yellow)
    }

    /// Errors.
    pub fn error(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// Confirmations and the online state.
    pub fn success(self) -> Style {
        self.colour(Color::Green)
    }

    /// Messages that were removed or have expired, recipients who left.
    pub fn removed(self) -> Style {
        self.dim().add_modifier(Modifier::ITALIC)
    }

    /// The picked message, the focused row, the selected hit.
    pub fn selection(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The match in a search hit.
    pub fn search_match(self) -> Style {
        self.colour(Color::Yellow).add_modifier(Modifier::REVERSED | Modifier::BOLD)
    }

    /// Keys in hints and help.
    pub fn key(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }
}
