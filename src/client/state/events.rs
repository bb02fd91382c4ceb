//! Applies the events of the server to the session.

use chrono::{DateTime, FixedOffset};

use super::reactions::react;
use super::recent_changes::apply_edit;
use super::requests::{Owner, Unanswered};
use super::timeline::MessageState;
use super::{Change, Delivery, MessageChange, Session};
use crate::client::event::executed_request;
use crate::protocol::error::ErrorCode;
use crate::protocol::event::{Edited, ErrorReply, Event, SearchResults};
use crate::protocol::id::{MessageId, UserId};
use crate::protocol::message::{Audience, Message};
use crate::protocol::room::{
    ConversationInfo, ConversationList, NotifySetting, ReadMarker, RoomChange, RoomChanged,
    UserList,
};
use crate::protocol::text::SafeText;

/// Shown for a request that the server could not store.
const NOT_STORED: &str = "the server cannot store anything now: this is kept, and sent again later";

impl Session {
    pub(super) fn on_server_event(
        &mut self,
        now: DateTime<FixedOffset>,
        event: Event,
    ) -> Vec<Change> {
        let executed = executed_request(&event, |user| self.is_own_id(user)).cloned();
        self.confirm(executed.as_ref());
        match event {
            Event::Users(users) => {
                let others = users.iter().filter(|id| !self.is_own_id(id)).cloned().collect();
                self.directory.set_online(others);
                vec![Change::Directory]
            }
            Event::Presence { joined, left } => self.on_presence(now, joined, left),
            Event::Guests(guests) => {
                self.directory.add_guests(guests);
                Vec::new()
            }
            Event::Posted(message) => self.on_posted(now, message),
            Event::Deleted(deleted) => self.on_removed(deleted.id, MessageState::Removed),
            Event::Expired { id, .. } => self.on_removed(id, MessageState::Expired),
            Event::Edited(edited) => self.on_edited(&edited),
            Event::Reacted(reacted) => {
                let is_own = self.is_own_id(&reacted.user);
                let apply = |message: &mut Message| react(&mut message.reactions, &reacted, is_own);
                self.update_message(reacted.id, MessageChange::Reacted, apply).into_iter().collect()
            }
            Event::Pinned(pinned) => {
                let apply = |message: &mut Message| message.pinned = pinned.on;
                self.update_message(pinned.id, MessageChange::Pinned, apply).into_iter().collect()
            }
            Event::RoomChanged(changed) => self.on_room_changed(changed),
            Event::Read(marker) => self.on_read(&marker),
            Event::NotifySet(setting) => self.on_notify_set(&setting),
            Event::Typing { conversation, user } => self.on_typing(now, conversation, user),
            Event::Conversations(list) => self.on_conversations(list),
            Event::Rooms(list) => {
                self.take_owner(list.cid.as_ref());
                vec![Change::Rooms(list)]
            }
            Event::UserPage(page) => self.on_user_page(page),
            Event::Error(refused) => self.on_error(refused),
            Event::History(page) => self.on_history_page(page),
            Event::SearchResults(found) => self.on_search_results(found),
            Event::Stored(_)
            // The driver reports the login and the end of a connection.
            | Event::LoginPrompt
            | Event::Welcome(_)
            | Event::LoginRefused(_)
            | Event::Live(_)
            | Event::Pong(_)
            | Event::Closing(_) => Vec::new(),
        }
    }

    fn take_owner(&mut self, cid: Option<&crate::protocol::id::Cid>) -> Option<Owner> {
        let cid = cid.filter(|cid| self.requests.get(cid).is_some_and(|o| !o.is_in_outbox()))?;
        self.requests.take(cid)
    }

    fn on_presence(
        &mut self,
        now: DateTime<FixedOffset>,
        mut joined: Vec<UserId>,
        left: Vec<UserId>,
    ) -> Vec<Change> {
        joined.retain(|id| !self.is_own_id(id));
        let (joined, left) = self.directory.on_presence(now, joined, left);
        if self.hides_presence || joined.is_empty() && left.is_empty() {
            return vec![Change::Directory];
        }
        let everyone = self.conversations.everyone_mut();
        if everyone.shows_latest() {
            everyone.live.timeline.add_presence(now, &joined, &left);
        }
        vec![Change::Presence { joined, left }]
    }

    /// Adds the author of a message to the directory.
    pub(super) fn note_sender(&mut self, message: &Message) {
        if !message.guest && !self.is_own_id(&message.sender) {
            self.directory.add_registered(&message.sender);
        }
    }

    fn on_posted(&mut self, now: DateTime<FixedOffset>, message: Message) -> Vec<Change> {
        self.note_sender(&message);
        let audience = self.conversation_of(&message);
        let server_time = self.server_time(now);
        let needs_recent = !self.has_whole_log;
        let conversation = self.conversations.ensure(&audience, needs_recent);
        let rings = conversation.rings(&message, &self.own_ids, server_time);
        let Some(index) = conversation.add(message, &self.own_ids) else { return Vec::new() };
        // Counting the entries of all conversations for each message would be too slow.
        if conversation.live.timeline.len().is_multiple_of(256) {
            self.conversations.evict(&self.open);
        }
        vec![Change::Posted { conversation: audience, index, rings }]
    }

