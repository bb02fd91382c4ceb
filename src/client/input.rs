//! Parses what the user types: text, `@` recipients and dot-commands, as in the original client.
//!
//! Pure. Names after `@` are not resolved here (see `Session::resolve`), and `Session::execute` turns a
//! [`ChatCommand`] into requests. The full-screen client and the line mode share this parser.

use std::time::Duration;

use thiserror::Error;

use super::duration;
use crate::protocol::error::Refusal;
use crate::protocol::id::{IdError, MessageId, RoomName};
use crate::protocol::limits;
use crate::protocol::reaction::{Emoji, EmojiError};
use crate::protocol::room::{NotifyLevel, SharedHistory};
use crate::protocol::text::SafeText;

/// A parsed input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserInput {
    /// `[@ID…] text`. If `to` is empty, the text goes to the open conversation.
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
    /// A command that changes a message, a room or a setting on the server.
    Change(ChatCommand),
    /// `.to #ROOM|@ID…|everyone`: opens a conversation.
    Open(Destination),
    /// `.search [REGEX]`; empty for the older matches of the last search.
    Search(String),
    /// `.thread ID`
    Thread(MessageId),
    /// `.pins`
    Pins,
    /// `.unread`
    Unread,
    /// `.quiet`, or `.quiet off`: whether to hide who joins and leaves.
    Quiet(bool),
    /// `.rooms`
    Rooms,
    /// `.people`
    People,
    /// `.help`
    Help,
    /// `.exit`
    Exit,
}

/// A command that changes a message, a room or a setting on the server. Names of users are as typed, without
/// the `@`. Commands without a room are about the open conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatCommand {
    /// `.edit ID text`
    Edit {
        /// The message.
        id: MessageId,
        /// Its new text.
        text: SafeText,
    },
    /// `.react ID EMOJI`, or `.react ID -EMOJI` to remove the reaction.
    React {
        /// The message.
        id: MessageId,
        /// The reaction.
        emoji: Emoji,
        /// Whether it is added.
        on: bool,
    },
    /// `.pin ID` and `.unpin ID`
    Pin {
        /// The message.
        id: MessageId,
        /// Whether it is pinned.
        on: bool,
    },
    /// `.room #ROOM [private] [TOPIC]`
    Create {
        /// The room.
        room: RoomName,
        /// Whether members have to be added.
        private: bool,
        /// The topic; may be empty.
        topic: SafeText,
    },
    /// `.join #ROOM`
    Join(RoomName),
    /// `.leave [#ROOM]`
    Leave(Option<RoomName>),
    /// `.add @ID… [all]`
    Add {
        /// The users.
        users: Vec<String>,
        /// Which earlier messages of a private room they may see.
        history: SharedHistory,
    },
    /// `.remove @ID…`
    Remove(Vec<String>),
    /// `.topic TEXT`, or `.topic -` to remove the topic.
    Topic(SafeText),
    /// `.archive [off]`
    Archive(bool),
    /// `.mute [TIME]`; without a time until `.unmute`.
    Mute(Option<Duration>),
    /// `.unmute`
    Unmute,
    /// `.notify all|mentions|none`
    Notify(NotifyLevel),
}

/// A conversation, as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// `everyone`
    Everyone,
    /// `#ROOM`
    Room(RoomName),
    /// `@ID…`: the users as typed, without the `@`.
    Users(Vec<String>),
}

/// A dot-command. This table is the source of the parser, the help, the completion and the README.
#[derive(Debug, Clone, Copy)]
pub struct DotCommand {
    /// The command with its dot.
    pub name: &'static str,
    /// Its arguments, as shown in the help.
    pub arguments: &'static str,
    /// Its effect, as shown in the help.
    pub about: &'static str,
    /// Parses its arguments.
    parse: fn(&Self, &str) -> Result<UserInput, CommandError>,
}

