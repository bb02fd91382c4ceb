//! What one does with a message: its menu, reply, edit, delete, react, pin, copy, thread.

use super::jump::jump_to;
use super::search::on_context;
use crate::client::input::parse_content;
use crate::client::state::timeline::MessageState;
use crate::protocol::event::HistoryPage;
use crate::protocol::id::MessageId;
use crate::protocol::message::Message;
use crate::protocol::query::HistoryRange;
use crate::protocol::request::Request;
use crate::tui::command::MessageCommand;
use crate::tui::event::UiEffect;
use crate::tui::item::ItemId;
use crate::tui::layout::ScreenLayout;
use crate::tui::model::{Focus, Model};
use crate::tui::overlay::Overlay;
use crate::tui::overlay::emoji::{EmojiPicker, has_reacted};
use crate::tui::overlay::menu::MessageMenu;
use crate::tui::overlay::question::Question;
use crate::tui::overlay::thread::{ThreadOverlay, ThreadSubject};
use crate::tui::text::{Link, find_links};

/// Opens the menu of the picked message.
pub(super) fn open_menu(model: &mut Model) {
    let menu = model.picked().and_then(|item| MessageMenu::new(&model.chat, &model.keymap, item));
    match menu {
        Some(menu) => model.overlays.open(Overlay::Menu(menu)),
        None => model.show_error("this message was removed or has expired"),
    }
}

/// Carries out a command on the picked message, and closes its menu.
pub(super) fn act_on_picked(model: &mut Model, command: MessageCommand) -> Vec<UiEffect> {
    if let Some(Overlay::Menu(menu)) = model.overlays.top() {
        if !menu.offers(command) {
            model.show_error("not possible with this message");
            return Vec::new();
        }
        model.overlays.close_top();
    }
    match command {
        MessageCommand::Reply => reply_picked(model),
        MessageCommand::Edit => return edit_picked(model),
        MessageCommand::Delete => ask_to_delete(model),
        MessageCommand::React => pick_emoji(model),
        MessageCommand::ShowThread => return show_thread(model),
        MessageCommand::Copy => return copy_picked(model),
        MessageCommand::Pin => return toggle_pin(model),
        MessageCommand::OpenLink => return open_picked_link(model),
        MessageCommand::Discard => return discard_picked(model),
    }
    Vec::new()
}

fn picked_message(model: &mut Model) -> Option<Message> {
    let id = match model.picked() {
        Some(ItemId::Message(id)) => Some(*id),
        Some(ItemId::Pending(_) | ItemId::Boundary(_) | ItemId::Other(_)) | None => None,
    };
    let entry = id.and_then(|id| model.chat.opened().timeline().message(id));
    let readable = entry.filter(|entry| entry.state == MessageState::Readable);
    let message = readable.map(|entry| entry.message.clone());
    if message.is_none() {
        model.show_error("this message was removed, has expired or is not sent yet");
    }
    message
}

/// Replies to the picked message.
fn reply_picked(model: &mut Model) {
    if let Some(message) = picked_message(model) {
        begin_reply(model, message.id);
    }
}

/// Replies to the picked message, or else to the latest one of another user.
pub(super) fn reply_picked_or_latest(model: &mut Model) {
    if model.picked().is_some() {
        return reply_picked(model);
    }
    let chat = &model.chat;
    let mut messages = chat.opened().timeline().newest_first();
    let latest =
        messages.find(|message| !chat.is_own_id(&message.sender)).map(|message| message.id);
    drop(messages);
    match latest {
        Some(id) => begin_reply(model, id),
        None => model.show_error("no message to reply to"),
    }
}

fn begin_reply(model: &mut Model, id: MessageId) {
    model.composer.drop_edit();
    model.composer.start_reply(id);
    model.focus = Focus::Typing;
}

/// Puts the text of the picked message into the input: of a stored message to edit it, of one that was not
/// sent to send it again.
fn edit_picked(model: &mut Model) -> Vec<UiEffect> {
    if let Some(ItemId::Pending(cid)) = model.picked().cloned() {
        let Some(post) = model.chat.take_failed(&cid) else {
            model.show_error("this message is still being sent");
            return Vec::new();
        };
        model.focus = Focus::Typing;
        model.composer.restore_unsent(&post);
        return vec![UiEffect::DiscardPending(cid)];
    }
    if let Some(message) = picked_message(model) {
        model.focus = Focus::Typing;
        model.composer.start_edit(message.id, message.content.as_str());
    }
    Vec::new()
}

/// Sends the new text of the message that is edited.
pub(super) fn save_edit(model: &mut Model, id: MessageId) -> Vec<UiEffect> {
    let content = match parse_content(&model.composer.text(), "the prompt") {
        Ok(content) => content,
        Err(error) => {
            model.show_error(error.to_string());
            return Vec::new();
        }
    };
    model.composer.drop_edit();
    let old = model.chat.message(id).map(|entry| &entry.message.content);
    if old == Some(&content) {
        model.show_notice("the text is unchanged");
        return Vec::new();
    }
    change(model, Request::Edit { id, content })
}

/// Discards the picked message, which was not sent.
fn discard_picked(model: &mut Model) -> Vec<UiEffect> {
    let Some(ItemId::Pending(cid)) = model.picked().cloned() else { return Vec::new() };
    model.focus = Focus::Typing;
    model.chat.take_failed(&cid).map(|_| UiEffect::DiscardPending(cid)).into_iter().collect()
}

