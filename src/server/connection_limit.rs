//! Who may connect: how many at once, from one address and in all, and how often.
//!
//! [`Admission`] decides, and is told the time. [`Door`] keeps it for the acceptor: whoever is let in
//! holds a [`Place`], and gives it back by dropping it. Who somebody is, nobody knows here yet.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::limits::{
    CONNECTION_RATE, HANDSHAKE_EVICTION_AGE, HANDSHAKES_PER_ADDRESS, MAX_CONNECTIONS,
    MAX_HANDSHAKES, TRACKED_ADDRESSES,
};
use crate::protocol::rate::TokenBucket;

/// What one party is taken to have for itself: an address, or a /64 of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Network(Ipv6Addr);

impl Network {
    /// Of this address; nothing for this machine's own, which has no limits.
    pub(super) fn of(address: IpAddr) -> Option<Self> {
        let address = address.to_canonical();
        if address.is_loopback() {
            return None;
        }
        Some(Self(match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)
            }
        }))
    }
}

/// What becomes of a connection that is not dropped without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionDecision {
    /// It may come in.
    Accept,
    /// Its address has as many already. It is told so, after its handshake.
    Refuse,
}

/// A connection, as it is numbered here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ConnectionId(u64);

/// What is connected, and what is about to be.
#[derive(Debug)]
struct ConnectionTable {
    connections_per_address: Option<u32>,
    next_id: u64,
    connections: usize,
    /// In the order in which they began.
    handshakes: BTreeMap<ConnectionId, Handshake>,
    networks: HashMap<Network, NetworkActivity>,
}

#[derive(Debug)]
struct Handshake {
    since: Instant,
    network: Option<Network>,
    evicted: CancellationToken,
}

/// What an address does, and did lately.
#[derive(Debug, Default)]
struct NetworkActivity {
    connections: u32,
    handshakes: u32,
    new_connections: TokenBucket,
}

impl ConnectionTable {
    /// Nothing for a connection that is to be dropped.
    fn decide(&mut self, now: Instant, network: Option<Network>) -> Option<ConnectionDecision> {
        let verdict = match network.zip(self.connections_per_address) {
            None => ConnectionDecision::Accept,
            Some((network, per_address)) => {
                self.prune_networks(now);
                let lately = self.networks.entry(network).or_default();
                let begins = lately.new_connections.try_take(CONNECTION_RATE, now.into_std());
                if !begins || lately.handshakes >= HANDSHAKES_PER_ADDRESS {
                    return None;
                }
                if lately.connections < per_address {
                    ConnectionDecision::Accept
                } else {
                    ConnectionDecision::Refuse
                }
            }
        };
        // What was too much for one address takes nothing from the others.
        let has_room = self.connections < MAX_CONNECTIONS && self.make_room_for_handshake(now);
        has_room.then_some(verdict)
    }

    /// Whether there is room for a handshake: the oldest gives way, if it is old enough.
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
        network: Option<Network>,
    ) -> (ConnectionId, CancellationToken) {
        let number = ConnectionId(self.next_id);
        self.next_id += 1;
        self.connections += 1;
        if let Some(lately) = network.and_then(|network| self.networks.get_mut(&network)) {
            lately.connections += 1;
            lately.handshakes += 1;
        }
        let gives_way = CancellationToken::new();
        let handshake = Handshake { since: now, network, evicted: gives_way.clone() };
        self.handshakes.insert(number, handshake);
        (number, gives_way)
    }

    /// A handshake is over, or given up.
    fn handshake_done(&mut self, number: ConnectionId) {
        let handshake = self.handshakes.remove(&number);
        let network = handshake.and_then(|handshake| handshake.network);
        if let Some(lately) = network.and_then(|network| self.networks.get_mut(&network)) {
            lately.handshakes -= 1;
        }
    }

    fn unregister(&mut self, number: ConnectionId, network: Option<Network>) {
        self.handshake_done(number);
        self.connections -= 1;
        if let Some(lately) = network.and_then(|network| self.networks.get_mut(&network)) {
            lately.connections -= 1;
        }
    }

    /// Makes room in the table of addresses. Those that are connected stay in it.
    fn prune_networks(&mut self, now: Instant) {
        if self.networks.len() < TRACKED_ADDRESSES {
            return;
        }
        let is_new = |lately: &NetworkActivity| lately.new_connections.is_full(now.into_std());
        self.networks.retain(|_, lately| lately.connections > 0 || !is_new(lately));
        // So many at once are no people: what they did lately is worth less than the memory.
        if self.networks.len() > TRACKED_ADDRESSES / 2 {
            self.networks.retain(|_, lately| lately.connections > 0);
        }
    }
}

/// The way in.
#[derive(Debug, Clone)]
pub(super) struct ConnectionLimiter(Arc<Mutex<ConnectionTable>>);

/// What a connection takes, from its beginning to its end.
#[derive(Debug)]
pub(super) struct Permit {
    limiter: ConnectionLimiter,
    id: ConnectionId,
    network: Option<Network>,
    evicted: CancellationToken,
}

impl ConnectionLimiter {
    /// Nobody is in, and one address may have so many connections.
    pub(super) fn new(per_address: Option<u32>) -> Self {
        Self(Arc::new(Mutex::new(ConnectionTable {
            connections_per_address: per_address,
            next_id: 0,
            connections: 0,
            handshakes: BTreeMap::new(),
            networks: HashMap::new(),
        })))
    }

