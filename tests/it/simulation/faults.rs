//! What happens to machines and cables, and when it is over.

use std::time::Duration;

use rand::RngExt as _;

use super::run::Simulation;

const SERVER: &str = "server";

/// What can happen.
#[derive(Debug, Clone)]
enum Fault {
    /// The server ends without a word, as by `kill -9`: the system hangs up for it.
    ServerKilled,
    /// Nothing hangs up: whoever was connected has to find out.
    ServerPowerLost,
    /// The server ends as it likes to.
    ServerStopped,
    /// A client's process ends without a word.
    ClientKilled(String),
    /// What is sent between a client and the server is lost.
    Partitioned(String),
    /// What is sent from the first to the second is lost.
    PartitionedOneWay(String, String),
    /// What is sent between a client and the server waits.
    Delayed(String),
}

/// What has happened and is not over, with the moment when it will be.
#[derive(Default)]
pub(super) struct FaultInjector(Vec<(Duration, Fault)>);

impl FaultInjector {
    /// Something happens, after all that is over by now.
    pub(super) fn inject_random(&mut self, world: &mut Simulation) {
        let now = world.sim.elapsed();
        let (over, on): (Vec<_>, Vec<_>) = self.0.drain(..).partition(|(until, _)| *until <= now);
        self.0 = on;
        for (_, blow) in over {
            repair(world, blow);
        }
        let client = world.random_client();
        let blow = match world.rng.random_range(0..10) {
            0..2 => Fault::ServerKilled,
            2 => Fault::ServerPowerLost,
            3 => Fault::ServerStopped,
            4..6 => Fault::ClientKilled(client),
            6 => Fault::Partitioned(client),
            7 => Fault::PartitionedOneWay(client, SERVER.to_owned()),
            8 => Fault::PartitionedOneWay(SERVER.to_owned(), client),
            _ => Fault::Delayed(client),
        };
        apply(world, &blow);
        let lasts = Duration::from_millis(world.rng.random_range(1..5_000));
        self.0.push((now + lasts, blow));
    }

    /// Everything is over.
    pub(super) fn repair_all(&mut self, world: &mut Simulation) {
        for (_, blow) in self.0.drain(..) {
            repair(world, blow);
        }
    }
}

fn apply(world: &mut Simulation, blow: &Fault) {
    match blow {
        Fault::ServerKilled => world.sim.crash(SERVER),
        Fault::ServerPowerLost => {
            for client in Simulation::clients() {
                world.sim.partition(client, SERVER);
            }
            world.sim.crash(SERVER);
            for client in Simulation::clients() {
                world.sim.repair(client, SERVER);
            }
        }
        Fault::ServerStopped => world.stop_server(),
        Fault::ClientKilled(client) => world.sim.crash(client.as_str()),
        Fault::Partitioned(client) => world.sim.partition(client.as_str(), SERVER),
        Fault::PartitionedOneWay(from, to) => {
            world.sim.partition_oneway(from.as_str(), to.as_str())
        }
        Fault::Delayed(client) => world.sim.hold(client.as_str(), SERVER),
    }
}

fn repair(world: &mut Simulation, blow: Fault) {
    match blow {
        Fault::ServerKilled | Fault::ServerPowerLost | Fault::ServerStopped => {
            world.sim.bounce(SERVER)
        }
        Fault::ClientKilled(client) => world.sim.bounce(client.as_str()),
        Fault::Partitioned(client) => world.sim.repair(client.as_str(), SERVER),
        Fault::PartitionedOneWay(from, to) => world.sim.repair_oneway(from.as_str(), to.as_str()),
        Fault::Delayed(client) => world.sim.release(client.as_str(), SERVER),
    }
}
