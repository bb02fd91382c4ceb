//! The tail of the log in memory: the latest events as encoded bytes, shared by all sessions.
//!
//! The fan-out appends every event before it pushes it to the live sessions. A session that has fallen
//! behind reads from here, and from the log only what is older. It returns to the live feed under the
//! tail's lock: an event is either in the tail by then, or it is pushed to the session afterwards.
//!
//! The tail also keeps removed text from being sent. A removed message is taken out of the tail, and out
//! of the answers that were read from the log before the removal. An edited one has its new text, in both.
//!
//! Locks are taken in this order: the tail, then a send queue.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::limits::{CATCH_UP_BYTES, TAIL_BYTES, TAIL_EVENT_COST, TAIL_EVENT_OVERHEAD};
use super::send_queue::{Frame, SendQueue};
use crate::protocol::event::{Edited, Event};
use crate::protocol::id::{MessageId, RoomName, Seq, UserId};
use crate::protocol::message::{Message, Millis};
use crate::protocol::request::Dialect;
use crate::protocol::room::{RoomChange, RoomChanged};

/// The latest events of the log. See [`TAIL_BYTES`].
#[derive(Debug)]
pub(super) struct Tail(Mutex<TailState>);

#[derive(Debug)]
struct TailState {
    events: VecDeque<Stored>,
    /// The sum of [`TailEvent::weight`].
    weight: usize,
    /// The tail has all events after this one.
    start: Seq,
    /// The last event that was appended.
    head: Seq,
    /// The events in the tail that contain the text of a message: the message, and its last edit.
    texts: HashMap<MessageId, Vec<Seq>>,
    /// How many events share each list of viewers, by its address: the list counts as weight once.
    viewer_lists: HashMap<usize, usize>,
    /// The last event in the tail by which each user left a room. The log knows what they still may see.
    departures: HashMap<UserId, Seq>,
    /// What has made answers outdated since the oldest of `reads` began.
    revisions: VecDeque<(Seq, Revision)>,
    /// How many reads began when each of these events was the head.
    reads: BTreeMap<Seq, usize>,
}

/// An event with the batch that its bytes are part of.
#[derive(Debug)]
struct Stored {
    batch: Bytes,
    event: TailEvent,
}

/// An event in the tail.
#[derive(Debug)]
pub(super) struct TailEvent {
    pub(super) seq: Seq,
    /// Where it is in its batch; empty if its message was removed.
    pub(super) range: Range<usize>,
    /// The encoding for original clients. `None` if none was connected.
    pub(super) original: Option<Bytes>,
    /// Who may see it, ordered by ID; `None` is everyone.
    pub(super) viewers: Option<Arc<[UserId]>>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Message {
        id: MessageId,
        expires: Option<Millis>,
    },
    Edit(MessageId),
    Removal(MessageId),
    /// The members of a room have changed: who came, and who left.
    Members {
        room: RoomName,
        came: Vec<UserId>,
        left: Vec<UserId>,
    },
    Other,
}

/// What makes an answer outdated that was read before it.
#[derive(Debug)]
enum Revision {
    /// The message has another text, or none.
    Text(MessageId),
    /// The user may not see this room any more.
    Left(RoomName, UserId),
    /// The list of the user's conversations is another one.
    Conversations(UserId),
}

/// Where a session that is behind goes on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CatchUp {
    /// It sends the frames that were returned.
    Tail,
    /// It reads the events from the log that are after `after`, up to `until`.
    Log { viewer: UserId, after: Seq, until: Seq },
}

impl TailEvent {
    pub(super) fn new(
        event: &Event,
        seq: Seq,
        range: Range<usize>,
        original: Option<Bytes>,
        viewers: Option<Arc<[UserId]>>,
    ) -> Self {
        let content = match event {
            Event::Posted(message) => {
                Content::Message { id: message.id, expires: message.expires() }
            }
            Event::Edited(edited) => Content::Edit(edited.id),
            Event::RoomChanged(changed) => Content::of_room(changed),
            _ => event.removed_message().map_or(Content::Other, Content::Removal),
        };
        Self { seq, range, original, viewers, content }
    }

    /// Its weight without the list of viewers.
    fn weight(&self) -> usize {
        self.range.len() + self.original.as_ref().map_or(0, Bytes::len) + TAIL_EVENT_OVERHEAD
    }

