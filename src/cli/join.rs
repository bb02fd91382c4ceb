//! `chat join`: a client, on the full screen or in lines.

use std::io::IsTerminal as _;

use clap::builder::BoolishValueParser;
use tokio_util::sync::CancellationToken;

use super::exit::Failure;
use super::who::{self, Ca, Who};
use super::{config, plain, signals};
use crate::client::address::ServerAddress;
use crate::client::link::Link;
use crate::client::outbox::{Outbox, file_stem};
use crate::client::seen::SeenFile;
use crate::client::trust::Trust;
use crate::client::{self, Options};
use crate::protocol::text::SafeText;
use crate::tui::{self, Leave};

/// What can follow `chat join`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server: HOST, HOST:PORT or a chat:// link
    #[arg(id = "server", value_name = "SERVER", env = "CHAT_SERVER", default_value_t = Link::default())]
    link: Link,
    #[command(flatten)]
    person: Person,
    #[command(flatten)]
    ca: Ca,
}

/// Who joins, and how it is shown: the same for `join` and `host`.
#[derive(Debug, clap::Args)]
pub(super) struct Person {
    #[command(flatten)]
    pub(super) who: Who,
    /// Talk in plain lines, without a full screen: for pipes and screen readers
    #[arg(long, env = "CHAT_PLAIN", value_parser = BoolishValueParser::new())]
    plain: bool,
}

/// Joins a server.
pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let trust = args.ca.trust()?;
    signals::heeded(&stop, enter(args.person, args.link, trust, Vec::new(), &stop)).await
}

/// Connects a person and shows the conversation, until that person leaves or `stop`. The notices are
/// shown first.
pub(super) async fn enter(
    person: Person,
    link: Link,
    trust: Trust,
    notices: Vec<SafeText>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let is_plain = person.is_plain();
    let name = person.who.name()?;
    let id = person.who.id;
    let identity = who::identity()?;
    // What one person has said is never sent as another, whichever key, name and ID that takes.
    let whose = match &id {
        Some(id) => format!("{id} {}", identity.fingerprint),
        None => format!("{name} {}", identity.fingerprint),
    };
    let folder = config::client_folder()?;
    let outbox = Outbox::open(&folder.join("outbox"), &link.server, &whose)?;
    let seen = SeenFile::new(&folder, &file_stem(&link.server, &whose));
    let screen = screen(&link.server, notices, seen);
    let options = Options { link, name, identity: Some(identity), trust, id, outbox };
    let (client, events) = client::connect(options);
    let outcome = if is_plain {
        plain::run(&client, events, stop).await
    } else {
        match tui::run(screen, &client, events, stop).await {
            Ok(Leave::Wish) => Ok(()),
            Ok(Leave::Untrusted(reason)) => Err(Failure::untrusted(&reason).into()),
            Ok(Leave::Refused(reason)) => Err(Failure::refused(&reason).into()),
            Err(error) => Err(error.into()),
        }
    };
    client.close().await;
    outcome
}

fn screen(server: &ServerAddress, notices: Vec<SafeText>, seen: SeenFile) -> tui::Options {
    // https://no-color.org: whatever it says, as long as it says something.
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tui::Options {
        server: server.to_string(),
        notices,
        theme: if no_color { tui::Theme::Plain } else { tui::Theme::Colours },
        cid_prefix: format!("{:032x}", rand::random::<u128>()),
        seen,
    }
}

impl Person {
    /// Whether there is no terminal for a full screen, or none is wanted.
    pub(super) fn is_plain(&self) -> bool {
        self.plain || !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal()
    }
}
