//! Test support: the real program as a process, clients of both dialects, faults, and the history checker.
//!
//! Every wait has a timeout, and nothing sleeps.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails on a panic")]

pub(crate) mod checker;
mod clients;
#[cfg(target_os = "linux")]
pub(crate) mod faulty_disk;
pub(crate) mod flaky_proxy;
pub(crate) mod hostile_text;
pub(crate) mod load_client;
pub(crate) mod malicious_server;
pub(crate) mod pty;
pub(crate) mod source_tree;
pub(crate) mod test_user;
pub(crate) mod tmux;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use chat::tls::fingerprint::Fingerprint;
use tempfile::TempDir;

pub(crate) use self::clients::{ClientKey, OriginalClient, TestClient, TlsConnection, tls_config};

/// The timeout of every wait: longer than anything takes on a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// `chat serve` with its data in `folder` and the given arguments.
pub(crate) fn serve_command(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
    isolate_environment(&mut command, folder.path());
    command.arg("serve").arg("--data").arg(folder.path()).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// `chat` with `home` as its `CHAT_HOME` and the given arguments.
pub(crate) fn chat_command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
    isolate_environment(&mut command, home);
    command.args(arguments).env("CHAT_HOME", home);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Removes the developer's own `CHAT_` variables and sets the config folder to `folder/config`.
pub(crate) fn isolate_environment(command: &mut Command, folder: &Path) {
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"CHAT_"))
    {
        command.env_remove(name);
    }
    command.env("XDG_CONFIG_HOME", folder.join("config"));
}

/// A running `chat serve`, killed on drop.
pub(crate) struct TestServer {
    child: Child,
    stdout: BufReader<ChildStdout>,
    folder: TempDir,
    /// The listen address.
    pub(crate) address: SocketAddr,
}

impl TestServer {
    /// Starts a server on a free port of 127.0.0.1, without rate limits.
    pub(crate) fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let command = serve_command(&folder, &["--listen", "127.0.0.1:0", "--no-rate-limits"]);
        Self::spawn(folder, command)
    }

    /// Starts a server with `command` and waits for its first ready line.
    pub(crate) fn spawn(folder: TempDir, command: Command) -> Self {
        let (child, stdout, ready) = spawn_server(&folder, command);
        let address = ready.unwrap_or_else(|line| {
            panic!(
                "no ready line, but {line:?} and {:?}",
                fs::read_to_string(folder.path().join("log"))
            )
        });
        Self { child, stdout, folder, address }
    }

    /// Starts the server again on the same folder after its exit; returns whether it got ready.
    pub(crate) fn restart(&mut self, command: Command) -> bool {
        let (child, stdout, ready) = spawn_server(&self.folder, command);
        (self.child, self.stdout) = (child, stdout);
        ready.map(|address| self.address = address).is_ok()
    }

    /// The data directory.
    pub(crate) fn data_folder(&self) -> &TempDir {
        &self.folder
    }

    /// Reads the next line of standard output.
    pub(crate) fn next_line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The log output (standard error) so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The server's certificate.
    pub(crate) fn certificate_path(&self) -> PathBuf {
        self.folder.path().join("certs/cert.pem")
    }

    /// The fingerprint of the server's key.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_certificate(&TlsConnection::server_certificate(self)).unwrap()
    }

    /// A `chat://` link with the pinned key: a client that uses it prints no first-contact notice.
    pub(crate) fn pinned_link(&self) -> String {
        format!("chat://{}/#pin={}", self.address, self.fingerprint().to_url_safe())
    }

    /// Runs `chat` with `--data` of this server; returns exit status, standard output and standard error.
    pub(crate) fn run_local(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let data = ["--data", self.folder.path().to_str().unwrap()];
        let mut command = chat_command(self.folder.path(), &[arguments, &data].concat());
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code(), text(stdout), text(stderr))
    }

    /// Runs `chat admin` on this server, which must succeed; returns its output.
    pub(crate) fn run_admin(&self, arguments: &[&str]) -> String {
        let (status, text, stderr) = self.run_local(&[&["admin"], arguments].concat());
        assert_eq!((status, stderr.as_str()), (Some(0), ""), "{text}");
        text
    }

    /// Logs in with the original dialect.
    pub(crate) fn join_original(&self, name: &str) -> OriginalClient {
        OriginalClient::join(self, name)
    }

    /// Logs in with the extended dialect.
    pub(crate) fn join(&self, name: &str) -> TestClient {
        TestClient::join(self, name)
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.process_id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Sends SIGKILL and waits for the exit.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The process id.
    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the exit.
    pub(crate) fn into_exit_status(mut self) -> ExitStatus {
        self.wait_for_exit()
    }

    /// Like [`Self::into_exit_status`], for a server that is restarted afterwards.
    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        self.child.wait().unwrap()
    }

    /// The resident memory in KiB; 0 on systems without `/proc`.
    pub(crate) fn resident_kib(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process_id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().unwrap())
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // It may have exited already.
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
    }
}

/// Starts a server and reads its listen address from the first line of its output.
fn spawn_server(
    folder: &TempDir,
    mut command: Command,
) -> (Child, BufReader<ChildStdout>, Result<SocketAddr, String>) {
    let log = fs::File::create(folder.path().join("log")).unwrap();
    let mut child = command.stderr(log).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").and_then(|text| text.parse().ok());
    (child, stdout, address.ok_or(line))
}

/// The number in an environment variable, or `default` if the variable is not set.
pub(crate) fn count_from_env(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |number| number.parse().unwrap())
}

/// Prints a result of the test (shown with `--nocapture`).
#[expect(clippy::print_stdout, reason = "the test runner decides what is shown")]
pub(crate) fn print_result(text: &str) {
    println!("{text}");
}
