//! Whom a server shuts out: a key, or the addresses of a network. Values alone; what follows from them
//! is decided above.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

/// Somebody who is shut out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BanTarget {
    /// Whoever holds this key: the SHA-256 of the public key.
    Key([u8; 32]),
    /// Whoever comes from here.
    Network(Network),
}

/// The addresses that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A text that is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an address is such as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/64")]
pub struct NetworkError;

impl Network {
    /// The addresses that one customer of a network has: a single one in IPv4, a /64 in IPv6, within
    /// which anybody chooses freely (RFC 4291 §2.5.1).
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            address @ IpAddr::V4(_) => Self { address, prefix: 32 },
            address @ IpAddr::V6(_) => Self::masked(address, 64),
        }
    }

    /// Whether `address` is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && Self::masked(address, self.prefix) == *self
    }

    /// With all bits after the prefix at zero, so that equal networks are equal values.
    fn masked(address: IpAddr, prefix: u8) -> Self {
        let prefix_32 = u32::from(prefix);
        let address = match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - prefix_32).unwrap_or(0);
                Ipv4Addr::from_bits(address.to_bits() & mask).into()
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - prefix_32).unwrap_or(0);
                Ipv6Addr::from_bits(address.to_bits() & mask).into()
            }
        };
        Self { address, prefix }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let Some((address, prefix)) = text.split_once('/') else {
            return text.parse().map(Self::of).map_err(|_invalid| NetworkError);
        };
        let address: IpAddr = address.parse().map_err(|_invalid| NetworkError)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let digits = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
        let prefix = prefix.parse().ok().filter(|prefix| digits && *prefix <= most);
        Ok(Self::masked(address, prefix.ok_or(NetworkError)?))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
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
            let network: Network = written.parse().unwrap();
            assert_eq!(network.to_string(), shown);
            assert_eq!(shown.parse(), Ok(network));
            assert!(network.contains(inside.parse().unwrap()), "{written}");
            assert!(!network.contains(outside.parse().unwrap()), "{written}");
        }
        for wrong in ["", "x", "1.2.3", "1.2.3.4/", "1.2.3.4/33", "1.2.3.4/+1", "::1/129", "::1/-1"]
        {
            assert_eq!(wrong.parse::<Network>(), Err(NetworkError), "{wrong:?}");
        }
    }
}
