//! One connection, from the login to its end. It moves bytes and requests; the hub decides.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::hub::{PeerInfo, SessionId};
use super::hub_task::{Clock, HubCommand, HubSender};
use super::limits::{
    CATCH_UP_PAGE, CLOSING_GRACE, KEEPALIVE_TIMEOUT, LINGER, LOGIN_TIMEOUT, READ_BYTES,
    TLS_RECORD_BYTES, WRITE_TIMEOUT,
};
use super::rate_limit::{Cost, RateLimiter, SessionRateLimit};
use super::recent_removals::RecentRemovals;
use super::send_queue::{CatchUpFrom, Frame, SendQueue, SendQueueItem};
use crate::protocol::decoder::Decoder;
use crate::protocol::error::Refusal;
use crate::protocol::event::{ErrorReply, Event};
use crate::protocol::id::Seq;
use crate::protocol::limits::{FRAME_BYTES, LOGIN_FRAME_BYTES};
use crate::protocol::request::{DecodedRequest, Dialect, Login, Request};
use crate::store::View;
use crate::store::worker::ReaderHandle;

/// What all sessions share.
#[derive(Debug, Clone)]
pub(super) struct SessionContext {
    pub(super) hub: HubSender,
    pub(super) readers: ReaderHandle,
    pub(super) recent_removals: Arc<RecentRemovals>,
    pub(super) clock: Clock,
    /// `None` turns rate limits off.
    pub(super) rate_limiter: Option<Arc<RateLimiter>>,
    pub(super) stop: CancellationToken,
}

/// Serves one connection until either side ends it.
pub(super) async fn run<IO>(io: IO, session: SessionId, peer: PeerInfo, context: SessionContext)
where
    IO: AsyncRead + AsyncWrite + Send,
{
    let (mut reader, mut writer) = tokio::io::split(io);
    let mut decoder = Decoder::new(LOGIN_FRAME_BYTES);
    let login = tokio::select! {
        biased;
        login = timeout(LOGIN_TIMEOUT, read_login(&mut reader, &mut writer, &mut decoder)) => {
            login.unwrap_or(Some(Err(Refusal::LoginTimeout)))
        }
        () = context.stop.cancelled() => Some(Err(Refusal::ShuttingDown)),
    };
    match login {
        Some(Ok(login)) => {
            let dialect = login.dialect;
            let session = Session { id: session, context, dialect, queue: Arc::default() };
            session.serve(login, peer, &mut reader, &mut writer, decoder).await;
        }
        Some(Err(refusal)) => send_login_refusal(&mut writer, &refusal).await,
        None => {}
    }
    shut_down(reader, writer).await;
}

/// Refuses a connection before its login, with the reason.
pub(super) async fn refuse<IO: AsyncRead + AsyncWrite>(io: IO, refusal: &Refusal) {
    let (reader, mut writer) = tokio::io::split(io);
    send_login_refusal(&mut writer, refusal).await;
    shut_down(reader, writer).await;
}

async fn send_login_refusal<IO: AsyncWrite>(writer: &mut WriteHalf<IO>, refusal: &Refusal) {
    let event = Event::LoginRefused(ErrorReply::new(refusal, None));
    // If the client does not read even this, the connection is closed anyway.
    drop(timeout(CLOSING_GRACE, write_all(writer, &event.encode())).await);
}

/// Sends the login prompt and reads the login. Returns `None` if the client disconnected.
async fn read_login<IO: AsyncRead + AsyncWrite>(
    reader: &mut ReadHalf<IO>,
    writer: &mut WriteHalf<IO>,
    decoder: &mut Decoder,
) -> Option<Result<Login, Refusal>> {
    write_all(writer, &Event::LoginPrompt.encode()).await.ok()?;
    loop {
        if let Some(object) = decoder.next_object() {
            return Some(object.and_then(|bytes| Login::decode(&bytes)));
        }
        read_some(reader, decoder).await?;
    }
}

/// A connection that has sent its login.
struct Session {
    id: SessionId,
    context: SessionContext,
    dialect: Dialect,
    queue: Arc<SendQueue>,
}

