//! A program on a pseudo-terminal. A terminal parser turns its output into the screen that a user would see.
//!
//! Output wakes every wait. A wait that times out panics with the contents of the screen.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::process::Command;
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use tempfile::TempDir;
use vt100::{Cell, MouseProtocolMode, Parser};

use super::{TIMEOUT, TestServer};

/// The bytes that keys send.
pub(crate) mod key {
    pub(crate) const ENTER: &str = "\r";
    pub(crate) const ALT_ENTER: &str = "\x1b\r";
    /// In the kitty keyboard protocol.
    pub(crate) const SHIFT_ENTER: &str = "\x1b[13;2u";
    pub(crate) const CTRL_C: &str = "\x03";
    pub(crate) const CTRL_F: &str = "\x06";
    pub(crate) const CTRL_J: &str = "\n";
    pub(crate) const CTRL_Q: &str = "\x11";
    pub(crate) const F4: &str = "\x1bOS";
    pub(crate) const ALT_A: &str = "\x1ba";
    pub(crate) const ALT_UP: &str = "\x1b[1;3A";
    pub(crate) const UP: &str = "\x1b[A";
    pub(crate) const PAGE_UP: &str = "\x1b[5~";
    pub(crate) const END: &str = "\x1b[F";
}

/// Rows and columns of a terminal in which everything fits.
pub(crate) const DEFAULT_SIZE: (u16, u16) = (30, 100);

/// A program on its own pseudo-terminal, killed on drop.
pub(crate) struct PtyProgram {
    child: Option<Box<dyn Child + Send + Sync>>,
    master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    terminal: Arc<PtyOutput>,
    /// `CHAT_HOME` of the program.
    home: TempDir,
}

/// The output of a program, shared with the reading thread.
struct PtyOutput {
    output: Mutex<OutputState>,
    changed: Condvar,
}

struct OutputState {
    parser: Parser,
    raw: Vec<u8>,
    has_ended: bool,
    is_closed: bool,
}

impl PtyProgram {
    /// Starts `chat` with these arguments.
    pub(crate) fn spawn(arguments: &[&str], size: (u16, u16)) -> Self {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_chat"));
        command.args(arguments);
        command.env_remove("NO_COLOR");
        Self::run(command, size)
    }

    /// Starts any program.
    pub(crate) fn run(command: CommandBuilder, size: (u16, u16)) -> Self {
        Self::run_at(command, size, TempDir::new().unwrap())
    }

    fn run_at(mut command: CommandBuilder, (rows, cols): (u16, u16), home: TempDir) -> Self {
        command.env("TERM", "xterm-256color");
        command.env("CHAT_HOME", home.path());
        command.env("XDG_CONFIG_HOME", home.path().join("config"));
        let pty = native_pty_system().openpty(size(rows, cols)).unwrap();
        let child = pty.slave.spawn_command(command).unwrap();
        let parser = Parser::new(cells(rows), cells(cols), 0);
        let output = OutputState { parser, raw: Vec::new(), has_ended: false, is_closed: false };
        let terminal = Arc::new(PtyOutput { output: Mutex::new(output), changed: Condvar::new() });
        let reader = pty.master.try_clone_reader().unwrap();
        let shown = Arc::clone(&terminal);
        std::thread::spawn(move || shown.read_output(reader));
        let keyboard = pty.master.take_writer().unwrap();
        Self { child: Some(child), master: pty.master, keyboard, terminal, home }
    }

    /// Starts a shell with job control, in which `$CHAT` is the program.
    pub(crate) fn shell() -> Self {
        let mut command = CommandBuilder::new("bash");
        command.args(["--norc", "--noprofile", "-i"]);
        command.env("PS1", "$ ");
        command.env("CHAT", env!("CARGO_BIN_EXE_chat"));
        Self::run(command, DEFAULT_SIZE)
    }

    /// Starts `chat join` and waits for the login.
    pub(crate) fn join(server: &TestServer, name: &str) -> Self {
        Self::join_sized(server, name, DEFAULT_SIZE)
    }

    /// Like [`Self::join`], with the `CHAT_HOME` of an earlier run.
    pub(crate) fn rejoin(server: &TestServer, name: &str, home: TempDir) -> Self {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_chat"));
        command.args(["join", &server.pinned_link(), "--name", name]);
        let joined = Self::run_at(command, DEFAULT_SIZE, home);
        joined.wait_for(&format!("you are {name}_"));
        joined
    }

    /// Quits with Ctrl-Q; returns `CHAT_HOME`.
    pub(crate) fn quit(mut self) -> TempDir {
        self.keys(key::CTRL_Q);
        let home = std::mem::replace(&mut self.home, TempDir::new().unwrap());
        assert_eq!(self.finish(), 0);
        home
    }

    /// Like [`Self::join`], on a terminal of this size.
    pub(crate) fn join_sized(server: &TestServer, name: &str, size: (u16, u16)) -> Self {
        let joined = Self::spawn(&["join", &server.pinned_link(), "--name", name], size);
        joined.wait_for(&format!("you are {name}_"));
        joined
    }

