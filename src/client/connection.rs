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
use super::driver::Outlet;
use super::outbox::task::Word;
use super::pace::{Pace, Pulse};
use super::{Event, REQUESTS};
use crate::protocol::decoder::Decoder;
use crate::protocol::error::{ErrorCode, Refusal};
use crate::protocol::event::{self, Refused, Welcome};
use crate::protocol::id::{ClientId, Seq, UserId};
use crate::protocol::limits::{self, Limits};
use crate::protocol::request::{Login, PROTOCOL, Request};
use crate::protocol::text::SafeText;

/// How much room is made for one read, in bytes: one TLS record.
const READ_BYTES: usize = 16 * 1024;

/// How long the login may take; the server's own limit is shorter on purpose, as it says why.
pub(super) const LOGIN_TIME: Duration = Duration::from_secs(15);

/// How long a server may say nothing before it has told its limits.
const DEAD_TIME: Duration = Duration::from_secs(limits::DEAD_SECONDS);

/// How long an end may take: the last requests and EXIT go out, and the server hangs up.
pub(super) const GOODBYE_TIME: Duration = Duration::from_secs(2);

/// Why a connection came to nothing, or to its end.
#[derive(Debug, Error)]
pub(super) enum Loss {
    /// The server hung up.
    #[error("the server closed the connection")]
    HungUp,
    /// It is there no more, and nothing has said so.
    #[error("nothing has come from the server for {} seconds", .0.as_secs())]
    Silent(Duration),
    /// It says that it sent more than came, or less.
    #[error("something that the server sent did not arrive")]
    Missed,
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
    /// The server does not want this client, and said why.
    #[error("{0}")]
    Refused(SafeText),
    /// A server from before our protocol.
    #[error("this server is too old for this client: it does not speak protocol {PROTOCOL}")]
    TooOld,
}

impl Loss {
    /// Why the server ends a connection. Whoever is put out does not come back by itself: to be asked
    /// to leave would mean nothing.
    fn closing(Refused { code, text, .. }: &Refused) -> Self {
        let put_out = matches!(code, ErrorCode::Kicked | ErrorCode::Banned);
        if put_out { Self::Refused(text.clone()) } else { Self::Told(text.clone()) }
    }

    /// Whether no other attempt is wanted, or would come to more.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::TooOld)
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
    pub(super) async fn log_in(&mut self, login: &Login) -> Result<Welcome, Loss> {
        self.stream.write_all(&login.encode()).await.map_err(Loss::Broken)?;
        self.stream.flush().await.map_err(Loss::Broken)?;
        loop {
            match next_event(&mut self.stream, &mut self.decoder, DEAD_TIME).await? {
                event::Event::LoginPrompt => {}
                event::Event::Welcome(welcome) if welcome.epoch.is_empty() => {
                    return Err(Loss::TooOld);
                }
                event::Event::Welcome(welcome) => return Ok(welcome),
                event::Event::LoginRefused(refused) if may_pass(refused.code) => {
                    return Err(Loss::Told(refused.text));
                }
                event::Event::LoginRefused(refused) => return Err(Loss::Refused(refused.text)),
                event::Event::Closing(refused) => return Err(Loss::closing(&refused)),
                event::Event::Refused(refused) => return Err(Loss::Told(refused.text)),
                event::Event::People(_)
                | event::Event::Presence { .. }
                | event::Event::Guests(_)
                | event::Event::Said(_)
                | event::Event::Deleted(_)
                | event::Event::Expired { .. }
                | event::Event::Live(_)
                | event::Event::Stored(_)
                | event::Event::History(_)
                | event::Event::Found(_)
                | event::Event::Pong(_) => return Err(Loss::NoAnswer),
            }
        }
    }

    /// Carries requests out and events in, until the connection is lost or nobody wants it any more.
    /// In the latter case what comes out of `requests` still goes out, and the server is told.
    pub(super) async fn carry(
        self,
        requests: mpsc::Receiver<Vec<u8>>,
        Pulse { ping, dead }: Pulse,
        outlet: &Outlet,
        ears: &mut Ears,
    ) -> Loss {
        let (reader, writer) = tokio::io::split(self.stream);
        let has_come = ears.has_come.subscribe();
        let too_late = async {
            outlet.over().await;
            tokio::time::sleep(GOODBYE_TIME).await;
        };
        tokio::select! {
            // What waits goes out before more is read.
            biased;
            error = write(writer, requests, has_come, ping) => Loss::Broken(error),
            loss = read(reader, self.decoder, dead, outlet, ears) => loss,
            () = too_late => Loss::HungUp,
        }
    }
}

/// What is made of events on their way in: the place in the log, and the answers to the outbox.
#[derive(Debug)]
pub(super) struct Ears {
    pub(super) cursor: Cursor,
    /// See [`Cursor::has_come`]: for what goes out.
    has_come: watch::Sender<Option<Seq>>,
    words: mpsc::Sender<Word>,
    /// Where the outbox sends once everything was replayed.
    line: Option<mpsc::WeakSender<Vec<u8>>>,
    limits: Limits,
    /// Every ID this client has had.
    yours: BTreeSet<UserId>,
}

impl Ears {
    pub(super) fn new(cursor: Cursor, words: mpsc::Sender<Word>) -> Self {
        let (has_come, _) = watch::channel(None);
        let (limits, yours) = (Limits::default(), BTreeSet::new());
        Self { cursor, has_come, words, line: None, limits, yours }
    }

