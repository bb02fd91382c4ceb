//! What breaks other servers: frames that are none, and expressions that take for ever. On live sockets of
//! the real program, beside people who talk and must not notice.
//!
//! The suite does a little of it; `CHAT_MALFORMED=10000` and `CHAT_SEARCHERS=100` do more.

#![expect(clippy::indexing_slicing, reason = "a test fails where its tools do")]

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chat::protocol::decoder::Decoder;
use chat::protocol::limits::{CONTENT_CHARACTERS, FRAME_BYTES, RECIPIENTS};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::support::{TestClient, TestServer, TlsConnection, print_result, serve_command};

/// What a message may take longer than five times of what it takes otherwise, mostly: the machine may be
/// busy.
const MEDIAN_SLACK: Duration = Duration::from_millis(20);

/// The same for one in a hundred.
const P99_SLACK: Duration = Duration::from_millis(250);

/// When a search is over, with its answer: its limit is two seconds.
const SEARCH_DEADLINE: Duration = Duration::from_millis(2_100);

/// How much later that may be in the suite, where all other tests run beside it and searches come last.
const BUSY_MACHINE_SLACK: Duration = Duration::from_millis(400);

/// As many as the environment says, or else so many.
fn times(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |times| times.parse().unwrap())
}

fn start_server() -> TestServer {
    let folder = tempfile::TempDir::new().unwrap();
    let command = serve_command(&folder, &["--listen", "127.0.0.1:0", "--no-rate-limits"]);
    TestServer::spawn(folder, command)
}

#[expect(clippy::disallowed_methods, reason = "this is measured")]
fn now() -> Instant {
    Instant::now()
}

/// How long it takes until what Ann says is with Bob; to him alone, so that nobody else has to read it.
fn latency(ann: &mut TestClient, bob: &mut TestClient, text: &str) -> Duration {
    let start = now();
    ann.send(&json!({"action": "MESSAGE", "receiver": [bob.id], "content": text}));
    bob.wait_for("content", text);
    start.elapsed()
}

/// The middle one, and the one that only one in a hundred exceeds.
fn percentiles(mut all: Vec<Duration>) -> (Duration, Duration) {
    all.sort_unstable();
    (all[all.len() / 2], all[all.len() * 99 / 100])
}

/// How much memory a server has, in kB; nothing where that is not known.
fn resident_kib(server: &TestServer) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process_id()));
    let status = status.unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.map_or(0, |line| line.split_whitespace().next().unwrap().parse().unwrap())
}

/// One of each sort of malformed frame.
fn malformed_frames() -> Vec<Vec<u8>> {
    let say = |receiver: Value, content: Value| {
        json!({"action": "MESSAGE", "receiver": receiver, "content": content})
            .to_string()
            .into_bytes()
    };
    let people: Vec<_> = (0..=RECIPIENTS).map(|n| format!("Bob_{n:04}")).collect();
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
        say(json!("all"), json!("x")),
        say(json!([]), json!("x")),
        say(json!([["all"]]), json!("x")),
        say(json!(["all"]), json!({"a": 1})),
        say(json!(["all"]), json!("\u{200b}\u{202e}")),
        say(json!(["all"]), json!("x".repeat(CONTENT_CHARACTERS + 1))),
        say(json!(people), json!("x")),
        say(json!(["Nobody_0000"]), json!("x")),
        json!({"action": "DELETE", "content": long}).to_string().into_bytes(),
        format!("{{\"content\": \"{long}").into_bytes(),
    ]
}

/// Somebody who sends malformed frames, on as many connections as it takes.
struct MalformedClient<'a> {
    server: &'a TestServer,
    connection: Option<(TlsConnection, Decoder)>,
}

impl MalformedClient<'_> {
    /// The next object, or the end.
    fn next(&mut self) -> Option<Value> {
        let (wire, decoder) = self.connection.as_mut()?;
        loop {
            if let Some(object) = decoder.next_object() {
                return Some(serde_json::from_slice(&object.unwrap()).unwrap());
            }
            let bytes = wire.try_recv().unwrap_or_else(|error| {
                assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "no answer");
                Vec::new()
            });
            if bytes.is_empty() {
                self.connection = None;
                return None;
            }
            decoder.buffer().extend_from_slice(&bytes);
        }
    }

    /// Sends a frame after the login, or in its place. It must be answered by an error or by the end, and
    /// what follows it must be answered, too.
    fn send(&mut self, frame: &[u8], logs_in: bool) {
        if self.connection.is_none() || !logs_in {
            let wire = TlsConnection::connect(self.server);
            let (wire, _) = self.connection.insert((wire, Decoder::new(usize::MAX)));
            if logs_in {
                let login = json!({"action": "LOGIN", "protocol": 1, "username": "Mallory"});
                wire.send(login.to_string().as_bytes());
            }
        }
        let (wire, _) = self.connection.as_mut().unwrap();
        let whole = [frame, b"{\"action\": \"DANCE\", \"cid\": \"next\"}"].concat();
        // The server may hang up before it has all of it.
        wire.try_send(&whole).unwrap_or_default();
        let (mut errors, mut is_next_answered) = (0, false);
        while errors == 0 || !is_next_answered {
            let Some(answer) = self.next() else { return };
            let is_error = answer["action"] == "ERROR" || answer["status"] == "ERROR";
            is_next_answered |= answer["cid"] == "next";
            errors += usize::from(is_error && answer["cid"] != "next");
        }
    }
}

