//! Single numbers of one shard.

use std::cell::Cell;
use std::time::Duration;

use crate::types::Monotonic;

/// A number that only grows.
#[derive(Default, Debug)]
pub struct Counter(Cell<u64>);

impl Counter {
    pub fn increment(&self) {
        self.add(1);
    }

    pub fn add(&self, amount: u64) {
        self.0.set(self.0.get().wrapping_add(amount));
    }

    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// A number of things there are now.
#[derive(Default, Debug)]
pub struct Level(Cell<u64>);

impl Level {
    pub fn raise(&self) {
        self.0.set(self.0.get() + 1);
    }

    pub fn lower(&self) {
        self.0.set(self.0.get().saturating_sub(1));
    }

    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// How long a [`Peak`] is remembered at least; at most twice as long.
const WINDOW: Duration = Duration::from_secs(60);

/// The longest span of the last minute or two. Two readers see the same: reading does not reset it.
#[derive(Default, Debug)]
pub struct Peak {
    window_ends: Cell<Monotonic>,
    current: Cell<Duration>,
    previous: Cell<Duration>,
}

impl Peak {
    pub fn observe(&self, now: Monotonic, span: Duration) {
        if now >= self.window_ends.get() {
            self.turn(now);
        }
        if span > self.current.get() {
            self.current.set(span);
        }
    }

    pub fn get(&self, now: Monotonic) -> Duration {
        if now >= self.window_ends.get() {
            self.turn(now);
        }
        self.current.get().max(self.previous.get())
    }

    fn turn(&self, now: Monotonic) {
        let lately = now < self.window_ends.get().plus(WINDOW);
        self.previous.set(if lately { self.current.get() } else { Duration::ZERO });
        self.current.set(Duration::ZERO);
        self.window_ends.set(now.plus(WINDOW));
    }
}
