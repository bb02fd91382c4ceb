//! Many clients in one thread, each with its own TLS connection, key and ID.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Barrier, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::cpu_time;
use super::support::{Key, PATIENCE, Server, trusting};

/// What is measured.
pub(super) struct Load {
    pub(super) clients: usize,
    pub(super) receiver: Receiver,
    pub(super) schedule: SendSchedule,
    pub(super) duration: Duration,
}

/// Who gets each message, beside its author.
#[derive(Clone, Copy)]
pub(super) enum Receiver {
    Everyone,
    OneOther,
}

/// When messages are sent.
#[derive(Clone, Copy)]
pub(super) enum SendSchedule {
    /// So many a second by all clients together, whether or not there are answers.
    FixedRate { per_second: u32 },
    /// By each client the next as soon as one of so many is answered.
    ClosedLoop { in_flight: usize },
}

/// What came of it.
pub(super) struct LoadResult {
    /// From the moment for which a message was appointed to the moment when its author had read the
    /// copy of it.
    pub(super) latencies: Vec<Duration>,
    pub(super) elapsed: Duration,
    /// How long the server had been on a processor when the first message was sent.
    pub(super) cpu_time_before: Duration,
}

impl Load {
    pub(super) fn run(&self, server: &Server) -> LoadResult {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut clients = Vec::new();
            for number in 0..self.clients {
                clients.push(Client::join(server, number).await);
            }
            let ids: Vec<_> = clients.iter().map(|client| client.id.clone()).collect();
            let ready = Arc::new(Barrier::new(self.clients + 1));
            let (mut tasks, mut diaries) = (JoinSet::new(), Vec::new());
            for (number, mut client) in clients.into_iter().enumerate() {
                let receiver = match self.receiver {
                    Receiver::Everyone => "all".to_owned(),
                    Receiver::OneOther => ids[number ^ 1].clone(),
                };
                let (diary, appointed) = mpsc::unbounded_channel();
                diaries.push(diary);
                let (pace, ready) = (self.schedule, Arc::clone(&ready));
                tasks.spawn(async move {
                    // What comes of the logins.
                    while timeout(Duration::from_millis(600), client.read_lines()).await.is_ok() {}
                    ready.wait().await;
                    client.run(&receiver, pace, appointed).await
                });
            }
            ready.wait().await;
            let (begun, processor_before) = (Instant::now(), cpu_time(server));
            let (pace, lasts) = (self.schedule, self.duration);
            let clock = std::thread::spawn(move || run_schedule(pace, begun + lasts, &diaries));
            let mut times = Vec::new();
            while let Some(own) = tasks.join_next().await {
                times.extend(own.unwrap());
            }
            clock.join().unwrap();
            LoadResult {
                latencies: times,
                elapsed: begun.elapsed(),
                cpu_time_before: processor_before,
            }
        })
    }
}

/// Appoints the moments of the messages: a thread of its own, since a timer of the clients' runtime is
/// late by up to a millisecond, and by more when they are busy.
fn run_schedule(pace: SendSchedule, end: Instant, diaries: &[mpsc::UnboundedSender<Instant>]) {
    let begun = Instant::now();
    match pace {
        SendSchedule::FixedRate { per_second } => {
            for number in 0_u32.. {
                let at = begun + Duration::from_secs(1) * number / per_second;
                if at > end {
                    return;
                }
                std::thread::sleep(at.saturating_duration_since(Instant::now()));
                diaries[number as usize % diaries.len()].send(at).unwrap();
            }
        }
        SendSchedule::ClosedLoop { in_flight: each } => {
            for diary in diaries {
                (0..each).for_each(|_| diary.send(begun).unwrap());
            }
            std::thread::sleep(end.saturating_duration_since(Instant::now()));
        }
    }
}

struct Client {
    stream: TlsStream<TcpStream>,
    index: usize,
    id: String,
    buffer: Vec<u8>,
}

impl Client {
    async fn join(server: &Server, number: usize) -> Self {
        let stream = TcpStream::connect(server.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let connector = TlsConnector::from(trusting(&server.certificate(), Some(&Key::new())));
        let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        let mut joined = Self { stream, index: number, id: String::new(), buffer: Vec::new() };
        let username = format!("Client{number}");
        joined.send(&json!({"action": "LOGIN", "protocol": 1, "username": username})).await;
        while joined.id.is_empty() {
            for line in joined.read_lines().await {
                let object: Value = serde_json::from_slice(&line).unwrap();
                if object["status"] == "SUCCESS" {
                    object["user_id"].as_str().unwrap().clone_into(&mut joined.id);
                }
            }
        }
        joined
    }

    async fn send(&mut self, object: &Value) {
        self.stream.write_all(format!("{object}\n").as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// What comes next: some whole lines, or none.
    async fn read_lines(&mut self) -> Vec<Vec<u8>> {
        self.buffer.reserve(16 * 1_024);
        let read = self.stream.read_buf(&mut self.buffer).await.unwrap();
        assert!(read > 0, "the server has ended the connection");
        let whole = self.buffer.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let whole: Vec<u8> = self.buffer.drain(..whole).collect();
        whole.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    }

    /// Says something at each appointed moment, and notes how long each answer took. In the other pace
    /// an answer appoints the next, until nobody appoints any more.
    async fn run(
        mut self,
        receiver: &str,
        pace: SendSchedule,
        mut appointed: mpsc::UnboundedReceiver<Instant>,
    ) -> Vec<Duration> {
        let text = "the quick brown fox jumps over the lazy dog ".repeat(3);
        let (mut sent, mut times) = (Vec::new(), Vec::new());
        let mut goes_on = true;
        while goes_on || times.len() < sent.len() {
            let lines = tokio::select! {
                at = appointed.recv(), if goes_on => {
                    goes_on = at.is_some();
                    if let Some(at) = at {
                        self.post(receiver, &text, sent.len()).await;
                        sent.push(at);
                    }
                    continue;
                }
                lines = timeout(PATIENCE, self.read_lines()) => lines.unwrap(),
            };
            for line in lines {
                let Some(number) = acknowledged_message(&line, self.index) else { continue };
                times.push(sent[number].elapsed());
                if goes_on && matches!(pace, SendSchedule::ClosedLoop { .. }) {
                    self.post(receiver, &text, sent.len()).await;
                    sent.push(Instant::now());
                }
            }
        }
        times
    }

    async fn post(&mut self, receiver: &str, text: &str, number: usize) {
        let cid = format!("{}-{number}", self.index);
        let message =
            json!({"action": "MESSAGE", "receiver": [receiver], "content": text, "cid": cid});
        self.send(&message).await;
    }
}

/// Which message of this client the line answers, if it does: its `cid` is what a message ends with.
fn acknowledged_message(line: &[u8], client: usize) -> Option<usize> {
    let end = &line[line.len().saturating_sub(48)..];
    let (_, cid) = std::str::from_utf8(end).ok()?.rsplit_once(r#""cid":""#)?;
    let (author, number) = cid.split_once('"')?.0.split_once('-')?;
    (author.parse() == Ok(client)).then(|| number.parse().unwrap())
}
