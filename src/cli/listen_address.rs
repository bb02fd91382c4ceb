//! The address that a server listens on, as `--listen` takes it.

use std::fmt;
use std::str::FromStr;

use crate::client::address::{DEFAULT_PORT, join_host_port, parse_port, split_host_port};

/// `HOST[:PORT]`, where HOST is a name, an IPv4 address, or an IPv6 address (in brackets if a port
/// follows).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port. 0 picks a free one.
    pub port: u16,
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = split_host_port(text).map_err(|_malformed| {
            "expected HOST, HOST:PORT or [IPV6]:PORT, such as localhost:65432".to_owned()
        })?;
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => parse_port(port)
                .map_err(|_bad| format!("{port:?} is not a port from 0 to 65535"))?,
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&join_host_port(&self.host, self.port))
    }
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
