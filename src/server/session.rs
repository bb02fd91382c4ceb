//! One connection, from the login to its last byte. Carries, never decides.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::hub::{PeerInfo, SessionId};
use super::limits::{
    CATCH_UP_PAGE, CLOSING_GRACE, KEEPALIVE_TIMEOUT, LINGER, LOGIN_TIMEOUT, READ_BYTES,
    TLS_RECORD_BYTES, WRITE_TIMEOUT,
};
use super::rate_limit::{Cost, RateLimiter, SessionRateLimit};
use super::recent_removals::RecentRemovals;
use super::send_queue::{CatchUpFrom, Frame, SendQueue, SendQueueItem};
use super::shell::{Clock, HubCommand, HubSender};
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
    pub(super) reads: ReaderHandle,
    pub(super) recent_removals: Arc<RecentRemovals>,
    pub(super) clock: Clock,
    /// How fast people are heard; nothing where everybody is heard as fast as may be.
    pub(super) rate_limiter: Option<Arc<RateLimiter>>,
    pub(super) stop: CancellationToken,
}

/// Serves one connection until either side ends it.
pub(super) async fn run<IO>(io: IO, session: SessionId, peer: PeerInfo, room: SessionContext)
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
        () = room.stop.cancelled() => Some(Err(Refusal::ShuttingDown)),
    };
    match login {
        Some(Ok(login)) => {
            let dialect = login.dialect;
            let inside = Session { id: session, context: room, dialect, queue: Arc::default() };
            inside.serve(login, peer, &mut reader, &mut writer, decoder).await;
        }
        Some(Err(refusal)) => send_login_refusal(&mut writer, &refusal).await,
        None => {}
    }
    shut_down(reader, writer).await;
}

/// Ends a connection before its login, and says why.
pub(super) async fn refuse<IO: AsyncRead + AsyncWrite>(io: IO, refusal: &Refusal) {
    let (reader, mut writer) = tokio::io::split(io);
    send_login_refusal(&mut writer, refusal).await;
    shut_down(reader, writer).await;
}

async fn send_login_refusal<IO: AsyncWrite>(writer: &mut WriteHalf<IO>, refusal: &Refusal) {
    let event = Event::LoginRefused(ErrorReply::new(refusal, None));
    // Whoever does not even take this is gone, or will be.
    drop(timeout(CLOSING_GRACE, write_all(writer, &event.encode())).await);
}

/// Asks for the login and reads it; nothing when the client is gone.
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

