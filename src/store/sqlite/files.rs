//! Notices that another program removed, replaced or truncated the files of the log.
//!
//! SQLite goes on with the files that it has opened, so what it commits would be gone after a restart.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use super::super::StoreError;

/// A file as it was when it was opened.
#[derive(Debug)]
pub(super) struct OpenFile {
    path: PathBuf,
    id: FileId,
}

impl OpenFile {
    /// `path` is of a file that has just been opened.
    pub(super) fn new(path: PathBuf) -> Result<Self, StoreError> {
        let metadata = path.metadata().map_err(StoreError::file_access(&path))?;
        Ok(Self { path, id: file_id(&metadata) })
    }

    /// Returns the length of the file.
    ///
    /// # Errors
    /// [`StoreError::FileReplaced`] if the path is not that of this file any more, or the file is shorter
    /// than `min_len`.
    pub(super) fn check(&self, min_len: u64) -> Result<u64, StoreError> {
        let replaced = || StoreError::FileReplaced(self.path.clone());
        match self.path.metadata() {
            Ok(metadata) if file_id(&metadata) == self.id && metadata.len() >= min_len => {
                Ok(metadata.len())
            }
            Ok(_) => Err(replaced()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(replaced()),
            Err(error) => Err(StoreError::file_access(&self.path)(error)),
        }
    }
}

/// The path of the write-ahead log of `file`.
pub(super) fn wal_path(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}

/// The device and the inode.
#[cfg(unix)]
type FileId = (u64, u64);

#[cfg(unix)]
fn file_id(metadata: &Metadata) -> FileId {
    use std::os::unix::fs::MetadataExt;

    (metadata.dev(), metadata.ino())
}

/// Where an open file cannot be removed, only its length matters.
#[cfg(not(unix))]
type FileId = ();

#[cfg(not(unix))]
fn file_id(_: &Metadata) -> FileId {}
