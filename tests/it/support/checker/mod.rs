//! The history checker: whether the observations of all clients satisfy the delivery guarantees, whatever
//! faults occurred.
//!
//! Pure: it turns a [`History`] into a [`Report`]. The clients in `load_client` and `test_user` record
//! histories.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails on a panic")]

mod annotations;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;

pub(crate) use self::annotations::Annotation;
use self::annotations::TrackedAnnotation;

/// How long after a message has expired its expiry must be reported at the latest.
const REMOVAL_GRACE_MS: i64 = 2_000;

/// A unique number in the text of a message that identifies it wherever it appears.
pub(crate) type Token = u64;

/// When something happened. Ticks order events across all clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timestamp {
    /// Increases with every event of any client.
    pub(crate) tick: u64,
    /// Wall-clock time in Unix milliseconds.
    pub(crate) wall_ms: i64,
}

/// One copy of a message that a client received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReceivedMessage {
    pub(crate) seq: u64,
    pub(crate) token: Token,
    /// For a temporary message: Unix milliseconds from which on the server must not serve it.
    pub(crate) expires: Option<i64>,
}

/// Whom a message is for, in addition to its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Recipients {
    Everyone,
    Users(Vec<usize>),
    /// The members of the public room of the test.
    Room,
}

/// One action of a client, or one thing it received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Observation {
    /// The client sent a message.
    Posted { token: Token, recipients: Recipients, is_temporary: bool },
    /// The server acknowledged the message.
    Acknowledged { token: Token, seq: u64 },
    /// The client asked to delete a message.
    DeleteRequested { token: Token },
    /// The server acknowledged the deletion.
    DeleteAcknowledged { token: Token, at: Timestamp },
    /// The client asked to replace the text of its message, which has this or an earlier `text`, by `token`.
    EditRequested { text: Token, token: Token },
    /// The server acknowledged the edit.
    EditAcknowledged { token: Token, seq: u64, at: Timestamp },
    /// The client asked to add (`on`) or remove an annotation of the message that has this `text`.
    AnnotationRequested { text: Token, annotation: Annotation, on: bool, token: Token },
    /// The server acknowledged the request: it was executed at `seq` now or before, or `seq` is the head of the
    /// log, and it changed nothing.
    AnnotationAcknowledged { token: Token, seq: u64 },
    /// The stream delivered the change that was requested with `token`.
    Annotated { seq: u64, token: Token },
    /// The client asked to join the room.
    JoinRequested,
    /// The stream reported that a client joined or left the room.
    MembershipChanged { seq: u64, client: usize, is_member: bool },
    /// The server said that the message, which the client posted, does not exist or is not its own.
    Disowned { token: Token },
    /// The client is about to log in. Whatever its stream delivers from now on counts as requested now.
    Connecting { at: Timestamp },
    /// The server could not resume at the client's last `seq`.
    NotResumed,
    /// The client process restarted. Its stream does not deliver the entries after `from` up to `to`.
    Restarted { from: u64, to: u64 },
    /// The stream delivered a message.
    Received(ReceivedMessage),
    /// The stream reported that a message was removed or expired.
    Tombstone { seq: u64, token: Option<Token> },
    /// The stream delivered the edit that was requested with `token`. `text` came with it: its own, or that of a
    /// later edit.
    Edited { seq: u64, token: Token, text: Token },
    /// A page of history.
    HistoryPage { requested_at: Timestamp, messages: Vec<ReceivedMessage> },
    /// The complete history at the end of the run, oldest first.
    FullHistory { requested_at: Timestamp, messages: Vec<ReceivedMessage> },
    /// The annotations of the messages in the full history, which was observed before.
    FinalAnnotations(BTreeSet<(Token, Annotation)>),
    /// Where the server said that the client's read marker is.
    ReadMarker(u64),
    /// Tokens found anywhere in the received bytes.
    RawTokens(Vec<Token>),
}

/// Each client's observations, in the order in which it made them.
pub(crate) type History = Vec<Vec<Observation>>;

