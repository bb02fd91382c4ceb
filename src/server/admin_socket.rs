//! The admin socket: a Unix socket in the data directory that takes one JSON command per line and answers
//! with one line. The hub executes the commands; this module authenticates the caller and keeps the
//! audit log.
//!
//! Only the server's user and root may connect. The socket's mode is 0600, its directory must not be
//! writable by others, and the caller's user ID is checked too, because some systems ignore a socket's
//! mode.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr as UnixSocketAddr, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admin::{AdminCommand, AdminReply, InviteInfo, ServerStats};
use super::audit::{self, AuditLog};
use super::hub_task::{HubCommand, HubSender, system_clock};
use super::limits::{ACCEPT_RETRY_DELAY, ADMIN_CONNECTIONS, ADMIN_LINE_BYTES, ADMIN_TIMEOUT};
use crate::store::OpenInvite;
use crate::store::worker::ReaderHandle;
use crate::tls::fingerprint::Fingerprint;

/// Its file name in the data directory.
pub const FILE: &str = "admin.sock";

/// Why the admin socket can't be opened.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the names say it")]
pub enum AdminSocketError {
    #[error(
        "{} is too long for a Unix socket (at most about 100 bytes): choose a shorter directory with --data",
        .0.display()
    )]
    PathTooLong(PathBuf),
    /// Another user could put their own socket in its place.
    #[error(
        "{folder} is writable by other users, who could replace the server's socket: run `chmod go-w {folder}`, or choose another directory with --data",
        folder = .0.display()
    )]
    WritableByOthers(PathBuf),
    #[error("{} belongs to another user: choose another directory with --data", .0.display())]
    OwnedByOther(PathBuf),
    /// Something accepts connections on it.
    #[error("{} is in use by another server: stop that server, or choose another directory with --data", .0.display())]
    InUse(PathBuf),
    #[error("{} exists and is not a socket: remove it, or choose another directory with --data", .0.display())]
    NotASocket(PathBuf),
    /// Creating the socket or opening the audit log failed.
    #[error("cannot use {}: {source} (choose another directory with --data)", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// The bound socket, with the open audit log.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    audit: AuditLog,
    server_address: SocketAddr,
    fingerprint: Fingerprint,
}

/// Handles the commands of all connections.
#[derive(Debug, Clone)]
struct AdminHandler {
    hub: HubSender,
    readers: ReaderHandle,
    audit: Arc<AuditLog>,
    server_address: SocketAddr,
    fingerprint: Fingerprint,
    started: Instant,
}

impl AdminSocket {
    /// Creates the socket in `folder`. A stale socket left by a crash is replaced.
    ///
    /// `server_address` and `fingerprint` are reported to `chat invite`, which puts them into the link.
    pub(super) fn bind(
        folder: &Path,
        server_address: SocketAddr,
        fingerprint: Fingerprint,
    ) -> Result<Self, AdminSocketError> {
        let path = folder.join(FILE);
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| AdminSocketError::Io { path, source }
        };
        check_folder(folder)?;
        if UnixSocketAddr::from_pathname(&path).is_err() {
            return Err(AdminSocketError::PathTooLong(path));
        }
        match fs::symlink_metadata(&path) {
            Ok(metadata) if !metadata.file_type().is_socket() => {
                return Err(AdminSocketError::NotASocket(path));
            }
            Ok(_) if StdUnixStream::connect(&path).is_ok() => {
                return Err(AdminSocketError::InUse(path));
            }
            Ok(_) => fs::remove_file(&path).map_err(failed(&path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&path)(error)),
        }
        let listener = UnixListener::bind(&path).map_err(failed(&path))?;
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(failed(&path))?;
        let log = folder.join(audit::FILE);
        let audit = AuditLog::open(&log).map_err(failed(&log))?;
        Ok(Self { listener, path, audit, server_address, fingerprint })
    }

    /// Accepts connections, each in a task of its own. Dropping the future removes the socket's file.
    pub(super) async fn run(
        self,
        hub: HubSender,
        readers: ReaderHandle,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        let _guard = SocketFileGuard(self.path);
        let (server_address, fingerprint) = (self.server_address, self.fingerprint);
        let (audit, started) = (Arc::new(self.audit), system_clock().monotonic);
        let handler = AdminHandler { hub, readers, audit, server_address, fingerprint, started };
        let connections = Arc::new(Semaphore::new(ADMIN_CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let handler = handler.clone();
                    tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
                        if let Err(error) = handler.serve(stream).await {
                            tracing::debug!(%error, "admin connection failed");
                        }
                        drop(permit);
                    }));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an admin connection");
                    sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
    }
}

/// Removes the socket's file when dropped.
struct SocketFileGuard(PathBuf);

impl Drop for SocketFileGuard {
    fn drop(&mut self) {
        // If this fails, the next start replaces the file.
        drop(fs::remove_file(&self.0));
    }
}