/// All dot-commands.
pub static DOT_COMMANDS: [DotCommand; 27] = [
    DotCommand {
        name: ".to",
        arguments: "#ROOM, @ID… or everyone",
        about: "open a conversation: text goes there from now on",
        parse: |command, rest| Ok(UserInput::Open(command.destination(rest)?)),
    },
    DotCommand {
        name: ".temp",
        arguments: "[SECONDS] [@ID…] text",
        about: "send a message that expires (after 10 seconds)",
        parse: parse_temporary,
    },
    DotCommand {
        name: ".reply",
        arguments: "MESSAGE_ID text",
        about: "reply to a message",
        parse: |command, rest| {
            let (to, text) = command.message_id_and_text(rest)?;
            Ok(UserInput::Reply { to, text: SafeText::clean(text) })
        },
    },
    DotCommand {
        name: ".edit",
        arguments: "MESSAGE_ID text",
        about: "replace the text of your own message",
        parse: |command, rest| {
            let (id, text) = command.message_id_and_text(rest)?;
            Ok(ChatCommand::Edit { id, text: parse_content(text, ".edit MESSAGE_ID")? }.into())
        },
    },
    DotCommand {
        name: ".delete",
        arguments: "MESSAGE_ID",
        about: "delete your own message",
        parse: |command, rest| Ok(UserInput::Delete(command.message_id(rest)?)),
    },
    DotCommand {
        name: ".react",
        arguments: "MESSAGE_ID EMOJI",
        about: "react with an emoji or its name, such as `+1` (`-+1` removes it)",
        parse: |command, rest| {
            let (id, text) = command.message_id_and_text(rest)?;
            let (emoji, on) = parse_reaction(text)
                .map_err(|source| CommandError::Emoji { command: command.name, source })?;
            Ok(ChatCommand::React { id, emoji, on }.into())
        },
    },
    DotCommand {
        name: ".pin",
        arguments: "MESSAGE_ID",
        about: "pin a message in its conversation",
        parse: |command, rest| {
            Ok(ChatCommand::Pin { id: command.message_id(rest)?, on: true }.into())
        },
    },
    DotCommand {
        name: ".unpin",
        arguments: "MESSAGE_ID",
        about: "remove a pin",
        parse: |command, rest| {
            Ok(ChatCommand::Pin { id: command.message_id(rest)?, on: false }.into())
        },
    },
    DotCommand {
        name: ".search",
        arguments: "[REGEX]",
        about: "search all conversations (`in:#ops` searches one); alone: older matches",
        parse: |_, rest| Ok(UserInput::Search(rest.trim().to_owned())),
    },
    DotCommand {
        name: ".thread",
        arguments: "MESSAGE_ID",
        about: "show a message and the replies to it",
        parse: |command, rest| Ok(UserInput::Thread(command.message_id(rest)?)),
    },
    DotCommand {
        name: ".pins",
        arguments: "",
        about: "show the pinned messages",
        parse: |command, rest| command.without_arguments(rest, UserInput::Pins),
    },
    DotCommand {
        name: ".unread",
        arguments: "",
        about: "show what you have missed",
        parse: |command, rest| command.without_arguments(rest, UserInput::Unread),
    },
    DotCommand {
        name: ".quiet",
        arguments: "[off]",
        about: "hide who joins and leaves, or show it again",
        parse: |command, rest| Ok(UserInput::Quiet(command.switch(rest)?)),
    },
    DotCommand {
        name: ".room",
        arguments: "#ROOM [private] [TOPIC]",
        about: "create a room; in a direct conversation a private one with the same people",
        parse: |command, rest| {
            let (room, rest) = command.room(rest)?;
            let (word, after) = split_word(rest);
            let private = word == "private";
            let topic = parse_topic(if private { after } else { rest })?;
            Ok(ChatCommand::Create { room, private, topic }.into())
        },
    },
    DotCommand {
        name: ".join",
        arguments: "#ROOM",
        about: "join a public room",
        parse: |command, rest| {
            let (room, rest) = command.room(rest)?;
            command.without_arguments(rest, ChatCommand::Join(room).into())
        },
    },
    DotCommand {
        name: ".leave",
        arguments: "[#ROOM]",
        about: "leave a room",
        parse: |command, rest| {
            if rest.trim().is_empty() {
                return Ok(ChatCommand::Leave(None).into());
            }
            let (room, rest) = command.room(rest)?;
            command.without_arguments(rest, ChatCommand::Leave(Some(room)).into())
        },
    },
    DotCommand {
        name: ".add",
        arguments: "@ID… [all]",
        about: "add users to the room; with `all` they see the earlier messages of a private room",
        parse: parse_add,
    },
    DotCommand {
        name: ".remove",
        arguments: "@ID…",
        about: "remove members from your room",
        parse: |command, rest| Ok(ChatCommand::Remove(command.users(rest)?).into()),
    },
    DotCommand {
        name: ".topic",
        arguments: "TEXT",
        about: "set the topic of your room (`-` removes it)",
        parse: |command, rest| match rest.trim() {
            "" => Err(command.usage()),
            "-" => Ok(ChatCommand::Topic(SafeText::default()).into()),
            topic => Ok(ChatCommand::Topic(parse_topic(topic)?).into()),
        },
    },
    DotCommand {
        name: ".archive",
        arguments: "[off]",
        about: "make your room read-only, or writable again",
        parse: |command, rest| Ok(ChatCommand::Archive(command.switch(rest)?).into()),
    },
    DotCommand {
        name: ".mute",
        arguments: "[TIME]",
        about: "silence the conversation, as in `.mute 2h`; without a time until `.unmute`",
        parse: |command, rest| match (rest.trim(), duration::parse(rest.trim())) {
            ("", _) => Ok(ChatCommand::Mute(None).into()),
            (_, Some(time)) => Ok(ChatCommand::Mute(Some(time)).into()),
            (_, None) => Err(command.usage()),
        },
    },
    DotCommand {
        name: ".unmute",
        arguments: "",
        about: "end `.mute`",
        parse: |command, rest| command.without_arguments(rest, ChatCommand::Unmute.into()),
    },
    DotCommand {
        name: ".notify",
        arguments: "all, mentions or none",
        about: "choose which messages of the conversation ring",
        parse: |command, rest| {
            let level = match rest.trim() {
                "all" => NotifyLevel::All,
                "mentions" => NotifyLevel::Mentions,
                "none" => NotifyLevel::None,
                _ => return Err(command.usage()),
            };
            Ok(ChatCommand::Notify(level).into())
        },
    },
    DotCommand {
        name: ".rooms",
        arguments: "",
        about: "list your conversations and the public rooms",
        parse: |command, rest| command.without_arguments(rest, UserInput::Rooms),
    },
    DotCommand {
        name: ".people",
        arguments: "",
        about: "list the people of the conversation",
        parse: |command, rest| command.without_arguments(rest, UserInput::People),
    },
    DotCommand {
        name: ".help",
        arguments: "",
        about: "list the commands",
        parse: |command, rest| command.without_arguments(rest, UserInput::Help),
    },
    DotCommand {
        name: ".exit",
        arguments: "",
        about: "quit",
        parse: |command, rest| command.without_arguments(rest, UserInput::Exit),
    },
];

