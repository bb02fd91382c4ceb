//! Who may see what, as the model tests compute it: from what users did, not from what the log stores.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::{Change, Memberships};
use super::*;
use crate::protocol::id::RoomName;
use crate::protocol::room::{RoomAction, RoomChange, RoomChanged, SharedHistory};

/// All users of a model test.
const USERS: [&str; 3] = ["Ann", "Bob", "Cid"];

/// What the test knows of a log.
#[derive(Default)]
pub(super) struct Oracle {
    messages: BTreeMap<Seq, Message>,
    /// Each text ever sent, and the message that it was in.
    texts: BTreeMap<String, Seq>,
    rooms: BTreeMap<RoomName, OracleRoom>,
    /// What the hub would know.
    memberships: Memberships,
}

struct OracleRoom {
    private: bool,
    /// The members, and the first event that each of them may see.
    members: BTreeMap<UserId, Seq>,
}

impl Oracle {
    /// Follows an entry that was applied, and checks whom its event would be delivered to.
    pub(super) fn follow(&mut self, entry: &Entry, outcome: &Outcome) {
        match outcome {
            Outcome::Posted(message) => {
                self.texts.insert(message.content.as_str().to_owned(), message.seq);
                self.messages.insert(message.seq, message.clone());
                let viewers = self.memberships.viewers(&Viewers::of(message));
                self.check_delivery(viewers, &Event::Posted(message.clone()));
            }
            Outcome::Changed(change) => {
                self.check_author(&change.event);
                if let Event::Edited(edited) = &change.event {
                    let seq = self.seq_of(edited.id);
                    self.texts.insert(edited.content.as_str().to_owned(), seq);
                }
                if let (Event::RoomChanged(changed), Entry::Room(entry)) = (&change.event, entry) {
                    self.follow_room(changed, &entry.action);
                }
                self.memberships.apply(change);
                self.check_members(change);
                let viewers = self.memberships.viewers(&change.viewers);
                self.check_delivery(viewers, &change.event);
            }
            _ => {}
        }
    }

    /// Who changes a message sees it.
    fn check_author(&self, event: &Event) {
        let (id, by) = match event {
            Event::Edited(edited) => (edited.id, &edited.author),
            Event::Reacted(reacted) => (reacted.id, &reacted.user),
            Event::Pinned(pinned) => (pinned.id, &pinned.user),
            _ => return,
        };
        assert!(self.sees(by, self.seq_of(id)), "{event:?}");
    }

    fn follow_room(&mut self, changed: &RoomChanged, action: &RoomAction) {
        let private = changed.state.private;
        let room = self.rooms.entry(changed.room.clone());
        let members = &mut room.or_insert(OracleRoom { private, members: BTreeMap::new() }).members;
        match (&changed.change, action) {
            (RoomChange::Created | RoomChange::Joined, _) => {
                assert!(!private || changed.change == RoomChange::Created, "nobody was added");
                members.extend(changed.by.clone().map(|user| (user, Seq(0))));
            }
            (RoomChange::Left, _) => members.retain(|user, _| Some(user) != changed.by.as_ref()),
            (RoomChange::Added(users), RoomAction::Add { history, .. }) => {
                let first = match (&changed.by, history) {
                    (_, SharedHistory::Now) if private => changed.seq,
                    (Some(by), _) => members[by],
                    (None, _) => Seq(0),
                };
                members.extend(users.iter().map(|user| (user.clone(), first)));
            }
            (RoomChange::Removed(users), _) => members.retain(|user, _| !users.contains(user)),
            _ => {}
        }
    }

    /// The hub knows the same members.
    fn check_members(&self, change: &Change) {
        if let Event::RoomChanged(changed) = &change.event {
            let known = self.memberships.room(&changed.room).unwrap();
            assert_eq!(known.members, self.rooms[&changed.room].members);
            assert_eq!(known.members.len(), changed.state.people as usize);
        }
    }

    /// An event is delivered to exactly those who may see it.
    fn check_delivery(&self, viewers: Option<Arc<[UserId]>>, event: &Event) {
        let viewers: Option<BTreeSet<_>> = viewers.map(|users| users.iter().cloned().collect());
        for user in USERS.map(user) {
            let is_sent = viewers.as_ref().is_none_or(|viewers| viewers.contains(&user));
            assert_eq!(is_sent, self.sees_event(&user, event), "{user} {event:?}");
        }
    }

    fn seq_of(&self, id: MessageId) -> Seq {
        self.messages.values().find(|message| message.id == id).unwrap().seq
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.texts.keys().map(String::as_str)
    }

    pub(super) fn sees_text(&self, viewer: &UserId, text: &str) -> bool {
        self.sees(viewer, self.texts[text])
    }

    fn sees(&self, viewer: &UserId, message: Seq) -> bool {
        let message = &self.messages[&message];
        match &message.audience {
            Audience::Everyone => true,
            Audience::Room(room) => {
                let since = self.rooms[room].members.get(viewer);
                since.is_some_and(|since| *since <= message.seq)
            }
            Audience::Only(users) => message.sender == *viewer || users.contains(viewer),
        }
    }

    pub(super) fn sees_event(&self, viewer: &UserId, event: &Event) -> bool {
        let about = match event {
            Event::RoomChanged(changed) => {
                let first = self.rooms[&changed.room].members.get(viewer);
                return first.is_some_and(|first| *first <= changed.seq)
                    || matches!(&changed.change, RoomChange::Removed(users) if users.contains(viewer))
                    || (changed.change == RoomChange::Left && changed.by.as_ref() == Some(viewer));
            }
            Event::Posted(message) => message.id,
            Event::Deleted(deleted) => deleted.id,
            Event::Expired { id, .. } => *id,
            Event::Edited(edited) => edited.id,
            Event::Reacted(reacted) => reacted.id,
            Event::Pinned(pinned) => pinned.id,
            other => panic!("{other:?}"),
        };
        self.sees(viewer, self.seq_of(about))
    }

    pub(super) fn is_member(&self, viewer: &UserId, room: &RoomName) -> bool {
        self.rooms[room].members.contains_key(viewer)
    }

    pub(super) fn is_private(&self, room: &RoomName) -> bool {
        self.rooms[room].private
    }
}
