//! A file that one process uses at a time: locked while it runs, and taken over by the next one.
//!
//! The outbox and the drafts of a user are kept in such files. Several clients of one user each have their own.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::files;

/// The highest number of processes with one user, server and folder.
const MAX_PROCESSES: u32 = 64;

/// A file or folder can't be used.
#[derive(Debug, Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct ProcessFileError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl ProcessFileError {
    /// Returns a function that says what could not be done with which file.
    pub(super) fn on(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { action, path, source }
    }
}

/// The file of this process, and those that processes which have ended left.
#[derive(Debug)]
pub(super) struct ProcessFile {
    path: PathBuf,
    left: Vec<(PathBuf, File)>,
    /// Locked while this process runs.
    _lock: File,
}

impl ProcessFile {
    /// Claims the first file `{stem}.{number}.jsonl` in `folder` that no other process holds.
    pub(super) fn claim(folder: &Path, stem: &str) -> Result<Self, ProcessFileError> {
        files::create_private_folder(folder).map_err(ProcessFileError::on("create", folder))?;
        let mut own: Option<(PathBuf, File)> = None;
        let mut left = Vec::new();
        for number in 0..MAX_PROCESSES {
            let path = folder.join(format!("{stem}.{number}.jsonl"));
            if own.is_some() && !path.exists() {
                continue;
            }
            let Some(lock) = try_lock(&path.with_extension("lock"))? else { continue };
            if own.is_some() {
                left.push((path, lock));
            } else {
                own = Some((path, lock));
            }
        }
        let Some((path, lock)) = own else {
            let error = format!("{MAX_PROCESSES} processes use it already");
            return Err(ProcessFileError::on("use", folder)(io::Error::other(error)));
        };
        Ok(Self { path, left, _lock: lock })
    }

    /// The file of this process.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file of this process and those that others left. A missing one is empty.
    pub(super) fn read_all(&self) -> Result<Vec<Vec<u8>>, ProcessFileError> {
        let left = self.left.iter().map(|(path, _)| path);
        std::iter::once(&self.path).chain(left).map(|path| read(path)).collect()
    }

    /// Removes the files that others left, whose contents are in the file of this process by now.
    pub(super) fn remove_left(&mut self) -> Result<(), ProcessFileError> {
        for (path, _lock) in self.left.drain(..) {
            fs::remove_file(&path).map_err(ProcessFileError::on("remove", &path))?;
        }
        Ok(())
    }
}

fn try_lock(path: &Path) -> Result<Option<File>, ProcessFileError> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.map_err(ProcessFileError::on("open", path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(ProcessFileError::on("lock", path)(source)),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ProcessFileError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        outcome => outcome.map_err(ProcessFileError::on("read", path)),
    }
}
