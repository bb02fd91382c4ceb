//! Themes: a style for each role of text on the screen.
//!
//! No meaning is carried by colour alone.

mod colour;
mod palette;

use std::fmt::Write as _;

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};
use thiserror::Error;

pub use self::colour::{ColourDepth, READABLE, Rgb};
use self::palette::{DARK, Ground, HIGH_CONTRAST, LIGHT, MONO, NAMES, Palette, TERMINAL};
use crate::protocol::id::UserId;

/// The styles of the screen.
#[derive(Debug, Clone, Copy)]
pub struct Theme(&'static Palette);

/// Which theme to use.
#[derive(Debug, Clone, Copy)]
pub enum ThemeChoice {
    /// [`Theme::DARK`] or [`Theme::LIGHT`], as the terminal's background is; [`Theme::TERMINAL`] if that is
    /// unknown, or with 16 colours.
    Auto(ColourDepth),
    /// This one.
    Fixed(Theme),
}

impl From<Theme> for ThemeChoice {
    fn from(theme: Theme) -> Self {
        Self::Fixed(theme)
    }
}

impl ThemeChoice {
    /// The theme for a terminal with this background.
    pub fn resolve(self, background: Option<Rgb>) -> Theme {
        match (self, background) {
            (Self::Fixed(theme), _) => theme,
            (Self::Auto(ColourDepth::Ansi16), _) | (Self::Auto(_), None) => Theme::TERMINAL,
            (Self::Auto(depth), Some(background)) => {
                let (black, white) = (Rgb::new(0, 0, 0), Rgb::new(255, 255, 255));
                let is_light = background.contrast(black) > background.contrast(white);
                if is_light { Theme::LIGHT } else { Theme::DARK }.at_depth(depth)
            }
        }
    }
}

/// A style or role in a theme file that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ThemeError {
    #[error("unknown role (chat config --theme dark prints a theme with all roles)")]
    UnknownRole,
    #[error("unknown word {0:?} in a style: write it as \"bold #ffcc66 on #202020\"")]
    UnknownStyle(String),
}

impl Theme {
    /// For dark backgrounds.
    pub const DARK: Self = Self(&DARK);
    /// For light backgrounds.
    pub const LIGHT: Self = Self(&LIGHT);
    /// White on black, with a contrast of at least 7.
    pub const HIGH_CONTRAST: Self = Self(&HIGH_CONTRAST);
    /// The 16 colours of the terminal's palette.
    pub const TERMINAL: Self = Self(&TERMINAL);
    /// Bold, dim, italic and reverse only, as `NO_COLOR` requests.
    pub const MONO: Self = Self(&MONO);

    /// The built-in themes by name.
    pub const BUILT_IN: [(&'static str, Self); 5] = [
        ("dark", Self::DARK),
        ("light", Self::LIGHT),
        ("high-contrast", Self::HIGH_CONTRAST),
        ("terminal", Self::TERMINAL),
        ("mono", Self::MONO),
    ];

    /// The built-in theme of this name.
    pub fn built_in(name: &str) -> Option<Self> {
        Self::BUILT_IN.into_iter().find(|(known, _)| *known == name).map(|(_, theme)| theme)
    }

    /// The theme with `changes`: roles and their styles, such as `mention` and `bold #ffcc66`. The role
    /// `background` is a colour.
    ///
    /// # Errors
    /// The first role or style that does not exist, with its index in `changes`.
    pub fn with<'c>(
        self,
        changes: impl IntoIterator<Item = (&'c str, &'c str)>,
    ) -> Result<Self, (usize, ThemeError)> {
        let mut palette = self.0.clone();
        for (index, (role, text)) in changes.into_iter().enumerate() {
            let style = parse_style(text).map_err(|error| (index, error))?;
            if role == "background" {
                palette.background = style.fg.filter(|color| *color != Color::Reset);
            } else {
                let slot = palette.role_mut(role).ok_or((index, ThemeError::UnknownRole))?;
                *slot = style;
            }
        }
        if let Some(background) = palette.background.and_then(Rgb::from_color) {
            let is_light = background.luminance() > 0.18;
            palette.ground = if is_light { Ground::Light } else { Ground::Dark };
        }
        Ok(Self::leak(palette))
    }

    /// The theme with colours that a terminal of this depth draws.
    #[must_use]
    pub fn at_depth(self, depth: ColourDepth) -> Self {
        if depth == ColourDepth::True {
            return self;
        }
        let background = self.0.typical_background();
        let mut palette = self.0.clone();
        for (role, style) in self.0.roles() {
            if let Some(slot) = palette.role_mut(&role) {
                *slot = colour::style_at(style, depth, Some(background));
            }
        }
        let drawn = palette.background.map(|color| Style::new().fg(color));
        palette.background = drawn.and_then(|style| colour::style_at(style, depth, None).fg);
        Self::leak(palette)
    }

    /// A theme is made once and used until the program ends.
    fn leak(palette: Palette) -> Self {
        Self(Box::leak(Box::new(palette)))
    }