impl Session {
    async fn serve<IO: AsyncRead + AsyncWrite>(
        self,
        login: Login,
        peer: PeerInfo,
        reader: &mut ReadHalf<IO>,
        writer: &mut WriteHalf<IO>,
        decoder: Decoder,
    ) {
        let limiter = self.context.rate_limiter.as_ref();
        let rate_limit =
            limiter.map(|limiter| limiter.session((self.context.clock)().monotonic, peer.key));
        let queue = Arc::clone(&self.queue);
        let login = HubCommand::Login { session: self.id, login, peer, queue };
        if self.context.hub.send(login).await.is_err() {
            return;
        }
        let writing = async {
            tokio::select! {
                biased;
                _ = self.write_loop(writer) => {}
                () = async { self.queue.closed().await; sleep(CLOSING_GRACE).await } => {}
            }
        };
        tokio::pin!(writing);
        tokio::select! {
            // Queued output is sent before more requests are read.
            biased;
            () = &mut writing => {}
            // Nothing is read from the client until the hub has accepted its login.
            () = async {
                self.queue.logged_in().await;
                self.read_loop(reader, decoder, rate_limit).await;
            } => {
                // Requests that were read are still answered.
                if self.context.hub.send(HubCommand::Disconnected(self.id)).await.is_ok() {
                    writing.await;
                }
            }
        }
        // Fails if the hub task has stopped.
        drop(self.context.hub.send(HubCommand::Disconnected(self.id)).await);
    }

    /// Forwards requests to the hub until the client disconnects, sends nothing for
    /// [`KEEPALIVE_TIMEOUT`], or sends something after which the stream can't be decoded.
    async fn read_loop<IO: AsyncRead>(
        &self,
        reader: &mut ReadHalf<IO>,
        mut decoder: Decoder,
        mut rate_limit: Option<SessionRateLimit>,
    ) {
        decoder.set_limit(FRAME_BYTES);
        let mut received = None;
        loop {
            while let Some(object) = decoder.next_object() {
                let request = match object {
                    Ok(bytes) => Request::decode(&bytes),
                    Err(refusal) => (None, Err(refusal)),
                };
                let request =
                    match self.wait_for_rate_limit(&mut rate_limit, Cost::of(&request)).await {
                        Ok(()) => request,
                        Err(flooding) => (None, Err(flooding)),
                    };
                if !self.forward(request, &mut received).await {
                    return;
                }
            }
            let read = read_some(reader, &mut decoder);
            let count = match self.dialect {
                Dialect::Extended => timeout(KEEPALIVE_TIMEOUT, read).await.ok().flatten(),
                // Original clients send no pings.
                Dialect::Original => read.await,
            };
            let Some(count) = count else { return };
            let bytes = Cost::Bytes(count.try_into().unwrap_or(u32::MAX));
            if let Err(flooding) = self.wait_for_rate_limit(&mut rate_limit, Some(bytes)).await {
                self.forward((None, Err(flooding)), &mut received).await;
                return;
            }
        }
    }

    /// Charges the session's rate limit, and waits until the charge is due. Nothing is read meanwhile.
    async fn wait_for_rate_limit(
        &self,
        rate_limit: &mut Option<SessionRateLimit>,
        cost: Option<Cost>,
    ) -> Result<(), Refusal> {
        let (Some(rate_limit), Some(cost)) = (rate_limit, cost) else { return Ok(()) };
        let now = (self.context.clock)().monotonic;
        let due = rate_limit.charge(now, cost)?;
        if due > now {
            sleep_until(due).await;
        }
        Ok(())
    }

    /// Forwards a request to the hub. Returns whether more requests can follow.
    ///
    /// A ping is answered here; the hub gets it only if it acknowledges events after `received`.
    async fn forward(&self, request: DecodedRequest, received: &mut Option<Seq>) -> bool {
        if let (_, Ok(Request::Ping(up_to))) = request {
            // If the queue is full, the session is closed by its write timeout.
            self.queue.push(Frame::Pong).ok();
            if up_to <= *received {
                return true;
            }
            *received = up_to;
        }
        let is_last = matches!(request.1, Err(Refusal::FrameTooLong(_) | Refusal::Flooding));
        let command = HubCommand::Request { session: self.id, request };
        self.context.hub.send(command).await.is_ok() && !is_last
    }

    /// Writes queued frames, and events from the log while the session catches up, until the queue is
    /// closed.
    async fn write_loop<IO: AsyncWrite>(&self, writer: &mut WriteHalf<IO>) -> std::io::Result<()> {
        let mut frames = Vec::new();
        let mut n_events = 0;
        loop {
            match self.queue.take(&mut frames).await {
                SendQueueItem::Frames => {
                    self.send_frames(writer, &mut frames, &mut n_events).await?;
                }
                SendQueueItem::CatchUp(from) => self.catch_up(writer, from, &mut n_events).await?,
                SendQueueItem::Closed => return Ok(()),
            }
        }
    }

