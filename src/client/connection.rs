//! One connection from its login to its end, over any stream of bytes.
//!
//! It carries, and decides nothing: how a stream is made is `dial`'s business, and what comes after the
//! end is `driver`'s.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};

use super::cursor::Cursor;
use super::driver::EventSender;
use super::outbox::task::OutboxSignal;
use super::throttle::{Keepalive, SendThrottle};
use super::{ClientEvent, REQUEST_QUEUE};
use crate::protocol::decoder::Decoder;
use crate::protocol::error::{ErrorCode, Refusal};
use crate::protocol::event::{self, ErrorReply, Welcome};
use crate::protocol::id::{Cid, Seq, UserId};
use crate::protocol::limits::{self, Limits};
use crate::protocol::request::{Login, PROTOCOL_VERSION, Request};
use crate::protocol::text::SafeText;

/// How much room is made for one read, in bytes: one TLS record.
const READ_BYTES: usize = 16 * 1024;

/// How long the login may take; the server's own limit is shorter on purpose, as it says why.
pub(super) const LOGIN_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a server may say nothing before it has told its limits.
const PRE_LOGIN_READ_TIMEOUT: Duration = Duration::from_secs(limits::KEEPALIVE_TIMEOUT_SECONDS);

/// How long an end may take: the last requests and EXIT go out, and the server hangs up.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a connection came to nothing, or to its end.
#[derive(Debug, Error)]
pub(super) enum DisconnectReason {
    /// The server hung up.
    #[error("the server closed the connection")]
    Closed,
    /// It is there no more, and nothing has said so.
    #[error("nothing has come from the server for {} seconds", .0.as_secs())]
    TimedOut(Duration),
    /// It says that it sent more than came, or less.
    #[error("something that the server sent did not arrive")]
    EventsLost,
    /// The network, or TLS.
    #[error("the connection broke ({0})")]
    Io(#[source] io::Error),
    /// The server said why.
    #[error("{0}")]
    Transient(SafeText),
    /// It sends no JSON objects, or too long ones.
    #[error("what came is not the chat protocol: {0}")]
    BadFrame(#[source] Refusal),
    /// It sends objects that are none of the protocol's.
    #[error("what came is not the chat protocol: {0}")]
    BadEvent(#[source] serde_json::Error),
    /// It sends something else in place of an answer to the login.
    #[error("the server does not answer the login as a chat server does")]
    UnexpectedReply,
    /// It sends nothing.
    #[error("the server does not answer the login within {} seconds", LOGIN_TIMEOUT.as_secs())]
    LoginTimeout,
    /// The server does not want this client, and said why.
    #[error("{0}")]
    Rejected(SafeText),
    /// A server from before our protocol.
    #[error(
        "this server is too old for this client: it does not speak protocol {PROTOCOL_VERSION}"
    )]
    UnsupportedServer,
}

impl DisconnectReason {
    /// Why the server ends a connection. Whoever is put out does not come back by itself: to be asked
    /// to leave would mean nothing.
    fn from_closing(ErrorReply { code, text, .. }: &ErrorReply) -> Self {
        let is_final = matches!(code, ErrorCode::Kicked | ErrorCode::Banned);
        if is_final { Self::Rejected(text.clone()) } else { Self::Transient(text.clone()) }
    }

    /// Whether no other attempt is wanted, or would come to more.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Rejected(_) | Self::UnsupportedServer)
    }
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
    pub(super) async fn log_in(&mut self, login: &Login) -> Result<Welcome, DisconnectReason> {
        self.stream.write_all(&login.encode()).await.map_err(DisconnectReason::Io)?;
        self.stream.flush().await.map_err(DisconnectReason::Io)?;
        loop {
            match next_event(&mut self.stream, &mut self.decoder, PRE_LOGIN_READ_TIMEOUT).await? {
                event::Event::LoginPrompt => {}
                event::Event::Welcome(welcome) if welcome.epoch.is_empty() => {
                    return Err(DisconnectReason::UnsupportedServer);
                }
                event::Event::Welcome(welcome) => return Ok(welcome),
                event::Event::LoginRefused(refused) if is_transient(refused.code) => {
                    return Err(DisconnectReason::Transient(refused.text));
                }
                event::Event::LoginRefused(refused) => {
                    return Err(DisconnectReason::Rejected(refused.text));
                }
                event::Event::Closing(refused) => {
                    return Err(DisconnectReason::from_closing(&refused));
                }
                event::Event::Error(refused) => {
                    return Err(DisconnectReason::Transient(refused.text));
                }
                event::Event::Users(_)
                | event::Event::Presence { .. }
                | event::Event::Guests(_)
                | event::Event::Posted(_)
                | event::Event::Deleted(_)
                | event::Event::Expired { .. }
                | event::Event::Live(_)
                | event::Event::Stored(_)
                | event::Event::History(_)
                | event::Event::SearchResults(_)
                | event::Event::Pong(_) => return Err(DisconnectReason::UnexpectedReply),
            }
        }
    }