    /// The user ID assigned by the server.
    pub(crate) fn id(&self) -> String {
        let screen = self.contents();
        let (_, after) = screen.split_once("you are ").unwrap();
        after.split_whitespace().next().unwrap().to_owned()
    }

    /// Types text or sends keys from [`key`].
    pub(crate) fn keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Types a line and presses Enter.
    pub(crate) fn submit(&mut self, line: &str) {
        self.keys(line);
        self.keys(key::ENTER);
    }

    /// Clicks on the first cell of `text`.
    pub(crate) fn click(&mut self, text: &str) {
        let (row, column) = self.find(text);
        let (x, y) = (column + 1, row + 1);
        self.keys(&format!("\x1b[<0;{x};{y}M\x1b[<0;{x};{y}m"));
    }

    /// Resizes the terminal.
    pub(crate) fn resize(&self, (rows, cols): (u16, u16)) {
        let mut output = self.terminal.output.lock().unwrap();
        output.parser.set_size(cells(rows), cells(cols));
        self.master.resize(size(rows, cols)).unwrap();
    }

    /// Waits until `text` is on the screen.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        self.wait_until(&format!("{text:?}"), |output| output.contents().contains(text));
    }

    /// Waits until `text` is no longer on the screen.
    #[track_caller]
    pub(crate) fn wait_until_gone(&self, text: &str) {
        self.wait_until(&format!("end of {text:?}"), |output| !output.contents().contains(text));
    }

    /// Waits until the program has written more than `bytes`.
    #[track_caller]
    pub(crate) fn wait_for_output_beyond(&self, bytes: usize) {
        self.wait_until("more output", |output| output.raw.len() > bytes);
    }

    /// Waits until the program has written nothing for this long.
    pub(crate) fn wait_for_quiet(&self, quiet: Duration) {
        let mut written = usize::MAX;
        while written != self.raw().len() {
            written = self.raw().len();
            self.has_output_within(quiet);
        }
    }

    /// Whether the program writes anything within this time.
    pub(crate) fn has_output_within(&self, time: Duration) -> bool {
        let output = self.terminal.output.lock().unwrap();
        let before = output.raw.len();
        let is_quiet = |output: &mut OutputState| output.raw.len() == before;
        !self.terminal.changed.wait_timeout_while(output, time, is_quiet).unwrap().1.timed_out()
    }

    #[track_caller]
    fn wait_until(&self, expected: &str, condition: impl Fn(&OutputState) -> bool) {
        let output = self.terminal.output.lock().unwrap();
        let is_waiting = |output: &mut OutputState| !condition(output) && !output.has_ended;
        let waited = self.terminal.changed.wait_timeout_while(output, TIMEOUT, is_waiting);
        let output = waited.unwrap().0;
        let (is_ready, screen) = (condition(&output), output.contents());
        drop(output);
        assert!(is_ready, "no {expected} on the screen:\n{screen}");
    }

    /// The screen as text.
    pub(crate) fn contents(&self) -> String {
        self.terminal.output.lock().unwrap().contents()
    }

    /// How often `text` is on the screen.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.contents().matches(text).count()
    }

    /// The row and column of the first cell of `text`.
    #[track_caller]
    pub(crate) fn find(&self, text: &str) -> (u16, u16) {
        self.wait_for(text);
        let output = self.terminal.output.lock().unwrap();
        output.find(text).unwrap()
    }

    /// The row of `text`.
    #[track_caller]
    pub(crate) fn row_of(&self, text: &str) -> u16 {
        self.find(text).0
    }

    /// The first cell of `text`.
    #[track_caller]
    pub(crate) fn cell_of(&self, text: &str) -> Cell {
        let (row, column) = self.find(text);
        let output = self.terminal.output.lock().unwrap();
        output.parser.screen().cell(row, column).unwrap().clone()
    }

    /// The columns at which `row` has `character`.
    pub(crate) fn columns_of(&self, row: u16, character: &str) -> Vec<u16> {
        let cells = self.cells().into_iter();
        cells
            .filter(|(at, _, cell)| *at == row && cell.contents() == character)
            .map(|c| c.1)
            .collect()
    }

    /// All cells with their row and column.
    pub(crate) fn cells(&self) -> Vec<(u16, u16, Cell)> {
        let output = self.terminal.output.lock().unwrap();
        let screen = output.parser.screen();
        let (rows, columns) = screen.size();
        (0..rows.get())
            .flat_map(|row| (0..columns.get()).map(move |column| (row, column)))
            .map(|(row, column)| (row, column, screen.cell(row, column).unwrap().clone()))
            .collect()
    }

    /// The raw output so far.
    pub(crate) fn raw(&self) -> String {
        String::from_utf8(self.terminal.output.lock().unwrap().raw.clone()).unwrap()
    }

    /// The complete raw output, once the program has exited.
    #[track_caller]
    pub(crate) fn raw_until_exit(self) -> String {
        self.wait_until("end", |output| output.has_ended);
        self.raw()
    }

    /// The process id.
    pub(crate) fn process_id(&self) -> u32 {
        self.child.as_ref().unwrap().process_id().unwrap()
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        send_signal(name, &self.process_id().to_string());
    }

    /// Sends a signal to the program in the foreground of a shell.
    pub(crate) fn signal_foreground(&self, name: &str) {
        send_signal(name, &self.master.process_group_leader().unwrap().to_string());
    }

    /// Whether the program has the terminal in full-screen mode.
    pub(crate) fn has_full_screen_modes(&self) -> bool {
        let output = self.terminal.output.lock().unwrap();
        let screen = output.parser.screen();
        let takes_mouse = screen.mouse_protocol_mode() != MouseProtocolMode::None;
        assert_eq!(screen.alternate_screen(), takes_mouse, "only some modes are on");
        takes_mouse
    }

    /// Closes the terminal; returns the exit status.
    pub(crate) fn close_terminal(mut self) -> u32 {
        self.terminal.output.lock().unwrap().is_closed = true;
        // The reading thread closes the terminal at the next output.
        self.keys("x");
        let child = self.child.take().unwrap();
        // The program writes its drafts there before it exits.
        let home = std::mem::replace(&mut self.home, TempDir::new().unwrap());
        drop(self);
        let status = exit_status(child);
        drop(home);
        status
    }

    /// Waits for the exit, checks that the terminal was restored, and returns the exit status.
    #[track_caller]
    pub(crate) fn finish(mut self) -> u32 {
        self.wait_until("end", |output| output.has_ended);
        let raw = self.raw();
        let output = self.terminal.output.lock().unwrap();
        let screen = output.parser.screen();
        assert!(!screen.alternate_screen(), "still on the alternate screen");
        assert!(!screen.hide_cursor(), "cursor hidden");
        assert!(!screen.bracketed_paste(), "bracketed paste still on");
        assert_eq!(screen.mouse_protocol_mode(), MouseProtocolMode::None);
        drop(output);
        for (on, off) in [
            ("\x1b[?1049h", "\x1b[?1049l"),
            ("\x1b[?1000h", "\x1b[?1000l"),
            ("\x1b[?1002h", "\x1b[?1002l"),
            ("\x1b[?1006h", "\x1b[?1006l"),
            ("\x1b[?2004h", "\x1b[?2004l"),
            ("\x1b[?1004h", "\x1b[?1004l"),
            ("\x1b[22;2t", "\x1b[23;2t"),
            ("\x1b[>1u", "\x1b[<1u"),
        ] {
            assert!(raw.contains(on) && raw.rfind(on) < raw.rfind(off), "{on:?} not undone");
        }
        assert!(!raw.contains("\x1b[?1003h"), "all mouse motion reported");
        exit_status(self.child.take().unwrap())
    }
}

