//! One connection, from the login to its last byte. Carries, never decides.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::hub::{Peer, SessionId};
use super::limits::{
    CATCH_UP, CLOSING_GRACE, DEAD, LINGER, LOGIN_TIMEOUT, READ_BYTES, RECORD, STALLED,
};
use super::outbox::{Behind, Frame, Outbox, Taken};
use super::rates::{Allowance, Asked, People};
use super::removed::Removed;
use super::shell::{Clock, Command, HubSender};
use crate::protocol::decoder::Decoder;
use crate::protocol::error::Refusal;
use crate::protocol::event::{Event, Refused};
use crate::protocol::id::Seq;
use crate::protocol::limits::{FRAME_BYTES, LOGIN_FRAME_BYTES};
use crate::protocol::request::{Decoded, Dialect, Login, Request};
use crate::store::View;
use crate::store::handle::ReadHandle;

/// What all sessions share.
#[derive(Debug, Clone)]
pub(super) struct Room {
    pub(super) hub: HubSender,
    pub(super) reads: ReadHandle,
    pub(super) removed: Arc<Removed>,
    pub(super) clock: Clock,
    /// How fast people are heard; nothing where everybody is heard as fast as may be.
    pub(super) people: Option<Arc<People>>,
    pub(super) stop: CancellationToken,
}

/// Serves one connection until either side ends it.
pub(super) async fn run<IO>(io: IO, session: SessionId, peer: Peer, room: Room)
where
    IO: AsyncRead + AsyncWrite + Send,
{
    let (mut reader, mut writer) = tokio::io::split(io);
    let mut decoder = Decoder::new(LOGIN_FRAME_BYTES);
    let login = tokio::select! {
        biased;
        login = timeout(LOGIN_TIMEOUT, log_in(&mut reader, &mut writer, &mut decoder)) => {
            login.unwrap_or(Some(Err(Refusal::LoginTimeout)))
        }
        () = room.stop.cancelled() => Some(Err(Refusal::ShuttingDown)),
    };
    match login {
        Some(Ok(login)) => {
            let dialect = login.dialect;
            let inside = Inside { session, room, dialect, outbox: Arc::default() };
            inside.serve(login, peer, &mut reader, &mut writer, decoder).await;
        }
        Some(Err(refusal)) => say_no(&mut writer, &refusal).await,
        None => {}
    }
    end(reader, writer).await;
}

/// Ends a connection before its login, and says why.
pub(super) async fn refuse<IO: AsyncRead + AsyncWrite>(io: IO, refusal: &Refusal) {
    let (reader, mut writer) = tokio::io::split(io);
    say_no(&mut writer, refusal).await;
    end(reader, writer).await;
}

async fn say_no<IO: AsyncWrite>(writer: &mut WriteHalf<IO>, refusal: &Refusal) {
    let event = Event::LoginRefused(Refused::new(refusal, None));
    // Whoever does not even take this is gone, or will be.
    drop(timeout(CLOSING_GRACE, send(writer, &event.encode())).await);
}

/// Asks for the login and reads it; nothing when the client is gone.
async fn log_in<IO: AsyncRead + AsyncWrite>(
    reader: &mut ReadHalf<IO>,
    writer: &mut WriteHalf<IO>,
    decoder: &mut Decoder,
) -> Option<Result<Login, Refusal>> {
    send(writer, &Event::LoginPrompt.encode()).await.ok()?;
    loop {
        if let Some(object) = decoder.next_object() {
            return Some(object.and_then(|bytes| Login::decode(&bytes)));
        }
        read(reader, decoder).await?;
    }
}

/// A session that the hub knows of.
struct Inside {
    session: SessionId,
    room: Room,
    dialect: Dialect,
    outbox: Arc<Outbox>,
}

impl Inside {
    async fn serve<IO: AsyncRead + AsyncWrite>(
        self,
        login: Login,
        peer: Peer,
        reader: &mut ReadHalf<IO>,
        writer: &mut WriteHalf<IO>,
        decoder: Decoder,
    ) {
        let people = self.room.people.as_ref();
        let allowance = people.map(|people| people.allow((self.room.clock)().mono, peer.key));
        let outbox = Arc::clone(&self.outbox);
        let arrived = Command::Login { session: self.session, login, peer, outbox };
        if self.room.hub.send(arrived).await.is_err() {
            return;
        }
        let sending = async {
            tokio::select! {
                biased;
                _ = self.send_all(writer) => {}
                () = async { self.outbox.closing().await; sleep(CLOSING_GRACE).await } => {}
            }
        };
        tokio::pin!(sending);
        tokio::select! {
            // What waits goes out before more is asked for.
            biased;
            () = &mut sending => {}
            // Before the hub has let it in, nothing that it says is even looked at.
            () = async {
                self.outbox.admitted().await;
                self.receive_all(reader, decoder, allowance).await;
            } => {
                // What it asked for last is still answered.
                if self.room.hub.send(Command::Left(self.session)).await.is_ok() {
                    sending.await;
                }
            }
        }
        // The hub may have stopped.
        drop(self.room.hub.send(Command::Left(self.session)).await);
    }