/// The result of a check. The counts from `lost` on must be 0.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) posted: usize,
    pub(crate) acknowledged: usize,
    pub(crate) removed: usize,
    /// Acknowledged edits.
    pub(crate) edited: usize,
    /// Changes of annotations that a stream delivered.
    pub(crate) annotated: usize,
    /// Acknowledged temporary messages that expired before any client received them.
    pub(crate) expired_unseen: usize,
    /// Acknowledged messages, edits and annotations missing from the log or from the stream of a recipient.
    pub(crate) lost: usize,
    /// Messages that are in the log or in a stream twice, and edits and annotations that were executed twice.
    pub(crate) duplicated: usize,
    /// Positions at which `seq` did not increase: in a stream, in a page, or among one sender's requests.
    pub(crate) out_of_order: usize,
    /// Read markers that moved back.
    pub(crate) moved_back: usize,
    /// Removed, expired or edited texts that were served again, and removals that were not reported.
    pub(crate) resurfaced: usize,
    /// Direct messages and messages to the room in the bytes of a client outside the audience.
    pub(crate) leaked: usize,
    /// Texts in the server's files that were removed or edited away.
    pub(crate) not_erased: usize,
    /// Failed resumes.
    pub(crate) not_resumed: usize,
    /// Descriptions of the first few violations.
    pub(crate) details: Vec<String>,
}

impl Report {
    pub(crate) fn is_clean(&self) -> bool {
        let Self { lost, duplicated, out_of_order, moved_back, resurfaced, leaked, .. } = self;
        let Self { not_erased, not_resumed, .. } = self;
        [lost, duplicated, out_of_order, moved_back, resurfaced, leaked, not_erased, not_resumed]
            .iter()
            .all(|count| **count == 0)
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
        let Self { posted, acknowledged, removed, edited, expired_unseen, lost, .. } = self;
        let Self { annotated, duplicated, out_of_order, resurfaced, leaked, .. } = self;
        let Self { moved_back, not_erased, not_resumed, details, .. } = self;
        write!(
            f,
            "{posted} posted, {acknowledged} acknowledged, {removed} removed, {edited} edited, {annotated} \
             annotated, {expired_unseen} expired unseen; {lost} lost, {duplicated} duplicated, {out_of_order} out of order, {moved_back} moved back, \
             {resurfaced} resurfaced, {leaked} leaked, {not_erased} not erased, {not_resumed} not resumed"
        )?;
        details.iter().try_for_each(|detail| write!(f, "\n  {detail}"))
    }
}

/// An edit as reconstructed from the observations of all clients.
struct TrackedEdit {
    acknowledged: Option<(u64, Timestamp)>,
    seqs: BTreeSet<u64>,
}

/// A message as reconstructed from the observations of all clients.
struct TrackedMessage {
    sender: usize,
    recipients: Recipients,
    is_temporary: bool,
    acknowledged_seq: Option<u64>,
    delete_requested: bool,
    removed_at: Option<Timestamp>,
    expires: Option<i64>,
    was_received: bool,
    seqs: BTreeSet<u64>,
    /// In the order in which they were requested.
    edits: Vec<TrackedEdit>,
}

impl TrackedMessage {
    /// Whether it is visible to a client that is a member of the room.
    fn is_visible_to(&self, client: usize) -> bool {
        self.sender == client
            || match &self.recipients {
                Recipients::Everyone | Recipients::Room => true,
                Recipients::Users(users) => users.contains(&client),
            }
    }

    /// Whether every recipient must have it at the end.
    fn must_be_delivered(&self) -> bool {
        self.acknowledged_seq.is_some() && !self.delete_requested && !self.is_temporary
    }

    /// Whether a request at `requested_at` must not return this version of it.
    fn must_not_be_served_at(&self, requested_at: Timestamp, version: usize) -> bool {
        self.removed_at.is_some_and(|removed| removed.tick < requested_at.tick)
            || self.expires.is_some_and(|expires| expires <= requested_at.wall_ms)
            || version < self.acknowledged_version(|at| at.tick < requested_at.tick)
    }

    /// The last version whose edit was acknowledged at such a time; 0 is the text that was posted.
    fn acknowledged_version(&self, counts: impl Fn(Timestamp) -> bool) -> usize {
        let is_counted = |edit: &TrackedEdit| edit.acknowledged.is_some_and(|(_, at)| counts(at));
        self.edits.iter().rposition(is_counted).map_or(0, |index| index + 1)
    }
}

/// All messages, each by the token that it was posted with.
#[derive(Default)]
struct Tracked {
    messages: BTreeMap<Token, TrackedMessage>,
    /// The message and the version of it that has a token as its text.
    versions: BTreeMap<Token, (Token, usize)>,
    /// Who joined the room or left it, by `seq`.
    memberships: BTreeMap<u64, (usize, bool)>,
    /// The entries that the stream of a client does not deliver, because its process restarted.
    gaps: Vec<(usize, RangeInclusive<u64>)>,
    /// Each by the token of its request.
    annotations: BTreeMap<Token, TrackedAnnotation>,
}

impl Tracked {
    /// The message that has or had this text.
    fn message(&self, token: Token) -> &TrackedMessage {
        &self.messages[&self.versions[&token].0]
    }

