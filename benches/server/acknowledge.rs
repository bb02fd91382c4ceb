//! How long it takes until a message is on disk and its author knows, and how many a second can be.
//!
//! The time runs from the moment for which a message was appointed, whether or not its author came to
//! send it then, to the moment when the author has read its own copy, which the server sends after it
//! is on disk.

use std::time::Duration;

use super::load::{Load, Pace, To};
use super::support::Server;
use super::{line, memory, processor, report};

pub(super) fn run() {
    let pace = Pace::Steady { per_second: 2_000 };
    let steady = Load { clients: 200, to: To::OneOther, pace, lasts: Duration::from_secs(10) };
    measure("2,000 messages/s from 200, to one each", &steady, "2ms, 20ms");
    // 400,000 copies a second: what that takes depends on the clients as much as on the server.
    let loud = Load { to: To::Everybody, ..steady };
    measure("2,000 messages/s from 200, to all of them", &loud, "");
    let most = Load {
        clients: 1_000,
        to: To::OneOther,
        pace: Pace::UnderWay { each: 8 },
        lasts: Duration::from_secs(10),
    };
    measure("as many as 1,000 can send, 8 under way, to one each", &most, "10,000/s");
}

fn measure(what: &str, load: &Load, promised: &str) {
    let server = Server::start();
    let result = load.run(&server);
    let before = result.processor_before;
    let count = u32::try_from(result.times.len()).unwrap();
    let rate = f64::from(count) / result.took.as_secs_f64();
    let each = processor(&server).saturating_sub(before) / count;
    let (_, most) = memory(&server);
    report(what, result.times, promised);
    line("    acknowledged a second", &format!("{rate:.0}"), "");
    line("    processor time a message, all its copies included", &format!("{each:.1?}"), "");
    line("    memory at most", &format!("{most:.0} MiB"), "");
}
