//! How far one has read, in a small file, so that the next run can say what is new.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::state::history::ReadPosition;

/// The file; none for who wants none.
#[derive(Debug, Clone, Default)]
pub struct ReadMarkerFile(Option<PathBuf>);

impl ReadMarkerFile {
    /// The file of this name in `folder`, which must be there.
    pub fn new(folder: &Path, stem: &str) -> Self {
        Self(Some(folder.join(format!("{stem}.seen"))))
    }

    /// What the last run has noted; nothing also where that can't be read.
    pub fn read(&self) -> Option<ReadPosition> {
        serde_json::from_slice(&fs::read(self.0.as_ref()?).ok()?).ok()
    }

    /// Notes it: the old file, or the new one, but never half of it.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write(&self, position: &ReadPosition) -> io::Result<()> {
        let Some(path) = &self.0 else { return Ok(()) };
        let temporary = path.with_extension(format!("{}.new", std::process::id()));
        fs::write(&temporary, serde_json::to_vec(position)?)?;
        fs::rename(&temporary, path)
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
