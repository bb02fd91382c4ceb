//! Tests of the client over in-memory streams, with a paused clock.

mod reconnect;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc::Receiver;

use super::address::ServerAddress;
use super::dial::{ConnectError, VerifiedStream};
use super::*;
use crate::protocol::decoder::Decoder;
use crate::protocol::error::Refusal;
use crate::protocol::event::{
    ErrorReply, Event as ServerEvent, HistoryPage, SearchEnd, SearchResults, Welcome,
};
use crate::protocol::id::Seq;
use crate::protocol::limits;
use crate::protocol::mention::Mentions;
use crate::protocol::message::{Audience, Message, MessageKind};
use crate::protocol::request::{Login, Post, PostKind, Resume};
use crate::protocol::text::SafeText;
use crate::{protocol, tls};

/// Capacity of an in-memory stream, in bytes.
const PIPE_BYTES: usize = 4 * 1024;

/// Returns prepared streams in order; `None` is a refused connection.
struct Script(VecDeque<Option<DuplexStream>>);

impl Connector for Script {
    type Stream = DuplexStream;

    async fn connect(&mut self) -> Result<VerifiedStream<DuplexStream>, ConnectError> {
        match self.0.pop_front().flatten() {
            Some(stream) => Ok(VerifiedStream {
                stream,
                fingerprint: "SHA256:test".to_owned(),
                first_contact_notice: None,
            }),
            None => Err(ConnectError::Refused(ServerAddress::default())),
        }
    }
}

/// The server side of a connection, played by a test.
struct FakeServer {
    stream: DuplexStream,
    decoder: Decoder,
}

impl FakeServer {
    fn new() -> (Self, Option<DuplexStream>) {
        let (stream, theirs) = tokio::io::duplex(PIPE_BYTES);
        (Self { stream, decoder: Decoder::new(limits::FRAME_BYTES) }, Some(theirs))
    }

    async fn read_object(&mut self) -> Option<Bytes> {
        loop {
            if let Some(object) = self.decoder.next_object() {
                return Some(object.unwrap());
            }
            if self.stream.read_buf(self.decoder.buffer()).await.unwrap() == 0 {
                return None;
            }
        }
    }

    async fn read_request(&mut self) -> Request {
        Request::decode(&self.read_object().await.unwrap()).1.unwrap()
    }

    async fn send(&mut self, event: &ServerEvent) {
        self.stream.write_all(&event.encode()).await.unwrap();
    }

    async fn log_in(&mut self) -> Option<Resume> {
        self.log_in_with(limits::Limits::default()).await
    }

    async fn log_in_with(&mut self, limits: limits::Limits) -> Option<Resume> {
        let resume = self.read_login().await;
        self.send(&ServerEvent::Welcome(Welcome { limits, ..welcome() })).await;
        resume
    }

    async fn read_login(&mut self) -> Option<Resume> {
        self.send(&ServerEvent::LoginPrompt).await;
        let login = Login::decode(&self.read_object().await.unwrap()).unwrap();
        assert_eq!(login.username, "Bob");
        login.resume
    }

    /// Answers a login that resumes, with nothing to replay.
    async fn resume_login(&mut self) -> Option<Resume> {
        let resume = self.read_login().await;
        self.send(&ServerEvent::Welcome(Welcome { resumed: true, ..welcome() })).await;
        resume
    }
}

fn welcome() -> Welcome {
    let user = "Bob_1234".parse().unwrap();
    Welcome {
        user,
        epoch: "e".to_owned(),
        head: Seq(7),
        now: 0,
        resumed: false,
        limits: limits::Limits::default(),
    }
}

fn start(
    streams: impl IntoIterator<Item = Option<DuplexStream>>,
) -> (Client, Receiver<ClientEvent>) {
    let script = Script(streams.into_iter().collect());
    start_with_outbox(Outbox::default(), script)
}

