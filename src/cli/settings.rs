//! The settings file, `config.toml` in the configuration directory.
//!
//! Each key is a flag that can also be set by an environment variable, and takes the same values. The
//! value of the file becomes the default of the flag, so the variable overrides the file, and the flag
//! overrides both. Of two settings that exclude each other, the one from the stronger source wins.
//!
//! The flags are the only list of settings: this file reads names, defaults and checks from clap. The table
//! `[keys]` changes the keys of the full screen.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

use clap::error::ContextKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory as _};
use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::exit::CliError;
use super::{Cli, paths};
use crate::protocol::text::SafeText;
use crate::tui::keymap::{KeyChange, KeyPreset, Keymap, Suggestion};

/// The settings of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The values of flags by key, as they would be typed.
    values: BTreeMap<String, String>,
    /// The changes of keys, with their lines.
    keys: Vec<(usize, KeyChange)>,
}

/// A settings file is invalid. The text names the line and the key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct SettingsError(String);

impl SettingsError {
    fn at(line: usize, reason: impl fmt::Display) -> Self {
        Self(format!("line {line}: {}", SafeText::clean(&reason.to_string())))
    }
}

/// A setting: a flag that can also be set by a variable and in the file.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    /// Its key in the file.
    pub(super) key: String,
    /// The flag.
    pub(super) arg: Arg,
    /// The first command that has it, without variables and requirements.
    command: Command,
}

/// All settings by their keys.
pub(super) fn all() -> Vec<Setting> {
    let mut found: BTreeMap<String, Setting> = BTreeMap::new();
    for command in Cli::command().get_subcommands() {
        for arg in command.get_arguments().filter(|arg| arg.get_env().is_some()) {
            let key = setting_key(arg);
            // No variable has this name: what is set outside does not matter for a value of the file.
            let command = command.clone().mut_args(|arg| arg.env("=").required(false));
            found.entry(key.clone()).or_insert(Setting { key, arg: arg.clone(), command });
        }
    }
    found.into_values().collect()
}

impl Setting {
    /// Whether it is on or off.
    pub(super) fn is_switch(&self) -> bool {
        matches!(self.arg.get_action(), ArgAction::SetTrue)
    }

    /// The default value, if it is one that can be written down.
    pub(super) fn default(&self) -> Option<String> {
        let default = self.arg.get_default_values().first();
        let text = default.map(|value| value.to_string_lossy().into_owned());
        text.or_else(|| self.is_switch().then(|| "false".to_owned()))
    }

    /// The value of a key as the flag takes it.
    fn check(&self, value: &DeValue<'_>) -> Result<String, String> {
        let key = &self.key;
        let text = match (self.is_switch(), value) {
            (true, DeValue::Boolean(on)) => return Ok(on.to_string()),
            (true, other) => {
                return Err(format!("`{key}` is true or false, not a {}", other.type_str()));
            }
            (false, DeValue::String(text)) => text.to_string(),
            (false, DeValue::Integer(number)) => number.as_str().replace('_', ""),
            (false, other) => {
                return Err(format!("`{key}` is a string or a number, not a {}", other.type_str()));
            }
        };
        let flag = match self.arg.get_long() {
            Some(long) => format!("--{long}={text}"),
            None => text.clone(),
        };
        let name = self.command.get_name().to_owned();
        match self.command.clone().try_get_matches_from([name, flag]) {
            Err(error) if is_about_value(&error) => Err(value_error(&error)),
            Ok(_) | Err(_) => Ok(text),
        }
    }
}

/// Whether clap refuses the value, and not the command line as a whole.
fn is_about_value(error: &clap::Error) -> bool {
    error.get(ContextKind::InvalidValue).is_some()
}

/// What clap says about a value, without its hint at `--help`.
fn value_error(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.split("\n\nFor more information").next().unwrap_or_default();
    let lines = text.trim_start_matches("error: ").lines().map(str::trim);
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

impl FromStr for Settings {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        let table = DeTable::parse(text).map_err(|error| {
            SettingsError(SafeText::clean(error.to_string().trim_end()).to_string())
        })?;
        let line = |span: Range<usize>| {
            1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count()
        };
        let known = all();
        let mut settings = Self::default();
        for (key, value) in table.get_ref() {
            if key.get_ref() == "keys" {
                settings.keys = key_changes(value, &line)?;
                continue;
            }
            let Some(setting) = known.iter().find(|setting| setting.key == *key.get_ref()) else {
                let hint = nearest(key.get_ref(), &known);
                let reason = format!("unknown setting `{}`{hint}", key.get_ref());
                return Err(SettingsError::at(line(key.span()), reason));
            };
            let text = setting.check(value.get_ref());
            let text = text.map_err(|reason| SettingsError::at(line(value.span()), reason))?;
            settings.values.insert(setting.key.clone(), text);
        }
        Ok(settings)
    }
}

