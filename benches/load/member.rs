//! One member: a task that owns its TLS connection, counts what arrives, and writes what it is given.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;

use super::dialect::{Dialect, Entry, Frame};
use super::flow::Flow;

/// The receive buffer of a member that will stop reading: small, so that the server has to hold what waits.
const PAUSING_RECEIVE_BUFFER: u32 = 64 << 10;
const READ_BYTES: usize = 8 << 10;

/// A logged-in member.
pub(crate) struct Member {
    /// Its address, if the protocol has one.
    pub(crate) id: String,
    pub(crate) outgoing: mpsc::Sender<Vec<u8>>,
}

/// What members that are counted together have received.
#[derive(Default)]
pub(crate) struct Group {
    pub(crate) bytes: Cell<u64>,
    pub(crate) delivered: Cell<u64>,
    /// Received before, or before an earlier message of the same sender.
    pub(crate) out_of_order: Cell<u64>,
    /// In microseconds since the start of the run.
    pub(crate) last_arrival: Cell<u64>,
    pub(crate) closed: Cell<usize>,
    /// In microseconds, of messages that were due at or after `record_from`.
    pub(crate) latencies: RefCell<Vec<u32>>,
    pub(crate) record_from: Cell<u64>,
    pub(crate) paused: watch::Sender<bool>,
    pub(crate) refusal: RefCell<Option<String>>,
}

fn add<T: Copy + std::ops::Add<Output = T>>(counter: &Cell<T>, value: T) {
    counter.set(counter.get() + value);
}

/// Which messages end up in the latencies and make room for the next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credit {
    All,
    /// The member's own messages: their acknowledgements.
    Own,
    None,
}

/// Told when the member is ready. The permit limits the logins under way.
pub(crate) struct Login {
    pub(crate) done: oneshot::Sender<String>,
    pub(crate) _permit: OwnedSemaphorePermit,
}

/// The task's side of a member.
pub(crate) struct Connection {
    pub(crate) index: usize,
    pub(crate) dialect: Dialect,
    pub(crate) entry: Entry,
    pub(crate) will_pause: bool,
    pub(crate) group: Rc<Group>,
    pub(crate) flow: Rc<Flow>,
    pub(crate) credit: Credit,
    pub(crate) epoch: Instant,
    /// The next number of each sender.
    pub(crate) expected: Vec<u64>,
    pub(crate) login: Option<Login>,
    pub(crate) outgoing: mpsc::Receiver<Vec<u8>>,
}

impl Connection {
    /// Connects, logs in, and runs until the server closes the connection.
    pub(crate) async fn run(self, address: SocketAddr, tls: Arc<ClientConfig>) {
        match self.connect(address, tls).await {
            Ok(stream) => self.exchange(stream).await,
            Err(error) => *self.group.refusal.borrow_mut() = Some(error.to_string()),
        }
    }

    async fn connect(
        &self,
        address: SocketAddr,
        tls: Arc<ClientConfig>,
    ) -> io::Result<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        if self.will_pause {
            socket.set_recv_buffer_size(PAUSING_RECEIVE_BUFFER)?;
        }
        let mut stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        if self.dialect == Dialect::Nats {
            // Its first line is not encrypted.
            while stream.read_u8().await? != b'\n' {}
        }
        TlsConnector::from(tls).connect("localhost".try_into().unwrap(), stream).await
    }

    async fn exchange(mut self, stream: TlsStream<TcpStream>) {
        let (mut reading, mut writing) = tokio::io::split(stream);
        let mut input = BytesMut::with_capacity(READ_BYTES);
        let mut output = Output::new(&self.dialect.hello(&format!("m{}", self.index)));
        let mut paused = self.group.paused.subscribe();
        loop {
            let is_paused = *paused.borrow_and_update();
            tokio::select! {
                read = read(&mut reading, &mut input), if !is_paused => match read {
                    Ok(count) if count > 0 => {
                        add(&self.group.bytes, count as u64);
                        // All frames end with a newline. A long one is not searched for again with each read.
                        if input[input.len() - count..].contains(&b'\n') {
                            self.take_frames(&mut input, &mut output);
                        }
                    }
                    _ => break,
                },
                _ = paused.changed() => {}
                Some(bytes) = self.outgoing.recv(), if output.is_flushed => output.push(&bytes),
                written = output.write(&mut writing), if !output.is_flushed => if written.is_err() {
                    break;
                },
            }
        }
        add(&self.group.closed, 1);
    }

    fn take_frames(&mut self, input: &mut BytesMut, output: &mut Output) {
        let now = u64::try_from(self.epoch.elapsed().as_micros()).unwrap();
        let (group, mut used, mut credits) = (&self.group, 0, 0);
        while let Some((length, frame)) = self.dialect.next_frame(&input[used..], self.entry) {
            used += length;
            match frame {
                Frame::Message(mark) => {
                    let expected = &mut self.expected[mark.sender];
                    if mark.number < *expected {
                        add(&group.out_of_order, 1);
                        continue;
                    }
                    *expected = mark.number + 1;
                    add(&group.delivered, 1);
                    group.last_arrival.set(now);
                    let has_credit = match self.credit {
                        Credit::All => true,
                        Credit::Own => mark.sender == self.index,
                        Credit::None => false,
                    };
                    if has_credit {
                        credits += 1;
                        if mark.due >= group.record_from.get() {
                            let latency = u32::try_from(now.saturating_sub(mark.due));
                            group.latencies.borrow_mut().push(latency.unwrap());
                        }
                    }
                }
                Frame::Ready(id) => {
                    // The run may have given up on this member.
                    self.login.take().map(|login| login.done.send(id).ok());
                }
                Frame::Answer(bytes) => output.push(&bytes),
                Frame::Refused(text) => *group.refusal.borrow_mut() = Some(text),
                Frame::Other => {}
            }
        }
        let _taken = input.split_to(used);
        self.flow.arrived(credits);
    }
}

async fn read(
    reading: &mut ReadHalf<TlsStream<TcpStream>>,
    input: &mut BytesMut,
) -> io::Result<usize> {
    input.reserve(READ_BYTES / 4);
    reading.read_buf(input).await
}

/// Bytes to write. Writing can be interrupted at any point and goes on there.
struct Output {
    bytes: BytesMut,
    is_flushed: bool,
}

impl Output {
    fn new(first: &[u8]) -> Self {
        let is_flushed = first.is_empty();
        Self { bytes: BytesMut::from(first), is_flushed }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.is_flushed = false;
    }

    async fn write(&mut self, writing: &mut WriteHalf<TlsStream<TcpStream>>) -> io::Result<()> {
        writing.write_all_buf(&mut self.bytes).await?;
        writing.flush().await?;
        self.is_flushed = true;
        Ok(())
    }
}
