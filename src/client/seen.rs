//! How far one has read, in a small file, so that the next run can say what is new.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::state::history::Seen;

/// The file; none for who wants none.
#[derive(Debug, Clone, Default)]
pub struct SeenFile(Option<PathBuf>);

impl SeenFile {
    /// The file of this name in `folder`, which must be there.
    pub fn new(folder: &Path, stem: &str) -> Self {
        Self(Some(folder.join(format!("{stem}.seen"))))
    }

    /// What the last run has noted; nothing also where that can't be read.
    pub fn read(&self) -> Option<Seen> {
        serde_json::from_slice(&fs::read(self.0.as_ref()?).ok()?).ok()
    }

    /// Notes it: the old file, or the new one, but never half of it.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write(&self, seen: &Seen) -> io::Result<()> {
        let Some(path) = &self.0 else { return Ok(()) };
        let new = path.with_extension(format!("{}.new", std::process::id()));
        fs::write(&new, serde_json::to_vec(seen)?)?;
        fs::rename(&new, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::id::Seq;

    #[test]
    fn what_was_noted_is_read_by_the_next_run_and_half_a_file_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = SeenFile::new(folder.path(), "stem");
        assert_eq!(file.read(), None);
        for seq in [7, 8] {
            let seen = Seen { epoch: "e".to_owned(), seq: Seq(seq) };
            file.write(&seen).unwrap();
            assert_eq!(SeenFile::new(folder.path(), "stem").read(), Some(seen));
        }
        fs::write(folder.path().join("stem.seen"), "{\"epoch\":\"e").unwrap();
        assert_eq!(file.read(), None);
    }
}