    /// The theme as a file that a user can change.
    pub fn to_toml(self) -> String {
        let background = self.0.background.unwrap_or_default();
        let mut text = format!("background = \"{}\"\n", colour_name(background));
        for (role, style) in self.0.roles() {
            // Writing to a string does not fail.
            writeln!(text, "{role} = \"{}\"", format_style(style)).unwrap_or_default();
        }
        text
    }

    /// Draws the theme's background, if it has one, under what has none of its own.
    pub fn paint(self, buffer: &mut Buffer) {
        let Some(background) = self.0.background else { return };
        let text = self.0.text.fg.unwrap_or_default();
        for cell in &mut buffer.content {
            if cell.bg == Color::Reset {
                cell.bg = background;
            }
            if cell.fg == Color::Reset {
                cell.fg = text;
            }
        }
    }

    /// The text of messages.
    pub fn text(self) -> Style {
        self.0.text
    }

    /// Titles.
    pub fn title(self) -> Style {
        self.0.title
    }

    /// Hints and times.
    pub fn dim(self) -> Style {
        self.0.dim
    }

    /// Frames.
    pub fn frame(self) -> Style {
        self.0.frame
    }

    /// The name of a user; a user has the same colour everywhere.
    pub fn name(self, id: &UserId) -> Style {
        // FNV-1a.
        let hash = id
            .as_str()
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let index = hash as usize % NAMES;
        self.0.names.get(index).copied().unwrap_or_default()
    }

    /// The user's own messages and name.
    pub fn own(self) -> Style {
        self.0.own
    }

    /// Rooms.
    pub fn accent(self) -> Style {
        self.0.accent
    }

    /// Direct messages and their recipients.
    pub fn private(self) -> Style {
        self.0.private
    }

    /// Messages that mention the user.
    pub fn mention(self) -> Style {
        self.0.mention
    }

    /// States that will change: expiry, waiting, connecting.
    pub fn warning(self) -> Style {
        self.0.warning
    }

    /// Errors.
    pub fn error(self) -> Style {
        self.0.error
    }

    /// Confirmations and the online state.
    pub fn success(self) -> Style {
        self.0.success
    }

    /// Messages that were removed or have expired, recipients who left.
    pub fn removed(self) -> Style {
        self.0.removed
    }

    /// The picked message, the focused row, the selected hit.
    pub fn selection(self) -> Style {
        self.0.selection
    }

    /// The match in a search hit.
    pub fn search_match(self) -> Style {
        self.0.search_match
    }

    /// Keys in hints and help.
    pub fn key(self) -> Style {
        self.0.key
    }
}

/// The words for modifiers in a style.
const MODIFIERS: [(&str, Modifier); 5] = [
    ("bold", Modifier::BOLD),
    ("dim", Modifier::DIM),
    ("italic", Modifier::ITALIC),
    ("underline", Modifier::UNDERLINED),
    ("reverse", Modifier::REVERSED),
];

/// Parses a style: modifiers, a colour, and `on` with the colour of the background, in this or another order.
/// Colours are `#rrggbb`, a number of xterm's palette, a name of the 16 colours, or `default`.
fn parse_style(text: &str) -> Result<Style, ThemeError> {
    let colour = |word: &str| match word {
        "default" => Ok(Color::Reset),
        _ => word.parse().map_err(|_error| ThemeError::UnknownStyle(word.to_owned())),
    };
    let mut style = Style::new();
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        if let Some((_, modifier)) = MODIFIERS.iter().find(|(name, _)| *name == word) {
            style = style.add_modifier(*modifier);
        } else if word == "on" {
            style = style.bg(colour(words.next().unwrap_or_default())?);
        } else {
            style = style.fg(colour(word)?);
        }
    }
    Ok(style)
}

fn colour_name(color: Color) -> String {
    match color {
        Color::Reset => "default".to_owned(),
        color => color.to_string().to_lowercase(),
    }
}

