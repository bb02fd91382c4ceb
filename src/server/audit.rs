//! The audit log: one line for each administrator command that changes something, in an append-only
//! file.
//!
//! The line is on disk before the command is executed. If it can't be written, the command is refused.
//! The program never reads the file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use chrono::{DateTime, FixedOffset, SecondsFormat};

/// The file's name in the data directory.
pub(super) const FILE: &str = "audit.log";

/// The open file.
#[derive(Debug)]
pub(super) struct AuditLog(File);

impl AuditLog {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600).open(path).map(Self)
    }

    /// Appends a line. It is on disk when this returns.
    pub(super) fn record(
        &self,
        at: DateTime<FixedOffset>,
        uid: u32,
        command: &str,
    ) -> io::Result<()> {
        let at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
        // One `write`, so that the lines of two connections can't mix.
        let line = format!("{at} uid={uid} act={command:?}\n");
        (&self.0).write_all(line.as_bytes())?;
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_is_one_quoted_line_and_reopening_appends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let at = DateTime::from_timestamp_millis(1_800_000_000_000).unwrap().fixed_offset();
        for command in ["ban Bob_4572", "a\n2027 uid=0 act=\"b\" \u{1b}[2J"] {
            AuditLog::open(&path).unwrap().record(at, 1_000, command).unwrap();
        }
        let text = std::fs::read_to_string(path).unwrap();
        let begin = "2027-01-15T08:00:00.000Z uid=1000 act=";
        let forged = r#""a\n2027 uid=0 act=\"b\" \u{1b}[2J""#;
        assert_eq!(text, format!("{begin}\"ban Bob_4572\"\n{begin}{forged}\n"));
    }
}
