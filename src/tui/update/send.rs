//! Enter: from what is typed to what is sent. What can't be sent stays where it was typed.

use chrono::{DateTime, FixedOffset};

use super::commands::{delete, open_search};
use crate::client::input::{CommandError, UserInput, parse_content};
use crate::protocol::id::MessageId;
use crate::protocol::message::Audience;
use crate::protocol::request::Post;
use crate::protocol::text::SafeText;
use crate::tui::model::{Model, UiEffect};

/// Sends what is typed, or does what it says.
pub(super) fn send(model: &mut Model, now: DateTime<FixedOffset>) -> Vec<UiEffect> {
    if model.composer.text().trim().is_empty() {
        return Vec::new();
    }
    let line = match UserInput::parse(&model.composer.text()) {
        Ok(line) => line,
        Err(error) => {
            model.show_error(error.to_string());
            return Vec::new();
        }
    };
    match line {
        UserInput::Exit => vec![UiEffect::Quit],
        UserInput::Search(expression) => {
            model.composer.clear();
            open_search(model, now, &expression);
            Vec::new()
        }
        UserInput::Reply { to, text } if text.is_blank() => {
            begin_reply(model, to);
            Vec::new()
        }
        UserInput::Delete(id) => {
            if !model.chat.is_online() {
                return refuse_offline_delete(model);
            }
            model.composer.clear();
            delete(model, id)
        }
        UserInput::Post { text, .. }
        | UserInput::Temporary { text, .. }
        | UserInput::Reply { text, .. } => post(model, now, &text),
    }
}

fn begin_reply(model: &mut Model, to: MessageId) {
    if model.chat.timeline().message(to).is_none() {
        model.show_error(format!("there is no message {to} here"));
        return;
    }
    model.composer.clear();
    model.composer.start_reply(to, &model.chat);
}

fn post(model: &mut Model, now: DateTime<FixedOffset>, text: &SafeText) -> Vec<UiEffect> {
    match build_post(model, text) {
        Ok(say) => {
            model.composer.reset_after_send();
            super::commands::scroll_to_latest(model);
            if !model.chat.is_online() {
                model.show_notice("not connected: it waits here, and is sent by itself later");
            }
            match model.chat.post(now, say) {
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

/// The message as the To: line promises it.
fn build_post(model: &Model, text: &SafeText) -> Result<Post, String> {
    let address = model.composer.destination(&model.chat);
    let audience = address.audience.map_err(|error| error.to_string())?;
    if matches!(&audience, Audience::Only(people) if people.is_empty()) {
        return Err("there is nobody left who could read it".to_owned());
    }
    let content = parse_content(text.as_str(), "the prompt")
        .map_err(|error: CommandError| error.to_string())?;
    Ok(Post { audience, kind: address.kind, content })
}

fn refuse_offline_delete(model: &mut Model) -> Vec<UiEffect> {
    model.show_error("not connected: nothing can be deleted now");
    Vec::new()
}