/// Why an input is invalid. The texts are shown to the user.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CommandError {
    /// A dot or slash and an unknown word.
    #[error("unknown command {0} (.help lists all; a leading space sends it as text)")]
    UnknownCommand(String),
    /// A message ID is missing or invalid.
    #[error("{command} needs a message ID: {source}")]
    MessageId {
        /// The command.
        command: &'static str,
        /// The problem.
        source: IdError,
    },
    /// The name of a room is missing or invalid.
    #[error("{command} needs a room: {source}")]
    Room {
        /// The command.
        command: &'static str,
        /// The problem.
        source: IdError,
    },
    /// The emoji is missing or unknown.
    #[error("{command} needs an emoji: {source}")]
    Emoji {
        /// The command.
        command: &'static str,
        /// The problem.
        source: EmojiError,
    },
    /// Arguments are missing or invalid.
    #[error("usage: {command} {arguments}")]
    Usage {
        /// The command.
        command: &'static str,
        /// Its arguments.
        arguments: &'static str,
    },
    /// Text after a command that takes none.
    #[error("{0} takes no text (a leading space sends it as text)")]
    NoArguments(&'static str),
    /// The text is blank.
    #[error("nothing to send: write a message after {0}")]
    Empty(&'static str),
    /// The topic is too long.
    #[error("the topic has {0} characters, the maximum is {max}", max = limits::TOPIC_CHARACTERS)]
    TopicTooLong(usize),
    /// The server would refuse the message.
    #[error("{0}")]
    Invalid(#[from] Refusal),
}

impl UserInput {
    /// Parses an input. A space before a dot, a slash or an `@` makes it text.
    ///
    /// # Errors
    /// See [`CommandError`]. The caller should keep the input, so that the user can correct it.
    pub fn parse(typed: &str) -> Result<Self, CommandError> {
        let Some((name, rest)) = split_command(typed) else {
            let (to, text) = split_mentions(typed);
            let after = if to.is_empty() { "the prompt" } else { "the names" };
            return Ok(Self::Post { to, text: parse_content(text, after)? });
        };
        let known =
            DOT_COMMANDS.iter().find(|command| command.name.strip_prefix('.') == Some(name));
        let unknown =
            || CommandError::UnknownCommand(SafeText::clean(split_word(typed).0).one_line());
        let command = known.ok_or_else(unknown)?;
        (command.parse)(command, rest)
    }
}

impl From<ChatCommand> for UserInput {
    fn from(command: ChatCommand) -> Self {
        Self::Change(command)
    }
}

/// The arguments of commands.
impl DotCommand {
    fn usage(&self) -> CommandError {
        CommandError::Usage { command: self.name, arguments: self.arguments }
    }

    fn without_arguments(&self, rest: &str, input: UserInput) -> Result<UserInput, CommandError> {
        if rest.trim().is_empty() { Ok(input) } else { Err(CommandError::NoArguments(self.name)) }
    }

    /// Nothing turns it on, `off` turns it off.
    fn switch(&self, rest: &str) -> Result<bool, CommandError> {
        match rest.trim() {
            "" => Ok(true),
            "off" => Ok(false),
            _ => Err(self.usage()),
        }
    }

    fn message_id(&self, text: &str) -> Result<MessageId, CommandError> {
        let command = self.name;
        text.trim().parse().map_err(|source| CommandError::MessageId { command, source })
    }

    fn message_id_and_text<'a>(&self, rest: &'a str) -> Result<(MessageId, &'a str), CommandError> {
        let (id, text) = split_word(rest);
        Ok((self.message_id(id)?, text.trim_start()))
    }

    fn room<'a>(&self, rest: &'a str) -> Result<(RoomName, &'a str), CommandError> {
        let (word, rest) = split_word(rest);
        let room = RoomName::from_input(word);
        let command = self.name;
        Ok((room.map_err(|source| CommandError::Room { command, source })?, rest))
    }

    fn users(&self, rest: &str) -> Result<Vec<String>, CommandError> {
        let users: Vec<String> = rest.split_whitespace().map(user_name).collect();
        let is_valid = !users.is_empty() && users.iter().all(|user| !user.is_empty());
        if is_valid { Ok(users) } else { Err(self.usage()) }
    }

    fn destination(&self, rest: &str) -> Result<Destination, CommandError> {
        match rest.trim() {
            everyone if everyone.eq_ignore_ascii_case("everyone") => Ok(Destination::Everyone),
            room if room.starts_with('#') => match self.room(room)? {
                (room, "") => Ok(Destination::Room(room)),
                (_, _) => Err(self.usage()),
            },
            users => Ok(Destination::Users(self.users(users)?)),
        }
    }
}

