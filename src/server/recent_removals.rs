//! Recently removed messages, so that a history page or search result that was read before a removal is
//! not sent after it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::send_queue::{Frame, SendQueue};
use crate::protocol::event::Event;
use crate::protocol::id::MessageId;
use crate::protocol::message::Message;

/// How many removals are kept: far more than happen during one query.
const CAPACITY: usize = 16_384;

/// The latest removals, numbered from the start of the server.
#[derive(Debug, Default)]
pub(super) struct RecentRemovals(Mutex<RemovalLog>);

#[derive(Debug, Default)]
struct RemovalLog {
    ids: VecDeque<MessageId>,
    /// How many older removals were dropped from `ids`.
    n_dropped: u64,
}

impl RecentRemovals {
    /// Records a removal. Has to be called before the removal is sent to any session.
    pub(super) fn record(&self, id: MessageId) {
        let mut log = self.log();
        log.ids.push_back(id);
        if log.ids.len() > CAPACITY {
            log.ids.pop_front();
            log.n_dropped += 1;
        }
    }

    /// The number of removals so far.
    pub(super) fn count(&self) -> u64 {
        let log = self.log();
        log.n_dropped + log.ids.len() as u64
    }

    /// Queues a history page or search result, without the messages that were removed after the count
    /// was `since`.
    pub(super) fn send_without_removed(&self, queue: &SendQueue, since: u64, mut event: Event) {
        let log = self.log();
        let skip = since.checked_sub(log.n_dropped).and_then(|n| usize::try_from(n).ok());
        let is_removed = |message: &Message| match skip {
            Some(skip) => log.ids.iter().skip(skip).any(|id| *id == message.id),
            // Some removals since then were dropped, so any message may be removals.
            None => true,
        };
        match &mut event {
            Event::History(page) => page.messages.retain(|message| !is_removed(message)),
            Event::SearchResults(results) => {
                results.messages.retain(|message| !is_removed(message));
            }
            _ => {}
        }
        // Holding the lock keeps removals from being sent in between. If the queue is full, the reply
        // is dropped: a session that makes no progress is closed by its write timeout.
        queue.push(Frame::Bytes(event.encode(), 0)).ok();
    }

    fn log(&self) -> MutexGuard<'_, RemovalLog> {
        // The state is consistent even if a holder of the lock panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::send_queue::SendQueueItem;
    use super::*;
    use crate::protocol::event::HistoryPage;
    use crate::protocol::id::Seq;
    use crate::protocol::message::{Audience, MessageKind};
    use crate::protocol::text::SafeText;

    fn message(number: u32) -> Message {
        Message {
            seq: Seq(u64::from(number)),
            id: MessageId::from_number(number).unwrap(),
            sender: "Bob_1234".parse().unwrap(),
            guest: false,
            audience: Audience::Everyone,
            kind: MessageKind::Plain,
            content: SafeText::clean(&format!("text of {number}")),
            at: chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap().fixed_offset(),
            cid: None,
        }
    }

    #[tokio::test]
    async fn message_removed_after_the_read_is_not_sent() {
        let (removals, queue) = (RecentRemovals::default(), SendQueue::default());
        removals.record(message(100_001).id);
        let since = removals.count();
        removals.record(message(100_002).id);
        let messages = vec![message(100_001), message(100_002), message(100_003)];
        let page = HistoryPage { messages, has_earlier: false, has_later: false, cid: None };
        removals.send_without_removed(&queue, since, Event::History(page));
        let mut frames = Vec::new();
        assert_eq!(queue.take(&mut frames).await, SendQueueItem::Frames);
        let Some(Frame::Bytes(bytes, 0)) = frames.first() else { panic!("{frames:?}") };
        let text = String::from_utf8_lossy(bytes);
        assert!(text.contains("text of 100001") && text.contains("text of 100003"), "{text}");
        assert!(!text.contains("text of 100002"), "{text}");
    }
}
