//! Cluster addresses and node ports of Services: who holds which, so that no two hold the same.
//!
//! The objects are the truth; this is an index over them, rebuilt when the store is opened. A write reserves what it
//! asks for, and the reservation falls back when the write does not happen. A holder that turns out to be gone (its
//! object no longer has the value) is repaired at the moment somebody asks for the value.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use rand::RngExt;

/// What has been handed out, by value.
#[derive(Debug, Default)]
struct Held(HashMap<u32, Holder>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Holder {
    /// The key of the object.
    owner: String,
    /// Reserved for a write that is under way.
    pending: bool,
}

/// A value to allocate from: addresses as numbers, ports by protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pool {
    Address,
    /// Node ports are one pool for all protocols; one Service may use a port once a protocol.
    Port,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllocateError {
    #[error("provided IP is already allocated")]
    AddressTaken,
    #[error("provided port is already allocated")]
    PortTaken,
    #[error("the provided network does not match the current range")]
    AddressOutOfRange,
    #[error("provided port is not in the valid range. The range of valid ports is {first}-{last}")]
    PortOutOfRange { first: u16, last: u16 },
    #[error("range is full")]
    Full,
}

/// Values that may be handed out, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    first: u32,
    last: u32,
}

impl Range {
    /// The addresses of an IPv4 network, without those of the network itself and of all its hosts. `None` for what is no
    /// such network or has no others.
    pub fn of_network(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let address: Ipv4Addr = address.parse().ok()?;
        let bits: u32 = bits.parse().ok().filter(|bits| (1..=30).contains(bits))?;
        let size = 1u32 << (32 - bits);
        let network = address.to_bits() & !(size - 1);
        Some(Self { first: network + 1, last: network + (size - 2) })
    }

    fn contains(self, value: u32) -> bool {
        (self.first..=self.last).contains(&value)
    }

    /// How much of the low end is kept for values that somebody chooses, so that chosen ones rarely collide.
    fn static_band(self, pool: Pool) -> u32 {
        let size = self.last - self.first + 1;
        match pool {
            _ if size < 16 => 0,
            Pool::Address => (size / 16).clamp(16, 256),
            Pool::Port => (size / 32).clamp(16, 128),
        }
    }

    /// A free value: a random one above the static band, below it when all others are taken.
    fn choose(self, pool: Pool, is_free: impl Fn(u32) -> bool) -> Option<u32> {
        let dynamic = self.first + self.static_band(pool);
        let start = rand::rng().random_range(dynamic..=self.last);
        let mut candidates = (start..=self.last).chain(dynamic..start).chain(self.first..dynamic);
        candidates.find(|value| is_free(*value))
    }
}

/// The index over everything allocated.
#[derive(Debug)]
pub struct Allocators {
    /// The range that the server is configured with.
    own: Range,
    /// All ranges to take addresses from, in this order.
    networks: Mutex<Vec<Range>>,
    ports: (u16, u16),
    addresses_held: Mutex<Held>,
    ports_held: Mutex<Held>,
}

impl Allocators {
    /// `None` when the range is no IPv4 network or too small or large to serve from.
    pub fn new(range: &str, ports: (u16, u16)) -> Option<Self> {
        let own = Range::of_network(range).filter(|own| own.last - own.first < 1 << 20)?;
        let (networks, addresses_held, ports_held) = (vec![own].into(), Mutex::default(), Mutex::default());
        Some(Self { own, networks, ports, addresses_held, ports_held })
    }

