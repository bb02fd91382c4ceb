//! The mark at the start of each message's text: who sent it, its number, and when it was due. It is how a
//! delivery is recognized in the bytes of any protocol.

use std::fmt::Write as _;
use std::io::BufRead as _;

/// A byte that no protocol puts before the text of a message.
const EDGE: u8 = b'^';
const FILLER: &str = "the quick brown fox jumps over the lazy dog ";

#[derive(Clone, Copy)]
pub(crate) struct Mark {
    pub(crate) sender: usize,
    /// Counted per sender from 0.
    pub(crate) number: u64,
    /// In microseconds since the start of the run.
    pub(crate) due: u64,
}

impl Mark {
    /// Appends a text of `bytes` bytes that starts with this mark.
    pub(crate) fn write_text(self, bytes: usize, out: &mut Vec<u8>) {
        let end = out.len() + bytes;
        let mut head = String::with_capacity(32);
        write!(head, "^{:04x}{:08x}{:012x} ", self.sender, self.number, self.due).unwrap();
        out.extend_from_slice(head.as_bytes());
        out.extend(FILLER.bytes().cycle().take(end.saturating_sub(out.len())));
    }

    /// The mark in a frame, if the frame is a message of this program.
    pub(crate) fn find(frame: &[u8]) -> Option<Self> {
        let start = find_byte(frame, EDGE)? + 1;
        let fields = std::str::from_utf8(frame.get(start..start + 24)?).ok()?;
        let field = |range| u64::from_str_radix(&fields[range], 16).ok();
        Some(Self {
            sender: usize::try_from(field(0..4)?).ok()?,
            number: field(4..12)?,
            due: field(12..24)?,
        })
    }
}

/// The position of the first such byte. `skip_until` is the standard library's fast search for a byte.
pub(crate) fn find_byte(bytes: &[u8], byte: u8) -> Option<usize> {
    let mut rest = bytes;
    let end = rest.skip_until(byte).unwrap().checked_sub(1)?;
    (bytes[end] == byte).then_some(end)
}