/// A session that the hub knows of.
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
        let people = self.context.rate_limiter.as_ref();
        let allowance =
            people.map(|people| people.session((self.context.clock)().monotonic, peer.key));
        let outbox = Arc::clone(&self.queue);
        let arrived = HubCommand::Login { session: self.id, login, peer, queue: outbox };
        if self.context.hub.send(arrived).await.is_err() {
            return;
        }
        let sending = async {
            tokio::select! {
                biased;
                _ = self.write_loop(writer) => {}
                () = async { self.queue.closed().await; sleep(CLOSING_GRACE).await } => {}
            }
        };
        tokio::pin!(sending);
        tokio::select! {
            // What waits goes out before more is asked for.
            biased;
            () = &mut sending => {}
            // Before the hub has let it in, nothing that it says is even looked at.
            () = async {
                self.queue.logged_in().await;
                self.read_loop(reader, decoder, allowance).await;
            } => {
                // What it asked for last is still answered.
                if self.context.hub.send(HubCommand::Disconnected(self.id)).await.is_ok() {
                    sending.await;
                }
            }
        }
        // The hub may have stopped.
        drop(self.context.hub.send(HubCommand::Disconnected(self.id)).await);
    }

    /// Hands on what the client asks for, until it goes, falls silent, or can't be understood any more.
    async fn read_loop<IO: AsyncRead>(
        &self,
        reader: &mut ReadHalf<IO>,
        mut decoder: Decoder,
        mut allowance: Option<SessionRateLimit>,
    ) {
        decoder.set_limit(FRAME_BYTES);
        let mut has_come = None;
        loop {
            while let Some(object) = decoder.next_object() {
                let request = match object {
                    Ok(bytes) => Request::decode(&bytes),
                    Err(refusal) => (None, Err(refusal)),
                };
                let request =
                    match self.wait_for_rate_limit(&mut allowance, Cost::of(&request)).await {
                        Ok(()) => request,
                        Err(flooding) => (None, Err(flooding)),
                    };
                if !self.forward(request, &mut has_come).await {
                    return;
                }
            }
            let read = read_some(reader, &mut decoder);
            let alive = match self.dialect {
                Dialect::Extended => timeout(KEEPALIVE_TIMEOUT, read).await.ok().flatten(),
                // It does not ping.
                Dialect::Original => read.await,
            };
            let Some(count) = alive else { return };
            let bytes = Cost::Bytes(count.try_into().unwrap_or(u32::MAX));
            if let Err(flooding) = self.wait_for_rate_limit(&mut allowance, Some(bytes)).await {
                self.forward((None, Err(flooding)), &mut has_come).await;
                return;
            }
        }
    }

    /// Waits until it is this person's turn. Meanwhile nothing is read.
    async fn wait_for_rate_limit(
        &self,
        allowance: &mut Option<SessionRateLimit>,
        asked: Option<Cost>,
    ) -> Result<(), Refusal> {
        let (Some(allowance), Some(asked)) = (allowance, asked) else { return Ok(()) };
        let now = (self.context.clock)().monotonic;
        let due = allowance.charge(now, asked)?;
        if due > now {
            sleep_until(due).await;
        }
        Ok(())
    }

    /// Hands on a request; whether there can be another.
    async fn forward(&self, request: DecodedRequest, has_come: &mut Option<Seq>) -> bool {
        if let (_, Ok(Request::Ping(up_to))) = request {
            // Whoever takes no answers is closed for what else it does not take.
            self.queue.push(Frame::Pong).ok();
            if up_to <= *has_come {
                return true;
            }
            *has_come = up_to;
        }
        let is_last = matches!(request.1, Err(Refusal::FrameTooLong(_) | Refusal::Flooding));
        let command = HubCommand::Request { session: self.id, request };
        self.context.hub.send(command).await.is_ok() && !is_last
    }

    /// Writes what comes into the outbox, as much at a time as waits there, and what the log has when
    /// that is where to go on.
    async fn write_loop<IO: AsyncWrite>(&self, writer: &mut WriteHalf<IO>) -> std::io::Result<()> {
        let mut frames = Vec::new();
        let mut n_events = 0;
        loop {
            match self.queue.take(&mut frames).await {
                SendQueueItem::Frames => {
                    self.send_frames(writer, &mut frames, &mut n_events).await?
                }
                SendQueueItem::CatchUp(behind) => {
                    self.catch_up(writer, behind, &mut n_events).await?
                }
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
            (Dialect::Extended, several) => write_all(writer, &several.concat()).await?,
            // Flushed one by one: TLS makes a record of each then, and of nothing but it.
            (Dialect::Original, each) => {
                for piece in each {
                    write_all(writer, piece).await?;
                }
            }
        }
        Ok(())
    }

    /// Sends the next events of the log; the hub says whether that was all.
    async fn catch_up<IO: AsyncWrite>(
        &self,
        writer: &mut WriteHalf<IO>,
        CatchUpFrom { viewer, after }: CatchUpFrom,
        n_events: &mut u64,
    ) -> std::io::Result<()> {
        let (user, now) = (viewer.clone(), (self.context.clock)().millis());
        let page = self.context.reads.read(move |reader| {
            reader.events_after(View { viewer: &user, now }, after, CATCH_UP_PAGE)
        });
        let page = match page.await {
            Ok(Some(page)) => page,
            Ok(None) => return Err(std::io::Error::other("the log does not go back so far")),
            Err(error) => return Err(std::io::Error::other(error)),
        };
        // Answers that wait were read before what is removed in this page; later ones know of it.
        page.events
            .iter()
            .filter_map(Event::removed_message)
            .for_each(|id| self.context.recent_removals.record(id));
        let mut waiting = self.queue.drain();
        self.send_frames(writer, &mut waiting, n_events).await?;
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

/// Writes in pieces: each has to be taken in time, however long the whole takes.
async fn write_all<IO: AsyncWrite>(
    writer: &mut WriteHalf<IO>,
    bytes: &[u8],
) -> std::io::Result<()> {
    for piece in bytes.chunks(TLS_RECORD_BYTES) {
        timeout(WRITE_TIMEOUT, writer.write_all(piece)).await??;
    }
    timeout(WRITE_TIMEOUT, writer.flush()).await?
}

/// Reads on, and says how many bytes; nothing when there is no more.
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

/// Ends the connection so that the last word arrives.
async fn shut_down<IO: AsyncRead + AsyncWrite>(reader: ReadHalf<IO>, mut writer: WriteHalf<IO>) {
    let mut reader = reader;
    let ending = async {
        writer.shutdown().await?;
        tokio::io::copy(&mut reader, &mut tokio::io::sink()).await
    };
    // Late or failed: the connection is dropped in any case.
    drop(timeout(LINGER, ending).await);
}
