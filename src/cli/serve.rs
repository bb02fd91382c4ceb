//! `chat serve`: runs a server in the foreground.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{self, Path, PathBuf};

use anyhow::Context as _;
use clap::builder::BoolishValueParser;
use tokio_util::sync::CancellationToken;

use super::access_args::AccessArgs;
use super::listen_address::ListenAddress;
use super::output::{format_bytes, print};
use super::{fd_limit, logging, paths, signals};
use crate::client::address::DEFAULT_PORT;
use crate::server::hub::{AccessMode, KeyHash};
use crate::server::{RoomCreators, RoomSettings, Server, ServerLimits, ServerOptions, limits};
use crate::store::{LogSize, Retention, RoomLimits};
use crate::tls::server::ServerIdentity;

/// The arguments of `chat serve`. `chat host` takes them too.
#[derive(Debug, clap::Args)]
pub(super) struct ServeArgs {
    /// Address to listen on; port 0 picks a free port
    #[arg(long, env = "CHAT_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:65432")]
    pub(super) listen: ListenAddress,
    /// Directory of the server's data [default: your data directory]
    #[arg(long, env = "CHAT_DATA", value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// Directory of cert.pem and key.pem [default: certs in the data directory]
    ///
    /// Both files are created if they are missing. `chat serve` reads them again on SIGHUP.
    #[arg(long, env = "CHAT_CERTS", value_name = "DIR")]
    pub(super) certs: Option<PathBuf>,
    /// Delete messages after this many days [default: keep them forever]
    ///
    /// With 0, messages are kept for ten minutes, so that clients can resume after a lost connection,
    /// and direct messages until they are delivered.
    #[arg(long, env = "CHAT_KEEP", value_name = "DAYS")]
    pub(super) keep: Option<u32>,
    #[command(flatten)]
    pub(super) access: AccessArgs,
    /// Who may create rooms: `anyone` with a key, or only `admins`
    #[arg(long, env = "CHAT_ROOMS", value_name = "WHO", default_value = "anyone")]
    pub(super) rooms: RoomCreators,
    /// Maximum number of rooms, not counting archived ones
    #[arg(long, env = "CHAT_MAX_ROOMS", value_name = "NUM", default_value_t = limits::ROOM_LIMITS.rooms)]
    pub(super) max_rooms: u32,
    /// Maximum number of rooms that a user may be a member of
    #[arg(long, env = "CHAT_MAX_MEMBERSHIPS", value_name = "NUM", default_value_t = limits::ROOM_LIMITS.memberships)]
    pub(super) max_memberships: u32,
    /// Maximum number of connections from one IP address
    ///
    /// Connections from a loopback address are not limited.
    #[arg(
        long, env = "CHAT_PER_ADDRESS", value_name = "NUM",
        default_value_t = limits::CONNECTIONS_PER_ADDRESS,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(super) per_address: u32,
    /// Rate limit of each user, in messages per second
    ///
    /// Five times as many are allowed in a burst. Messages beyond the limit are delayed, not dropped.
    #[arg(long, env = "CHAT_MESSAGES_PER_SECOND", value_name = "NUM", default_value_t = limits::DEFAULT_RATES.messages.per_second,
        value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) messages_per_second: u32,
    /// Turn off rate limits and connection limits
    ///
    /// Use this for benchmarks and on trusted networks only.
    #[arg(long, env = "CHAT_NO_RATE_LIMITS", value_parser = BoolishValueParser::new())]
    pub(super) no_rate_limits: bool,
}

/// Serves until SIGINT or SIGTERM. SIGHUP reloads the certificate.
pub(super) async fn run(args: ServeArgs) -> anyhow::Result<()> {
    logging::init();
    let server = bind(&args, None).await?;
    print_startup_lines(&startup_lines(&server, &args));
    let stop = CancellationToken::new();
    let identity = server.identity();
    let serving = async { Ok(server.run(stop.clone()).await?) };
    signals::with_shutdown_and_hangup(&stop, || reload_certificate(&identity), serving).await
}

fn reload_certificate(identity: &ServerIdentity) {
    let previous = identity.fingerprint();
    match identity.reload() {
        Err(error) => {
            tracing::error!(%error, "cannot reload the certificate, keeping the current one");
        }
        Ok(()) if identity.fingerprint() == previous => tracing::info!("certificate reloaded"),
        Ok(()) => tracing::warn!(
            fingerprint = %identity.fingerprint(), %previous,
            "certificate reloaded with another key: clients that pinned the previous one refuse to connect"
        ),
    }
}

