//! What was removed lately, so that an answer that was read before a removal is not sent after it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::send_queue::{Frame, SendQueue};
use crate::protocol::event::Event;
use crate::protocol::id::MessageId;
use crate::protocol::message::Message;

/// How many removals are remembered: far more than happen while a question is answered.
const CAPACITY: usize = 16_384;

/// The latest removals, counted through.
#[derive(Debug, Default)]
pub(super) struct RecentRemovals(Mutex<RemovalLog>);

#[derive(Debug, Default)]
struct RemovalLog {
    ids: VecDeque<MessageId>,
    n_dropped: u64,
}

impl RecentRemovals {
    /// Notes a removal, before anybody is told of it.
    pub(super) fn record(&self, id: MessageId) {
        let mut latest = self.log();
        latest.ids.push_back(id);
        if latest.ids.len() > CAPACITY {
            latest.ids.pop_front();
            latest.n_dropped += 1;
        }
    }

    /// How many removals there were so far.
    pub(super) fn count(&self) -> u64 {
        let latest = self.log();
        latest.n_dropped + latest.ids.len() as u64
    }

    /// Sends an answer that was read when there had been `since` removals, without what was removed
    /// since.
    pub(super) fn send_without_removed(&self, outbox: &SendQueue, since: u64, mut event: Event) {
        let latest = self.log();
        let known = since.checked_sub(latest.n_dropped).and_then(|n| usize::try_from(n).ok());
        let is_gone = |message: &Message| match known {
            Some(known) => latest.ids.iter().skip(known).any(|id| *id == message.id),
            // So long ago that nothing is certain.
            None => true,
        };
        match &mut event {
            Event::History(page) => page.messages.retain(|message| !is_gone(message)),
            Event::SearchResults(found) => found.messages.retain(|message| !is_gone(message)),
            _ => {}
        }
        // While the lock is held, no removal is told in between. A session that takes no answers is
        // closed for what else it does not take.
        outbox.push(Frame::Bytes(event.encode(), 0)).ok();
    }

    fn log(&self) -> MutexGuard<'_, RemovalLog> {
        // Nothing in here can panic half way.
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
        let (removed, outbox) = (RecentRemovals::default(), SendQueue::default());
        removed.record(message(100_001).id);
        let since = removed.count();
        removed.record(message(100_002).id);
        let messages = vec![message(100_001), message(100_002), message(100_003)];
        let page = HistoryPage { messages, has_earlier: false, has_later: false, cid: None };
        removed.send_without_removed(&outbox, since, Event::History(page));
        let mut frames = Vec::new();
        assert_eq!(outbox.take(&mut frames).await, SendQueueItem::Frames);
        let Some(Frame::Bytes(bytes, 0)) = frames.first() else { panic!("{frames:?}") };
        let text = String::from_utf8_lossy(bytes);
        assert!(text.contains("text of 100001") && text.contains("text of 100003"), "{text}");
        assert!(!text.contains("text of 100002"), "{text}");
    }
}