    /// The same as what the log would return: removed and expired messages are missing.
    fn is_visible(&self, viewer: &UserId, now: Millis) -> bool {
        let is_expired = match self.content {
            Content::Message { expires, .. } => expires.is_some_and(|at| at <= now),
            _ => false,
        };
        !self.range.is_empty()
            && !is_expired
            && self.viewers.as_ref().is_none_or(|viewers| viewers.binary_search(viewer).is_ok())
    }
}

impl Content {
    fn of_room(changed: &RoomChanged) -> Self {
        let by = || changed.by.iter().cloned().collect();
        let (came, left) = match &changed.change {
            RoomChange::Created | RoomChange::Joined => (by(), Vec::new()),
            RoomChange::Added(users) => (users.clone(), Vec::new()),
            RoomChange::Left => (Vec::new(), by()),
            RoomChange::Removed(users) => (Vec::new(), users.clone()),
            RoomChange::Topic | RoomChange::Archived => return Self::Other,
        };
        Self::Members { room: changed.room.clone(), came, left }
    }
}

impl Tail {
    /// An empty tail; `head` is the last event of the log.
    pub(super) fn new(head: Seq) -> Self {
        Self(Mutex::new(TailState {
            events: VecDeque::new(),
            weight: 0,
            start: head,
            head,
            texts: HashMap::new(),
            viewer_lists: HashMap::new(),
            departures: HashMap::new(),
            revisions: VecDeque::new(),
            reads: BTreeMap::new(),
        }))
    }

    /// Appends events whose bytes are in `batch`. Has to be called before they are sent to any session.
    pub(super) fn append(&self, batch: &Bytes, events: Vec<TailEvent>) {
        let mut state = self.state();
        for event in events {
            state.append(batch, event);
        }
    }

    /// A read marker or notification setting of a user has changed.
    pub(super) fn on_setting(&self, user: &UserId) {
        let mut state = self.state();
        // It follows the last event, which a read may reflect already.
        let seq = Seq(state.head.0 + 1);
        state.record(seq, || Revision::Conversations(user.clone()));
    }

    /// Drops the events up to `horizon`.
    pub(super) fn forget_through(&self, horizon: Seq) {
        let mut state = self.state();
        while state.events.front().is_some_and(|stored| stored.event.seq <= horizon) {
            state.drop_oldest();
        }
        state.start = state.start.max(horizon);
    }

    /// Moves to `frames` what the session of `queue` sends next: what is queued, then events that it
    /// missed, up to [`CATCH_UP_BYTES`], then LIVE if it has all events.
    pub(super) fn catch_up(
        &self,
        queue: &SendQueue,
        dialect: Dialect,
        now: Millis,
        frames: &mut Vec<Frame>,
    ) -> CatchUp {
        let state = self.state();
        let Some((viewer, after)) = queue.position() else { return CatchUp::Tail };
        let departure = state.departures.get(&viewer).copied().unwrap_or_default();
        let start = state.start.max(departure);
        if after < start {
            return CatchUp::Log { viewer, after, until: start };
        }
        let mut events = Vec::new();
        let up_to = state.collect(&viewer, after, dialect, now, &mut events);
        let is_behind = up_to < state.head;
        // Answers that are queued were read before some of these events.
        queue.advance(up_to, is_behind, frames);
        frames.append(&mut events);
        if !is_behind && dialect == Dialect::Extended {
            frames.push(Frame::Transient(Event::Live(up_to).encode()));
        }
        CatchUp::Tail
    }

    fn state(&self) -> MutexGuard<'_, TailState> {
        // The state is consistent even if a holder of the lock panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TailState {
    fn append(&mut self, batch: &Bytes, event: TailEvent) {
        self.head = event.seq;
        match &event.content {
            Content::Message { id, .. } => {
                self.texts.insert(*id, vec![event.seq]);
            }
            Content::Edit(id) => {
                self.replace_text(*id, batch, &event.range);
                self.texts.entry(*id).or_default().push(event.seq);
                self.record(event.seq, || Revision::Text(*id));
            }
            Content::Removal(id) => {
                for seq in self.texts.remove(id).into_iter().flatten() {
                    self.replace_event(seq, Bytes::new());
                }
                self.record(event.seq, || Revision::Text(*id));
            }
            Content::Members { room, came, left } => {
                for user in left {
                    self.departures.insert(user.clone(), event.seq);
                    self.record(event.seq, || Revision::Left(room.clone(), user.clone()));
                }
                for user in came.iter().chain(left) {
                    self.record(event.seq, || Revision::Conversations(user.clone()));
                }
            }
            Content::Other => {}
        }
        self.weight += event.weight() + self.share_viewers(&event);
        self.events.push_back(Stored { batch: batch.clone(), event });
        while self.weight > TAIL_BYTES {
            self.drop_oldest();
        }
    }