    fn message_mut(&mut self, token: Token) -> &mut TrackedMessage {
        let (message, _) = self.versions.get(&token).expect("observed before it was posted");
        self.messages.get_mut(message).expect("tracked")
    }

    /// The edit that replaced a text by `token`.
    fn edit_mut(&mut self, token: Token) -> &mut TrackedEdit {
        let version = self.versions.get(&token).expect("edited before it was requested").1;
        &mut self.message_mut(token).edits[version - 1]
    }

    /// Whether the stream of the client does not deliver the entry.
    fn is_in_gap(&self, client: usize, seq: u64) -> bool {
        self.gaps.iter().any(|(restarted, gap)| *restarted == client && gap.contains(&seq))
    }

    /// Since when the client has been a member of the room until the end.
    fn member_since(&self, client: usize) -> Option<u64> {
        let own = self.memberships.iter().rfind(|(_, (changed, _))| *changed == client);
        own.filter(|(_, (_, is_member))| *is_member).map(|(seq, _)| *seq)
    }

    /// Adds a request of a client, or a gap in its stream.
    fn add_request(&mut self, sender: usize, observation: &Observation) {
        match observation {
            Observation::Restarted { from, to } => self.gaps.push((sender, from + 1..=*to)),
            Observation::Posted { token, recipients, is_temporary } => {
                let message = TrackedMessage {
                    sender,
                    recipients: recipients.clone(),
                    is_temporary: *is_temporary,
                    acknowledged_seq: None,
                    delete_requested: false,
                    removed_at: None,
                    expires: None,
                    was_received: false,
                    seqs: BTreeSet::new(),
                    edits: Vec::new(),
                };
                self.messages.insert(*token, message);
                self.versions.insert(*token, (*token, 0));
            }
            Observation::EditRequested { text, token } => {
                let edits = &mut self.message_mut(*text).edits;
                edits.push(TrackedEdit { acknowledged: None, seqs: BTreeSet::new() });
                let version = edits.len();
                self.versions.insert(*token, (self.versions[text].0, version));
            }
            _ => {}
        }
    }
}

/// Checks a history against the delivery guarantees.
pub(crate) fn check(history: &History) -> Report {
    let mut report = Report::default();
    let tracked = track_messages(history, &mut report);
    for (client, observations) in history.iter().enumerate() {
        check_order(client, observations, &mut report);
        check_sender_order(client, observations, &tracked, &mut report);
        check_delivery(client, observations, &tracked, &mut report);
        check_marker(client, observations, &mut report);
        check_edits(client, observations, &tracked, &mut report);
        annotations::check_client(client, observations, &tracked, &mut report);
        check_removals(client, observations, &tracked, &mut report);
        check_privacy(client, observations, &tracked, &mut report);
        for _ in observations.iter().filter(|observation| **observation == Observation::NotResumed)
        {
            report.record(|report| &mut report.not_resumed, || format!("{client} was not resumed"));
        }
    }
    annotations::check_requests(&tracked, &mut report);
    for (token, message) in &tracked.messages {
        for seqs in message.edits.iter().map(|edit| &edit.seqs).chain([&message.seqs]) {
            if seqs.len() > 1 {
                let detail = || format!("{token} or an edit of it has the seqs {seqs:?}");
                report.record(|report| &mut report.duplicated, detail);
            }
        }
        let is_unseen = message.acknowledged_seq.is_some() && !message.was_received;
        report.expired_unseen += usize::from(is_unseen && message.is_temporary);
    }
    report
}

fn track_messages(history: &History, report: &mut Report) -> Tracked {
    let mut all = Tracked::default();
    for (sender, observations) in history.iter().enumerate() {
        for observation in observations {
            all.add_request(sender, observation);
        }
    }
    annotations::track(history, &mut all, report);
    report.posted = all.messages.len();
    for observation in history.iter().flatten() {
        match observation {
            Observation::Acknowledged { token, seq } => {
                let message = all.message_mut(*token);
                report.acknowledged += usize::from(message.acknowledged_seq.is_none());
                message.acknowledged_seq = Some(*seq);
                message.seqs.insert(*seq);
            }
            Observation::DeleteRequested { token } => {
                all.message_mut(*token).delete_requested = true;
            }
            Observation::DeleteAcknowledged { token, at } => {
                let message = all.message_mut(*token);
                report.removed += usize::from(message.removed_at.is_none());
                message.removed_at.get_or_insert(*at);
            }
            Observation::EditAcknowledged { token, seq, at } => {
                let edit = all.edit_mut(*token);
                report.edited += usize::from(edit.acknowledged.is_none());
                edit.acknowledged.get_or_insert((*seq, *at));
                edit.seqs.insert(*seq);
            }
            Observation::Edited { seq, token, .. } => {
                all.edit_mut(*token).seqs.insert(*seq);
            }
            Observation::MembershipChanged { seq, client, is_member } => {
                all.memberships.insert(*seq, (*client, *is_member));
            }
            Observation::Received(_)
            | Observation::HistoryPage { .. }
            | Observation::FullHistory { .. } => {
                for copy in received_messages(observation) {
                    let message = all.message_mut(copy.token);
                    message.expires = message.expires.or(copy.expires);
                    message.was_received = true;
                    message.seqs.insert(copy.seq);
                }
            }
            Observation::Disowned { token } => {
                report.record(|report| &mut report.lost, || format!("{token} lost its author"));
            }
            _ => {}
        }
    }
    all
}

