//! Parses what the user types into the search: filters and a regular expression, as in
//! `from:ann after:7d deploy(ed)?`.
//!
//! Pure. `search` and the server do the searching.

use chrono::{DateTime, FixedOffset, NaiveDate, TimeDelta};

use super::{ResolveError, Session};
use crate::client::duration;
use crate::protocol::id::{RoomName, UserId};
use crate::protocol::message::{Audience, Message, Millis};
use crate::protocol::query::{ContentKind, SearchQuery};
use crate::protocol::text::SafeText;

/// The filters, each with a description of its value.
pub const SEARCH_FILTERS: [(&str, &str); 6] = [
    ("in:", "a room (#ops), everyone, or the users of a direct conversation (Ann,Kim)"),
    ("from:", "start of the sender's ID, or `me`"),
    ("to:", "a user in the direct conversation, or `me`"),
    ("after:", "2026-11-22, or an age such as 7d, 3h, 30m"),
    ("before:", "the same forms as after:"),
    ("has:", "`link` or `code`"),
];

/// The filter that a word begins with, with its colon.
pub fn filter_key(word: &str) -> Option<&'static str> {
    SEARCH_FILTERS.iter().map(|(key, _)| *key).find(|key| word.starts_with(key))
}

/// A problem with the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchError {
    /// The number of characters before the problem.
    pub column: usize,
    /// The problem, as text for the user.
    pub text: SafeText,
}

/// A parsed input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchInput {
    /// The query, as the server takes it.
    pub query: SearchQuery,
    /// The column in the input of each character of the expression.
    columns: Vec<usize>,
}

impl SearchInput {
    /// Parses an input. `state` resolves names.
    ///
    /// # Errors
    /// A filter has an invalid value.
    pub fn parse(
        typed: &str,
        match_case: bool,
        now: DateTime<FixedOffset>,
        state: &Session,
    ) -> Result<Self, SearchError> {
        let mut input = Self {
            query: SearchQuery { match_case, ..SearchQuery::default() },
            columns: Vec::new(),
        };
        let mut column = 0;
        // The number of spaces before the next word of the expression.
        let mut gap = 0;
        for token in typed.split_inclusive(' ') {
            let word = token.trim_end_matches(' ');
            let spaces = token.len() - word.len();
            let is_filter = input.parse_filter(word, now, state).map_err(|text| {
                let before = word.chars().take_while(|c| *c != ':').count() + 1;
                SearchError { column: column + before, text: SafeText::clean(&text) }
            })?;
            if !is_filter {
                if !input.query.pattern.is_empty() {
                    (0..gap).for_each(|space| input.push(' ', column - gap + space));
                }
                word.chars().zip(column..).for_each(|(c, at)| input.push(c, at));
                gap = 0;
            }
            // A filter and the spaces around it count as one space.
            gap = if is_filter { gap.max(spaces.min(1)) } else { spaces };
            column += word.chars().count() + spaces;
        }
        if input.query.pattern.is_empty() && input.has_filters() {
            // Filters alone match every message that passes them.
            input.query.pattern.push('^');
        }
        Ok(input)
    }

    /// Whether there is nothing to search for.
    pub fn is_empty(&self) -> bool {
        self.query.pattern.is_empty()
    }

    /// Returns the column in the input of a character of the expression.
    pub fn column(&self, character: usize) -> usize {
        match self.columns.get(character) {
            Some(column) => *column,
            None => self.columns.last().map_or(0, |last| last + 1),
        }
    }

    /// Whether a message passes the filters.
    pub fn matches_filters(&self, message: &Message) -> bool {
        let SearchQuery { from, to, after, before, has, .. } = &self.query;
        let at = message.at.timestamp_millis();
        let sender = message.sender.as_str().to_lowercase();
        from.as_ref().is_none_or(|from| sender.starts_with(&from.to_lowercase()))
            && to.as_ref().is_none_or(|to| is_in_conversation_with(message, to))
            && after.is_none_or(|after| at >= after)
            && before.is_none_or(|before| at < before)
            && has.is_none_or(|kind| kind.is_in(message.content.as_str()))
    }

