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
    reached: Seq,
    /// ...and for everything up to here the server's count said so, too.
    confirmed: Seq,
    count: u64,
    /// Nothing that could be seen is missing before `reached`.
    whole: bool,
}

/// The server has sent what did not come.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missed;

impl Cursor {
    /// From where the next login goes on; nothing before the first.
    pub(super) fn resume(&self) -> Option<Resume> {
        self.epoch.clone().map(|epoch| Resume { after: self.reached, epoch })
    }

    /// Begins a connection.
    pub(super) fn welcome(&mut self, welcome: &Welcome) {
        self.count = 0;
        if !welcome.resumed {
            self.epoch = Some(welcome.epoch.clone());
            (self.reached, self.confirmed) = (welcome.head, welcome.head);
            self.whole = false;
        }
    }

    /// Up to where everything has come that this person may see, as far as that is known.
    pub(super) fn has_come(&self) -> Option<Seq> {
        self.whole.then_some(self.reached)
    }

    /// Notes what came.
    ///
    /// # Errors
    /// The server has counted otherwise: the next login goes on from where the counts agreed.
    pub(super) fn note(&mut self, event: &Event) -> Result<(), Missed> {
        let seq = match event {
            Event::Said(message) => message.seq,
            Event::Deleted(deleted) => deleted.seq,
            Event::Expired { seq, .. } => *seq,
            Event::Live(seq) => {
                self.reached = self.reached.max(*seq);
                return Ok(());
            }
            Event::Pong(count) if *count == self.count => {
                self.confirmed = self.reached;
                return Ok(());
            }
            Event::Pong(_) => {
                self.reached = self.confirmed;
                return Err(Missed);
            }
            Event::History(page) => {
                self.whole |= !page.earlier && !page.later;
                return Ok(());
            }
            Event::LoginPrompt
            | Event::Welcome(_)
            | Event::LoginRefused(_)
            | Event::People(_)
            | Event::Presence { .. }
            | Event::Guests(_)
            | Event::Stored(_)
            | Event::Found(_)
            | Event::Refused(_)
            | Event::Closing(_) => return Ok(()),
        };
        self.reached = self.reached.max(seq);
        self.count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::event::Page;
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
    fn everything_has_come_once_a_page_was_the_whole_history() {
        let page = |earlier, later| {
            Event::History(Page { messages: Vec::new(), earlier, later, cid: None })
        };
        let mut cursor = Cursor::default();
        cursor.welcome(&welcome(7, false));
        for part in [page(true, false), page(false, true), expired(8)] {
            cursor.note(&part).unwrap();
            assert_eq!(cursor.has_come(), None);
        }
        cursor.note(&page(false, false)).unwrap();
        assert_eq!(cursor.has_come(), Some(Seq(8)));
        cursor.welcome(&welcome(20, true));
        assert_eq!(cursor.has_come(), Some(Seq(8)), "not replayed yet");
        cursor.welcome(&welcome(20, false));
        assert_eq!(cursor.has_come(), None);
    }

    #[test]
    fn goes_on_from_the_last_event_or_from_where_the_counts_agreed() {
        let mut cursor = Cursor::default();
        assert_eq!(cursor.resume(), None);
        cursor.welcome(&welcome(7, false));
        assert_eq!(after(&cursor), 7);
        cursor.note(&expired(9)).unwrap();
        cursor.note(&Event::Pong(1)).unwrap();
        cursor.note(&expired(12)).unwrap();
        assert_eq!(after(&cursor), 12);
        assert_eq!(cursor.note(&Event::Pong(3)), Err(Missed));
        assert_eq!(after(&cursor), 9);
        cursor.welcome(&welcome(20, true));
        assert_eq!(after(&cursor), 9, "the head was not replayed yet");
        cursor.note(&Event::Live(Seq(20))).unwrap();
        assert_eq!(after(&cursor), 20);
        cursor.note(&Event::Pong(0)).unwrap();
        cursor.welcome(&welcome(3, false));
        assert_eq!(after(&cursor), 3, "another log");
    }
}
