//! The text format of `known_servers`: one pinned key per line, as `HOST:PORT SHA256:… DATE`.
//!
//! Pure: `known_servers` does the file access. One invalid line makes the whole text invalid, because it
//! may be the pin that would expose an impostor.

use chrono::NaiveDate;
use thiserror::Error;

use super::address::ServerAddress;
use crate::tls::fingerprint::Fingerprint;

/// The pinned key of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The server's address.
    pub server: ServerAddress,
    /// The fingerprint of its key.
    pub key: Fingerprint,
    /// The date of the first contact.
    pub since: NaiveDate,
    /// The line number, starting at 1.
    pub line: usize,
}

/// An invalid line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PinLineError {
    /// The line does not have the expected form.
    #[error("line {line} is not HOST:PORT SHA256:… YEAR-MONTH-DAY (correct or remove it)")]
    Malformed {
        /// The line number.
        line: usize,
    },
    /// Two lines pin the same server.
    #[error("lines {first} and {line} are for the same server (remove one of them)")]
    Duplicate {
        /// The number of the second line.
        line: usize,
        /// The number of the first line.
        first: usize,
    },
}

/// Parses all pins. Empty lines and lines that start with `#` are skipped.
///
/// # Errors
/// The first invalid line.
pub fn parse(text: &str) -> Result<Vec<Pin>, PinLineError> {
    let mut pins: Vec<Pin> = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        if content.trim().is_empty() || content.starts_with('#') {
            continue;
        }
        let pin = parse_line(content, line).ok_or(PinLineError::Malformed { line })?;
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

/// Returns the text with a pin appended.
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
