//! Starting, reconnecting and exiting: every exit restores the terminal, and a reconnect loses nothing.

use std::env;

use chat::tui::terminal::TerminalGuard;
use portable_pty::CommandBuilder;
use ratatui::Frame;
use tempfile::TempDir;

use super::join_ann_and_bob;
use crate::support::pty::{DEFAULT_SIZE, PtyProgram, key};
use crate::support::{TestServer, serve_command};

#[test]
fn client_reconnects_after_server_loss() {
    let data = TempDir::new().unwrap();
    let start = |address: &str| {
        TestServer::spawn(TempDir::new().unwrap(), serve_command(&data, &["--listen", address]))
    };
    let server = start("127.0.0.1:0");
    let address = server.address.to_string();
    let (mut ann, bob) = join_ann_and_bob(&server);
    ann.submit("before");
    bob.wait_for("│ before");
    drop(server);
    for screen in [&ann, &bob] {
        screen.wait_for("disconnected: ");
        screen.wait_for("not connected");
    }
    ann.submit("is anybody there?");
    ann.wait_for("waiting…");
    let _server = start(&address);
    for screen in [&ann, &bob] {
        screen.wait_for("reconnected as ");
        screen.wait_for("● TLS 1.3");
        screen.wait_for("2 online");
    }
    bob.wait_for("│ is anybody there?");
    bob.wait_for("│ before");
}

#[test]
fn returning_user_keeps_the_id_and_sees_the_unread_marker() {
    let server = TestServer::start();
    let (mut ann, mut bob) = join_ann_and_bob(&server);
    ann.submit("before");
    bob.wait_for("│ before");
    let id = bob.id();
    bob.submit("seen");
    ann.wait_for("│ seen");
    let home = bob.quit();
    ann.wait_for(&format!("{id} left"));
    ann.submit("meanwhile");
    ann.wait_for("│ meanwhile");
    let mut bob = PtyProgram::rejoin(&server, "Bob", home);
    bob.wait_for("│ meanwhile");
    bob.wait_for("│ before");
    bob.wait_for("new since ");
    assert!(bob.row_of("│ seen") < bob.row_of("new since "));
    assert!(bob.row_of("new since ") < bob.row_of("│ meanwhile"));
    assert_eq!(bob.id(), id);
    bob.keys(key::CTRL_F);
    bob.keys("from:ann while");
    bob.wait_for("1 of 1 in");
}

#[test]
fn host_shows_the_join_command() {
    let data = TempDir::new().unwrap();
    let folder = data.path().to_str().unwrap();
    let mut alice = PtyProgram::spawn(
        &["host", "--name", "Alice", "--data", folder, "--listen", "127.0.0.1:0"],
        DEFAULT_SIZE,
    );
    alice.wait_for("you are Alice_");
    alice.wait_for("join with: chat join 127.0.0.1:");
    let screen = alice.contents();
    let (_, after) = screen.split_once("join with: chat join ").unwrap();
    let address = after.split_whitespace().next().unwrap();
    let mut bob = PtyProgram::spawn(&["join", address, "--name", "Bob"], DEFAULT_SIZE);
    bob.wait_for("you are Bob_");
    bob.submit("hello");
    alice.wait_for("│ hello");
    alice.submit(".exit");
    bob.wait_for("disconnected: the server is shutting down");
    assert_eq!(alice.finish(), 0);
}

#[test]
fn every_exit_restores_the_terminal() {
    let server = TestServer::start();
    let ways: [fn(&mut PtyProgram); 6] = [
        |bob| bob.keys(key::CTRL_Q),
        |bob| bob.submit(".exit"),
        |bob| {
            bob.keys(key::CTRL_C);
            bob.wait_for("press Ctrl-C again to quit");
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
fn suspended_program_restores_the_terminal_and_redraws_on_resume() {
    let server = TestServer::start();
    let mut shell = PtyProgram::shell();
    shell.submit(&format!("$CHAT join {} --name Ann", server.pinned_link()));
    shell.wait_for("you are Ann_");
    shell.keys("a draft");
    shell.wait_for("│ a draft");
    let before = shell.contents();
    for (signal, leaves_modes_on) in [("TSTP", false), ("STOP", true)] {
        shell.signal_foreground(signal);
        shell.wait_for("Stopped");
        shell.submit("echo $((6 * 7)) is the answer");
        shell.wait_for("42 is the answer");
        assert_eq!(shell.has_full_screen_modes(), leaves_modes_on, "{signal}");
        shell.submit("clear; fg");
        shell.wait_for(&before);
        assert!(shell.has_full_screen_modes(), "{signal}");
    }
    shell.keys(key::CTRL_C);
    shell.wait_until_gone("a draft");
    shell.keys(key::CTRL_Q);
    // What `fg` printed.
    shell.wait_for("$CHAT join");
    assert!(!shell.has_full_screen_modes());
}

#[test]
fn program_without_a_shell_is_not_suspended() {
    let server = TestServer::start();
    let mut ann = PtyProgram::join(&server, "Ann");
    ann.signal("TSTP");
    ann.wait_for("cannot suspend: no shell started this program");
    ann.submit("still here");
    ann.wait_for("│ still here");
}

#[test]
fn closed_terminal_exits_with_success() {
    let server = TestServer::start();
    let (ann, bob) = join_ann_and_bob(&server);
    let left = format!("← {} left", bob.id());
    assert_eq!(bob.close_terminal(), 0);
    ann.wait_for(&left);
}

/// Set in the subprocess that panics.
const PANIC_VARIABLE: &str = "CHAT_TEST_PANICS";

/// No input makes the program panic, so this test runs itself in a subprocess that enters the screen and
/// panics.
#[test]
fn panic_restores_the_terminal_and_is_printed() {
    if env::var_os(PANIC_VARIABLE).is_some() {
        let _screen = TerminalGuard::enter().unwrap();
        panic!("on purpose");
    }
    let mut command = CommandBuilder::new(env::current_exe().unwrap());
    command.args(["--exact", "terminal::lifecycle::panic_restores_the_terminal_and_is_printed"]);
    command.arg("--nocapture");
    command.env(PANIC_VARIABLE, "1");
    let screen = PtyProgram::run(command, DEFAULT_SIZE);
    screen.wait_for("on purpose");
    assert_eq!(screen.finish(), 101);
}

/// Like the test above, for a panic in another thread while the screen could still draw.
#[test]
fn panic_in_another_thread_stops_drawing_and_is_printed() {
    if env::var_os(PANIC_VARIABLE).is_some() {
        let mut screen = TerminalGuard::enter().unwrap();
        let draw = |screen: &mut TerminalGuard, text: &str| {
            let draw = |frame: &mut Frame<'_>| {
                frame.render_widget(text, frame.area());
                Vec::new()
            };
            screen.draw(draw).unwrap();
        };
        draw(&mut screen, "the first frame");
        std::thread::spawn(|| panic!("on purpose")).join().unwrap_err();
        draw(&mut screen, "the second frame");
        assert!(screen.panicked().is_cancelled());
        return;
    }
    let mut command = CommandBuilder::new(env::current_exe().unwrap());
    command.args([
        "--exact",
        "terminal::lifecycle::panic_in_another_thread_stops_drawing_and_is_printed",
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
