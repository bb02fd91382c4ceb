//! The draft: its text, reply and expiry. The open conversation, or names in the text, decide who gets it.
//!
//! [`Composer::destination`] is the only function that decides who gets the draft: the `To:` line shows it and
//! sending uses it.

use super::completion::Completion;
use super::editor::Editor;
use crate::client::drafts::Draft;
use crate::client::input::UserInput;
use crate::client::state::{ResolveError, Session};
use crate::protocol::id::MessageId;
use crate::protocol::message::Audience;
use crate::protocol::request::{Post, PostKind};
use crate::protocol::text::SafeText;

/// The expiry times that Ctrl-T cycles through, in seconds.
const EXPIRY_CHOICES: [u32; 4] = [10, 60, 600, 3_600];

/// The draft of the next message.
#[derive(Debug, Clone, Default)]
pub struct Composer {
    /// The input box.
    pub input: Editor,
    /// The message it replies to.
    pub reply_to: Option<MessageId>,
    /// The own message whose text is edited, instead of writing a new one.
    pub editing: Option<MessageId>,
    /// The draft that comes back after the text in the input was sent or dropped.
    pub set_aside: Option<Box<Self>>,
    /// Seconds after which the message expires; `None` if it does not.
    pub expires_after: Option<u32>,
    /// The open completion.
    pub completion: Option<Completion>,
}

/// Why the draft has no audience.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// A typed name does not name a known user.
    #[error(transparent)]
    Name(#[from] ResolveError),
    /// The typed message ID is unknown, and with it the conversation that the reply would go to.
    #[error("message {0} is not loaded: open its conversation, or search for it")]
    NotLoaded(MessageId),
}

/// Audience and kind of the draft if it were sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The audience, or why there is none.
    pub audience: Result<Audience, DestinationError>,
    /// Plain, reply or temporary.
    pub kind: PostKind,
    /// Whether names or a command in the text decide, so that the open conversation is ignored.
    pub is_typed: bool,
}

impl Composer {
    /// The typed text.
    pub fn text(&self) -> String {
        self.input.text()
    }

    /// Whether the input is empty.
    pub fn is_empty(&self) -> bool {
        self.input.is_empty()
    }

    /// Whether there is nothing to send: no text, reply or expiry.
    pub fn is_blank(&self) -> bool {
        self.is_empty() && self.reply_to.is_none() && self.expires_after.is_none()
    }

    /// Whether nothing would be lost if the draft were dropped, not even what undo restores.
    pub fn is_unused(&self) -> bool {
        self.is_blank() && !self.input.can_undo()
    }

    /// Clears the text so that undo restores it.
    pub fn clear(&mut self) {
        self.completion = None;
        self.input.clear();
    }

    /// Replaces the text, with the cursor at its end.
    pub fn set_text(&mut self, typed: &str) {
        self.input = Editor::with_text(typed);
        self.completion = None;
    }

    /// Returns the draft as it is kept on disk, and the one that was set aside. A temporary message is not kept, as
    /// none is anywhere on disk.
    pub fn to_drafts(&self, conversation: &Audience) -> Vec<Draft> {
        let aside = self.set_aside.iter().flat_map(|aside| aside.to_drafts(conversation));
        let own = (!self.is_empty() && self.expires_after.is_none()).then(|| Draft {
            conversation: conversation.clone(),
            text: SafeText::clean(&self.text()),
            reply_to: self.reply_to,
            editing: self.editing,
        });
        own.into_iter().chain(aside).collect()
    }

    /// Adds a draft from disk. One that is there already stays: an edit is put before it, other texts after it.
    pub fn restore(&mut self, draft: &Draft) {
        if self.editing.is_some() {
            self.set_aside.get_or_insert_default().restore(draft);
            return;
        }
        if draft.editing.is_some() || self.is_empty() {
            self.set_draft_aside();
            self.set_text(draft.text.as_str());
            (self.reply_to, self.editing) = (draft.reply_to, draft.editing);
            return;
        }
        let both = format!("{}\n{}", self.text(), draft.text);
        self.set_text(&both);
    }