    fn on_removed(&mut self, id: MessageId, state: MessageState) -> Vec<Change> {
        let is_new = self.recent_changes.remove(id);
        let change = match state {
            MessageState::Expired => MessageChange::Expired,
            MessageState::Removed | MessageState::Readable => MessageChange::Removed,
        };
        let Some(audience) = self.conversations.locate(id).cloned() else {
            // It may be among the search results.
            let unknown = Change::Message { conversation: None, id, change };
            return is_new.then_some(unknown).into_iter().collect();
        };
        let conversation = self.conversations.get_mut(&audience);
        let taken = conversation.is_some_and(|one| one.remove_text(id, state, &self.own_ids));
        let change = Change::Message { conversation: Some(audience), id, change };
        taken.then_some(change).into_iter().collect()
    }

    fn on_edited(&mut self, edited: &Edited) -> Vec<Change> {
        self.recent_changes.edit(edited.clone());
        let apply = |message: &mut Message| apply_edit(message, edited);
        let change = self.update_message(edited.id, MessageChange::Edited, apply);
        vec![change.unwrap_or(Change::Message {
            conversation: None,
            id: edited.id,
            change: MessageChange::Edited,
        })]
    }

    fn update_message(
        &mut self,
        id: MessageId,
        change: MessageChange,
        apply: impl Fn(&mut Message),
    ) -> Option<Change> {
        let audience = self.conversations.locate(id)?.clone();
        let is_changed = self.conversations.get_mut(&audience)?.update(id, apply);
        is_changed.then_some(Change::Message { conversation: Some(audience), id, change })
    }

    /// Brings the results up to date with removals and edits.
    fn on_search_results(&mut self, mut found: SearchResults) -> Vec<Change> {
        if found.end != crate::protocol::event::SearchEnd::Searching {
            self.take_owner(found.cid.as_ref());
        }
        found.messages.retain_mut(|message| self.recent_changes.update(message));
        vec![Change::SearchResults(found)]
    }

    fn on_error(&mut self, mut refused: ErrorReply) -> Vec<Change> {
        let owner = refused.cid.as_ref().and_then(|cid| self.requests.get(cid));
        let (Some(owner), Some(cid)) = (owner.cloned(), refused.cid.clone()) else {
            return vec![Change::Error(refused)];
        };
        if !owner.is_in_outbox() {
            self.requests.take(&cid);
            let change = self.release(&cid, owner, Unanswered::Refused, &refused.text);
            return change.into_iter().collect();
        }
        if refused.code == ErrorCode::NotStored {
            self.set_delivery(&cid, Delivery::Deferred);
            refused.text = SafeText::clean(NOT_STORED);
            return vec![Change::Error(refused)];
        }
        match owner {
            Owner::Message(_) => {
                self.fail(&cid, refused.text.clone());
                vec![Change::Error(refused)]
            }
            _ => self.fail(&cid, refused.text),
        }
    }

    fn on_typing(
        &mut self,
        now: DateTime<FixedOffset>,
        conversation: Audience,
        user: UserId,
    ) -> Vec<Change> {
        let known = self.conversations.get_mut(&conversation);
        let Some(known) = known.filter(|_| !self.own_ids.contains(&user)) else {
            return Vec::new();
        };
        known.on_typing(now, user);
        vec![Change::Typing(conversation)]
    }

    fn on_read(&mut self, marker: &ReadMarker) -> Vec<Change> {
        if let Some(Owner::Read(audience)) = self.take_owner(marker.cid.as_ref())
            && let Some(conversation) = self.conversations.get_mut(&audience)
        {
            conversation.read.on_answered();
        }
        let conversation = self.ensure_conversation(&marker.conversation);
        let counts = (marker.unread, marker.mentions);
        let applies = conversation.read.on_server_marker(marker.seq);
        let last = conversation.last;
        let conversation = self.conversations.get_mut(&marker.conversation);
        if let Some(conversation) = conversation.filter(|_| applies) {
            conversation.set_counts(counts, last, &self.own_ids);
        }
        vec![Change::Conversation(marker.conversation.clone())]
    }

    fn on_notify_set(&mut self, setting: &NotifySetting) -> Vec<Change> {
        self.take_owner(setting.cid.as_ref());
        let conversation = self.ensure_conversation(&setting.conversation);
        (conversation.notify, conversation.muted_until) = (setting.level, setting.muted_until);
        vec![Change::Conversation(setting.conversation.clone())]
    }

    fn on_conversations(&mut self, list: ConversationList) -> Vec<Change> {
        let mut changes: Vec<Change> =
            list.conversations.into_iter().map(|info| self.on_conversation_info(info)).collect();
        if !list.has_more {
            self.take_owner(list.cid.as_ref());
            for room in std::mem::take(&mut self.unlisted_rooms) {
                changes.extend(self.leave(&room));
            }
            self.is_listed = true;
        }
        changes
    }

