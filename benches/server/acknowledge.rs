//! Latency of acknowledgements, and the maximum number of messages per second.
//!
//! A latency runs from the scheduled send time of a message, even if the client sends it later (so there is
//! no coordinated omission), until the author has read its own copy, which the server sends after the
//! message is on disk.

use std::time::Duration;

use super::load::{Load, Receiver, SendSchedule};
use super::support::TestServer;
use super::{cpu_time, memory, print_latencies, print_row};

pub(super) fn run() {
    let schedule = SendSchedule::FixedRate { per_second: 2_000 };
    let steady = Load {
        clients: 200,
        receiver: Receiver::OneOther,
        schedule,
        duration: Duration::from_secs(10),
    };
    measure("2,000 messages/s from 200 clients, one recipient each", &steady, "2ms, 20ms");
    // 400,000 deliveries/s: the result depends on the clients as much as on the server.
    let broadcast = Load { receiver: Receiver::Everyone, ..steady };
    measure("2,000 messages/s from 200 clients, to everyone", &broadcast, "");
    let max_throughput = Load {
        clients: 1_000,
        receiver: Receiver::OneOther,
        schedule: SendSchedule::ClosedLoop { in_flight: 8 },
        duration: Duration::from_secs(10),
    };
    measure("1,000 clients, 8 messages in flight each", &max_throughput, "10,000/s");
}

fn measure(label: &str, load: &Load, target: &str) {
    let server = TestServer::start();
    let result = load.run(&server);
    let before = result.cpu_time_before;
    let count = u32::try_from(result.latencies.len()).unwrap();
    let rate = f64::from(count) / result.elapsed.as_secs_f64();
    let per_message = cpu_time(&server).saturating_sub(before) / count;
    let (_, peak) = memory(&server);
    print_latencies(label, result.latencies, target);
    print_row("    acknowledged per second", &format!("{rate:.0}"), "");
    print_row(
        "    server CPU time per message, deliveries included",
        &format!("{per_message:.1?}"),
        "",
    );
    print_row("    peak memory", &format!("{peak:.0} MiB"), "");
}
