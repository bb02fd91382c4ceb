//! `chat join`: runs a client, full-screen or in line mode.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::builder::BoolishValueParser;
use tokio_util::sync::CancellationToken;

use super::exit::CliError;
use super::identity_args::{self, CaArgs, IdentityArgs};
use super::screen_args::ScreenArgs;
use super::settings::Settings;
use super::{paths, plain, signals};
use crate::client::address::ServerAddress;
use crate::client::drafts::DraftFile;
use crate::client::link::ServerLink;
use crate::client::outbox::{Outbox, file_stem};
use crate::client::read_marker::ReadMarkerFile;
use crate::client::trust::TrustMode;
use crate::client::{self, ClientOptions};
use crate::protocol::text::SafeText;
use crate::tls::client::ClientIdentity;
use crate::tui::model::TypingIndicator;
use crate::tui::{self, QuitReason};

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
    #[command(flatten)]
    pub(super) screen: ScreenArgs,
    /// Do not tell others that you are writing
    #[arg(long, env = "CHAT_NO_TYPING", value_parser = BoolishValueParser::new())]
    no_typing: bool,
}

/// What a client needs beside its arguments.
#[derive(Debug)]
pub(super) struct ClientSetup {
    pub(super) link: ServerLink,
    pub(super) trust: TrustMode,
    /// Shown first on the full screen.
    pub(super) notices: Vec<SafeText>,
    /// The directory of its key and its unsent messages.
    pub(super) dir: PathBuf,
}

/// Joins a server.
pub(super) async fn run(args: JoinArgs, settings: &Settings) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let trust = args.ca.trust_mode()?;
    // A server that was there before comes back: without a network, the user can write meanwhile.
    if !trust.is_known(&args.link.server)? {
        identity_args::check_host(&args.link.server).await?;
    }
    let setup =
        ClientSetup { link: args.link, trust, notices: Vec::new(), dir: paths::client_dir()? };
    signals::with_shutdown_signals(&stop, run_client(args.client, setup, settings, &stop)).await
}

/// Connects and runs the user interface until the user quits or `stop` is cancelled.
pub(super) async fn run_client(
    args: ClientArgs,
    setup: ClientSetup,
    settings: &Settings,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let ClientSetup { link, trust, notices, dir } = setup;
    let (is_plain, typing) = (args.is_plain(), args.typing());
    let name = args.identity.name()?;
    let id = args.identity.id;
    let identity = Arc::new(ClientIdentity::open(&dir.join(paths::KEY_FILE))?);
    // Unsent messages and read markers belong to one key and one name or ID, so that no message is
    // sent as another user.
    let owner = match &id {
        Some(id) => format!("{id} {}", identity.fingerprint),
        None => format!("{name} {}", identity.fingerprint),
    };
    let outbox = Outbox::open(&dir.join("outbox"), &link.server, &owner)?;
    let read_marker = ReadMarkerFile::new(&dir, &file_stem(&link.server, &owner));
    let drafts = if is_plain {
        DraftFile::default()
    } else {
        DraftFile::open(&dir.join("drafts"), &link.server, &owner)?
    };
    let ui_options =
        ui_options(&args.screen, settings, &link.server, notices, read_marker, drafts, typing)?;
    let options =
        ClientOptions { link, name, identity: Some(identity), trust, id, outbox, quiet: false };
    let (client, events) = client::connect(options);
    let outcome = if is_plain {
        plain::run(&client, events, stop).await
    } else {
        match Box::pin(tui::run(ui_options, &client, events, stop)).await {
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
    screen: &ScreenArgs,
    settings: &Settings,
    server: &ServerAddress,
    notices: Vec<SafeText>,
    read_marker: ReadMarkerFile,
    drafts: DraftFile,
    typing: TypingIndicator,
) -> anyhow::Result<tui::UiOptions> {
    Ok(tui::UiOptions {
        server: server.to_string(),
        notices,
        theme: screen.theme()?,
        keymap: screen.keymap(settings)?,
        emoji: screen.emoji,
        mouse: !screen.no_mouse,
        cid_prefix: format!("{:032x}", rand::random::<u128>()),
        read_marker,
        typing,
        drafts,
    })
}

impl ClientArgs {
    fn typing(&self) -> TypingIndicator {
        if self.no_typing { TypingIndicator::Off } else { TypingIndicator::Sent }
    }

    /// Whether to run in line mode: on request, or without a terminal.
    pub(super) fn is_plain(&self) -> bool {
        self.plain
            || !std::io::stdout().is_terminal()
            || !std::io::stdin().is_terminal()
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb")
    }
}
