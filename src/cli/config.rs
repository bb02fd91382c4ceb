//! `chat config`: shows the settings, and writes examples of the settings file and of themes.

use std::fmt::Write as _;

use super::exit::CliError;
use super::output::print;
use super::settings::{self, Setting, Settings};
use crate::tui::Theme;

/// The arguments of `chat config`.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigArgs {
    /// Print a settings file with every setting and its default, to start from
    #[arg(long)]
    example: bool,
    /// Print a built-in theme as a file, to start from
    ///
    /// Save it as NAME.toml in the directory `themes` beside the settings file, and use it with --theme NAME.
    #[arg(long = "print-theme", value_name = "THEME", conflicts_with = "example")]
    print_theme: Option<String>,
}

/// Prints what was asked for.
pub(super) fn run(args: &ConfigArgs, file: &Settings) -> anyhow::Result<()> {
    if args.example {
        return print(&example());
    }
    if let Some(name) = &args.print_theme {
        let names = Theme::BUILT_IN.map(|(name, _)| name).join(", ");
        let theme = Theme::built_in(name);
        let unknown = || CliError::usage(format!("unknown theme {name:?}: choose one of {names}"));
        return print(&theme.ok_or_else(unknown)?.to_toml());
    }
    let path = settings::file();
    let path = match path {
        Some(path) if path.exists() => path.display().to_string(),
        Some(path) => format!("{} (missing; chat config --example prints one)", path.display()),
        None => "none, since there is no home directory".to_owned(),
    };
    print(&format!("file: {path}\n\n{}", in_force(file)))
}

/// The settings in force without flags, with where each comes from.
fn in_force(file: &Settings) -> String {
    let rows = settings::all().into_iter().map(|setting| {
        let variable = setting.arg.get_env().and_then(|name| {
            let value = std::env::var(name).ok()?;
            Some((value, name.to_string_lossy().into_owned()))
        });
        let in_file = || Some((file.value(&setting.key)?.to_owned(), "config.toml".to_owned()));
        let default =
            || (setting.default().unwrap_or_else(|| "-".to_owned()), "default".to_owned());
        let (value, source) = variable.or_else(in_file).unwrap_or_else(default);
        format!("{:<20} {value:<24} {source}\n", setting.key)
    });
    let header = format!("{:<20} {:<24} FROM\n", "SETTING", "VALUE");
    std::iter::once(header).chain(rows).collect()
}

/// A settings file with every setting, all of them commented out.
pub(super) fn example() -> String {
    let mut text =
        "# Settings of chat. A flag overrides a variable, and a variable overrides this file.\n\
                    # Remove the # in front of a setting to change it.\n"
            .to_owned();
    for setting in settings::all() {
        let about = setting.arg.get_help().map(ToString::to_string).unwrap_or_default();
        // Writing to a string does not fail.
        write!(text, "\n# {about}\n# {} = {}\n", setting.key, toml_value(&setting))
            .unwrap_or_default();
    }
    text.push_str(
        "\n# Keys of the full screen: chat keys lists the actions.\n\
         # [keys]\n# search = [\"ctrl-f\", \"f7\"]\n\
         # [keys.in.picked]\n# delete = [\"delete\"]\n",
    );
    text
}

/// The default value in TOML, or what the value is if there is no default.
fn toml_value(setting: &Setting) -> String {
    let value_name = || {
        let names = setting.arg.get_value_names().unwrap_or_default();
        names.first().map(ToString::to_string).unwrap_or_default()
    };
    let value = setting.default().unwrap_or_else(value_name);
    if setting.is_switch() || value.parse::<i64>().is_ok() { value } else { format!("\"{value}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_yields_the_defaults() {
        let text = example();
        assert_eq!(text.parse(), Ok(Settings::default()));
        let known = settings::all();
        assert!(known.len() >= 20);
        for setting in known {
            let line = format!("{} = {}", setting.key, toml_value(&setting));
            assert!(text.contains(&format!("\n# {line}\n")), "{line}");
            if let Some(default) = setting.default() {
                let read = line.parse::<Settings>().unwrap();
                assert_eq!(read.value(&setting.key), Some(default.as_str()), "{line}");
            }
        }
    }
}
