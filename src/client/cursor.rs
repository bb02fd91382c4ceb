//! Where in the log this client is: what a new connection has to go on from.
//!
//! Pure. It counts what came on a connection, because the server counts what it sent.

use crate::protocol::event::{Event, Welcome};
use crate::protocol::id::Seq;
use crate::protocol::request::Resume;

/// The place that was reached, as long as the process lives.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    epoch: Option<String>,
    /// Everything up to here was handed over...
    received: Seq,
    /// ...and for everything up to here the server's count said so, too.
    confirmed: Seq,
    count: u64,
    /// Nothing that could be seen is missing before `reached`.
    has_full_log: bool,
}

/// The server has sent what did not come.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EventsMissed;

impl Cursor {
    /// From where the next login goes on; nothing before the first.
    pub(super) fn resume(&self) -> Option<Resume> {
        self.epoch.clone().map(|epoch| Resume { after: self.received, epoch })
    }

    /// Begins a connection.
    pub(super) fn on_welcome(&mut self, welcome: &Welcome) {
        self.count = 0;
        if !welcome.resumed {
            self.epoch = Some(welcome.epoch.clone());
            (self.received, self.confirmed) = (welcome.head, welcome.head);
            self.has_full_log = false;
        }
    }

    /// Up to where everything has come that this person may see, as far as that is known.
    pub(super) fn received_up_to(&self) -> Option<Seq> {
        self.has_full_log.then_some(self.received)
    }

    /// Notes what came.
    ///
    /// # Errors
    /// The server has counted otherwise: the next login goes on from where the counts agreed.
    pub(super) fn record(&mut self, event: &Event) -> Result<(), EventsMissed> {
        let seq = match event {
            Event::Posted(message) => message.seq,
            Event::Deleted(deleted) => deleted.seq,
            Event::Expired { seq, .. } => *seq,
            Event::Live(seq) => {
                self.received = self.received.max(*seq);
                return Ok(());
            }
            Event::Pong(count) if *count == self.count => {
                self.confirmed = self.received;
                return Ok(());
            }
            Event::Pong(_) => {
                self.received = self.confirmed;
                return Err(EventsMissed);
            }
            Event::History(page) => {
                self.has_full_log |= !page.has_earlier && !page.has_later;
                return Ok(());
            }
            Event::LoginPrompt
            | Event::Welcome(_)
            | Event::LoginRefused(_)
            | Event::Users(_)
            | Event::Presence { .. }
            | Event::Guests(_)
            | Event::Stored(_)
            | Event::SearchResults(_)
            | Event::Error(_)
            | Event::Closing(_) => return Ok(()),
        };
        self.received = self.received.max(seq);
        self.count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::event::HistoryPage;
    use crate::protocol::id::MessageId;
    use crate::protocol::limits::Limits;

    fn expired(seq: u64) -> Event {
        Event::Expired { seq: Seq(seq), id: MessageId::from_number(100_000).unwrap() }
    }

    fn welcome(head: u64, resumed: bool) -> Welcome {
        let user = "Bob_1234".parse().unwrap();
        let limits = Limits::default();
        Welcome { user, epoch: "e".to_owned(), head: Seq(head), now: 0, resumed, limits }
    }

    fn after(cursor: &Cursor) -> u64 {
        cursor.resume().unwrap().after.0
    }

    #[test]
    fn received_up_to_is_known_once_a_page_holds_the_whole_history() {
        let page = |earlier, later| {
            Event::History(HistoryPage {
                messages: Vec::new(),
                has_earlier: earlier,
                has_later: later,
                cid: None,
            })
        };
        let mut cursor = Cursor::default();
        cursor.on_welcome(&welcome(7, false));
        for part in [page(true, false), page(false, true), expired(8)] {
            cursor.record(&part).unwrap();
            assert_eq!(cursor.received_up_to(), None);
        }
        cursor.record(&page(false, false)).unwrap();
        assert_eq!(cursor.received_up_to(), Some(Seq(8)));
        cursor.on_welcome(&welcome(20, true));
        assert_eq!(cursor.received_up_to(), Some(Seq(8)), "not replayed yet");
        cursor.on_welcome(&welcome(20, false));
        assert_eq!(cursor.received_up_to(), None);
    }

    #[test]
    fn resumes_after_the_last_event_or_the_last_confirmed_count() {
        let mut cursor = Cursor::default();
        assert_eq!(cursor.resume(), None);
        cursor.on_welcome(&welcome(7, false));
        assert_eq!(after(&cursor), 7);
        cursor.record(&expired(9)).unwrap();
        cursor.record(&Event::Pong(1)).unwrap();
        cursor.record(&expired(12)).unwrap();
        assert_eq!(after(&cursor), 12);
        assert_eq!(cursor.record(&Event::Pong(3)), Err(EventsMissed));
        assert_eq!(after(&cursor), 9);
        cursor.on_welcome(&welcome(20, true));
        assert_eq!(after(&cursor), 9, "the head was not replayed yet");
        cursor.record(&Event::Live(Seq(20))).unwrap();
        assert_eq!(after(&cursor), 20);
        cursor.record(&Event::Pong(0)).unwrap();
        cursor.on_welcome(&welcome(3, false));
        assert_eq!(after(&cursor), 3, "another log");
    }
}
