//! How many connections the whole broker has, from where, and how fast they come: the one thing its shards count together, since the
//! limits on it are the broker's (`max.connections`, `max.connections.per.ip`, `max.connection.creation.rate`).
//!
//! Called by `server` when a connection comes and goes; shared by all shards through their [`Mesh`](super::mailbox::Mesh). The lock is
//! taken a few times in a connection's life and held for a look-up.
//!
//! KIP-612 (rate of new connections).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::rate::Rate;
use crate::types::Monotonic;

#[derive(Default)]
pub struct Census {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
    /// Of connections that came, whether they found a place or not.
    coming: Rate,
}

/// How fast connections may come, and how that is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// A second.
    pub connections_max: u32,
    /// `quota.window.num`
    pub windows: u32,
    /// `quota.window.size.seconds`
    pub window: Duration,
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
    /// Counts a connection that comes; answers how long it has to wait so that they come no faster than allowed. As in Kafka, one window
    /// at most: whoever accepts it accepts none meanwhile.
    pub fn hold_back(&self, now: Monotonic, pace: Pace) -> Duration {
        if pace.connections_max == i32::MAX as u32 {
            return Duration::ZERO;
        }
        let mut counts = self.counts();
        counts.coming.record(now, pace.windows, pace.window);
        counts.coming.excess(now, f64::from(pace.connections_max), pace.windows, pace.window).min(pace.window)
    }

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
    fn connections_that_come_too_fast_are_held_back_and_no_longer_than_a_window() {
        let census = Census::default();
        let pace = Pace { connections_max: 5, windows: 2, window: Duration::from_secs(1) };
        let now = Monotonic::from_nanos(1);
        let waits: Vec<Duration> = (0..40).map(|_| census.hold_back(now, pace)).collect();
        assert!(waits[..5].iter().all(Duration::is_zero), "{waits:?}");
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]) && !waits[5].is_zero(), "{waits:?}");
        assert_eq!(waits[39], pace.window);
        assert_eq!(census.hold_back(now, Pace { connections_max: i32::MAX as u32, ..pace }), Duration::ZERO, "no limit");
    }

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
