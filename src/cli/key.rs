//! `chat key`: the key by which servers know this machine's user, shown, and moved to another machine.

use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, ensure};

use super::config;
use crate::tls::client::ClientIdentity;
use crate::tls::keyfile::{self, Import, KeyError};

/// What can follow `chat key`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Print the fingerprint of your key, and where it is
    Show,
    /// Write your key to a new file, encrypted by a passphrase
    Export {
        /// The file
        file: PathBuf,
    },
    /// Take over a key that was exported elsewhere, and be the same person here
    Import {
        /// The file
        file: PathBuf,
        /// Put it in the place of another key, which is kept beside it
        #[arg(long)]
        replace: bool,
    },
}

/// Shows, writes or takes a key.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let place = config::client_folder()?.join("id.pem");
    match args.verb {
        Verb::Show => {
            let own = ClientIdentity::open(&place)?;
            say(&format!("{}\n{}", own.fingerprint, place.display()))
        }
        Verb::Export { file } => {
            let own = ClientIdentity::open(&place)?;
            ensure!(!file.exists(), KeyError::Exists(file));
            keyfile::export(&own, &file, &passphrase(true)?)?;
            say(&format!(
                "{} is in {}: whoever has the file and its passphrase is you",
                own.fingerprint,
                file.display()
            ))
        }
        Verb::Import { file, replace } => {
            // Nobody is asked for the passphrase of a file that is not there.
            File::open(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let (own, import) = keyfile::import(&file, &passphrase(false)?, &place, replace)?;
            let end = match import {
                Import::New => String::new(),
                Import::Same => " already".to_owned(),
                Import::Replaced(old) => format!("; the old one is kept in {}", old.display()),
            };
            say(&format!("{} is your key here{end}", own.fingerprint))
        }
    }
}

fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("cannot write to standard output")
}

/// From the terminal, unseen; or the first line of standard input, where that is no terminal.
fn passphrase(is_new: bool) -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).context("cannot read the passphrase")?;
        return checked(line.trim_end_matches(['\n', '\r']).to_owned());
    }
    let ask = |prompt| rpassword::prompt_password(prompt).context("cannot ask for the passphrase");
    let first = checked(ask("Passphrase of the file: ")?)?;
    if is_new {
        ensure!(
            first == ask("The same again: ")?,
            "these were two passphrases: nothing was written"
        );
    }
    Ok(first)
}

fn checked(passphrase: String) -> anyhow::Result<String> {
    ensure!(!passphrase.is_empty(), "without a passphrase anybody who has the file would be you");
    Ok(passphrase)
}
