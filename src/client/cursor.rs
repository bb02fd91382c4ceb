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
        }
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
            Event::LoginPrompt
            | Event::Welcome(_)
            | Event::LoginRefused(_)
            | Event::People(_)
            | Event::Presence { .. }
            | Event::Stored(_)
            | Event::History(_)
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
    use crate::protocol::id::MessageId;

    fn expired(seq: u64) -> Event {
        Event::Expired { seq: Seq(seq), id: MessageId::from_number(100_000).unwrap() }
    }

    fn welcome(head: u64, resumed: bool) -> Welcome {
        let user = "Bob_1234".parse().unwrap();
        Welcome { user, epoch: "e".to_owned(), head: Seq(head), now: 0, resumed }
    }

    fn after(cursor: &Cursor) -> u64 {
        cursor.resume().unwrap().after.0
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
