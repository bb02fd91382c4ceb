//! `chat keys`: prints the keys of the full screen.

use std::fmt::Write as _;

use super::output::print;
use super::settings::Settings;
use crate::tui::command::Scope;
use crate::tui::keymap::{KeyPreset, KeySource, Keymap};

/// The arguments of `chat keys`.
#[derive(Debug, clap::Args)]
pub(super) struct KeysArgs {
    /// Keys to start from: default, vim or emacs
    #[arg(
        long = "key-preset",
        visible_alias = "preset",
        env = "CHAT_KEY_PRESET",
        value_name = "PRESET",
        default_value = "default"
    )]
    key_preset: KeyPreset,
}

/// Prints the keys in force.
pub(super) fn run(args: &KeysArgs, settings: &Settings) -> anyhow::Result<()> {
    print(&table(&settings.keymap(args.key_preset)?))
}

/// A line for each command, by context.
fn table(keymap: &Keymap) -> String {
    let mut text = String::new();
    for (scope, name, title) in Scope::ALL {
        // Writing to a string does not fail.
        writeln!(text, "{title} [keys.in.{name}]").unwrap_or_default();
        for bound in keymap.in_scope(scope) {
            let mark = match bound.source {
                KeySource::Default => ' ',
                KeySource::Preset => '+',
                KeySource::Config => '*',
            };
            let keys = if bound.chords.is_empty() { "-".to_owned() } else { bound.label() };
            let (action, about) = (bound.binding.name, bound.binding.description);
            writeln!(text, "{mark} {action:<22} {keys:<26} {about}").unwrap_or_default();
        }
        text.push('\n');
    }
    text.push_str("+ from the preset   * from config.toml\n");
    text
}
