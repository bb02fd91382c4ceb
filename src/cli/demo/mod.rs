//! `chat demo`: a server in this process with a team that talks, to try everything without a network.
//!
//! The team are real clients of a real server; only what they say is written down, in [`script`].

mod script;
mod team;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::script::{BEFORE, LATER, MEMBERS};
use self::team::{Member, Team};
use super::join::{self, ClientArgs, ClientSetup};
use super::settings::Settings;
use super::{paths, signals};
use crate::client::address::ServerAddress;
use crate::client::link::ServerLink;
use crate::client::trust::TrustMode;
use crate::protocol::text::SafeText;
use crate::server::hub::AccessMode;
use crate::server::{RoomSettings, Server, ServerLimits, ServerOptions};
use crate::store::Retention;
use crate::tls::client::ClientIdentity;

/// The pause between two lines of the team.
const PAUSE: Duration = Duration::from_secs(5);

/// How long a member types before an answer.
const TYPING: Duration = Duration::from_millis(1_500);

/// The arguments of `chat demo`.
#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// The team answers, but says nothing on its own
    #[arg(long)]
    quiet: bool,
}

/// Runs the server, the team and the client until the user quits. Nothing is kept.
pub(super) async fn run(args: DemoArgs, settings: &Settings) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("chat-demo-").tempdir();
    let folder = folder.context("cannot create a directory for the demo")?;
    let dir = folder.path();
    let server = Server::bind(server_options(dir)).await?;
    let link = ServerLink::from(ServerAddress::from(server.local_addr()));
    let fingerprint = server.fingerprint();
    let (stop, stop_server, tasks) =
        (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
    let serving = tasks.spawn(server.run(stop_server.clone()));
    let chatting = async {
        let join = |name: &str| {
            let identity = ClientIdentity::open(&dir.join(name).join(paths::KEY_FILE))?;
            let trust = TrustMode::Exactly(fingerprint);
            anyhow::Ok(Member::connect(name.parse()?, identity, link.clone(), trust))
        };
        let name = args.client.identity.name().or_else(|_| "You".parse())?;
        anyhow::ensure!(
            !MEMBERS.contains(&name.as_str()),
            "{name} is in the team: choose another name with --name"
        );
        let mut members = Vec::new();
        for member in MEMBERS {
            members.push(join(member)?.await?);
        }
        let mut you = join(name.as_str())?.await?;
        let mut client = args.client;
        client.identity.id = Some(you.id().clone());
        let mut team = Team::new(members, you.id().clone());
        team.set_up(&mut you).await?;
        for line in BEFORE {
            team.say(line).await?;
        }
        you.close().await;
        let setup = ClientSetup {
            link: link.clone(),
            trust: TrustMode::Exactly(fingerprint),
            notices: vec![SafeText::clean("a demo: nobody here is real, and nothing is kept")],
            dir: dir.join(name.as_str()),
        };
        let stop_team = CancellationToken::new();
        let talking = tasks.spawn(talk(team, args.quiet, stop_team.clone()));
        let outcome = Box::pin(join::run_client(client, setup, settings, &stop)).await;
        stop_team.cancel();
        talking.await.context("internal error: the demo panicked (please report this)")??;
        outcome
    };
    let outcome = signals::with_shutdown_signals(&stop, chatting).await;
    stop_server.cancel();
    serving.await.context("internal error: the server task panicked (please report this)")??;
    outcome
}

/// A server that this machine alone can reach, with its files in `dir`.
fn server_options(dir: &Path) -> ServerOptions {
    ServerOptions {
        listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
        certs: dir.join("certs"),
        data: dir.join("data"),
        retention: Retention::Forever,
        access: AccessMode::Open,
        rooms: RoomSettings::default(),
        limits: ServerLimits::default(),
    }
}

/// Says the lines of the script, and answers the user, until `stop` is cancelled.
async fn talk(mut team: Team, is_quiet: bool, stop: CancellationToken) -> anyhow::Result<()> {
    let lines: &[_] = if is_quiet { &[] } else { LATER };
    let mut lines = lines.iter();
    let mut line = lines.next();
    let mut next = now() + PAUSE;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            (member, message) = team.hear() => {
                if let Some(answer) = team.answer(member, &message)? {
                    tokio::time::sleep(TYPING).await;
                    team.send(member, answer).await?;
                }
            }
            () = sleep_until(next), if line.is_some() => {
                if let Some(said) = line {
                    team.say(said).await?;
                }
                (line, next) = (lines.next(), now() + PAUSE);
            }
        }
    }
    team.close().await;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the imperative shell reads the clock")]
fn now() -> Instant {
    Instant::now()
}
