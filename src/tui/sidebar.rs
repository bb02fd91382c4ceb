//! What the sidebar lists: the conversations of the user, and the people of the open one.
//!
//! The order of the rows depends on the conversations only, so that keys and clicks agree with what is drawn.

use std::cmp::Reverse;

use super::model::{Focus, Model, PeopleFocus};
use crate::client::state::{Availability, Conversation};
use crate::protocol::id::UserId;
use crate::protocol::message::{Audience, Millis};
use crate::protocol::room::NotifyLevel;

/// Something in the sidebar that can be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SidebarItem {
    /// A conversation.
    Conversation(Audience),
    /// The row that opens the list of public rooms.
    BrowseRooms,
    /// A person.
    Person(UserId),
}

/// What one missed in all conversations together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnreadSummary {
    /// Conversations with unread messages. A muted one counts only if it mentions the user.
    pub conversations: u32,
    /// Unread messages that mention the user.
    pub mentions: u32,
}

/// Returns the conversations in the order of the sidebar: Everyone, rooms by name, then direct conversations,
/// latest first.
pub fn conversations(model: &Model) -> Vec<&Audience> {
    let is_listed = |(audience, conversation): &(&Audience, &Conversation)| {
        !audience.is_direct()
            || conversation.last().0 > 0
            || !conversation.pending().is_empty()
            || *audience == model.chat.open_audience()
    };
    let known = model.chat.conversations().filter(is_listed).map(|(audience, _)| audience);
    let drafts = model.drafts.iter().filter(|(to, draft)| to.is_direct() && !draft.is_blank());
    let drafts = drafts.map(|(audience, _)| audience);
    let last = |audience: &Audience| model.chat.conversation(audience).map(Conversation::last);
    let mut listed: Vec<&Audience> = known.chain(drafts).collect();
    listed.sort_by_cached_key(|audience| {
        (audience.is_direct(), audience.is_direct().then(|| Reverse(last(audience))), *audience)
    });
    listed.dedup();
    listed
}

/// Returns the conversation whose people are listed: that in which the user began to tick people, or the open
/// one.
pub fn listed_for(model: &Model) -> &Audience {
    model.ticked_from.as_ref().unwrap_or_else(|| model.chat.open_audience())
}

/// Returns the people that the sidebar lists: those of the conversation whose ID contains the text that was typed
/// while they have the focus.
pub fn people(model: &Model) -> Box<dyn Iterator<Item = &UserId> + '_> {
    let everyone = everyone_listed(model);
    match &model.focus {
        Focus::People(PeopleFocus { filter, .. }) if !filter.is_empty() => {
            let filter = filter.to_lowercase();
            Box::new(everyone.filter(move |user| user.as_str().to_lowercase().contains(&filter)))
        }
        _ => everyone,
    }
}

/// Returns the people that the sidebar lists without a filter, without the user: those of the conversation that is open, or in
/// which the user began to tick people, then the ticked ones who are not among them.
fn everyone_listed(model: &Model) -> Box<dyn Iterator<Item = &UserId> + '_> {
    let chat = &model.chat;
    let directory = chat.directory();
    let listed_for = listed_for(model);
    let ticked = chat.open_audience().direct().into_iter().flatten();
    match listed_for {
        Audience::Everyone => {
            let missing =
                ticked.filter(|user| directory.availability(user) != Availability::Online);
            Box::new(directory.online().chain(missing))
        }
        Audience::Room(_) => {
            let members = chat.conversation(listed_for).and_then(Conversation::members);
            let members = members.map_or(&[][..], |members| &members.users);
            let others = members.iter().filter(|user| !chat.is_own_id(user));
            Box::new(others.chain(ticked.filter(|user| !members.contains(user))))
        }
        Audience::Only(users) => {
            let others = directory.online().filter(|user| !users.contains(*user));
            let missing = ticked.filter(|user| {
                !users.contains(*user) && directory.availability(user) != Availability::Online
            });
            Box::new(users.iter().chain(others).chain(missing))
        }
    }
}

/// Whether nothing rings in a conversation at `now`, by the server's clock. Its messages do not count as missed.
pub fn is_muted(conversation: &Conversation, now: Millis) -> bool {
    conversation.notify_level() == NotifyLevel::None
        || conversation.muted_until().is_some_and(|until| until > now)
}

/// Returns what one missed at `now`, by the server's clock.
pub fn unread_summary(model: &Model, now: Millis) -> UnreadSummary {
    let all = model.chat.conversations().map(|(_, conversation)| conversation);
    all.fold(UnreadSummary::default(), |sum, one| UnreadSummary {
        conversations: sum.conversations + u32::from(is_missed(one, now)),
        mentions: sum.mentions + one.mentions(),
    })
}

fn is_missed(conversation: &Conversation, now: Millis) -> bool {
    conversation.mentions() > 0 || (conversation.unread() > 0 && !is_muted(conversation, now))
}

/// The title of the terminal's window: what one missed.
pub fn window_title(model: &Model, now: Millis) -> String {
    match unread_summary(model, now).conversations {
        0 => "chat".to_owned(),
        count => format!("({count}) chat"),
    }
}

/// Returns the next conversation with unread messages after the open one: first those that mention the user
/// and the direct ones.
pub fn next_unread(model: &Model, now: Millis) -> Option<Audience> {
    let listed = conversations(model);
    let open = listed.iter().position(|audience| *audience == model.chat.open_audience());
    let (before, after) = listed.split_at(open.map_or(0, |open| open + 1));
    let unread: Vec<(&Audience, &Conversation)> = after
        .iter()
        .chain(before)
        .filter(|audience| **audience != model.chat.open_audience())
        .filter_map(|audience| Some((*audience, model.chat.conversation(audience)?)))
        .filter(|(_, conversation)| is_missed(conversation, now))
        .collect();
    let urgent = unread.iter().find(|(audience, one)| one.mentions() > 0 || audience.is_direct());
    urgent.or_else(|| unread.first()).map(|(audience, _)| (*audience).clone())
}
