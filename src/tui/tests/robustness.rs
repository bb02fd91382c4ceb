//! Robustness: any size, any text, any order of events.

use proptest::prelude::*;

use std::time::Duration;

use super::harness::{UiHarness, conversation_info, id, only, room};
use crate::client::ClientEvent;
use crate::protocol::error::ErrorCode;
use crate::protocol::event::{ErrorReply, Event};
use crate::protocol::id::Seq;
use crate::protocol::message::{Audience, MessageKind};
use crate::protocol::request::Request;
use crate::protocol::room::{RoomChange, RoomChanged, RoomState};
use crate::protocol::text::SafeText;
use crate::tui::event::UiEffect;
use crate::tui::to_line::to_line;

const TEXTS: [&str; 9] = [
    "plain",
    "你好，世界",
    "👩\u{200d}👩\u{200d}👧 ❤\u{fe0f} 🇩🇪",
    "e\u{301}e\u{301}e\u{301}",
    "مرحبا بالعالم",
    "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww",
    "many\nshort\nlines\n\n\nwith\ngaps",
    "\ttabs\t\tinside",
    "\u{1100}\u{1161}\u{11a8} ﾊﾟ ｱ",
];

#[derive(Debug, Clone)]
enum Step {
    Post(usize, usize),
    Private(usize),
    Temporary(usize),
    Keys(&'static str),
    Click(u16, u16),
    RightClick(u16, u16),
    Drag(u16, u16),
    Wheel(u16, u16, bool),
    Resize(u16, u16),
    Wait(i64),
    /// The server answers all requests for history.
    AnswerHistory,
    /// The server stores what was posted.
    Confirm,
    /// The server refuses all requests.
    Refuse,
    Disconnect,
    LogIn(bool),
    ListRoom,
    /// Another user adds this one to a room, or removes this one from it.
    Membership(bool),
    /// The last message is removed.
    Delete,
}

const KEYS: &[&str] = &[
    "<up>",
    "<down>",
    "<esc>",
    "<enter>",
    "<tab>",
    "<f1>",
    "<f2>",
    "<f3>",
    "<f4>",
    "<ctrl-b>",
    "<ctrl-y>",
    "<ctrl-z>",
    "<ctrl-home>",
    "<ctrl-end>",
    "<alt-up>",
    "<alt-down>",
    "<alt-a>",
    "<alt-3>",
    "s",
    ".to #ops<enter>",
    ".leave<enter>",
    "@Kim hello<enter>",
    "@Nobody hello<enter>",
    "/unknown<enter>",
    "<ctrl-f>",
    "<ctrl-t>",
    "<ctrl-r>",
    "<pageup>",
    "<pagedown>",
    "<home>",
    "<end>",
    "r",
    "d",
    "y",
    "e",
    "n",
    "+",
    "t",
    "<alt-left>",
    "<ctrl-g>",
    "a.c(",
    "@Ann ",
    ".re",
    "<alt-enter>",
    "<backspace>",
    "<ctrl-c>",
    "<space>",
    "你",
    "<ctrl-w>",
    "<ctrl-u>",
    "<alt-c>",
    ".temp 5 x<enter>",
    "longer text that will wrap somewhere<enter>",
];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_usize, 0..TEXTS.len()).prop_map(|(who, text)| Step::Post(who, text)),
        1 => (0..TEXTS.len()).prop_map(Step::Private),
        1 => (0..TEXTS.len()).prop_map(Step::Temporary),
        6 => proptest::sample::select(KEYS).prop_map(Step::Keys),
        2 => (0..130_u16, 0..50_u16).prop_map(|(x, y)| Step::Click(x, y)),
        1 => (0..130_u16, 0..50_u16).prop_map(|(x, y)| Step::RightClick(x, y)),
        1 => (0..130_u16, 0..50_u16).prop_map(|(x, y)| Step::Drag(x, y)),
        1 => (0..130_u16, 0..50_u16, any::<bool>()).prop_map(|(x, y, up)| Step::Wheel(x, y, up)),
        2 => (1..130_u16, 1..50_u16).prop_map(|(w, h)| Step::Resize(w, h)),
        1 => (1..=400_u16, 1..=100_u16).prop_map(|(w, h)| Step::Resize(w, h)),
        1 => (0..20_i64).prop_map(Step::Wait),
        1 => Just(Step::AnswerHistory),
        1 => Just(Step::Confirm),
        1 => Just(Step::Refuse),
        1 => Just(Step::Disconnect),
        1 => any::<bool>().prop_map(Step::LogIn),
        1 => Just(Step::ListRoom),
        1 => any::<bool>().prop_map(Step::Membership),
        1 => Just(Step::Delete),
    ]
}