/// Opens the server that `args` describe. The user whose key is `host` needs no invite.
pub(super) async fn bind(args: &ServeArgs, host: Option<KeyHash>) -> anyhow::Result<Server> {
    let data = match &args.data {
        Some(data) => data.clone(),
        None => paths::data_dir()?,
    };
    let certs = args.certs.clone().unwrap_or_else(|| data.join("certs"));
    let retention = args.keep.map_or(Retention::Forever, Retention::Days);
    let listen = resolve(&args.listen).await?;
    let is_public = listen.iter().any(|address| !address.ip().is_loopback());
    let access = match args.access {
        AccessArgs::Open => AccessMode::Open,
        AccessArgs::Default if !is_public => AccessMode::Open,
        AccessArgs::Default | AccessArgs::InviteOnly => AccessMode::InviteOnly { host },
    };
    fd_limit::raise();
    let limits = if args.no_rate_limits {
        ServerLimits::default()
    } else {
        ServerLimits {
            connections_per_address: Some(args.per_address),
            rates: Some(limits::rates_for(args.messages_per_second)),
        }
    };
    let room_limits = RoomLimits { rooms: args.max_rooms, memberships: args.max_memberships };
    let rooms = RoomSettings { creators: args.rooms, limits: room_limits };
    let options = ServerOptions { listen, certs, data, retention, access, rooms, limits };
    Ok(Server::bind(options).await?)
}

async fn resolve(listen: &ListenAddress) -> anyhow::Result<Vec<SocketAddr>> {
    let addresses = tokio::net::lookup_host((listen.host.as_str(), listen.port)).await;
    let addresses: Vec<_> =
        addresses.with_context(|| format!("cannot resolve the host {}", listen.host))?.collect();
    anyhow::ensure!(!addresses.is_empty(), "the host {} has no IP address", listen.host);
    Ok(addresses)
}

/// The address, the fingerprint, the command to join, the login policy and the size of the log.
pub(super) fn startup_lines(server: &Server, args: &ServeArgs) -> String {
    let address = server.local_addr();
    let join = match join_address(address) {
        Some(server) => format!("chat join {server} --name YOURNAME"),
        None => "chat join --name YOURNAME".to_owned(),
    };
    let access = match server.access() {
        AccessMode::Open if address.ip().is_loopback() => String::new(),
        AccessMode::Open => "open to anyone who can reach this port\n".to_owned(),
        AccessMode::InviteOnly { .. } => format!(
            "new users need an invite, create one with: chat invite{}\n",
            args.data.as_deref().map_or_else(String::new, data_flag)
        ),
    };
    let LogSize { messages, bytes } = server.log_size();
    format!(
        "listening on {address}\nfingerprint {}\njoin with: {join}\n{access}{messages} messages in the log, {}\n",
        server.fingerprint(),
        format_bytes(bytes)
    )
}

/// The `--data` flag that selects this server in a shell, whatever the working directory. Empty for the
/// default directory.
fn data_flag(data: &Path) -> String {
    let data = path::absolute(data).unwrap_or_else(|_no_working_dir| data.to_owned());
    if paths::data_dir().is_ok_and(|default| default == data) {
        return String::new();
    }
    let data = data.to_string_lossy();
    // Quoting fails only for a NUL byte, which no path contains.
    format!(" --data {}", shlex::try_quote(&data).unwrap_or(Cow::Borrowed(&data)))
}

/// Prints the startup lines. A closed standard output does not stop the server.
pub(super) fn print_startup_lines(lines: &str) {
    drop(print(lines));
}

/// The address to type after `chat join`. `None` for its default.
pub(super) fn join_address(address: SocketAddr) -> Option<SocketAddr> {
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT));
    if address.ip().is_unspecified() {
        return Some(outbound_address(address).unwrap_or(address));
    }
    Some(address).filter(|address| *address != default)
}

/// The address of this machine on the network. Nothing is sent: connecting a UDP socket only makes the
/// system choose a source address.
fn outbound_address(listening: SocketAddr) -> Option<SocketAddr> {
    let (from, to): (SocketAddr, SocketAddr) = match listening {
        SocketAddr::V4(_) => {
            ((Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv4Addr::new(192, 0, 2, 1), 9).into())
        }
        SocketAddr::V6(_) => {
            let documentation = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
            ((Ipv6Addr::UNSPECIFIED, 0).into(), (documentation, 9).into())
        }
    };
    let socket = UdpSocket::bind(from).ok()?;
    socket.connect(to).ok()?;
    Some(SocketAddr::new(socket.local_addr().ok()?.ip(), listening.port()))
}
