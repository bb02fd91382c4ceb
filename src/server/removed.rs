//! What was removed lately, so that an answer that was read before a removal is not sent after it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::outbox::{Frame, Outbox};
use crate::protocol::event::Event;
use crate::protocol::id::MessageId;
use crate::protocol::message::Message;

/// How many removals are remembered: far more than happen while a question is answered.
const REMEMBERED: usize = 16_384;

/// The latest removals, counted through.
#[derive(Debug, Default)]
pub(super) struct Removed(Mutex<Latest>);

#[derive(Debug, Default)]
struct Latest {
    ids: VecDeque<MessageId>,
    forgotten: u64,
}

impl Removed {
    /// Notes a removal, before anybody is told of it.
    pub(super) fn note(&self, id: MessageId) {
        let mut latest = self.latest();
        latest.ids.push_back(id);
        if latest.ids.len() > REMEMBERED {
            latest.ids.pop_front();
            latest.forgotten += 1;
        }
    }

    /// How many removals there were so far.
    pub(super) fn count(&self) -> u64 {
        let latest = self.latest();
        latest.forgotten + latest.ids.len() as u64
    }

    /// Sends an answer that was read when there had been `since` removals, without what was removed
    /// since.
    pub(super) fn answer(&self, outbox: &Outbox, since: u64, mut event: Event) {
        let latest = self.latest();
        let known = since.checked_sub(latest.forgotten).and_then(|n| usize::try_from(n).ok());
        let is_gone = |message: &Message| match known {
            Some(known) => latest.ids.iter().skip(known).any(|id| *id == message.id),
            // So long ago that nothing is certain.
            None => true,
        };
        match &mut event {
            Event::History(page) => page.messages.retain(|message| !is_gone(message)),
            Event::Found(found) => found.messages.retain(|message| !is_gone(message)),
            _ => {}
        }
        // While the lock is held, no removal is told in between. A session that takes no answers is
        // closed for what else it does not take.
        outbox.push(Frame::Bytes(event.encode(), 0)).ok();
    }

    fn latest(&self) -> MutexGuard<'_, Latest> {
        // Nothing in here can panic half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::outbox::Taken;
    use super::*;
    use crate::protocol::event::Page;
    use crate::protocol::id::Seq;
    use crate::protocol::message::{Audience, Kind};
    use crate::protocol::text::SafeText;

    fn message(number: u32) -> Message {
        Message {
            seq: Seq(u64::from(number)),
            id: MessageId::from_number(number).unwrap(),
            sender: "Bob_1234".parse().unwrap(),
            guest: false,
            audience: Audience::Everyone,
            kind: Kind::Plain,
            content: SafeText::clean(&format!("text of {number}")),
            at: chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap().fixed_offset(),
            cid: None,
        }
    }

    #[tokio::test]
    async fn what_was_removed_after_it_was_read_is_not_sent() {
        let (removed, outbox) = (Removed::default(), Outbox::default());
        removed.note(message(100_001).id);
        let since = removed.count();
        removed.note(message(100_002).id);
        let messages = vec![message(100_001), message(100_002), message(100_003)];
        let page = Page { messages, earlier: false, later: false, cid: None };
        removed.answer(&outbox, since, Event::History(page));
        let mut frames = Vec::new();
        assert_eq!(outbox.take(&mut frames).await, Taken::Frames);
        let Some(Frame::Bytes(bytes, 0)) = frames.first() else { panic!("{frames:?}") };
        let text = String::from_utf8_lossy(bytes);
        assert!(text.contains("text of 100001") && text.contains("text of 100003"), "{text}");
        assert!(!text.contains("text of 100002"), "{text}");
    }
}
