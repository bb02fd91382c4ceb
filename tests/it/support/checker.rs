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
pub(crate) struct Timestamp {
    /// Counts up, across all clients.
    pub(crate) tick: u64,
    /// The clock on the wall, in milliseconds.
    pub(crate) wall_ms: i64,
}

/// One message as it came from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReceivedMessage {
    pub(crate) seq: u64,
    pub(crate) token: Token,
    /// From when on nobody may get it, for a temporary one.
    pub(crate) expires: Option<i64>,
}

/// One thing that a client did or heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Observation {
    /// It sent a message to these clients, or to all, for a while or for good.
    Posted { token: Token, recipients: Option<Vec<usize>>, is_temporary: bool },
    /// The server acknowledged it, at this place.
    Acknowledged { token: Token, seq: u64 },
    /// It asked for the removal of a message.
    DeleteRequested { token: Token },
    /// The server acknowledged that.
    DeleteAcknowledged { token: Token, at: Timestamp },
    /// It is about to log in; what the stream brings from now on was asked for now.
    Connecting { at: Timestamp },
    /// The server could not go on from where the client was.
    NotResumed,
    /// Its process began anew: what lies after `from` and up to `to` is not for its stream to bring.
    Restarted { from: u64, to: u64 },
    /// The stream brought a message.
    Received(ReceivedMessage),
    /// The stream brought the word that a message is gone.
    Tombstone { seq: u64, token: Option<Token> },
    /// A page of the history, asked for at some moment.
    HistoryPage { requested_at: Timestamp, messages: Vec<ReceivedMessage> },
    /// The whole history, oldest first, when everything was over.
    FullHistory { requested_at: Timestamp, messages: Vec<ReceivedMessage> },
    /// These words were somewhere in the bytes that came.
    RawTokens(Vec<Token>),
}

/// What each client noted, in its own order.
pub(crate) type History = Vec<Vec<Observation>>;

/// How it went. From `lost` on, each number has to be 0.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) posted: usize,
    pub(crate) acknowledged: usize,
    pub(crate) removed: usize,
    /// Acknowledged temporary messages whose time was up before anybody heard them.
    pub(crate) expired_unseen: usize,
    /// Acknowledged messages that the log or somebody's stream does not have.
    pub(crate) lost: usize,
    /// Messages that the log or somebody's stream has twice.
    pub(crate) duplicated: usize,
    /// Places where the order was not everybody's, or went back.
    pub(crate) out_of_order: usize,
    /// Times that a removed or expired message was served again, or its removal was not told.
    pub(crate) resurfaced: usize,
    /// Direct messages in the bytes of somebody else.
    pub(crate) leaked: usize,
    /// Clients that the server did not know again.
    pub(crate) not_resumed: usize,
    /// The first few of what is wrong, in words.
    pub(crate) details: Vec<String>,
}

impl Report {
    pub(crate) fn is_clean(&self) -> bool {
        let Self {
            lost,
            duplicated: doubled,
            out_of_order,
            resurfaced: back,
            leaked,
            not_resumed,
            ..
        } = self;
        [lost, doubled, out_of_order, back, leaked, not_resumed].iter().all(|count| **count == 0)
    }

