//! Colours as light: contrast, and the nearest colour that a terminal with fewer can draw.

use ratatui::style::{Color, Style};

/// A colour in sRGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Rgb {
    pub r: u8,
    pub g: u8,
    pub b: u8,
}

/// The lowest contrast at which text is readable: level AA of WCAG 2.
pub const READABLE: f32 = 4.5;

/// How many colours the terminal draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColourDepth {
    /// 24 bits.
    True,
    /// The palette of xterm.
    Indexed256,
    /// The 16 colours of the terminal's own palette.
    Ansi16,
}

impl ColourDepth {
    /// The depth that the variables `COLORTERM` and `TERM` announce.
    pub fn detect(colorterm: Option<&str>, term: Option<&str>) -> Self {
        const TRUE_COLOUR: [&str; 6] =
            ["direct", "kitty", "alacritty", "wezterm", "ghostty", "foot"];
        let term = term.unwrap_or_default();
        if matches!(colorterm, Some("truecolor" | "24bit"))
            || TRUE_COLOUR.iter().any(|name| term.contains(name))
        {
            Self::True
        } else if term.contains("256") {
            Self::Indexed256
        } else {
            Self::Ansi16
        }
    }
}

/// The first 16 colours of xterm.
const ANSI: [Rgb; 16] = [
    Rgb::new(0, 0, 0),
    Rgb::new(205, 0, 0),
    Rgb::new(0, 205, 0),
    Rgb::new(205, 205, 0),
    Rgb::new(0, 0, 238),
    Rgb::new(205, 0, 205),
    Rgb::new(0, 205, 205),
    Rgb::new(229, 229, 229),
    Rgb::new(127, 127, 127),
    Rgb::new(255, 0, 0),
    Rgb::new(0, 255, 0),
    Rgb::new(255, 255, 0),
    Rgb::new(92, 92, 255),
    Rgb::new(255, 0, 255),
    Rgb::new(0, 255, 255),
    Rgb::new(255, 255, 255),
];

/// The names of those colours.
const ANSI_COLOURS: [Color; 16] = [
    Color::Black,
    Color::Red,
    Color::Green,
    Color::Yellow,
    Color::Blue,
    Color::Magenta,
    Color::Cyan,
    Color::Gray,
    Color::DarkGray,
    Color::LightRed,
    Color::LightGreen,
    Color::LightYellow,
    Color::LightBlue,
    Color::LightMagenta,
    Color::LightCyan,
    Color::White,
];

impl Rgb {
    /// The colour of these components.
    pub const fn new(r: u8, g: u8, b: u8) -> Self {
        Self { r, g, b }
    }

    /// The colour of a style, where it does not depend on the terminal's own palette.
    pub fn from_color(color: Color) -> Option<Self> {
        match color {
            Color::Rgb(r, g, b) => Some(Self { r, g, b }),
            Color::Indexed(index @ 16..) => Some(Self::indexed(index)),
            _ => None,
        }
    }

    /// A colour of xterm's palette: the cube of 6×6×6 colours, or one of 24 greys.
    fn indexed(index: u8) -> Self {
        let step = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
        match index {
            0..16 => ANSI.get(usize::from(index)).copied().unwrap_or(Self::new(0, 0, 0)),
            16..232 => {
                let n = index - 16;
                Self::new(step(n / 36), step(n / 6 % 6), step(n % 6))
            }
            232.. => {
                let grey = 8 + 10 * (index - 232);
                Self::new(grey, grey, grey)
            }
        }
    }

