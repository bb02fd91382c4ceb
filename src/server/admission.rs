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
    ADDRESSES, BEGINNINGS, CONNECTIONS, HANDSHAKE_SURE, HANDSHAKES, HANDSHAKES_PER_ADDRESS,
};
use crate::protocol::rate::Bucket;

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
pub(super) enum Verdict {
    /// It may come in.
    Enter,
    /// Its address has as many already. It is told so, after its handshake.
    Refuse,
}

/// A connection, as it is numbered here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Number(u64);

/// What is connected, and what is about to be.
#[derive(Debug)]
struct Admission {
    per_address: Option<u32>,
    next: u64,
    connections: usize,
    /// In the order in which they began.
    handshakes: BTreeMap<Number, Handshake>,
    networks: HashMap<Network, Lately>,
}

#[derive(Debug)]
struct Handshake {
    since: Instant,
    network: Option<Network>,
    gives_way: CancellationToken,
}

/// What an address does, and did lately.
#[derive(Debug, Default)]
struct Lately {
    connections: u32,
    handshakes: u32,
    begun: Bucket,
}

impl Admission {
    /// Nothing for a connection that is to be dropped.
    fn judge(&mut self, now: Instant, network: Option<Network>) -> Option<Verdict> {
        let verdict = match network.zip(self.per_address) {
            None => Verdict::Enter,
            Some((network, per_address)) => {
                self.forget(now);
                let lately = self.networks.entry(network).or_default();
                let begins = lately.begun.try_take(BEGINNINGS, now.into_std());
                if !begins || lately.handshakes >= HANDSHAKES_PER_ADDRESS {
                    return None;
                }
                if lately.connections < per_address { Verdict::Enter } else { Verdict::Refuse }
            }
        };
        // What was too much for one address takes nothing from the others.
        let has_room = self.connections < CONNECTIONS && self.make_way(now);
        has_room.then_some(verdict)
    }

    /// Whether there is room for a handshake: the oldest gives way, if it is old enough.
    fn make_way(&mut self, now: Instant) -> bool {
        if self.handshakes.len() < HANDSHAKES {
            return true;
        }
        match self.handshakes.first_key_value() {
            Some((oldest, handshake)) if now >= handshake.since + HANDSHAKE_SURE => {
                let oldest = *oldest;
                handshake.gives_way.cancel();
                self.shaken(oldest);
                true
            }
            Some(_) | None => false,
        }
    }

    fn enter(&mut self, now: Instant, network: Option<Network>) -> (Number, CancellationToken) {
        let number = Number(self.next);
        self.next += 1;
        self.connections += 1;
        if let Some(lately) = network.and_then(|network| self.networks.get_mut(&network)) {
            lately.connections += 1;
            lately.handshakes += 1;
        }
        let gives_way = CancellationToken::new();
        let handshake = Handshake { since: now, network, gives_way: gives_way.clone() };
        self.handshakes.insert(number, handshake);
        (number, gives_way)
    }

    /// A handshake is over, or given up.
    fn shaken(&mut self, number: Number) {
        let handshake = self.handshakes.remove(&number);
        let network = handshake.and_then(|handshake| handshake.network);
        if let Some(lately) = network.and_then(|network| self.networks.get_mut(&network)) {
            lately.handshakes -= 1;
        }
    }

    fn leave(&mut self, number: Number, network: Option<Network>) {
        self.shaken(number);
        self.connections -= 1;
        if let Some(lately) = network.and_then(|network| self.networks.get_mut(&network)) {
            lately.connections -= 1;
        }
    }

    /// Makes room in the table of addresses. Those that are connected stay in it.
    fn forget(&mut self, now: Instant) {
        if self.networks.len() < ADDRESSES {
            return;
        }
        let is_new = |lately: &Lately| lately.begun.is_full(now.into_std());
        self.networks.retain(|_, lately| lately.connections > 0 || !is_new(lately));
        // So many at once are no people: what they did lately is worth less than the memory.
        if self.networks.len() > ADDRESSES / 2 {
            self.networks.retain(|_, lately| lately.connections > 0);
        }
    }
}

/// The way in.
#[derive(Debug, Clone)]
pub(super) struct Door(Arc<Mutex<Admission>>);

/// What a connection takes, from its beginning to its end.
#[derive(Debug)]
pub(super) struct Place {
    door: Door,
    number: Number,
    network: Option<Network>,
    gives_way: CancellationToken,
}

impl Door {
    /// Nobody is in, and one address may have so many connections.
    pub(super) fn new(per_address: Option<u32>) -> Self {
        Self(Arc::new(Mutex::new(Admission {
            per_address,
            next: 0,
            connections: 0,
            handshakes: BTreeMap::new(),
            networks: HashMap::new(),
        })))
    }

    /// Somebody knocks: a place, and whether it is one to stay. Nothing: not a word is left for them.
    pub(super) fn knock(&self, now: Instant, peer: IpAddr) -> Option<(Verdict, Place)> {
        let network = Network::of(peer);
        let mut admission = self.admission();
        let verdict = admission.judge(now, network)?;
        let (number, gives_way) = admission.enter(now, network);
        Some((verdict, Place { door: self.clone(), number, network, gives_way }))
    }

