//! The real server as a process, and clients of both sorts that speak to it over TLS.
//!
//! Everything waits with a limit, and nothing sleeps.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails where its tools do")]

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

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use chat::tls::fingerprint::Fingerprint;
use tempfile::TempDir;

pub(crate) use self::clients::{ClientKey, OriginalClient, TestClient, TlsConnection, tls_config};

/// Longer than anything takes on a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// `chat serve` with these arguments, its data in a folder of its own.
pub(crate) fn serve_command(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
    isolate_environment(&mut command, folder.path());
    command.arg("serve").arg("--data").arg(folder.path()).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// `chat` with these arguments, as somebody whose key lies in this folder.
pub(crate) fn chat_command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
    isolate_environment(&mut command, home);
    command.args(arguments).env("CHAT_HOME", home);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Keeps the settings of whoever runs the tests away, but for those in this folder.
pub(crate) fn isolate_environment(command: &mut Command, folder: &Path) {
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"CHAT_"))
    {
        command.env_remove(name);
    }
    command.env("XDG_CONFIG_HOME", folder.join("config"));
}

/// A running server. It is killed when dropped.
pub(crate) struct TestServer {
    child: Child,
    stdout: BufReader<ChildStdout>,
    folder: TempDir,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl TestServer {
    /// A server on a free port of 127.0.0.1, which hears tests as fast as they talk.
    pub(crate) fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let command = serve_command(&folder, &["--listen", "127.0.0.1:0", "--no-rate-limits"]);
        Self::spawn(folder, command)
    }

    /// The server that `command` describes.
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

    /// Starts it anew after its end, on the same folder; whether it came to be ready.
    pub(crate) fn restart(&mut self, command: Command) -> bool {
        let (child, stdout, ready) = spawn_server(&self.folder, command);
        (self.child, self.stdout) = (child, stdout);
        ready.map(|address| self.address = address).is_ok()
    }

    /// The folder of its data.
    pub(crate) fn data_folder(&self) -> &TempDir {
        &self.folder
    }

    /// The next line of standard output.
    pub(crate) fn next_line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// All that was logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The server's certificate.
    pub(crate) fn certificate_path(&self) -> PathBuf {
        self.folder.path().join("certs/cert.pem")
    }

    /// The fingerprint of its key.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_certificate(&TlsConnection::server_certificate(self)).unwrap()
    }

    /// What leads to it and to no other: whoever has that has nothing to compare.
    pub(crate) fn pinned_link(&self) -> String {
        format!("chat://{}/#pin={}", self.address, self.fingerprint().to_url_safe())
    }

    /// What `chat` says to whoever runs this server: its status, its words, and its complaints.
    pub(crate) fn run_local(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let data = ["--data", self.folder.path().to_str().unwrap()];
        let mut command = chat_command(self.folder.path(), &[arguments, &data].concat());
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code(), text(stdout), text(stderr))
    }

    /// An act of whoever runs this server, which has to be done.
    pub(crate) fn run_admin(&self, arguments: &[&str]) -> String {
        let (status, words, complaints) = self.run_local(&[&["admin"], arguments].concat());
        assert_eq!((status, complaints.as_str()), (Some(0), ""), "{words}");
        words
    }

    /// Somebody with the original client.
    pub(crate) fn join_original(&self, name: &str) -> OriginalClient {
        OriginalClient::join(self, name)
    }

    /// Somebody with our client.
    pub(crate) fn join(&self, name: &str) -> TestClient {
        TestClient::join(self, name)
    }

    /// Sends SIGTERM, or another signal.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Ends it as a crash does: `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The process.
    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end.
    pub(crate) fn into_exit_status(mut self) -> ExitStatus {
        self.wait_for_exit()
    }

    /// The same, when it is to be started anew.
    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        self.child.wait().unwrap()
    }

    /// How much memory it uses, in KiB; nothing where the system does not say.
    pub(crate) fn resident_kib(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().unwrap())
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
    }
}

/// Starts a server; its first line says where it listens.
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

/// How often something is done: as often as the environment says, or else so often.
pub(crate) fn count_from_env(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |times| times.parse().unwrap())
}

/// Says something to whoever runs the tests (with `--nocapture`).
#[expect(clippy::print_stdout, reason = "the test runner decides what is shown")]
pub(crate) fn print_result(words: &str) {
    println!("{words}");
}
