//! The text of `known_servers`: a line a server, `HOST:PORT SHA256:… DATE`, with the key that it had when
//! it was first met.
//!
//! Pure: the file is `trust`'s business. One line that makes no sense spoils the whole text: it may be
//! the one that would have kept an impostor out.

use chrono::NaiveDate;
use thiserror::Error;

use super::address::ServerAddress;
use crate::tls::fingerprint::Fingerprint;

/// A line: the key of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The server.
    pub server: ServerAddress,
    /// Its key.
    pub key: Fingerprint,
    /// The day on which it was first met.
    pub since: NaiveDate,
    /// The number of the line, from 1 up.
    pub line: usize,
}

/// A line that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PinLineError {
    /// Something else.
    #[error("line {line} is not HOST:PORT SHA256:… YEAR-MONTH-DAY: correct it, or remove it")]
    Malformed {
        /// Its number.
        line: usize,
    },
    /// Which of the two counts?
    #[error("line {line} is about the same server as line {first}: remove one of them")]
    Duplicate {
        /// Its number.
        line: usize,
        /// The number of the line before.
        first: usize,
    },
}

/// All pins in the text. Empty lines, and those that begin with `#`, say nothing.
///
/// # Errors
/// A line that says something else.
pub fn parse(text: &str) -> Result<Vec<Pin>, PinLineError> {
    let mut pins: Vec<Pin> = Vec::new();
    for (line, words) in (1..).zip(text.lines()) {
        if words.trim().is_empty() || words.starts_with('#') {
            continue;
        }
        let pin = parse_line(words, line).ok_or(PinLineError::Malformed { line })?;
        if let Some(first) = pins.iter().find(|first| first.server == pin.server) {
            return Err(PinLineError::Duplicate { line, first: first.line });
        }
        pins.push(pin);
    }
    Ok(pins)
}

fn parse_line(text: &str, line: usize) -> Option<Pin> {
    let mut words = text.split_ascii_whitespace();
    let pin = Pin {
        server: words.next()?.parse().ok()?,
        key: words.next()?.parse().ok()?,
        since: words.next()?.parse().ok()?,
        line,
    };
    words.next().is_none().then_some(pin)
}

/// The text with one more line.
pub fn append(text: &str, server: &ServerAddress, key: Fingerprint, since: NaiveDate) -> String {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{end}{server} {key} {since}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";

    #[test]
    fn appended_pin_is_parsed_and_the_rest_stays() {
        let server: ServerAddress = "Example.org:7000".parse().unwrap();
        let day = NaiveDate::from_ymd_opt(2026, 11, 22).unwrap();
        for before in ["", "# mine\n", "# mine"] {
            let text = append(before, &server, ONE.parse().unwrap(), day);
            assert!(text.starts_with(before), "{text:?}");
            assert!(text.ends_with(&format!("example.org:7000 {ONE} 2026-11-22\n")), "{text:?}");
            let line = text.lines().count();
            let pin = Pin { server: server.clone(), key: ONE.parse().unwrap(), since: day, line };
            assert_eq!(parse(&text), Ok(vec![pin]));
        }
    }

    #[test]
    fn malformed_line_rejects_the_file_and_is_named() {
        let good = format!("[::1]:7000 {ONE} 2026-11-22\n\n");
        for bad in [
            "example.org",
            &format!("example.org:7000 {ONE}"),
            &format!("example.org:7000 {ONE} yesterday"),
            &format!("example.org:7000 {ONE} 2026-11-22 more"),
            &format!("example.org:0 {ONE} 2026-11-22"),
            "example.org:7000 SHA256:short 2026-11-22",
            "\u{1b}]0;title\u{7}",
        ] {
            let text = format!("{good}{bad}\n");
            assert_eq!(parse(&text), Err(PinLineError::Malformed { line: 3 }), "{bad:?}");
        }
        let twice = format!("{good}{good}");
        assert_eq!(parse(&twice), Err(PinLineError::Duplicate { line: 3, first: 1 }));
    }
}
