//! One connection, from the login to its end. It moves bytes and requests; the hub decides.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::hub::{PeerInfo, SessionId};
use super::hub_task::{Clock, HubCommand, HubSender};
use super::limits::{
    CATCH_UP_PAGE, CLOSING_GRACE, KEEPALIVE_TIMEOUT, LINGER, LOGIN_TIMEOUT, OVERDUE_GRACE,
    READ_BYTES, WRITE_BYTES, WRITE_TIMEOUT,
};
use super::rate_limit::{Cost, RateLimiter, SessionRateLimit};
use super::send_queue::{Frame, SendQueue, SendQueueItem};
use super::tail::{CatchUp, Tail};
use crate::protocol::decoder::Decoder;
use crate::protocol::error::Refusal;
use crate::protocol::event::{ErrorReply, Event};
use crate::protocol::id::Seq;
use crate::protocol::limits::{FRAME_BYTES, LOGIN_FRAME_BYTES};
use crate::protocol::request::{DecodedRequest, Dialect, Login, Request};
use crate::store::worker::ReaderHandle;
use crate::store::{EventPage, View};

/// What all sessions share.
#[derive(Debug, Clone)]
pub(super) struct SessionContext {
    pub(super) hub: HubSender,
    /// Readers for missed events.
    pub(super) catch_up: ReaderHandle,
    pub(super) tail: Arc<Tail>,
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
    drop(timeout(CLOSING_GRACE, write_all(writer, &mut event.encode().as_ref())).await);
}

