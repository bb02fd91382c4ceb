//! Leaving, by whatever way: the terminal is as it was, and the others see it.

use std::env;

use chat::tui;
use portable_pty::CommandBuilder;

use super::talk::ann_and_bob;
use crate::support::Server;
use crate::support::screen::{ROOMY, Screen, key};

#[test]
fn every_way_out_restores_the_terminal() {
    let server = Server::start();
    let ways: [fn(&mut Screen); 6] = [
        |bob| bob.keys(key::CTRL_Q),
        |bob| bob.say(".exit"),
        |bob| {
            bob.keys(key::CTRL_C);
            bob.wait_for("Ctrl-C once more leaves");
            bob.keys(key::CTRL_C);
        },
        |bob| bob.signal("TERM"),
        |bob| bob.signal("INT"),
        |bob| bob.signal("HUP"),
    ];
    for way in ways {
        let mut bob = Screen::join(&server, "Bob");
        way(&mut bob);
        assert_eq!(bob.finish(), 0);
    }
}

#[test]
fn a_terminal_that_goes_away_is_a_good_end() {
    let server = Server::start();
    let (ann, bob) = ann_and_bob(&server);
    let left = format!("← {} left", bob.id());
    assert_eq!(bob.hang_up(), 0);
    ann.wait_for(&left);
}

/// Set for the process that panics.
const PANICS: &str = "CHAT_TEST_PANICS";

/// No input makes the program panic, so this test is also a program that does: with the screen's own
/// way in and out, on a terminal.
#[test]
fn a_panic_restores_the_terminal_and_can_be_read() {
    if env::var_os(PANICS).is_some() {
        let _screen = tui::terminal::Screen::enter().unwrap();
        panic!("on purpose");
    }
    let mut command = CommandBuilder::new(env::current_exe().unwrap());
    command.args(["--exact", "terminal::leaving::a_panic_restores_the_terminal_and_can_be_read"]);
    command.arg("--nocapture");
    command.env(PANICS, "1");
    let screen = Screen::run(command, ROOMY);
    screen.wait_for("on purpose");
    assert_eq!(screen.finish(), 101);
}

/// The same for a panic of some task or thread, while the screen could still draw.
#[test]
fn a_panic_elsewhere_ends_the_drawing_and_can_be_read() {
    if env::var_os(PANICS).is_some() {
        let mut screen = tui::terminal::Screen::enter().unwrap();
        screen.draw(|frame| frame.render_widget("the first frame", frame.area())).unwrap();
        std::thread::spawn(|| panic!("on purpose")).join().unwrap_err();
        screen.draw(|frame| frame.render_widget("the second frame", frame.area())).unwrap();
        assert!(screen.panicked().is_cancelled());
        return;
    }
    let mut command = CommandBuilder::new(env::current_exe().unwrap());
    command
        .args(["--exact", "terminal::leaving::a_panic_elsewhere_ends_the_drawing_and_can_be_read"]);
    command.arg("--nocapture");
    command.env(PANICS, "1");
    let screen = Screen::run(command, ROOMY);
    screen.wait_for("on purpose");
    screen.wait_for("1 passed");
    let text = screen.contents();
    assert!(!text.contains("frame") && text.contains("on purpose"), "{text}");
    assert_eq!(screen.finish(), 0);
}