#[test]
fn malformed_frames_are_answered_and_do_not_slow_others() {
    let server = start_server();
    let (mut ann, mut bob) = (server.join("Ann"), server.join("Bob"));
    let before: Vec<_> =
        (0..100).map(|n| latency(&mut ann, &mut bob, &format!("before {n}"))).collect();
    let frames = malformed_frames();
    let mut mallory = MalformedClient { server: &server, connection: None };
    for frame in &frames {
        mallory.send(frame, true);
        mallory.send(frame, false);
    }
    let memory = resident_kib(&server);
    let (mut during, n_frames) = (Vec::new(), times("CHAT_MALFORMED", 300));
    for (n, frame) in frames.iter().cycle().take(n_frames).enumerate() {
        // Bytes that are not even TLS, every now and then.
        if n % 10 == 0 {
            use std::io::{Read as _, Write as _};
            let mut tcp = TcpStream::connect(server.address).unwrap();
            tcp.set_read_timeout(Some(crate::support::TIMEOUT)).unwrap();
            tcp.write_all(frame).unwrap_or_default();
            tcp.shutdown(std::net::Shutdown::Write).unwrap_or_default();
            let mut rest = Vec::new();
            tcp.read_to_end(&mut rest).map_or_else(
                |error| assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock),
                drop,
            );
        }
        mallory.send(frame, n % 3 > 0);
        if n % 3 == 0 {
            during.push(latency(&mut ann, &mut bob, &format!("during {n}")));
        }
    }
    let grown = resident_kib(&server).saturating_sub(memory);
    let ((p50, p99), (p50_before, p99_before)) = (percentiles(during), percentiles(before));
    print_result(&format!(
        "{n_frames} malformed frames: memory +{grown} kB; others' latency p50 {p50:?} p99 {p99:?}, before {p50_before:?} {p99_before:?}"
    ));
    assert!(grown < 16 * 1_024, "{grown} kB more");
    assert!(
        p50 < 5 * p50_before + MEDIAN_SLACK,
        "a message takes {p50:?}, and {p50_before:?} otherwise"
    );
    assert!(p99 < 5 * p99_before + P99_SLACK, "at times {p99:?}, and {p99_before:?} otherwise");
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

/// Expressions with many ways through the same text, more than any cache holds: no letter has to be in what
/// they find, so nothing can be skipped.
fn slow_patterns() -> Vec<String> {
    let ways = |n: usize| match n % 3 {
        0 => format!("1[01]{{{}}}[^01]", 100 + 10 * n),
        1 => format!("[01]*1[01]{{{}}}\\W", 100 + 10 * n),
        _ => format!("(?:0|1)*1(?:0|1){{{}}}[^01]", 50 + 5 * n),
    };
    (0..30).map(ways).collect()
}

#[test]
fn slow_patterns_time_out_and_do_not_slow_others() {
    let server = start_server();
    let (mut ann, mut bob) = (server.join("Ann"), server.join("Bob"));
    let mut dice = StdRng::seed_from_u64(1);
    for n in 0..400 {
        let text: String =
            (0..CONTENT_CHARACTERS).map(|_| if dice.random() { '1' } else { '0' }).collect();
        ann.send(&json!({"action": "MESSAGE", "receiver": ["all"], "content": text, "cid": n.to_string()}));
        bob.wait_for("action", "MESSAGE");
    }
    let before: Vec<_> =
        (0..100).map(|n| latency(&mut ann, &mut bob, &format!("before {n}"))).collect();
    let expressions = slow_patterns();
    assert_eq!(expressions.len(), 30);
    let is_measured = std::env::var_os("CHAT_SEARCHERS").is_some();
    let n_users = times("CHAT_SEARCHERS", 15);
    let mut users: Vec<_> = (0..n_users).map(|_| server.join("Mallory")).collect();
    let is_over = AtomicBool::new(false);
    let (mut slowest, mut late) = (Duration::ZERO, 0);
    let during = std::thread::scope(|scope| {
        let talking = scope.spawn(|| {
            let mut during = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                during.push(latency(&mut ann, &mut bob, &format!("during {}", during.len())));
            }
            during
        });
        let rounds = expressions.len().div_ceil(n_users);
        for round in 0..rounds {
            let start = now();
            for (n, user) in users.iter_mut().enumerate() {
                let expression = &expressions[(round * n_users + n) % expressions.len()];
                user.send(
                    &json!({"action": "SEARCH", "content": expression, "cid": format!("s{round}")}),
                );
            }
            for user in &mut users {
                let answer = loop {
                    let answer = user.wait_for("cid", &format!("s{round}"));
                    if answer["end"] != "searching" {
                        break answer;
                    }
                };
                assert!(answer["action"] == "FOUND" || answer["code"] == "bad_pattern", "{answer}");
                late += usize::from(answer["end"] == "too_long");
                slowest = slowest.max(start.elapsed());
            }
        }
        is_over.store(true, Ordering::Relaxed);
        talking.join().unwrap()
    });
    let ((p50, p99), (p50_before, p99_before)) = (percentiles(during), percentiles(before));
    print_result(&format!(
        "{n_users} users with 30 expressions: the slowest ended after {slowest:?}, {late} ran out of time; others' latency p50 {p50:?} p99 {p99:?}, before {p50_before:?} {p99_before:?}"
    ));
    let in_time = if is_measured { SEARCH_DEADLINE } else { SEARCH_DEADLINE + BUSY_MACHINE_SLACK };
    assert!(slowest < in_time, "{slowest:?}");
    assert!(late > 0, "nothing here takes long: the test is none");
    assert!(
        p50 < 5 * p50_before + MEDIAN_SLACK,
        "a message takes {p50:?}, and {p50_before:?} otherwise"
    );
    assert!(p99 < 5 * p99_before + P99_SLACK, "at times {p99:?}, and {p99_before:?} otherwise");
}
