//! `chat join`: a client, on the full screen or in lines.

use std::io::IsTerminal as _;

use clap::builder::BoolishValueParser;
use tokio_util::sync::CancellationToken;

use super::exit::CliError;
use super::identity_args::{self, CaArgs, IdentityArgs};
use super::{listen_address, plain, signals};
use crate::client::address::ServerAddress;
use crate::client::link::ServerLink;
use crate::client::outbox::{Outbox, file_stem};
use crate::client::read_marker::ReadMarkerFile;
use crate::client::trust::TrustMode;
use crate::client::{self, ClientOptions};
use crate::protocol::text::SafeText;
use crate::tui::{self, QuitReason};

/// What can follow `chat join`.
#[derive(Debug, clap::Args)]
pub(super) struct JoinArgs {
    /// The server: HOST, HOST:PORT or a chat:// link
    #[arg(id = "server", value_name = "SERVER", env = "CHAT_SERVER", default_value_t = ServerLink::default())]
    link: ServerLink,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    ca: CaArgs,
}

/// Who joins, and how it is shown: the same for `join` and `host`.
#[derive(Debug, clap::Args)]
pub(super) struct ClientArgs {
    #[command(flatten)]
    pub(super) identity: IdentityArgs,
    /// Talk in plain lines, without a full screen: for pipes and screen readers
    #[arg(long, env = "CHAT_PLAIN", value_parser = BoolishValueParser::new())]
    plain: bool,
}

/// Joins a server.
pub(super) async fn run(args: JoinArgs) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let trust = args.ca.trust_mode()?;
    signals::with_shutdown_signals(
        &stop,
        run_client(args.client, args.link, trust, Vec::new(), &stop),
    )
    .await
}

/// Connects a person and shows the conversation, until that person leaves or `stop`. The notices are
/// shown first.
pub(super) async fn run_client(
    person: ClientArgs,
    link: ServerLink,
    trust: TrustMode,
    notices: Vec<SafeText>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let is_plain = person.is_plain();
    let name = person.identity.name()?;
    let id = person.identity.id;
    let identity = identity_args::client_identity()?;
    // What one person has said is never sent as another, whichever key, name and ID that takes.
    let owner = match &id {
        Some(id) => format!("{id} {}", identity.fingerprint),
        None => format!("{name} {}", identity.fingerprint),
    };
    let folder = listen_address::client_folder()?;
    let outbox = Outbox::open(&folder.join("outbox"), &link.server, &owner)?;
    let seen = ReadMarkerFile::new(&folder, &file_stem(&link.server, &owner));
    let screen = ui_options(&link.server, notices, seen);
    let options = ClientOptions { link, name, identity: Some(identity), trust, id, outbox };
    let (client, events) = client::connect(options);
    let outcome = if is_plain {
        plain::run(&client, events, stop).await
    } else {
        match tui::run(screen, &client, events, stop).await {
            Ok(QuitReason::Requested) => Ok(()),
            Ok(QuitReason::Untrusted(reason)) => Err(CliError::untrusted(&reason).into()),
            Ok(QuitReason::Refused(reason)) => Err(CliError::refused(&reason).into()),
            Err(error) => Err(error.into()),
        }
    };
    client.close().await;
    outcome
}

fn ui_options(
    server: &ServerAddress,
    notices: Vec<SafeText>,
    seen: ReadMarkerFile,
) -> tui::UiOptions {
    // https://no-color.org: whatever it says, as long as it says something.
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tui::UiOptions {
        server: server.to_string(),
        notices,
        theme: if no_color { tui::Theme::Plain } else { tui::Theme::Colours },
        cid_prefix: format!("{:032x}", rand::random::<u128>()),
        read_marker: seen,
    }
}

impl ClientArgs {
    /// Whether there is no terminal for a full screen, or none is wanted.
    pub(super) fn is_plain(&self) -> bool {
        self.plain || !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal()
    }
}