    /// Parses a word as a filter. Returns whether it is one.
    fn parse_filter(
        &mut self,
        word: &str,
        now: DateTime<FixedOffset>,
        state: &Session,
    ) -> Result<bool, String> {
        let Some((key, value)) = word.split_once(':') else { return Ok(false) };
        // A filter without a value is still being typed.
        let value = Some(value).filter(|value| !value.is_empty());
        let query = &mut self.query;
        match key {
            "from" => query.from = value.map(|from| sender_prefix(from, state)),
            "in" => {
                query.conversation = value.map(|one| parse_conversation(one, state)).transpose()?;
            }
            "to" => query.to = value.map(|to| parse_recipient(to, state)).transpose()?,
            "after" => query.after = value.map(|after| parse_time(after, now)).transpose()?,
            "before" => query.before = value.map(|before| parse_time(before, now)).transpose()?,
            "has" => query.has = value.map(parse_kind).transpose()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn has_filters(&self) -> bool {
        let SearchQuery { conversation, from, to, after, before, has, .. } = &self.query;
        conversation.is_some()
            || has.is_some()
            || from.is_some()
            || to.is_some()
            || after.is_some()
            || before.is_some()
    }

    fn push(&mut self, c: char, column: usize) {
        self.query.pattern.push(c);
        self.columns.push(column);
    }
}

fn is_in_conversation_with(message: &Message, user: &UserId) -> bool {
    match &message.audience {
        Audience::Everyone | Audience::Room(_) => false,
        Audience::Only(recipients) => recipients.contains(user) || message.sender == *user,
    }
}

/// Returns the start of the sender's ID; `me` stands for the user's own.
fn sender_prefix(word: &str, state: &Session) -> String {
    match state.own_id() {
        Some(own_id) if word == "me" => own_id.to_string(),
        Some(_) | None => word.to_owned(),
    }
}

fn parse_recipient(word: &str, state: &Session) -> Result<UserId, String> {
    match (word, state.own_id()) {
        ("me", Some(own_id)) => Ok(own_id.clone()),
        // A whole ID may be that of an offline user.
        (word, _) => word.parse().or_else(|_| state.resolve(word)).map_err(|error| match error {
            ResolveError::Unknown(_) => {
                format!("{error}: write the whole ID, such as Ann_1180")
            }
            ResolveError::Ambiguous(..) => error.to_string(),
        }),
    }
}

fn parse_conversation(word: &str, state: &Session) -> Result<Audience, String> {
    if matches!(word, "everyone" | "all") {
        return Ok(Audience::Everyone);
    }
    if word.starts_with('#') {
        let room = RoomName::from_input(word).map_err(|error| error.to_string())?;
        return Ok(Audience::Room(room));
    }
    let users = word.split(',').map(|user| parse_recipient(user, state));
    Ok(Audience::Only(users.collect::<Result<_, _>>()?))
}

fn parse_kind(word: &str) -> Result<ContentKind, String> {
    let found = ContentKind::ALL.iter().find(|(_, name)| *name == word);
    found.map(|(kind, _)| *kind).ok_or_else(|| "write link or code".to_owned())
}

/// Parses a date, which means its local midnight, or an age.
fn parse_time(word: &str, now: DateTime<FixedOffset>) -> Result<Millis, String> {
    let date = NaiveDate::parse_from_str(word, "%Y-%m-%d").ok();
    let midnight = date.and_then(|date| date.and_hms_opt(0, 0, 0));
    let midnight = midnight.and_then(|at| at.and_local_timezone(*now.offset()).single());
    let at = midnight
        .or_else(|| now.checked_sub_signed(TimeDelta::from_std(duration::parse(word)?).ok()?));
    at.map(|at| at.timestamp_millis())
        .ok_or_else(|| "write a date (2026-11-22) or an age (7d, 3h, 30m, 2w)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<FixedOffset> {
        DateTime::parse_from_rfc3339("2026-11-22T12:00:00+02:00").unwrap()
    }

    fn parse(typed: &str) -> Result<SearchInput, SearchError> {
        SearchInput::parse(typed, false, now(), &Session::new("test"))
    }

    fn millis(text: &str) -> Millis {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
    }

    #[test]
    fn filters_are_split_from_the_expression() {
        let from = |from: &str| Some(from.to_owned());
        let find = SearchQuery::default;
        for (typed, wanted) in [
            ("", find()),
            ("deploy(ed)?", SearchQuery { pattern: "deploy(ed)?".into(), ..find() }),
            ("two  words", SearchQuery { pattern: "two  words".into(), ..find() }),
            ("from:ann x", SearchQuery { pattern: "x".into(), from: from("ann"), ..find() }),
            ("a from:ann b", SearchQuery { pattern: "a b".into(), from: from("ann"), ..find() }),
            ("x from:", SearchQuery { pattern: "x".into(), ..find() }),
            ("from\\:ann", SearchQuery { pattern: "from\\:ann".into(), ..find() }),
            ("10:30", SearchQuery { pattern: "10:30".into(), ..find() }),
            (
                "to:Ann_1180",
                SearchQuery {
                    pattern: "^".into(),
                    to: Some("Ann_1180".parse().unwrap()),
                    ..find()
                },
            ),
            (
                "has:link x",
                SearchQuery { pattern: "x".into(), has: Some(ContentKind::Link), ..find() },
            ),
            (
                "in:#Ops x",
                SearchQuery {
                    pattern: "x".into(),
                    conversation: Some(Audience::Room("#ops".parse().unwrap())),
                    ..find()
                },
            ),
            (
                "in:Ann_1180,Kim_9021 x",
                SearchQuery {
                    pattern: "x".into(),
                    conversation: Some(Audience::Only(
                        ["Ann_1180", "Kim_9021"].map(|id| id.parse().unwrap()).into(),
                    )),
                    ..find()
                },
            ),
            (
                "after:2026-11-20 before:3h x",
                SearchQuery {
                    pattern: "x".into(),
                    after: Some(millis("2026-11-20T00:00:00+02:00")),
                    before: Some(millis("2026-11-22T09:00:00+02:00")),
                    ..find()
                },
            ),
        ] {
            assert_eq!(parse(typed).unwrap().query, wanted, "{typed}");
        }
    }

    #[test]
    fn errors_point_at_the_typed_column() {
        for (typed, column, problem) in [
            ("x after:yesterday", 8, "a date"),
            ("before:2026-13-01", 7, "a date"),
            ("before:99999999999999999d", 7, "a date"),
            ("before:-1d", 7, "a date"),
            ("has:picture", 4, "link or code"),
            ("ü to:tom x", 5, "no user is named tom"),
        ] {
            let error = parse(typed).unwrap_err();
            assert_eq!(error.column, column, "{typed}");
            assert!(error.text.as_str().contains(problem), "{typed}: {}", error.text);
        }
        let query = parse("from:ann ab(c").unwrap();
        assert_eq!(query.column(2), 11);
        assert_eq!(query.column(9), 13, "after its end");
    }
}