fn received_messages(observation: &Observation) -> &[ReceivedMessage] {
    match observation {
        Observation::Received(copy) => std::slice::from_ref(copy),
        Observation::HistoryPage { messages, .. } | Observation::FullHistory { messages, .. } => {
            messages
        }
        Observation::Posted { .. }
        | Observation::Acknowledged { .. }
        | Observation::DeleteRequested { .. }
        | Observation::DeleteAcknowledged { .. }
        | Observation::EditRequested { .. }
        | Observation::AnnotationRequested { .. }
        | Observation::AnnotationAcknowledged { .. }
        | Observation::Annotated { .. }
        | Observation::FinalAnnotations(_)
        | Observation::JoinRequested
        | Observation::MembershipChanged { .. }
        | Observation::EditAcknowledged { .. }
        | Observation::Edited { .. }
        | Observation::Disowned { .. }
        | Observation::Connecting { .. }
        | Observation::NotResumed
        | Observation::Restarted { .. }
        | Observation::Tombstone { .. }
        | Observation::ReadMarker(_)
        | Observation::RawTokens(_) => &[],
    }
}

/// Checks that `seq` increases in every stream, page and log.
fn check_order(client: usize, observations: &[Observation], report: &mut Report) {
    let mut stream = Vec::new();
    for observation in observations {
        match observation {
            Observation::Received(ReceivedMessage { seq, .. })
            | Observation::Edited { seq, .. }
            | Observation::Annotated { seq, .. }
            | Observation::MembershipChanged { seq, .. }
            | Observation::Tombstone { seq, .. } => stream.push(*seq),
            _ => {
                let seqs: Vec<u64> =
                    received_messages(observation).iter().map(|copy| copy.seq).collect();
                check_increasing(client, &seqs, report);
            }
        }
    }
    check_increasing(client, &stream, report);
}

/// Checks that a client's messages and edits were stored in the order in which it requested them. A message to the
/// room is no part of it: it may have been refused, and be accepted when it is sent again after the client has joined.
fn check_sender_order(
    client: usize,
    observations: &[Observation],
    tracked: &Tracked,
    report: &mut Report,
) {
    let seqs: Vec<u64> = observations
        .iter()
        .filter_map(|observation| match observation {
            Observation::Posted { recipients: Recipients::Room, .. } => None,
            Observation::Posted { token, .. } => tracked.message(*token).acknowledged_seq,
            Observation::EditRequested { token, .. } => {
                let (message, version) = tracked.versions[token];
                tracked.messages[&message].edits[version - 1].acknowledged.map(|(seq, _)| seq)
            }
            _ => None,
        })
        .collect();
    check_increasing(client, &seqs, report);
}

fn check_increasing(client: usize, seqs: &[u64], report: &mut Report) {
    for pair in seqs.windows(2).filter(|pair| pair[0] >= pair[1]) {
        let detail = || format!("{client} got {} after {}", pair[1], pair[0]);
        report.record(|report| &mut report.out_of_order, detail);
    }
}