    /// Somebody knocks: a place, and whether it is one to stay. Nothing: not a word is left for them.
    pub(super) fn try_acquire(
        &self,
        now: Instant,
        peer: IpAddr,
    ) -> Option<(ConnectionDecision, Permit)> {
        let network = Network::of(peer);
        let mut admission = self.table();
        let verdict = admission.decide(now, network)?;
        let (number, gives_way) = admission.register(now, network);
        Some((verdict, Permit { limiter: self.clone(), id: number, network, evicted: gives_way }))
    }

    fn table(&self) -> MutexGuard<'_, ConnectionTable> {
        // Nothing in here can panic half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Does the handshake; nothing if it has to give way to somebody newer.
    pub(super) async fn run_handshake<T>(&self, handshake: impl Future<Output = T>) -> Option<T> {
        let shaken = self.evicted.run_until_cancelled(handshake).await;
        self.limiter.table().handshake_done(self.id);
        shaken
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limiter.table().unregister(self.id, self.network);
    }
}

#[cfg(test)]
mod tests {
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

    /// Somebody who is through with the handshake.
    fn connect(
        door: &ConnectionLimiter,
        now: Instant,
        peer: &str,
    ) -> Option<(ConnectionDecision, Permit)> {
        let (verdict, place) = door.try_acquire(now, ip(peer))?;
        door.table().handshake_done(place.id);
        Some((verdict, place))
    }

    #[test]
    fn connections_are_limited_per_address() {
        // An IPv6 network is one address, and an IPv4 address in IPv6 is itself.
        for (one, same, other) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"),
            ("2001:db8::1", "2001:db8::ffff:1:2", "2001:db8:0:1::1"),
        ] {
            let (door, now) = (limiter(), monotonic_now());
            let mut places = Vec::new();
            for _ in 0..CONNECTIONS_PER_ADDRESS {
                let (verdict, place) = connect(&door, now, one).unwrap();
                assert_eq!(verdict, ConnectionDecision::Accept);
                places.push(place);
            }
            assert_eq!(connect(&door, now, same).unwrap().0, ConnectionDecision::Refuse, "{same}");
            assert_eq!(
                connect(&door, now, other).unwrap().0,
                ConnectionDecision::Accept,
                "{other}"
            );
            places.pop();
            assert_eq!(
                connect(&door, now, same).unwrap().0,
                ConnectionDecision::Accept,
                "a place is free"
            );
        }
    }

    #[test]
    fn new_connections_are_rate_limited_per_address() {
        let (door, now) = (limiter(), monotonic_now());
        for _ in 0..CONNECTION_RATE.burst {
            assert!(connect(&door, now, "192.0.2.1").is_some());
        }
        assert!(connect(&door, now, "192.0.2.1").is_none());
        assert!(connect(&door, now, "192.0.2.2").is_some());
        let later = now + Duration::from_secs(1);
        assert!(connect(&door, later, "192.0.2.1").is_some());
        assert!(connect(&door, later, "192.0.2.1").is_none());
    }

    #[test]
    fn handshakes_are_limited_per_address() {
        let (door, now) = (limiter(), monotonic_now());
        let places: Vec<_> = (0..HANDSHAKES_PER_ADDRESS)
            .map(|_| door.try_acquire(now, ip("192.0.2.1")).unwrap())
            .collect();
        assert!(door.try_acquire(now, ip("192.0.2.1")).is_none());
        assert!(door.try_acquire(now, ip("192.0.2.2")).is_some());
        drop(places);
        assert!(door.try_acquire(now, ip("192.0.2.1")).is_some());
    }

    #[test]
    fn loopback_is_exempt_from_address_limits() {
        for own in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            let (door, now) = (limiter(), monotonic_now());
            let places: Vec<_> =
                (0..500).map(|_| door.try_acquire(now, ip(own)).unwrap()).collect();
            assert!(
                places.iter().all(|(verdict, _)| *verdict == ConnectionDecision::Accept),
                "{own}"
            );
            assert!(door.table().networks.is_empty(), "{own}");
        }
    }

    #[test]
    fn oldest_handshake_is_evicted_after_its_guaranteed_time() {
        let (door, start) = (limiter(), monotonic_now());
        let places: Vec<_> =
            (0..MAX_HANDSHAKES).map(|_| door.try_acquire(start, ip("::1")).unwrap().1).collect();
        assert!(door.try_acquire(start, ip("::1")).is_none(), "all are young");
        let now = start + HANDSHAKE_EVICTION_AGE;
        let newcomer = door.try_acquire(now, ip("::1")).unwrap();
        let gave_way = |place: &Permit| place.evicted.is_cancelled();
        assert!(gave_way(&places[0]) && !gave_way(&places[1]) && !gave_way(&newcomer.1));
        assert_eq!(door.table().handshakes.len(), MAX_HANDSHAKES);
        drop((places, newcomer));
        let admission = door.table();
        assert_eq!((admission.connections, admission.handshakes.len()), (0, 0));
    }

    #[test]
    fn address_table_is_bounded() {
        let (door, start) = (limiter(), monotonic_now());
        let _stays = connect(&door, start, "192.0.2.1").unwrap();
        for number in 0..4 * u32::try_from(TRACKED_ADDRESSES).unwrap() {
            let peer = IpAddr::V6(Ipv6Addr::from_bits(u128::from(number) << 64 | 0x2001 << 112));
            let now = start + Duration::from_micros(number.into());
            if let Some((_, place)) = door.try_acquire(now, peer) {
                door.table().handshake_done(place.id);
            }
        }
        let known = &door.table().networks;
        assert!(known.len() <= TRACKED_ADDRESSES, "{}", known.len());
        assert!(known.contains_key(&Network::of(ip("192.0.2.1")).unwrap()));
    }
}
