//! `chat host`: a server and its first client, in one process.

use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::join::{self, Person};
use super::{logging, serve, signals, who};
use crate::client::address::ServerAddress;
use crate::client::trust::Trust;
use crate::protocol::text::SafeText;
use crate::server::{self, Server};

/// What can follow `chat host`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    #[command(flatten)]
    server: serve::Args,
    #[command(flatten)]
    person: Person,
}

/// Serves, and joins, until the person leaves: the server ends with its host.
pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    args.person.who.name()?;
    // A log would be written over the full screen.
    if args.person.is_plain() || !std::io::stderr().is_terminal() {
        logging::to_stderr();
    }
    let own = who::identity()?.fingerprint.digest();
    let server = serve::bind(&args.server, Some(own)).await;
    let server = server.map_err(|error| explain(error, &args.server))?;
    let ready = serve::ready_lines(&server, &args.server);
    serve::print_ready(&ready);
    let stop = CancellationToken::new();
    signals::heeded(&stop, host(server, &ready, args.person, &stop)).await
}

async fn host(
    server: Server,
    ready: &str,
    person: Person,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let notices = ready.lines().map(SafeText::clean).collect();
    let address = reachable(server.local_addr());
    let trust = Trust::Key(server.fingerprint());
    let closing = CancellationToken::new();
    let tasks = TaskTracker::new();
    let serving = tasks.spawn(server.run(closing.clone()));
    let link = ServerAddress::from(address).into();
    let outcome = join::enter(person, link, trust, notices, stop).await;
    closing.cancel();
    serving.await.context("the server has crashed")??;
    outcome
}

/// Where this process reaches what listens on `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

/// Where the port is taken, somebody may host already.
fn explain(error: anyhow::Error, args: &serve::Args) -> anyhow::Error {
    let Some(server::Error::InUse(address)) = error.downcast_ref() else { return error };
    let hint = format!(
        "something listens on {address} already. If that is a chat server, join it: chat join {}\n\
         Or take another port: chat host --listen {}:0",
        reachable(*address),
        args.listen.host
    );
    error.context(hint)
}
