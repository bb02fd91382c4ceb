//! Latencies of members alone, and then beside one member that asks for a lot.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use chat::store::sqlite::SqliteStore;
use chat::store::{Entry, InviteRule, NewUser, Store};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;

use super::fixtures::{NOW, append_batch};
use super::run::{Figures, millis, percentiles};
use super::scenario::Contention;
use super::server::{Running, Server};
use super::tls::{ClientKey, Clients};

/// Nothing takes so long unless the server has stopped answering.
const TIMEOUT: Duration = Duration::from_mins(1);
/// Connections of one address that is not this machine.
const CONNECTIONS: usize = 16;
/// Messages a second that each member may send. Reading is limited as by default.
const MESSAGES_PER_SECOND: &str = "--messages-per-second 100";
/// A pattern that is slow to match with the texts of [`heavy_message`].
const SLOW_PATTERN: &str = "1[01]{390}[^01]";
const HEAVY_MESSAGES: usize = 110;
/// A member that resumes missed a hundred messages, which only the log has.
const RESUME_AFTER: u32 = 99_900;
const DELETING_MEMBERS: usize = 100;
/// Of each member in ten seconds, alone and again beside the other one.
const DELETIONS: u32 = 50;

/// The names of one latency's median, 99th percentile and maximum.
type Names = [&'static str; 3];

const PAGE: [Names; 2] = [
    ["page_p50_ms", "page_p99_ms", "page_max_ms"],
    ["page_p50_ms_beside", "page_p99_ms_beside", "page_max_ms_beside"],
];
const RESUME: [Names; 2] = [
    ["resume_p50_ms", "resume_p99_ms", "resume_max_ms"],
    ["resume_p50_ms_beside", "resume_p99_ms_beside", "resume_max_ms_beside"],
];
const ACKNOWLEDGEMENT: [Names; 2] = [
    ["ack_p50_ms", "ack_p99_ms", "ack_max_ms"],
    ["ack_p50_ms_beside", "ack_p99_ms_beside", "ack_max_ms_beside"],
];
const CPU_SHARE: [&str; 2] = ["server_cpu_share", "server_cpu_share_beside"];

pub(crate) fn run(contention: Contention) -> Result<Figures, String> {
    let (options, messages) = match contention {
        Contention::Reading => (MESSAGES_PER_SECOND, 100_000),
        Contention::SearchAndDelete => ("--no-rate-limits", 1_000_000),
    };
    let running = Running::start_prepared(Server::Chat, options, |folder| fill(folder, messages))?;
    let target = Target::new(&running);
    let is_over = AtomicBool::new(false);
    let mut figures = Figures::new();
    thread::scope(|scope| {
        let runtime = runtime();
        let mut members = LocalSet::new().block_on(&runtime, Members::join(contention, &target));
        for (phase, cpu_share) in CPU_SHARE.into_iter().enumerate() {
            if phase == 1 {
                // A thread of its own: the load that it is must not delay the members' side.
                let (target, is_over) = (&target, &is_over);
                scope.spawn(move || interfere(contention, target, is_over));
                thread::sleep(Duration::from_secs(2));
            }
            let (start, cpu_time) = (Instant::now(), running.process().cpu_time());
            let latencies = LocalSet::new().block_on(&runtime, members.measure(phase, &target));
            let used = running.process().cpu_time().saturating_sub(cpu_time);
            figures.insert(cpu_share, used.as_secs_f64() / start.elapsed().as_secs_f64());
            for (names, latencies) in latencies {
                let percentiles = percentiles(latencies).unwrap();
                figures.extend(names.into_iter().zip(percentiles.map(millis)));
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    Ok(figures)
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Fills the log, with users who can receive direct messages.
fn fill(folder: &Path, messages: u32) {
    let mut store = SqliteStore::open(&folder.join("data")).unwrap();
    let users = (0..).zip(heavy_recipients()).map(|(number, id)| {
        let (name, digits) = id.rsplit_once('_').unwrap();
        let (name, draw) = (name.parse().unwrap(), digits.parse::<u64>().unwrap() / 2);
        let (invite, similar_guest) = (InviteRule::NotRequired, None);
        Entry::Register(NewUser { name, key: [number; 32], invite, similar_guest, draw })
    });
    store.apply(NOW, &users.collect::<Vec<_>>()).unwrap();
    let mut next = 0;
    while next < messages {
        append_batch(&mut store, &mut next, 500);
    }
}

/// As many IDs as a message may have, of the greatest length.
fn heavy_recipients() -> impl Iterator<Item = String> {
    (0..255).map(|number| format!("{:x<24}_{:04}", "Recipient", 1_000 + 2 * number))
}

fn heavy_message() -> String {
    let recipients: Vec<_> = heavy_recipients().map(|id| format!("\"{id}\"")).collect();
    let (recipients, text) = (recipients.join(","), "10".repeat(2_000));
    format!(r#"{{"action":"MESSAGE","receiver":[{recipients}],"content":"{text}"}}"#)
}

/// The server and how to reach it.
struct Target {
    address: std::net::SocketAddr,
    clients: Clients,
}

impl Target {
    fn new(running: &Running) -> Self {
        Self { address: running.address, clients: Clients::trusting(running.folder()) }
    }

    /// A new user's key.
    fn key(&self) -> Arc<ClientConfig> {
        self.clients.config(ClientKey::New)
    }
}

/// A connection that is used for one thing at a time.
struct Client {
    stream: Box<BufReader<TlsStream<TcpStream>>>,
    epoch: String,
    head: u64,
}

impl Client {
    async fn connect(target: &Target, key: Arc<ClientConfig>) -> Self {
        let stream = TcpStream::connect(target.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let name = "localhost".try_into().unwrap();
        let stream = TlsConnector::from(key).connect(name, stream).await.unwrap();
        let stream = Box::new(BufReader::with_capacity(64 << 10, stream));
        Self { stream, epoch: String::new(), head: 0 }
    }

    async fn join(target: &Target, key: Arc<ClientConfig>, name: &str) -> Self {
        let mut client = Self::connect(target, key).await;
        client.log_in(name, "").await;
        client
    }

    async fn log_in(&mut self, name: &str, resume: &str) {
        let login = format!(r#"{{"action":"LOGIN","protocol":1,"username":"{name}"{resume}}}"#);
        self.send(&login).await;
        let welcome = self.wait_for(r#""status":"SUCCESS""#).await;
        let welcome: serde_json::Value = serde_json::from_str(&welcome).unwrap();
        welcome["epoch"].as_str().unwrap().clone_into(&mut self.epoch);
        self.head = welcome["head"].as_u64().unwrap();
    }

    async fn send(&mut self, object: &str) {
        let stream = self.stream.get_mut();
        stream.write_all(format!("{object}\n").as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
    }

    /// The next line that contains `text`.
    async fn wait_for(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            let read = timeout(TIMEOUT, self.stream.read_line(&mut line)).await;
            assert!(read.unwrap().unwrap() > 0, "the server closed the connection");
            assert!(!line.contains(r#""action":"CLOSING""#), "{line}");
            if line.contains(text) {
                return line;
            }
        }
    }

    async fn ask(&mut self, object: &str, answer: &str) -> String {
        self.send(object).await;
        self.wait_for(answer).await
    }
}

type Latencies = Vec<(Names, Vec<Duration>)>;

/// The members that are measured.
enum Members {
    Reading { page: Client, resuming: Arc<ClientConfig>, author: Client },
    Deleting(Vec<(Client, Vec<String>)>),
}

impl Members {
    async fn join(contention: Contention, target: &Target) -> Self {
        if contention == Contention::Reading {
            return Self::Reading {
                page: Client::join(target, target.key(), "Ann").await,
                resuming: target.key(),
                author: Client::join(target, target.key(), "Bob").await,
            };
        }
        let mut members = Vec::new();
        for number in 0..DELETING_MEMBERS {
            let mut member = Client::join(target, target.key(), &format!("Member{number}")).await;
            let messages = post_messages(&mut member).await;
            members.push((member, messages));
        }
        Self::Deleting(members)
    }

    async fn measure(&mut self, phase: usize, target: &Target) -> Latencies {
        match self {
            Self::Reading { page, resuming, author } => {
                let resume = format!(r#","after":{RESUME_AFTER},"epoch":"{}""#, page.epoch);
                let (pages, resumed, acknowledged) = tokio::join!(
                    every(Duration::ZERO, 25, 400, async |n| request_page(page, n).await),
                    every(Duration::ZERO, 100, 100, async |_| {
                        let mut client = Client::connect(target, Arc::clone(resuming)).await;
                        client.log_in("Cid", &resume).await;
                        client.wait_for(r#""LIVE""#).await;
                    }),
                    every(Duration::ZERO, 25, 400, async |n| post(author, n).await),
                );
                vec![
                    (PAGE[phase], pages),
                    (RESUME[phase], resumed),
                    (ACKNOWLEDGEMENT[phase], acknowledged),
                ]
            }
            Self::Deleting(members) => vec![(ACKNOWLEDGEMENT[phase], delete(members).await)],
        }
    }
}

/// A page anywhere in the log.
async fn request_page(client: &mut Client, number: u32) {
    let before = 200 + number * 7_919 % 99_000;
    let ask = format!(r#"{{"action":"HISTORY","before":{before},"cid":"h"}}"#);
    client.ask(&ask, r#""HISTORY""#).await;
}

async fn post(client: &mut Client, number: u32) {
    let cid = format!(r#""cid":"m{number}""#);
    let message = format!(r#"{{"action":"MESSAGE","receiver":["all"],"content":"x",{cid}}}"#);
    client.ask(&message, &cid).await;
}

/// Posts the messages that are going to be deleted, and returns their ids.
async fn post_messages(client: &mut Client) -> Vec<String> {
    let (mut ids, to) = (Vec::new(), heavy_recipients().next().unwrap());
    for number in 0..2 * DELETIONS {
        let cid = format!(r#""cid":"p{number}""#);
        let message = format!(r#"{{"action":"MESSAGE","receiver":["{to}"],"content":"x",{cid}}}"#);
        let posted = client.ask(&message, &cid).await;
        let posted: serde_json::Value = serde_json::from_str(&posted).unwrap();
        ids.push(posted["id"].as_str().unwrap().to_owned());
    }
    ids
}

/// All members delete their messages, one after the other, evenly over ten seconds.
async fn delete(members: &mut Vec<(Client, Vec<String>)>) -> Vec<Duration> {
    let mut deleting = JoinSet::new();
    for (first, (mut client, mut messages)) in (0..).step_by(2).zip(members.drain(..)) {
        deleting.spawn_local(async move {
            let delete = async |number: u32| {
                let (id, cid) = (messages.pop().unwrap(), format!(r#""cid":"d{number}""#));
                let delete = format!(r#"{{"action":"DELETE","content":"{id}",{cid}}}"#);
                client.ask(&delete, &cid).await;
            };
            let latencies = every(Duration::from_millis(first), 200, DELETIONS, delete).await;
            ((client, messages), latencies)
        });
    }
    let mut all = Vec::new();
    for (member, latencies) in deleting.join_all().await {
        members.push(member);
        all.extend(latencies);
    }
    all
}

/// Does something at regular times from `first` on, and returns how long after each time it was done.
async fn every(
    first: Duration,
    millis: u64,
    count: u32,
    mut act: impl AsyncFnMut(u32),
) -> Vec<Duration> {
    let start = Instant::now() + first;
    let mut latencies = Vec::new();
    for number in 0..count {
        let due = start + Duration::from_millis(millis) * number;
        sleep_until(due.into()).await;
        act(number).await;
        latencies.push(due.elapsed());
    }
    latencies
}

/// Asks for a lot until `is_over`.
fn interfere(contention: Contention, target: &Target, is_over: &AtomicBool) {
    let goes_on = || !is_over.load(Ordering::Relaxed);
    let key = target.key();
    LocalSet::new().block_on(&runtime(), async {
        let mut first = Client::join(target, Arc::clone(&key), "Mallory").await;
        match contention {
            Contention::SearchAndDelete => search(&mut first, "zebra", goes_on).await,
            Contention::Reading => {
                for _ in 0..HEAVY_MESSAGES {
                    first.ask(&heavy_message(), r#""sender":"Mallory"#).await;
                }
                let resume = format!(r#","after":0,"epoch":"{}""#, first.epoch);
                let pages = (0..CONNECTIONS - 4).map(|_| ask_for_pages(target, &key, goes_on));
                let resumes = (0..3).map(|_| resume_all(target, &key, &resume, goes_on));
                tokio::join!(
                    search(&mut first, SLOW_PATTERN, goes_on),
                    futures_util::future::join_all(pages),
                    futures_util::future::join_all(resumes),
                );
            }
        }
    });
}

async fn search(client: &mut Client, pattern: &str, goes_on: impl Fn() -> bool) {
    let search = format!(r#"{{"action":"SEARCH","content":"{pattern}","cid":"s"}}"#);
    while goes_on() {
        let mut found = client.ask(&search, r#""FOUND""#).await;
        while found.contains(r#""end":"searching""#) {
            found = client.wait_for(r#""FOUND""#).await;
        }
    }
}

/// Asks for the latest messages, which are all heavy, with two requests under way.
async fn ask_for_pages(target: &Target, key: &Arc<ClientConfig>, goes_on: impl Fn() -> bool) {
    let mut client = Client::join(target, Arc::clone(key), "Mallory").await;
    let ask = format!(r#"{{"action":"HISTORY","before":{},"cid":"h"}}"#, client.head + 1);
    client.send(&ask).await;
    while goes_on() {
        client.ask(&ask, r#""HISTORY""#).await;
    }
}

/// Connects and gets everything, again and again.
async fn resume_all(
    target: &Target,
    key: &Arc<ClientConfig>,
    resume: &str,
    goes_on: impl Fn() -> bool,
) {
    while goes_on() {
        let mut client = Client::connect(target, Arc::clone(key)).await;
        client.log_in("Mallory", resume).await;
        client.wait_for(r#""LIVE""#).await;
    }
}
