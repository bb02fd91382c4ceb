//! Enter: from what is typed to what is sent. What can't be sent stays where it was typed.

use chrono::{DateTime, FixedOffset};

use super::act::{delete, open_search};
use crate::client::line::{Line, LineError, content};
use crate::protocol::id::MessageId;
use crate::protocol::message::Audience;
use crate::protocol::request::Say;
use crate::protocol::text::SafeText;
use crate::tui::model::{Effect, Model};

/// Sends what is typed, or does what it says.
pub(super) fn send(model: &mut Model, now: DateTime<FixedOffset>) -> Vec<Effect> {
    if model.compose.typed().trim().is_empty() {
        return Vec::new();
    }
    let line = match Line::parse(&model.compose.typed()) {
        Ok(line) => line,
        Err(error) => {
            model.complain(error.to_string());
            return Vec::new();
        }
    };
    match line {
        Line::Exit => vec![Effect::Quit],
        Line::Search(expression) => {
            model.compose.clear();
            open_search(model, now, &expression);
            Vec::new()
        }
        Line::Reply { to, text } if text.is_blank() => {
            begin_reply(model, to);
            Vec::new()
        }
        Line::Delete(id) => {
            if !model.room.is_online() {
                return offline(model);
            }
            model.compose.clear();
            delete(model, id)
        }
        Line::Say { text, .. } | Line::Temporary { text, .. } | Line::Reply { text, .. } => {
            say(model, now, &text)
        }
    }
}

fn begin_reply(model: &mut Model, to: MessageId) {
    if model.room.timeline().said(to).is_none() {
        model.complain(format!("there is no message {to} here"));
        return;
    }
    model.compose.clear();
    model.compose.reply_to(to, &model.room);
}

fn say(model: &mut Model, now: DateTime<FixedOffset>, text: &SafeText) -> Vec<Effect> {
    match ready(model, text) {
        Ok(say) => {
            model.compose.sent();
            super::act::to_bottom(model);
            if !model.room.is_online() {
                model.tell("not connected: it waits here, and is sent by itself later");
            }
            match model.room.say(now, say) {
                Some((cid, request)) => vec![Effect::Send(Some(cid), request)],
                None => Vec::new(),
            }
        }
        Err(reason) => {
            model.complain(reason);
            Vec::new()
        }
    }
}

/// The message as the To: line promises it.
fn ready(model: &Model, text: &SafeText) -> Result<Say, String> {
    let address = model.compose.address(&model.room);
    let audience = address.audience.map_err(|error| error.to_string())?;
    if matches!(&audience, Audience::Only(people) if people.is_empty()) {
        return Err("there is nobody left who could read it".to_owned());
    }
    let content =
        content(text.as_str(), "the prompt").map_err(|error: LineError| error.to_string())?;
    Ok(Say { audience, kind: address.kind, content })
}

fn offline(model: &mut Model) -> Vec<Effect> {
    model.complain("not connected: nothing can be deleted now");
    Vec::new()
}
