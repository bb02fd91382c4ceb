//! The mouse: clicks and the wheel act on what is drawn.

use crossterm::event::MouseEventKind;

use super::harness::UiHarness;
use crate::protocol::event::Event;
use crate::protocol::message::{Audience, MessageKind};
use crate::tui::event::UiEffect;

#[test]
fn click_on_tick_boxes_opens_the_direct_conversation_of_the_ticked_people() {
    let mut ui = UiHarness::new(100, 24);
    ui.click("[ ] Kim_9021").click("[ ] Ann_1180").shows("[x] Ann_1180").shows("[x] Kim_9021");
    ui.shows("To: [Ann_1180 ×] [Kim_9021 ×] private: only these 2 see this");
    ui.keys("psst<enter>");
    assert_eq!(ui.sent(), ["Only({Ann_1180, Kim_9021}) Plain psst"]);
    ui.click("[Kim_9021 ×]").shows("To: [Ann_1180 ×] private").click("[x] Ann_1180");
    ui.shows("To: everyone").shows("▌ Everyone").shows("[ ] Ann_1180");
    ui.click("[ ] Kim_9021").shows("To: [Kim_9021 ×]").keys("<esc>").shows("To: everyone");
}

#[test]
fn absent_recipient_stays_until_removed() {
    let mut ui = UiHarness::new(100, 24);
    ui.click("[ ] Kim_9021");
    ui.server_event(Event::Presence { joined: vec![], left: vec!["Kim_9021".parse().unwrap()] });
    ui.shows("[Kim_9021 (away) ×]").keys("psst<enter>");
    assert_eq!(ui.sent(), ["Only({Kim_9021}) Plain psst"], "users who are away get messages later");
    ui.shows("[x] Kim_9021").click("[Kim_9021 (away) ×]").shows("To: everyone");
    ui.hides("[ ] Kim_9021");
}

#[test]
fn click_picks_message_and_quote_jumps() {
    let mut ui = UiHarness::new(100, 24);
    let first = ui.post_to_all("Ann_1180", "the first of all");
    for n in 0..40 {
        ui.post_to_all("Kim_9021", &format!("noise {n}"));
    }
    ui.post("Ann_1180", Audience::Everyone, MessageKind::Reply { to: first }, "about that");
    ui.hides("│ the first of all").click("about that").shows("message 100042");
    ui.click("┃ Ann_1180: the first of all").shows("│ the first of all").shows("message 100001");
    ui.keys("<enter>r")
        .shows("reply to Ann_1180: the first")
        .click("┃ reply to")
        .hides("reply to Ann_1180");
}

#[test]
fn wheel_scrolls_the_pane_under_the_pointer() {
    let mut ui = UiHarness::new(100, 24);
    for n in 0..60 {
        ui.post_to_all("Kim_9021", &format!("noise {n} end"));
    }
    ui.shows("noise 59 end").wheel(MouseEventKind::ScrollUp, "noise 59 end");
    ui.hides("noise 59 end").post_to_all("Ann_1180", "fresh");
    ui.shows("↓ 1 newer").click("↓ 1 newer").shows("fresh");
    let joined = (0..60).map(|n| format!("User_{n:04}").parse().unwrap()).collect();
    ui.server_event(Event::Presence { joined, left: vec![] });
    ui.shows("User_0001").wheel(MouseEventKind::ScrollDown, "User_0001").hides("Ann_1180\n");
}

#[test]
fn click_moves_the_input_cursor() {
    let mut ui = UiHarness::new(100, 24);
    ui.keys("hello world").click("world").keys("big ").keys("<enter>");
    assert_eq!(ui.sent(), ["Everyone Plain hello big world"]);
}

#[test]
fn click_on_hit_jumps_to_message() {
    let mut ui = UiHarness::new(100, 24);
    for n in 0..100 {
        ui.post_to_all("Kim_9021", &format!("noise {n} end"));
    }
    ui.keys("<ctrl-f>noise 7. end").wait(1).click("noise 75 end").hides("Search");
    ui.shows("noise 75 end").keys("<enter>r").shows("reply to Kim_9021: noise 75 end");
}

#[test]
fn mouse_capture_can_be_toggled() {
    let mut ui = UiHarness::new(100, 24);
    ui.keys("<alt-m>").shows("mouse off: select text").keys("<alt-m>");
    assert_eq!(ui.effects(), [UiEffect::CaptureMouse(false), UiEffect::CaptureMouse(true)]);
}
