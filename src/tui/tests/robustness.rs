//! Robustness: any size, any text, any order of events.

use proptest::prelude::*;

use super::harness::{UiHarness, only};
use crate::protocol::message::{Audience, MessageKind};

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
    Wheel(u16, u16, bool),
    Resize(u16, u16),
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let keys = proptest::sample::select(vec![
        "<up>",
        "<down>",
        "<esc>",
        "<enter>",
        "<tab>",
        "<f1>",
        "<f2>",
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
    ]);
    prop_oneof![
        4 => (0..3_usize, 0..TEXTS.len()).prop_map(|(who, text)| Step::Post(who, text)),
        1 => (0..TEXTS.len()).prop_map(Step::Private),
        1 => (0..TEXTS.len()).prop_map(Step::Temporary),
        6 => keys.prop_map(Step::Keys),
        2 => (0..130_u16, 0..50_u16).prop_map(|(x, y)| Step::Click(x, y)),
        1 => (0..130_u16, 0..50_u16, any::<bool>()).prop_map(|(x, y, up)| Step::Wheel(x, y, up)),
        2 => (1..130_u16, 1..50_u16).prop_map(|(w, h)| Step::Resize(w, h)),
        1 => (0..20_i64).prop_map(Step::Wait),
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
        Step::Click(x, y) => drop(ui.mouse(MouseEventKind::Down(MouseButton::Left), *x, *y)),
        Step::Wheel(x, y, true) => drop(ui.mouse(MouseEventKind::ScrollUp, *x, *y)),
        Step::Wheel(x, y, false) => drop(ui.mouse(MouseEventKind::ScrollDown, *x, *y)),
        Step::Resize(width, height) => drop(ui.resize(*width, *height)),
        Step::Wait(seconds) => drop(ui.wait(*seconds)),
    }
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
