//! What to say to each kind of server, and what its bytes mean. Pure: bytes in, bytes out.

use super::mark::{Mark, find_byte};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Our protocol, with `protocol` 1 at login.
    Chat,
    /// IRC, in one room.
    Irc,
    /// NATS, one subject.
    Nats,
    /// Lines that go to everyone: the bare server.
    Lines,
}

/// How far a member goes before it is ready.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Logged in and nothing else. In IRC 10,000 members in one room would mean 50,000,000 announcements.
    Login,
    /// Logged in and in the room.
    Room,
}

pub(crate) enum Frame {
    /// The member is ready, and this is its address if the protocol has one.
    Ready(String),
    Message(Mark),
    /// The server expects these bytes.
    Answer(Vec<u8>),
    Refused(String),
    Other,
}

impl Dialect {
    /// Whether authors receive their own messages.
    pub(crate) fn echoes(self) -> bool {
        self != Self::Irc
    }

    /// The first bytes of a client.
    pub(crate) fn hello(self, name: &str) -> Vec<u8> {
        let text = match self {
            Self::Chat => {
                format!("{{\"action\":\"LOGIN\",\"protocol\":1,\"username\":\"{name}\"}}\n")
            }
            Self::Irc => format!("NICK {name}\r\nUSER {name} 0 * :{name}\r\n"),
            Self::Nats => "CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":true,\
                \"lang\":\"rust\",\"version\":\"0\",\"protocol\":1}\r\nSUB room 1\r\nPING\r\n"
                .to_owned(),
            Self::Lines => String::new(),
        };
        text.into_bytes()
    }

    /// Appends one message with a text of `bytes` bytes.
    pub(crate) fn message(self, mark: Mark, recipient: &str, bytes: usize, out: &mut Vec<u8>) {
        let (head, tail) = match self {
            Self::Chat => (
                format!(r#"{{"action":"MESSAGE","receiver":["{recipient}"],"content":""#),
                format!("\",\"cid\":\"{:x}-{:x}\"}}\n", mark.sender, mark.number),
            ),
            Self::Irc => ("PRIVMSG #room :".to_owned(), "\r\n".to_owned()),
            Self::Nats => (format!("PUB room {bytes}\r\n"), "\r\n".to_owned()),
            Self::Lines => (String::new(), "\n".to_owned()),
        };
        out.extend_from_slice(head.as_bytes());
        mark.write_text(bytes, out);
        out.extend_from_slice(tail.as_bytes());
    }

    /// The first frame and its length, or `None` if it is incomplete.
    pub(crate) fn next_frame(self, bytes: &[u8], entry: Entry) -> Option<(usize, Frame)> {
        let mut length = find_byte(bytes, b'\n')? + 1;
        let line = bytes[..length].trim_ascii_end();
        if self == Self::Nats && line.starts_with(b"MSG ") {
            // The text is a line of its own.
            length += find_byte(&bytes[length..], b'\n')? + 1;
        }
        // With 10,000 members, these have 100 KB each.
        if [r#"{"action":"ACTIVE_CLIENT""#, r#"{"action":"PRESENCE""#]
            .iter()
            .any(|list| line.starts_with(list.as_bytes()))
        {
            return Some((length, Frame::Other));
        }
        let frame = Mark::find(&bytes[..length]).map_or_else(
            || match self {
                Self::Chat => chat_frame(line),
                Self::Irc => irc_frame(line, entry),
                Self::Nats => nats_frame(line),
                Self::Lines => Frame::Ready(String::new()),
            },
            Frame::Message,
        );
        Some((length, frame))
    }
}

fn chat_frame(line: &[u8]) -> Frame {
    let text = String::from_utf8_lossy(line);
    if text.contains(r#""status":"SUCCESS""#) {
        let id = text.split_once(r#""user_id":""#).and_then(|(_, rest)| rest.split_once('"'));
        Frame::Ready(id.unwrap().0.to_owned())
    } else if ["ERROR", "FAILURE", "CLOSING"]
        .iter()
        .any(|word| text.contains(&format!(r#":"{word}""#)))
    {
        Frame::Refused(text.into_owned())
    } else {
        Frame::Other
    }
}

fn irc_frame(line: &[u8], entry: Entry) -> Frame {
    let text = String::from_utf8_lossy(line);
    if let Some(token) = text.strip_prefix("PING") {
        return Frame::Answer(format!("PONG{token}\r\n").into_bytes());
    }
    // `:server 001 name …`
    match text.split(' ').nth(1) {
        Some("001") if entry == Entry::Room => Frame::Answer(b"JOIN #room\r\n".to_vec()),
        Some("001" | "366") => Frame::Ready(String::new()),
        Some(code) if ["43", "46", "47"].iter().any(|kind| code.starts_with(kind)) => {
            Frame::Refused(text.into_owned())
        }
        _ if text.starts_with("ERROR") => Frame::Refused(text.into_owned()),
        _ => Frame::Other,
    }
}

fn nats_frame(line: &[u8]) -> Frame {
    match line {
        b"PING" => Frame::Answer(b"PONG\r\n".to_vec()),
        b"PONG" => Frame::Ready(String::new()),
        [b'-', ..] => Frame::Refused(String::from_utf8_lossy(line).into_owned()),
        _ => Frame::Other,
    }
}
