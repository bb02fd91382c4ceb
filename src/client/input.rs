//! Parses what the user types: text, `@` recipients and dot-commands, as in the original client.
//!
//! Pure. Names after `@` are not resolved here (see `Session::resolve`). The full-screen client and the
//! line mode share this parser.

use thiserror::Error;

use crate::protocol::error::Refusal;
use crate::protocol::id::{IdError, MessageId};
use crate::protocol::limits;
use crate::protocol::text::SafeText;

/// A parsed input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserInput {
    /// `[@ID…] text`. If `to` is empty, the text goes to the selected recipients.
    Post {
        /// The recipients as typed, without the `@`.
        to: Vec<String>,
        /// The text.
        text: SafeText,
    },
    /// `.temp [SECONDS] [@ID…] text`
    Temporary {
        /// The lifetime.
        seconds: u32,
        /// The recipients as typed, without the `@`.
        to: Vec<String>,
        /// The text.
        text: SafeText,
    },
    /// `.reply ID text`
    Reply {
        /// The message replied to.
        to: MessageId,
        /// The text, which may be empty.
        text: SafeText,
    },
    /// `.delete ID`
    Delete(MessageId),
    /// `.search REGEX`
    Search(String),
    /// `.exit`
    Exit,
}

/// A dot-command, as shown by help and completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DotCommand {
    /// The command with its dot.
    pub name: &'static str,
    /// Its arguments, as shown in the help.
    pub arguments: &'static str,
    /// Its effect, as shown in the help.
    pub about: &'static str,
}

/// All dot-commands.
pub const DOT_COMMANDS: [DotCommand; 5] = [
    DotCommand {
        name: ".temp",
        arguments: "[SECONDS] [@ID…] text",
        about: "send a message that expires (after 10 seconds)",
    },
    DotCommand { name: ".reply", arguments: "MESSAGE_ID text", about: "reply to a message" },
    DotCommand { name: ".delete", arguments: "MESSAGE_ID", about: "delete your own message" },
    DotCommand { name: ".search", arguments: "REGEX", about: "search the conversation" },
    DotCommand { name: ".exit", arguments: "", about: "leave" },
];

/// Why an input is invalid. The texts are shown to the user.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CommandError {
    /// A dot and an unknown word.
    #[error("unknown command .{0} (a leading space sends it as text)")]
    UnknownCommand(String),
    /// A message ID is missing or invalid.
    #[error("{command} needs a message ID: {source}")]
    MessageId {
        /// The command.
        command: &'static str,
        /// The problem.
        source: IdError,
    },
    /// Text after `.exit`.
    #[error(".exit takes no text (a leading space sends it as text)")]
    ExitWithText,
    /// The text is blank.
    #[error("nothing to send: write a message after {0}")]
    Empty(&'static str),
    /// The server would refuse the message.
    #[error("{0}")]
    Invalid(#[from] Refusal),
}

impl UserInput {
    /// Parses an input. A space before a dot or an `@` makes it text.
    ///
    /// # Errors
    /// See [`CommandError`]. The caller should keep the input, so that the user can correct it.
    pub fn parse(typed: &str) -> Result<Self, CommandError> {
        let Some((name, rest)) = split_command(typed) else {
            let (to, text) = split_mentions(typed);
            let after = if to.is_empty() { "the prompt" } else { "the names" };
            return Ok(Self::Post { to, text: parse_content(text, after)? });
        };
        match name {
            "temp" => {
                let (seconds, rest) = split_seconds(rest)?;
                let (to, text) = split_mentions(rest);
                Ok(Self::Temporary { seconds, to, text: parse_content(text, ".temp")? })
            }
            "reply" => {
                let (id, text) = split_word(rest);
                let to = parse_message_id(".reply", id)?;
                let text = SafeText::clean(text.trim_start());
                Ok(Self::Reply { to, text })
            }
            "delete" => Ok(Self::Delete(parse_message_id(".delete", rest)?)),
            "search" => Ok(Self::Search(rest.trim().to_owned())),
            "exit" if rest.trim().is_empty() => Ok(Self::Exit),
            "exit" => Err(CommandError::ExitWithText),
            _ => Err(CommandError::UnknownCommand(SafeText::clean(name).one_line())),
        }
    }
}

/// Splits a text that starts with a dot and letters into the letters and the rest.
fn split_command(typed: &str) -> Option<(&str, &str)> {
    let rest = typed.strip_prefix('.')?;
    let (name, rest) = split_word(rest);
    let is_word = !name.is_empty() && name.chars().all(char::is_alphabetic);
    is_word.then_some((name, rest))
}

fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(char::is_whitespace).unwrap_or((text, ""))
}