    fn record(&mut self, count: fn(&mut Self) -> &mut usize, detail: impl FnOnce() -> String) {
        *count(self) += 1;
        if self.details.len() < 20 {
            self.details.push(detail());
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            posted: said,
            acknowledged,
            removed,
            expired_unseen: unheard,
            lost,
            duplicated: doubled,
            ..
        } = self;
        let Self { out_of_order, resurfaced: back, leaked, not_resumed, details: words, .. } = self;
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
struct TrackedMessage {
    sender: usize,
    recipients: Option<Vec<usize>>,
    is_temporary: bool,
    acknowledged_seq: Option<u64>,
    delete_requested: bool,
    removed_at: Option<Timestamp>,
    expires: Option<i64>,
    was_received: bool,
    seqs: BTreeSet<u64>,
}

impl TrackedMessage {
    fn is_visible_to(&self, client: usize) -> bool {
        self.sender == client || self.recipients.as_ref().is_none_or(|to| to.contains(&client))
    }

    /// Whether everybody it is for has to have it in the end.
    fn must_be_delivered(&self) -> bool {
        self.acknowledged_seq.is_some() && !self.delete_requested && !self.is_temporary
    }

    /// Whether it may not be among what was asked for at that moment.
    fn must_not_be_served_at(&self, asked: Timestamp) -> bool {
        self.removed_at.is_some_and(|removed| removed.tick < asked.tick)
            || self.expires.is_some_and(|expires| expires <= asked.wall_ms)
    }
}

/// Holds a history to the promises.
pub(crate) fn check(history: &History) -> Report {
    let mut report = Report::default();
    let known = track_messages(history, &mut report);
    for (client, notes) in history.iter().enumerate() {
        check_order(client, notes, &mut report);
        check_delivery(client, notes, &known, &mut report);
        check_removals(client, notes, &known, &mut report);
        check_privacy(client, notes, &known, &mut report);
        for _ in notes.iter().filter(|note| **note == Observation::NotResumed) {
            report.record(|report| &mut report.not_resumed, || format!("{client} was not resumed"));
        }
    }
    for (token, known) in &known {
        let places = &known.seqs;
        if places.len() > 1 {
            report.record(|report| &mut report.duplicated, || format!("{token} is at {places:?}"));
        }
        let is_unheard = known.acknowledged_seq.is_some() && !known.was_received;
        report.expired_unseen += usize::from(is_unheard && known.is_temporary);
    }
    report
}

fn track_messages(history: &History, report: &mut Report) -> BTreeMap<Token, TrackedMessage> {
    let mut all = BTreeMap::new();
    for (sender, notes) in history.iter().enumerate() {
        for note in notes {
            if let Observation::Posted { token, recipients: to, is_temporary } = note {
                let known = TrackedMessage {
                    sender,
                    recipients: to.clone(),
                    is_temporary: *is_temporary,
                    acknowledged_seq: None,
                    delete_requested: false,
                    removed_at: None,
                    expires: None,
                    was_received: false,
                    seqs: BTreeSet::new(),
                };
                all.insert(*token, known);
            }
        }
    }
    report.posted = all.len();
    for note in history.iter().flatten() {
        match note {
            Observation::Acknowledged { token, seq } => {
                let known = all.get_mut(token).expect("an answer to nothing");
                report.acknowledged += usize::from(known.acknowledged_seq.is_none());
                known.acknowledged_seq = Some(*seq);
                known.seqs.insert(*seq);
            }
            Observation::DeleteRequested { token } => {
                all.get_mut(token).expect("said before").delete_requested = true
            }
            Observation::DeleteAcknowledged { token, at } => {
                let known = all.get_mut(token).expect("said before");
                report.removed += usize::from(known.removed_at.is_none());
                known.removed_at.get_or_insert(*at);
            }
            Observation::Received(_)
            | Observation::HistoryPage { .. }
            | Observation::FullHistory { .. } => {
                for copy in received_messages(note) {
                    let known = all.get_mut(&copy.token).expect("nobody said that");
                    known.expires = known.expires.or(copy.expires);
                    known.was_received = true;
                    known.seqs.insert(copy.seq);
                }
            }
            Observation::Posted { .. }
            | Observation::Connecting { .. }
            | Observation::NotResumed
            | Observation::Restarted { .. }
            | Observation::Tombstone { .. }
            | Observation::RawTokens(_) => {}
        }
    }
    all
}

fn received_messages(note: &Observation) -> &[ReceivedMessage] {
    match note {
        Observation::Received(copy) => std::slice::from_ref(copy),
        Observation::HistoryPage { messages: copies, .. }
        | Observation::FullHistory { messages: copies, .. } => copies,
        Observation::Posted { .. }
        | Observation::Acknowledged { .. }
        | Observation::DeleteRequested { .. }
        | Observation::DeleteAcknowledged { .. }
        | Observation::Connecting { .. }
        | Observation::NotResumed
        | Observation::Restarted { .. }
        | Observation::Tombstone { .. }
        | Observation::RawTokens(_) => &[],
    }
}

/// All streams go forward in the log's order, and so does the log.
fn check_order(client: usize, notes: &[Observation], report: &mut Report) {
    let mut stream = Vec::new();
    for note in notes {
        match note {
            Observation::Received(ReceivedMessage { seq, .. })
            | Observation::Tombstone { seq, .. } => stream.push(*seq),
            _ => {
                let seqs: Vec<u64> = received_messages(note).iter().map(|copy| copy.seq).collect();
                check_increasing(client, &seqs, report);
            }
        }
    }
    check_increasing(client, &stream, report);
}

fn check_increasing(client: usize, seqs: &[u64], report: &mut Report) {
    for pair in seqs.windows(2).filter(|pair| pair[0] >= pair[1]) {
        let words = || format!("{client} got {} after {}", pair[1], pair[0]);
        report.record(|report| &mut report.out_of_order, words);
    }
}

/// What was acknowledged is there once, for all whom it is for; what was not, at most once.
fn check_delivery(
    client: usize,
    notes: &[Observation],
    known: &BTreeMap<Token, TrackedMessage>,
    report: &mut Report,
) {
    let mut stream: BTreeMap<Token, usize> = BTreeMap::new();
    let mut log = stream.clone();
    let mut gaps = Vec::new();
    for note in notes {
        let place = match note {
            Observation::Restarted { from, to } => {
                gaps.push(from + 1..=*to);
                continue;
            }
            Observation::Received(_) => &mut stream,
            Observation::FullHistory { .. } => &mut log,
            _ => continue,
        };
        for copy in received_messages(note) {
            *place.entry(copy.token).or_default() += 1;
        }
    }
    let is_in_gap = |seq: &u64| gaps.iter().any(|gap| gap.contains(seq));
    for (name, counts, may_lack) in [("stream", &stream, true), ("log", &log, false)] {
        for (token, known) in known.iter().filter(|(_, known)| known.is_visible_to(client)) {
            match counts.get(token).copied().unwrap_or_default() {
                0 if may_lack && known.acknowledged_seq.as_ref().is_some_and(is_in_gap) => {}
                0 if known.must_be_delivered() => report.record(
                    |report| &mut report.lost,
                    || format!("{token} of {} is not in {client}'s {name}", known.sender),
                ),
                0 | 1 => {}
                n => report.record(
                    |report| &mut report.duplicated,
                    || format!("{token} is {n} times in {client}'s {name}"),
                ),
            }
        }
    }
}

/// What is gone is not served again, and those who have it are told.
fn check_removals(
    client: usize,
    notes: &[Observation],
    known: &BTreeMap<Token, TrackedMessage>,
    report: &mut Report,
) {
    let mut connected = Timestamp { tick: 0, wall_ms: 0 };
    let (mut has, mut told) = (BTreeSet::new(), BTreeSet::new());
    for note in notes {
        let asked = match note {
            Observation::Connecting { at } => {
                connected = *at;
                continue;
            }
            Observation::Tombstone { token, .. } => {
                told.extend(token);
                continue;
            }
            Observation::Restarted { .. } => {
                has.clear();
                continue;
            }
            Observation::HistoryPage { requested_at: asked, .. }
            | Observation::FullHistory { requested_at: asked, .. } => *asked,
            _ => connected,
        };
        for copy in received_messages(note) {
            has.insert(copy.token);
            if known[&copy.token].must_not_be_served_at(asked) {
                let words = || format!("{client} got {} back", copy.token);
                report.record(|report| &mut report.resurfaced, words);
            }
        }
    }
    for token in has.difference(&told).filter(|token| known[token].removed_at.is_some()) {
        let words = || format!("{client} was not told that {token} is removed");
        report.record(|report| &mut report.resurfaced, words);
    }
}

/// Direct messages are in nobody else's bytes.
fn check_privacy(
    client: usize,
    notes: &[Observation],
    known: &BTreeMap<Token, TrackedMessage>,
    report: &mut Report,
) {
    for note in notes {
        let Observation::RawTokens(tokens) = note else { continue };
        for token in tokens.iter().filter(|token| !known[token].is_visible_to(client)) {
            report.record(|report| &mut report.leaked, || format!("{token} came to {client}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tick: u64) -> Timestamp {
        Timestamp { tick, wall_ms: i64::try_from(tick).unwrap() }
    }

    fn received(seq: u64, token: Token) -> ReceivedMessage {
        ReceivedMessage { seq, token, expires: None }
    }

    /// Two clients; the first says 10 to all, 11 to itself alone, and 12, and removes that.
    fn valid_history() -> History {
        let said = |token, to| Observation::Posted { token, recipients: to, is_temporary: false };
        let log = |copies: &[ReceivedMessage]| Observation::FullHistory {
            requested_at: at(9),
            messages: copies.to_vec(),
        };
        let ten = received(1, 10);
        let first = vec![
            Observation::Connecting { at: at(1) },
            said(10, None),
            said(11, Some(vec![])),
            said(12, None),
            Observation::Received(ten),
            Observation::RawTokens(vec![10]),
            Observation::Acknowledged { token: 10, seq: 1 },
            Observation::Received(received(2, 11)),
            Observation::Acknowledged { token: 11, seq: 2 },
            Observation::Received(received(3, 12)),
            Observation::Acknowledged { token: 12, seq: 3 },
            Observation::DeleteRequested { token: 12 },
            Observation::Tombstone { seq: 4, token: Some(12) },
            Observation::DeleteAcknowledged { token: 12, at: at(5) },
            log(&[ten, received(2, 11)]),
        ];
        let second = vec![
            Observation::Connecting { at: at(2) },
            Observation::Received(ten),
            Observation::Received(received(3, 12)),
            Observation::Tombstone { seq: 4, token: Some(12) },
            Observation::HistoryPage { requested_at: at(3), messages: vec![ten, received(3, 12)] },
            log(&[ten]),
        ];
        vec![first, second]
    }

    /// What the checker says when the notes of the second client are changed.
    fn check_with(change: impl FnOnce(&mut Vec<Observation>)) -> Report {
        let mut history = valid_history();
        change(&mut history[1]);
        check(&history)
    }

    #[test]
    fn valid_history_is_clean() {
        let report = check(&valid_history());
        assert!(report.is_clean(), "{report}");
        assert_eq!((report.posted, report.acknowledged, report.removed), (3, 3, 1));
    }

    #[test]
    fn missing_message_is_lost() {
        assert_eq!(check_with(|notes| drop(notes.remove(1))).lost, 1);
        assert_eq!(check_with(|notes| drop(notes.pop())).lost, 1);
    }

    #[test]
    fn restarted_client_is_completed_from_the_full_history() {
        let missing = |from, to| {
            check_with(|notes| {
                notes.remove(1);
                notes.insert(1, Observation::Restarted { from, to });
            })
        };
        assert_eq!((missing(0, 1).lost, missing(1, 2).lost), (0, 1));
        let anew = Observation::Restarted { from: 2, to: 4 };
        assert_eq!(check_with(|notes| drop(notes.splice(3..5, [anew]))).resurfaced, 0);
        let no_log = check_with(|notes| {
            notes.insert(1, Observation::Restarted { from: 0, to: 9 });
            notes.pop();
        });
        assert_eq!(no_log.lost, 1);
    }

    #[test]
    fn temporary_message_may_expire_unseen() {
        let mut history = valid_history();
        history[0].push(Observation::Posted { token: 13, recipients: None, is_temporary: true });
        history[0].push(Observation::Acknowledged { token: 13, seq: 5 });
        let report = check(&history);
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.expired_unseen, 1);
    }

    #[test]
    fn repeated_message_is_duplicated() {
        assert_eq!(
            check_with(|notes| notes.push(Observation::Received(received(5, 10)))).duplicated,
            2
        );
        let twice = Observation::FullHistory {
            requested_at: at(9),
            messages: vec![received(1, 10), received(6, 10)],
        };
        assert_eq!(check_with(|notes| notes[5] = twice).duplicated, 2);
    }

    #[test]
    fn decreasing_seq_is_out_of_order() {
        assert_eq!(check_with(|notes| notes.swap(1, 2)).out_of_order, 1);
        let page = Observation::HistoryPage {
            requested_at: at(3),
            messages: vec![received(3, 12), received(1, 10)],
        };
        assert_eq!(check_with(|notes| notes[4] = page).out_of_order, 1);
    }

    #[test]
    fn removed_or_expired_message_must_not_resurface() {
        let late = |asked| Observation::HistoryPage {
            requested_at: asked,
            messages: vec![received(3, 12)],
        };
        assert_eq!(check_with(|notes| notes.push(late(at(4)))).resurfaced, 0);
        assert_eq!(check_with(|notes| notes.push(late(at(6)))).resurfaced, 1);
        assert_eq!(
            check_with(|notes| notes.insert(1, Observation::Connecting { at: at(6) })).resurfaced,
            1
        );
        assert_eq!(check_with(|notes| drop(notes.remove(3))).resurfaced, 1, "it was not told");
        let expired = ReceivedMessage { expires: Some(7), ..received(1, 10) };
        let page =
            |asked| Observation::HistoryPage { requested_at: asked, messages: vec![expired] };
        assert_eq!(
            check_with(|notes| notes[5] = page(at(6))).resurfaced,
            1,
            "the first client's log"
        );
        assert_eq!(check_with(|notes| notes[5] = page(at(7))).resurfaced, 2);
    }

    #[test]
    fn direct_message_in_foreign_bytes_is_leaked() {
        assert_eq!(check_with(|notes| notes.push(Observation::RawTokens(vec![10, 11]))).leaked, 1);
    }

    #[test]
    fn failed_resume_is_counted() {
        assert_eq!(check_with(|notes| notes.push(Observation::NotResumed)).not_resumed, 1);
    }
}
