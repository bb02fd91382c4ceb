//! Links to servers: `chat://HOST:PORT/#pin=…&invite=…`, or an address alone.
//!
//! Pure. The pin is the fingerprint of the server's key, and the invite admits a new user. Both are in the
//! fragment, which programs such as browsers do not send to servers. Unknown parts are errors, because a
//! later version may define one that protects against an impostor.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::address::{AddressError, ServerAddress};
use crate::protocol::invite::{Invite, InviteError};
use crate::tls::fingerprint::{Fingerprint, FingerprintError};

/// The address of a server, with an optional pin and invite.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerLink {
    /// The address.
    pub server: ServerAddress,
    /// The fingerprint that the server's key must have.
    pub pin: Option<Fingerprint>,
    /// Admits a user who has no ID on the server yet.
    pub invite: Option<Invite>,
}

/// Why a text is not a link to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LinkError {
    /// The address is invalid.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The scheme is not `chat`.
    #[error("not a link to a chat server: such a link starts with chat://")]
    UnknownScheme,
    /// The pin is invalid, usually because the link was cut off.
    #[error("the pin in this link is not complete: copy the whole link ({0})")]
    Pin(#[from] FingerprintError),
    /// The invite is invalid, usually because the link was cut off.
    #[error("the invite in this link is not complete: {0}")]
    Invite(#[from] InviteError),
    /// A part occurs twice.
    #[error("this link has the same part twice: ask for a new link")]
    Duplicate,
    /// A part that this version does not support.
    #[error(
        "this link has a part that this version of chat does not support: update chat, or give HOST:PORT \
         alone if you trust the network"
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

/// Writes a link, or `HOST:PORT` if there is neither a pin nor an invite.
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
