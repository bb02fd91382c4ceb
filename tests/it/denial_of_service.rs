//! Abuse by one client and its cost for the others: half-open connections, malformed frames and slow search
//! patterns, against the real program.
//!
//! All connections come from loopback, which has no limits per address, so these tests cover the limits for
//! the whole server. The limits per address are tested in `server::connection_limit` and `server::accept`.
//! The suite runs small sizes; `CHAT_HALF_OPEN=2000`, `CHAT_MALFORMED=10000` and `CHAT_SEARCHERS=100` set
//! larger ones.

#![expect(clippy::indexing_slicing, reason = "a test fails on a panic")]
#![expect(clippy::disallowed_methods, reason = "these tests measure time")]

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chat::protocol::decoder::Decoder;
use chat::protocol::limits::{CONTENT_CHARACTERS, FRAME_BYTES, RECIPIENTS};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::support::{
    TIMEOUT, TestClient, TestServer, TlsConnection, count_from_env, print_result,
};

/// Added to five times the undisturbed median latency: the machine may be busy.
const MEDIAN_SLACK: Duration = Duration::from_millis(20);

/// Added to five times the undisturbed 99th percentile.
const P99_SLACK: Duration = Duration::from_millis(250);

/// Maximum time from connecting to a completed login while the server is under attack.
const MAX_LOGIN_TIME: Duration = Duration::from_secs(1);

/// Memory that one half-open connection may use, in KiB.
const MAX_KIB_PER_CONNECTION: usize = 40;

/// Maximum time from a search request to its answer. The server's own limit is two seconds.
const SEARCH_DEADLINE: Duration = Duration::from_millis(2_100);

/// Added to [`SEARCH_DEADLINE`] in the suite, where other tests compete with the search threads.
const BUSY_MACHINE_SLACK: Duration = Duration::from_millis(400);

/// The first bytes of a TLS client hello.
const PARTIAL_CLIENT_HELLO: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];

/// Time from posting a direct message to its receipt by the recipient.
fn latency(from: &mut TestClient, to: &mut TestClient, text: &str) -> Duration {
    let start = Instant::now();
    from.send(&json!({"action": "MESSAGE", "receiver": [to.id], "content": text}));
    to.wait_for("content", text);
    start.elapsed()
}

/// The latencies of `count` messages, one after the other.
fn latencies(from: &mut TestClient, to: &mut TestClient, count: usize) -> Vec<Duration> {
    (0..count).map(|n| latency(from, to, &format!("message {n}"))).collect()
}

/// The median and the 99th percentile.
fn percentiles(mut latencies: Vec<Duration>) -> (Duration, Duration) {
    latencies.sort_unstable();
    (latencies[latencies.len() / 2], latencies[latencies.len() * 99 / 100])
}

/// Asserts that latencies under attack stay close to the undisturbed ones; returns both as text.
fn compare_latencies(before: Vec<Duration>, during: Vec<Duration>) -> String {
    let ((p50, p99), (p50_before, p99_before)) = (percentiles(during), percentiles(before));
    assert!(p50 < 5 * p50_before + MEDIAN_SLACK, "median {p50:?}, undisturbed {p50_before:?}");
    assert!(p99 < 5 * p99_before + P99_SLACK, "p99 {p99:?}, undisturbed {p99_before:?}");
    format!("latency of others: p50 {p50:?} p99 {p99:?}, undisturbed {p50_before:?} {p99_before:?}")
}

/// A connection that never completes its login.
enum HalfOpen {
    /// Sends nothing, or part of a client hello.
    Silent(TcpStream),
    /// Sends its client hello byte by byte.
    SlowHello(TcpStream),
    /// Completes the TLS handshake and sends no login.
    SilentTls(TlsConnection),
    /// Sends its login byte by byte.
    SlowLogin(TlsConnection),
}

impl HalfOpen {
    fn open(server: &TestServer, number: usize) -> Self {
        let mut tcp = TcpStream::connect(server.address).unwrap();
        match number % 5 {
            0 => Self::Silent(tcp),
            1 => {
                tcp.write_all(PARTIAL_CLIENT_HELLO).unwrap();
                Self::Silent(tcp)
            }
            2 => Self::SlowHello(tcp),
            3 => Self::SilentTls(TlsConnection::handshake(tcp, server)),
            _ => Self::SlowLogin(TlsConnection::handshake(tcp, server)),
        }
    }

