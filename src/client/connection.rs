//! One connection from its login to its end, over any stream of bytes.
//!
//! It carries, and decides nothing: how a stream is made is `dial`'s business, and what comes after the
//! end is `driver`'s.

use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;

use super::driver::Outlet;
use super::{Event, REQUESTS};
use crate::protocol::decoder::Decoder;
use crate::protocol::error::{ErrorCode, Refusal};
use crate::protocol::event::{self, Refused, Welcome};
use crate::protocol::id::Name;
use crate::protocol::limits;
use crate::protocol::request::{Login, PROTOCOL, Request};
use crate::protocol::text::SafeText;

/// How much room is made for one read, in bytes: one TLS record.
const READ_BYTES: usize = 16 * 1024;

/// How long the login may take; the server's own limit is shorter on purpose, as it says why.
pub(super) const LOGIN_TIME: Duration = Duration::from_secs(15);

/// How long an end may take: the last requests and EXIT go out, and the server hangs up.
pub(super) const GOODBYE_TIME: Duration = Duration::from_secs(2);

/// Why a connection came to nothing, or to its end.
#[derive(Debug, Error)]
pub(super) enum Loss {
    /// The server hung up.
    #[error("the server closed the connection")]
    HungUp,
    /// The network, or TLS.
    #[error("the connection broke ({0})")]
    Broken(#[source] io::Error),
    /// The server said why.
    #[error("{0}")]
    Told(SafeText),
    /// It sends no JSON objects, or too long ones.
    #[error("what came is not the chat protocol: {0}")]
    BadStream(#[source] Refusal),
    /// It sends objects that are none of the protocol's.
    #[error("what came is not the chat protocol: {0}")]
    BadEvent(#[source] serde_json::Error),
    /// It sends something else in place of an answer to the login.
    #[error("the server does not answer the login as a chat server does")]
    NoAnswer,
    /// It sends nothing.
    #[error("the server does not answer the login within {} seconds", LOGIN_TIME.as_secs())]
    LoginTimeout,
}

/// Why a login came to nothing.
#[derive(Debug, Error)]
pub(super) enum LoginError {
    /// Another attempt may succeed.
    #[error(transparent)]
    Lost(#[from] Loss),
    /// No attempt will: the server says so, for people.
    #[error("{0}")]
    Refused(SafeText),
    /// No attempt will: a server from before our protocol.
    #[error("this server is too old for this client: it does not speak protocol {PROTOCOL}")]
    TooOld,
}

/// A stream of bytes to a server, with what has been read of it.
#[derive(Debug)]
pub(super) struct Connection<S> {
    stream: S,
    decoder: Decoder,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, decoder: Decoder::new(limits::SERVER_FRAME_BYTES) }
    }

    /// Says who is there, and awaits the answer. There is no time limit in it.
    pub(super) async fn log_in(&mut self, name: &Name) -> Result<Welcome, LoginError> {
        let login = Login::encode(name.as_str(), None);
        self.stream.write_all(&login).await.map_err(Loss::Broken)?;
        self.stream.flush().await.map_err(Loss::Broken)?;
        loop {
            match next_event(&mut self.stream, &mut self.decoder).await? {
                event::Event::LoginPrompt => {}
                event::Event::Welcome(welcome) if welcome.epoch.is_empty() => {
                    return Err(LoginError::TooOld);
                }
                event::Event::Welcome(welcome) => return Ok(welcome),
                event::Event::LoginRefused(refused) if may_pass(refused.code) => {
                    return Err(Loss::Told(refused.text).into());
                }
                event::Event::LoginRefused(refused) => {
                    return Err(LoginError::Refused(refused.text));
                }
                event::Event::Closing(Refused { text, .. })
                | event::Event::Refused(Refused { text, .. }) => {
                    return Err(Loss::Told(text).into());
                }
                event::Event::People(_)
                | event::Event::Presence { .. }
                | event::Event::Said(_)
                | event::Event::Deleted(_)
                | event::Event::Expired { .. }
                | event::Event::Live(_)
                | event::Event::Stored(_)
                | event::Event::History(_)
                | event::Event::Found(_)
                | event::Event::Pong(_) => return Err(Loss::NoAnswer.into()),
            }
        }
    }

    /// Carries requests out and events in, until the connection is lost or nobody wants it any more.
    /// In the latter case what waits in `requests` still goes out, and the server is told.
    pub(super) async fn carry(self, requests: mpsc::Receiver<Vec<u8>>, outlet: &Outlet) -> Loss {
        let (reader, writer) = tokio::io::split(self.stream);
        let too_late = async {
            outlet.over().await;
            tokio::time::sleep(GOODBYE_TIME).await;
        };
        tokio::select! {
            loss = read(reader, self.decoder, outlet) => loss,
            error = write(writer, requests, outlet) => Loss::Broken(error),
            () = too_late => Loss::HungUp,
        }
    }
}

/// Whether the same login may succeed a little later.
fn may_pass(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::Full | ErrorCode::LoginTimeout | ErrorCode::ShuttingDown | ErrorCode::TooSlow
    )
}

/// The next event that this version knows. Safe to cancel: what was read stays in `decoder`.
async fn next_event(
    reader: &mut (impl AsyncRead + Unpin),
    decoder: &mut Decoder,
) -> Result<event::Event, Loss> {
    loop {
        while let Some(object) = decoder.next_object() {
            let object = object.map_err(Loss::BadStream)?;
            if let Some(event) = event::Event::decode(&object).map_err(Loss::BadEvent)? {
                return Ok(event);
            }
        }
        decoder.buffer().reserve(READ_BYTES);
        match reader.read_buf(decoder.buffer()).await {
            Ok(0) => return Err(Loss::HungUp),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(Loss::HungUp),
            Err(error) => return Err(Loss::Broken(error)),
        }
    }
}

/// Reads to the end. While the receiver of the events is busy nothing is read, so the server waits too.
async fn read<S>(mut reader: ReadHalf<S>, mut decoder: Decoder, outlet: &Outlet) -> Loss
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut told = None;
    loop {
        let event = match next_event(&mut reader, &mut decoder).await {
            Ok(event) => event,
            Err(loss) => return told.map_or(loss, Loss::Told),
        };
        if let event::Event::Closing(refused) = &event {
            told = Some(refused.text.clone());
        }
        match outlet.send(Event::Received(event)).await {
            // Nobody wants it; but to hang up on unread bytes would take back what was written last.
            Ok(()) | Err(super::driver::Over) => {}
        }
    }
}

/// Writes all requests that wait at once. After the last one, when nobody wants the connection any
/// more, it says EXIT and leaves the end to the server.
async fn write<S>(
    mut writer: WriteHalf<S>,
    mut requests: mpsc::Receiver<Vec<u8>>,
    outlet: &Outlet,
) -> io::Error
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match write_all(&mut writer, &mut requests, outlet).await {
        Ok(()) => std::future::pending().await,
        Err(error) => {
            // The server may have said why it hung up: the reader gets the time to find it.
            tokio::time::sleep(GOODBYE_TIME).await;
            error
        }
    }
}

async fn write_all(
    writer: &mut (impl AsyncWrite + Unpin),
    requests: &mut mpsc::Receiver<Vec<u8>>,
    outlet: &Outlet,
) -> io::Result<()> {
    let mut waiting = Vec::with_capacity(REQUESTS);
    loop {
        let over = tokio::select! {
            biased;
            count = requests.recv_many(&mut waiting, REQUESTS) => count == 0,
            () = outlet.over() => true,
        };
        if over {
            waiting.push(Request::Exit.encode(None));
        }
        writer.write_all(&waiting.concat()).await?;
        writer.flush().await?;
        waiting.clear();
        if over {
            return writer.shutdown().await;
        }
    }
}
