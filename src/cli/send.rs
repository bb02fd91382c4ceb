//! `chat send`: sends one message. It succeeds only after the server has stored the message.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::exit::CliError;
use super::identity_args::{CaArgs, IdentityArgs};
use super::output::{print, print_note};
use super::signals;
use crate::client::address::split_host_port;
use crate::client::link::ServerLink;
use crate::client::{ClientEvent, SendError};
use crate::protocol::error::Refusal;
use crate::protocol::event::Event;
use crate::protocol::id::{Cid, MessageId, UserId};
use crate::protocol::limits::{
    CONTENT_CHARACTERS, DEFAULT_TEMPORARY_SECONDS, FRAME_BYTES, MAX_TEMPORARY_SECONDS,
};
use crate::protocol::message::Audience;
use crate::protocol::request::{Post, PostKind, Request};
use crate::protocol::text::SafeText;

/// The arguments of `chat send`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "chat send [OPTIONS] [HOST:PORT] [TEXT]...\n       \
                            chat send [OPTIONS] [HOST:PORT] -- TEXT...")]
pub(super) struct SendArgs {
    /// Server (HOST:PORT or a chat:// link), followed by the text of the message
    ///
    /// The first word is taken as the server only if it has a port or is a link. Without a text, or if
    /// the text is `-`, the message is read from standard input.
    #[arg(value_name = "HOST:PORT | TEXT")]
    words: Vec<String>,
    /// Text that could be mistaken for a server or a flag
    #[arg(last = true)]
    text: Vec<String>,
    /// Server to use if the first word is not one: HOST, HOST:PORT or a chat:// link
    #[arg(long, env = "CHAT_SERVER", value_name = "SERVER", default_value_t = ServerLink::default())]
    server: ServerLink,
    #[command(flatten)]
    identity: IdentityArgs,
    #[command(flatten)]
    ca: CaArgs,
    /// Send to this user only; may be repeated
    #[arg(long, value_name = "ID")]
    to: Vec<UserId>,
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
    /// Give up after this many seconds
    ///
    /// Until then, a lost connection is retried; the message is stored once.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u32,
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

async fn send(args: SendArgs) -> anyhow::Result<MessageId> {
    let (link, words) = split_server(args.server, args.words, args.text)?;
    let content = read_content(words).await?;
    let recipients: BTreeSet<_> = args.to.into_iter().collect();
    let audience =
        if recipients.is_empty() { Audience::Everyone } else { Audience::Only(recipients) };
    let kind = match (args.reply, args.temp) {
        (Some(to), _) => PostKind::Reply { to },
        (None, Some(seconds)) => {
            PostKind::Temporary { seconds: seconds.unwrap_or(DEFAULT_TEMPORARY_SECONDS) }
        }
        (None, None) => PostKind::Plain,
    };
    let (client, mut events) = args.identity.connect_in_memory(link, &args.ca)?;
    let cid: Cid = format!("{:032x}", rand::random::<u128>()).parse()?;
    match client.try_send(Some(&cid), &Request::Post(Post { audience, kind, content })) {
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

/// What is known about a message that is not acknowledged.
#[derive(Debug, Default)]
struct DeliveryStatus {
    /// Whether a login succeeded, so that the message may have been sent.
    was_connected: bool,
    /// Why the last connection was lost or failed.
    disconnect_reason: Option<SafeText>,
}

/// Waits until the server has stored or rejected the message.
async fn wait_for_answer(
    events: &mut Receiver<ClientEvent>,
    cid: &Cid,
    status: &mut DeliveryStatus,
) -> anyhow::Result<MessageId> {
    loop {
        match events
            .recv()
            .await
            .context("internal error: the client task stopped (please report this)")?
        {
            ClientEvent::Received(Event::Posted(message)) if message.cid.as_ref() == Some(cid) => {
                return Ok(message.id);
            }
            ClientEvent::Received(Event::Stored(stored)) if stored.cid.as_ref() == Some(cid) => {
                return stored.id.context("the server's answer has no message id");
            }
            ClientEvent::Received(Event::Error(error)) if error.cid.as_ref() == Some(cid) => {
                return Err(CliError::refused(&error.text).into());
            }
            ClientEvent::FirstContact(notice) => print_note(notice),
            ClientEvent::Untrusted { reason } => return Err(CliError::untrusted(&reason).into()),
            ClientEvent::Ended { reason } => return Err(CliError::refused(&reason).into()),
            ClientEvent::NotSent { reason, .. } => bail!("not sent: {}", reason.one_line()),
            ClientEvent::Disconnected { reason, .. } => status.disconnect_reason = Some(reason),
            ClientEvent::Connected(_) => status.was_connected = true,
            ClientEvent::Connecting
            | ClientEvent::Restored(_)
            | ClientEvent::Sending(_)
            | ClientEvent::Received(_) => {}
        }
    }
}

/// Splits off the server: the first word, if it has a port or is a link.
fn split_server(
    default: ServerLink,
    mut words: Vec<String>,
    text: Vec<String>,
) -> anyhow::Result<(ServerLink, Vec<String>)> {
    let link = match words.first() {
        Some(first) if looks_like_server(first) => words.remove(0).parse().map_err(|error| {
            usage_error(format!("{error} (to send it as text, write it after --)"))
        })?,
        Some(_) | None => default,
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