    /// Sends the next byte on a slow connection.
    fn send_byte(&mut self) {
        let sent = match self {
            Self::SlowHello(tcp) => tcp.write_all(&PARTIAL_CLIENT_HELLO[..1]),
            Self::SlowLogin(tls) => tls.try_send(b"{"),
            Self::Silent(_) | Self::SilentTls(_) => Ok(()),
        };
        // The server may have closed the connection already.
        sent.unwrap_or_default();
    }

    /// Waits until the server closes the connection.
    fn wait_for_end(self) {
        match self {
            Self::Silent(mut tcp) | Self::SlowHello(mut tcp) => {
                tcp.set_read_timeout(Some(TIMEOUT)).unwrap();
                let mut rest = Vec::new();
                if let Err(error) = tcp.read_to_end(&mut rest) {
                    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
                }
            }
            Self::SilentTls(mut tls) | Self::SlowLogin(mut tls) => {
                while tls.try_recv().is_ok_and(|bytes| !bytes.is_empty()) {}
            }
        }
    }
}

#[test]
fn half_open_connections_do_not_slow_others() {
    let is_measurement = std::env::var_os("CHAT_HALF_OPEN").is_some();
    let count = count_from_env("CHAT_HALF_OPEN", 200);
    let rounds = if is_measurement { 3 } else { 1 };
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let limit = rustix::process::Rlimit { current: files, maximum: files };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();

    let mut server = TestServer::start();
    let (mut ann, mut bob) = (server.join("Ann"), server.join("Bob"));
    let (undisturbed, _) = percentiles(latencies(&mut ann, &mut bob, 51));
    let (before, mut peaks) = (server.resident_kib(), Vec::new());
    for round in 1..=rounds {
        let mut open: Vec<_> = (0..count).map(|number| HalfOpen::open(&server, number)).collect();
        let mut slowest_login = Duration::ZERO;
        for newcomer in 0..3 {
            open.iter_mut().for_each(HalfOpen::send_byte);
            let start = Instant::now();
            server.join(&format!("New{newcomer}"));
            slowest_login = slowest_login.max(start.elapsed());
        }
        let (median, _) = percentiles(latencies(&mut ann, &mut bob, 51));
        let peak = server.resident_kib();
        peaks.push(peak);
        print_result(&format!(
            "round {round}: {count} half-open connections: memory +{} KiB; slowest login \
             {slowest_login:?}; median latency of others {median:?}, undisturbed {undisturbed:?}",
            peak.saturating_sub(before)
        ));
        assert!(slowest_login < MAX_LOGIN_TIME, "{slowest_login:?}");
        assert!(
            median < 5 * undisturbed + MEDIAN_SLACK,
            "median {median:?}, undisturbed {undisturbed:?}"
        );
        open.into_iter().for_each(HalfOpen::wait_for_end);
    }
    let (first, last) = (*peaks.first().unwrap(), *peaks.last().unwrap());
    assert!(
        first.saturating_sub(before) < MAX_KIB_PER_CONNECTION * count,
        "{before} KiB before, {first} KiB under attack"
    );
    assert!(last < first + 8 * 1_024, "memory grows from round to round: {peaks:?} KiB");
    assert!(server.is_running());
    assert!(!server.log().contains("panicked"), "{}", server.log());
    ann.post("still here");
    bob.wait_for("content", "still here");
}

