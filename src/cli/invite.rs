//! `chat invite`: creates an invite and prints its link, and a QR code if the terminal is large enough.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::net::SocketAddr;

use anyhow::bail;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use super::local_server::LocalServer;
use super::output::{print, print_note};
use super::serve::join_address;
use crate::client::address::{DEFAULT_PORT, ServerAddress};
use crate::client::duration;
use crate::client::link::ServerLink;
use crate::protocol::id::RoomName;
use crate::protocol::invite::Invite;
use crate::server::admin::{AdminCommand, AdminReply};
use crate::server::limits::{INVITE_MAX_SECONDS, INVITE_MAX_USES};

/// The light frame around the QR code, in modules: one line of text above and below. ISO/IEC 18004 §6.3.8
/// requires four; with two, the code fits a terminal of 80x24 together with its link.
const QUIET_ZONE: usize = 2;

/// The arguments of `chat invite`.
#[derive(Debug, clap::Args)]
pub(super) struct InviteArgs {
    /// Number of users that the link admits
    #[arg(
        long, value_name = "NUM", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(INVITE_MAX_USES))
    )]
    uses: u32,
    /// How long the link is valid, such as 90m, 24h, 7d or 2w
    #[arg(long = "for", value_name = "DURATION", default_value = "24h", value_parser = parse_lifetime)]
    lifetime: u32,
    /// Room that the new users become members of; repeat it for more
    ///
    /// In a private room they see only later messages.
    #[arg(long = "room", value_name = "ROOM", value_parser = RoomName::from_input)]
    rooms: Vec<RoomName>,
    /// Name or address of this machine in the link [default: its address on the network]
    #[arg(long, value_name = "HOST")]
    host: Option<ServerAddress>,
    #[command(flatten)]
    server: LocalServer,
}

/// Creates the invite and prints it.
pub(super) async fn run(args: InviteArgs) -> anyhow::Result<()> {
    let invite = Invite::new(rand::random());
    let command = AdminCommand::Invite {
        invite: invite.clone(),
        uses: args.uses,
        seconds: args.lifetime,
        rooms: args.rooms,
    };
    let AdminReply::Invited { listening, fingerprint } = args.server.request(&command).await?
    else {
        bail!("unexpected answer: the server runs another version of chat (restart it)");
    };
    let server = match args.host {
        Some(host) => format!("{}:{}", bracketed(host.host()), listening.port()).parse()?,
        None => public_address(listening),
    };
    let link = ServerLink { server, pin: Some(fingerprint), invite: Some(invite) }.to_string();
    let qr_code = terminal_size().and_then(|size| qr_code(&link, size)).unwrap_or_default();
    print(&format!("{qr_code}{link}\n"))?;
    if listening.ip().is_loopback() {
        print_note(
            "this link works on this machine only: the server listens on a loopback address (restart it with --listen)",
        );
    }
    Ok(())
}

/// The address at which other machines reach a server that listens on `address`.
fn public_address(address: SocketAddr) -> ServerAddress {
    ServerAddress::from(join_address(address).unwrap_or(address))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Parses a duration, in seconds.
fn parse_lifetime(text: &str) -> Result<u32, String> {
    let duration =
        duration::parse(text).ok_or("expected a number and a unit (m, h, d or w), such as 24h")?;
    u32::try_from(duration.as_secs())
        .ok()
        .filter(|seconds| (1..=INVITE_MAX_SECONDS).contains(seconds))
        .ok_or_else(|| format!("an invite is valid for 1m to {}d", INVITE_MAX_SECONDS / 86_400))
}

/// Columns and lines of the terminal, if standard output is one.
fn terminal_size() -> Option<(usize, usize)> {
    let out = std::io::stdout();
    let size = rustix::termios::tcgetwinsize(&out).ok().filter(|_| out.is_terminal())?;
    Some((usize::from(size.ws_col), usize::from(size.ws_row)))
}

/// Draws the link as a QR code, if it fits the terminal together with the link and the prompt. The code is
/// always black on white, because not every reader accepts inverted colors.
fn qr_code(link: &str, (columns, lines): (usize, usize)) -> Option<String> {
    // Omitting the default port makes the code one size smaller.
    let short = link.replacen(&format!(":{DEFAULT_PORT}/"), "/", 1);
    let code = QrCode::with_error_correction_level(short, EcLevel::L).ok()?;
    let width = code.width() + 2 * QUIET_ZONE;
    let needed = width.div_ceil(2) + link.len().div_ceil(columns.max(1)) + 1;
    if width > columns || needed > lines {
        return None;
    }
    let blocks = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Dark)
        .light_color(Dense1x2::Light)
        .quiet_zone(false)
        .build();
    let side = " ".repeat(QUIET_ZONE);
    let above = " ".repeat(code.width());
    let rows = std::iter::once(above.as_str()).chain(blocks.lines()).chain([above.as_str()]);
    let mut lines = String::new();
    for row in rows {
        // Writing to a String cannot fail.
        writeln!(lines, "\x1b[38;5;16;48;5;231m{side}{row}{side}\x1b[0m").unwrap_or_default();
    }
    Some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invite_lifetime_is_bounded() {
        for (text, seconds) in [("1m", 60), ("24h", 86_400), ("7d", 604_800), ("30d", 2_592_000)] {
            assert_eq!(parse_lifetime(text), Ok(seconds));
        }
        for wrong in ["", "h", "24", "0h", "31d", "-1h", "+1h", "1.5h", "5w", "4294967295d", "1€"]
        {
            assert!(parse_lifetime(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn qr_code_fits_80x24_or_is_left_out() {
        let link = format!(
            "chat://192.168.178.20:65432/#pin={}&invite={}",
            "x".repeat(43),
            "x".repeat(22)
        );
        let code = qr_code(&link, (80, 24)).unwrap();
        let rows: Vec<_> = code.lines().collect();
        assert!(rows.len() + 3 <= 24, "link and prompt included: {} rows", rows.len());
        for row in rows {
            let blocks =
                row.trim_start_matches("\x1b[38;5;16;48;5;231m").trim_end_matches("\x1b[0m");
            assert!(blocks.chars().all(|c| " ▀▄█".contains(c)), "{blocks:?}");
            assert_eq!(blocks.chars().count(), 41);
        }
        assert_eq!(qr_code(&link, (80, 23)), None);
        assert_eq!(qr_code(&link, (40, 60)), None);
    }
}
