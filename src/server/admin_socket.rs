//! The local socket of whoever runs the server: a line in, a line out. Whether an act is carried out, the
//! hub decides; here is who may ask at all, and what only the shell knows.
//!
//! Its file is for its owner alone, in a folder in which nobody else can put another in its place; and
//! whoever connects is asked for by name once more, for systems that do not look at a socket's rights.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr as Place, UnixStream as Probe};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admin::{AdminCommand, AdminReply, ServerStats};
use super::audit::{self, AuditLog};
use super::limits::{ACCEPT_RETRY_DELAY, ADMIN_CONNECTIONS, ADMIN_LINE_BYTES, ADMIN_TIMEOUT};
use super::shell::{HubCommand, HubSender, system_clock};
use crate::store::worker::ReaderHandle;
use crate::tls::fingerprint::Fingerprint;

/// The socket's name in the data folder.
pub const FILE: &str = "admin.sock";

/// Why there is no local socket. The texts say what to do.
#[derive(Debug, Error)]
pub enum AdminSocketError {
    /// The system takes no path of this length.
    #[error(
        "{} is too long for a socket (about 100 bytes are the most): choose another folder with --data",
        .0.display()
    )]
    PathTooLong(PathBuf),
    /// Others could put a socket of theirs in its place.
    #[error(
        "{} can be written by others, who could pose as this server there: take that right away (chmod go-w), or choose another folder",
        .0.display()
    )]
    WritableByOthers(PathBuf),
    /// The folder is somebody else's.
    #[error("{} belongs to another user: choose another folder with --data", .0.display())]
    OwnedByOther(PathBuf),
    /// Somebody answers there.
    #[error("{} is in use by another server: stop it, or choose another folder", .0.display())]
    InUse(PathBuf),
    /// Something else has the name.
    #[error("{} is in the way: it is no socket", .0.display())]
    NotASocket(PathBuf),
    /// The system does not let it be made.
    #[error("cannot make {}: {source}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The socket, bound.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    audit: AuditLog,
    server_address: SocketAddr,
    fingerprint: Fingerprint,
}

/// What each connection reaches.
#[derive(Debug, Clone)]
struct AdminHandler {
    hub: HubSender,
    reads: ReaderHandle,
    audit: Arc<AuditLog>,
    server_address: SocketAddr,
    fingerprint: Fingerprint,
    started: Instant,
}

impl AdminSocket {
    /// Makes the socket in `folder`, for a server that listens there and is known by this fingerprint. What
    /// a dead server has left is replaced; what is alive is not.
    pub(super) fn bind(
        folder: &Path,
        listening: SocketAddr,
        fingerprint: Fingerprint,
    ) -> Result<Self, AdminSocketError> {
        let path = folder.join(FILE);
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| AdminSocketError::Create { path, source }
        };
        check_folder(folder)?;
        if Place::from_pathname(&path).is_err() {
            return Err(AdminSocketError::PathTooLong(path));
        }
        match fs::symlink_metadata(&path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(AdminSocketError::NotASocket(path));
            }
            Ok(_) if Probe::connect(&path).is_ok() => return Err(AdminSocketError::InUse(path)),
            Ok(_) => fs::remove_file(&path).map_err(failed(&path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&path)(error)),
        }
        let listener = UnixListener::bind(&path).map_err(failed(&path))?;
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(failed(&path))?;
        let log = folder.join(audit::FILE);
        let audit = AuditLog::open(&log).map_err(failed(&log))?;
        Ok(Self { listener, path, audit, server_address: listening, fingerprint })
    }

    /// Takes connections, a task each, until it is dropped; its file goes with it.
    pub(super) async fn run(
        self,
        hub: HubSender,
        reads: ReaderHandle,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        let _file = SocketFileGuard(self.path);
        let (listening, fingerprint) = (self.server_address, self.fingerprint);
        let (audit, started) = (Arc::new(self.audit), system_clock().monotonic);
        let office =
            AdminHandler { hub, reads, audit, server_address: listening, fingerprint, started };
        let connections = Arc::new(Semaphore::new(ADMIN_CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let office = office.clone();
                    tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
                        if let Err(error) = office.serve(stream).await {
                            tracing::debug!(%error, "a connection to the local socket was lost");
                        }
                        drop(permit);
                    }));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection to the local socket could not be taken");
                    sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
    }
}

/// Removes the socket's file at the end.
struct SocketFileGuard(PathBuf);

impl Drop for SocketFileGuard {
    fn drop(&mut self) {
        // If it can't be removed, the next start does so.
        drop(fs::remove_file(&self.0));
    }
}

