//! Connection limits: how many connections may be open, in total and per address, how many may be in
//! their TLS handshake, and how often an address may connect.
//!
//! [`ConnectionTable`] decides, with the time as an input. [`ConnectionLimiter`] shares it: a connection
//! holds a [`Permit`], and dropping the permit releases its share. The client's key and ID are not known
//! at this point.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::limits::{
    CONNECTION_RATE, HANDSHAKE_EVICTION_AGE, HANDSHAKES_PER_ADDRESS, MAX_CONNECTIONS,
    MAX_HANDSHAKES, TRACKED_ADDRESSES,
};
use crate::protocol::rate::TokenBucket;
use crate::store::client_network;

/// What to do with a connection that gets a [`Permit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionDecision {
    Accept,
    /// Its address has too many connections. It is refused with a reason after the TLS handshake.
    Refuse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ConnectionId(u64);

/// The open connections.
#[derive(Debug)]
struct ConnectionTable {
    /// `None` turns the limits per address off.
    connections_per_address: Option<u32>,
    next_id: u64,
    connections: usize,
    /// Oldest first.
    handshakes: BTreeMap<ConnectionId, Handshake>,
    networks: HashMap<IpNet, NetworkActivity>,
}

#[derive(Debug)]
struct Handshake {
    since: Instant,
    network: Option<IpNet>,
    evicted: CancellationToken,
}

/// What the clients of one network do, and did recently.
#[derive(Debug, Default)]
struct NetworkActivity {
    connections: u32,
    handshakes: u32,
    new_connections: TokenBucket,
}

/// The network whose limits apply to `address`. `None` for this machine itself, which has none.
fn limited_network(address: IpAddr) -> Option<IpNet> {
    (!address.to_canonical().is_loopback()).then(|| client_network(address))
}

impl ConnectionTable {
    /// Decides on a new connection. Returns `None` to drop it silently.
    fn decide(&mut self, now: Instant, network: Option<IpNet>) -> Option<ConnectionDecision> {
        let decision = match network.zip(self.connections_per_address) {
            None => ConnectionDecision::Accept,
            Some((network, limit)) => {
                self.prune_networks(now);
                let activity = self.networks.entry(network).or_default();
                let in_rate = activity.new_connections.try_take(CONNECTION_RATE, now.into_std());
                if !in_rate || activity.handshakes >= HANDSHAKES_PER_ADDRESS {
                    return None;
                }
                if activity.connections < limit {
                    ConnectionDecision::Accept
                } else {
                    ConnectionDecision::Refuse
                }
            }
        };
        // Checked last: a connection over the limits of its address must not evict another's handshake.
        let has_room = self.connections < MAX_CONNECTIONS && self.make_room_for_handshake(now);
        has_room.then_some(decision)
    }

    /// Whether there is room for a handshake. If there is none, evicts the oldest handshake, unless it
    /// is younger than [`HANDSHAKE_EVICTION_AGE`].
    fn make_room_for_handshake(&mut self, now: Instant) -> bool {
        if self.handshakes.len() < MAX_HANDSHAKES {
            return true;
        }
        match self.handshakes.first_key_value() {
            Some((oldest, handshake)) if now >= handshake.since + HANDSHAKE_EVICTION_AGE => {
                let oldest = *oldest;
                handshake.evicted.cancel();
                self.handshake_done(oldest);
                true
            }
            Some(_) | None => false,
        }
    }

    fn register(
        &mut self,
        now: Instant,
        network: Option<IpNet>,
    ) -> (ConnectionId, CancellationToken) {
        let id = ConnectionId(self.next_id);
        self.next_id += 1;
        self.connections += 1;
        if let Some(activity) = network.and_then(|network| self.networks.get_mut(&network)) {
            activity.connections += 1;
            activity.handshakes += 1;
        }
        let evicted = CancellationToken::new();
        let handshake = Handshake { since: now, network, evicted: evicted.clone() };
        self.handshakes.insert(id, handshake);
        (id, evicted)
    }