    /// The weight of an event's list of viewers, if it is the first with this list.
    fn share_viewers(&mut self, event: &TailEvent) -> usize {
        let Some(viewers) = &event.viewers else { return 0 };
        let count = self.viewer_lists.entry(address(viewers)).or_default();
        *count += 1;
        if *count == 1 { size_of_val::<[UserId]>(viewers) } else { 0 }
    }

    /// The weight of an event's list of viewers, if it is the last with this list.
    fn release_viewers(&mut self, event: &TailEvent) -> usize {
        let Some(viewers) = &event.viewers else { return 0 };
        match self.viewer_lists.get_mut(&address(viewers)) {
            Some(count) if *count > 1 => {
                *count -= 1;
                0
            }
            Some(_) | None => {
                self.viewer_lists.remove(&address(viewers));
                size_of_val::<[UserId]>(viewers)
            }
        }
    }

    fn drop_oldest(&mut self) {
        let Some(Stored { event, .. }) = self.events.pop_front() else { return };
        self.weight -= event.weight() + self.release_viewers(&event);
        self.start = event.seq;
        if let Content::Members { left, .. } = &event.content {
            for user in left {
                if self.departures.get(user) == Some(&event.seq) {
                    self.departures.remove(user);
                }
            }
        }
        if let Content::Message { id, .. } | Content::Edit(id) = event.content
            && let Some(seqs) = self.texts.get_mut(&id)
        {
            seqs.retain(|seq| *seq != event.seq);
            if seqs.is_empty() {
                self.texts.remove(&id);
            }
        }
    }

    fn record(&mut self, seq: Seq, revision: impl FnOnce() -> Revision) {
        if !self.reads.is_empty() {
            self.revisions.push_back((seq, revision()));
        }
    }

    fn find(&self, seq: Seq) -> Option<&Stored> {
        let index = self.events.partition_point(|stored| stored.event.seq < seq);
        self.events.get(index).filter(|stored| stored.event.seq == seq)
    }

    /// Gives an event other bytes; none if it may not be sent any more.
    fn replace_event(&mut self, seq: Seq, bytes: Bytes) {
        let index = self.events.partition_point(|stored| stored.event.seq < seq);
        let found = self.events.get_mut(index).filter(|stored| stored.event.seq == seq);
        if let Some(Stored { batch, event }) = found {
            self.weight -= event.weight();
            // An original client gets the text with the edit.
            (event.range, event.original) = (0..bytes.len(), None);
            *batch = bytes;
            self.weight += event.weight();
        }
    }

    /// Gives a message in the tail its new text, and takes out an earlier edit.
    fn replace_text(&mut self, id: MessageId, batch: &Bytes, edit: &Range<usize>) {
        let Some(edited) = decode_edit(batch, edit) else { return };
        for seq in self.texts.remove(&id).into_iter().flatten() {
            let bytes = self.find(seq).and_then(|stored| {
                let event = decode(&stored.batch, &stored.event.range)?;
                let Event::Posted(mut message) = event else { return None };
                edited.apply_to(&mut message);
                Some(Event::Posted(message).encode())
            });
            if bytes.is_some() {
                self.texts.entry(id).or_default().push(seq);
            }
            self.replace_event(seq, bytes.unwrap_or_default());
        }
    }

    /// The last edit of a message, if it is in the tail.
    fn latest_edit(&self, id: MessageId) -> Option<Edited> {
        let stored = self.find(*self.texts.get(&id)?.last()?)?;
        decode_edit(&stored.batch, &stored.event.range)
    }

    /// Adds the events after `after` that `viewer` may see. Returns up to where they are complete.
    fn collect(
        &self,
        viewer: &UserId,
        after: Seq,
        dialect: Dialect,
        now: Millis,
        frames: &mut Vec<Frame>,
    ) -> Seq {
        let first = self.events.partition_point(|stored| stored.event.seq <= after);
        let (mut up_to, mut cost) = (after, 0);
        let mut run = Run::default();
        for Stored { batch, event } in self.events.range(first..) {
            if cost >= CATCH_UP_BYTES {
                run.finish(frames);
                return up_to;
            }
            up_to = event.seq;
            cost += TAIL_EVENT_COST;
            if !event.is_visible(viewer, now) {
                continue;
            }
            cost += event.range.len();
            match dialect {
                Dialect::Extended => run.add(batch, &event.range, frames),
                Dialect::Original => {
                    frames.extend(event.original.clone().map(|bytes| Frame::Events(bytes, 1)));
                }
            }
        }
        run.finish(frames);
        self.head
    }
}

