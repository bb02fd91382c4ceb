//! Connections that come to nothing, many at once: what they cost the others, and the server.
//!
//! They come from this machine, which has no limits of its own: so this is about the limits for all
//! together. Those of one address are tested in `server::admission` and `server::accept`. The suite
//! does few; `CHAT_HALF_OPEN=2000` does more, three times over.

#![expect(clippy::disallowed_methods, reason = "it is a real process that has to be fast")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{TIMEOUT, TestClient, TestServer, TlsConnection, print_result};

/// How soon somebody new has to be in.
const MAX_LOGIN_TIME: Duration = Duration::from_secs(1);

/// What a message may take longer than five times of what it takes otherwise: the machine may be busy.
const LATENCY_SLACK: Duration = Duration::from_millis(20);

/// How much memory a connection may take that comes to nothing, in KiB.
const MAX_KIB_PER_CONNECTION: usize = 40;

/// The beginning of a TLS hello of which the rest never comes.
const PARTIAL_CLIENT_HELLO: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];

/// A connection that comes to nothing.
enum HalfOpen {
    /// Nothing is said, or half a hello.
    Plain(TcpStream),
    /// It comes byte by byte.
    Slow(TcpStream),
    /// Encrypted, and not logged in.
    Encrypted(TlsConnection),
    /// The login comes byte by byte.
    SlowLogin(TlsConnection),
}

impl HalfOpen {
    fn open(server: &TestServer, number: usize) -> Self {
        let mut tcp = TcpStream::connect(server.address).unwrap();
        match number % 5 {
            0 => Self::Plain(tcp),
            1 => {
                tcp.write_all(PARTIAL_CLIENT_HELLO).unwrap();
                Self::Plain(tcp)
            }
            2 => Self::Slow(tcp),
            3 => Self::Encrypted(TlsConnection::handshake(tcp, server)),
            _ => Self::SlowLogin(TlsConnection::handshake(tcp, server)),
        }
    }

    /// Another byte, if it is of that sort; whether the server still takes it, or may.
    fn send_byte(&mut self) {
        let dripped = match self {
            Self::Slow(tcp) => tcp.write_all(PARTIAL_CLIENT_HELLO.get(..1).unwrap()),
            Self::SlowLogin(wire) => wire.try_send(b"{"),
            Self::Plain(_) | Self::Encrypted(_) => Ok(()),
        };
        // The server may have hung up.
        dripped.unwrap_or_default();
    }

    /// Waits until the server has hung up.
    fn wait_for_end(self) {
        match self {
            Self::Plain(mut tcp) | Self::Slow(mut tcp) => {
                tcp.set_read_timeout(Some(TIMEOUT)).unwrap();
                let mut rest = Vec::new();
                if let Err(error) = tcp.read_to_end(&mut rest) {
                    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
                }
            }
            Self::Encrypted(mut wire) | Self::SlowLogin(mut wire) => {
                while wire.try_recv().is_ok_and(|bytes| !bytes.is_empty()) {}
            }
        }
    }
}

/// The time of a message from one to the other: the median of some.
fn median_latency(from: &mut TestClient, to: &mut TestClient) -> Duration {
    let mut times: Vec<_> = (0..51)
        .map(|number| {
            let (start, text) = (Instant::now(), number.to_string());
            from.post(&text);
            to.wait_for("content", &text);
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap()
}

#[test]
fn half_open_connections_do_not_slow_others() {
    let asked = std::env::var("CHAT_HALF_OPEN").ok();
    let count: usize = asked.as_ref().map_or(200, |count| count.parse().unwrap());
    let rounds = if asked.is_some() { 3 } else { 1 };
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let limit = rustix::process::Rlimit { current: files, maximum: files };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();

    let mut server = TestServer::start();
    let (mut ann, mut bob) = (server.join("Ann"), server.join("Bob"));
    let quiet = median_latency(&mut ann, &mut bob);
    let (before, mut peaks) = (server.resident_kib(), Vec::new());
    for round in 1..=rounds {
        let mut open: Vec<_> = (0..count).map(|number| HalfOpen::open(&server, number)).collect();
        let mut slowest = Duration::ZERO;
        for newcomer in 0..3 {
            open.iter_mut().for_each(HalfOpen::send_byte);
            let start = Instant::now();
            server.join(&format!("New{newcomer}"));
            slowest = slowest.max(start.elapsed());
        }
        let busy = median_latency(&mut ann, &mut bob);
        let peak = server.resident_kib();
        peaks.push(peak);
        print_result(&format!(
            "round {round}: {count} half-open connections: {} KiB more in use; somebody new is in after \
             {slowest:?} at the latest; a message takes {busy:?} ({quiet:?} without them)",
            peak.saturating_sub(before)
        ));
        assert!(slowest < MAX_LOGIN_TIME, "{slowest:?}");
        assert!(
            busy < 5 * quiet + LATENCY_SLACK,
            "a message takes {busy:?}, and {quiet:?} without them"
        );
        open.into_iter().for_each(HalfOpen::wait_for_end);
    }
    let (first, last) = (*peaks.first().unwrap(), *peaks.last().unwrap());
    assert!(
        first.saturating_sub(before) < MAX_KIB_PER_CONNECTION * count,
        "{before} KiB, and then {first} KiB"
    );
    assert!(last < first + 8 * 1_024, "it grows: {peaks:?} KiB");
    assert!(server.is_running());
    assert!(!server.log().contains("panicked"), "{}", server.log());
    ann.post("still here");
    bob.wait_for("content", "still here");
}
