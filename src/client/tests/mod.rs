//! The driver over streams in memory, with a clock that jumps: no network, no waiting.

mod again;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc::Receiver;

use super::address::ServerAddress;
use super::dial::{ConnectError, Reached};
use super::*;
use crate::protocol::decoder::Decoder;
use crate::protocol::error::Refusal;
use crate::protocol::event::{Event as Said, Refused};
use crate::protocol::id::Seq;
use crate::protocol::limits;
use crate::protocol::message::{Audience, Kind, Message};
use crate::protocol::request::{Login, Resume, Say, SayKind};
use crate::tls;

/// How much a stream in memory holds, in bytes.
const PIPE: usize = 4 * 1024;

/// Gives one prepared stream after the other; `None` is a server that is not there.
struct Script(VecDeque<Option<DuplexStream>>);

impl Connector for Script {
    type Stream = DuplexStream;

    async fn connect(&mut self) -> Result<Reached<DuplexStream>, ConnectError> {
        match self.0.pop_front().flatten() {
            Some(stream) => {
                Ok(Reached { stream, fingerprint: "SHA256:test".to_owned(), first_contact: None })
            }
            None => Err(ConnectError::Refused(ServerAddress::default())),
        }
    }
}

/// The other side, as a test plays it.
struct Server {
    stream: DuplexStream,
    decoder: Decoder,
}

impl Server {
    fn new() -> (Self, Option<DuplexStream>) {
        let (stream, theirs) = tokio::io::duplex(PIPE);
        (Self { stream, decoder: Decoder::new(limits::FRAME_BYTES) }, Some(theirs))
    }

    async fn hear(&mut self) -> Option<Bytes> {
        loop {
            if let Some(object) = self.decoder.next_object() {
                return Some(object.unwrap());
            }
            if self.stream.read_buf(self.decoder.buffer()).await.unwrap() == 0 {
                return None;
            }
        }
    }

    async fn hear_request(&mut self) -> Request {
        Request::decode(&self.hear().await.unwrap()).1.unwrap()
    }

    async fn say(&mut self, event: &Said) {
        self.stream.write_all(&event.encode()).await.unwrap();
    }

    async fn log_in(&mut self) -> Option<Resume> {
        self.log_in_with(limits::Limits::default()).await
    }

    async fn log_in_with(&mut self, limits: limits::Limits) -> Option<Resume> {
        let resume = self.hear_login().await;
        self.say(&Said::Welcome(Welcome { limits, ..welcome() })).await;
        resume
    }

    async fn hear_login(&mut self) -> Option<Resume> {
        self.say(&Said::LoginPrompt).await;
        let login = Login::decode(&self.hear().await.unwrap()).unwrap();
        assert_eq!(login.username, "Bob");
        login.resume
    }

