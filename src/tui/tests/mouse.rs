//! The mouse: what one sees is what one clicks.

use crossterm::event::MouseEventKind;

use super::harness::UiHarness;
use crate::protocol::event::Event;
use crate::protocol::message::{Audience, MessageKind};
use crate::tui::model::UiEffect;

#[test]
fn click_toggles_recipients() {
    let mut stage = UiHarness::new(100, 24);
    stage.click("[ ] Kim_9021").click("[ ] Ann_1180").shows("[x] Ann_1180").shows("[x] Kim_9021");
    stage.keys("psst<enter>");
    assert_eq!(stage.sent(), ["Only({Ann_1180, Kim_9021}) Plain psst"]);
    stage.click("[Kim_9021 ×]").shows("To: [Ann_1180 ×] private").click("[x] Ann_1180");
    stage.shows("To: everyone").shows("[x] everyone");
    stage.click("[ ] Kim_9021").click("[ ] everyone").shows("To: everyone");
}

#[test]
fn absent_recipient_stays_until_removed() {
    let mut stage = UiHarness::new(100, 24);
    stage.click("[ ] Kim_9021");
    stage.server_event(Event::Presence { joined: vec![], left: vec!["Kim_9021".parse().unwrap()] });
    stage.shows("[Kim_9021 (left) ×]").keys("psst<enter>");
    assert_eq!(stage.sent(), ["Only({Kim_9021}) Plain psst"], "the server knows who can come back");
    stage.click("[x] Kim_9021 (left)").shows("To: everyone").hides("Kim_9021 (left)");
}

#[test]
fn click_picks_message_and_quote_jumps() {
    let mut stage = UiHarness::new(100, 24);
    let first = stage.post_to_all("Ann_1180", "the first of all");
    for n in 0..40 {
        stage.post_to_all("Kim_9021", &format!("noise {n}"));
    }
    stage.post("Ann_1180", Audience::Everyone, MessageKind::Reply { to: first }, "about that");
    stage.hides("│ the first of all").click("about that").shows("message 100042");
    stage.click("┃ Ann_1180: the first of all").shows("│ the first of all").shows("message 100001");
    stage
        .keys("r")
        .shows("reply to Ann_1180: the first")
        .click("┃ reply to")
        .hides("reply to Ann_1180");
}

#[test]
fn wheel_scrolls_the_pane_under_the_pointer() {
    let mut stage = UiHarness::new(100, 24);
    for n in 0..60 {
        stage.post_to_all("Kim_9021", &format!("noise {n} end"));
    }
    stage.shows("noise 59 end").wheel(MouseEventKind::ScrollUp, "noise 59 end");
    stage.hides("noise 59 end").post_to_all("Ann_1180", "fresh");
    stage.shows("↓ 1 new").click("↓ 1 new").shows("fresh");
    let joined = (0..60).map(|n| format!("User_{n:04}").parse().unwrap()).collect();
    stage.server_event(Event::Presence { joined, left: vec![] });
    stage.shows("User_0001").wheel(MouseEventKind::ScrollDown, "User_0001").hides("Ann_1180\n");
    stage.hides("] everyone");
}

#[test]
fn click_moves_the_input_cursor() {
    let mut stage = UiHarness::new(100, 24);
    stage.keys("hello world").click("world").keys("big ").keys("<enter>");
    assert_eq!(stage.sent(), ["Everyone Plain hello big world"]);
}

#[test]
fn click_on_hit_jumps_to_message() {
    let mut stage = UiHarness::new(100, 24);
    for n in 0..100 {
        stage.post_to_all("Kim_9021", &format!("noise {n} end"));
    }
    stage.keys("<ctrl-f>noise 7. end").wait(1).click("noise 75 end").hides("Search");
    stage.shows("noise 75 end").keys("r").shows("reply to Kim_9021: noise 75 end");
}

#[test]
fn mouse_capture_can_be_toggled() {
    let mut stage = UiHarness::new(100, 24);
    stage.keys("<alt-m>").shows("the mouse is the terminal's").keys("<alt-m>");
    assert_eq!(stage.effects(), [UiEffect::CaptureMouse(false), UiEffect::CaptureMouse(true)]);
}