/// One frame of each malformed kind.
fn malformed_frames() -> Vec<Vec<u8>> {
    let post = |receiver: Value, content: Value| {
        json!({"action": "MESSAGE", "receiver": receiver, "content": content})
            .to_string()
            .into_bytes()
    };
    let recipients: Vec<_> = (0..=RECIPIENTS).map(|n| format!("Bob_{n:04}")).collect();
    let long = "x".repeat(FRAME_BYTES);
    vec![
        b"]]]".to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"\x00\x01\x02\xff\xfe".to_vec(),
        b"[1, 2, 3]".to_vec(),
        b"{\"action\": MESSAGE}".to_vec(),
        b"{\"action\": \"MESSAGE\", \"content\": \"\xff\xc3\x28\"}".to_vec(),
        b"{\"action\": \"MESSAGE\", \"content\": \"\\ud800\"}".to_vec(),
        b"{\"action\": \"PING\", \"action\": \"PING\"}".to_vec(),
        b"{}".to_vec(),
        b"{\"action\": 5}".to_vec(),
        b"{\"action\": \"DANCE\"}".to_vec(),
        b"{\"action\": \"PING\", \"cid\": \"two words\"}".to_vec(),
        b"{\"action\": \"HISTORY\", \"before\": 1e400}".to_vec(),
        b"{\"action\": \"SEARCH\", \"content\": \"(\"}".to_vec(),
        b"{\"action\": \"SEARCH\", \"content\": \"((a{100}){100}){100}\"}".to_vec(),
        b"{\"action\": \"TEMPORARY\", \"receiver\": [\"all\"], \"content\": \"x\", \"seconds\": -1}".to_vec(),
        format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000)).into_bytes(),
        format!("{{\"a\": {}1{}}}", "[".repeat(20_000), "]".repeat(20_000)).into_bytes(),
        post(json!("all"), json!("x")),
        post(json!([]), json!("x")),
        post(json!([["all"]]), json!("x")),
        post(json!(["all"]), json!({"a": 1})),
        post(json!(["all"]), json!("\u{200b}\u{202e}")),
        post(json!(["all"]), json!("x".repeat(CONTENT_CHARACTERS + 1))),
        post(json!(recipients), json!("x")),
        post(json!(["Nobody_0000"]), json!("x")),
        json!({"action": "DELETE", "content": long}).to_string().into_bytes(),
        format!("{{\"content\": \"{long}").into_bytes(),
    ]
}

/// A client that sends malformed frames and reconnects whenever the server closes its connection.
struct MalformedClient<'a> {
    server: &'a TestServer,
    connection: Option<(TlsConnection, Decoder)>,
}

impl MalformedClient<'_> {
    /// The next object, or `None` once the server has closed the connection.
    fn next(&mut self) -> Option<Value> {
        let (tls, decoder) = self.connection.as_mut()?;
        loop {
            if let Some(object) = decoder.next_object() {
                return Some(serde_json::from_slice(&object.unwrap()).unwrap());
            }
            let bytes = tls.try_recv().unwrap_or_else(|error| {
                assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "no answer");
                Vec::new()
            });
            if bytes.is_empty() {
                self.connection = None;
                return None;
            }
            decoder.buffer().extend_from_slice(&bytes);
        }
    }

    /// Sends a frame after the login or instead of it. The server must answer with an error and answer the
    /// request that follows, or close the connection.
    fn send(&mut self, frame: &[u8], logs_in: bool) {
        if self.connection.is_none() || !logs_in {
            let tls = TlsConnection::connect(self.server);
            let (tls, _) = self.connection.insert((tls, Decoder::new(usize::MAX)));
            if logs_in {
                let login = json!({"action": "LOGIN", "protocol": 1, "username": "Mallory"});
                tls.send(login.to_string().as_bytes());
            }
        }
        let (tls, _) = self.connection.as_mut().unwrap();
        let request = [frame, b"{\"action\": \"DANCE\", \"cid\": \"next\"}"].concat();
        // The server may close the connection before it has read everything.
        tls.try_send(&request).unwrap_or_default();
        let (mut errors, mut is_next_answered) = (0, false);
        while errors == 0 || !is_next_answered {
            let Some(answer) = self.next() else { return };
            let is_error = answer["action"] == "ERROR" || answer["status"] == "ERROR";
            is_next_answered |= answer["cid"] == "next";
            errors += usize::from(is_error && answer["cid"] != "next");
        }
    }
}

/// Sends bytes that are not TLS, and waits until the server closes the connection.
fn send_plaintext(server: &TestServer, bytes: &[u8]) {
    let mut tcp = TcpStream::connect(server.address).unwrap();
    tcp.set_read_timeout(Some(TIMEOUT)).unwrap();
    tcp.write_all(bytes).unwrap_or_default();
    tcp.shutdown(Shutdown::Write).unwrap_or_default();
    if let Err(error) = tcp.read_to_end(&mut Vec::new()) {
        assert_ne!(error.kind(), io::ErrorKind::WouldBlock);
    }
}