/// Sends the login prompt and reads the login. Returns `None` if the client disconnected.
async fn read_login<IO: AsyncRead + AsyncWrite>(
    reader: &mut ReadHalf<IO>,
    writer: &mut WriteHalf<IO>,
    decoder: &mut Decoder,
) -> Option<Result<Login, Refusal>> {
    write_all(writer, &mut Event::LoginPrompt.encode().as_ref()).await.ok()?;
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
        let mut rate_limit =
            limiter.map(|limiter| limiter.session((self.context.clock)().monotonic, peer.key));
        let _abandon = self.queue.abandon_on_drop();
        let queue = Arc::clone(&self.queue);
        let Ok(permit) = self.context.hub.reserve().await else { return };
        permit.send(HubCommand::Login { session: self.id, login, peer, queue });
        let writing = async {
            tokio::select! {
                biased;
                written = self.write_loop(writer) => {
                    if let Err(error) = written {
                        tracing::debug!(session = self.id.0, %error, "cannot send to a client");
                    }
                }
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
                self.read_loop(reader, decoder, &mut rate_limit).await;
            } => {
                // Fails while the server stops. In any case, requests that the hub task has accepted are
                // still answered, and it closes the queue.
                self.send_to_hub(HubCommand::Disconnected).await;
                writing.await;
            }
        }
        if let Some(rate_limit) = rate_limit {
            self.charge_answers(&rate_limit);
        }
        // Fails if the hub task has stopped.
        self.send_to_hub(HubCommand::Disconnected).await;
    }

    /// Returns false if the hub task has stopped.
    async fn send_to_hub(&self, command: fn(SessionId) -> HubCommand) -> bool {
        let permit = self.context.hub.reserve().await;
        permit.map(|permit| permit.send(command(self.id))).is_ok()
    }

    /// Forwards requests to the hub until the client disconnects, sends nothing for
    /// [`KEEPALIVE_TIMEOUT`], or sends something after which the stream can't be decoded.
    async fn read_loop<IO: AsyncRead>(
        &self,
        reader: &mut ReadHalf<IO>,
        mut decoder: Decoder,
        rate_limit: &mut Option<SessionRateLimit>,
    ) {
        decoder.set_limit(FRAME_BYTES);
        let mut received = None;
        loop {
            while let Some(object) = decoder.next_object() {
                let request = match object {
                    Ok(bytes) => Request::decode(&bytes),
                    Err(refusal) => (None, Err(refusal)),
                };
                let request = match self.wait_for_rate_limit(rate_limit, Cost::of(&request)).await {
                    Ok(()) => request,
                    Err(flooding) => (None, Err(flooding)),
                };
                if !self.forward(request, &mut received).await {
                    return;
                }
            }
            let read = read_some(reader, &mut decoder);
            let count = match self.dialect {
                Dialect::Extended => within(KEEPALIVE_TIMEOUT, read).await.ok().flatten(),
                // Original clients send no pings.
                Dialect::Original => read.await,
            };
            let Some(count) = count else { return };
            let bytes = Cost::Bytes(count.try_into().unwrap_or(u32::MAX));
            if let Err(flooding) = self.wait_for_rate_limit(rate_limit, Some(bytes)).await {
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
        let mut due = rate_limit.charge(now, cost)?;
        if cost == Cost::Query {
            due = due.max(self.charge_answers(rate_limit));
        }
        if due > now {
            sleep_until(due).await;
        }
        Ok(())
    }

    /// Charges the answers since the last call, and returns when the next query is due.
    fn charge_answers(&self, rate_limit: &SessionRateLimit) -> Instant {
        let now = (self.context.clock)().monotonic;
        rate_limit.charge_answers(now, self.queue.take_uncharged_answers())
    }

    /// Forwards a request to the hub. Returns whether more requests can follow.
    ///
    /// A ping is answered here; the hub gets it only if it acknowledges events after `received`.
    async fn forward(&self, request: DecodedRequest, received: &mut Option<Seq>) -> bool {
        let is_read = matches!(
            request.1,
            Ok(Request::History(_)
                | Request::SearchHistory(_)
                | Request::Conversations
                | Request::Rooms(_)
                | Request::Users { .. })
        );
        self.queue.begin_request(is_read).await;
        if let (_, Ok(Request::Ping(up_to))) = request {
            self.queue.push_answer(Frame::Pong);
            if up_to <= *received {
                return true;
            }
            *received = up_to;
        }
        let is_last = matches!(
            request.1,
            Ok(Request::Exit) | Err(Refusal::FrameTooLong(_) | Refusal::Flooding)
        );
        // The future of `send` would hold the request twice, for as long as the session is idle.
        let Ok(permit) = self.context.hub.reserve().await else { return false };
        permit.send(HubCommand::Request { session: self.id, request });
        !is_last
    }

    /// Writes queued frames, and events that the session missed, until the queue is closed.
    async fn write_loop<IO: AsyncWrite>(&self, writer: &mut WriteHalf<IO>) -> std::io::Result<()> {
        let mut frames = Vec::new();
        let mut n_events = 0;
        loop {
            match self.queue.take(&mut frames).await {
                SendQueueItem::Frames => {}
                SendQueueItem::CatchUp => self.catch_up(&mut frames).await?,
                SendQueueItem::UserList => {
                    // Fails only while the server stops.
                    self.send_to_hub(HubCommand::UserListWanted).await;
                }
                SendQueueItem::Closed => return Ok(()),
            }
            self.send_frames(writer, &mut frames, &mut n_events).await?;
        }
    }

    async fn send_frames<IO: AsyncWrite>(
        &self,
        writer: &mut WriteHalf<IO>,
        frames: &mut Vec<Frame>,
        n_events: &mut u64,
    ) -> std::io::Result<()> {
        let answer_weight = frames.iter().map(Frame::answer_weight).sum();
        let mut pieces = Vec::with_capacity(frames.len());
        for frame in frames.drain(..) {
            pieces.push(match frame {
                Frame::Events(bytes, count) => {
                    *n_events += count;
                    bytes
                }
                Frame::Answer(bytes) | Frame::Transient(bytes) | Frame::Setting(_, bytes) => bytes,
                Frame::Pong => Event::Pong(*n_events).encode(),
            });
        }
        match (self.dialect, pieces.as_slice()) {
            (_, []) => {}
            (Dialect::Extended, [piece]) => self.write(writer, piece).await?,
            (Dialect::Extended, pieces) => self.write(writer, &pieces.concat()).await?,
            // Original clients expect one object per TLS record, so each is flushed by itself.
            (Dialect::Original, pieces) => {
                for line in pieces.iter().flat_map(|piece| piece.split_inclusive(|b| *b == b'\n')) {
                    self.write(writer, line).await?;
                }
            }
        }
        self.queue.answers_sent(answer_weight);
        Ok(())
    }

    /// Writes whole objects. If the client takes nothing for too long, it is told why the connection is
    /// closed, should it take something after all.
    async fn write<IO: AsyncWrite>(
        &self,
        writer: &mut WriteHalf<IO>,
        bytes: &[u8],
    ) -> std::io::Result<()> {
        let mut unsent = bytes;
        let written = write_all(writer, &mut unsent).await;
        if written.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::TimedOut) {
            tracing::info!(session = self.id.0, "session closed: its client takes nothing");
            let mut last = rest_of_object(bytes, unsent).to_vec();
            if self.dialect == Dialect::Extended {
                let closing = Event::Closing(ErrorReply::new(&Refusal::TooSlow, None));
                last.extend_from_slice(&closing.encode());
            }
            let closing = async { write_all(writer, &mut last.as_slice()).await };
            // Boxed, as hardly any session comes here.
            drop(Box::pin(timeout(CLOSING_GRACE, closing)).await);
        }
        written
    }

    /// Moves to `frames` what the session sends next while it is behind: from the tail, or from the log
    /// what is older.
    async fn catch_up(&self, frames: &mut Vec<Frame>) -> std::io::Result<()> {
        let now = (self.context.clock)().millis();
        let (viewer, after, until) =
            match self.context.tail.catch_up(&self.queue, self.dialect, now, frames) {
                CatchUp::Tail => return Ok(()),
                CatchUp::Log { viewer, after, until } => (viewer, after, until),
            };
        let (user, dialect) = (viewer.clone(), self.dialect);
        let page = self.context.catch_up.read_for(&user, move |reader| {
            let view = View { viewer: &viewer, now };
            let page = match dialect {
                Dialect::Extended => reader.events_after(view, after, CATCH_UP_PAGE)?,
                Dialect::Original => {
                    reader.events_outside_rooms_after(view, after, CATCH_UP_PAGE)?
                }
            };
            Ok(page.map(|page| (encode_missed(&page, until, dialect), page.complete_to.min(until))))
        });
        let Some((events, up_to)) = page.await.map_err(std::io::Error::other)? else {
            return Err(std::io::Error::other("the log no longer has all missed events"));
        };
        self.queue.advance(up_to, true, frames);
        frames.extend(events);
        Ok(())
    }
}

