//! Fuzzing of every parser of external input: first the corpus (`tests/corpus`, one folder per target), then
//! mutations of it.
//!
//! It is not guided by coverage; the corpus and the dictionary cover the grammars instead. The suite runs a few
//! thousand inputs per target with a fixed seed. `CHAT_FUZZ_SECONDS=60` runs each target that long with a new
//! seed, which is printed. A failing input is printed so that it can be added to the corpus.

#![expect(clippy::indexing_slicing, reason = "a test fails on a panic")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use chat::cli::settings::Settings;
use chat::client::input::UserInput;
use chat::client::link::ServerLink;
use chat::client::pins;
use chat::protocol::decoder::Decoder;
use chat::protocol::event::Event;
use chat::protocol::id::{Name, UserId};
use chat::protocol::request::{Login, Request};
use chat::protocol::text::SafeText;
use chrono::NaiveDate;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::support::hostile_text::find_unsafe_char;
use crate::support::print_result;

/// Inputs per target in the suite.
const INPUTS_PER_TARGET: usize = 3_000;

/// Tokens of the grammars, which random bytes would rarely form.
const DICTIONARY: [&str; 50] = [
    "{",
    "}",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "[",
    "]",
    ":",
    ",",
    "null",
    "true",
    "-1",
    "1e999",
    "18446744073709551616",
    "\"action\":",
    "\"MESSAGE\"",
    "\"REPLY\"",
    "\"HISTORY\"",
    "\"FOUND\"",
    "\"receiver\":",
    "\"content\":",
    "\"optional\":",
    "\"messages\":",
    "\"username\":",
    "\"cid\":",
    "\"seq\":",
    "\"status\":",
    "chat://",
    "[::1]",
    "%",
    "@",
    "_1234",
    "/",
    "?",
    "#",
    "pin=",
    "SHA256:",
    "2026-11-22",
    " = ",
    "keep",
    "listen",
    "'''",
    "invite=",
    "\n",
    "\t",
    "\u{1b}[",
    "\u{202e}",
    "\u{301}",
    "\u{200d}",
];

/// Feeds one target.
struct Fuzzer {
    target: &'static str,
    corpus: Vec<Vec<u8>>,
    rng: StdRng,
    seed: u64,
}

impl Fuzzer {
    fn new(target: &'static str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target);
        let mut files: Vec<_> =
            fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        let corpus: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
        assert!(!corpus.is_empty(), "empty corpus for {target}");
        let seed = if time_limit().is_some() { rand::random() } else { 1 };
        Self { target, corpus, rng: StdRng::seed_from_u64(seed), seed }
    }

    /// Feeds inputs to `check`, which panics on a violation.
    fn run(mut self, check: impl Fn(&[u8])) {
        let start = now();
        let mut n_inputs = self.corpus.len();
        for index in 0..self.corpus.len() {
            Self::check_input(self.target, &self.corpus[index], &check);
        }
        loop {
            let is_over = match time_limit() {
                Some(time) => start.elapsed() >= time,
                None => n_inputs >= INPUTS_PER_TARGET,
            };
            if is_over {
                break;
            }
            let input = self.mutated_input();
            Self::check_input(self.target, &input, &check);
            n_inputs += 1;
        }
        print_result(&format!(
            "{}: {n_inputs} inputs, seed {}, no failure",
            self.target, self.seed
        ));
    }

    fn check_input(target: &str, input: &[u8], check: &impl Fn(&[u8])) {
        let is_ok = catch_unwind(AssertUnwindSafe(|| check(input))).is_ok();
        assert!(is_ok, "add this input to tests/corpus/{target}: {}", input.escape_ascii());
    }

    /// A random file of the corpus with up to eight mutations.
    fn mutated_input(&mut self) -> Vec<u8> {
        let rng = &mut self.rng;
        let mut input = self.corpus[rng.random_range(0..self.corpus.len())].clone();
        for _ in 0..rng.random_range(1..=8) {
            let at = rng.random_range(0..=input.len());
            let end = rng.random_range(at..=input.len().min(at + 20));
            match rng.random_range(0..7) {
                0 => drop(input.drain(at..end)),
                1 => {
                    let piece = input[at..end].to_vec();
                    input.splice(at..at, piece.repeat(rng.random_range(1..4)));
                }
                2 => {
                    let other = &self.corpus[rng.random_range(0..self.corpus.len())];
                    let from = rng.random_range(0..=other.len());
                    let to = rng.random_range(from..=other.len());
                    input.splice(at..end, other[from..to].iter().copied());
                }
                3 => input.insert(at, rng.random()),
                4 if at < input.len() => input[at] ^= 1 << rng.random_range(0..8),
                _ => {
                    let word = DICTIONARY[rng.random_range(0..DICTIONARY.len())];
                    input.splice(at..at, word.bytes());
                }
            }
        }
        input.truncate(8_192);
        input
    }
}

