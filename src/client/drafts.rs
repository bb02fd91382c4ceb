//! Drafts on disk: what was typed and not sent, for the next run.
//!
//! One line of JSON for each draft, so that damage to one line loses that draft only. The file is replaced as a
//! whole: a crash leaves the old drafts or the new ones.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::address::ServerAddress;
use super::outbox::file_stem;
use super::process_file::{ProcessFile, ProcessFileError};
use crate::files;
use crate::protocol::id::MessageId;
use crate::protocol::message::Audience;
use crate::protocol::text::SafeText;

/// The highest number of drafts that are kept.
const MAX_DRAFTS: usize = 500;

/// The most bytes of drafts that are kept: a hundred of the longest messages.
const MAX_BYTES: usize = 2 * 1024 * 1024;

/// A text that was typed and not sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// The conversation in which it was typed.
    #[serde(rename = "receiver")]
    pub conversation: Audience,
    /// The text.
    pub text: SafeText,
    /// The message that it replies to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// The own message whose text it replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub editing: Option<MessageId>,
}

/// The drafts of one user on one server. The default one is kept in memory only.
#[derive(Debug, Default)]
pub struct DraftFile {
    file: Option<ProcessFile>,
    /// What the file contains.
    saved: Vec<u8>,
    restored: Vec<Draft>,
}

impl DraftFile {
    /// Opens the drafts of `user` on `server` in `folder`, with those that earlier runs left. If another process
    /// has them open, this process gets a file of its own.
    ///
    /// # Errors
    /// A file or folder can't be created, read or written.
    pub fn open(
        folder: &Path,
        server: &ServerAddress,
        user: &str,
    ) -> Result<Self, ProcessFileError> {
        let file = ProcessFile::claim(folder, &file_stem(server, user))?;
        let contents = file.read_all()?;
        let restored: Vec<Draft> = contents.iter().flat_map(|bytes| decode(bytes)).collect();
        let path = file.path().to_owned();
        let mut drafts = Self { file: Some(file), saved: Vec::new(), restored };
        if contents.iter().any(|bytes| !bytes.is_empty()) {
            let restored = drafts.restored.clone();
            drafts.save(&restored).map_err(ProcessFileError::on("write", &path))?;
        }
        if let Some(file) = &mut drafts.file {
            file.remove_left()?;
        }
        Ok(drafts)
    }

    /// Returns the drafts that earlier runs left, once.
    pub fn take_restored(&mut self) -> Vec<Draft> {
        std::mem::take(&mut self.restored)
    }

    /// Replaces the drafts, unless they are the ones in the file. The last ones are left out if they are too many.
    ///
    /// # Errors
    /// The file can't be written. The old drafts are still in it.
    pub fn save(&mut self, drafts: &[Draft]) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let bytes = encode(drafts)?;
        if bytes != self.saved {
            files::replace(file.path(), 0o600, &bytes)?;
            self.saved = bytes;
        }
        Ok(())
    }
}

fn encode(drafts: &[Draft]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for draft in drafts.iter().take(MAX_DRAFTS) {
        let mut line = serde_json::to_vec(draft)?;
        line.push(b'\n');
        if bytes.len() + line.len() <= MAX_BYTES {
            bytes.extend(line);
        }
    }
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Vec<Draft> {
    let lines = bytes.get(..MAX_BYTES).unwrap_or(bytes).split(|byte| *byte == b'\n');
    lines.filter_map(|line| serde_json::from_slice(line).ok()).take(MAX_DRAFTS).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::*;

    fn draft(text: &str) -> Draft {
        Draft {
            conversation: Audience::Room("#ops".parse().unwrap()),
            text: SafeText::clean(text),
            reply_to: MessageId::from_number(123_456),
            editing: None,
        }
    }

    fn open(folder: &Path) -> DraftFile {
        DraftFile::open(folder, &"127.0.0.1:65432".parse().unwrap(), "Bob").unwrap()
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|end| end == "jsonl")).collect()
    }

    #[test]
    fn drafts_survive_a_restart_in_a_private_file() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).save(&[draft("one\ntwo")]).unwrap();
        let [path] = &files(folder.path())[..] else { panic!("one file") };
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut again = open(folder.path());
        assert_eq!(again.take_restored(), [draft("one\ntwo")]);
        again.save(&[]).unwrap();
        drop(again);
        assert_eq!(open(folder.path()).take_restored(), []);
    }

    #[test]
    fn damaged_line_loses_one_draft() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).save(&[draft("one"), draft("two"), draft("three")]).unwrap();
        let [path] = &files(folder.path())[..] else { panic!("one file") };
        let damaged = fs::read_to_string(path).unwrap().replacen("\"two\"", "\"tw", 1);
        fs::write(path, [damaged.as_bytes(), b"\xff\x00{\"receiver\":"].concat()).unwrap();
        assert_eq!(open(folder.path()).take_restored(), [draft("one"), draft("three")]);
    }

    #[test]
    fn second_process_has_a_file_of_its_own_and_the_next_one_gets_both() {
        let folder = tempfile::tempdir().unwrap();
        let (mut first, mut second) = (open(folder.path()), open(folder.path()));
        first.save(&[draft("first")]).unwrap();
        second.save(&[draft("second")]).unwrap();
        drop((first, second));
        let mut next = open(folder.path());
        assert_eq!(next.take_restored(), [draft("first"), draft("second")]);
        assert_eq!(files(folder.path()).len(), 1);
        drop(next);
        assert_eq!(
            open(folder.path()).take_restored().len(),
            2,
            "written before the other was removed"
        );
    }

    #[test]
    fn size_of_the_file_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let long = draft(&"x".repeat(60_000));
        open(folder.path()).save(&vec![long; 100]).unwrap();
        let kept = open(folder.path()).take_restored().len();
        assert!((30..40).contains(&kept), "{kept}");
        open(folder.path()).save(&vec![draft("short"); 1_000]).unwrap();
        assert_eq!(open(folder.path()).take_restored().len(), MAX_DRAFTS);
    }
}
