//! Hostile texts in every widget: what is drawn goes through the real backend, and has nothing in it but
//! the backend's own sequences and text.

use ratatui::backend::{Backend as _, CrosstermBackend};
use serde_json::{Value, json};

use super::harness::UiHarness;
use crate::client;
use crate::protocol::event::Event;
use crate::protocol::request::Request;
use crate::protocol::text::SafeText;
use crate::tui::model::UiEffect;

#[path = "../../../tests/it/support/hostile.rs"]
mod texts;

/// How many texts are on the screen at once.
const TEXTS_PER_SCREEN: usize = 50;

/// What the server says, as it comes over the wire: cleaning is what the client does with it.
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

/// The bytes that a terminal gets for what is on the screen.
fn terminal_bytes(stage: &UiHarness) -> String {
    let (mut bytes, buffer) = (Vec::new(), stage.buffer());
    let width = usize::from(buffer.area.width);
    let cells = buffer.content.iter().enumerate().map(|(index, cell)| {
        let place = |n: usize| u16::try_from(n).unwrap();
        (place(index % width), place(index / width), cell)
    });
    CrosstermBackend::new(&mut bytes).draw(cells).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[track_caller]
fn assert_clean(stage: &UiHarness, texts: &[String]) {
    let found = texts::foreign_to_the_screen(&terminal_bytes(stage));
    assert_eq!(found, None, "one of {texts:?}");
}

/// Answers the search on the screen, if there is one, with these messages.
fn answer_search(stage: &mut UiHarness, messages: &[Value]) {
    for effect in stage.wait(1).effects() {
        let UiEffect::Send(cid, Request::SearchHistory(_)) = effect else { continue };
        let cid = cid.map(|cid| cid.to_string());
        let found = json!({"action": "FOUND", "messages": messages, "searched": 9, "end": "complete", "cid": cid});
        stage.server_event(decoded(&found));
    }
}

fn show_everywhere(texts: &[String]) {
    let mut stage = UiHarness::new(100, 350);
    // As bodies: to all, to some, and as an answer to another.
    stage.server_events(texts.iter().enumerate().map(|(index, text)| {
        let fields = match index % 3 {
            0 => json!({}),
            1 => json!({"receiver": ["Bob_4572"], "private": true, "sender": "Kim_9021"}),
            _ => json!({"action": "REPLY", "optional": (100_000 + index).to_string()}),
        };
        decoded(&message(index + 1, text, &fields))
    }));
    assert_clean(&stage, texts);
    for text in texts {
        let (number, _) = text.split_once(' ').unwrap();
        assert!(stage.screen().contains(number), "{number} is not shown:\n{}", stage.screen());
    }
    stage.resize(100, 30);
    // As what is wrong, what ends a connection, and what one wrote oneself.
    let all = texts.join(" ");
    let refused = |action: &str| json!({"action": action, "code": "not_yours", "error": all});
    stage.server_event(decoded(&refused("ERROR")));
    stage.server_event(decoded(&refused("CLOSING")));
    assert_clean(&stage, texts);
    stage.paste(&all).keys(" @");
    assert_clean(&stage, texts);
    stage.keys("<enter>").mark_as_sending();
    assert_clean(&stage, texts);
    // In the search, as what is searched for and as what is found; and under the help.
    stage.keys("<ctrl-f>").paste(&all);
    assert_clean(&stage, texts);
    stage.keys("<esc><ctrl-f>in");
    let hits: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| message(index + 1, text, &json!({})))
        .collect();
    answer_search(&mut stage, &hits);
    assert_clean(&stage, texts);
    stage.keys("<esc><f1>");
    assert_clean(&stage, texts);
    let reason = SafeText::clean(&all);
    stage.client_event(client::ClientEvent::Disconnected {
        reason: reason.clone(),
        retry_in: std::time::Duration::ZERO,
    });
    stage.client_event(client::ClientEvent::Ended { reason });
    assert_clean(&stage, texts);
}

#[test]
fn no_widget_draws_control_sequences() {
    let texts = texts::texts();
    assert!(texts.len() >= 2_000, "{} texts", texts.len());
    for texts in texts.chunks(TEXTS_PER_SCREEN) {
        show_everywhere(texts);
    }
}

#[test]
fn hostile_names_are_rejected_in_every_field() {
    for text in texts::texts() {
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
                // Why it is none is said to people.
                Err(error) => {
                    assert_eq!(texts::foreign(SafeText::clean(&error.to_string()).as_str()), None);
                }
            }
        }
    }
}