#[test]
fn malformed_frames_are_answered_and_do_not_slow_others() {
    let server = TestServer::start();
    let (mut ann, mut bob) = (server.join("Ann"), server.join("Bob"));
    let before = latencies(&mut ann, &mut bob, 100);
    let frames = malformed_frames();
    let mut mallory = MalformedClient { server: &server, connection: None };
    for frame in &frames {
        mallory.send(frame, true);
        mallory.send(frame, false);
    }
    let memory = server.resident_kib();
    let (mut during, count) = (Vec::new(), count_from_env("CHAT_MALFORMED", 300));
    for (n, frame) in frames.iter().cycle().take(count).enumerate() {
        if n % 10 == 0 {
            send_plaintext(&server, frame);
        }
        mallory.send(frame, n % 3 > 0);
        if n % 3 == 0 {
            during.push(latency(&mut ann, &mut bob, &format!("during {n}")));
        }
    }
    let growth = server.resident_kib().saturating_sub(memory);
    let latency = compare_latencies(before, during);
    print_result(&format!("{count} malformed frames: memory +{growth} KiB; {latency}"));
    assert!(growth < 16 * 1_024, "memory +{growth} KiB");
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

/// Patterns whose automata are too large for the regex engine's cache on texts of 0 and 1. They require no
/// literal, so no prefilter can skip text.
fn slow_patterns() -> Vec<String> {
    let pattern = |n: usize| match n % 3 {
        0 => format!("1[01]{{{}}}[^01]", 100 + 10 * n),
        1 => format!("[01]*1[01]{{{}}}\\W", 100 + 10 * n),
        _ => format!("(?:0|1)*1(?:0|1){{{}}}[^01]", 50 + 5 * n),
    };
    (0..30).map(pattern).collect()
}

#[test]
fn slow_patterns_time_out_and_do_not_slow_others() {
    let server = TestServer::start();
    let (mut ann, mut bob) = (server.join("Ann"), server.join("Bob"));
    let mut rng = StdRng::seed_from_u64(1);
    for n in 0..400 {
        let text: String =
            (0..CONTENT_CHARACTERS).map(|_| if rng.random() { '1' } else { '0' }).collect();
        ann.send(&json!({"action": "MESSAGE", "receiver": ["all"], "content": text, "cid": n.to_string()}));
        bob.wait_for("action", "MESSAGE");
    }
    let before = latencies(&mut ann, &mut bob, 100);
    let patterns = slow_patterns();
    let is_measurement = std::env::var_os("CHAT_SEARCHERS").is_some();
    let user_count = count_from_env("CHAT_SEARCHERS", 15);
    let mut users: Vec<_> = (0..user_count).map(|_| server.join("Mallory")).collect();
    let is_finished = AtomicBool::new(false);
    let (mut slowest, mut timeouts) = (Duration::ZERO, 0);
    let during = std::thread::scope(|scope| {
        let messages = scope.spawn(|| {
            let mut during = Vec::new();
            while !is_finished.load(Ordering::Relaxed) {
                during.push(latency(&mut ann, &mut bob, &format!("during {}", during.len())));
            }
            during
        });
        for round in 0..patterns.len().div_ceil(user_count) {
            let cid = format!("s{round}");
            let start = Instant::now();
            for (n, user) in users.iter_mut().enumerate() {
                let pattern = &patterns[(round * user_count + n) % patterns.len()];
                user.send(&json!({"action": "SEARCH", "content": pattern, "cid": cid}));
            }
            for user in &mut users {
                let answer = loop {
                    let answer = user.wait_for("cid", &cid);
                    if answer["end"] != "searching" {
                        break answer;
                    }
                };
                assert!(answer["action"] == "FOUND" || answer["code"] == "bad_pattern", "{answer}");
                timeouts += usize::from(answer["end"] == "too_long");
                slowest = slowest.max(start.elapsed());
            }
        }
        is_finished.store(true, Ordering::Relaxed);
        messages.join().unwrap()
    });
    let latency = compare_latencies(before, during);
    print_result(&format!(
        "{user_count} users with {} patterns: slowest search {slowest:?}, {timeouts} timed out; {latency}",
        patterns.len()
    ));
    let slack = if is_measurement { Duration::ZERO } else { BUSY_MACHINE_SLACK };
    assert!(slowest < SEARCH_DEADLINE + slack, "{slowest:?}");
    assert!(timeouts > 0, "no pattern is slow enough to reach the limit");
}