impl Settings {
    /// The value of a key.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// The keys of a preset with the changes of the file.
    ///
    /// # Errors
    /// A change is refused.
    pub(super) fn keymap(&self, preset: KeyPreset) -> anyhow::Result<Keymap> {
        let changes: Vec<_> = self.keys.iter().map(|(_, change)| change.clone()).collect();
        Keymap::new(preset, &changes).map_err(|(index, error)| {
            let line = self.keys.get(index).map_or(0, |(line, _)| *line);
            invalid(&SettingsError::at(line, error)).into()
        })
    }

    /// Returns `command` with these settings as the defaults of its flags.
    pub(super) fn apply_as_defaults(&self, command: Command) -> Command {
        command.mut_subcommands(|subcommand| {
            subcommand.mut_args(|arg| match self.value(&setting_key(&arg)) {
                Some(value) if arg.get_env().is_some() => arg.default_value(value.to_owned()),
                Some(_) | None => arg,
            })
        })
    }
}

/// The setting whose key is the most similar to `typed`.
fn nearest(typed: &str, known: &[Setting]) -> String {
    Suggestion::among(typed, known.iter().map(|setting| setting.key.as_str())).to_string()
}

/// Reads the table `[keys]`: actions, and tables of actions for one context in `[keys.in.CONTEXT]`.
fn key_changes(
    value: &Spanned<DeValue<'_>>,
    line: &impl Fn(Range<usize>) -> usize,
) -> Result<Vec<(usize, KeyChange)>, SettingsError> {
    let error =
        |at: &Spanned<DeValue<'_>>, reason: &str| SettingsError::at(line(at.span()), reason);
    let not_a_table = "`keys` is a table: write [keys] on a line of its own";
    let table = value.get_ref().as_table().ok_or_else(|| error(value, not_a_table))?;
    let mut changes = Vec::new();
    let mut read = |scope: Option<&str>, table: &DeTable<'_>| {
        for (action, keys) in table {
            let place = line(action.span());
            let keys = key_names(keys.get_ref()).ok_or_else(|| {
                error(keys, "keys are strings: write search = [\"ctrl-f\", \"f7\"]")
            })?;
            let scope = scope.map(str::to_owned);
            let action = action.get_ref().to_string();
            changes.push((place, KeyChange { scope, action, keys }));
        }
        Ok(())
    };
    let mut everywhere = table.clone();
    let contexts = everywhere.remove("in");
    read(None, &everywhere)?;
    if let Some(contexts) = contexts {
        let not_a_table = "contexts are tables: write [keys.in.picked]";
        let scopes = contexts.get_ref().as_table();
        for (scope, actions) in scopes.ok_or_else(|| error(&contexts, not_a_table))? {
            let actions_table = actions.get_ref().as_table();
            let actions = actions_table.ok_or_else(|| error(actions, not_a_table))?;
            read(Some(scope.get_ref()), actions)?;
        }
    }
    changes.sort_by_key(|(line, _)| *line);
    Ok(changes)
}

/// A key, or an array of keys.
fn key_names(value: &DeValue<'_>) -> Option<Vec<String>> {
    match value {
        DeValue::String(key) => Some(vec![key.to_string()]),
        DeValue::Array(keys) => {
            keys.iter().map(|key| Some(key.get_ref().as_str()?.to_owned())).collect()
        }
        _ => None,
    }
}

/// Compares the sources of two arguments: command line over variable over file. `None` if both are on the
/// command line, which is a usage error.
pub(super) fn compare_sources(matches: &ArgMatches, one: &str, other: &str) -> Option<Ordering> {
    let [one, other] = [one, other].map(|argument| matches.value_source(argument));
    let both_typed = one == Some(ValueSource::CommandLine) && one == other;
    (!both_typed).then(|| one.cmp(&other))
}

