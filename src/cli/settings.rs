//! The settings file, `config.toml` in the configuration directory.
//!
//! Each key is a flag that can also be set by an environment variable, and takes the same values. The
//! value of the file becomes the default of the flag, so the variable overrides the file, and the flag
//! overrides both. Of two settings that exclude each other, the one from the stronger source wins.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::str::FromStr;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use super::exit::CliError;
use super::listen_address::ListenAddress;
use super::paths;
use crate::client::link::ServerLink;
use crate::protocol::id::{Name, UserId};
use crate::protocol::text::SafeText;
use crate::server::RoomCreators;

/// The keys of the file. Values that clap parses from text are checked here, so that an error names the
/// line, and stay text.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ConfigFile {
    ca: Option<String>,
    certs: Option<String>,
    data: Option<String>,
    #[serde(default, deserialize_with = "checked::<UserId, _>")]
    id: Option<String>,
    invite_only: Option<bool>,
    keep: Option<u32>,
    #[serde(default, deserialize_with = "checked::<ListenAddress, _>")]
    listen: Option<String>,
    max_memberships: Option<u32>,
    max_rooms: Option<u32>,
    messages_per_second: Option<NonZeroU32>,
    #[serde(default, deserialize_with = "checked::<Name, _>")]
    name: Option<String>,
    no_rate_limits: Option<bool>,
    open: Option<bool>,
    per_address: Option<NonZeroU32>,
    plain: Option<bool>,
    #[serde(default, deserialize_with = "checked::<RoomCreators, _>")]
    rooms: Option<String>,
    #[serde(default, deserialize_with = "checked::<ServerLink, _>")]
    server: Option<String>,
}

/// The settings of a file: the values of flags by key, as they would be typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<&'static str, String>);

/// A settings file is invalid. The text names the line and the key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct SettingsError(String);

impl FromStr for Settings {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        let file: ConfigFile = toml::from_str(text).map_err(|error| {
            SettingsError(SafeText::clean(&error.to_string()).as_str().trim_end().to_owned())
        })?;
        Ok(file.into())
    }
}

impl From<ConfigFile> for Settings {
    fn from(file: ConfigFile) -> Self {
        fn text(value: Option<impl ToString>) -> Option<String> {
            value.map(|value| value.to_string())
        }
        let values = [
            ("ca", file.ca),
            ("certs", file.certs),
            ("data", file.data),
            ("id", file.id),
            ("invite-only", text(file.invite_only)),
            ("keep", text(file.keep)),
            ("listen", file.listen),
            ("max-memberships", text(file.max_memberships)),
            ("max-rooms", text(file.max_rooms)),
            ("messages-per-second", text(file.messages_per_second)),
            ("name", file.name),
            ("no-rate-limits", text(file.no_rate_limits)),
            ("open", text(file.open)),
            ("per-address", text(file.per_address)),
            ("plain", text(file.plain)),
            ("rooms", file.rooms),
            ("server", file.server),
        ];
        Self(values.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
    }
}

impl Settings {
    /// Returns `command` with these settings as the defaults of its flags.
    pub(super) fn apply_as_defaults(self, command: Command) -> Command {
        command.mut_subcommands(|subcommand| {
            subcommand.mut_args(|arg| match self.0.get(setting_key(&arg).as_str()) {
                Some(value) if arg.get_env().is_some() => arg.default_value(value.clone()),
                Some(_) | None => arg,
            })
        })
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

/// Reads the user's settings file. A missing file is an empty one.
///
/// # Errors
/// The file cannot be read or is invalid.
pub(super) fn load() -> anyhow::Result<Settings> {
    let Some(path) = paths::config_dir().map(|dir| dir.join("config.toml")) else {
        return Ok(Settings::default());
    };
    let invalid = |reason: &dyn fmt::Display| {
        let path = path.display();
        CliError::usage(format!("cannot use {path}: {reason}\ncorrect the file, or delete it"))
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.parse().map_err(|error: SettingsError| invalid(&error))?),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Settings::default()),
        Err(error) => Err(invalid(&error).into()),
    }
}

/// Deserializes a text that parses as a `T`, and keeps the text.
fn checked<'de, T, D>(deserializer: D) -> Result<Option<String>, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    match text.parse::<T>() {
        Ok(_) => Ok(Some(text)),
        Err(error) => Err(serde::de::Error::custom(error)),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    const ALL_SETTINGS: &str = r#"
        ca = "system"
        certs = "/etc/chat"
        data = "/srv/chat"
        id = "Bob_4572"
        invite-only = true
        keep = 30
        listen = "[::]:7000"
        max-memberships = 50
        max-rooms = 20
        messages-per-second = 5
        name = "Bob"
        no-rate-limits = true
        open = true
        per-address = 100
        plain = false
        rooms = "admins"
        server = "chat.example.org"
    "#;

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
        let keys = ALL_SETTINGS.parse::<Settings>().unwrap().0;
        assert!(keys.keys().copied().eq(found.keys().map(String::as_str)), "{keys:?} {found:?}");
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
            ("\nlisen = 'x'", ["line 2", "unknown field `lisen`", "`listen`"]),
            ("open = true\nkeep = 'long'", ["line 2", "invalid type: string", "u32"]),
            ("keep = -1", ["line 1", "invalid value", "u32"]),
            ("open = 1", ["line 1", "invalid type", "boolean"]),
            ("listen = 'host:x'", ["line 1", "is not a port", "listen"]),
            ("id = 'two words'", ["line 1", "id", ""]),
            ("name = 'two words'", ["line 1", "a name is", "name"]),
            ("per-address = 0", ["line 1", "nonzero", "per-address"]),
            ("server = 'https://example.org'", ["line 1", "chat://", "server"]),
            ("open = true\nopen = true", ["line 2", "duplicate key", "open"]),
            ("open", ["line 1", "", ""]),
            ("rooms = 'nobody'", ["line 1", "anyone or admins", "rooms"]),
            ("keep = \x1b]0;x", ["line 1", "", ""]),
        ] {
            let error = text.parse::<Settings>().unwrap_err().to_string();
            for word in words {
                assert!(error.contains(word), "{text:?}: {error}");
            }
            assert!(!error.contains('\x1b'), "{error:?}");
        }
    }
}
