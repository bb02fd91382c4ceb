//! Ban targets: a key, or a network of IP addresses. Bans are enforced by the server's login policy.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv6Net};
use thiserror::Error;

/// What is banned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BanTarget {
    /// The SHA-256 of a client's public key.
    Key([u8; 32]),
    /// All addresses of a network. Its host bits are zero, so that equal networks are equal values.
    Network(IpNet),
}

/// The text is neither an IP address nor a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected an IP address or network, such as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/64")]
pub struct NetworkError;

/// The network that is taken to be one client: a single IPv4 address, or a /64 of IPv6, within which a
/// client chooses its addresses freely (RFC 4291 §2.5.1). An IPv4-mapped address counts as IPv4.
pub fn client_network(address: IpAddr) -> IpNet {
    match address.to_canonical() {
        address @ IpAddr::V4(_) => address.into(),
        IpAddr::V6(address) => Ipv6Net::new_assert(address, 64).trunc().into(),
    }
}

/// Parses `ADDRESS/PREFIX`, whose host bits are ignored, or an address, which stands for its
/// [`client_network`].
pub fn parse_network(text: &str) -> Result<IpNet, NetworkError> {
    let Some((address, prefix)) = text.split_once('/') else {
        return text.parse().map(client_network).map_err(|_invalid| NetworkError);
    };
    let address = address.parse().map_err(|_invalid| NetworkError)?;
    // `u8` parses a sign, too.
    if !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NetworkError);
    }
    let prefix = prefix.parse().map_err(|_invalid| NetworkError)?;
    IpNet::new(address, prefix).map(|network| network.trunc()).map_err(|_invalid| NetworkError)
}

/// Whether `address` is in `network`. An IPv4-mapped address counts as IPv4.
pub fn network_contains(network: &IpNet, address: IpAddr) -> bool {
    network.contains(&address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_parsed_and_matched() {
        for (written, shown, inside, outside) in [
            ("203.0.113.7", "203.0.113.7/32", "203.0.113.7", "203.0.113.8"),
            ("203.0.113.7/24", "203.0.113.0/24", "::ffff:203.0.113.9", "203.0.114.7"),
            ("0.0.0.0/0", "0.0.0.0/0", "198.51.100.1", "2001:db8::1"),
            ("::ffff:203.0.113.7", "203.0.113.7/32", "203.0.113.7", "203.0.113.8"),
            ("2001:db8::1", "2001:db8::/64", "2001:db8::2:3", "2001:db8:0:1::1"),
            ("2001:db8::1/128", "2001:db8::1/128", "2001:db8::1", "2001:db8::2"),
            ("::/0", "::/0", "2001:db8::1", "203.0.113.7"),
        ] {
            let network = parse_network(written).unwrap();
            assert_eq!(network.to_string(), shown);
            assert_eq!(parse_network(shown), Ok(network));
            assert!(network_contains(&network, inside.parse().unwrap()), "{written}");
            assert!(!network_contains(&network, outside.parse().unwrap()), "{written}");
        }
        for invalid in
            ["", "x", "1.2.3", "1.2.3.4/", "1.2.3.4/33", "1.2.3.4/+1", "::1/129", "::1/-1"]
        {
            assert_eq!(parse_network(invalid), Err(NetworkError), "{invalid:?}");
        }
    }
}
