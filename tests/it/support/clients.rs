//! Minimal clients of both dialects. They read one TLS record at a time, as the original client's library does.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails on a panic"
)]

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use chat::protocol::decoder::Decoder;
use chat::tls::fingerprint::Fingerprint;
use serde_json::{Value, json};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore};

use super::{TIMEOUT, TestServer};

/// A client's key and certificate.
pub(crate) struct ClientKey {
    certificate: CertificateDer<'static>,
    private: PrivateKeyDer<'static>,
}

impl ClientKey {
    /// Generates a key.
    pub(crate) fn new() -> Self {
        let generated = rcgen::generate_simple_self_signed(["client".to_owned()]).unwrap();
        let private = PrivateKeyDer::try_from(generated.signing_key.serialize_der()).unwrap();
        Self { certificate: generated.cert.der().clone(), private }
    }

    /// The fingerprint that identifies the key to servers.
    pub(crate) fn fingerprint(&self) -> String {
        Fingerprint::of_certificate(&self.certificate).unwrap().to_string()
    }
}

/// A TLS configuration that trusts only `certificate`, with or without a client key.
pub(crate) fn tls_config(certificate: &Path, key: Option<&ClientKey>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match key {
        None => config.with_no_client_auth(),
        Some(key) => {
            let chain = vec![key.certificate.clone()];
            config.with_client_auth_cert(chain, key.private.clone_key()).unwrap()
        }
    })
}

/// A TLS connection.
pub(crate) struct TlsConnection {
    tcp: TcpStream,
    tls: ClientConnection,
}

impl TlsConnection {
    /// Connects without logging in.
    pub(crate) fn connect(server: &TestServer) -> Self {
        Self::handshake(TcpStream::connect(server.address).unwrap(), server)
    }

    /// Does the TLS handshake on an existing TCP connection.
    pub(crate) fn handshake(tcp: TcpStream, server: &TestServer) -> Self {
        Self::try_handshake(tcp, tls_config(&server.certificate_path(), None)).expect("handshake")
    }

    /// The server's current certificate, unverified.
    pub(crate) fn server_certificate(server: &TestServer) -> CertificateDer<'static> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
            let (stream, _) =
                chat::tls::client::connect_unverified("localhost", stream, None).await.unwrap();
            stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
        })
    }

    /// Does the TLS handshake with a server that may be gone.
    pub(crate) fn try_handshake(mut tcp: TcpStream, config: Arc<ClientConfig>) -> io::Result<Self> {
        let name = "localhost".try_into().unwrap();
        let mut tls = ClientConnection::new(config, name).unwrap();
        tcp.set_read_timeout(Some(TIMEOUT))?;
        tcp.set_nodelay(true)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        Ok(Self { tcp, tls })
    }

    /// Sends `bytes` in one TLS record.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    /// Like [`Self::send`], on a connection that may be lost.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        // rustls buffers at most 64 KiB.
        for piece in bytes.chunks(32 * 1_024) {
            self.tls.writer().write_all(piece)?;
            while self.tls.wants_write() {
                self.tls.write_tls(&mut self.tcp)?;
            }
        }
        Ok(())
    }

    /// `recv(2048)`: the next record, or its next 2,048 bytes; empty at the end of the stream.
    pub(crate) fn recv(&mut self) -> Vec<u8> {
        self.try_recv().expect("no data")
    }

    /// Like [`Self::recv`], on a connection that may be lost.
    pub(crate) fn try_recv(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; 2_048];
        loop {
            match self.tls.reader().read(&mut bytes) {
                Ok(n) => {
                    bytes.truncate(n);
                    return Ok(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(vec![]),
                Err(error) => return Err(error),
            }
            let mut record = vec![0; 5];
            if self.tcp.read(&mut record[..1])? == 0 {
                return Ok(vec![]);
            }
            self.tcp.read_exact(&mut record[1..])?;
            record.resize(5 + usize::from(u16::from_be_bytes([record[3], record[4]])), 0);
            self.tcp.read_exact(&mut record[5..])?;
            let mut unread = record.as_slice();
            while !unread.is_empty() {
                self.tls.read_tls(&mut unread)?;
                self.tls.process_new_packets().map_err(io::Error::other)?;
            }
        }
    }

    /// Closes the connection without a goodbye.
    pub(crate) fn close(self) {
        self.tcp.shutdown(std::net::Shutdown::Both).unwrap_or_default();
    }
}

/// A client of the original dialect: it reads each message with one `recv(2048)`.
pub(crate) struct OriginalClient {
    pub(crate) connection: TlsConnection,
    /// The user ID assigned by the server.
    pub(crate) id: String,
}

impl OriginalClient {
    /// Logs in and reads the list of online users.
    pub(crate) fn join(server: &TestServer, name: &str) -> Self {
        let mut joined = Self { connection: TlsConnection::connect(server), id: String::new() };
        assert_eq!(joined.recv(), json!({"action": "LOGIN"}));
        joined.connection.send(json!({"username": name}).to_string().as_bytes());
        let answer = joined.recv();
        assert_eq!(answer["status"], "SUCCESS", "{answer}");
        answer["user_id"].as_str().unwrap().clone_into(&mut joined.id);
        assert_eq!(joined.recv()["action"], "ACTIVE_CLIENT");
        joined
    }

