//! The outbox's file: a line of JSON for each message, and one for each answer.
//!
//! A message is on disk before it is sent for the first time. An answer need not be: without its line
//! the message is sent again, and the server knows it. Once nothing waits the file is empty, so that it
//! never keeps what is gone elsewhere. Each process has a file of its own, which a lock holds.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{OutboxError, UnsentMessage};
use crate::protocol::id::Cid;
use crate::protocol::message::Millis;
use crate::protocol::request::{PostKind, Request};

/// How many processes may talk to one server under one name on one machine.
const MAX_PROCESSES: u32 = 64;

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Record {
    Message { at: Millis, request: serde_json::Value },
    Answered { answered: Cid },
}

/// The file, held by this process.
#[derive(Debug)]
pub(super) struct OutboxFile {
    path: PathBuf,
    file: File,
    /// Whether lines are in it that nobody needs.
    has_stale_lines: bool,
    /// Holds the lock.
    _lock: File,
}

impl OutboxFile {
    /// Takes the first file that no process holds, and what is in all such files.
    pub(super) fn open(
        folder: &Path,
        stem: &str,
    ) -> Result<(Self, Vec<UnsentMessage>), OutboxError> {
        make_folder(folder)?;
        let mut own: Option<(PathBuf, File)> = None;
        let mut unsent = Vec::new();
        let mut taken_over = Vec::new();
        for number in 0..MAX_PROCESSES {
            let path = folder.join(format!("{stem}.{number}.jsonl"));
            if own.is_some() && !path.exists() {
                continue;
            }
            let Some(lock) = try_lock(&path.with_extension("lock"))? else { continue };
            unsent.extend(read(&path)?);
            if own.is_some() {
                taken_over.push((path, lock));
            } else {
                own = Some((path, lock));
            }
        }
        let Some((path, lock)) = own else {
            let source = io::Error::other("too many processes use it");
            return Err(OutboxError { action: "use", path: folder.to_owned(), source });
        };
        unsent.sort_by_key(|unsent| unsent.at);
        let failed = |source| OutboxError { action: "write", path: path.clone(), source };
        let file = rewrite(&path, unsent.iter()).map_err(failed)?;
        for (other, _lock) in taken_over {
            fs::remove_file(&other).map_err(|source| OutboxError {
                action: "remove",
                path: other,
                source,
            })?;
        }
        Ok((Self { path, file, has_stale_lines: false, _lock: lock }, unsent))
    }

    /// Appends messages; they are on disk afterwards.
    pub(super) fn append(&mut self, unsent: &[UnsentMessage]) -> io::Result<()> {
        let before = self.file.metadata()?.len();
        let written = self.file.write_all(&lines(unsent.iter())?);
        let outcome = written.and_then(|()| self.file.sync_data());
        if outcome.is_err() {
            // Half a line would spoil the next.
            self.file.set_len(before)?;
        }
        outcome
    }

    /// Notes answers; `left` is what still waits.
    pub(super) fn record_answers<'a>(
        &mut self,
        cids: &[Cid],
        unsent: impl Iterator<Item = &'a UnsentMessage>,
    ) -> io::Result<()> {
        if unsent.peekable().peek().is_none() {
            self.has_stale_lines = false;
            return self.file.set_len(0);
        }
        let mut bytes = Vec::new();
        for cid in cids {
            add_line(&mut bytes, &Record::Answered { answered: cid.clone() })?;
        }
        self.has_stale_lines = true;
        self.file.write_all(&bytes)
    }

    /// Takes everything out of the file that nobody needs any more.
    pub(super) fn scrub<'a>(
        &mut self,
        unsent: impl Iterator<Item = &'a UnsentMessage>,
    ) -> io::Result<()> {
        if self.has_stale_lines {
            self.file = rewrite(&self.path, unsent)?;
            self.has_stale_lines = false;
        }
        Ok(())
    }
}

/// Whether a message may be written to a disk at all: what is meant to vanish stays in memory, and is
/// lost with the process.
pub(super) fn may_persist(unsent: &UnsentMessage) -> bool {
    !matches!(unsent.post.kind, PostKind::Temporary { .. })
}

fn make_folder(folder: &Path) -> Result<(), OutboxError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|source| OutboxError {
        action: "make",
        path: folder.to_owned(),
        source,
    })
}

fn try_lock(path: &Path) -> Result<Option<File>, OutboxError> {
    let failed = |source| OutboxError { action: "lock", path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn read(path: &Path) -> Result<Vec<UnsentMessage>, OutboxError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(OutboxError { action: "read", path: path.to_owned(), source }),
    };
    let mut unsent: Vec<UnsentMessage> = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        // The last line may be half written: it was then never sent, and never said to be kept.
        match serde_json::from_slice(line) {
            Ok(Record::Message { at, request }) => unsent.extend(decode_message(at, &request)),
            Ok(Record::Answered { answered }) => unsent.retain(|one| one.cid != answered),
            Err(_) => {}
        }
    }
    Ok(unsent)
}

fn decode_message(at: Millis, request: &serde_json::Value) -> Option<UnsentMessage> {
    match Request::decode(request.to_string().as_bytes()) {
        (Some(cid), Ok(Request::Post(say))) => Some(UnsentMessage { cid, post: say, at }),
        (_, Ok(_) | Err(_)) => None,
    }
}

/// Puts a whole new file in the place of the old one.
fn rewrite<'a>(path: &Path, unsent: impl Iterator<Item = &'a UnsentMessage>) -> io::Result<File> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options.append(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&lines(unsent)?)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(file)
}

fn lines<'a>(unsent: impl Iterator<Item = &'a UnsentMessage>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for one in unsent.filter(|unsent| may_persist(unsent)) {
        let request = Request::Post(one.post.clone()).encode(Some(&one.cid));
        let request = serde_json::from_slice(&request)?;
        add_line(&mut bytes, &Record::Message { at: one.at, request })?;
    }
    Ok(bytes)
}

fn add_line(bytes: &mut Vec<u8>, record: &Record) -> io::Result<()> {
    serde_json::to_writer(&mut *bytes, record)?;
    bytes.push(b'\n');
    Ok(())
}
