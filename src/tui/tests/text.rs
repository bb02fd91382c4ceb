//! The text of messages: how it is drawn, selected, copied and opened.

use crossterm::event::{MouseButton, MouseEventKind};
use ratatui::style::Modifier;

use super::harness::UiHarness;
use crate::protocol::message::Audience;
use crate::protocol::message::MessageKind;
use crate::tui::event::UiEffect;

const PRESS: MouseEventKind = MouseEventKind::Down(MouseButton::Left);
const DRAG: MouseEventKind = MouseEventKind::Drag(MouseButton::Left);
const RELEASE: MouseEventKind = MouseEventKind::Up(MouseButton::Left);

fn copied(ui: &mut UiHarness) -> Vec<String> {
    let effects = ui.all_effects().into_iter();
    let copied = effects.filter_map(|effect| match effect {
        UiEffect::Copy(text) => Some(text),
        _ => None,
    });
    copied.collect()
}

fn formatted_text(width: u16, height: u16) -> UiHarness {
    let mut ui = UiHarness::new(width, height);
    ui.post_to_all(
        "Ann_1180",
        "an *important* **change**: run `make` first\n> is it safe?\nyes, see https://example.org/a.\n\
         - one\n- two\n```\nlet x = 1;\n```\nسلام دنیا and 👩\u{200d}👩\u{200d}👧",
    );
    ui
}

#[test]
fn formatted_text_at_several_sizes() {
    for (width, height) in [(80, 24), (40, 16)] {
        let ui = formatted_text(width, height);
        insta::assert_snapshot!(format!("formatted_at_{width}_by_{height}"), ui.text());
        insta::assert_debug_snapshot!(
            format!("formatted_at_{width}_by_{height}_colours"),
            ui.buffer()
        );
    }
}

#[test]
fn arabic_message_keeps_its_last_letters() {
    let mut ui = UiHarness::new(80, 24);
    ui.post_to_all("Ann_1180", "سلام دنیا");
    ui.shows("│ سلام دنیا");
}

#[test]
fn drag_over_messages_copies_their_text_with_names() {
    let mut ui = UiHarness::new(100, 24);
    ui.post_to_all("Ann_1180", "the *first* message");
    ui.post_to_all("Kim_9021", "and\tthe second");
    let from = ui.find("first");
    let to = ui.find("second");
    ui.mouse(PRESS, from.0, from.1).mouse(DRAG, to.0, to.1).mouse(RELEASE, to.0 + 3, to.1);
    assert_eq!(copied(&mut ui), ["Ann_1180 09:12\nfirst* message\nKim_9021 09:12\nand\tthe sec"]);
    ui.shows("copied");
    assert!(ui.buffer()[from].modifier.contains(Modifier::REVERSED));
    ui.keys("<esc>");
    assert!(!ui.buffer()[from].modifier.contains(Modifier::REVERSED));
}

#[test]
fn double_click_copies_a_word() {
    let mut ui = UiHarness::new(100, 24);
    ui.post_to_all("Ann_1180", "restart shard-7 now");
    let word = ui.find("shard");
    for _ in 0..2 {
        ui.mouse(PRESS, word.0 + 1, word.1).mouse(RELEASE, word.0 + 1, word.1);
    }
    assert_eq!(copied(&mut ui), ["shard"]);
}

#[test]
fn click_on_a_link_opens_or_copies_it() {
    let mut ui = UiHarness::new(100, 24);
    ui.post_to_all("Ann_1180", "see https://example.org/a_(b), or chat://host:1/#code");
    ui.click("example.org");
    let opened = ui.all_effects();
    assert!(
        matches!(opened.as_slice(), [.., UiEffect::OpenLink(link)] if link.as_str() == "https://example.org/a_(b)"),
        "{opened:?}"
    );
    ui.wait(1).click("chat://");
    assert_eq!(copied(&mut ui), ["chat://host:1/#code"]);
    ui.wait(1).click("see ").keys("<enter>").shows("open the link").keys("o");
    assert!(matches!(ui.all_effects().as_slice(), [.., UiEffect::OpenLink(_)]));
}

#[test]
fn match_is_highlighted_after_jumping_to_a_hit() {
    let mut ui = UiHarness::new(100, 24);
    ui.post(
        "Ann_1180",
        Audience::Everyone,
        MessageKind::Plain,
        "the deploy is done, deployed twice",
    );
    ui.keys("<ctrl-f>deploy").wait(1);
    ui.keys("<enter>");
    let (x, y) = ui.find("deploy is");
    let highlighted = |x: u16| ui.buffer()[(x, y)].modifier.contains(Modifier::UNDERLINED);
    assert!(highlighted(x) && highlighted(x + 5) && !highlighted(x + 6));
}