    /// Reads once; the result must be one JSON document.
    pub(crate) fn recv(&mut self) -> Value {
        let bytes = self.connection.recv();
        serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            panic!("{}: {error}: {:?}", self.id, String::from_utf8_lossy(&bytes))
        })
    }

    /// The next message other than the list of online users.
    pub(crate) fn next(&mut self) -> Value {
        loop {
            let message = self.recv();
            if message["action"] != "ACTIVE_CLIENT" {
                return message;
            }
        }
    }

    /// Waits until exactly these users are listed as online. Every message until then must be a list.
    pub(crate) fn wait_for_users(&mut self, users: &[&str]) {
        loop {
            let message = self.recv();
            assert_eq!(message["action"], "ACTIVE_CLIENT", "{message}");
            let mut listed: Vec<_> = message["receiver"]
                .as_array()
                .unwrap()
                .iter()
                .map(|id| id.as_str().unwrap())
                .collect();
            listed.sort_unstable();
            if listed == users {
                return;
            }
        }
    }

    /// Sends the complete envelope, as the original client fills it in.
    pub(crate) fn send(
        &mut self,
        action: &str,
        receiver: &[&str],
        content: &str,
        optional: &Value,
    ) {
        self.connection.send(&self.envelope(action, receiver, content, optional));
    }

    /// The envelope that [`Self::send`] sends.
    pub(crate) fn envelope(
        &self,
        action: &str,
        receiver: &[&str],
        content: &str,
        optional: &Value,
    ) -> Vec<u8> {
        let envelope = json!({
            "id": null, "action": action, "sender": self.id, "receiver": receiver, "content": content,
            "time": "2025-04-20 10:54:03", "private": receiver != ["all"], "optional": optional,
        });
        envelope.to_string().into_bytes()
    }
}

/// A client of the extended dialect, with as much as the tests need.
pub(crate) struct TestClient {
    connection: TlsConnection,
    decoder: Decoder,
    received: VecDeque<Value>,
    /// The user ID assigned by the server.
    pub(crate) id: String,
}

impl TestClient {
    /// Logs in and reads the list of online users.
    pub(crate) fn join(server: &TestServer, name: &str) -> Self {
        Self::log_in_over(TlsConnection::connect(server), name)
    }

    /// Logs in over an existing connection.
    pub(crate) fn log_in_over(wire: TlsConnection, name: &str) -> Self {
        let login = json!({"action": "LOGIN", "protocol": 1, "username": name});
        Self::log_in(wire, &login).unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    /// Logs in with a given login object. Returns the server's refusal as the error, after which the server
    /// must close the connection.
    pub(crate) fn log_in(wire: TlsConnection, login: &Value) -> Result<Self, Value> {
        let (decoder, waiting) = (Decoder::new(usize::MAX), VecDeque::new());
        let mut joined = Self { connection: wire, decoder, received: waiting, id: String::new() };
        joined.send(login);
        assert_eq!(joined.next(), Some(json!({"action": "LOGIN"})));
        let answer = joined.next().unwrap();
        if answer["status"] != "SUCCESS" {
            assert_eq!(joined.next(), None, "the server closes the connection after a refusal");
            return Err(answer);
        }
        answer["user_id"].as_str().unwrap().clone_into(&mut joined.id);
        joined.wait_for("action", "ACTIVE_CLIENT");
        Ok(joined)
    }

    /// Whether the handshake resumed an earlier TLS session.
    pub(crate) fn is_resumed(&self) -> bool {
        self.connection.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Sends one object.
    pub(crate) fn send(&mut self, object: &Value) {
        self.connection.send(object.to_string().as_bytes());
    }

    /// Posts a message to everyone.
    pub(crate) fn post(&mut self, content: &str) {
        self.send(&json!({"action": "MESSAGE", "receiver": ["all"], "content": content}));
    }

    /// The next object; `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> Option<Value> {
        while self.received.is_empty() {
            let bytes = self.connection.recv();
            if bytes.is_empty() {
                return None;
            }
            self.decoder.buffer().extend_from_slice(&bytes);
            while let Some(object) = self.decoder.next_object() {
                self.received.push_back(serde_json::from_slice(&object.unwrap()).unwrap());
            }
        }
        self.received.pop_front()
    }

    /// Skips to the next object in which `field` has this value.
    pub(crate) fn wait_for(&mut self, field: &str, value: &str) -> Value {
        loop {
            let object = self.next().unwrap_or_else(|| panic!("ended before {field} {value}"));
            if object[field] == value {
                return object;
            }
        }
    }

    /// Closes the connection without a goodbye.
    pub(crate) fn close(self) {
        self.connection.close();
    }
}
