//! A load generator: many clients in one thread, each with its own TLS connection, key and ID.

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
use super::support::{ClientKey, TIMEOUT, TestServer, tls_config};

/// A load to run against a server.
pub(super) struct Load {
    pub(super) clients: usize,
    pub(super) receiver: Receiver,
    pub(super) schedule: SendSchedule,
    pub(super) duration: Duration,
}

/// The recipients of each message.
#[derive(Clone, Copy)]
pub(super) enum Receiver {
    Everyone,
    OneOther,
}

/// When messages are sent.
#[derive(Clone, Copy)]
pub(super) enum SendSchedule {
    /// This many messages per second by all clients together, regardless of acknowledgements.
    FixedRate { per_second: u32 },
    /// Each client sends a message as soon as one of its messages in flight is acknowledged.
    ClosedLoop { in_flight: usize },
}

/// The measurements of one run.
pub(super) struct LoadResult {
    /// From the scheduled send time of a message until its author has read its copy.
    pub(super) latencies: Vec<Duration>,
    pub(super) elapsed: Duration,
    /// The CPU time that the server had used when the first message was sent.
    pub(super) cpu_time_before: Duration,
}

impl Load {
    pub(super) fn run(&self, server: &TestServer) -> LoadResult {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut clients = Vec::new();
            for number in 0..self.clients {
                clients.push(Client::join(server, number).await);
            }
            let ids: Vec<_> = clients.iter().map(|client| client.id.clone()).collect();
            let ready = Arc::new(Barrier::new(self.clients + 1));
            let (mut tasks, mut send_times) = (JoinSet::new(), Vec::new());
            for (number, mut client) in clients.into_iter().enumerate() {
                let receiver = match self.receiver {
                    Receiver::Everyone => "all".to_owned(),
                    Receiver::OneOther => ids[number ^ 1].clone(),
                };
                let (times, scheduled) = mpsc::unbounded_channel();
                send_times.push(times);
                let (schedule, ready) = (self.schedule, Arc::clone(&ready));
                tasks.spawn(async move {
                    // Skip the presence changes caused by the logins.
                    while timeout(Duration::from_millis(600), client.read_lines()).await.is_ok() {}
                    ready.wait().await;
                    client.run(&receiver, schedule, scheduled).await
                });
            }
            ready.wait().await;
            let (start, cpu_time_before) = (Instant::now(), cpu_time(server));
            let (schedule, duration) = (self.schedule, self.duration);
            let clock =
                std::thread::spawn(move || run_schedule(schedule, start + duration, &send_times));
            let mut latencies = Vec::new();
            while let Some(joined) = tasks.join_next().await {
                latencies.extend(joined.unwrap());
            }
            clock.join().unwrap();
            LoadResult { latencies, elapsed: start.elapsed(), cpu_time_before }
        })
    }
}

/// Sends the clients their send times. Runs in a thread of its own, because timers of the clients' runtime
/// are late by up to a millisecond, and by more when the clients are busy.
fn run_schedule(schedule: SendSchedule, end: Instant, clients: &[mpsc::UnboundedSender<Instant>]) {
    let start = Instant::now();
    match schedule {
        SendSchedule::FixedRate { per_second } => {
            for number in 0_u32.. {
                let at = start + Duration::from_secs(1) * number / per_second;
                if at > end {
                    return;
                }
                std::thread::sleep(at.saturating_duration_since(Instant::now()));
                clients[number as usize % clients.len()].send(at).unwrap();
            }
        }
        SendSchedule::ClosedLoop { in_flight } => {
            for client in clients {
                (0..in_flight).for_each(|_| client.send(start).unwrap());
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
    async fn join(server: &TestServer, index: usize) -> Self {
        let stream = TcpStream::connect(server.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let connector =
            TlsConnector::from(tls_config(&server.certificate_path(), Some(&ClientKey::new())));
        let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        let mut client = Self { stream, index, id: String::new(), buffer: Vec::new() };
        let username = format!("Client{index}");
        client.send(&json!({"action": "LOGIN", "protocol": 1, "username": username})).await;
        while client.id.is_empty() {
            for line in client.read_lines().await {
                let object: Value = serde_json::from_slice(&line).unwrap();
                if object["status"] == "SUCCESS" {
                    object["user_id"].as_str().unwrap().clone_into(&mut client.id);
                }
            }
        }
        client
    }

    async fn send(&mut self, object: &Value) {
        self.stream.write_all(format!("{object}\n").as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Reads once and returns the complete lines, possibly none.
    async fn read_lines(&mut self) -> Vec<Vec<u8>> {
        self.buffer.reserve(16 * 1_024);
        let read = self.stream.read_buf(&mut self.buffer).await.unwrap();
        assert!(read > 0, "the server closed the connection");
        let whole = self.buffer.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let whole: Vec<u8> = self.buffer.drain(..whole).collect();
        whole.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    }

    /// Posts a message at each scheduled time, or in a closed loop after each acknowledgement until the
    /// schedule ends. Returns the latencies.
    async fn run(
        mut self,
        receiver: &str,
        schedule: SendSchedule,
        mut scheduled: mpsc::UnboundedReceiver<Instant>,
    ) -> Vec<Duration> {
        let text = "the quick brown fox jumps over the lazy dog ".repeat(3);
        let (mut sent, mut latencies) = (Vec::new(), Vec::new());
        let mut is_running = true;
        while is_running || latencies.len() < sent.len() {
            let lines = tokio::select! {
                at = scheduled.recv(), if is_running => {
                    is_running = at.is_some();
                    if let Some(at) = at {
                        self.post(receiver, &text, sent.len()).await;
                        sent.push(at);
                    }
                    continue;
                }
                lines = timeout(TIMEOUT, self.read_lines()) => lines.unwrap(),
            };
            for line in lines {
                let Some(number) = acknowledged_message(&line, self.index) else { continue };
                latencies.push(sent[number].elapsed());
                if is_running && matches!(schedule, SendSchedule::ClosedLoop { .. }) {
                    self.post(receiver, &text, sent.len()).await;
                    sent.push(Instant::now());
                }
            }
        }
        latencies
    }

    async fn post(&mut self, receiver: &str, text: &str, number: usize) {
        let cid = format!("{}-{number}", self.index);
        let message =
            json!({"action": "MESSAGE", "receiver": [receiver], "content": text, "cid": cid});
        self.send(&message).await;
    }
}

/// The number of this client's message that the line acknowledges, if any. The `cid` is the last field of
/// a message.
fn acknowledged_message(line: &[u8], client: usize) -> Option<usize> {
    let end = &line[line.len().saturating_sub(48)..];
    let (_, cid) = std::str::from_utf8(end).ok()?.rsplit_once(r#""cid":""#)?;
    let (author, number) = cid.split_once('"')?.0.split_once('-')?;
    (author.parse() == Ok(client)).then(|| number.parse().unwrap())
}
