//! Named styles: colours of the terminal's own palette, or none at all.
//!
//! Text that matters is never told apart by colour alone, and is never given White or Black: on some
//! background one of them cannot be seen.

use ratatui::style::{Color, Modifier, Style};

use crate::protocol::id::UserId;

/// Whether colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// The sixteen colours that every terminal has.
    Colours,
    /// Bold, dim, italic and reverse alone, as `NO_COLOR` asks for.
    Plain,
}

/// Colours for names; none that says something elsewhere.
const NAME_COLOURS: [Color; 4] = [Color::Cyan, Color::Green, Color::LightCyan, Color::LightGreen];

#[expect(clippy::unused_self, reason = "whoever draws need not know which styles have colours")]
impl Theme {
    fn colour(self, colour: Color) -> Style {
        match self {
            Self::Colours => Style::new().fg(colour),
            Self::Plain => Style::new(),
        }
    }

    /// Frames, hints, everything that is not the matter itself.
    pub fn dim(self) -> Style {
        // Not DarkGray: several popular palettes make it the background.
        Style::new().add_modifier(Modifier::DIM)
    }

    /// The matter itself.
    pub fn text(self) -> Style {
        Style::new()
    }

    /// A title.
    pub fn title(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// The name of a person: the same colour wherever it stands.
    pub fn name(self, id: &UserId) -> Style {
        let sum = id.as_str().bytes().fold(7_usize, |sum, b| sum.wrapping_mul(31) ^ usize::from(b));
        let colour = NAME_COLOURS.get(sum % NAME_COLOURS.len()).copied().unwrap_or(Color::Cyan);
        self.colour(colour).add_modifier(Modifier::BOLD)
    }

    /// What is one's own.
    pub fn own(self) -> Style {
        self.colour(Color::Blue)
    }

    /// What only some people see.
    pub fn private(self) -> Style {
        self.colour(Color::Magenta).add_modifier(Modifier::BOLD)
    }

    /// What vanishes.
    pub fn warning(self) -> Style {
        self.colour(Color::Yellow)
    }

    /// What went wrong.
    pub fn error(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// What went well.
    pub fn success(self) -> Style {
        self.colour(Color::Green)
    }

    /// What is gone.
    pub fn removed(self) -> Style {
        self.dim().add_modifier(Modifier::ITALIC)
    }

    /// What is picked.
    pub fn selection(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// What a search found.
    pub fn search_match(self) -> Style {
        self.colour(Color::Yellow).add_modifier(Modifier::REVERSED | Modifier::BOLD)
    }

    /// A key in the hints.
    pub fn key(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }
}
