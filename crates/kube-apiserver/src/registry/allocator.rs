//! Cluster addresses and node ports of Services: who holds which, so that no two hold the same.
//!
//! The objects are the truth; this is an index over them, rebuilt when the store is opened. A write reserves what it
//! asks for, and the reservation falls back when the write does not happen. A holder that turns out to be gone (its
//! object no longer has the value) is repaired at the moment somebody asks for the value.

use std::collections::HashMap;
use std::net::Ipv4Addr;
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

/// The index over everything allocated.
#[derive(Debug)]
pub struct Allocators {
    network: Ipv4Addr,
    size: u32,
    ports: (u16, u16),
    addresses_held: Mutex<Held>,
    ports_held: Mutex<Held>,
}

impl Allocators {
    /// `None` when the range is no IPv4 network or too small or large to serve from.
    pub fn new(range: &str, ports: (u16, u16)) -> Option<Self> {
        let (address, bits) = range.split_once('/')?;
        let address: Ipv4Addr = address.parse().ok()?;
        let bits: u32 = bits.parse().ok().filter(|bits| (12..=30).contains(bits))?;
        let size = 1u32 << (32 - bits);
        let network = Ipv4Addr::from_bits(address.to_bits() & !(size - 1));
        Some(Self { network, size, ports, addresses_held: Mutex::default(), ports_held: Mutex::default() })
    }

    /// The first address of the range: the `kubernetes` Service's.
    pub fn first_address(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() + 1)
    }

    fn held(&self, pool: Pool) -> &Mutex<Held> {
        match pool {
            Pool::Address => &self.addresses_held,
            Pool::Port => &self.ports_held,
        }
    }

    /// The values that may be handed out, both ends included. Network and broadcast address are nobody's.
    fn bounds(&self, pool: Pool) -> (u32, u32) {
        match pool {
            Pool::Address => (self.network.to_bits() + 1, self.network.to_bits() + self.size - 2),
            Pool::Port => (u32::from(self.ports.0), u32::from(self.ports.1)),
        }
    }

    /// How much of the low end is kept for values that somebody chooses, so that chosen ones rarely collide.
    fn static_band(&self, pool: Pool) -> u32 {
        let (first, last) = self.bounds(pool);
        let size = last - first + 1;
        match pool {
            Pool::Address if size < 16 => 0,
            Pool::Address => (size / 16).clamp(16, 256),
            Pool::Port if size < 16 => 0,
            Pool::Port => (size / 32).clamp(16, 128),
        }
    }

    /// Takes note of a value that an object in the store has.
    pub fn note(&self, pool: Pool, value: u32, owner: &str) {
        self.held(pool).lock().0.insert(value, Holder { owner: owner.to_owned(), pending: false });
    }

    /// Reserves a chosen value. `is_held` says whether the noted owner still has it.
    fn take(
        &self,
        pool: Pool,
        value: u32,
        owner: &str,
        is_held: &dyn Fn(&str, u32) -> bool,
    ) -> Result<(), AllocateError> {
        let (first, last) = self.bounds(pool);
        if !(first..=last).contains(&value) {
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

    /// Reserves any value: a random one above the static band, below it when all others are taken.
    fn take_any(&self, pool: Pool, owner: &str) -> Result<u32, AllocateError> {
        let (first, last) = self.bounds(pool);
        let dynamic = first + self.static_band(pool);
        let mut held = self.held(pool).lock();
        let start = rand::rng().random_range(dynamic..=last);
        let mut candidates = (start..=last).chain(dynamic..start).chain(first..dynamic);
        let value = candidates.find(|value| !held.0.contains_key(value)).ok_or(AllocateError::Full)?;
        held.0.insert(value, Holder { owner: owner.to_owned(), pending: true });
        Ok(value)
    }

    fn release(&self, pool: Pool, value: u32, owner: &str) {
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
}
