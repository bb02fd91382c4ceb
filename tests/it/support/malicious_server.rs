//! A server that sends whatever a test wants, without cleaning it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use chat::protocol::decoder::Decoder;
use serde_json::{Value, json};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Returns the replies to an object of a client.
type ReplyScript = dyn Fn(&Value) -> Vec<Value> + Send + Sync;

/// A server that runs until the end of the test process.
pub(crate) struct MaliciousServer {
    /// The listen address.
    pub(crate) address: SocketAddr,
}

impl MaliciousServer {
    /// Starts a server that replies to every object as `script` says.
    pub(crate) fn start(script: impl Fn(&Value) -> Vec<Value> + Send + Sync + 'static) -> Self {
        let generated =
            rcgen::generate_simple_self_signed(["malicious.example".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(generated.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![generated.cert.der().clone()], key)
            .unwrap();
        let (config, script) =
            (Arc::new(config), Arc::<ReplyScript>::from(Box::new(script) as Box<ReplyScript>));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for tcp in listener.incoming() {
                let (config, script) = (Arc::clone(&config), Arc::clone(&script));
                // Errors mean that the client has disconnected.
                std::thread::spawn(move || {
                    serve_connection(tcp.unwrap(), config, &*script).unwrap_or_default();
                });
            }
        });
        Self { address }
    }
}

fn serve_connection(
    tcp: TcpStream,
    config: Arc<ServerConfig>,
    script: &ReplyScript,
) -> std::io::Result<()> {
    let tls = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(tls, tcp);
    stream.write_all(b"{\"action\": \"LOGIN\"}\n")?;
    stream.flush()?;
    let mut decoder = Decoder::new(usize::MAX);
    let mut bytes = [0; 4_096];
    loop {
        let read = stream.read(&mut bytes)?;
        if read == 0 {
            return Ok(());
        }
        decoder.buffer().extend_from_slice(bytes.get(..read).unwrap_or_default());
        while let Some(object) = decoder.next_object() {
            let object: Value = serde_json::from_slice(&object.unwrap())?;
            for reply in script(&object) {
                stream.write_all(format!("{reply}\n").as_bytes())?;
            }
            stream.flush()?;
        }
    }
}

/// The reply to a login, and an empty list of online users.
pub(crate) fn login_reply(head: usize) -> Vec<Value> {
    vec![
        json!({"status": "SUCCESS", "user_id": "Bob_4572", "protocol": 1, "epoch": "e", "head": head,
            "now": 1_795_338_720_000_i64, "resumed": false}),
        json!({"action": "ACTIVE_CLIENT", "receiver": []}),
    ]
}

/// A message to everyone.
pub(crate) fn public_message(number: usize, text: &str) -> Value {
    json!({"action": "MESSAGE", "id": (100_000 + number).to_string(), "sender": "Eve_6666",
        "receiver": ["all"], "content": text, "time": text, "private": false, "optional": null,
        "seq": number, "at": 1_795_338_720_000_i64})
}
