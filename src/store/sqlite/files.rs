//! The files of the log, beside SQLite: notices that another program removed, replaced or truncated them, and
//! which pages were written.
//!
//! SQLite goes on with the files that it has opened, so what it commits would be gone after a restart.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::super::StoreError;

/// The header of the write-ahead log, and of each page in it, in bytes
/// (<https://sqlite.org/fileformat2.html#walformat>).
const WAL_HEADER: u64 = 32;
const WAL_PAGE_HEADER: u64 = 24;

/// Where the header has random numbers that change when the write-ahead log starts from its beginning.
const WAL_SALTS: SeekFrom = SeekFrom::Start(16);

/// A file that SQLite has open, too. To close it, drop the connections before: closing a file releases all locks
/// that the process has on it.
#[derive(Debug)]
pub(super) struct OpenFile {
    path: PathBuf,
    pub(super) file: File,
    id: FileId,
}

impl OpenFile {
    pub(super) fn open(path: PathBuf) -> Result<Self, StoreError> {
        let file = File::options().read(true).write(true).open(&path);
        let file = file.map_err(StoreError::file_access(&path))?;
        let metadata = file.metadata().map_err(StoreError::file_access(&path))?;
        Ok(Self { path, file, id: file_id(&metadata) })
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

/// The write-ahead log.
#[derive(Debug)]
pub(super) struct WalFile {
    file: OpenFile,
    page_size: u64,
    /// When it was last read.
    salts: [u8; 8],
}

impl WalFile {
    /// Opens the write-ahead log of `file`, which exists.
    pub(super) fn open(file: &Path, page_size: u64) -> Result<Self, StoreError> {
        let mut path = file.as_os_str().to_owned();
        path.push("-wal");
        Ok(Self { file: OpenFile::open(path.into())?, page_size, salts: [0; 8] })
    }

    /// See [`OpenFile::check`].
    pub(super) fn check(&self, n_pages: u64) -> Result<(), StoreError> {
        let min_len = if n_pages == 0 { 0 } else { self.page_start(n_pages) };
        self.file.check(min_len).map(|_| ())
    }

    /// Whether it was truncated, and nothing was written since.
    pub(super) fn is_empty(&self) -> io::Result<bool> {
        Ok(self.file.file.metadata()?.len() == 0)
    }

    /// The numbers of the pages that the last transactions have written, which are here in the write-ahead log.
    /// If it has started from its beginning since the last call, returns the pages before these, too.
    pub(super) fn page_numbers(&mut self, written: Range<u64>) -> io::Result<Vec<u32>> {
        if written.end == 0 {
            return Ok(Vec::new());
        }
        let mut file = &self.file.file;
        let old_salts = self.salts;
        file.seek(WAL_SALTS)?;
        file.read_exact(&mut self.salts)?;
        let first = if self.salts == old_salts { written.start } else { 0 };
        let number = |page| {
            let mut number = [0; 4];
            file.seek(SeekFrom::Start(self.page_start(page)))?;
            file.read_exact(&mut number)?;
            Ok(u32::from_be_bytes(number))
        };
        (first..written.end).map(number).collect()
    }

    fn page_start(&self, page: u64) -> u64 {
        WAL_HEADER + page * (WAL_PAGE_HEADER + self.page_size)
    }
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

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn pages_are_known_after_the_write_ahead_log_starts_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
             CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(9000)); INSERT INTO t VALUES (1);",
        )
        .unwrap();
        let mut wal = WalFile::open(&path, 4_096).unwrap();
        let all = wal.page_numbers(0..7).unwrap();
        assert_eq!(all.iter().copied().max(), Some(4), "{all:?}");
        db.execute_batch("INSERT INTO t VALUES (2)").unwrap();
        assert_eq!(wal.page_numbers(6..7).unwrap(), [2]);
        // It starts again when all of it is in the file.
        db.execute_batch("PRAGMA wal_checkpoint; INSERT INTO t VALUES (3)").unwrap();
        assert_eq!(wal.page_numbers(all.len() as u64..1).unwrap(), [2]);
    }
}