fn run_step(ui: &mut UiHarness, step: &Step) {
    use crossterm::event::{MouseButton, MouseEventKind};
    match step {
        Step::Post(who, text) => {
            ui.post_to_all(["Ann_1180", "Kim_9021", "Bob_4572"][*who], TEXTS[*text]);
        }
        Step::Private(text) => {
            ui.post("Ann_1180", only(&["Bob_4572", "Kim_9021"]), MessageKind::Plain, TEXTS[*text]);
        }
        Step::Temporary(text) => {
            let expires = ui.now.timestamp_millis() + 5_000;
            ui.post(
                "Kim_9021",
                Audience::Everyone,
                MessageKind::Temporary { expires },
                TEXTS[*text],
            );
        }
        Step::Keys(keys) => drop(ui.keys(keys)),
        Step::Click(x, y) => {
            ui.mouse(MouseEventKind::Down(MouseButton::Left), *x, *y);
            ui.mouse(MouseEventKind::Up(MouseButton::Left), *x, *y);
        }
        Step::RightClick(x, y) => drop(ui.mouse(MouseEventKind::Down(MouseButton::Right), *x, *y)),
        Step::Drag(x, y) => drop(ui.mouse(MouseEventKind::Drag(MouseButton::Left), *x, *y)),
        Step::Wheel(x, y, true) => drop(ui.mouse(MouseEventKind::ScrollUp, *x, *y)),
        Step::Wheel(x, y, false) => drop(ui.mouse(MouseEventKind::ScrollDown, *x, *y)),
        Step::Resize(width, height) => drop(ui.resize(*width, *height)),
        Step::Wait(seconds) => drop(ui.wait(*seconds)),
        event => run_event(ui, event),
    }
}

/// An event of the connection or the server.
fn run_event(ui: &mut UiHarness, step: &Step) {
    match step {
        Step::AnswerHistory => drop(ui.answer_history()),
        Step::Confirm => drop(ui.confirm_sent()),
        Step::Refuse => refuse_all(ui),
        Step::Disconnect => {
            let (reason, retry_in) = (SafeText::clean("cable cut"), Duration::from_secs(2));
            ui.client_event(ClientEvent::Disconnected { reason, retry_in });
        }
        Step::LogIn(resumed) => {
            ui.log_in(*resumed);
            ui.server_event(Event::Users([id("Ann_1180"), id("Kim_9021")].into()));
        }
        Step::ListRoom => {
            let listed = [Audience::Everyone, room("#ops"), only(&["Ann_1180"])];
            ui.list(listed.map(|one| conversation_info(one, 0, 2, 1)).into());
        }
        Step::Membership(is_added) => {
            let users = [id("Bob_4572")].into();
            let change =
                if *is_added { RoomChange::Added(users) } else { RoomChange::Removed(users) };
            ui.server_event(Event::RoomChanged(RoomChanged {
                seq: Seq(900),
                room: "#ops".parse().unwrap(),
                change,
                by: Some(id("Ann_1180")),
                at: ui.now.timestamp_millis(),
                state: RoomState::default(),
                cid: None,
            }));
        }
        Step::Delete => {
            let last = ui.screen.model.chat.opened().timeline().newest_first().next();
            if let Some(last) = last.map(|message| message.id) {
                ui.deleted(last, "Ann_1180");
            }
        }
        other => unreachable!("{other:?} is the user's"),
    }
}

fn refuse_all(ui: &mut UiHarness) {
    for effect in ui.all_effects() {
        if let UiEffect::Send(cid, _) = effect {
            let (code, text) = (ErrorCode::NoRecipient, SafeText::clean("no"));
            ui.server_event(Event::Error(ErrorReply { code, text, cid }));
        }
    }
}

/// The audiences of the posts among the effects from the one at `from` on.
fn posted(effects: &[UiEffect]) -> Vec<Audience> {
    let posts = effects.iter().filter_map(|effect| match effect {
        UiEffect::Send(_, Request::Post(post)) => Some(post.audience.clone()),
        _ => None,
    });
    posts.collect()
}

