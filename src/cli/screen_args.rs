//! The settings of the full screen.

use clap::builder::BoolishValueParser;

use super::exit::CliError;
use super::paths;
use super::settings::Settings;
use crate::protocol::text::SafeText;
use crate::tui::keymap::{KeyPreset, Keymap};
use crate::tui::text::EmojiStyle;
use crate::tui::{ColourDepth, Theme, ThemeChoice};

/// The arguments of the full screen.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Screen")]
pub(super) struct ScreenArgs {
    /// Theme: auto, dark, light, high-contrast, terminal, mono, or the name of your own
    ///
    /// `auto` is `dark` or `light`, as the terminal's background is. Your own theme is NAME.toml in the
    /// directory `themes` beside the settings file; `chat config --print-theme dark` prints one to start from.
    #[arg(long, env = "CHAT_THEME", value_name = "NAME", default_value = "auto")]
    theme: String,
    /// Keys to start from: default, vim or emacs
    #[arg(long, env = "CHAT_KEY_PRESET", value_name = "PRESET", default_value = "default")]
    key_preset: KeyPreset,
    /// How to draw emoji: colour, or text for terminals that draw them wrongly
    #[arg(long, env = "CHAT_EMOJI", value_name = "STYLE", default_value = "colour", value_parser = emoji_style)]
    pub(super) emoji: EmojiStyle,
    /// Leave the mouse to the terminal
    #[arg(long, env = "CHAT_NO_MOUSE", value_parser = BoolishValueParser::new())]
    pub(super) no_mouse: bool,
}

impl ScreenArgs {
    /// The keys of the preset with the changes of the settings file.
    ///
    /// # Errors
    /// A change is refused.
    pub(super) fn keymap(&self, settings: &Settings) -> anyhow::Result<Keymap> {
        settings.keymap(self.key_preset)
    }

    /// The theme, for the colours of this terminal.
    ///
    /// # Errors
    /// There is no such theme, or its file is invalid.
    pub(super) fn theme(&self) -> anyhow::Result<ThemeChoice> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        // Any value but the empty one turns colors off: https://no-color.org
        if variable("NO_COLOR").is_some() {
            return Ok(Theme::MONO.into());
        }
        let depth =
            ColourDepth::detect(variable("COLORTERM").as_deref(), variable("TERM").as_deref());
        let theme = match (self.theme.as_str(), Theme::built_in(&self.theme)) {
            ("auto", _) => return Ok(ThemeChoice::Auto(depth)),
            (_, Some(theme)) => theme,
            (name, None) => own_theme(name)?,
        };
        Ok(theme.at_depth(depth).into())
    }
}

fn emoji_style(text: &str) -> Result<EmojiStyle, &'static str> {
    match text {
        "colour" => Ok(EmojiStyle::Colour),
        "text" => Ok(EmojiStyle::Text),
        _ => Err("emoji are drawn in colour or as text"),
    }
}

/// Reads a theme of the user.
fn own_theme(name: &str) -> anyhow::Result<Theme> {
    let dir = paths::config_dir().unwrap_or_default().join("themes");
    let path = dir.join(format!("{name}.toml"));
    let invalid = |reason: &dyn std::fmt::Display| {
        let reason = SafeText::clean(&reason.to_string());
        CliError::usage(format!("cannot use the theme {}: {reason}", path.display()))
    };
    let names = Theme::BUILT_IN.map(|(name, _)| name).join(", ");
    if name.contains(['/', '\\']) {
        return Err(invalid(&format!("a theme is a name, such as {names}")).into());
    }
    let text = std::fs::read_to_string(&path)
        .map_err(|error| invalid(&format!("{error} (built-in themes: auto, {names})")))?;
    Ok(parse_theme(&text).map_err(|reason| invalid(&reason))?)
}

/// Parses a theme file: roles and their styles, and the theme that it is `based-on`.
fn parse_theme(text: &str) -> Result<Theme, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let mut base = Theme::DARK;
    let mut changes = Vec::new();
    for (role, style) in &table {
        let style = style.as_str().ok_or_else(|| format!("`{role}` is a string"))?;
        if role == "based-on" {
            let built_in = Theme::built_in(style);
            base = built_in.ok_or_else(|| format!("`based-on`: unknown theme {style:?}"))?;
        } else {
            changes.push((role.as_str(), style));
        }
    }
    base.with(changes.iter().copied()).map_err(|(index, error)| {
        let role = changes.get(index).map_or("", |(role, _)| *role);
        format!("`{role}`: {error}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_theme_changes_its_base() {
        let theme = parse_theme("based-on = 'light'\nmention = 'bold #aa0000'\n").unwrap();
        let expected = Theme::LIGHT.with([("mention", "bold #aa0000")]).unwrap();
        assert_eq!(theme.to_toml(), expected.to_toml());
        for (text, word) in [
            ("shine = 'bold'", "`shine`: unknown role"),
            ("text = 'purplish'", "`text`: unknown word"),
            ("text = 1", "is a string"),
            ("based-on = 'night'", "unknown theme"),
            ("text", "TOML parse error"),
        ] {
            let error = parse_theme(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
