//! One connection from login to end, over any stream of bytes.
//!
//! `dial` opens the stream, and `driver` decides what happens after the end.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};

use super::channels::{Closed, EventSender, REQUEST_QUEUE};
use super::cursor::Cursor;
use super::event::{ClientEvent, executed_request};
use super::keepalive::Keepalive;
use super::outbox::OutboxSignal;
use super::throttle::SendThrottle;
use crate::protocol::decoder::Decoder;
use crate::protocol::error::{ErrorCode, Refusal};
use crate::protocol::event::{ErrorReply, Event, Welcome};
use crate::protocol::id::{Cid, Seq, UserId};
use crate::protocol::limits::{self, Limits};
use crate::protocol::request::{Login, PROTOCOL_VERSION, Request};
use crate::protocol::text::SafeText;

/// Buffer space for one read, in bytes: one TLS record.
const READ_BYTES: usize = 16 * 1024;

/// Time limit of the login. It is longer than the server's, because the server reports why it closes.
pub(super) const LOGIN_TIMEOUT: Duration = Duration::from_secs(15);

/// Read timeout until the server has sent its limits.
const PRE_LOGIN_READ_TIMEOUT: Duration = Duration::from_secs(limits::KEEPALIVE_TIMEOUT_SECONDS);

/// Time limit for closing: the queued requests and EXIT are written, and the server closes the connection.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a connection, or an attempt to log in, ended. The texts are shown to the user.
#[derive(Debug, Error)]
pub(super) enum DisconnectReason {
    /// The server closed the connection without a reason.
    #[error("the server closed the connection")]
    Closed,
    /// The read timeout passed.
    #[error("no data from the server for {} seconds", .0.as_secs())]
    TimedOut(Duration),
    /// The server's event count differs from the number of events received.
    #[error("a message from the server was lost; reconnecting")]
    EventsLost,
    /// An error of the network or of TLS.
    #[error("the connection broke ({0})")]
    Io(#[source] io::Error),
    /// The server gave a reason, and a later attempt may succeed.
    #[error("{0}")]
    Transient(SafeText),
    /// A frame that is too long or is not a JSON object.
    #[error("invalid data from the server: {0}")]
    BadFrame(#[source] Refusal),
    /// A JSON object that is not a valid event.
    #[error("invalid data from the server: {0}")]
    BadEvent(#[source] serde_json::Error),
    /// An event other than an answer to the login.
    #[error("unexpected answer to the login: this is not a chat server")]
    UnexpectedReply,
    /// No answer to the login.
    #[error("no answer to the login within {} seconds", LOGIN_TIMEOUT.as_secs())]
    LoginTimeout,
    /// The server gave a reason, and the client must not reconnect.
    #[error("{0}")]
    Rejected(SafeText),
    /// The server speaks only the original protocol.
    #[error(
        "server too old: it does not support protocol {PROTOCOL_VERSION} (ask its administrator to update)"
    )]
    UnsupportedServer,
}

impl DisconnectReason {
    /// Interprets a CLOSING event. A kicked or banned client does not reconnect, or a kick would have no
    /// effect.
    fn from_closing(ErrorReply { code, text, .. }: &ErrorReply) -> Self {
        let is_final = matches!(code, ErrorCode::Kicked | ErrorCode::Banned);
        if is_final { Self::Rejected(text.clone()) } else { Self::Transient(text.clone()) }
    }

    /// Whether the client must not reconnect.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Rejected(_) | Self::UnsupportedServer)
    }
}

/// A stream to a server, with its decoder.
#[derive(Debug)]
pub(super) struct Connection<S> {
    stream: S,
    decoder: Decoder,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, decoder: Decoder::new(limits::SERVER_FRAME_BYTES) }
    }

    /// Logs in and waits for the answer. The caller sets the time limit.
    pub(super) async fn log_in(&mut self, login: &Login) -> Result<Welcome, DisconnectReason> {
        self.stream.write_all(&login.encode()).await.map_err(DisconnectReason::Io)?;
        self.stream.flush().await.map_err(DisconnectReason::Io)?;
        loop {
            match next_event(&mut self.stream, &mut self.decoder, PRE_LOGIN_READ_TIMEOUT).await? {
                Event::LoginPrompt => {}
                Event::Welcome(welcome) if welcome.epoch.is_empty() => {
                    return Err(DisconnectReason::UnsupportedServer);
                }
                Event::Welcome(welcome) => return Ok(welcome),
                Event::LoginRefused(refused) if is_transient(refused.code) => {
                    return Err(DisconnectReason::Transient(refused.text));
                }
                Event::LoginRefused(refused) => {
                    return Err(DisconnectReason::Rejected(refused.text));
                }
                Event::Closing(refused) => {
                    return Err(DisconnectReason::from_closing(&refused));
                }
                Event::Error(refused) => {
                    return Err(DisconnectReason::Transient(refused.text));
                }
                _ => return Err(DisconnectReason::UnexpectedReply),
            }
        }
    }

    /// Writes requests and reads events until the connection is lost or the client is closed. On close,
    /// the queued requests and EXIT are still written.
    pub(super) async fn run(
        self,
        requests: mpsc::Receiver<Vec<u8>>,
        Keepalive { ping_interval, read_timeout }: Keepalive,
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
            // Queued requests are written before more is read.
            biased;
            error = write_requests(writer, requests, received_up_to, ping_interval) => {
                DisconnectReason::Io(error)
            }
            reason = read_events(reader, self.decoder, read_timeout, events, observer) => reason,
            () = close_timeout => DisconnectReason::Closed,
        }
    }
}

