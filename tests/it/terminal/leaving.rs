//! Leaving, by whatever way: the terminal is as it was, and the others see it.

use std::env;

use chat::tui;
use portable_pty::CommandBuilder;

use super::talk::join_ann_and_bob;
use crate::support::TestServer;
use crate::support::pty::{DEFAULT_SIZE, PtyProgram, key};

#[test]
fn every_exit_restores_the_terminal() {
    let server = TestServer::start();
    let ways: [fn(&mut PtyProgram); 6] = [
        |bob| bob.keys(key::CTRL_Q),
        |bob| bob.submit(".exit"),
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
        let mut bob = PtyProgram::join(&server, "Bob");
        way(&mut bob);
        assert_eq!(bob.finish(), 0);
    }
}

#[test]
fn closed_terminal_exits_with_success() {
    let server = TestServer::start();
    let (ann, bob) = join_ann_and_bob(&server);
    let left = format!("← {} left", bob.id());
    assert_eq!(bob.close_terminal(), 0);
    ann.wait_for(&left);
}

/// Set for the process that panics.
const PANIC_VARIABLE: &str = "CHAT_TEST_PANICS";

/// No input makes the program panic, so this test is also a program that does: with the screen's own
/// way in and out, on a terminal.
#[test]
fn panic_restores_the_terminal_and_is_printed() {
    if env::var_os(PANIC_VARIABLE).is_some() {
        let _screen = tui::terminal::TerminalGuard::enter().unwrap();
        panic!("on purpose");
    }
    let mut command = CommandBuilder::new(env::current_exe().unwrap());
    command.args(["--exact", "terminal::leaving::panic_restores_the_terminal_and_is_printed"]);
    command.arg("--nocapture");
    command.env(PANIC_VARIABLE, "1");
    let screen = PtyProgram::run(command, DEFAULT_SIZE);
    screen.wait_for("on purpose");
    assert_eq!(screen.finish(), 101);
}

/// The same for a panic of some task or thread, while the screen could still draw.
#[test]
fn panic_in_another_thread_stops_drawing_and_is_printed() {
    if env::var_os(PANIC_VARIABLE).is_some() {
        let mut screen = tui::terminal::TerminalGuard::enter().unwrap();
        screen.draw(|frame| frame.render_widget("the first frame", frame.area())).unwrap();
        std::thread::spawn(|| panic!("on purpose")).join().unwrap_err();
        screen.draw(|frame| frame.render_widget("the second frame", frame.area())).unwrap();
        assert!(screen.panicked().is_cancelled());
        return;
    }
    let mut command = CommandBuilder::new(env::current_exe().unwrap());
    command.args([
        "--exact",
        "terminal::leaving::panic_in_another_thread_stops_drawing_and_is_printed",
    ]);
    command.arg("--nocapture");
    command.env(PANIC_VARIABLE, "1");
    let screen = PtyProgram::run(command, DEFAULT_SIZE);
    screen.wait_for("on purpose");
    screen.wait_for("1 passed");
    let text = screen.contents();
    assert!(!text.contains("frame") && text.contains("on purpose"), "{text}");
    assert_eq!(screen.finish(), 0);
}
