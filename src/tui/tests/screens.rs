//! Snapshots of the screen: text and styles, at several sizes.

use super::harness::{UiHarness, only};
use crate::protocol::message::{Audience, MessageKind};

/// A conversation with every kind of message.
fn busy_screen(width: u16, height: u16) -> UiHarness {
    let mut ui = UiHarness::new(width, height);
    let first = ui.post_to_all("Ann_1180", "we deployed 2.4 at 09:10, logs look clean");
    ui.post_to_all("Ann_1180", "second line of the same bubble");
    ui.post(
        "Bob_4572",
        Audience::Everyone,
        MessageKind::Reply { to: first },
        "great, I will watch the p99 for an hour",
    );
    let expires = ui.now.timestamp_millis() + 272_000;
    ui.post(
        "Kim_9021",
        only(&["Bob_4572", "Ann_1180"]),
        MessageKind::Temporary { expires },
        "the new key is in the vault: 你好 👍",
    );
    let deleted = ui.post_to_all("Kim_9021", "oops");
    ui.deleted(deleted, "Kim_9021");
    ui.keys("thanks! can you rotate<alt-enter>the old one too?");
    ui
}

#[test]
fn at_120_by_36() {
    let ui = busy_screen(120, 36);
    insta::assert_snapshot!(ui.text());
    insta::assert_debug_snapshot!("at_120_by_36_colours", ui.buffer());
}

#[test]
fn at_80_by_24() {
    let ui = busy_screen(80, 24);
    insta::assert_snapshot!(ui.text());
    insta::assert_debug_snapshot!("at_80_by_24_colours", ui.buffer());
}

#[test]
fn at_60_by_20() {
    let ui = busy_screen(60, 20);
    insta::assert_snapshot!(ui.text());
    insta::assert_debug_snapshot!("at_60_by_20_colours", ui.buffer());
}

#[test]
fn at_40_by_12() {
    insta::assert_snapshot!(busy_screen(40, 12).text());
}

#[test]
fn no_color_keeps_emphasis() {
    let mut ui = busy_screen(80, 24);
    ui.screen.model.theme = crate::tui::theme::Theme::MONO;
    ui.screen.clear_cache();
    ui.keys("<esc>");
    insta::assert_debug_snapshot!("no_color", ui.buffer());
}

#[test]
fn help_overlay() {
    let mut ui = busy_screen(80, 24);
    ui.keys("<f1>");
    insta::assert_snapshot!(ui.text());
}

#[test]
fn help_starts_at_the_context_and_filters() {
    let mut ui = busy_screen(80, 24);
    ui.keys("<ctrl-k><f1>").shows("open or run");
    ui.keys("<esc><esc><f1>fingerprint").shows("Server").hides("Typing");
    ui.keys("xyz").shows("nothing matches");
}

#[test]
fn palette_goes_to_people_conversations_and_commands() {
    let mut ui = busy_screen(80, 24);
    ui.keys("<ctrl-k>");
    insta::assert_snapshot!(ui.text());
    ui.keys("kim90<enter>").shows("  @ Kim_9021  ").hides("Go to");
    ui.keys("<ctrl-k>>find, join<enter>").shows("find or create");
    ui.keys("<esc><ctrl-k>everyone<enter>").shows("▌ Everyone");
    // A person whose direct conversation is listed is not listed again.
    ui.post("Kim_9021", only(&["Bob_4572"]), MessageKind::Plain, "psst");
    ui.keys("<ctrl-k>kim90");
    assert_eq!(ui.text().matches("│ Kim_9021").count(), 1);
}

#[test]
fn search_overlay() {
    let mut ui = busy_screen(80, 24);
    ui.keys("<ctrl-f>a[stn]").wait(1);
    insta::assert_snapshot!(ui.text());
    insta::assert_debug_snapshot!("search_overlay_colours", ui.buffer());
}

#[test]
fn direct_message_draft() {
    let mut ui = busy_screen(80, 24);
    ui.click("[ ] Ann_1180").click("[ ] Kim_9021").keys("<ctrl-t>");
    insta::assert_snapshot!(ui.text());
}

#[test]
fn people_pane_on_narrow_screen() {
    let mut ui = busy_screen(60, 20);
    ui.keys("<f2><space>");
    insta::assert_snapshot!(ui.text());
}

#[test]
fn empty_conversation_says_who_one_is_and_how_others_join() {
    let mut ui = UiHarness::new(80, 24);
    ui.shows("nobody has written here yet").shows("others join with chat join");
    insta::assert_snapshot!("empty_everyone", ui.text());
    ui.post_to_all("Ann_1180", "hello");
    ui.hides("nobody has written here yet");
    let mut room = UiHarness::in_room(60, 20);
    room.keys("<alt-down>").answer_history();
    room.shows("#ops has no messages yet").shows("add people with .add NAME");
    insta::assert_snapshot!("empty_room", room.text());
}
