//! Completion by Tab: users after `@`, commands after `.`, message IDs after `.reply` and `.delete`.

use super::conversation::quote_text;
use super::text::shorten;
use crate::client::input::DOT_COMMANDS;
use crate::client::state::Session;

/// Maximum number of proposals.
const MAX_PROPOSALS: usize = 6;

/// Width of the preview of a message beside its ID, in cells.
const PREVIEW_WIDTH: usize = 48;

/// An open completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// What can be inserted.
    pub proposals: Vec<Proposal>,
    /// The index of the proposal that is inserted in the text.
    pub selected: usize,
    /// Characters of the inserted proposal, which the next one replaces.
    pub inserted_chars: usize,
}

/// A text that can be inserted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The text to insert, with a space after it.
    pub text: String,
    /// Shown beside the text.
    pub description: String,
}

/// Returns the proposals for the last word before the cursor, and the number of characters of that word.
/// `None` if there are no proposals.
pub fn propose(before_cursor: &str, chat: &Session) -> Option<(Vec<Proposal>, usize)> {
    let start = before_cursor.rfind(char::is_whitespace).map_or(0, |at| {
        at + before_cursor.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
    });
    let word = before_cursor.get(start..).unwrap_or_default();
    let head = before_cursor.get(..start).unwrap_or_default();
    let proposals = match (word.strip_prefix('@'), head.trim_end()) {
        (Some(name), _) => users(name, chat),
        (None, "") if word.starts_with('.') => commands(word),
        (None, ".reply") => messages(word, chat, false),
        (None, ".delete") => messages(word, chat, true),
        (None, _) => Vec::new(),
    };
    (!proposals.is_empty()).then(|| (proposals, word.chars().count()))
}

fn users(name: &str, chat: &Session) -> Vec<Proposal> {
    let prefix = name.to_lowercase();
    let matching =
        chat.directory().users().filter(|id| id.as_str().to_lowercase().starts_with(&prefix));
    let proposal = |text: String| Proposal { text, description: String::new() };
    matching.take(MAX_PROPOSALS).map(|id| proposal(format!("@{id} "))).collect()
}

fn commands(word: &str) -> Vec<Proposal> {
    let matching = DOT_COMMANDS.iter().filter(|command| command.name.starts_with(word));
    matching
        .map(|command| Proposal {
            text: format!("{} ", command.name),
            description: format!("{}  {}", command.arguments, command.about),
        })
        .collect()
}

fn messages(digits: &str, chat: &Session, own: bool) -> Vec<Proposal> {
    chat.opened()
        .timeline()
        .newest_first()
        .filter(|message| !own || chat.is_own_id(&message.sender))
        .filter(|message| message.id.to_string().starts_with(digits))
        .take(MAX_PROPOSALS)
        .map(|message| Proposal {
            text: format!("{} ", message.id),
            description: shorten(&quote_text(chat, message.id), PREVIEW_WIDTH),
        })
        .collect()
}
