//! `chat key`: shows, exports and imports the key that identifies the user to servers.

use std::fs::File;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};

use super::output::print;
use super::paths;
use crate::tls::client::ClientIdentity;
use crate::tls::keyfile::{self, ImportOutcome, KeyFileError};

/// The arguments of `chat key`.
#[derive(Debug, clap::Args)]
pub(super) struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, clap::Subcommand)]
enum KeyCommand {
    /// Print the fingerprint and the path of your key
    Show,
    /// Write your key to a new file, encrypted with a passphrase
    ///
    /// The passphrase is read from the terminal, or else from the first line of standard input.
    Export {
        /// File to create
        file: PathBuf,
    },
    /// Use a key that was exported on another machine
    ///
    /// The passphrase is read from the terminal, or else from the first line of standard input.
    Import {
        /// File to read
        file: PathBuf,
        /// Replace an existing key, which is kept in a file beside the new one
        #[arg(long)]
        replace: bool,
    },
}

/// Runs the subcommand.
pub(super) fn run(args: KeyArgs) -> anyhow::Result<()> {
    let path = paths::client_key()?;
    match args.command {
        KeyCommand::Show => {
            let identity = ClientIdentity::open(&path)?;
            print(&format!("{}\n{}\n", identity.fingerprint, path.display()))
        }
        KeyCommand::Export { file } => {
            let identity = ClientIdentity::open(&path)?;
            ensure!(!file.exists(), KeyFileError::Exists(file));
            keyfile::export(&identity, &file, &read_passphrase(true)?)?;
            print(&format!(
                "exported {} to {}: anyone with this file and its passphrase can log in as you\n",
                identity.fingerprint,
                file.display()
            ))
        }
        KeyCommand::Import { file, replace } => {
            // Checked before asking for the passphrase.
            File::open(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let (identity, outcome) =
                keyfile::import(&file, &read_passphrase(false)?, &path, replace)?;
            let fingerprint = identity.fingerprint;
            print(&match outcome {
                ImportOutcome::New => format!("imported {fingerprint}\n"),
                ImportOutcome::Unchanged => format!("{fingerprint} is already your key\n"),
                ImportOutcome::Replaced(old) => {
                    format!("imported {fingerprint}; the old key is kept in {}\n", old.display())
                }
            })
        }
    }
}

/// Reads the passphrase from the terminal without echo, or else from the first line of standard input.
/// For a new file, the terminal asks twice.
fn read_passphrase(is_new: bool) -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).context("cannot read the passphrase")?;
        return require_nonempty(line.trim_end_matches(['\n', '\r']).to_owned());
    }
    let ask = |prompt| rpassword::prompt_password(prompt).context("cannot read the passphrase");
    let passphrase = require_nonempty(ask("Passphrase: ")?)?;
    if is_new {
        ensure!(
            passphrase == ask("Repeat the passphrase: ")?,
            "the passphrases differ: nothing was written"
        );
    }
    Ok(passphrase)
}

fn require_nonempty(passphrase: String) -> anyhow::Result<String> {
    ensure!(!passphrase.is_empty(), "the passphrase must not be empty");
    Ok(passphrase)
}
