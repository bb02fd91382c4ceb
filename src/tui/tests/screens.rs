//! What the screen looks like, with colours, at three sizes.

use super::harness::{UiHarness, only};
use crate::protocol::message::{Audience, MessageKind};

/// A conversation with everything in it.
fn busy_screen(width: u16, height: u16) -> UiHarness {
    let mut stage = UiHarness::new(width, height);
    let first = stage.post_to_all("Ann_1180", "we deployed 2.4 at 09:10, logs look clean");
    stage.post_to_all("Ann_1180", "second line of the same bubble");
    stage.post(
        "Bob_4572",
        Audience::Everyone,
        MessageKind::Reply { to: first },
        "great, I will watch the p99 for an hour",
    );
    let expires = stage.now.timestamp_millis() + 272_000;
    stage.post(
        "Kim_9021",
        only(&["Bob_4572", "Ann_1180"]),
        MessageKind::Temporary { expires },
        "the new key is in the vault: 你好 👍",
    );
    let gone = stage.post_to_all("Kim_9021", "oops");
    stage.deleted(gone, "Kim_9021");
    stage.keys("thanks! can you rotate<alt-enter>the old one too?");
    stage
}

#[test]
fn at_120_by_36() {
    let stage = busy_screen(120, 36);
    insta::assert_snapshot!(stage.screen());
    insta::assert_debug_snapshot!("at_120_by_36_colours", stage.buffer());
}

#[test]
fn at_80_by_24() {
    let stage = busy_screen(80, 24);
    insta::assert_snapshot!(stage.screen());
    insta::assert_debug_snapshot!("at_80_by_24_colours", stage.buffer());
}

#[test]
fn at_60_by_20() {
    let stage = busy_screen(60, 20);
    insta::assert_snapshot!(stage.screen());
    insta::assert_debug_snapshot!("at_60_by_20_colours", stage.buffer());
}

#[test]
fn at_40_by_12() {
    insta::assert_snapshot!(busy_screen(40, 12).screen());
}

#[test]
fn no_color_keeps_emphasis() {
    let mut stage = busy_screen(80, 24);
    stage.model.theme = crate::tui::theme::Theme::Plain;
    stage.model.block_cache = crate::tui::conversation::BlockCache::default();
    stage.keys("<esc>");
    insta::assert_debug_snapshot!("without_colours", stage.buffer());
}

#[test]
fn help_overlay() {
    let mut stage = busy_screen(80, 24);
    stage.keys("<f1>");
    insta::assert_snapshot!(stage.screen());
}

#[test]
fn search_overlay() {
    let mut stage = busy_screen(80, 24);
    stage.keys("<ctrl-f>a[stn]").wait(1);
    insta::assert_snapshot!(stage.screen());
    insta::assert_debug_snapshot!("the_search_colours", stage.buffer());
}

#[test]
fn direct_message_draft() {
    let mut stage = busy_screen(80, 24);
    stage.click("[ ] Ann_1180").click("[ ] Kim_9021").keys("<ctrl-t>");
    insta::assert_snapshot!(stage.screen());
}

#[test]
fn people_pane_on_narrow_screen() {
    let mut stage = busy_screen(60, 20);
    stage.keys("<f2><down><space>");
    insta::assert_snapshot!(stage.screen());
}
