//! `chat invite`: a link that lets somebody new in, as text, and as a picture for a phone or a camera
//! where there is room for it.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;

use anyhow::bail;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use super::local_server::LocalServer;
use super::serve::join_address;
use crate::client::address::{DEFAULT_PORT, ServerAddress};
use crate::client::link::ServerLink;
use crate::protocol::invite::Invite;
use crate::server::admin::{AdminCommand, AdminReply};
use crate::server::limits::{INVITE_MAX_SECONDS, INVITE_MAX_USES};

/// The light frame around the picture, in modules: one line of text above and below. The standard wants
/// four (ISO/IEC 18004 §6.3.8); with two the picture fits 80x24 together with its link.
const QUIET_ZONE: usize = 2;

/// What can follow `chat invite`.
#[derive(Debug, clap::Args)]
pub(super) struct InviteArgs {
    /// How many people it lets in
    #[arg(
        long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(INVITE_MAX_USES))
    )]
    uses: u32,
    /// For how long: 90m, 24h, 7d
    #[arg(long = "for", value_name = "TIME", default_value = "24h", value_parser = parse_lifetime)]
    lifetime: u32,
    /// The name or address under which others reach this machine [default: found out]
    #[arg(long, value_name = "HOST")]
    host: Option<ServerAddress>,
    #[command(flatten)]
    server: LocalServer,
}

/// Prints the link, and on a terminal what goes with it.
pub(super) async fn run(args: InviteArgs) -> anyhow::Result<()> {
    let invite = Invite::new(rand::random());
    let act =
        AdminCommand::Invite { invite: invite.clone(), uses: args.uses, seconds: args.lifetime };
    let AdminReply::Invited { listening, fingerprint } = args.server.request(&act).await? else {
        bail!("the server is of another version: start it anew");
    };
    let server = match args.host {
        Some(host) => format!("{}:{}", bracketed(host.host()), listening.port()).parse()?,
        None => public_address(listening),
    };
    let link = ServerLink { server, pin: Some(fingerprint), invite: Some(invite) }.to_string();
    let mut out = std::io::stdout().lock();
    if let Some(picture) = terminal_size().and_then(|room| qr_code(&link, room)) {
        out.write_all(picture.as_bytes())?;
    }
    writeln!(out, "{link}")?;
    out.flush()?;
    if listening.ip().is_loopback() {
        // Where nobody reads it, the hint isn't missed.
        let hint = "this server listens to this machine alone, so the link is of use here alone";
        writeln!(std::io::stderr(), "{hint}").unwrap_or_default();
    }
    Ok(())
}

/// Where others reach what listens on `address`.
fn public_address(address: SocketAddr) -> ServerAddress {
    ServerAddress::from(join_address(address).unwrap_or(address))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// A time as people write it, in seconds.
fn parse_lifetime(text: &str) -> Result<u32, String> {
    let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).unwrap_or_default();
    let unit = match unit {
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err("a time is a number and m, h or d, such as 24h".to_owned()),
    };
    let digits = Some(digits).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse::<u32>().ok());
    number
        .and_then(|number| number.checked_mul(unit))
        .filter(|seconds| (1..=INVITE_MAX_SECONDS).contains(seconds))
        .ok_or_else(|| format!("an invite lives from 1m to {}d", INVITE_MAX_SECONDS / 86_400))
}

/// Columns and lines of the terminal that standard output is, if it is one.
fn terminal_size() -> Option<(usize, usize)> {
    let out = std::io::stdout();
    let size = rustix::termios::tcgetwinsize(&out).ok().filter(|_| out.is_terminal())?;
    Some((usize::from(size.ws_col), usize::from(size.ws_row)))
}

/// The link as a QR code, if it fits beside the link itself and the prompt that follows. Black on white,
/// whatever the colours of the terminal are: not every reader reads it the other way round.
fn qr_code(link: &str, (columns, lines): (usize, usize)) -> Option<String> {
    // The port that is meant anyway is left out: the code is a size smaller for it.
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
    let mut picture = String::new();
    for row in rows {
        // Writing to a String does not fail.
        writeln!(picture, "\x1b[38;5;16;48;5;231m{side}{row}{side}\x1b[0m").unwrap_or_default();
    }
    Some(picture)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invite_lifetime_is_bounded() {
        for (text, found) in [("1m", 60), ("24h", 86_400), ("7d", 604_800), ("30d", 2_592_000)] {
            assert_eq!(parse_lifetime(text), Ok(found));
        }
        for wrong in ["", "h", "24", "0h", "31d", "-1h", "+1h", "1.5h", "1w", "4294967295d", "1€"]
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
        let picture = qr_code(&link, (80, 24)).unwrap();
        let rows: Vec<_> = picture.lines().collect();
        assert!(rows.len() + 3 <= 24, "with the link and a prompt: {} rows", rows.len());
        for row in rows {
            let blocks =
                row.trim_start_matches("\x1b[38;5;16;48;5;231m").trim_end_matches("\x1b[0m");
            assert!(blocks.chars().all(|c| " ▀▄█".contains(c)), "{blocks:?}");
            assert_eq!(blocks.chars().count(), 41);
        }
        assert_eq!(super::qr_code(&link, (80, 23)), None);
        assert_eq!(super::qr_code(&link, (40, 60)), None);
    }
}
