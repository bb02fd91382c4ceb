//! Clients over a TLS connection that is read as the original's library reads it: one record at a time.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails where its tools do"
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

/// A client's key with its certificate, by which a server knows it again.
pub(crate) struct ClientKey {
    certificate: CertificateDer<'static>,
    private: PrivateKeyDer<'static>,
}

impl ClientKey {
    /// A new one.
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["client".to_owned()]).unwrap();
        let private = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        Self { certificate: made.cert.der().clone(), private }
    }

    /// What servers know it by.
    pub(crate) fn fingerprint(&self) -> String {
        Fingerprint::of_certificate(&self.certificate).unwrap().to_string()
    }
}

/// How to connect: trusting the server's `cert.pem` and nothing else, and with a key or without.
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

/// One encrypted connection.
pub(crate) struct TlsConnection {
    tcp: TcpStream,
    tls: ClientConnection,
}

impl TlsConnection {
    /// A connection on which nothing has been said yet.
    pub(crate) fn connect(server: &TestServer) -> Self {
        Self::handshake(TcpStream::connect(server.address).unwrap(), server)
    }

    /// The same over a TCP connection that is there already.
    pub(crate) fn handshake(tcp: TcpStream, server: &TestServer) -> Self {
        Self::try_handshake(tcp, tls_config(&server.certificate_path(), None)).expect("handshake")
    }

    /// The certificate that the server shows, whatever it is.
    pub(crate) fn server_certificate(server: &TestServer) -> CertificateDer<'static> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
            let (stream, _) =
                chat::tls::client::connect_unverified("localhost", stream, None).await.unwrap();
            stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
        })
    }

    /// The same to a server that may not be there any more.
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

    /// The same on a connection that may be lost.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        // The library keeps no more than 64 KiB.
        for piece in bytes.chunks(32 * 1_024) {
            self.tls.writer().write_all(piece)?;
            while self.tls.wants_write() {
                self.tls.write_tls(&mut self.tcp)?;
            }
        }
        Ok(())
    }

    /// `recv(2048)`: what is in the next record, or its next 2,048 bytes. Nothing at the end.
    pub(crate) fn recv(&mut self) -> Vec<u8> {
        self.try_recv().expect("nothing came")
    }

    /// The same on a connection that may be lost.
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

    /// Ends the connection without a word.
    pub(crate) fn close(self) {
        self.tcp.shutdown(std::net::Shutdown::Both).unwrap_or_default();
    }
}

/// The original client: one `recv(2048)` a message.
pub(crate) struct OriginalClient {
    /// Its connection.
    pub(crate) connection: TlsConnection,
    /// The ID that the server gave.
    pub(crate) id: String,
}

impl OriginalClient {
    /// Logs in, and reads the list of the others.
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

    /// One read, which must be one JSON document.
    pub(crate) fn recv(&mut self) -> Value {
        let bytes = self.connection.recv();
        serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            panic!("{}: {error}: {:?}", self.id, String::from_utf8_lossy(&bytes))
        })
    }

    /// The next message that is not the list of who is here.
    pub(crate) fn next(&mut self) -> Value {
        loop {
            let message = self.recv();
            if message["action"] != "ACTIVE_CLIENT" {
                return message;
            }
        }
    }

    /// Waits until exactly these are listed as here.
    pub(crate) fn wait_for_users(&mut self, people: &[&str]) {
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
            if listed == people {
                return;
            }
        }
    }

    /// The whole envelope, as the original client fills it in.
    pub(crate) fn send(
        &mut self,
        action: &str,
        receiver: &[&str],
        content: &str,
        optional: &Value,
    ) {
        self.connection.send(&self.envelope(action, receiver, content, optional));
    }

    /// See [`OriginalClient::send`].
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

/// A client of ours, as far as these tests need one.
pub(crate) struct TestClient {
    connection: TlsConnection,
    decoder: Decoder,
    received: VecDeque<Value>,
    /// The ID that the server gave.
    pub(crate) id: String,
}

impl TestClient {
    /// Logs in, and reads the list of the others.
    pub(crate) fn join(server: &TestServer, name: &str) -> Self {
        Self::log_in_over(TlsConnection::connect(server), name)
    }

    /// The same over a connection that is there already.
    pub(crate) fn log_in_over(wire: TlsConnection, name: &str) -> Self {
        let login = json!({"action": "LOGIN", "protocol": 1, "username": name});
        Self::log_in(wire, &login).unwrap_or_else(|refused| panic!("{refused}"))
    }

    /// The same with a login of one's own; or the server's answer, after which it must end.
    pub(crate) fn log_in(wire: TlsConnection, login: &Value) -> Result<Self, Value> {
        let (decoder, waiting) = (Decoder::new(usize::MAX), VecDeque::new());
        let mut joined = Self { connection: wire, decoder, received: waiting, id: String::new() };
        joined.send(login);
        assert_eq!(joined.next(), Some(json!({"action": "LOGIN"})));
        let answer = joined.next().unwrap();
        if answer["status"] != "SUCCESS" {
            assert_eq!(joined.next(), None, "a refusal is the end");
            return Err(answer);
        }
        answer["user_id"].as_str().unwrap().clone_into(&mut joined.id);
        joined.wait_for("action", "ACTIVE_CLIENT");
        Ok(joined)
    }

    /// Whether the handshake was spared by a ticket of an earlier one.
    pub(crate) fn is_resumed(&self) -> bool {
        self.connection.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Sends one object.
    pub(crate) fn send(&mut self, object: &Value) {
        self.connection.send(object.to_string().as_bytes());
    }

    /// Sends a message to all.
    pub(crate) fn post(&mut self, content: &str) {
        self.send(&json!({"action": "MESSAGE", "receiver": ["all"], "content": content}));
    }

    /// The next object; nothing at the end.
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

    /// The next object in which `field` has this value.
    pub(crate) fn wait_for(&mut self, field: &str, value: &str) -> Value {
        loop {
            let object = self.next().unwrap_or_else(|| panic!("ended before {field} {value}"));
            if object[field] == value {
                return object;
            }
        }
    }

    /// Ends the connection without a word.
    pub(crate) fn close(self) {
        self.connection.close();
    }
}
