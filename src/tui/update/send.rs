//! Sending the draft, or running the dot-command in it. A draft that cannot be sent stays in the input.

use chrono::{DateTime, FixedOffset};
use unicode_segmentation::UnicodeSegmentation;

use super::jump::scroll_to_latest;
use super::messages::{delete, list_messages, save_edit};
use super::rooms::{browse_rooms, open_when_member};
use super::search::open_search;
use super::sidebar::{focus_people, open_conversation, open_next_unread};
use crate::client::input::{ChatCommand, CommandError, UserInput, parse_content};
use crate::client::state::ExecuteError;
use crate::protocol::id::MessageId;
use crate::protocol::limits;
use crate::protocol::request::Post;
use crate::protocol::text::SafeText;
use crate::tui::bubble::conversation_name;
use crate::tui::editor::MAX_CHARACTERS;
use crate::tui::event::UiEffect;
use crate::tui::model::{Focus, Model};
use crate::tui::overlay::Overlay;
use crate::tui::overlay::question::Question;
use crate::tui::overlay::thread::ThreadSubject;

/// A paste of more lines asks first.
const MAX_PASTED_LINES: usize = 20;

/// Sends the draft, or runs the dot-command in it.
pub(super) fn send(model: &mut Model, now: DateTime<FixedOffset>) -> Vec<UiEffect> {
    if let Some(id) = model.composer.editing {
        return save_edit(model, id);
    }
    if model.composer.text().trim().is_empty() {
        return Vec::new();
    }
    match UserInput::parse(&model.composer.text()) {
        Ok(input) => run(model, now, input),
        Err(CommandError::UnknownCommand(_)) => {
            model.overlays.open(Overlay::Question(Question::UnknownCommand));
            Vec::new()
        }
        Err(_) if model.composer.input.characters() > limits::CONTENT_CHARACTERS => {
            let count = parts(&SafeText::clean(&model.composer.text())).len();
            model.overlays.open(Overlay::Question(Question::Split(count)));
            Vec::new()
        }
        Err(error) => {
            model.show_error(error.to_string());
            Vec::new()
        }
    }
}

/// Sends the message, or runs the dot-command, that the draft is.
fn run(model: &mut Model, now: DateTime<FixedOffset>, input: UserInput) -> Vec<UiEffect> {
    match input {
        UserInput::Exit => vec![UiEffect::Quit],
        UserInput::Change(command) => change(model, now, command),
        UserInput::Open(destination) => match model.chat.destination(destination) {
            Ok(audience) => {
                model.composer.clear();
                open_conversation(model, &audience);
                Vec::new()
            }
            Err(error) => refuse(model, &error),
        },
        UserInput::Reply { to, text } if text.is_blank() => {
            begin_reply(model, to);
            Vec::new()
        }
        UserInput::Delete(id) => {
            model.composer.clear();
            delete(model, id)
        }
        UserInput::Post { .. } if model.composer.reply_to.is_some() => {
            let text = SafeText::clean(&model.composer.text());
            post(model, now, &text)
        }
        UserInput::Post { text, .. }
        | UserInput::Temporary { text, .. }
        | UserInput::Reply { text, .. } => post(model, now, &text),
        UserInput::Thread(id) => {
            model.composer.clear();
            let root = model.chat.message(id).and_then(|entry| entry.message.reply_to());
            list_messages(model, ThreadSubject::Replies(root.unwrap_or(id)))
        }
        UserInput::Pins => {
            model.composer.clear();
            list_messages(model, ThreadSubject::Pinned)
        }
        UserInput::Search(_)
        | UserInput::Help
        | UserInput::Rooms
        | UserInput::People
        | UserInput::Unread
        | UserInput::Quiet(_) => {
            model.composer.clear();
            show(model, now, &input);
            Vec::new()
        }
    }
}

/// Inserts a paste. A long one asks first; one that no number of messages could hold is refused.
pub(super) fn paste(model: &mut Model, text: SafeText) {
    let characters = text.as_str().chars().count();
    let total = model.composer.input.characters() + characters;
    if total > MAX_CHARACTERS {
        model.show_error(format!(
            "the paste has {characters} characters: too long to send (nothing was inserted)"
        ));
        return;
    }
    let messages = parts(&text).len();
    if messages > 1 || text.as_str().lines().count() > MAX_PASTED_LINES {
        model.overlays.open(Overlay::Question(Question::Paste { text, messages }));
    } else {
        model.composer.input.insert(text.as_str());
    }
}

/// Answers the open question with yes.
pub(super) fn confirm(model: &mut Model, now: DateTime<FixedOffset>) -> Vec<UiEffect> {
    let Some(Overlay::Question(question)) = model.overlays.close_top() else { return Vec::new() };
    match question {
        Question::Delete(id) => {
            model.focus = Focus::Typing;
            delete(model, id)
        }
        Question::Paste { text, .. } => {
            model.composer.input.insert(text.as_str());
            Vec::new()
        }
        Question::Split(_) | Question::UnknownCommand => {
            let text = SafeText::clean(&model.composer.text());
            let effects = post_parts(model, now, &text);
            if !effects.is_empty() {
                model.composer.reset_after_send();
            }
            effects
        }
    }
}

