//! Applies REACT events to the reactions of a message.

use crate::protocol::event::Reacted;
use crate::protocol::limits::{REACTION_KINDS, REACTION_USERS};
use crate::protocol::reaction::Reaction;

/// Adds or removes a reaction. `is_own`: this user's own reaction is always kept by name.
pub(super) fn react(reactions: &mut Vec<Reaction>, reacted: &Reacted, is_own: bool) {
    let Reacted { emoji, user, on, .. } = reacted;
    let has_room = reactions.len() < REACTION_KINDS;
    match reactions.iter_mut().find(|reaction| reaction.emoji == *emoji) {
        Some(reaction) if *on => {
            if reaction.users.contains(user) {
                return;
            }
            reaction.count += 1;
            if is_own {
                reaction.users.truncate(REACTION_USERS - 1);
            }
            if reaction.users.len() < REACTION_USERS {
                reaction.users.push(user.clone());
            }
        }
        Some(reaction) => {
            let all_named = reaction.users.len() >= reaction.count as usize;
            if all_named && !reaction.users.contains(user) {
                return;
            }
            reaction.users.retain(|named| named != user);
            reaction.count = reaction.count.saturating_sub(1);
            reactions.retain(|reaction| reaction.count > 0);
        }
        None if *on && has_room => {
            reactions.push(Reaction { emoji: emoji.clone(), count: 1, users: vec![user.clone()] });
        }
        None => {}
    }
}
