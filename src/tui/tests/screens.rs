//! What the screen looks like, with colours, at three sizes.

use super::stage::{Stage, only};
use crate::protocol::message::{Audience, Kind};

/// A conversation with everything in it.
fn full(width: u16, height: u16) -> Stage {
    let mut stage = Stage::new(width, height);
    let first = stage.says("Ann_1180", "we deployed 2.4 at 09:10, logs look clean");
    stage.says("Ann_1180", "second line of the same bubble");
    stage.said(
        "Bob_4572",
        Audience::Everyone,
        Kind::Reply { to: first },
        "great, I will watch the p99 for an hour",
    );
    let expires = stage.now.timestamp_millis() + 272_000;
    stage.said(
        "Kim_9021",
        only(&["Bob_4572", "Ann_1180"]),
        Kind::Temporary { expires },
        "the new key is in the vault: 你好 👍",
    );
    let gone = stage.says("Kim_9021", "oops");
    stage.deleted(gone, "Kim_9021");
    stage.keys("thanks! can you rotate<alt-enter>the old one too?");
    stage
}

#[test]
fn at_120_by_36() {
    let stage = full(120, 36);
    insta::assert_snapshot!(stage.screen());
    insta::assert_debug_snapshot!("at_120_by_36_colours", stage.buffer());
}

#[test]
fn at_80_by_24() {
    let stage = full(80, 24);
    insta::assert_snapshot!(stage.screen());
    insta::assert_debug_snapshot!("at_80_by_24_colours", stage.buffer());
}

#[test]
fn at_60_by_20() {
    let stage = full(60, 20);
    insta::assert_snapshot!(stage.screen());
    insta::assert_debug_snapshot!("at_60_by_20_colours", stage.buffer());
}

#[test]
fn at_40_by_12() {
    insta::assert_snapshot!(full(40, 12).screen());
}

#[test]
fn without_colours_everything_still_has_a_sign() {
    let mut stage = full(80, 24);
    stage.model.theme = crate::tui::theme::Theme::Plain;
    stage.model.cache = crate::tui::conversation::Cache::default();
    stage.keys("<esc>");
    insta::assert_debug_snapshot!("without_colours", stage.buffer());
}

#[test]
fn the_help() {
    let mut stage = full(80, 24);
    stage.keys("<f1>");
    insta::assert_snapshot!(stage.screen());
}

#[test]
fn the_search() {
    let mut stage = full(80, 24);
    stage.keys("<ctrl-f>a[stn]").wait(1);
    insta::assert_snapshot!(stage.screen());
    insta::assert_debug_snapshot!("the_search_colours", stage.buffer());
}

#[test]
fn a_direct_message_being_written() {
    let mut stage = full(80, 24);
    stage.click("[ ] Ann_1180").click("[ ] Kim_9021").keys("<ctrl-t>");
    insta::assert_snapshot!(stage.screen());
}

#[test]
fn people_on_a_narrow_screen() {
    let mut stage = full(60, 20);
    stage.keys("<f2><down><space>");
    insta::assert_snapshot!(stage.screen());
}