    async fn send_frames<IO: AsyncWrite>(
        &self,
        writer: &mut WriteHalf<IO>,
        frames: &mut Vec<Frame>,
        n_events: &mut u64,
    ) -> std::io::Result<()> {
        let mut pieces = Vec::with_capacity(frames.len());
        for frame in frames.drain(..) {
            pieces.push(match frame {
                Frame::Bytes(bytes, count) => {
                    *n_events += count;
                    bytes
                }
                Frame::Pong => Event::Pong(*n_events).encode(),
            });
        }
        match (self.dialect, pieces.as_slice()) {
            (Dialect::Extended, [piece]) => write_all(writer, piece).await?,
            (Dialect::Extended, pieces) => write_all(writer, &pieces.concat()).await?,
            // Original clients expect one object per TLS record, so each is flushed by itself.
            (Dialect::Original, pieces) => {
                for piece in pieces {
                    write_all(writer, piece).await?;
                }
            }
        }
        Ok(())
    }

    /// Sends the next page of events from the log. After the last page, the hub decides whether the
    /// session has caught up.
    async fn catch_up<IO: AsyncWrite>(
        &self,
        writer: &mut WriteHalf<IO>,
        CatchUpFrom { viewer, after }: CatchUpFrom,
        n_events: &mut u64,
    ) -> std::io::Result<()> {
        let (user, now) = (viewer.clone(), (self.context.clock)().millis());
        let page = self.context.readers.read(move |reader| {
            reader.events_after(View { viewer: &user, now }, after, CATCH_UP_PAGE)
        });
        let page = match page.await {
            Ok(Some(page)) => page,
            Ok(None) => {
                return Err(std::io::Error::other("the log no longer has all missed events"));
            }
            Err(error) => return Err(std::io::Error::other(error)),
        };
        // Queued replies were read before the removals in this page, so they are sent first; later
        // replies leave the removed messages out.
        page.events
            .iter()
            .filter_map(Event::removed_message)
            .for_each(|id| self.context.recent_removals.record(id));
        let mut queued = self.queue.drain();
        self.send_frames(writer, &mut queued, n_events).await?;
        let encoded = page.events.iter().filter_map(|event| match self.dialect {
            Dialect::Extended => Some(event.encode()),
            Dialect::Original => event.encode_for_original(),
        });
        let mut frames = encoded.map(|bytes| Frame::Bytes(bytes, 1)).collect();
        self.send_frames(writer, &mut frames, n_events).await?;
        if page.events.len() == CATCH_UP_PAGE {
            self.queue.start_catch_up(CatchUpFrom { viewer, after: page.complete_to });
        } else {
            let command = HubCommand::CaughtUp { session: self.id, up_to: page.complete_to };
            self.context.hub.send(command).await.map_err(std::io::Error::other)?;
        }
        Ok(())
    }
}

/// Writes in pieces of one TLS record. Each has to be written within [`WRITE_TIMEOUT`]; the whole may
/// take longer.
async fn write_all<IO: AsyncWrite>(
    writer: &mut WriteHalf<IO>,
    bytes: &[u8],
) -> std::io::Result<()> {
    for piece in bytes.chunks(TLS_RECORD_BYTES) {
        timeout(WRITE_TIMEOUT, writer.write_all(piece)).await??;
    }
    timeout(WRITE_TIMEOUT, writer.flush()).await?
}

/// Reads what is there, and returns the number of bytes. Returns `None` at the end of the stream.
async fn read_some<IO: AsyncRead>(
    reader: &mut ReadHalf<IO>,
    decoder: &mut Decoder,
) -> Option<usize> {
    let buffer = decoder.buffer();
    buffer.reserve(READ_BYTES);
    match reader.read_buf(buffer).await {
        Ok(0) | Err(_) => None,
        Ok(count) => Some(count),
    }
}

/// Closes the connection so that the last bytes sent arrive. See [`LINGER`].
async fn shut_down<IO: AsyncRead + AsyncWrite>(
    mut reader: ReadHalf<IO>,
    mut writer: WriteHalf<IO>,
) {
    let closing = async {
        writer.shutdown().await?;
        tokio::io::copy(&mut reader, &mut tokio::io::sink()).await
    };
    // On a timeout or an error, the connection is dropped.
    drop(timeout(LINGER, closing).await);
}
