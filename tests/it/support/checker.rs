//! Whether what clients did and heard keeps the promises, whatever happened to the server meanwhile.
//!
//! Pure: a [`History`] goes in, a [`Report`] comes out. How histories come about is `load`'s business.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails where its tools do"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The unique word in a message, by which it is known wherever it turns up.
pub(crate) type Token = u64;

/// When something happened: before everything with a later `tick`, whoever did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Counts up, across all clients.
    pub(crate) tick: u64,
    /// The clock on the wall, in milliseconds.
    pub(crate) wall: i64,
}

/// One message as it came from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) seq: u64,
    pub(crate) token: Token,
    /// From when on nobody may get it, for a temporary one.
    pub(crate) expires: Option<i64>,
}

/// One thing that a client did or heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    /// It sent a message to these clients, or to all, for a while or for good.
    Said { token: Token, to: Option<Vec<usize>>, is_temporary: bool },
    /// The server acknowledged it, at this place.
    Stored { token: Token, seq: u64 },
    /// It asked for the removal of a message.
    Removing { token: Token },
    /// The server acknowledged that.
    Removed { token: Token, at: Moment },
    /// It is about to log in; what the stream brings from now on was asked for now.
    Connecting { at: Moment },
    /// The server could not go on from where the client was.
    NotResumed,
    /// Its process began anew: what lies after `from` and up to `to` is not for its stream to bring.
    Anew { from: u64, to: u64 },
    /// The stream brought a message.
    Heard(Copy),
    /// The stream brought the word that a message is gone.
    Gone { seq: u64, token: Option<Token> },
    /// A page of the history, asked for at some moment.
    Page { asked: Moment, copies: Vec<Copy> },
    /// The whole history, oldest first, when everything was over.
    Log { asked: Moment, copies: Vec<Copy> },
    /// These words were somewhere in the bytes that came.
    Bytes(Vec<Token>),
}

/// What each client noted, in its own order.
pub(crate) type History = Vec<Vec<Note>>;

/// How it went. From `lost` on, each number has to be 0.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) said: usize,
    pub(crate) acknowledged: usize,
    pub(crate) removed: usize,
    /// Acknowledged temporary messages whose time was up before anybody heard them.
    pub(crate) unheard: usize,
    /// Acknowledged messages that the log or somebody's stream does not have.
    pub(crate) lost: usize,
    /// Messages that the log or somebody's stream has twice.
    pub(crate) doubled: usize,
    /// Places where the order was not everybody's, or went back.
    pub(crate) out_of_order: usize,
    /// Times that a removed or expired message was served again, or its removal was not told.
    pub(crate) back: usize,
    /// Direct messages in the bytes of somebody else.
    pub(crate) leaked: usize,
    /// Clients that the server did not know again.
    pub(crate) not_resumed: usize,
    /// The first few of what is wrong, in words.
    pub(crate) words: Vec<String>,
}

impl Report {
    pub(crate) fn is_clean(&self) -> bool {
        let Self { lost, doubled, out_of_order, back, leaked, not_resumed, .. } = self;
        [lost, doubled, out_of_order, back, leaked, not_resumed].iter().all(|count| **count == 0)
    }

    fn note(&mut self, count: fn(&mut Self) -> &mut usize, words: impl FnOnce() -> String) {
        *count(self) += 1;
        if self.words.len() < 20 {
            self.words.push(words());
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { said, acknowledged, removed, unheard, lost, doubled, .. } = self;
        let Self { out_of_order, back, leaked, not_resumed, words, .. } = self;
        write!(
            f,
            "{said} said, {acknowledged} acknowledged, {removed} removed, {unheard} expired unheard; \
             {lost} lost, {doubled} doubled, {out_of_order} out of order, {back} back, {leaked} \
             leaked, {not_resumed} not resumed"
        )?;
        words.iter().try_for_each(|words| write!(f, "\n  {words}"))
    }
}

/// What is known of a message from all notes together.
struct Known {
    sender: usize,
    to: Option<Vec<usize>>,
    is_temporary: bool,
    stored: Option<u64>,
    removing: bool,
    removed: Option<Moment>,
    expires: Option<i64>,
    is_heard: bool,
    places: BTreeSet<u64>,
}

impl Known {
    fn is_for(&self, client: usize) -> bool {
        self.sender == client || self.to.as_ref().is_none_or(|to| to.contains(&client))
    }

