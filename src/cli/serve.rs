//! `chat serve`: the server alone, in the foreground.

use std::borrow::Cow;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{self, Path, PathBuf};

use anyhow::Context;
use clap::builder::BoolishValueParser;
use tokio_util::sync::CancellationToken;

use super::access_args::AccessArgs;
use super::listen_address::{self, ListenAddress};
use super::{fd_limit, logging, signals};
use crate::server::hub::{AccessMode, KeyHash};
use crate::server::{Server, ServerLimits, ServerOptions, limits};
use crate::store::{LogSize, Retention};
use crate::tls::server::ServerIdentity;

/// Where to listen and what to keep where; `chat host` takes the same.
#[derive(Debug, clap::Args)]
pub(super) struct ServeArgs {
    /// Where to listen; port 0 picks a free one
    #[arg(long, env = "CHAT_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:65432")]
    pub(super) listen: ListenAddress,
    /// Where to keep data [default: the user's data folder]
    #[arg(long, env = "CHAT_DATA", value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// Where cert.pem and key.pem are, or will be made [default: certs in the data folder]
    #[arg(long, env = "CHAT_CERTS", value_name = "DIR")]
    pub(super) certs: Option<PathBuf>,
    /// Keep messages for so many days; 0: for the ten minutes that a lost connection needs to come
    /// back, and direct messages until they are delivered [default: for ever]
    #[arg(long, env = "CHAT_KEEP", value_name = "DAYS")]
    pub(super) keep: Option<u32>,
    #[command(flatten)]
    pub(super) access: AccessArgs,
    /// How many connections one address may have at once (this machine: as many as it likes)
    #[arg(
        long, env = "CHAT_PER_ADDRESS", value_name = "NUMBER",
        default_value_t = limits::CONNECTIONS_PER_ADDRESS,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(super) per_address: u32,
    /// How many messages a second one person may send for long (five times as many at once)
    #[arg(long, env = "CHAT_MESSAGES_PER_SECOND", value_name = "N", default_value_t = limits::DEFAULT_RATES.messages.per_second,
        value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) messages_per_second: u32,
    /// Let everybody send and connect as much (for benchmarks and trusted machines)
    #[arg(long, env = "CHAT_NO_RATE_LIMITS", value_parser = BoolishValueParser::new())]
    pub(super) no_rate_limits: bool,
}

/// Serves until SIGINT or SIGTERM; at SIGHUP it reads its certificate again.
pub(super) async fn run(args: ServeArgs) -> anyhow::Result<()> {
    logging::init();
    let server = bind(&args, None).await?;
    print_startup_lines(&startup_lines(&server, &args));
    let stop = CancellationToken::new();
    let identity = server.identity();
    let serving = async { Ok(server.run(stop.clone()).await?) };
    signals::with_shutdown_and_hangup(&stop, || reload_certificate(&identity), serving).await
}

/// Whoever renews a certificate sees in the log what came of it.
fn reload_certificate(identity: &ServerIdentity) {
    let before = identity.fingerprint();
    match identity.reload() {
        Err(error) => tracing::error!(%error, "the certificate stays as it was"),
        Ok(()) if identity.fingerprint() == before => tracing::info!("the certificate is renewed"),
        Ok(()) => tracing::warn!(
            now = %identity.fingerprint(), %before,
            "the certificate is renewed, with another key: clients that know the one before refuse it"
        ),
    }
}

/// Opens the server that `args` describe. Who holds the key of its host needs no invite.
pub(super) async fn bind(args: &ServeArgs, host: Option<KeyHash>) -> anyhow::Result<Server> {
    let data = match &args.data {
        Some(data) => data.clone(),
        None => listen_address::data_folder()?,
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
    let bounds = if args.no_rate_limits {
        ServerLimits::default()
    } else {
        ServerLimits {
            connections_per_address: Some(args.per_address),
            rates: Some(limits::rates_for(args.messages_per_second)),
        }
    };
    let options = ServerOptions { listen, certs, data, retention, access, limits: bounds };
    Ok(Server::bind(options).await?)
}

async fn resolve(listen: &ListenAddress) -> anyhow::Result<Vec<SocketAddr>> {
    let found = tokio::net::lookup_host((listen.host.as_str(), listen.port)).await;
    let found: Vec<_> =
        found.with_context(|| format!("cannot find the host {}", listen.host))?.collect();
    anyhow::ensure!(!found.is_empty(), "the host {} has no address", listen.host);
    Ok(found)
}

/// Where the server is, how to know it, and what the others have to type.
pub(super) fn startup_lines(server: &Server, args: &ServeArgs) -> String {
    let address = server.local_addr();
    let join = match join_address(address) {
        Some(server) => format!("chat join {server} --name YOURNAME"),
        None => "chat join --name YOURNAME".to_owned(),
    };
    let access = match server.access() {
        AccessMode::Open if address.ip().is_loopback() => String::new(),
        AccessMode::Open => "open to anybody who can reach this port\n".to_owned(),
        AccessMode::InviteOnly { .. } => format!(
            "nobody new comes in without an invite; to make one: chat invite{}\n",
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

/// How to say from anywhere, in a shell, which data folder is meant.
fn data_flag(data: &Path) -> String {
    let data = path::absolute(data).unwrap_or_else(|_no_folder| data.to_owned());
    if listen_address::data_folder().is_ok_and(|default| default == data) {
        return String::new();
    }
    let data = data.to_string_lossy();
    // What has no quotation has a zero byte in it, as no path has.
    format!(" --data {}", shlex::try_quote(&data).unwrap_or(Cow::Borrowed(&data)))
}

/// Bytes as people say them.
pub(super) fn format_bytes(bytes: u64) -> String {
    match bytes {
        ..1_000_000 => format!("{} kB", bytes.div_ceil(1_000)),
        1_000_000..1_000_000_000 => format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10),
        _ => format!("{}.{} GB", bytes / 1_000_000_000, bytes / 100_000_000 % 10),
    }
}

pub(super) fn print_startup_lines(lines: &str) {
    let mut out = std::io::stdout().lock();
    // Where nobody reads them, the lines aren't missed.
    drop(out.write_all(lines.as_bytes()).and_then(|()| out.flush()));
}

/// What to write after `chat join`; nothing for the address that it takes by itself.
pub(super) fn join_address(address: SocketAddr) -> Option<SocketAddr> {
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, listen_address::DEFAULT_PORT));
    if address.ip().is_unspecified() {
        return Some(outbound_address(address).unwrap_or(address));
    }
    Some(address).filter(|address| *address != default)
}

/// The address of this machine as others see it. Nothing is sent: the system is asked which address it
/// would send from.
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
