//! Completion by Tab: people after `@`, commands after `.`, message ids where a command wants one.

use super::conversation::quote_text;
use super::wrap::shorten;
use crate::client::input::DOT_COMMANDS;
use crate::client::state::ChatState;

/// How many proposals are made.
const MAX_PROPOSALS: usize = 6;

/// How much of a message is shown beside its id, in cells.
const PREVIEW_WIDTH: usize = 48;

/// The completion that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// What can be put in.
    pub proposals: Vec<Proposal>,
    /// Which of them stands in the text.
    pub selected: usize,
    /// How many characters of the text it replaces next time.
    pub inserted_chars: usize,
}

/// One thing that can be put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The word.
    pub word: String,
    /// What it is.
    pub description: String,
}

/// What could stand for the last word before the cursor, and how many characters that word has.
pub fn propose(before_cursor: &str, chat: &ChatState) -> Option<(Vec<Proposal>, usize)> {
    let start = before_cursor.rfind(char::is_whitespace).map_or(0, |at| {
        at + before_cursor.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
    });
    let word = before_cursor.get(start..).unwrap_or_default();
    let head = before_cursor.get(..start).unwrap_or_default();
    let proposals = match (word.strip_prefix('@'), head.trim_end()) {
        (Some(name), _) => people(name, chat),
        (None, "") if word.starts_with('.') => commands(word),
        (None, ".reply") => messages(word, chat, false),
        (None, ".delete") => messages(word, chat, true),
        (None, _) => Vec::new(),
    };
    (!proposals.is_empty()).then(|| (proposals, word.chars().count()))
}

fn people(name: &str, chat: &ChatState) -> Vec<Proposal> {
    let prefix = name.to_lowercase();
    let matching =
        chat.online_users().iter().filter(|id| id.as_str().to_lowercase().starts_with(&prefix));
    let proposal = |word: String| Proposal { word, description: String::new() };
    matching.take(MAX_PROPOSALS).map(|id| proposal(format!("@{id} "))).collect()
}

fn commands(word: &str) -> Vec<Proposal> {
    let matching = DOT_COMMANDS.iter().filter(|command| command.name.starts_with(word));
    matching
        .map(|command| Proposal {
            word: format!("{} ", command.name),
            description: format!("{}  {}", command.arguments, command.about),
        })
        .collect()
}

fn messages(digits: &str, chat: &ChatState, own: bool) -> Vec<Proposal> {
    chat.timeline()
        .newest_first()
        .filter(|message| !own || chat.is_own_id(&message.sender))
        .filter(|message| message.id.to_string().starts_with(digits))
        .take(MAX_PROPOSALS)
        .map(|message| Proposal {
            word: format!("{} ", message.id),
            description: shorten(&quote_text(chat, message.id), PREVIEW_WIDTH),
        })
        .collect()
}
