//! Server addresses: `HOST`, `HOST:PORT`, an IPv6 address or `[IPV6]:PORT`.
//!
//! Pure: `dial` resolves host names, and `link` parses `chat://` links. The command line parses listen
//! addresses with the functions of this module.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;

/// The port of a server unless another is given. The original server uses the same one.
pub const DEFAULT_PORT: u16 = 65432;

/// The longest host name, in bytes (RFC 1035 §2.3.4, without the final dot).
const MAX_HOST_BYTES: usize = 253;

/// The host and port of a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerAddress {
    host: String,
    port: u16,
}

/// Why a text is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AddressError {
    /// The text as a whole, or its host, is malformed.
    #[error(
        "not a server address: write HOST, HOST:PORT, [IPV6]:PORT or chat://HOST:PORT (such as \
         127.0.0.1:{DEFAULT_PORT})"
    )]
    Malformed,
    /// The port is not a number or out of range.
    #[error("the port must be a number from 1 to 65535 (default: {DEFAULT_PORT})")]
    BadPort,
}

impl ServerAddress {
    /// Returns the host name or IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port, which is never 0.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Default for ServerAddress {
    fn default() -> Self {
        Self { host: "127.0.0.1".to_owned(), port: DEFAULT_PORT }
    }
}

impl From<SocketAddr> for ServerAddress {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

impl FromStr for ServerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = split_host_port(text.trim())?;
        let port = port.map_or(Ok(DEFAULT_PORT), parse_port)?;
        if port == 0 {
            return Err(AddressError::BadPort);
        }
        // Host names ignore case, and pins are looked up by them.
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&join_host_port(&self.host, self.port))
    }
}

/// Splits an address into its host, without brackets, and its port, if it has one. The host is valid; the
/// port is any text.
///
/// # Errors
/// [`AddressError::Malformed`].
pub fn split_host_port(text: &str) -> Result<(&str, Option<&str>), AddressError> {
    if let Some((host, after)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return match (is_ipv6(host), after.strip_prefix(':')) {
            (true, Some(port)) => Ok((host, Some(port))),
            (true, None) if after.is_empty() => Ok((host, None)),
            (true | false, Some(_) | None) => Err(AddressError::Malformed),
        };
    }
    if is_ipv6(text) {
        return Ok((text, None));
    }
    match text.split_once(':') {
        None if is_host_name(text) => Ok((text, None)),
        Some((host, port)) if is_host_name(host) && !port.contains(':') => Ok((host, Some(port))),
        None | Some(_) => Err(AddressError::Malformed),
    }
}

/// Parses a port, which may be 0. Only digits are allowed, no sign.
///
/// # Errors
/// [`AddressError::BadPort`].
pub fn parse_port(digits: &str) -> Result<u16, AddressError> {
    let port = digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
    port.ok_or(AddressError::BadPort)
}

/// Joins a host and a port; an IPv6 address gets brackets.
pub fn join_host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Whether a text is an IPv6 address. A link-local one may have a zone (`fe80::1%eth0`).
fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    let zone_fits = !zone.is_empty() && zone.bytes().all(|b| b.is_ascii_alphanumeric());
    zone_fits && address.parse::<Ipv6Addr>().is_ok()
}

/// Whether a text is a host name or an IPv4 address. Internationalized names must be in their `xn--` form.
fn is_host_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let starts_alphanumeric = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    starts_alphanumeric && text.len() <= MAX_HOST_BYTES && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_parse_and_print_canonically() {
        for (text, shown) in [
            ("127.0.0.1", "127.0.0.1:65432"),
            ("Example.ORG:7000", "example.org:7000"),
            (" box-2.local ", "box-2.local:65432"),
            ("::1", "[::1]:65432"),
            ("[::1]", "[::1]:65432"),
            ("[::1]:7000", "[::1]:7000"),
            ("[fe80::1%eth0]:7000", "[fe80::1%eth0]:7000"),
        ] {
            let address: ServerAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), shown, "{text:?}");
            assert_eq!(shown.parse(), Ok(address));
        }
        assert_eq!(ServerAddress::default().to_string(), "127.0.0.1:65432");
    }

    #[test]
    fn malformed_addresses_are_rejected() {
        use AddressError::{BadPort, Malformed};
        for (text, error) in [
            ("", Malformed),
            ("two words", Malformed),
            ("tom@example.org", Malformed),
            ("-oProxy", Malformed),
            ("[::1", Malformed),
            ("[::1]7000", Malformed),
            ("[example.org]:7000", Malformed),
            ("1::2::3", Malformed),
            ("x\x1b[31m", Malformed),
            ("example.org:", BadPort),
            ("example.org:0", BadPort),
            ("example.org:+1", BadPort),
            ("example.org:70000", BadPort),
            ("https://example.org", BadPort),
        ] {
            assert_eq!(text.parse::<ServerAddress>(), Err(error), "{text:?}");
        }
    }
}
