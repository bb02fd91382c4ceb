//! Sending the draft, or running the dot-command in it. A draft that cannot be sent stays in the input.

use chrono::{DateTime, FixedOffset};

use super::jump::scroll_to_latest;
use super::messages::{delete, save_edit};
use super::rooms::{browse_rooms, open_when_member};
use super::search::open_search;
use super::sidebar::{focus_people, open_conversation, open_next_unread};
use crate::client::input::{ChatCommand, CommandError, UserInput, parse_content};
use crate::client::state::ExecuteError;
use crate::protocol::id::MessageId;
use crate::protocol::request::Post;
use crate::protocol::text::SafeText;
use crate::tui::bubble::conversation_name;
use crate::tui::event::UiEffect;
use crate::tui::model::Model;
use crate::tui::overlay::Overlay;

/// Sends the draft, or runs the dot-command in it.
pub(super) fn send(model: &mut Model, now: DateTime<FixedOffset>) -> Vec<UiEffect> {
    if let Some(id) = model.composer.editing {
        return save_edit(model, id);
    }
    if model.composer.text().trim().is_empty() {
        return Vec::new();
    }
    let input = match UserInput::parse(&model.composer.text()) {
        Ok(input) => input,
        Err(error) => {
            model.show_error(error.to_string());
            return Vec::new();
        }
    };
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
        UserInput::Thread(_) | UserInput::Pins => {
            model.show_error("this command works only in line mode (chat join --plain)");
            Vec::new()
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
        _ => model.overlays.open(Overlay::Help { top: 0 }),
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