/// Events that follow each other in one batch.
#[derive(Debug, Default)]
struct Run {
    batch: Bytes,
    range: Range<usize>,
    count: u64,
}

impl Run {
    fn add(&mut self, batch: &Bytes, range: &Range<usize>, frames: &mut Vec<Frame>) {
        let is_next = self.batch.as_ptr() == batch.as_ptr()
            && self.range.end == range.start
            && self.count > 0;
        if is_next {
            self.range.end = range.end;
            self.count += 1;
        } else {
            let next = Self { batch: batch.clone(), range: range.clone(), count: 1 };
            std::mem::replace(self, next).finish(frames);
        }
    }

    fn finish(self, frames: &mut Vec<Frame>) {
        if self.count > 0 {
            frames.push(Frame::Events(self.batch.slice(self.range), self.count));
        }
    }
}

/// Where a shared list is in memory.
fn address(viewers: &Arc<[UserId]>) -> usize {
    viewers.as_ptr().addr()
}

fn decode(batch: &Bytes, range: &Range<usize>) -> Option<Event> {
    Event::decode(batch.get(range.clone())?).ok()?
}

fn decode_edit(batch: &Bytes, range: &Range<usize>) -> Option<Edited> {
    match decode(batch, range)? {
        Event::Edited(edited) => Some(edited),
        _ => None,
    }
}

/// A request that is being answered from the log. Dropping it ends the request.
#[derive(Debug)]
pub(super) struct PendingRead {
    tail: Arc<Tail>,
    queue: Arc<SendQueue>,
    viewer: UserId,
    dialect: Dialect,
    /// What is read from now on reflects all events up to here.
    since: Seq,
}

impl PendingRead {
    /// Call it before the log is read.
    pub(super) fn new(
        tail: Arc<Tail>,
        queue: Arc<SendQueue>,
        viewer: UserId,
        dialect: Dialect,
    ) -> Self {
        let since = tail.state().begin_read();
        queue.accept_read();
        Self { tail, queue, viewer, dialect, since }
    }

    /// Waits until the session has ended: nobody takes an answer any more.
    pub(super) async fn abandoned(&self) {
        self.queue.abandoned().await;
    }

    /// The last event so far: what is read from now on reflects it.
    pub(super) fn head(&self) -> Seq {
        self.tail.state().head
    }

    /// Queues a list of the user's conversations that was read after `since`, unless it has changed since
    /// then: the client was told of the change at once, and must not be told of an older state after it.
    /// Returns whether it was queued.
    pub(super) fn answer_list(&self, list: &Event, since: Seq) -> bool {
        let bytes = self.encode(list);
        let state = self.tail.state();
        let is_outdated = state.revisions_since(since).any(
            |revision| matches!(revision, Revision::Conversations(user) if *user == self.viewer),
        );
        if let Some(bytes) = bytes.filter(|_| !is_outdated) {
            self.queue.push_answer(Frame::Answer(bytes));
        }
        !is_outdated
    }

    /// Queues an answer. Messages that were edited since they were read have their new text; those that
    /// were removed, or that the user may not see any more, are left out.
    pub(super) fn answer(&self, mut event: Event) {
        let mut bytes = self.encode(&event);
        let state = self.tail.state();
        if let Some(messages) = messages_mut(&mut event)
            && state.revise(self.since, &self.viewer, messages)
        {
            bytes = self.encode(&event);
        }
        // Under the lock: a removal is appended, and so sent, only after this.
        if let Some(bytes) = bytes {
            self.queue.push_answer(Frame::Answer(bytes));
        }
    }

    /// `None` if the client does not know such answers.
    fn encode(&self, event: &Event) -> Option<Bytes> {
        match self.dialect {
            Dialect::Extended => Some(event.encode()),
            Dialect::Original => event.encode_for_original(),
        }
    }
}

impl Drop for PendingRead {
    fn drop(&mut self) {
        self.tail.state().end_read(self.since);
        self.queue.end_read();
    }
}

impl TailState {
    fn begin_read(&mut self) -> Seq {
        *self.reads.entry(self.head).or_default() += 1;
        self.head
    }

    fn revisions_since(&self, since: Seq) -> impl Iterator<Item = &Revision> {
        let first = self.revisions.partition_point(|(seq, _)| *seq <= since);
        self.revisions.range(first..).map(|(_, revision)| revision)
    }