    /// The first address of the server's own range: the `kubernetes` Service's.
    pub fn first_address(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.own.first)
    }

    /// Takes over the ranges that `find` finds, given the server's own. Who comes later has looked later.
    pub fn follow(&self, find: impl FnOnce(Range) -> Vec<Range>) {
        let mut networks = self.networks.lock();
        *networks = find(self.own);
    }

    fn held(&self, pool: Pool) -> &Mutex<Held> {
        match pool {
            Pool::Address => &self.addresses_held,
            Pool::Port => &self.ports_held,
        }
    }

    fn ranges(&self, pool: Pool) -> Vec<Range> {
        match pool {
            Pool::Address => self.networks.lock().clone(),
            Pool::Port => vec![Range { first: self.ports.0.into(), last: self.ports.1.into() }],
        }
    }

    /// Takes note of a value that an object in the store has.
    pub fn note(&self, pool: Pool, value: u32, owner: &str) {
        self.held(pool).lock().0.insert(value, Holder { owner: owner.to_owned(), pending: false });
    }

    /// The same unless somebody holds it already.
    pub fn note_unless_held(&self, pool: Pool, value: u32, owner: &str) {
        let holder = || Holder { owner: owner.to_owned(), pending: false };
        self.held(pool).lock().0.entry(value).or_insert_with(holder);
    }

    /// Whether an address is reserved for a write that is under way.
    pub fn is_pending(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address else { return false };
        self.held(Pool::Address).lock().0.get(&address.to_bits()).is_some_and(|holder| holder.pending)
    }

    /// Reserves a chosen value. `is_held` says whether the noted owner still has it.
    fn take(
        &self,
        pool: Pool,
        value: u32,
        owner: &str,
        is_held: &dyn Fn(&str, u32) -> bool,
    ) -> Result<(), AllocateError> {
        if !self.ranges(pool).iter().any(|range| range.contains(value)) {
            return Err(match pool {
                Pool::Address => AllocateError::AddressOutOfRange,
                Pool::Port => AllocateError::PortOutOfRange { first: self.ports.0, last: self.ports.1 },
            });
        }
        let mut held = self.held(pool).lock();
        if let Some(holder) = held.0.get(&value)
            && (holder.pending || is_held(&holder.owner, value))
        {
            return Err(match pool {
                Pool::Address => AllocateError::AddressTaken,
                Pool::Port => AllocateError::PortTaken,
            });
        }
        held.0.insert(value, Holder { owner: owner.to_owned(), pending: true });
        Ok(())
    }

    /// Reserves any free value of the first range that has one.
    fn take_any(&self, pool: Pool, owner: &str) -> Result<u32, AllocateError> {
        let ranges = self.ranges(pool);
        let mut held = self.held(pool).lock();
        let value = ranges.iter().find_map(|range| range.choose(pool, |value| !held.0.contains_key(&value)));
        let value = value.ok_or(AllocateError::Full)?;
        held.0.insert(value, Holder { owner: owner.to_owned(), pending: true });
        Ok(value)
    }

    /// Gives a value up that this owner holds.
    pub fn release(&self, pool: Pool, value: u32, owner: &str) {
        let mut held = self.held(pool).lock();
        if held.0.get(&value).is_some_and(|holder| holder.owner == owner) {
            held.0.remove(&value);
        }
    }
}

/// What one write reserved. Dropped without [`Reservation::commit`], everything falls back.
#[derive(Default)]
pub struct Reservation(Option<Reserved>);

struct Reserved {
    allocators: Arc<Allocators>,
    owner: String,
    taken: Vec<(Pool, u32)>,
    /// What the object had and the write gives up.
    given_up: Vec<(Pool, u32)>,
}

impl Reservation {
    pub fn new(allocators: Arc<Allocators>, owner: String) -> Self {
        Self(Some(Reserved { allocators, owner, taken: Vec::new(), given_up: Vec::new() }))
    }

    /// Reserves a chosen value.
    pub fn take(&mut self, pool: Pool, value: u32, is_held: &dyn Fn(&str, u32) -> bool) -> Result<(), AllocateError> {
        let Some(reserved) = &mut self.0 else { return Ok(()) };
        reserved.allocators.take(pool, value, &reserved.owner, is_held)?;
        reserved.taken.push((pool, value));
        Ok(())
    }

    /// Reserves any free value.
    pub fn take_any(&mut self, pool: Pool) -> Result<u32, AllocateError> {
        let Some(reserved) = &mut self.0 else { return Err(AllocateError::Full) };
        let value = reserved.allocators.take_any(pool, &reserved.owner)?;
        reserved.taken.push((pool, value));
        Ok(value)
    }

    /// Gives a value up once the write has happened.
    pub fn give_up(&mut self, pool: Pool, value: u32) {
        if let Some(reserved) = &mut self.0 {
            reserved.given_up.push((pool, value));
        }
    }

