//! Splits a byte stream into JSON objects, with a size limit.
//!
//! Original clients write objects without separators, so the decoder finds the end of an object by
//! counting braces outside strings. It does not parse the object.

use bytes::{Buf, Bytes, BytesMut};

use super::error::Refusal;

/// Splits a byte stream into JSON objects.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    /// Number of bytes of `buffer` that have been scanned.
    scanned: usize,
    depth: u32,
    in_string: bool,
    escaped: bool,
    skipping_garbage: bool,
    limit: usize,
}

impl Decoder {
    /// Creates a decoder for objects of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            scanned: 0,
            depth: 0,
            in_string: false,
            escaped: false,
            skipping_garbage: false,
            limit,
        }
    }

    /// Changes the size limit, in bytes.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The buffer into which the caller reads the next bytes.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Returns the next complete object, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// - [`Refusal::BadJson`] if anything but white space stands between objects. The decoder skips it
    ///   up to the next `{`, reports it once, and can continue.
    /// - [`Refusal::FrameTooLong`] if an object exceeds the limit. Its bytes are discarded, and the rest
    ///   of the stream cannot be decoded.
    pub fn next_object(&mut self) -> Option<Result<Bytes, Refusal>> {
        if self.depth == 0 {
            let stray = self.skip_to_object();
            if stray && !self.skipping_garbage {
                self.skipping_garbage = true;
                return Some(Err(Refusal::BadJson("expected {".to_owned())));
            }
            if self.buffer.is_empty() {
                return None;
            }
            self.skipping_garbage = false;
        }
        let end = self.find_end();
        if end.unwrap_or(self.buffer.len()) > self.limit {
            *self = Self::new(self.limit);
            return Some(Err(Refusal::FrameTooLong(self.limit)));
        }
        let object = self.buffer.split_to(end?);
        self.scanned = 0;
        Some(Ok(object.freeze()))
    }

    /// Drops all bytes before the next `{`; returns whether they were more than white space.
    fn skip_to_object(&mut self) -> bool {
        let start = self.buffer.iter().position(|b| *b == b'{').unwrap_or(self.buffer.len());
        let stray = self.buffer.iter().take(start).any(|b| !b.is_ascii_whitespace());
        self.buffer.advance(start);
        stray
    }

    fn find_end(&mut self) -> Option<usize> {
        let unscanned = self.buffer.get(self.scanned..).unwrap_or_default();
        for (index, byte) in unscanned.iter().enumerate() {
            match (self.in_string, byte) {
                (true, _) if self.escaped => self.escaped = false,
                (true, b'\\') => self.escaped = true,
                (true, b'"') => self.in_string = false,
                (false, b'"') => self.in_string = true,
                (false, b'{') => self.depth += 1,
                (false, b'}') => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(self.scanned + index + 1);
                    }
                }
                (true | false, _) => {}
            }
        }
        self.scanned = self.buffer.len();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&[u8]], limit: usize) -> Vec<Result<String, Refusal>> {
        let mut decoder = Decoder::new(limit);
        let mut objects = Vec::new();
        for piece in pieces {
            decoder.buffer().extend_from_slice(piece);
            while let Some(object) = decoder.next_object() {
                objects.push(object.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
            }
        }
        objects
    }

    #[test]
    fn objects_are_split_at_any_chunking() {
        let stream = br#"{"a":"}{\"\\"}{"b":{"c":[1,{"d":2}]}}   {"e":"\\\\"}"#;
        let whole = [r#"{"a":"}{\"\\"}"#, r#"{"b":{"c":[1,{"d":2}]}}"#, r#"{"e":"\\\\"}"#];
        for size in 1..=stream.len() {
            let pieces: Vec<&[u8]> = stream.chunks(size).collect();
            let objects: Vec<_> = decode(&pieces, 100).into_iter().map(Result::unwrap).collect();
            assert_eq!(objects, whole, "chunks of {size} bytes");
        }
    }

    #[test]
    fn garbage_is_reported_once_and_skipped() {
        let objects = decode(&[b"GET / HTTP", b"/1.1\r\n\r\n", b"{\"a\":1}"], 100);
        assert!(matches!(objects[0], Err(Refusal::BadJson(_))));
        assert_eq!(objects[1], Ok("{\"a\":1}".to_owned()));
        assert_eq!(objects.len(), 2);
    }

    #[test]
    fn oversized_object_is_refused_while_reading() {
        let mut decoder = Decoder::new(1_000);
        decoder.buffer().extend_from_slice(b"{\"a\":\"");
        for _ in 0..20 {
            decoder.buffer().extend_from_slice(&[b'x'; 100]);
            match decoder.next_object() {
                None => {}
                Some(result) => {
                    assert_eq!(result, Err(Refusal::FrameTooLong(1_000)));
                    assert!(decoder.buffer().is_empty());
                    return;
                }
            }
        }
        panic!("2,000 bytes were accepted");
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_input_never_panics_or_exceeds_limit(
            pieces in proptest::collection::vec(
                proptest::collection::vec(proptest::sample::select(b"{}\"\\a \n[\xff".to_vec()), 0..40), 0..20),
        ) {
            let mut decoder = Decoder::new(64);
            for piece in &pieces {
                decoder.buffer().extend_from_slice(piece);
                while let Some(object) = decoder.next_object() {
                    if let Ok(bytes) = object {
                        proptest::prop_assert!(bytes.len() <= 64);
                    }
                }
                proptest::prop_assert!(decoder.buffer().len() <= 64);
            }
        }
    }
}
