//! What several subcommands are told in the same way: addresses and folders.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context;
use etcetera::BaseStrategy;

/// The port where none is given, as in the original.
pub const DEFAULT_PORT: u16 = 65_432;

/// `HOST[:PORT]`, where HOST is a name, an IPv4 address, or an IPv6 address (in brackets if a port
/// follows).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_ipv6 = |host: &str| host.parse::<std::net::Ipv6Addr>().is_ok();
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) if is_ipv6(host) => (host, port.strip_prefix(':')),
            Some(_) => return Err("between [ and ] stands an IPv6 address".to_owned()),
            None if is_ipv6(text) => (text, None),
            None => text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() || host.contains(char::is_whitespace) || text.ends_with(']') != port.is_none() && text.starts_with('[') {
            return Err("an address is HOST or HOST:PORT, such as localhost:65432".to_owned());
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => {
                port.parse().map_err(|_| format!("a port is a number from 0 to 65535, not {port:?}"))?
            }
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// The user's data folder for this program, such as `~/.local/share/chat`.
pub fn data_folder() -> anyhow::Result<PathBuf> {
    let base = etcetera::choose_base_strategy()
        .context("there is no home folder: say with --data where to keep data")?;
    Ok(base.data_dir().join("chat"))
}
