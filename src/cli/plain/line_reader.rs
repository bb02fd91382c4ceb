//! Reads lines of bounded length.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

use crate::protocol::limits::FRAME_BYTES;

/// The maximum length of a line, in bytes. A longer text does not fit into a request.
const MAX_LINE_BYTES: usize = FRAME_BYTES;

/// The next line of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LineInput {
    /// A line without its line break. Invalid UTF-8 is replaced by U+FFFD.
    Line(String),
    /// A line that was too long and is dropped.
    TooLong,
}

/// Splits a reader into lines.
#[derive(Debug)]
pub(super) struct LineReader<R> {
    reader: R,
    line: Vec<u8>,
    too_long: bool,
}

impl<R: AsyncBufRead + Unpin> LineReader<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, line: Vec::new(), too_long: false }
    }

    /// Returns the next line, or `None` at the end of the input. Cancel safe: a partial line is kept.
    ///
    /// # Errors
    /// The reader failed.
    pub(super) async fn next(&mut self) -> io::Result<Option<LineInput>> {
        loop {
            let bytes = self.reader.fill_buf().await?;
            if bytes.is_empty() {
                let rest = self.too_long || !self.line.is_empty();
                return Ok(rest.then(|| self.take_line()));
            }
            let end = bytes.iter().position(|b| *b == b'\n');
            let chunk = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
            self.too_long |= self.line.len() + chunk.len() > MAX_LINE_BYTES;
            if !self.too_long {
                self.line.extend_from_slice(chunk);
            }
            let used = chunk.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                return Ok(Some(self.take_line()));
            }
        }
    }

    fn take_line(&mut self) -> LineInput {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.too_long) {
            return LineInput::TooLong;
        }
        let line = String::from_utf8_lossy(&line);
        LineInput::Line(line.strip_suffix('\r').unwrap_or(&line).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reader_splits_lines_and_drops_too_long_ones() {
        let long = "x".repeat(MAX_LINE_BYTES + 1);
        let bytes = [b"one\r\n\n\xff\xfe\n", long.as_bytes(), b"\nlast"].concat();
        let mut lines = LineReader::new(tokio::io::BufReader::with_capacity(100, &bytes[..]));
        let line = |text: &str| Some(LineInput::Line(text.to_owned()));
        for expected in [
            line("one"),
            line(""),
            line("\u{fffd}\u{fffd}"),
            Some(LineInput::TooLong),
            line("last"),
            None,
        ] {
            assert_eq!(lines.next().await.unwrap(), expected);
        }
    }
}
