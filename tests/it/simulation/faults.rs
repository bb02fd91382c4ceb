//! Random faults of the server, the clients and the network, and their repair.

use std::time::Duration;

use rand::RngExt as _;

use super::run::Simulation;

const SERVER: &str = "server";

/// A fault.
#[derive(Debug, Clone)]
enum Fault {
    /// The server process is killed; the operating system closes its connections.
    ServerKilled,
    /// The server host loses power: nothing closes its connections.
    ServerPowerLost,
    /// The server shuts down in order.
    ServerStopped,
    /// A client process is killed.
    ClientKilled(String),
    /// Packets between a client and the server are lost.
    Partitioned(String),
    /// Packets from the first host to the second are lost.
    PartitionedOneWay(String, String),
    /// Packets between a client and the server are held back.
    Delayed(String),
}

/// The active faults, each with the simulated time of its repair.
#[derive(Default)]
pub(super) struct FaultInjector(Vec<(Duration, Fault)>);

impl FaultInjector {
    /// Repairs the faults that are due, then injects a random one.
    pub(super) fn inject_random(&mut self, simulation: &mut Simulation) {
        let now = simulation.sim.elapsed();
        let (due, active): (Vec<_>, Vec<_>) =
            self.0.drain(..).partition(|(until, _)| *until <= now);
        self.0 = active;
        for (_, fault) in due {
            repair(simulation, fault);
        }
        let client = simulation.random_client();
        let fault = match simulation.rng.random_range(0..10) {
            0..2 => Fault::ServerKilled,
            2 => Fault::ServerPowerLost,
            3 => Fault::ServerStopped,
            4..6 => Fault::ClientKilled(client),
            6 => Fault::Partitioned(client),
            7 => Fault::PartitionedOneWay(client, SERVER.to_owned()),
            8 => Fault::PartitionedOneWay(SERVER.to_owned(), client),
            _ => Fault::Delayed(client),
        };
        apply(simulation, &fault);
        let duration = Duration::from_millis(simulation.rng.random_range(1..5_000));
        self.0.push((now + duration, fault));
    }

    /// Repairs all faults.
    pub(super) fn repair_all(&mut self, simulation: &mut Simulation) {
        for (_, fault) in self.0.drain(..) {
            repair(simulation, fault);
        }
    }
}

fn apply(simulation: &mut Simulation, fault: &Fault) {
    match fault {
        Fault::ServerKilled => simulation.sim.crash(SERVER),
        Fault::ServerPowerLost => {
            for client in Simulation::clients() {
                simulation.sim.partition(client, SERVER);
            }
            simulation.sim.crash(SERVER);
            for client in Simulation::clients() {
                simulation.sim.repair(client, SERVER);
            }
        }
        Fault::ServerStopped => simulation.stop_server(),
        Fault::ClientKilled(client) => simulation.sim.crash(client.as_str()),
        Fault::Partitioned(client) => simulation.sim.partition(client.as_str(), SERVER),
        Fault::PartitionedOneWay(from, to) => {
            simulation.sim.partition_oneway(from.as_str(), to.as_str());
        }
        Fault::Delayed(client) => simulation.sim.hold(client.as_str(), SERVER),
    }
}

fn repair(simulation: &mut Simulation, fault: Fault) {
    match fault {
        Fault::ServerKilled | Fault::ServerPowerLost | Fault::ServerStopped => {
            simulation.sim.bounce(SERVER);
        }
        Fault::ClientKilled(client) => simulation.sim.bounce(client.as_str()),
        Fault::Partitioned(client) => simulation.sim.repair(client.as_str(), SERVER),
        Fault::PartitionedOneWay(from, to) => {
            simulation.sim.repair_oneway(from.as_str(), to.as_str());
        }
        Fault::Delayed(client) => simulation.sim.release(client.as_str(), SERVER),
    }
}