/// In a folder that others may write to, somebody else's socket could stand in for this one.
fn check_folder(folder: &Path) -> Result<(), AdminSocketError> {
    let found = fs::metadata(folder)
        .map_err(|source| AdminSocketError::Create { path: folder.to_owned(), source })?;
    if found.uid() != own_uid() && found.uid() != 0 {
        return Err(AdminSocketError::OwnedByOther(folder.to_owned()));
    }
    if found.mode() & 0o022 != 0 {
        return Err(AdminSocketError::WritableByOthers(folder.to_owned()));
    }
    Ok(())
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

impl AdminHandler {
    /// Answers line after line.
    async fn serve(&self, stream: UnixStream) -> io::Result<()> {
        let uid = stream.peer_cred()?.uid();
        let (reader, mut writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        if uid != own_uid() && uid != 0 {
            tracing::warn!(uid, "another user at the local socket was turned away");
            return Ok(());
        }
        loop {
            let mut line = Vec::new();
            let mut bounded = (&mut reader).take(ADMIN_LINE_BYTES);
            timeout(ADMIN_TIMEOUT, bounded.read_until(b'\n', &mut line)).await??;
            let answer = match serde_json::from_slice(&line) {
                _ if line.is_empty() => return Ok(()),
                Ok(act) => self.handle(act, uid).await,
                Err(error) => refused(format!("that is no act of this version: {error}")),
            };
            let mut words = serde_json::to_vec(&answer)?;
            words.push(b'\n');
            timeout(ADMIN_TIMEOUT, writer.write_all(&words)).await??;
            if !line.ends_with(b"\n") {
                return Ok(());
            }
        }
    }

    async fn handle(&self, act: AdminCommand, uid: u32) -> AdminReply {
        if act.changes_state() {
            let (audit, words) = (Arc::clone(&self.audit), act.to_string());
            let noting =
                tokio::task::spawn_blocking(move || audit.record(system_clock().wall, uid, &words))
                    .await;
            if let Err(error) = noting.unwrap_or_else(|crash| Err(io::Error::other(crash))) {
                return refused(format!("nothing is done, since it can't be noted: {error}"));
            }
        }
        let opens = matches!(act, AdminCommand::Invite { .. });
        let (answer, answered) = oneshot::channel();
        let asked = self.hub.send(HubCommand::Admin { command: act, reply: answer }).await;
        let answer = match (asked, answered.await) {
            (Ok(()), Ok(answer)) => answer,
            (_, _) => refused("the server is stopping".to_owned()),
        };
        match answer {
            AdminReply::Done { .. } if opens => AdminReply::Invited {
                listening: self.server_address,
                fingerprint: self.fingerprint,
            },
            AdminReply::Stats(stats) => self.complete_stats(stats).await,
            answer => answer,
        }
    }

    async fn complete_stats(&self, stats: ServerStats) -> AdminReply {
        match self.reads.read(|reader| reader.size()).await {
            Ok(size) => AdminReply::Stats(ServerStats {
                messages: size.messages,
                bytes: size.bytes,
                uptime: (system_clock().monotonic - self.started).as_secs(),
                memory: resident_memory(),
                ..stats
            }),
            Err(error) => refused(error.to_string()),
        }
    }
}

fn refused(error: String) -> AdminReply {
    AdminReply::Refused { error }
}

/// How much memory this process takes, where there is a /proc.
fn resident_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(folder: &Path) -> Result<AdminSocket, AdminSocketError> {
        let listening = SocketAddr::from(([127, 0, 0, 1], 65_432));
        AdminSocket::bind(folder, listening, Fingerprint::from_digest([7; 32]))
    }

    #[tokio::test]
    async fn stale_socket_is_replaced_and_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let first = bind(folder.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let second = bind(folder.path()).unwrap_err();
        assert!(matches!(second, AdminSocketError::InUse(_)), "{second}");
        Probe::connect(&path).unwrap();
        drop(first);
        assert!(path.exists(), "as a crash leaves it");
        bind(folder.path()).unwrap();
    }

    #[tokio::test]
    async fn unsafe_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let made = || bind(folder.path()).map(drop);
        let path = folder.path().join(FILE);
        fs::write(&path, "a file").unwrap();
        assert!(matches!(made(), Err(AdminSocketError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "a file");
        fs::remove_file(&path).unwrap();
        for mode in [0o720, 0o702, 0o777] {
            fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
            let error = made().unwrap_err();
            assert!(matches!(error, AdminSocketError::WritableByOthers(_)), "{mode:o}: {error}");
        }
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        made().unwrap();

        let long = folder.path().join("x".repeat(100));
        fs::create_dir(&long).unwrap();
        let error = bind(&long).unwrap_err();
        assert!(error.to_string().contains("choose another folder"), "{error}");
        assert!(matches!(error, AdminSocketError::PathTooLong(_)));
    }
}