fn start_with_outbox(outbox: Outbox, script: Script) -> (Client, Receiver<ClientEvent>) {
    connect_with(script, login(&"Bob".parse().unwrap()), outbox, SmallRng::seed_from_u64(1))
}

fn text_request(content: &str) -> Request {
    let content = SafeText::clean(content);
    Request::Post(Post { audience: Audience::Everyone, kind: PostKind::Plain, content })
}

fn request_with_cid(cid: &str) -> (Cid, Request) {
    (cid.parse().unwrap(), text_request(cid))
}

/// The server's acknowledgement of a message.
fn echo(seq: u64, cid: &str) -> ServerEvent {
    ServerEvent::Posted(Message {
        seq: Seq(seq),
        id: protocol::id::MessageId::from_number(100_000).unwrap(),
        sender: "Bob_1234".parse().unwrap(),
        guest: false,
        audience: Audience::Everyone,
        kind: MessageKind::Plain,
        content: SafeText::clean(cid),
        at: chrono::DateTime::UNIX_EPOCH.fixed_offset(),
        cid: Some(cid.parse().unwrap()),
        mentions: Mentions::None,
        edited: None,
        reactions: Vec::new(),
        pinned: false,
    })
}

/// Returns the next event other than connecting and disconnecting.
async fn next_event(events: &mut Receiver<ClientEvent>) -> ClientEvent {
    loop {
        match events.recv().await.unwrap() {
            ClientEvent::Connecting | ClientEvent::Disconnected { .. } => {}
            other => return other,
        }
    }
}

fn expired(number: u32) -> ServerEvent {
    let id = protocol::id::MessageId::from_number(100_000 + number).unwrap();
    ServerEvent::Expired { seq: Seq(u64::from(number)), id }
}

fn error_reply(refusal: &Refusal) -> ErrorReply {
    ErrorReply::new(refusal, None)
}

/// Expects the two events of a successful login.
async fn expect_connected(events: &mut Receiver<ClientEvent>) {
    assert_eq!(events.recv().await, Some(ClientEvent::Connecting));
    let expected = Connected { welcome: welcome(), fingerprint: "SHA256:test".to_owned() };
    assert_eq!(events.recv().await, Some(ClientEvent::Connected(expected)));
}