/// The missed events up to `until`. What is not in the tail yet has not been announced: an answer that was
/// read before it may still be queued.
fn encode_missed(page: &EventPage, until: Seq, dialect: Dialect) -> Vec<Frame> {
    let events = page.events.iter().take_while(|event| event.seq() <= Some(until));
    let encoded = events.filter_map(|event| match dialect {
        Dialect::Extended => Some(event.encode()),
        Dialect::Original => event.encode_for_original(),
    });
    encoded.map(|bytes| Frame::Events(bytes, 1)).collect()
}

/// Writes in pieces of [`WRITE_BYTES`], and advances `bytes`. The client has to take each piece within
/// [`WRITE_TIMEOUT`]; the whole may take longer.
async fn write_all<IO: AsyncWrite>(
    writer: &mut WriteHalf<IO>,
    bytes: &mut &[u8],
) -> std::io::Result<()> {
    while let Some(piece) = bytes.chunks(WRITE_BYTES).next() {
        let count = within(WRITE_TIMEOUT, writer.write(piece)).await??;
        if count == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        *bytes = bytes.get(count..).unwrap_or_default();
        within(WRITE_TIMEOUT, writer.flush()).await??;
    }
    Ok(())
}

/// What is missing of the object that was sent in part; `unsent` is the end of `bytes`.
fn rest_of_object<'a>(bytes: &[u8], unsent: &'a [u8]) -> &'a [u8] {
    let sent = bytes.strip_suffix(unsent).unwrap_or_default();
    if sent.last().is_none_or(|byte| *byte == b'\n') {
        return &[];
    }
    unsent.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default()
}

/// Waits for a future, up to `limit`. One that is overdue gets [`OVERDUE_GRACE`]: when the process was
/// stopped for a while, the time is over before what arrived meanwhile was looked at.
async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut future = std::pin::pin!(future);
    match timeout(limit, &mut future).await {
        Err(_) => timeout(OVERDUE_GRACE, future).await,
        done => done,
    }
}

/// Reads what is there, and returns the number of bytes. Returns `None` at the end of the stream.
///
/// What was read passes through the stack, so that an idle connection holds no buffer.
async fn read_some<IO: AsyncRead>(
    reader: &mut ReadHalf<IO>,
    decoder: &mut Decoder,
) -> Option<usize> {
    if decoder.buffer().is_empty() {
        *decoder.buffer() = BytesMut::new();
    }
    poll_fn(|context| {
        let mut space = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut read = ReadBuf::uninit(&mut space);
        let result = ready!(Pin::new(&mut *reader).poll_read(context, &mut read));
        decoder.buffer().extend_from_slice(read.filled());
        Poll::Ready(result.ok().map(|()| read.filled().len()).filter(|count| *count > 0))
    })
    .await
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_sent_in_part_is_completed() {
        let bytes = b"one\ntwo\nthree\n";
        for (sent, rest) in [(0, ""), (1, "ne\n"), (4, ""), (7, "\n"), (9, "hree\n"), (14, "")] {
            assert_eq!(rest_of_object(bytes, &bytes[sent..]), rest.as_bytes());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn overdue_future_gets_a_moment() {
        let limit = Duration::from_secs(45);
        assert!(within(limit, sleep(limit + OVERDUE_GRACE / 2)).await.is_ok());
        assert!(within(limit, sleep(limit + OVERDUE_GRACE * 2)).await.is_err());
    }
}