/// Inspects events before they are handed on: moves the cursor, and reports answers to the outbox. It
/// outlives connections.
#[derive(Debug)]
pub(super) struct EventObserver {
    pub(super) cursor: Cursor,
    /// [`Cursor::received_up_to`], for the pings.
    received_up_to: watch::Sender<Option<Seq>>,
    signals: mpsc::Sender<OutboxSignal>,
    /// The last request for history without a conversation.
    whole_log_query: watch::Receiver<Option<Cid>>,
    /// The request channel, until it is handed to the outbox after the replay. Weak, so that it does not
    /// keep the connection open.
    requests: Option<mpsc::WeakSender<Vec<u8>>>,
    limits: Limits,
    /// Every ID that this client has had.
    own_ids: BTreeSet<UserId>,
}

impl EventObserver {
    pub(super) fn new(
        cursor: Cursor,
        signals: mpsc::Sender<OutboxSignal>,
        whole_log_query: watch::Receiver<Option<Cid>>,
    ) -> Self {
        let (received_up_to, _) = watch::channel(None);
        let (limits, own_ids) = (Limits::default(), BTreeSet::new());
        Self { cursor, received_up_to, signals, whole_log_query, requests: None, limits, own_ids }
    }

    /// Handles a successful login.
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

    /// Handles the end of a connection.
    pub(super) async fn on_disconnect(&mut self) {
        self.requests = None;
        self.signal(OutboxSignal::Disconnected).await;
    }

    /// Handles an event.
    ///
    /// # Errors
    /// [`DisconnectReason::EventsLost`].
    async fn on_event(&mut self, event: &Event) -> Result<(), DisconnectReason> {
        let recorded = self.cursor.record(event, self.whole_log_query.borrow().as_ref());
        recorded.map_err(|_missed| DisconnectReason::EventsLost)?;
        self.on_answered(executed_request(event, |user| self.own_ids.contains(user))).await;
        match event {
            Event::Live(_) => self.on_live().await,
            Event::Error(ErrorReply { code: ErrorCode::NotStored, cid: Some(cid), .. }) => {
                self.signal(OutboxSignal::NotStored(cid.clone())).await;
            }
            Event::Error(refused) => self.on_answered(refused.cid.as_ref()).await,
            Event::Deleted(_) | Event::Expired { .. } | Event::Edited(_) => {
                self.signal(OutboxSignal::MessageRemoved).await;
            }
            _ => {}
        }
        Ok(())
    }

    /// Hands the connection to the outbox, once for each connection.
    async fn on_live(&mut self) {
        if let Some(requests) = self.requests.take().and_then(|weak| weak.upgrade()) {
            let throttle = SendThrottle::from_limits(&self.limits);
            self.signal(OutboxSignal::Live(requests, throttle)).await;
        }
    }

    async fn on_answered(&self, cid: Option<&Cid>) {
        if let Some(cid) = cid {
            self.signal(OutboxSignal::Answered(cid.clone())).await;
        }
    }

    async fn signal(&self, signal: OutboxSignal) {
        if self.signals.send(signal).await.is_err() {
            // The outbox task ended with the client. The next run sends what is on disk.
        }
    }
}

/// Whether the same login may succeed later.
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

/// Reads the next event and skips unknown ones. Cancel safe: bytes that were read stay in `decoder`.
async fn next_event(
    reader: &mut (impl AsyncRead + Unpin),
    decoder: &mut Decoder,
    read_timeout: Duration,
) -> Result<Event, DisconnectReason> {
    loop {
        while let Some(object) = decoder.next_object() {
            let object = object.map_err(DisconnectReason::BadFrame)?;
            if let Some(event) = Event::decode(&object).map_err(DisconnectReason::BadEvent)? {
                return Ok(event);
            }
        }
        decoder.buffer().reserve(READ_BYTES);
        let read = reader.read_buf(decoder.buffer());
        let read = tokio::time::timeout(read_timeout, read).await;
        match read.map_err(|_elapsed| DisconnectReason::TimedOut(read_timeout))? {
            Ok(0) => return Err(DisconnectReason::Closed),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(DisconnectReason::Closed);
            }
            Err(error) => return Err(DisconnectReason::Io(error)),
        }
    }
}

/// Reads events to the end of the connection. Reading stops while the event channel is full, which slows
/// the server down.
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
            Err(reason) => return closing_reason.unwrap_or(reason),
        };
        if let Err(reason) = observer.on_event(&event).await {
            return reason;
        }
        let received_up_to = observer.cursor.received_up_to();
        if let Event::Closing(refused) = &event {
            closing_reason = Some(DisconnectReason::from_closing(refused));
        }
        match events.send(ClientEvent::Received(event)).await {
            // Go on reading after a close: a socket closed with unread bytes discards what was written.
            Ok(()) | Err(Closed) => {}
        }
        observer.received_up_to.send_replace(received_up_to);
    }
}

/// Writes requests until the channel is closed, then EXIT, and leaves closing to the server. Returns only
/// on an error.
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
            // Give the reader time to find the server's reason.
            tokio::time::sleep(CLOSE_TIMEOUT).await;
            error
        }
    }
}

/// Writes all queued requests in one call, and a ping whenever none was queued for `ping_interval`.
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
