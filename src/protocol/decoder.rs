//! Bytes to JSON objects: over any split or run-together input, with a cap while reading.
//!
//! An original client writes objects with nothing between them, so the ends are found by counting
//! braces, not by newlines. What is inside of an object is not looked at here.

use bytes::{Buf, Bytes, BytesMut};

use super::error::Refusal;

/// Cuts a stream of bytes into JSON objects.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    /// How much of `buffer` has been looked at.
    scanned: usize,
    depth: u32,
    in_string: bool,
    escaped: bool,
    skipping_garbage: bool,
    limit: usize,
}

impl Decoder {
    /// A decoder that takes objects of at most `limit` bytes.
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

    /// Takes objects of at most `limit` bytes from now on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Where the next bytes are read into.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole object.
    ///
    /// # Errors
    /// [`Refusal::BadJson`] for anything but white space between objects: it is skipped up to the next
    /// `{` and reported once, and reading can go on. [`Refusal::FrameTooLong`] past the limit: nothing
    /// of the object is kept, and the stream is of no further use.
    pub fn next_object(&mut self) -> Option<Result<Bytes, Refusal>> {
        if self.depth == 0 {
            let stray = self.skip_to_object();
            if stray && !self.skipping_garbage {
                self.skipping_garbage = true;
                return Some(Err(Refusal::BadJson("it must begin with {".to_owned())));
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

    /// Drops what is before the next object; whether that was more than white space.
    fn skip_to_object(&mut self) -> bool {
        let start = self.buffer.iter().position(|b| *b == b'{').unwrap_or(self.buffer.len());
        let stray = self.buffer.iter().take(start).any(|b| !b.is_ascii_whitespace());
        self.buffer.advance(start);
        stray
    }

    fn find_end(&mut self) -> Option<usize> {
        let unseen = self.buffer.get(self.scanned..).unwrap_or_default();
        for (index, byte) in unseen.iter().enumerate() {
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
            assert_eq!(objects, whole, "in pieces of {size}");
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
                Some(refused) => {
                    assert_eq!(refused, Err(Refusal::FrameTooLong(1_000)));
                    assert!(decoder.buffer().is_empty());
                    return;
                }
            }
        }
        panic!("2,000 bytes were taken");
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