    /// A handshake ended, or was evicted.
    fn handshake_done(&mut self, id: ConnectionId) {
        let handshake = self.handshakes.remove(&id);
        let network = handshake.and_then(|handshake| handshake.network);
        if let Some(activity) = network.and_then(|network| self.networks.get_mut(&network)) {
            activity.handshakes -= 1;
        }
    }

    fn unregister(&mut self, id: ConnectionId, network: Option<IpNet>) {
        self.handshake_done(id);
        self.connections -= 1;
        if let Some(activity) = network.and_then(|network| self.networks.get_mut(&network)) {
            activity.connections -= 1;
        }
    }

    /// Keeps the number of networks below [`TRACKED_ADDRESSES`]. Networks with open connections stay.
    fn prune_networks(&mut self, now: Instant) {
        if self.networks.len() < TRACKED_ADDRESSES {
            return;
        }
        let is_new = |activity: &NetworkActivity| activity.new_connections.is_full(now.into_std());
        self.networks.retain(|_, activity| activity.connections > 0 || !is_new(activity));
        // So many recent networks are an attack: their rate limits are worth less than the memory.
        if self.networks.len() > TRACKED_ADDRESSES / 2 {
            self.networks.retain(|_, activity| activity.connections > 0);
        }
    }
}

/// The connection limits, shared by all connections.
#[derive(Debug, Clone)]
pub(super) struct ConnectionLimiter(Arc<Mutex<ConnectionTable>>);

/// The right to one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    limiter: ConnectionLimiter,
    id: ConnectionId,
    network: Option<IpNet>,
    evicted: CancellationToken,
}

impl ConnectionLimiter {
    /// `None` turns the limits per address off; the total limits stay.
    pub(super) fn new(connections_per_address: Option<u32>) -> Self {
        Self(Arc::new(Mutex::new(ConnectionTable {
            connections_per_address,
            next_id: 0,
            connections: 0,
            handshakes: BTreeMap::new(),
            networks: HashMap::new(),
        })))
    }

    /// Returns a permit for a new connection, or `None` to drop the connection silently.
    pub(super) fn try_acquire(
        &self,
        now: Instant,
        peer: IpAddr,
    ) -> Option<(ConnectionDecision, Permit)> {
        let network = limited_network(peer);
        let mut table = self.table();
        let decision = table.decide(now, network)?;
        let (id, evicted) = table.register(now, network);
        Some((decision, Permit { limiter: self.clone(), id, network, evicted }))
    }

