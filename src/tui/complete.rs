//! Completion by Tab: people after `@`, commands after `.`, message ids where a command wants one.

use super::conversation::quote_words;
use super::wrap::shorten;
use crate::client::line::DOT_COMMANDS;
use crate::client::state::Room;

/// How many proposals are made.
const PROPOSALS: usize = 6;

/// How much of a message is shown beside its id, in cells.
const PREVIEW: usize = 48;

/// The completion that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// What can be put in.
    pub proposals: Vec<Proposal>,
    /// Which of them stands in the text.
    pub chosen: usize,
    /// How many characters of the text it replaces next time.
    pub inserted: usize,
}

/// One thing that can be put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The word.
    pub word: String,
    /// What it is.
    pub about: String,
}

/// What could stand for the last word before the cursor, and how many characters that word has.
pub fn propose(before_cursor: &str, room: &Room) -> Option<(Vec<Proposal>, usize)> {
    let start = before_cursor.rfind(char::is_whitespace).map_or(0, |at| {
        at + before_cursor.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
    });
    let word = before_cursor.get(start..).unwrap_or_default();
    let head = before_cursor.get(..start).unwrap_or_default();
    let proposals = match (word.strip_prefix('@'), head.trim_end()) {
        (Some(name), _) => people(name, room),
        (None, "") if word.starts_with('.') => commands(word),
        (None, ".reply") => messages(word, room, false),
        (None, ".delete") => messages(word, room, true),
        (None, _) => Vec::new(),
    };
    (!proposals.is_empty()).then(|| (proposals, word.chars().count()))
}

fn people(name: &str, room: &Room) -> Vec<Proposal> {
    let wanted = name.to_lowercase();
    let fitting = room.people().iter().filter(|id| id.as_str().to_lowercase().starts_with(&wanted));
    let proposal = |word: String| Proposal { word, about: String::new() };
    fitting.take(PROPOSALS).map(|id| proposal(format!("@{id} "))).collect()
}

fn commands(word: &str) -> Vec<Proposal> {
    let fitting = DOT_COMMANDS.iter().filter(|command| command.name.starts_with(word));
    fitting
        .map(|command| Proposal {
            word: format!("{} ", command.name),
            about: format!("{}  {}", command.arguments, command.about),
        })
        .collect()
}

fn messages(digits: &str, room: &Room, own: bool) -> Vec<Proposal> {
    room.timeline()
        .newest_first()
        .filter(|message| !own || room.is_you(&message.sender))
        .filter(|message| message.id.to_string().starts_with(digits))
        .take(PROPOSALS)
        .map(|message| Proposal {
            word: format!("{} ", message.id),
            about: shorten(&quote_words(room, message.id), PREVIEW),
        })
        .collect()
}
