//! The server's log, on standard error.
//!
//! Each event is one line. Field values may come from other machines (an address, a name in a certificate,
//! the text of an error), so they are quoted and escaped unless they are plain words.

use std::fmt::{self, Debug};
use std::io::IsTerminal;

use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::{FormatFields, MakeWriter};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::protocol::text::SafeText;

/// Installs the logger. `CHAT_LOG` sets the filter (`debug`, `chat::server=debug`, …); the default is `info`.
pub(super) fn init() {
    let filter = EnvFilter::try_from_env("CHAT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    subscriber(filter, std::io::stderr, std::io::stderr().is_terminal()).init();
}

fn subscriber<W>(filter: EnvFilter, writer: W, is_coloured: bool) -> impl tracing::Subscriber
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(is_coloured)
        .fmt_fields(field_formatter())
        .finish()
}

/// Formats the message of an event on one line, followed by its fields.
fn field_formatter() -> impl for<'w> FormatFields<'w> {
    debug_fn(|to: &mut Writer<'_>, field: &Field, value: &dyn Debug| {
        let value = format!("{value:?}");
        if field.name() == "message" {
            return write!(to, "{}", SafeText::clean(&value).one_line());
        }
        write!(to, " {}=", field.name())?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ".:-_/[]".contains(c);
        if value.chars().all(is_plain) {
            fmt::Write::write_str(to, &value)
        } else {
            write!(to, "{value:?}")
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn log_event_is_one_line_with_quoted_fields() {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = subscriber(EnvFilter::new("trace"), move || writer.clone(), false);
        let forged = "x\n2026-11-22T09:12:00Z  INFO chat: all is well\r\x1b[2J\u{9b}1m\u{202e}\u{2028}\0\" y=1";
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(error = %forged, ?forged, forged, session = 7, "words {forged}");
            tracing::info!(peer = %"[::1]:65432", "connected");
        });
        let log = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = log.split_inclusive('\n').collect();
        assert_eq!(lines.len(), 2, "{log:?}");
        for line in &lines {
            let line = line.trim_end_matches('\n');
            assert!(!line.contains(char::is_control), "{line:?}");
            assert_eq!(SafeText::clean(line).as_str(), line);
        }
        assert!(lines[0].contains(" session=7"), "{log}");
        assert_eq!(lines[0].matches(r#"="x\n"#).count(), 1, "a field is quoted: {log}");
        assert!(lines[1].ends_with("connected peer=[::1]:65432\n"), "{log}");
    }
}
