//! `chat key`: the key by which servers know this machine's user, shown, and moved to another machine.

use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, ensure};

use super::listen_address;
use crate::tls::client::ClientIdentity;
use crate::tls::keyfile::{self, ImportOutcome, KeyFileError};

/// What can follow `chat key`.
#[derive(Debug, clap::Args)]
pub(super) struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, clap::Subcommand)]
enum KeyCommand {
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
pub(super) fn run(args: KeyArgs) -> anyhow::Result<()> {
    let path = listen_address::client_folder()?.join("id.pem");
    match args.command {
        KeyCommand::Show => {
            let own = ClientIdentity::open(&path)?;
            print_line(&format!("{}\n{}", own.fingerprint, path.display()))
        }
        KeyCommand::Export { file } => {
            let own = ClientIdentity::open(&path)?;
            ensure!(!file.exists(), KeyFileError::Exists(file));
            keyfile::export(&own, &file, &read_passphrase(true)?)?;
            print_line(&format!(
                "{} is in {}: whoever has the file and its passphrase is you",
                own.fingerprint,
                file.display()
            ))
        }
        KeyCommand::Import { file, replace } => {
            // Nobody is asked for the passphrase of a file that is not there.
            File::open(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let (own, import) = keyfile::import(&file, &read_passphrase(false)?, &path, replace)?;
            let end = match import {
                ImportOutcome::New => String::new(),
                ImportOutcome::Unchanged => " already".to_owned(),
                ImportOutcome::Replaced(old) => {
                    format!("; the old one is kept in {}", old.display())
                }
            };
            print_line(&format!("{} is your key here{end}", own.fingerprint))
        }
    }
}

fn print_line(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("cannot write to standard output")
}

/// From the terminal, unseen; or the first line of standard input, where that is no terminal.
fn read_passphrase(is_new: bool) -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).context("cannot read the passphrase")?;
        return require_nonempty(line.trim_end_matches(['\n', '\r']).to_owned());
    }
    let ask = |prompt| rpassword::prompt_password(prompt).context("cannot ask for the passphrase");
    let first = require_nonempty(ask("Passphrase of the file: ")?)?;
    if is_new {
        ensure!(
            first == ask("The same again: ")?,
            "these were two passphrases: nothing was written"
        );
    }
    Ok(first)
}

fn require_nonempty(passphrase: String) -> anyhow::Result<String> {
    ensure!(!passphrase.is_empty(), "without a passphrase anybody who has the file would be you");
    Ok(passphrase)
}