/// The key of an argument in the file.
fn setting_key(arg: &Arg) -> String {
    arg.get_id().as_str().replace('_', "-")
}

/// The settings file of the user. `None` without a home directory.
pub(super) fn file() -> Option<PathBuf> {
    Some(paths::config_dir()?.join("config.toml"))
}

fn invalid(reason: &dyn fmt::Display) -> CliError {
    let path = file().unwrap_or_default();
    let path = path.display();
    CliError::usage(format!("cannot use {path}: {reason}\ncorrect the file, or delete it"))
}

/// Reads the user's settings file. A missing file is an empty one.
///
/// # Errors
/// The file cannot be read or is invalid.
pub(super) fn load() -> anyhow::Result<Settings> {
    let Some(path) = file() else { return Ok(Settings::default()) };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.parse().map_err(|error: SettingsError| invalid(&error))?),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Settings::default()),
        Err(error) => Err(invalid(&error).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_environment_variable_is_a_setting_listed_in_readme() {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for subcommand in Cli::command().get_subcommands() {
            for arg in subcommand.get_arguments().filter(|arg| arg.get_env().is_some()) {
                let key = setting_key(arg);
                let variable = format!("CHAT_{}", key.replace('-', "_").to_uppercase());
                assert_eq!(arg.get_env().unwrap(), variable.as_str());
                found.entry(key).or_default().push(format!("`{}`", subcommand.get_name()));
            }
        }
        assert!(all().iter().map(|setting| &setting.key).eq(found.keys()), "{found:?}");
        let readme = include_str!("../../README.md");
        let (_, table) = readme.split_once("| setting | used by | meaning (default) |").unwrap();
        let (table, _) = table.split_once("\n\n").unwrap();
        let rows = table.lines().skip(2).map(|row| {
            let mut cells = row.split(" | ");
            let key = cells.next().unwrap().trim_start_matches("| `").trim_end_matches('`');
            (key.to_owned(), cells.next().unwrap().split(", ").map(str::to_owned).collect())
        });
        assert_eq!(rows.collect::<BTreeMap<_, _>>(), found);
    }

    #[test]
    fn settings_error_names_line_and_key() {
        for (text, words) in [
            ("\nlisen = 'x'", ["line 2", "unknown setting `lisen`", "did you mean `listen`?"]),
            ("open = true\nkeep = 'long'", ["line 2", "'long'", "--keep"]),
            ("keep = -1", ["line 1", "-1", "--keep"]),
            ("open = 1", ["line 1", "`open`", "true or false"]),
            ("keep = [1]", ["line 1", "`keep`", "a number"]),
            ("listen = 'host:x'", ["line 1", "is not a port", "listen"]),
            ("id = 'two words'", ["line 1", "id", ""]),
            ("name = 'two words'", ["line 1", "a name is", "name"]),
            ("per-address = 0", ["line 1", "'0'", "per-address"]),
            ("server = 'https://example.org'", ["line 1", "chat://", "https://example.org"]),
            ("open = true\nopen = true", ["line 2", "duplicate key", "open"]),
            ("open", ["line 1", "", ""]),
            ("rooms = 'nobody'", ["line 1", "anyone or admins", "rooms"]),
            ("key-preset = 'vi'", ["line 1", "default, vim and emacs", "key-preset"]),
            ("keys = 'vim'", ["line 1", "[keys]", ""]),
            ("[keys]\nsearch = 1", ["line 2", "strings", ""]),
            ("[keys.in]\npicked = 1", ["line 2", "[keys.in.picked]", ""]),
            ("keep = \x1b]0;x", ["line 1", "", ""]),
        ] {
            let error = text.parse::<Settings>().unwrap_err().to_string();
            for word in words {
                assert!(error.contains(word), "{text:?}: {error}");
            }
            assert!(!error.contains('\x1b'), "{error:?}");
        }
    }

    #[test]
    fn refused_key_names_its_line() {
        let text = "[keys]\nhelp = 'f9'\n\n[keys.in.menu]\nreply = ['a', 'd']\n";
        let settings: Settings = text.parse().unwrap();
        let error = settings.keymap(KeyPreset::Default).unwrap_err().to_string();
        assert!(error.contains("line 5: d runs both `reply` and `delete`"), "{error}");
    }
}
