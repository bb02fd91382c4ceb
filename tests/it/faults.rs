//! The seven ways in which the original's server breaks, as seven tests that ours passes.

use std::io::Write;
use std::net::TcpStream;

use chat::protocol::limits::CONTENT_CHARACTERS;
use serde_json::{Value, json};

use crate::support::{Original, Ours, Server, Wire};

#[test]
fn one_a_connection_that_is_not_tls_ends_nothing() {
    let mut server = Server::start();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"", &[0x16, 3, 1, 0xff, 0xff, 0, 0]] {
        let mut probe = TcpStream::connect(server.address).unwrap();
        probe.write_all(garbage).unwrap();
    }
    server.original("Tom");
    assert!(server.is_running());
}

#[test]
fn two_silent_connections_keep_nobody_out() {
    let server = Server::start();
    let silent: Vec<_> = (0..100).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    let before_login = Wire::connect(&server);
    server.original("Tom");
    drop((silent, before_login));
}

#[test]
fn three_messages_in_one_record_are_all_taken() {
    let server = Server::start();
    let mut tom = server.original("Tom");
    let mut both = tom.envelope("MESSAGE", &["all"], "one", &Value::Null);
    both.extend(tom.envelope("MESSAGE", &["all"], "two", &Value::Null));
    tom.wire.send(&both);
    assert_eq!(tom.next()["content"], "one");
    assert_eq!(tom.next()["content"], "two");
}

#[test]
fn four_senders_at_once_corrupt_no_stream() {
    const SENDERS: usize = 4;
    const MESSAGES: usize = 50;
    let server = Server::start();
    let mut originals: Vec<Original> = (0..10).map(|_| server.original("Tom")).collect();
    let mut ours: Vec<Ours> = (0..10).map(|_| server.ours("Kim")).collect();
    std::thread::scope(|scope| {
        for sender in originals.iter_mut().take(SENDERS / 2) {
            scope.spawn(|| {
                for n in 0..MESSAGES {
                    sender.send("MESSAGE", &["all"], &format!("{n}"), &Value::Null);
                }
            });
        }
        for sender in ours.iter_mut().take(SENDERS / 2) {
            scope.spawn(|| {
                for n in 0..MESSAGES {
                    sender.say(&format!("{n}"));
                }
            });
        }
    });
    let total = SENDERS * MESSAGES;
    let order = |next: &mut dyn FnMut() -> Value| -> Vec<Value> {
        (0..total).map(|_| next()["id"].clone()).collect()
    };
    let first = order(&mut || ours[0].wait_for("action", "MESSAGE"));
    for reader in ours.iter_mut().skip(1) {
        assert_eq!(order(&mut || reader.wait_for("action", "MESSAGE")), first);
    }
    for reader in &mut originals {
        assert_eq!(order(&mut || reader.next()), first);
    }
}

#[test]
fn five_many_logins_at_once_all_succeed() {
    let server = Server::start();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..6 {
                    server.original("Tom");
                }
            });
        }
    });
}

#[test]
fn six_a_large_room_loses_nothing() {
    let server = Server::start();
    let mut room: Vec<Ours> = (0..500).map(|_| server.ours("Kim")).collect();
    for n in 0..40 {
        room[0].say(&format!("message {n}"));
    }
    for reader in &mut room {
        for n in 0..40 {
            assert_eq!(reader.wait_for("action", "MESSAGE")["content"], format!("message {n}"));
        }
    }
}

#[test]
fn seven_a_slow_reader_holds_up_nobody() {
    let server = Server::start();
    let slow = Ours::over(Wire::over(small_window(&server), &server), "Slow");
    let mut ann = server.ours("Ann");
    let text = "x".repeat(CONTENT_CHARACTERS);
    let mut closed = false;
    // One mebibyte for the server, and some for the system's own buffers.
    for n in 0..4_000 {
        let cid = n.to_string();
        ann.send(&json!({
            "action": "MESSAGE", "receiver": ["all"], "content": text, "cid": cid
        }));
        loop {
            let object = ann.next().unwrap();
            let left = object["left"].as_array().is_some_and(|left| *left == [json!(slow.id)]);
            closed |= left;
            if object["cid"] == cid.as_str() {
                break;
            }
        }
        if closed {
            return;
        }
    }
    panic!("the slow reader is still there");
}

/// A connection whose client takes little at a time.
fn small_window(server: &Server) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connected = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        socket.connect(server.address).await.unwrap().into_std().unwrap()
    });
    connected.set_nonblocking(false).unwrap();
    connected
}