/// The time per target, if `CHAT_FUZZ_SECONDS` is set.
fn time_limit() -> Option<Duration> {
    let seconds = std::env::var("CHAT_FUZZ_SECONDS").ok()?;
    Some(Duration::from_secs(seconds.parse().unwrap()))
}

#[expect(clippy::disallowed_methods, reason = "the time limit is real time")]
fn now() -> Instant {
    Instant::now()
}

/// Decodes a stream in chunks of `size` bytes.
fn decode_in_chunks(stream: &[u8], size: usize) -> Vec<Option<Vec<u8>>> {
    let mut decoder = Decoder::new(1_000);
    let mut found = Vec::new();
    for piece in stream.chunks(size) {
        decoder.buffer().extend_from_slice(piece);
        while let Some(object) = decoder.next_object() {
            found.push(object.ok().map(|bytes| bytes.to_vec()));
        }
        assert!(decoder.buffer().len() <= 1_000, "buffer exceeds the limit");
    }
    found
}

#[test]
fn frames_decode_or_fail_cleanly() {
    Fuzzer::new("stream").run(|stream| {
        let whole = decode_in_chunks(stream, usize::MAX);
        let whole: Vec<_> = whole.into_iter().flatten().collect();
        if stream.len() <= 1_000 {
            let pieces: Vec<_> = decode_in_chunks(stream, 3).into_iter().flatten().collect();
            assert_eq!(whole, pieces, "the chunk size changes the result");
        }
        for object in &whole {
            drop(Login::decode(object));
            if let (cid, Ok(request)) = Request::decode(object) {
                assert_eq!(Request::decode(&request.encode(cid.as_ref())), (cid, Ok(request)));
            }
            if let Ok(Some(event)) = Event::decode(object) {
                assert_eq!(Event::decode(&event.encode()).unwrap(), Some(event));
            }
        }
    });
}

#[test]
fn cleaned_text_is_safe() {
    Fuzzer::new("text").run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let clean = SafeText::clean(&text);
        assert_eq!(find_unsafe_char(clean.as_str()), None);
        assert_eq!(find_unsafe_char(&clean.one_line()), None);
        assert_eq!(SafeText::clean(clean.as_str()), clean, "cleaning is not idempotent");
        if let Ok(name) = text.parse::<Name>() {
            assert_eq!(find_unsafe_char(name.as_str()), None);
            assert_eq!(name.as_str().parse(), Ok(name.clone()));
            let id = UserId::new(&name, 7);
            assert_eq!(id.as_str().parse(), Ok(id.clone()));
            assert_eq!(id.name(), name.as_str());
        }
        drop(UserInput::parse(&text));
    });
}

#[test]
fn links_round_trip_or_are_refused() {
    Fuzzer::new("link").run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        match text.parse::<ServerLink>() {
            Ok(link) => {
                let shown = link.to_string();
                assert!(shown.bytes().all(|b| b.is_ascii_graphic()), "{shown:?}");
                assert_eq!(shown.parse(), Ok(link));
            }
            Err(error) => assert_eq!(find_unsafe_char(&error.to_string()), None),
        }
    });
}

#[test]
fn pin_files_parse_or_name_the_bad_line() {
    let (server, key) =
        ("new.example.org:1".parse().unwrap(), "SHA256:".to_owned() + &"A".repeat(43));
    let (key, since) = (key.parse().unwrap(), NaiveDate::from_ymd_opt(2026, 11, 22).unwrap());
    Fuzzer::new("pins").run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        match pins::parse(&text) {
            Ok(pins) => {
                let more = pins::parse(&pins::append(&text, &server, key, since)).unwrap();
                assert_eq!(more[..pins.len()], pins, "adding a pin changed another");
                assert_eq!((&more[pins.len()].server, more.len()), (&server, pins.len() + 1));
            }
            Err(error) => assert_eq!(find_unsafe_char(&error.to_string()), None),
        }
    });
}

#[test]
fn settings_parse_or_name_the_error() {
    Fuzzer::new("settings").run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Err(error) = text.parse::<Settings>() {
            assert_eq!(find_unsafe_char(&error.to_string()), None);
        }
    });
}
