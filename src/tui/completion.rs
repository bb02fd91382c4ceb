//! Completion by Tab: users after `@`, commands after `.`, message IDs after `.reply` and `.delete`, and the
//! filters of a search.

use super::conversation::quote_text;
use super::editor::Editor;
use super::text::shorten;
use crate::client::input::DOT_COMMANDS;
use crate::client::state::Session;
use crate::client::state::search_input::SEARCH_FILTERS;
use crate::protocol::query::ContentKind;

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

impl Completion {
    /// Inserts the next proposal of an open completion, or the first one that `propose` returns for the text
    /// before the cursor. Returns whether there is one.
    pub fn advance(
        open: &mut Option<Self>,
        input: &mut Editor,
        propose: impl FnOnce(&str) -> Option<(Vec<Proposal>, usize)>,
    ) -> bool {
        let mut next = match open.take() {
            Some(open) => Self { selected: (open.selected + 1) % open.proposals.len(), ..open },
            None => match propose(input.before_cursor()) {
                Some((proposals, inserted_chars)) => {
                    Self { proposals, selected: 0, inserted_chars }
                }
                None => return false,
            },
        };
        let Some(proposal) = next.proposals.get(next.selected) else { return false };
        input.replace_before_cursor(next.inserted_chars, &proposal.text);
        next.inserted_chars = proposal.text.chars().count();
        *open = (next.proposals.len() > 1).then_some(next);
        true
    }
}

/// Returns the proposals for the last word of a search: a filter, or the value of one.
pub fn propose_filter(before_cursor: &str, chat: &Session) -> Option<(Vec<Proposal>, usize)> {
    let word = before_cursor.rsplit(char::is_whitespace).next().unwrap_or_default();
    let Some((filter, value)) = word.split_once(':') else {
        let matching = SEARCH_FILTERS.iter().filter(|(filter, _)| filter.starts_with(word));
        let proposal = |text: &str, description: &str| Proposal {
            text: text.to_owned(),
            description: description.to_owned(),
        };
        let proposals: Vec<_> =
            matching.map(|(filter, description)| proposal(filter, description)).collect();
        return (!proposals.is_empty()).then(|| (proposals, word.chars().count()));
    };
    let wanted = value.trim_start_matches('#').to_lowercase();
    let mut values: Vec<String> = match filter {
        "from" | "to" => vec!["me".to_owned()],
        "in" => {
            let rooms = chat.conversations().filter_map(|(audience, _)| audience.room());
            std::iter::once("everyone".to_owned()).chain(rooms.map(ToString::to_string)).collect()
        }
        "has" => ContentKind::ALL.map(|(_, name)| name.to_owned()).into(),
        "after" | "before" => ["1d", "7d", "30d", "365d"].map(str::to_owned).into(),
        _ => return None,
    };
    if matches!(filter, "from" | "to" | "in") {
        values.extend(chat.directory().users().map(ToString::to_string));
    }
    let is_match =
        |value: &String| value.trim_start_matches('#').to_lowercase().starts_with(&wanted);
    let proposals: Vec<Proposal> = values
        .into_iter()
        .filter(is_match)
        .take(MAX_PROPOSALS)
        .map(|value| Proposal { text: format!("{filter}:{value} "), description: String::new() })
        .collect();
    (!proposals.is_empty()).then(|| (proposals, word.chars().count()))
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
