//! How many connections the whole broker has, and from where: the one thing its shards count together, since the limits on it are the
//! broker's (`max.connections`, `max.connections.per.ip`).
//!
//! Called by `server` when a connection comes and goes; shared by all shards through their [`Mesh`](super::mailbox::Mesh). The lock is
//! taken twice in a connection's life and held for a look-up.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub struct Census {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// Which limit a connection would pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Full {
    Broker,
    Address,
}

/// A connection's place in the count; left when dropped.
pub struct Seat {
    census: Arc<Census>,
    address: IpAddr,
}

impl Census {
    /// Counts one more connection from `address`, unless the broker has `max` already or the address `of_address_max`.
    pub fn enter(self: &Arc<Self>, address: IpAddr, max: usize, of_address_max: usize) -> Result<Seat, Full> {
        let mut counts = self.counts();
        if counts.all >= max {
            return Err(Full::Broker);
        }
        if counts.by_address.get(&address).copied().unwrap_or(0) >= of_address_max {
            return Err(Full::Address);
        }
        counts.all += 1;
        *counts.by_address.entry(address).or_default() += 1;
        Ok(Seat { census: self.clone(), address })
    }

    /// The counts are whole after any statement that changes them: a panic elsewhere spoils nothing.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.census.counts();
        counts.all -= 1;
        if let Some(count) = counts.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_for_all_and_for_each_and_places_come_free() {
        let census = Arc::new(Census::default());
        let at = |last| IpAddr::from([10, 0, 0, last]);
        let first = census.enter(at(1), 3, 2).unwrap();
        let second = census.enter(at(1), 3, 2).unwrap();
        assert_eq!(census.enter(at(1), 3, 2).err(), Some(Full::Address));
        let other = census.enter(at(2), 3, 2).unwrap();
        assert_eq!(census.enter(at(2), 3, 2).err(), Some(Full::Broker), "the broker's limit is asked first");
        drop(first);
        let again = census.enter(at(1), 3, 2).unwrap();
        drop((second, other, again));
        let counts = census.counts();
        assert_eq!((counts.all, counts.by_address.len()), (0, 0));
    }
}
