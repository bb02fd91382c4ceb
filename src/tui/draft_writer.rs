//! Writes drafts to disk beside the event loop, so that a slow disk delays no key.

use std::io;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::task::TaskTracker;

use crate::client::drafts::{Draft, DraftFile};

/// Writes the latest drafts, one version at a time.
#[derive(Debug)]
pub(super) struct DraftWriter {
    latest: watch::Sender<Vec<Draft>>,
    errors: mpsc::Receiver<io::Error>,
    task: JoinHandle<()>,
}

impl DraftWriter {
    /// Starts the task that writes to `file`.
    pub(super) fn start(file: DraftFile) -> Self {
        let (latest, drafts) = watch::channel(Vec::new());
        let (report, errors) = mpsc::channel(1);
        let task = TaskTracker::new().spawn(write_changes(file, drafts, report));
        Self { latest, errors, task }
    }

    /// Hands over the drafts to write. Versions in between may be skipped.
    pub(super) fn save(&self, drafts: Vec<Draft>) {
        self.latest.send_replace(drafts);
    }

    /// Returns the next error of a write.
    pub(super) async fn next_error(&mut self) -> Option<io::Error> {
        self.errors.recv().await
    }

    /// Writes the last drafts.
    pub(super) async fn finish(mut self, drafts: Vec<Draft>) -> io::Result<()> {
        self.save(drafts);
        drop(self.latest);
        self.task.await.map_err(io::Error::other)?;
        match self.errors.recv().await {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

async fn write_changes(
    mut file: DraftFile,
    mut latest: watch::Receiver<Vec<Draft>>,
    errors: mpsc::Sender<io::Error>,
) {
    while latest.changed().await.is_ok() {
        let drafts = latest.borrow_and_update().clone();
        let write = spawn_blocking(move || {
            let outcome = file.save(&drafts);
            (file, outcome)
        });
        // A panic was reported by its hook.
        let Ok((returned, outcome)) = write.await else { return };
        file = returned;
        if let Err(error) = outcome {
            // An error that is not shown yet is enough.
            errors.try_send(error).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::Audience;
    use crate::protocol::text::SafeText;

    #[tokio::test]
    async fn last_drafts_are_on_disk_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let open =
            || DraftFile::open(folder.path(), &"localhost:1".parse().unwrap(), "Bob").unwrap();
        let draft = |text| Draft {
            conversation: Audience::Everyone,
            text: SafeText::clean(text),
            reply_to: None,
            editing: None,
        };
        let writer = DraftWriter::start(open());
        writer.save(vec![draft("old")]);
        writer.finish(vec![draft("new")]).await.unwrap();
        assert_eq!(open().take_restored(), [draft("new")]);
    }

    #[tokio::test]
    async fn error_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("drafts");
        let file = DraftFile::open(&at, &"localhost:1".parse().unwrap(), "Bob").unwrap();
        std::fs::remove_dir_all(&at).unwrap();
        let draft = Draft {
            conversation: Audience::Everyone,
            text: SafeText::clean("text"),
            reply_to: None,
            editing: None,
        };
        DraftWriter::start(file).finish(vec![draft]).await.unwrap_err();
    }
}
