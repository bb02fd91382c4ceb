//! The read marker: a small file that remembers how far the user has read, for the next run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::state::history::ReadPosition;
use crate::files;

/// The read marker of one user on one server. The default one has no file and stores nothing.
#[derive(Debug, Clone, Default)]
pub struct ReadMarkerFile(Option<PathBuf>);

impl ReadMarkerFile {
    /// Names the file `{stem}.seen` in `folder`, which must exist.
    pub fn new(folder: &Path, stem: &str) -> Self {
        Self(Some(folder.join(format!("{stem}.seen"))))
    }

    /// Reads the position. A missing or invalid file counts as none.
    pub fn read(&self) -> Option<ReadPosition> {
        serde_json::from_slice(&fs::read(self.0.as_ref()?).ok()?).ok()
    }

    /// Writes the position atomically.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write(&self, position: &ReadPosition) -> io::Result<()> {
        let Some(path) = &self.0 else { return Ok(()) };
        // Several processes may write the marker of the same user.
        let temporary = path.with_extension(format!("{}.new", std::process::id()));
        files::replace_through(&temporary, path, 0o644, &serde_json::to_vec(position)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::id::Seq;

    #[test]
    fn position_survives_a_restart_and_a_torn_file_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let file = ReadMarkerFile::new(folder.path(), "stem");
        assert_eq!(file.read(), None);
        for seq in [7, 8] {
            let position = ReadPosition { epoch: "e".to_owned(), seq: Seq(seq) };
            file.write(&position).unwrap();
            assert_eq!(ReadMarkerFile::new(folder.path(), "stem").read(), Some(position));
        }
        fs::write(folder.path().join("stem.seen"), "{\"epoch\":\"e").unwrap();
        assert_eq!(file.read(), None);
    }
}