fn format_style(style: Style) -> String {
    let modifiers = MODIFIERS.iter().filter(|(_, modifier)| style.add_modifier.contains(*modifier));
    let words = modifiers
        .map(|(name, _)| (*name).to_owned())
        .chain(style.fg.map(colour_name))
        .chain(style.bg.map(|color| format!("on {}", colour_name(color))));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[expect(clippy::unreadable_literal, reason = "a colour is read as #rrggbb")]
mod tests {
    use super::*;

    /// The backgrounds of popular colour schemes: xterm, VS Code, Dracula, Solarized, Nord, One, Monokai.
    const DARK_BACKGROUNDS: [u32; 7] =
        [0x000000, 0x1e1e1e, 0x282a36, 0x002b36, 0x2e3440, 0x282c34, 0x272822];
    /// White, Solarized, Catppuccin Latte, Gruvbox, One.
    const LIGHT_BACKGROUNDS: [u32; 5] = [0xffffff, 0xfdf6e3, 0xeff1f5, 0xfbf1c7, 0xfafafa];

    fn rgb(hex: u32) -> Rgb {
        Rgb::from_color(Color::from_u32(hex)).unwrap()
    }

    /// The contrast of each role that has a colour, on the worst of `backgrounds`.
    fn contrasts(theme: Theme, backgrounds: &[u32]) -> Vec<(String, f32)> {
        let roles = theme.0.roles().into_iter().filter_map(|(role, style)| {
            let text = style.fg.and_then(Rgb::from_color)?;
            let own = style.bg.and_then(Rgb::from_color);
            let on = |hex: &u32| text.contrast(own.unwrap_or_else(|| rgb(*hex)));
            Some((role, backgrounds.iter().map(on).fold(f32::MAX, f32::min)))
        });
        roles.collect()
    }

    #[test]
    fn every_text_is_readable_on_the_backgrounds_of_its_theme() {
        for (theme, backgrounds, least) in [
            (Theme::DARK, &DARK_BACKGROUNDS[..], READABLE),
            (Theme::LIGHT, &LIGHT_BACKGROUNDS[..], READABLE),
            (Theme::HIGH_CONTRAST, &[0x000000][..], 7.0),
        ] {
            for depth in [ColourDepth::True, ColourDepth::Indexed256] {
                let found = contrasts(theme.at_depth(depth), backgrounds);
                assert!(found.len() >= 18, "the roles have colours: {found:?}");
                for (role, contrast) in found {
                    // A frame is no text: 3 suffices for what one only has to see.
                    let least = if role == "frame" { 3.0 } else { least };
                    assert!(contrast >= least, "{role} at {depth:?}: {contrast} < {least}");
                }
            }
        }
    }

    /// The hue in degrees.
    fn hue(Rgb { r, g, b }: Rgb) -> f32 {
        let [r, g, b] = [r, g, b].map(f32::from);
        let (max, min) = (r.max(g).max(b), r.min(g).min(b));
        let sixth = if max.total_cmp(&r).is_eq() {
            ((g - b) / (max - min)).rem_euclid(6.0)
        } else if max.total_cmp(&g).is_eq() {
            (b - r) / (max - min) + 2.0
        } else {
            (r - g) / (max - min) + 4.0
        };
        60.0 * sixth
    }

    #[test]
    fn names_have_eight_hues() {
        for theme in [Theme::DARK, Theme::LIGHT, Theme::HIGH_CONTRAST] {
            let mut hues =
                theme.0.names.map(|style| hue(Rgb::from_color(style.fg.unwrap()).unwrap()));
            hues.sort_by(f32::total_cmp);
            for (one, next) in hues.iter().zip(hues.iter().cycle().skip(1)) {
                let distance = (next - one).rem_euclid(360.0);
                assert!(distance >= 18.0, "{one} and {next} look alike: {hues:?}");
            }
        }
        let styles: std::collections::HashSet<_> = Theme::TERMINAL.0.names.into_iter().collect();
        assert_eq!(styles.len(), NAMES);
    }

    #[test]
    fn name_has_the_same_colour_in_every_run() {
        let names = ["Ann_1180", "Bob_4572", "Kim_9021", "Zed_1000"];
        let styles = names.map(|name| Theme::DARK.name(&name.parse().unwrap()));
        let at = styles.map(|style| DARK.names.iter().position(|name| *name == style).unwrap());
        assert_eq!(at, [7, 3, 5, 0]);
    }

    #[test]
    fn auto_follows_the_background() {
        let auto = ThemeChoice::Auto(ColourDepth::True);
        let text = |theme: Theme| theme.to_toml();
        for background in LIGHT_BACKGROUNDS {
            assert_eq!(text(auto.resolve(Some(rgb(background)))), text(Theme::LIGHT));
        }
        for background in DARK_BACKGROUNDS {
            assert_eq!(text(auto.resolve(Some(rgb(background)))), text(Theme::DARK));
        }
        assert_eq!(text(auto.resolve(None)), text(Theme::TERMINAL));
        let ansi = ThemeChoice::Auto(ColourDepth::Ansi16);
        assert_eq!(text(ansi.resolve(Some(rgb(0)))), text(Theme::TERMINAL));
    }

    #[test]
    fn mono_has_no_colours() {
        let has_colour = |style: Style| style.fg.is_some() || style.bg.is_some();
        assert!(!MONO.roles().into_iter().any(|(_, style)| has_colour(style)));
    }

    #[test]
    fn printed_theme_is_read_back() {
        for (name, theme) in Theme::BUILT_IN {
            let text = theme.to_toml();
            let table: toml::Table = text.parse().unwrap();
            let changes =
                table.iter().map(|(role, style)| (role.as_str(), style.as_str().unwrap()));
            let read = Theme::MONO.with(changes).unwrap();
            assert_eq!(read.to_toml(), text, "{name}");
        }
    }

    #[test]
    fn theme_error_names_the_word() {
        let error = |role, style| Theme::DARK.with([(role, style)]).unwrap_err().1;
        assert_eq!(error("shine", "bold"), ThemeError::UnknownRole);
        assert_eq!(error("name-9", "bold"), ThemeError::UnknownRole);
        let unknown = |word: &str| ThemeError::UnknownStyle(word.to_owned());
        assert_eq!(error("text", "bold purplish"), unknown("purplish"));
        assert_eq!(error("text", "red on"), unknown(""));
    }
}