    fn on_conversation_info(&mut self, info: ConversationInfo) -> Change {
        let audience = info.conversation;
        let is_first_list = !self.is_listed && audience == self.open;
        self.unlisted_rooms.remove(&audience);
        let needs_recent = !self.has_whole_log;
        let conversation = self.conversations.ensure(&audience, needs_recent);
        conversation.room = info.room;
        conversation.last = conversation.last.max(info.last);
        (conversation.notify, conversation.muted_until) = (info.notify, info.muted_until);
        if is_first_list && conversation.unread_after.is_none() {
            conversation.unread_at_opening = info.unread;
            conversation.set_unread_line(info.read, &self.own_ids);
        }
        if conversation.read.on_server_marker(info.read) {
            conversation.set_counts((info.unread, info.mentions), info.last, &self.own_ids);
        }
        Change::Conversation(audience)
    }

    fn on_user_page(&mut self, page: UserList) -> Vec<Change> {
        match self.take_owner(page.cid.as_ref()) {
            Some(Owner::Users(None, _)) => {
                let own_ids = &self.own_ids;
                if let Some(next) = self.directory.on_page(&page, |user| own_ids.contains(user)) {
                    self.wanted.users.insert(None, Some(next));
                }
                vec![Change::Directory]
            }
            Some(Owner::Users(Some(room), after)) => {
                let audience = Audience::Room(room.clone());
                let Some(conversation) = self.conversations.get_mut(&audience) else {
                    return Vec::new();
                };
                if let Some(next) = conversation.on_member_page(page, after.is_none()) {
                    self.wanted.users.insert(Some(room), Some(next));
                }
                vec![Change::Conversation(audience)]
            }
            Some(_) | None => Vec::new(),
        }
    }

    fn on_room_changed(&mut self, changed: RoomChanged) -> Vec<Change> {
        let audience = Audience::Room(changed.room.clone());
        let is_own = |user: &UserId| self.is_own_id(user);
        let by_self = changed.by.as_ref().is_some_and(is_own);
        let (is_new, is_end) = match &changed.change {
            RoomChange::Created | RoomChange::Joined => (by_self, false),
            RoomChange::Left => (false, by_self),
            RoomChange::Added(users) => (users.iter().any(is_own), false),
            RoomChange::Removed(users) => (false, users.iter().any(is_own)),
            RoomChange::Topic | RoomChange::Archived => (false, false),
        };
        self.unlisted_rooms.remove(&audience);
        if is_end {
            return self.leave(&audience).into_iter().collect();
        }
        let is_created = is_new && changed.change == RoomChange::Created;
        let needs_recent = !is_created && !self.has_whole_log;
        let at = DateTime::from_timestamp_millis(changed.at).unwrap_or_default().fixed_offset();
        let text = room_notice(&changed);
        let is_added = is_new && !by_self;
        let added = Change::AddedToRoom { room: changed.room.clone(), by: changed.by.clone() };
        let conversation = self.conversations.ensure(&audience, needs_recent);
        conversation.on_members_changed(&changed.change, changed.by.as_ref());
        conversation.room = Some(changed.state);
        conversation.add_notice(at, text);
        let added = is_added.then_some(added);
        [Change::Conversation(audience)].into_iter().chain(added).collect()
    }

    /// Removes a room that this user is no longer a member of. What was loaded is discarded: sight ends. The
    /// conversation stays as long as it has pending messages.
    fn leave(&mut self, room: &Audience) -> Option<Change> {
        let conversation = self.conversations.get_mut(room)?;
        if let Some((cid, _)) = conversation.loading.take() {
            self.requests.take(&cid);
        }
        conversation.discard_history();
        if !conversation.pending.is_empty() {
            return Some(Change::Reset(room.clone()));
        }
        self.conversations.remove(room);
        if self.open == *room {
            self.open = Audience::Everyone;
        }
        Some(Change::ConversationRemoved(room.clone()))
    }
}

/// Says what has changed in a room.
pub fn room_notice(changed: &RoomChanged) -> SafeText {
    let by = changed.by.as_ref().map_or("the administrator", UserId::as_str);
    let names = |users: &[UserId]| users.iter().map(UserId::as_str).collect::<Vec<_>>().join(", ");
    let text = match &changed.change {
        RoomChange::Created => format!("{by} created {}", changed.room),
        RoomChange::Joined => format!("{by} joined {}", changed.room),
        RoomChange::Left => format!("{by} left {}", changed.room),
        RoomChange::Added(users) => format!("{by} added {}", names(users)),
        RoomChange::Removed(users) => format!("{by} removed {}", names(users)),
        RoomChange::Topic if changed.state.topic.is_blank() => format!("{by} removed the topic"),
        RoomChange::Topic => format!("{by} set the topic: {}", changed.state.topic.one_line()),
        RoomChange::Archived if changed.state.archived => format!("{by} archived {}", changed.room),
        RoomChange::Archived => format!("{by} made {} writable again", changed.room),
    };
    SafeText::clean(&text)
}
