//! The bare server: tokio, tokio-rustls, and a byte buffer for each connection. Every line goes to everyone;
//! nothing is parsed, checked or stored. Its TLS is that of `chat`, with the same cipher suite and the client's
//! certificate. What it needs for a delivery is what the machine, the kernel and TLS
//! need; the rest is the price of the program above them.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use chat::tls::server::ServerIdentity;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::mark::find_byte;

/// A member that is further behind loses lines; the load generator counts them. (nats-server's limit, too.)
const MAX_PENDING_BYTES: usize = 64 << 20;
/// A buffer larger than this is not kept after a burst.
const KEPT_BUFFER_BYTES: usize = 64 << 10;

#[derive(Default)]
struct Outbox {
    pending: Mutex<Vec<u8>>,
    changed: Notify,
}

type Members = Arc<Mutex<HashMap<u64, Arc<Outbox>>>>;

/// Serves on a port of 127.0.0.1 until the process is killed.
pub(crate) fn serve(port: u16, folder: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let tls = ServerIdentity::open(folder).unwrap().acceptor;
        let (members, tasks) = (Members::default(), TaskTracker::new());
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let (tls, members) = (tls.clone(), Arc::clone(&members));
            tasks.spawn(async move {
                let outbox = Arc::new(Outbox::default());
                outbox.pending.lock().unwrap().extend_from_slice(b"HELLO\n");
                outbox.changed.notify_one();
                // A connection that breaks is no concern of the others.
                let _ended = serve_member(stream, tls, number, outbox, &members).await;
                members.lock().unwrap().remove(&number);
            });
        }
    });
}

async fn serve_member(
    stream: TcpStream,
    tls: TlsAcceptor,
    number: u64,
    outbox: Arc<Outbox>,
    members: &Members,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = tls.accept(stream).await?;
    members.lock().unwrap().insert(number, Arc::clone(&outbox));
    let (mut input, mut output) = (Vec::with_capacity(1_024), Vec::new());
    loop {
        tokio::select! {
            biased;
            read = stream.read_buf(&mut input) => {
                if read? == 0 {
                    return Ok(());
                }
                if let Some(end) = input.iter().rposition(|byte| *byte == b'\n') {
                    publish(&input[..=end], members);
                    input.drain(..=end);
                }
            }
            () = outbox.changed.notified() => {
                std::mem::swap(&mut output, &mut outbox.pending.lock().unwrap());
                stream.write_all(&output).await?;
                stream.flush().await?;
                output.clear();
                output.shrink_to(KEPT_BUFFER_BYTES);
            }
        }
    }
}

/// One line after the other, as servers do that handle one message at a time.
fn publish(mut lines: &[u8], members: &Members) {
    let members = members.lock().unwrap();
    while let Some(end) = find_byte(lines, b'\n') {
        for outbox in members.values() {
            let mut pending = outbox.pending.lock().unwrap();
            if pending.is_empty() {
                outbox.changed.notify_one();
            }
            if pending.len() < MAX_PENDING_BYTES {
                pending.extend_from_slice(&lines[..=end]);
            }
        }
        lines = &lines[end + 1..];
    }
}