    /// Hands on what the client asks for, until it goes, falls silent, or can't be understood any more.
    async fn receive_all<IO: AsyncRead>(
        &self,
        reader: &mut ReadHalf<IO>,
        mut decoder: Decoder,
        mut allowance: Option<Allowance>,
    ) {
        decoder.set_limit(FRAME_BYTES);
        let mut has_come = None;
        loop {
            while let Some(object) = decoder.next_object() {
                let request = match object {
                    Ok(bytes) => Request::decode(&bytes),
                    Err(refusal) => (None, Err(refusal)),
                };
                let request = match self.in_turn(&mut allowance, Asked::by(&request)).await {
                    Ok(()) => request,
                    Err(flooding) => (None, Err(flooding)),
                };
                if !self.hand_on(request, &mut has_come).await {
                    return;
                }
            }
            let read = read(reader, &mut decoder);
            let alive = match self.dialect {
                Dialect::Extended => timeout(DEAD, read).await.ok().flatten(),
                // It does not ping.
                Dialect::Original => read.await,
            };
            let Some(count) = alive else { return };
            let bytes = Asked::Bytes(count.try_into().unwrap_or(u32::MAX));
            if let Err(flooding) = self.in_turn(&mut allowance, Some(bytes)).await {
                self.hand_on((None, Err(flooding)), &mut has_come).await;
                return;
            }
        }
    }

    /// Waits until it is this person's turn. Meanwhile nothing is read.
    async fn in_turn(
        &self,
        allowance: &mut Option<Allowance>,
        asked: Option<Asked>,
    ) -> Result<(), Refusal> {
        let (Some(allowance), Some(asked)) = (allowance, asked) else { return Ok(()) };
        let now = (self.room.clock)().mono;
        let due = allowance.ask(now, asked)?;
        if due > now {
            sleep_until(due).await;
        }
        Ok(())
    }

    /// Hands on a request; whether there can be another.
    async fn hand_on(&self, request: Decoded, has_come: &mut Option<Seq>) -> bool {
        if let (_, Ok(Request::Ping(up_to))) = request {
            // Whoever takes no answers is closed for what else it does not take.
            self.outbox.push(Frame::Pong).ok();
            if up_to <= *has_come {
                return true;
            }
            *has_come = up_to;
        }
        let is_last = matches!(request.1, Err(Refusal::FrameTooLong(_) | Refusal::Flooding));
        let command = Command::Request { session: self.session, request };
        self.room.hub.send(command).await.is_ok() && !is_last
    }

    /// Writes what comes into the outbox, as much at a time as waits there, and what the log has when
    /// that is where to go on.
    async fn send_all<IO: AsyncWrite>(&self, writer: &mut WriteHalf<IO>) -> std::io::Result<()> {
        let mut frames = Vec::new();
        let mut n_events = 0;
        loop {
            match self.outbox.take(&mut frames).await {
                Taken::Frames => self.send_frames(writer, &mut frames, &mut n_events).await?,
                Taken::Behind(behind) => self.catch_up(writer, behind, &mut n_events).await?,
                Taken::Closed => return Ok(()),
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
            (Dialect::Extended, [piece]) => send(writer, piece).await?,
            (Dialect::Extended, several) => send(writer, &several.concat()).await?,
            // Flushed one by one: TLS makes a record of each then, and of nothing but it.
            (Dialect::Original, each) => {
                for piece in each {
                    send(writer, piece).await?;
                }
            }
        }
        Ok(())
    }

    /// Sends the next events of the log; the hub says whether that was all.
    async fn catch_up<IO: AsyncWrite>(
        &self,
        writer: &mut WriteHalf<IO>,
        Behind { viewer, after }: Behind,
        n_events: &mut u64,
    ) -> std::io::Result<()> {
        let (user, now) = (viewer.clone(), (self.room.clock)().millis());
        let page = self
            .room
            .reads
            .read(move |reader| reader.events_after(View { viewer: &user, now }, after, CATCH_UP));
        let page = match page.await {
            Ok(Some(page)) => page,
            Ok(None) => return Err(std::io::Error::other("the log does not go back so far")),
            Err(error) => return Err(std::io::Error::other(error)),
        };
        // Answers that wait were read before what is removed in this page; later ones know of it.
        page.events.iter().filter_map(Event::removes).for_each(|id| self.room.removed.note(id));
        let mut waiting = self.outbox.drain();
        self.send_frames(writer, &mut waiting, n_events).await?;
        let encoded = page.events.iter().filter_map(|event| match self.dialect {
            Dialect::Extended => Some(event.encode()),
            Dialect::Original => event.encode_for_original(),
        });
        let mut frames = encoded.map(|bytes| Frame::Bytes(bytes, 1)).collect();
        self.send_frames(writer, &mut frames, n_events).await?;
        if page.events.len() == CATCH_UP {
            self.outbox.fall_behind(Behind { viewer, after: page.looked });
        } else {
            let command = Command::Level { session: self.session, looked: page.looked };
            self.room.hub.send(command).await.map_err(std::io::Error::other)?;
        }
        Ok(())
    }
}

/// Writes in pieces: each has to be taken in time, however long the whole takes.
async fn send<IO: AsyncWrite>(writer: &mut WriteHalf<IO>, bytes: &[u8]) -> std::io::Result<()> {
    for piece in bytes.chunks(RECORD) {
        timeout(STALLED, writer.write_all(piece)).await??;
    }
    timeout(STALLED, writer.flush()).await?
}

/// Reads on, and says how many bytes; nothing when there is no more.
async fn read<IO: AsyncRead>(reader: &mut ReadHalf<IO>, decoder: &mut Decoder) -> Option<usize> {
    let buffer = decoder.buffer();
    buffer.reserve(READ_BYTES);
    match reader.read_buf(buffer).await {
        Ok(0) | Err(_) => None,
        Ok(count) => Some(count),
    }
}

/// Ends the connection so that the last word arrives.
async fn end<IO: AsyncRead + AsyncWrite>(reader: ReadHalf<IO>, mut writer: WriteHalf<IO>) {
    let mut reader = reader;
    let ending = async {
        writer.shutdown().await?;
        tokio::io::copy(&mut reader, &mut tokio::io::sink()).await
    };
    // Late or failed: the connection is dropped in any case.
    drop(timeout(LINGER, ending).await);
}
