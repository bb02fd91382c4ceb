//! What happens to machines and cables, and when it is over.

use std::time::Duration;

use rand::RngExt as _;

use super::world::World;

const SERVER: &str = "server";

/// What can happen.
#[derive(Debug, Clone)]
enum Blow {
    /// The server ends without a word, as by `kill -9`: the system hangs up for it.
    Killed,
    /// Nothing hangs up: whoever was connected has to find out.
    PowerLost,
    /// The server ends as it likes to.
    Stopped,
    /// A client's process ends without a word.
    ClientKilled(String),
    /// What is sent between a client and the server is lost.
    CutOff(String),
    /// What is sent from the first to the second is lost.
    CutOffOneWay(String, String),
    /// What is sent between a client and the server waits.
    Held(String),
}

/// What has happened and is not over, with the moment when it will be.
#[derive(Default)]
pub(super) struct Fate(Vec<(Duration, Blow)>);

impl Fate {
    /// Something happens, after all that is over by now.
    pub(super) fn strike(&mut self, world: &mut World) {
        let now = world.sim.elapsed();
        let (over, on): (Vec<_>, Vec<_>) = self.0.drain(..).partition(|(until, _)| *until <= now);
        self.0 = on;
        for (_, blow) in over {
            heal(world, blow);
        }
        let client = world.some_client();
        let blow = match world.dice.random_range(0..10) {
            0..2 => Blow::Killed,
            2 => Blow::PowerLost,
            3 => Blow::Stopped,
            4..6 => Blow::ClientKilled(client),
            6 => Blow::CutOff(client),
            7 => Blow::CutOffOneWay(client, SERVER.to_owned()),
            8 => Blow::CutOffOneWay(SERVER.to_owned(), client),
            _ => Blow::Held(client),
        };
        begin(world, &blow);
        let lasts = Duration::from_millis(world.dice.random_range(1..5_000));
        self.0.push((now + lasts, blow));
    }

    /// Everything is over.
    pub(super) fn relent(&mut self, world: &mut World) {
        for (_, blow) in self.0.drain(..) {
            heal(world, blow);
        }
    }
}

fn begin(world: &mut World, blow: &Blow) {
    match blow {
        Blow::Killed => world.sim.crash(SERVER),
        Blow::PowerLost => {
            for client in World::clients() {
                world.sim.partition(client, SERVER);
            }
            world.sim.crash(SERVER);
            for client in World::clients() {
                world.sim.repair(client, SERVER);
            }
        }
        Blow::Stopped => world.stop_server(),
        Blow::ClientKilled(client) => world.sim.crash(client.as_str()),
        Blow::CutOff(client) => world.sim.partition(client.as_str(), SERVER),
        Blow::CutOffOneWay(from, to) => world.sim.partition_oneway(from.as_str(), to.as_str()),
        Blow::Held(client) => world.sim.hold(client.as_str(), SERVER),
    }
}

fn heal(world: &mut World, blow: Blow) {
    match blow {
        Blow::Killed | Blow::PowerLost | Blow::Stopped => world.sim.bounce(SERVER),
        Blow::ClientKilled(client) => world.sim.bounce(client.as_str()),
        Blow::CutOff(client) => world.sim.repair(client.as_str(), SERVER),
        Blow::CutOffOneWay(from, to) => world.sim.repair_oneway(from.as_str(), to.as_str()),
        Blow::Held(client) => world.sim.release(client.as_str(), SERVER),
    }
}
