//! `chat send`: sends one message, edit or reaction. It succeeds only after the server has stored it.

use std::io::IsTerminal as _;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::TimeDelta;
use clap::parser::ValueSource;
use clap::{ArgMatches, FromArgMatches};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::exit::CliError;
use super::identity_args::{CaArgs, IdentityArgs};
use super::output::{print, print_note};
use super::signals;
use crate::client::address::split_host_port;
use crate::client::clock::now;
use crate::client::input::parse_reaction;
use crate::client::link::ServerLink;
use crate::client::{ClientEvent, SendError, executed_request};
use crate::protocol::error::Refusal;
use crate::protocol::event::Event;
use crate::protocol::id::{Cid, MessageId, RoomName, UserId};
use crate::protocol::limits::{
    CONTENT_CHARACTERS, DEFAULT_TEMPORARY_SECONDS, FRAME_BYTES, MAX_TEMPORARY_SECONDS,
};
use crate::protocol::message::Audience;
use crate::protocol::request::{Post, PostKind, Request};
use crate::protocol::text::SafeText;

/// Without a first connection, the command fails after this time: a server that is being restarted is back
/// earlier.
const CONNECT_LIMIT: TimeDelta = TimeDelta::seconds(5);

/// The arguments of `chat send`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "chat send [OPTIONS] [HOST:PORT] [TEXT]...\n       \
                            chat send [OPTIONS] [HOST:PORT] -- TEXT...")]
pub(super) struct SendArgs {
    /// Server (HOST:PORT or a chat:// link), followed by the text of the message
    ///
    /// The first word is taken as the server only if it has a port or is a link, and --server is not used.
    /// Without a text, or if the text is `-`, the message is read from standard input.
    #[arg(value_name = "HOST:PORT | TEXT")]
    words: Vec<String>,
    /// Text that could be mistaken for a server or a flag
    #[arg(last = true)]
    text: Vec<String>,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    identity: IdentityArgs,
    #[command(flatten)]
    ca: CaArgs,
    /// Send to this user only; may be repeated
    #[arg(long, value_name = "ID")]
    to: Vec<UserId>,
    /// Send to this room, of which you are a member
    #[arg(long, value_name = "ROOM", value_parser = RoomName::from_input, conflicts_with = "to")]
    room: Option<RoomName>,
    /// Send a temporary message, which expires after this many seconds
    ///
    /// Without a number, it expires after 10 seconds.
    #[arg(
        long, value_name = "SECONDS", require_equals = true,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_TEMPORARY_SECONDS))
    )]
    #[expect(clippy::option_option, reason = "the value of the flag is optional")]
    temp: Option<Option<u32>>,
    /// Reply to the message with this ID
    #[arg(long, value_name = "ID", conflicts_with = "temp")]
    reply: Option<MessageId>,
    /// Replace the text of your own message with this ID
    #[arg(long, value_name = "ID", conflicts_with_all = ["to", "room", "temp", "reply"])]
    edit: Option<MessageId>,
    /// React to the message with this ID; the text is an emoji or its name, such as +1
    ///
    /// A `-` before the emoji removes the reaction: write it after --, as in `-- -+1`.
    #[arg(long, value_name = "ID", conflicts_with_all = ["to", "room", "temp", "reply", "edit"])]
    react: Option<MessageId>,
    /// Give up after this many seconds
    ///
    /// Until then, a lost connection is retried; the message is stored once. If no connection succeeds
    /// within 5 seconds, the command fails earlier.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u32,
}

/// The server of `--server`, `CHAT_SERVER` or the settings file.
#[derive(Debug)]
struct ServerArgs {
    link: ServerLink,
    /// Whether it is on the command line, so that no word is taken as the server.
    is_typed: bool,
}

#[derive(Debug, clap::Args)]
#[group(skip)]
struct ServerFlags {
    /// Server to send to: HOST, HOST:PORT or a chat:// link. With it, all words are text
    #[arg(long, env = "CHAT_SERVER", value_name = "SERVER", default_value_t = ServerLink::default())]
    server: ServerLink,
}