    /// Brings messages up to date that were read at `since`. Returns whether that changed anything.
    fn revise(&self, since: Seq, viewer: &UserId, messages: &mut Vec<Message>) -> bool {
        let mut texts = HashSet::new();
        let mut rooms = HashSet::new();
        for revision in self.revisions_since(since) {
            match revision {
                Revision::Text(id) => drop(texts.insert(id)),
                Revision::Left(room, user) if user == viewer => drop(rooms.insert(room)),
                Revision::Left(..) | Revision::Conversations(_) => {}
            }
        }
        let mut is_changed = false;
        messages.retain_mut(|message| {
            if message.audience.room().is_some_and(|room| rooms.contains(room)) {
                is_changed = true;
                return false;
            }
            if !texts.contains(&message.id) {
                return true;
            }
            is_changed = true;
            let edit = self.latest_edit(message.id);
            edit.map(|edit| edit.apply_to(message)).is_some()
        });
        is_changed
    }

    /// Forgets the revisions that no read needs any more.
    fn end_read(&mut self, since: Seq) {
        if let Some(count) = self.reads.get_mut(&since) {
            *count -= 1;
            if *count == 0 {
                self.reads.remove(&since);
            }
        }
        match self.reads.first_key_value() {
            None => self.revisions.clear(),
            Some((oldest, _)) => {
                let unneeded = self.revisions.partition_point(|(seq, _)| seq <= oldest);
                self.revisions.drain(..unneeded);
            }
        }
    }
}

