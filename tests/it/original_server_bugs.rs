//! The seven bugs of the original server, each as a test that this server passes.

use std::io::Write;
use std::net::TcpStream;

use chat::protocol::limits::CONTENT_CHARACTERS;
use serde_json::{Value, json};

use crate::support::{OriginalClient, TestClient, TestServer, TlsConnection};

#[test]
fn non_tls_connection_does_not_stop_the_server() {
    let mut server = TestServer::start();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"", &[0x16, 3, 1, 0xff, 0xff, 0, 0]] {
        let mut probe = TcpStream::connect(server.address).unwrap();
        probe.write_all(garbage).unwrap();
    }
    server.join_original("Tom");
    assert!(server.is_running());
}

#[test]
fn silent_connections_do_not_block_logins() {
    let server = TestServer::start();
    let silent: Vec<_> = (0..100).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    let before_login = TlsConnection::connect(&server);
    server.join_original("Tom");
    drop((silent, before_login));
}

#[test]
fn messages_in_one_record_are_all_read() {
    let server = TestServer::start();
    let mut tom = server.join_original("Tom");
    let mut both = tom.envelope("MESSAGE", &["all"], "one", &Value::Null);
    both.extend(tom.envelope("MESSAGE", &["all"], "two", &Value::Null));
    tom.connection.send(&both);
    assert_eq!(tom.next()["content"], "one");
    assert_eq!(tom.next()["content"], "two");
}

#[test]
fn concurrent_senders_do_not_corrupt_streams() {
    const SENDERS: usize = 4;
    const MESSAGES: usize = 50;
    let server = TestServer::start();
    let mut originals: Vec<OriginalClient> = (0..10).map(|_| server.join_original("Tom")).collect();
    let mut clients: Vec<TestClient> = (0..10).map(|_| server.join("Kim")).collect();
    std::thread::scope(|scope| {
        for sender in originals.iter_mut().take(SENDERS / 2) {
            scope.spawn(|| {
                for n in 0..MESSAGES {
                    sender.send("MESSAGE", &["all"], &format!("{n}"), &Value::Null);
                }
            });
        }
        for sender in clients.iter_mut().take(SENDERS / 2) {
            scope.spawn(|| {
                for n in 0..MESSAGES {
                    sender.post(&format!("{n}"));
                }
            });
        }
    });
    let total = SENDERS * MESSAGES;
    let order = |next: &mut dyn FnMut() -> Value| -> Vec<Value> {
        (0..total).map(|_| next()["id"].clone()).collect()
    };
    let first = order(&mut || clients[0].wait_for("action", "MESSAGE"));
    for reader in clients.iter_mut().skip(1) {
        assert_eq!(order(&mut || reader.wait_for("action", "MESSAGE")), first);
    }
    for reader in &mut originals {
        assert_eq!(order(&mut || reader.next()), first);
    }
}

#[test]
fn concurrent_logins_all_succeed() {
    let server = TestServer::start();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..6 {
                    server.join_original("Tom");
                }
            });
        }
    });
}

#[test]
fn large_audience_loses_nothing() {
    let server = TestServer::start();
    let mut clients: Vec<TestClient> = (0..500).map(|_| server.join("Kim")).collect();
    for n in 0..40 {
        clients[0].post(&format!("message {n}"));
    }
    for reader in &mut clients {
        for n in 0..40 {
            assert_eq!(reader.wait_for("action", "MESSAGE")["content"], format!("message {n}"));
        }
    }
}

#[test]
fn slow_reader_gets_everything_and_delays_nobody() {
    let server = TestServer::start();
    let mut slow = TestClient::log_in_over(
        TlsConnection::handshake(connect_with_small_receive_buffer(&server), &server),
        "Slow",
    );
    let mut ann = server.join("Ann");
    let text = "x".repeat(CONTENT_CHARACTERS);
    // Far more than the send queue and the socket buffers hold.
    for n in 0..2_000 {
        let cid = n.to_string();
        ann.send(&json!({
            "action": "MESSAGE", "receiver": ["all"], "content": text, "cid": cid
        }));
        ann.wait_for("cid", &cid);
    }
    for n in 0..2_000 {
        assert_eq!(slow.wait_for("action", "MESSAGE")["cid"], n.to_string().as_str());
    }
    slow.wait_for("action", "LIVE");
    ann.post("and on");
    assert_eq!(slow.wait_for("action", "MESSAGE")["content"], "and on");
}

/// A connection with a small receive buffer.
fn connect_with_small_receive_buffer(server: &TestServer) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connected = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        socket.connect(server.address).await.unwrap().into_std().unwrap()
    });
    connected.set_nonblocking(false).unwrap();
    connected
}