/// Parses an emoji, and whether it is added: a `-` before it removes the reaction. `-1` is the name of an emoji
/// too, so `--1` removes that one.
///
/// # Errors
/// There is no such emoji.
pub fn parse_reaction(text: &str) -> Result<(Emoji, bool), EmojiError> {
    let removed = |error| match text.trim().strip_prefix('-').map(Emoji::from_input) {
        Some(Ok(emoji)) => Ok((emoji, false)),
        Some(Err(_)) | None => Err(error),
    };
    Emoji::from_input(text).map(|emoji| (emoji, true)).or_else(removed)
}

fn parse_temporary(_: &DotCommand, rest: &str) -> Result<UserInput, CommandError> {
    let (seconds, rest) = split_seconds(rest)?;
    let (to, text) = split_mentions(rest);
    Ok(UserInput::Temporary { seconds, to, text: parse_content(text, ".temp")? })
}

fn parse_add(command: &DotCommand, rest: &str) -> Result<UserInput, CommandError> {
    let mut users = command.users(rest)?;
    let history = match users.last().map(String::as_str) {
        Some("all") => SharedHistory::All,
        Some(_) | None => SharedHistory::Now,
    };
    users.truncate(users.len() - usize::from(history == SharedHistory::All));
    if users.is_empty() {
        return Err(command.usage());
    }
    Ok(ChatCommand::Add { users, history }.into())
}

