//! Lines of input, from whatever is at the other end of it.
//!
//! It knows nothing of what a line means. A line without an end is not kept for ever.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

use crate::protocol::limits::FRAME_BYTES;

/// The longest line that is kept, in bytes: no longer text fits into a request.
const MAX_LINE_BYTES: usize = FRAME_BYTES;

/// A line, or what was wrong with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LineInput {
    /// A line without its end; what was not UTF-8 in it is replaced.
    Line(String),
    /// A line that was too long, and is dropped whole.
    TooLong,
}

/// The lines of a reader.
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

    /// The next line; nothing at the end of the input. Safe to cancel: what was read is kept.
    ///
    /// # Errors
    /// Whatever the reader says.
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
