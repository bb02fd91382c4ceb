//! How long it takes until a message is on disk and its author knows, and how many a second can be.
//!
//! The time runs from the moment for which a message was appointed, whether or not its author came to
//! send it then, to the moment when the author has read its own copy, which the server sends after it
//! is on disk.

use std::time::Duration;

use super::load::{Load, Receiver, SendSchedule};
use super::support::Server;
use super::{cpu_time, memory, print_latencies, print_row};

pub(super) fn run() {
    let pace = SendSchedule::FixedRate { per_second: 2_000 };
    let steady = Load {
        clients: 200,
        receiver: Receiver::OneOther,
        schedule: pace,
        duration: Duration::from_secs(10),
    };
    measure("2,000 messages/s from 200, to one each", &steady, "2ms, 20ms");
    // 400,000 copies a second: what that takes depends on the clients as much as on the server.
    let loud = Load { receiver: Receiver::Everyone, ..steady };
    measure("2,000 messages/s from 200, to all of them", &loud, "");
    let most = Load {
        clients: 1_000,
        receiver: Receiver::OneOther,
        schedule: SendSchedule::ClosedLoop { in_flight: 8 },
        duration: Duration::from_secs(10),
    };
    measure("as many as 1,000 can send, 8 under way, to one each", &most, "10,000/s");
}

fn measure(label: &str, load: &Load, target: &str) {
    let server = Server::start();
    let result = load.run(&server);
    let before = result.cpu_time_before;
    let count = u32::try_from(result.latencies.len()).unwrap();
    let rate = f64::from(count) / result.elapsed.as_secs_f64();
    let each = cpu_time(&server).saturating_sub(before) / count;
    let (_, most) = memory(&server);
    print_latencies(label, result.latencies, target);
    print_row("    acknowledged a second", &format!("{rate:.0}"), "");
    print_row("    processor time a message, all its copies included", &format!("{each:.1?}"), "");
    print_row("    memory at most", &format!("{most:.0} MiB"), "");
}
