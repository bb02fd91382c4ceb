//! What is typed into the search: an expression, and words that narrow it, as in
//! `from:ann after:7d deploy(ed)?`.
//!
//! Pure. What the words mean is decided here; the searching is `search`'s and the server's.

use chrono::{DateTime, FixedOffset, NaiveDate, TimeDelta};

use super::ChatState;
use super::search::SearchError;
use crate::protocol::id::UserId;
use crate::protocol::message::{Audience, Message, Millis};
use crate::protocol::query::SearchQuery;
use crate::protocol::text::SafeText;

/// The words, as they are typed and what follows them.
pub const SEARCH_FILTERS: [(&str, &str); 4] = [
    ("from:", "how the writer's ID begins"),
    ("to:", "somebody in the private conversation; me"),
    ("after:", "2026-11-22, or a time ago such as 7d, 3h, 30m"),
    ("before:", "the same"),
];

/// A search as it is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchInput {
    /// What is asked of the server, and looked for here.
    pub query: SearchQuery,
    /// Where each character of the expression was typed.
    columns: Vec<usize>,
}

impl SearchInput {
    /// Understands what was typed.
    ///
    /// # Errors
    /// A word is followed by something that it can't mean.
    pub fn parse(
        typed: &str,
        match_case: bool,
        now: DateTime<FixedOffset>,
        state: &ChatState,
    ) -> Result<Self, SearchError> {
        let mut input = Self {
            query: SearchQuery { match_case, ..SearchQuery::default() },
            columns: Vec::new(),
        };
        let mut column = 0;
        // The spaces before the next part of the expression.
        let mut gap = 0;
        for token in typed.split_inclusive(' ') {
            let word = token.trim_end_matches(' ');
            let spaces = token.len() - word.len();
            let is_filter = input.parse_filter(word, now, state).map_err(|why| {
                let before = word.chars().take_while(|c| *c != ':').count() + 1;
                SearchError { column: column + before, text: SafeText::clean(&why) }
            })?;
            if !is_filter {
                if !input.query.pattern.is_empty() {
                    (0..gap).for_each(|space| input.push(' ', column - gap + space));
                }
                word.chars().zip(column..).for_each(|(c, at)| input.push(c, at));
                gap = 0;
            }
            // What stands around a word that narrows is one gap.
            gap = if is_filter { gap.max(spaces.min(1)) } else { spaces };
            column += word.chars().count() + spaces;
        }
        if input.query.pattern.is_empty() && input.has_filters() {
            // Everything that the words leave.
            input.query.pattern.push('^');
        }
        Ok(input)
    }

    /// Whether nothing is searched for.
    pub fn is_empty(&self) -> bool {
        self.query.pattern.is_empty()
    }

    /// The column in what was typed of a character of the expression.
    pub fn column(&self, character: usize) -> usize {
        match self.columns.get(character) {
            Some(column) => *column,
            None => self.columns.last().map_or(0, |last| last + 1),
        }
    }

    /// Whether the words leave this message.
    pub fn matches_filters(&self, message: &Message) -> bool {
        let SearchQuery { from, to, after, before, .. } = &self.query;
        let at = message.at.timestamp_millis();
        let sender = message.sender.as_str().to_lowercase();
        from.as_ref().is_none_or(|from| sender.starts_with(&from.to_lowercase()))
            && to.as_ref().is_none_or(|to| is_in_conversation_with(message, to))
            && after.is_none_or(|after| at >= after)
            && before.is_none_or(|before| at < before)
    }

    /// Takes a word that narrows the search; whether it is one.
    fn parse_filter(
        &mut self,
        word: &str,
        now: DateTime<FixedOffset>,
        state: &ChatState,
    ) -> Result<bool, String> {
        let Some((key, value)) = word.split_once(':') else { return Ok(false) };
        // Without a value the word is still being typed.
        let value = Some(value).filter(|value| !value.is_empty());
        let query = &mut self.query;
        match key {
            "from" => query.from = value.map(|from| sender_prefix(from, state)),
            "to" => query.to = value.map(|to| parse_recipient(to, state)).transpose()?,
            "after" => query.after = value.map(|after| parse_time(after, now)).transpose()?,
            "before" => query.before = value.map(|before| parse_time(before, now)).transpose()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn has_filters(&self) -> bool {
        let SearchQuery { from, to, after, before, .. } = &self.query;
        from.is_some() || to.is_some() || after.is_some() || before.is_some()
    }

    fn push(&mut self, c: char, column: usize) {
        self.query.pattern.push(c);
        self.columns.push(column);
    }
}

fn is_in_conversation_with(message: &Message, user: &UserId) -> bool {
    match &message.audience {
        Audience::Everyone => false,
        Audience::Only(people) => people.contains(user) || message.sender == *user,
    }
}

/// `me` is a word for oneself; all else is the beginning of an ID.
fn sender_prefix(word: &str, state: &ChatState) -> String {
    match state.own_id() {
        Some(you) if word == "me" => you.to_string(),
        Some(_) | None => word.to_owned(),
    }
}

fn parse_recipient(word: &str, state: &ChatState) -> Result<UserId, String> {
    match (word, state.own_id()) {
        ("me", Some(you)) => Ok(you.clone()),
        // Who is away can be meant, too, if the ID is whole.
        (word, _) => word
            .parse()
            .or_else(|_| state.resolve(word))
            .map_err(|error| format!("{error} (a whole ID, such as Ann_1180, always works)")),
    }
}

/// A day, from its midnight on here; or so long ago.
fn parse_time(word: &str, now: DateTime<FixedOffset>) -> Result<Millis, String> {
    let day = NaiveDate::parse_from_str(word, "%Y-%m-%d").ok();
    let midnight = day.and_then(|day| day.and_hms_opt(0, 0, 0));
    let midnight = midnight.and_then(|at| at.and_local_timezone(*now.offset()).single());
    let at = midnight.or_else(|| now.checked_sub_signed(parse_age(word)?));
    at.map(|at| at.timestamp_millis())
        .ok_or_else(|| "a day (2026-11-22), or a time ago (7d, 3h, 30m, 2w)".to_owned())
}

fn parse_age(word: &str) -> Option<TimeDelta> {
    let unit = word.chars().next_back()?;
    let number: i64 = word.strip_suffix(unit)?.parse().ok().filter(|number| *number >= 0)?;
    match unit {
        'm' => TimeDelta::try_minutes(number),
        'h' => TimeDelta::try_hours(number),
        'd' => TimeDelta::try_days(number),
        'w' => TimeDelta::try_weeks(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<FixedOffset> {
        DateTime::parse_from_rfc3339("2026-11-22T12:00:00+02:00").unwrap()
    }

    fn parse(typed: &str) -> Result<SearchInput, SearchError> {
        SearchInput::parse(typed, false, now(), &ChatState::new("test"))
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
        for (typed, column, words) in [
            ("x after:yesterday", 8, "a day"),
            ("before:2026-13-01", 7, "a day"),
            ("before:99999999999999999d", 7, "a day"),
            ("before:-1d", 7, "a day"),
            ("ü to:tom x", 5, "nobody here is called tom"),
        ] {
            let mistake = parse(typed).unwrap_err();
            assert_eq!(mistake.column, column, "{typed}");
            assert!(mistake.text.as_str().contains(words), "{typed}: {}", mistake.text);
        }
        let query = parse("from:ann ab(c").unwrap();
        assert_eq!(query.column(2), 11);
        assert_eq!(query.column(9), 13, "after its end");
    }
}
