//! Creating and replacing files so that a crash leaves either the old file or the complete new one.
//!
//! Data is synced before its name appears, and the folder is synced afterwards. Temporary files have fixed
//! names, not random ones, so that the next write removes what a crash left: such a file may hold a private
//! key or the text of a message.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Creates `folder` and its parents with mode 0700, if they are missing.
///
/// # Errors
/// The folder can't be created.
pub fn create_private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Replaces the file at `path`, or creates it, with this mode and content, by way of the temporary file
/// `{path}.new`. Only one process at a time may do this for a path: the caller holds a lock.
///
/// # Errors
/// The file can't be written. The old file is still there, unless only the sync of the folder failed.
pub fn replace(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    replace_through(&with_suffix(path, ".new"), path, mode, content)
}

/// Like [`replace`], but with a temporary file that the caller names, in the same folder. A caller without
/// a lock puts its process id into the name.
///
/// # Errors
/// See [`replace`].
pub fn replace_through(temporary: &Path, path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    create_and_sync(temporary, mode, content)?;
    fs::rename(temporary, path)?;
    sync_folder_of(path)
}

/// Creates a file with this mode and content.
///
/// # Errors
/// The file exists ([`io::ErrorKind::AlreadyExists`]) or can't be written.
pub fn create_new(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    create_and_sync(path, mode, content)?;
    sync_folder_of(path)
}

/// Returns `path` with `suffix` appended to its file name.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn create_and_sync(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if written.is_err() {
        // The write error is the one to report; an incomplete file would be in the way of the next attempt.
        drop(fs::remove_file(path));
    }
    written
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn replace_writes_content_and_mode_and_removes_a_stale_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.txt");
        fs::write(folder.path().join("file.txt.new"), "left by a crash").unwrap();
        for content in [&b"one"[..], b"two"] {
            replace(&path, 0o600, content).unwrap();
            assert_eq!(fs::read(&path).unwrap(), content);
            assert_eq!(mode(&path), 0o600);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn create_new_keeps_an_existing_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.txt");
        create_new(&path, 0o600, b"one").unwrap();
        let error = create_new(&path, 0o600, b"two").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }

    #[test]
    fn failed_replace_keeps_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.txt");
        replace(&path, 0o600, b"one").unwrap();
        let missing = folder.path().join("missing").join("temporary");
        assert!(replace_through(&missing, &path, 0o600, b"two").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }
}
