//! The built-in themes.

#![expect(clippy::unreadable_literal, reason = "a colour is read as #rrggbb")]

use ratatui::style::{Color, Modifier, Style};

use super::colour::Rgb;

/// Whether light text or dark text is readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ground {
    /// A dark background.
    Dark,
    /// A light background.
    Light,
}

/// Defines [`Palette`] and the names of its roles, which theme files use.
macro_rules! roles {
    ($($(#[doc = $doc:literal])+ $field:ident: $name:literal,)+) => {
        /// The style of each role of text on the screen.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(super) struct Palette {
            /// The background that the colours are made for.
            pub(super) ground: Ground,
            /// The background that is drawn. `None`: the terminal's own.
            pub(super) background: Option<Color>,
            $($(#[doc = $doc])+ pub(super) $field: Style,)+
            /// The names of users.
            pub(super) names: [Style; NAMES],
        }

        impl Palette {
            /// The style of a role by its name in theme files.
            pub(super) fn role_mut(&mut self, role: &str) -> Option<&mut Style> {
                match role {
                    $($name => Some(&mut self.$field),)+
                    _ => {
                        let number: usize = role.strip_prefix("name-")?.parse().ok()?;
                        self.names.get_mut(number.checked_sub(1)?)
                    }
                }
            }

            /// The roles with their styles.
            pub(super) fn roles(&self) -> Vec<(String, Style)> {
                let names = self.names.iter().enumerate();
                let names = names.map(|(index, style)| (format!("name-{}", index + 1), *style));
                [$(($name.to_owned(), self.$field),)+].into_iter().chain(names).collect()
            }
        }
    };
}

/// The number of colours for names.
pub(super) const NAMES: usize = 8;

roles! {
    /// The text of messages.
    text: "text",
    /// Titles.
    title: "title",
    /// Hints and times.
    dim: "dim",
    /// Frames. Not text.
    frame: "frame",
    /// The user's own messages and name.
    own: "own",
    /// Rooms.
    accent: "accent",
    /// Direct messages and their recipients.
    private: "private",
    /// Messages that mention the user.
    mention: "mention",
    /// States that will change: expiry, waiting, connecting.
    warning: "warning",
    /// Errors.
    error: "error",
    /// Confirmations and the online state.
    success: "success",
    /// Messages that were removed or have expired, recipients who left.
    removed: "removed",
    /// The picked message, the focused row, the selected hit.
    selection: "selection",
    /// The match in a search hit.
    search_match: "search-match",
    /// Keys in hints and help.
    key: "key",
}

/// The styles without colours, as `NO_COLOR` requests.
pub(super) const MONO: Palette = {
    let plain = Style::new();
    let bold = plain.add_modifier(Modifier::BOLD);
    let dim = plain.add_modifier(Modifier::DIM);
    Palette {
        ground: Ground::Dark,
        background: None,
        text: plain,
        title: bold,
        // Not DarkGray: several popular palettes use it as the background.
        dim,
        frame: dim,
        own: plain,
        accent: plain,
        private: bold,
        mention: bold,
        warning: plain,
        error: bold,
        success: plain,
        removed: dim.add_modifier(Modifier::ITALIC),
        selection: plain.add_modifier(Modifier::REVERSED),
        search_match: bold.add_modifier(Modifier::REVERSED),
        key: bold,
        names: [bold; NAMES],
    }
};

/// The 16 colours of the terminal's palette, which the user chose to be readable. White and Black are not
/// used for text: one of them is invisible on some background.
pub(super) const TERMINAL: Palette = Palette {
    own: MONO.own.fg(Color::Blue),
    accent: MONO.accent.fg(Color::Cyan),
    private: MONO.private.fg(Color::Magenta),
    mention: MONO.mention.fg(Color::Yellow),
    warning: MONO.warning.fg(Color::Yellow),
    error: MONO.error.fg(Color::Red),
    success: MONO.success.fg(Color::Green),
    search_match: MONO.search_match.fg(Color::Yellow),
    names: [
        MONO.title.fg(Color::Cyan),
        MONO.title.fg(Color::Green),
        MONO.title.fg(Color::Magenta),
        MONO.title.fg(Color::Blue),
        MONO.title.fg(Color::Yellow),
        MONO.title.fg(Color::Red),
        MONO.title.fg(Color::LightBlue),
        MONO.title.fg(Color::LightMagenta),
    ],
    ..MONO
};

/// For dark backgrounds.
pub(super) const DARK: Palette = Palette {
    dim: fg(0xa9adb8),
    frame: fg(0x7d8494),
    own: fg(0x7fb4ff),
    accent: fg(0x5fd0e0),
    private: bold(0xe39bff),
    mention: bold(0xffcb6b),
    warning: fg(0xf0b860),
    error: bold(0xff8b8b),
    success: fg(0x8fd78f),
    removed: fg(0xa9adb8).add_modifier(Modifier::ITALIC),
    selection: fg(0xffffff).bg(rgb(0x3a4a6b)),
    search_match: bold(0x1a1a1a).bg(rgb(0xffd75f)),
    names: [
        bold(0xff8a8a),
        bold(0xf7a154),
        bold(0xddc64f),
        bold(0x96d35f),
        bold(0x45d3a8),
        bold(0x5fc4f2),
        bold(0xa3adff),
        bold(0xf490d8),
    ],
    ..MONO
};

/// For light backgrounds.
pub(super) const LIGHT: Palette = Palette {
    ground: Ground::Light,
    dim: fg(0x5a5f6b),
    frame: fg(0x7d828c),
    own: fg(0x1f5fbf),
    accent: fg(0x00657a),
    private: bold(0x8a1fa8),
    mention: bold(0x8a4b00),
    warning: fg(0x855200),
    error: bold(0xb3261e),
    success: fg(0x2a6b1f),
    removed: fg(0x5a5f6b).add_modifier(Modifier::ITALIC),
    selection: fg(0x101010).bg(rgb(0xc4d8ff)),
    search_match: bold(0x000000).bg(rgb(0xffd75f)),
    names: [
        bold(0xb3261e),
        bold(0x9a4a00),
        bold(0x6f5f00),
        bold(0x2f6b12),
        bold(0x00695c),
        bold(0x0b5fa5),
        bold(0x5a3fc0),
        bold(0xa0267f),
    ],
    ..MONO
};

/// On black: text has a contrast of at least 7, the level AAA of WCAG 2.
pub(super) const HIGH_CONTRAST: Palette = Palette {
    background: Some(rgb(0x000000)),
    text: fg(0xffffff),
    title: bold(0xffffff),
    dim: fg(0xd0d0d0),
    frame: fg(0xffffff),
    own: fg(0x9fd0ff),
    accent: fg(0x66f0ff),
    private: bold(0xffa6ff),
    mention: bold(0xffff00),
    warning: fg(0xffd060),
    error: bold(0xff9a9a),
    success: fg(0x80ff80),
    removed: fg(0xd0d0d0).add_modifier(Modifier::ITALIC),
    selection: bold(0x000000).bg(rgb(0xffffff)),
    search_match: bold(0x000000).bg(rgb(0xffff00)),
    key: bold(0xffffff),
    names: [
        bold(0xff9a9a),
        bold(0xffb066),
        bold(0xf5e050),
        bold(0xa4f060),
        bold(0x50f0b8),
        bold(0x70d0ff),
        bold(0xb8c0ff),
        bold(0xffa0e8),
    ],
    ..MONO
};

const fn rgb(hex: u32) -> Color {
    Color::from_u32(hex)
}

const fn fg(hex: u32) -> Style {
    Style::new().fg(rgb(hex))
}

const fn bold(hex: u32) -> Style {
    fg(hex).add_modifier(Modifier::BOLD)
}

impl Palette {
    /// The background that the colours are drawn on: the palette's own, or a typical one.
    pub(super) fn typical_background(&self) -> Rgb {
        let own = self.background.and_then(Rgb::from_color);
        own.unwrap_or(match self.ground {
            Ground::Dark => Rgb::new(0x1e, 0x1e, 0x1e),
            Ground::Light => Rgb::new(0xff, 0xff, 0xff),
        })
    }
}