/// Checks that no other user can replace files in `folder`.
fn check_folder(folder: &Path) -> Result<(), AdminSocketError> {
    let metadata = fs::metadata(folder)
        .map_err(|source| AdminSocketError::Io { path: folder.to_owned(), source })?;
    if metadata.uid() != own_uid() && metadata.uid() != 0 {
        return Err(AdminSocketError::OwnedByOther(folder.to_owned()));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(AdminSocketError::WritableByOthers(folder.to_owned()));
    }
    Ok(())
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

impl AdminHandler {
    /// Answers commands until the connection ends.
    async fn serve(&self, stream: UnixStream) -> io::Result<()> {
        let uid = stream.peer_cred()?.uid();
        let (reader, mut writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        if uid != own_uid() && uid != 0 {
            tracing::warn!(uid, "admin connection refused: it comes from another user");
            return Ok(());
        }
        loop {
            let mut line = Vec::new();
            let mut limited = (&mut reader).take(ADMIN_LINE_BYTES);
            timeout(ADMIN_TIMEOUT, limited.read_until(b'\n', &mut line)).await??;
            let reply = match serde_json::from_slice(&line) {
                _ if line.is_empty() => return Ok(()),
                Ok(command) => self.handle(command, uid).await,
                Err(error) => refused(format!(
                    "unknown command: {error} (is the client of the same version as the server?)"
                )),
            };
            let mut reply = serde_json::to_vec(&reply)?;
            reply.push(b'\n');
            timeout(ADMIN_TIMEOUT, writer.write_all(&reply)).await??;
            if !line.ends_with(b"\n") {
                return Ok(());
            }
        }
    }

    async fn handle(&self, command: AdminCommand, uid: u32) -> AdminReply {
        if command.changes_state() {
            let (audit, line) = (Arc::clone(&self.audit), command.to_string());
            let recorded =
                tokio::task::spawn_blocking(move || audit.record(system_clock().wall, uid, &line))
                    .await;
            if let Err(error) = recorded.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
                return refused(format!(
                    "the command was not executed: cannot write the audit log: {error}"
                ));
            }
        }
        let is_invite = matches!(command, AdminCommand::Invite { .. });
        let (sender, receiver) = oneshot::channel();
        let sent = self.hub.send(HubCommand::Admin { command, reply: sender }).await;
        let reply = match (sent, receiver.await) {
            (Ok(()), Ok(reply)) => reply,
            (_, _) => refused("the server is stopping".to_owned()),
        };
        match reply {
            AdminReply::Done { .. } if is_invite => AdminReply::Invited {
                listening: self.server_address,
                fingerprint: self.fingerprint,
            },
            reply => self.complete(reply).await,
        }
    }

    /// Adds what the hub does not know: the open invites and some figures.
    async fn complete(&self, reply: AdminReply) -> AdminReply {
        let now = system_clock();
        let completed = match reply {
            AdminReply::List { connections, banned, invites: _ } => {
                let open = self.readers.read(move |reader| reader.open_invites(now.millis())).await;
                open.map(|open| {
                    let info =
                        |open: OpenInvite| InviteInfo { uses: open.uses, expires: open.expires };
                    let invites = open.into_iter().map(info).collect();
                    AdminReply::List { connections, banned, invites }
                })
            }
            AdminReply::Stats(stats) => {
                self.readers.read(|reader| reader.size()).await.map(|size| {
                    AdminReply::Stats(ServerStats {
                        messages: size.messages,
                        bytes: size.bytes,
                        uptime: (now.monotonic - self.started).as_secs(),
                        memory: resident_memory(),
                        ..stats
                    })
                })
            }
            reply => Ok(reply),
        };
        completed.unwrap_or_else(|error| refused(error.to_string()))
    }
}

fn refused(error: String) -> AdminReply {
    AdminReply::Refused { error }
}

/// The resident memory of this process in bytes. `None` without `/proc`.
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
        let server_address = SocketAddr::from(([127, 0, 0, 1], 65_432));
        AdminSocket::bind(folder, server_address, Fingerprint::from_digest([7; 32]))
    }

    #[tokio::test]
    async fn stale_socket_is_replaced_and_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let first = bind(folder.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let second = bind(folder.path()).unwrap_err();
        assert!(matches!(second, AdminSocketError::InUse(_)), "{second}");
        StdUnixStream::connect(&path).unwrap();
        drop(first);
        assert!(path.exists(), "as after a crash");
        bind(folder.path()).unwrap();
    }

    #[tokio::test]
    async fn unsafe_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let try_bind = || bind(folder.path()).map(drop);
        let path = folder.path().join(FILE);
        fs::write(&path, "a file").unwrap();
        assert!(matches!(try_bind(), Err(AdminSocketError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "a file");
        fs::remove_file(&path).unwrap();
        for mode in [0o720, 0o702, 0o777] {
            fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
            let error = try_bind().unwrap_err();
            assert!(matches!(error, AdminSocketError::WritableByOthers(_)), "{mode:o}: {error}");
        }
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        try_bind().unwrap();

        let long = folder.path().join("x".repeat(100));
        fs::create_dir(&long).unwrap();
        let error = bind(&long).unwrap_err();
        assert!(error.to_string().contains("--data"), "{error}");
        assert!(matches!(error, AdminSocketError::PathTooLong(_)));
    }
}