impl FromArgMatches for ServerArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let ServerFlags { server } = ServerFlags::from_arg_matches(matches)?;
        let is_typed = matches.value_source("server") == Some(ValueSource::CommandLine);
        Ok(Self { link: server, is_typed })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for ServerArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        ServerFlags::augment_args(command)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        ServerFlags::augment_args_for_update(command)
    }
}

/// Sends the message and prints its ID.
pub(super) async fn run(args: SendArgs) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let sent = async {
        let Some(sent) = stop.run_until_cancelled(send(args)).await else {
            bail!("interrupted before the server acknowledged the message: it may have been sent");
        };
        // The message is stored, so a closed standard output is not an error.
        drop(print(&format!("{}\n", sent?)));
        Ok(())
    };
    signals::with_shutdown_signals(&stop, sent).await
}

async fn send(mut args: SendArgs) -> anyhow::Result<MessageId> {
    let (words, text) = (std::mem::take(&mut args.words), std::mem::take(&mut args.text));
    let (link, words) = split_server(&args.server, words, text)?;
    let content = read_content(words).await?;
    let request = request(&args, content)?;
    let (client, mut events) = args.identity.connect_quietly(link, &args.ca).await?;
    let cid: Cid = format!("{:032x}", rand::random::<u128>()).parse()?;
    match client.try_send(Some(&cid), &request) {
        // If the client task has ended already (the wrong server), an event gives the reason.
        Ok(()) | Err(SendError::NotConnected) => {}
        Err(error) => return Err(error.into()),
    }
    let mut status = DeliveryStatus::default();
    let time = Duration::from_secs(args.timeout.into());
    let answer = tokio::time::timeout(time, wait_for_answer(&mut events, &cid, &mut status)).await;
    client.close().await;
    answer.unwrap_or_else(|_elapsed| {
        let DeliveryStatus { was_connected, disconnect_reason } = status;
        let reason =
            disconnect_reason.map_or_else(|| "no answer".to_owned(), |reason| reason.one_line());
        let delivery = if was_connected { "it may have been sent" } else { "it was not sent" };
        bail!("the message was not acknowledged within {} s ({reason}): {delivery}", args.timeout)
    })
}

fn request(args: &SendArgs, content: SafeText) -> anyhow::Result<Request> {
    if let Some(id) = args.edit {
        return Ok(Request::Edit { id, content });
    }
    if let Some(id) = args.react {
        let (emoji, on) =
            parse_reaction(content.as_str()).map_err(|error| usage_error(error.to_string()))?;
        return Ok(Request::React { id, emoji, on });
    }
    let audience = match &args.room {
        Some(room) => Audience::Room(room.clone()),
        None if args.to.is_empty() => Audience::Everyone,
        None => Audience::Only(args.to.iter().cloned().collect()),
    };
    let kind = match (args.reply, args.temp) {
        (Some(to), _) => PostKind::Reply { to },
        (None, Some(seconds)) => {
            PostKind::Temporary { seconds: seconds.unwrap_or(DEFAULT_TEMPORARY_SECONDS) }
        }
        (None, None) => PostKind::Plain,
    };
    Ok(Request::Post(Post { audience, kind, content }))
}

/// What is known about a message that is not acknowledged.
#[derive(Debug, Default)]
struct DeliveryStatus {
    /// Whether a login succeeded, so that the message may have been sent.
    was_connected: bool,
    /// Why the last connection was lost or failed.
    disconnect_reason: Option<SafeText>,
}

