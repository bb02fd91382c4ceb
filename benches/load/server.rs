//! The servers: where their programs are, how they are configured, and how they are started.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use tempfile::TempDir;

use super::dialect::Dialect;
use super::process::Process;
use super::tls::{ClientKey, write_certificate};

const START_TIMEOUT: Duration = Duration::from_secs(20);
/// The core of the server; the load generator runs on the next one.
const SERVER_CORE: usize = 0;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Server {
    Chat,
    Bare,
    Nats,
    Inspircd,
    Ngircd,
    Ergo,
}

impl Server {
    pub(crate) const ALL: [Self; 6] =
        [Self::Chat, Self::Bare, Self::Nats, Self::Inspircd, Self::Ngircd, Self::Ergo];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Bare => "bare",
            Self::Nats => "nats-server",
            Self::Inspircd => "inspircd",
            Self::Ngircd => "ngircd",
            Self::Ergo => "ergo",
        }
    }

    pub(crate) fn dialect(self) -> Dialect {
        match self {
            Self::Chat => Dialect::Chat,
            Self::Bare => Dialect::Lines,
            Self::Nats => Dialect::Nats,
            Self::Inspircd | Self::Ngircd | Self::Ergo => Dialect::Irc,
        }
    }

    pub(crate) fn client_key(self) -> ClientKey {
        if let Self::Chat | Self::Bare = self { ClientKey::New } else { ClientKey::None }
    }

    /// Logins under way at once. `inspircd` completes logins once a second, however many there are.
    pub(crate) fn logins_at_once(self) -> usize {
        if self == Self::Inspircd { 512 } else { 64 }
    }

    /// How to install it, if it is not installed.
    pub(crate) fn missing(self) -> Option<&'static str> {
        if self.program().is_some_and(|program| self.is_right_program(&program)) {
            return None;
        }
        Some(match self {
            Self::Ergo => {
                "download it from https://ergo.chat and put it on PATH (Debian's package `ergo` is \
                 another program)"
            }
            Self::Nats => "Debian, Ubuntu: apt install nats-server",
            Self::Inspircd => "Debian, Ubuntu: apt install inspircd",
            Self::Ngircd => "Debian, Ubuntu: apt install ngircd",
            Self::Chat | Self::Bare => "cargo builds it",
        })
    }

    fn program(self) -> Option<PathBuf> {
        match self {
            Self::Chat => Some(env!("CARGO_BIN_EXE_chat").into()),
            Self::Bare => std::env::current_exe().ok(),
            _ => find_on_path(self.name()),
        }
    }

    fn is_right_program(self, program: &Path) -> bool {
        let prints_version =
            || Command::new(program).arg("--version").stdin(Stdio::null()).output();
        self != Self::Ergo
            || prints_version().is_ok_and(|output| output.stdout.starts_with(b"ergo-"))
    }

    /// The name of its configuration file, and the file with placeholders.
    fn configuration(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Chat | Self::Bare => None,
            Self::Nats => Some(("nats.conf", include_str!("configs/nats.conf"))),
            Self::Inspircd => Some(("inspircd.conf", include_str!("configs/inspircd.conf"))),
            Self::Ngircd => Some(("ngircd.conf", include_str!("configs/ngircd.conf"))),
            Self::Ergo => Some(("ergo.yaml", include_str!("configs/ergo.yaml"))),
        }
    }

    fn arguments(self, folder: &Path, port: u16, options: &str) -> Vec<String> {
        let folder = folder.to_str().unwrap();
        let line = match self {
            Self::Chat => format!(
                "serve --listen 127.0.0.1:{port} --data {folder}/data --certs {folder} {options}"
            ),
            Self::Bare => format!("bare {port} {folder}"),
            Self::Nats => format!("-c {folder}/nats.conf"),
            Self::Inspircd => format!("--nofork --runasroot --config={folder}/inspircd.conf"),
            Self::Ngircd => format!("-n -f {folder}/ngircd.conf"),
            Self::Ergo => format!("run --quiet --conf {folder}/ergo.yaml"),
        };
        line.split(' ').map(str::to_owned).collect()
    }
}

/// A server that runs with its files in a temporary folder; killed on drop.
pub(crate) struct Running {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    folder: TempDir,
    child: Child,
}

impl Running {
    /// Starts a server on a core of its own and waits until it listens.
    pub(crate) fn start(server: Server) -> Result<Self, String> {
        Self::start_prepared(server, "--no-rate-limits", |_| {})
    }

    /// The same with other options for `chat serve`, after `prepare` had the folder.
    pub(crate) fn start_prepared(
        server: Server,
        options: &str,
        prepare: impl FnOnce(&Path),
    ) -> Result<Self, String> {
        let program = server.program().ok_or("is not installed")?;
        let folder = tempfile::tempdir().unwrap();
        write_certificate(folder.path());
        prepare(folder.path());
        let port = free_port();
        if let Some((name, template)) = server.configuration() {
            let text = fill_in(template, folder.path(), port);
            fs::write(folder.path().join(name), text).unwrap();
        }
        if server == Server::Ergo {
            let mut command = Command::new(&program);
            command.args(["initdb", "--quiet", "--conf"]).arg(folder.path().join("ergo.yaml"));
            command.current_dir(folder.path()).output().unwrap();
        }
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = pinned(&program);
        command.args(server.arguments(folder.path(), port, options)).current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CHAT_")) {
            command.env_remove(name);
        }
        command.env("XDG_CONFIG_HOME", folder.path());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut running = Self { server, address, folder, child: command.spawn().unwrap() };
        running.wait_until_listening()?;
        Ok(running)
    }

    fn wait_until_listening(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(self.address).is_err() {
            if self.has_ended() || Instant::now() > deadline {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                return Err(format!("does not listen on {}: {}", self.address, log.trim()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    pub(crate) fn process(&self) -> Process {
        Process(self.child.id())
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn find_on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Servers are often outside a user's PATH.
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

fn can_pin() -> bool {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores > 1 && find_on_path("taskset").is_some()
}

/// The program, on the core of the server.
fn pinned(program: &Path) -> Command {
    if !can_pin() {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", &SERVER_CORE.to_string()]).arg(program);
    command
}

/// Moves this program to a core of its own, and says whether it could.
pub(crate) fn pin_load_generator() -> bool {
    let own_process = std::process::id().to_string();
    let mut command = Command::new("taskset");
    command.args(["-cp", &(SERVER_CORE + 1).to_string(), &own_process]).stdout(Stdio::null());
    can_pin() && command.status().is_ok_and(|status| status.success())
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn fill_in(template: &str, folder: &Path, port: u16) -> String {
    template
        .replace("@DIR@", folder.to_str().unwrap())
        .replace("@PORT@", &port.to_string())
        .replace("@PLAINPORT@", &free_port().to_string())
        .replace("@USER@", &rustix::process::getuid().as_raw().to_string())
        .replace("@GROUP@", &rustix::process::getgid().as_raw().to_string())
}
