//! What several subcommands are told in the same way: addresses and folders.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context;
use etcetera::BaseStrategy;
use serde::Deserialize;

/// The port where none is given, as in the original.
pub const DEFAULT_PORT: u16 = 65_432;

/// `HOST[:PORT]`, where HOST is a name, an IPv4 address, or an IPv6 address (in brackets if a port
/// follows).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ListenAddress {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_ipv6 = |host: &str| host.parse::<std::net::Ipv6Addr>().is_ok();
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) if is_ipv6(host) => (host, None),
            Some((host, port)) if is_ipv6(host) && port.starts_with(':') => {
                (host, port.strip_prefix(':'))
            }
            Some(_) => return Err("in brackets stands an IPv6 address: [::1]:65432".to_owned()),
            None if is_ipv6(text) => (text, None),
            None => text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || !host.chars().all(is_name) || (host.contains(':') && !is_ipv6(host)) {
            return Err("an address is HOST or HOST:PORT, such as localhost:65432".to_owned());
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => port
                .parse()
                .map_err(|error| format!("{port:?} is no port from 0 to 65535: {error}"))?,
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

impl TryFrom<String> for ListenAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The user's data folder for this program, such as `~/.local/share/chat`.
pub fn data_folder() -> anyhow::Result<PathBuf> {
    let base = etcetera::choose_base_strategy()
        .context("there is no home folder: say with --data where to keep data")?;
    Ok(base.data_dir().join("chat"))
}

/// The user's configuration folder for this program, such as `~/.config/chat`; none without a home.
pub(super) fn config_folder() -> Option<PathBuf> {
    Some(etcetera::choose_base_strategy().ok()?.config_dir().join("chat"))
}

/// Where the client keeps its key and what waits to be sent: `client` in the user's data folder, or in
/// `CHAT_HOME` if that says another.
pub fn client_folder() -> anyhow::Result<PathBuf> {
    let base = match std::env::var_os("CHAT_HOME").filter(|home| !home.is_empty()) {
        Some(home) => PathBuf::from(home),
        None => etcetera::choose_base_strategy()
            .context("there is no home folder: say with CHAT_HOME where to keep your key")?
            .data_dir()
            .join("chat"),
    };
    Ok(base.join("client"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_address_parses_and_displays() {
        for (written, host, port, shown) in [
            ("localhost", "localhost", 65_432, "localhost:65432"),
            ("chat.example.org:7000", "chat.example.org", 7_000, "chat.example.org:7000"),
            ("127.0.0.1:0", "127.0.0.1", 0, "127.0.0.1:0"),
            ("::1", "::1", 65_432, "[::1]:65432"),
            ("[::1]", "::1", 65_432, "[::1]:65432"),
            ("[::1]:80", "::1", 80, "[::1]:80"),
        ] {
            let address: ListenAddress = written.parse().unwrap();
            assert_eq!((address.host.as_str(), address.port), (host, port), "{written}");
            assert_eq!(address.to_string(), shown);
        }
        for wrong in
            ["", ":80", "a b", "host:", "host:x", "host:70000", "[::1]80", "[x]:80", "a:b:c"]
        {
            assert!(wrong.parse::<ListenAddress>().is_err(), "{wrong:?}");
        }
    }
}