    /// The relative luminance of WCAG 2: 0 is black, 1 is white.
    pub fn luminance(self) -> f32 {
        let linear = |part: u8| {
            let part = f32::from(part) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(self.r) + 0.7152 * linear(self.g) + 0.0722 * linear(self.b)
    }

    /// The contrast of WCAG 2, from 1 to 21.
    pub fn contrast(self, other: Self) -> f32 {
        let (one, other) = (self.luminance(), other.luminance());
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    /// How different two colours look: the "redmean" approximation.
    fn distance(self, other: Self) -> i32 {
        let part = |one: u8, other: u8| i32::from(one) - i32::from(other);
        let (r, g, b) = (part(self.r, other.r), part(self.g, other.g), part(self.b, other.b));
        let mean = i32::midpoint(i32::from(self.r), i32::from(other.r));
        (((512 + mean) * r * r) >> 8) + 4 * g * g + (((767 - mean) * b * b) >> 8)
    }

    /// The nearest colour at `depth` that is readable on `background`, or the nearest one if none is.
    fn at(self, depth: ColourDepth, background: Option<Self>) -> Color {
        let nearest = |candidates: &[(Color, Self)]| {
            let is_readable = |rgb: Self| background.is_none_or(|on| rgb.contrast(on) >= READABLE);
            let key = |(_, rgb): &&(Color, Self)| (!is_readable(*rgb), self.distance(*rgb));
            candidates.iter().min_by_key(key).map_or(Color::Reset, |(color, _)| *color)
        };
        match depth {
            ColourDepth::True => Color::Rgb(self.r, self.g, self.b),
            ColourDepth::Indexed256 => {
                let all = (16..=255).map(|index| (Color::Indexed(index), Self::indexed(index)));
                nearest(&all.collect::<Vec<_>>())
            }
            ColourDepth::Ansi16 => nearest(&ANSI_COLOURS.into_iter().zip(ANSI).collect::<Vec<_>>()),
        }
    }
}

/// The style with colours that a terminal of this depth draws. `background` is what it is drawn on, unless it
/// has a background of its own.
pub(super) fn style_at(style: Style, depth: ColourDepth, background: Option<Rgb>) -> Style {
    let map = |color: Color, on: Option<Rgb>| match Rgb::from_color(color) {
        Some(rgb) => rgb.at(depth, on),
        None => color,
    };
    let background = style.bg.and_then(Rgb::from_color).or(background);
    Style {
        fg: style.fg.map(|color| map(color, background)),
        bg: style.bg.map(|color| map(color, None)),
        ..style
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_what_the_terminal_announces() {
        for (colorterm, term, depth) in [
            (Some("truecolor"), Some("xterm-256color"), ColourDepth::True),
            (Some("24bit"), None, ColourDepth::True),
            (None, Some("xterm-kitty"), ColourDepth::True),
            (None, Some("xterm-direct"), ColourDepth::True),
            (None, Some("tmux-256color"), ColourDepth::Indexed256),
            (Some("yes"), Some("xterm"), ColourDepth::Ansi16),
            (None, None, ColourDepth::Ansi16),
        ] {
            assert_eq!(ColourDepth::detect(colorterm, term), depth, "{colorterm:?} {term:?}");
        }
    }

    #[test]
    fn nearest_colour_is_readable_on_the_background() {
        let (white, black) = (Rgb::new(255, 255, 255), Rgb::new(0, 0, 0));
        let at = |rgb: Rgb, depth, on| rgb.at(depth, on);
        let amber = Rgb::new(0xff, 0xcb, 0x6b);
        assert_eq!(at(amber, ColourDepth::True, None), Color::Rgb(0xff, 0xcb, 0x6b));
        assert_eq!(at(amber, ColourDepth::Indexed256, Some(black)), Color::Indexed(221));
        assert_eq!(at(Rgb::new(250, 0, 0), ColourDepth::Ansi16, Some(black)), Color::LightRed);
        // Bright red has a contrast of 4.0 on white.
        assert_eq!(at(Rgb::new(250, 0, 0), ColourDepth::Ansi16, Some(white)), Color::Red);
        assert_eq!(at(black, ColourDepth::Ansi16, Some(black)), Color::DarkGray);
    }

    #[test]
    fn contrast_is_that_of_wcag() {
        let (white, black) = (Rgb::new(255, 255, 255), Rgb::new(0, 0, 0));
        assert!((white.contrast(black) - 21.0).abs() < 0.01);
        assert!((Rgb::new(0x76, 0x76, 0x76).contrast(white) - 4.54).abs() < 0.01);
    }
}