fn requests(effects: &[UiEffect]) -> Vec<&UiEffect> {
    effects.iter().filter(|effect| matches!(effect, UiEffect::Send(..))).collect()
}

/// Presses the keys one after the other. What a key sends goes where the `To:` line said before it.
fn press_and_compare_with_to_line(ui: &mut UiHarness, keys: &str) {
    let names: Vec<&str> = match keys.split_once('<') {
        Some((text, name)) => vec![text, name.trim_end_matches('>')],
        None => vec![keys, ""],
    };
    ui.keys(names[0]);
    let model = &ui.screen.model;
    let shown: String =
        to_line(model, 10_000).parts.iter().map(|(span, _)| span.content.to_string()).collect();
    let destination = model.composer.destination(&model.chat).audience;
    match &destination {
        Ok(Audience::Everyone) => assert!(shown.contains("everyone"), "{shown}"),
        Ok(Audience::Room(name)) => assert!(shown.contains(name.as_str()), "{shown}"),
        Ok(Audience::Only(users)) => {
            assert!(users.iter().all(|user| shown.contains(user.as_str())), "{shown}");
        }
        Err(error) => assert!(shown.contains(&error.to_string()), "{shown}"),
    }
    let before = ui.effects.len();
    if !names[1].is_empty() {
        ui.keys(&format!("<{}>", names[1]));
    }
    for audience in posted(&ui.effects[before..]) {
        assert_eq!(Ok(audience), destination, "{keys} sends elsewhere than to {shown}");
    }
}

/// The texts of all drafts, but for those of temporary messages.
fn draft_texts(ui: &UiHarness) -> Vec<String> {
    ui.screen.model.all_drafts().into_iter().map(|draft| draft.text.to_string()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn cached_drawing_equals_fresh_drawing_after_any_events(steps in proptest::collection::vec(step(), 1..60)) {
        let mut ui = UiHarness::new(80, 24);
        for step in &steps {
            run_step(&mut ui, step);
        }
        // Drawing with an empty cache gives the same screen.
        let warm = ui.text();
        ui.screen.clear_cache();
        let (width, height) = (ui.screen.model.size.width, ui.screen.model.size.height);
        ui.resize(width, height);
        prop_assert_eq!(warm, ui.text());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_events_lose_no_draft_send_as_shown_and_repeat_no_request(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut ui = UiHarness::in_room(80, 24);
        for step in &steps {
            let drafts = draft_texts(&ui);
            if let Step::Keys(keys) = step {
                press_and_compare_with_to_line(&mut ui, keys);
            } else {
                run_step(&mut ui, step);
                let kept = draft_texts(&ui);
                for draft in drafts {
                    let is_kept = kept.iter().any(|text| text.contains(&draft));
                    prop_assert!(is_kept, "{step:?} loses {draft:?}: {kept:?}");
                }
            }
            // What is due is requested with the first frames, and not again.
            ui.redraw();
            let before = ui.effects.len();
            ui.redraw();
            let repeated = requests(&ui.effects[before..]);
            prop_assert!(repeated.is_empty(), "after {step:?}: {repeated:?}");
        }
    }
}

#[test]
fn every_size_from_1x1_to_400x100_is_drawn() {
    let mut ui = UiHarness::new(80, 24);
    for text in TEXTS {
        ui.post_to_all("Ann_1180", text);
        ui.post("Bob_4572", only(&["Ann_1180"]), MessageKind::Plain, text);
    }
    for keys in [
        "typed",
        "<f2>",
        "<esc><up>",
        "<enter>",
        "+",
        "<esc><enter>t",
        "<esc><enter>d",
        "<esc><esc><ctrl-f>a",
        "<esc><f1>",
    ] {
        ui.keys(keys);
        for width in [1, 2, 3, 5, 8, 13, 21, 34, 49, 50, 55, 75, 76, 100, 400] {
            for height in [1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 20, 100] {
                ui.resize(width, height);
            }
        }
    }
}

#[test]
fn to_line_stays_on_small_screens() {
    let mut ui = UiHarness::new(80, 24);
    ui.click("[ ] Ann_1180");
    for (width, height) in [(60, 20), (40, 12), (40, 6), (30, 3), (30, 2)] {
        ui.resize(width, height).shows("To: [Ann_1180");
    }
}