    fn admission(&self) -> MutexGuard<'_, Admission> {
        // Nothing in here can panic half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Does the handshake; nothing if it has to give way to somebody newer.
    pub(super) async fn shake<T>(&self, handshake: impl Future<Output = T>) -> Option<T> {
        let shaken = self.gives_way.run_until_cancelled(handshake).await;
        self.door.admission().shaken(self.number);
        shaken
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.door.admission().leave(self.number, self.network);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::server::limits::CONNECTIONS_PER_ADDRESS;
    use crate::server::tests::mono;

    fn door() -> Door {
        Door::new(Some(CONNECTIONS_PER_ADDRESS))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Somebody who is through with the handshake.
    fn inside(door: &Door, now: Instant, peer: &str) -> Option<(Verdict, Place)> {
        let (verdict, place) = door.knock(now, ip(peer))?;
        door.admission().shaken(place.number);
        Some((verdict, place))
    }

    #[test]
    fn one_address_has_so_many_connections_and_the_others_theirs() {
        // An IPv6 network is one address, and an IPv4 address in IPv6 is itself.
        for (one, same, other) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"),
            ("2001:db8::1", "2001:db8::ffff:1:2", "2001:db8:0:1::1"),
        ] {
            let (door, now) = (door(), mono());
            let mut places = Vec::new();
            for _ in 0..CONNECTIONS_PER_ADDRESS {
                let (verdict, place) = inside(&door, now, one).unwrap();
                assert_eq!(verdict, Verdict::Enter);
                places.push(place);
            }
            assert_eq!(inside(&door, now, same).unwrap().0, Verdict::Refuse, "{same}");
            assert_eq!(inside(&door, now, other).unwrap().0, Verdict::Enter, "{other}");
            places.pop();
            assert_eq!(inside(&door, now, same).unwrap().0, Verdict::Enter, "a place is free");
        }
    }

    #[test]
    fn one_address_begins_so_many_a_minute() {
        let (door, now) = (door(), mono());
        for _ in 0..BEGINNINGS.burst {
            assert!(inside(&door, now, "192.0.2.1").is_some());
        }
        assert!(inside(&door, now, "192.0.2.1").is_none());
        assert!(inside(&door, now, "192.0.2.2").is_some());
        let later = now + Duration::from_secs(1);
        assert!(inside(&door, later, "192.0.2.1").is_some());
        assert!(inside(&door, later, "192.0.2.1").is_none());
    }

    #[test]
    fn one_address_shakes_so_many_hands_at_once() {
        let (door, now) = (door(), mono());
        let places: Vec<_> = (0..HANDSHAKES_PER_ADDRESS)
            .map(|_| door.knock(now, ip("192.0.2.1")).unwrap())
            .collect();
        assert!(door.knock(now, ip("192.0.2.1")).is_none());
        assert!(door.knock(now, ip("192.0.2.2")).is_some());
        drop(places);
        assert!(door.knock(now, ip("192.0.2.1")).is_some());
    }

    #[test]
    fn this_machine_has_no_limits_of_its_own() {
        for own in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            let (door, now) = (door(), mono());
            let places: Vec<_> = (0..500).map(|_| door.knock(now, ip(own)).unwrap()).collect();
            assert!(places.iter().all(|(verdict, _)| *verdict == Verdict::Enter), "{own}");
            assert!(door.admission().networks.is_empty(), "{own}");
        }
    }

    #[test]
    fn the_oldest_handshake_gives_way_once_it_had_its_time() {
        let (door, start) = (door(), mono());
        let places: Vec<_> =
            (0..HANDSHAKES).map(|_| door.knock(start, ip("::1")).unwrap().1).collect();
        assert!(door.knock(start, ip("::1")).is_none(), "all are young");
        let now = start + HANDSHAKE_SURE;
        let newcomer = door.knock(now, ip("::1")).unwrap();
        let gave_way = |place: &Place| place.gives_way.is_cancelled();
        assert!(gave_way(&places[0]) && !gave_way(&places[1]) && !gave_way(&newcomer.1));
        assert_eq!(door.admission().handshakes.len(), HANDSHAKES);
        drop((places, newcomer));
        let admission = door.admission();
        assert_eq!((admission.connections, admission.handshakes.len()), (0, 0));
    }

    #[test]
    fn a_flood_from_all_of_the_internet_does_not_fill_the_memory() {
        let (door, start) = (door(), mono());
        let _stays = inside(&door, start, "192.0.2.1").unwrap();
        for number in 0..4 * u32::try_from(ADDRESSES).unwrap() {
            let peer = IpAddr::V6(Ipv6Addr::from_bits(u128::from(number) << 64 | 0x2001 << 112));
            let now = start + Duration::from_micros(number.into());
            if let Some((_, place)) = door.knock(now, peer) {
                door.admission().shaken(place.number);
            }
        }
        let known = &door.admission().networks;
        assert!(known.len() <= ADDRESSES, "{}", known.len());
        assert!(known.contains_key(&Network::of(ip("192.0.2.1")).unwrap()));
    }
}