    /// A login that goes on, and has nothing to replay.
    async fn go_on(&mut self) -> Option<Resume> {
        let resume = self.hear_login().await;
        self.say(&Said::Welcome(Welcome { resumed: true, ..welcome() })).await;
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

fn start(streams: impl IntoIterator<Item = Option<DuplexStream>>) -> (Client, Receiver<Event>) {
    let script = Script(streams.into_iter().collect());
    start_with(Outbox::default(), script)
}

fn start_with(outbox: Outbox, script: Script) -> (Client, Receiver<Event>) {
    connect_by(script, login(&"Bob".parse().unwrap()), outbox, SmallRng::seed_from_u64(1))
}

fn text(content: &str) -> Request {
    let content = SafeText::clean(content);
    Request::Say(Say { audience: Audience::Everyone, kind: SayKind::Plain, content })
}

fn named(cid: &str) -> (ClientId, Request) {
    (cid.parse().unwrap(), text(cid))
}

/// The server's confirmation of what was said under this name.
fn echo(seq: u64, cid: &str) -> Said {
    Said::Said(Message {
        seq: Seq(seq),
        id: protocol::id::MessageId::from_number(100_000).unwrap(),
        sender: "Bob_1234".parse().unwrap(),
        guest: false,
        audience: Audience::Everyone,
        kind: Kind::Plain,
        content: SafeText::clean(cid),
        at: chrono::DateTime::UNIX_EPOCH.fixed_offset(),
        cid: Some(cid.parse().unwrap()),
    })
}

/// The next event that tells of a message's way, or of the login.
async fn next(events: &mut Receiver<Event>) -> Event {
    loop {
        match events.recv().await.unwrap() {
            Event::Connecting | Event::Disconnected { .. } => {}
            other => return other,
        }
    }
}

fn expired(number: u32) -> Said {
    let id = protocol::id::MessageId::from_number(100_000 + number).unwrap();
    Said::Expired { seq: Seq(u64::from(number)), id }
}

fn refused(refusal: &Refusal) -> Refused {
    Refused::new(refusal, None)
}

/// Asserts that a connection stands, and eats the two events that say so.
async fn connected(events: &mut Receiver<Event>) {
    assert_eq!(events.recv().await, Some(Event::Connecting));
    let expected = Connected { welcome: welcome(), fingerprint: "SHA256:test".to_owned() };
    assert_eq!(events.recv().await, Some(Event::Connected(expected)));
}

/// Asserts that the connection is gone, for a reason with these words, and gives the pause.
async fn lost(events: &mut Receiver<Event>, words: &str) -> Duration {
    match events.recv().await {
        Some(Event::Disconnected { reason, retry_in }) if reason.as_str().contains(words) => {
            retry_in
        }
        other => panic!("lost because {words}? {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn logs_in_and_carries_both_ways_in_order() {
    let (mut server, stream) = Server::new();
    let (client, mut events) = start([stream]);
    assert_eq!(client.try_send(None, &text("early")), Err(SendError::NotConnected));
    server.log_in().await;
    connected(&mut events).await;
    for number in 0..3 {
        server.say(&expired(number)).await;
        client.try_send(None, &text(&number.to_string())).unwrap();
    }
    for number in 0..3 {
        assert_eq!(events.recv().await, Some(Event::Received(expired(number))));
        assert_eq!(server.hear_request().await, text(&number.to_string()));
    }
}

#[tokio::test(start_paused = true)]
async fn events_come_whole_however_they_are_cut_and_unknown_ones_are_skipped() {
    let (mut server, stream) = Server::new();
    let (_client, mut events) = start([stream]);
    server.log_in().await;
    connected(&mut events).await;
    let bytes =
        [&expired(1).encode()[..], b"{\"action\":\"DANCE\"}", &expired(2).encode()].concat();
    for byte in bytes {
        server.stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(events.recv().await, Some(Event::Received(expired(1))));
    assert_eq!(events.recv().await, Some(Event::Received(expired(2))));
}

#[tokio::test(start_paused = true)]
async fn a_lost_server_is_tried_again_with_growing_pauses_until_it_is_back() {
    let (mut first, stream) = Server::new();
    let (mut second, back) = Server::new();
    let absent = std::iter::repeat_with(|| None).take(8);
    let (client, mut events) = start([stream].into_iter().chain(absent).chain([back]));
    first.log_in().await;
    connected(&mut events).await;
    drop(first);
    let mut limit = Duration::from_millis(500);
    assert!(lost(&mut events, "closed the connection").await <= limit);
    assert_eq!(client.try_send(None, &text("lost")), Err(SendError::NotConnected));
    for _ in 0..8 {
        limit = (limit * 2).min(Duration::from_secs(30));
        let before = now();
        assert_eq!(events.recv().await, Some(Event::Connecting));
        let pause = lost(&mut events, "is `chat serve` running there?").await;
        assert!(pause <= limit, "{pause:?} of {limit:?}");
        assert!(now() - before <= limit);
    }
    second.log_in().await;
    connected(&mut events).await;
    client.try_send(None, &text("again")).unwrap();
    assert_eq!(second.hear_request().await, text("again"), "nothing of before was kept");
}

#[tokio::test(start_paused = true)]
async fn a_refused_login_is_the_end() {
    let (mut server, stream) = Server::new();
    let (client, mut events) = start([stream]);
    server.say(&Said::LoginRefused(refused(&Refusal::BadName(protocol::id::IdError::Name)))).await;
    assert_eq!(events.recv().await, Some(Event::Connecting));
    let ended = events.recv().await;
    let Some(Event::Ended { reason }) = ended else { panic!("{ended:?}") };
    assert!(reason.as_str().contains("a name is"), "{}", reason.as_str());
    assert_eq!(events.recv().await, None);
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_is_put_out_stays_out_and_hears_why() {
    for refusal in [Refusal::Kicked, Refusal::Banned] {
        let (mut server, stream) = Server::new();
        let (client, mut events) = start([stream, Server::new().1]);
        server.log_in().await;
        connected(&mut events).await;
        let closing = Said::Closing(refused(&refusal));
        server.say(&closing).await;
        drop(server);
        assert_eq!(events.recv().await, Some(Event::Received(closing)));
        let reason = SafeText::clean(&refusal.to_string());
        assert_eq!(events.recv().await, Some(Event::Ended { reason }));
        assert_eq!(events.recv().await, None, "and does not come back");
        client.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_no_more_connections_is_tried_again() {
    let (mut server, stream) = Server::new();
    let (_client, mut events) = start([stream]);
    server.say(&Said::LoginRefused(refused(&Refusal::TooManyConnections))).await;
    assert_eq!(events.recv().await, Some(Event::Connecting));
    lost(&mut events, "too many connections").await;
    assert_eq!(events.recv().await, Some(Event::Connecting));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_the_protocol_ends_the_connection_and_says_so() {
    let welcome = Said::Welcome(welcome()).encode();
    for (bytes, words) in [
        (&b"HTTP/1.1 400 Bad Request\r\n"[..], "not the chat protocol"),
        (b"{\"action\":\"MESSAGE\"}", "not the chat protocol"),
        (&expired(1).encode(), "does not answer the login"),
        (&[&welcome[..], b"{\"action\":\"OUTDATED\"}"].concat(), "not the chat protocol"),
        (
            &[&welcome[..], &vec![b'{'; limits::SERVER_FRAME_BYTES + 1]].concat(),
            "1048576 bytes at most",
        ),
    ] {
        let (mut server, stream) = Server::new();
        let (_client, mut events) = start([stream]);
        let flood = async { server.stream.write_all(bytes).await };
        let outcome = async {
            loop {
                match events.recv().await.unwrap() {
                    Event::Connecting
                    | Event::FirstContact(_)
                    | Event::Connected(_)
                    | Event::Received(_)
                    | Event::Kept(_)
                    | Event::Sending(_)
                    | Event::NotSent { .. } => {}
                    Event::Disconnected { reason, .. }
                    | Event::Untrusted { reason }
                    | Event::Ended { reason } => return reason,
                }
            }
        };
        let (_written, reason) = tokio::join!(flood, outcome);
        assert!(reason.as_str().contains(words), "{}", reason.as_str());
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_given_up() {
    let (_server, stream) = Server::new();
    let (_client, mut events) = start([stream]);
    assert_eq!(events.recv().await, Some(Event::Connecting));
    lost(&mut events, "does not answer the login within 15 seconds").await;
}

#[tokio::test(start_paused = true)]
async fn the_servers_own_reason_is_told() {
    let (mut server, stream) = Server::new();
    let (client, mut events) = start([stream]);
    server.log_in().await;
    connected(&mut events).await;
    let closing = Said::Closing(refused(&Refusal::ShuttingDown));
    server.say(&closing).await;
    drop(server);
    // Written into a closed connection: that must not hide what the server has said.
    client.try_send(None, &text("late")).unwrap();
    assert_eq!(events.recv().await, Some(Event::Received(closing)));
    lost(&mut events, "the server is shutting down").await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_receiver_holds_the_server_back_and_loses_nothing() {
    const FLOOD: u32 = 20_000;
    let (mut server, stream) = Server::new();
    let (_client, mut events) = start([stream]);
    server.log_in().await;
    let flood = async {
        for number in 0..FLOOD {
            server.say(&expired(number)).await;
        }
    };
    let mut flood = std::pin::pin!(flood);
    // The clock jumps only when nothing can go on: then the flood stands still.
    let minute = tokio::time::timeout(Duration::from_mins(1), flood.as_mut());
    assert!(minute.await.is_err(), "the whole flood was taken");
    let receiver = async {
        connected(&mut events).await;
        for number in 0..FLOOD {
            assert_eq!(events.recv().await, Some(Event::Received(expired(number))));
        }
    };
    tokio::join!(flood, receiver);
}

#[tokio::test(start_paused = true)]
async fn too_many_requests_at_once_are_refused_not_lost() {
    let (mut server, stream) = Server::new();
    let (client, mut events) = start([stream]);
    server.log_in().await;
    connected(&mut events).await;
    let long = "x".repeat(limits::CONTENT_CHARACTERS);
    let taken = (0..1_000).take_while(|_| client.try_send(None, &text(&long)).is_ok()).count();
    assert_eq!(taken, REQUESTS);
    assert_eq!(client.try_send(None, &text(&long)), Err(SendError::Busy));
    for _ in 0..taken {
        assert_eq!(server.hear_request().await, text(&long));
    }
}

#[tokio::test(start_paused = true)]
async fn closing_sends_what_was_taken_and_exit_and_waits_for_the_server() {
    let (mut server, stream) = Server::new();
    let (client, mut events) = start([stream]);
    server.log_in().await;
    connected(&mut events).await;
    client.try_send(None, &text("last words")).unwrap();
    let server = async {
        assert_eq!(server.hear_request().await, text("last words"));
        assert_eq!(server.hear_request().await, Request::Exit);
        assert_eq!(server.hear().await, None);
        // Still being told things until it hangs up: it must not find the other side closed.
        server.say(&expired(1)).await;
        drop(server);
    };
    let before = now();
    tokio::join!(client.close(), server);
    assert_eq!(now() - before, Duration::ZERO);
    assert_eq!(events.recv().await, None);
    assert_eq!(client.try_send(None, &text("too late")), Err(SendError::NotConnected));
}

#[tokio::test(start_paused = true)]
async fn closing_is_bounded_whatever_the_server_does() {
    let (mut server, stream) = Server::new();
    let (client, mut events) = start([stream]);
    server.log_in().await;
    connected(&mut events).await;
    let before = now();
    client.close().await;
    assert_eq!(now() - before, connection::GOODBYE_TIME);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_nobody_listens_to_leaves() {
    let (mut server, stream) = Server::new();
    let (_client, mut events) = start([stream]);
    server.log_in().await;
    connected(&mut events).await;
    drop(events);
    assert_eq!(server.hear_request().await, Request::Exit);
    assert_eq!(server.hear().await, None);
}

#[tokio::test(start_paused = true)]
async fn closing_between_two_attempts_is_immediate() {
    let (client, mut events) = start([]);
    assert_eq!(events.recv().await, Some(Event::Connecting));
    lost(&mut events, "connection refused").await;
    let before = now();
    client.close().await;
    assert_eq!(now() - before, Duration::ZERO);
}

#[test]
fn reasons_are_for_people() {
    let server = || "example.org:7000".parse::<ServerAddress>().unwrap();
    let source = || io::Error::other("details");
    for (error, words) in [
        (ConnectError::Refused(server()), "nobody answers at example.org:7000"),
        (ConnectError::Silent(server()), "does not answer within 10 seconds"),
        (
            ConnectError::UnknownHost { host: "nowhere".to_owned(), source: source() },
            "no host nowhere",
        ),
        (
            ConnectError::Unreachable { server: server(), source: source() },
            "can't reach example.org:7000 (details)",
        ),
        (
            ConnectError::Tls { server: server(), source: tls::Error::Anonymous },
            "example.org:7000 does not answer as a chat server does",
        ),
    ] {
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[expect(clippy::disallowed_methods, reason = "the paused clock of a test")]
fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
