//! The directories of the current user.

use std::path::PathBuf;

use anyhow::Context as _;
use etcetera::BaseStrategy as _;

/// The file of the client's key in its directory.
pub(super) const KEY_FILE: &str = "id.pem";

/// The default data directory, such as `~/.local/share/chat`.
///
/// # Errors
/// There is no home directory.
pub(super) fn data_dir() -> anyhow::Result<PathBuf> {
    let base = etcetera::choose_base_strategy()
        .context("cannot find the home directory (name a data directory with --data)")?;
    Ok(base.data_dir().join("chat"))
}

/// The configuration directory, such as `~/.config/chat`. `None` without a home directory.
pub(super) fn config_dir() -> Option<PathBuf> {
    Some(etcetera::choose_base_strategy().ok()?.config_dir().join("chat"))
}

/// The directory of the client's key, known servers, outbox and read markers: `client` in `CHAT_HOME`, or
/// in the data directory if that variable is unset or empty.
///
/// # Errors
/// `CHAT_HOME` is unset and there is no home directory.
pub(super) fn client_dir() -> anyhow::Result<PathBuf> {
    let base = match std::env::var_os("CHAT_HOME").filter(|home| !home.is_empty()) {
        Some(home) => PathBuf::from(home),
        None => etcetera::choose_base_strategy()
            .context("cannot find the home directory (set CHAT_HOME to a directory for your key)")?
            .data_dir()
            .join("chat"),
    };
    Ok(base.join("client"))
}

/// The file of the client's key.
///
/// # Errors
/// As for [`client_dir`].
pub(super) fn client_key() -> anyhow::Result<PathBuf> {
    Ok(client_dir()?.join(KEY_FILE))
}
