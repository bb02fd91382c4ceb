//! `config.toml`: settings that stand in a file, so that nobody has to type them each time.
//!
//! A key is the name of a flag that an environment variable can set, too, and takes what the flag
//! takes. What the file says becomes the flag's default; so the variable wins over it, and the flag
//! over both. Of two settings that contradict each other, the one said in the stronger place wins.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use super::exit::{CliError, ExitStatus};
use super::listen_address::{ListenAddress, config_folder};
use crate::client::link::ServerLink;
use crate::protocol::id::{Name, UserId};
use crate::protocol::text::SafeText;

/// What a file may say, by its keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[expect(dead_code, reason = "read for its mistakes; clap gets the words of the file")]
struct ConfigFile {
    ca: Option<PathBuf>,
    certs: Option<PathBuf>,
    data: Option<PathBuf>,
    #[serde(default, deserialize_with = "parsed_text")]
    id: Option<UserId>,
    invite_only: Option<bool>,
    keep: Option<u32>,
    listen: Option<ListenAddress>,
    messages_per_second: Option<NonZeroU32>,
    #[serde(default, deserialize_with = "parsed_text")]
    name: Option<Name>,
    no_rate_limits: Option<bool>,
    open: Option<bool>,
    per_address: Option<NonZeroU32>,
    plain: Option<bool>,
    #[serde(default, deserialize_with = "parsed_text")]
    server: Option<ServerLink>,
}

/// What can stand behind a key.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Said {
    Flag(bool),
    Number(i64),
    Text(String),
}

/// What a file says: keys, and what the flags of these names are given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<String, String>);

/// What is wrong with a file, with the line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct SettingsError(String);

impl FromStr for Settings {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        let mistake = |error: toml::de::Error| {
            SettingsError(SafeText::clean(&error.to_string()).as_str().trim_end().to_owned())
        };
        toml::from_str::<ConfigFile>(text).map_err(mistake)?;
        let said: BTreeMap<String, Said> = toml::from_str(text).map_err(mistake)?;
        let words = |said| match said {
            Said::Flag(is_set) => is_set.to_string(),
            Said::Number(number) => number.to_string(),
            Said::Text(text) => text,
        };
        Ok(Self(said.into_iter().map(|(key, said)| (key, words(said))).collect()))
    }
}

impl Settings {
    /// The same command line, with these as its defaults.
    pub(super) fn apply_as_defaults(self, command: Command) -> Command {
        command.mut_subcommands(|subcommand| {
            subcommand.mut_args(|arg| match self.0.get(&setting_key(&arg)) {
                Some(value) if arg.get_env().is_some() => arg.default_value(value.clone()),
                Some(_) | None => arg,
            })
        })
    }
}

/// Which of two arguments was said in the stronger place: command line, variable, file. Nothing when
/// both were typed: that is for whoever typed them to solve.
pub(super) fn compare_sources(matches: &ArgMatches, one: &str, other: &str) -> Option<Ordering> {
    let [one, other] = [one, other].map(|argument| matches.value_source(argument));
    let both_typed = one == Some(ValueSource::CommandLine) && one == other;
    (!both_typed).then(|| one.cmp(&other))
}

/// What an argument is called in the file.
fn setting_key(arg: &Arg) -> String {
    arg.get_id().as_str().replace('_', "-")
}

/// What the user's file says; nothing where there is none.
pub(super) fn load() -> anyhow::Result<Settings> {
    let Some(path) = config_folder().map(|folder| folder.join("config.toml")) else {
        return Ok(Settings::default());
    };
    let invalid = |why: &dyn fmt::Display| {
        let message = format!("{}: {why}\ncorrect it, or take it away", path.display());
        CliError { status: ExitStatus::Usage, message }
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.parse().map_err(|mistake| invalid(&mistake))?),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Settings::default()),
        Err(error) => Err(invalid(&error).into()),
    }
}

fn parsed_text<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
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
        messages-per-second = 5
        name = "Bob"
        no-rate-limits = true
        open = true
        per-address = 100
        plain = false
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
        assert!(keys.keys().eq(found.keys()), "{keys:?} {found:?}");
        let readme = include_str!("../../README.md");
        let (_, table) = readme.split_once("| setting | of | meaning |").unwrap();
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
            ("listen = 'host:x'", ["line 1", "is no port", "listen"]),
            ("id = 'two words'", ["line 1", "id", ""]),
            ("name = 'two words'", ["line 1", "a name is", "name"]),
            ("per-address = 0", ["line 1", "nonzero", "per-address"]),
            ("server = 'https://example.org'", ["line 1", "chat://", "server"]),
            ("open = true\nopen = true", ["line 2", "duplicate key", "open"]),
            ("open", ["line 1", "", ""]),
            ("keep = \x1b]0;x", ["line 1", "", ""]),
        ] {
            let mistake = text.parse::<Settings>().unwrap_err().to_string();
            for word in words {
                assert!(mistake.contains(word), "{text:?}: {mistake}");
            }
            assert!(!mistake.contains('\x1b'), "{mistake:?}");
        }
    }
}
