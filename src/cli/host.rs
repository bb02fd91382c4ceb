//! `chat host`: a server and its first client, in one process.

use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::join::{self, ClientArgs};
use super::{identity_args, logging, serve, signals};
use crate::client::address::ServerAddress;
use crate::client::trust::TrustMode;
use crate::protocol::text::SafeText;
use crate::server::{self, Server};

/// What can follow `chat host`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct HostArgs {
    #[command(flatten)]
    server: serve::ServeArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// Serves, and joins, until the person leaves: the server ends with its host.
pub(super) async fn run(args: HostArgs) -> anyhow::Result<()> {
    args.client.identity.name()?;
    // A log would be written over the full screen.
    if args.client.is_plain() || !std::io::stderr().is_terminal() {
        logging::init();
    }
    let own = identity_args::client_identity()?.fingerprint.digest();
    let server = serve::bind(&args.server, Some(own)).await;
    let server = server.map_err(|error| explain_address_in_use(error, &args.server))?;
    let ready = serve::startup_lines(&server, &args.server);
    serve::print_startup_lines(&ready);
    let stop = CancellationToken::new();
    signals::with_shutdown_signals(&stop, serve_and_join(server, &ready, args.client, &stop)).await
}

async fn serve_and_join(
    server: Server,
    ready: &str,
    person: ClientArgs,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let notices = ready.lines().map(SafeText::clean).collect();
    let address = connect_address(server.local_addr());
    let trust = TrustMode::Exactly(server.fingerprint());
    let closing = CancellationToken::new();
    let tasks = TaskTracker::new();
    let serving = tasks.spawn(server.run(closing.clone()));
    let link = ServerAddress::from(address).into();
    let outcome = join::run_client(person, link, trust, notices, stop).await;
    closing.cancel();
    serving.await.context("the server has crashed")??;
    outcome
}

/// Where this process reaches what listens on `address`.
fn connect_address(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

/// Where the port is taken, somebody may host already.
fn explain_address_in_use(error: anyhow::Error, args: &serve::ServeArgs) -> anyhow::Error {
    let Some(server::ServerError::AddressInUse(address)) = error.downcast_ref() else {
        return error;
    };
    let hint = format!(
        "something listens on {address} already. If that is a chat server, join it: chat join {}\n\
         Or take another port: chat host --listen {}:0",
        connect_address(*address),
        args.listen.host
    );
    error.context(hint)
}
