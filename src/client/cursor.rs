//! The position in the server's log that this client has received, from which a new connection resumes.
//!
//! Pure. It counts the log events of a connection; the server sends its own count with each pong, so a lost
//! event is noticed.

use crate::protocol::event::{Event, Welcome};
use crate::protocol::id::{Cid, Seq};
use crate::protocol::request::Resume;

/// The position of this client. It outlives connections, not the process.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    epoch: Option<String>,
    /// The last event that was received.
    received: Seq,
    /// The last event for which the server's count matched.
    confirmed: Seq,
    /// The number of log events on this connection.
    count: u64,
    /// Whether all visible messages before `received` are known too.
    has_full_log: bool,
}

/// The server sent events that were not received.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EventsMissed;

impl Cursor {
    /// Returns the position to resume from, or `None` before the first login.
    pub(super) fn resume(&self) -> Option<Resume> {
        self.epoch.clone().map(|epoch| Resume { after: self.received, epoch })
    }

    /// Handles a login.
    pub(super) fn on_welcome(&mut self, welcome: &Welcome) {
        self.count = 0;
        if !welcome.resumed {
            self.epoch = Some(welcome.epoch.clone());
            (self.received, self.confirmed) = (welcome.head, welcome.head);
            // All messages of a new log are received from its beginning.
            self.has_full_log = welcome.head == Seq(0);
        }
    }

    /// Returns the position up to which all messages visible to this user are known, or `None` if some
    /// earlier ones are not.
    pub(super) fn received_up_to(&self) -> Option<Seq> {
        self.has_full_log.then_some(self.received)
    }

    /// Records an event. `whole_log_query` is the last request for history without a conversation: a page of a
    /// single conversation says nothing about the others.
    ///
    /// # Errors
    /// The server's count differs. The next login resumes after the last position where the counts matched.
    pub(super) fn record(
        &mut self,
        event: &Event,
        whole_log_query: Option<&Cid>,
    ) -> Result<(), EventsMissed> {
        let seq = match event {
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
                let is_of_all = whole_log_query.is_some() && page.cid.as_ref() == whole_log_query;
                self.has_full_log |= is_of_all && !page.has_earlier && !page.has_later;
                return Ok(());
            }
            event => match event.seq() {
                Some(seq) => seq,
                None => return Ok(()),
            },
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
        let of_all: Cid = "all".parse().unwrap();
        let of_one: Cid = "one".parse().unwrap();
        let page = |earlier, later, cid: &Cid| {
            Event::History(HistoryPage {
                messages: Vec::new(),
                has_earlier: earlier,
                has_later: later,
                cid: Some(cid.clone()),
            })
        };
        let mut cursor = Cursor::default();
        cursor.on_welcome(&welcome(7, false));
        for event in [
            page(true, false, &of_all),
            page(false, true, &of_all),
            page(false, false, &of_one),
            expired(8),
        ] {
            cursor.record(&event, Some(&of_all)).unwrap();
            assert_eq!(cursor.received_up_to(), None);
        }
        cursor.record(&page(false, false, &of_all), Some(&of_all)).unwrap();
        assert_eq!(cursor.received_up_to(), Some(Seq(8)));
        cursor.on_welcome(&welcome(20, true));
        assert_eq!(cursor.received_up_to(), Some(Seq(8)), "not replayed yet");
        cursor.on_welcome(&welcome(20, false));
        assert_eq!(cursor.received_up_to(), None);
        cursor.on_welcome(&welcome(0, false));
        assert_eq!(cursor.received_up_to(), Some(Seq(0)), "a new log");
    }

    #[test]
    fn resumes_after_the_last_event_or_the_last_confirmed_count() {
        let mut cursor = Cursor::default();
        assert_eq!(cursor.resume(), None);
        cursor.on_welcome(&welcome(7, false));
        assert_eq!(after(&cursor), 7);
        cursor.record(&expired(9), None).unwrap();
        cursor.record(&Event::Pong(1), None).unwrap();
        cursor.record(&expired(12), None).unwrap();
        assert_eq!(after(&cursor), 12);
        assert_eq!(cursor.record(&Event::Pong(3), None), Err(EventsMissed));
        assert_eq!(after(&cursor), 9);
        cursor.on_welcome(&welcome(20, true));
        assert_eq!(after(&cursor), 9, "the head was not replayed yet");
        cursor.record(&Event::Live(Seq(20)), None).unwrap();
        assert_eq!(after(&cursor), 20);
        cursor.record(&Event::Pong(0), None).unwrap();
        cursor.on_welcome(&welcome(3, false));
        assert_eq!(after(&cursor), 3, "another log");
    }
}