    /// Whether everybody it is for has to have it in the end.
    fn must_be_there(&self) -> bool {
        self.stored.is_some() && !self.removing && !self.is_temporary
    }

    /// Whether it may not be among what was asked for at that moment.
    fn is_gone_at(&self, asked: Moment) -> bool {
        self.removed.is_some_and(|removed| removed.tick < asked.tick)
            || self.expires.is_some_and(|expires| expires <= asked.wall)
    }
}

/// Holds a history to the promises.
pub(crate) fn check(history: &History) -> Report {
    let mut report = Report::default();
    let known = gather(history, &mut report);
    for (client, notes) in history.iter().enumerate() {
        check_order(client, notes, &mut report);
        check_count(client, notes, &known, &mut report);
        check_gone(client, notes, &known, &mut report);
        check_private(client, notes, &known, &mut report);
        for _ in notes.iter().filter(|note| **note == Note::NotResumed) {
            report.note(|report| &mut report.not_resumed, || format!("{client} was not resumed"));
        }
    }
    for (token, known) in &known {
        let places = &known.places;
        if places.len() > 1 {
            report.note(|report| &mut report.doubled, || format!("{token} is at {places:?}"));
        }
        let is_unheard = known.stored.is_some() && !known.is_heard;
        report.unheard += usize::from(is_unheard && known.is_temporary);
    }
    report
}

fn gather(history: &History, report: &mut Report) -> BTreeMap<Token, Known> {
    let mut all = BTreeMap::new();
    for (sender, notes) in history.iter().enumerate() {
        for note in notes {
            if let Note::Said { token, to, is_temporary } = note {
                let known = Known {
                    sender,
                    to: to.clone(),
                    is_temporary: *is_temporary,
                    stored: None,
                    removing: false,
                    removed: None,
                    expires: None,
                    is_heard: false,
                    places: BTreeSet::new(),
                };
                all.insert(*token, known);
            }
        }
    }
    report.said = all.len();
    for note in history.iter().flatten() {
        match note {
            Note::Stored { token, seq } => {
                let known = all.get_mut(token).expect("an answer to nothing");
                report.acknowledged += usize::from(known.stored.is_none());
                known.stored = Some(*seq);
                known.places.insert(*seq);
            }
            Note::Removing { token } => all.get_mut(token).expect("said before").removing = true,
            Note::Removed { token, at } => {
                let known = all.get_mut(token).expect("said before");
                report.removed += usize::from(known.removed.is_none());
                known.removed.get_or_insert(*at);
            }
            Note::Heard(_) | Note::Page { .. } | Note::Log { .. } => {
                for copy in copies(note) {
                    let known = all.get_mut(&copy.token).expect("nobody said that");
                    known.expires = known.expires.or(copy.expires);
                    known.is_heard = true;
                    known.places.insert(copy.seq);
                }
            }
            Note::Said { .. }
            | Note::Connecting { .. }
            | Note::NotResumed
            | Note::Anew { .. }
            | Note::Gone { .. }
            | Note::Bytes(_) => {}
        }
    }
    all
}

fn copies(note: &Note) -> &[Copy] {
    match note {
        Note::Heard(copy) => std::slice::from_ref(copy),
        Note::Page { copies, .. } | Note::Log { copies, .. } => copies,
        Note::Said { .. }
        | Note::Stored { .. }
        | Note::Removing { .. }
        | Note::Removed { .. }
        | Note::Connecting { .. }
        | Note::NotResumed
        | Note::Anew { .. }
        | Note::Gone { .. }
        | Note::Bytes(_) => &[],
    }
}

/// All streams go forward in the log's order, and so does the log.
fn check_order(client: usize, notes: &[Note], report: &mut Report) {
    let mut stream = Vec::new();
    for note in notes {
        match note {
            Note::Heard(Copy { seq, .. }) | Note::Gone { seq, .. } => stream.push(*seq),
            _ => {
                let seqs: Vec<u64> = copies(note).iter().map(|copy| copy.seq).collect();
                check_forward(client, &seqs, report);
            }
        }
    }
    check_forward(client, &stream, report);
}

fn check_forward(client: usize, seqs: &[u64], report: &mut Report) {
    for pair in seqs.windows(2).filter(|pair| pair[0] >= pair[1]) {
        let words = || format!("{client} got {} after {}", pair[1], pair[0]);
        report.note(|report| &mut report.out_of_order, words);
    }
}

/// What was acknowledged is there once, for all whom it is for; what was not, at most once.
fn check_count(client: usize, notes: &[Note], known: &BTreeMap<Token, Known>, report: &mut Report) {
    let mut stream: BTreeMap<Token, usize> = BTreeMap::new();
    let mut log = stream.clone();
    let mut gaps = Vec::new();
    for note in notes {
        let place = match note {
            Note::Anew { from, to } => {
                gaps.push(from + 1..=*to);
                continue;
            }
            Note::Heard(_) => &mut stream,
            Note::Log { .. } => &mut log,
            _ => continue,
        };
        for copy in copies(note) {
            *place.entry(copy.token).or_default() += 1;
        }
    }
    let is_in_gap = |seq: &u64| gaps.iter().any(|gap| gap.contains(seq));
    for (name, counts, may_lack) in [("stream", &stream, true), ("log", &log, false)] {
        for (token, known) in known.iter().filter(|(_, known)| known.is_for(client)) {
            match counts.get(token).copied().unwrap_or_default() {
                0 if may_lack && known.stored.as_ref().is_some_and(is_in_gap) => {}
                0 if known.must_be_there() => report.note(
                    |report| &mut report.lost,
                    || format!("{token} of {} is not in {client}'s {name}", known.sender),
                ),
                0 | 1 => {}
                n => report.note(
                    |report| &mut report.doubled,
                    || format!("{token} is {n} times in {client}'s {name}"),
                ),
            }
        }
    }
}

/// What is gone is not served again, and those who have it are told.
fn check_gone(client: usize, notes: &[Note], known: &BTreeMap<Token, Known>, report: &mut Report) {
    let mut connected = Moment { tick: 0, wall: 0 };
    let (mut has, mut told) = (BTreeSet::new(), BTreeSet::new());
    for note in notes {
        let asked = match note {
            Note::Connecting { at } => {
                connected = *at;
                continue;
            }
            Note::Gone { token, .. } => {
                told.extend(token);
                continue;
            }
            Note::Anew { .. } => {
                has.clear();
                continue;
            }
            Note::Page { asked, .. } | Note::Log { asked, .. } => *asked,
            _ => connected,
        };
        for copy in copies(note) {
            has.insert(copy.token);
            if known[&copy.token].is_gone_at(asked) {
                let words = || format!("{client} got {} back", copy.token);
                report.note(|report| &mut report.back, words);
            }
        }
    }
    for token in has.difference(&told).filter(|token| known[token].removed.is_some()) {
        let words = || format!("{client} was not told that {token} is removed");
        report.note(|report| &mut report.back, words);
    }
}

/// Direct messages are in nobody else's bytes.
fn check_private(
    client: usize,
    notes: &[Note],
    known: &BTreeMap<Token, Known>,
    report: &mut Report,
) {
    for note in notes {
        let Note::Bytes(tokens) = note else { continue };
        for token in tokens.iter().filter(|token| !known[token].is_for(client)) {
            report.note(|report| &mut report.leaked, || format!("{token} came to {client}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tick: u64) -> Moment {
        Moment { tick, wall: i64::try_from(tick).unwrap() }
    }

    fn copy(seq: u64, token: Token) -> Copy {
        Copy { seq, token, expires: None }
    }

    /// Two clients; the first says 10 to all, 11 to itself alone, and 12, and removes that.
    fn good() -> History {
        let said = |token, to| Note::Said { token, to, is_temporary: false };
        let log = |copies: &[Copy]| Note::Log { asked: at(9), copies: copies.to_vec() };
        let ten = copy(1, 10);
        let first = vec![
            Note::Connecting { at: at(1) },
            said(10, None),
            said(11, Some(vec![])),
            said(12, None),
            Note::Heard(ten),
            Note::Bytes(vec![10]),
            Note::Stored { token: 10, seq: 1 },
            Note::Heard(copy(2, 11)),
            Note::Stored { token: 11, seq: 2 },
            Note::Heard(copy(3, 12)),
            Note::Stored { token: 12, seq: 3 },
            Note::Removing { token: 12 },
            Note::Gone { seq: 4, token: Some(12) },
            Note::Removed { token: 12, at: at(5) },
            log(&[ten, copy(2, 11)]),
        ];
        let second = vec![
            Note::Connecting { at: at(2) },
            Note::Heard(ten),
            Note::Heard(copy(3, 12)),
            Note::Gone { seq: 4, token: Some(12) },
            Note::Page { asked: at(3), copies: vec![ten, copy(3, 12)] },
            log(&[ten]),
        ];
        vec![first, second]
    }

    /// What the checker says when the notes of the second client are changed.
    fn after(change: impl FnOnce(&mut Vec<Note>)) -> Report {
        let mut history = good();
        change(&mut history[1]);
        check(&history)
    }

    #[test]
    fn a_good_history_is_clean() {
        let report = check(&good());
        assert!(report.is_clean(), "{report}");
        assert_eq!((report.said, report.acknowledged, report.removed), (3, 3, 1));
    }

    #[test]
    fn what_is_missing_is_lost() {
        assert_eq!(after(|notes| drop(notes.remove(1))).lost, 1);
        assert_eq!(after(|notes| drop(notes.pop())).lost, 1);
    }

    #[test]
    fn whoever_begins_anew_has_the_rest_from_the_log() {
        let missing = |from, to| {
            after(|notes| {
                notes.remove(1);
                notes.insert(1, Note::Anew { from, to });
            })
        };
        assert_eq!((missing(0, 1).lost, missing(1, 2).lost), (0, 1));
        let anew = Note::Anew { from: 2, to: 4 };
        assert_eq!(after(|notes| drop(notes.splice(3..5, [anew]))).back, 0);
        let no_log = after(|notes| {
            notes.insert(1, Note::Anew { from: 0, to: 9 });
            notes.pop();
        });
        assert_eq!(no_log.lost, 1);
    }

    #[test]
    fn a_temporary_message_may_vanish_before_anybody_has_it() {
        let mut history = good();
        history[0].push(Note::Said { token: 13, to: None, is_temporary: true });
        history[0].push(Note::Stored { token: 13, seq: 5 });
        let report = check(&history);
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.unheard, 1);
    }

    #[test]
    fn what_comes_twice_is_doubled() {
        assert_eq!(after(|notes| notes.push(Note::Heard(copy(5, 10)))).doubled, 2);
        let twice = Note::Log { asked: at(9), copies: vec![copy(1, 10), copy(6, 10)] };
        assert_eq!(after(|notes| notes[5] = twice).doubled, 2);
    }

    #[test]
    fn what_goes_back_is_out_of_order() {
        assert_eq!(after(|notes| notes.swap(1, 2)).out_of_order, 1);
        let page = Note::Page { asked: at(3), copies: vec![copy(3, 12), copy(1, 10)] };
        assert_eq!(after(|notes| notes[4] = page).out_of_order, 1);
    }

    #[test]
    fn what_was_removed_or_has_expired_is_not_served_again() {
        let late = |asked| Note::Page { asked, copies: vec![copy(3, 12)] };
        assert_eq!(after(|notes| notes.push(late(at(4)))).back, 0);
        assert_eq!(after(|notes| notes.push(late(at(6)))).back, 1);
        assert_eq!(after(|notes| notes.insert(1, Note::Connecting { at: at(6) })).back, 1);
        assert_eq!(after(|notes| drop(notes.remove(3))).back, 1, "it was not told");
        let expired = Copy { expires: Some(7), ..copy(1, 10) };
        let page = |asked| Note::Page { asked, copies: vec![expired] };
        assert_eq!(after(|notes| notes[5] = page(at(6))).back, 1, "the first client's log");
        assert_eq!(after(|notes| notes[5] = page(at(7))).back, 2);
    }

    #[test]
    fn what_is_private_is_in_nobody_elses_bytes() {
        assert_eq!(after(|notes| notes.push(Note::Bytes(vec![10, 11]))).leaked, 1);
    }

    #[test]
    fn who_loses_the_thread_is_noticed() {
        assert_eq!(after(|notes| notes.push(Note::NotResumed)).not_resumed, 1);
    }
}