    /// Begins a connection.
    pub(super) async fn welcome(&mut self, welcome: &Welcome, line: mpsc::WeakSender<Vec<u8>>) {
        self.cursor.welcome(welcome);
        self.has_come.send_replace(self.cursor.has_come());
        self.yours.insert(welcome.user.clone());
        self.line = Some(line);
        self.limits = welcome.limits;
        if !welcome.resumed {
            self.live().await;
        }
    }

    /// Ends it.
    pub(super) async fn lost(&mut self) {
        self.line = None;
        self.tell(Word::Lost).await;
    }

    async fn hear(&mut self, event: &event::Event) -> Result<(), Loss> {
        self.cursor.note(event).map_err(|_missed| Loss::Missed)?;
        match event {
            event::Event::Live(_) => self.live().await,
            event::Event::Said(message) if self.yours.contains(&message.sender) => {
                self.answered(message.cid.as_ref()).await;
            }
            event::Event::Stored(stored) => self.answered(Some(&stored.cid)).await,
            event::Event::Refused(Refused {
                code: ErrorCode::NotStored, cid: Some(cid), ..
            }) => {
                self.tell(Word::NotStored(cid.clone())).await;
            }
            event::Event::Refused(refused) => self.answered(refused.cid.as_ref()).await,
            event::Event::Deleted(_) | event::Event::Expired { .. } => self.tell(Word::Gone).await,
            event::Event::LoginPrompt
            | event::Event::Welcome(_)
            | event::Event::LoginRefused(_)
            | event::Event::People(_)
            | event::Event::Presence { .. }
            | event::Event::Guests(_)
            | event::Event::Said(_)
            | event::Event::History(_)
            | event::Event::Found(_)
            | event::Event::Pong(_)
            | event::Event::Closing(_) => {}
        }
        Ok(())
    }

    async fn live(&mut self) {
        if let Some(line) = self.line.take().and_then(|line| line.upgrade()) {
            self.tell(Word::Live(line, Pace::of(&self.limits))).await;
        }
    }

    async fn answered(&self, cid: Option<&ClientId>) {
        if let Some(cid) = cid {
            self.tell(Word::Answered(cid.clone())).await;
        }
    }

    async fn tell(&self, word: Word) {
        if self.words.send(word).await.is_err() {
            // The outbox ends with the client; what it has on disk is sent the next time.
        }
    }
}

/// Whether the same login may succeed a little later.
fn may_pass(code: ErrorCode) -> bool {
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
    dead: Duration,
) -> Result<event::Event, Loss> {
    loop {
        while let Some(object) = decoder.next_object() {
            let object = object.map_err(Loss::BadStream)?;
            if let Some(event) = event::Event::decode(&object).map_err(Loss::BadEvent)? {
                return Ok(event);
            }
        }
        decoder.buffer().reserve(READ_BYTES);
        let read = reader.read_buf(decoder.buffer());
        match tokio::time::timeout(dead, read).await.map_err(|_elapsed| Loss::Silent(dead))? {
            Ok(0) => return Err(Loss::HungUp),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(Loss::HungUp),
            Err(error) => return Err(Loss::Broken(error)),
        }
    }
}

/// Reads to the end. While the receiver of the events is busy nothing is read, so the server waits too.
async fn read<S>(
    mut reader: ReadHalf<S>,
    mut decoder: Decoder,
    dead: Duration,
    outlet: &Outlet,
    ears: &mut Ears,
) -> Loss
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut told = None;
    loop {
        let event = match next_event(&mut reader, &mut decoder, dead).await {
            Ok(event) => event,
            Err(loss) => return told.unwrap_or(loss),
        };
        if let Err(loss) = ears.hear(&event).await {
            return loss;
        }
        let has_come = ears.cursor.has_come();
        if let event::Event::Closing(refused) = &event {
            told = Some(Loss::closing(refused));
        }
        match outlet.send(Event::Received(event)).await {
            // Nobody wants it; but to hang up on unread bytes would take back what was written last.
            Ok(()) | Err(super::driver::Over) => {}
        }
        ears.has_come.send_replace(has_come);
    }
}

/// Writes all requests that wait at once. After the last one, when nobody can send any more, it says
/// EXIT and leaves the end to the server.
async fn write<S>(
    mut writer: WriteHalf<S>,
    mut requests: mpsc::Receiver<Vec<u8>>,
    has_come: watch::Receiver<Option<Seq>>,
    ping: Duration,
) -> io::Error
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match write_all(&mut writer, &mut requests, &has_come, ping).await {
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
    has_come: &watch::Receiver<Option<Seq>>,
    silence: Duration,
) -> io::Result<()> {
    let mut waiting = Vec::with_capacity(REQUESTS);
    let ping = || Request::Ping(*has_come.borrow()).encode(None);
    loop {
        let received = requests.recv_many(&mut waiting, REQUESTS);
        let over = match tokio::time::timeout(silence, received).await {
            Ok(count) => count == 0,
            Err(_elapsed) => {
                waiting.push(ping());
                false
            }
        };
        if over {
            let all_has_come = has_come.borrow().is_some();
            waiting.extend(all_has_come.then(ping));
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