    /// Carries requests out and events in, until the connection is lost or nobody wants it any more.
    /// In the latter case what comes out of `requests` still goes out, and the server is told.
    pub(super) async fn run(
        self,
        requests: mpsc::Receiver<Vec<u8>>,
        Keepalive { ping_interval: ping, read_timeout: dead }: Keepalive,
        events: &EventSender,
        observer: &mut EventObserver,
    ) -> DisconnectReason {
        let (reader, writer) = tokio::io::split(self.stream);
        let received_up_to = observer.received_up_to.subscribe();
        let close_timeout = async {
            events.closed().await;
            tokio::time::sleep(CLOSE_TIMEOUT).await;
        };
        tokio::select! {
            // What waits goes out before more is read.
            biased;
            error = write_requests(writer, requests, received_up_to, ping) => DisconnectReason::Io(error),
            loss = read_events(reader, self.decoder, dead, events, observer) => loss,
            () = close_timeout => DisconnectReason::Closed,
        }
    }
}

/// What is made of events on their way in: the place in the log, and the answers to the outbox.
#[derive(Debug)]
pub(super) struct EventObserver {
    pub(super) cursor: Cursor,
    /// See [`Cursor::has_come`]: for what goes out.
    received_up_to: watch::Sender<Option<Seq>>,
    signals: mpsc::Sender<OutboxSignal>,
    /// Where the outbox sends once everything was replayed.
    requests: Option<mpsc::WeakSender<Vec<u8>>>,
    limits: Limits,
    /// Every ID this client has had.
    own_ids: BTreeSet<UserId>,
}

impl EventObserver {
    pub(super) fn new(cursor: Cursor, signals: mpsc::Sender<OutboxSignal>) -> Self {
        let (received_up_to, _) = watch::channel(None);
        let (limits, own_ids) = (Limits::default(), BTreeSet::new());
        Self { cursor, received_up_to, signals, requests: None, limits, own_ids }
    }

    /// Begins a connection.
    pub(super) async fn on_welcome(
        &mut self,
        welcome: &Welcome,
        requests: mpsc::WeakSender<Vec<u8>>,
    ) {
        self.cursor.on_welcome(welcome);
        self.received_up_to.send_replace(self.cursor.received_up_to());
        self.own_ids.insert(welcome.user.clone());
        self.requests = Some(requests);
        self.limits = welcome.limits;
        if !welcome.resumed {
            self.on_live().await;
        }
    }

    /// Ends it.
    pub(super) async fn on_disconnect(&mut self) {
        self.requests = None;
        self.signal(OutboxSignal::Disconnected).await;
    }

    async fn on_event(&mut self, event: &event::Event) -> Result<(), DisconnectReason> {
        self.cursor.record(event).map_err(|_missed| DisconnectReason::EventsLost)?;
        match event {
            event::Event::Live(_) => self.on_live().await,
            event::Event::Posted(message) if self.own_ids.contains(&message.sender) => {
                self.on_answered(message.cid.as_ref()).await;
            }
            event::Event::Stored(stored) => self.on_answered(Some(&stored.cid)).await,
            event::Event::Error(ErrorReply {
                code: ErrorCode::NotStored, cid: Some(cid), ..
            }) => {
                self.signal(OutboxSignal::NotStored(cid.clone())).await;
            }
            event::Event::Error(refused) => self.on_answered(refused.cid.as_ref()).await,
            event::Event::Deleted(_) | event::Event::Expired { .. } => {
                self.signal(OutboxSignal::MessageRemoved).await
            }
            event::Event::LoginPrompt
            | event::Event::Welcome(_)
            | event::Event::LoginRefused(_)
            | event::Event::Users(_)
            | event::Event::Presence { .. }
            | event::Event::Guests(_)
            | event::Event::Posted(_)
            | event::Event::History(_)
            | event::Event::SearchResults(_)
            | event::Event::Pong(_)
            | event::Event::Closing(_) => {}
        }
        Ok(())
    }

    async fn on_live(&mut self) {
        if let Some(requests) = self.requests.take().and_then(|line| line.upgrade()) {
            self.signal(OutboxSignal::Live(requests, SendThrottle::from_limits(&self.limits)))
                .await;
        }
    }

