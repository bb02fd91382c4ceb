//! The outbox file: one line of JSON for each request and each answer.
//!
//! A request is synced to disk before it is sent for the first time. Answers are not synced: if one is lost,
//! the request is sent again and the server recognizes it. The file is emptied once no request is left in
//! it, and rewritten after a message was deleted or edited or has expired. Each process holds a lock on a file of
//! its own.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::request::{UnsentRequest, belongs_in_outbox};
use crate::files;
use crate::protocol::id::Cid;
use crate::protocol::message::Millis;
use crate::protocol::request::Request;

/// The highest number of processes with one user, server and folder.
const MAX_PROCESSES: u32 = 64;

/// a file or directory of the outbox can't be used.
#[derive(Debug, Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct OutboxError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// A line of the file. The form on disk has no tag: the fields tell the two apart.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Record {
    Request { at: Millis, request: serde_json::Value },
    Answered { answered: Cid },
}

/// The outbox file of this process.
#[derive(Debug)]
pub(super) struct OutboxFile {
    path: PathBuf,
    file: File,
    /// Whether the file has lines of requests that were answered.
    has_stale_lines: bool,
    /// Locked while this process runs.
    _lock: File,
}

impl OutboxFile {
    /// Opens the first file that no other process holds. Returns the unanswered requests of all files that
    /// no other process holds, oldest first, and removes those other files.
    pub(super) fn open(
        folder: &Path,
        stem: &str,
    ) -> Result<(Self, Vec<UnsentRequest>), OutboxError> {
        files::create_private_folder(folder).map_err(error("create", folder))?;
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
            return Err(error("use", folder)(io::Error::other(format!(
                "{MAX_PROCESSES} processes use it already"
            ))));
        };
        unsent.sort_by_key(|unsent| unsent.at);
        let file = rewrite(&path, unsent.iter()).map_err(error("write", &path))?;
        for (other, _lock) in taken_over {
            fs::remove_file(&other).map_err(error("remove", &other))?;
        }
        Ok((Self { path, file, has_stale_lines: false, _lock: lock }, unsent))
    }

    /// Appends requests and syncs them to disk.
    pub(super) fn append(&mut self, requests: &[UnsentRequest]) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        let written = self.file.write_all(&lines(requests.iter())?);
        let outcome = written.and_then(|()| self.file.sync_data());
        if outcome.is_err() {
            // An incomplete line would spoil the next one.
            self.file.set_len(length)?;
        }
        outcome
    }

    /// Records answers. `unsent` are the requests that still have none.
    pub(super) fn record_answers<'a>(
        &mut self,
        cids: &[Cid],
        unsent: impl Iterator<Item = &'a UnsentRequest>,
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

    /// Removes the text of answered requests from the file, by rewriting it with `unsent` only.
    pub(super) fn scrub<'a>(
        &mut self,
        unsent: impl Iterator<Item = &'a UnsentRequest>,
    ) -> io::Result<()> {
        if self.has_stale_lines {
            self.file = rewrite(&self.path, unsent)?;
            self.has_stale_lines = false;
        }
        Ok(())
    }
}

fn error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OutboxError {
    let path = path.to_owned();
    move |source| OutboxError { action, path, source }
}

fn try_lock(path: &Path) -> Result<Option<File>, OutboxError> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.map_err(error("open", path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(error("lock", path)(source)),
    }
}

fn read(path: &Path) -> Result<Vec<UnsentRequest>, OutboxError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(error("read", path)(source)),
    };
    let mut unsent: Vec<UnsentRequest> = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        match serde_json::from_slice(line) {
            Ok(Record::Request { at, request }) => unsent.extend(decode_request(at, &request)),
            Ok(Record::Answered { answered }) => unsent.retain(|unsent| unsent.cid != answered),
            // An incomplete last line. Its request was never sent nor reported as stored.
            Err(_) => {}
        }
    }
    Ok(unsent)
}

fn decode_request(at: Millis, request: &serde_json::Value) -> Option<UnsentRequest> {
    match Request::decode(request.to_string().as_bytes()) {
        (Some(cid), Ok(request)) if belongs_in_outbox(&request) => {
            Some(UnsentRequest { cid, request, at })
        }
        (_, Ok(_) | Err(_)) => None,
    }
}

/// Replaces the file, and opens the new one for appending.
fn rewrite<'a>(path: &Path, unsent: impl Iterator<Item = &'a UnsentRequest>) -> io::Result<File> {
    files::replace(path, 0o600, &lines(unsent)?)?;
    OpenOptions::new().append(true).open(path)
}

fn lines<'a>(requests: impl Iterator<Item = &'a UnsentRequest>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for unsent in requests.filter(|unsent| unsent.may_persist()) {
        let request = serde_json::from_slice(&unsent.request.encode(Some(&unsent.cid)))?;
        add_line(&mut bytes, &Record::Request { at: unsent.at, request })?;
    }
    Ok(bytes)
}

fn add_line(bytes: &mut Vec<u8>, record: &Record) -> io::Result<()> {
    serde_json::to_writer(&mut *bytes, record)?;
    bytes.push(b'\n');
    Ok(())
}