/// Waits until the server has stored or rejected the message. Returns the ID of the message, or of the one that
/// was edited or reacted to.
async fn wait_for_answer(
    events: &mut Receiver<ClientEvent>,
    cid: &Cid,
    status: &mut DeliveryStatus,
) -> anyhow::Result<MessageId> {
    let started_at = now();
    loop {
        match events
            .recv()
            .await
            .context("internal error: the client task stopped (please report this)")?
        {
            ClientEvent::Received(Event::Error(error)) if error.cid.as_ref() == Some(cid) => {
                return Err(CliError::refused(&error.text).into());
            }
            ClientEvent::Received(event) => {
                // Nobody else knows the `cid`.
                if executed_request(&event, |_| true) == Some(cid) {
                    return message_id(&event).context("the server's answer has no message id");
                }
            }
            ClientEvent::FirstContact(notice) => print_note(notice),
            ClientEvent::Untrusted { reason } => return Err(CliError::untrusted(&reason).into()),
            ClientEvent::Ended { reason } => return Err(CliError::refused(&reason).into()),
            ClientEvent::NotSent { reason, .. } => bail!("not sent: {}", reason.one_line()),
            ClientEvent::Disconnected { reason, retry_in } => {
                let next_attempt = now() + retry_in;
                if !status.was_connected && next_attempt - started_at > CONNECT_LIMIT {
                    bail!("{}: it was not sent", reason.one_line());
                }
                status.disconnect_reason = Some(reason);
            }
            ClientEvent::Connected(_) => status.was_connected = true,
            ClientEvent::Connecting | ClientEvent::Restored(_) | ClientEvent::Sending(_) => {}
        }
    }
}

/// The message that an executed request created or changed.
fn message_id(event: &Event) -> Option<MessageId> {
    match event {
        Event::Posted(message) => Some(message.id),
        Event::Edited(edited) => Some(edited.id),
        Event::Reacted(reacted) => Some(reacted.id),
        Event::Stored(stored) => stored.id,
        _ => None,
    }
}

/// Splits off the server: the first word, if it has a port or is a link and `--server` is not used.
fn split_server(
    server: &ServerArgs,
    mut words: Vec<String>,
    text: Vec<String>,
) -> anyhow::Result<(ServerLink, Vec<String>)> {
    let link = match words.first() {
        Some(first) if !server.is_typed && looks_like_server(first) => {
            words.remove(0).parse().map_err(|error| {
                usage_error(format!("{error} (to send it as text, write it after --)"))
            })?
        }
        Some(_) | None => server.link.clone(),
    };
    words.extend(text);
    Ok((link, words))
}

fn looks_like_server(word: &str) -> bool {
    if word.starts_with("chat://") {
        return true;
    }
    let Ok((host, Some(port))) = split_host_port(word) else { return false };
    // A host that starts with a digit must be an IP address: `10:30` is a time.
    let is_host = host.starts_with(char::is_alphabetic) || host.parse::<IpAddr>().is_ok();
    is_host && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

async fn read_content(words: Vec<String>) -> anyhow::Result<SafeText> {
    let text = match words.as_slice() {
        [] if std::io::stdin().is_terminal() => {
            return Err(usage_error(
                "no text to send: pass it as arguments or through standard input".to_owned(),
            ));
        }
        [] => read_stdin().await?,
        [only] if only == "-" => read_stdin().await?,
        words => words.join(" "),
    };
    let content = SafeText::clean(text.trim_end_matches(['\n', '\r']));
    let characters = content.as_str().chars().count();
    if content.is_blank() {
        return Err(usage_error(Refusal::EmptyContent.to_string()));
    }
    if characters > CONTENT_CHARACTERS {
        return Err(usage_error(Refusal::ContentTooLong(characters).to_string()));
    }
    Ok(content)
}

/// Reads standard input, up to the size of a frame. A longer text exceeds the limit in any case.
async fn read_stdin() -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let mut input = tokio::io::stdin().take(FRAME_BYTES as u64);
    input.read_to_end(&mut bytes).await.context("cannot read standard input")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn usage_error(message: String) -> anyhow::Error {
    CliError::usage(message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_word_with_port_or_link_is_the_server() {
        for server in
            ["localhost:65432", "10.0.0.1:1", "[::1]:65432", "chat://example.org", "a-b.c:7"]
        {
            assert!(looks_like_server(server), "{server}");
        }
        for text in ["hello", "10:30", "done:", "see https://example.org:1/", "a b:1", ":1", "-"] {
            assert!(!looks_like_server(text), "{text}");
        }
    }
}
