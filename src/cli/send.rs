//! `chat send`: one message from a script, which ends well only once the server has it on disk.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::exit::{CliError, ExitStatus};
use super::identity_args::{CaArgs, IdentityArgs};
use super::signals;
use crate::client::ClientEvent;
use crate::client::link::ServerLink;
use crate::protocol::error::Refusal;
use crate::protocol::event::Event as Said;
use crate::protocol::id::{Cid, MessageId, UserId};
use crate::protocol::limits::{
    CONTENT_CHARACTERS, DEFAULT_TEMPORARY_SECONDS, FRAME_BYTES, MAX_TEMPORARY_SECONDS,
};
use crate::protocol::message::Audience;
use crate::protocol::request::{Post, PostKind, Request};
use crate::protocol::text::SafeText;

/// What can follow `chat send`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "chat send [OPTIONS] [HOST:PORT] [TEXT]...\n       \
                            chat send [OPTIONS] [HOST:PORT] -- TEXT...")]
pub(super) struct SendArgs {
    /// The server, HOST:PORT or a chat:// link, and the text; `-` or a pipe: standard input
    #[arg(value_name = "HOST:PORT | TEXT")]
    words: Vec<String>,
    /// A text that could be taken for something else
    #[arg(last = true)]
    text: Vec<String>,
    /// The server, where the first word is none
    #[arg(long, env = "CHAT_SERVER", value_name = "HOST:PORT", default_value_t = ServerLink::default())]
    server: ServerLink,
    #[command(flatten)]
    identity: IdentityArgs,
    #[command(flatten)]
    ca: CaArgs,
    /// For this person alone; can be given more than once
    #[arg(long, value_name = "ID")]
    to: Vec<UserId>,
    /// Let it vanish after so many seconds [default: 10]
    #[arg(
        long, value_name = "SECONDS", require_equals = true,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_TEMPORARY_SECONDS))
    )]
    #[expect(clippy::option_option, reason = "it may be given with a value and without")]
    temp: Option<Option<u32>>,
    /// Reply to this message
    #[arg(long, value_name = "ID", conflicts_with = "temp")]
    reply: Option<MessageId>,
    /// How many seconds to try for
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u32,
}

/// Sends, and prints the id of the message.
pub(super) async fn run(args: SendArgs) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let sent = async {
        let Some(sent) = stop.run_until_cancelled(send(args)).await else {
            bail!("stopped before the server confirmed it: it may have been sent");
        };
        // Where nobody reads the id, the message is there all the same.
        writeln!(std::io::stdout(), "{}", sent?).unwrap_or_default();
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
    client.try_send(Some(&cid), &Request::Post(Post { audience, kind, content }))?;
    let mut status = DeliveryStatus::default();
    let time = Duration::from_secs(args.timeout.into());
    let answer = tokio::time::timeout(time, wait_for_answer(&mut events, &cid, &mut status)).await;
    client.close().await;
    answer.unwrap_or_else(|_elapsed| {
        let DeliveryStatus { was_connected: was_in, disconnect_reason: why } = status;
        let why = why.map_or_else(|| "no answer".to_owned(), |why| why.one_line());
        let end = if was_in { "it may have been sent" } else { "it was not sent" };
        bail!("not confirmed within {} s ({why}): {end}", args.timeout)
    })
}

/// What is known of a message without an answer.
#[derive(Debug, Default)]
struct DeliveryStatus {
    /// Whether there was a connection that it can have gone out on.
    was_connected: bool,
    /// Why there is none any more.
    disconnect_reason: Option<SafeText>,
}

/// Waits until the server has the message, or never will.
async fn wait_for_answer(
    events: &mut Receiver<ClientEvent>,
    cid: &Cid,
    status: &mut DeliveryStatus,
) -> anyhow::Result<MessageId> {
    loop {
        match events.recv().await.context("the connection is over")? {
            ClientEvent::Received(Said::Posted(message)) if message.cid.as_ref() == Some(cid) => {
                return Ok(message.id);
            }
            ClientEvent::Received(Said::Stored(stored)) if stored.cid == *cid => {
                return Ok(stored.id);
            }
            ClientEvent::Received(Said::Error(refused)) if refused.cid.as_ref() == Some(cid) => {
                return Err(CliError::refused(&refused.text).into());
            }
            ClientEvent::FirstContact(words) => print_note(words.as_str()),
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

/// Where standard error is closed, there is nobody to tell.
pub(super) fn print_note(line: &str) {
    writeln!(std::io::stderr(), "{line}").unwrap_or_default();
}

/// The first word is the server if it has a port, as no word of a text has, or is a link.
fn split_server(
    other: ServerLink,
    mut words: Vec<String>,
    text: Vec<String>,
) -> anyhow::Result<(ServerLink, Vec<String>)> {
    let link = match words.first() {
        Some(first) if looks_like_server(first) => words.remove(0).parse().map_err(|error| {
            usage_error(format!("{error}; a text that looks like a server follows --"))
        })?,
        Some(_) | None => other,
    };
    words.extend(text);
    Ok((link, words))
}

fn looks_like_server(word: &str) -> bool {
    let Some((host, port)) = word.rsplit_once(':') else { return false };
    let is_name = |host: &str| {
        host.starts_with(char::is_alphabetic)
            && host.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'))
    };
    let is_address = |host: &str| host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let is_port = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    word.starts_with("chat://") || (is_port && (is_name(host) || is_address(host)))
}

async fn read_content(words: Vec<String>) -> anyhow::Result<SafeText> {
    let text = match words.as_slice() {
        [] if std::io::stdin().is_terminal() => {
            return Err(usage_error("what is to be sent? Write it after the options".to_owned()));
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

/// No more than is needed to see that it is too long.
async fn read_stdin() -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let mut input = tokio::io::stdin().take(FRAME_BYTES as u64);
    input.read_to_end(&mut bytes).await.context("cannot read standard input")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn usage_error(message: String) -> anyhow::Error {
    CliError { status: ExitStatus::Usage, message }.into()
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
