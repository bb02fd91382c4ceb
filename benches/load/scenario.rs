//! The scenarios: a table of loads, and of members beside one that asks for a lot.

use std::time::Duration;

use super::server::Server;

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) work: Work,
    /// The columns of its table; the first is compared with the bare server.
    pub(crate) columns: &'static [&'static str],
}

#[derive(Clone, Copy)]
pub(crate) enum Work {
    Load(Load),
    Contention(Contention),
}

/// What one member does beside those that are measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contention {
    /// Heavy pages, resumes and slow searches, beside pages, resumes and messages.
    Reading,
    /// Searches of a million messages, beside a hundred members who delete.
    SearchAndDelete,
}

/// Members that connect, and what they send.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) members: usize,
    pub(crate) senders: usize,
    pub(crate) schedule: Schedule,
    pub(crate) recipients: Recipients,
    /// How long messages are sent.
    pub(crate) duration: Duration,
    pub(crate) pause: Option<Pause>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schedule {
    /// Nothing is sent.
    Idle,
    /// Closed loop: so many messages are under way at once. With one recipient: for each sender.
    InFlight(u64),
    /// Open loop: so many messages a second, whatever the server does. A latency counts from the time a
    /// message was due, not from when it could be sent, so nothing is omitted while the server is slow.
    PerSecond(u32),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recipients {
    Everyone,
    /// A room of which all are members.
    Room,
    /// One other member. A latency counts until the author has its own copy: the acknowledgement.
    OneOther,
}

/// Half of the members stop reading.
#[derive(Clone, Copy)]
pub(crate) struct Pause {
    pub(crate) starts_after: Duration,
    pub(crate) lasts: Duration,
}

impl Load {
    /// The members that never stop reading.
    pub(crate) fn reading_members(&self) -> usize {
        if self.pause.is_some() { self.members / 2 } else { self.members }
    }
}

impl Scenario {
    /// IRC and NATS have no acknowledgements, and the bare server stores nothing. All servers but `chat`
    /// have one room in every scenario.
    pub(crate) fn applies_to(&self, server: Server) -> bool {
        let Work::Load(load) = self.work else { return server == Server::Chat };
        load.recipients == Recipients::Everyone || server == Server::Chat
    }
}

const FANOUT: &[&str] = &[
    "cpu_us_per_delivery",
    "deliveries_per_s",
    "latency_p50_ms",
    "latency_p99_ms",
    "bytes_per_delivery",
    "peak_mib",
    "lost",
];
const LATENCY: &[&str] =
    &["latency_p50_ms", "latency_p99_ms", "latency_max_ms", "cpu_us_per_delivery", "lost"];
const LOGIN: &[&str] = &["login_cpu_ms", "logins_per_s", "kib_per_connection", "closed"];
const ACKNOWLEDGED: &[&str] =
    &["acknowledged_per_s", "latency_p50_ms", "latency_p99_ms", "peak_mib", "lost"];
const PAUSE: &[&str] = &[
    "cpu_ratio_with_pause",
    "rate_of_others",
    "catch_up_s",
    "cpu_us_per_delivery",
    "lost",
    "closed",
    "peak_mib",
];

const FAIRNESS: &[&str] = &[
    "page_p99_ms",
    "page_p99_ms_beside",
    "page_max_ms_beside",
    "resume_p99_ms",
    "resume_p99_ms_beside",
    "resume_max_ms_beside",
    "ack_p99_ms",
    "ack_p99_ms_beside",
    "ack_max_ms_beside",
    "server_cpu_share_beside",
];
const DELETIONS: &[&str] =
    &["ack_p50_ms", "ack_p50_ms_beside", "ack_p99_ms", "ack_p99_ms_beside", "ack_max_ms_beside"];

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("fanout-64", "100 members, 64 messages in flight", fanout(100, 64), FANOUT),
    scenario("fanout-256", "100 members, 256 messages in flight", fanout(100, 256), FANOUT),
    scenario("fanout-1024", "100 members, 1,024 messages in flight", fanout(100, 1_024), FANOUT),
    scenario("fanout-4096", "100 members, 4,096 messages in flight", fanout(100, 4_096), FANOUT),
    scenario(
        "fanout-room",
        "fanout-64 in a room that all 100 have joined",
        Load { recipients: Recipients::Room, ..fanout(100, 64) },
        FANOUT,
    ),
    scenario("fanout-crowd", "1,000 members, 64 messages in flight", fanout(1_000, 64), FANOUT),
    scenario(
        "latency",
        "100 members, 50 messages a second",
        everyone(100, Schedule::PerSecond(50), 7),
        LATENCY,
    ),
    scenario(
        "login",
        "10,000 members log in and stay idle",
        everyone(10_000, Schedule::Idle, 0),
        LOGIN,
    ),
    scenario(
        "acknowledged",
        "1,000 senders, 8 messages in flight each, one recipient each",
        one_other(1_000, Schedule::InFlight(8)),
        ACKNOWLEDGED,
    ),
    scenario(
        "acknowledged-paced",
        "200 senders, 2,000 messages a second in all, one recipient each",
        one_other(200, Schedule::PerSecond(2_000)),
        ACKNOWLEDGED,
    ),
    scenario(
        "pause",
        "100 members, 64 messages in flight; half stop reading for 5 s and come back",
        Load { pause: Some(PAUSE_OF_HALF), ..everyone(100, Schedule::InFlight(64), 15) },
        PAUSE,
    ),
    Scenario {
        name: "fairness",
        about: "a member with 16 connections asks for heavy pages, resumes and slow searches",
        work: Work::Contention(Contention::Reading),
        columns: FAIRNESS,
    },
    Scenario {
        name: "search-and-delete",
        about: "100 members delete 500 messages a second; a member searches a million",
        work: Work::Contention(Contention::SearchAndDelete),
        columns: DELETIONS,
    },
];

const PAUSE_OF_HALF: Pause =
    Pause { starts_after: Duration::from_secs(5), lasts: Duration::from_secs(5) };

const fn scenario(
    name: &'static str,
    about: &'static str,
    load: Load,
    columns: &'static [&'static str],
) -> Scenario {
    Scenario { name, about, work: Work::Load(load), columns }
}

const fn fanout(members: usize, in_flight: u64) -> Load {
    everyone(members, Schedule::InFlight(in_flight), 4)
}

/// Four of the members send to everyone.
const fn everyone(members: usize, schedule: Schedule, seconds: u64) -> Load {
    let duration = Duration::from_secs(seconds);
    Load { members, senders: 4, schedule, recipients: Recipients::Everyone, duration, pause: None }
}

const fn one_other(members: usize, schedule: Schedule) -> Load {
    let load = everyone(members, schedule, 10);
    Load { senders: members, recipients: Recipients::OneOther, ..load }
}
