//! The program in a real terminal: a tmux of its own.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use tempfile::TempDir;

use super::{TIMEOUT, TestServer, isolate_environment};

/// A tmux server with one window, in which `chat join` runs. Ended on drop.
pub(crate) struct Tmux {
    folder: TempDir,
}

impl Tmux {
    /// Whether tmux is installed.
    pub(crate) fn is_installed() -> bool {
        Command::new("tmux").arg("-V").output().is_ok()
    }

    /// Starts `chat join` in a window of this size and waits for the login.
    pub(crate) fn join(server: &TestServer, name: &str, (rows, columns): (u16, u16)) -> Self {
        let tmux = Self { folder: TempDir::new().unwrap() };
        let size = ["-x", &columns.to_string(), "-y", &rows.to_string()].map(str::to_owned);
        let mut command = tmux.command();
        command.args(["-f", "/dev/null", "new-session", "-d"]).args(size);
        command.arg("--").arg(env!("CARGO_BIN_EXE_chat"));
        command.args(["join", &server.pinned_link(), "--name", name]);
        assert!(command.status().unwrap().success());
        tmux.wait_for(&format!("you are {name}_"));
        tmux
    }

    fn command(&self) -> Command {
        let home: &Path = self.folder.path();
        let mut command = Command::new("tmux");
        isolate_environment(&mut command, home);
        command.env("CHAT_HOME", home).env_remove("TMUX").env("LC_ALL", "C.UTF-8");
        command.arg("-u").arg("-S").arg(home.join("tmux"));
        command
    }

    /// Presses keys by their tmux names, such as `PageUp` and `C-l`.
    pub(crate) fn press(&self, keys: &[&str]) {
        assert!(self.command().arg("send-keys").args(keys).status().unwrap().success());
    }

    /// The text of the screen, as tmux holds it.
    pub(crate) fn contents(&self) -> String {
        let captured = self.command().args(["capture-pane", "-p"]).output().unwrap();
        String::from_utf8(captured.stdout).unwrap()
    }

    /// Waits until `text` is on the screen; returns the screen.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |screen| screen.contains(text))
    }

    /// Waits until `text` is no longer on the screen; returns the screen.
    #[track_caller]
    pub(crate) fn wait_until_gone(&self, text: &str) -> String {
        self.wait_until(&format!("end of {text}"), |screen| !screen.contains(text))
    }

    /// tmux has no event for a changed screen, so it is asked again and again.
    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "the deadline is real time")]
    fn wait_until(&self, expected: &str, condition: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let screen = self.contents();
            if condition(&screen) {
                return screen;
            }
            assert!(start.elapsed() < TIMEOUT, "no {expected:?} on the screen:\n{screen}");
        }
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        assert!(self.command().arg("kill-server").status().unwrap().success());
    }
}
