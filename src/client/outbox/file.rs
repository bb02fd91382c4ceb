//! The outbox file: one line of JSON for each request and each answer.
//!
//! A request is synced to disk before it is sent for the first time. Answers are not synced: if one is lost,
//! the request is sent again and the server recognizes it. The file is emptied once no request is left in
//! it, and rewritten after a message was deleted or edited or has expired. See
//! `process_file` for how processes share the folder.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::request::{UnsentRequest, belongs_in_outbox};
use crate::client::process_file::{ProcessFile, ProcessFileError};
use crate::files;
use crate::protocol::id::Cid;
use crate::protocol::message::Millis;
use crate::protocol::request::Request;

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
    claimed: ProcessFile,
    file: File,
    /// Whether the file has lines of requests that were answered.
    has_stale_lines: bool,
}

impl OutboxFile {
    /// Opens the first file that no other process holds. Returns the unanswered requests of all files that
    /// no other process holds, oldest first, and removes those other files.
    pub(super) fn open(
        folder: &Path,
        stem: &str,
    ) -> Result<(Self, Vec<UnsentRequest>), ProcessFileError> {
        let mut claimed = ProcessFile::claim(folder, stem)?;
        let contents = claimed.read_all()?;
        let mut unsent: Vec<_> = contents.iter().flat_map(|bytes| decode(bytes)).collect();
        unsent.sort_by_key(|unsent| unsent.at);
        let file = rewrite(claimed.path(), unsent.iter());
        let file = file.map_err(ProcessFileError::on("write", claimed.path()))?;
        claimed.remove_left()?;
        Ok((Self { claimed, file, has_stale_lines: false }, unsent))
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
            self.file = rewrite(self.claimed.path(), unsent)?;
            self.has_stale_lines = false;
        }
        Ok(())
    }
}

fn decode(bytes: &[u8]) -> Vec<UnsentRequest> {
    let mut unsent: Vec<UnsentRequest> = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        match serde_json::from_slice(line) {
            Ok(Record::Request { at, request }) => unsent.extend(decode_request(at, &request)),
            Ok(Record::Answered { answered }) => unsent.retain(|unsent| unsent.cid != answered),
            // An incomplete last line. Its request was never sent nor reported as stored.
            Err(_) => {}
        }
    }
    unsent
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