    fn table(&self) -> MutexGuard<'_, ConnectionTable> {
        // The table is consistent even if a holder of the lock panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Runs the TLS handshake. Returns `None` if it was evicted.
    pub(super) async fn run_handshake<T>(&self, handshake: impl Future<Output = T>) -> Option<T> {
        let result = self.evicted.run_until_cancelled(handshake).await;
        self.limiter.table().handshake_done(self.id);
        result
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limiter.table().unregister(self.id, self.network);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;
    use std::time::Duration;

    use super::*;
    use crate::server::limits::CONNECTIONS_PER_ADDRESS;
    use crate::server::tests::monotonic_now;

    fn limiter() -> ConnectionLimiter {
        ConnectionLimiter::new(Some(CONNECTIONS_PER_ADDRESS))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// A connection that has finished its handshake.
    fn connect(
        limiter: &ConnectionLimiter,
        now: Instant,
        peer: &str,
    ) -> Option<(ConnectionDecision, Permit)> {
        let (decision, permit) = limiter.try_acquire(now, ip(peer))?;
        limiter.table().handshake_done(permit.id);
        Some((decision, permit))
    }

    #[test]
    fn connections_are_limited_per_address() {
        // A /64 of IPv6 counts as one address, and an IPv4-mapped address as IPv4.
        for (one, same, other) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"),
            ("2001:db8::1", "2001:db8::ffff:1:2", "2001:db8:0:1::1"),
        ] {
            let (limiter, now) = (limiter(), monotonic_now());
            let mut permits = Vec::new();
            for _ in 0..CONNECTIONS_PER_ADDRESS {
                let (decision, permit) = connect(&limiter, now, one).unwrap();
                assert_eq!(decision, ConnectionDecision::Accept);
                permits.push(permit);
            }
            assert_eq!(
                connect(&limiter, now, same).unwrap().0,
                ConnectionDecision::Refuse,
                "{same}"
            );
            assert_eq!(
                connect(&limiter, now, other).unwrap().0,
                ConnectionDecision::Accept,
                "{other}"
            );
            permits.pop();
            assert_eq!(
                connect(&limiter, now, same).unwrap().0,
                ConnectionDecision::Accept,
                "one was closed"
            );
        }
    }

    #[test]
    fn new_connections_are_rate_limited_per_address() {
        let (limiter, now) = (limiter(), monotonic_now());
        for _ in 0..CONNECTION_RATE.burst {
            assert!(connect(&limiter, now, "192.0.2.1").is_some());
        }
        assert!(connect(&limiter, now, "192.0.2.1").is_none());
        assert!(connect(&limiter, now, "192.0.2.2").is_some());
        let later = now + Duration::from_secs(1);
        assert!(connect(&limiter, later, "192.0.2.1").is_some());
        assert!(connect(&limiter, later, "192.0.2.1").is_none());
    }

    #[test]
    fn handshakes_are_limited_per_address() {
        let (limiter, now) = (limiter(), monotonic_now());
        let permits: Vec<_> = (0..HANDSHAKES_PER_ADDRESS)
            .map(|_| limiter.try_acquire(now, ip("192.0.2.1")).unwrap())
            .collect();
        assert!(limiter.try_acquire(now, ip("192.0.2.1")).is_none());
        assert!(limiter.try_acquire(now, ip("192.0.2.2")).is_some());
        drop(permits);
        assert!(limiter.try_acquire(now, ip("192.0.2.1")).is_some());
    }

    #[test]
    fn loopback_is_exempt_from_address_limits() {
        for own in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            let (limiter, now) = (limiter(), monotonic_now());
            let permits: Vec<_> =
                (0..500).map(|_| limiter.try_acquire(now, ip(own)).unwrap()).collect();
            assert!(
                permits.iter().all(|(decision, _)| *decision == ConnectionDecision::Accept),
                "{own}"
            );
            assert!(limiter.table().networks.is_empty(), "{own}");
        }
    }

    #[test]
    fn oldest_handshake_is_evicted_after_its_guaranteed_time() {
        let (limiter, start) = (limiter(), monotonic_now());
        let permits: Vec<_> =
            (0..MAX_HANDSHAKES).map(|_| limiter.try_acquire(start, ip("::1")).unwrap().1).collect();
        assert!(limiter.try_acquire(start, ip("::1")).is_none(), "none is old enough to evict");
        let now = start + HANDSHAKE_EVICTION_AGE;
        let newest = limiter.try_acquire(now, ip("::1")).unwrap();
        let is_evicted = |permit: &Permit| permit.evicted.is_cancelled();
        assert!(is_evicted(&permits[0]) && !is_evicted(&permits[1]) && !is_evicted(&newest.1));
        assert_eq!(limiter.table().handshakes.len(), MAX_HANDSHAKES);
        drop((permits, newest));
        let table = limiter.table();
        assert_eq!((table.connections, table.handshakes.len()), (0, 0));
    }

    #[test]
    fn address_table_is_bounded() {
        let (limiter, start) = (limiter(), monotonic_now());
        let _connected = connect(&limiter, start, "192.0.2.1").unwrap();
        for number in 0..4 * u32::try_from(TRACKED_ADDRESSES).unwrap() {
            let peer = IpAddr::V6(Ipv6Addr::from_bits(u128::from(number) << 64 | 0x2001 << 112));
            let now = start + Duration::from_micros(number.into());
            if let Some((_, permit)) = limiter.try_acquire(now, peer) {
                limiter.table().handshake_done(permit.id);
            }
        }
        let networks = &limiter.table().networks;
        assert!(networks.len() <= TRACKED_ADDRESSES, "{}", networks.len());
        assert!(networks.contains_key(&client_network(ip("192.0.2.1"))));
    }
}