/// Expects a disconnect with this text in its reason, and returns the pause.
async fn expect_disconnected(events: &mut Receiver<ClientEvent>, text: &str) -> Duration {
    match events.recv().await {
        Some(ClientEvent::Disconnected { reason, retry_in }) if reason.as_str().contains(text) => {
            retry_in
        }
        other => panic!("expected a disconnect with {text:?}, got {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn events_and_requests_arrive_in_order() {
    let (mut server, stream) = FakeServer::new();
    let (client, mut events) = start([stream]);
    assert_eq!(client.try_send(None, &text_request("early")), Err(SendError::NotConnected));
    server.log_in().await;
    expect_connected(&mut events).await;
    for number in 0..3 {
        server.send(&expired(number)).await;
        client.try_send(None, &text_request(&number.to_string())).unwrap();
    }
    for number in 0..3 {
        assert_eq!(events.recv().await, Some(ClientEvent::Received(expired(number))));
        assert_eq!(server.read_request().await, text_request(&number.to_string()));
    }
}

#[tokio::test(start_paused = true)]
async fn split_events_are_reassembled_and_unknown_ones_skipped() {
    let (mut server, stream) = FakeServer::new();
    let (_client, mut events) = start([stream]);
    server.log_in().await;
    expect_connected(&mut events).await;
    let bytes =
        [&expired(1).encode()[..], b"{\"action\":\"DANCE\"}", &expired(2).encode()].concat();
    for byte in bytes {
        server.stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(events.recv().await, Some(ClientEvent::Received(expired(1))));
    assert_eq!(events.recv().await, Some(ClientEvent::Received(expired(2))));
}

#[tokio::test(start_paused = true)]
async fn lost_server_is_retried_with_growing_pauses() {
    let (mut first, stream) = FakeServer::new();
    let (mut second, back) = FakeServer::new();
    let absent = std::iter::repeat_with(|| None).take(8);
    let (client, mut events) = start([stream].into_iter().chain(absent).chain([back]));
    first.log_in().await;
    expect_connected(&mut events).await;
    drop(first);
    let mut limit = Duration::from_millis(500);
    assert!(expect_disconnected(&mut events, "closed the connection").await <= limit);
    assert_eq!(client.try_send(None, &text_request("lost")), Err(SendError::NotConnected));
    for _ in 0..8 {
        limit = (limit * 2).min(Duration::from_secs(30));
        let before = now();
        assert_eq!(events.recv().await, Some(ClientEvent::Connecting));
        let pause = expect_disconnected(&mut events, "is `chat serve` running there?").await;
        assert!(pause <= limit, "{pause:?} of {limit:?}");
        assert!(now() - before <= limit);
    }
    second.log_in().await;
    expect_connected(&mut events).await;
    client.try_send(None, &text_request("again")).unwrap();
    assert_eq!(
        second.read_request().await,
        text_request("again"),
        "requests of the first connection are dropped"
    );
}

#[tokio::test(start_paused = true)]
async fn refused_login_is_final() {
    let (mut server, stream) = FakeServer::new();
    let (client, mut events) = start([stream]);
    server
        .send(&ServerEvent::LoginRefused(error_reply(&Refusal::BadName(
            protocol::id::IdError::Name,
        ))))
        .await;
    assert_eq!(events.recv().await, Some(ClientEvent::Connecting));
    let ended = events.recv().await;
    let Some(ClientEvent::Ended { reason }) = ended else { panic!("{ended:?}") };
    assert!(reason.as_str().contains("a name is"), "{}", reason.as_str());
    assert_eq!(events.recv().await, None);
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn kicked_or_banned_client_does_not_reconnect() {
    for refusal in [Refusal::Kicked, Refusal::Banned] {
        let (mut server, stream) = FakeServer::new();
        let (client, mut events) = start([stream, FakeServer::new().1]);
        server.log_in().await;
        expect_connected(&mut events).await;
        let closing = ServerEvent::Closing(error_reply(&refusal));
        server.send(&closing).await;
        drop(server);
        assert_eq!(events.recv().await, Some(ClientEvent::Received(closing)));
        let reason = SafeText::clean(&refusal.to_string());
        assert_eq!(events.recv().await, Some(ClientEvent::Ended { reason }));
        assert_eq!(events.recv().await, None, "and does not come back");
        client.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_connections_is_retried() {
    let (mut server, stream) = FakeServer::new();
    let (_client, mut events) = start([stream]);
    server.send(&ServerEvent::LoginRefused(error_reply(&Refusal::TooManyConnections))).await;
    assert_eq!(events.recv().await, Some(ClientEvent::Connecting));
    expect_disconnected(&mut events, "too many connections").await;
    assert_eq!(events.recv().await, Some(ClientEvent::Connecting));
}

#[tokio::test(start_paused = true)]
async fn protocol_violation_ends_the_connection() {
    let welcome = ServerEvent::Welcome(welcome()).encode();
    for (bytes, text) in [
        (&b"HTTP/1.1 400 Bad Request\r\n"[..], "invalid data from the server"),
        (b"{\"action\":\"MESSAGE\"}", "invalid data from the server"),
        (&expired(1).encode(), "unexpected answer to the login"),
        (&[&welcome[..], b"{\"action\":\"OUTDATED\"}"].concat(), "invalid data from the server"),
        (&[&welcome[..], &vec![b'{'; limits::SERVER_FRAME_BYTES + 1]].concat(), "1048576 bytes"),
    ] {
        let (mut server, stream) = FakeServer::new();
        let (_client, mut events) = start([stream]);
        let flood = async { server.stream.write_all(bytes).await };
        let outcome = async {
            loop {
                match events.recv().await.unwrap() {
                    ClientEvent::Connecting
                    | ClientEvent::FirstContact(_)
                    | ClientEvent::Connected(_)
                    | ClientEvent::Received(_)
                    | ClientEvent::Restored(_)
                    | ClientEvent::Sending(_)
                    | ClientEvent::NotSent { .. } => {}
                    ClientEvent::Disconnected { reason, .. }
                    | ClientEvent::Untrusted { reason }
                    | ClientEvent::Ended { reason } => return reason,
                }
            }
        };
        let (_written, reason) = tokio::join!(flood, outcome);
        assert!(reason.as_str().contains(text), "{}", reason.as_str());
    }
}

/// Frames of the maximum size, with more messages than a page or a search has.
#[tokio::test(start_paused = true)]
async fn largest_frames_are_received() {
    let ServerEvent::Posted(message) = echo(9, "c-1") else { panic!("no message") };
    let content = SafeText::clean(&"😀".repeat(limits::CONTENT_CHARACTERS));
    let longest = Message { content, ..message };
    let messages = vec![longest; 300];
    let (searched, cid) = (300, None);
    let results = ServerEvent::SearchResults(SearchResults {
        messages: messages.clone(),
        searched,
        end: SearchEnd::Complete,
        cid: cid.clone(),
    });
    let page =
        ServerEvent::History(HistoryPage { messages, has_earlier: false, has_later: false, cid });
    let mut padded = br#"{"action":"LATER","padding":""#.to_vec();
    padded.resize(limits::SERVER_FRAME_BYTES - 2, b'x');
    padded.extend_from_slice(br#""}"#);
    let (mut server, stream) = FakeServer::new();
    let (_client, mut events) = start([stream]);
    server.log_in().await;
    expect_connected(&mut events).await;
    let sending = async {
        server.stream.write_all(&padded).await.unwrap();
        server.send(&page).await;
        server.send(&results).await;
    };
    let receiving = async {
        let Some(ClientEvent::Received(ServerEvent::History(page))) = events.recv().await else {
            panic!("no page");
        };
        assert!(page.has_earlier && page.messages.len() > 60, "{}", page.messages.len());
        let mut n_found = 0;
        loop {
            let Some(ClientEvent::Received(ServerEvent::SearchResults(part))) = events.recv().await
            else {
                panic!("after {n_found} hits");
            };
            n_found += part.messages.len();
            if part.end == SearchEnd::Complete {
                break n_found;
            }
        }
    };
    assert_eq!(tokio::join!(sending, receiving).1, 300);
}

#[tokio::test(start_paused = true)]
async fn silent_server_times_out_at_login() {
    let (_server, stream) = FakeServer::new();
    let (_client, mut events) = start([stream]);
    assert_eq!(events.recv().await, Some(ClientEvent::Connecting));
    expect_disconnected(&mut events, "no answer to the login within 15 seconds").await;
}

#[tokio::test(start_paused = true)]
async fn servers_closing_reason_is_reported() {
    let (mut server, stream) = FakeServer::new();
    let (client, mut events) = start([stream]);
    server.log_in().await;
    expect_connected(&mut events).await;
    let closing = ServerEvent::Closing(error_reply(&Refusal::ShuttingDown));
    server.send(&closing).await;
    drop(server);
    // The write into a closed connection fails, but must not hide the server's reason.
    client.try_send(None, &text_request("late")).unwrap();
    assert_eq!(events.recv().await, Some(ClientEvent::Received(closing)));
    expect_disconnected(&mut events, "the server is shutting down").await;
}

#[tokio::test(start_paused = true)]
async fn slow_receiver_applies_backpressure_and_loses_nothing() {
    const FLOOD: u32 = 20_000;
    let (mut server, stream) = FakeServer::new();
    let (_client, mut events) = start([stream]);
    server.log_in().await;
    let flood = async {
        for number in 0..FLOOD {
            server.send(&expired(number)).await;
        }
    };
    let mut flood = std::pin::pin!(flood);
    // The paused clock advances only when no task can make progress.
    let minute = tokio::time::timeout(Duration::from_mins(1), flood.as_mut());
    assert!(minute.await.is_err(), "the client read everything");
    let receiver = async {
        expect_connected(&mut events).await;
        for number in 0..FLOOD {
            assert_eq!(events.recv().await, Some(ClientEvent::Received(expired(number))));
        }
    };
    tokio::join!(flood, receiver);
}

#[tokio::test(start_paused = true)]
async fn full_request_queue_refuses_requests() {
    let (mut server, stream) = FakeServer::new();
    let (client, mut events) = start([stream]);
    server.log_in().await;
    expect_connected(&mut events).await;
    let long = "x".repeat(limits::CONTENT_CHARACTERS);
    let taken =
        (0..1_000).take_while(|_| client.try_send(None, &text_request(&long)).is_ok()).count();
    assert_eq!(taken, REQUEST_QUEUE);
    assert_eq!(client.try_send(None, &text_request(&long)), Err(SendError::Busy));
    for _ in 0..taken {
        assert_eq!(server.read_request().await, text_request(&long));
    }
}

#[tokio::test(start_paused = true)]
async fn close_sends_queued_requests_and_exit() {
    let (mut server, stream) = FakeServer::new();
    let (client, mut events) = start([stream]);
    server.log_in().await;
    expect_connected(&mut events).await;
    client.try_send(None, &text_request("last words")).unwrap();
    let server = async {
        assert_eq!(server.read_request().await, text_request("last words"));
        assert_eq!(server.read_request().await, Request::Exit);
        assert_eq!(server.read_object().await, None);
        // The server may still send until it closes; the client must not have closed its side.
        server.send(&expired(1)).await;
        drop(server);
    };
    let before = now();
    tokio::join!(client.close(), server);
    assert_eq!(now() - before, Duration::ZERO);
    assert_eq!(events.recv().await, None);
    assert_eq!(client.try_send(None, &text_request("too late")), Err(SendError::NotConnected));
}

#[tokio::test(start_paused = true)]
async fn close_is_bounded_in_time() {
    let (mut server, stream) = FakeServer::new();
    let (client, mut events) = start([stream]);
    server.log_in().await;
    expect_connected(&mut events).await;
    let before = now();
    client.close().await;
    assert_eq!(now() - before, connection::CLOSE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_events_closes_the_client() {
    let (mut server, stream) = FakeServer::new();
    let (_client, mut events) = start([stream]);
    server.log_in().await;
    expect_connected(&mut events).await;
    drop(events);
    assert_eq!(server.read_request().await, Request::Exit);
    assert_eq!(server.read_object().await, None);
}

#[tokio::test(start_paused = true)]
async fn close_during_a_pause_is_immediate() {
    let (client, mut events) = start([]);
    assert_eq!(events.recv().await, Some(ClientEvent::Connecting));
    expect_disconnected(&mut events, "connection refused").await;
    let before = now();
    client.close().await;
    assert_eq!(now() - before, Duration::ZERO);
}

#[test]
fn connect_errors_are_readable() {
    let server = || "example.org:7000".parse::<ServerAddress>().unwrap();
    let source = || io::Error::other("details");
    for (error, text) in [
        (ConnectError::Refused(server()), "cannot connect to example.org:7000: connection refused"),
        (ConnectError::TimedOut(server()), "no answer within 10 seconds"),
        (
            ConnectError::UnknownHost { host: "nowhere".to_owned(), source: source() },
            "cannot find the host nowhere",
        ),
        (
            ConnectError::Unreachable { server: server(), source: source() },
            "cannot connect to example.org:7000: details",
        ),
        (
            ConnectError::Tls { server: server(), source: tls::TlsError::NoServerCertificate },
            "no TLS 1.3 connection to example.org:7000",
        ),
    ] {
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[expect(clippy::disallowed_methods, reason = "the paused clock of a test")]
fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