/// Splits off the leading words that start with `@`.
fn split_mentions(text: &str) -> (Vec<String>, &str) {
    let mut to = Vec::new();
    let mut rest = text;
    loop {
        let (word, after) = match rest.split_once(char::is_whitespace) {
            Some((word, after)) => (word, after.trim_start()),
            None => (rest, ""),
        };
        match word.strip_prefix('@') {
            Some(name) if !name.is_empty() => to.push(name.trim_end_matches(',').to_owned()),
            Some(_) | None => return (to, rest),
        }
        rest = after;
    }
}

/// Splits off a leading number, if more text follows. Otherwise returns the default.
fn split_seconds(rest: &str) -> Result<(u32, &str), CommandError> {
    let (word, after) = split_word(rest);
    let is_number = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    if !is_number || after.trim().is_empty() {
        return Ok((limits::DEFAULT_TEMPORARY_SECONDS, rest.trim_start()));
    }
    match word.parse() {
        Ok(seconds) if (1..=limits::MAX_TEMPORARY_SECONDS).contains(&seconds) => {
            Ok((seconds, after.trim_start()))
        }
        Ok(_) | Err(_) => Err(Refusal::BadSeconds.into()),
    }
}

fn parse_message_id(command: &'static str, text: &str) -> Result<MessageId, CommandError> {
    text.trim().parse().map_err(|source| CommandError::MessageId { command, source })
}

/// Cleans the text of a message. `after` names what the text follows, for the error message.
///
/// # Errors
/// The text is blank or too long.
pub fn parse_content(text: &str, after: &'static str) -> Result<SafeText, CommandError> {
    let content = SafeText::clean(text);
    let characters = content.as_str().chars().count();
    if content.is_blank() {
        Err(CommandError::Empty(after))
    } else if characters > limits::CONTENT_CHARACTERS {
        Err(Refusal::ContentTooLong(characters).into())
    } else {
        Ok(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(to: &[&str], text: &str) -> UserInput {
        UserInput::Post {
            to: to.iter().map(|w| (*w).to_owned()).collect(),
            text: SafeText::clean(text),
        }
    }

    fn temporary(seconds: u32, to: &[&str], text: &str) -> UserInput {
        let to = to.iter().map(|w| (*w).to_owned()).collect();
        UserInput::Temporary { seconds, to, text: SafeText::clean(text) }
    }

    #[test]
    fn commands_mentions_and_text_parse() {
        let id = "235467".parse().unwrap();
        let cases = [
            ("hello there", post(&[], "hello there")),
            ("two\nlines", post(&[], "two\nlines")),
            ("...and so on", post(&[], "...and so on")),
            (".5 is half", post(&[], ".5 is half")),
            (" .exit is a command", post(&[], " .exit is a command")),
            ("mail me @ home", post(&[], "mail me @ home")),
            ("@Ann_1234 psst", post(&["Ann_1234"], "psst")),
            ("@Ann_1234, @Kim_9021 psst @both", post(&["Ann_1234", "Kim_9021"], "psst @both")),
            (".temp gone soon", temporary(10, &[], "gone soon")),
            (".temp 60 @Ann_1234 gone later", temporary(60, &["Ann_1234"], "gone later")),
            (".temp 42", temporary(10, &[], "42")),
            (".reply 235467 yes", UserInput::Reply { to: id, text: SafeText::clean("yes") }),
            (".delete 235467", UserInput::Delete(id)),
            (".search a+ b", UserInput::Search("a+ b".to_owned())),
            (".exit", UserInput::Exit),
            (".exit \n", UserInput::Exit),
        ];
        for (typed, parsed) in cases {
            assert_eq!(UserInput::parse(typed), Ok(parsed), "{typed:?}");
        }
    }

    #[test]
    fn invalid_input_names_the_problem() {
        let long = "x".repeat(limits::CONTENT_CHARACTERS + 1);
        for (typed, problem) in [
            (".dance", "unknown command .dance"),
            (".delete", ".delete needs a message ID"),
            (".exit\nand a draft", ".exit takes no text"),
            (".reply 12 hi", ".reply needs a message ID"),
            ("@Ann_1234", "nothing to send"),
            ("   ", "nothing to send"),
            (".temp", "nothing to send"),
            (".temp 99999999999 hi", "must last 1 to"),
            (long.as_str(), "4001 characters"),
        ] {
            let error = UserInput::parse(typed).unwrap_err().to_string();
            assert!(error.contains(problem), "{typed:?}: {error}");
        }
    }
}