    /// Starts a reply to a message of the open conversation.
    pub fn start_reply(&mut self, id: MessageId) {
        self.reply_to = Some(id);
        self.expires_after = None;
    }

    /// The message that is replied to or edited.
    pub fn quoted(&self) -> Option<MessageId> {
        self.editing.or(self.reply_to)
    }

    /// Starts to edit a message of the open conversation. The draft comes back afterwards.
    pub fn start_edit(&mut self, id: MessageId, text: &str) {
        self.drop_edit();
        self.set_draft_aside();
        self.editing = Some(id);
        self.set_text(text);
    }

    /// Drops the edit, if there is one, and brings the draft back.
    pub fn drop_edit(&mut self) {
        if self.editing.is_some() {
            self.reset_after_send();
        }
    }

    /// Keeps the text of an edit whose message is not there any more, as a draft.
    pub fn detach_edit(&mut self) {
        self.editing = None;
    }

    fn set_draft_aside(&mut self) {
        let draft = std::mem::take(self);
        self.set_aside = if draft.is_empty() { draft.set_aside } else { Some(Box::new(draft)) };
    }

    /// Drops the reply, if there is one.
    pub fn cancel_reply(&mut self) {
        self.reply_to = None;
    }

    /// Puts a message of the open conversation that was not sent back into the composer, with its kind. The
    /// draft comes back after it was sent.
    pub fn restore_unsent(&mut self, post: &Post) {
        self.drop_edit();
        self.set_draft_aside();
        self.set_text(post.content.as_str());
        (self.reply_to, self.expires_after) = match post.kind {
            PostKind::Plain => (None, None),
            PostKind::Temporary { seconds } => (None, Some(seconds)),
            PostKind::Reply { to } => (Some(to), None),
        };
    }

    /// Resets everything, after a message was sent, and brings back the draft that was set aside.
    pub fn reset_after_send(&mut self) {
        *self = self.set_aside.take().map(|draft| *draft).unwrap_or_default();
    }

    /// Selects the next longer expiry; after the longest, none.
    pub fn cycle_expiry(&mut self) {
        self.expires_after = match self.expires_after {
            None => EXPIRY_CHOICES.first().copied(),
            Some(current) => EXPIRY_CHOICES.into_iter().find(|seconds| *seconds > current),
        };
    }

    /// Returns the audience and kind of the draft if it were sent now.
    pub fn destination(&self, chat: &Session) -> Destination {
        if self.editing.is_some() {
            let audience = Ok(chat.open_audience().clone());
            return Destination { audience, kind: PostKind::Plain, is_typed: false };
        }
        // The meaning of a command and its names does not depend on the text after them, which may be
        // missing yet.
        let line = UserInput::parse(&format!("{}\n.", self.text()));
        let (names, kind) = match line {
            // A reply goes where its original is: names at its start are part of its text.
            Ok(UserInput::Post { .. }) if self.reply_to.is_some() => (vec![], self.kind()),
            Ok(UserInput::Post { to, .. }) => (to, self.kind()),
            Ok(UserInput::Temporary { to, seconds, .. }) => (to, PostKind::Temporary { seconds }),
            Ok(UserInput::Reply { to, .. }) => {
                let audience = chat.reply_audience(to).ok_or(DestinationError::NotLoaded(to));
                return Destination { audience, kind: PostKind::Reply { to }, is_typed: true };
            }
            Ok(_) | Err(_) => (vec![], self.kind()),
        };
        if names.is_empty() {
            let audience = Ok(chat.open_audience().clone());
            return Destination { audience, kind, is_typed: false };
        }
        let users = names.iter().map(|name| chat.resolve(name)).collect::<Result<_, _>>();
        let audience = users.map(Audience::Only).map_err(DestinationError::from);
        Destination { audience, kind, is_typed: true }
    }

    fn kind(&self) -> PostKind {
        match (self.reply_to, self.expires_after) {
            (Some(to), _) => PostKind::Reply { to },
            (None, Some(seconds)) => PostKind::Temporary { seconds },
            (None, None) => PostKind::Plain,
        }
    }
}