impl Drop for PtyProgram {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have exited already.
            child.kill().unwrap_or_default();
            child.wait().unwrap();
        }
    }
}

impl PtyOutput {
    fn read_output(&self, mut reader: Box<dyn Read + Send>) {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let read = reader.read(&mut bytes).unwrap_or(0);
            let mut output = self.output.lock().unwrap();
            let written = bytes.get(..read).unwrap_or_default();
            output.raw.extend_from_slice(written);
            output.parser.process(written);
            output.has_ended = read == 0 || output.is_closed;
            let ended = output.has_ended;
            drop(output);
            self.changed.notify_all();
            if ended {
                return;
            }
        }
    }
}

impl OutputState {
    fn contents(&self) -> String {
        let screen = self.parser.screen();
        let rows = screen.rows(0, screen.size().1.get());
        rows.map(|row| row.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }

    fn find(&self, text: &str) -> Option<(u16, u16)> {
        let screen = self.parser.screen();
        let (rows, columns) = screen.size();
        (0..rows.get()).find_map(|row| {
            let mut line = String::new();
            let mut starts = Vec::new();
            for column in 0..columns.get() {
                let cell = screen.cell(row, column)?;
                if !cell.is_wide_continuation() {
                    starts.push((line.len(), column));
                    line.push_str(cell_text(cell.contents()));
                }
            }
            let at = line.find(text)?;
            let (_, column) = starts.into_iter().find(|(start, _)| *start == at)?;
            Some((row, column))
        })
    }
}

/// The text of a cell; a space if the cell is empty.
fn cell_text(contents: &str) -> &str {
    if contents.is_empty() { " " } else { contents }
}

fn send_signal(name: &str, process: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), process]).status().unwrap().success());
}

fn exit_status(mut child: Box<dyn Child + Send + Sync>) -> u32 {
    let (sender, receiver) = channel();
    std::thread::spawn(move || sender.send(child.wait().unwrap().exit_code()));
    receiver.recv_timeout(TIMEOUT).unwrap_or_else(|_| panic!("the program does not exit"))
}

fn size(rows: u16, cols: u16) -> PtySize {
    PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }
}

fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap()
}