/// Checks that every recipient has an acknowledged message exactly once, and any other at most once.
fn check_delivery(
    client: usize,
    observations: &[Observation],
    tracked: &Tracked,
    report: &mut Report,
) {
    let mut stream: BTreeMap<Token, usize> = BTreeMap::new();
    let mut log = stream.clone();
    for observation in observations {
        let counts = match observation {
            Observation::Received(_) => &mut stream,
            Observation::FullHistory { .. } => &mut log,
            _ => continue,
        };
        for copy in received_messages(observation) {
            *counts.entry(tracked.versions[&copy.token].0).or_default() += 1;
        }
    }
    let member_since = tracked.member_since(client);
    // A stream may lack what was said before the client joined. Who has left sees nothing.
    let may_lack_room = |message: &TrackedMessage, is_stream: bool| {
        message.recipients == Recipients::Room
            && member_since.is_none_or(|since| {
                is_stream && message.acknowledged_seq.is_none_or(|seq| seq < since)
            })
    };
    let is_in_gap = |seq: u64| tracked.is_in_gap(client, seq);
    for (name, counts, may_lack) in [("stream", &stream, true), ("log", &log, false)] {
        let visible = |(_, message): &(&Token, &TrackedMessage)| message.is_visible_to(client);
        for (token, message) in tracked.messages.iter().filter(visible) {
            match counts.get(token).copied().unwrap_or_default() {
                0 if may_lack && message.acknowledged_seq.is_some_and(is_in_gap) => {}
                0 if may_lack_room(message, may_lack) => {}
                0 if message.must_be_delivered() => report.record(
                    |report| &mut report.lost,
                    || format!("{token} of {} is not in {client}'s {name}", message.sender),
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

/// Checks that the read marker of a client never moves back.
fn check_marker(client: usize, observations: &[Observation], report: &mut Report) {
    let mut last = 0;
    for observation in observations {
        let Observation::ReadMarker(seq) = observation else { continue };
        if *seq < last {
            let detail = || format!("{client}'s read marker is at {seq}, and was at {last}");
            report.record(|report| &mut report.moved_back, detail);
        }
        last = *seq;
    }
}

/// Checks that a client gets the edits of every message that it has, and no older text after an edit, in any
/// form.
fn check_edits(
    client: usize,
    observations: &[Observation],
    tracked: &Tracked,
    report: &mut Report,
) {
    let mut has: BTreeMap<Token, usize> = BTreeMap::new();
    let mut edited = has.clone();
    for observation in observations {
        match observation {
            Observation::Restarted { .. } => has.clear(),
            Observation::Edited { text, .. } => {
                let (message, version) = tracked.versions[text];
                edited.insert(message, version);
                has.entry(message).and_modify(|known| *known = version.max(*known));
            }
            Observation::RawTokens(tokens) => {
                for token in tokens {
                    let (message, version) = tracked.versions[token];
                    if edited.get(&message).is_some_and(|shown| version < *shown) {
                        let detail = || format!("{client} got {token} after an edit of it");
                        report.record(|report| &mut report.resurfaced, detail);
                    }
                }
            }
            _ => {
                for copy in received_messages(observation) {
                    let (message, version) = tracked.versions[&copy.token];
                    has.insert(message, version.max(has.get(&message).copied().unwrap_or(0)));
                }
            }
        }
    }
    for (token, version) in has {
        let message = &tracked.messages[&token];
        let newest = message.acknowledged_version(|_| true);
        if version < newest && message.must_be_delivered() {
            let detail = || format!("{client} has version {version} of {token}, not {newest}");
            report.record(|report| &mut report.lost, detail);
        }
    }
}

/// Checks that removed and expired messages are not served again, and that removals are reported to every
/// client that has the message.
fn check_removals(
    client: usize,
    observations: &[Observation],
    tracked: &Tracked,
    report: &mut Report,
) {
    let mut connected = Timestamp { tick: 0, wall_ms: 0 };
    let (mut has, mut reported) = (BTreeSet::new(), BTreeSet::new());
    let mut ended = None;
    for observation in observations {
        let requested_at = match observation {
            Observation::Connecting { at } => {
                connected = *at;
                continue;
            }
            Observation::Tombstone { token, .. } => {
                reported.extend(token.map(|token| tracked.versions[&token].0));
                continue;
            }
            Observation::Restarted { .. } => {
                has.clear();
                continue;
            }
            Observation::FullHistory { requested_at, .. } => {
                ended = Some(requested_at.wall_ms);
                *requested_at
            }
            Observation::HistoryPage { requested_at, .. } => *requested_at,
            _ => connected,
        };
        for copy in received_messages(observation) {
            let (message, version) = tracked.versions[&copy.token];
            has.insert(message);
            if tracked.messages[&message].must_not_be_served_at(requested_at, version) {
                let detail = || format!("{client} got {} after its end", copy.token);
                report.record(|report| &mut report.resurfaced, detail);
            }
        }
    }
    let must_be_reported = |token: &&Token| {
        let message = &tracked.messages[*token];
        let is_expired = |expires| ended.is_some_and(|ended| ended >= expires + REMOVAL_GRACE_MS);
        message.removed_at.is_some() || message.expires.is_some_and(is_expired)
    };
    for token in has.difference(&reported).filter(must_be_reported) {
        let detail = || format!("{client} did not get the removal of {token}");
        report.record(|report| &mut report.resurfaced, detail);
    }
}

/// Checks that direct messages and annotations of them appear only in the bytes of their audience, and messages to the room only in
/// those of clients that have asked to join it and have not left.
fn check_privacy(
    client: usize,
    observations: &[Observation],
    tracked: &Tracked,
    report: &mut Report,
) {
    let mut may_be_member = false;
    for observation in observations {
        match observation {
            Observation::JoinRequested => may_be_member = true,
            Observation::MembershipChanged { client: changed, is_member, .. }
                if *changed == client =>
            {
                may_be_member = *is_member;
            }
            _ => {
                let leaked = named_tokens(observation, tracked).iter().filter(|token| {
                    let message = tracked.message(**token);
                    let is_in_room = message.recipients == Recipients::Room;
                    !message.is_visible_to(client)
                        || is_in_room && !may_be_member && message.sender != client
                });
                for token in leaked {
                    let detail = || format!("{token} came to {client}");
                    report.record(|report| &mut report.leaked, detail);
                }
            }
        }
    }
}

/// The tokens in the bytes that the client received, and that of the message that an annotation is about.
fn named_tokens<'a>(observation: &'a Observation, tracked: &'a Tracked) -> &'a [Token] {
    match observation {
        Observation::RawTokens(tokens) => tokens,
        Observation::Annotated { token, .. } => {
            std::slice::from_ref(&tracked.annotations[token].key.0)
        }
        _ => &[],
    }
}

/// Checks that the server's files contain no text that was removed or edited away. `found` are the tokens in the
/// files, after a scrub.
pub(crate) fn check_files(history: &History, found: &BTreeSet<Token>, report: &mut Report) {
    let tracked = track_messages(history, &mut Report::default());
    for token in found {
        let (message, version) = tracked.versions[token];
        let message = &tracked.messages[&message];
        if message.removed_at.is_some() || version < message.acknowledged_version(|_| true) {
            report.record(|report| &mut report.not_erased, || format!("{token} is in a file"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn at(tick: u64) -> Timestamp {
        Timestamp { tick, wall_ms: i64::try_from(tick).unwrap() }
    }

    pub(super) fn received(seq: u64, token: Token) -> ReceivedMessage {
        ReceivedMessage { seq, token, expires: None }
    }

    /// Two clients. The first posts 10 to everyone, 11 to itself only, and 12 to everyone, then deletes 12.
    fn valid_history() -> History {
        let posted =
            |token, recipients| Observation::Posted { token, recipients, is_temporary: false };
        let log = |messages: &[ReceivedMessage]| Observation::FullHistory {
            requested_at: at(9),
            messages: messages.to_vec(),
        };
        let ten = received(1, 10);
        let first = vec![
            Observation::Connecting { at: at(1) },
            posted(10, Recipients::Everyone),
            posted(11, Recipients::Users(vec![])),
            posted(12, Recipients::Everyone),
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

    /// The report after a change to the observations of the second client.
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
    fn disowned_message_is_lost() {
        let disowned = Observation::Disowned { token: 10 };
        assert_eq!(check_with(|observations| observations.push(disowned)).lost, 1);
    }

    #[test]
    fn missing_message_is_lost() {
        assert_eq!(check_with(|observations| drop(observations.remove(1))).lost, 1);
        assert_eq!(check_with(|observations| drop(observations.pop())).lost, 1);
    }

    #[test]
    fn restarted_client_is_completed_from_the_full_history() {
        let missing = |from, to| {
            check_with(|observations| {
                observations.remove(1);
                observations.insert(1, Observation::Restarted { from, to });
            })
        };
        assert_eq!((missing(0, 1).lost, missing(1, 2).lost), (0, 1));
        let restarted = Observation::Restarted { from: 2, to: 4 };
        assert_eq!(
            check_with(|observations| drop(observations.splice(3..5, [restarted]))).resurfaced,
            0
        );
        let no_log = check_with(|observations| {
            observations.insert(1, Observation::Restarted { from: 0, to: 9 });
            observations.pop();
        });
        assert_eq!(no_log.lost, 1);
    }

    #[test]
    fn temporary_message_may_expire_unseen() {
        let mut history = valid_history();
        let recipients = Recipients::Everyone;
        history[0].push(Observation::Posted { token: 13, recipients, is_temporary: true });
        history[0].push(Observation::Acknowledged { token: 13, seq: 5 });
        let report = check(&history);
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.expired_unseen, 1);
    }

    #[test]
    fn repeated_message_is_duplicated() {
        assert_eq!(
            check_with(|observations| observations.push(Observation::Received(received(5, 10))))
                .duplicated,
            2
        );
        let twice = Observation::FullHistory {
            requested_at: at(9),
            messages: vec![received(1, 10), received(6, 10)],
        };
        assert_eq!(check_with(|observations| observations[5] = twice).duplicated, 2);
    }

    #[test]
    fn decreasing_seq_is_out_of_order() {
        assert_eq!(check_with(|observations| observations.swap(1, 2)).out_of_order, 1);
        let page = Observation::HistoryPage {
            requested_at: at(3),
            messages: vec![received(3, 12), received(1, 10)],
        };
        assert_eq!(check_with(|observations| observations[4] = page).out_of_order, 1);
    }

    #[test]
    fn messages_of_a_sender_keep_their_order() {
        let mut history = valid_history();
        history[0].swap(1, 3);
        assert_eq!(check(&history).out_of_order, 2);
    }

    #[test]
    fn unreported_expiry_is_counted() {
        let brief = ReceivedMessage { expires: Some(8), ..received(2, 13) };
        let check_at = |wall_ms, is_reported| {
            let mut history = valid_history();
            let posted = Observation::Posted {
                token: 13,
                recipients: Recipients::Users(vec![1]),
                is_temporary: true,
            };
            history[0].push(posted);
            history[1].insert(2, Observation::Received(brief));
            if is_reported {
                history[1].insert(5, Observation::Tombstone { seq: 5, token: Some(13) });
            }
            let requested_at = Timestamp { tick: 9, wall_ms };
            let messages = vec![received(1, 10)];
            *history[1].last_mut().unwrap() = Observation::FullHistory { requested_at, messages };
            check(&history).resurfaced
        };
        assert_eq!(check_at(7 + REMOVAL_GRACE_MS, false), 0);
        assert_eq!(check_at(8 + REMOVAL_GRACE_MS, false), 1);
        assert_eq!(check_at(8 + REMOVAL_GRACE_MS, true), 0);
    }

    #[test]
    fn removed_or_expired_message_must_not_resurface() {
        let late = |requested_at| Observation::HistoryPage {
            requested_at,
            messages: vec![received(3, 12)],
        };
        assert_eq!(check_with(|observations| observations.push(late(at(4)))).resurfaced, 0);
        assert_eq!(check_with(|observations| observations.push(late(at(6)))).resurfaced, 1);
        assert_eq!(
            check_with(|observations| observations.insert(1, Observation::Connecting { at: at(6) })).resurfaced,
            1
        );
        assert_eq!(
            check_with(|observations| drop(observations.remove(3))).resurfaced,
            1,
            "removal not reported"
        );
        let expired = ReceivedMessage { expires: Some(7), ..received(1, 10) };
        let page =
            |requested_at| Observation::HistoryPage { requested_at, messages: vec![expired] };
        assert_eq!(
            check_with(|observations| observations[5] = page(at(6))).resurfaced,
            1,
            "the first client's log"
        );
        assert_eq!(check_with(|observations| observations[5] = page(at(7))).resurfaced, 2);
    }

    /// The first client edits 10 to 20 and then to 21.
    fn edited_history() -> History {
        let mut history = valid_history();
        let requested = |text, token| Observation::EditRequested { text, token };
        let edited = |seq, token, text| Observation::Edited { seq, token, text };
        let acknowledged =
            |token, seq, tick| Observation::EditAcknowledged { token, seq, at: at(tick) };
        let log = Observation::FullHistory {
            requested_at: at(9),
            messages: vec![received(1, 21), received(2, 11)],
        };
        history[0].pop();
        history[0].extend([
            requested(10, 20),
            requested(20, 21),
            edited(5, 20, 20),
            acknowledged(20, 5, 6),
            edited(6, 21, 21),
            acknowledged(21, 6, 7),
            log,
        ]);
        history[1].pop();
        history[1].extend([
            edited(5, 20, 21),
            edited(6, 21, 21),
            Observation::RawTokens(vec![21]),
            Observation::FullHistory { requested_at: at(9), messages: vec![received(1, 21)] },
        ]);
        history
    }

    fn check_edited_with(change: impl FnOnce(&mut Vec<Observation>)) -> Report {
        let mut history = edited_history();
        change(&mut history[1]);
        check(&history)
    }

    #[test]
    fn edits_are_checked() {
        let report = check(&edited_history());
        assert!(report.is_clean() && report.edited == 2, "{report}");
        let mut files = Report::default();
        check_files(&edited_history(), &[10, 11, 12, 20, 21].into(), &mut files);
        assert_eq!(files.not_erased, 3, "10, 12 and 20 are in the files");
        let with = |change: fn(&mut Vec<Observation>)| check_edited_with(change);
        let old_page = |requested_at| Observation::HistoryPage {
            requested_at,
            messages: vec![received(1, 20)],
        };
        let at_page =
            |tick| check_edited_with(|observations| observations.push(old_page(at(tick))));
        assert_eq!((at_page(7).resurfaced, at_page(8).resurfaced), (0, 1), "an old text in a page");
        let raw = with(|observations| observations.push(Observation::RawTokens(vec![20])));
        assert_eq!(raw.resurfaced, 1, "an old text in any bytes after the edit");
        let lost = with(|observations| drop(observations.splice(5.., [])));
        assert_eq!(lost.lost, 2, "the edit is not in the stream, and there is no log: {lost}");
        let twice = with(|observations| {
            observations.push(Observation::Edited { seq: 7, token: 21, text: 21 });
        });
        assert_eq!(twice.duplicated, 1);
        let reordered = with(|observations| observations.swap(5, 6));
        assert_eq!(reordered.out_of_order, 1);
    }

    #[test]
    fn edits_of_a_sender_keep_their_order() {
        let mut history = edited_history();
        for observation in history.iter_mut().flatten() {
            match observation {
                Observation::EditAcknowledged { token: 20, seq, .. } => *seq = 6,
                Observation::EditAcknowledged { token: 21, seq, .. } => *seq = 5,
                _ => {}
            }
        }
        assert!(check(&history).out_of_order > 0);
    }

    #[test]
    fn direct_message_in_foreign_bytes_is_leaked() {
        assert_eq!(
            check_with(|observations| observations.push(Observation::RawTokens(vec![10, 11])))
                .leaked,
            1
        );
    }

    /// The first client creates the room. The second joins, and leaves again between 30 and 31.
    fn room_history() -> History {
        let mut history = valid_history();
        let changed =
            |seq, client, is_member| Observation::MembershipChanged { seq, client, is_member };
        let posted = |token| Observation::Posted {
            token,
            recipients: Recipients::Room,
            is_temporary: false,
        };
        let acknowledged = |token, seq| Observation::Acknowledged { token, seq };
        let log = |messages| Observation::FullHistory { requested_at: at(9), messages };
        let (thirty, thirty_one) = (received(7, 30), received(9, 31));
        history[0].pop();
        history[0].extend([changed(5, 0, true), changed(6, 1, true), posted(30), posted(31)]);
        history[0].extend([Observation::Received(thirty), acknowledged(30, 7)]);
        history[0].extend([changed(8, 1, false), Observation::Received(thirty_one)]);
        history[0].push(acknowledged(31, 9));
        history[0].push(log(vec![received(1, 10), received(2, 11), thirty, thirty_one]));
        let log = history[1].pop().unwrap();
        history[1].extend([Observation::JoinRequested, changed(6, 1, true)]);
        history[1].extend([Observation::Received(thirty), Observation::RawTokens(vec![30])]);
        history[1].extend([changed(8, 1, false), log]);
        history
    }

    #[test]
    fn messages_to_a_room_reach_its_members_alone() {
        let report = check(&room_history());
        assert!(report.is_clean(), "{report}");
        let mut late = room_history();
        late[1].push(Observation::RawTokens(vec![30]));
        assert_eq!(check(&late).leaked, 1, "after the second client has left");
        let mut early = room_history();
        early[1].insert(1, Observation::RawTokens(vec![30]));
        assert_eq!(check(&early).leaked, 1, "before it asked to join");
        let mut stays = room_history();
        for observations in &mut stays {
            let is_leaving = |observation: &Observation| {
                matches!(observation, Observation::MembershipChanged { seq: 8, .. })
            };
            observations.retain(|observation| !is_leaving(observation));
        }
        let report = check(&stays);
        assert_eq!(report.lost, 3, "31 in its stream, and both in its log: {report}");
    }

    #[test]
    fn read_marker_that_moves_back_is_counted() {
        let markers = |seqs: &[u64]| {
            let seen: Vec<_> = seqs.iter().map(|seq| Observation::ReadMarker(*seq)).collect();
            check_with(|observations| observations.extend(seen)).moved_back
        };
        assert_eq!((markers(&[1, 1, 4]), markers(&[1, 4, 3])), (0, 1));
    }

    #[test]
    fn failed_resume_is_counted() {
        assert_eq!(
            check_with(|observations| observations.push(Observation::NotResumed)).not_resumed,
            1
        );
    }
}