/// Splits a text that starts with a dot or a slash and letters into the letters and the rest.
fn split_command(typed: &str) -> Option<(&str, &str)> {
    let rest = typed.strip_prefix(['.', '/'])?;
    let (name, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let is_word = !name.is_empty() && name.chars().all(char::is_alphabetic);
    is_word.then_some((name, rest))
}

fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(char::is_whitespace).unwrap_or((text, ""))
}

/// A user as typed: the `@` and a comma after the name are optional.
fn user_name(word: &str) -> String {
    word.strip_prefix('@').unwrap_or(word).trim_end_matches(',').to_owned()
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
            Some(name) if !name.is_empty() => to.push(user_name(word)),
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

fn parse_topic(text: &str) -> Result<SafeText, CommandError> {
    let topic = SafeText::clean(&SafeText::clean(text.trim()).one_line());
    let characters = topic.as_str().chars().count();
    if characters > limits::TOPIC_CHARACTERS {
        return Err(CommandError::TopicTooLong(characters));
    }
    Ok(topic)
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

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn commands_mentions_and_text_parse() {
        let id = "235467".parse().unwrap();
        let cases = [
            ("hello there", post(&[], "hello there")),
            ("two\nlines", post(&[], "two\nlines")),
            ("...and so on", post(&[], "...and so on")),
            (".5 is half", post(&[], ".5 is half")),
            ("/usr/bin/env is a path", post(&[], "/usr/bin/env is a path")),
            ("/ and . are text", post(&[], "/ and . are text")),
            (" .exit is a command", post(&[], " .exit is a command")),
            (" /msg is not", post(&[], " /msg is not")),
            ("mail me @ home", post(&[], "mail me @ home")),
            ("@Ann_1234 psst", post(&["Ann_1234"], "psst")),
            ("@Ann_1234, @Kim_9021 psst @both", post(&["Ann_1234", "Kim_9021"], "psst @both")),
            (".temp gone soon", temporary(10, &[], "gone soon")),
            (".temp 60 @Ann_1234 gone later", temporary(60, &["Ann_1234"], "gone later")),
            (".temp 42", temporary(10, &[], "42")),
            (".reply 235467 yes", UserInput::Reply { to: id, text: SafeText::clean("yes") }),
            (".reply 235467", UserInput::Reply { to: id, text: SafeText::default() }),
            (".delete 235467", UserInput::Delete(id)),
            (".search a+ b", UserInput::Search("a+ b".to_owned())),
            ("/unread", UserInput::Unread),
            (".quiet", UserInput::Quiet(true)),
            (".quiet off", UserInput::Quiet(false)),
            (".thread 235467", UserInput::Thread(id)),
            (".pins", UserInput::Pins),
            (".rooms", UserInput::Rooms),
            (".people ", UserInput::People),
            ("/help", UserInput::Help),
            (".exit", UserInput::Exit),
            (".exit \n", UserInput::Exit),
            ("/exit", UserInput::Exit),
        ];
        for (typed, parsed) in cases {
            assert_eq!(UserInput::parse(typed), Ok(parsed), "{typed:?}");
        }
    }

    #[test]
    fn destinations_parse() {
        for (typed, destination) in [
            (".to everyone", Destination::Everyone),
            (".to Everyone", Destination::Everyone),
            (".to #Ops", Destination::Room("#ops".parse().unwrap())),
            (".to @Kim", Destination::Users(strings(&["Kim"]))),
            ("/to @Kim_9021, Ann", Destination::Users(strings(&["Kim_9021", "Ann"]))),
        ] {
            assert_eq!(UserInput::parse(typed), Ok(UserInput::Open(destination)), "{typed:?}");
        }
    }

    #[test]
    fn changes_parse() {
        let id = "235467".parse().unwrap();
        let ops: RoomName = "#ops".parse().unwrap();
        let create = |private, topic: &str| ChatCommand::Create {
            room: "#ops".parse().unwrap(),
            private,
            topic: SafeText::clean(topic),
        };
        let react =
            |emoji, on| ChatCommand::React { id, emoji: Emoji::from_input(emoji).unwrap(), on };
        let add = |users, history| ChatCommand::Add { users: strings(users), history };
        let two_hours = Duration::from_hours(2);
        let cases = [
            (
                ".edit 235467 typo fixed",
                ChatCommand::Edit { id, text: SafeText::clean("typo fixed") },
            ),
            (".react 235467 👍", react("👍", true)),
            (".react 235467 :tada:", react("🎉", true)),
            (".react 235467 -👍", react("👍", false)),
            (".react 235467 - +1", react("👍", false)),
            (".react 235467 -1", react("👎", true)),
            (".react 235467 --1", react("👎", false)),
            (".pin 235467", ChatCommand::Pin { id, on: true }),
            (".unpin 235467", ChatCommand::Pin { id, on: false }),
            (".room #ops", create(false, "")),
            (".room Ops release 2.4", create(false, "release 2.4")),
            ("/room #ops private", create(true, "")),
            (".room #ops private on-call\nonly", create(true, "on-call only")),
            (".room #ops privately", create(false, "privately")),
            (".join #ops", ChatCommand::Join(ops.clone())),
            (".leave", ChatCommand::Leave(None)),
            (".leave #ops", ChatCommand::Leave(Some(ops))),
            (".add @Kim", add(&["Kim"], SharedHistory::Now)),
            (".add @Kim Lou_0334 all", add(&["Kim", "Lou_0334"], SharedHistory::All)),
            (".remove @Kim, @Lou", ChatCommand::Remove(strings(&["Kim", "Lou"]))),
            (".topic release 2.4", ChatCommand::Topic(SafeText::clean("release 2.4"))),
            (".topic -", ChatCommand::Topic(SafeText::default())),
            (".archive", ChatCommand::Archive(true)),
            (".archive off", ChatCommand::Archive(false)),
            (".mute", ChatCommand::Mute(None)),
            (".mute 2h", ChatCommand::Mute(Some(two_hours))),
            (".unmute", ChatCommand::Unmute),
            (".notify none", ChatCommand::Notify(NotifyLevel::None)),
        ];
        for (typed, command) in cases {
            assert_eq!(UserInput::parse(typed), Ok(command.into()), "{typed:?}");
        }
    }

    #[test]
    fn invalid_input_names_the_problem() {
        let long = "x".repeat(limits::CONTENT_CHARACTERS + 1);
        let long_topic = format!(".topic {}", "x".repeat(limits::TOPIC_CHARACTERS + 1));
        for (typed, problem) in [
            (".dance", "unknown command .dance"),
            ("/msg Kim hello", "unknown command /msg"),
            (".delete", ".delete needs a message ID"),
            (".exit\nand a draft", ".exit takes no text"),
            (".reply 12 hi", ".reply needs a message ID"),
            (".edit 235467", "nothing to send"),
            (".react 235467", ".react needs an emoji"),
            (".react 235467 -xyzzy", ".react needs an emoji"),
            (".room", ".room needs a room"),
            (".join #a b", ".join takes no text"),
            (".to", "usage: .to #ROOM"),
            (".to #ops @Kim", "usage: .to #ROOM"),
            (".to @", "usage: .to #ROOM"),
            (".add all", "usage: .add @ID"),
            (".topic", "usage: .topic TEXT"),
            (".mute long", "usage: .mute [TIME]"),
            (".notify loud", "usage: .notify all"),
            (".archive on", "usage: .archive [off]"),
            (long_topic.as_str(), "the topic has 201 characters"),
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

    #[test]
    fn every_command_of_the_table_is_known_to_the_parser() {
        for command in &DOT_COMMANDS {
            let slash = command.name.replace('.', "/");
            for typed in [command.name, &slash] {
                let parsed = UserInput::parse(typed);
                assert!(!matches!(parsed, Err(CommandError::UnknownCommand(_))), "{typed}");
            }
        }
    }
}