fn messages_mut(event: &mut Event) -> Option<&mut Vec<Message>> {
    match event {
        Event::History(page) => Some(&mut page.messages),
        Event::SearchResults(results) => Some(&mut results.messages),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::protocol::event::{Deleted, HistoryPage};
    use crate::protocol::mention::Mentions;
    use crate::protocol::message::{Audience, MessageKind};
    use crate::protocol::room::RoomState;
    use crate::protocol::text::SafeText;
    use crate::server::send_queue::SendQueueItem;

    const NOW: Millis = 1_800_000_000_000;

    fn user(name: &str) -> UserId {
        name.parse().unwrap()
    }

    fn id(seq: u64) -> MessageId {
        MessageId::from_number(100_000 + u32::try_from(seq).unwrap()).unwrap()
    }

    fn message(seq: u64) -> Message {
        Message {
            seq: Seq(seq),
            id: id(seq),
            sender: user("Bob_1234"),
            guest: false,
            audience: Audience::Everyone,
            kind: MessageKind::Plain,
            content: SafeText::clean(&format!("text {seq}.")),
            at: chrono::DateTime::from_timestamp_millis(NOW).unwrap().fixed_offset(),
            cid: None,
            mentions: Mentions::None,
            edited: None,
            reactions: Vec::new(),
            pinned: false,
        }
    }

    fn deletion(seq: u64, of: u64) -> Event {
        Event::Deleted(Deleted { seq: Seq(seq), id: id(of), author: user("Bob_1234"), cid: None })
    }

    fn append(tail: &Tail, events: &[Event], viewers: Option<&[UserId]>) {
        let (mut bytes, mut appended) = (Vec::new(), Vec::new());
        for event in events {
            let start = bytes.len();
            bytes.extend_from_slice(&event.encode());
            let (range, viewers) = (start..bytes.len(), viewers.map(Arc::from));
            let original = event.encode_for_original();
            appended.push(TailEvent::new(event, event.seq().unwrap(), range, original, viewers));
        }
        tail.append(&Bytes::from(bytes), appended);
    }

    fn posts(seqs: Range<u64>) -> Vec<Event> {
        seqs.map(|seq| Event::Posted(message(seq))).collect()
    }

    fn queue_behind(viewer: &str, after: u64) -> Arc<SendQueue> {
        let queue = SendQueue::default();
        queue.subscribe(user(viewer), Seq(after), true);
        Arc::new(queue)
    }

    fn pending_read(tail: &Arc<Tail>, queue: &Arc<SendQueue>) -> PendingRead {
        let kim = user("Kim_1234");
        PendingRead::new(Arc::clone(tail), Arc::clone(queue), kim, Dialect::Extended)
    }

    fn text(frames: &[Frame]) -> String {
        let bytes = frames.iter().map(|frame| match frame {
            Frame::Events(bytes, _) | Frame::Answer(bytes) | Frame::Transient(bytes) => bytes,
            Frame::Pong | Frame::Setting(..) => panic!("not expected"),
        });
        String::from_utf8(bytes.flatten().copied().collect()).unwrap()
    }

    /// What a session sends until it is live, or has to read the log.
    fn catch_up(tail: &Tail, queue: &SendQueue, dialect: Dialect, now: Millis) -> Vec<Frame> {
        let mut frames = Vec::new();
        while queue.take(&mut Vec::new()).now_or_never() == Some(SendQueueItem::CatchUp) {
            assert_eq!(tail.catch_up(queue, dialect, now, &mut frames), CatchUp::Tail);
        }
        frames
    }

    #[test]
    fn events_of_a_batch_share_one_frame() {
        let tail = Tail::new(Seq(0));
        append(&tail, &posts(1..101), None);
        let queue = queue_behind("Kim_1234", 40);
        let frames = catch_up(&tail, &queue, Dialect::Extended, NOW);
        assert!(matches!(frames.as_slice(), [Frame::Events(_, 60), Frame::Transient(_)]));
        let live = queue_behind("Kim_1234", 100);
        assert!(text(&catch_up(&tail, &live, Dialect::Extended, NOW)).contains("LIVE"));
        live.push_events(&Bytes::from_static(b"x"), 1, Seq(101));
        assert_eq!(live.take(&mut Vec::new()).now_or_never(), Some(SendQueueItem::Frames));
        let original = queue_behind("Kim_1234", 97);
        assert_eq!(catch_up(&tail, &original, Dialect::Original, NOW).len(), 3, "one an event");
    }

    #[test]
    fn removed_and_expired_messages_are_left_out() {
        let tail = Tail::new(Seq(0));
        let mut temporary = message(3);
        temporary.kind = MessageKind::Temporary { expires: NOW + 10 };
        append(&tail, &posts(1..3), None);
        append(&tail, &[Event::Posted(temporary), Event::Posted(message(4))], None);
        append(&tail, &[deletion(5, 1), deletion(6, 4)], None);
        for dialect in [Dialect::Extended, Dialect::Original] {
            let queue = queue_behind("Kim_1234", 0);
            let early = text(&catch_up(&tail, &queue, dialect, NOW));
            assert!(!early.contains("text 1.") && !early.contains("text 4."), "{early}");
            assert!(early.contains("text 2.") && early.contains("text 3."), "{early}");
            assert!(early.contains("DELETE"), "{early}");
            let queue = queue_behind("Kim_1234", 0);
            assert!(!text(&catch_up(&tail, &queue, dialect, NOW + 10)).contains("text 3."));
        }
    }

    fn edit(seq: u64, of: u64, text: &str) -> Event {
        let message = message(of);
        Event::Edited(Edited {
            seq: Seq(seq),
            id: message.id,
            author: message.sender,
            audience: message.audience,
            reply_to: None,
            content: SafeText::clean(text),
            mentions: Mentions::None,
            at: message.at,
            cid: None,
        })
    }

    /// A session that is behind gets the message, with its new text, and misses nothing.
    #[test]
    fn edited_message_has_its_new_text() {
        let tail = Tail::new(Seq(0));
        append(&tail, &posts(1..4), None);
        append(&tail, &[edit(4, 2, "second"), edit(5, 3, "third"), edit(6, 3, "last")], None);
        let queue = queue_behind("Kim_1234", 0);
        let sent = text(&catch_up(&tail, &queue, Dialect::Extended, NOW));
        let counts = ["text 1.", "text 2.", "text 3.", "second", "third", "last"]
            .map(|text| sent.matches(text).count());
        assert_eq!(counts, [1, 0, 0, 2, 0, 2], "{sent}");
        assert_eq!(sent.matches("MESSAGE").count(), 3, "{sent}");
        let queue = queue_behind("Kim_1234", 0);
        let sent = text(&catch_up(&tail, &queue, Dialect::Original, NOW));
        assert!(!sent.contains("text 2.") && sent.contains("second"), "{sent}");
        append(&tail, &[deletion(7, 3)], None);
        let queue = queue_behind("Kim_1234", 0);
        let sent = text(&catch_up(&tail, &queue, Dialect::Extended, NOW));
        assert!(!sent.contains("last") && sent.contains("DELETE"), "{sent}");
        let state = tail.state();
        let weights = state.events.iter().map(|stored| stored.event.weight());
        assert_eq!(state.weight, weights.sum::<usize>());
    }

    #[test]
    fn message_edited_after_the_read_has_its_new_text_in_the_answer() {
        let tail = Arc::new(Tail::new(Seq(0)));
        append(&tail, &posts(1..4), None);
        let queue = queue_behind("Kim_1234", 0);
        assert!(queue.begin_request(true).now_or_never().is_some());
        let read = pending_read(&tail, &queue);
        append(&tail, &[edit(4, 1, "first"), edit(5, 2, "second"), deletion(6, 2)], None);
        let messages = vec![message(1), message(2), message(3)];
        read.answer(Event::History(HistoryPage {
            messages,
            has_earlier: false,
            has_later: false,
            cid: None,
        }));
        let mut frames = Vec::new();
        assert_eq!(queue.take(&mut frames).now_or_never(), Some(SendQueueItem::Frames));
        let sent = text(&frames);
        let found = ["text 1.", "text 2.", "second", "first", "text 3.", "edited"]
            .map(|text| sent.contains(text));
        assert_eq!(found, [false, false, false, true, true, true], "{sent}");
    }

    fn left(seq: u64, name: &str) -> Event {
        Event::RoomChanged(RoomChanged {
            seq: Seq(seq),
            room: "#ops".parse().unwrap(),
            change: RoomChange::Left,
            by: Some(user(name)),
            at: NOW,
            state: RoomState::default(),
            cid: None,
        })
    }

    #[test]
    fn answer_has_nothing_of_a_room_that_was_left() {
        let tail = Arc::new(Tail::new(Seq(0)));
        let queue = queue_behind("Kim_1234", 0);
        assert!(queue.begin_request(true).now_or_never().is_some());
        let read = pending_read(&tail, &queue);
        let in_room = Message { audience: Audience::Room("#ops".parse().unwrap()), ..message(1) };
        let messages = vec![in_room, message(2)];
        let page = HistoryPage { messages, has_earlier: false, has_later: false, cid: None };
        append(&tail, &[left(3, "Ann_1234")], None);
        read.answer(Event::History(page.clone()));
        append(&tail, &[left(4, "Kim_1234")], None);
        read.answer(Event::History(page));
        let mut frames = Vec::new();
        assert_eq!(queue.take(&mut frames).now_or_never(), Some(SendQueueItem::Frames));
        let [before, after] = frames.as_slice() else { panic!("{frames:?}") };
        assert!(text(std::slice::from_ref(before)).contains("text 1."));
        let after = text(std::slice::from_ref(after));
        assert!(!after.contains("text 1.") && after.contains("text 2."), "{after}");
    }

    #[test]
    fn user_who_left_a_room_reads_what_was_before_from_the_log() {
        let tail = Tail::new(Seq(0));
        append(&tail, &posts(1..2), Some(&[user("Ann_1234"), user("Kim_1234")]));
        append(&tail, &[left(2, "Kim_1234")], None);
        append(&tail, &posts(3..4), None);
        for (name, after, from_log) in
            [("Kim_1234", 0, true), ("Kim_1234", 2, false), ("Ann_1234", 0, false)]
        {
            let queue = queue_behind(name, after);
            let found = tail.catch_up(&queue, Dialect::Extended, NOW, &mut Vec::new());
            let (viewer, after) = (user(name), Seq(after));
            let log = CatchUp::Log { viewer, after, until: Seq(2) };
            assert_eq!(found, if from_log { log } else { CatchUp::Tail }, "{name}");
        }
        tail.forget_through(Seq(2));
        assert!(tail.state().departures.is_empty());
    }

    #[test]
    fn list_that_has_changed_meanwhile_is_read_again() {
        let tail = Arc::new(Tail::new(Seq(0)));
        let queue = queue_behind("Kim_1234", 0);
        assert!(queue.begin_request(true).now_or_never().is_some());
        let read = pending_read(&tail, &queue);
        let list = Event::Pong(0);
        for change in [left(1, "Kim_1234"), left(2, "Ann_1234")] {
            let since = read.head();
            let is_own = change == left(1, "Kim_1234");
            append(&tail, &[change], None);
            assert_eq!(read.answer_list(&list, since), !is_own);
        }
        let since = read.head();
        tail.on_setting(&user("Ann_1234"));
        assert!(read.answer_list(&list, since));
        tail.on_setting(&user("Kim_1234"));
        assert!(!read.answer_list(&list, since));
    }

    #[test]
    fn shared_list_of_viewers_counts_once() {
        let tail = Tail::new(Seq(0));
        let members: Arc<[UserId]> = (1..=1_000).map(|n| user(&format!("A{n}_1234"))).collect();
        for seq in 1..1_000_000 {
            let event = Event::Posted(message(seq));
            let bytes = event.encode();
            let viewers = Some(Arc::clone(&members));
            let event = TailEvent::new(&event, Seq(seq), 0..bytes.len(), None, viewers);
            tail.append(&bytes, vec![event]);
            if tail.state().start > Seq(0) {
                break;
            }
        }
        let mut state = tail.state();
        assert!(state.events.len() > 50_000, "{}", state.events.len());
        while !state.events.is_empty() {
            state.drop_oldest();
        }
        assert_eq!(state.weight, 0);
        assert!(state.viewer_lists.is_empty() && state.texts.is_empty());
    }

    #[test]
    fn viewers_alone_get_an_event() {
        let tail = Tail::new(Seq(0));
        append(&tail, &posts(1..2), Some(&[user("Ann_1234"), user("Bob_1234")]));
        for (viewer, expected) in [("Ann_1234", true), ("Bob_1234", true), ("Kim_1234", false)] {
            let queue = queue_behind(viewer, 0);
            let frames = catch_up(&tail, &queue, Dialect::Extended, NOW);
            assert_eq!(text(&frames).contains("text 1."), expected, "{viewer}");
        }
    }

    #[test]
    fn older_events_are_read_from_the_log() {
        let tail = Tail::new(Seq(7));
        append(&tail, &posts(8..9), None);
        let viewer = user("Kim_1234");
        let log = |after, until| CatchUp::Log { viewer: viewer.clone(), after, until };
        let catch_up = |after| {
            let queue = queue_behind("Kim_1234", after);
            tail.catch_up(&queue, Dialect::Extended, NOW, &mut Vec::new())
        };
        assert_eq!(catch_up(7), CatchUp::Tail);
        assert_eq!(catch_up(6), log(Seq(6), Seq(7)));
        append(&tail, &posts(9..11), None);
        tail.forget_through(Seq(9));
        assert_eq!(catch_up(8), log(Seq(8), Seq(9)));
        assert_eq!(catch_up(9), CatchUp::Tail);
        tail.forget_through(Seq(5));
        assert_eq!(catch_up(9), CatchUp::Tail, "the horizon does not move back");
    }

    #[test]
    fn tail_is_bounded() {
        let tail = Tail::new(Seq(0));
        let batch = posts(1..101);
        for _ in 0..1_000 {
            append(&tail, &batch, None);
        }
        let state = tail.state();
        assert!(state.weight <= TAIL_BYTES && state.weight > TAIL_BYTES / 2);
        let weights = state.events.iter().map(|stored| stored.event.weight());
        assert_eq!(state.weight, weights.sum::<usize>());
    }

    #[test]
    fn message_removed_after_the_read_is_not_in_the_answer() {
        let tail = Arc::new(Tail::new(Seq(0)));
        append(&tail, &posts(1..4), None);
        append(&tail, &[deletion(4, 1)], None);
        let queue = queue_behind("Kim_1234", 0);
        assert!(queue.begin_request(true).now_or_never().is_some());
        let read = pending_read(&tail, &queue);
        let messages = vec![message(2), message(3)];
        append(&tail, &[deletion(5, 2)], None);
        // Any number of later removals is remembered.
        for seq in 6..40_000 {
            append(&tail, &[deletion(seq, 90_000 + seq)], None);
        }
        let page = HistoryPage { messages, has_earlier: false, has_later: false, cid: None };
        read.answer(Event::History(page.clone()));
        drop(read);
        let mut frames = Vec::new();
        assert_eq!(queue.take(&mut frames).now_or_never(), Some(SendQueueItem::Frames));
        assert!(!text(&frames).contains("text 2.") && text(&frames).contains("text 3."));
        let state = tail.state();
        assert!(state.revisions.is_empty() && state.reads.is_empty(), "forgotten");
    }

    #[test]
    fn queued_answers_are_sent_before_removals() {
        let tail = Arc::new(Tail::new(Seq(0)));
        append(&tail, &posts(1..2), None);
        let queue = queue_behind("Kim_1234", 1);
        assert!(queue.begin_request(true).now_or_never().is_some());
        let read = pending_read(&tail, &queue);
        let messages = vec![message(1)];
        let page = HistoryPage { messages, has_earlier: false, has_later: false, cid: None };
        read.answer(Event::History(page));
        append(&tail, &[deletion(2, 1)], None);
        let mut frames = Vec::new();
        tail.catch_up(&queue, Dialect::Extended, NOW, &mut frames);
        let sent = text(&frames);
        assert!(sent.find("text 1.").unwrap() < sent.find("DELETE").unwrap(), "{sent}");
    }
}