/// Sends the paste that the open question is about. The draft stays.
pub(super) fn send_paste(model: &mut Model, now: DateTime<FixedOffset>) -> Vec<UiEffect> {
    let Some(Overlay::Question(Question::Paste { text, .. })) = model.overlays.top() else {
        return Vec::new();
    };
    let text = text.clone();
    model.overlays.close_top();
    post_parts(model, now, &text)
}

/// Sends a text as it is, in as many messages as it needs, to the audience in the `To:` line.
fn post_parts(model: &mut Model, now: DateTime<FixedOffset>, text: &SafeText) -> Vec<UiEffect> {
    let posts = parts(text).into_iter().map(|part| build_post(model, &part));
    match posts.collect::<Result<Vec<_>, _>>() {
        Ok(posts) => {
            scroll_to_latest(model);
            let sent = posts.into_iter().filter_map(|post| model.chat.post(now, post));
            sent.map(|(cid, request)| UiEffect::Send(Some(cid), request)).collect()
        }
        Err(reason) => {
            model.show_error(reason);
            Vec::new()
        }
    }
}

/// Splits a text into parts that fit into one message each, between lines where possible.
fn parts(text: &SafeText) -> Vec<SafeText> {
    let mut parts = Vec::new();
    let (mut part, mut length) = (String::new(), 0);
    for line in text.as_str().split_inclusive('\n') {
        let characters = line.chars().count();
        if length > 0 && length + characters > limits::CONTENT_CHARACTERS {
            parts.push(std::mem::take(&mut part));
            length = 0;
        }
        for grapheme in line.graphemes(true) {
            let characters = grapheme.chars().count();
            if length + characters > limits::CONTENT_CHARACTERS {
                parts.push(std::mem::take(&mut part));
                length = 0;
            }
            part.push_str(grapheme);
            length += characters;
        }
    }
    parts.push(part);
    let cleaned = parts.iter().map(|part| SafeText::clean(part.trim_end_matches('\n')));
    cleaned.filter(|part| !part.is_blank()).collect()
}

/// Shows what a command asks for.
fn show(model: &mut Model, now: DateTime<FixedOffset>, command: &UserInput) {
    match command {
        UserInput::Search(expression) => open_search(model, now, expression, true),
        UserInput::Rooms => browse_rooms(model),
        UserInput::People => focus_people(model),
        UserInput::Unread => open_next_unread(model, now),
        UserInput::Quiet(hide) => {
            model.chat.hide_presence(*hide);
            model.show_notice(if *hide {
                "who joins and leaves is hidden"
            } else {
                "who joins and leaves is shown"
            });
        }
        _ => model.open_help(),
    }
}

/// Executes a command that changes something on the server. A room that the user enters is opened.
fn change(model: &mut Model, now: DateTime<FixedOffset>, command: ChatCommand) -> Vec<UiEffect> {
    let entered = match &command {
        ChatCommand::Create { room, .. } | ChatCommand::Join(room) => Some(room.clone()),
        _ => None,
    };
    match model.chat.execute(now, command) {
        Ok(requests) => {
            model.composer.clear();
            if let Some(room) = entered {
                open_when_member(model, room);
            }
            let send = |(cid, request)| UiEffect::Send(Some(cid), request);
            requests.into_iter().map(send).collect()
        }
        Err(error) => refuse(model, &error),
    }
}

fn refuse(model: &mut Model, error: &ExecuteError) -> Vec<UiEffect> {
    model.show_error(error.to_string());
    Vec::new()
}

fn begin_reply(model: &mut Model, to: MessageId) {
    let Some(audience) = model.chat.reply_audience(to) else {
        model.show_error(format!("message {to} is not loaded"));
        return;
    };
    // The command is cleared where it was typed; a draft in the other conversation becomes the reply.
    model.composer.clear();
    open_conversation(model, &audience);
    model.composer.start_reply(to);
}

fn post(model: &mut Model, now: DateTime<FixedOffset>, text: &SafeText) -> Vec<UiEffect> {
    match build_post(model, text) {
        Ok(post) => {
            model.composer.reset_after_send();
            scroll_to_latest(model);
            if !model.chat.is_online() {
                model.show_notice("not connected: the message will be sent after reconnecting");
            } else if post.audience != *model.chat.open_audience() {
                model.show_notice(format!(
                    "sent to {}, not here",
                    conversation_name(&post.audience)
                ));
            }
            match model.chat.post(now, post) {
                Some((cid, request)) => vec![UiEffect::Send(Some(cid), request)],
                None => Vec::new(),
            }
        }
        Err(reason) => {
            model.show_error(reason);
            Vec::new()
        }
    }
}

/// Builds the message with exactly the audience that the `To:` line shows.
fn build_post(model: &Model, text: &SafeText) -> Result<Post, String> {
    let destination = model.composer.destination(&model.chat);
    let audience = destination.audience.map_err(|error| error.to_string())?;
    let content = parse_content(text.as_str(), "the prompt")
        .map_err(|error: CommandError| error.to_string())?;
    Ok(Post { audience, kind: destination.kind, content })
}
