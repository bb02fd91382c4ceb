//! Hostile texts in every widget. The screen is drawn through the real backend; its output must contain only
//! text and the backend's own escape sequences.

use ratatui::backend::Backend as _;
use serde_json::{Value, json};

use super::harness::UiHarness;
use crate::client;
use crate::protocol::event::Event;
use crate::protocol::request::Request;
use crate::protocol::text::SafeText;
use crate::tui::event::UiEffect;
use crate::tui::terminal::backend::FrameBackend;

#[path = "../../../tests/it/support/hostile_text.rs"]
mod texts;

/// Hostile texts on one screen.
const TEXTS_PER_SCREEN: usize = 50;

/// Decodes an event from its wire form, as the client does, which includes cleaning of texts.
fn decoded(object: &Value) -> Event {
    Event::decode(object.to_string().as_bytes()).unwrap().unwrap()
}

fn message(number: usize, text: &str, fields: &Value) -> Value {
    let mut message = json!({"action": "MESSAGE", "id": format!("{}", 100_000 + number), "sender": "Ann_1180",
        "receiver": ["all"], "content": text, "time": text, "private": false, "optional": null,
        "seq": number, "at": 1_795_338_720_000_i64});
    for (name, value) in fields.as_object().unwrap() {
        message[name] = value.clone();
    }
    message
}

/// The bytes that a terminal receives for the screen.
fn terminal_bytes(ui: &UiHarness) -> String {
    let buffer = ui.buffer();
    let width = usize::from(buffer.area.width);
    let cells = buffer.content.iter().enumerate().map(|(index, cell)| {
        let place = |n: usize| u16::try_from(n).unwrap();
        (place(index % width), place(index / width), cell)
    });
    let mut backend = FrameBackend::default();
    backend.draw(cells).unwrap();
    String::from_utf8(backend.take_frame().unwrap()).unwrap()
}

#[track_caller]
fn assert_clean(ui: &UiHarness, texts: &[String]) {
    let found = texts::find_unexpected_output(&terminal_bytes(ui));
    assert_eq!(found, None, "one of {texts:?}");
}

/// Answers a search request, if there is one, with these messages.
fn answer_search(ui: &mut UiHarness, messages: &[Value]) {
    for effect in ui.wait(1).effects() {
        let UiEffect::Send(cid, Request::SearchHistory(_)) = effect else { continue };
        let cid = cid.map(|cid| cid.to_string());
        let found = json!({"action": "FOUND", "messages": messages, "searched": 9, "end": "complete", "cid": cid});
        ui.server_event(decoded(&found));
    }
}

fn show_everywhere(texts: &[String]) {
    let mut ui = UiHarness::new(100, 350);
    // As texts of messages: to everyone, private, and as a reply.
    ui.server_events(texts.iter().enumerate().map(|(index, text)| {
        let fields = match index % 3 {
            0 => json!({}),
            1 => json!({"receiver": ["Bob_4572"], "private": true, "sender": "Kim_9021"}),
            _ => json!({"action": "REPLY", "optional": (100_000 + index).to_string()}),
        };
        decoded(&message(index + 1, text, &fields))
    }));
    assert_clean(&ui, texts);
    let mut shown = ui.text();
    // The private messages are in a conversation of their own.
    ui.click("[ ] Kim_9021");
    assert_clean(&ui, texts);
    shown.push_str(&ui.text());
    ui.keys("<alt-e>");
    for text in texts {
        let (number, _) = text.split_once(' ').unwrap();
        assert!(shown.contains(number), "{number} is not shown:\n{shown}");
    }
    ui.resize(100, 30);
    // As errors, as the reason of a disconnect, and as a draft.
    let all = texts.join(" ");
    let refused = |action: &str| json!({"action": action, "code": "not_yours", "error": all});
    ui.server_event(decoded(&refused("ERROR")));
    ui.server_event(decoded(&refused("CLOSING")));
    assert_clean(&ui, texts);
    ui.paste(&all).keys(" @");
    assert_clean(&ui, texts);
    ui.keys("<enter>").mark_as_sending();
    assert_clean(&ui, texts);
    // In the search, as input and as hits; and below the help.
    ui.keys("<ctrl-f>").paste(&all);
    assert_clean(&ui, texts);
    ui.keys("<esc><ctrl-f>in");
    let hits: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| message(index + 1, text, &json!({})))
        .collect();
    answer_search(&mut ui, &hits);
    assert_clean(&ui, texts);
    ui.keys("<esc><f1>");
    assert_clean(&ui, texts);
    let reason = SafeText::clean(&all);
    ui.client_event(client::ClientEvent::Disconnected {
        reason: reason.clone(),
        retry_in: std::time::Duration::ZERO,
    });
    ui.client_event(client::ClientEvent::Ended { reason });
    assert_clean(&ui, texts);
}

#[test]
fn no_widget_draws_control_sequences() {
    let texts = texts::samples();
    assert!(texts.len() >= 2_000, "{} texts", texts.len());
    for texts in texts.chunks(TEXTS_PER_SCREEN) {
        show_everywhere(texts);
    }
}

#[test]
fn hostile_names_are_rejected_in_every_field() {
    for text in texts::samples() {
        for object in [
            json!({"action": "ACTIVE_CLIENT", "receiver": [text]}),
            json!({"action": "PRESENCE", "joined": [format!("{text}_1234")], "left": []}),
            json!({"action": "DELETE", "sender": text, "content": "100001", "seq": 1}),
            json!({"action": "PONG", "count": 1, "cid": text, "seq": text}),
            json!({"action": text}),
            json!({"status": "SUCCESS", "user_id": text, "epoch": text}),
            message(1, "", &json!({"sender": text})),
            message(1, "", &json!({"receiver": [text], "cid": text})),
            message(1, "", &json!({"cid": text})),
            message(1, "", &json!({"id": text})),
        ] {
            match Event::decode(object.to_string().as_bytes()) {
                Ok(None | Some(Event::Pong(_))) => {}
                Ok(Some(event)) => panic!("{object} is {event:?}"),
                // The error is shown to the user, so it must be clean, too.
                Err(error) => {
                    assert_eq!(
                        texts::find_unsafe_char(SafeText::clean(&error.to_string()).as_str()),
                        None
                    );
                }
            }
        }
    }
}