    async fn on_answered(&self, cid: Option<&Cid>) {
        if let Some(cid) = cid {
            self.signal(OutboxSignal::Answered(cid.clone())).await;
        }
    }

    async fn signal(&self, signal: OutboxSignal) {
        if self.signals.send(signal).await.is_err() {
            // The outbox ends with the client; what it has on disk is sent the next time.
        }
    }
}

/// Whether the same login may succeed a little later.
fn is_transient(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::LoginTimeout
            | ErrorCode::NotStored
            | ErrorCode::ShuttingDown
            | ErrorCode::TooManyConnections
            | ErrorCode::TooSlow
    )
}

/// The next event that this version knows. Safe to cancel: what was read stays in `decoder`.
async fn next_event(
    reader: &mut (impl AsyncRead + Unpin),
    decoder: &mut Decoder,
    read_timeout: Duration,
) -> Result<event::Event, DisconnectReason> {
    loop {
        while let Some(object) = decoder.next_object() {
            let object = object.map_err(DisconnectReason::BadFrame)?;
            if let Some(event) =
                event::Event::decode(&object).map_err(DisconnectReason::BadEvent)?
            {
                return Ok(event);
            }
        }
        decoder.buffer().reserve(READ_BYTES);
        let read = reader.read_buf(decoder.buffer());
        match tokio::time::timeout(read_timeout, read)
            .await
            .map_err(|_elapsed| DisconnectReason::TimedOut(read_timeout))?
        {
            Ok(0) => return Err(DisconnectReason::Closed),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(DisconnectReason::Closed);
            }
            Err(error) => return Err(DisconnectReason::Io(error)),
        }
    }
}

/// Reads to the end. While the receiver of the events is busy nothing is read, so the server waits too.
async fn read_events<S>(
    mut reader: ReadHalf<S>,
    mut decoder: Decoder,
    read_timeout: Duration,
    events: &EventSender,
    observer: &mut EventObserver,
) -> DisconnectReason
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut closing_reason = None;
    loop {
        let event = match next_event(&mut reader, &mut decoder, read_timeout).await {
            Ok(event) => event,
            Err(loss) => return closing_reason.unwrap_or(loss),
        };
        if let Err(loss) = observer.on_event(&event).await {
            return loss;
        }
        let received_up_to = observer.cursor.received_up_to();
        if let event::Event::Closing(refused) = &event {
            closing_reason = Some(DisconnectReason::from_closing(refused));
        }
        match events.send(ClientEvent::Received(event)).await {
            // Nobody wants it; but to hang up on unread bytes would take back what was written last.
            Ok(()) | Err(super::driver::Closed) => {}
        }
        observer.received_up_to.send_replace(received_up_to);
    }
}

/// Writes all requests that wait at once. After the last one, when nobody can send any more, it says
/// EXIT and leaves the end to the server.
async fn write_requests<S>(
    mut writer: WriteHalf<S>,
    mut requests: mpsc::Receiver<Vec<u8>>,
    received_up_to: watch::Receiver<Option<Seq>>,
    ping_interval: Duration,
) -> io::Error
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match write_until_closed(&mut writer, &mut requests, &received_up_to, ping_interval).await {
        Ok(()) => std::future::pending().await,
        Err(error) => {
            // The server may have said why it hung up: the reader gets the time to find it.
            tokio::time::sleep(CLOSE_TIMEOUT).await;
            error
        }
    }
}

async fn write_until_closed(
    writer: &mut (impl AsyncWrite + Unpin),
    requests: &mut mpsc::Receiver<Vec<u8>>,
    received_up_to: &watch::Receiver<Option<Seq>>,
    ping_interval: Duration,
) -> io::Result<()> {
    let mut batch = Vec::with_capacity(REQUEST_QUEUE);
    let ping = || Request::Ping(*received_up_to.borrow()).encode(None);
    loop {
        let received = requests.recv_many(&mut batch, REQUEST_QUEUE);
        let is_last = match tokio::time::timeout(ping_interval, received).await {
            Ok(count) => count == 0,
            Err(_elapsed) => {
                batch.push(ping());
                false
            }
        };
        if is_last {
            let has_full_log = received_up_to.borrow().is_some();
            batch.extend(has_full_log.then(ping));
            batch.push(Request::Exit.encode(None));
        }
        writer.write_all(&batch.concat()).await?;
        writer.flush().await?;
        batch.clear();
        if is_last {
            return writer.shutdown().await;
        }
    }
}
