//! `chat host`: runs a server and its first client in one process.

use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, anyhow};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::join::{self, ClientArgs, ClientSetup};
use super::settings::Settings;
use super::{identity_args, logging, paths, serve, signals};
use crate::client::address::ServerAddress;
use crate::client::trust::TrustMode;
use crate::protocol::text::SafeText;
use crate::server::{Server, ServerError};

/// The arguments of `chat host`.
#[derive(Debug, clap::Args)]
pub(super) struct HostArgs {
    #[command(flatten)]
    server: serve::ServeArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// Serves and joins until the user quits, which stops the server.
pub(super) async fn run(args: HostArgs, settings: &Settings) -> anyhow::Result<()> {
    // Checked before the server starts.
    args.client.identity.name()?;
    args.client.screen.keymap(settings)?;
    // On a terminal, the log would overwrite the full screen.
    if args.client.is_plain() || !std::io::stderr().is_terminal() {
        logging::init();
    }
    let host_key = identity_args::client_identity()?.fingerprint.digest();
    let server = serve::bind(&args.server, Some(host_key)).await;
    let server = server.map_err(|error| explain_address_in_use(error, &args.server))?;
    let lines = serve::startup_lines(&server, &args.server);
    serve::print_startup_lines(&lines);
    let stop = CancellationToken::new();
    let serving = Box::pin(serve_and_join(server, &lines, args.client, settings, &stop));
    signals::with_shutdown_signals(&stop, serving).await
}

async fn serve_and_join(
    server: Server,
    startup_lines: &str,
    client: ClientArgs,
    settings: &Settings,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let notices = startup_lines.lines().map(SafeText::clean).collect();
    let address = connect_address(server.local_addr());
    let trust = TrustMode::Exactly(server.fingerprint());
    let stop_server = CancellationToken::new();
    let tasks = TaskTracker::new();
    let serving = tasks.spawn(server.run(stop_server.clone()));
    let link = ServerAddress::from(address).into();
    let setup = ClientSetup { link, trust, notices, dir: paths::client_dir()? };
    let outcome = join::run_client(client, setup, settings, stop).await;
    stop_server.cancel();
    serving.await.context("internal error: the server task panicked (please report this)")??;
    outcome
}

/// The address at which this process reaches a socket that listens on `address`.
fn connect_address(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

/// If the address is in use, the other server may be the one that the user wants to join.
fn explain_address_in_use(error: anyhow::Error, args: &serve::ServeArgs) -> anyhow::Error {
    let Some(ServerError::AddressInUse(address)) = error.downcast_ref() else {
        return error;
    };
    anyhow!(
        "cannot listen on {address}: address already in use\n\
         if a chat server runs there, join it: chat join {}\n\
         otherwise choose another port: chat host --listen {}:0",
        connect_address(*address),
        args.listen.host
    )
}