/// Asks whether to delete the picked message.
fn ask_to_delete(model: &mut Model) {
    let Some(message) = picked_message(model) else { return };
    if model.chat.is_own_id(&message.sender) {
        model.overlays.open(Overlay::Question(Question::Delete(message.id)));
    } else {
        model.show_error("only the author can delete a message");
    }
}

/// Asks the server to delete a message.
pub(super) fn delete(model: &mut Model, id: MessageId) -> Vec<UiEffect> {
    change(model, Request::Delete(id))
}

fn change(model: &mut Model, request: Request) -> Vec<UiEffect> {
    if !model.chat.is_online() {
        model.show_notice("not connected: the change will be sent after reconnecting");
    }
    let change = model.chat.change(request);
    change.into_iter().map(|(cid, request)| UiEffect::Send(Some(cid), request)).collect()
}

/// Opens the emoji picker for the picked message.
fn pick_emoji(model: &mut Model) {
    if let Some(message) = picked_message(model) {
        model.overlays.open(Overlay::Emoji(Box::new(EmojiPicker::new(message.id))));
    }
}

/// Pins the picked message, or removes its pin.
fn toggle_pin(model: &mut Model) -> Vec<UiEffect> {
    let Some(message) = picked_message(model) else { return Vec::new() };
    change(model, Request::Pin { id: message.id, on: !message.pinned })
}

/// Copies the text of the picked message.
fn copy_picked(model: &mut Model) -> Vec<UiEffect> {
    let pending = match model.picked() {
        Some(ItemId::Pending(cid)) => {
            let mut pending = model.chat.opened().pending().iter();
            pending.find(|pending| pending.cid == *cid).map(|pending| pending.post.content.clone())
        }
        _ => None,
    };
    let text = pending.or_else(|| picked_message(model).map(|message| message.content));
    let Some(text) = text else { return Vec::new() };
    model.show_notice(format!("copied {} characters", text.as_str().chars().count()));
    vec![UiEffect::Copy(text.as_str().to_owned())]
}

/// Opens the first link of the picked message.
fn open_picked_link(model: &mut Model) -> Vec<UiEffect> {
    let Some(message) = picked_message(model) else { return Vec::new() };
    let first = find_links(message.content.as_str()).into_iter().next();
    first.map(|found| open_link(model, found.link)).unwrap_or_default()
}

/// Opens a link, or copies it if it is one of this program.
pub(super) fn open_link(model: &mut Model, link: Link) -> Vec<UiEffect> {
    if link.opens_outside() {
        return vec![UiEffect::OpenLink(link)];
    }
    model.show_notice("copied the link (chat join LINK joins the server)");
    vec![UiEffect::Copy(link.as_str().to_owned())]
}

/// Shows the picked message with the replies to it; of a reply, the thread that it belongs to.
fn show_thread(model: &mut Model) -> Vec<UiEffect> {
    let Some(message) = picked_message(model) else { return Vec::new() };
    list_messages(model, ThreadSubject::Replies(message.reply_to().unwrap_or(message.id)))
}

/// Shows a thread or the pinned messages of the open conversation.
pub(super) fn list_messages(model: &mut Model, subject: ThreadSubject) -> Vec<UiEffect> {
    let open = model.chat.open_audience().clone();
    let range = match subject {
        ThreadSubject::Replies(root) => HistoryRange::Thread(root),
        ThreadSubject::Pinned => HistoryRange::Pinned,
    };
    let request = model.chat.look_up(&open, range);
    let cid = request.as_ref().map(|(cid, _)| cid.clone());
    let thread = ThreadOverlay::new(&model.chat, subject, cid);
    model.overlays.open(Overlay::Thread(Box::new(thread)));
    request.into_iter().map(|(cid, request)| UiEffect::Send(Some(cid), request)).collect()
}

/// Handles messages that were looked up, for the search or for a thread.
pub(super) fn on_lookup(model: &mut Model, page: HistoryPage) {
    if on_context(model, &page) {
        return;
    }
    for overlay in model.overlays.iter_mut() {
        if let Overlay::Thread(thread) = overlay
            && thread.is_current_request(page.cid.as_ref())
        {
            thread.on_page(page.messages);
            return;
        }
    }
}

/// Carries out the selected row of a menu, emoji picker or thread.
pub(super) fn choose_row(model: &mut Model, layout: &ScreenLayout) -> Vec<UiEffect> {
    match model.overlays.top() {
        Some(Overlay::Menu(menu)) => {
            let selected = menu.selected();
            selected.map(|command| act_on_picked(model, command)).unwrap_or_default()
        }
        Some(Overlay::Emoji(picker)) => {
            let (id, emoji) = (picker.message, picker.selected().cloned());
            let Some(emoji) = emoji else { return Vec::new() };
            model.overlays.close_top();
            let on = !has_reacted(&model.chat, id, &emoji);
            change(model, Request::React { id, emoji, on })
        }
        Some(Overlay::Thread(thread)) => {
            let selected = thread.selected();
            model.overlays.close_top();
            selected.map(|id| jump_to(model, layout, id)).unwrap_or_default()
        }
        Some(_) | None => Vec::new(),
    }
}
