//! One connection, from the login to its last byte. Carries, never decides.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::hub::SessionId;
use super::limits::{CLOSING_GRACE, LINGER, LOGIN_TIMEOUT, READ_BYTES};
use super::outbox::Outbox;
use super::shell::{Command, HubSender};
use crate::protocol::decoder::Decoder;
use crate::protocol::error::Refusal;
use crate::protocol::event::{Event, Refused};
use crate::protocol::limits::{FRAME_BYTES, LOGIN_FRAME_BYTES};
use crate::protocol::request::{Dialect, Login, Request};

/// Serves one connection until either side ends it.
pub(super) async fn run<IO>(io: IO, session: SessionId, hub: HubSender, stop: CancellationToken)
where
    IO: AsyncRead + AsyncWrite + Send,
{
    let (mut reader, mut writer) = tokio::io::split(io);
    let mut decoder = Decoder::new(LOGIN_FRAME_BYTES);
    let login = tokio::select! {
        login = timeout(LOGIN_TIMEOUT, log_in(&mut reader, &mut writer, &mut decoder)) => {
            login.unwrap_or(Some(Err(Refusal::LoginTimeout)))
        }
        () = stop.cancelled() => Some(Err(Refusal::ShuttingDown)),
    };
    match login {
        Some(Ok(login)) => {
            let inside = Inside { session, hub, outbox: Arc::default() };
            inside.serve(login, &mut reader, &mut writer, decoder).await;
        }
        Some(Err(refusal)) => {
            let event = Event::LoginRefused(Refused::new(&refusal, None));
            // Whoever does not even take this is gone, or will be.
            drop(timeout(CLOSING_GRACE, send(&mut writer, &event.encode())).await);
        }
        None => {}
    }
    end(reader, writer).await;
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
    hub: HubSender,
    outbox: Arc<Outbox>,
}

impl Inside {
    async fn serve<IO: AsyncRead + AsyncWrite>(
        self,
        login: Login,
        reader: &mut ReadHalf<IO>,
        writer: &mut WriteHalf<IO>,
        decoder: Decoder,
    ) {
        let dialect = login.dialect;
        let outbox = Arc::clone(&self.outbox);
        let arrived = Command::Login { session: self.session, login, outbox };
        if self.hub.send(arrived).await.is_err() {
            return;
        }
        let sending = async {
            tokio::select! {
                _ = send_all(writer, dialect, &self.outbox) => {}
                () = async { self.outbox.closing().await; sleep(CLOSING_GRACE).await } => {}
            }
        };
        tokio::pin!(sending);
        tokio::select! {
            () = &mut sending => {}
            () = self.receive_all(reader, decoder) => {
                // What it asked for last is still answered.
                if self.hub.send(Command::Left(self.session)).await.is_ok() {
                    sending.await;
                }
            }
        }
        // The hub may have stopped.
        drop(self.hub.send(Command::Left(self.session)).await);
    }

    /// Hands on what the client asks for, until it goes or can't be understood any more.
    async fn receive_all<IO: AsyncRead>(&self, reader: &mut ReadHalf<IO>, mut decoder: Decoder) {
        decoder.set_limit(FRAME_BYTES);
        loop {
            while let Some(object) = decoder.next_object() {
                let request = match object {
                    Ok(bytes) => Request::decode(&bytes),
                    Err(refusal) => (None, Err(refusal)),
                };
                let is_last = matches!(request, (_, Err(Refusal::FrameTooLong(_))));
                let command = Command::Request { session: self.session, request };
                if self.hub.send(command).await.is_err() || is_last {
                    return;
                }
            }
            if read(reader, &mut decoder).await.is_none() {
                return;
            }
        }
    }
}

/// Writes what comes into the outbox, as much at a time as waits there.
async fn send_all<IO: AsyncWrite>(
    writer: &mut WriteHalf<IO>,
    dialect: Dialect,
    outbox: &Outbox,
) -> std::io::Result<()> {
    let mut frames = Vec::new();
    while outbox.take(&mut frames).await {
        match (dialect, frames.as_slice()) {
            (Dialect::Extended, [frame]) => send(writer, frame).await?,
            (Dialect::Extended, several) => send(writer, &several.concat()).await?,
            // Flushed one by one: TLS makes a record of each then, and of nothing but it.
            (Dialect::Original, each) => {
                for frame in each {
                    send(writer, frame).await?;
                }
            }
        }
        frames.clear();
    }
    Ok(())
}

async fn send<IO: AsyncWrite>(writer: &mut WriteHalf<IO>, bytes: &[u8]) -> std::io::Result<()> {
    writer.write_all(bytes).await?;
    writer.flush().await
}

/// Reads on; nothing when there is no more.
async fn read<IO: AsyncRead>(reader: &mut ReadHalf<IO>, decoder: &mut Decoder) -> Option<()> {
    let buffer = decoder.buffer();
    buffer.reserve(READ_BYTES);
    match reader.read_buf(buffer).await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(()),
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