    /// The write has happened.
    pub fn commit(mut self) {
        if let Some(reserved) = self.0.take() {
            for (pool, value) in reserved.taken {
                reserved.allocators.note(pool, value, &reserved.owner);
            }
            for (pool, value) in reserved.given_up {
                reserved.allocators.release(pool, value, &reserved.owner);
            }
        }
    }

    /// Commits unless it was a rehearsal.
    pub fn commit_unless(self, dry_run: bool) {
        if !dry_run {
            self.commit();
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(reserved) = self.0.take() {
            for (pool, value) in reserved.taken {
                reserved.allocators.release(pool, value, &reserved.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocators() -> Arc<Allocators> {
        Arc::new(Allocators::new("10.96.0.0/16", (30000, 32767)).unwrap())
    }

    #[test]
    fn a_taken_value_is_refused_until_its_holder_gives_it_up() {
        let allocators = allocators();
        let address = Ipv4Addr::new(10, 96, 201, 7).to_bits();
        let mut first = Reservation::new(allocators.clone(), "a".to_owned());
        first.take(Pool::Address, address, &|_, _| true).unwrap();
        let mut second = Reservation::new(allocators.clone(), "b".to_owned());
        assert_eq!(second.take(Pool::Address, address, &|_, _| true), Err(AllocateError::AddressTaken));
        drop(first);
        second.take(Pool::Address, address, &|_, _| true).unwrap();
        second.commit();
        let mut third = Reservation::new(allocators.clone(), "c".to_owned());
        assert_eq!(third.take(Pool::Address, address, &|_, _| true), Err(AllocateError::AddressTaken));
        // The holder is gone without having given it up: repaired on the way.
        third.take(Pool::Address, address, &|_, _| false).unwrap();
    }

    #[test]
    fn values_outside_the_range_are_named_as_such() {
        let allocators = allocators();
        let mut reservation = Reservation::new(allocators, "a".to_owned());
        let outside = Ipv4Addr::new(10, 97, 0, 1).to_bits();
        assert_eq!(reservation.take(Pool::Address, outside, &|_, _| true), Err(AllocateError::AddressOutOfRange));
        let error = reservation.take(Pool::Port, 80, &|_, _| true).unwrap_err();
        assert_eq!(
            error.to_string(),
            "provided port is not in the valid range. The range of valid ports is 30000-32767"
        );
    }

    #[test]
    fn a_small_range_is_used_up_to_the_last_value() {
        let allocators = Arc::new(Allocators::new("10.0.0.0/29", (1, 2)).unwrap());
        let mut reservation = Reservation::new(allocators, "a".to_owned());
        let mut values: Vec<u32> = (0..6).map(|_| reservation.take_any(Pool::Address).unwrap()).collect();
        values.sort_unstable();
        values.dedup();
        assert_eq!(values.len(), 6);
        assert_eq!(reservation.take_any(Pool::Address), Err(AllocateError::Full));
    }

    #[test]
    fn ranges_are_used_one_after_the_other_while_they_are_there() {
        let allocators = Arc::new(Allocators::new("10.0.0.0/29", (1, 2)).unwrap());
        let second = Range::of_network("192.168.7.0/30").unwrap();
        allocators.follow(|own| vec![own, second]);
        let mut reservation = Reservation::new(allocators.clone(), "a".to_owned());
        let values: Vec<u32> = (0..8).map(|_| reservation.take_any(Pool::Address).unwrap()).collect();
        assert!(values[..6].iter().all(|value| allocators.own.contains(*value)), "{values:?}");
        assert!(values[6..].iter().all(|value| second.contains(*value)), "{values:?}");
        assert_eq!(reservation.take_any(Pool::Address), Err(AllocateError::Full));
        drop(reservation);
        allocators.follow(|own| vec![own]);
        let mut reservation = Reservation::new(allocators, "a".to_owned());
        assert_eq!(reservation.take(Pool::Address, second.first, &|_, _| true), Err(AllocateError::AddressOutOfRange));
    }

    #[test]
    fn networks_without_room_are_no_ranges() {
        assert_eq!(Range::of_network("10.0.0.0/31"), None);
        assert_eq!(Range::of_network("fd00::/64"), None);
        let range = Range::of_network("10.0.0.0/30").unwrap();
        assert_eq!((range.first, range.last), (0x0a00_0001, 0x0a00_0002));
    }
}
