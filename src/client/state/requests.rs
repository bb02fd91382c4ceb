//! The unanswered requests of this client: each has one owner, and an answer, a refusal or a lost connection
//! changes only that owner.

use std::collections::HashMap;

use crate::protocol::id::{Cid, RoomName, UserId};
use crate::protocol::message::Audience;

/// What a request belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// A page of history of a conversation.
    History(Audience),
    /// Messages of a conversation that are not added to its timeline.
    Lookup(Audience),
    /// A search.
    Search,
    /// The list of conversations.
    Conversations,
    /// A page of the members of a room, or of all registered users: those after this one.
    Users(Option<RoomName>, Option<UserId>),
    /// A page of the public rooms.
    Rooms,
    /// A read marker of a conversation.
    Read(Audience),
    /// A notification setting.
    Notify,
    /// A message in this conversation. The outbox sends it until it is answered.
    Message(Audience),
    /// A change of a message or a room. The outbox sends it until it is answered.
    Change,
}

impl Owner {
    /// Whether the outbox sends the request again over the next connection.
    pub(super) fn is_in_outbox(&self) -> bool {
        matches!(self, Self::Message(_) | Self::Change)
    }
}

/// Why a request has no answer and will get none, or a refusal as its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The server refused it. It is not repeated without a new cause.
    Refused,
    /// It was not sent.
    NotSent,
    /// The connection was lost before the answer.
    Lost,
}

/// The unanswered requests.
#[derive(Debug, Clone)]
pub(super) struct Requests {
    cid_prefix: String,
    cid_count: u64,
    owners: HashMap<Cid, Owner>,
}

impl Requests {
    pub(super) fn new(cid_prefix: &str) -> Self {
        Self { cid_prefix: cid_prefix.to_owned(), cid_count: 0, owners: HashMap::new() }
    }

    /// Returns the `cid` of a new request with this owner; `None` if the prefix is not valid in a `cid`.
    pub(super) fn add(&mut self, owner: Owner) -> Option<Cid> {
        self.cid_count += 1;
        let cid: Cid = format!("{}-{}", self.cid_prefix, self.cid_count).parse().ok()?;
        self.owners.insert(cid.clone(), owner);
        Some(cid)
    }

    /// Adds a request of an earlier run.
    pub(super) fn restore(&mut self, cid: Cid, owner: Owner) {
        self.owners.insert(cid, owner);
    }

    pub(super) fn get(&self, cid: &Cid) -> Option<&Owner> {
        self.owners.get(cid)
    }

    /// Removes an answered request. Returns its owner, once.
    pub(super) fn take(&mut self, cid: &Cid) -> Option<Owner> {
        self.owners.remove(cid)
    }

    /// Removes the requests that are lost with the connection.
    pub(super) fn take_lost(&mut self) -> Vec<(Cid, Owner)> {
        self.owners.extract_if(|_, owner| !owner.is_in_outbox()).collect()
    }
}
