//! `chat join`: runs a client, full-screen or in line mode.

use std::io::IsTerminal as _;

use clap::builder::BoolishValueParser;
use tokio_util::sync::CancellationToken;

use super::exit::CliError;
use super::identity_args::{self, CaArgs, IdentityArgs};
use super::{paths, plain, signals};
use crate::client::address::ServerAddress;
use crate::client::link::ServerLink;
use crate::client::outbox::{Outbox, file_stem};
use crate::client::read_marker::ReadMarkerFile;
use crate::client::trust::TrustMode;
use crate::client::{self, ClientOptions};
use crate::protocol::text::SafeText;
use crate::tui::{self, ColourDepth, QuitReason, Theme, ThemeChoice};

/// The arguments of `chat join`.
#[derive(Debug, clap::Args)]
pub(super) struct JoinArgs {
    /// Server to join: HOST, HOST:PORT or a chat:// link
    #[arg(id = "server", value_name = "SERVER", env = "CHAT_SERVER", default_value_t = ServerLink::default())]
    link: ServerLink,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    ca: CaArgs,
}

/// The arguments that `chat join` and `chat host` share.
#[derive(Debug, clap::Args)]
pub(super) struct ClientArgs {
    #[command(flatten)]
    pub(super) identity: IdentityArgs,
    /// Print lines instead of drawing a full screen
    ///
    /// This mode suits pipes, screen readers and simple terminals. It is the default if standard input
    /// or standard output is not a terminal, or TERM is `dumb`.
    #[arg(long, env = "CHAT_PLAIN", value_parser = BoolishValueParser::new())]
    plain: bool,
}

/// Joins a server.
pub(super) async fn run(args: JoinArgs) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let trust = args.ca.trust_mode()?;
    // A server that was there before comes back: without a network, the user can write meanwhile.
    if !trust.is_known(&args.link.server)? {
        identity_args::check_host(&args.link.server).await?;
    }
    signals::with_shutdown_signals(
        &stop,
        run_client(args.client, args.link, trust, Vec::new(), &stop),
    )
    .await
}

/// Connects and runs the user interface until the user quits or `stop` is cancelled. The full screen
/// shows `notices` first.
pub(super) async fn run_client(
    args: ClientArgs,
    link: ServerLink,
    trust: TrustMode,
    notices: Vec<SafeText>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let is_plain = args.is_plain();
    let name = args.identity.name()?;
    let id = args.identity.id;
    let identity = identity_args::client_identity()?;
    // Unsent messages and read markers belong to one key and one name or ID, so that no message is
    // sent as another user.
    let owner = match &id {
        Some(id) => format!("{id} {}", identity.fingerprint),
        None => format!("{name} {}", identity.fingerprint),
    };
    let dir = paths::client_dir()?;
    let outbox = Outbox::open(&dir.join("outbox"), &link.server, &owner)?;
    let read_marker = ReadMarkerFile::new(&dir, &file_stem(&link.server, &owner));
    let ui_options = ui_options(&link.server, notices, read_marker);
    let options =
        ClientOptions { link, name, identity: Some(identity), trust, id, outbox, quiet: false };
    let (client, events) = client::connect(options);
    let outcome = if is_plain {
        plain::run(&client, events, stop).await
    } else {
        match tui::run(ui_options, &client, events, stop).await {
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
    read_marker: ReadMarkerFile,
) -> tui::UiOptions {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let depth = ColourDepth::detect(variable("COLORTERM").as_deref(), variable("TERM").as_deref());
    // Any value but the empty one turns colors off: https://no-color.org
    let theme = match variable("NO_COLOR") {
        Some(_) => Theme::MONO.into(),
        None => ThemeChoice::Auto(depth),
    };
    tui::UiOptions {
        server: server.to_string(),
        notices,
        theme,
        cid_prefix: format!("{:032x}", rand::random::<u128>()),
        read_marker,
    }
}

impl ClientArgs {
    /// Whether to run in line mode: on request, or without a terminal.
    pub(super) fn is_plain(&self) -> bool {
        self.plain
            || !std::io::stdout().is_terminal()
            || !std::io::stdin().is_terminal()
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb")
    }
}
