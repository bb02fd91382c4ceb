//! What leads to a server, as people pass it on: a link, or the address alone.
//!
//! Pure. `chat://HOST:PORT/#pin=…&invite=…` brings the fingerprint of the server's key, and what lets
//! somebody new in. Both stand behind the `#`, as what no program sends on by itself. Nothing in a link
//! is ignored: what this version does not know may be what keeps an impostor out.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::address::{AddressError, ServerAddress};
use crate::protocol::invite::{Invite, InviteError};
use crate::tls::fingerprint::{Fingerprint, FingerprintError};

/// The way to a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerLink {
    /// Where it is.
    pub server: ServerAddress,
    /// The key that it has to have.
    pub pin: Option<Fingerprint>,
    /// What lets somebody in who has no ID there yet.
    pub invite: Option<Invite>,
}

/// Why a text leads to no server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LinkError {
    /// Not to be found there.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A link of another kind.
    #[error("only links that begin with chat:// lead to a chat server")]
    UnknownScheme,
    /// Half a pin, mostly.
    #[error("the pin in this link is not complete: copy the whole link (its pin is {0})")]
    Pin(#[from] FingerprintError),
    /// Half an invite, mostly.
    #[error("the invite in this link is not complete: {0}")]
    Invite(#[from] InviteError),
    /// The same thing twice: which one counts?
    #[error("this link says the same thing twice: ask for another")]
    Duplicate,
    /// More than this version understands.
    #[error(
        "this link has a part that this version of chat does not know: update chat, or give HOST:PORT \
         alone if you trust the way to the server"
    )]
    UnknownPart,
}

impl From<ServerAddress> for ServerLink {
    fn from(server: ServerAddress) -> Self {
        Self { server, pin: None, invite: None }
    }
}

impl FromStr for ServerLink {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let text = text.trim();
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(text.parse::<ServerAddress>()?.into());
        };
        if !scheme.eq_ignore_ascii_case("chat") {
            return Err(LinkError::UnknownScheme);
        }
        let (location, parts) = rest.split_once('#').unwrap_or((rest, ""));
        let (server, path) = location.split_once(['/', '?']).unwrap_or((location, ""));
        if !path.is_empty() {
            return Err(LinkError::UnknownPart);
        }
        let mut link = Self::from(server.parse::<ServerAddress>()?);
        for part in parts.split('&').filter(|part| !part.is_empty()) {
            let is_second = match part.split_once('=') {
                Some(("pin", pin)) => link.pin.replace(pin.parse()?).is_some(),
                Some(("invite", invite)) => link.invite.replace(invite.parse()?).is_some(),
                Some(_) | None => return Err(LinkError::UnknownPart),
            };
            if is_second {
                return Err(LinkError::Duplicate);
            }
        }
        Ok(link)
    }
}

/// A link, or `HOST:PORT` where that says everything.
impl fmt::Display for ServerLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, pin, invite } = self;
        match (pin, invite) {
            (None, None) => write!(f, "{server}"),
            (Some(pin), None) => write!(f, "chat://{server}/#pin={}", pin.to_url_safe()),
            (None, Some(invite)) => write!(f, "chat://{server}/#invite={invite}"),
            (Some(pin), Some(invite)) => {
                write!(f, "chat://{server}/#pin={}&invite={invite}", pin.to_url_safe())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIN: &str = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
    const INVITE: &str = "AAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn links_and_addresses_parse_and_print() {
        let both = format!("chat://example.org:7000/#pin={PIN}&invite={INVITE}");
        let pin = format!("chat://[::1]:7000/#pin={PIN}");
        let invite = format!("chat://example.org:65432/#invite={INVITE}");
        for (text, shown) in [
            ("example.org", "example.org:65432"),
            (" chat://example.org ", "example.org:65432"),
            ("CHAT://example.org:7000/", "example.org:7000"),
            ("chat://[::1]:7000/#", "[::1]:7000"),
            (&both, &both),
            (&format!("chat://example.org:7000#invite={INVITE}&pin={PIN}"), &both),
            (&pin, &pin),
            (&invite, &invite),
        ] {
            let link: ServerLink = text.parse().unwrap();
            assert_eq!(link.to_string(), shown, "{text:?}");
            assert_eq!(shown.parse(), Ok(link));
        }
        let link: ServerLink = both.parse().unwrap();
        let shown = link.pin.unwrap().to_string();
        assert_eq!(shown, "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU");
        assert_eq!(link.invite.unwrap().secret(), &[0; 16]);
    }

    #[test]
    fn unknown_or_repeated_link_parts_are_rejected() {
        use LinkError::{Address, Duplicate, UnknownPart, UnknownScheme};
        let pin = format!("pin={PIN}");
        let half = PIN.split_at(20).0;
        for (text, error) in [
            ("https://example.org", UnknownScheme),
            ("chat://", Address(AddressError::Malformed)),
            ("chat://tom@example.org", Address(AddressError::Malformed)),
            ("chat://example.org:0", Address(AddressError::BadPort)),
            ("chat://chat://example.org", UnknownPart),
            ("chat://example.org/room", UnknownPart),
            ("chat://example.org?invite=def", UnknownPart),
            ("chat://example.org/#room=7", UnknownPart),
            ("chat://example.org/#pin", UnknownPart),
            ("chat://example.org/#PIN=abc", UnknownPart),
            ("chat://example.org/#pin=", LinkError::Pin(FingerprintError)),
            (&format!("chat://example.org/#pin={half}"), LinkError::Pin(FingerprintError)),
            (&format!("chat://example.org/#{pin}&invite=abc"), LinkError::Invite(InviteError)),
            (&format!("chat://example.org/#{pin}&{pin}"), Duplicate),
        ] {
            assert_eq!(text.parse::<ServerLink>(), Err(error), "{text:?}");
        }
    }
}
